-- One transaction that sends a message for a time of its own.
INSERT INTO queue (message, vt) VALUES
	(:data::jsonb, clock_timestamp() + interval '1 s' + random() * interval '2 s');
\sleep 1 ms
