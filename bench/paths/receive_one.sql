-- 200 messages, received and settled one by one, one transaction each.
SELECT message_bus.create_endpoint('bench', 8) WHERE :turn = 1;
SELECT count(message_bus.send('bench', 'OrderSubmitted', :'data', partition_key => n::text))
FROM generate_series(1, 200) n;
-- counted
SELECT 'SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM message_bus.receive(''bench'', 1)'
FROM generate_series(1, 200) \gexec
