-- One of the streams that fill.sql wrote, from its first event.
\set s random(1, :pool)
SELECT position, stream, version, event_id, event_type, schema_version, data, metadata,
	occurred_at
FROM event
WHERE stream = 'order-' || :prefix::text || '-7f3c2a9e5d1b4c8090ab-' || :s::text
ORDER BY version;
