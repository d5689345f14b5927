# Messages of every kind stay what they are through a crash, a restart, the promotion
# of a standby, and pg_dump and pg_restore: unconsumed, scheduled, leased, retrying,
# returned, held by a breaker, dead, deadly; and so do breakers, receipts and known ids.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
# Ids are known longer than the slowest machine needs.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'\nfsync = on\n"
	  . "message_bus.dedupe_window = '1 d'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', <<'EOT');
CREATE EXTENSION ecommerce;
CREATE FUNCTION uid(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;
CREATE FUNCTION send(endpoint text, n int, type text DEFAULT 'T',
	deliver_at timestamptz DEFAULT NULL) RETURNS uuid LANGUAGE sql AS $$
	SELECT message_bus.send(endpoint, type, jsonb_build_object('n', n), uid(n),
		deliver_at => deliver_at, partition_key => 'k') $$;
CREATE TABLE receipt (n int, delivery_id bigint);
SELECT message_bus.create_endpoint(e, 2, '{"kind": "interval", "limit": 5, "interval": "1 h"}',
	'{"tracking_period": "1 day", "trip_threshold": 15, "active_threshold": 10,
	"reset_interval": "1 day"}')
	FROM unnest('{plain,leased,broken}'::text[]) e;
SELECT message_bus.create_endpoint('half', 1, '{"kind": "none"}',
	'{"tracking_period": "1 day", "trip_threshold": 15, "active_threshold": 2,
	"reset_interval": "1 ms"}'), message_bus.create_endpoint('paused', 1),
	message_bus.create_endpoint('deadly', 1);
SELECT message_bus.subscribe('plain', 'Happened');
SELECT message_bus.alter_endpoint('leased', max_depth => 1000);
SELECT message_bus.alter_endpoint('broken', '{"kind": "none"}');
SELECT send('plain', i) FROM generate_series(1, 20) i;
EOT
# Each in a transaction of its own, since a lane belongs to one.
$node->safe_psql('shop', $_) for (
	# 1 to 5 are acked, 6 is dead, 7 retrying; 8 to 10 acked but 9: it is returned.
	q{SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('plain', 5)},
	q{SELECT message_bus.fail(delivery_id, 'E6', 'dead', false) FROM message_bus.receive('plain',
		1)},
	q{SELECT message_bus.fail(delivery_id, 'E7', 'later') FROM message_bus.receive('plain', 1)},
	q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('plain', 3)
		WHERE body->>'n' <> '9'},
	q{SELECT send('plain', 21, deliver_at => '2100-01-01')},
	q{SELECT send('leased', i) FROM generate_series(31, 35) i},
	q{INSERT INTO receipt SELECT (body->>'n')::int, delivery_id FROM message_bus.receive('leased',
		3, '1 day')},
	q{SELECT message_bus.ack(delivery_id) FROM receipt WHERE n = 32},
	q{SELECT send('broken', i) FROM generate_series(40, 50) i},
	q{SELECT count(message_bus.fail(delivery_id, 'E', 'e'))
		FROM message_bus.receive('broken', 20)},
	# 61 to 63 trip the breaker, 64 is the first of the two probes it takes to close it.
	q{SELECT send('half', i) FROM generate_series(61, 63) i},
	q{SELECT count(message_bus.fail(delivery_id, 'E', 'e')) FROM message_bus.receive('half', 3)},
	q{SELECT send('half', 64), send('half', 65)},
	q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('half', 1)},
	q{SELECT send('paused', 71), message_bus.pause('paused')},
	# A consumer ends in the middle of handling 81; whoever receives next writes it down.
	q{SELECT send('deadly', 81)},
	q{BEGIN; SELECT message_bus.handle(delivery_id) FROM message_bus.receive('deadly')},
	q{CALL message_bus.wait('deadly', '10 min')},
	q{SELECT count(*) FROM message_bus.receive('deadly')},
	# What is undone forgets no death.
	q{BEGIN; SAVEPOINT s; SELECT message_bus.ack(delivery_id) FROM message_bus.receive('deadly');
		ROLLBACK TO s; COMMIT},
	q{SELECT send('broken', 51), send('broken', 52, 'Other')},
	q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('broken', 20)});

