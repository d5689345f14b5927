# On a hot standby aggregates are loaded, contracts checked and described, old events upcast, and
# projections looked at, as on the primary; what would write is refused with 25006. After a
# promotion snapshots are used and projections go on where they stood.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$primary->start;
$primary->safe_psql(
	'postgres', q{
	CREATE EXTENSION ecommerce;
	SELECT ecommerce.install_order_aggregate();
	CREATE FUNCTION counted(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_build_object('n', (state ->> 'n')::int + ((event).data ->> 'by')::int) $$;
	CREATE FUNCTION by_one(data jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT data || '{"by": 1}' $$;
	SELECT event_store.create_aggregate('meter', '{"n": 0}', 10);
	SELECT event_store.create_event_handler('meter', 'Counted',
		'counted(jsonb, event_store.event)');
	SELECT event_store.register_upcaster('Counted', 1, 'by_one(jsonb)');
	SELECT event_store.save('meter-1', 0, array_fill(
		ROW('Counted', '{}', NULL, NULL, NULL, NULL)::event_store.new_event, '{25}'));
	CREATE TABLE got (at bigint);
	CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE sql
	AS $$ INSERT INTO public.got VALUES ((event).position) $$;
	SELECT event_store.create_projection('inline', 'note(event_store.event)', mode => 'inline');
	-- Paused before the worker sees it.
	BEGIN;
	SELECT event_store.create_projection('notes', 'note(event_store.event)', tables => '{got}');
	SELECT event_store.pause_projection('notes');
	COMMIT });
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
# Something that came after the backup, and is no upcast event.
$primary->safe_psql(
	'postgres', q{
	SELECT event_store.register_event_type('Read', 'ecommerce.order_completed');
	SELECT event_store.save('meter-1', 25, array_fill(
		ROW('Counted', '{"by": 1}', NULL, NULL, NULL, NULL)::event_store.new_event, '{2}')) });
$primary->wait_for_catchup($standby);

my %same = (
	'an aggregate' => q{SELECT state, version FROM event_store.load('meter-1')},
	'an aggregate as it was' => q{SELECT state, version FROM event_store.load('meter-1', 7)},
	'an unknown stream' => q{SELECT state IS NULL, version FROM event_store.load('meter-2')},
	'old events' => q{SELECT version, schema_version, data
		FROM event_store.read_stream('meter-1', 24)},
	'the description of the types' => 'SELECT md5(event_store.asyncapi()::text)',
	'a projection' => q{SELECT name, mode, state, lag_events FROM event_store.projections
		ORDER BY name});
for my $what (sort keys %same)
{
	is($standby->safe_psql('postgres', $same{$what}), $primary->safe_psql('postgres', $same{$what}),
		"$what is the same on the standby");
}
is($standby->safe_psql('postgres', $same{'an aggregate'}), '{"n": 27}|27', 'as it should be');

# The SQLSTATE that a statement fails with.
sub sqlstate_of
{
	my ($sql) = @_;
	my ($code, $out, $err) =
	  $standby->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $err =~ /ERROR:  (\w{5})/ ? $1 : "none: $err";
}
is(sqlstate_of(q{SELECT event_store.check_data('Read', '{"a": 1}')}), 'ST004',
	'data are checked by what was registered since');
my @writing = (
	q{event_store.save('meter-1', 27, ARRAY[ROW('Counted', '{}', NULL, NULL, NULL, NULL)
		::event_store.new_event])},
	q{event_store.create_aggregate('x')},
	q{event_store.create_event_handler('meter', 'X', 'counted(jsonb, event_store.event)')},
	q{event_store.register_event_type('X', 'ecommerce.item')},
	q{event_store.register_upcaster('X', 1, 'by_one(jsonb)')},
	q{event_store.create_projection('x', 'note(event_store.event)')},
	q{event_store.pause_projection('notes')},
	q{event_store.rebuild_projection('notes')},
	q{event_store.run_projections()},
	q{ecommerce.register_contracts()});
for my $call (@writing)
{
	is(sqlstate_of("SELECT $call"), '25006', "refused: $call");
}

$primary->stop;
$standby->promote;
$standby->safe_psql('postgres', q{UPDATE event_store.snapshot SET state = '{"n": 100}'});
is($standby->safe_psql('postgres', $same{'an aggregate'}), '{"n": 102}|27',
	'promoted: a snapshot is used');
$standby->safe_psql(
	'postgres', q{SELECT event_store.save('meter-1', 27, ARRAY[
		ROW('Counted', '{}', NULL, NULL, NULL, NULL)::event_store.new_event]);
	TRUNCATE got;
	SELECT event_store.resume_projection('notes') });
ok( $standby->poll_query_until('postgres', q{SELECT state = 'running' AND lag_events = 0
		FROM event_store.projections WHERE name = 'notes'}),
	'the projection goes on');
is( $standby->safe_psql('postgres', q{SELECT count(*), count(DISTINCT at),
		(SELECT count(*) FROM event_store.stored_event) FROM got}),
	'28|28|28', 'and has every event once');

$standby->stop;
done_testing();
