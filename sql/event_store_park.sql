-- A subscription with an event that nobody can deal with goes on: parked by hand, or by itself
-- after some failures; given again by replay_parked().
CREATE EXTENSION ecommerce;

CREATE FUNCTION attempt(command text, OUT state text, OUT message text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	state := 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
END $$;
CREATE TABLE done (n serial, stream text, version bigint);
CREATE TABLE poison (stream text, version bigint);
-- A consumer as they come: a batch, all of it or nothing.
CREATE FUNCTION consume(name text, max_count int DEFAULT 100) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	event event_store.event;
	got int := 0;
BEGIN
	FOR event IN SELECT * FROM event_store.fetch(name, max_count) LOOP
		IF EXISTS (SELECT FROM poison p WHERE p.stream = event.stream AND p.version = event.version) THEN
			RAISE EXCEPTION 'cannot take %', event.version;
		END IF;
		INSERT INTO done (stream, version) VALUES (event.stream, event.version);
		got := got + 1;
	END LOOP;
	IF got > 0 THEN
		PERFORM event_store.advance(name, event.position);
	END IF;
	RETURN got;
END $$;
-- Consumes until nothing comes any more; how often it failed on the way.
CREATE PROCEDURE consume_all(name text, INOUT failures int DEFAULT 0) LANGUAGE plpgsql AS $$
DECLARE
	ready boolean;
BEGIN
	failures := 0;
	LOOP
		CALL event_store.wait_subscription(name, '0', ready);
		EXIT WHEN NOT ready;
		BEGIN
			PERFORM consume(name);
		EXCEPTION WHEN raise_exception THEN
			failures := failures + 1;
			IF failures > 100 THEN
				RAISE 'it does not go on';
			END IF;
		END;
		COMMIT;
	END LOOP;
END $$;

SELECT count(event_store.append('order-' || i % 2, -1, 'Placed', '{}'))
FROM generate_series(1, 20) i;
SELECT event_store.create_subscription('mailer', 'order');

-- ------------------------------------------------------------ by hand
BEGIN;
SELECT array_agg(position) AS got FROM event_store.fetch('mailer', 4);
SELECT event_store.park('mailer', 2, 'no address');
SELECT event_store.advance('mailer', 4);
COMMIT;
SELECT subscription, position, stream, version, event_type, error, attempts, replay
FROM event_store.parked_events;
SELECT kind, object, severity, holds_up, what_to_type FROM ecommerce.problems WHERE kind = 'parked_events';
-- What is not in hand is not parked.
SELECT * FROM attempt($$SELECT event_store.park('mailer', 5)$$);
BEGIN;
SELECT count(*) FROM event_store.fetch('mailer', 2);
SELECT * FROM attempt($$SELECT event_store.park('mailer', 4)$$);
SELECT * FROM attempt($$SELECT event_store.park('mailer', 7)$$);
SELECT * FROM attempt($$SELECT event_store.park('mailer', NULL)$$);
ROLLBACK;
SELECT * FROM attempt($$SELECT event_store.park('nobody', 5)$$);

-- Given again it comes by itself, and the rest goes on where it was.
SELECT event_store.replay_parked('mailer', 3) AS none, event_store.replay_parked('mailer') AS one,
	event_store.replay_parked('mailer') AS again;
CALL event_store.wait_subscription('mailer', '0');
BEGIN;
SELECT array_agg(position) AS got FROM event_store.fetch('mailer', 4);
SELECT array_agg(position) AS goes_on FROM event_store.fetch('mailer', 3);
ROLLBACK;
SELECT count(*) AS not_lost FROM event_store.parked_events WHERE replay;
BEGIN;
SELECT array_agg(position) AS got FROM event_store.fetch('mailer', 4);
SELECT array_agg(position) AS then FROM event_store.fetch('mailer', 3);
SAVEPOINT one;
SELECT event_store.advance('mailer', 2);
SELECT count(*) FROM event_store.parked_events;
ROLLBACK TO one;
SELECT event_store.advance('mailer', 7);
COMMIT;
SELECT count(*) FROM event_store.parked_events;
SELECT checkpoint FROM event_store.subscriptions;

-- ------------------------------------------------------------ by itself
SELECT event_store.alter_subscription('mailer', park_after => 3);
SELECT checkpoint AS still FROM event_store.subscriptions;
INSERT INTO poison VALUES ('order-0', 5), ('order-0', 6), ('order-1', 9);
CALL consume_all('mailer');
SELECT position, stream, version, error, attempts FROM event_store.parked_events ORDER BY position;
SELECT stream, array_agg(version ORDER BY n) AS in_order FROM done GROUP BY stream ORDER BY stream;
-- Mended: what was parked is given again, and what fails still is parked again.
DELETE FROM poison WHERE version <> 6;
TRUNCATE done;
SELECT event_store.replay_parked('mailer');
SELECT event_store.append('order-0', -1, 'Placed', '{}') IS NOT NULL AS appended;
CALL consume_all('mailer');
SELECT stream, version FROM done ORDER BY n;
SELECT version, attempts, replay FROM event_store.parked_events;
-- Back to before it, it comes by itself.
SELECT event_store.reset_subscription('mailer', 0);
SELECT count(*) FROM event_store.parked_events;
-- With 0 nothing is parked, and it is tried for ever.
SELECT event_store.alter_subscription('mailer', park_after => 0);
SELECT message, count(*) FROM generate_series(1, 6),
	attempt($$SELECT consume('mailer')$$) GROUP BY message;
SELECT count(*) FROM event_store.parked_events;

-- ------------------------------------------------------------ how often it was tried
SELECT event_store.create_subscription('counter', 'order');
SELECT array_agg(event_store.attempt('counter', position)) AS first FROM event_store.fetch('counter', 1);
BEGIN;
SELECT count(*) FROM event_store.fetch('counter', 1);
ROLLBACK;
BEGIN;
SELECT array_agg(event_store.attempt('counter', position)) AS second FROM event_store.fetch('counter', 2);
SAVEPOINT one;
ROLLBACK TO one;
SELECT event_store.park('counter', 1), event_store.park('counter', 2, 'two', 7);
SELECT event_store.advance('counter', 2);
COMMIT;
SELECT position, error, attempts FROM event_store.parked_events WHERE subscription = 'counter' ORDER BY 1;
SELECT * FROM attempt($$SELECT event_store.park('counter', 3, 'x', 0) FROM event_store.fetch('counter')$$);
-- What was dealt with is forgotten; elsewhere nothing is known.
BEGIN;
SELECT array_agg(event_store.attempt('counter', position)) AS again FROM event_store.fetch('counter', 1);
ROLLBACK;
SELECT event_store.attempt('counter', 3), event_store.attempt('nobody', 3);
-- By itself from the beginning.
SELECT event_store.create_subscription('strict', 'order', park_after => 2);
SELECT event_store.create_subscription('strict', 'order', park_after => 2),
	event_store.create_subscription('strict', 'order');
SELECT * FROM attempt($$SELECT event_store.create_subscription('strict', 'order', park_after => 3)$$);
SELECT * FROM attempt($$SELECT event_store.create_subscription('none', park_after => 0)$$);
INSERT INTO poison VALUES ('order-1', 2);
CALL consume_all('strict');
SELECT stream, version, attempts FROM event_store.parked_events WHERE subscription = 'strict' AND version = 2;
DELETE FROM poison WHERE stream = 'order-1' AND version = 2;
SELECT event_store.drop_subscription('counter'), event_store.drop_subscription('strict');

-- ------------------------------------------------------------ alter, start at a time
SELECT event_store.reset_subscription('mailer', 10);
SELECT event_store.append('cart-1', 0, 'Filled', '{}') IS NOT NULL AS appended;
SELECT event_store.alter_subscription('mailer', category => '', event_types => '{Filled}');
SELECT category, event_types, checkpoint FROM event_store.subscriptions;
SELECT stream FROM event_store.fetch('mailer');
SELECT event_store.alter_subscription('mailer', category => 'order', event_types => '{}');
SELECT category, event_types, checkpoint FROM event_store.subscriptions;
SELECT * FROM attempt($$SELECT event_store.alter_subscription('nobody')$$);
SELECT * FROM attempt($$SELECT event_store.alter_subscription('mailer', 'a-b')$$);
SELECT * FROM attempt($$SELECT event_store.alter_subscription('mailer', park_after => -1)$$);
SELECT * FROM attempt($$SELECT event_store.alter_subscription('mailer', event_types => '{A,NULL}')$$);
SELECT event_store.create_subscription('one', stream => 'order-1');
SELECT * FROM attempt($$SELECT event_store.alter_subscription('one', 'stock')$$);
SELECT event_store.drop_subscription('one');
SELECT count(event_store.append_batch('old-1', -1, ARRAY[ROW('A', '{}', NULL, NULL,
	'2020-01-01Z'::timestamptz + i * interval '1 day', NULL)::event_store.new_event]))
FROM generate_series(1, 5) i;
SELECT event_store.create_subscription('from january', 'old',
	start_after => event_store.position_at('2020-01-04Z', 'old'));
SELECT version FROM event_store.fetch('from january');
SELECT event_store.position_at('2100-01-01Z') = event_store.high_water_mark() AS none_yet;

-- ------------------------------------------------------------ rights, drop
CREATE ROLE regress_park_reader IN ROLE ecommerce_reader;
GRANT EXECUTE ON FUNCTION attempt TO regress_park_reader;
SET ROLE regress_park_reader;
SELECT count(*) FROM event_store.parked_events;
SELECT * FROM attempt($$SELECT event_store.replay_parked('mailer')$$);
SELECT * FROM attempt($$SELECT event_store.alter_subscription('mailer')$$);
SELECT * FROM attempt($$DELETE FROM event_store.parked_event$$);
RESET ROLE;
REVOKE ALL ON FUNCTION attempt FROM regress_park_reader;
DROP ROLE regress_park_reader;
BEGIN;
SELECT count(*) FROM event_store.fetch('mailer', 1);
SELECT event_store.park('mailer', min(position)) FROM event_store.read_all(10, 1, 'order');
SELECT event_store.drop_subscription('mailer');
SELECT count(*) FROM event_store.parked_event;
ROLLBACK;

-- ------------------------------------------------------------ another one of that name
-- It has not failed yet; the same after a reset.
DELETE FROM poison;
INSERT INTO poison VALUES ('order-1', 1);
SELECT event_store.create_subscription('again', 'order', partitions => 3, park_after => 3);
SELECT count(*) AS failed FROM generate_series(1, 2), attempt($$SELECT consume('again', 1)$$) WHERE state <> 'ok';
SELECT array_agg(event_store.attempt('again', position)) AS third FROM event_store.fetch('again', 1);
BEGIN;
SELECT event_store.drop_subscription('again'),
	event_store.create_subscription('again', 'order', partitions => 3, park_after => 3);
ROLLBACK;
BEGIN;
SELECT array_agg(event_store.attempt('again', position)) AS third_still FROM event_store.fetch('again', 1);
SELECT event_store.drop_subscription('again'),
	event_store.create_subscription('again', 'order', partitions => 3, park_after => 3);
COMMIT;
BEGIN;
SELECT array_agg(event_store.attempt('again', position)) AS first FROM event_store.fetch('again', 1);
ROLLBACK;
SELECT array_agg(event_store.attempt('again', position)) AS second FROM event_store.fetch('again', 1);
SELECT event_store.reset_subscription('again', 0);
SELECT array_agg(event_store.attempt('again', position)) AS first FROM event_store.fetch('again', 1);
