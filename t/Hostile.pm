# Strangers: a session of each role of the extension and of its services, and of one
# without any right, that calls every routine that the catalog knows with what it should
# not be called with, tries every table, and leaves code of its own wherever somebody
# might run it.
#
# Each stranger has a schema evil_NAME whose code, whenever it runs, tries to become
# somebody else and tells the log if it runs as somebody whom its owner may not be. What
# is stored has marks in it that those who may read nothing must not see.
package Hostile;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our $INSIDE = 'mark-of-what-is-stored';
our $OUTSIDE = 'mark-of-another-database';

my $services = 'order inventory payment shipping notification';
our @strangers = (
	[ admin => 'ecommerce_admin' ],
	[ writer => 'ecommerce_writer' ],
	[ reader => 'ecommerce_reader' ],
	[ monitor => 'ecommerce_monitor' ],
	[ nobody => undef ],
	map { [ $_ => "ecommerce_$_" ] } split ' ', $services);

# By type: an ordinary value, and others.
my %values = (
	text => [ q{'thing'}, q{''}, q{'-'}, q{'thing-1'}, q{'$evil'}, q{E'\x01'}, q{'{}'},
		q{repeat('x', 300)}, q{repeat('long ', 200000)}, q{'infinity'}, q{'1 day'}, q{'%s%n'},
		q{'event_store.append'}, q{'"; DROP TABLE x; --'}, q{'on_event(event_store.event)'} ],
	name => [ q{'thing'}, q{''} ],
	bigint => [ qw(1 0 -1 2 -2 -9223372036854775808 9223372036854775807 4294967296) ],
	integer => [ qw(1 0 -1 -2147483648 2147483647 1000) ],
	smallint => [ qw(1 0 -32768 32767) ],
	oid => [ q{'public.read_model'::regclass}, 0, 4294967295, 1259, 16384 ],
	numeric => [ 1, q{'NaN'}, q{'Infinity'}, '-1e1000', '1e131071' ],
	'double precision' => [ 1, q{'NaN'}, q{'Infinity'}, '-1e300' ],
	boolean => [ qw(true false) ],
	uuid => [ q{'00000000-0000-0000-0000-000000000000'}, 'gen_random_uuid()' ],
	'timestamp with time zone' => [ 'now()', q{'infinity'}, q{'-infinity'}, q{'4713-01-01 BC'},
		q{'294276-12-31'} ],
	interval => [ q{'1 s'}, q{'0'}, q{'-1 us'}, q{'178000000 years'}, q{'-178000000 years'} ],
	jsonb => [ q('{"n": 1}'), q('null'), q('[]'), q('{}'), q('""'), q('[{}]'), q('1e999'),
		q('{"kind": "exponential", "limit": 2147483647, "min": "1 us", "max": "1e9 years"}'),
		q((repeat('[', 3000) || repeat(']', 3000))::jsonb),
		q{(SELECT jsonb_object_agg(i, i) FROM generate_series(1, 20000) i)},
		q('[{"event_type": "Evil", "data": {"word": "x"}}]'), q('{"$each": "$.**", "as": "$.**"}'),
		q('{"initial": "A", "events": {"E": {}}, "start": {"E": {"goto": "A"}}, "states": {}}') ],
	regprocedure => [ q{'public.on_event(event_store.event)'}, 0, 4294967295, q{'now()'},
		q{'public.on_state(jsonb,event_store.event)'}, q{'pg_catalog.jsonb_in(cstring)'} ],
	regproc => [ q{'pg_catalog.now'}, 0 ],
	regtype => [ q{'public.payload'}, 0, 4294967295, q{'int4'}, q{'record'}, q{'cstring'} ],
	regclass => [ q{'public.read_model'}, 0, 4294967295, q{'pg_authid'}, q{'event_store.stream'} ],
	internal => ['NULL'],
	trigger => ['NULL'],
	'event_store.new_event' => [ q{ROW('Evil', '{"word": "x"}', NULL, NULL, NULL, NULL)},
		q{ROW(NULL, NULL, NULL, NULL, NULL, NULL)},
		q{ROW('', 'null', '[]', NULL, 'infinity', -1)} ],
);

# Where a value of the type would do, but only some are let through.
my %values_for = (
	mode => [ q{'inline'}, q{'async'} ],
	stream => [ q{'thing-1'}, q{'evil-1'} ],
	retry => [q('{"kind": "none"}')],
	breaker => [q('{"kind": "none"}')],
	headers => [q('{}')],
	metadata => [q('{}')],
	data => [ q('{}'), q('{"word": "x"}') ],
	event_type => [ q{'Evil'}, q{'thing'} ],
	handler => [q{'evil_%s.handle(jsonb,event_store.event)'}],
);

