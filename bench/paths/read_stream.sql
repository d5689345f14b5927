-- 20000 events, in 200 reads of a stream of 100.
SELECT count(event_store.append_batch('order-7f3c2a9e5d1b4c80-' || :turn || '-' || s, 0,
	array_fill(ROW('OrderCreated', :'data', :'metadata', NULL, NULL, NULL)::event_store.new_event, ARRAY[100])))
FROM generate_series(1, 10) s;
-- counted
SELECT count(r) FROM generate_series(0, 199) i,
	LATERAL event_store.read_stream('order-7f3c2a9e5d1b4c80-' || :turn || '-' || i % 10 + 1) r;
