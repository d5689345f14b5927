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

-- Rows that are needed whole by what hides it from the planner's book-keeping: UNION ALL,
-- and what is worked out below an outer join.
SELECT count(e) FROM (SELECT e FROM event_store.read_stream('order-1') e
	UNION ALL SELECT e FROM event_store.read_stream('order-2', 8) e) both_streams;
SELECT n, e.whole IS NULL FROM generate_series(9, 11) n LEFT JOIN (
	SELECT version, coalesce(e::text, '') AS whole FROM event_store.read_stream('order-1') e) e
	ON e.version = n ORDER BY n;
SELECT plan_of($$SELECT version FROM event_store.read_stream('order-1')
	UNION ALL SELECT version FROM event_store.read_stream('order-2', 8)$$, ', ANALYZE');

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
	'read_stream(''order-9'')', 'read_all(20, 7)', 'read_all(20, 7, NULL, NULL, true)',
	'read_all(backward => true)', 'read_all(0, NULL, ''order'', ''{Paid}'')']) call;

-- LIMIT stops the scan: what is not asked for is not read.
SELECT plan_of($$SELECT position FROM event_store.read_all() LIMIT 3$$, ', ANALYZE');
SELECT plan_of($$SELECT position FROM event_store.read_all(backward => true) LIMIT 3$$, ', ANALYZE');
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
-- So it is in a subquery that only its condition ties to the row outside; not where that
-- decides what is read, be it by way of a subquery.
CREATE FUNCTION noted(value text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	RAISE NOTICE 'evaluated for %', value;
	RETURN value;
END $$;
SELECT n, (SELECT count(*) FROM event_store.read_stream(noted('order-2')) e WHERE e.version > n),
	(SELECT a.version FROM event_store.append('order-2', -1, 'Created', '{}') a WHERE n > 0)
FROM generate_series(1, 3) n;
SELECT n, (SELECT count(*) FROM event_store.read_stream((SELECT noted('order-' || n))))
FROM generate_series(4, 5) n;
SELECT n, (SELECT count(*) FROM event_store.read_stream(
	CASE WHEN 4 IN (SELECT n + m FROM generate_series(0, 1) m) THEN 'order-4' ELSE 'order-5' END))
FROM generate_series(3, 5) n;
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

-- What an index scan remembers of the dead entries it meets lasts longer than a row, and
-- a row's values not longer: the memory does not grow with what is read.
SELECT version FROM event_store.append('large-1', -1, 'Created', '{}');
BEGIN;
SELECT count(a.*) FROM generate_series(1, 30) n,
	LATERAL event_store.append('large-1', -1, 'Created', '{}') a;
ROLLBACK;
SELECT count(a.*) FROM generate_series(1, 20) n, LATERAL event_store.append('large-1', -1,
	'Created', jsonb_build_object('text', (
		SELECT string_agg(md5((n * i)::text), '') FROM generate_series(1, 200 + n % 2 * 1800) i))) a;
SELECT count(*), sum(length(data ->> 'text')) FROM event_store.read_all(0, NULL, 'large');
CREATE FUNCTION memory() RETURNS numeric LANGUAGE sql AS $$
	SELECT sum(total_bytes) FROM pg_backend_memory_contexts
	WHERE name IN ('ExprContext', 'read of events')
$$;
SELECT count(*), max(memory) < 512 * 1024 FROM generate_series(1, 50) n, LATERAL (
	SELECT CASE WHEN n = 50 AND version = 21 THEN memory() END AS memory
	FROM event_store.read_all(0, NULL, 'large') WHERE version > n - 50 OFFSET 0) e;

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

-- What ALTER FUNCTION adds to a call, a scan would not do; nor would one in a plan that was
-- kept, though the query names another function.
CREATE FUNCTION versions(correlation uuid) RETURNS SETOF bigint LANGUAGE sql STABLE
	AS $$ SELECT version FROM event_store.read_correlation(correlation) $$;
PREPARE versions AS SELECT * FROM versions(NULL);
\set reading 'EXPLAIN (COSTS OFF) SELECT * FROM event_store.read_correlation(NULL);'
:reading
EXPLAIN (COSTS OFF) EXECUTE versions;
ALTER FUNCTION event_store.read_correlation STRICT;
:reading
EXPLAIN (COSTS OFF) EXECUTE versions;
SELECT * FROM event_store.read_correlation(NULL);
ALTER FUNCTION event_store.read_correlation CALLED ON NULL INPUT SECURITY DEFINER;
:reading
ALTER FUNCTION event_store.read_correlation SECURITY INVOKER SET work_mem = '1MB';
:reading
ALTER FUNCTION event_store.read_correlation RESET ALL;

-- A function that is dropped before the scan has begun, and then the plan is written down.
LOAD 'auto_explain';
BEGIN;
SET LOCAL auto_explain.log_min_duration = 0;
CREATE FUNCTION drop_function() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	ALTER EXTENSION ecommerce DROP FUNCTION event_store.read_correlation;
	DROP FUNCTION event_store.read_correlation CASCADE;
	RETURN true;
END $$;
SELECT CASE WHEN drop_function() THEN 'dropped' ELSE
	(SELECT max(stream) FROM event_store.read_correlation(gen_random_uuid())) END;
ROLLBACK;

-- A plan that was kept does not outlive the function.
EXECUTE reading('order-1');
SET event_store.allow_drop = on;
DROP EXTENSION ecommerce CASCADE;
EXECUTE reading('order-1');
