-- Persistent subscriptions: what fetch gives, what advance moves, the view.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- Positions 1 to 12, in four streams of two categories.
SELECT count(*) FROM generate_series(1, 12) n, LATERAL event_store.append(
	CASE WHEN n % 3 = 0 THEN 'invoice-' ELSE 'order-' END || n % 2, -1,
	CASE WHEN n > 8 THEN 'Closed' ELSE 'Opened' END, '{}');
SELECT stream, array_agg(position ORDER BY position) FROM event_store.read_all() GROUP BY stream
	ORDER BY stream;
-- What a subscription gives next; in autocommit the lease ends with the statement.
CREATE FUNCTION next(name text, max_count int DEFAULT 100) RETURNS text LANGUAGE sql AS
$$ SELECT coalesce(string_agg(position::text, ' '), 'nothing')
	FROM event_store.fetch(name, max_count) $$;

-- ---------------------------------------------------------------- what is subscribed to

SELECT event_store.create_subscription('all');
SELECT event_store.create_subscription('orders', 'order');
SELECT event_store.create_subscription('closed', event_types => '{Closed}');
SELECT event_store.create_subscription('closed orders', 'order', '{Closed,Nothing}');
SELECT event_store.create_subscription('one stream', stream => 'order-1');
SELECT event_store.create_subscription('later', start_after => 9);
SELECT event_store.create_subscription('from now on', start_after => event_store.high_water_mark());
SELECT fails($$SELECT event_store.create_subscription('no types', event_types => '{}')$$);
SELECT fails($$SELECT event_store.create_subscription('other category', 'order', stream => 'invoice-1')$$);
SELECT fails($$SELECT event_store.create_subscription('one order', 'order-1')$$);
SELECT event_store.create_subscription('it''s "strange" %s', NULL, NULL, NULL, NULL, NULL);
SELECT name, next(name) FROM event_store.subscription ORDER BY name;
-- Nothing was advanced, so they come again.
SELECT next('orders'), next('orders', 2), next('orders', NULL);
SELECT stream, version, event_type, schema_version, data, metadata, event_id IS NOT NULL,
	occurred_at IS NOT NULL
FROM event_store.fetch('one stream', 2);

-- ---------------------------------------------------------------- fetch and advance

-- In one transaction fetch goes on, and advance says how far the consumer is.
BEGIN;
SELECT next('all', 3), next('all', 3), next('all', 3);
SELECT event_store.advance('all', 8);
SELECT next('all', 2);
COMMIT;
SELECT next('all', 3);
-- What was advanced comes back with a rollback.
BEGIN;
SELECT next('all', 3);
SELECT event_store.advance('all', 11);
ROLLBACK;
SELECT next('all', 3);
-- Up to the checkpoint it stands at, or a position between two events, is fine.
BEGIN;
SELECT next('orders', 2);
SELECT event_store.advance('orders', 0);
SELECT event_store.advance('orders', 1);
SELECT event_store.advance('orders', 1);
SELECT event_store.advance('orders', 2);
SELECT next('orders', 1);
SELECT event_store.advance('orders', 3);
COMMIT;
SELECT next('orders', 2);
-- Side effects and checkpoint are one.
CREATE TABLE effect (position bigint PRIMARY KEY);
BEGIN;
INSERT INTO effect SELECT position FROM event_store.fetch('orders');
SELECT event_store.advance('orders', max(position)) FROM effect;
ROLLBACK;
BEGIN;
INSERT INTO effect SELECT position FROM event_store.fetch('orders');
SELECT event_store.advance('orders', max(position)) FROM effect;
COMMIT;
SELECT array_agg(position ORDER BY position), next('orders') FROM effect;
-- An event appended meanwhile comes next; one of this transaction, after its commit.
BEGIN;
SELECT version FROM event_store.append('order-1', -1, 'Opened', '{}');
SELECT next('orders');
COMMIT;
BEGIN;
SELECT next('orders'), next('orders');
SELECT event_store.advance('orders', 13);
COMMIT;
SELECT next('orders');

