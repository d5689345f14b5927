-- 300 transitions of sagas of five steps, all in the queue, as the worker takes them.
\if `test :turn = 1 && echo 1 || echo 0`
SELECT message_bus.create_endpoint('service');
CREATE FUNCTION command(n int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('goto', 'Step ' || n, 'schedule', '{"timer": "late", "delay": "1 h"}'::jsonb,
		'send', jsonb_build_object('step', 'step ' || n, 'endpoint', 'service', 'type', 'Do ' || n,
			'body', '{"id": "$.saga.correlation_id", "key": "$.key"}'::jsonb, 'compensation', 'none'))
$$;
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
\endif
SELECT array_agg(gen_random_uuid()) AS ids FROM generate_series(1, 50) \gset
SELECT count(message_bus.publish(t, jsonb_build_object('id', id), partition_key => id::text))
FROM unnest('{Go,Done 1,Done 2,Done 3,Done 4,Done 5}'::text[]) WITH ORDINALITY AS types(t, n),
	unnest(:'ids'::uuid[]) id;
-- counted
SELECT saga.run(1000);
