-- Remote projections: events of one database, given to a handler in another. Here both are
-- the same one, which the functions do not know.
CREATE EXTENSION ecommerce;
CREATE FUNCTION attempt(command text, OUT state text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	state := 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		hint = PG_EXCEPTION_HINT;
END $$;

CREATE TABLE got (id serial, stream text, version bigint, replayed boolean);
CREATE TABLE bad (version bigint);
CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.got (stream, version, replayed)
	VALUES (event.stream, event.version, event_store.replaying());
	IF EXISTS (SELECT FROM public.bad b WHERE b.version = event.version) THEN
		RAISE EXCEPTION 'event % is bad', event.version;
	END IF;
END $$;
CREATE FUNCTION note_many(events event_store.event[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	event event_store.event;
BEGIN
	FOREACH event IN ARRAY events LOOP
		PERFORM public.note(event);
	END LOOP;
END $$;
CREATE VIEW brief AS SELECT name, state, lag_events, lag_positions, source,
	error_position IS NOT NULL AS fails, last_error FROM event_store.projections;
-- What whoever brings does: reads after the checkpoint, and applies.
CREATE FUNCTION bring(projection text, most int DEFAULT 500) RETURNS int LANGUAGE sql AS $$
	SELECT event_store.apply_remote(projection, p.checkpoint, d.events, d.upto, d.read_from, d.head)
	FROM event_store.projection q JOIN event_store.projection_progress p USING (name)
	LEFT JOIN event_store.projection_remote r USING (name),
	LATERAL event_store.read_durable(p.checkpoint, most, q.category, q.event_types, r.incarnation) d
	WHERE q.name = projection $$;

-- ------------------------------------------------------------ definition
SELECT state, message FROM attempt($$SELECT event_store.create_projection('p', 'note(event_store.event)', source => '')$$);
SELECT state, message FROM attempt($$SELECT event_store.create_projection('p', 'note(event_store.event)', source => 'host=a')$$);
SELECT state, message FROM attempt($$SELECT event_store.create_projection('p', 'note(event_store.event)', source => E'a\nb')$$);
SELECT state, message FROM attempt($$SELECT event_store.create_projection('p', 'note(event_store.event)', mode => 'inline', source => 'shop')$$);
SELECT event_store.create_projection('p', 'note(event_store.event)', 'order',
	tables => '{got}', source => 'shop');
SELECT event_store.create_projection('p', 'note(event_store.event)', 'order',
	tables => '{got}', source => 'shop');
SELECT state, message FROM attempt($$SELECT event_store.create_projection('p', 'note(event_store.event)', 'order',
	tables => '{got}')$$);
SELECT event_store.create_projection('here', 'note(event_store.event)', 'nothing');
SELECT * FROM brief ORDER BY name;
SELECT has_table_privilege('ecommerce_reader', 'event_store.projection_remote', 'SELECT');

-- ------------------------------------------------------------ events come
SELECT count(event_store.append('order-' || i % 3, -1, 'Noted', '{}')) FROM generate_series(1, 9) i;
SELECT count(event_store.append('other-1', -1, 'Noted', '{}')) FROM generate_series(1, 5) i;
-- Nobody gives them here.
SELECT event_store.run_projections();
SELECT count, cardinality(events), upto < head AS more, read_from ~ '^\d+:\d+:' AS known
FROM event_store.read_durable(0, 4, 'order');
SELECT bring('p', 4);
SELECT count(*), bool_or(replayed) FROM got;
SELECT state, lag_events, lag_positions > 0 AS behind, lag > '0' AS lags, heard_at IS NOT NULL AS heard
FROM event_store.projections WHERE name = 'p';
SELECT bring('p'), bring('p');
SELECT state, lag_events, lag_positions, lag FROM event_store.projections WHERE name = 'p';
SELECT stream, array_agg(version ORDER BY id) FROM got GROUP BY stream ORDER BY stream;
-- The checkpoint goes over what is not for it.
SELECT checkpoint = event_store.high_water_mark('order') FROM event_store.projections
WHERE name = 'p';
SELECT event_store.high_water_mark('order') AS mark \gset
CALL event_store.wait_projection('p', :mark, '0 s', NULL);

-- ------------------------------------------------------------ what is refused
SELECT (event_store.append('order-0', -1, 'Noted', '{}')).position AS newest \gset
SELECT d.events[1] AS event, d.events, d.upto, d.read_from, d.head
FROM event_store.read_durable(:mark, 10, 'order') d \gset
SELECT state, message FROM attempt($$SELECT event_store.apply_remote('none', 0, '{}')$$);
SELECT state, message FROM attempt($$SELECT event_store.apply_remote('here', 0, '{}')$$);
SELECT state, message FROM attempt($$SELECT event_store.apply_remote(NULL, 0, '{}')$$);
SELECT state, message FROM attempt($$SELECT event_store.apply_remote('p', NULL, '{}')$$);
SELECT state, message FROM attempt($$SELECT event_store.apply_remote('p', 0, NULL)$$);
SELECT state, message FROM attempt($$SELECT event_store.apply_remote('p', 0, '{NULL}')$$);
SELECT state, message FROM attempt($$SELECT event_store.apply_remote('p', 0, '{}')$$);
SELECT state FROM attempt(format('SELECT event_store.apply_remote(%L, %s, %L, %s)', 'p', :mark, :'events', :newest - 1));
SELECT state FROM attempt(format('SELECT event_store.apply_remote(%L, %s, %L)', 'p', :newest, :'events'));
SELECT state FROM attempt(format('SELECT event_store.apply_remote(%L, %s, array[%L, %L]::event_store.event[])', 'p', :mark, :'event', :'event'));
-- Another stream's, as after a change of the definition.
SELECT state, message ~ 'does not want' FROM attempt(format('SELECT event_store.apply_remote(%L, %s, (SELECT array_agg(e) FROM event_store.read_all(0, 100, %L) e))', 'p', 0, 'other'));
SELECT state, message FROM attempt($$SELECT event_store.apply_remote('p', 0, '{}', 0, 'x')$$);
SELECT event_store.apply_remote('p', :mark, :'events', :upto, :'read_from', :head);
-- The same again.
SELECT state FROM attempt(format('SELECT event_store.apply_remote(%L, %s, %L, %s, %L, %s)', 'p', :mark, :'events', :upto, :'read_from', :head));
SELECT count(*) FROM got;
SELECT state, message FROM attempt($$SELECT event_store.read_durable(-1)$$);
SELECT state, message FROM attempt($$SELECT event_store.read_durable(0, 0)$$);
SELECT state, message FROM attempt($$SELECT event_store.read_durable(NULL)$$);
SELECT state FROM attempt($$SELECT * FROM event_store.read_durable(1000000000)$$);
SELECT state, message FROM attempt($$SELECT * FROM event_store.read_durable(0, incarnation => 'x')$$);
SELECT state FROM attempt($$SELECT * FROM event_store.read_durable(0, incarnation => '1:1:0/0:1:1')$$);

-- ------------------------------------------------------------ pause, failure, skip
SELECT event_store.pause_projection('p');
SELECT count(event_store.append('order-4', -1, 'Noted', '{}')) FROM generate_series(1, 6) i;
SELECT state, message FROM attempt($$SELECT bring('p')$$);
SELECT event_store.resume_projection('p');
INSERT INTO bad VALUES (5);
SELECT bring('p');
SELECT state, fails, last_error FROM brief WHERE name = 'p';
SELECT state, message FROM attempt($$SELECT bring('p')$$);
SELECT kind, object, severity FROM ecommerce.problems WHERE kind LIKE 'projection%';
DO $$ BEGIN FOR i IN 1 .. 5 LOOP
	UPDATE event_store.projection_progress SET retry_at = NULL WHERE name = 'p';
	PERFORM bring('p');
END LOOP; END $$;
SELECT state, fails, last_error FROM brief WHERE name = 'p';
SELECT kind, object, severity, what_to_type ~ 'skip_event' AS says FROM ecommerce.problems
WHERE kind LIKE 'projection%';
SELECT event_store.skip_event('p', (SELECT error_position FROM event_store.projections WHERE name = 'p'));
SELECT bring('p');
SELECT array_agg(version ORDER BY version) FROM got WHERE stream = 'order-4';
DELETE FROM bad;

-- ------------------------------------------------------------ rebuild
SELECT event_store.rebuild_projection('p');
SELECT count(*) FROM got;
SELECT state FROM brief WHERE name = 'p';
SELECT event_store.append('order-9', -1, 'Noted', '{}') IS NOT NULL;
SELECT bring('p', 7), (SELECT state FROM brief WHERE name = 'p');
SELECT bring('p'), bring('p');
SELECT state FROM brief WHERE name = 'p';
SELECT count(*), count(*) FILTER (WHERE replayed) AS replayed, count(DISTINCT (stream, version)) FROM got;

-- ------------------------------------------------------------ lost
SELECT event_store.lose_remote('p', 0, 'ST021', 'it is older');
SELECT event_store.lose_remote('p', checkpoint, 'ST021', 'it is older'),
	event_store.lose_remote('p', checkpoint, 'ST021', 'again')
FROM event_store.projection_progress WHERE name = 'p';
SELECT state, last_error FROM brief WHERE name = 'p';
SELECT kind, object, severity, holds_up, what_to_type FROM ecommerce.problems WHERE kind LIKE 'projection%';
SELECT state, message FROM attempt($$SELECT bring('p')$$);
SELECT event_store.rebuild_projection('p');
SELECT bring('p');
SELECT incarnation IS NOT NULL FROM event_store.projection_remote;
SELECT count(*), count(DISTINCT (stream, version)) FROM got;
-- From another server.
SELECT state, message FROM attempt($$SELECT event_store.apply_remote('p', p.checkpoint, '{}', NULL,
	'1' || r.incarnation) FROM event_store.projection_progress p JOIN event_store.projection_remote r USING (name)$$);
SELECT state FROM attempt($$SELECT event_store.reset_remote('p', -1)$$);
SELECT event_store.reset_remote('p', 0);
SELECT bring('p') > 0;
SELECT count(*) > count(DISTINCT (stream, version)) AS doubled FROM got;
SELECT state, message FROM attempt($$SELECT event_store.reset_remote('here', 0)$$);
SELECT state, message FROM attempt($$SELECT event_store.lose_remote('here', 0, 'ST021', 'x')$$);
-- Nobody brings.
UPDATE event_store.projection_remote SET heard_at = now() - interval '10 min';
SELECT kind, severity, holds_up FROM ecommerce.problems WHERE kind LIKE 'projection%';

-- ------------------------------------------------------------ handlers of arrays
SELECT event_store.create_projection('many', 'note_many(event_store.event[])', 'batch', source => 'shop');
SELECT count(event_store.append('batch-1', -1, 'Noted', '{}')) FROM generate_series(1, 40) i;
INSERT INTO bad VALUES (33);
SELECT bring('many');
SELECT state, last_error FROM brief WHERE name = 'many';
SELECT count(*), max(version) FROM got WHERE stream = 'batch-1';

-- ------------------------------------------------------------ retention of this database goes by its own
SELECT event_store.create_projection('stays', 'note(event_store.event)', 'kept', source => 'shop');
SELECT count(event_store.append('kept-1', -1, 'Noted', '{}')) FROM generate_series(1, 5) i;
SELECT event_store.set_retention('kept', max_count => 1);
SELECT event_store.scavenge() > 0;

SELECT event_store.drop_projection('p');
SELECT name FROM event_store.projection_remote ORDER BY name;
