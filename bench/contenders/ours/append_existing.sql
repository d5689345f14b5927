-- One event on the next of this client's streams, at the version it must have.
\set i :i + 1
\set s :i % :streams
\set v :i / :streams
\set c random(100000000000, 999999999999)
SELECT event_store.append('order-' || :run::text || '-' || :client_id::text || '-' || :s::text,
	:v::bigint, 'OrderCreated', :data::jsonb,
	replace(:metadata::text, 'CCCCCCCCCCCC', :c::text)::jsonb);
