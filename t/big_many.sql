-- Hundreds of endpoints, each with dead letters, and thousands of subscriptions, of which some are
-- behind, some have parked events and most have read everything; after big_store.sql.
\set ON_ERROR_STOP on
SET synchronous_commit = off;
\echo part: many endpoints
SELECT count(message_bus.create_endpoint('many-' || n)) FROM generate_series(1, 600) n;
INSERT INTO message_bus.dead (position, endpoint_id, lane, message_id, correlation_id,
	conversation_id, sent_at, schema_version, message_type, body, reason, error_code, error,
	attempts, first_failed_at, last_failed_at)
SELECT n, e.endpoint_id, 0, md5('s' || e.endpoint_id || ' ' || n)::uuid, c.id, c.id, now(), 1,
	'Many', '{}', 'fault', 'late', 'too late', 6, now(), now()
FROM message_bus.endpoint e, generate_series(1, 50) n, LATERAL (SELECT md5('c' || n)::uuid) c (id)
WHERE e.name LIKE 'many-%';
\echo part: many subscriptions
SELECT count(event_store.create_subscription('many-' || n,
	CASE WHEN n % 4 > 0 THEN (ARRAY['order', 'invoice', 'visit'])[n % 4] END,
	start_after => CASE WHEN n % 10 = 7 THEN 0 ELSE event_store.high_water_mark() END))
FROM generate_series(1, 3000) n;
INSERT INTO event_store.parked_event (subscription, position, partition, error, attempts)
SELECT 'many-' || n, n, 0, 'it fails', 3 FROM generate_series(1, 3000, 100) n;
VACUUM (ANALYZE) message_bus.dead;
VACUUM (ANALYZE) event_store.subscription, event_store.subscription_partition;
