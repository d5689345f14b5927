-- One transaction that sends a message for a time of its own.
SELECT message_bus.send('bench', 'OrderSubmitted', :data::jsonb,
	partition_key => (random() * 1000)::int::text,
	deliver_at => clock_timestamp() + interval '1 s' + random() * interval '2 s');
\sleep 1 ms
