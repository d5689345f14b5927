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
