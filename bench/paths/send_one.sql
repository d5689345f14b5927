-- 200 messages, one a transaction.
DEALLOCATE ALL;
SELECT message_bus.create_endpoint('bench', 8) WHERE :turn = 1;
PREPARE send(text) AS SELECT message_bus.send('bench', 'OrderSubmitted', :'data', partition_key => $1);
-- counted
SELECT format('EXECUTE send(%L)', i) FROM generate_series(1, 200) i \gexec
