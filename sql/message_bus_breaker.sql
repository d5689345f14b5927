-- Circuit breakers, and messages that kill their consumers.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
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
			PERFORM message_bus.fail(d.delivery_id, 'E', 'e');
		ELSIF o = 'n' THEN
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
SELECT message_bus.create_endpoint('a', 1, '{"kind": "none"}', 'default');
TABLE breaker;
CALL run('a', 'A', 'ffffffffff');
TABLE breaker;
CALL run('a', 'A', 'f');
TABLE breaker;
-- Why it is open is told, whether what failed was given up or waits, to be tried again or held.
SELECT message_bus.create_endpoint('why', 1, breaker => 'default');
CALL run('why', 'B', 'fffffffffff');
SELECT object, substring(holds_up FROM '[0-9]+ of the last.*') AS why, detail ->> 'error' AS error
FROM ecommerce.problems WHERE kind = 'breaker_open';
UPDATE message_bus.aside SET state = 'held', due_at = 'infinity';
SELECT substring(holds_up FROM '[0-9]+ of the last.*') AS why FROM ecommerce.problems
WHERE object = 'circuit breaker B of why';
SELECT message_bus.drop_endpoint('why', force => true);
-- 1 of 11 is 9 %, 2 of 13 are 15 %, 2 of 14 are 14 %.
SELECT message_bus.create_endpoint(e, 1, '{"kind": "none"}', 'default')
	FROM unnest('{b,c,d,e}'::text[]) e;
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
-- Types are counted apart; what is skipped, not retryable, returned or rolled back counts not.
CALL run('e', 'A', 'fffff');
CALL run('e', 'B', 'ffffff');
CALL run('e', 'A', 'ssssssnnnnnnnnnn');
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
BEGIN; SELECT at('2100-01-01 00:05 UTC'); SELECT failed('a'); COMMIT;
SELECT state, opened_at = '2100-01-01 00:05 UTC', retry_at = '2100-01-01 00:10 UTC'
	FROM message_bus.circuit_breakers WHERE endpoint = 'a' ORDER BY message_type;
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
	PERFORM message_bus.handle(delivery_id) FROM message_bus.receive('l', 2, '1 min');
END $$;
BEGIN; SELECT at('2100-01-01 00:01 UTC'); SELECT in_order('l'); COMMIT;
SELECT state, attempts, failures FROM breaker WHERE endpoint = 'l';
DO $$ BEGIN
	PERFORM at('2100-01-01 01:01 UTC');
	PERFORM message_bus.handle(delivery_id) FROM message_bus.receive('l', 2, '1 min');
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
-- By hand; another breaker of the endpoint is open still.
SET client_min_messages = log;
SELECT message_bus.reset_breaker('b', 'B'), message_bus.reset_breaker('b', 'C');
RESET client_min_messages;
SELECT state, attempts FROM breaker WHERE endpoint = 'b' AND message_type = 'B';
SELECT in_order('b');
SELECT state('b');

-- ---------------------------------------------------------------- deaths

-- A connection that \c has left behind may hold its lane for a while.
CREATE PROCEDURE alone() LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
		AND backend_type = 'client backend' AND pid <> pg_backend_pid()) LOOP
		COMMIT;
	END LOOP;
END $$;
SELECT message_bus.create_endpoint('faults', 1);
SELECT message_bus.subscribe('faults', 'Fault');
-- A consumer that ends in the middle of handling is one death.
SELECT message_bus.create_endpoint('k', 1, '{"kind": "immediate", "limit": 4}', '{"kind": "none"}');
SELECT count(message_bus.send('k', 'K', jsonb_build_object('n', i), uid(i + 100)))
	FROM generate_series(1, 3) i;
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
BEGIN; SELECT message_bus.handle(min(delivery_id)) FROM message_bus.receive('k'); \c -
CALL alone(); CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
-- Without handle it is none, nor after a rollback.
BEGIN; SELECT count(*) FROM message_bus.receive('k'); \c -
CALL alone(); CALL message_bus.wait('k', '1 min');
BEGIN; SELECT message_bus.handle(min(delivery_id)) FROM message_bus.receive('k'); ROLLBACK; \c -
CALL alone(); CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
BEGIN; SELECT message_bus.handle(min(delivery_id)) FROM message_bus.receive('k'); \c -
CALL alone(); CALL message_bus.wait('k', '1 min');
BEGIN; SELECT message_bus.handle(min(delivery_id)) FROM message_bus.receive('k'); \c -
CALL alone(); CALL message_bus.wait('k', '1 min');
-- After three it is handed out alone.
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
BEGIN; SELECT count(*) FROM message_bus.receive('k'); SELECT count(*)
	FROM message_bus.receive('k'); COMMIT;
