# Random documents against registered types: what the check says is what jsonb_populate_record
# says, but for the few things it is stricter about, which are written down here a second time,
# in SQL. FUZZ_SEED and FUZZ_COUNT repeat or lengthen a run.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{FUZZ_SEED} // 20240229;
my $count = $ENV{FUZZ_COUNT} // 4000;
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '-E', 'UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'\nfsync = off");
$node->start;
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION ecommerce;
	SELECT ecommerce.register_contracts();
	CREATE TYPE mood AS ENUM ('glad', 'sad');
	CREATE DOMAIN word AS text CHECK (length(VALUE) < 20);
	CREATE DOMAIN some_word AS word NOT NULL;
	CREATE DOMAIN positive AS int CHECK (VALUE > 0);
	CREATE DOMAIN positives AS positive[] CHECK (cardinality(VALUE) < 4);
	CREATE TYPE leaf AS (t text, v varchar(4), c char(3), n numeric, p numeric(5, 2), i2 int2,
		i4 int4, i8 int8, f4 float4, f8 float8, b boolean, u uuid, d date, ts timestamp,
		tz timestamptz, ti time,
		iv interval, m mood, j jsonb, js json, by bytea, r int4range, ip inet, w word, pos positive,
		"Odd ""key""" text, o oid, xid xid);
	CREATE DOMAIN some_leaf AS leaf NOT NULL;
	CREATE DOMAIN leaf_with_i4 AS leaf CHECK ((VALUE).i4 IS NOT NULL);
	CREATE TYPE branch AS (need some_leaf, other leaf, checked leaf_with_i4, words some_word[]);
	CREATE TYPE tree AS (leaf leaf, leaves leaf[], firm some_leaf[], ints int4[], texts text[],
		positives positives, branch branch, branches branch[], money ecommerce.money,
		must ecommerce.required_money);
	SELECT event_store.register_event_type('Leaf', 'leaf'),
		event_store.register_event_type('Tree', 'tree'),
		event_store.register_event_type('Branch', 'branch');

	-- What the check is stricter about than jsonb_populate_record: keys that are no columns,
	-- structure for scalars and scalars for structure, arrays in arrays, scalars that are not
	-- written as asyncapi() says.
	CREATE FUNCTION shape_fits(type oid, value jsonb) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
	DECLARE
		t pg_type;
	BEGIN
		LOOP
			SELECT * INTO STRICT t FROM pg_type WHERE oid = type;
			EXIT WHEN t.typtype <> 'd';
			type := t.typbasetype;
		END LOOP;
		IF value IS NULL OR jsonb_typeof(value) = 'null'
			OR type IN ('json'::regtype, 'jsonb'::regtype) THEN
			RETURN true;
		ELSIF t.typtype = 'c' THEN
			RETURN jsonb_typeof(value) = 'object' AND NOT EXISTS (
				SELECT FROM jsonb_each(value) e
				LEFT JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attname = e.key
					AND a.attnum > 0 AND NOT a.attisdropped
				WHERE a.attname IS NULL OR NOT shape_fits(a.atttypid, e.value));
		ELSIF t.typcategory = 'A' THEN
			RETURN jsonb_typeof(value) = 'array' AND NOT EXISTS (
				SELECT FROM jsonb_array_elements(value) e WHERE NOT shape_fits(t.typelem, e));
		ELSIF type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype,
			'float4'::regtype, 'float8'::regtype) THEN
			RETURN jsonb_typeof(value) = 'number';
		ELSIF type = 'bool'::regtype THEN
			RETURN jsonb_typeof(value) = 'boolean';
		END IF;
		RETURN jsonb_typeof(value) = 'string' AND value #>> '{}' ~ CASE type
			WHEN 'uuid'::regtype THEN '^[[:xdigit:]]{8}(-[[:xdigit:]]{4}){3}-[[:xdigit:]]{12}$'
			WHEN 'date'::regtype THEN '^\d{4}-\d\d-\d\d$'
			WHEN 'timestamp'::regtype THEN '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?$'
			WHEN 'timestamptz'::regtype
				THEN '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)$'
			ELSE '' END;
	END $$;
	CREATE FUNCTION check_says(type text, data jsonb, OUT state text, OUT path text)
	LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM event_store.check_data(type, data);
		state := 'fits';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, path = COLUMN_NAME;
	END $$;
	-- Where the check is more lenient: 5.0 is the whole number 5, which it stores instead.
	CREATE FUNCTION plain_numbers(value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		RETURN CASE jsonb_typeof(value)
			WHEN 'number' THEN to_jsonb(trim_scale(value::numeric))
			WHEN 'array' THEN (SELECT coalesce(jsonb_agg(plain_numbers(e) ORDER BY n), '[]')
				FROM jsonb_array_elements(value) WITH ORDINALITY a (e, n))
			WHEN 'object' THEN (SELECT coalesce(jsonb_object_agg(e.key, plain_numbers(e.value)),
				'{}') FROM jsonb_each(value) e)
			ELSE value END;
	END $$;
	CREATE FUNCTION populate_says(type text, data jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
	DECLARE
		payload regtype;
	BEGIN
		SELECT payload_type INTO STRICT payload FROM event_store.event_type WHERE event_type = type;
		EXECUTE format('SELECT jsonb_populate_record(NULL::%s, $1)', payload)
			USING plain_numbers(data);
		RETURN true;
	EXCEPTION WHEN OTHERS THEN
		RETURN false;
	END $$;
	CREATE TABLE fuzz (n int, type text, data jsonb) });

