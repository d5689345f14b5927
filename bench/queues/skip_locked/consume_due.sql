-- Looks every 5 ms for what has come, looks at it and is done with it.
SELECT coalesce(array_agg(msg_id), '{}') AS ids, count(*) AS got,
	coalesce(sum(length(message::text)), 0) AS size FROM read(:batch) \gset
DELETE FROM queue WHERE msg_id = ANY (:ids::bigint[]);
\if :got = 0
\sleep 5 ms
\endif
