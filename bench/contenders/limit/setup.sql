-- What a plain INSERT can reach with the columns and the indexes of the event store:
-- the category beside the stream, both as text, and an index for each way of reading.
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
	category text NOT NULL,
	PRIMARY KEY (position),
	UNIQUE (event_id),
	UNIQUE (stream, version)
);
CREATE INDEX ON event (category, position);
CREATE INDEX ON event ((metadata ->> 'correlation_id'), position)
	WHERE metadata ? 'correlation_id';
CREATE INDEX ON event USING brin (occurred_at) WITH (pages_per_range = 32);
