-- Leases that are given and settled in one transaction, several in one, or settled in a
-- savepoint: what is acked never comes again, what is not is not lost, and both are counted.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
SELECT message_bus.create_endpoint('q', 1, '{"kind": "interval", "limit": 5, "interval": "1 h"}'),
	message_bus.create_endpoint('wide', 2);
CREATE FUNCTION fill(endpoint text, first int, last int) RETURNS bigint LANGUAGE sql AS
$$ SELECT count(message_bus.send(endpoint, 'T', jsonb_build_object('n', i), uid(i),
	partition_key => i::text)) FROM generate_series(first, last) i $$;
CREATE TEMP TABLE leased (n int, delivery_id bigint);
-- Leases up to max messages; their numbers.
CREATE FUNCTION lease(endpoint text, max int, length interval DEFAULT '1 h') RETURNS text
LANGUAGE sql AS $$
	WITH r AS (INSERT INTO leased SELECT (body->>'n')::int, delivery_id
		FROM message_bus.receive(endpoint, max, length) RETURNING *)
	SELECT coalesce(string_agg(n::text, ' ' ORDER BY delivery_id), 'nothing') FROM r
$$;
CREATE FUNCTION id(number int) RETURNS bigint LANGUAGE sql AS
$$ SELECT max(delivery_id) FROM leased WHERE n = number $$;

-- ---------------------------------------------------------------- in one statement

SELECT fill('q', 1, 4);
SELECT message_bus.ack(delivery_id) FROM message_bus.receive('q', 2, '1 min');
SELECT state('q'); SELECT in_order('q'); SELECT state('q');
-- Failed and skipped, in a block of its own or not; the rest is leased on.
SELECT fill('q', 5, 9);
DO $$ BEGIN
	PERFORM lease('q', 4);
	PERFORM message_bus.fail(id(5), 'E', 'no luck');
	BEGIN
		PERFORM message_bus.skip(id(6), 'not wanted'), message_bus.ack(id(7));
		RAISE 'undone';
	EXCEPTION WHEN raise_exception THEN
		PERFORM message_bus.ack(id(6));
	END;
END $$;
SELECT state('q'); SELECT in_order('q');
SELECT message_bus.ack(id(7), id(8)); SELECT in_order('q'); SELECT state('q');
BEGIN; SELECT at('2100-01-01 UTC'); SELECT in_order('q'); COMMIT;
-- A message that was set aside.
SELECT fill('q', 10, 10); SELECT failed('q');
DO $$ BEGIN PERFORM at('2100-01-01 UTC'); PERFORM message_bus.ack(delivery_id)
	FROM message_bus.receive('q', 1, '1 min'); END $$;
SELECT state('q'); BEGIN; SELECT at('2100-01-02 UTC'); SELECT in_order('q'); COMMIT;

-- ---------------------------------------------------------------- several in one transaction

-- The second leaves the lane alone, as it would in another transaction.
SELECT fill('q', 11, 14);
DO $$ BEGIN RAISE NOTICE '%, %', lease('q', 1), lease('q', 2); END $$;
SELECT message_bus.ack(id(11)); SELECT in_order('q');
-- What was received before it, and is not settled, is not lost with the leases.
SELECT fill('q', 15, 18);
DO $$ DECLARE n text; BEGIN
	SELECT string_agg(body->>'n', ' ') INTO n FROM message_bus.receive('q', 1);
	RAISE NOTICE '%, %', n, lease('q', 2);
END $$;
SELECT lease('q', 1); SELECT message_bus.ack(id(15)); SELECT in_order('q'); SELECT state('q');
-- Nor does it come behind them.
SELECT fill('q', 19, 21);
DO $$ DECLARE n text; BEGIN
	PERFORM lease('q', 1);
	SELECT string_agg(body->>'n', ' ') INTO n FROM message_bus.receive('q', 5);
	RAISE NOTICE '%', n;
