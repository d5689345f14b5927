-- Retry policies against their formulas, dead letters, Faults, redrive and discard.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)

-- ---------------------------------------------------------------- the arithmetic

-- 400 endpoints: R is uniform in [2400, 3600) ms, d[i] = min(1 s + 2^i R, 30 s).
SET message_bus.random_seed = 1;
SELECT count(message_bus.create_endpoint('r' || i, 1)) FROM generate_series(1, 400) i;
CREATE TABLE drawn AS
SELECT e.name, i - 1 AS i, d, (d - 1000) / 2 ^ (i - 1) AS r FROM message_bus.endpoint e,
	unnest(e.retry_delays) WITH ORDINALITY u(d, i);
SELECT i, count(*), bool_and(d BETWEEN least(1000 + 2 ^ i * 2400, 30000)
	AND least(1000 + 2 ^ i * 3599, 30000)) FROM drawn GROUP BY i ORDER BY i;
-- The whole range occurs, evenly; draws differ between endpoints and between i.
SELECT i, min(r) < 2440 AND max(r) > 3560, avg(r) BETWEEN 2950 AND 3050, count(DISTINCT r) > 300,
	count(*) FILTER (WHERE r < 2800) BETWEEN 100 AND 167 FROM drawn WHERE i < 3 GROUP BY i
		ORDER BY i;
SELECT count(*) FROM drawn a JOIN drawn b USING (name) WHERE a.i = 0 AND b.i = 1 AND a.r = b.r;
-- A seed decides it all.
SET message_bus.random_seed = 2;
SELECT message_bus.create_endpoint('s1', 1), message_bus.create_endpoint('s2', 1);
SET message_bus.random_seed = 3;
SELECT message_bus.create_endpoint('s0', 1);
SET message_bus.random_seed = 2;
SELECT message_bus.create_endpoint('s3', 1);
SELECT retry_delays = (SELECT retry_delays FROM message_bus.endpoint WHERE name = 's1')
	FROM message_bus.endpoint WHERE name IN ('s2', 's3') ORDER BY name;
-- low = trunc(0.8 delta), high = trunc(1.2 delta); equal ones leave no choice.
SELECT message_bus.create_endpoint('t' || i, 1,
	'{"kind": "exponential", "limit": 3, "min": "5 ms", "max": "1 h", "delta": "1 ms"}')
	FROM generate_series(1, 5) i;
SELECT DISTINCT retry_delays FROM message_bus.endpoint WHERE name LIKE 't_';
SELECT message_bus.create_endpoint('u', 1,
	'{"kind": "exponential", "limit": 60, "min": "1 s", "max": "1 min", "delta": "1 s"}');
SELECT cardinality(retry_delays), retry_delays[40] FROM message_bus.endpoint WHERE name = 'u';

-- Retry k comes d[min(k, last)] * U after the failure, U uniform in [0.75, 1.25).
CREATE TABLE run (name text, k int, failed_at timestamptz, due_at timestamptz);
CREATE PROCEDURE fail_all(pattern text, start timestamptz,
	code text DEFAULT 'E') LANGUAGE plpgsql AS $$
DECLARE
	e record;
	k int;
	clock timestamptz;
	due timestamptz;
BEGIN
	FOR e IN SELECT endpoint_id, name FROM message_bus.endpoint WHERE name LIKE pattern
		ORDER BY endpoint_id LOOP
		PERFORM message_bus.send(e.name, 'T', '{"n": 1}');
		COMMIT;
		clock := start;
		FOR k IN 0..100 LOOP
			PERFORM at(clock);
			IF failed(e.name, code) <> '1/' || k + 1 THEN
				RAISE 'attempt % of % did not come at %', k + 1, e.name, clock;
			END IF;
			COMMIT;
			SELECT due_at INTO due FROM message_bus.aside a WHERE a.endpoint_id = e.endpoint_id;
			EXIT WHEN due IS NULL;
			INSERT INTO run VALUES (e.name, k, clock, due);
			PERFORM at(due - interval '1 us');
			IF failed(e.name) <> 'nothing' THEN
				RAISE 'attempt % of % came too early', k + 2, e.name;
			END IF;
			COMMIT;
			clock := due;
		END LOOP;
	END LOOP;
