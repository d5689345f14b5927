-- Reads in FROM: a scan that gives events as they are found, or PostgreSQL's function
-- scan where that would not do; the same rows either way.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- Positions 1 to 40: order-1 to order-4 in turn, ten events each. One is large enough
-- to be stored out of line, whatever compression can do.
SELECT count(a.*) FROM generate_series(1, 40) n,
	LATERAL event_store.append('order-' || (n - 1) % 4 + 1, -1,
		CASE WHEN n % 3 = 0 THEN 'Paid' ELSE 'Created' END,
		jsonb_build_object('n', n, 'text', CASE WHEN n = 7 THEN (
			SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) i) END)) a;

-- Which one it is. (From version 18 on numbers of rows have decimals.)
CREATE FUNCTION plan_of(query text, kind text DEFAULT '') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE format('EXPLAIN (COSTS OFF, SUMMARY OFF, TIMING OFF, BUFFERS OFF %s) %s',
		kind, query)
	LOOP
		RETURN NEXT regexp_replace(line, 'rows=(\d+)\.00', 'rows=\1');
	END LOOP;
END $$;
SELECT plan_of($$SELECT * FROM event_store.read_stream('order-1')$$);
SELECT plan_of($$SELECT version FROM event_store.read_all() WHERE event_type = 'Paid'$$, ', VERBOSE');
SELECT plan_of($$SELECT count(*) FROM event_store.read_correlation(gen_random_uuid())$$);
SELECT query, plan_of(query) FROM unnest(ARRAY[
	$$SELECT * FROM event_store.read_stream('order-1') WITH ORDINALITY$$,
	$$SELECT e FROM event_store.read_stream('order-1') e$$,
	$$SELECT version FROM event_store.read_stream('order-1') e WHERE e IS NOT NULL$$,
	$$SELECT * FROM ROWS FROM (event_store.read_stream('order-1'), generate_series(1, 2))$$,
	$$SELECT * FROM event_store.read_between('-infinity', 'infinity')$$]) query;

