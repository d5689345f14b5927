-- 200 messages, one a transaction, each for a time of its own.
DEALLOCATE ALL;
SELECT message_bus.create_endpoint('bench', 8) WHERE :turn = 1;
PREPARE send(int) AS SELECT message_bus.send('bench', 'OrderSubmitted', :'data', partition_key => $1::text,
	deliver_at => clock_timestamp() + interval '1 day' + $1 * interval '1 s');
-- counted
SELECT format('EXECUTE send(%s)', i) FROM generate_series(1, 200) i \gexec
