-- 200 events, one a transaction, each on a stream of its own, without metadata.
DEALLOCATE ALL;
PREPARE append(text) AS SELECT event_store.append(
	'order-7f3c2a9e5d1b4c80-' || $1, 0, 'OrderCreated', :'data');
-- counted
SELECT format('EXECUTE append(%L)', :turn || '-' || i) FROM generate_series(1, 200) i \gexec
