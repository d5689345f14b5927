-- 5000 messages, fifty a transaction.
DEALLOCATE ALL;
SELECT message_bus.create_endpoint('bench', 8) WHERE :turn = 1;
PREPARE send(int) AS SELECT count(message_bus.send('bench', 'OrderSubmitted', :'data', partition_key => n::text))
FROM generate_series($1, $1 + 49) n;
-- counted
SELECT format('EXECUTE send(%s)', i) FROM generate_series(1, 100) i \gexec
