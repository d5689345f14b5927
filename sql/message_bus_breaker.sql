-- Circuit breakers, and messages that kill their consumers.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
CREATE VIEW breaker AS
SELECT endpoint, message_type, state, attempts, failures, window_start IS NOT NULL AS window,
	retry_at - opened_at AS reset, probe_successes
FROM message_bus.circuit_breakers ORDER BY 1, 2;
-- Sends so many and lets them fail or succeed, each in its own transaction.
CREATE PROCEDURE run(endpoint text, type text, outcomes text,
	"time" timestamptz DEFAULT '2100-01-01 UTC') LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
	o text;
BEGIN
	FOREACH o IN ARRAY string_to_array(outcomes, NULL) LOOP
		PERFORM message_bus.send(endpoint, type, '{"n": 1}');
		COMMIT;
		PERFORM at("time");
		SELECT * INTO d FROM message_bus.receive(endpoint, 1);
		IF d.delivery_id IS NULL THEN
			RAISE NOTICE 'nothing to receive';
		ELSIF o = 'f' THEN
			PERFORM message_bus.fail(d.delivery_id, 'E', 'e', false);
		ELSIF o = 's' THEN
			PERFORM message_bus.skip(d.delivery_id);
		ELSE
			PERFORM message_bus.ack(d.delivery_id);
		END IF;
		COMMIT;
	END LOOP;
END $$;

-- ---------------------------------------------------------------- closed

-- Trips when attempts > 10 and floor(100 * failures / attempts) >= 15.
SELECT message_bus.create_endpoint('a', 1);
TABLE breaker;
CALL run('a', 'A', 'ffffffffff');
TABLE breaker;
CALL run('a', 'A', 'f');
TABLE breaker;
-- 1 of 11 is 9 %, 2 of 13 are 15 %, 2 of 14 are 14 %.
SELECT message_bus.create_endpoint(e, 1) FROM unnest('{b,c,d,e}'::text[]) e;
CALL run('b', 'A', 'aaaaaaaaaafaf');
CALL run('c', 'A', 'aaaaaaaaaaafaf');
CALL run('c', 'A', 'aaaaaaa');
TABLE breaker;
-- The window tumbles: it starts with the first attempt after the last one ended.
CALL run('d', 'A', 'ffffffffff', '2100-01-01 00:00:00 UTC');
CALL run('d', 'A', 'f', '2100-01-01 00:01:00 UTC');
SELECT attempts, failures, window_start = '2100-01-01 00:01:00 UTC'
	FROM message_bus.circuit_breakers WHERE endpoint = 'd';
CALL run('d', 'A', 'fffffffff', '2100-01-01 00:01:59.999999 UTC');
CALL run('d', 'A', 'f', '2100-01-01 00:01:59.999999 UTC');
SELECT state, attempts, failures FROM breaker WHERE endpoint = 'd';
-- Types are counted apart; what is skipped, returned or rolled back is no attempt.
CALL run('e', 'A', 'fffff');
CALL run('e', 'B', 'ffffff');
CALL run('e', 'A', 'ssssss');
SELECT message_bus.send('e', 'A', '{"n": 1}') IS NOT NULL;
SELECT count(*) FROM message_bus.receive('e');
BEGIN; SELECT message_bus.fail(delivery_id, 'E', 'e') FROM message_bus.receive('e'); ROLLBACK;
BEGIN; SELECT delivery_id AS id FROM message_bus.receive('e') \gset
SAVEPOINT s; SELECT message_bus.fail(:id, 'E', 'e'); ROLLBACK TO s; SELECT message_bus.ack(:id);
	COMMIT;
