-- One event on the next of this client's streams, at the version it must have.
\set i :i + 1
\set s :i % :streams
\set v :i / :streams
\set c random(100000000000, 999999999999)
SELECT write_message(gen_random_uuid()::varchar,
	'order-' || :run::text || '-' || :client_id::text || '-' || :s::text,
	'OrderCreated', :data::jsonb,
	replace(:metadata::text, 'CCCCCCCCCCCC', :c::text)::jsonb, :v::bigint - 1);
