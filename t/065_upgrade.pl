# From 1.0 to this version: under this library functions and worker of a 1.0 say what to do,
# ALTER EXTENSION UPDATE does it, with data in every table, none of it is lost, and what comes of
# it is what a fresh installation gives, down to every object, right and comment. What was upgraded
# can be used, dumped, restored and dropped.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('upgrade');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;

my @extensions = ('ecommerce',
	map { "ecommerce_$_" } qw(order inventory payment shipping notification access));
my $version = $node->safe_psql('postgres',
	q{SELECT default_version FROM pg_available_extensions WHERE name = 'ecommerce'});
my $previous = '1.0';
my $sharedir = `pg_config --sharedir`;
chomp $sharedir;

# The scripts of the version before are not installed; one of a version to come there is not.
my @made = map { "$sharedir/extension/$_--$previous.sql" } @extensions;
push @made, "$sharedir/extension/ecommerce--99.sql";
unlink @made;
for my $script (glob("{extension,services/*}/upgrade/*--$previous.sql"))
{
	my ($name) = $script =~ m{([^/]+)$};
	append_to_file("$sharedir/extension/$name", slurp_file($script));
}
append_to_file($made[-1], slurp_file("$sharedir/extension/ecommerce--$version.sql"));

sub failure_of
{
	my ($sql, $database) = @_;
	my ($code, $out, $err) =
	  $node->psql($database // 'old', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $err;
}

sub catalogue
{
	my ($database, $before) = @_;
	return $node->safe_psql($database, ($before // '') . slurp_file('t/upgrade/catalogue.sql'));
}

# Says what one has and the other has not.
sub same_catalogue
{
	my ($got, $wanted, $name) = @_;
	my %got = map { $_ => 1 } split /\n/, $got;
	my %wanted = map { $_ => 1 } split /\n/, $wanted;
	my @differences = (
		(map { "only here: $_" } grep { !$wanted{$_} } sort keys %got),
		(map { "only there: $_" } grep { !$got{$_} } sort keys %wanted));
	is(join("\n", @differences), '', $name);
}

# ---------------------------------------------------------------- a 1.0, with its data
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(old fresh newer restored filled);
$node->safe_psql('fresh', join ';', map { "CREATE EXTENSION $_" } @extensions);
my $offset = -s $node->logfile;
$node->safe_psql('old', join ';', map { "CREATE EXTENSION $_ VERSION '$previous'" } @extensions);
like(failure_of(q{SELECT event_store.append('order-1', 0, 'OrderPlaced', '{}')}),
	qr/55000: extension "ecommerce" has version 1\.0.*ALTER EXTENSION ecommerce UPDATE/s,
	'functions refuse and say what to do');
$node->wait_for_log(qr/ecommerce worker idles.*\n?.*/, $offset);
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'ecommerce worker'
	AND datname = '%s'};
is($node->safe_psql('postgres', sprintf $workers, 'old'), '1', 'the worker idles');
my $said = () = slurp_file($node->logfile) =~ /ecommerce worker idles/g;
is($said, 1, 'and says so once');

# It names its owner.
$node->safe_psql('postgres', q{DO $$ BEGIN
	CREATE ROLE postgres SUPERUSER; EXCEPTION WHEN duplicate_object THEN NULL; END $$});
command_ok(
	[
		'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('old'),
		'-f', "t/upgrade/$previous.sql"
	],
	"the dump of a $previous is restored into it");
my @tables = split /\n/, $node->safe_psql('old', q{
	SELECT c.oid::regclass FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
	JOIN pg_extension x ON x.oid = d.refobjid
	WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass
		AND d.deptype = 'e' AND x.extname LIKE 'ecommerce%' AND c.relkind = 'r' ORDER BY 1});
cmp_ok(scalar @tables, '>', 60, 'there are tables');
my @empty = grep { $node->safe_psql('old', "SELECT EXISTS (SELECT FROM $_)") eq 'f' } @tables;
# one of the ring's segments and one of two is in use, as in any database
is(join(' ', grep { !/^message_bus\.(?:ring_[1-7]|ack_1)$/ } @empty), '', 'none of them is empty');

# What others have built on our views stands in no upgrade's way, and stays.
my $others = $node->safe_psql('old', q{
	SELECT string_agg(
		format('CREATE VIEW public.on_%s AS SELECT * FROM %s', c.oid, c.oid::regclass), ';')
	FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
	JOIN pg_extension x ON x.oid = d.refobjid
	WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass
		AND d.deptype = 'e' AND x.extname LIKE 'ecommerce%' AND c.relkind = 'v'});
$node->safe_psql('old', $others);

# Where our new columns would not be where they belong, nothing is changed.
$node->safe_psql('postgres', 'CREATE DATABASE columns');
$node->safe_psql('columns', "CREATE EXTENSION ecommerce VERSION '$previous';
	ALTER TABLE event_store.stored_event ADD COLUMN theirs int");
like(failure_of('ALTER EXTENSION ecommerce UPDATE', 'columns'),
	qr/55000: columns that are not the extension's .* event_store\.stored_event: theirs\n/,
	'columns of others at the end of the table of events refuse the upgrade');
$node->safe_psql('postgres', 'DROP DATABASE columns');

# ---------------------------------------------------------------- ALTER EXTENSION UPDATE
my $columns = $node->safe_psql('old', sprintf(q{
	SELECT string_agg(format('SELECT %%L, md5(string_agg(r::text, E''\n'' ORDER BY r::text)) '
		'FROM (SELECT %%s FROM %%s) r', c.oid::regclass,
		(SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = c.oid AND attnum > 0), c.oid::regclass),
		E';\n' ORDER BY c.oid::regclass::text)
	FROM pg_class c WHERE c.oid = ANY (string_to_array('%s', ' ')::regclass[])}, "@tables"));
my $data = $node->safe_psql('old', $columns);
# in one transaction, so that no worker has touched anything yet
my $update = join ';', map { "ALTER EXTENSION $_ UPDATE" } @extensions;
my $ask = "SELECT event_store.stream_version('account-1')";
my ($code, $same, $refusal) =
  $node->psql('old', "$ask;\nBEGIN; $update; $columns; COMMIT;\n$ask;", on_error_stop => 0);
like($refusal, qr/\Apsql:<stdin>:1: ERROR: .* has version .*\nHINT: .*\Z/,
	'nothing is said but before it');
is($same, "$data\n3", 'no data is lost, and a session that was refused before goes on');
my $fresh = catalogue('fresh');
same_catalogue(catalogue('old'), $fresh, 'the upgraded extensions are what fresh ones are');
my $load = "SELECT state FROM event_store.load('account-1')";
is($node->safe_psql('old', $load), '{"balance": 6}', 'functions work');
ok( $node->poll_query_until('old',
		'SELECT event_store.published_mark() = event_store.position_counter()'),
	'and so does the worker');
for my $module (qw(event_store message_bus saga))
{
	is($node->safe_psql('old', "SELECT * FROM $module.verify()"),
		'', "$module.verify() finds nothing");
}

# ---------------------------------------------------------------- the comparison finds what differs
for my $change (
	'ALTER TABLE event_store.stream ADD more int',
	'ALTER TABLE event_store.retention ALTER max_count SET NOT NULL',
	'ALTER TABLE saga.definition ALTER endpoint SET DEFAULT $$x$$',
	'DROP INDEX message_bus.dead_endpoint_idx',
	'ALTER TABLE event_store.stream ENABLE TRIGGER note_restore',
	'ALTER TABLE event_store.stream SET (fillfactor = 51)',
	'ALTER TABLE message_bus.dead REPLICA IDENTITY FULL',
	'ALTER TABLE event_store.upcaster DROP CONSTRAINT upcaster_from_version_check',
	'COMMENT ON FUNCTION saga.run(int) IS $$x$$',
	'COMMENT ON COLUMN event_store.upcaster.owner IS NULL',
	'GRANT SELECT ON event_store.stream TO PUBLIC',
	'REVOKE EXECUTE ON FUNCTION saga.run(int) FROM ecommerce_admin',
	'REVOKE USAGE ON TYPE event_store.event FROM ecommerce_reader',
	'GRANT CREATE ON SCHEMA saga TO ecommerce_admin',
	'ALTER FUNCTION saga.run(int) RESET search_path',
	'ALTER FUNCTION saga.run(int) STABLE',
	'ALTER FUNCTION ecommerce.currencies() ROWS 7',
	'ALTER VIEW event_store.streams RENAME COLUMN version TO versions',
	'ALTER SEQUENCE event_store.position_seq INCREMENT 2',
	'ALTER TYPE ecommerce.item ADD ATTRIBUTE more int',
	'ALTER DOMAIN ecommerce.required_text DROP NOT NULL',
	'ALTER EXTENSION ecommerce DROP VIEW event_store.streams',
	q{UPDATE pg_extension SET extcondition[3] = 'WHERE false' WHERE extname = 'ecommerce'})
{
	isnt(catalogue('fresh', "BEGIN; $change;"), $fresh, "found: $change");
}

# ---------------------------------------------------------------- dumped, restored, dropped
my @views = $others =~ /(public\.on_\d+)/g;
cmp_ok(scalar @views, '>', 20, 'there are views of others');
$node->safe_psql('old', join ';', map { "SELECT count(*) FROM $_" } @views);
$node->safe_psql('old', join ';', map { "DROP VIEW $_" } @views);
my $dump = $node->data_dir . '/../old.dump';
command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('old') ], 'it is dumped');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ],
	'and restored');
