-- 400 reads of a stream of ten events, one a transaction.
DEALLOCATE ALL;
SELECT count(event_store.append_batch('order-7f3c2a9e5d1b4c80-' || :turn || '-' || s, 0,
	array_fill(ROW('OrderCreated', :'data', :'metadata', NULL, NULL, NULL)::event_store.new_event, ARRAY[10])))
FROM generate_series(0, 99) s;
PREPARE read(text) AS SELECT * FROM event_store.read_stream('order-7f3c2a9e5d1b4c80-' || $1);
-- counted
SELECT format('EXECUTE read(%L)', :turn || '-' || i % 100) FROM generate_series(0, 399) i \gexec
