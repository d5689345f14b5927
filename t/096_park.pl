# A subscription with poison goes on, whoever consumes it: three consumers, of whom one is
# terminated with the poison in his hands. What is parked and the checkpoints are carried by
# pg_dump and a parallel restore, and replayed there.
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
	CREATE TABLE done (n bigserial, stream text, version bigint, UNIQUE (stream, version));
	CREATE TABLE poison (version bigint, deadly boolean);
	CREATE PROCEDURE consume(name text) LANGUAGE plpgsql AS $$
	DECLARE
		event event_store.event;
		last bigint;
	BEGIN
		FOR event IN SELECT * FROM event_store.fetch(name, 10) LOOP
			PERFORM pg_terminate_backend(pg_backend_pid()) FROM poison p
			WHERE p.version = event.version AND event.stream = 'order-1' AND p.deadly;
			IF EXISTS (SELECT FROM poison p WHERE p.version = event.version
				AND event.stream = 'order-1') THEN
				RAISE EXCEPTION 'poison';
			END IF;
			INSERT INTO done (stream, version) VALUES (event.stream, event.version);
			last := event.position;
		END LOOP;
		IF last IS NOT NULL THEN
			PERFORM event_store.advance(name, last);
		END IF;
	END $$;
	INSERT INTO poison VALUES (4, true), (9, false);
	SELECT event_store.create_subscription('mailer', 'order', partitions => 3);
	SELECT event_store.alter_subscription('mailer', park_after => 3);
	SELECT count(event_store.append('order-' || i % 6, -1, 'Placed', '{}'))
	FROM generate_series(1, 120) i});

# Consumers come and go, as long as there is something to read.
my $script = PostgreSQL::Test::Utils::tempdir() . '/consume.sql';
append_to_file($script, "CALL consume('mailer');\n");

sub consume_until
{
	my ($database, $condition, $what) = @_;

	for (my $round = 0; $round < 200; $round++)
	{
		IPC::Run::run([ 'pgbench', '-n', '-c', 3, '-j', 1, '-t', 20, '-f', $script,
				'-h', $node->host, '-p', $node->port, $database ],
			'>', \my $out, '2>', \my $err);
		last if $node->safe_psql($database, "SELECT $condition") eq 't';
	}
	is($node->safe_psql($database, "SELECT $condition"), 't', $what);
}

consume_until('shop', q{(SELECT count(*) FROM done) = 118},
	'everything but the poison is dealt with');
is($node->safe_psql('shop',
		q{SELECT stream, version, attempts FROM event_store.parked_events ORDER BY version}),
	"order-1|4|3\norder-1|9|3", 'the poison is parked, also what ends its consumer');
is($node->safe_psql('shop', q{SELECT bool_and(ordered) FROM (
		SELECT version > coalesce(lag(version) OVER (PARTITION BY stream ORDER BY n), 0) AS ordered
		FROM done) d}),
	't', 'every stream in order');

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fd', '-j', 2, '-f', $dump, 'shop' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-j', 2, '-d', 'copy', $dump ], 'pg_restore');
my $state = q{SELECT p.*, s.park_after FROM event_store.parked_event p
	JOIN event_store.subscription s ON s.name = p.subscription ORDER BY position;
	SELECT * FROM event_store.subscription_partition ORDER BY partition};
is($node->safe_psql('copy', $state), $node->safe_psql('shop', $state), 'as it was in the dump');

for my $database ('shop', 'copy')
{
	$node->safe_psql($database, q{TRUNCATE poison; SELECT event_store.replay_parked('mailer')});
	consume_until($database, q{(SELECT count(*) FROM done) = 120
			AND NOT EXISTS (SELECT FROM event_store.parked_events)}, "$database: replayed");
	is($node->safe_psql($database, q{SELECT array_agg(version ORDER BY n) FILTER (WHERE n > 118)
			FROM (SELECT version, row_number() OVER (ORDER BY n) AS n FROM done) d}),
		'{4,9}', "$database: in their order");
}

$node->stop;
done_testing();
