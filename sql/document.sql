-- What is refused of JSON wherever it comes in: too large, too deep, numbers that
-- nobody can write down. Names of the errors say which argument it was.
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
SELECT message_bus.create_endpoint('work'), message_bus.subscribe('work', 'Happened');

-- nested(n): an object in which objects and arrays are n deep.
CREATE FUNCTION nested(depth int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT ('{"a": ' || repeat('[', depth - 1) || repeat(']', depth - 1) || '}')::jsonb
$$;
CREATE VIEW bad (problem, document) AS VALUES
	('deep', nested(1001)),
	('deep objects', (repeat('{"a": ', 1001) || '1' || repeat('}', 1001))::jsonb),
	('very deep', nested(5000)),
	('large number', '{"a": 1, "b": [{"c": -1e1001}]}'),
	('largest number', '{"a": 1e131071}'),
	('small number', '{"a": [1, 1e-1001]}'),
	('long fraction', ('{"a": 0.' || repeat('1', 2000) || '}')::jsonb),
	('many digits', ('{"a": ' || repeat('9', 1002) || '}')::jsonb);
CREATE VIEW good (problem, document) AS VALUES
	('deep', nested(1000)),
	('large number', '{"a": [1e1000, -1e1000, 1e-1000, 0, -0.5, 123456789012345678901234567890]}'::jsonb),
	('digits in a string', '{"a": "1e131071"}');

CREATE FUNCTION new_event(data jsonb, metadata jsonb DEFAULT NULL) RETURNS event_store.new_event[]
LANGUAGE sql AS $$ SELECT ARRAY[ROW('Happened', '{}', NULL, NULL, NULL, NULL),
	ROW('Happened', data, metadata, NULL, NULL, NULL)]::event_store.new_event[] $$;

CREATE VIEW entry (name, call) AS VALUES
	('append', $$event_store.append('thing-1', -1, 'Happened', %L)$$),
	('append''s metadata', $$event_store.append('thing-1', -1, 'Happened', '{}', %L)$$),
	('append_batch', $$event_store.append_batch('thing-1', -1, new_event(%L))$$),
	('append_batch''s metadata', $$event_store.append_batch('thing-1', -1, new_event('{}', %L))$$),
	('append_json', $$event_store.append_json('thing-1', -1,
		jsonb_build_array(jsonb_build_object('event_type', 'Happened', 'data', %L::jsonb)))$$),
	('send', $$message_bus.send('work', 'Happened', %L)$$),
	('send''s headers', $$message_bus.send('work', 'Happened', '{}', headers => %L)$$),
	('publish', $$message_bus.publish('Happened', %L)$$),
	('schedule', $$message_bus.send('work', 'Happened', %L, deliver_at => now() + '1 day')$$),
	('set_context', $$ecommerce.set_context(NULL, headers => %L)$$);
SELECT name, problem, refusal('SELECT ' || format(call, document)) FROM entry, bad ORDER BY name, problem;
SELECT name, count(*) FILTER (WHERE outcome('SELECT ' || format(call, document)) ~ '^[0-9A-Z]{5}$') AS refused
FROM entry, good GROUP BY name HAVING name <> '' ORDER BY name;

-- By hand corrected bodies of dead letters are checked as what is sent.
SELECT message_bus.fail(delivery_id, 'E', 'failed', false) FROM message_bus.receive('work', 1);
SELECT problem, refusal(format('SELECT message_bus.redrive(message_id, %L) FROM message_bus.dead_letters', document))
FROM bad WHERE problem IN ('very deep', 'large number');

-- Sizes, each with a setting of its own.
CREATE FUNCTION large(bytes int) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('a', repeat('x', bytes)) $$;
SELECT name, setting, unit, context FROM pg_settings
WHERE name IN ('event_store.max_event_size', 'event_store.max_metadata_size', 'message_bus.max_message_size')
ORDER BY name;
SELECT refusal('SELECT event_store.append(''thing-2'', 0, ''Happened'', large(1024 * 1024))');
SELECT refusal('SELECT event_store.append(''thing-2'', 0, ''Happened'', ''{}'', large(1024 * 1024))');
SELECT refusal('SELECT event_store.append_batch(''thing-2'', 0, new_event(''{}'', large(1024 * 1024)))');
SELECT refusal('SELECT message_bus.send(''work'', ''Happened'', large(16 * 1024 * 1024))');
SELECT refusal('SELECT message_bus.publish(''Happened'', ''{}'', headers => large(1024 * 1024))');
SELECT refusal('SELECT ecommerce.set_context(NULL, headers => large(1024 * 1024))');
-- What the context adds counts too.
BEGIN;
SELECT ecommerce.set_context(NULL, user_id => repeat('u', 1024 * 1024));
SELECT refusal('SELECT event_store.append(''thing-2'', 0, ''Happened'', ''{}'')');
ROLLBACK;
SET message_bus.max_message_size = '1kB';
SELECT refusal('SELECT message_bus.send(''work'', ''Happened'', large(1024))');
RESET message_bus.max_message_size;
SELECT event_store.append('thing-2', 0, 'Happened', large(1000 * 1024), large(1000 * 1024)) IS NOT NULL AS appended,
	message_bus.send('work', 'Happened', large(2 * 1024 * 1024)) IS NOT NULL AS sent;

-- traceparent is as W3C Trace Context has it.
SELECT traceparent, outcome(format('SELECT ecommerce.set_context(NULL, traceparent => %L)', traceparent))
FROM unnest(ARRAY['nonsense', '', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
	'00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01', 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
	'00-00000000000000000000000000000000-b7ad6b7169203331-01', '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
	'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x', '01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x',
	'01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331']) traceparent;
SELECT refusal('SELECT ecommerce.set_context(NULL, traceparent => ''nonsense'')');
