-- Parked events that are given again: only what was given is taken away, what fails again is
-- parked again, what has gone stops nobody, and retention takes none of them.
CREATE EXTENSION ecommerce;
\pset format unaligned
\pset tuples_only on
\pset null (null)
SELECT count(event_store.append('order-' || 1 + i % 3, -1, 'Placed', '{}'))
FROM generate_series(1, 12) i;
SELECT event_store.create_subscription('mailer', 'order');
-- Parks what is at these positions, and goes on.
CREATE FUNCTION park(VARIADIC positions bigint[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	upto bigint;
BEGIN
	SELECT max(position) INTO upto FROM event_store.fetch('mailer', 4);
	PERFORM event_store.park('mailer', p, 'no address') FROM unnest(positions) p;
	PERFORM event_store.advance('mailer', upto);
	RETURN 'at ' || upto;
END $$;
CREATE FUNCTION fetched(max_count int DEFAULT 100) RETURNS text LANGUAGE sql AS
$$ SELECT coalesce(string_agg(position::text, ' '), 'nothing') FROM event_store.fetch('mailer', max_count) $$;
CREATE VIEW parked AS SELECT position, attempts, replay FROM event_store.parked_event ORDER BY 1;

-- ------------------------------------------------------------ marked meanwhile
SELECT park(1, 2, 4);
SELECT event_store.replay_parked('mailer', 4);
BEGIN;
SELECT fetched();
-- Below what was given, and not given yet.
SELECT event_store.replay_parked('mailer', 2);
SELECT event_store.advance('mailer', 4);
COMMIT;
TABLE parked;
BEGIN; SELECT fetched(); SELECT event_store.advance('mailer', 2); COMMIT;
TABLE parked;

-- ------------------------------------------------------------ in a savepoint
SELECT event_store.replay_parked('mailer');
BEGIN;
SELECT fetched(1);
SAVEPOINT one;
SELECT fetched(2);
ROLLBACK TO one;
SELECT event_store.advance('mailer', 1);
COMMIT;
TABLE parked;
SELECT park(6, 7);
BEGIN;
SELECT fetched(2);
SELECT event_store.replay_parked('mailer');
SAVEPOINT one;
SELECT fetched(1);
ROLLBACK TO one;
SELECT event_store.advance('mailer', 10);
COMMIT;
TABLE parked;
BEGIN; SELECT fetched(); SELECT event_store.advance('mailer', 7); COMMIT;
SELECT fetched();

-- ------------------------------------------------------------ it fails again
BEGIN; SELECT fetched(); SELECT event_store.park('mailer', 11), event_store.advance('mailer', 12); COMMIT;
SELECT event_store.replay_parked('mailer');
BEGIN; SELECT fetched(); SELECT event_store.park('mailer', 11), event_store.advance('mailer', 11); COMMIT;
TABLE parked;
-- Of several one.
SELECT event_store.reset_subscription('mailer', 0);
SELECT park(2, 3);
SELECT event_store.replay_parked('mailer');
BEGIN; SELECT fetched(); SELECT event_store.park('mailer', 3), event_store.advance('mailer', 3); COMMIT;
TABLE parked;
SELECT checkpoint FROM event_store.subscriptions;

-- ------------------------------------------------------------ it has gone
SELECT stream FROM event_store.parked_events;
SELECT event_store.delete_stream('order-1', -1);
SELECT event_store.replay_parked('mailer');
BEGIN; SELECT fetched(2); ROLLBACK;
TABLE parked;
BEGIN; SELECT fetched(2); SELECT event_store.advance('mailer', 6); COMMIT;
TABLE parked;
-- Beside others, and where failures are counted.
SELECT event_store.alter_subscription('mailer', park_after => 3);
SELECT event_store.reset_subscription('mailer', 0);
BEGIN;
SELECT max(position) FROM event_store.fetch('mailer', 1);
SELECT event_store.park('mailer', 1), event_store.advance('mailer', 1);
COMMIT;
BEGIN;
SELECT max(position) FROM event_store.fetch('mailer', 1);
SELECT event_store.park('mailer', max(position)), event_store.advance('mailer', max(position))
FROM event_store.read_stored(1, 1);
COMMIT;
SELECT stream, version FROM event_store.parked_events ORDER BY position;
SELECT event_store.delete_stream('order-2', -1);
SELECT event_store.replay_parked('mailer');
BEGIN; SELECT fetched(); ROLLBACK;

-- ------------------------------------------------------------ retention
SELECT event_store.create_subscription('slow', 'item');
SELECT count(event_store.append('item-1', -1, 'Made', '{}')) FROM generate_series(1, 5);
BEGIN;
SELECT max(position) AS upto FROM event_store.fetch('slow') \gset
SELECT event_store.park('slow', position) IS NOT NULL FROM event_store.stored_event
WHERE stream = 'item-1' AND version IN (2, 3);
SELECT event_store.advance('slow', :upto);
COMMIT;
SELECT event_store.set_retention('item', max_count => 1);
SELECT event_store.scavenge() > 0;
SELECT array_agg(version ORDER BY version) FROM event_store.stored_event WHERE stream = 'item-1';
SELECT event_store.replay_parked('slow');
BEGIN;
SELECT array_agg(version) AS given, max(position) AS upto FROM event_store.fetch('slow') \gset
SELECT :'given', event_store.advance('slow', :upto);
COMMIT;
SELECT event_store.scavenge();
SELECT array_agg(version ORDER BY version) FROM event_store.stored_event WHERE stream = 'item-1';
