-- One event on the next of this client's streams, at the version after its last.
\set i :i + 1
\set s :i % :streams
\set v :i / :streams
INSERT INTO event (stream, version, event_type, data, category)
VALUES ('order-' || :run::text || '-' || :client_id::text || '-' || :s::text,
	:v::bigint + 1, 'OrderCreated', :data::jsonb, 'order');
