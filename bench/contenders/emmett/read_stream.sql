-- One of the streams that fill.sql wrote, from its first event.
-- The statement is that of the library's readStream.
\set s random(1, :pool)
SELECT stream_id, stream_position, global_position, message_data, message_metadata,
	message_schema_version, message_type, message_id
FROM emt_messages
WHERE stream_id = 'order-' || :prefix::text || '-7f3c2a9e5d1b4c8090ab-' || :s::text
AND partition = :partition AND is_archived = FALSE
ORDER BY stream_position;