END $$;
-- Drawn once: changing something else draws nothing anew.
SELECT message_bus.alter_endpoint('r1', timeout => '1 min');
SELECT array_agg(d ORDER BY i) = retry_delays FROM drawn JOIN message_bus.endpoint USING (name)
	WHERE name = 'r1' GROUP BY retry_delays;
CALL fail_all('r%', '2100-01-01 UTC');
CREATE TABLE waited AS
SELECT name, k, extract(epoch FROM due_at - failed_at) * 1000 AS ms, d, extract(epoch
	FROM due_at - failed_at) * 1000 / d AS u
FROM run JOIN drawn USING (name) WHERE i = k;
SELECT k, count(*), bool_and(ms = trunc(ms) AND ms BETWEEN trunc(d * 0.75) AND d * 1.25),
	avg(u) BETWEEN 0.98 AND 1.02,
	min(u) < 0.77 AND max(u) > 1.23, bool_and(ms BETWEEN 2550 AND 5750) FROM waited GROUP BY k
		ORDER BY k;
SELECT bool_and(ms BETWEEN 22500 AND 37500) FROM waited WHERE k = 4;
-- Six executions in all.
SELECT reason, error_code, error, attempts, count(*),
	bool_and(first_failed_at = '2100-01-01 UTC'), bool_and(last_failed_at > '2100-01-01 UTC')
FROM message_bus.dead_letters WHERE endpoint LIKE 'r%' GROUP BY 1, 2, 3, 4;

-- The other kinds draw nothing.
SELECT message_bus.create_endpoint('k1', 1, '{"kind": "none"}');
SELECT message_bus.create_endpoint('k2', 1, '{"kind": "immediate", "limit": 2}');
SELECT message_bus.create_endpoint('k3', 1,
	'{"kind": "interval", "limit": 2, "interval": "1.5 s"}');
SELECT message_bus.create_endpoint('k4', 1,
	'{"kind": "interval", "intervals": ["1 s", "5 s", "1 min"]}');
SELECT message_bus.create_endpoint('k5', 1,
	'{"kind": "incremental", "limit": 4, "initial": "1 s", "increment": "2 s"}');
SELECT message_bus.create_endpoint('k6', 1, '{"kind": "immediate", "limit": 0}');
CALL fail_all('k%', '2100-01-01 UTC');
SELECT name, array_agg(due_at - failed_at ORDER BY k) FROM run WHERE name LIKE 'k%' GROUP BY 1
	ORDER BY 1;
SELECT endpoint, attempts, reason FROM message_bus.dead_letters WHERE endpoint LIKE 'k%' ORDER BY 1;
-- The policy of the moment counts.
SELECT message_bus.send('k5', 'T', '{"n": 2}') IS NOT NULL;
SELECT message_bus.alter_endpoint('k5', '{"kind": "none"}');
SELECT failed('k5');
SELECT state('k5');

-- A policy that allows more retries than there are delays goes on with the last one.
CALL fail_all('u', '2100-01-01 UTC');
SELECT count(*), bool_and(due_at - failed_at BETWEEN '45 s' AND '75 s'),
	count(DISTINCT due_at - failed_at) > 15 FROM run WHERE name = 'u' AND k >= 39;
SELECT attempts FROM message_bus.dead_letters WHERE endpoint = 'u';
-- The other kinds draw no random numbers, neither when they are made nor when they are used.
SET message_bus.random_seed = 3;
SELECT message_bus.create_endpoint('s4', 1);
SET message_bus.random_seed = 2;
SELECT message_bus.create_endpoint('n1', 1, '{"kind": "none"}'),
	message_bus.create_endpoint('n2', 1, '{"kind": "immediate", "limit": 5}'),
	message_bus.create_endpoint('n3', 1, '{"kind": "interval", "limit": 5, "interval": "1 h"}'),
	message_bus.create_endpoint('n4', 1,
		'{"kind": "incremental", "limit": 5, "initial": "1 h", "increment": "1 h"}');
