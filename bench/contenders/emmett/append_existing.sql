-- One event on the next of this client's streams, at the version it must have.
\set i :i + 1
\set s :i % :streams
\set v :i / :streams
\set c random(100000000000, 999999999999)
SELECT * FROM emt_append_to_stream(ARRAY[gen_random_uuid()::text], ARRAY[:data::jsonb],
	ARRAY[replace(:metadata::text, 'CCCCCCCCCCCC', :c::text)::jsonb],
	ARRAY['1'], ARRAY['OrderCreated'], ARRAY['E'],
	'order-' || :run::text || '-' || :client_id::text || '-' || :s::text, 'order',
	:v::bigint, :partition);
