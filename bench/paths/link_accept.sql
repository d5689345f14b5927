-- 4000 messages, taken in as linkd brings them, from eight lanes.
SELECT message_bus.create_endpoint('bench', 8, forward_to => 'bench'), message_bus.create_endpoint('in', 8),
	message_bus.create_link('link', 'elsewhere', 'bench', 'in') WHERE :turn = 1;
SELECT count(message_bus.send('bench', 'OrderSubmitted', :'data', partition_key => n::text))
FROM generate_series(1, 4000) n;
DROP TABLE IF EXISTS batch;
CREATE TEMP TABLE batch AS SELECT l.lane, max(f.position) AS upto, array_agg(f.message ORDER BY f.position)::text AS messages
FROM message_bus.forward_lanes('bench') l,
	message_bus.forwarded('bench', l.lane, l.confirmed, 1000) f GROUP BY l.lane;
SELECT sum(message_bus.confirm_forwarded('bench', lane, upto)) FROM batch;
-- counted
SELECT sum(message_bus.accept('link', lane, message_bus.link_position('link', lane), upto, messages::message_bus.message[]))
FROM batch;
