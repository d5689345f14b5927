-- Receiving in a transaction and under a lease: what is settled, what comes back.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
SELECT message_bus.create_endpoint('q', 1,
	'{"kind": "interval", "limit": 5, "interval": "1 h"}'), message_bus.create_endpoint('wide', 4);
CREATE FUNCTION fill(endpoint text, first int, last int) RETURNS bigint LANGUAGE sql AS
$$ SELECT count(message_bus.send(endpoint, 'T', jsonb_build_object('n', i), uid(i),
	partition_key => i::text)) FROM generate_series(first, last) i $$;
-- The delivery of the message with that number in this transaction's batch.
CREATE TEMP TABLE batch (delivery_id bigint, n int, attempt int);
CREATE FUNCTION take(endpoint text, max int DEFAULT 50) RETURNS text LANGUAGE sql AS $$
	WITH r AS (INSERT INTO batch SELECT delivery_id, (body->>'n')::int, attempt
		FROM message_bus.receive(endpoint, max) RETURNING *)
	SELECT coalesce(string_agg(n || '/' || attempt, ' ' ORDER BY delivery_id), 'nothing') FROM r
$$;
CREATE FUNCTION id(number int) RETURNS bigint LANGUAGE sql AS $$ SELECT max(delivery_id)
	FROM batch WHERE n = number $$;

-- ---------------------------------------------------------------- in a transaction

SELECT fill('q', 1, 6);
-- Commit without settling is a rollback: everything comes again, no attempt counted.
SELECT take('q'); SELECT take('q', 2);
-- Called again in one transaction it goes on.
BEGIN;
SELECT take('q', 2); SELECT take('q', 2); SELECT state('q'); SELECT take('q', 50); SELECT take('q');
SELECT message_bus.ack(id(1), id(2));
COMMIT;
SELECT state('q'); SELECT take('q');
-- What was settled is done; what was not comes back first, in its place.
BEGIN;
SELECT take('q');
SELECT message_bus.ack(id(4), id(6));
COMMIT;
SELECT state('q'); SELECT take('q');
SELECT fill('q', 7, 8);
SELECT take('q');
BEGIN; SELECT take('q'); SELECT message_bus.ack(id(5)); COMMIT;
SELECT take('q');
BEGIN; SELECT take('q'); SELECT message_bus.ack(id(3), id(7), id(8)); ROLLBACK;
SELECT in_order('q'); SELECT state('q');
-- The receipts of a rolled-back receive are void, whoever has the messages now.
SELECT fill('q', 19, 19);
BEGIN; SELECT delivery_id AS gone FROM message_bus.receive('q') \gset
ROLLBACK;
BEGIN; SELECT outcome(format('SELECT message_bus.ack(%s)', :gone)) ~ '^MB003';
SELECT take('q'); SELECT outcome(format('SELECT message_bus.ack(%s)', :gone)) ~ '^MB003';
SELECT message_bus.ack(id(19)); COMMIT;
-- Receipts are never used again, and void when their transaction has ended.
SELECT count(*) = count(DISTINCT delivery_id) FROM batch;
SELECT outcome(format('SELECT message_bus.ack(%s)', id(3))) ~ '^MB003 delivery \d+ is not yours$';
SELECT fill('q', 9, 11);
BEGIN;
SELECT take('q');
SELECT message_bus.ack(id(9));
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT message_bus.ack(id(9)); ROLLBACK TO s;
SELECT message_bus.ack(id(10), id(9)); ROLLBACK TO s;
SELECT message_bus.ack(id(10), id(10)); ROLLBACK TO s;
SELECT message_bus.ack(id(10), 0); ROLLBACK TO s;
SELECT message_bus.ack(id(10), NULL); ROLLBACK TO s;
SELECT message_bus.fail(id(9), 'E', 'e'); ROLLBACK TO s;
SELECT message_bus.fail(NULL, 'E', 'e'); ROLLBACK TO s;
SELECT message_bus.skip(id(9)); ROLLBACK TO s;
SELECT message_bus.handle(-1); ROLLBACK TO s;
SELECT message_bus.extend_lease(ARRAY[id(10)], '1 min'); ROLLBACK TO s;
\set VERBOSITY default
-- Nothing of a refused call is done.
SELECT message_bus.ack(id(10)), message_bus.ack(VARIADIC '{}');
COMMIT;
SELECT in_order('q'); SELECT state('q');

