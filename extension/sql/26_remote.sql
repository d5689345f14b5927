-- Remote projections: events of another database, projected here.

-- ---------------------------------------------------------------- at the source
CREATE FUNCTION event_store.read_durable(after_position bigint, max_events int DEFAULT 500,
	category text DEFAULT NULL, event_types text[] DEFAULT NULL, incarnation text DEFAULT NULL,
	OUT upto bigint, OUT head bigint, OUT count int, OUT events event_store.event[],
	OUT read_from text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_read_durable';
COMMENT ON FUNCTION event_store.read_durable(bigint, int, text, text[], text) IS
'Events after a position that may leave this database: on disk, and on the synchronous standbys where they are configured; in one row, in the current version of their types. Locks and writes nothing. '
'upto: all that is wanted up to that position is among the events; go on from there. head: up to where there is anything at all. read_from: the incarnation of this database, to be kept with upto in the transaction that uses the events, and passed as incarnation the next time. '
'No row, with a warning, if no standby has the newest within 1 s, or while a dump is restored. A batch ends at 8 MB, or after 50 000 events that are not wanted. '
'ST021: this database does not hold what was read before: an older state was restored, or it failed over without its newest. 22023: bad arguments.';

-- ---------------------------------------------------------------- where they are projected
CREATE FUNCTION event_store.apply_remote(name text, after_position bigint,
	events event_store.event[], upto bigint DEFAULT NULL, incarnation text DEFAULT NULL,
	head bigint DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_apply_remote';
COMMENT ON FUNCTION event_store.apply_remote(text, bigint, event_store.event[], bigint, text, bigint) IS
'Gives a projection that has a source the events that read_durable() gave there after after_position, if it still is at that position, and moves it to upto (NULL: the last event), in one transaction. incarnation: read_from of read_durable(). Returns how many events the handler took. '
'Fewer than were given when the handler has failed: those before the failure count, and the failure is noted; see event_store.projections for when it is tried again, and whether it is. '
'ST012: no such projection. ST020: it is not at after_position, or does not want one of the events; look again. ST021: it is lost, or its source is not the one from before. 55000: it is paused, has failed or waits for the next try, or has no source. 22023: the events are not in order.';

CREATE FUNCTION event_store.lose_remote(name text, at_position bigint, error_code text, error text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_lose_remote';
COMMENT ON FUNCTION event_store.lose_remote(text, bigint, text, text) IS
'For who brings events: the source has refused the projection''s checkpoint for good (ST021). Until rebuild_projection() or reset_remote() nothing is applied. False if it is not at at_position, or lost already. ST012: no such projection. 55000: it has no source.';

CREATE FUNCTION event_store.reset_remote(name text, to_position bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_reset_remote';
COMMENT ON FUNCTION event_store.reset_remote(text, bigint) IS
'Lets a projection with a source go on from a position of it, whatever was before; its tables stay as they are, so what lies between is left out or comes again. rebuild_projection() makes them anew instead. ST012: no such projection. 55000: it has no source.';
