-- Lists of the bus for operators, and what they do with messages that wait or are dead.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION number(id uuid) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT right(id::text, 12)::int $$;
CREATE FUNCTION shown(endpoint text, of_state text DEFAULT NULL) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(format('%s %s', coalesce(number(message_id)::text, 'more'), state), ', ' ORDER BY n)
	FROM message_bus.peek(endpoint, of_state) WITH ORDINALITY AS p (state, message_id, message_type, lane,
		"position", sent_at, due_at, expires_at, attempt, correlation_id, conversation_id, causation_id,
		partition_key, user_id, tenant_id, source, traceparent, error_code, error, first_failed_at,
		last_failed_at, leased_until, holder_pid, schema_version, body, headers, key, n) $$;

-- Messages 1 to 10, 11 to 13 for later.
SELECT message_bus.create_endpoint('work', 1, '{"kind": "interval", "limit": 5, "interval": "1 hour"}');
SELECT count(message_bus.send('work', 'Type' || n % 2, jsonb_build_object('n', n), id(n), 'key' || n,
	headers => '{"h": 1}')) FROM generate_series(1, 10) n;
SELECT count(message_bus.send('work', 'Later', '{}', id(n), deliver_at => now() + n * interval '1 hour'))
FROM generate_series(11, 13) n;

-- ---------------------------------------------------------------- looking
SELECT shown('work'), (SELECT depth FROM message_bus.endpoints WHERE name = 'work');
SELECT number(message_id), message_type, state, attempt, partition_key, body, headers, key ~ '^r\d+$'
FROM message_bus.peek('work', max => 2);
SELECT number(message_id) FROM message_bus.peek('work', 'waiting', (SELECT key
	FROM message_bus.peek('work') WHERE message_id = id(8)));
SELECT number(message_id) FROM message_bus.peek('work', 'scheduled', max => 1);
SELECT number(message_id) FROM message_bus.peek('work', after => (SELECT key
	FROM message_bus.peek('work') WHERE message_id = id(11)));
SELECT fails($$SELECT message_bus.peek('none')$$);
SELECT fails($$SELECT message_bus.peek('work', 'odd')$$);
SELECT fails($$SELECT message_bus.peek('work', max => 0)$$);
-- Nothing was taken; who takes some is seen.
BEGIN;
SELECT count(*) FROM message_bus.receive('work', 10);
SELECT endpoint, lane, state, pid = pg_backend_pid() FROM message_bus.consumers ORDER BY lane;
SELECT count(*) FROM message_bus.peek('work') WHERE holder_pid = pg_backend_pid();
ROLLBACK;
SELECT count(*) FROM message_bus.consumers;
SELECT count(*) FROM message_bus.receive('work', 3, '1 hour');
SELECT endpoint, state, pid, leases, leased_until > now() FROM message_bus.consumers ORDER BY lane;
SELECT count(*), bool_and(leased_until > now()) FROM message_bus.peek('work', 'leased');
SELECT count(*) FROM message_bus.peek('work', 'waiting');
-- Part of a batch is settled: it is not shown any more.
SELECT message_bus.ack((SELECT min(delivery_id) FROM message_bus.lease));
SELECT count(*) FROM message_bus.peek('work', 'leased');
SELECT count(message_bus.fail(delivery_id, 'away', 'provider is away')) FROM message_bus.lease;
SELECT shown('work', 'leased'), count(*), min(error_code), min(error), min(attempt)
FROM message_bus.peek('work', 'retrying');
-- A state that is rare: a bookmark comes where the search ends, and leads on.
SELECT message_bus.create_endpoint('long');
SELECT count(message_bus.send('long', 'Many', '{}', id(1000 + n), deliver_at => now() + n * interval '1 min'))
FROM generate_series(1, 400) n;
SELECT shown('long', 'retrying');
SELECT count(*) FROM message_bus.peek('long', 'retrying', (SELECT key FROM message_bus.peek('long', 'retrying')));

-- ---------------------------------------------------------------- dead letters
SELECT count(message_bus.fail(delivery_id, CASE WHEN message_type = 'Type1' THEN 'odd' END, 'no good: ' || message_type, false))
FROM message_bus.receive('work', 20);
SELECT endpoint, message_type, reason, error_code, count, count_capped, oldest_at <= newest_at, newest_error
FROM message_bus.dead_groups();
SELECT message_type FROM message_bus.dead_groups('work', max => 1);
SELECT message_type FROM message_bus.dead_groups('work', (SELECT key FROM message_bus.dead_groups('work', max => 1)));
SELECT count(*) FROM message_bus.dead_groups('long');
SELECT fails($$SELECT message_bus.dead_groups('none')$$);
SELECT count(*), count(DISTINCT key), bool_and(last_failed_at >= lead) FROM (
	SELECT *, lead(last_failed_at) OVER () FROM message_bus.list_dead()) d;
