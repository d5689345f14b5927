-- 1000 messages, received and settled in twenties, one transaction each.
SELECT message_bus.create_endpoint('bench', 8) WHERE :turn = 1;
SELECT count(message_bus.send('bench', 'OrderSubmitted', :'data', partition_key => n::text))
FROM generate_series(1, 1000) n;
-- counted
SELECT 'SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM message_bus.receive(''bench'', 20)'
FROM generate_series(1, 50) \gexec
