-- Reading: streams, everything, times, correlations, single events, marks, channels.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- An empty store.
SELECT event_store.high_water_mark(), event_store.high_water_mark('order'),
	event_store.stream_version('order-1');
SELECT count(*) FROM event_store.read_all();
SELECT count(*) FROM event_store.read_stream('order-1');
SELECT count(*) FROM event_store.read_between('-infinity', 'infinity');
SELECT event_store.get_event(uid(1)) IS NULL;

-- Positions 1 to 12: order-1 and order-2 in turn, then a stream without "-", then
-- categories that begin alike. Event n has the id uid(n) and occurred at minute n,
-- except that 5 and 6 occurred before all others.
SELECT count(a.*) FROM (VALUES (1, 'order-1', 'Created'), (2, 'order-2', 'Created'),
	(3, 'order-1', 'Paid'),
	(4, 'order-2', 'Cancelled'), (5, 'order-1', 'Shipped'), (6, 'order', 'Noted'),
		(7, 'orders-1', 'Created'),
	(8, 'orde-1', 'Created'), (9, 'invoice-a-b', 'Created'), (10, 'invoice-a-b', 'Paid'),
	(11, 'Order-1', 'Created'), (12, 'order-1', 'Closed')) e (n, stream, type),
	LATERAL event_store.append_batch(stream, -1,
		ARRAY[ROW(type, jsonb_build_object('n', n), NULL, uid(n),
		timestamptz '2026-01-01 00:00Z' + n * interval '1 min' - CASE
			WHEN n IN (5, 6) THEN interval '1 day' ELSE '0' END,
		NULL)]::event_store.new_event[]) a;

-- ---------------------------------------------------------------- read_stream

-- All columns, under their names.
SELECT position, stream, version, event_id, event_type, schema_version, data, metadata,
	occurred_at = '2026-01-01 00:01Z' FROM event_store.read_stream('order-1', 1, 1);
SELECT array_agg(version) FROM event_store.read_stream('order-1');
SELECT array_agg(version) FROM event_store.read_stream('order-1', backward => true);
-- from_version, forward and backward; max_count.
CREATE FUNCTION versions(from_version bigint, max_count bigint, backward boolean) RETURNS text
	LANGUAGE sql AS $$
	SELECT array_agg(version)::text FROM event_store.read_stream('order-1', from_version,
		max_count, backward)
$$;
SELECT from_version, versions(from_version, NULL, false) AS forward,
	versions(from_version, NULL, true) AS backward,
	versions(from_version, 2, false) AS two_forward,
		versions(from_version, 2, true) AS two_backward,
	versions(from_version, NULL, NULL) AS "null"
FROM unnest(ARRAY[NULL, -9223372036854775808, -1, 0, 1, 2, 4, 5,
	9223372036854775807]::bigint[]) from_version;
SELECT max_count, outcome(format('SELECT versions(NULL, %L, false)', max_count))
FROM unnest(ARRAY[NULL, -1, 0, 1, 3, 4, 5, 9223372036854775807]::bigint[]) max_count;
-- Names are compared byte by byte, and nothing is a pattern.
SELECT stream, (SELECT array_agg(position) FROM event_store.read_stream(stream))
FROM unnest(ARRAY['order', 'order-', 'order-%', 'order_1', 'ORDER-1', 'Order-1', 'order-11',
	'invoice-a-b', 'invoice-a']) stream;
SELECT fails($$SELECT * FROM event_store.read_stream(NULL)$$);
SELECT fails($$SELECT * FROM event_store.read_stream('order-1', max_count => -1)$$);
SELECT fails($$SELECT * FROM event_store.read_stream('')$$);
-- In a cursor, forward and back.
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT version FROM event_store.read_stream('order-1');
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
MOVE ABSOLUTE 0 FROM c;
FETCH 1 FROM c;
COMMIT;
-- The transaction's own events, and not those of a rolled-back savepoint.
BEGIN;
SELECT version FROM event_store.append('own-1', 0, 'A', '{}');
SAVEPOINT s;
SELECT version FROM event_store.append('own-1', 1, 'B', '{}');
SELECT array_agg(event_type) FROM event_store.read_stream('own-1');
ROLLBACK TO s;
SELECT array_agg(event_type), event_store.stream_version('own-1')
	FROM event_store.read_stream('own-1');
