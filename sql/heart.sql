-- The heart of it, once each: append, read, fold, check, upcast, project, send, receive, settle, a saga.
-- Short, because make check-discard runs it while no cache of the catalogs keeps anything.
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\pset format unaligned
\pset tuples_only on
\pset null (null)
CREATE DOMAIN word AS text CHECK (length(VALUE) < 20);
CREATE TYPE said AS (n int, word word, words text[], key text);
CREATE TABLE heard (how text, n int);
CREATE FUNCTION fold(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('sum', coalesce((state ->> 'sum')::int, 0) + ((event).data ->> 'n')::int) $$;
CREATE FUNCTION fold_slowly(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN RETURN public.fold(state, event); END $$;
CREATE FUNCTION raise(data jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT data || '{"n": 7}' $$;
CREATE FUNCTION hear(event event_store.event) RETURNS void LANGUAGE sql
AS $$ INSERT INTO public.heard VALUES ('one', ((event).data ->> 'n')::int) $$;
CREATE FUNCTION hear_many(events event_store.event[]) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO public.heard SELECT 'many', (e.data ->> 'n')::int FROM unnest(events) e; END $$;
CREATE FUNCTION asked(document jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"asked": true}'::jsonb $$;
SELECT event_store.register_event_type('Said', 'said'), event_store.register_event_type('Said', 'said', 2), event_store.register_upcaster('Said', 1, 'raise(jsonb)');
SELECT event_store.create_aggregate('talk', snapshot_every => 2);
SELECT event_store.create_event_handler('talk', 'Said', 'fold(jsonb, event_store.event)'),
	event_store.create_event_handler('talk', 'Added', 'fold_slowly(jsonb, event_store.event)');
SELECT event_store.create_projection('one', 'hear(event_store.event)', 'talk', mode => 'inline'),
	event_store.create_projection('many', 'hear_many(event_store.event[])', 'talk');
SELECT event_store.create_subscription('listener', 'talk', partitions => 2);
SELECT message_bus.create_endpoint('ear', 1, '{"kind": "interval", "limit": 3, "interval": "0 s"}'),
	message_bus.subscribe('ear', 'Said');
SELECT saga.define('talks', '{"endpoint": "talks", "initial": "A", "events": {"Begin": {}, "End": {}},
	"start": {"Begin": {"call": "public.asked(jsonb)", "set": {"n": "$.message.n"}, "goto": "A",
		"schedule": {"timer": "t", "delay": "1 h"},
		"send": [{"step": "s", "endpoint": "ear", "type": "Said", "body": {"n": "$.message.n"}, "compensation": "none"}]}},
	"states": {"A": {"default": "ignore", "on": {"timer:t": {"goto": "Z"}, "End": {"goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore"}}}');

-- events
SELECT version FROM event_store.append('talk-1', 0, 'Said', '{"n": 1, "word": "a", "words": ["b"]}');
SELECT version FROM event_store.append_batch('talk-1', 1, ARRAY[ROW('Added', '{"n": 2}', NULL, NULL, NULL, NULL),
	ROW('Added', '{"n": 3}', NULL, NULL, NULL, NULL)]::event_store.new_event[]);
SELECT version FROM event_store.append_json('talk-2', 0, '[{"event_type": "Said", "data": {"n": 4}}]');
SELECT version FROM event_store.append('talk-1', 0, 'Said', '{}');
SELECT version FROM event_store.append('talk-1', -1, 'Said', '{"word": 1}');
SELECT version, data FROM event_store.read_stream('talk-1');
SELECT (event_store.read_stream('talk-1', backward => true)).version;
SELECT count(*), sum((data ->> 'n')::int) FROM event_store.read_all(0, NULL, 'talk', '{Said}');
SELECT state, version FROM event_store.load('talk-1');
SELECT event_store.save('talk-1', 3, ARRAY[ROW('Added', '{"n": 4}', NULL, NULL, NULL, NULL)]::event_store.new_event[]) IS NOT NULL;
SELECT state, version FROM event_store.load('talk-1');
BEGIN;
SELECT count(*) > 0 AS fetched, event_store.advance('listener', max("position")) FROM event_store.fetch('listener');
COMMIT;
CALL event_store.wait_projection('many', event_store.high_water_mark('talk'), '1 h');
SELECT how, count(*), sum(n) FROM heard GROUP BY how ORDER BY how;

-- messages
SELECT message_bus.publish('Said', '{"n": 5}') IS NOT NULL, message_bus.send('ear', 'Said', '{}', schema_version => 1) IS NOT NULL,
	message_bus.send('ear', 'Later', '{}', '00000000-0000-0000-0000-000000000001', deliver_at => now() + interval '1 day') IS NOT NULL;
BEGIN;
SELECT message_type, body, message_bus.ack(delivery_id) FROM message_bus.receive('ear', 1);
SELECT message_type, body, attempt, message_bus.fail(delivery_id, 'E', 'again') FROM message_bus.receive('ear', 1);
COMMIT;
SELECT message_type, attempt, message_bus.skip(delivery_id, 'enough') FROM message_bus.receive('ear');
SELECT message_bus.redrive(message_id) FROM message_bus.dead_letters;
SELECT count(message_bus.extend_lease(ARRAY[delivery_id], '1 h')) FROM message_bus.receive('ear', 10, '1 h');
SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM message_bus.lease;
SELECT message_bus.cancel_scheduled('00000000-0000-0000-0000-000000000001');
SELECT name, depth, in_flight, scheduled, retrying, dead FROM message_bus.endpoints WHERE name = 'ear';

-- sagas
SELECT message_bus.publish('Begin', '{"n": 6}', '00000000-0000-0000-0000-000000000002') IS NOT NULL;
CREATE PROCEDURE until(state text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 3000 LOOP
		PERFORM saga.run();
		COMMIT;
		EXIT WHEN EXISTS (SELECT FROM saga.instances s WHERE s.current_state = until.state);
		PERFORM pg_sleep(0.02);
	END LOOP;
END $$;
CALL until('A');
SELECT current_state, data FROM saga.instances;
SELECT message_type, body ->> 'n', message_bus.ack(delivery_id) FROM message_bus.receive('ear');
SELECT saga.fire_due(now() + interval '2 h') > 0;
CALL until('Z');
SELECT h.version, from_state, to_state, event FROM saga.instances i, saga.history('talks', i.correlation_id) h;
