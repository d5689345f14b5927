-- One transaction that sends :batch messages.
SELECT count(pgq.insert_event('bench', 'OrderSubmitted', :data)) FROM generate_series(1, :batch);
