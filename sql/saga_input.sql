-- What anybody may put into a message: many keys, deep nesting, products of arrays.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\set ECHO all
CREATE FUNCTION nested(levels int) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT (repeat('{"a":[', levels / 2) || '7' || repeat(']}', levels / 2))::jsonb
$$;
CREATE FUNCTION wide(n int, first int DEFAULT 1) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_object_agg('key ' || i, i) FROM generate_series(first, first + n - 1) i
$$;
CREATE PROCEDURE say(n int, message_type text, body jsonb, headers jsonb DEFAULT '{}') LANGUAGE plpgsql AS $$
BEGIN
	PERFORM ecommerce.set_context(id(n), headers => say.headers);
	PERFORM message_bus.publish(message_type, body);
	COMMIT;
	PERFORM saga.run();
END
$$;
CREATE FUNCTION died(OUT error_code text, OUT error text) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT error_code, error FROM message_bus.dead_letters ORDER BY last_failed_at
$$;
SELECT saga.define('open', '{"endpoint": "open", "initial": "A",
	"events": {"Go": {}, "Merge": {}, "Wrap": {}, "Ask": {}, "Pairs": {}, "Types": {},
		"Told": {"fact": {"of": "f", "key": "$.saga.correlation_id", "to": "told", "create": true,
			"note": {"$path": "$.message.note"}, "most": "$.message.most"}}},
	"facts": {"f": {"keep": "latest", "lattice": {"none": ["told"]}}},
	"start": {"Go": {"set": {"all": "$.message"}, "goto": "A"}},
	"states": {"A": {"default": "ignore", "timer": "none", "on": {
			"Merge": {"set": {"all": "$.message", "again": {"$path": "$.data.all"}}},
			"Wrap": {"set": {"all": {"inside": "$.data.all"}}},
			"Ask": {"guard": "exists($.message.a.a[*] ? (@.b == 1))", "goto": "Z"},
			"Pairs": {"set": {"all": {"$each": "$.message.x[*]", "as": {"$each": "$.message.y[*]", "as": {"$each": "$.message.x[*]"}}}}},
			"Types": {"set": {"types": {"$each": "$.message.x[*]", "as": "$.item.type()"}}}}},
		"Z": {"kind": "final", "default": "ignore"}}}');
SELECT message_bus.alter_endpoint('open', retry => '{"kind": "none"}');

-- the work for an object grows as its keys do: start, merge, what changed, what a fact takes over
SET statement_timeout = '100 s';
CALL say(1, 'Go', wide(200000));
CALL say(1, 'Merge', wide(200000, 100001));
CALL say(1, 'Told', jsonb_build_object('note', wide(200000), 'most', wide(200000, 100001)));
CALL say(1, 'Told', jsonb_build_object('note', wide(200000, 300001), 'most', wide(200000, 200001)));
RESET statement_timeout;
SELECT state('open', 1), (SELECT count(*) FROM jsonb_object_keys(data -> 'all')) AS keys,
	data -> 'all' -> 'key 300000' AS merged, (SELECT count(*) FROM jsonb_object_keys(data -> 'f')) AS of_fact
FROM saga.get('open', id(1));
SELECT * FROM died();

-- deep: what the bus takes works; what cannot be read, having got in before there was a limit, is
-- dead with its error, at once and alone
CREATE PROCEDURE deepen(levels int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 0 .. 7 LOOP
		EXECUTE format('UPDATE message_bus.ring_%s SET body = nested($1) WHERE body = ''"deep"''', i) USING levels;
	END LOOP;
END
$$;
CALL say(2, 'Go', nested(990));
CALL say(2, 'Merge', nested(990));
CALL say(3, 'Go', '{}');
SELECT message_bus.alter_endpoint('open', retry => '{"kind": "immediate", "limit": 3}');
BEGIN;
SELECT message_bus.publish('Merge', '"deep"') IS NOT NULL AS sent;
SELECT ecommerce.set_context(id(4)) IS NOT NULL AS set;
SELECT message_bus.publish('Go', '{"good": true}') IS NOT NULL AS good;
COMMIT;
CALL deepen(1500);
SELECT saga.run();
SELECT state('open', 2), state('open', 3), state('open', 4);
SELECT error_code, error, attempts FROM message_bus.dead_letters;
DELETE FROM message_bus.dead;
-- a Fault that cannot be built: the message is dead all the same, without one
SELECT message_bus.create_endpoint('faults'), message_bus.subscribe('faults', 'Fault');
SELECT message_bus.publish('Merge', '"deep"') IS NOT NULL AS sent;
SET max_stack_depth = '4 MB';
CALL deepen(6000);
SET max_stack_depth = '300 kB';
SELECT saga.run();
RESET max_stack_depth;
SELECT reason, error FROM message_bus.dead_letters;
SELECT count(*) FROM message_bus.receive('faults');
DELETE FROM message_bus.dead;
SELECT message_bus.alter_endpoint('open', retry => '{"kind": "none"}');
-- data that grows with every message stays readable: the first step too far is refused
CALL say(3, 'Merge', nested(990));
DO $$
BEGIN
	PERFORM ecommerce.set_context(id(3));
	FOR i IN 1 .. 20 LOOP
		PERFORM message_bus.publish('Wrap', '{}');
	END LOOP;
END
$$;
SELECT saga.run();
SELECT version BETWEEN 5 AND 20 AS some, data IS NOT NULL AS readable FROM saga.get('open', id(3));
SELECT DISTINCT error_code, error FROM died();
DELETE FROM message_bus.dead;
-- a product of arrays has a bound, and its error says where
SET statement_timeout = '100 s';
CALL say(2, 'Pairs', jsonb_build_object('x', to_jsonb(array_fill(1, '{40}')), 'y', to_jsonb(array_fill(2, '{40}'))));
SELECT jsonb_array_length(data -> 'all') FROM saga.get('open', id(2));
CALL say(2, 'Pairs', jsonb_build_object('x', to_jsonb(array_fill(1, '{400}')), 'y', to_jsonb(array_fill(2, '{400}'))));
SELECT * FROM died();
-- a path that is left to PostgreSQL does not copy the document for every item
CALL say(2, 'Types', jsonb_build_object('x', to_jsonb(array_fill(1, '{20000}'))));
RESET statement_timeout;
SELECT jsonb_array_length(data -> 'types'), data -> 'types' -> 19999 FROM saga.get('open', id(2));
SET event_store.allow_drop = on;
DROP EXTENSION ecommerce CASCADE;
