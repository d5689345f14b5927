-- Projections: inline, async, failures, pause, skip, rebuild; the two of the demo.
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
-- Lets a projection come to rest, by hand or by the worker, whoever is first. Waits before
-- retries are left out.
CREATE PROCEDURE settle(projection text) LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		UPDATE event_store.projection_progress SET retry_at = NULL WHERE name = projection
			AND retry_at IS NOT NULL;
		COMMIT;
		PERFORM event_store.run_projections(7);
		COMMIT;
		EXIT WHEN EXISTS (SELECT FROM event_store.projections p
			WHERE p.name = projection AND (p.state IN ('paused', 'failed')
				OR p.state = 'running' AND p.lag_events = 0));
	END LOOP;
END $$;
CREATE VIEW brief AS
	SELECT name, mode, state, lag_events, lag > '0' AS lags, error_position, last_error
		FROM event_store.projections;
CREATE FUNCTION add(n int, stream text DEFAULT 'a-1',
	event_type text DEFAULT 'Added') RETURNS bigint LANGUAGE sql AS $$
	SELECT (event_store.append_batch(stream, -1,
		array_fill(ROW(event_type, '{}', NULL, NULL, NULL, NULL)::event_store.new_event,
			ARRAY[n]))).position $$;

-- A projection that writes down what it got, and fails at the positions in a table. Calls are
-- counted by a sequence, which a rollback does not turn back.
CREATE TABLE got (id serial, who name, stream text, version bigint, at bigint);
CREATE TABLE bad (at bigint);
CREATE SEQUENCE calls;
CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM nextval('public.calls');
	INSERT INTO public.got (who, stream, version, at) VALUES (current_user, event.stream,
		event.version, event.position);
	IF EXISTS (SELECT FROM public.bad WHERE at = event.position) THEN
		RAISE EXCEPTION 'event % is bad', event.position;
	END IF;
END $$;

-- ------------------------------------------------------------ definition
SELECT * FROM attempt($$SELECT event_store.create_projection('p', 'lower(text)')$$);
SELECT * FROM attempt($$SELECT event_store.create_projection('p', NULL)$$);
SELECT * FROM attempt($$SELECT event_store.create_projection(NULL, 'note(event_store.event)')$$);
SELECT * FROM attempt($$SELECT event_store.create_projection('', 'note(event_store.event)')$$);
SELECT * FROM attempt($$
	SELECT event_store.create_projection('p', 'note(event_store.event)', mode => 'fast')$$);
SELECT * FROM attempt($$
	SELECT event_store.create_projection('p', 'note(event_store.event)', category => 'a-b')$$);
SELECT * FROM attempt($$
	SELECT event_store.create_projection('p', 'note(event_store.event)', event_types => '{A,
		NULL}')$$);
SELECT * FROM attempt($$
	SELECT event_store.create_projection('p', 'note(event_store.event)', tables => '{NULL}')$$);
SELECT * FROM attempt($$SELECT event_store.pause_projection('p')$$);
SELECT * FROM attempt($$SELECT event_store.resume_projection('p')$$);
SELECT * FROM attempt($$SELECT event_store.skip_event('p', 1)$$);
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('p')$$);
SELECT * FROM attempt($$SELECT event_store.drop_projection('p')$$);
SELECT * FROM attempt($$SELECT event_store.drop_projection(NULL)$$);
SELECT * FROM attempt($$SELECT event_store.run_projections(0)$$);

SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = 'event_store.projections'::regclass AND attnum > 0 ORDER BY attnum;

-- ------------------------------------------------------------ async: from the first event on
SELECT add(3), add(1, 'b-1'), add(1, 'a-2', 'Other');
SELECT event_store.create_projection('p', 'note(event_store.event)', 'a', '{Added}', tables
	=> '{got}');
SELECT * FROM attempt($$SELECT event_store.create_projection('p', 'note(event_store.event)')$$);
SELECT event_store.create_projection('p', 'note(event_store.event)', 'a', '{Added}', tables
	=> '{got}') IS NULL AS the_same_again;
SELECT * FROM attempt($$SELECT event_store.create_projection('s', 'note(event_store.event)', event_types => '{}')$$);
SELECT * FROM attempt($$SELECT event_store.create_projection('s', 'note(event_store.event)', on_error => 'ignore')$$);
SELECT * FROM attempt($$SELECT event_store.create_projection('s', 'note(event_store.event)', tables => '{got}')$$);
CALL settle('p');
SELECT stream, version FROM got ORDER BY id;
SELECT add(20), add(1, 'b-1'), add(2, 'a-3');
CALL settle('p');
SELECT count(*), count(DISTINCT at), bool_and(in_order) FROM (SELECT at, at > lag(at, 1,
	0::bigint) OVER (ORDER BY id) AS in_order FROM got) g;