SELECT count(message_bus.send('n' || i, 'T', '{"n": 1}')) FROM generate_series(1, 4) i;
SELECT failed('n' || i) FROM generate_series(1, 4) i;
SELECT message_bus.create_endpoint('s5', 1);
SELECT retry_delays = (SELECT retry_delays FROM message_bus.endpoint WHERE name = 's1')
	FROM message_bus.endpoint WHERE name = 's5';

-- ---------------------------------------------------------------- dead letters and Faults

SELECT message_bus.create_endpoint('q', 1, '{"kind": "immediate", "limit": 1}',
	'{"kind": "none"}'), message_bus.create_endpoint('faults', 1);
SELECT message_bus.subscribe('faults', 'Fault');
BEGIN;
SET LOCAL ecommerce.source = 'test';
SELECT ecommerce.set_context(uid(1), uid(2), 'ann', 'shop', '{}', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
SELECT message_bus.send('q', 'Do', '{"n": 1}', uid(3), 'key', '2000-01-01 UTC', '2100-01-01 UTC',
	'{"h": 1}');
COMMIT;
SELECT failed('q', 'E1');
SELECT in_order('faults');
SELECT failed('q', 'E2');
SELECT message_id, endpoint, message_type, reason, error_code, error, attempts,
	first_failed_at < last_failed_at FROM message_bus.dead_letters WHERE endpoint = 'q';
SELECT (message).message_id, (message).headers, (message).correlation_id, (message).causation_id,
	(message).partition_key, (message).attempt FROM message_bus.dead_letters WHERE endpoint = 'q';
SELECT (message).message_type, (message).schema_version, (message).body, (message).conversation_id,
	(message).user_id, (message).tenant_id, (message).traceparent, (message).source,
	(message).sent_at <= first_failed_at, (message).deliver_at = '2000-01-01 UTC',
	(message).expires_at = '2100-01-01 UTC' FROM message_bus.dead_letters WHERE endpoint = 'q';
BEGIN;
SELECT message_type, correlation_id, conversation_id, causation_id, user_id, tenant_id, traceparent,
	body - 'fault_id' - 'timestamp' - 'message', body->'message'->>'message_id',
		body->'message'->'body', body->'message'->>'attempt',
	(body->>'fault_id')::uuid IS NOT NULL, (body->>'timestamp')::timestamptz <= clock_timestamp(),
	body->'message' = (SELECT to_jsonb(message) FROM message_bus.dead_letters
		WHERE endpoint = 'q') AS envelope
FROM message_bus.receive('faults');
COMMIT;
-- A Fault that dies makes no other; nor do skipped, expired and discarded messages.
SELECT failed('faults', retryable => false);
SELECT state('faults');
SELECT in_order('faults');
SELECT message_bus.send('q', 'Do', '{"n": 2}', uid(4)), message_bus.send('q', 'Do', '{"n": 3}',
	uid(5), expires_at => '2000-01-01 UTC');
-- The worker may have the lane of the one that has expired.
DO $$
BEGIN
	WHILE (SELECT depth > 0 FROM message_bus.endpoints WHERE name = 'q') LOOP
		PERFORM message_bus.skip(delivery_id) FROM message_bus.receive('q');
		COMMIT;
	END LOOP;
END
$$;
SELECT in_order('faults'), state('q');
-- Not retryable: at once.
SELECT message_bus.send('q', 'Do', '{"n": 4}', uid(6));
SELECT failed('q', 'E3', false);
SELECT body->>'error_code', body->>'attempts' FROM message_bus.receive('faults');
SELECT message_bus.ack(delivery_id) FROM message_bus.receive('faults');
-- Who is full cannot keep others from failing.
SELECT message_bus.alter_endpoint('faults', max_depth => 0);
SELECT message_bus.send('q', 'Do', '{"n": 5}', uid(9));
SELECT failed('q', retryable => false);
SELECT causation_id FROM message_bus.receive('faults');
SELECT outcome($$SELECT message_bus.send('faults', 'Do', '{}')$$);
SELECT message_bus.alter_endpoint('faults', max_depth => -1);
SELECT message_bus.ack(delivery_id) FROM message_bus.receive('faults');
SELECT message_bus.redrive(uid(9));
SELECT in_order('q');

-- ---------------------------------------------------------------- redrive and discard

SELECT message_bus.redrive(uid(3), '{"n": 10}');
SELECT message_id, body, attempt, correlation_id, partition_key FROM message_bus.receive('q');
SELECT message_type, conversation_id, causation_id, user_id, tenant_id, traceparent, headers,
	source FROM message_bus.receive('q');
SELECT failed('q');
SELECT failed('q');
SELECT state('q');
SELECT message_bus.redrive(uid(3), endpoint => 'q'), message_bus.redrive(uid(3)),
	message_bus.redrive(uid(99)), message_bus.redrive(NULL);
-- Redriven messages are known as others are, and an expiry that has passed no longer counts.
SELECT message_bus.send('q', 'Do', '{"n": 11}', uid(3));
SELECT in_order('q');
SELECT message_bus.redrive(uid(5));
SELECT in_order('q');
SELECT outcome($$SELECT message_bus.redrive(uid(4), endpoint => 'nobody')$$),
	outcome($$SELECT message_bus.redrive_endpoint('nobody')$$),
	outcome($$SELECT message_bus.discard(uid(4), 'nobody')$$);
SELECT message_bus.discard(uid(4)), message_bus.discard(uid(4)), message_bus.discard(uid(6),
	'faults'), message_bus.discard(NULL);
SELECT message_id, reason FROM message_bus.dead_letters WHERE endpoint = 'q' ORDER BY 1;
BEGIN;
SELECT message_bus.redrive_endpoint('q');
SELECT message_id, reason FROM message_bus.dead_letters WHERE endpoint = 'q' ORDER BY 1;
ROLLBACK;
SELECT in_order('q');
SELECT message_bus.redrive_endpoint('q', 'discarded'), message_bus.redrive_endpoint('q',
	'skipped'), message_bus.redrive_endpoint('q', 'fault');
SELECT in_order('q');
SELECT state('q');
SELECT count(message_bus.send('q', 'Do', jsonb_build_object('n', i))) FROM generate_series(20,
	29) i;
SELECT failed('q', retryable => false);
SELECT message_bus.redrive_endpoint('q', max => 3);
SELECT in_order('q');
SELECT message_bus.redrive_endpoint('q', 'fault', 100);
SELECT in_order('q');
SELECT state('q');
-- Dead at two endpoints: sent to both again, or to the one that is named.
SELECT message_bus.unsubscribe('faults', 'Fault'), message_bus.create_endpoint('other', 1);
SELECT message_bus.subscribe(e, 'Both') FROM unnest('{q,other}'::text[]) e;
SELECT message_bus.publish('Both', '{"n": 50}', uid(8));
SELECT failed('q', retryable => false), failed('other', retryable => false);
SELECT message_bus.redrive(uid(8));
SELECT failed('q', retryable => false), failed('other', retryable => false);
SELECT message_bus.redrive(uid(8), endpoint => 'other');
SELECT in_order('q'), in_order('other');
SELECT message_bus.redrive(uid(8));
SELECT in_order('q'), in_order('other');
SELECT state('q'), state('other');
-- A corrected body must keep its contract.
SELECT event_store.register_event_type('OrderCancelled', 'ecommerce.order_cancelled');
SELECT message_bus.send('q', 'OrderCancelled', '{"reason": "none"}', uid(7));
SELECT failed('q', retryable => false);
SELECT outcome($$SELECT message_bus.redrive(uid(7), '{"n": 1}')$$), state('q');
SELECT message_bus.redrive(uid(7), '{"reason": "better"}');
SELECT body FROM message_bus.receive('q');

-- ---------------------------------------------------------------- a Fault that cannot be built

-- It says what it can; nothing keeps the message from being buried.
SELECT message_bus.create_endpoint('deep', 1, '{"kind": "none"}');
SELECT message_bus.subscribe('faults', 'Fault');
SELECT in_order('faults') IS NOT NULL;
SELECT message_bus.send('deep', 'Deep', (repeat('{"a": ', 900) || '1' || repeat('}', 900))::jsonb,
	uid(60)) = uid(60);
SELECT message_bus.send('deep', 'Long', '{}', uid(61)) = uid(61);
SET max_stack_depth = '100kB';
SELECT count(message_bus.fail(delivery_id, 'E', repeat('long ', 100000)))
	FROM message_bus.receive('deep');
RESET max_stack_depth;
SELECT message_id, length(error) FROM message_bus.dead_letters WHERE endpoint = 'deep' ORDER BY 1;
SELECT body->>'faulted_message_id' AS id, body->'message' = 'null' AS bare,
	body->>'omitted' AS omitted, length(body->>'error') FROM message_bus.receive('faults')
	ORDER BY 1;

-- An error code that is longer than an index has room for: the message can be settled all the same.
SELECT message_bus.send('deep', 'Coded', '{}', uid(62)) = uid(62);
SELECT count(message_bus.fail(delivery_id, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i),
	'e')) FROM message_bus.receive('deep');
