-- Lists of the event store for operators: by key, bounded, without what events hold for
-- those who may not read them.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- Positions 1 to 60: order-1 to order-5 with ten events each in turn, then ten of one basket.
SELECT count(*) FROM generate_series(1, 50) n, LATERAL event_store.append(
	'order-' || (n - 1) % 5 + 1, -1, CASE WHEN n = 3 THEN 'Rare' ELSE 'Type' || n % 2 END,
	jsonb_build_object('n', n), '{"correlation_id": "00000000-0000-4000-8000-000000000001"}') a;
SELECT version FROM event_store.append_json('basket-1', 0, (SELECT jsonb_agg(
	'{"event_type": "Filled", "data": {}}'::jsonb) FROM generate_series(1, 10)));

-- The newest first; pages meet.
SELECT position, stream, version, event_type, data, correlation_id IS NOT NULL, key
FROM event_store.newest(max => 2);
SELECT array_agg(position) FROM event_store.newest('order', max => 3);
SELECT array_agg(position) FROM event_store.newest('order', after => '48', max => 3);
SELECT array_agg(position) FROM event_store.newest('order', '{Type0,Rare}', max => 4);
SELECT array_agg(position) FROM event_store.newest(NULL, '{Rare}');
SELECT count(*) FROM event_store.newest('nothing');
SELECT fails($$SELECT event_store.newest(max => 0)$$);
SELECT fails($$SELECT event_store.newest(max => 1001)$$);

-- What a rare type costs is bounded: a bookmark comes instead of rows, and leads on.
SELECT version FROM event_store.append_json('visit-1', 0, (SELECT jsonb_agg(
	'{"event_type": "Seen", "data": {}}'::jsonb) FROM generate_series(1, 3000)));
SELECT position, event_id IS NULL, key FROM event_store.newest(NULL, '{Rare}', max => 10);
SELECT position, event_id IS NULL, key FROM event_store.newest(NULL, '{Rare}', '1051', 10);
SELECT count(*) FROM event_store.newest('visit', '{Rare}', '100', 10);

-- Streams, those with the newest events first, each once.
SELECT stream, version, newest_position, newest_type, key FROM event_store.list_streams('order');
SELECT stream FROM event_store.list_streams('order', after => '49');
SELECT stream FROM event_store.list_streams('order', max => 2);
SELECT stream, key FROM event_store.list_streams(max => 3);
-- One that is called as the prefix says is found wherever it is.
SELECT stream, version FROM event_store.list_streams(prefix => 'order-3', max => 1);
SELECT stream IS NULL, key FROM event_store.list_streams(prefix => 'order', max => 10);
SELECT count(*) FROM event_store.list_streams('basket', 'order-3');
SELECT event_store.delete_stream('order-2', 10), event_store.tombstone_stream('order-3', 10);
SELECT stream, deleted, tombstoned FROM event_store.list_streams('order', max => 4);
-- With an index on names, in their order.
CREATE INDEX ON event_store.stream (name);
SELECT stream, key FROM event_store.list_streams(prefix => 'order-', max => 3);
SELECT stream FROM event_store.list_streams(prefix => 'order-', after => 'order-3');
SELECT count(*) FROM event_store.list_streams('basket', 'order-');

SELECT category, newest_position, newest_type, first_at <= newest_at
FROM event_store.categories() ORDER BY 1;
SELECT count(DISTINCT category), count(*) FROM (
	SELECT c.category FROM event_store.categories(max => 2) c UNION ALL
	SELECT c.category FROM event_store.categories((SELECT key FROM event_store.categories(max => 2)
		OFFSET 1), 2) c) c;
ANALYZE event_store.stored_event;
SELECT category, events_estimate BETWEEN 2900 AND 3100 FROM event_store.categories()
WHERE category = 'visit';

CREATE TYPE seen AS (x int);
SELECT event_store.register_event_type('Seen', 'seen'), event_store.register_event_type('Never', 'seen');
SELECT event_type, registered, current_version, newest_at IS NOT NULL, recent
FROM event_store.event_types() ORDER BY 1;
SELECT event_type, registered, recent FROM event_store.event_types('order') ORDER BY 1;

-- Rates by position: what came in the last minute is all.
SELECT sum(events), count(*), bool_and(per_s >= 0)
FROM event_store.rates(clock_timestamp() - interval '5 min', '1 min');
SELECT fails($$SELECT event_store.rates(now() - interval '1 day', '1 s')$$);
SELECT fails($$SELECT event_store.rates(now(), '0')$$);
SELECT fails($$SELECT event_store.rates(NULL, '1 s')$$);
-- Uneven: a thousand events an hour ago, three in each of the last minutes.
SELECT event_store.append_json('old-1', 0, (SELECT jsonb_agg(jsonb_build_object('event_type', 'Old',
	'data', '{}'::jsonb, 'occurred_at', now() + interval '1 hour' + CASE WHEN n <= 1000 THEN '0 s'::interval
		ELSE (n - 1000) * interval '20 s' END)) FROM generate_series(1, 1030) n)) IS NOT NULL;
SELECT event_store._position_at(now() + interval '1 hour 5 min', 0, now() - interval '1 hour',
	event_store.high_water_mark(), now() + interval '2 hours', 1) - (SELECT max(position)
	FROM event_store.stored_event WHERE occurred_at < now() + interval '1 hour 5 min');

-- Who may only see how much there is sees all but what events hold.
CREATE ROLE regress_look_monitor IN ROLE ecommerce_monitor;
SET ROLE regress_look_monitor;
SELECT position, stream, data, metadata, correlation_id IS NOT NULL
FROM event_store.newest('order', max => 1);
SELECT count(*) FROM event_store.list_streams('order');
SELECT count(*) FROM event_store.categories();
SELECT count(*) FROM event_store.event_types();
SELECT count(*) > 0 FROM event_store.rates(now() - interval '5 min', '1 min');
SELECT count(data), count(metadata), count(*) > 0 FROM event_store._seen_event;
SELECT fails($$SELECT data FROM event_store.stored_event$$);
SELECT fails($$SELECT event_store.read_all()$$);
BEGIN READ ONLY;
SELECT count(*) > 0 FROM event_store.newest();
SELECT count(*) > 0 FROM event_store.list_streams();
ROLLBACK;
RESET ROLE;
DROP ROLE regress_look_monitor;
