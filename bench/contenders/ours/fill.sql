-- Streams :first to :last of :length events each.
SELECT count(event_store.append_batch('order-' || :'prefix' || '-7f3c2a9e5d1b4c8090ab-' || s, 0,
	array_fill(ROW('OrderCreated', :'data',
		replace(:'metadata', 'CCCCCCCCCCCC', lpad(s::text, 12, '0'))::jsonb,
		NULL, NULL, NULL)::event_store.new_event,
			   ARRAY[:length])))
FROM generate_series(:first, :last) AS s;
