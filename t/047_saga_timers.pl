# Timers fire by themselves, once each and not before they are due, across a restart
# and by thousands; messages that wait expire by themselves; saga.workers = 0 stops it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
saga.log_transitions = off
EOT
$node->start;
$node->safe_psql('postgres', <<'EOT');
CREATE EXTENSION ecommerce;
SELECT saga.define('alarm', '{"endpoint": "alarm", "initial": "Waiting", "park_for": "1 s",
	"events": {"Set": {"correlate": "$.message.id"}, "Unset": {"correlate": "$.message.id"}},
	"start": {"Set": {"set": {"due": {"$time": "now", "plus": "2 s"}}, "goto": "Waiting",
		"schedule": [{"timer": "alarm", "delay": "${$.message.delay}"}, {"timer": "never", "delay": "1 h"}]}},
	"states": {"Waiting": {"default": "ignore", "on": {"timer:alarm": {"set": {"rang": "$.now"}, "goto": "Rung"},
			"timer:never": {"goto": "Rung"}, "Unset": {"unschedule": ["alarm"]}}},
		"Rung": {"kind": "final", "default": "ignore"}}}');
CREATE FUNCTION set_alarms(first int, last int, delay text) RETURNS void LANGUAGE sql AS $$
	SELECT count(message_bus.publish('Set', jsonb_build_object('id', md5(n::text)::uuid, 'delay', delay)))
	FROM generate_series(first, last) n
$$;
EOT

# two thousand within ten seconds
$node->safe_psql('postgres', <<'EOT');
SELECT set_alarms(n * 100 + 1, n * 100 + 100, (2 + n * 0.5) || ' s') FROM generate_series(0, 19) n;
EOT
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 2000 FROM saga.instance
		WHERE current_state = 'Rung'}), 'all timers have fired');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM saga.instance WHERE version <> 2}),
	'0', 'once each');
# history has the wall clock; actions of the first transition tell when it was due
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM saga.instance i, saga.history('alarm', i.correlation_id) rung,
			saga.history('alarm', i.correlation_id) made, jsonb_array_elements(made.actions) a
		WHERE rung.version = 2 AND made.version = 1 AND a ->> 'timer' = 'alarm'
		AND rung.at < (a ->> 'due_at')::timestamptz}), '0', 'none before it was due');

# taken back: it does not fire; the others do
$node->safe_psql('postgres', q{SELECT set_alarms(3001, 3002, '3 s')});
$node->poll_query_until('postgres', q{SELECT count(*) = 2002 FROM saga.instance});
$node->safe_psql('postgres',
	q{SELECT message_bus.publish('Unset', jsonb_build_object('id', md5('3001')::uuid))});
ok( $node->poll_query_until('postgres', q{SELECT current_state = 'Rung' FROM saga.instance
		WHERE correlation_id = md5('3002')::uuid}), 'one timer fires');
is( $node->safe_psql('postgres', q{SELECT current_state FROM saga.instance
		WHERE correlation_id = md5('3001')::uuid}), 'Waiting', 'the one taken back does not');

# due while the server was down
$node->safe_psql('postgres', q{SELECT set_alarms(4001, 4010, '1 s')});
$node->poll_query_until('postgres', q{SELECT count(*) >= 2012 FROM saga.instance});
$node->stop('immediate');
$node->start;
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 2011 FROM saga.instance
		WHERE current_state = 'Rung'}), 'those due meanwhile fire after the restart');

# a message whose saga does not come
$node->safe_psql('postgres',
	q{SELECT message_bus.publish('Unset', jsonb_build_object('id', md5('5001')::uuid))});
ok( $node->poll_query_until('postgres', q{SELECT reason = 'expired' FROM message_bus.dead_letters
		WHERE message_type = 'Unset'}), 'a parked message expires');

# switched off for this database, and on again
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET saga.workers = 0');
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity a
	WHERE backend_type = 'ecommerce worker' AND datname = current_database()
	AND backend_start > (SELECT max(updated_at) FROM saga.instance)});
$node->safe_psql('postgres', q{SELECT set_alarms(6001, 6001, '0 s')});
is($node->safe_psql('postgres', q{SELECT saga.run()}), '1', 'the message waited for us');
is($node->safe_psql('postgres', q{SELECT saga.fire_due(now() + interval '1 s')}), '1', 'so did the timer');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET saga.workers');
$node->safe_psql('postgres', q{SELECT set_alarms(7001, 7001, '0 s')});
ok( $node->poll_query_until('postgres', q{SELECT current_state = 'Rung' FROM saga.instance
		WHERE correlation_id = md5('7001')::uuid}), 'and on again');
$node->stop;
done_testing();