same_catalogue(catalogue('restored'), $fresh, 'what is restored is what a fresh one is');
is($node->safe_psql('restored', $load), '{"balance": 6}', 'with its data');
$node->safe_psql('old', join ';',
	'SET client_min_messages = warning', 'SET event_store.allow_drop = on',
	map { "DROP EXTENSION $_ CASCADE" } reverse @extensions);
is( $node->safe_psql('old', q{SELECT string_agg(nspname, ' ') FROM pg_namespace
		WHERE nspname ~ '^(ecommerce|event_store|message_bus|saga)'}),
	'', 'and dropped, without a trace');

# ---------------------------------------------------------------- the next freeze
command_ok([ 'psql', '-Xq', '-d', $node->connstr('filled'), '-f', 't/upgrade/fill.sql' ],
	'this version can be filled as well');

# ---------------------------------------------------------------- a newer one
# The library was put back.
$offset = -s $node->logfile;
$node->safe_psql('newer', q{CREATE EXTENSION ecommerce VERSION '99'});
like(failure_of(q{SELECT event_store.append('order-1', 0, 'OrderPlaced', '{}')}, 'newer'),
	qr/55000: extension "ecommerce" has version 99.*install the library that fits/s,
	'functions refuse a newer SQL part too');
$node->wait_for_log(qr/ecommerce worker idles.*?install the library that fits/s, $offset);
is($node->safe_psql('postgres', sprintf $workers, 'newer'), '1', 'the worker says so and idles');

unlink @made;
done_testing();
