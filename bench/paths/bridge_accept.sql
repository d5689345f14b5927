-- 2000 messages, taken in as bridged brings them, 500 at a time, beside 20 000 ids that are kept.
SELECT message_bus.create_endpoint('in', 8), message_bus.create_bridge('in', 'raw', '{"queue": "orders", "target": "in"}') WHERE :turn = 1;
INSERT INTO message_bus.inbox_0 SELECT 1, gen_random_uuid(), now() FROM generate_series(1, 20000) WHERE :turn = 1;
DROP TABLE IF EXISTS batch;
CREATE TEMP TABLE batch AS SELECT array_agg(message_bus.to_envelope('raw', jsonb_populate_record(NULL::message_bus.message,
	jsonb_build_object('message_id', gen_random_uuid(), 'message_type', 'OrderSubmitted', 'body', :'data'::jsonb, 'headers', '{}'::jsonb,
		'correlation_id', gen_random_uuid(), 'conversation_id', gen_random_uuid(), 'partition_key', n::text, 'source', 'bench', 'sent_at', now()))))
	AS envelopes
FROM generate_series(1, 2000) n GROUP BY n / 500;
-- counted
SELECT sum(accepted) FROM batch, LATERAL message_bus.accept_foreign('in', envelopes);
