-- One event on the next of this client's streams, at the version after its last.
\set i :i + 1
\set s :i % :streams
\set v :i / :streams
\set c random(100000000000, 999999999999)
INSERT INTO event (stream, version, event_type, data, metadata)
VALUES ('order-' || :run::text || '-' || :client_id::text || '-' || :s::text,
	:v::bigint + 1, 'OrderCreated', :data::jsonb,
	replace(:metadata::text, 'CCCCCCCCCCCC', :c::text)::jsonb);