-- Savepoints: after ROLLBACK TO, the state is what it was at the savepoint.
BEGIN;
SELECT next('closed', 1);
SAVEPOINT work;
SELECT next('closed', 2);
SELECT event_store.advance('closed', 11);
ROLLBACK TO work;
SELECT outcome($$SELECT event_store.advance('closed', 11)$$);
SELECT next('closed', 1);
ROLLBACK TO work;
SELECT event_store.advance('closed', 9);
RELEASE work;
COMMIT;
SELECT next('closed');
-- A lease taken after the savepoint goes with it.
BEGIN;
SAVEPOINT s;
SELECT next('closed', 1);
ROLLBACK TO s;
SELECT fails($$SELECT event_store.advance('closed', 10)$$);
SAVEPOINT t;
SELECT next('closed', 1);
RELEASE t;
SELECT event_store.advance('closed', 10);
COMMIT;
SELECT next('closed');
-- Two subscriptions in one transaction.
BEGIN;
SELECT next('later', 1), next('all', 1), next('later', 1);
SELECT event_store.advance('all', 9);
SELECT event_store.advance('later', 11);
COMMIT;
SELECT next('later'), next('all');
-- Deleted events are not given out; retained-away ones are until somebody has them.
SELECT event_store.delete_stream('invoice-0', -1);
SELECT next('all');

-- ---------------------------------------------------------------- partitions

SELECT count(*) FROM generate_series(1, 60) n,
	LATERAL event_store.append('part-' || n % 7, -1, 'A', '{}');
SELECT event_store.create_subscription('parts', 'part', partitions => 3);
SELECT partition, checkpoint FROM event_store.subscription_partition
	WHERE name = 'parts' ORDER BY partition;
CREATE TABLE taken (turn int, number int GENERATED ALWAYS AS IDENTITY, stream text,
	version bigint, position bigint, partition int);
DO $$
DECLARE
	last bigint;
BEGIN
	FOR this_turn IN 1 .. 100 LOOP
		INSERT INTO taken (turn, stream, version, position)
			SELECT this_turn, stream, version, position FROM event_store.fetch('parts', 7);
		SELECT max(position) INTO last FROM taken WHERE turn = this_turn;
		EXIT WHEN last IS NULL;
		PERFORM event_store.advance('parts', last);
		UPDATE taken SET partition = (SELECT p.partition FROM event_store.subscription_partition p
			WHERE p.name = 'parts' AND p.checkpoint = last) WHERE turn = this_turn;
		COMMIT;
	END LOOP;
END
$$;
-- Each event once; each stream in order, and in the same partition in all turns.
SELECT count(*), count(DISTINCT position), count(DISTINCT turn) > 8 FROM taken;
SELECT bool_and(version = n) FROM (SELECT version, row_number() OVER (PARTITION BY stream
	ORDER BY number) AS n FROM taken) t;
SELECT count(*), bool_and(turns > 1), bool_and(partitions = 1) FROM (SELECT count(DISTINCT turn)
	AS turns, count(DISTINCT partition) AS partitions FROM taken GROUP BY stream) s;
SELECT count(DISTINCT partition), count(*) FILTER (WHERE partition IS NULL) FROM taken;
SELECT bool_and(checkpoint > 13) AND count(*) = 3 FROM event_store.subscription_partition
	WHERE name = 'parts';
SELECT next('parts');
-- A partition that has events is preferred, whichever it is.
DO $$
DECLARE
	got text;
	last bigint;
BEGIN
	FOR n IN 0 .. 6 LOOP
		PERFORM event_store.append('part-' || n, -1, 'A', '{}');
		COMMIT;
		SELECT string_agg(stream, ' '), max(position) INTO got, last
			FROM event_store.fetch('parts');
		RAISE NOTICE 'part-%: %', n, got;
		PERFORM event_store.advance('parts', last);
		COMMIT;
	END LOOP;