SELECT p.checkpoint <= p.head AS sane, g.checkpoint = p.checkpoint AS same,
	p.updated_at <= clock_timestamp() AS past
FROM event_store.projections p JOIN event_store.projection_progress g USING (name);
SELECT * FROM brief;

-- A handler that fails stops its projection, at the event, after 5 retries.
INSERT INTO bad SELECT 32;
SELECT setval('calls', 1, false);
SELECT add(5), add(3, 'b-1');
CALL settle('p');
SELECT * FROM brief;
SELECT max(at), (SELECT last_value FROM calls) AS calls FROM got;
SELECT * FROM attempt($$SELECT event_store.skip_event('p', 31)$$);
SELECT * FROM attempt($$SELECT event_store.skip_event('p', NULL)$$);
SELECT event_store.skip_event('p', 32);
CALL settle('p');
SELECT * FROM brief;
SELECT array_agg(at ORDER BY at) FROM got WHERE at > 29;
SELECT * FROM attempt($$SELECT event_store.skip_event('p', 32)$$);
-- Resumed after a repair, it goes on where it stopped; others do not stop.
SELECT event_store.create_projection('q', 'note(event_store.event)', 'b');
CALL settle('q');
SELECT count(*) FROM got WHERE stream = 'b-1';
TRUNCATE bad;
INSERT INTO bad SELECT max(at) + 3 FROM got;
SELECT add(4) > 0, add(2, 'b-1') > 0;
CALL settle('p');
CALL settle('q');
SELECT name, state, lag_events, last_error FROM brief ORDER BY name;
SELECT count(*) FROM got WHERE stream = 'b-1';
TRUNCATE bad;
SELECT event_store.resume_projection('p');
CALL settle('p');
SELECT name, state, lag_events, last_error FROM brief ORDER BY name;
SELECT event_store.drop_projection('q');

-- Pause and rebuild.
SELECT event_store.pause_projection('p');
SELECT add(2) > 0;
CALL settle('p');
SELECT event_store.run_projections();
SELECT * FROM brief;
SELECT event_store.resume_projection('p');
CALL settle('p');
SELECT * FROM brief;
CREATE TEMP TABLE before AS SELECT stream, version, at FROM got WHERE stream LIKE 'a-%';
UPDATE got SET version = 0;
SELECT event_store.rebuild_projection('p');
SELECT state IN ('rebuilding', 'running') FROM brief;
CALL settle('p');
SELECT * FROM brief;
-- The event that was skipped is there now.
(TABLE before EXCEPT SELECT stream, version, at FROM got) UNION ALL (SELECT stream, version, at
	FROM got EXCEPT TABLE before);
SELECT event_store.drop_projection('p');
SELECT count(*) FROM event_store.projection_progress;

-- What it writes and its checkpoint go together.
TRUNCATE got;
SELECT event_store.create_projection('p', 'note(event_store.event)', 'a');
CALL settle('p');
SELECT count(*) AS all_events FROM got;
BEGIN;
SELECT add(1) > 0;
ROLLBACK;
SELECT add(1) > 0;
CALL settle('p');
SELECT count(*) AS one_more FROM got;
SELECT event_store.drop_projection('p');

-- ------------------------------------------------------------ inline
TRUNCATE got;
SELECT event_store.create_projection('i', 'note(event_store.event)', 'a', '{Added}', 'inline',
	'{got}', 'defer');
SELECT add(3), add(1, 'b-1'), add(1, 'a-2', 'Other');
SELECT stream, version FROM got ORDER BY id;
BEGIN;
SELECT add(1);
SELECT count(*) FROM got;
ROLLBACK;
SELECT count(*) FROM got;
SELECT * FROM brief;
-- A repetition is no new event.
SELECT event_store.append('a-9', 0, 'Added', '{}', event_id
	=> 'e0000000-0000-4000-8000-000000000001') IS NOT NULL;
SELECT event_store.append('a-9', 0, 'Added', '{}', event_id
	=> 'e0000000-0000-4000-8000-000000000001') IS NOT NULL;
SELECT count(*) FROM got WHERE stream = 'a-9';

-- A failure: the append goes through, what follows waits for the worker,
-- nothing is lost or done twice.
INSERT INTO bad SELECT p.head + 3 FROM event_store.projections p;
-- The worker sees nothing of it before the end.
BEGIN;
SELECT add(4) > 0;
SELECT add(2) > 0;
SELECT count(*) FROM got WHERE at > (SELECT min(at) - 3 FROM bad);
SELECT state, lag_events, error_position = (SELECT at FROM bad) AS there,
	last_error ~ '^event \d+ is bad' AS said FROM brief;
