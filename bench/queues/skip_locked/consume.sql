-- Receives up to :batch messages, looks at them and is done with them.
SELECT coalesce(array_agg(msg_id), '{}') AS ids, count(*) AS got,
	coalesce(sum(length(message::text)), 0) AS size FROM read(:batch) \gset
DELETE FROM queue WHERE msg_id = ANY (:ids::bigint[]);
\if :got = 0
\sleep 1 ms
\endif
