-- 4000 messages, read as linkd does, from eight lanes at once.
DEALLOCATE ALL;
SELECT message_bus.create_endpoint('bench', 8, forward_to => 'bench') WHERE :turn = 1;
SELECT count(message_bus.send('bench', 'OrderSubmitted', :'data', partition_key => n::text))
FROM generate_series(1, 4000) n WHERE :turn = 1;
PREPARE read AS SELECT l.lane, count(f.position), max(f.position), length(array_agg(f.message ORDER BY f.position)::text), max(f.read_from)
FROM message_bus.forward_lanes('bench') l, message_bus.forwarded('bench', l.lane, l.confirmed, 1000) f GROUP BY l.lane;
-- counted
EXECUTE read;