my @environment = split /\n(?!\t)/, <<'EOT';
BEGIN
BEGIN ISOLATION LEVEL SERIALIZABLE
BEGIN READ ONLY
COMMIT
ROLLBACK
SAVEPOINT s
ROLLBACK TO s
RELEASE s
RESET ALL
DISCARD ALL
DISCARD PLANS
SET search_path = %s, pg_catalog
SET ROLE postgres
SET ROLE ecommerce_worker
SET SESSION AUTHORIZATION postgres
SET event_store.allow_rewrite = on
SET event_store.allow_drop = on
SET ecommerce.require_registered_types = on
SET saga.workers = 64
SET message_bus.max_depth = 0
SET row_security = off
SET session_replication_role = replica
SET extra_float_digits = -15
SET timezone = 'Mars/Phobos'
SET datestyle = 'German'
SET plan_cache_mode = force_generic_plan
SET force_parallel_mode = on
SET transform_null_equals = on
SET lc_messages = 'C'
SET default_transaction_isolation = serializable
SET work_mem = 64
LISTEN event_store
NOTIFY event_store, 'x'
SELECT pg_advisory_xact_lock(1)
DECLARE c CURSOR WITH HOLD FOR SELECT 1
FETCH ALL FROM c
CREATE TEMP TABLE stored_event (x int)
CREATE TEMP TABLE pg_class (x int)
CREATE TABLE event_store.mine (x int)
CREATE FUNCTION message_bus.mine() RETURNS int LANGUAGE sql RETURN 1
ALTER TABLE event_store.stored_event OWNER TO CURRENT_USER
DROP EXTENSION ecommerce CASCADE
ALTER EXTENSION ecommerce DROP FUNCTION ecommerce.context()
ALTER EXTENSION ecommerce UPDATE
CREATE SUBSCRIPTION s CONNECTION 'dbname=postgres' PUBLICATION p
GRANT postgres TO CURRENT_USER
ALTER ROLE CURRENT_USER SUPERUSER
ALTER ROLE CURRENT_USER SET search_path = %s
COPY (SELECT 1) TO PROGRAM 'true'
SELECT lo_create(0)
SELECT pg_read_file('PG_VERSION')
PREPARE p AS SELECT event_store.load('evil-1')
EXECUTE p
EXPLAIN ANALYZE SELECT event_store.load('evil-1')
EOT

# What strangers make of their own, again and again and beside one another.
my @objects = split /\n(?!\t)/, <<'EOT';
CREATE DOMAIN %s.bait AS text
ALTER DOMAIN %s.bait ADD CHECK (%s.run('late CHECK'))
CREATE OR REPLACE FUNCTION %s.handle(state jsonb, event event_store.event) RETURNS jsonb
	LANGUAGE sql AS $$ SELECT jsonb_build_object('ran', %s.run('handler')) $$
CREATE OR REPLACE FUNCTION %s.handle(state jsonb, event event_store.event) RETURNS jsonb
	LANGUAGE plpgsql AS $$ BEGIN PERFORM %s.run('handler'); RETURN NULL; END $$
