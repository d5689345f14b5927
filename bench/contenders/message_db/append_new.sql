-- One event on a stream that does not exist yet, which is what version -1 says.
\set r random(1000000000000000, 9000000000000000000)
\set c random(100000000000, 999999999999)
SELECT write_message(gen_random_uuid()::varchar, 'order-7f3c2a9e5d1b4c80-' || :r::text,
	'OrderCreated', :data::jsonb,
	replace(:metadata::text, 'CCCCCCCCCCCC', :c::text)::jsonb, -1);