END
$$;
-- Within a transaction fetch stays in its partition, whatever there is to read in others,
-- and advance moves that one alone.
SELECT event_store.reset_subscription('parts', 0);
BEGIN;
INSERT INTO taken (turn, stream, version, position)
	SELECT 1001, stream, version, position FROM event_store.fetch('parts', 1);
INSERT INTO taken (turn, stream, version, position)
	SELECT 1002, stream, version, position FROM event_store.fetch('parts', 1000);
SELECT event_store.advance('parts', max(position)) FROM taken WHERE turn = 1002;
COMMIT;
SELECT count(DISTINCT turn), count(DISTINCT e.stream_id % 3), count(*) = (
	SELECT count(*) FROM event_store.stored_event other
	WHERE other.stream LIKE 'part-%' AND other.stream_id % 3 = min(e.stream_id % 3))
FROM taken JOIN event_store.stored_event e USING (position) WHERE turn > 1000;
SELECT count(*) FILTER (WHERE checkpoint > 0), count(*) FROM event_store.subscription_partition
	WHERE name = 'parts';
SELECT event_store.create_subscription('most', partitions => 1024);
SELECT count(*) FROM event_store.subscription_partition WHERE name = 'most';

-- A long stretch with nothing for a subscription is not read again and again.
SELECT event_store.create_subscription('rare', event_types => '{Rare}',
	start_after => event_store.high_water_mark());
SELECT version FROM event_store.append_batch('many-1', 0,
	(SELECT array_agg(ROW('A', '{}', NULL, NULL, NULL, NULL)::event_store.new_event)
		FROM generate_series(1, 1500)));
SELECT next('rare');
SELECT checkpoint = event_store.high_water_mark() FROM event_store.subscription_partition
	WHERE name = 'rare';
SELECT position - event_store.high_water_mark()
	FROM event_store.append('many-1', 1500, 'Rare', '{}');
SELECT version FROM event_store.fetch('rare');
-- Nor by several partitions: each fetch moves one that is far behind.
SELECT event_store.create_subscription('rarer', event_types => '{Rarer}', partitions => 3);
SELECT next('rarer');
SELECT next('rarer');
SELECT next('rarer');
SELECT next('rarer');
SELECT bool_and(checkpoint = event_store.high_water_mark()), count(*)
FROM event_store.subscription_partition WHERE name = 'rarer';
SELECT version FROM event_store.append('many-1', -1, 'Rarer', '{}');
SELECT version FROM event_store.fetch('rarer');
SELECT event_store.drop_subscription('rarer');

-- ---------------------------------------------------------------- reset, drop

SELECT event_store.reset_subscription('orders', 0);
SELECT next('orders', 4);
SELECT event_store.reset_subscription('orders', event_store.high_water_mark());
SELECT next('orders', 4);
BEGIN;
SELECT event_store.reset_subscription('orders', 0);
SELECT next('orders', 2);
SELECT event_store.reset_subscription('orders', 5);
SELECT next('orders', 2);
SELECT event_store.advance('orders', 8);
COMMIT;
SELECT next('orders', 2);
SELECT event_store.reset_subscription('parts', 0);
SELECT count(DISTINCT checkpoint), min(checkpoint) FROM event_store.subscription_partition
	WHERE name = 'parts';
SELECT event_store.drop_subscription('parts');
SELECT count(*) FROM event_store.subscription_partition WHERE name = 'parts';
SELECT event_store.create_subscription('parts');
-- Dropped and created again in one transaction it begins anew.
BEGIN;
SELECT next('later', 1);
SAVEPOINT s;
SELECT event_store.drop_subscription('later');
SELECT fails($$SELECT event_store.advance('later', 12)$$);
SELECT event_store.create_subscription('later', 'order', partitions => 2);
SELECT count(*) FROM event_store.fetch('later', 1) WHERE position < 3;
ROLLBACK TO s;
SELECT event_store.advance('later', 12);
ROLLBACK;
SELECT next('later', 1);

