-- Handlers of arrays of events, and what a handler may ask: event_store.replaying().
CREATE EXTENSION ecommerce;

CREATE TABLE seen (position bigint PRIMARY KEY, stream text, version bigint, replayed boolean);
CREATE TABLE call (n serial, events int, ordered boolean);
CREATE FUNCTION see(events event_store.event[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM unnest(events) e WHERE e.data ? 'poison') THEN
		RAISE EXCEPTION 'poisoned' USING ERRCODE = 'data_exception';
	END IF;
	INSERT INTO public.call (events, ordered)
	SELECT cardinality(events), array_agg(e.position ORDER BY e.position) = array_agg(e.position)
	FROM unnest(events) e;
	INSERT INTO public.seen
	SELECT e.position, e.stream, e.version, event_store.replaying() FROM unnest(events) e;
END $$;
-- Ends once the projection is in a state.
CREATE PROCEDURE until(wanted text) LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM event_store.projections p
		WHERE p.name = 'seen' AND p.state = wanted) LOOP
		COMMIT;
	END LOOP;
END $$;

SELECT count(event_store.append('order-' || i % 7, -1, 'Placed', '{}'))
FROM generate_series(1, 1000) i;
SELECT event_store.create_projection('seen', 'see(event_store.event[])', 'order',
	tables => '{seen}');
CALL event_store.wait_projection('seen', event_store.position_counter(), '5 min');
SELECT count(*), bool_or(replayed) AS replayed FROM seen;
SELECT sum(events), count(*) < 500 AS together, bool_and(ordered) AS ordered FROM call;

-- Rebuilt it is told so; what comes later is new.
SELECT event_store.rebuild_projection('seen');
SELECT event_store.append('order-8', -1, 'Placed', '{}') IS NOT NULL AS appended;
CALL event_store.wait_projection('seen', event_store.position_counter(), '5 min');
CALL until('running');
SELECT replayed, count(*) FROM seen GROUP BY replayed ORDER BY replayed DESC;
SELECT event_store.replaying() AS replaying_elsewhere;

-- One of many that fails is found, whatever it came with; the others before it are in.
SELECT event_store.pause_projection('seen');
SELECT count(event_store.append('order-9', -1, 'Placed',
	CASE i WHEN 137 THEN '{"poison": true}'::jsonb ELSE '{}' END))
FROM generate_series(1, 200) i;
SELECT event_store.resume_projection('seen');
CALL until('retrying');
SELECT e.version, p.last_error FROM event_store.projections p
JOIN event_store.read_stream('order-9') e ON e.position = p.error_position;
SELECT count(*), max(version) FROM seen WHERE stream = 'order-9';
SELECT event_store.skip_event('seen', error_position) FROM event_store.projections;
CALL event_store.wait_projection('seen', event_store.position_counter(), '5 min');
SELECT count(*), count(*) FILTER (WHERE version = 137) AS poisoned
FROM seen WHERE stream = 'order-9';

SELECT event_store.drop_projection('seen');
TRUNCATE seen, call;

-- Inside the append it gets all that is appended together.
SELECT event_store.create_projection('inline', 'see(event_store.event[])', 'cart',
	mode => 'inline', tables => '{seen}');
SELECT version FROM event_store.append_json('cart-1', 0,
	'[{"event_type": "A", "data": {}}, {"event_type": "B", "data": {}}, {"event_type": "C", "data": {}}]');
SELECT events, ordered FROM call;
\set VERBOSITY terse
SELECT event_store.append_json('cart-1', 3,
	'[{"event_type": "A", "data": {}}, {"event_type": "B", "data": {"poison": 1}}]');
SELECT stream, version, replayed FROM seen ORDER BY position;

-- Neither one nor the other.
CREATE FUNCTION wrong(events event_store.new_event[]) RETURNS void LANGUAGE sql AS '';
SELECT event_store.create_projection('wrong', 'wrong(event_store.new_event[])');

-- Among events that were rolled back, which leave dead entries in the index that is read.
DO $$
BEGIN
	FOR i IN 1 .. 3000 LOOP
		BEGIN
			PERFORM event_store.append('order-' || i % 7, -1, 'Placed', '{"lost": true}');
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
		PERFORM event_store.append('order-' || i % 7, -1, 'Placed', '{}');
	END LOOP;
END $$;
CREATE TABLE survived (position bigint PRIMARY KEY);
CREATE FUNCTION survive(events event_store.event[]) RETURNS void LANGUAGE sql AS
	'INSERT INTO public.survived SELECT e.position FROM unnest(events) e';
SELECT event_store.create_projection('survived', 'survive(event_store.event[])', 'order',
	tables => '{survived}');
CALL event_store.wait_projection('survived', event_store.position_counter(), '2 min');
SELECT count(*) = (SELECT count(*) FROM event_store.read_all(category => 'order',
	max_count => 100000)) AS all_of_them FROM survived;