-- ---------------------------------------------------------------- savepoints

-- What a handler did is undone, its message fails.
SELECT fill('q', 12, 14);
CREATE TABLE done (n int);
BEGIN;
SELECT take('q');
SAVEPOINT m; INSERT INTO done VALUES (12); SELECT message_bus.send('wide', 'Reply',
	'{"n": 12}') IS NOT NULL; SELECT message_bus.ack(id(12)); RELEASE m;
SAVEPOINT m; INSERT INTO done VALUES (13); SELECT message_bus.send('wide', 'Reply',
	'{"n": 13}') IS NOT NULL; SELECT message_bus.ack(id(13)); ROLLBACK TO m;
SELECT message_bus.fail(id(13), 'E13', 'no luck'); RELEASE m;
SAVEPOINT m; SELECT message_bus.fail(id(14), 'E14', 'x'); ROLLBACK TO m;
	SELECT message_bus.ack(id(14)); RELEASE m;
COMMIT;
TABLE done; SELECT got('wide'); SELECT state('q');
SELECT attempt, error_code, error, state, first_failed_at = last_failed_at FROM message_bus.aside;
BEGIN; SELECT at('2099-12-31 UTC'); SELECT in_order('q'); COMMIT;
-- What was received in a savepoint that is rolled back is not received.
SELECT fill('q', 15, 18);
BEGIN;
SELECT take('q', 1);
SAVEPOINT s; SELECT count(*) AS received, min(delivery_id) AS gone
	FROM message_bus.receive('q', 2) \gset
ROLLBACK TO s;
SELECT :received, outcome(format('SELECT message_bus.ack(%s)', :gone)) ~ '^MB003';
SELECT take('q', 1);
SELECT message_bus.ack(id(15), id(16));
COMMIT;
BEGIN;
SAVEPOINT s; SELECT take('q', 1); ROLLBACK TO s;
SELECT take('q', 5);
ROLLBACK;
SELECT in_order('q');

-- ---------------------------------------------------------------- lanes

SELECT fill('wide', 20, 59);
BEGIN;
SELECT count(*), count(DISTINCT partition_key) FROM message_bus.receive('wide', 15);
SELECT count(*) FROM message_bus.receive('wide', 100);
SELECT count(*) FROM message_bus.receive('wide', 100);
ROLLBACK;
SELECT cardinality(string_to_array(got('wide', 100), ' '));
SELECT outcome($$SELECT * FROM message_bus.receive('wide', 0)$$), outcome($$SELECT *
	FROM message_bus.receive('nobody')$$),
	outcome($$SELECT * FROM message_bus.receive(NULL)$$), outcome($$SELECT *
		FROM message_bus.receive('wide', NULL)$$);
BEGIN READ ONLY; SELECT outcome($$SELECT * FROM message_bus.receive('q')$$),
	outcome($$SELECT message_bus.ack(1)$$), outcome($$SELECT message_bus.skip(1)$$); ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM done;
SELECT fill('q', 60, 60);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT in_order('q'); COMMIT;

-- ---------------------------------------------------------------- handle

CREATE VIEW context AS SELECT correlation_id, conversation_id, causation_id, user_id, tenant_id,
	traceparent FROM ecommerce.context();
