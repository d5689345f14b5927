-- One transaction that sends :batch messages.
INSERT INTO queue (message) SELECT :data::jsonb FROM generate_series(1, :batch);