my $state = q{
	SELECT 'endpoint', name, lanes || ' ' || depth || ' ' || in_flight || ' ' || scheduled || ' '
		|| retrying || ' ' || dead FROM message_bus.endpoints
	UNION ALL SELECT 'breaker', endpoint, message_type || ' ' || state || ' ' ||
		coalesce(retry_at::text, '-') || ' ' || probe_successes
		FROM message_bus.circuit_breakers WHERE state <> 'closed'
	UNION ALL SELECT 'dead', endpoint, message_id || ' ' || reason || ' ' || attempts || ' ' ||
		last_failed_at FROM message_bus.dead_letters
	UNION ALL SELECT 'aside', state, message_id || ' ' || attempt || ' ' || due_at
		FROM message_bus.aside
	UNION ALL SELECT 'lease', leased_until::text, delivery_id::text FROM message_bus.lease
	UNION ALL SELECT 'policy', name, retry::text || retry_delays::text || breaker ||
		coalesce(max_depth, -9) || paused FROM message_bus.endpoint
	UNION ALL SELECT 'death', message_id::text, deaths::text FROM message_bus.death
	UNION ALL SELECT 'route', message_type, endpoint_id::text FROM message_bus.route ORDER BY 1,
		2, 3};
my $before = $node->safe_psql('shop', $state);
like($before, qr/^aside\|$_\|/m, "there is a message $_") for qw(held retrying returned scheduled);
like($before, qr/^endpoint\|plain\|2 11 0 1 1 1$/m, 'endpoint plain is as intended');
like($before, qr/^endpoint\|leased\|2 4 2 0 0 0$/m, 'endpoint leased is as intended');
like($before, qr/^endpoint\|broken\|2 1 0 0 0 11$/m, 'endpoint broken is as intended');
like($before, qr/^breaker\|broken\|T open .* 0$/m, 'a breaker is open');
like($before, qr/^breaker\|half\|T half_open .* 1$/m, 'another is half open');
like($before, qr/^death\|.*81\|1$/m, 'a message has killed a consumer');

# What a server gives out for everything that is still to come. Rolled back at the
# end, where that is possible; leases are not.
sub check_rest
{
	my ($on, $database, $name) = @_;

	is($on->safe_psql($database, $state), $before, "$name: everything is as it was");
	is( $on->safe_psql($database, q{
			BEGIN;
			WITH r AS MATERIALIZED (SELECT * FROM message_bus.receive('plain')),
				i AS (INSERT INTO receipt SELECT 0, delivery_id FROM r)
			SELECT string_agg(body->>'n', ' ' ORDER BY delivery_id),
				min(delivery_id) > (SELECT max(delivery_id) FROM receipt) FROM r;
			SELECT count(*) FROM message_bus.receive('leased');
			SELECT count(*) FROM message_bus.receive('broken');
			SELECT count(*) FROM message_bus.receive('paused');
			SELECT body->>'n', attempt FROM message_bus.receive('deadly');
			SELECT send('plain', 1), send('plain', 6), send('plain', 7), send('plain', 12),
				send('plain', 21);
			COMMIT;
			SELECT depth FROM message_bus.endpoints WHERE name = 'plain'}),
		"9 11 12 13 14 15 16 17 18 19 20|t\n0\n0\n0\n81|2\n"
		  . join('|', map { '00000000-0000-0000-0000-0000000000' . $_ } qw(01 06 07 12 21))
		  . "\n11",
		"$name: the rest comes in order, nothing held, leased or paused does; no id is new, "
		  . 'all receipts are');
	return;
}

