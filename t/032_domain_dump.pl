# Dump and restore keep contracts, upcasters, aggregates, snapshots, projections and their
# checkpoints, and with whose rights code runs. While the restore is connected no projection
# runs: its tables are not there yet.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql(
	'shop', q{
	CREATE EXTENSION ecommerce;
	SELECT ecommerce.install_order_aggregate();
	CREATE TYPE letter_v1 AS (words int);
	CREATE TYPE letter_v2 AS (pages int);
	CREATE FUNCTION to_pages(data jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_build_object('pages', (data ->> 'words')::int / 300) $$;
	SELECT event_store.register_event_type('Written', 'letter_v1');
	SELECT event_store.append('letter-1', 0, 'Written', '{"words": 900}');
	SELECT event_store.register_event_type('Written', 'letter_v2', 2);
	SELECT event_store.register_upcaster('Written', 1, 'to_pages(jsonb)');

	CREATE FUNCTION counted(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_build_object('n', (state ->> 'n')::int + 1) $$;
	SELECT event_store.create_aggregate('meter', '{"n": 0}', 10);
	SELECT event_store.create_event_handler('meter', 'Counted',
		'counted(jsonb, event_store.event)');
	SELECT event_store.save('meter-1', 0, array_fill(
		ROW('Counted', '{}', NULL, NULL, NULL, NULL)::event_store.new_event, '{25}'));

	CREATE TABLE tally (stream text PRIMARY KEY, n int);
	CREATE TABLE tally_inline (LIKE tally INCLUDING ALL);
	CREATE FUNCTION tally(event event_store.event) RETURNS void LANGUAGE sql
	AS $$ INSERT INTO public.tally AS t VALUES ((event).stream, 1)
		ON CONFLICT (stream) DO UPDATE SET n = t.n + 1 $$;
	CREATE FUNCTION tally_inline(event event_store.event) RETURNS void LANGUAGE sql
	AS $$ INSERT INTO public.tally_inline AS t VALUES ((event).stream, 1)
		ON CONFLICT (stream) DO UPDATE SET n = t.n + 1 $$;
	SELECT event_store.create_projection('tally', 'tally(event_store.event)', 'meter',
		tables => '{tally}');
	SELECT event_store.create_projection('inline', 'tally_inline(event_store.event)', 'meter',
		mode => 'inline', tables => '{tally_inline}');
	SELECT event_store.rebuild_projection('inline');

	CREATE ROLE dev IN ROLE ecommerce_admin;
	CREATE SCHEMA dev AUTHORIZATION dev;
	SET ROLE dev;
	CREATE FUNCTION dev.who(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_build_object('who', current_user) $$;
	SELECT event_store.create_aggregate('owned');
	SELECT event_store.create_event_handler('owned', 'A', 'dev.who(jsonb, event_store.event)');
	SELECT event_store.append('owned-1', 0, 'A', '{}');
	ALTER FUNCTION dev.who(jsonb, event_store.event) RENAME TO who_is_it;
});
ok( $node->poll_query_until('shop', "SELECT bool_and(state = 'running' AND lag_events = 0)
		FROM event_store.projections"),
	'the projections are up to date');
# Both are behind when the dump is made: one is paused, the other had better not run yet.
$node->safe_psql(
	'shop', q{
	SELECT event_store.pause_projection('tally'), event_store.pause_projection('inline');
	SELECT event_store.save('meter-1', 25, array_fill(
		ROW('Counted', '{}', NULL, NULL, NULL, NULL)::event_store.new_event, '{3}'));
	UPDATE event_store.projection_progress SET paused = false WHERE name = 'tally' });
my @tables = map { "event_store.$_" } qw(event_type upcaster aggregate event_handler snapshot
  projection projection_deferred);
my $contents = join ' UNION ALL ',
  (map { "SELECT '$_', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM $_ t" }
	  @tables);
# The worker may have gone on with tally in between; its row tells what must be true of the table.
$node->safe_psql('shop', "SELECT event_store.pause_projection('tally')");
my $before = $node->safe_psql('shop', $contents);
unlike($before, qr/\|0\|/, 'there is something of everything to dump');

my $file = $node->basedir . '/shop.sql';
$node->command_ok([ 'pg_dump', '-f', $file, '-d', $node->connstr('shop') ], 'pg_dump');
# As if it had been dumped while it ran.
my $dump = slurp_file($file);
$dump =~ s/^(tally\t\d+\t\\N\t\\N\t)t\t/$1f\t/m or die 'no row of tally in the dump';
unlink $file;
append_to_file($file, $dump);

$node->safe_psql('postgres', 'CREATE DATABASE copy');
my $restore = $node->background_psql('copy', on_error_stop => 1);
$restore->query_safe("\\i $file");
is($node->safe_psql('copy', $contents), $before, 'every table is as it was');
is($node->safe_psql('copy', 'SELECT event_store.run_projections()'), '0',
	'no projection runs while the restore is connected');
$restore->quit;
ok( $node->poll_query_until('copy', "SELECT state = 'running' AND lag_events = 0
		FROM event_store.projections WHERE name = 'tally'"),
	'then it goes on');
is($node->safe_psql('copy', 'SELECT * FROM tally'), 'meter-1|28', 'where it stood');
is( $node->safe_psql('copy', "SELECT state, lag_events, (SELECT n FROM tally_inline)
		FROM event_store.projections WHERE name = 'inline'"),
	'paused|3|25', 'one that was paused stays so');
$node->safe_psql('copy', "SELECT event_store.resume_projection('inline')");
ok( $node->poll_query_until('copy', "SELECT state = 'running' AND lag_events = 0
		FROM event_store.projections WHERE name = 'inline'"),
	'until it is resumed');
is($node->safe_psql('copy', 'SELECT * FROM tally_inline'), 'meter-1|28', 'and gets what it missed');

# Snapshots are still usable: what they say is what is loaded.
$node->safe_psql('copy', q{UPDATE event_store.snapshot SET state = '{"n": 1000}'});
is($node->safe_psql('copy', q{SELECT state FROM event_store.load('meter-1')}), '{"n": 1003}',
	'a snapshot is used after the restore');
is($node->safe_psql('copy', q{SELECT schema_version, data
	FROM event_store.read_stream('letter-1')}),
	'2|{"pages": 3}', 'upcasters are');
my ($code, $out, $err) = $node->psql('copy',
	q{SELECT event_store.append('letter-1', 1, 'Written', '{"words": 1}')});
like($err, qr/words of "Written" version 2 is not a known key/, 'contracts are');
is($node->safe_psql('copy', 'SELECT * FROM event_store.verify()'), '', 'the store is sound');
my $who = q{SELECT state FROM event_store.load('owned-1')};
is($node->safe_psql('copy', $who), '{"who": "dev"}',
	'code runs with the rights it had, under its new name');

# Dumped and restored again, nothing has changed.
$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$file.2", '-d', $node->connstr('copy') ],
	'pg_dump again');
$node->command_ok([
		'pg_restore', '--exit-on-error', '-j', '2', '-d', $node->connstr('again'), "$file.2"
	],
	'pg_restore again');
is($node->safe_psql('again', $contents), $node->safe_psql('copy', $contents),
	'every table is as it was');
is($node->safe_psql('again', $who), '{"who": "dev"}', 'and so are rights, restored in parallel');

# Everything belongs to the superuser now, but he has not registered it.
$node->safe_psql('postgres', 'CREATE DATABASE orphan');
$node->command_ok(
	[ 'pg_restore', '--exit-on-error', '--no-owner', '-d', $node->connstr('orphan'), "$file.2" ],
	'pg_restore --no-owner');
($code, $out, $err) = $node->psql('orphan', $who);
like($err, qr/was registered by role "dev", and belongs to superuser/,
	'nothing that others wrote runs as a superuser');
is($node->safe_psql('orphan', q{SELECT state FROM event_store.load('meter-1')}),
	$node->safe_psql('copy', q{SELECT state FROM event_store.load('meter-1')}),
	'what he has registered himself does');

$node->stop;
done_testing();
