-- Has the processor passed the last event?
SELECT coalesce((SELECT max(last_processed_checkpoint::bigint) FROM emt_processors), 0)
	>= coalesce((SELECT max(global_position) FROM emt_messages), 0);
