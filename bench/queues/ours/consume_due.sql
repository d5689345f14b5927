-- Waits, receives what has come, looks at it and is done with it.
CALL message_bus.wait('bench', '1 s');
BEGIN;
SELECT coalesce(array_agg(delivery_id), '{}') AS ids,
	coalesce(sum(length(body::text)), 0) AS size FROM message_bus.receive('bench', :batch) \gset
SELECT message_bus.ack(VARIADIC :ids::bigint[]);
COMMIT;
