-- Context: who acts and why, until the transaction ends; stamped on every event.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset null NULL

-- One row, all null when none is set.
SELECT * FROM ecommerce.context();
\pset tuples_only on
CREATE FUNCTION stamped(stream text) RETURNS SETOF jsonb LANGUAGE sql AS
$$ SELECT metadata FROM event_store.read_stream(stream) ORDER BY version $$;

-- By position, with what is left out.
BEGIN;
SELECT ecommerce.set_context('c0000000-0000-4000-8000-000000000001');
SELECT * FROM ecommerce.context();
SELECT version FROM event_store.append('ctx-1', 0, 'A', '{}');
COMMIT;
-- It ended with the transaction, committed or not.
SELECT * FROM ecommerce.context();
SELECT version FROM event_store.append('ctx-1', 1, 'A', '{}');
BEGIN;
SELECT ecommerce.set_context(uid(1));
ROLLBACK;
SELECT * FROM ecommerce.context();
SELECT ecommerce.set_context(uid(1));
SELECT * FROM ecommerce.context();
-- By name, everything.
BEGIN;
SELECT ecommerce.set_context(correlation_id => uid(1), causation_id => uid(2), user_id => 'ü"\',
	tenant_id => '',
	headers => '{"channel": "web", "deep": {"a": [1, null]}}',
		traceparent => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
SELECT * FROM ecommerce.context();
SELECT version FROM event_store.append('ctx-2', 0, 'A', '{}');
SELECT version FROM event_store.append_batch('ctx-2', 1,
	ARRAY[ROW('B', '{}', NULL, NULL, NULL, NULL),
	ROW('C', '{}', '{"k": 1}', NULL, NULL, NULL)]::event_store.new_event[]);
SELECT version FROM event_store.append_json('ctx-2', 3,
	'[{"event_type": "D", "data": {}, "metadata": {"k": 2}}]');
COMMIT;
SELECT stamped('ctx-2');
SELECT count(*) FROM event_store.read_correlation(uid(1));
-- What the caller gives wins, key by key, null too.
BEGIN;
SELECT ecommerce.set_context(uid(1), uid(2), 'someone', 'a tenant', '{"channel": "web"}', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
SELECT version FROM event_store.append('ctx-3', 0, 'A', '{}',
	jsonb_build_object('correlation_id', uid(9), 'user_id', 'another', 'traceparent', NULL,
		'headers', '{"own": true}'::jsonb));
SELECT version FROM event_store.append('ctx-3', 1, 'A', '{}',
	'{"causation_id": 5, "source": "mine", "other": []}');
SELECT outcome($$SELECT event_store.append('ctx-3', 2, 'A', '{}', '{"correlation_id": "x"}')$$);
COMMIT;
SELECT stamped('ctx-3');
SELECT stream, version FROM event_store.read_correlation(uid(9));
-- Set again: nothing of the old one stays.
BEGIN;
SELECT ecommerce.set_context(uid(1), uid(2), 'someone', 'a tenant', '{"channel": "web"}', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
SELECT ecommerce.set_context(uid(3));
SELECT * FROM ecommerce.context();
SELECT ecommerce.set_context(NULL, NULL, NULL, NULL, NULL, NULL);
SELECT * FROM ecommerce.context();
SELECT version FROM event_store.append('ctx-4', 0, 'A', '{}');
COMMIT;
SELECT stamped('ctx-4');
-- It survives a rolled-back savepoint and an error in one.
BEGIN;
SELECT ecommerce.set_context(uid(1));
SAVEPOINT s;
SELECT 1 / 0;
ROLLBACK TO s;
SELECT correlation_id FROM ecommerce.context();
SAVEPOINT t;
RELEASE t;
SELECT correlation_id FROM ecommerce.context();
COMMIT;
-- In a procedure each of its transactions has its own.
DO $$
BEGIN
	PERFORM ecommerce.set_context(uid(1));
	RAISE NOTICE '%', (SELECT correlation_id FROM ecommerce.context());
	COMMIT;
	RAISE NOTICE '%', (SELECT correlation_id FROM ecommerce.context());
END
$$;
-- The source is a setting.
SET ecommerce.source = 'orderd';
BEGIN;
SELECT version FROM event_store.append('ctx-5', 0, 'A', '{}');
SELECT version FROM event_store.append('ctx-5', 1, 'A', '{}', '{"source": "other"}');
SELECT ecommerce.set_context(uid(1));
SELECT version FROM event_store.append('ctx-5', 2, 'A', '{}');
RESET ecommerce.source;
SELECT version FROM event_store.append('ctx-5', 3, 'A', '{}');
COMMIT;
SELECT stamped('ctx-5');
-- Stored metadata does not depend on what the caller's object looks like inside.
BEGIN;
SELECT ecommerce.set_context(uid(1), headers => (SELECT jsonb_object_agg('h' || i,
	repeat('x', 100)) FROM generate_series(1, 500) i));
SELECT version FROM event_store.append('ctx-6', 0, 'A', '{}',
	(SELECT jsonb_object_agg('m' || i, jsonb_build_object('n', i))
		FROM generate_series(1, 1000) i));
SELECT (SELECT count(*) FROM jsonb_object_keys(metadata)), (SELECT count(*)
	FROM jsonb_object_keys(metadata -> 'headers')),
	metadata -> 'm77', metadata -> 'headers' ->> 'h7' = repeat('x', 100)
FROM event_store.read_stream('ctx-6');
COMMIT;

SELECT fails($$SELECT ecommerce.set_context(uid(1), headers => '[]')$$);
SELECT headers, refusal(format('SELECT ecommerce.set_context(uid(1), headers => %L)', headers))
FROM unnest(ARRAY['null', '1', '"x"', '[{}]', 'true']) headers;
SELECT outcome($$SELECT ecommerce.set_context('no uuid')$$);
-- Not being set is not an error.
SELECT * FROM ecommerce.context();