sub settle_leases
{
	my ($on, $database, $name) = @_;

	is( $on->safe_psql($database, q{
			SELECT message_bus.ack(delivery_id) FROM receipt WHERE n = 31;
			SELECT message_bus.fail(delivery_id, 'E', 'e') FROM receipt WHERE n = 33;
			SELECT string_agg(body->>'n', ' ') FROM message_bus.receive('leased');
			SELECT min(delivery_id) > (SELECT max(delivery_id) FROM receipt)
				FROM message_bus.receive('leased')}),
		"1\n\n34 35\nt", "$name: leases are settled by their receipts, new receipts are new");
	my ($code, $out, $error) = $on->psql($database,
		'SELECT message_bus.ack(delivery_id) FROM receipt WHERE n = 32');
	like($error, qr/is not yours/, "$name: a settled receipt stays refused");
	is( $on->safe_psql($database, q{
			SELECT message_bus.reset_breaker('broken', 'T');
			SELECT string_agg(body->>'n', ' ') FROM message_bus.receive('broken');
			SELECT message_bus.redrive(uid(6)), message_bus.cancel_scheduled(uid(21));
			SELECT message_bus.ack(delivery_id) FROM message_bus.receive('half', 1);
			SELECT state FROM message_bus.circuit_breakers WHERE endpoint = 'half'}),
		"t\n51\n1|t\n1\nclosed",
		"$name: breakers close, dead letters are redriven, scheduled ones cancelled");
	return;
}

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->restart;
check_rest($node, 'shop', 'restart');
$node->stop('immediate');
$node->start;
check_rest($node, 'shop', 'crash');

my $dump = $node->data_dir . '/../shop.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('shop') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ],
	'pg_restore');
check_rest($node, 'copy', 'restored');
settle_leases($node, 'copy', 'restored');
is($node->safe_psql('copy', q{SELECT message_bus.create_endpoint('new'), send('new',
	1) IS NOT NULL}), '|t',
	'restored: new endpoints and messages do not collide with old ones');

$node->wait_for_catchup($standby);
is( $standby->safe_psql('shop', q{
		SELECT name, depth, in_flight FROM message_bus.endpoints ORDER BY 1;
		SELECT endpoint, state FROM message_bus.circuit_breakers WHERE state <> 'closed'
			ORDER BY 1}),
	"broken|1|0\ndeadly|1|0\nhalf|1|0\nleased|4|2\npaused|1|0\nplain|11|0\n"
	  . "broken|open\nhalf|half_open",
	'a standby shows endpoints and breakers');
for my $call ("send('plain', 'T', '{}')", "receive('plain')", 'ack(1)', "create_endpoint('x')",
	'redrive(uid(6))')
{
	my ($code, $out, $error) = $standby->psql('shop',
		"\\set VERBOSITY sqlstate\nSELECT message_bus.$call");
	like($error, qr/25006/, "standby: $call is refused");
}
$node->stop('immediate');
$standby->promote;
check_rest($standby, 'shop', 'promoted');
settle_leases($standby, 'shop', 'promoted');

# A counter that somebody has set back, in a running server or before it started, or that
# logical replication did not bring along: what is sent comes, after what was there.
$standby->safe_psql('shop', q{SELECT message_bus.create_endpoint('counted', 1);
	SELECT count(send('counted', n)) FROM generate_series(1, 50) n;
	SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('counted', 40)});
for my $n (51, 52)
{
	$standby->safe_psql('shop', 'ALTER SEQUENCE message_bus.position_seq RESTART 1');
	$standby->restart if $n == 52;
	$standby->safe_psql('shop', "SELECT send('counted', $n)");
	is($standby->safe_psql('shop', q{SELECT string_agg(body ->> 'n', ' ')
			FROM message_bus.receive('counted', 100)}),
		join(' ', 41 .. $n), "a counter set back: message $n is there, and the last");
	is($standby->safe_psql('shop', 'SELECT * FROM message_bus.verify()'), '', 'all is well');
}
$standby->stop;
done_testing();
