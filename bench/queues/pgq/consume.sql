-- Takes the next batch, whatever its size, looks at its events and is done with all of them.
BEGIN;
SELECT coalesce(pgq.next_batch('bench', 'consumer'), 0) AS id \gset
\if :id
SELECT sum(length(ev_data)) AS size FROM pgq.get_batch_events(:id) \gset
SELECT pgq.finish_batch(:id);
\endif
COMMIT;
\if :id = 0
\sleep 1 ms
\endif
