-- One transaction that sends :batch messages.
SELECT count(message_bus.send('bench', 'OrderSubmitted', :data::jsonb,
	partition_key => (random() * 1000)::int::text)) FROM generate_series(1, :batch);