SELECT (SELECT count(*) FROM message_bus.list_dead(max => 3)) + (SELECT count(*) FROM message_bus.list_dead(
	after => (SELECT key FROM message_bus.list_dead(max => 3) OFFSET 2)));
SELECT filter, (SELECT count(*) FROM message_bus.list_dead(filter::jsonb)), c.count, c.capped
FROM unnest(ARRAY['{}', '{"endpoint": "work"}', '{"message_type": "Type1"}', '{"error_code": null}',
	'{"error_code": "odd"}', '{"error": "Type0"}', '{"reason": "expired"}',
	'{"endpoint": "work", "message_type": "Type1", "reason": "fault", "error_code": "odd"}',
	'{"endpoint": "work", "message_type": "Type0", "reason": "fault", "error_code": null}',
	'{"to": "2000-01-01"}', '{"from": "2000-01-01", "to": "2100-01-01"}',
	'{"message_ids": ["00000000-0000-4000-8000-000000000999"]}']) filter,
	message_bus.count_dead(filter::jsonb) c;
SELECT fails($$SELECT message_bus.list_dead('{"odd": 1}')$$);
SELECT fails($$SELECT message_bus.list_dead('[]')$$);
SELECT fails($$SELECT message_bus.list_dead('{"endpoint": "none"}')$$);

-- Of each it is said what became of it: the oldest first, one a second.
SELECT count(*) AS odd FROM message_bus.list_dead('{"error_code": "odd"}') \gset
-- What was given up is passed over, though it failed first, unless it is asked for.
SELECT message_bus.discard((SELECT message_id FROM message_bus.list_dead('{"error_code": "odd"}') OFFSET :odd - 1));
SELECT filter, (SELECT count(*) FROM message_bus.list_dead(filter::jsonb)) - :odd AS listed, c.count - :odd AS counted
FROM unnest(ARRAY['{"error_code": "odd"}', '{"error_code": "odd", "reason": null}',
	'{"error_code": "odd", "reason": null, "endpoint": "work"}',
	'{"error_code": "odd", "reason": null, "endpoint": "work", "message_type": "Type1"}']) filter,
	message_bus.count_dead(filter::jsonb) c;
BEGIN;
SELECT result FROM message_bus.redrive_matching('{"error_code": "odd"}', max => 1);
SELECT result, count(*) = :odd - 2 FROM message_bus.discard_matching('{"error_code": "odd"}') GROUP BY 1;
ROLLBACK;
SELECT result, count(*), bool_and(key IS NOT NULL), max(due_at) > clock_timestamp() + interval '1 s' AS later
FROM message_bus.redrive_matching('{"error_code": "odd"}', 1) GROUP BY 1 ORDER BY 1;
SELECT :odd - 1 = count(*) FILTER (WHERE state = 'scheduled') + 1 FROM message_bus.peek('work')
WHERE message_type = 'Type1' AND state <> 'retrying';
SELECT result FROM message_bus.redrive_matching('{"error_code": "odd", "reason": "discarded"}');
SELECT count(*) FROM message_bus.redrive_matching('{"error_code": "odd"}');
-- One that cannot go stays; the others go.
SELECT message_bus.alter_endpoint('work', max_depth => 4);
SELECT result, error_code, count(*) > 0 FROM message_bus.redrive_matching('{"error_code": null}') GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) > 0 FROM message_bus.list_dead('{"error_code": null}');
SELECT message_bus.alter_endpoint('work', max_depth => -1);
SELECT result, count(*) > 0 FROM message_bus.discard_matching('{"error_code": null}') GROUP BY 1;
SELECT result, count(*) > 0 FROM message_bus.discard_matching('{"error_code": null}') GROUP BY 1;
SELECT result, count(*) > 0 FROM message_bus.discard_matching('{"error_code": null, "reason": "discarded"}') GROUP BY 1;
SELECT fails($$SELECT message_bus.redrive_matching('{}', 0)$$);