-- The same events as a function scan gives, in the same order.
CREATE FUNCTION same(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	scanned text;
	put_aside text;
BEGIN
	EXECUTE format('SELECT json_agg(e) FROM (SELECT * FROM event_store.%s) e', call) INTO scanned;
	EXECUTE format('SELECT json_agg(e) FROM (SELECT position, stream, version, event_id,
		event_type, schema_version, data, metadata, occurred_at
		FROM event_store.%s WITH ORDINALITY) e', call) INTO put_aside;
	RETURN CASE WHEN scanned IS NOT DISTINCT FROM put_aside
		THEN coalesce(json_array_length(scanned::json), 0) || ' the same'
		ELSE concat_ws(E'\n', 'different:', scanned, put_aside) END;
END $$;
SELECT call, same(call) FROM unnest(ARRAY['read_stream(''order-1'')',
	'read_stream(''order-3'', 4, 3)', 'read_stream(''order-3'', backward => true)', 'read_all()',
	'read_stream(''order-9'')', 'read_all(20, 7)', 'read_all(0, NULL, ''order'', ''{Paid}'')']) call;

-- LIMIT stops the scan: what is not asked for is not read.
SELECT plan_of($$SELECT position FROM event_store.read_all() LIMIT 3$$, ', ANALYZE');
SELECT plan_of($$SELECT position FROM event_store.read_all() WHERE event_type = 'Paid' OFFSET 1
	LIMIT 2$$, ', ANALYZE');

-- Arguments of another row, of a subquery, of a parameter.
SELECT s, array_agg(version ORDER BY version) FROM generate_series(3, 6) s
	LEFT JOIN LATERAL event_store.read_stream('order-' || s, s, 2) ON true GROUP BY s ORDER BY s;
SELECT s, (SELECT max(version) FROM event_store.read_stream('order-' || s))
FROM generate_series(3, 5) s;
SELECT count(*) FROM event_store.read_stream((SELECT min(stream) FROM event_store.read_all()));
PREPARE reading(text) AS SELECT count(*) FROM event_store.read_stream($1);
SET plan_cache_mode = force_generic_plan;
EXECUTE reading('order-1');
SELECT version FROM event_store.append('order-1', 10, 'Created', '{}');
EXECUTE reading('order-1');
EXECUTE reading('order-9');
EXECUTE reading(NULL);
RESET plan_cache_mode;

-- Read again for each row of another table, it is the same call: what was appended
-- since it began is not in it.
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
CREATE TABLE seen (n int, version bigint);
SELECT plan_of($$SELECT n, e.version FROM generate_series(1, 3) n
	JOIN event_store.read_stream('order-2', 9) e ON e.version > n$$, ', ANALYZE');
INSERT INTO seen SELECT n, e.version FROM generate_series(1, 3) n
	CROSS JOIN LATERAL (SELECT n AS m, event_store.append('order-2', -1, 'Created', '{}') OFFSET 0) a
	JOIN event_store.read_stream('order-2', 9) e ON e.version > a.m;
SELECT n, array_agg(version ORDER BY version) FROM seen GROUP BY n ORDER BY n;
SELECT event_store.stream_version('order-2');
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;

-- Cursors, both ways, over the end of a subtransaction and of the transaction.
BEGIN;
DECLARE there_and_back SCROLL CURSOR FOR SELECT version FROM event_store.read_stream('order-3');
FETCH 2 FROM there_and_back;
FETCH BACKWARD 1 FROM there_and_back;
SAVEPOINT s;
FETCH 2 FROM there_and_back;
SELECT 1 / 0;
ROLLBACK TO s;
DECLARE kept CURSOR WITH HOLD FOR SELECT version, length(data::text)
	FROM event_store.read_all(5) WHERE position < 9;
COMMIT;
FETCH ALL FROM kept;
CLOSE kept;
DO $$
DECLARE
	e record;
	n int := 0;
BEGIN
	FOR e IN SELECT version FROM event_store.read_stream('order-4') LOOP
		n := n + 1;
		COMMIT;
	END LOOP;
	RAISE NOTICE '% events, a transaction each', n;
END $$;

-- Rows that are locked or written are taken whole.
BEGIN;
SELECT count(*) FROM (SELECT version FROM event_store.read_stream('order-4') FOR UPDATE) e;
COMMIT;
UPDATE seen SET version = e.position FROM event_store.read_stream('order-2') e
	WHERE e.version = seen.version AND n = 1 AND e.version = 10;
SELECT count(*) FROM seen WHERE version > 13;

-- What is hidden, and what is read in a newer shape.
SELECT event_store.set_retention('order-1', truncate_before => 4);
SELECT min(version) FROM event_store.read_stream('order-1');
SELECT event_store.set_retention('order-1');
CREATE TYPE paid AS (n int, amount int);
CREATE FUNCTION add_amount(data jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
	AS $$ SELECT data || '{"amount": 5}' $$;
SELECT event_store.register_event_type('Paid', 'paid', 2);
SELECT event_store.register_upcaster('Paid', 1, 'add_amount(jsonb)');
SELECT version, schema_version, data -> 'amount' FROM event_store.read_stream('order-2')
WHERE event_type = 'Paid' LIMIT 2;

-- Wrong arguments, as they are refused elsewhere; and who may not call.
SELECT fails($$SELECT * FROM event_store.read_all(NULL)$$);
SELECT fails($$SELECT * FROM event_store.read_all(0, -1)$$);
SELECT fails($$SELECT * FROM event_store.read_all(0, 1, 'a-b')$$);
CREATE ROLE regress_read_plan;
SET ROLE regress_read_plan;
\set VERBOSITY terse
EXECUTE reading('order-1');
SELECT version FROM event_store.read_stream('order-1');
RESET ROLE;
GRANT ecommerce_reader TO regress_read_plan;
SET ROLE regress_read_plan;
SELECT count(*) FROM (SELECT version FROM event_store.read_stream('order-1')) e;
RESET ROLE;
DROP ROLE regress_read_plan;

-- A plan that was kept does not outlive the function.
EXECUTE reading('order-1');
SET event_store.allow_drop = on;
DROP EXTENSION ecommerce CASCADE;
EXECUTE reading('order-1');