COMMIT;
CALL settle('i');
SELECT state, lag_events, last_error ~ '^event \d+ is bad' AS said, error_position = (SELECT at
	FROM bad) AS there FROM brief;
SELECT count(*) FROM got WHERE at > (SELECT min(at) - 3 FROM bad);
SELECT add(1) > 0;
SELECT event_store.skip_event('i', error_position) FROM event_store.projections;
CALL settle('i');
SELECT * FROM brief;
SELECT count(*) FROM event_store.projection_deferred;
TRUNCATE bad;
SELECT add(1) > 0;
SELECT count(*), count(DISTINCT at), bool_and(in_order) FROM (SELECT at, at > lag(at, 1,
	0::bigint) OVER (ORDER BY id) AS in_order FROM got) g;

-- Pause and resume; nobody's appends wait.
SELECT event_store.pause_projection('i');
SELECT count(*) AS before FROM got \gset
SELECT add(3) > 0;
SELECT count(*) - :before FROM got;
SELECT state, lag_events FROM brief;
SELECT event_store.resume_projection('i');
CALL settle('i');
SELECT count(*) - :before FROM got;
SELECT event_store.pause_projection('i');
SELECT event_store.resume_projection('i');
SELECT add(1) > 0;
SELECT count(*) - :before AS at_once FROM got;

-- A rebuild looks back at what came before the projection.
UPDATE got SET version = 0;
SELECT event_store.rebuild_projection('i');
CALL settle('i');
SELECT count(*) = (SELECT count(*) FROM event_store.stored_event WHERE event_type = 'Added'
	AND stream LIKE 'a-%') AS all_of_them,
	count(*) = count(DISTINCT at) AS once FROM got;
SELECT add(1) > 0;
SELECT count(*) = (SELECT count(*) FROM event_store.stored_event WHERE event_type = 'Added'
	AND stream LIKE 'a-%') AS at_once FROM got;
SELECT count(*) FROM event_store.projection_deferred;

