-- A saga of five steps and one of a single timer; the commands go to an endpoint that nobody serves.
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint('service');

-- What leads to state n.
CREATE FUNCTION command(n int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('goto', 'Step ' || n, 'schedule', '{"timer": "late", "delay": "1 h"}'::jsonb,
		'send', jsonb_build_object('step', 'step ' || n, 'endpoint', 'service', 'type', 'Do ' || n,
			'body', '{"id": "$.saga.correlation_id", "key": "$.key"}'::jsonb, 'compensation', 'none'))
$$;
-- State n waits for the answer to command n; the last one ends it.
CREATE FUNCTION steps() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('endpoint', 'steps', 'initial', 'Step 1',
		'events', '{"Go": {"correlate": "$.message.id"}}'::jsonb
			|| jsonb_object_agg('Done ' || n, '{"correlate": "$.message.id"}'::jsonb),
		'start', jsonb_build_object('Go', command(1) || '{"set": {"sum": 0}}'),
		'states', '{"Completed": {"kind": "final", "default": "ignore"},
			"Failed": {"kind": "final", "default": "ignore"}}'::jsonb
			|| jsonb_object_agg('Step ' || n, jsonb_build_object('default', 'ignore', 'on', jsonb_build_object(
				'timer:late', '{"goto": "Failed"}'::jsonb,
				'Done ' || n, jsonb_build_object('set', jsonb_build_object('sum', '$.data.sum + ' || n))
					|| CASE WHEN n < 5 THEN command(n + 1) ELSE '{"unschedule": ["late"], "goto": "Completed"}' END))))
	FROM generate_series(1, 5) n
$$;
SELECT saga.define('steps', steps());
SELECT saga.define('alarm', '{"endpoint": "alarm", "initial": "Waiting", "events": {"Set": {"correlate": "$.message.id"}},
	"start": {"Set": {"schedule": {"timer": "alarm", "at": "$.message.at"}}},
	"states": {"Waiting": {"default": "ignore", "on": {"timer:alarm": {"goto": "Rung"}}},
		"Rung": {"kind": "final", "default": "ignore"}}}');

-- Starts so many sagas whose answers are in the queue already, round robin.
CREATE PROCEDURE queue_up(sagas int) LANGUAGE plpgsql AS $$
DECLARE
	ids uuid[] := ARRAY(SELECT gen_random_uuid() FROM generate_series(1, sagas));
	message_type text;
BEGIN
	FOREACH message_type IN ARRAY '{Go,Done 1,Done 2,Done 3,Done 4,Done 5}'::text[] LOOP
		PERFORM message_bus.publish(message_type, jsonb_build_object('id', id), partition_key => id::text)
		FROM unnest(ids) id;
		COMMIT;
	END LOOP;
END
$$;

-- A timer each 5 ms for so many seconds, beginning in a second.
CREATE FUNCTION set_timers(seconds int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(message_bus.publish('Set', jsonb_build_object('id', gen_random_uuid(),
		'at', clock_timestamp() + interval '2 s' + n * interval '5 ms')))
	FROM generate_series(1, seconds * 200) n
$$;

-- How late the timers were, by the wall clock of the transition, in milliseconds.
CREATE VIEW lateness AS
SELECT extract(epoch FROM rung.at - (a ->> 'due_at')::timestamptz) * 1000 AS ms
FROM saga.instance i CROSS JOIN LATERAL saga.history(i.saga, i.correlation_id) made
	CROSS JOIN LATERAL jsonb_array_elements(made.actions) a
	CROSS JOIN LATERAL saga.history(i.saga, i.correlation_id) rung
WHERE i.saga = 'alarm' AND made.version = 1 AND a ->> 'timer' = 'alarm' AND rung.version = 2;