DROP FUNCTION %s.call(jsonb) CASCADE
CREATE OR REPLACE FUNCTION %s.call(document jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT
	jsonb_build_object('ran', %s.run('call')) $$
CREATE FUNCTION %s.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.now() FROM
	(SELECT %s.run('now')) x $$
CREATE FUNCTION %s.same(jsonb, jsonb) RETURNS boolean LANGUAGE sql AS $$ SELECT
	%s.run('operator') $$
CREATE FUNCTION %s.same(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT
	%s.run('operator') $$
CREATE FUNCTION %s.joined(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT
	to_jsonb(%s.run('operator')) $$
CREATE OPERATOR %s.= (LEFTARG = text, RIGHTARG = text, FUNCTION = %s.same)
CREATE OPERATOR %s.= (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = %s.same)
CREATE OPERATOR %s.|| (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = %s.joined)
CREATE FUNCTION %s.jsonb_build_object(VARIADIC "any") RETURNS jsonb LANGUAGE internal AS
	'jsonb_build_object'
CREATE FUNCTION %s.format(text, text) RETURNS text LANGUAGE sql AS $$ SELECT $2 FROM (SELECT
	%s.run('format')) x $$
CREATE TYPE %s.jsonb AS (x int)
DROP TYPE %s.jsonb CASCADE
CREATE FUNCTION %s.cast_it(%s.thing) RETURNS pg_catalog.jsonb LANGUAGE sql AS $$ SELECT
	to_jsonb(%s.run('cast')) $$
CREATE CAST (%s.thing AS pg_catalog.jsonb) WITH FUNCTION %s.cast_it(%s.thing) AS IMPLICIT
CREATE TRIGGER evil AFTER TRUNCATE ON %s.model EXECUTE FUNCTION %s.fire()
CREATE OR REPLACE VIEW %s.spy AS SELECT * FROM event_store.stored_event
SELECT event_store.create_event_handler('evil', 'Evil',
	'%s.handle(jsonb,event_store.event)')
SELECT event_store.create_projection('evil ' || gen_random_uuid(),
	'%s.project(event_store.event)', 'evil', mode => 'inline')
SELECT event_store.create_projection('%s', '%s.project(event_store.event)', 'evil', tables
	=> '{%s.model}')
SELECT event_store.register_event_type('Evil %s', '%s.letter')
SELECT event_store.register_upcaster('Evil', 1, '%s.raise(jsonb)')
SELECT event_store.drop_projection(name) FROM event_store.projections WHERE name LIKE 'evil
	%%'
SELECT event_store.drop_aggregate('evil')
SELECT event_store.create_aggregate('evil', snapshot_every => 1)
SELECT saga.define('%s', '{"endpoint": "%s", "initial": "Z", "events": {"Evil": {}},
	"start": {"Evil": {"call": "%s.call(jsonb)"}}, "states": {"Z": {"kind": "final", "default":
	"ignore"}}}')
SELECT event_store.rebuild_projection('%s')
EOT

# Somebody who may do everything, and whose search_path leads to strangers.
my @victim = split /\n(?!\t)/, <<'EOT';
SELECT event_store.append('evil-1', -1, 'Evil', '{"word": "x"}')
SELECT event_store.append('evil-' || pg_catalog.gen_random_uuid(), 0, 'Evil', '{"word":
	"x"}')
SELECT event_store.append_json('evil-1', -1, '[{"event_type": "Evil", "data": {"word":
	"y"}}]')
SELECT event_store.load('evil-1')
SELECT event_store.check_data('Evil', '{"word": "x"}')
SELECT message_bus.publish('Evil', '{"word": "x"}')
SELECT message_bus.send('thing', 'Evil', '{"word": "x"}')
SELECT saga.run(10)
SELECT event_store.run_projections()
SELECT message_bus.maintain()
SELECT event_store.rebuild_projection(name) FROM event_store.projections LIMIT 1
SELECT event_store.read_stream('evil-1')
SELECT event_store.verify()
SELECT message_bus.verify()
EOT

sub new
{
	my ($class, $node, $seed) = @_;
	my $self = bless { node => $node, seed => $seed,
		files => PostgreSQL::Test::Utils::tempdir() }, $class;

	srand $seed;
	$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce; CREATE DATABASE another');
	for my $service (split ' ', $services)
	{
		$node->safe_psql('postgres', "CREATE EXTENSION ecommerce_$service");
	}
	$node->safe_psql('another', qq{CREATE EXTENSION ecommerce;
		SELECT message_bus.create_endpoint('thing');
		SELECT message_bus.send('thing', 'thing', '{"mark": "$OUTSIDE"}'),
			event_store.append('thing-1', -1, 'thing', '{"mark": "$OUTSIDE"}')
		FROM generate_series(1, 200)});
	$node->safe_psql('postgres', qq{
		CREATE FUNCTION public.on_event(event event_store.event) RETURNS void
			LANGUAGE sql AS 'SELECT';
		CREATE FUNCTION public.on_state(state jsonb, event event_store.event) RETURNS jsonb
			LANGUAGE sql AS 'SELECT state';
		CREATE TYPE public.payload AS (n int);
		CREATE TABLE public.read_model (n int);
		SELECT message_bus.create_endpoint('thing');
		SELECT event_store.create_subscription('thing');
		SELECT event_store.create_aggregate('evil', snapshot_every => 1);
		SELECT message_bus.send('thing', 'thing', '{"mark": "$INSIDE"}'),
			event_store.append('thing-1', -1, 'thing', '{"mark": "$INSIDE"}')
		FROM generate_series(1, 50)});
	$self->_settle(@$_) for @strangers;
	$self->{routines} = [ map { [ split /\t/, $_, -1 ] } split /\n/,
		$node->safe_psql('postgres', q{
			SELECT concat_ws(E'\t', p.oid::regproc, p.prokind, p.proretset, p.provariadic <> 0,
				(SELECT string_agg(coalesce(p.proargnames[a.n], '') || '='
					|| format_type(a.type, NULL), ';' ORDER BY a.n)
				 FROM unnest(p.proargtypes) WITH ORDINALITY a (type, n)))
			FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE p.prokind IN ('f', 'p')
				AND n.nspname ~ '^(ecommerce|event_store|message_bus|saga)($|_)'
				-- What stands for a stranger's registration is his; who calls it by name, as
				-- himself, has it run as himself.
				AND p.proowner::regrole::text NOT LIKE 'hostile%'
			ORDER BY p.oid::regprocedure::text COLLATE "C"}) ];
	$self->{allowed}{$_->[0]} = $self->_allowed("hostile_$_->[0]") for @strangers;
	$self->{relations} = [ split /\n/, $node->safe_psql('postgres', q{
		SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'v', 'S')
			AND n.nspname ~ '^(ecommerce|event_store|message_bus|saga)($|_)'
		ORDER BY c.oid::regclass::text COLLATE "C"}) ];
	return $self;
}

