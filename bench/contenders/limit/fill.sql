-- Streams :first to :last of :length events each.
INSERT INTO event (stream, version, event_type, data, metadata, category)
SELECT 'order-' || :'prefix' || '-7f3c2a9e5d1b4c8090ab-' || s, v, 'OrderCreated', :'data',
	replace(:'metadata', 'CCCCCCCCCCCC', lpad(s::text, 12, '0'))::jsonb, 'order'
FROM generate_series(:first, :last) AS s, generate_series(1, :length) AS v;
