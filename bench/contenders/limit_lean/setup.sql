-- What a plain INSERT can reach where nobody reads by category, time or correlation:
-- the columns a user of the event store sees, and only what numbering and ids need.
CREATE TABLE event (
	position bigint GENERATED ALWAYS AS IDENTITY,
	stream text NOT NULL,
	version bigint NOT NULL,
	event_id uuid NOT NULL DEFAULT gen_random_uuid(),
	event_type text NOT NULL,
	schema_version int NOT NULL DEFAULT 1,
	data jsonb NOT NULL,
	metadata jsonb NOT NULL DEFAULT '{}',
	occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (position),
	UNIQUE (event_id),
	UNIQUE (stream, version)
);
