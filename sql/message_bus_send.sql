-- Sending, publishing, scheduling; envelopes, duplicates, limits.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
SET ecommerce.source = 'test';
SELECT message_bus.create_endpoint(e, 4, '{"kind": "interval", "limit": 5, "interval": "1 h"}')
	FROM unnest('{a,b}'::text[]) e;
SELECT message_bus.subscribe(e, 'Happened') FROM unnest('{a,b}'::text[]) e;

-- ---------------------------------------------------------------- envelope

-- Without a context a message starts a correlation and a conversation.
SELECT message_bus.send('a', 'Do', '{"n": 1}', message_id => uid(1));
SELECT message_id, message_type, schema_version, body, headers, correlation_id, conversation_id,
	causation_id, user_id, tenant_id,
	traceparent, source, sent_at <= clock_timestamp(), deliver_at, expires_at, partition_key,
		attempt, endpoint, leased_until
FROM message_bus.receive('a');
SELECT got('a');
-- With one it is stamped; handling a message passes it on.
BEGIN;
SELECT ecommerce.set_context(uid(2), uid(3), 'ann', 'shop', '{"channel": "web", "shade": "dark"}',
	'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
SELECT message_bus.send('a', 'Do', '{"n": 2}', uid(4), 'key', '2000-01-01 UTC', '2100-01-01 UTC',
	'{"shade": "light"}');
COMMIT;
BEGIN;
SELECT message_id, headers, correlation_id, conversation_id, causation_id, user_id, tenant_id,
	traceparent, deliver_at, expires_at, partition_key
FROM message_bus.receive('a', 1);
-- receive of one handles it already.
SELECT correlation_id, causation_id, user_id, tenant_id, headers, traceparent, conversation_id
	FROM ecommerce.context();
SELECT message_bus.publish('Happened', '{"n": 3}', uid(5));
SELECT message_bus.send('b', 'Do', '{"n": 4}', uid(6));
-- An event that is appended meanwhile is stamped with all of it too.
SELECT version FROM event_store.append('seen-1', 0, 'Seen', '{}');
SELECT metadata FROM event_store.read_stream('seen-1');
COMMIT;
SELECT got('a');
SELECT message_id, correlation_id, conversation_id, causation_id, user_id, tenant_id, traceparent,
	partition_key
FROM message_bus.receive('b') ORDER BY 1;
SELECT got('b') IS NOT NULL, got('a');
-- The source falls back on application_name.
RESET ecommerce.source;
SET application_name = 'somebody';
SELECT message_bus.send('a', 'Do', '{"n": 5}') IS NOT NULL;
SELECT source FROM message_bus.receive('a');
SELECT got('a');

-- ---------------------------------------------------------------- transactions

BEGIN;
SELECT message_bus.send('a', 'Do', '{"n": 1}') IS NOT NULL;
SAVEPOINT s;
SELECT message_bus.send('a', 'Do', '{"n": 2}') IS NOT NULL;
ROLLBACK TO s;
SELECT message_bus.send('a', 'Do', '{"n": 3}') IS NOT NULL;
SAVEPOINT t;
SELECT message_bus.send('a', 'Do', '{"n": 4}') IS NOT NULL;
RELEASE t;
-- What is not committed nobody gets, the sender neither.
SELECT got('a');
COMMIT;
SELECT got('a');
BEGIN;
SELECT message_bus.send('a', 'Do', '{"n": 1}') IS NOT NULL;
ROLLBACK;
SELECT got('a'), state('a');
-- Large bodies, and many messages in one transaction, arrive whole.
SELECT message_bus.send('a', 'Do', jsonb_build_object('n', 1, 'text', string_agg(md5(i::text),
	''))) IS NOT NULL FROM generate_series(1, 10000) i;
SELECT length(body->>'text'), md5(body->>'text') = md5((SELECT string_agg(md5(i::text), '')
	FROM generate_series(1, 10000) i))
FROM message_bus.receive('a');
SELECT got('a');
SELECT count(message_bus.send('a', 'Do', jsonb_build_object('n', i, 'text', repeat('x', 1000))))
	FROM generate_series(1, 20000) i;
SELECT depth FROM message_bus.endpoints WHERE name = 'a';
SELECT count(DISTINCT n) FROM unnest(string_to_array(got('a', 30000), ' ')) n;
BEGIN READ ONLY;
SELECT outcome($$SELECT message_bus.send('a', 'Do', '{}')$$);
ROLLBACK;
BEGIN;
SELECT message_bus.send('a', 'Do', '{}') IS NOT NULL;
PREPARE TRANSACTION 'bus';
SELECT state('a');

-- ---------------------------------------------------------------- order

-- One key, one lane, one order; keys spread over the lanes.
SELECT message_bus.send('a', 'Do', jsonb_build_object('n', i),
	partition_key => 'same') IS NOT NULL AND i = 7 FROM generate_series(1, 7) i;
SELECT in_order('a');
SELECT count(message_bus.send('a', 'Do', jsonb_build_object('n', i),
	partition_key => (i % 20)::text)) FROM generate_series(1, 200) i;
BEGIN;
SELECT count(*), count(*) FILTER (WHERE n < before) AS out_of_order FROM (
	SELECT (body->>'n')::int AS n, lag((body->>'n')::int) OVER (PARTITION BY partition_key
		ORDER BY delivery_id) AS before
	FROM message_bus.receive('a', 500)) r;
ROLLBACK;
SELECT cardinality(string_to_array(got('a', 500), ' '));
-- An explicit key that is the correlation id goes the same way as none.
SELECT message_bus.send('a', 'Do', '{"n": 1}', uid(20)), message_bus.send('b', 'Do', '{"n": 1}',
	uid(21), partition_key => uid(20)::text);
SELECT count(DISTINCT lane) FROM message_bus.ring_0 WHERE message_id IN (uid(20), uid(21));
SELECT got('a'), got('b');

-- ---------------------------------------------------------------- duplicates

SELECT message_bus.send('a', 'Do', '{"n": 1}', uid(30)), message_bus.send('a', 'Do', '{"n": 2}',
	uid(30));
SELECT message_bus.send('a', 'Do', '{"n": 3}', uid(30));
SELECT message_bus.send('b', 'Do', '{"n": 4}', uid(30));
SELECT got('a'), got('b');
-- Known after the ack too; and so are ids that we made.
SELECT message_bus.send('a', 'Do', '{"n": 5}', uid(30));
SELECT message_bus.send('a', 'Do', '{"n": 6}') AS id \gset
SELECT message_bus.send('a', 'Do', '{"n": 7}', :'id') = :'id';
SELECT got('a');
SELECT message_bus.send('a', 'Do', '{"n": 8}', :'id') = :'id';
SELECT got('a');
-- Rolled back, it was never sent.
BEGIN;
SAVEPOINT s;
SELECT message_bus.send('a', 'Do', '{"n": 1}', uid(31));
ROLLBACK TO s;
SELECT message_bus.send('a', 'Do', '{"n": 2}', uid(31));
COMMIT;
BEGIN;
SELECT message_bus.send('a', 'Do', '{"n": 3}', uid(32));
ROLLBACK;
SELECT message_bus.send('a', 'Do', '{"n": 4}', uid(32));
SELECT got('a');
-- publish: where it is missing, it is delivered.
SELECT message_bus.send('a', 'Happened', '{"n": 1}', uid(33)), message_bus.publish('Happened',
	'{"n": 2}', uid(33));
SELECT got('a'), got('b');
-- Scheduled, retrying and dead messages are known too.
SELECT message_bus.send('a', 'Do', '{"n": 1}', uid(34), deliver_at => '2100-01-01 UTC');
SELECT message_bus.send('a', 'Do', '{"n": 2}', uid(34));
SELECT message_bus.send('a', 'Do', '{"n": 3}', uid(35));
SELECT failed('a');
SELECT message_bus.send('a', 'Do', '{"n": 4}', uid(35));
SELECT message_bus.send('a', 'Do', '{"n": 5}', uid(36));
SELECT failed('a', retryable => false);
SELECT message_bus.send('a', 'Do', '{"n": 6}', uid(36));
SELECT got('a'), state('a');
-- One that was acked elsewhere than in the ring.
BEGIN;
SELECT at('2100-01-02 UTC');
SELECT got('a');
COMMIT;
SELECT message_bus.send('a', 'Do', '{"n": 7}', uid(34)), message_bus.send('a', 'Do', '{"n": 8}',
	uid(35));
SELECT got('a'), state('a');

-- ---------------------------------------------------------------- scheduled

SELECT message_bus.send('a', 'Do', '{"n": 1}', uid(40), deliver_at => '2100-01-01 UTC'),
	message_bus.send('a', 'Do', '{"n": 2}', uid(41), deliver_at => '2100-01-02 UTC'),
	message_bus.publish('Happened', '{"n": 3}', uid(42), deliver_at => '2100-01-03 UTC'),
		message_bus.send('a', 'Do', '{"n": 4}', uid(43), deliver_at => '2000-01-01 UTC');
SELECT got('a'), state('a'), state('b');
BEGIN;
SELECT at('2099-12-31 23:59:59.999999 UTC');
SELECT got('a');
SELECT at('2100-01-01 UTC');
SELECT deliver_at, attempt FROM message_bus.receive('a', 1);
ROLLBACK;
BEGIN;
SELECT at('2100-01-02 UTC');
SELECT got('a');
COMMIT;
SELECT message_bus.cancel_scheduled(uid(42)), message_bus.cancel_scheduled(uid(42)),
	message_bus.cancel_scheduled(uid(99)), message_bus.cancel_scheduled(uid(40));
SELECT state('a'), state('b');
-- Due is too late to cancel; what was cancelled may be sent again.
SELECT message_bus.send('a', 'Do', '{"n": 5}', uid(42), deliver_at => '2100-01-01 UTC');
BEGIN;
SELECT at('2100-01-01 UTC');
SELECT message_bus.cancel_scheduled(uid(42));
SELECT got('a');
COMMIT;

-- ---------------------------------------------------------------- expiry

SELECT message_bus.send('a', 'Do', '{"n": 1}', uid(50), expires_at => '2100-01-01 UTC'),
	message_bus.send('a', 'Do', '{"n": 2}', uid(51), expires_at => '2100-01-03 UTC');
BEGIN;
SELECT at('2100-01-01 UTC');
SELECT got('a');
COMMIT;
SELECT message_id, endpoint, message_type, (message).body, reason, error_code, error, attempts
	FROM message_bus.dead_letters WHERE message_id = uid(50);
-- Too late already when it is sent; by the worker's clock it is not.
BEGIN;
SELECT at('2100-02-01 UTC');
SELECT message_bus.send('a', 'Do', '{"n": 3}', uid(52), expires_at => '2100-01-05 UTC');
COMMIT;
BEGIN;
SELECT at('2100-02-01 UTC');
SELECT got('a');
COMMIT;
SELECT reason FROM message_bus.dead_letters WHERE message_id = uid(52);

-- ---------------------------------------------------------------- refused

SELECT outcome(format('SELECT message_bus.%s', call)) FROM (VALUES
	($$send('nobody', 'T', '{}')$$), ($$send(NULL, 'T', '{}')$$), ($$send('a', NULL, '{}')$$),
		($$send('a', '', '{}')$$), ($$send('a', 'T', NULL)$$),
	($$send('a', repeat('T', 256), '{}')$$), ($$send('a', 'T', '{}', headers => '[]')$$),
		($$publish(NULL, '{}')$$), ($$publish('T', NULL)$$)) c(call);
-- Registered contracts hold for messages too.
SELECT event_store.register_event_type('OrderCancelled', 'ecommerce.order_cancelled');
SELECT outcome($$SELECT message_bus.send('a', 'OrderCancelled', '{"reasons": "none"}')$$);
SELECT outcome($$SELECT message_bus.publish('OrderCancelled', '{"refund_id": "r"}')$$);
SELECT message_bus.send('a', 'OrderCancelled', '{"reason": "none"}') IS NOT NULL;
SELECT schema_version, body FROM message_bus.receive('a');
SELECT outcome($$SELECT message_bus.send('a', 'OrderCancelled', '[1]')$$);
SET ecommerce.require_registered_types = on;
SELECT outcome($$SELECT message_bus.send('a', 'Whatever', '{}')$$);
RESET ecommerce.require_registered_types;
SELECT message_bus.send('a', 'Whatever', '[1]') IS NOT NULL;
SELECT count(message_bus.skip(delivery_id)) FROM message_bus.receive('a');

-- ---------------------------------------------------------------- depth

SELECT message_bus.create_endpoint('narrow');
SELECT message_bus.alter_endpoint('narrow', max_depth => 2);
SELECT message_bus.send('narrow', 'T', '{"n": 1}') IS NOT NULL;
BEGIN;
SELECT message_bus.send('narrow', 'T', '{"n": 2}', uid(60)) IS NOT NULL;
SELECT outcome($$SELECT message_bus.send('narrow', 'T', '{"n": 3}')$$);
ROLLBACK;
SELECT message_bus.send('narrow', 'T', '{"n": 4}', uid(60)) IS NOT NULL;
SELECT outcome($$SELECT message_bus.send('narrow', 'T', '{"n": 5}')$$), state('narrow');
SELECT message_bus.send('narrow', 'T', '{"n": 5}');
SELECT message_bus.subscribe('narrow', 'Happened');
-- All or nothing.
SELECT outcome($$SELECT message_bus.publish('Happened', '{"n": 6}', uid(61))$$), state('a'),
	state('b'), state('narrow');
SELECT got('narrow');
SELECT message_bus.send('narrow', 'T', '{"n": 7}') IS NOT NULL;
SET message_bus.max_depth = 1;
SELECT message_bus.send('b', 'T', '{"n": 1}') IS NOT NULL, message_bus.send('narrow', 'T',
	'{"n": 8}') IS NOT NULL;
SELECT outcome($$SELECT message_bus.send('b', 'T', '{"n": 2}')$$);
SELECT message_bus.alter_endpoint('b', max_depth => -1);
SELECT message_bus.send('b', 'T', '{"n": 3}') IS NOT NULL;
RESET message_bus.max_depth;
SELECT got('b');
