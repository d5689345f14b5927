-- 20000 events, in 20 reads of a thousand.
SELECT count(event_store.append_batch('order-7f3c2a9e5d1b4c80-' || :turn || '-' || s, 0,
	array_fill(ROW('OrderCreated', :'data', :'metadata', NULL, NULL, NULL)::event_store.new_event, ARRAY[100])))
FROM generate_series(1, 10) s;
-- counted
SELECT count(r) FROM generate_series(0, 19) i, LATERAL event_store.read_all(0, 1000) r;
