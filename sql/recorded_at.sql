-- When events were appended, beside when they occurred: an import loses no time, and a state can be
-- asked for as this database knew it.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION said(stream text, n int, at timestamptz DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	SELECT position FROM event_store.append_batch(stream, -1, ARRAY[ROW('Said', jsonb_build_object('n', n), NULL,
		NULL, at, NULL)::event_store.new_event])
$$;
CREATE FUNCTION hear(state jsonb, event event_store.event) RETURNS jsonb IMMUTABLE LANGUAGE sql
	AS $$ SELECT jsonb_set(state, '{heard}', (state->'heard') || (event.data->'n')) $$;
SELECT event_store.create_aggregate('log', '{"heard": []}', 2),
	event_store.create_event_handler('log', 'Said', 'hear(jsonb, event_store.event)');

-- ------------------------------------------------------------ each event
SELECT clock_timestamp() AS before \gset
SELECT said('log-1', 1) AS plain, said('log-1', 2, '2020-01-01Z') AS imported,
	said('log-1', 3, '2030-01-01Z') AS ahead \gset
SELECT clock_timestamp() AS after \gset
SELECT version, occurred_at = event_store.recorded_at(position) AS the_same,
	event_store.recorded_at(position) BETWEEN :'before' AND :'after' AS known
FROM event_store.read_stream('log-1');
SELECT event_store.recorded_at(:ahead + 1) IS NULL, event_store.recorded_at(NULL) IS NULL;
SELECT version FROM event_store.append_json('log-2', 0,
	'[{"event_type": "Said", "data": {"n": 1}, "occurred_at": "2020-01-01T00:00:00Z"}, {"event_type": "Said", "data": {"n": 2}}]');
SELECT version, occurred_at = event_store.recorded_at(position) FROM event_store.read_stream('log-2');
-- Who does not say when takes no byte more than without the column.
CREATE PROCEDURE pages(at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
	before int := (SELECT max((ctid::text::point)[0]) FROM event_store.stored_event);
BEGIN
	PERFORM event_store.append_batch('size-' || coalesce(at::text, 'none'), 0, (SELECT array_agg(
		ROW('Said', '{}', NULL, NULL, at, NULL)::event_store.new_event) FROM generate_series(1, 4000)));
	CREATE TEMP TABLE bare AS SELECT position, stream, version, event_id, event_type, schema_version, data,
		metadata, occurred_at, stream_id, category_key FROM event_store.stored_event
	WHERE stream = 'size-' || coalesce(at::text, 'none') ORDER BY position;
	RAISE INFO 'as many pages as without the column: %', abs((SELECT max((ctid::text::point)[0])
		FROM event_store.stored_event) - before - (SELECT max((ctid::text::point)[0]) FROM bare)) <= 1;
	DROP TABLE bare;
END
$$;
CALL pages(NULL);
CALL pages('2026-01-01Z');
-- It is where it belongs whatever somebody adds to the table.
CREATE INDEX by_recording ON event_store.stored_event (recorded_at);
SELECT said('log-3', 1) < said('log-3', 2, '2020-01-01Z');
SET enable_seqscan = off;
SELECT count(*) FROM event_store.stored_event WHERE recorded_at > :'before' AND stream NOT LIKE 'size%';
SELECT count(*) FROM event_store.stored_event WHERE recorded_at IS NULL AND stream NOT LIKE 'size%';
RESET enable_seqscan;
DROP INDEX event_store.by_recording;
ALTER TABLE event_store.stored_event ADD CONSTRAINT in_time CHECK (coalesce(recorded_at, occurred_at) > '2026-01-01Z');
SELECT said('log-3', 3) < said('log-3', 4, '2020-01-01Z');
ALTER TABLE event_store.stored_event DROP CONSTRAINT in_time;
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER pass BEFORE INSERT ON event_store.stored_event FOR EACH ROW EXECUTE FUNCTION pass();
SELECT said('log-3', 5) < said('log-3', 6, '2020-01-01Z');
DROP TRIGGER pass ON event_store.stored_event;
SELECT version, occurred_at = event_store.recorded_at(position), event_store.recorded_at(position) > :'before'
FROM event_store.read_stream('log-3');
SELECT count(*) FROM event_store.read_all(0, 1000, 'log'), LATERAL event_store.get_event(event_id) g WHERE g.occurred_at IS NOT NULL;

-- ------------------------------------------------------------ a state as it was known
SELECT said('log-4', 1, '2026-01-01Z') > 0;
SELECT clock_timestamp() AS first \gset
SELECT said('log-4', 2, '2024-01-01Z') > 0, said('log-4', 3, '2026-01-02Z') > 0;
SELECT clock_timestamp() AS second \gset
SELECT said('log-4', 4) > 0;
CREATE FUNCTION known(at timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s of %s', state->'heard', version) FROM event_store.load('log-4', at_recorded => at)
$$;
SELECT known(:'before'), known(:'first'), known(:'second'), known(now()), known('infinity');
-- at_time ends at the first event that occurred later
SELECT state->'heard' FROM event_store.load('log-4', at_time => '2026-01-01Z');
SELECT state->'heard' FROM event_store.load('log-4', at_time => '2026-01-01Z', at_recorded => :'first');
SELECT state->'heard' FROM event_store.load('log-4', at_version => 2, at_recorded => :'second');
-- From snapshots it is the same, and only from those that were possible then.
SELECT version FROM event_store.save_json('log-4', 4, '[{"event_type": "Said", "data": {"n": 5}},
	{"event_type": "Said", "data": {"n": 6}, "occurred_at": "2020-01-01T00:00:00Z"}]');
SELECT version, state->'heard' FROM event_store.snapshot WHERE stream = 'log-4';
SELECT known(:'before'), known(:'first'), known(:'second'), known('infinity');
SET event_store.allow_rewrite = on;
UPDATE event_store.stored_event SET data = '{"n": 0}' WHERE stream = 'log-4' AND version = 1;
SELECT known('infinity') AS forgotten;
RESET event_store.allow_rewrite;
SELECT version FROM event_store.save_json('log-4', 6, '[{"event_type": "Said", "data": {"n": 7}},
	{"event_type": "Said", "data": {"n": 8}}]');
UPDATE event_store.snapshot SET state = '{"heard": ["snapshot"]}';
SELECT known(:'second') AS without, known('infinity') AS with_it;
SELECT fails($$SELECT event_store.load('log-4', for_update => true, at_recorded => now())$$);
SELECT * FROM event_store.verify();
