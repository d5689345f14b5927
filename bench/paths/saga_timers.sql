-- 200 timers of sagas that fire.
\if `test :turn = 1 && echo 1 || echo 0`
SELECT saga.define('alarm', '{"endpoint": "alarm", "initial": "Waiting", "events": {"Set": {"correlate": "$.message.id"}},
	"start": {"Set": {"schedule": {"timer": "alarm", "delay": "${$.message.n} min"}}},
	"states": {"Waiting": {"default": "ignore", "on": {"timer:alarm": {"goto": "Rung"}}},
		"Rung": {"kind": "final", "default": "ignore"}}}');
\endif
SELECT count(message_bus.publish('Set', jsonb_build_object('id', gen_random_uuid(), 'n', n))) FROM generate_series(1, 200) n;
SELECT saga.run(1000);
-- counted
SELECT saga.fire_due(now() + interval '4 h');