SELECT * FROM breaker WHERE endpoint = 'e';
-- So under a lease.
SELECT message_bus.send('e', 'C', '{"n": 1}') IS NOT NULL;
SELECT delivery_id AS id FROM message_bus.receive('e', lease => '1 hour') \gset
BEGIN; SELECT message_bus.fail(:id, 'E', 'e'); ROLLBACK;
BEGIN; SELECT message_bus.ack(:id); ROLLBACK;
BEGIN;
SAVEPOINT s; SELECT message_bus.fail(:id, 'E', 'e'); ROLLBACK TO s;
SAVEPOINT t; SELECT message_bus.ack(:id); RELEASE t; COMMIT;
SELECT * FROM breaker WHERE endpoint = 'e' AND message_type = 'C';
-- Many in one transaction count one by one.
SELECT message_bus.create_endpoint('f', 1, '{"kind": "none"}', '{"tracking_period": "1 day",
	"trip_threshold": 15, "active_threshold": 10, "reset_interval": "1 day"}');
SELECT count(message_bus.send('f', 'A', '{"n": 1}')) FROM generate_series(1, 12);
SELECT count(message_bus.fail(delivery_id, 'E', 'e')) FROM message_bus.receive('f', 10);
SELECT state, attempts FROM breaker WHERE endpoint = 'f';
BEGIN; SELECT message_bus.fail(delivery_id, 'E', 'e') FROM message_bus.receive('f', 1);
	SELECT state FROM breaker WHERE endpoint = 'f'; COMMIT;
SELECT state, attempts FROM breaker WHERE endpoint = 'f';
-- Off.
SELECT message_bus.create_endpoint('g', 1, '{"kind": "none"}', '{"kind": "none"}');
CALL run('g', 'A', 'ffffffffffffffffffff');
SELECT * FROM breaker WHERE endpoint = 'g';

-- ---------------------------------------------------------------- open

-- Nothing of that type is delivered and no attempt consumed; other types pass it by.
SELECT message_bus.send('a', 'A', '{"n": 1}', uid(1)), message_bus.send('a', 'B', '{"n": 2}',
	uid(2)), message_bus.send('a', 'A', '{"n": 3}', uid(3));
BEGIN; SELECT at('2100-01-01 00:04:59.999999 UTC'); SELECT in_order('a'); COMMIT;
SELECT state('a');
SELECT state, count(*), min(attempt), max(attempt) FROM message_bus.aside GROUP BY 1;
SELECT message_bus.send('a', 'A', '{"n": 4}', uid(3));
BEGIN; SELECT at('2100-01-01 00:04:59.999999 UTC'); SELECT in_order('a'); COMMIT;

-- ---------------------------------------------------------------- half open

-- One probe at a time, the oldest first.
BEGIN; SELECT at('2100-01-01 00:05 UTC');
SELECT body, attempt FROM message_bus.receive('a');
SELECT count(*) FROM message_bus.receive('a');
SELECT state, probe_successes FROM breaker WHERE endpoint = 'a';
ROLLBACK;
-- A failure opens again.
BEGIN; SELECT at('2100-01-01 00:05 UTC'); SELECT failed('a', retryable => false); COMMIT;
SELECT state, opened_at = '2100-01-01 00:05 UTC', retry_at = '2100-01-01 00:10 UTC'
	FROM message_bus.circuit_breakers WHERE endpoint = 'a';
SELECT message_bus.redrive(uid(1));
BEGIN; SELECT at('2100-01-01 00:09:59 UTC'); SELECT in_order('a'); COMMIT;
SELECT count(message_bus.send('a', 'A', jsonb_build_object('n', i))) FROM generate_series(10, 19) i;
-- Ten successes close.
BEGIN; SELECT at('2100-01-01 00:10 UTC'); SELECT in_order('a'); COMMIT;
SELECT state, probe_successes FROM breaker WHERE endpoint = 'a';
BEGIN; SELECT at('2100-01-01 00:10 UTC'); SELECT in_order('a'); COMMIT;
BEGIN; SELECT at('2100-01-01 00:10 UTC'); SELECT message_bus.skip(delivery_id)
	FROM message_bus.receive('a'); COMMIT;
SELECT state, probe_successes FROM breaker WHERE endpoint = 'a';
DO $$ BEGIN FOR i IN 1..7 LOOP PERFORM at('2100-01-01 00:10 UTC'); PERFORM in_order('a'); COMMIT;
	END LOOP; END $$;
