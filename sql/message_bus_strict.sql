-- Strict order: a key waits until its head is settled, retries and schedules included.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
SELECT message_bus.create_endpoint('x', "order" => 'random');
SELECT message_bus.create_endpoint(e, 1, '{"kind": "interval", "limit": 1, "interval": "1 min"}',
	"order" => e) FROM unnest('{strict,relaxed}'::text[]) e;
CREATE FUNCTION send(e text, key text, n int, due timestamptz DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
	SELECT message_bus.send(e, 'T', jsonb_build_object('n', key || n), uid(ascii(key) * 100 + n),
		partition_key => key, deliver_at => due) $$;
-- Takes what there is, acks it, or fails those that are named; repeats until there is nothing.
CREATE PROCEDURE consume(e text, minute int, bad text[] DEFAULT '{}') LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
	got text := '';
BEGIN
	LOOP
		PERFORM at('2100-01-01 UTC'::timestamptz + make_interval(mins => minute));
		FOR d IN SELECT * FROM message_bus.receive(e, 10) ORDER BY delivery_id LOOP
			got := concat(got, d.body->>'n', '/', d.attempt, ' ');
			IF d.body->>'n' = ANY (bad) THEN
				PERFORM message_bus.fail(d.delivery_id, 'E', 'e');
			ELSE
				PERFORM message_bus.ack(d.delivery_id);
			END IF;
		END LOOP;
		EXIT WHEN NOT FOUND;
		got := concat(got, '| ');
		COMMIT;
	END LOOP;
	RAISE NOTICE '%', got;
END $$;
-- A retry lets others pass, or not. Other keys go on.
SELECT count(concat(send(e, k, n))) FROM unnest('{strict,relaxed}'::text[]) e,
	unnest('{a,b}'::text[]) k, generate_series(1, 3) n;
CALL consume('relaxed', 0, '{a1}');
CALL consume('relaxed', 1);
CALL consume('strict', 0, '{a1}');
SELECT state, count(*) FROM message_bus.aside GROUP BY 1 ORDER BY 1;
SELECT state('strict');
CALL consume('strict', 0);
CALL consume('strict', 1);
SELECT state('strict');
-- Nobody spins meanwhile: there is nothing to wait for but the retry.
SELECT count(concat(send('strict', 'c', n))) FROM generate_series(1, 2) n;
CALL consume('strict', 10, '{c1}');
CALL message_bus.wait('strict', '0 s');
-- Its last retry fails: dead, and the key goes on.
CALL consume('strict', 11, '{c1}');
SELECT state('strict');
-- A scheduled message keeps its place; what comes behind it waits, scheduled itself or not.
SELECT send('strict', 'd', 1), send('strict', 'd', 2, '2100-01-01 01:00 UTC'),
	send('strict', 'd', 3), send('strict', 'd', 4, '2100-01-01 00:30 UTC');
CALL consume('strict', 20);
CALL consume('strict', 40);
CALL consume('strict', 60);
-- Until it is cancelled, or has expired.
SELECT send('strict', 'e', 1, '2100-01-02 UTC'), send('strict', 'e', 2);
CALL consume('strict', 70);
SELECT message_bus.cancel_scheduled(uid(10101));
CALL consume('strict', 70);
SELECT message_bus.send('strict', 'T', '{"n": "f1"}', partition_key => 'f',
	deliver_at => '2100-01-02 UTC', expires_at => clock_timestamp() + '2 s') IS NOT NULL;
SELECT send('strict', 'f', 2);
DO $$
DECLARE
	got text := 'nothing';
BEGIN
	WHILE got = 'nothing' LOOP
		PERFORM pg_sleep(0.01), message_bus.maintain();
		COMMIT;
		got := in_order('strict');
		COMMIT;
	END LOOP;
	RAISE NOTICE '%', got;
END $$;
-- One of a key is in hand at a time; the next follows when it is settled, not before.
SELECT count(concat(send('strict', 'g', n))) FROM generate_series(1, 3) n;
BEGIN;
SELECT in_order('strict', 1);
SELECT body->>'n' AS n, delivery_id AS id FROM message_bus.receive('strict') \gset g_
\echo :g_n
SELECT count(*) FROM message_bus.receive('strict');
SELECT message_bus.fail(:g_id, 'E', 'e');
SELECT count(*) FROM message_bus.receive('strict');
COMMIT;
SELECT body->>'n' AS n, state FROM message_bus.aside ORDER BY 1;
-- A lease that runs out, and a rollback, change no order.
BEGIN; SELECT at(now() + '2 min'); SELECT body->>'n' FROM message_bus.receive('strict'); ROLLBACK;
DO $$ BEGIN
	PERFORM at(now() + '2 min');
	RAISE NOTICE '%', (SELECT string_agg(body->>'n', ' ')
		FROM message_bus.receive('strict', 5, '1 s'));
END $$;
BEGIN; SELECT at(now() + '3 min'); SELECT count(*) FROM message_bus.receive('strict'); COMMIT;
BEGIN; SELECT at(now() + '5 min'); SELECT in_order('strict'); SELECT in_order('strict'); COMMIT;
SELECT state('strict');