SELECT length(error_code) FROM message_bus.dead_letters WHERE message_id = uid(62);
SELECT length(body->>'error_code') FROM message_bus.receive('faults') WHERE body->>'message_type' = 'Coded';

-- ---------------------------------------------------------------- snoozed

-- Given back for a while: no attempt is counted, in a transaction or under a lease.
SELECT message_bus.create_endpoint('nap', 1, '{"kind": "none"}');
SELECT message_bus.send('nap', 'T', '{"n": 1}', uid(70)) = uid(70);
CREATE FUNCTION nap(t timestamptz, length interval) RETURNS text LANGUAGE sql AS $$
	SELECT at(t);
	SELECT coalesce(string_agg(concat(body->>'n', '/', attempt, message_bus.snooze(delivery_id, length,
		'not now')), ' '), 'nothing') FROM message_bus.receive('nap') $$;
SELECT nap('2100-01-01 UTC', '1 min');
SELECT nap('2100-01-01 00:00:59 UTC', '1 min'), state('nap');
SELECT nap('2100-01-01 00:01 UTC', '1 min');
DO $$ BEGIN
	PERFORM at('2100-01-01 00:02 UTC');
	PERFORM message_bus.snooze(delivery_id, '1 min') FROM message_bus.receive('nap', 1, '1 h');
