-- Streams :first to :last of :length events each.
SELECT count(write_message(gen_random_uuid()::varchar,
	'order-' || :'prefix' || '-7f3c2a9e5d1b4c8090ab-' || s,
	'OrderCreated', :'data',
	replace(:'metadata', 'CCCCCCCCCCCC', lpad(s::text, 12, '0'))::jsonb, v - 2))
FROM (SELECT s, v
	  FROM generate_series(:first, :last) AS s, generate_series(1, :length) AS v
	  ORDER BY s, v) AS events;
