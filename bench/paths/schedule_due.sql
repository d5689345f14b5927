-- 200 messages whose time has come, received and settled in twenties, one transaction each.
SELECT message_bus.create_endpoint('bench', 8) WHERE :turn = 1;
SELECT count(message_bus.send('bench', 'OrderSubmitted', :'data', partition_key => n::text,
	deliver_at => clock_timestamp() + interval '0.5 s')) FROM generate_series(1, 200) n;
SELECT pg_sleep(1);
-- counted
SELECT 'SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM message_bus.receive(''bench'', 20)'
FROM generate_series(1, 10) \gexec
