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
	"start": {"Set": {"goto": "Waiting", "schedule": [
		{"timer": "alarm", "delay": "${$.message.delay}"}, {"timer": "never", "delay": "1 h"}]}},
	"states": {"Waiting": {"default": "ignore", "on": {"timer:never": {"goto": "Rung"},
			"timer:alarm": {"goto": "Rung"}, "Unset": {"unschedule": ["alarm"]}}},
		"Rung": {"kind": "final", "default": "ignore"}}}');
CREATE FUNCTION set_alarms(first int, last int, delay text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(message_bus.publish('Set', jsonb_build_object('id', md5(n::text)::uuid,
		'delay', delay), partition_key => n::text)) FROM generate_series(first, last) n
$$;
CREATE VIEW rung AS SELECT * FROM saga.instance WHERE current_state = 'Rung';
EOT

# What a query says, and what it must say in the end.
sub says
{
	return $node->safe_psql('postgres', "SELECT $_[0]");
}

sub comes_to_say
{
	my ($query, $name) = @_;

	return ok($node->poll_query_until('postgres', "SELECT $query"), $name);
}

# two thousand due within some seconds, among four thousand messages that set others
says(q{sum(set_alarms(n * 100 + 1, n * 100 + 100, (1 + n * 0.2) || ' s'))
	FROM generate_series(0, 19) n});
says(q{set_alarms(10001, 14000, '1 h')});
comes_to_say('count(*) = 2000 FROM rung', 'all timers have fired');
is(says('count(*) FROM rung WHERE version <> 2'), '0', 'once each');
# The history has the wall clock; actions of the first transition tell when it was due.
is( says(q{count(*) FROM rung i, saga.history('alarm', i.correlation_id) fired,
		saga.history('alarm', i.correlation_id) made, jsonb_array_elements(made.actions) a
		WHERE fired.version = 2 AND made.version = 1 AND a ->> 'timer' = 'alarm'
		AND fired.at < (a ->> 'due_at')::timestamptz}), '0', 'none before it was due');
comes_to_say('count(*) = 6000 FROM saga.instance', 'the others wait');
# Entries of the queue that had one would be in the way of every look until they are vacuumed.
cmp_ok(says(q{mxid_age('1'::xid)}), '<', 100, 'to lock a row and to change it is one transaction');

# What only the runner writes is counted, or nobody would vacuum it.
comes_to_say(q{min(n_tup_ins) >= 6000 AND sum(n_tup_upd) >= 2000 FROM pg_stat_all_tables
	WHERE relid IN ('saga.stored_instance'::regclass, 'saga.history_entry'::regclass)},
	'the statistics have it');

# A saga whose function was slow becomes quick again amid much to do, and goes on.
$node->safe_psql('postgres', <<'EOT');
CREATE TABLE gate AS SELECT true AS closed;
CREATE FUNCTION pass(data jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	WHILE (SELECT closed FROM public.gate) LOOP
		PERFORM pg_sleep(0.05);
	END LOOP;
	RETURN '{}';
END
$$;
SELECT saga.define('gated', '{"endpoint": "gated", "initial": "Passed",
	"events": {"Pass": {"correlate": "$.message.id"}},
	"start": {"Pass": {"call": "public.pass(jsonb)", "goto": "Passed"}},
	"states": {"Passed": {"kind": "final", "default": "ignore"}}}');
EOT
my $pass = q{count(message_bus.publish('Pass', jsonb_build_object('id', gen_random_uuid())))
	FROM generate_series(1, %d)};
says(sprintf $pass, 1);
comes_to_say("slow FROM ecommerce.units WHERE name = 'gated'", 'a function that waits is slow');
says(sprintf $pass, 5000);
$node->safe_psql('postgres', 'UPDATE gate SET closed = false');
comes_to_say("depth = 0 FROM message_bus.endpoints WHERE name = 'gated'",
	'when it is quick again, the quick runner goes on with the rest');

# Taken back: it does not fire, though one that is due later does.
$node->safe_psql('postgres', q{BEGIN;
	SELECT set_alarms(3001, 3001, '0.2 s');
	SELECT message_bus.publish('Unset', jsonb_build_object('id', md5('3001')::uuid),
		partition_key => '3001');
	SELECT set_alarms(3002, 3002, '0.5 s');
	COMMIT;});
comes_to_say(q{count(*) = 1 FROM rung WHERE correlation_id = md5('3002')::uuid}, 'a timer fires');
is(says(q{count(*) FROM rung WHERE correlation_id = md5('3001')::uuid}),
	'0', 'the one taken back does not');

# due while the server was down
says(q{set_alarms(4001, 4010, '0.5 s')});
comes_to_say('count(*) = 6012 FROM saga.instance WHERE saga = \'alarm\'', 'they are set');
$node->stop('immediate');
$node->start;
comes_to_say('count(*) = 2011 FROM rung', 'those due meanwhile fire after the restart');

# a message whose saga does not come
says(q{message_bus.publish('Unset', jsonb_build_object('id', md5('5001')::uuid))});
comes_to_say(q{reason = 'expired' FROM message_bus.dead_letters WHERE message_type = 'Unset'},
	'a parked message expires');

# switched off for this database, and on again
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET saga.workers = 0');
comes_to_say(q{count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()
	AND backend_type = 'ecommerce worker'
	AND backend_start > (SELECT max(updated_at) FROM saga.instance)}, 'the worker begins anew');
says(q{message_bus.send('alarm', 'TooLate', '{}', expires_at => now() - interval '1 s')});
comes_to_say(q{reason = 'expired' FROM message_bus.dead_letters WHERE message_type = 'TooLate'},
	'and sees to what is not the sagas\'');
says(q{set_alarms(6001, 6001, '0 s')});
is(says('saga.run()'), '1', 'the message waited for us');
is(says(q{saga.fire_due(now() + interval '1 s')}), '1', 'so did the timer');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET saga.workers');
says(q{set_alarms(7001, 7001, '0 s')});
comes_to_say(q{count(*) = 1 FROM rung WHERE correlation_id = md5('7001')::uuid}, 'and on again');
$node->stop;
done_testing();
