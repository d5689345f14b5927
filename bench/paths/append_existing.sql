-- 200 events, one a transaction, on ten streams in their turn, with the metadata of a real one.
DEALLOCATE ALL;
SELECT count(event_store.append('order-7f3c2a9e5d1b4c80-' || :turn || '-' || s, 0, 'OrderCreated', :'data'))
FROM generate_series(0, 9) s;
PREPARE append(text, bigint, jsonb) AS SELECT event_store.append(
	'order-7f3c2a9e5d1b4c80-' || $1, $2, 'OrderCreated', :'data', $3);
-- counted
SELECT format('EXECUTE append(%L, %s, %L)', :turn || '-' || i % 10, i / 10 + 1,
	jsonb_set(:'metadata', '{correlation_id}', to_jsonb(gen_random_uuid())))
FROM generate_series(0, 199) i \gexec