BEGIN;
SELECT ecommerce.set_context(uid(1), NULL, 'ann', 'shop', traceparent => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
SELECT fill('q', 61, 61);
SELECT ecommerce.set_context(uid(2), NULL, 'bob');
SELECT fill('q', 62, 62);
COMMIT;
BEGIN;
SELECT take('q');
TABLE context;
SELECT message_bus.handle(id(61)); TABLE context;
SELECT message_bus.ack(id(61));
-- Until the next one: nothing of the first is left.
SELECT message_bus.handle(id(62)); TABLE context;
SELECT outcome(format('SELECT message_bus.handle(%s)', id(61))) ~ 'MB003';
SELECT message_bus.ack(id(62));
COMMIT;
TABLE context;

-- ---------------------------------------------------------------- skip

SELECT fill('q', 70, 71);
BEGIN; SELECT take('q'); SELECT message_bus.skip(id(70)), message_bus.skip(id(71), 'no handler');
	COMMIT;
SELECT message_id, reason, error_code, error, attempts FROM message_bus.dead_letters
	ORDER BY message_id;
SELECT state('q');
SELECT message_bus.redrive(uid(70)); SELECT in_order('q');

-- ---------------------------------------------------------------- lease

SELECT fill('q', 80, 84);
BEGIN; SELECT outcome($$SELECT * FROM message_bus.receive('q', 2, '1 min')$$); ROLLBACK;
SELECT * FROM message_bus.receive('q', 2, '0 s');
SELECT * FROM message_bus.receive('q', 2, '-1 s');
CREATE TEMP TABLE leased (n text, delivery_id bigint, attempt int, leased_until timestamptz);
CREATE PROCEDURE lease(endpoint text, length interval,
	"time" timestamptz DEFAULT '2100-01-01 UTC') LANGUAGE plpgsql AS $$
BEGIN
	PERFORM at("time");
	INSERT INTO leased SELECT body->>'n', r.delivery_id, r.attempt, r.leased_until
	FROM message_bus.receive(endpoint, 3, length) r;
END $$;
CALL lease('q', '1 min');
SELECT n, attempt, leased_until = '2100-01-01 00:01 UTC' FROM leased ORDER BY delivery_id;
-- The lane stays held until its leases are settled.
SELECT in_order('q'); SELECT state('q');
SELECT message_bus.ack(delivery_id) FROM leased WHERE n = '80';
SELECT outcome(format('SELECT message_bus.ack(%s)', delivery_id)) ~ '^MB003' FROM leased
	WHERE n = '80';
SELECT outcome(format('SELECT message_bus.ack(VARIADIC %L)', array_agg(delivery_id))) ~ '^MB003'
	FROM leased;
SELECT state('q'); SELECT in_order('q');
-- Settling in a transaction counts when it commits.
BEGIN; SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM leased WHERE n <> '80';
	ROLLBACK;
BEGIN; SAVEPOINT s; SELECT message_bus.ack(delivery_id) FROM leased WHERE n = '81'; ROLLBACK TO s;
SELECT message_bus.handle(delivery_id) FROM leased WHERE n = '82'; SELECT causation_id
	FROM ecommerce.context();
SELECT message_bus.fail(delivery_id, 'E', 'later') FROM leased WHERE n = '82'; COMMIT;
SELECT in_order('q'); SELECT state('q');
BEGIN; SELECT at('2100-01-01 UTC');
SELECT message_bus.extend_lease(array_agg(delivery_id), '1 h') FROM leased WHERE n = '81'; COMMIT;
SELECT leased_until = '2100-01-01 01:00 UTC' FROM message_bus.lease;
-- The lane is held for as long.
BEGIN; SELECT at('2100-01-01 00:59:59 UTC'); SELECT in_order('q'); COMMIT;
SELECT leased_until = '2100-01-01 01:00 UTC' FROM message_bus.lease;
SELECT outcome(format('SELECT message_bus.extend_lease(%L, ''1 h'')',
	array_agg(delivery_id))) ~ '^MB003' FROM leased;
SELECT message_bus.skip(delivery_id, 'done with it') FROM leased WHERE n = '81';
SELECT in_order('q'); SELECT state('q');
SELECT reason, error FROM message_bus.dead_letters WHERE message_id = uid(81);

-- An expired lease of what was handled is a failed attempt; an ack that is late but not too late counts.
-- The endpoint's timeout (30 s) does not matter.
BEGIN; SELECT at('2099-12-31 UTC'); SELECT in_order('q'); COMMIT;
SELECT fill('q', 90, 92);
TRUNCATE leased;
CALL lease('q', '1 min');
SELECT count(message_bus.handle(delivery_id)) FROM leased;
BEGIN; SELECT at('2100-01-01 00:00:59.999999 UTC'); SELECT in_order('q'); COMMIT;
BEGIN; SELECT at('2100-01-01 00:01 UTC'); SELECT in_order('q'); COMMIT;
SELECT state, attempt, error_code, error, receipt IS NOT NULL, due_at = '2100-01-01 01:01 UTC'
	FROM message_bus.aside WHERE message_id BETWEEN uid(90) AND uid(92);
SELECT message_bus.ack(delivery_id) FROM leased WHERE n = '90';
SELECT outcome(format('SELECT message_bus.ack(%s)', delivery_id)) ~ '^MB003' FROM leased
	WHERE n = '90';
SELECT outcome(format('SELECT message_bus.fail(%s, ''E'', ''e'')', delivery_id)) ~ '^MB003'
	FROM leased WHERE n = '91';
-- Delivered again, under a lease or not, the old receipt is worth nothing.
CREATE FUNCTION refused(delivery_id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(split_part(call, '(', 1), ' ' ORDER BY call)
	FROM unnest(ARRAY['ack(%s)', 'fail(%s, ''E'', ''e'')', 'skip(%s)', 'handle(%s)',
		'extend_lease(ARRAY[%s], ''1 min'')']) call
	WHERE outcome(format('SELECT message_bus.' || call, delivery_id)) ~ '^MB003'
$$;
BEGIN; SELECT at('2100-01-01 01:01 UTC'); SELECT take('q', 1); SELECT message_bus.ack(id(91));
	COMMIT;
SELECT refused(delivery_id) FROM leased WHERE n = '91';
CREATE TEMP TABLE first_lease AS TABLE leased;
CALL lease('q', '10 min', '2100-01-01 01:01 UTC');
SELECT refused(delivery_id) FROM first_lease WHERE n = '92';
SELECT message_bus.ack(delivery_id) FROM message_bus.lease; SELECT state('q');
-- What its consumer has failed is settled, also when he calls it a timeout.
SELECT fill('q', 93, 93);
TRUNCATE leased;
CALL lease('q', '1 min');
SELECT message_bus.fail(delivery_id, 'timeout', 'took too long') FROM leased;
SELECT refused(delivery_id) FROM leased;
BEGIN; SELECT at('2099-12-31 UTC'); SELECT in_order('q'); COMMIT;
-- Nor is that of a message whose last attempt it was: it is dead, and a Fault tells of it.
SELECT message_bus.create_endpoint('once', 1, '{"kind": "none"}'),
	message_bus.create_endpoint('faults', 1);
SELECT message_bus.subscribe('faults', 'Fault');
SELECT fill('once', 1, 1);
TRUNCATE leased;
CALL lease('once', '1 min');
BEGIN; SELECT at('2100-01-01 00:01 UTC'); SELECT in_order('once'); COMMIT;
SELECT reason, error_code, error, attempts FROM message_bus.dead_letters WHERE endpoint = 'once';
SELECT refused(delivery_id) FROM leased;
SELECT causation_id, body->>'error_code' FROM message_bus.receive('faults');

-- ---------------------------------------------------------------- wait

CALL message_bus.wait('q', '10 ms');
SELECT fill('q', 95, 95);
CALL message_bus.wait('q', '10 min');
BEGIN; SELECT outcome($$CALL message_bus.wait('q', '1 s', NULL)$$); ROLLBACK;
SELECT outcome($$CALL message_bus.wait('q', '1 s', NULL)$$);
CALL message_bus.wait('nobody', '1 s');
CALL message_bus.wait(NULL, '1 s');
SELECT in_order('q');
-- Scheduled messages end the wait by themselves.
SELECT message_bus.send('q', 'T', '{"n": 97}', uid(97), deliver_at => '2100-01-01 UTC');
CALL message_bus.wait('q', '0 s');
SELECT message_bus.send('q', 'T', '{"n": 96}',
	deliver_at => clock_timestamp() + '200 ms') IS NOT NULL;
CALL message_bus.wait('q', '10 min');
SELECT in_order('q');
SELECT message_bus.cancel_scheduled(uid(97));
SELECT message_bus.maintain();
SELECT state('q');

-- ---------------------------------------------------------------- a batch whose consumer died

-- Nobody knows of which message he died, so none has failed; each comes alone then, and
-- the one that he dies of is the only one to be dead in the end.
SELECT message_bus.create_endpoint('batch', 1, '{"kind": "immediate", "limit": 2}');
SELECT count(message_bus.send('batch', 'T', jsonb_build_object('n', i))) FROM generate_series(1, 5) i;
CREATE TABLE seen (n text, attempt int, of bigint);
-- Takes what there is for a minute and dies of number 1; the others are acked, if he gets there.
CREATE PROCEDURE consume(minute int, begins boolean DEFAULT false) LANGUAGE plpgsql AS $$
DECLARE
	d record;
BEGIN
	PERFORM at('2100-01-01 UTC'::timestamptz + make_interval(mins => minute));
	FOR d IN SELECT body->>'n' AS n, delivery_id, attempt, count(*) OVER () AS of
			FROM message_bus.receive('batch', 5, '1 min') ORDER BY delivery_id LOOP
		INSERT INTO seen VALUES (d.n, d.attempt, d.of);
		IF begins THEN
			PERFORM message_bus.handle(d.delivery_id);
		END IF;
		EXIT WHEN d.n = '1';
		PERFORM message_bus.ack(d.delivery_id);
	END LOOP;
END $$;
DO $$ BEGIN FOR i IN 0..20 LOOP CALL consume(i); COMMIT; END LOOP; END $$;
SELECT string_agg(concat(n, '/', attempt, ' of ', of), ', ') FROM seen;
SELECT (message).body->>'n' AS n, error_code, attempts FROM message_bus.dead_letters
	WHERE endpoint = 'batch';
SELECT state('batch');
-- Who says with which one he begins, is taken at his word.
TRUNCATE seen;
SELECT count(message_bus.send('batch', 'T', jsonb_build_object('n', i))) FROM generate_series(1, 3) i;
DO $$ BEGIN FOR i IN 100..120 LOOP CALL consume(i, true); COMMIT; END LOOP; END $$;
SELECT string_agg(concat(n, '/', attempt, ' of ', of), ', ') FROM seen;
-- In a transaction of his own handle() locks nothing; a late ack is taken from a batch too.
SELECT count(message_bus.send('batch', 'T', jsonb_build_object('n', i))) FROM generate_series(7, 9) i;
DO $$ BEGIN PERFORM at('2100-01-02 UTC'); PERFORM * FROM message_bus.receive('batch', 5, '1 min');
END $$;
BEGIN;
SELECT count(message_bus.handle(delivery_id)) FROM message_bus.lease;
SELECT bool_or(handled) FROM message_bus.lease;
COMMIT;
CREATE TEMP TABLE old AS SELECT delivery_id FROM message_bus.lease;
BEGIN; SELECT at('2100-01-02 00:02 UTC'); SELECT count(*) FROM message_bus.receive('batch'); ROLLBACK;
BEGIN; SELECT at('2100-01-02 00:02 UTC'); SELECT in_order('batch'); COMMIT;
SELECT message_bus.ack(max(delivery_id)) FROM old;
BEGIN; SELECT at('2100-01-02 00:02 UTC'); SELECT in_order('batch'); SELECT in_order('batch'); COMMIT;
SELECT state('batch');
