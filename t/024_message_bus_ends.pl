# Nothing that was accepted ends without an ack, a dead letter, or somebody's cancelling
# it, and nothing ends twice: counted over every way in which deliveries end, in
# transactions that commit or not, under leases that are kept or run out, with circuit
# breakers that open and policies that change meanwhile.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
message_bus.dedupe_window = 1s
log_min_messages = error
client_min_messages = error
EOT
$node->start;
$node->safe_psql('postgres', <<'EOT');
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint('q', 3, '{"kind": "immediate", "limit": 3}',
	'{"tracking_period": "1 min", "trip_threshold": 30, "active_threshold": 5,
	"reset_interval": "50 ms"}');
CREATE TABLE sent (message_id uuid PRIMARY KEY);
CREATE TABLE ended (message_id uuid, how text);
CREATE FUNCTION chance(percent int) RETURNS boolean LANGUAGE sql AS
	$$ SELECT random() * 100 < percent $$;
CREATE FUNCTION produce() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	id uuid;
BEGIN
	FOR i IN 1..5 LOOP
		id := gen_random_uuid();
		INSERT INTO sent VALUES (id);
		PERFORM message_bus.send('q', 'T' || i % 2, '{}', id, partition_key => 'k' || i,
			deliver_at => CASE WHEN chance(30) THEN clock_timestamp() + interval '30 ms' END,
			expires_at => CASE WHEN chance(20) THEN clock_timestamp() + interval '60 ms' END);
	END LOOP;
	SELECT a.message_id INTO id FROM message_bus.aside a WHERE a.state = 'scheduled' LIMIT 1;
	IF chance(50) AND message_bus.cancel_scheduled(id) THEN
		INSERT INTO ended VALUES (id, 'cancelled');
	END IF;
END $$;
CREATE FUNCTION ack(d message_bus.delivery) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO ended VALUES (d.message_id, 'acked');
	PERFORM message_bus.ack(d.delivery_id);
END $$;
CREATE FUNCTION settle(d message_bus.delivery) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CASE floor(random() * 12)
		WHEN 0, 1 THEN PERFORM message_bus.fail(d.delivery_id, 'E', 'again');
		WHEN 2 THEN PERFORM message_bus.fail(d.delivery_id, 'E', 'never', false);
		WHEN 3 THEN PERFORM message_bus.skip(d.delivery_id);
		WHEN 4 THEN PERFORM message_bus.snooze(d.delivery_id, '20 ms');
		WHEN 5 THEN NULL;
		WHEN 6 THEN
			BEGIN
				PERFORM ack(d), message_bus.send('q', 'T1', '{}'), 1 / 0;
			EXCEPTION WHEN division_by_zero THEN
				PERFORM message_bus.fail(d.delivery_id, 'E', 'after a savepoint');
			END;
		ELSE PERFORM ack(d);
	END CASE;
