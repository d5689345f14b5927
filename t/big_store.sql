-- Fills an empty store, for tests of what looking at a large one costs: directly into the tables,
-- as a restore would, rows first and indexes last; BigStore.pm runs it. psql variables: events,
-- streams (10 events each at least), backlog (messages that nobody has received), dead, sagas.
\set ON_ERROR_STOP on
SET synchronous_commit = off;
SET event_store.allow_rewrite = on;
SET work_mem = '512MB';
SET maintenance_work_mem = '512MB';
-- Rows come in the order of one side of a join.
SET enable_nestloop = off;
SET enable_mergejoin = off;

-- Nothing that is done until the commit goes through WAL: the table is new in this transaction, as
-- far as wal_level = minimal is concerned, and has no index until REINDEX.
CREATE FUNCTION pg_temp.without_indexes(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('TRUNCATE %s', target);
	UPDATE pg_index SET indisready = false WHERE indrelid = target;
END
$$;

\echo part: endpoints and definitions
SELECT message_bus.create_endpoint('backlog'), message_bus.create_endpoint('failing'),
	message_bus.create_endpoint('idle');
SELECT saga.define('big', '{"endpoint": "big-saga", "initial": "Waiting", "given": ["n"],
	"events": {"Asked": {}, "Answered": {}},
	"start": {"Asked": {"goto": "Waiting", "schedule": {"timer": "late", "delay": "10 days"}}},
	"states": {
		"Waiting": {"default": "ignore", "on": {"Answered": {"goto": "Working"},
			"timer:late": {"alarm": "nobody answers"}}},
		"Working": {"default": "ignore", "on": {"Answered": {"goto": "Done"},
			"timer:late": {"goto": "Done"}}},
		"Done": {"kind": "final", "default": "ignore"}}}');
SELECT event_store.create_subscription('far behind'), event_store.create_subscription('one category', 'order');

\echo part: streams
-- A tenth of them is of each category.
BEGIN;
SELECT pg_temp.without_indexes('event_store.stream');
INSERT INTO event_store.stream (stream_id, name_key, name)
SELECT n, event_store._name_key(s.name), s.name FROM generate_series(1, :streams) n,
	LATERAL (SELECT (ARRAY['order', 'invoice', 'customer', 'parcel', 'basket',
		'payment', 'product', 'visit', 'price', 'letter'])[n % 10 + 1] || '-' || md5(n::text)) s (name);
REINDEX TABLE event_store.stream;
COMMIT;
VACUUM (ANALYZE) event_store.stream;

\echo part: events
-- One in 100 000 is of a rare type.
BEGIN;
SELECT pg_temp.without_indexes('event_store.stored_event');
INSERT INTO event_store.stored_event (position, stream, version, event_id, event_type,
	schema_version, data, metadata, occurred_at, stream_id, category_key)
SELECT e.n, s.name, (e.n - 1) / :streams + 1, md5('e' || e.n)::uuid,
	CASE WHEN e.n % 100000 = 77 THEN 'Rare' ELSE 'Type' || e.n % 7 END, 1,
	('{"n": ' || e.n || ', "text": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}')::jsonb,
	s.metadata, now() - (:events - e.n) * interval '10 ms', s.stream_id, s.category_key
FROM (SELECT generate_series(1, :events) AS n) e
JOIN (SELECT t.stream_id, t.name,
		event_store._category_key(split_part(t.name, '-', 1)) AS category_key,
		jsonb_build_object('correlation_id', md5('c' || t.stream_id)::uuid) AS metadata
	FROM event_store.stream t OFFSET 0) s ON s.stream_id = (e.n - 1) % :streams + 1;
SELECT setval('event_store.position_seq', :events), setval('event_store.stream_id_seq', :streams);
\echo part: indexes of events
REINDEX TABLE event_store.stored_event;
COMMIT;
\echo part: vacuum of events
VACUUM (ANALYZE) event_store.stored_event;

\echo part: messages that wait
BEGIN;
SELECT pg_temp.without_indexes('message_bus.ring_0');
INSERT INTO message_bus.ring_0 (position, endpoint_id, lane, message_id, correlation_id,
	conversation_id, sent_at, schema_version, message_type, body, partition_key)
SELECT n, e.endpoint_id, n % 8, md5('m' || n)::uuid, c.id, c.id,
	now() - interval '1 hour' + n * interval '1 ms', 1, 'Wait', '{"n": 1}', NULL
FROM message_bus.endpoint e, generate_series(1, :backlog) n,
	LATERAL (SELECT md5('c' || n)::uuid) c (id) WHERE e.name = 'backlog';
REINDEX TABLE message_bus.ring_0;
COMMIT;

\echo part: dead letters
-- And some of another endpoint at the end of the table.
BEGIN;
SELECT pg_temp.without_indexes('message_bus.dead');
INSERT INTO message_bus.dead (position, endpoint_id, lane, message_id, correlation_id,
	conversation_id, sent_at, schema_version, message_type, body, reason, error_code, error,
	attempts, first_failed_at, last_failed_at)
SELECT n, e.endpoint_id, n % 8, md5('d' || n)::uuid, c.id, c.id,
	now() - interval '1 day', 1, 'Fail' || n % 5, '{"n": 1}',
	CASE WHEN n % 50 = 0 THEN 'discarded' ELSE 'fault' END, 'code' || n % 3, 'it failed', 6,
	now() - interval '1 day', now() - interval '1 day' + n * interval '1 ms'
FROM message_bus.endpoint e, generate_series(1, :dead) n,
	LATERAL (SELECT md5('c' || n)::uuid) c (id) WHERE e.name = 'failing';
INSERT INTO message_bus.dead (position, endpoint_id, lane, message_id, correlation_id,
	conversation_id, sent_at, schema_version, message_type, body, reason, error_code, error,
	attempts, first_failed_at, last_failed_at)
SELECT n, e.endpoint_id, 0, md5('r' || n)::uuid, md5('c' || n)::uuid, md5('c' || n)::uuid,
	now(), 1, 'Late', '{}', 'fault', 'late', 'too late', 6, now(), now()
FROM message_bus.endpoint e, generate_series(1, 1500) n WHERE e.name = 'idle';
SELECT setval('message_bus.position_seq', greatest(:backlog, :dead));
REINDEX TABLE message_bus.dead;
COMMIT;
VACUUM (ANALYZE) message_bus.dead;

\echo part: sagas
BEGIN;
SELECT pg_temp.without_indexes('saga.stored_instance'), pg_temp.without_indexes('saga.timer_queue'),
	pg_temp.without_indexes('saga.history_entry');
INSERT INTO saga.stored_instance (correlation_id, created_at, updated_at, state_since, wake_at,
	definition_version, version, saga, current_state, data, engine)
SELECT md5('c' || n)::uuid, t.at, t.at, t.at, t.at + interval '10 days', 1, 1, 'big',
	CASE WHEN n % 4 = 0 THEN 'Working' ELSE 'Waiting' END,
	jsonb_build_object('n', n, 'text', repeat('y', 400)),
	jsonb_build_object('token', 1, 'timers', jsonb_build_object('late', jsonb_build_array(
		(extract(epoch FROM t.at + interval '10 days' - '2000-01-01+00') * 1000000)::bigint, 1)))
	|| CASE WHEN n % 2000 = 5 THEN jsonb_build_object('alarm', 'nobody answers', 'alarm_since',
		(extract(epoch FROM t.at - '2000-01-01+00') * 1000000)::bigint) ELSE '{}' END
FROM generate_series(1, :sagas) n, LATERAL (SELECT now() - n * interval '1 s' AS at) t;
INSERT INTO saga.timer_queue (due_at, correlation_id, saga)
SELECT i.wake_at, i.correlation_id, 'big' FROM saga.stored_instance i WHERE i.saga = 'big';
INSERT INTO saga.history_entry (number, at, version, to_state, event, actions)
SELECT i.number, i.created_at, 1, i.current_state, 'Asked', '[]' FROM saga.stored_instance i;
REINDEX TABLE saga.stored_instance;
REINDEX TABLE saga.timer_queue;
REINDEX TABLE saga.history_entry;
COMMIT;
RESET enable_nestloop;
RESET enable_mergejoin;
SELECT saga.look_for_stuck();
VACUUM (ANALYZE) saga.stored_instance;
