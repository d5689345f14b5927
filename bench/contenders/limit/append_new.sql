-- One event on a stream that does not exist yet.
\set r random(1000000000000000, 9000000000000000000)
\set c random(100000000000, 999999999999)
INSERT INTO event (stream, version, event_type, data, metadata, category)
VALUES ('order-7f3c2a9e5d1b4c80-' || :r::text, 1, 'OrderCreated', :data::jsonb,
	replace(:metadata::text, 'CCCCCCCCCCCC', :c::text)::jsonb, 'order');
