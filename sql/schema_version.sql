-- Versions of a type: named wherever a body is given, introduced without a flag day,
-- messages that wait are upcast, sagas go on with what was current at their definition.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
CREATE DOMAIN required AS text NOT NULL;
CREATE TYPE renamed_1 AS (name required);
CREATE TYPE renamed_2 AS (first required, last required);
CREATE FUNCTION split(data jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_build_object('first', split_part(data ->> 'name', ' ', 1),
		'last', split_part(data ->> 'name', ' ', 2)) $$;
CREATE VIEW stored AS SELECT stream, version, schema_version, data FROM event_store.stored_event ORDER BY position;
SELECT message_bus.create_endpoint('work', 1), message_bus.subscribe('work', 'Renamed');
SELECT event_store.register_event_type('Renamed', 'renamed_1');

-- version 2 is there, nothing changes for who does not name it
SELECT event_store.register_event_type('Renamed', 'renamed_2', 2, current => false),
	event_store.register_upcaster('Renamed', 1, 'split(jsonb)');
SELECT event_store.check_data('Renamed', '{"name": "Ann Lee"}');
SELECT version FROM event_store.append('person-1', 0, 'Renamed', '{"name": "Ann Lee"}');
SELECT version FROM event_store.append('person-1', 1, 'Renamed', '{"first": "Bob", "last": "Ray"}', schema_version => 2);
SELECT version FROM event_store.append_json('person-1', 2,
	'[{"event_type": "Renamed", "data": {"first": "Cy", "last": "Coe"}, "schema_version": 2}, {"event_type": "Renamed", "data": {"name": "Di Fo"}}]');
SELECT * FROM stored;
SELECT version, schema_version, data FROM event_store.read_stream('person-1');
SELECT message_bus.send('work', 'Renamed', '{"name": "Ann Lee"}') IS NOT NULL
	AND message_bus.send('work', 'Renamed', '{"first": "Bob", "last": "Ray"}', schema_version => 2) IS NOT NULL
	AND message_bus.publish('Renamed', '{"name": "Cy Coe"}', schema_version => 1) IS NOT NULL
	AND message_bus.send('work', 'Renamed', '{"first": "Di", "last": "Fo"}', deliver_at => now() - interval '1 s', schema_version => 2) IS NOT NULL AS sent;
SELECT refusal($$SELECT event_store.append('person-1', -1, 'Renamed', '{"name": "x"}', schema_version => 2)$$),
	refusal($$SELECT event_store.append('person-1', -1, 'Renamed', '{"name": "x"}', schema_version => 3)$$),
	refusal($$SELECT event_store.append('person-1', -1, 'Renamed', '{"name": "x"}', schema_version => 0)$$);
SELECT refusal($$SELECT message_bus.send('work', 'Renamed', '{"first": "x", "last": "y"}')$$),
	refusal($$SELECT message_bus.publish('Renamed', '{"name": "x"}', schema_version => 2)$$),
	refusal($$SELECT message_bus.publish('Renamed', '{"name": "x"}', schema_version => -1)$$);
BEGIN;
SELECT body, schema_version FROM message_bus.receive('work') ORDER BY delivery_id;
ROLLBACK;

-- now it is current: events and messages of before come in the new shape
SELECT event_store.set_current_version('Renamed', 2);
SELECT version, schema_version, data FROM event_store.read_stream('person-1');
BEGIN;
SELECT body, schema_version FROM message_bus.receive('work') ORDER BY delivery_id;
ROLLBACK;
SELECT refusal($$SELECT event_store.append('person-1', -1, 'Renamed', '{"name": "x"}')$$);
SELECT version FROM event_store.append('person-1', -1, 'Renamed', '{"name": "Ed Gray"}', schema_version => 1);
-- and back; registering again says nothing about what is current
SELECT event_store.set_current_version('Renamed', 1), event_store.register_event_type('Renamed', 'renamed_2', 2);
SELECT event_store.check_data('Renamed', '{"name": "Ann Lee"}');
SELECT version, schema_version FROM event_store.read_stream('person-1', 5);
SELECT refusal($$SELECT event_store.set_current_version('Renamed', 3)$$),
	refusal($$SELECT event_store.set_current_version('Unknown', 1)$$);
-- the first version of a type is current, whatever was said; a later one takes over
SELECT event_store.register_event_type('Other', 'renamed_1', 1, current => false);
SELECT event_store.check_data('Other', '{"name": "Ann Lee"}');
SELECT event_store.register_event_type('Other', 'renamed_2', 2);
SELECT event_store.check_data('Other', '{"first": "Ann", "last": "Lee"}');
SELECT m.value ->> 'title' AS title, m.value -> 'x-newest' AS newest, m.value -> 'x-current' AS current
FROM jsonb_each(event_store.asyncapi() #> '{components,messages}') m ORDER BY 1;

-- an upcaster that fails holds up no message: it comes as it was sent
CREATE OR REPLACE FUNCTION split(data jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF data ->> 'name' = 'Cy Coe' THEN RAISE EXCEPTION 'no such name'; END IF;
	RETURN jsonb_build_object('first', split_part(data ->> 'name', ' ', 1),
		'last', split_part(data ->> 'name', ' ', 2));
END $$;
SELECT event_store.set_current_version('Renamed', 2);
BEGIN;
SELECT body, schema_version FROM message_bus.receive('work') ORDER BY delivery_id;
ROLLBACK;
SELECT body, schema_version, leased_until IS NOT NULL AS leased FROM message_bus.receive('work', 10, '1 h') ORDER BY delivery_id;

-- ------------------------------------------------------------ sagas
-- What a definition sends is of the versions that were current at define(), or of those it names.
CREATE TYPE asked AS (id required, what required, key text);
CREATE TYPE asked_2 AS (id required, whats text[], key text);
CREATE FUNCTION to_list(data jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
$$ SELECT data - 'what' || jsonb_build_object('whats', jsonb_build_array(data ->> 'what')) $$;
SELECT event_store.register_event_type(t, 'asked') FROM unnest('{Ask,Do,Undo,Done,Noted}'::text[]) t;
SELECT message_bus.create_endpoint('there', 1);
CREATE FUNCTION sent(max int DEFAULT 50) RETURNS TABLE (message_type text, schema_version int, body jsonb)
LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
BEGIN
	FOR d IN SELECT * FROM message_bus.receive('there', max) LOOP
		PERFORM message_bus.ack(d.delivery_id);
		RETURN QUERY SELECT d.message_type, d.schema_version, d.body - 'key';
	END LOOP;
END
$$;
CREATE FUNCTION asking(version int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT format($json${"endpoint": "asking", "initial": "Asked",
		"events": {"Ask": {"correlate": "$.message.id"}, "Undone": {"correlate": "$.message.id"}},
		"start": {"Ask": {"goto": "Asked",
			"send": [{"step": "do", "endpoint": "there", "type": "Do", "body": {"id": "$.message.id", "%1$s": "$.message.%1$s"},
				"compensation": {"endpoint": "there", "type": "Undo", "body": {"id": "$.data.id", "%1$s": "$.data.asked"}, "confirmed_by": "Undone"}}],
			"set": {"id": "$.message.id", "asked": "$.message.%1$s"},
			"append": [{"stream": "asked-${$.message.id}", "type": "Noted", "data": {"id": "$.message.id", "%1$s": "$.message.%1$s"}}]}},
		"states": {"Asked": {"kind": "normal", "timer": "none", "default": "ignore", "on": {"Ask": {"goto": "Undoing",
				"send": [{"step": "named", "endpoint": "there", "type": "Done", "schema_version": 1, "body": {"id": "$.message.id", "what": "named"}, "compensation": "none"}],
				"compensate": {"give_up": "Stuck", "then": "Gone"}}}},
			"Undoing": {"kind": "normal", "timer": "none", "default": "ignore"}, "Stuck": {"kind": "normal", "timer": "none", "default": "ignore"},
			"Gone": {"kind": "final", "default": "ignore"}}}$json$, CASE version WHEN 1 THEN 'what' ELSE 'whats' END)::jsonb $$;
SELECT saga.define('asking', asking(1));
SELECT type_versions FROM saga.definition ORDER BY version;
SELECT message_bus.send('asking', 'Ask', '{"id": "00000000-0000-4000-8000-000000000001", "what": "first"}') IS NOT NULL AS sent;
SELECT saga.run();
SELECT * FROM sent();
-- a message waits, version 2 becomes current everywhere, instances of the old definition go on
SELECT message_bus.send('asking', 'Ask', '{"id": "00000000-0000-4000-8000-000000000002", "what": "second"}') IS NOT NULL AS sent;
SELECT event_store.register_event_type(t, 'asked_2', 2), event_store.register_upcaster(t, 1, 'to_list(jsonb)')
FROM unnest('{Ask,Do,Undo,Done,Noted}'::text[]) t;
SELECT saga.run();
-- the consumer gets what he knows now, the store has what the saga wrote
SELECT * FROM sent();
SELECT stream, schema_version, data FROM stored WHERE stream LIKE 'asked-%';
SELECT message_bus.send('asking', 'Ask', '{"id": "00000000-0000-4000-8000-000000000001", "what": "again"}', schema_version => 1) IS NOT NULL AS sent;
SELECT saga.run();
SELECT message_type, schema_version, body FROM sent() ORDER BY 1;
-- a new definition is written for the new shape, old messages come to it in that
SELECT message_bus.send('asking', 'Ask', '{"id": "00000000-0000-4000-8000-000000000003", "what": "third"}', schema_version => 1) IS NOT NULL AS sent;
SELECT saga.define('asking', asking(2));
SELECT type_versions FROM saga.definition ORDER BY version;
SELECT saga.run();
SELECT * FROM sent();
-- and what it names goes before what was current
SELECT message_bus.send('asking', 'Ask', '{"id": "00000000-0000-4000-8000-000000000003", "whats": ["again"]}') IS NOT NULL AS sent;
SELECT saga.run();
SELECT message_type, schema_version, body FROM sent() ORDER BY 1;
SELECT correlation_id, definition_version, current_state FROM saga.instances ORDER BY 1;
SELECT message_type, error FROM message_bus.dead_letters;
SELECT refusal(format('SELECT saga.define(%L, %L)', 'wrong', jsonb_set(asking(1), '{start,Ask,append,0,schema_version}', v)))
FROM unnest('{0,1.5,"\"1\"",-1,1e20}'::jsonb[]) v;

-- ------------------------------------------------------------ upcasters that fail
SELECT event_store.register_event_type('Shaky', 'renamed_1');
SELECT count(event_store.append('shaky-' || n, 0, 'Shaky', jsonb_build_object('name', n || ' x'))) FROM generate_series(1, 3) n;
CREATE FUNCTION shake(data jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF data ->> 'name' = '2 x' THEN RAISE EXCEPTION 'two is too much'; END IF;
	RETURN jsonb_build_object('first', data ->> 'name', 'last', CASE WHEN data ->> 'name' <> '3 x' THEN 'x' END);
END $$;
SELECT event_store.register_event_type('Shaky', 'renamed_2', 2);
SELECT severity, object, problem FROM event_store.verify() WHERE object = 'type Shaky';
SELECT event_store.register_upcaster('Shaky', 1, 'shake(jsonb)');
CREATE FUNCTION context_of(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	context text;
BEGIN
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	RETURN NEXT SQLERRM;
	RETURN QUERY SELECT regexp_replace(line, 'position \d+', 'position #') FROM regexp_split_to_table(context, '\n') line
		WHERE line ~ 'upcast';
END $$;
SELECT * FROM context_of($$SELECT count(data) FROM event_store.read_all(0, NULL, 'shaky')$$);
SELECT * FROM context_of($$SELECT event_store.get_event(event_id) FROM event_store.stored_event WHERE stream = 'shaky-2'$$);
SELECT stream, schema_version, data FROM event_store.read_stored(0, NULL, 'shaky');
SELECT severity, object, problem FROM event_store.verify() WHERE object = 'type Shaky';
CREATE OR REPLACE FUNCTION shake(data jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('first', data ->> 'name', 'last', CASE WHEN data ->> 'name' <> '3 x' THEN 'x' END) $$;
SELECT severity, object, problem FROM event_store.verify() WHERE object = 'type Shaky';
CREATE OR REPLACE FUNCTION shake(data jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('first', data ->> 'name', 'last', 'x') $$;
SELECT severity, object, problem FROM event_store.verify() WHERE object = 'type Shaky';

-- Versions may lie far apart: what leads on is looked at, not every number between.
CREATE TYPE far AS (n int);
CREATE FUNCTION keep(data jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT data';
SELECT event_store.register_event_type('Far', 'far');
SELECT (event_store.append('far-1', 0, 'Far', '{"n": 1}')).version;
SELECT event_store.register_event_type('Far', 'far', 2147483647);
SELECT problem FROM event_store.verify() WHERE object = 'type Far';
SELECT event_store.register_upcaster('Far', 1, 'keep(jsonb)'), event_store.register_upcaster('Far', 2, 'keep(jsonb)'),
	event_store.register_upcaster('Far', 4, 'keep(jsonb)');
SELECT problem FROM event_store.verify() WHERE object = 'type Far';