-- A lease that has run out meanwhile.
EXCEPTION WHEN SQLSTATE 'MB003' THEN NULL;
END $$;
CREATE FUNCTION consume(lease interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
BEGIN
	FOR d IN SELECT * FROM message_bus.receive('q', 10, lease) LOOP
		PERFORM message_bus.handle(d.delivery_id) WHERE lease IS NULL;
		PERFORM settle(d);
	END LOOP;
END $$;
CREATE TABLE leased (d message_bus.delivery);
CREATE FUNCTION lease() RETURNS void LANGUAGE sql AS
	$$ INSERT INTO leased SELECT d FROM message_bus.receive('q', 5, '40 ms') d $$;
CREATE FUNCTION settle_leased() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	l message_bus.delivery;
BEGIN
	FOR l IN DELETE FROM leased WHERE ctid IN (SELECT ctid FROM leased LIMIT 3
			FOR UPDATE SKIP LOCKED) RETURNING (d).* LOOP
		IF chance(80) THEN
			PERFORM settle(l);
		END IF;
	END LOOP;
END $$;
CREATE FUNCTION operate() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	id uuid;
BEGIN
	SELECT message_id INTO id FROM message_bus.dead ORDER BY random() LIMIT 1;
	CASE floor(random() * 6)
		WHEN 0 THEN PERFORM message_bus.redrive(id);
		WHEN 1 THEN PERFORM message_bus.discard(id);
		WHEN 2 THEN PERFORM message_bus.reset_breaker('q', 'T1');
		WHEN 3 THEN PERFORM message_bus.alter_endpoint('q', breaker => 'none');
		WHEN 4 THEN PERFORM message_bus.alter_endpoint('q', breaker =>
			'{"tracking_period": "1 min", "trip_threshold": 20, "active_threshold": 3,
			"reset_interval": "30 ms"}');
		ELSE PERFORM message_bus.redrive_endpoint('q', max => 3);
	END CASE;
END $$;
-- Acks what is left, until nothing is.
CREATE PROCEDURE drain() LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
BEGIN
	LOOP
		FOR d IN SELECT * FROM message_bus.receive('q', 1000) LOOP
			PERFORM ack(d);
		END LOOP;
		COMMIT;
		IF NOT FOUND THEN
			EXIT WHEN (SELECT depth + in_flight + scheduled + retrying FROM message_bus.endpoints
				WHERE name = 'q') = 0;
			PERFORM pg_sleep(0.01);
		END IF;
	END LOOP;
END $$;
EOT

# Each client does its part so many times, all at once.
my %script = (
	produce => "SELECT produce();\n",
	consume => <<'EOT',
\set keep random(1, 8)
BEGIN;
SELECT consume(NULL);
\if :keep = 1
ROLLBACK;
\else
COMMIT;
\endif
EOT
	lease => "SELECT lease();\nSELECT settle_leased();\n",
	operate => "SELECT operate();\n");
my $directory = PostgreSQL::Test::Utils::tempdir();
my @files;
for my $name (sort keys %script)
{
	append_to_file("$directory/$name", $script{$name});
	push @files, '-f', "$directory/$name" . ($name eq 'operate' ? '@1' : '@4');
}
$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '150', '--max-tries=10',
		@files, '-h', $node->host, '-p', $node->port, 'postgres' ], 'everybody does his part');

$node->safe_psql('postgres', q{SELECT message_bus.alter_endpoint('q', breaker => 'none')});
$node->safe_psql('postgres', 'CALL drain()');
is( $node->safe_psql('postgres', q{
		SELECT count(*) > 500,
			count(*) FILTER (WHERE e.times IS NULL AND d.message_id IS NULL),
			count(*) FILTER (WHERE e.times > 1 OR e.times = 1 AND d.message_id IS NOT NULL)
		FROM sent
		LEFT JOIN (SELECT message_id, count(*) AS times FROM ended GROUP BY 1) e USING (message_id)
		LEFT JOIN message_bus.dead_letters d USING (message_id)}),
	't|0|0', 'none has vanished, none has ended twice');
like( $node->safe_psql('postgres', q{SELECT string_agg(how, ' ' ORDER BY how) FROM
		(SELECT DISTINCT how FROM ended UNION SELECT DISTINCT reason FROM message_bus.dead_letters
		UNION SELECT DISTINCT error_code FROM message_bus.dead_letters) h}),
	qr/^E acked cancelled discarded expired fault skipped/, 'in every way there is');
# Whoever settles a message while somebody writes its deaths down does not see that row: it
# goes all the same, soon after the other one has ended.
$node->safe_psql('postgres', q{
	SELECT message_bus.create_endpoint('deadly', 1), message_bus.create_endpoint('other', 1);
	SELECT message_bus.send('deadly', 'T', '{}')});
my $workers = q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'ecommerce worker%'};
my ($worker) = split /\n/, $node->safe_psql('postgres', $workers);
kill 'STOP', $worker;
$node->psql('postgres', q{BEGIN; SELECT message_bus.handle(delivery_id)
	FROM message_bus.receive('deadly', 1); SELECT pg_terminate_backend(pg_backend_pid())});
my $writer = $node->background_psql('postgres');
$writer->query_safe(q{BEGIN; SELECT count(*) FROM message_bus.receive('other', 1)});
is($writer->query_safe(q{SELECT deaths FROM message_bus.death}), '1', 'a death is written down');
is( $node->safe_psql('postgres', q{SELECT attempt, message_bus.ack(delivery_id) IS NOT NULL
	FROM message_bus.receive('deadly', 1)}), '2|t', 'its message is settled meanwhile');
$writer->query_safe('COMMIT');
$writer->quit;
kill 'CONT', $worker;
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM message_bus.death'),
	'the row goes');

$node->stop;
done_testing();
