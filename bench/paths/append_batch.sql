-- 1000 events, in ten batches, with the metadata of real ones.
DEALLOCATE ALL;
PREPARE append(text, event_store.new_event[]) AS SELECT event_store.append_batch(
	'order-7f3c2a9e5d1b4c80-' || $1, 0, $2);
CREATE TEMP TABLE IF NOT EXISTS batch (events event_store.new_event[]);
TRUNCATE batch;
INSERT INTO batch SELECT array_agg(ROW('OrderCreated', :'data', jsonb_set(:'metadata', '{correlation_id}',
	to_jsonb(gen_random_uuid())), NULL, NULL, NULL)::event_store.new_event)
FROM generate_series(1, 100) s;
-- counted
SELECT count(event_store.append_batch('order-7f3c2a9e5d1b4c80-' || :turn || '-' || i, 0, events))
FROM batch, generate_series(1, 10) i;
