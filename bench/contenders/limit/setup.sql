-- What a plain INSERT can reach with the columns and the indexes of the event store:
-- the lean table, the category beside the stream, and an index for each way of reading.
\ir ../limit_lean/setup.sql
ALTER TABLE event ADD category text NOT NULL;
CREATE INDEX ON event (category, position);
CREATE INDEX ON event ((metadata ->> 'correlation_id'), position)
	WHERE metadata ? 'correlation_id';
CREATE INDEX ON event USING brin (occurred_at) WITH (pages_per_range = 32);