-- read_all stops before them: they are not final.
SELECT max(position), event_store.high_water_mark() FROM event_store.read_all();
ROLLBACK;
SELECT event_store.high_water_mark() = event_store.position_counter(),
	event_store.high_water_mark() > 12;

-- ---------------------------------------------------------------- read_all

SELECT array_agg(position) FROM event_store.read_all();
SELECT array_agg(position) FROM event_store.read_all(4);
SELECT array_agg(position) FROM event_store.read_all(4, 3);
SELECT after, outcome(format('SELECT array_agg(position) FROM event_store.read_all(%L)', after))
FROM unnest(ARRAY[NULL, -9223372036854775808, -1, 0, 11, 12, 13,
	9223372036854775807]::bigint[]) after;
SELECT max_count, outcome(format('SELECT array_agg(position) FROM event_store.read_all(0, %L)',
	max_count))
FROM unnest(ARRAY[NULL, -1, 0, 1, 12, 13, 9223372036854775807]::bigint[]) max_count;
-- Backward: below a position, from the high-water mark on.
SELECT array_agg(position) FROM event_store.read_all(backward => true);
SELECT array_agg(position) FROM event_store.read_all(max_count => 3, backward => true);
SELECT array_agg(position) FROM event_store.read_all(4, backward => true);
SELECT array_agg(position) FROM event_store.read_all(1, backward => true);
SELECT array_agg(position) FROM event_store.read_all(9223372036854775807, 2, backward => true);
SELECT array_agg(position) FROM event_store.read_all(0, 2, 'order', '{Created}', true);
SELECT array_agg(position) FROM event_store.read_stored(4, 2, backward => true);
SELECT fails($$SELECT * FROM event_store.read_all(NULL)$$);
SELECT fails($$SELECT * FROM event_store.read_all(0, -1)$$);
-- The category is what stands before the first "-", compared byte by byte.
SELECT category, (SELECT array_agg(position) FROM event_store.read_all(0, NULL, category))
FROM unnest(ARRAY['order', 'orders', 'orde', 'Order', 'invoice', '%']) category;
SELECT fails(format('SELECT * FROM event_store.read_all(0, NULL, %L)', category))
FROM unnest(ARRAY['invoice-a', 'order-1', '', '-', E'order\n', repeat('x', 256)]) category;
SELECT types, (SELECT array_agg(position) FROM event_store.read_all(0, NULL, NULL, types)),
	(SELECT array_agg(position) FROM event_store.read_all(3, 2, 'order', types))
FROM unnest(ARRAY[NULL, '{}', '{Created}', '{Created,Paid,Created}', '{created}', '{Nothing}',
	'{"Paid "}', '{{Paid},{Closed}}']) t (text),
	LATERAL (SELECT text::text[] AS types) a;
SELECT fails($$SELECT * FROM event_store.read_all(0, 10, NULL, '{Created,NULL}')$$);
-- A thousand by default.
SELECT version FROM event_store.append_batch('many-1', 0,
	(SELECT array_agg(ROW('A', '{}', NULL, NULL, NULL, NULL)::event_store.new_event)
		FROM generate_series(1, 2500)));
SELECT count(*) FROM event_store.read_all();
-- Asking again from the last position gives each event once, in order.
DO $$
DECLARE
	last bigint := 0;
	total int := 0;
	portion int;
	rising boolean;
BEGIN
	LOOP
		SELECT count(*), coalesce(max(position), last), bool_and(position > before) INTO portion,
			last, rising
		FROM (SELECT position, lag(position, 1, last) OVER () AS before
			FROM event_store.read_all(last, 700)) e;
		EXIT WHEN portion = 0;
		total := total + portion;
		RAISE NOTICE '% events, rising: %', portion, rising;
	END LOOP;
	RAISE NOTICE '% of %', total, (SELECT count(*) FROM event_store.stored_event);
END
$$;
-- No read of the whole table.
BEGIN;
SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'stored_event' \gset before_
SELECT count(*) FROM event_store.read_all(0, NULL, 'order');
SELECT count(*) FROM event_store.read_all(2000, 10);
SELECT count(*) FROM event_store.read_stream('order-1');
SELECT count(*) FROM event_store.read_correlation(uid(1));
SELECT (event_store.get_event(uid(7))).position;
SELECT event_store.stream_version('many-1');
SELECT seq_scan - :before_seq_scan, idx_scan > :before_idx_scan
FROM pg_stat_xact_user_tables WHERE relname = 'stored_event';
-- One category reads no row of the others.
SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'stored_event' \gset before_
SELECT count(*) FROM event_store.read_all(0, NULL, 'invoice');
SELECT idx_tup_fetch - :before_idx_tup_fetch FROM pg_stat_xact_user_tables
	WHERE relname = 'stored_event';
