-- What a transaction has in hand stays with it, also where the same transaction cancels, purges
-- or does the worker's turn; and what it has taken out it does not get any more.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
SELECT message_bus.create_endpoint('q', 1, '{"kind": "interval", "limit": 5, "interval": "1 h"}');
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION fill(first int, last int) RETURNS bigint LANGUAGE sql AS
$$ SELECT count(message_bus.send('q', 'T', jsonb_build_object('n', i), id(i)))
	FROM generate_series(first, last) i $$;
CREATE TEMP TABLE hand (n int, delivery_id bigint);
-- Receives, and settles nothing.
CREATE FUNCTION take(max int DEFAULT 50) RETURNS text LANGUAGE sql AS $$
	WITH r AS (INSERT INTO hand SELECT (body->>'n')::int, delivery_id
		FROM message_bus.receive('q', max) RETURNING *)
	SELECT coalesce(string_agg(n::text, ' ' ORDER BY delivery_id), 'nothing') FROM r
$$;
CREATE FUNCTION ack(number int) RETURNS bigint LANGUAGE sql AS
$$ SELECT message_bus.ack(max(delivery_id)) FROM hand WHERE n = number $$;
CREATE FUNCTION cancel(number int) RETURNS text LANGUAGE sql AS
$$ SELECT coalesce(string_agg(result, ', '), 'not there') FROM message_bus.cancel(id(number)) $$;
CREATE FUNCTION purge() RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(state || ' ' || result || ' ' || count, ', ') FROM message_bus.purge('q') $$;
-- Which are dead since, why; how many the endpoint counts, and what is wrong with it.
CREATE FUNCTION left_over(since int DEFAULT 0) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(', ', coalesce((SELECT string_agg(right(message_id::text, 2)::int || ' ' || reason, ', '
			ORDER BY message_id) FROM message_bus.dead WHERE message_id >= id(since)), 'none dead'),
		'depth ' || (SELECT depth FROM message_bus.endpoints),
		(SELECT string_agg(problem, ', ') FROM message_bus.verify()))
$$;

-- ---------------------------------------------------------------- in the ring

SELECT fill(1, 3);
BEGIN;
SELECT take(2);
SELECT cancel(1), cancel(3), cancel(1), ack(1), cancel(1), cancel(2), take(), ack(2);
COMMIT;
SELECT left_over(), got('q');
SELECT fill(4, 6);
BEGIN;
SELECT take(1);
SELECT purge(), purge(), ack(4), purge(), take();
COMMIT;
SELECT left_over(), got('q');
-- What is not settled comes again.
SELECT fill(7, 8);
BEGIN;
SELECT take(1), purge();
COMMIT;
SELECT left_over(), in_order('q');
-- One that was received in a savepoint that is gone is not in hand.
SELECT fill(9, 9);
BEGIN;
SAVEPOINT s;
SELECT take(), cancel(9);
ROLLBACK TO s;
SELECT cancel(9), take();
COMMIT;
SELECT left_over();

-- ---------------------------------------------------------------- taken out, then received

SELECT fill(10, 12);
BEGIN;
SELECT cancel(10), in_order('q', 1), cancel(12), in_order('q');
COMMIT;
SELECT left_over(), got('q');
SELECT fill(13, 14);
BEGIN;
SELECT purge(), take();
ROLLBACK;
SELECT in_order('q');

-- ---------------------------------------------------------------- set aside

SELECT fill(15, 16);
SELECT count(message_bus.fail(delivery_id, 'E', 'no luck')) FROM message_bus.receive('q', 10);
SELECT message_bus.retry_now('q');
BEGIN;
SELECT take(1) IN ('15', '16');
SELECT string_agg(cancel(n), ', ' ORDER BY n = (SELECT max(h.n) FROM hand h)) FROM (VALUES (15), (16)) t (n);
SELECT ack(max(n)), take() FROM hand;
COMMIT;
SELECT regexp_replace(left_over(), '1[56]', 'one'), got('q');

-- ---------------------------------------------------------------- the worker's turn by hand

SELECT count(message_bus.send('q', 'T', jsonb_build_object('n', i), id(i),
	expires_at => '2100-01-01'::timestamptz + i * interval '1 s')) FROM generate_series(20, 24) i;
BEGIN;
SELECT take(2), cancel(23);
SELECT at('2101-01-01');
SELECT message_bus.maintain();
SELECT ack(20), ack(21);
SELECT cancel(24), take();
COMMIT;
SELECT left_over(20), got('q');
BEGIN;
SELECT at('2101-01-01');
SELECT message_bus.maintain();
SELECT take();
COMMIT;
SELECT left_over(20), got('q');

-- ---------------------------------------------------------------- a lane that moves twice

SELECT message_bus.create_endpoint('f', 1, forward_to => 'elsewhere');
CREATE FUNCTION forward(first int, last int) RETURNS bigint LANGUAGE sql AS
$$ SELECT count(message_bus.send('f', 'T', jsonb_build_object('n', i), id(i))) FROM generate_series(first, last) i $$;
-- Up to the message of that number.
CREATE FUNCTION confirm(number int) RETURNS bigint LANGUAGE sql AS $$
	SELECT message_bus.confirm_forwarded('f', 0, (SELECT f.position FROM message_bus.forward_lanes('f') l,
		message_bus.forwarded('f', 0, l.confirmed) f WHERE (f.message).message_id = id(number)))
$$;
CREATE VIEW forwards AS SELECT format('depth %s, %s', (SELECT depth FROM message_bus.endpoints WHERE name = 'f'),
	coalesce((SELECT string_agg(problem, ', ') FROM message_bus.verify()), 'all well'));
SELECT forward(30, 35);
SELECT cancel(31);
BEGIN;
SELECT confirm(32), confirm(34);
COMMIT;
TABLE forwards;
SELECT forward(40, 45);
BEGIN;
SELECT confirm(40), cancel(42), confirm(43), cancel(44);
SAVEPOINT s;
SELECT confirm(45);
ROLLBACK TO s;
SELECT purge.count FROM message_bus.purge('f');
COMMIT;
TABLE forwards;
DROP EXTENSION ecommerce CASCADE;
