-- An empty queue with one consumer, and a tick as often as the daemon looks.
CREATE EXTENSION pgq;
SELECT pgq.create_queue('bench'), pgq.register_consumer('bench', 'consumer'),
	pgq.set_queue_config('bench', 'ticker_max_count', '500'),
	pgq.set_queue_config('bench', 'ticker_max_lag', '20 ms'),
	pgq.set_queue_config('bench', 'ticker_idle_period', '1 s');
-- The next batch that has events; empty ones are finished at once.
CREATE FUNCTION take() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	batch bigint := pgq.next_batch('bench', 'consumer');
BEGIN
	IF batch IS NULL OR EXISTS (SELECT FROM pgq.get_batch_events(batch)) THEN
		RETURN batch;
	END IF;
	PERFORM pgq.finish_batch(batch);
	RETURN NULL;
END
$$;