# The routines that a role may call.
sub _allowed
{
	my ($self, $role) = @_;
	my %names = map { $_ => 1 } split /\n/, $self->{node}->safe_psql('postgres', qq{
		SELECT p.oid::regproc FROM pg_proc p
		WHERE has_function_privilege('$role', p.oid, 'EXECUTE')
			AND has_schema_privilege('$role', p.pronamespace, 'USAGE')});

	return [ grep { $names{ $_->[0] } } @{ $self->{routines} } ];
}

# A stranger's role, and code of his.
sub _settle
{
	my ($self, $name, $role) = @_;
	my $evil = "evil_$name";
	my $who = "hostile_$name";

	$self->{node}->safe_psql('postgres', "CREATE ROLE $who LOGIN" . ($role ? " IN ROLE $role" : '')
		  . "; CREATE SCHEMA $evil AUTHORIZATION $who; GRANT USAGE ON SCHEMA $evil TO PUBLIC");
	# What he may not make, he does not have.
	my $code = <<"EOT" =~ s/%s/$evil/gr;
CREATE FUNCTION %s.run(why text) RETURNS boolean LANGUAGE plpgsql AS \$\$
DECLARE
	attempt text;
BEGIN
	FOREACH attempt IN ARRAY ARRAY['SELECT 1', 'SET ROLE postgres', 'RESET ROLE',
		'SET SESSION AUTHORIZATION DEFAULT', 'ALTER ROLE $who SUPERUSER',
		'GRANT ecommerce_worker TO $who', 'CREATE TEMP TABLE IF NOT EXISTS pg_proc (x int)',
		'LISTEN evil', 'SELECT set_config(''search_path'', ''%s'', false)',
		'SELECT set_config(''role'', ''none'', false)']
	LOOP
		BEGIN
			EXECUTE attempt;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
		IF NOT pg_catalog.pg_has_role('$who', current_user, 'MEMBER') THEN
			RAISE LOG 'canary: code of $who runs as % after % in %', current_user, attempt, why;
		END IF;
	END LOOP;
	RETURN true;
END
\$\$;
CREATE TYPE %s.thing AS (x int);
CREATE TABLE %s.model (x int);
CREATE DOMAIN %s.word AS text CHECK (%s.run('CHECK'));
CREATE TYPE %s.letter AS (word %s.word, words %s.word[]);
CREATE FUNCTION %s.fire() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM %s.run('trigger');
	RETURN NULL;
END
\$\$;
CREATE FUNCTION %s.raise(data jsonb) RETURNS jsonb LANGUAGE sql
AS \$\$ SELECT data || jsonb_build_object('ran', %s.run('upcaster')) \$\$;
CREATE FUNCTION %s.call(document jsonb) RETURNS jsonb LANGUAGE sql
AS \$\$ SELECT jsonb_build_object('ran', %s.run('call')) \$\$;
CREATE FUNCTION %s.project(event event_store.event) RETURNS void LANGUAGE plpgsql
AS \$\$ BEGIN PERFORM %s.run('projection'); END \$\$;
CREATE FUNCTION %s.handle(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS \$\$ SELECT jsonb_build_object('ran', %s.run('handler')) \$\$;
SELECT event_store.create_event_handler('evil', 'Evil', '%s.handle(jsonb,event_store.event)');
SELECT event_store.register_event_type('Evil', '%s.letter');
EOT
	$self->{node}->psql('postgres', $code, extra_params => [ '-U', $who ]);
	return;
}

sub _pick { return $_[ int rand @_ ] }

sub _argument
{
	my ($self, $name, $type, $evil) = @_;
	my $value;

	return "NULL::$type" if rand() < 0.15;
	if ($type =~ /^(.*)\[\]$/)
	{
		my $element = $1;

		return _pick("'{}'::$type", "'{NULL}'::$type", "'{{NULL,NULL},{NULL,NULL}}'::$type",
			"array_fill(NULL::$element, '{2000}')")
		  if rand() < 0.3;
		return 'ARRAY[' . join(', ', map { $self->_argument($name, $element, $evil) } 0 .. rand 3)
		  . "]::$type";
	}
	if ($values_for{$name} && rand() < 0.6)
	{
		$value = _pick(@{ $values_for{$name} });
		$value = $evil ? $value =~ s/%s/$evil/r : undef if $value =~ /%s/;
	}
	$value //= "ROW(1)::$evil.thing" if $evil && $type eq 'jsonb' && rand() < 0.03;
	$value //= "'x'::$evil.word" if $evil && $type eq 'text' && rand() < 0.03;
	my $known = $values{$type} // ['NULL'];
	$value //= rand() < 0.5 ? $known->[0] : _pick(@$known);
	return "($value)::$type";
}

sub _call
{
	my ($self, $evil, $routines) = @_;
	my ($name, $kind, $set, $variadic, $arguments) = @{ _pick(@$routines) };
	my @arguments = map { [ split /=/, $_, 2 ] } split /;/, $arguments // '';
	my @list = map { $self->_argument(@$_, $evil) } @arguments;

	$list[-1] = "VARIADIC $list[-1]" if $variadic eq 't';
	$self->{called}{$name} = 1;
	my $verb = $kind eq 'p' ? 'CALL' : $set eq 't' ? 'SELECT * FROM' : 'SELECT';
	return "$verb $name(" . join(', ', @list) . ')';
}

# Something that a stranger says.
sub statement
{
	my ($self, $name) = @_;
	my $evil = "evil_$name";
	my $relation = _pick(@{ $self->{relations} });
	my $allowed = $self->{allowed}{$name};
	my $kind = rand;

	return $self->_call($evil, @$allowed && rand() < 0.8 ? $allowed : $self->{routines})
	  if $kind < 0.7;
	return _pick(@environment) =~ s/%s/$evil/gr if $kind < 0.78;
	return _pick(@objects) =~ s/%s/$evil/gr =~ s/%%/%/gr if $kind < 0.90;
	return _pick("SELECT * FROM $relation", "DELETE FROM $relation", "TRUNCATE $relation CASCADE",
		"LOCK $relation", "SELECT nextval('$relation')", "SELECT setval('$relation', 1)",
		"UPDATE $relation SET (ctid) = (SELECT NULL)", "INSERT INTO $relation DEFAULT VALUES",
		"SELECT ($relation.*)::text FROM $relation", "CREATE INDEX ON $relation ((1))",
		"COPY $relation TO STDOUT", "ALTER TABLE $relation DISABLE TRIGGER ALL");
}

# One round: everybody says so many things at once. Returns what each was told, by name.
sub round
{
	my ($self, $count) = @_;
	my %told;
	my @running;

	for my $name ((map { $_->[0] } @strangers), 'victim')
	{
		my $file = "$self->{files}/$name.sql";
		my $path = join ', ', map { "evil_$_->[0]" } @strangers;
		my @says = $name eq 'victim'
		  ? ("SET search_path = $path, pg_catalog", map {
			rand() < 0.5 ? _pick(@victim)
			: ('SET search_path = pg_catalog, public', $self->_call(undef, $self->{routines}),
				"SET search_path = $path, pg_catalog") } 1 .. $count / 2)
		  : map { $self->statement($name) } 1 .. $count;

		unlink $file;
		my $limits = "SET statement_timeout = '1 s'; SET lock_timeout = '50 ms'";
		append_to_file($file,
			join('', map { "$_;\n" } $limits, map { /\bALL$/ ? ($_, $limits) : $_ } @says));
		$told{$name} = '';
		push @running, IPC::Run::start(
			[ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_ROLLBACK=on', '-f', $file,
				'-d', $self->{node}->connstr('postgres')
				  . ' user=' . ($name eq 'victim' ? 'postgres' : "hostile_$name") ],
			'<', \undef, '>&', \$told{$name}, IPC::Run::timeout(600));
	}
	$_->finish for @running;
	return \%told;
}

# Routines that nobody has called yet.
sub forgotten
{
	my ($self) = @_;

	return grep { !$self->{called}{$_} } map { $_->[0] } @{ $self->{routines} };
}

1;
