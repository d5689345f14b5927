-- Receives up to :batch messages, looks at them and is done with them.
BEGIN;
SELECT coalesce(array_agg(delivery_id), '{}') AS ids, count(*) AS got,
	coalesce(sum(length(body::text)), 0) AS size FROM message_bus.receive('bench', :batch) \gset
SELECT message_bus.ack(VARIADIC :ids::bigint[]);
COMMIT;
\if :got = 0
\sleep 1 ms
\endif