-- ---------------------------------------------------------------- the view

SELECT * FROM event_store.subscriptions LIMIT 0;
\pset tuples_only off
SELECT * FROM event_store.subscriptions LIMIT 0;
\pset tuples_only on
SELECT event_store.reset_subscription('one stream', 1);
SELECT name, category, event_types, stream, partition, checkpoint,
	head = event_store.high_water_mark() AS at_head,
	lag_events, lag > '0' AS behind, holder_pid, active_since
FROM event_store.subscriptions WHERE name <> 'most' ORDER BY name, partition;
BEGIN;
SELECT next('one stream', 1);
SELECT holder_pid = pg_backend_pid(), active_since = now(), checkpoint
	FROM event_store.subscriptions WHERE name = 'one stream';
SELECT event_store.advance('one stream', 5);
SELECT checkpoint, lag_events FROM event_store.subscriptions WHERE name = 'one stream';
ROLLBACK;
SELECT head = event_store.high_water_mark(), lag_events, oldest IS NOT NULL
	FROM event_store._subscription_lag('one stream');
-- The lag is the age of the oldest event that is still to come.
SELECT event_store.create_subscription('late', 'late');
SELECT version FROM event_store.append_batch('late-1', 0, ARRAY[
	ROW('A', '{}', NULL, NULL, clock_timestamp() - interval '48 hours', NULL),
	ROW('A', '{}', NULL, NULL, clock_timestamp() - interval '24 hours', NULL)
	]::event_store.new_event[]);