END $$;
SELECT nap('2100-01-01 00:02:59 UTC', '1 min');
BEGIN; SELECT nap('2100-01-01 00:03 UTC', '1 min'); ROLLBACK;
SELECT state, attempt, error, receipt FROM message_bus.aside WHERE message_id = uid(70);
SELECT outcome('SELECT message_bus.snooze(1, ''1 s'')');
BEGIN; SELECT at('2100-01-01 00:03 UTC'); SELECT in_order('nap'); COMMIT;

-- ---------------------------------------------------------------- a discarded id

-- It is free again: a new message takes its place, and dies in its own right.
SELECT message_bus.send('nap', 'T', '{"n": 2}', uid(71), deliver_at => '2100-01-01 UTC') = uid(71);
BEGIN; SELECT at('2100-01-01 UTC'); SELECT failed('nap'); COMMIT;
SELECT message_bus.send('nap', 'T', '{"n": 3}', uid(71)) = uid(71), state('nap');
SELECT message_bus.discard(uid(71));
BEGIN; SELECT message_bus.send('nap', 'T', '{"n": 4}', uid(71)) = uid(71); ROLLBACK;
SELECT reason FROM message_bus.dead_letters WHERE message_id = uid(71);
SELECT message_bus.send('nap', 'T', '{"n": 5}', uid(71)) = uid(71), state('nap');
SELECT failed('nap');
SELECT (message).body, reason FROM message_bus.dead_letters WHERE message_id = uid(71);
SELECT message_bus.redrive(uid(71)), message_bus.redrive(uid(72));
SELECT in_order('nap');
