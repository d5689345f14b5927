-- Events that subscriptions have put aside, so that they can go on.

CREATE TABLE event_store.parked_event (
	subscription text COLLATE "C" NOT NULL,
	position bigint NOT NULL,
	partition int NOT NULL,
	error text,
	attempts int NOT NULL,
	parked_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	replay boolean NOT NULL DEFAULT false,
	PRIMARY KEY (subscription, position)
);
COMMENT ON TABLE event_store.parked_event IS 'Events that subscriptions have put aside; see the view event_store.parked_events.';
COMMENT ON COLUMN event_store.parked_event.replay IS 'fetch() shall give it again.';
CREATE INDEX parked_event_replay_idx ON event_store.parked_event (subscription, position) WHERE replay;
-- scavenge() asks of each event that it would remove.
CREATE INDEX parked_event_position_idx ON event_store.parked_event (position);

CREATE VIEW event_store.parked_events AS
SELECT p.subscription, p.position, e.stream, e.version, e.event_id, e.event_type, p.error, p.attempts,
	p.parked_at, p.replay
FROM event_store.parked_event p
LEFT JOIN LATERAL (
	SELECT s.stream, s.version, s.event_id, s.event_type FROM event_store.stored_event s
	WHERE s.position OPERATOR(pg_catalog.=) p.position
	UNION ALL SELECT d.stream, d.version, d.event_id, d.event_type FROM event_store.deletion d
	WHERE d.position OPERATOR(pg_catalog.=) p.position) e ON true;
COMMENT ON VIEW event_store.parked_events IS
'Events that subscriptions have put aside: why, how often they had failed, since when; replay: they shall be given again. stream and so on are NULL once the event has been removed.';

CREATE FUNCTION event_store.attempt(name text, at_position bigint)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_attempt';
COMMENT ON FUNCTION event_store.attempt(text, bigint) IS
'Which attempt it is to deal with an event that fetch() gave in this transaction: 1, and one more for each transaction that had fetched it alone and ended without commit, of whatever consumer, also of one that was killed. Kept in memory: a crash of the server forgets it.';

CREATE FUNCTION event_store.park(name text, at_position bigint, error text DEFAULT NULL,
	attempts int DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_park';
COMMENT ON FUNCTION event_store.park(text, bigint, text, int) IS
'Puts an event aside that fetch() gave in this transaction: deal with the others, advance over it as if it had been dealt with, and commit. It stays in event_store.parked_events until replay_parked(). '
'After a failure roll back to a savepoint that was set after the fetch, then park. attempts: how often it has failed, for parked_events; NULL is attempt(). Errors: SB001, SB002 nothing was fetched in this transaction, SB003 not the position of a fetched event, 22023.';

CREATE FUNCTION event_store.replay_parked(name text, at_position bigint DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_replay_parked';
COMMENT ON FUNCTION event_store.replay_parked(text, bigint) IS
'Has the parked events of a subscription (or the one at a position) given to its consumers again, before what they have still to read; returns how many. The order of all others is not changed. advance() to their position takes them away; those that fail again are parked again. Error: SB001.';

CREATE FUNCTION event_store.alter_subscription(name text, category text DEFAULT NULL,
	event_types text[] DEFAULT NULL, park_after int DEFAULT NULL, partitions int DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_alter_subscription';
COMMENT ON FUNCTION event_store.alter_subscription(text, text, text[], int, int) IS
'Changes what is not NULL of a subscription, which goes on where it is. category: empty is all of them; event_types: {} is all. '
'park_after: an event is parked by itself when the transactions that had fetched it have ended so often without commit; 0 is never, which is what create_subscription() begins with. When several were fetched together and failed, they are given one by one until it is known which it was. Counts are kept in memory: a crash of the server forgets them. '
'partitions: another number of them; every event is still given once, and what is parked stays parked. New ones begin where the one furthest behind was, and pass over what others had read. 55006: some of that is still unread from the last time. Who creates the subscription again must name what it is now. '
'Waits for consumers that hold a partition. Errors: SB001, 22023, 55006.';

CREATE FUNCTION event_store.position_at(at timestamptz, category text DEFAULT NULL) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $position_at$
	-- OFFSET: by the index on times, not by the one on positions until one fits.
	SELECT least(coalesce(min(p.position) - 1, event_store.high_water_mark()), event_store.high_water_mark())
	FROM (SELECT e.position FROM event_store.stored_event e
		WHERE e.occurred_at >= at AND (category IS NULL OR split_part(e.stream, '-', 1) = category)
		OFFSET 0) p
$position_at$;
COMMENT ON FUNCTION event_store.position_at(timestamptz, text) IS
'The position before the first event, of all or of a category, that occurred at a time or later: what create_subscription(start_after) and reset_subscription() take to start at a time.';