BEGIN; SELECT body->>'n' FROM message_bus.receive('k', 1); \c -
CALL alone(); CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
-- After greatest(limit, 3) + 1 it is a dead letter.
BEGIN; SELECT body->>'n' FROM message_bus.receive('k', 1); \c -
CALL alone(); CALL message_bus.wait('k', '1 min');
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
CALL alone(); CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
SELECT message_id, deaths FROM message_bus.death;
-- What a savepoint settles, and gives back, has not been settled: the next death is the second.
BEGIN; SAVEPOINT s; SELECT in_order('k'); ROLLBACK TO s; COMMIT;
BEGIN; SELECT message_bus.handle(delivery_id)
	FROM (SELECT * FROM message_bus.receive('k', 2) ORDER BY delivery_id) r; \c -
CALL alone(); CALL message_bus.wait('k', '1 min');
SELECT body->>'n' AS n, attempt FROM message_bus.receive('k') ORDER BY delivery_id;
SELECT message_id, deaths FROM message_bus.death;
SELECT in_order('k');
SELECT count(*) FROM message_bus.death;

-- Of a message the first death counts for the breaker; without retries the fourth is the last.
SELECT message_bus.create_endpoint('m', 1, '{"kind": "none"}', '{"tracking_period": "1 day",
	"trip_threshold": 15, "active_threshold": 0, "reset_interval": "1 h"}');
SELECT message_bus.send('m', 'M', '{"n": 1}', uid(200));
BEGIN; SELECT message_bus.handle(delivery_id) FROM message_bus.receive('m'); \c -
DO $$ BEGIN WHILE (SELECT state = 'closed' FROM breaker WHERE endpoint = 'm') LOOP
	PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT state, attempts, failures FROM breaker WHERE endpoint = 'm';
SELECT message_bus.reset_breaker('m', 'M');
CALL alone(); CALL message_bus.wait('m', '1 min');
BEGIN; SELECT message_bus.handle(delivery_id) FROM message_bus.receive('m'); \c -
CALL alone(); CALL message_bus.wait('m', '1 min');
BEGIN; SELECT message_bus.handle(delivery_id) FROM message_bus.receive('m'); \c -
CALL alone(); CALL message_bus.wait('m', '1 min');
BEGIN; SELECT message_bus.handle(delivery_id) FROM message_bus.receive('m'); \c -
CALL alone(); CALL message_bus.wait('m', '1 min');
SELECT state, attempts, failures FROM breaker WHERE endpoint = 'm';
SELECT in_order('m');
SELECT reason, error_code, attempts FROM message_bus.dead_letters WHERE endpoint = 'm';

-- ---------------------------------------------------------------- what does not count