END $$;
SELECT message_bus.ack(id(19)); SELECT in_order('q');
-- Other lanes are leased on.
SELECT fill('wide', 30, 49);
DO $$ BEGIN PERFORM lease('wide', 1); PERFORM lease('wide', 1); END $$;
SELECT count(DISTINCT lane), count(*) FROM message_bus.lease;
SELECT count(message_bus.ack(delivery_id)) FROM message_bus.lease;
SELECT cardinality(string_to_array(got('wide', 100), ' ')); SELECT state('wide');

-- Of a lane some of whose leases have expired, and others not, nothing comes but those.
SELECT fill('q', 50, 53);
DO $$ BEGIN PERFORM at('2100-01-01 UTC'); PERFORM lease('q', 2, '1 min'); END $$;
DO $$ BEGIN PERFORM at('2100-01-01 UTC'); PERFORM message_bus.extend_lease(ARRAY[id(51)], '1 h'); END $$;
BEGIN; SELECT at('2100-01-01 00:02 UTC'); SELECT in_order('q'); SELECT in_order('q'); COMMIT;
SELECT message_bus.ack(id(51)); SELECT in_order('q', 1); SELECT in_order('q'); SELECT state('q');
-- An ack that is late, but in time, and what comes next, in one transaction.
SELECT fill('q', 54, 56);
DO $$ BEGIN PERFORM at('2100-01-01 UTC'); PERFORM lease('q', 2, '1 min'); END $$;
BEGIN; SELECT at('2100-01-01 00:02 UTC'); SELECT message_bus.ack(id(54), id(55));
SELECT in_order('q'); COMMIT;
SELECT in_order('q'); SELECT state('q');

-- ---------------------------------------------------------------- beside what has expired

-- The cursor that moves past it forgets it.
SELECT message_bus.create_endpoint('e', 1);
CREATE PROCEDURE bury(count int) LANGUAGE plpgsql AS $$ BEGIN
	WHILE (SELECT count(*) FROM message_bus.dead_letters WHERE endpoint = 'e') < bury.count LOOP
		PERFORM message_bus.maintain();
		COMMIT;
	END LOOP;
END $$;
SELECT fill('e', 60, 60);
SELECT message_bus.send('e', 'T', '{"n": 61}', uid(61), expires_at => now() - interval '1 s') = uid(61);
SELECT fill('e', 62, 62);
CALL bury(1); CALL message_bus.wait('e', '10 min');
SELECT count(*) FROM message_bus.passed; SELECT state('e');
SELECT lease('e', 5); SELECT message_bus.ack(id(60), id(62));
SELECT count(*) FROM message_bus.passed; SELECT in_order('e'); SELECT state('e');
-- Received and leased by one transaction, both past such ones.
SELECT message_bus.send('e', 'T', '{"n": 63}', uid(63), expires_at => now() - interval '1 s') = uid(63);
SELECT fill('e', 64, 64);
SELECT message_bus.send('e', 'T', '{"n": 65}', uid(65), expires_at => now() - interval '1 s') = uid(65);
CALL bury(3); CALL message_bus.wait('e', '10 min');
SELECT message_bus.ack(delivery_id) FROM message_bus.receive('e', 5, '1 min');
SELECT count(*) FROM message_bus.passed; SELECT in_order('e'); SELECT state('e');
-- Counted anew, as after a start of the server.
SELECT fill('e', 66, 66);
SELECT message_bus.send('e', 'T', '{"n": 67}', uid(67), expires_at => now() - interval '1 s') = uid(67);
SELECT fill('e', 68, 68);
CALL bury(4); CALL message_bus.wait('e', '10 min');
SELECT lease('e', 5); SELECT state('e');
INSERT INTO message_bus.route SELECT * FROM message_bus.route WHERE false;
SELECT state('e'); SELECT message_bus.ack(id(66), id(68)); SELECT in_order('e'); SELECT state('e');
SELECT * FROM message_bus.verify();