# JSON values: references to raw text, arrays, hashes.
sub pick { return $_[ rand @_ ] }
sub text { return \('"' . $_[0] . '"') }
my $uuid = 'a0000000-0000-4000-8000-00000000000';

sub odd_value
{
	my $depth = shift // 0;
	my @raw = qw(null true false 0 1 -1 2 3.5 1.0 2.50 -0.005 1e2 1e-3 32767 32768 -32768 -32769
	  2147483647 2147483648 -2147483648 9223372036854775807 9223372036854775808 1e38 1e39 1e300
	  1e400 123456789.123456789 999.99 1000 9999999999999.99 10000000000000);
	my @texts = (
		'', 'a', 'glad', 'sad', 'Glad', 'abc', 'abcd', 'abcde', 'yes', 'no', 'on', 't', '1', '0',
		' 7 ', '1.5', '1e5', 'NaN', 'nan', 'Infinity', '-inf', '0x10', '12:30', '25:00', '1 day',
		'P1D', '[1,5)', 'empty', '10.0.0.1', '10.0.0.256', '\\\\x00ff', '\\\\xzz', '{1,2}', '{}',
		'(1,2)', '(,)', 'null', 'tomorrow', 'now', 'infinity', '2024-02-29', '2023-02-29',
		'2024-13-01', '2024-02-29T12:00:00', '2024-02-29T12:00:00.', '2024-02-29T12:00:00+0200',
		'2024-02-29T12:00:00.123+02:00', '2024-02-29T12:00', '2024-02-29T12:00:00Z',
		'2024-02-29 12:00:00+02', '2024-02-29T25:00:00Z',
		'20240229', '99999-01-01', '0044-03-15 BC', '294277-01-01', "${uuid}1", uc "${uuid}a",
		"{${uuid}1}", "${uuid}g", substr($uuid, 0, 30), '\u00fc\u20ac', '\ud83d\ude00',
		'x' x 19, 'x' x 20, 'x' x 300);
	my @structures = ([], {}, [ [] ], [ {} ], { '' => \'1' });

	push @structures, [ map { odd_value($depth + 1) } 0 .. rand 3 ], { a => odd_value($depth + 1) }
	  if $depth < 3;
	my $kind = rand;
	return \pick(@raw) if $kind < 0.35;
	return text(pick(@texts)) if $kind < 0.85;
	return pick(@structures);
}

my %fitting = (
	(map { $_ => sub { text('abc') } } qw(t v c w), 'Odd "key"'),
	(map { $_ => sub { \'12' } } qw(i2 i4 i8 f4 f8 n p pos)),
	(map { $_ => sub { text('12') } } qw(o xid)),
	b => sub { \'true' },
	u => sub { text("${uuid}1") },
	d => sub { text('2024-02-29') },
	ts => sub { text('2024-02-29T12:00:00.5') },
	tz => sub { text(pick('2024-02-29T12:00:00Z', '2024-02-29 12:00:00.25+02:00')) },
	ti => sub { text('12:30') },
	iv => sub { text('1 day') },
	m => sub { text('sad') },
	j => sub { odd_value() },
	js => sub { odd_value() },
	by => sub { text('\\\\x00ff') },
	r => sub { text('[1,5)') },
	ip => sub { text('10.0.0.1') });

sub leaf
{
	return { map { rand() < 0.5 ? ($_ => $fitting{$_}->()) : () } keys %fitting };
}

sub checked
{
	return { %{ leaf() }, i4 => \'4' };
}

sub branch
{
	return {
		need => leaf(), checked => checked(), words => [ map { text('word') } 0 .. rand 3 ],
		(rand() < 0.5 ? (other => leaf()) : ()) };
}