CREATE FUNCTION breaker(endpoint text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', state, attempts, failures, probe_successes)
	FROM message_bus.circuit_breakers b WHERE b.endpoint = breaker.endpoint $$;
CREATE FUNCTION held(endpoint text) RETURNS bigint LANGUAGE sql AS $$
	SELECT held FROM message_bus.endpoints WHERE name = endpoint $$;
CREATE PROCEDURE under_lease(endpoint text, "time" timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM at("time");
	PERFORM * FROM message_bus.receive(endpoint, 1, '1 min');
END $$;
SELECT message_bus.create_endpoint(e, 1, '{"kind": "interval", "limit": 5, "interval": "1 s"}',
	'{"tracking_period": "1 day", "trip_threshold": 15, "active_threshold": 3,
	"reset_interval": "1 h"}') FROM unnest('{v,w,x,y}'::text[]) e;
-- Without a name there is none.
SELECT message_bus.create_endpoint('none', 1);
CALL run('none', 'A', 'ffffffffffff');
SELECT breaker('none'), held('none');
-- A poison message among good ones counts once, however often it fails.
SELECT message_bus.create_endpoint('u', 1, '{"kind": "interval", "limit": 5, "interval": "1 s"}',
	'default');
CALL run('u', 'A', 'f');
DO $$ BEGIN FOR i IN 1..5 LOOP
	PERFORM at('2100-01-01 UTC'::timestamptz + make_interval(secs => i));
	PERFORM failed('u'); COMMIT; END LOOP; END $$;
SELECT breaker('u');
CALL run('u', 'A', 'aaaaaaaaaaaa', '2100-01-01 00:00:10 UTC');
SELECT breaker('u');
SELECT state('u');
-- An expired lease that nobody's transaction has counted is counted once, when it is.
SELECT message_bus.send('v', 'A', '{"n": 1}') IS NOT NULL;
CALL under_lease('v', '2100-01-01 UTC');
BEGIN; SELECT at('2100-01-01 00:01 UTC'); SELECT count(*) FROM message_bus.receive('v'); ROLLBACK;
BEGIN; SELECT at('2100-01-01 00:01 UTC'); SELECT count(*) FROM message_bus.receive('v'); ROLLBACK;
SELECT breaker('v');
BEGIN; SELECT at('2100-01-01 00:01 UTC'); SELECT count(*) FROM message_bus.receive('v'); COMMIT;
SELECT breaker('v');

-- ---------------------------------------------------------------- probes that tell nothing

-- The first to be a probe are messages that have not failed yet.
CALL run('w', 'A', 'ffff');
SELECT breaker('w'), held('w');
SELECT count(message_bus.send('w', 'A', jsonb_build_object('n', i))) FROM generate_series(20, 22) i;
BEGIN; SELECT at('2100-01-01 00:30 UTC'); SELECT count(*) FROM message_bus.receive('w'); COMMIT;
SELECT breaker('w'), held('w');
DO $$ BEGIN FOR i IN 1..5 LOOP PERFORM at('2100-01-01 01:00 UTC'); RAISE NOTICE 'got %',
	in_order('w'); COMMIT; END LOOP; END $$;
SELECT breaker('w'), held('w'), state('w');
-- Without any, one that has failed is it.
CALL run('x', 'A', 'ffff');
BEGIN; SELECT at('2100-01-01 01:00 UTC'); SELECT body, attempt FROM message_bus.receive('x');
	ROLLBACK;
-- However a probe ends that tells nothing, there is another one afterwards.
SELECT count(message_bus.send('x', 'A', jsonb_build_object('n', i))) FROM generate_series(20, 27) i;
BEGIN; SELECT at('2100-01-01 01:00 UTC');
SAVEPOINT s; SELECT body FROM message_bus.receive('x'); ROLLBACK TO s;
SELECT message_bus.skip(delivery_id) FROM message_bus.receive('x'); COMMIT;
BEGIN; SELECT at('2100-01-01 01:00 UTC'); SELECT message_bus.fail(delivery_id, 'E', 'e', false)
	FROM message_bus.receive('x'); COMMIT;
SELECT breaker('x');
DO $$ BEGIN
	PERFORM at('2100-01-01 01:00 UTC');
	PERFORM body, 1 / 0 FROM message_bus.receive('x', 1, '1 day');
END $$;
DO $$ BEGIN
	PERFORM at('2100-01-01 01:00 UTC');
	BEGIN
		PERFORM body, 1 / 0 FROM message_bus.receive('x', 1, '1 day');
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
END $$;
CALL under_lease('x', '2100-01-01 01:00 UTC');
BEGIN; SELECT at('2100-01-01 01:00 UTC'); SELECT count(*) FROM message_bus.receive('x'); COMMIT;
SELECT message_bus.skip(delivery_id) FROM message_bus.lease;
CALL under_lease('x', '2100-01-01 01:00 UTC');
SELECT message_bus.fail(delivery_id, 'E', 'e', false) FROM message_bus.lease;
CALL under_lease('x', '2100-01-01 01:00 UTC');
BEGIN; SELECT at('2100-01-01 01:00 UTC'); SELECT message_bus.extend_lease(array_agg(delivery_id),
	'1 h') FROM message_bus.lease; COMMIT;
BEGIN; SELECT at('2100-01-01 01:30 UTC'); SELECT count(*) FROM message_bus.receive('x'); COMMIT;
SELECT message_bus.ack(delivery_id) FROM message_bus.lease;
BEGIN; SELECT at('2100-01-01 01:30 UTC'); SELECT in_order('x'); COMMIT;
SELECT breaker('x'), held('x');

-- ---------------------------------------------------------------- another policy

-- A reset that is rolled back has not been.
BEGIN; SELECT message_bus.reset_breaker('x', 'A'); ROLLBACK;
BEGIN; SAVEPOINT s; SELECT message_bus.reset_breaker('x', 'A'),
	message_bus.alter_endpoint('x', breaker => 'none'); ROLLBACK TO s; COMMIT;
SELECT breaker('x');
-- Another interval holds for those that are open; none lets everything go, when it commits.
CALL run('y', 'A', 'ffff');
SELECT count(message_bus.send('y', 'A', jsonb_build_object('n', i))) FROM generate_series(20, 22) i;
BEGIN; SELECT at('2100-01-01 00:00:01 UTC'); SELECT count(*) FROM message_bus.receive('y'); COMMIT;
SELECT message_bus.alter_endpoint('y', breaker => 'default');
SELECT state, retry_at - opened_at AS reset FROM message_bus.circuit_breakers WHERE endpoint = 'y';
BEGIN; SELECT message_bus.alter_endpoint('y', breaker => 'none'); SELECT breaker('y'); ROLLBACK;
SELECT breaker('y'), held('y');
SELECT message_bus.alter_endpoint('y', breaker => '{"kind": "none"}');
SELECT breaker('y');
SELECT state FROM message_bus.breaker b JOIN message_bus.endpoint e USING (endpoint_id)
	WHERE e.name = 'y';
BEGIN; SELECT at('2100-01-01 00:10 UTC'); SELECT in_order('y'); COMMIT;
SELECT state('y'), held('y');

-- A call that has no room left for what was held does not forget it.
SELECT message_bus.create_endpoint('z', 1, '{"kind": "interval", "limit": 5, "interval": "1 s"}',
	'{"tracking_period": "1 day", "trip_threshold": 15, "active_threshold": 3,
	"reset_interval": "1 h"}');
CALL run('z', 'A', 'ffff');
SELECT message_bus.send('z', 'A', '{"n": 7}') IS NOT NULL;
BEGIN; SELECT at('2100-01-01 UTC'); SELECT in_order('z'); COMMIT;
SELECT message_bus.alter_endpoint('z', breaker => 'none');
BEGIN; SELECT at('2100-01-01 00:10 UTC'); SELECT in_order('z', 1); COMMIT;
BEGIN; SELECT at('2100-01-01 00:10 UTC'); SELECT in_order('z'); COMMIT;
SELECT state('z'), held('z');
-- Under a lease what is held on the way counts as little as what is leased.
SELECT message_bus.alter_endpoint('x', breaker => 'none');
SELECT in_order('x') IS NOT NULL, in_order('x') IS NOT NULL;
SELECT message_bus.alter_endpoint('x', breaker => '{"tracking_period": "1 day",
	"trip_threshold": 15, "active_threshold": 0, "reset_interval": "1 h"}');
CALL run('x', 'A', 'f');
SELECT count(message_bus.send('x', t, '{}')) FROM unnest('{B,A,B}'::text[]) t;
DO $$ BEGIN PERFORM at('2100-01-01 UTC'); PERFORM * FROM message_bus.receive('x', 5, '1 min'); END $$;
SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM message_bus.lease;
SELECT state('x'), held('x');

-- ---------------------------------------------------------------- sagas

-- A saga's endpoint has none, whatever its policy says: its timers would not wait for it.
SELECT saga.define('s', '{"endpoint": "s", "events": {"Go": {"correlate": "$.message.id"}},
	"start": {"Go": {"goto": "Open"}}, "initial": "Open", "states": {
	"Open": {"kind": "normal", "timer": "none", "default": "fault", "on": {"End": {"goto": "Done"}}},
	"Done": {"kind": "final", "default": "ignore"}}}'::jsonb || '{"events": {"Go": {"correlate": "$.message.id"},
	"End": {"correlate": "$.message.id"}, "Bad": {"correlate": "$.message.id"}}}');
SELECT message_bus.alter_endpoint('s', breaker => '{"tracking_period": "1 day",
	"trip_threshold": 15, "active_threshold": 1, "reset_interval": "1 day"}');
SELECT count(message_bus.publish(t, jsonb_build_object('id', uid(i)), partition_key => 'k'))
	FROM generate_series(1, 4) i, unnest('{Go,Bad}'::text[]) t;
SELECT saga.run() > 0;
SELECT count(message_bus.publish('End', jsonb_build_object('id', uid(i))))
	FROM generate_series(1, 4) i;
SELECT saga.run() > 0;
SELECT current_state, count(*) FROM saga.instances GROUP BY 1;
SELECT breaker('s'), held('s'), state('s');

-- ---------------------------------------------------------------- many types

-- Anybody can make up message types: there are only so many breakers, and those that
-- come later share one.
SELECT message_bus.create_endpoint('many', 1, '{"kind": "none"}',
	'{"tracking_period": "1 day", "trip_threshold": 15, "active_threshold": 3,
	"reset_interval": "1 day"}');
SELECT count(message_bus.send('many', 'Made up ' || i, '{}')) FROM generate_series(1, 1500) i;
SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM message_bus.receive('many', 5000);
SELECT count(*), count(*) FILTER (WHERE message_type = '*') AS others,
	max(attempts) FILTER (WHERE message_type = '*') AS of_others
	FROM message_bus.circuit_breakers WHERE endpoint = 'many';
SELECT count(message_bus.send('many', 'Late', '{}')) FROM generate_series(1, 600) i;
SELECT count(message_bus.fail(delivery_id, 'E', 'e')) FROM message_bus.receive('many', 5000);
SELECT message_type, state FROM message_bus.circuit_breakers WHERE endpoint = 'many'
	AND state <> 'closed';
SELECT count(message_bus.send('many', t, '{}')) FROM unnest('{Made up 1,Later}'::text[]) t;
SELECT message_type FROM message_bus.receive('many');
SELECT message_bus.reset_breaker('many', '*');
SELECT message_type FROM message_bus.receive('many') ORDER BY 1;
