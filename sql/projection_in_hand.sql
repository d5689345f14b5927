-- What a handler does to its own projection while it is given events: it is refused, so that
-- nothing is written over; and what an error leaves behind of that: nothing.
CREATE EXTENSION ecommerce;
\pset format unaligned
\pset tuples_only on
CREATE TABLE tally (stream text, n int, PRIMARY KEY (stream, n));
CREATE TABLE refused (what text, error text);
-- Does what an event says, once, and keeps the number of each.
CREATE FUNCTION keep(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.tally VALUES (event.stream, event.version);
	IF event.data ? 'do' AND NOT EXISTS (SELECT FROM public.refused WHERE what = event.data->>'what') THEN
		BEGIN
			EXECUTE event.data->>'do';
		EXCEPTION WHEN object_in_use THEN
			INSERT INTO public.refused VALUES (event.data->>'what', SQLSTATE || ' ' || SQLERRM);
		END;
	END IF;
END $$;
CREATE FUNCTION add(stream text, what text DEFAULT NULL, call text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS
$$ SELECT (event_store.append(stream, -1, 'Added', jsonb_strip_nulls(jsonb_build_object('what', what, 'do', call)))).version $$;
-- Until the projection has had all, by hand or by the worker, whoever is first.
CREATE PROCEDURE settle() LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		PERFORM event_store.run_projections();
		COMMIT;
		EXIT WHEN EXISTS (SELECT FROM event_store.projections WHERE state IN ('paused', 'failed')
			OR (state = 'running' AND lag_events = 0));
	END LOOP;
END $$;
CREATE FUNCTION shown() RETURNS text LANGUAGE sql AS $$
	SELECT format('%s, %s; %s', (SELECT state FROM event_store.projections),
		coalesce((SELECT last_error FROM event_store.projections), 'no error'),
		(SELECT string_agg(stream || ' ' || n, ', ' ORDER BY stream, n) FROM tally))
$$;
SELECT event_store.create_projection('tally', 'keep(event_store.event)', 'a', tables => '{tally}');

-- ---------------------------------------------------------------- in the background, or by hand

SELECT add('a-1'), add('a-1', 'rebuild', 'SELECT event_store.rebuild_projection(''tally'')'), add('a-1');
CALL settle();
SELECT shown();
SELECT add('a-1', 'pause', 'SELECT event_store.pause_projection(''tally'')'),
	add('a-1', 'drop', 'SELECT event_store.drop_projection(''tally'')'),
	add('a-1', 'skip', 'SELECT event_store.skip_event(''tally'', 1)');
CALL settle();
-- What it is given already it does not get a second time.
SELECT add('a-1', 'run', 'SELECT event_store.run_projections()');
CALL settle();
SELECT shown();
SELECT * FROM refused ORDER BY what COLLATE "C";
-- Others may, and so may it afterwards.
SELECT event_store.rebuild_projection('tally');
CALL settle();
SELECT shown();
SELECT event_store.drop_projection('tally');

-- ---------------------------------------------------------------- an inline one within the append

TRUNCATE tally, refused;
SELECT event_store.create_projection('tally', 'keep(event_store.event)', 'b', tables => '{tally}', mode => 'inline');
SELECT add('b-1'), add('b-1', 'pause', 'SELECT event_store.pause_projection(''tally'')'), add('b-1');
SELECT shown();
SELECT event_store.resume_projection('tally');
CALL settle();
SELECT shown();
TABLE refused;

-- ---------------------------------------------------------------- after an error

CREATE OR REPLACE FUNCTION keep(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF event_store.replaying() THEN
		RAISE EXCEPTION 'not again';
	END IF;
END $$;
SELECT event_store.rebuild_projection('tally', stream => 'b-1');
SELECT event_store.replaying();
BEGIN;
SAVEPOINT s;
SELECT event_store.rebuild_projection('tally', stream => 'b-1');
ROLLBACK TO s;
SELECT event_store.replaying();
COMMIT;
SELECT event_store.drop_projection('tally');
SET event_store.allow_drop = on;
DROP EXTENSION ecommerce CASCADE;