sub tree
{
	my %tree = (
		leaf => leaf(), branch => branch(), money => \'12.50',
		leaves => [ map { leaf() } 0 .. rand 2 ],
		firm => [ map { leaf() } 0 .. rand 2 ],
		ints => [ map { \'7' } 0 .. rand 3 ],
		texts => [ map { text('x') } 0 .. rand 3 ],
		positives => [ \'1', \'2' ],
		branches => [ map { branch() } 0 .. rand 1 ]);
	delete @tree{ grep { rand() < 0.4 } keys %tree };
	return { %tree, must => \'1', (exists $tree{branch} ? () : (branch => branch())) };
}

sub item
{
	return {
		product_id => text("${uuid}2"), product_name => text('Mug'), sku => text('MUG'),
		quantity => \'2', unit_price => \'7.50', total_price => \'15' };
}

sub order
{
	return {
		customer_id => text("${uuid}3"), total_amount => \'15',
		items => [ map { item() } 0 .. rand 3 ],
		shipping_address => { map { $_ => text('x') } qw(street city state postal_code country) },
		payment_method =>
		  { type => text('card'), last4_digits => text('4242'), token => \'null' } };
}

# Every place in a document where something can be changed.
sub places
{
	my ($value) = @_;
	my @places;
	if (ref $value eq 'HASH')
	{
		push @places, map { ([ $value, $_ ], places($value->{$_})) } sort keys %$value;
	}
	elsif (ref $value eq 'ARRAY')
	{
		push @places, map { ([ $value, $_ ], places($value->[$_])) } 0 .. $#$value;
	}
	return @places;
}

sub mutate
{
	my ($document) = @_;
	my @places = places($document) or return;
	my ($in, $at) = @{ pick(@places) };
	my $now = ref $in eq 'HASH' ? \$in->{$at} : \$in->[$at];
	my $kind = rand;

	if ($kind < 0.60) { $$now = odd_value() }
	elsif ($kind < 0.70) { $$now = [$$now] }
	elsif ($kind < 0.75) { $$now = { a => $$now } }
	elsif ($kind < 0.88)
	{
		if (ref $in eq 'HASH') { delete $in->{$at} }
		else { splice @$in, $at, 1 }
	}
	elsif (ref $in eq 'HASH')
	{
		$in->{ pick('x', 'T', 't ', 'quantity', 'leaf', '') } = odd_value();
	}
	else { push @$in, odd_value() }
}

sub encode
{
	my ($value) = @_;
	return '[' . join(',', map { encode($_) } @$value) . ']' if ref $value eq 'ARRAY';
	return $$value if ref $value ne 'HASH';
	my @members = map { '"' . s/"/\\"/gr . '":' . encode($value->{$_}) } sort keys %$value;
	return '{' . join(',', @members) . '}';
}

my $file = $node->basedir . '/fuzz.copy';
my %make = (Leaf => \&leaf, Tree => \&tree, Branch => \&branch, OrderCreated => \&order);
open my $copy, '>', $file or die "cannot write $file: $!";
for my $n (1 .. $count)
{
	my $type = pick(sort keys %make);
	my $document = $make{$type}->();
	mutate($document) for 1 .. pick(0, 1, 1, 1, 2, 4);
	print $copy join("\t", $n, $type, encode($document) =~ s/\\/\\\\/gr), "\n";
}
close $copy;
$node->safe_psql('postgres', "COPY fuzz FROM '$file'");
note("seed $seed, $count documents");

$node->safe_psql(
	'postgres', q{
	CREATE TABLE verdict AS
	SELECT f.*, c.state, c.path, populate_says(type, data) AS populates,
		shape_fits((SELECT payload_type FROM event_store.event_type WHERE event_type = type),
			data) AS shape
	FROM fuzz f, check_says(type, data) c });
is($node->safe_psql('postgres', q{SELECT * FROM verdict
		WHERE (state = 'fits') <> (populates AND shape) LIMIT 5}),
	'', 'the check takes what converts and has the right shape, nothing else');
is($node->safe_psql('postgres', q{SELECT * FROM verdict
		WHERE state NOT IN ('fits', 'ST004') LIMIT 5}),
	'', 'what it refuses is ST004');
is($node->safe_psql('postgres', q{SELECT n, data FROM verdict
		WHERE state = 'ST004' AND path = '' LIMIT 5}),
	'', 'and it tells a path');
my ($fit, $not) = split /\|/, $node->safe_psql('postgres',
	q{SELECT count(*) FILTER (WHERE state = 'fits'), count(*) FILTER (WHERE state <> 'fits')
		FROM verdict});
cmp_ok($fit, '>', $count / 5, 'enough documents fit');
cmp_ok($not, '>', $count / 5, 'enough do not');
$node->stop;
done_testing();