-- Nor does any other read look at more than it gives, wherever it begins.
CREATE FUNCTION looked_at(call text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint;
BEGIN
	SELECT idx_tup_fetch + seq_tup_read INTO before FROM pg_stat_xact_user_tables
		WHERE relname = 'stored_event';
	EXECUTE 'SELECT * FROM event_store.' || call;
	RETURN (SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables
		WHERE relname = 'stored_event') - before;
END
$$;
SELECT call, looked_at(call) BETWEEN few AND few + 1 FROM (VALUES
	(10, 'read_all(2000, 10)'), (10, 'read_all(2000, 10, ''many'')'),
	(10, 'read_all(2000, 10, backward => true)'), (10, 'read_all(0, 10, ''many'', NULL, true)'),
	(4, 'read_stream(''order-1'')'), (3, 'read_stream(''many-1'', 2000, 3)'),
	(3, 'read_stream(''many-1'', 500, 3, true)'), (2, 'read_stream(''many-1'', NULL, 2, true)'),
	(1, 'get_event(uid(7))'), (0, 'get_event(uid(99))'), (1, 'stream_version(''many-1'')'),
	(0, 'read_correlation(uid(1))'), (0, 'high_water_mark()'), (0, 'high_water_mark(''many'')')
	) c (few, call);
COMMIT;

-- Two categories with one hash (declinate, macallums): each is read by itself.
SELECT count(*) FROM generate_series(1, 4) n, LATERAL event_store.append(
	CASE WHEN n % 2 = 0 THEN 'declinate-1' ELSE 'macallums-1' END, -1, 'A', '{}', '{}', uid(500 + n));
SELECT count(DISTINCT category_key) FROM event_store.stored_event
	WHERE stream IN ('declinate-1', 'macallums-1');
SELECT category, (SELECT string_agg(stream || ' ' || version, ', ')
		FROM event_store.read_all(0, NULL, category)) AS read_all,
	(SELECT string_agg(stream || ' ' || version, ', ')
		FROM event_store.read_between('-infinity', 'infinity', category)) AS read_between
FROM unnest(ARRAY['declinate', 'macallums']) category;
SELECT event_store.create_subscription('words', 'declinate');
SELECT string_agg(stream || ' ' || version, ', ') FROM event_store.fetch('words');
SELECT event_store.drop_subscription('words');

-- ---------------------------------------------------------------- read_between

-- Both ends count; ordered by time, then position.
SELECT array_agg(position) FROM event_store.read_between('2026-01-01 00:02Z', '2026-01-01 00:04Z');
SELECT array_agg(position) FROM event_store.read_between('2026-01-01 00:02:00.000001Z',
	'2026-01-01 00:03:59.999999Z');
SELECT array_agg(position) FROM event_store.read_between('-infinity', '2026-01-01 00:03Z');
SELECT array_agg(position) FROM event_store.read_between('-infinity', '2026-01-01 01:00Z', 'order');
SELECT array_agg(position) FROM event_store.read_between('-infinity', '2026-01-01 01:00Z', 'orde');
SELECT array_agg(position) FROM event_store.read_between('2026-01-01 00:04Z', '2026-01-01 00:02Z');
SELECT max_count, outcome(format($$SELECT array_agg(position)
	FROM event_store.read_between('-infinity', '2026-01-01 01:00Z', 'order', %L)$$, max_count))
FROM unnest(ARRAY[NULL, -1, 0, 1, 3, 7, 9223372036854775807]::bigint[]) max_count;
SELECT fails($$SELECT * FROM event_store.read_between(NULL, now())$$);
SELECT fails($$SELECT * FROM event_store.read_between(now(), NULL)$$);
SELECT fails($$SELECT * FROM event_store.read_between(now(), now(), max_count => -1)$$);
-- Events of one instant, in order of position.
SELECT version FROM event_store.append_batch('instant-1', 0,
	(SELECT array_agg(ROW('A', '{}', NULL, NULL,
	'2026-03-01 00:00Z', NULL)::event_store.new_event) FROM generate_series(1, 300)));
SELECT count(*), array_agg(version) = array_agg(version ORDER BY position)
FROM event_store.read_between('2026-03-01 00:00Z', '2026-03-01 00:00Z');
-- A large store: few rows are read for a narrow time.
SELECT count(*) FROM generate_series(0, 3) n, LATERAL event_store.append_batch('long-' || n, 0,
	(SELECT array_agg(ROW('A', jsonb_build_object('fill', repeat('x', 200)), NULL, NULL,
		timestamptz '2026-04-01 00:00Z' + (n * 10000 + i) * interval '1 min',
			NULL)::event_store.new_event ORDER BY i)
	FROM generate_series(1, 10000) i)) a;
SELECT brin_summarize_new_values('event_store.stored_event_occurred_at_idx') \g /dev/null
ANALYZE event_store.stored_event;
BEGIN;
SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables
	WHERE relname = 'stored_event' \gset before_
SELECT count(*) FROM event_store.read_between('2026-04-10 00:00Z', '2026-04-10 01:00Z');
SELECT seq_scan - :before_seq_scan, idx_tup_fetch - :before_idx_tup_fetch BETWEEN 61 AND 10000
FROM pg_stat_xact_user_tables WHERE relname = 'stored_event';
COMMIT;

-- ---------------------------------------------------------------- read_correlation, get_event

BEGIN;
SELECT ecommerce.set_context('c0000000-0000-4000-8000-000000000001');
SELECT position IS NOT NULL FROM event_store.append('cor-1', 0, 'A', '{}');
SELECT position IS NOT NULL FROM event_store.append('cor-2', 0, 'B', '{}');
SELECT position IS NOT NULL FROM event_store.append('cor-1', 1, 'C', '{}');
COMMIT;
SELECT position IS NOT NULL FROM event_store.append('cor-3', 0, 'D', '{}',
	'{"correlation_id": "{C0000000-0000-4000-8000-000000000001}"}');
SELECT position IS NOT NULL FROM event_store.append('cor-3', 1, 'E', '{}',
	'{"causation_id": "c0000000-0000-4000-8000-000000000001"}');
SELECT stream, version, event_type
FROM event_store.read_correlation('c0000000-0000-4000-8000-000000000001');
SELECT count(*) FROM event_store.read_correlation(uid(1));
SELECT fails($$SELECT * FROM event_store.read_correlation(NULL)$$);
SELECT metadata, event_store.correlation_of(metadata) FROM (VALUES
	('{"correlation_id": "c0000000-0000-4000-8000-000000000001"}'::jsonb),
		('{"correlation_id": "C000000000004000-8000000000000001"}'),
	('{"correlation_id": 1}'), ('{"correlation_id": null}'), ('{}'), ('[]'), ('"correlation_id"'),
		(NULL)) m (metadata);
SELECT (event_store.get_event(uid(3))).*;
SELECT event_store.get_event(uid(99)) IS NULL, (event_store.get_event(uid(99))).stream IS NULL;
SELECT fails($$SELECT event_store.get_event(NULL)$$);

-- ---------------------------------------------------------------- versions, marks, channels

SELECT stream, outcome(format('SELECT event_store.stream_version(%L)', stream))
FROM unnest(ARRAY['order-1', 'order-2', 'order', 'nothing', '', '-', NULL,
	repeat('x', 256)]) stream;
SELECT fails($$SELECT event_store.stream_version(NULL)$$);
SELECT event_store.high_water_mark() = event_store.position_counter(),
	event_store.high_water_mark('order') = event_store.high_water_mark(),
	event_store.high_water_mark(NULL) = event_store.high_water_mark(),
	event_store.high_water_mark('nothing') = event_store.high_water_mark(repeat('x', 255));
SELECT fails($$SELECT event_store.high_water_mark('order-1')$$);
-- Without an appender the mark of one transaction is that of the next, and never goes back.
SELECT event_store.high_water_mark() AS mark \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT version FROM event_store.append('mark-1', 0, 'A', '{}');
SELECT event_store.high_water_mark() = :mark, event_store.high_water_mark('mark') = :mark,
	event_store.high_water_mark('order') >= :mark;
ROLLBACK;
SELECT event_store.high_water_mark() = :mark + 1;

SELECT event_store.channel('order'), event_store.channel(''), event_store.channel(NULL) IS NULL;
SELECT octet_length(category), octet_length(event_store.channel(category)),
	left(event_store.channel(category), 12) = 'event_store.',
		event_store.channel(category) = 'event_store.' || category
FROM unnest(ARRAY[repeat('x', 51), repeat('x', 52), repeat('x', 255), repeat('ü', 127),
	repeat('𝄞', 63)]) category;
-- Long ones that differ at their end have channels of their own, and can be listened to.
SELECT count(DISTINCT event_store.channel(repeat('x', 200) || n)) FROM generate_series(1, 100) n;
SELECT format('LISTEN %I', event_store.channel(repeat('ü', 127))) \gexec
SELECT pg_listening_channels() = event_store.channel(repeat('ü', 127));
UNLISTEN *;
SELECT version FROM event_store.append(repeat('ü', 127), 0, 'A', '{}');
SELECT version FROM event_store.append(repeat('ü', 120) || '-1', 0, 'A', '{}');
SELECT count(*) FROM event_store.read_all(0, NULL, repeat('ü', 120));

-- ---------------------------------------------------------------- wait

-- What is there already is told at once, whatever the timeout.
SELECT event_store.high_water_mark() AS mark \gset
CALL event_store.wait(0, '1 hour') \gset a_
CALL event_store.wait(0, '1 hour', 'order') \gset b_
CALL event_store.wait(11, '1 hour', stream => 'order-1') \gset c_
SELECT :a_high_water_mark = :mark, :b_high_water_mark = :mark, :c_high_water_mark = :mark;
-- Nothing beyond: at the timeout, with the mark as it is.
CALL event_store.wait(:mark, '0') \gset a_
CALL event_store.wait(:mark, '-1 hour') \gset b_
CALL event_store.wait(:mark, '20 ms') \gset c_
SELECT :a_high_water_mark = :mark, :b_high_water_mark = :mark, :c_high_water_mark = :mark;
CALL event_store.wait(12, '20 ms', 'order') \gset a_
CALL event_store.wait(12, '20 ms', stream => 'order-1') \gset b_
CALL event_store.wait(0, '20 ms', 'invoice', 'order-1') \gset c_
SELECT :a_high_water_mark = :mark, :b_high_water_mark = :mark, :c_high_water_mark = :mark;
CALL event_store.wait(after_position => 0, timeout => '20 ms', category => 'nothing') \gset a_
CALL event_store.wait(after_position => 0, timeout => '20 ms', stream => 'nothing-1') \gset b_
CALL event_store.wait(9223372036854775807, '20 ms') \gset c_
SELECT :a_high_water_mark = :mark, :b_high_water_mark = :mark, :c_high_water_mark = :mark;
CALL event_store.wait(NULL, '1 s');
CALL event_store.wait(0, NULL);
-- What no event can be in is not waited for.
CALL event_store.wait(:mark, '20 ms', 'order-1');
CALL event_store.wait(:mark, '20 ms', stream => '');
CALL event_store.wait(:mark, '20 ms', stream => '-1');
CALL event_store.wait(:mark, '20 ms', stream => repeat('x', 256));
-- At top level only.
BEGIN;
CALL event_store.wait(0, '1 hour');
ROLLBACK;
DO $$ DECLARE mark bigint; BEGIN CALL event_store.wait(0, '1 hour', NULL, NULL, mark); END $$;
SELECT fails($$CALL event_store.wait(0, '1 hour')$$);
SET statement_timeout = '100 ms';
CALL event_store.wait(:mark, '1 hour');
RESET statement_timeout;
CALL event_store.wait(:mark, '20 ms') \gset a_
SELECT :a_high_water_mark = :mark;

-- Reads work in a read-only transaction and under every isolation level.
BEGIN READ ONLY ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM event_store.read_stream('order-1');
SELECT count(*) FROM event_store.read_all(0, 5);
SELECT count(*) FROM event_store.read_between('2026-01-01', '2026-01-02', 'order');
SELECT count(*) FROM event_store.read_correlation('c0000000-0000-4000-8000-000000000001');
SELECT (event_store.get_event(uid(3))).version, event_store.stream_version('order-1'),
	event_store.high_water_mark() = :mark;
COMMIT;
