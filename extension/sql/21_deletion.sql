-- Deletions of streams, as events: for readers that name their types.

-- The columns are those of event_store.stored_event, whose positions these have too.
CREATE TABLE event_store.deletion (
	position bigint NOT NULL,
	stream text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	event_id uuid NOT NULL,
	event_type text COLLATE "C" NOT NULL,
	schema_version int NOT NULL,
	data jsonb NOT NULL,
	metadata jsonb NOT NULL,
	occurred_at timestamptz NOT NULL,
	stream_id bigint NOT NULL,
	category_key int NOT NULL,
	recorded_at timestamptz
);
COMMENT ON TABLE event_store.deletion IS
'Every delete_stream and tombstone_stream since 1.1, as an event of type $deleted or $tombstoned; metadata tells who did it. Readers get it in its place among the events when they name the type. scavenge() leaves it.';
COMMENT ON COLUMN event_store.deletion.version IS 'Version of the last event that is gone; 0 if the stream never had one. The next append goes on from there as if this event were not.';
CREATE UNIQUE INDEX deletion_position_idx ON event_store.deletion (position);
ALTER TABLE event_store.deletion REPLICA IDENTITY USING INDEX deletion_position_idx;
CREATE INDEX deletion_category_idx ON event_store.deletion (category_key, position);

CREATE TRIGGER immutable_row BEFORE UPDATE OR DELETE ON event_store.deletion
	FOR EACH ROW EXECUTE FUNCTION event_store._guard_immutable();
CREATE TRIGGER immutable_table BEFORE TRUNCATE ON event_store.deletion
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._guard_immutable();
ALTER TABLE event_store.deletion ENABLE ALWAYS TRIGGER immutable_row;
ALTER TABLE event_store.deletion ENABLE ALWAYS TRIGGER immutable_table;
