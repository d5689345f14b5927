-- Streams :first to :last of :length events each.
SELECT count(*)
FROM generate_series(:first, :last) AS s, LATERAL emt_append_to_stream(
	ARRAY(SELECT gen_random_uuid()::text FROM generate_series(1, :length) WHERE s > 0),
	array_fill(:'data'::jsonb, ARRAY[:length]),
	array_fill(replace(:'metadata', 'CCCCCCCCCCCC', lpad(s::text, 12, '0'))::jsonb, ARRAY[:length]),
	array_fill('1'::text, ARRAY[:length]), array_fill('OrderCreated'::text, ARRAY[:length]),
	array_fill('E'::text, ARRAY[:length]), 'order-' || :'prefix' || '-7f3c2a9e5d1b4c8090ab-' || s,
	'order', 0, 'emt:default');