-- Several inline projections; one that fails leaves the others alone. A handler may append itself.
CREATE FUNCTION echo(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM event_store.append('echo-' || event.version, -1, 'Echo', '{}');
END $$;
CREATE FUNCTION fail(event event_store.event) RETURNS void LANGUAGE sql AS $$ SELECT 1 / 0 $$;
SELECT event_store.create_projection('echo', 'echo(event_store.event)', 'c', mode => 'inline');
SELECT event_store.create_projection('fail', 'fail(event_store.event)', 'c', mode => 'inline',
	on_error => 'defer');
SELECT event_store.create_projection('heard', 'note(event_store.event)', 'echo', mode => 'inline');
BEGIN;
SELECT add(2, 'c-1') > 0;
SELECT stream, version FROM got WHERE stream LIKE 'echo-%' ORDER BY id;
SELECT name, state, lag_events, last_error FROM brief WHERE name IN ('echo', 'fail', 'heard')
	ORDER BY name;
COMMIT;
SELECT event_store.drop_projection(name) FROM event_store.projections WHERE name <> 'heard';
SELECT event_store.drop_projection('heard');
SELECT count(*) FROM event_store.projection_deferred;

-- A handler whose function is gone.
SELECT event_store.create_projection('f', 'fail(event_store.event)', 'f');
DROP FUNCTION fail(event_store.event) CASCADE;
SELECT add(1, 'f-1') > 0;
CALL settle('f');
SELECT state, last_error FROM brief;
SELECT event_store.drop_projection('f');

-- ------------------------------------------------------------ on_error => 'refuse'
-- The append fails with its handler, whose tables so keep rules over many streams.
CREATE TABLE email (address text PRIMARY KEY, stream text);
CREATE FUNCTION claim(event event_store.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.email VALUES (event.data ->> 'email', event.stream) $$;
SELECT event_store.create_projection('email', 'claim(event_store.event)', 'user', '{Registered}',
	'inline', '{email}');
SELECT version FROM event_store.append('user-1', 0, 'Registered', '{"email": "ann@example.com"}');
SELECT * FROM attempt($$SELECT event_store.append('user-2', 0, 'Registered', '{"email": "ann@example.com"}')$$);
DO $$
DECLARE
	context text;
BEGIN
	PERFORM event_store.append_batch('user-3', 0, ARRAY[
		ROW('Registered', '{"email": "bob@example.com"}', NULL, NULL, NULL, NULL),
		ROW('Registered', '{"email": "ann@example.com"}', NULL, NULL, NULL, NULL)]::event_store.new_event[]);
EXCEPTION WHEN unique_violation THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	RAISE NOTICE '%', regexp_replace((regexp_match(context, 'projection.*'))[1], '\d+', '#');
END
$$;
DO $$
BEGIN
	FOR i IN 1..40 LOOP
		BEGIN
			PERFORM event_store.append('user-2', 0, 'Registered', '{"email": "ann@example.com"}');
		EXCEPTION WHEN unique_violation THEN
			NULL;
		END;
	END LOOP;
	PERFORM event_store.append('user-2', 0, 'Registered', '{"email": "cid@example.com"}');
END
$$;
SELECT * FROM email ORDER BY address;
SELECT stream, version FROM event_store.read_all(0, NULL, 'user');
SELECT name, state, lag_events, last_error FROM brief;

-- A table that two would write, or part of one, belongs to the one that was there first.
CREATE TABLE parts (n int) PARTITION BY LIST (n);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
SELECT event_store.create_projection('parts', 'note(event_store.event)', 'none', tables => '{parts}');
SELECT * FROM attempt($$SELECT event_store.create_projection('s', 'claim(event_store.event)', 'none', tables => '{email}')$$);
SELECT * FROM attempt($$SELECT event_store.create_projection('s', 'claim(event_store.event)', 'none', tables => '{got,part_1}')$$);
CREATE TABLE part_2 (n int);
SELECT event_store.create_projection('s', 'claim(event_store.event)', 'none', tables => '{part_2}');
ALTER TABLE parts ATTACH PARTITION part_2 FOR VALUES IN (2);
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('parts')$$);
SELECT event_store.drop_projection(p) FROM unnest('{parts,s}'::text[]) p;

-- A handler that appends what it is given goes so deep and no deeper, whatever becomes of errors.
CREATE FUNCTION again(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF event.version < (event.data ->> 'until')::int THEN
		PERFORM event_store.append(event.stream, -1, event.event_type, event.data);
	END IF;
END
$$;
SELECT event_store.create_projection('again', 'again(event_store.event)', 'again', mode => 'inline');
SELECT version FROM event_store.append('again-1', 0, 'Again', '{"until": 16}');
SELECT event_store.stream_version('again-1');
SELECT * FROM attempt($$SELECT event_store.append('again-2', 0, 'Again', '{"until": 17}')$$);
SELECT * FROM attempt($$SELECT event_store.append('again-2', 0, 'Again', '{"until": 1000000}')$$);
SELECT event_store.stream_version('again-2');
SELECT event_store.drop_projection('again');
SELECT event_store.create_projection('again', 'again(event_store.event)', 'again', mode => 'inline',
	on_error => 'defer');
BEGIN;
SELECT version FROM event_store.append('again-3', 0, 'Again', '{"until": 1000000}');
SELECT event_store.stream_version('again-3');
SELECT state, lag_events, last_error FROM brief WHERE name = 'again';
ROLLBACK;
SELECT event_store.drop_projection(p) FROM unnest('{again,email}'::text[]) p;

-- Events of the future make no negative lag.
SELECT event_store.create_projection('future', 'note(event_store.event)', 'future'),
	event_store.pause_projection('future'), event_store.create_subscription('future', 'future');
SELECT version FROM event_store.append_batch('future-1', 0, ARRAY[
	ROW('Added', '{}', NULL, NULL, now() + interval '1 day', NULL)]::event_store.new_event[]);
SELECT lag_events, lag FROM event_store.projections WHERE name = 'future'
UNION ALL SELECT lag_events, lag FROM event_store.subscriptions
UNION ALL SELECT lag_events, lag FROM event_store._listed_subscription;
SELECT name, value FROM ecommerce.metrics() WHERE 'future' IN (labels ->> 'projection', labels ->> 'subscription')
	AND name ~ 'lag' ORDER BY 1;
-- Nor does a projection that is said to be further than the counter, as after that was set back.
BEGIN;
UPDATE event_store.projection_progress SET checkpoint = 1000000 WHERE name = 'future';
SELECT lag_events, lag_positions, lag FROM event_store.projections WHERE name = 'future';
ROLLBACK;
SELECT event_store.drop_projection('future'), event_store.drop_subscription('future');

-- ------------------------------------------------------------ rights
CREATE ROLE projection_creator IN ROLE ecommerce_admin;
CREATE ROLE projection_appender IN ROLE ecommerce_writer;
GRANT CREATE, USAGE ON SCHEMA public TO projection_creator;
SET ROLE projection_creator;
CREATE TABLE own (who name, session name, path text);
CREATE FUNCTION own_note(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.own VALUES (current_user, session_user, current_setting('search_path'));
	IF event.event_type = 'Spy' THEN PERFORM FROM public.got; END IF;
	IF event.event_type = 'Leave' THEN CREATE TEMP TABLE left_behind (); END IF;
	IF event.event_type = 'Become' THEN SET ROLE postgres; END IF;
END $$;
SELECT * FROM attempt($$
	SELECT event_store.create_projection('own', 'own_note(event_store.event)', 'o', mode
		=> 'inline', tables => '{got}')$$);
SELECT event_store.create_projection('own', 'own_note(event_store.event)', 'o', mode
	=> 'inline', tables => '{own}', on_error => 'defer');
RESET ROLE;
SET ROLE projection_appender;
SELECT add(1, 'o-1') > 0;
SELECT event_store.run_projections();
SELECT event_store.create_projection('mine', 'own_note(event_store.event)');
RESET ROLE;
SELECT who, path FROM own;
SELECT add(1, 'o-1', 'Spy') > 0;
SELECT last_error FROM brief;
CALL settle('own');
SELECT state, last_error FROM brief;
SELECT event_store.skip_event('own', error_position) FROM event_store.projections;
CALL settle('own');
SELECT add(1, 'o-1', 'Leave') > 0;
SELECT last_error FROM brief;
CALL settle('own');
SELECT event_store.skip_event('own', error_position) FROM event_store.projections;
CALL settle('own');
SELECT add(1, 'o-1', 'Become') > 0;
SELECT last_error FROM brief;
CALL settle('own');
SELECT event_store.skip_event('own', error_position) FROM event_store.projections;
CALL settle('own');
SELECT state FROM brief;
-- The role is gone: the projection stops, appends go on.
DROP OWNED BY projection_creator;
DROP ROLE projection_creator;
SELECT add(1, 'o-1') > 0;
CALL settle('own');
SELECT state, last_error FROM brief;
SELECT event_store.drop_projection('own');
DROP OWNED BY projection_appender;
DROP ROLE projection_appender;

-- ------------------------------------------------------------ the two of the demo
\getenv abs_srcdir PG_ABS_SRCDIR
\set demo :abs_srcdir '/demo/projections.sql'
\o /dev/null
\i :demo
\o
CREATE FUNCTION place(n int, customer int, quantity int) RETURNS bigint LANGUAGE sql AS $$
	SELECT ecommerce.create_order(('a0000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
		('c0000000-0000-4000-8000-' || lpad(customer::text, 12, '0'))::uuid,
		jsonb_build_array(jsonb_build_object('product_id',
			'b0000000-0000-4000-8000-000000000001', 'product_name', 'Mug',
			'sku', 'MUG', 'quantity', quantity, 'unit_price', 2.50),
			jsonb_build_object('product_id', 'b0000000-0000-4000-8000-000000000002',
				'product_name', 'Tea',
			'sku', 'TEA', 'quantity', 1, 'unit_price', 4)),
		'{"street": "1 High St", "city": "Leeds", "state": "", "postal_code": "LS1",
			"country": "GB"}',
		'{"type": "card", "last4_digits": "4242"}') $$;
CALL settle('order_list');
SELECT place(1, 1, 1), place(2, 1, 2), place(3, 2, 3);
SELECT ecommerce.confirm_order('a0000000-0000-4000-8000-000000000001', 'N-1');
SELECT ecommerce.complete_order('a0000000-0000-4000-8000-000000000001');
SELECT ecommerce.cancel_order('a0000000-0000-4000-8000-000000000003', 'no');
SELECT right(customer_id::text, 1) AS customer, status, right(order_id::text, 1) AS "order",
	items, total_amount
FROM shop.order_list ORDER BY 1, 2, 3;
CALL settle('product_sale');
SELECT sku, sum(pieces) AS pieces, sum(revenue) AS revenue,
	bool_and(day IN (SELECT (placed_at AT TIME ZONE 'UTC')::date FROM shop.order_list)) AS that_day
FROM shop.product_sale GROUP BY sku ORDER BY sku;
UPDATE shop.product_sale SET pieces = 0;
SELECT event_store.rebuild_projection('product_sale'), event_store.rebuild_projection('order_list');
CALL settle('product_sale');
CALL settle('order_list');
SELECT sku, sum(pieces) AS pieces, sum(revenue) AS revenue FROM shop.product_sale
GROUP BY sku ORDER BY sku;
SELECT status, count(*) FROM shop.order_list GROUP BY 1 ORDER BY 1;
SELECT name, mode, state, lag_events FROM brief ORDER BY name;