SELECT state, probe_successes FROM breaker WHERE endpoint = 'a';
BEGIN; SELECT at('2100-01-01 00:10 UTC'); SELECT in_order('a'); COMMIT;
SELECT state, attempts, failures, "window", reset, probe_successes FROM breaker
	WHERE endpoint = 'a';
SELECT in_order('a');
SELECT state('a');
-- Under a lease the probe lasts as long as the lease.
CALL run('b', 'B', 'fffffffffff');
SELECT count(message_bus.send('b', 'B', jsonb_build_object('n', i))) FROM generate_series(1, 3) i;
DO $$ BEGIN
	PERFORM at('2100-01-01 00:05 UTC');
	PERFORM * FROM message_bus.receive('b', 5, '1 min');
END $$;
BEGIN; SELECT at('2100-01-01 00:05:30 UTC'); SELECT in_order('b'); COMMIT;
SELECT message_bus.ack(delivery_id) FROM message_bus.lease;
SELECT state, probe_successes FROM breaker WHERE endpoint = 'b' AND message_type = 'B';
BEGIN; SELECT at('2100-01-01 00:05:30 UTC'); SELECT in_order('b'); COMMIT;
-- A lease that expires is a failed attempt, and a failed probe if it was one.
SELECT message_bus.create_endpoint(e, 1, retry::jsonb, '{"tracking_period": "1 day",
	"trip_threshold": 15, "active_threshold": 1, "reset_interval": "1 h"}')
	FROM (VALUES ('l', '{"kind": "none"}'),
		('h', '{"kind": "interval", "limit": 5, "interval": "1 min"}')) e(e, retry);
SELECT count(message_bus.send('l', 'L', jsonb_build_object('n', i))) FROM generate_series(1, 4) i;
DO $$ BEGIN
	PERFORM at('2100-01-01 UTC');
	PERFORM * FROM message_bus.receive('l', 2, '1 min');
END $$;
BEGIN; SELECT at('2100-01-01 00:01 UTC'); SELECT in_order('l'); COMMIT;
SELECT state, attempts, failures FROM breaker WHERE endpoint = 'l';
DO $$ BEGIN
	PERFORM at('2100-01-01 01:01 UTC');
	PERFORM * FROM message_bus.receive('l', 2, '1 min');
END $$;
SELECT state FROM breaker WHERE endpoint = 'l';
BEGIN; SELECT at('2100-01-01 01:02 UTC'); SELECT in_order('l'); COMMIT;
SELECT state, opened_at = '2100-01-01 01:02 UTC' FROM message_bus.circuit_breakers
	WHERE endpoint = 'l';
SELECT error_code, count(*) FROM message_bus.dead_letters WHERE endpoint = 'l' GROUP BY 1;
SELECT state('l');
-- What waits for a retry is held like the rest, and keeps its attempts.
SELECT count(message_bus.send('h', 'H', jsonb_build_object('n', i))) FROM generate_series(1, 2) i;
BEGIN; SELECT at('2100-01-01 UTC'); SELECT failed('h'); COMMIT;
BEGIN; SELECT at('2100-01-01 00:59:59 UTC'); SELECT in_order('h'); COMMIT;
SELECT state, attempt, first_failed_at = '2100-01-01 UTC' FROM message_bus.aside
	WHERE message_type = 'H';
BEGIN; SELECT at('2100-01-01 01:00 UTC');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('h'); ROLLBACK;
BEGIN; SELECT at('2100-01-01 01:00 UTC'); SELECT in_order('h'); COMMIT;
SELECT state FROM breaker WHERE endpoint = 'h';
BEGIN; SELECT at('2100-01-01 01:00 UTC'); SELECT in_order('h'); COMMIT;
-- By hand.
SELECT message_bus.reset_breaker('b', 'B'), message_bus.reset_breaker('b', 'C');
SELECT state, attempts FROM breaker WHERE endpoint = 'b' AND message_type = 'B';
SELECT in_order('b');
SELECT state('b');

