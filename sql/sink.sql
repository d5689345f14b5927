-- Sinks: what is asked for, who may ask, and what streamd is told and says.
CREATE EXTENSION ecommerce;
SELECT count(event_store.append('order-' || n % 2, -1, CASE n % 3 WHEN 0 THEN 'OrderPaid' ELSE 'OrderPlaced' END,
	jsonb_build_object('n', n))) FROM generate_series(1, 6) n;
SELECT version FROM event_store.append('stock-1', 0, 'Counted', '{}');

-- creating
SELECT event_store.create_sink('orders', 'kafka', '{"source": "/shop"}', 'order', '{OrderPaid}');
SELECT event_store.create_sink('all', 'jetstream', '{"broker": "nats", "subject": "shop.events"}');
SELECT name, kind, category, event_types, options - 'source' AS options FROM event_store.sink ORDER BY name;
SELECT event_store.create_sink('orders', 'kafka');
SELECT event_store.create_sink('x', 'pulsar');
SELECT event_store.create_sink('a b', 'kafka');
SELECT event_store.create_sink('x', 'kafka', '[]');
SELECT event_store.create_sink('x', 'kafka', '{"stream": "y"}');
SELECT event_store.create_sink('x', 'kafka', '{"broker": "kafka-1:9092/password=secret"}');
SELECT event_store.create_sink('x', 'kafka', '{"topic": 7}');
SELECT event_store.create_sink('x', 'jetstream', '{"stream": "a.b"}');
SELECT event_store.create_sink('x', 'jetstream', '{"subject": "a.>"}');
SELECT event_store.create_sink('x', 'kafka', after_position => -1);
SELECT event_store.create_sink(NULL, 'kafka');

-- what streamd is told
SELECT claimed, state, generation, starts_after, position FROM event_store.claim_sink('orders');
SELECT r.count, r.upto = r.head AS all_of_it, json_array_length(r.events::json) AS n,
	(r.events::json -> 0 -> 'attributes' ->> 'position')::bigint = (r.events::json -> 0 ->> 'position')::bigint AS same,
	r.events::json -> 0 ->> 'stream' AS stream, r.events::json -> 0 ->> 'type' AS type, r.events::json -> 0 ->> 'body' AS body,
	r.events::json -> 0 -> 'attributes' ->> 'source' AS source, r.events::json -> 0 -> 'attributes' ->> 'subject' AS subject,
	r.events::json -> 0 -> 'attributes' ->> 'version' AS version
FROM event_store.read_sink('orders', 0) r;
SELECT count FROM event_store.read_sink('all', 0, 5);
SELECT count FROM event_store.read_sink('all', 1000000);
SELECT event_store.claim_sink('nobody');
SELECT event_store.read_sink('nobody', 0);

-- what it says
SELECT name, state, position, lag IS NULL AS has_all FROM event_store.sinks ORDER BY name;
SELECT event_store.note_sink('orders', 0, 1000);
SELECT event_store.note_sink('all', 0, NULL, false, 'broker away');
SELECT name, state, position, lag IS NULL AS has_all, error FROM event_store.sinks ORDER BY name;
SELECT kind, object, severity, holds_up, what_to_type FROM ecommerce.problems
	WHERE kind LIKE 'sink%';
SELECT event_store.note_sink('all', 0, NULL, true, 'it is another one');
SELECT event_store.note_sink('all', 0, 5);
SELECT event_store.pause_sink('orders');
SELECT kind, object, severity, holds_up, what_to_type FROM ecommerce.problems
	WHERE kind LIKE 'sink%' ORDER BY kind;
SELECT event_store.resume_sink('orders');

-- going on from somewhere else
SELECT event_store.reset_sink('all', 3);
SELECT state, starts_after, position, generation > 0 AS newer FROM event_store.claim_sink('all');
SELECT event_store.note_sink('all', 0, 5) AS of_an_older_generation;
SELECT event_store.reset_sink('all', -1);
SELECT event_store.reset_sink('all', NULL);
SELECT event_store.reset_sink('nobody', 1);
SELECT event_store.pause_sink('nobody');
SELECT event_store.resume_sink('nobody');
SELECT event_store.drop_sink('nobody');

-- nobody who publishes
UPDATE event_store.sink SET heard_at = now() - interval '6 min' WHERE name = 'orders';
SELECT kind, object, severity, holds_up, what_to_type FROM ecommerce.problems
	WHERE kind LIKE 'sink%';

SELECT name, labels, value BETWEEN 0 AND 3600 AS sane FROM ecommerce.metrics()
WHERE name LIKE 'ecommerce_sink%' ORDER BY 1, 2;
-- who may
CREATE ROLE regress_sink_reader IN ROLE ecommerce_reader;
CREATE ROLE regress_sink_writer IN ROLE ecommerce_writer;
CREATE ROLE regress_sink_admin IN ROLE ecommerce_admin;
SET ROLE regress_sink_reader;
SELECT count(*) FROM event_store.sinks;
SELECT event_store.note_sink('all', 0, 5);
SET ROLE regress_sink_writer;
SELECT event_store.note_sink('orders', 0, 1001);
SELECT count(*) FROM event_store.claim_sink('orders');
SELECT count FROM event_store.read_sink('orders', 0);
SELECT event_store.create_sink('x', 'kafka');
UPDATE event_store.sink SET position = 0;
SET ROLE regress_sink_admin;
SELECT event_store.create_sink('x', 'kafka');
SELECT event_store.drop_sink('x');
RESET ROLE;
DROP ROLE regress_sink_reader, regress_sink_writer, regress_sink_admin;

-- Retention leaves what a sink has still to get, as far as streamd has said.
SELECT event_store.create_sink('lake', 'kafka', category => 'thing');
SELECT event_store.drop_sink('all');
SELECT count((event_store.append('thing-1', -1, 'Made', '{}')).version) FROM generate_series(1, 5);
SELECT event_store.set_retention('thing', max_count => 1);
SELECT event_store.scavenge();
SELECT event_store.note_sink('lake', 0, position) FROM event_store.stored_event
WHERE stream = 'thing-1' AND version = 3;
SELECT event_store.scavenge();
SELECT event_store.note_sink('lake', 0, event_store.position_counter());
SELECT event_store.scavenge();
SELECT version FROM event_store.stored_event WHERE stream = 'thing-1';