-- ---------------------------------------------------------------- messages that wait
SELECT message_bus.create_endpoint('queue', 1, '{"kind": "interval", "limit": 5, "interval": "1 hour"}');
SELECT count(message_bus.send('queue', 'Type' || n % 2, '{}', id(n))) FROM generate_series(1, 6) n;
SELECT count(message_bus.send('queue', 'Later', '{}', id(n), deliver_at => now() + interval '1 hour')) FROM generate_series(7, 8) n;
SELECT message_type, result FROM message_bus.cancel(id(1), 'queue');
SELECT message_type, result FROM message_bus.cancel(id(3), 'queue', 'asked for twice');
SELECT message_type, result FROM message_bus.cancel(id(7), 'queue');
SELECT count(*) FROM message_bus.cancel(id(99));
SELECT count(*) FROM message_bus.cancel(id(1), 'queue');
SELECT fails($$SELECT message_bus.cancel(id(1), 'none')$$);
SELECT shown('queue'), (SELECT depth FROM message_bus.endpoints WHERE name = 'queue');
SELECT number(message_id), reason, error_code, error FROM message_bus.list_dead('{"endpoint": "queue"}') ORDER BY 1;
-- A savepoint that is rolled back takes it back, with what it had passed.
BEGIN;
SAVEPOINT s;
SELECT result FROM message_bus.cancel(id(2), 'queue');
ROLLBACK TO s;
COMMIT;
BEGIN;
SELECT count(*) FROM message_bus.receive('queue', 1);
SAVEPOINT s;
SELECT result FROM message_bus.cancel(id(4), 'queue');
ROLLBACK TO s;
COMMIT;
SELECT shown('queue');
-- What a consumer has under a lease is left to him.
SELECT delivery_id AS delivery FROM message_bus.receive('queue', 1, '1 hour') \gset
SELECT result FROM message_bus.cancel(id(2), 'queue');
SELECT result, sum(count) FROM message_bus.purge('queue') GROUP BY 1;
SELECT message_bus.fail(:delivery, 'away', 'away');
SELECT shown('queue');
SELECT message_bus.retry_now('queue'), message_bus.retry_now('queue');
SELECT message_bus.retry_now('queue', id(8)), message_bus.retry_now('queue', id(99));
SELECT array_agg(number(message_id) ORDER BY message_id), count(message_bus.fail(delivery_id, 'away', 'away')) FROM message_bus.receive('queue', 2);
SELECT shown('queue');
SELECT state, result, sum(count) FROM message_bus.purge('queue', '{"message_type": "Type0"}') GROUP BY 1, 2 ORDER BY 1;
SELECT shown('queue');
SELECT state, lane, count, result, key IS NOT NULL FROM message_bus.purge('queue', max => 1);
SELECT message_bus.pause('queue');
SELECT state, result, sum(count) FROM message_bus.purge('queue') GROUP BY 1, 2 ORDER BY 1;
SELECT shown('queue'), depth, oldest_unacked_age IS NULL FROM message_bus.endpoints WHERE name = 'queue';
SELECT fails($$SELECT message_bus.purge('queue', '{"odd": 1}')$$);
SELECT fails($$SELECT message_bus.purge('queue', '{"state": "leased"}')$$);
SELECT * FROM message_bus.verify();
-- Who may call it sees what it looks at.
CREATE ROLE regress_look_admin IN ROLE ecommerce_admin;
SET ROLE regress_look_admin;
SELECT * FROM message_bus.verify() UNION ALL SELECT * FROM event_store.verify();
SELECT count(*) FROM saga.verify();
RESET ROLE;
DROP ROLE regress_look_admin;

-- ---------------------------------------------------------------- dead letters that are forgotten
SELECT message_bus.create_endpoint('last', 1), message_bus.send('last', 'Type1', '{"n": 1}') IS NOT NULL;
SELECT message_bus.fail(delivery_id, 'odd', 'no good', false) FROM message_bus.receive('last');
SELECT count(*) > 0 AS some FROM message_bus.list_dead();
SELECT message_bus.maintain();
SELECT count(*) > 0 AS some FROM message_bus.list_dead();
SET message_bus.dead_letter_retention = '1 d';
UPDATE message_bus.dead SET last_failed_at = last_failed_at - interval '2 days' WHERE reason = 'discarded';
SELECT message_bus.maintain();
SELECT count(*) FILTER (WHERE reason = 'discarded') AS old, count(*) FILTER (WHERE reason = 'fault') > 0 AS others FROM message_bus.list_dead();
RESET message_bus.dead_letter_retention;

-- ---------------------------------------------------------------- who may what
CREATE ROLE regress_look_monitor IN ROLE ecommerce_monitor;
SET ROLE regress_look_monitor;
SELECT count(*) > 0, count(body), count(headers) FROM message_bus.peek('long');
SELECT count(*) > 0, count(body), count(headers) FROM message_bus.list_dead();
SELECT count(*) > 0 FROM message_bus.dead_groups();
SELECT count(*) FROM message_bus.consumers;
SELECT count FROM message_bus.count_dead('{"reason": "expired"}');
SELECT count(*) FROM message_bus.ring;
SELECT fails($$SELECT message_bus.redrive_matching('{}')$$);
SELECT fails($$SELECT message_bus.cancel(id(1))$$);
SELECT fails($$SELECT message_bus.purge('long')$$);
SELECT fails($$SELECT message_bus.retry_now('long')$$);
SELECT fails($$SELECT body FROM message_bus.dead$$);
RESET ROLE;
DROP ROLE regress_look_monitor;
