-- Is nothing left, neither in batches nor beyond the last tick?
SELECT c.pending_events = 0 AND q.ev_new = 0 FROM pgq.get_consumer_info('bench', 'consumer') c,
	pgq.get_queue_info('bench') q;
