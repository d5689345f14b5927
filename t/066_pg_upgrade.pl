# pg_upgrade carries the extension and everything in it, with the library preloaded on
# both sides: what could be read can be read, verify is clean, and all goes on.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($old, $new) = map { PostgreSQL::Test::Cluster->new($_) } 'old', 'new';
for my $node ($old, $new)
{
	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
}
$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE shop');
$old->safe_psql($_, 'CREATE EXTENSION ecommerce') for 'postgres', 'shop';
$old->safe_psql('shop', q{
	SELECT count(event_store.append('order-' || i % 40, -1, 'Placed', jsonb_build_object('i', i)))
	FROM generate_series(1, 400) i;
	SELECT event_store.create_subscription('mailer', 'order', partitions => 3);
	SELECT event_store.set_retention('order-3', max_count => 4);
	SELECT event_store.tombstone_stream('order-8', -1);
	CREATE FUNCTION count_up(state jsonb, event event_store.event) RETURNS jsonb
		IMMUTABLE LANGUAGE sql
		AS $$ SELECT jsonb_build_object('n', coalesce((state ->> 'n')::int, 0) + 1) $$;
	SELECT event_store.create_aggregate('order');
	SELECT event_store.create_event_handler('order', 'Placed',
		'count_up(jsonb, event_store.event)');
	DO $$
	DECLARE
		last bigint;
	BEGIN
		SELECT max(position) INTO last FROM event_store.fetch('mailer', 50);
		PERFORM event_store.advance('mailer', last);
	END $$;
	BEGIN;
	SELECT count(event_store.append('order-1', -1, 'Placed', '{}')) FROM generate_series(1, 50);
	ROLLBACK});

# What has to be the same afterwards.
my $state = q{
	SELECT count(*), md5(string_agg(e::text, '|' ORDER BY position))
	FROM event_store.read_all(0, 100000) e;
	SELECT name, partition, checkpoint, lag_events FROM event_store.subscriptions ORDER BY 1, 2;
	SELECT event_store.load('order-5');
	SELECT count(*) FROM event_store.read_stream('order-3');
	SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'};
my $before = $old->safe_psql('shop', $state);
my $mark = $old->safe_psql('shop', 'SELECT event_store.high_water_mark()');
$old->stop;

my $programs = $old->config_data('--bindir');
{
	# pg_upgrade writes into the directory that it is started in.
	my $directory = PostgreSQL::Test::Utils::tempdir();
	command_ok(
		[
			'sh', '-c', 'cd "$1" && shift && exec "$@"', 'sh', $directory,
			'pg_upgrade', '--no-sync', '--retain', '-b', $programs, '-B', $programs,
			'-d', $old->data_dir, '-D', $new->data_dir, '-s', $new->host,
			'-p', $old->port, '-P', $new->port
		],
		'pg_upgrade');
}
my @logs = glob $new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log';
is(scalar @logs, 1, 'the log of the servers that it ran');
my @complaints =
  grep { /ERROR|FATAL|PANIC|"ecommerce (?:launcher|worker)/ } split /^/, slurp_file($logs[0]);
is(join('', @complaints), '', 'no worker of ours ran in the upgrade');

$new->start;
is($new->safe_psql('shop', $state), $before, 'everything is as it was');
is($new->safe_psql('shop', 'SELECT * FROM event_store.verify()'), '', 'verify finds nothing');
my $next = q{SELECT "position" FROM event_store.append('order-1', 10, 'Placed', '{}')};
cmp_ok($new->safe_psql('shop', $next), '>', $mark, 'positions go on above the old mark');
my ($status, $stdout, $stderr) = $new->psql(
	'shop', q{SELECT event_store.append('order-8', -1, 'Placed', '{}')},
	extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
like($stderr, qr/ST002/, 'a tombstone stays');
for my $database ('postgres', 'shop')
{
	ok( $new->poll_query_until($database, "SELECT count(*) = 1 FROM pg_stat_activity
			WHERE backend_type = 'ecommerce worker' AND datname = '$database'"),
		"database $database has its worker");
}
$new->stop;
done_testing();
