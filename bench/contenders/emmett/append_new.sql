-- One event on a stream that does not exist yet, which is what version 0 says.
\set r random(1000000000000000, 9000000000000000000)
\set c random(100000000000, 999999999999)
SELECT * FROM emt_append_to_stream(ARRAY[gen_random_uuid()::text], ARRAY[:data::jsonb],
	ARRAY[replace(:metadata::text, 'CCCCCCCCCCCC', :c::text)::jsonb],
	ARRAY['1'], ARRAY['OrderCreated'], ARRAY['E'],
	'order-7f3c2a9e5d1b4c80-' || :r::text, 'order', 0, :partition);