CREATE FUNCTION lag_after(max_count int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM event_store.advance('late', position) FROM event_store.fetch('late', max_count);
	RETURN (SELECT format('%s %s', lag_events, date_trunc('day', justify_hours(lag)))
		FROM event_store.subscriptions WHERE name = 'late');
END
$$;
SELECT lag_events, date_trunc('day', justify_hours(lag)) FROM event_store.subscriptions
	WHERE name = 'late';
BEGIN;
SELECT lag_after(1), lag_after(1);
COMMIT;

-- ---------------------------------------------------------------- errors

-- The same again changes nothing, wherever it begins; another one is refused.
SELECT fails($$SELECT event_store.create_subscription('all', start_after => 3)$$);
SELECT fails($$SELECT event_store.create_subscription('all', 'order')$$);
SELECT fails($$SELECT event_store.create_subscription('all', partitions => 2)$$);
SELECT fails($$SELECT event_store.create_subscription('all', event_types => '{A}')$$);
SELECT fails($$SELECT event_store.create_subscription(NULL)$$);
SELECT fails($$SELECT event_store.create_subscription('')$$);
SELECT fails($$SELECT event_store.create_subscription(repeat('x', 256))$$);
SELECT fails($$SELECT event_store.create_subscription('new', partitions => 0)$$);
SELECT fails($$SELECT event_store.create_subscription('new', partitions => 1025)$$);
SELECT fails($$SELECT event_store.create_subscription('new', start_after => -1)$$);
SELECT fails($$SELECT event_store.create_subscription('new', event_types => '{A,NULL}')$$);
SELECT stream, refusal(format('SELECT event_store.create_subscription(''new'', stream => %L)',
	stream)) FROM unnest(ARRAY['', '-1', E'order-1\n', repeat('x', 256)]) stream;
SELECT fails($$SELECT * FROM event_store.fetch('none')$$);
SELECT fails($$SELECT * FROM event_store.fetch(E'o''none')$$);
SELECT fails($$SELECT * FROM event_store.fetch(NULL)$$);
SELECT fails($$SELECT * FROM event_store.fetch('all', 0)$$);
SELECT fails($$SELECT * FROM event_store.fetch('all', -1)$$);
SELECT fails($$SELECT event_store.advance('none', 1)$$);
SELECT fails($$SELECT event_store.advance('all', 10)$$);
SELECT fails($$SELECT event_store.advance(NULL, 1)$$);
SELECT fails($$SELECT event_store.advance('all', NULL)$$);
SELECT fails($$SELECT event_store.drop_subscription('none')$$);
SELECT fails($$SELECT event_store.drop_subscription(NULL)$$);
SELECT fails($$SELECT event_store.reset_subscription('none', 0)$$);
SELECT fails($$SELECT event_store.reset_subscription('all', NULL)$$);
SELECT fails($$SELECT event_store.reset_subscription('all', -1)$$);
SELECT event_store.position_counter();
SELECT fails($$SELECT event_store.reset_subscription('all', event_store.position_counter() + 1)$$);
SELECT fails($$SELECT event_store.create_subscription('new', start_after => 9223372036854775807)$$);
SELECT fails($$SELECT event_store._subscription_lag('none')$$);
BEGIN;
SELECT next('all', 2);
SELECT fails($$SELECT event_store.advance('all', 8)$$);
SELECT fails($$SELECT event_store.advance('all', 9223372036854775807)$$);
SELECT fails($$SELECT event_store.advance('all', -1)$$);
SELECT fails($$SELECT event_store.advance('later', 11)$$);
ROLLBACK;
BEGIN READ ONLY;
SELECT fails($$SELECT * FROM event_store.fetch('all')$$);
SELECT fails($$SELECT event_store.create_subscription('new')$$);
ROLLBACK;

-- Where somebody begins at a position that open transactions hold back he is not behind.
BEGIN;
SELECT version FROM event_store.append('ahead-1', 0, 'A', '{}');
SELECT event_store.create_subscription('ahead', start_after => event_store.position_counter());
SELECT lag_positions, lag_events FROM event_store.subscriptions WHERE name = 'ahead';
SELECT lag_positions, lag_events FROM event_store._listed_subscription WHERE name = 'ahead';
ROLLBACK;

-- ---------------------------------------------------------------- what the view costs
-- One pass over what is unread for all partitions, and never more than 10 000 events of it.
SELECT event_store.create_subscription('many parts', 'parts', partitions => 64);
SELECT max(version) FROM (SELECT (event_store.append_batch('parts-' || n, 0, (
	SELECT array_agg(ROW('A', '{}', NULL, NULL, NULL, NULL)::event_store.new_event) FROM generate_series(1, 200)))).version
	FROM generate_series(1, 100) n) a;
SELECT count(*), sum(lag_events), bool_and(lag >= '0'), bool_and(lag_positions >= lag_events),
	bool_and(lag_capped)
FROM event_store.subscriptions WHERE name = 'many parts';
BEGIN;
CREATE FUNCTION fetched() RETURNS bigint LANGUAGE sql AS
$$ SELECT pg_stat_get_xact_tuples_fetched('event_store.stored_event'::regclass) $$;
SELECT fetched() AS before \gset
SELECT sum(lag_events) FROM event_store.subscriptions WHERE name = 'many parts';
SELECT fetched() - :before < 12000 AS once;
ROLLBACK;

-- ---------------------------------------------------------------- lists that TOAST keeps
-- A procedure that waits has no snapshot to fetch them with but its own.
SELECT array_agg('Type' || md5(n::text)) AS many FROM generate_series(1, 1000) n \gset
SELECT event_store.create_subscription('long', 'long', :'many');
SELECT pg_column_size(event_types) > 10000 AS in_toast FROM event_store.subscription WHERE name = 'long';
CREATE TABLE long_model (n int);
CREATE FUNCTION long_handler(event event_store.event) RETURNS void LANGUAGE sql AS '';
SELECT event_store.create_projection('long', 'long_handler(event_store.event)', 'long', :'many', tables => '{long_model}');
SELECT version FROM event_store.append('long-1', 0, 'Type' || md5('1000'), '{}');
\c
CALL event_store.wait_subscription('long', '5 min');
\c
CALL ecommerce.wait('{long}', '{}', '5 min');
\c
CALL event_store.wait_projection('long', 1, '5 min');
