-- An empty queue.
CREATE TABLE queue (
	msg_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	read_ct int NOT NULL DEFAULT 0,
	enqueued_at timestamptz NOT NULL DEFAULT now(),
	vt timestamptz NOT NULL DEFAULT now(),
	message jsonb
);
CREATE INDEX ON queue (vt);
CREATE FUNCTION read(count int) RETURNS SETOF queue LANGUAGE sql AS $$
	WITH found AS (
		SELECT msg_id FROM queue WHERE vt <= clock_timestamp()
		ORDER BY msg_id LIMIT count FOR UPDATE SKIP LOCKED)
	UPDATE queue q SET vt = clock_timestamp() + interval '30 s', read_ct = read_ct + 1
	FROM found f WHERE q.msg_id = f.msg_id RETURNING q.*
$$;
