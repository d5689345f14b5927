-- The first :rows events of the store.
-- The statement is that of the library's readMessagesBatch.
SELECT stream_id, stream_position, global_position, message_data, message_metadata,
	message_schema_version, message_type, message_id
FROM emt_messages
WHERE partition = :partition AND is_archived = FALSE
AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY transaction_id, global_position LIMIT :rows::bigint;