-- ---------------------------------------------------------------- deaths

SELECT message_bus.create_endpoint('faults', 1);
SELECT message_bus.subscribe('faults', 'Fault');
-- A consumer that ends in the middle of handling is one death.
SELECT message_bus.create_endpoint('k', 1, '{"kind": "immediate", "limit": 4}', '{"kind": "none"}');
SELECT count(message_bus.send('k', 'K', jsonb_build_object('n', i), uid(i + 100)))
	FROM generate_series(1, 3) i;
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
BEGIN; SELECT message_bus.handle(min(delivery_id)) FROM message_bus.receive('k'); \c -
CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
-- Without handle it is none, nor after a rollback.
BEGIN; SELECT count(*) FROM message_bus.receive('k'); \c -
CALL message_bus.wait('k', '1 min');
BEGIN; SELECT message_bus.handle(min(delivery_id)) FROM message_bus.receive('k'); ROLLBACK; \c -
CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
BEGIN; SELECT message_bus.handle(min(delivery_id)) FROM message_bus.receive('k'); \c -
CALL message_bus.wait('k', '1 min');
BEGIN; SELECT message_bus.handle(min(delivery_id)) FROM message_bus.receive('k'); \c -
CALL message_bus.wait('k', '1 min');
-- After three it is handed out alone.
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
BEGIN; SELECT count(*) FROM message_bus.receive('k'); SELECT count(*)
	FROM message_bus.receive('k'); COMMIT;
BEGIN; SELECT body->>'n' FROM message_bus.receive('k', 1); \c -
CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
-- After greatest(limit, 3) + 1 it is a dead letter.
BEGIN; SELECT body->>'n' FROM message_bus.receive('k', 1); \c -
CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
SELECT message_id, reason, error_code, error, attempts FROM message_bus.dead_letters
	WHERE endpoint = 'k';
SELECT causation_id, body->>'error_code', body->>'attempts' FROM message_bus.receive('faults');
SELECT in_order('k');
SELECT state('k');
SELECT count(*) FROM message_bus.death;
-- It is that of the message which was handled last, and written down at the next receive.
SELECT count(message_bus.send('k', 'K', jsonb_build_object('n', i), uid(i + 110)))
	FROM generate_series(1, 3) i;
BEGIN; SELECT message_bus.handle(delivery_id)
	FROM (SELECT * FROM message_bus.receive('k', 2) ORDER BY delivery_id) r; \c -
CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
SELECT message_id, deaths FROM message_bus.death;
SELECT in_order('k');
SELECT count(*) FROM message_bus.death;

-- A death is an attempt and a failure for the breaker; without retries the fourth is the last.
SELECT message_bus.create_endpoint('m', 1, '{"kind": "none"}', '{"tracking_period": "1 day",
	"trip_threshold": 15, "active_threshold": 3, "reset_interval": "1 day"}');
SELECT message_bus.send('m', 'M', '{"n": 1}', uid(200));
BEGIN; SELECT message_bus.handle(delivery_id) FROM message_bus.receive('m'); \c -
CALL message_bus.wait('m', '1 min');
BEGIN; SELECT message_bus.handle(delivery_id) FROM message_bus.receive('m'); \c -
CALL message_bus.wait('m', '1 min');
BEGIN; SELECT message_bus.handle(delivery_id) FROM message_bus.receive('m'); \c -
CALL message_bus.wait('m', '1 min');
SELECT state, attempts, failures FROM breaker WHERE endpoint = 'm';
BEGIN; SELECT message_bus.handle(delivery_id) FROM message_bus.receive('m'); \c -
CALL message_bus.wait('m', '1 min');
SELECT state, attempts, failures FROM breaker WHERE endpoint = 'm';
SELECT in_order('m');
SELECT reason, error_code, attempts FROM message_bus.dead_letters WHERE endpoint = 'm';
