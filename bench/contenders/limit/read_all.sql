-- The first :rows events of the store.
SELECT position, stream, version, event_id, event_type, schema_version, data, metadata,
	occurred_at
FROM event WHERE position > 0 ORDER BY position LIMIT :rows::bigint;
