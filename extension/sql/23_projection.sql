-- Projections: handlers that events are given to, inside the append or in the worker.

CREATE TABLE event_store.projection (
	name text COLLATE "C" PRIMARY KEY,
	handler text NOT NULL,
	owner text NOT NULL,
	mode text NOT NULL CHECK (mode IN ('inline', 'async')),
	category text COLLATE "C",
	event_types text[],
	tables text[] NOT NULL,
	on_error text NOT NULL DEFAULT 'refuse' CHECK (on_error IN ('refuse', 'defer')),
	CHECK (category <> ''),
	source text CHECK (source IS NULL OR mode = 'async')
);
COMMENT ON TABLE event_store.projection IS 'Definitions of projections. Changed by create_projection() and drop_projection(); see the view event_store.projections.';
COMMENT ON COLUMN event_store.projection.owner IS 'The role that created it, with whose rights the handler runs.';
COMMENT ON COLUMN event_store.projection.source IS 'The service whose database the events come from; NULL: this one.';

CREATE TABLE event_store.projection_progress (
	name text COLLATE "C" PRIMARY KEY,
	checkpoint bigint NOT NULL DEFAULT 0,
	rebuild_step text CHECK (rebuild_step IN ('requested', 'replaying', 'closing')),
	rebuild_until bigint,
	paused boolean NOT NULL DEFAULT false,
	failed boolean NOT NULL DEFAULT false,
	failures int NOT NULL DEFAULT 0,
	retry_at timestamptz,
	error_position bigint,
	last_error text,
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
COMMENT ON TABLE event_store.projection_progress IS 'How far each projection is; written in the transaction that writes its tables.';
COMMENT ON COLUMN event_store.projection_progress.checkpoint IS 'Position up to which events have been given to the handler. Of an inline projection it counts during a rebuild only.';
COMMENT ON COLUMN event_store.projection_progress.rebuild_step IS 'closing: appends leave an inline projection''s events to the worker until the tables beside, which have caught up, are brought over.';
COMMENT ON COLUMN event_store.projection_progress.rebuild_until IS 'The rebuild is over when the checkpoint gets here.';
COMMENT ON COLUMN event_store.projection_progress.failures IS 'How often in a row the event at error_position has failed.';

CREATE TABLE event_store.projection_remote (
	name text COLLATE "C" PRIMARY KEY,
	incarnation text,
	head bigint NOT NULL DEFAULT 0,
	heard_at timestamptz,
	behind_since timestamptz,
	error_code text,
	error text,
	lost_at timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE event_store.projection_remote IS
'What is known of the source of a projection: incarnation it was read from, as of the checkpoint; head: up to where it has events, as it said at heard_at; behind_since: since when it has some that are not handled. error_code: not NULL when it no longer holds what was read.';

-- While a row is here, appends give no event to the inline projection but put it here
-- too, so that every event is given to the handler exactly once and in order. Position
-- 0 is no event: it holds the projection back while it is paused or rebuilt.
CREATE TABLE event_store.projection_deferred (
	name text COLLATE "C" NOT NULL,
	position bigint NOT NULL,
	last_error text,
	failed_at timestamptz,
	PRIMARY KEY (name, position)
);
COMMENT ON TABLE event_store.projection_deferred IS 'Events that inline projections still have to get, from the worker.';
COMMENT ON COLUMN event_store.projection_deferred.last_error IS 'Why the append could not give it to the handler; NULL if it did not try.';

CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON event_store.projection
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._registry_changed();
ALTER TABLE event_store.projection ENABLE ALWAYS TRIGGER registry_changed;

CREATE FUNCTION event_store.create_projection(name text, handler regprocedure,
											  category text DEFAULT NULL,
											  event_types text[] DEFAULT NULL,
											  mode text DEFAULT 'async',
											  tables regclass[] DEFAULT '{}',
											  on_error text DEFAULT 'refuse',
											  source text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_create_projection';
COMMENT ON FUNCTION event_store.create_projection(text, regprocedure, text, text[], text, regclass[], text, text) IS
'From now on handler(event event_store.event) RETURNS void, or handler(events event_store.event[]) which gets many at once, is given every event of the category and types (NULL: all; $deleted and $tombstoned are the deletions of streams, which come only when they are named, beside ''*'' for example). mode async: in the background worker, from the first event ever on, exactly once for what it writes to this database; inline: inside the append, from now on. '
'The handler runs with the rights of the role that calls this, with search_path pg_catalog and TimeZone UTC: qualify the names in it. tables: what it writes, so that rebuild_projection() can empty it. '
'on_error is about inline ones. refuse: an append fails with its handler, which so decides what may be appended: a unique index on a read model is a rule over many streams. defer: the append goes on, and the event and all after it are left to the background worker. While a projection is paused or rebuilt, appends leave their events to the worker in either case. '
'A handler that fails in the background is tried again 5 times over about 10 s, then its projection stops, with a line in the log; appends and other projections go on. '
'source: the events are those of the database behind that service of pg_service.conf, no address and no secret; linkd brings them, each once, in order, from the first one ever on, and the checkpoint is a position over there. '
'The same call again does nothing. Errors: 42710 the name is taken by another definition, 55006 another projection writes one of the tables.';

CREATE FUNCTION event_store.drop_projection(name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_drop_projection';
COMMENT ON FUNCTION event_store.drop_projection(text) IS 'Forgets a projection; its tables stay. Error: ST012 if there is none.';

CREATE FUNCTION event_store.pause_projection(name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_pause_projection';
COMMENT ON FUNCTION event_store.pause_projection(text) IS
'Gives the projection no more events until resume_projection(); none is lost. Error: ST012 if there is none.';

CREATE FUNCTION event_store.resume_projection(name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_resume_projection';
COMMENT ON FUNCTION event_store.resume_projection(text) IS
'Goes on with a projection that was paused or has failed, at the event where it stopped. Error: ST012 if there is none.';

CREATE FUNCTION event_store.skip_event(name text, at_position bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_skip_event';
COMMENT ON FUNCTION event_store.skip_event(text, bigint) IS
'Leaves out the event that the projection, or its rebuild beside, fails at, and goes on. at_position must be its error_position, else 22023. Error: ST012 if there is none.';

CREATE FUNCTION event_store.run_projections(max int DEFAULT 1000)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_run_projections';
COMMENT ON FUNCTION event_store.run_projections(int) IS
'Gives up to max events to each projection that has some due, as the background worker does; for servers without one. Returns how many events were handled or failed.';

CREATE FUNCTION event_store._projection_lag(name text, OUT checkpoint bigint, OUT head bigint,
											OUT lag_events bigint, OUT oldest timestamptz,
											OUT capped boolean)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_projection_lag';
COMMENT ON FUNCTION event_store._projection_lag(text) IS
'How far a projection is, the high-water mark for it, how many events it still has to handle and when the first of them occurred. Looks at 10 000 events at most; capped: there may be more.';

CREATE VIEW event_store.projections AS
SELECT p.name, p.mode,
	CASE WHEN r.error_code IS NOT NULL THEN 'lost'
		WHEN g.paused THEN 'paused'
		WHEN g.failed THEN 'failed'
		WHEN g.last_error IS NOT NULL OR d.last_error IS NOT NULL THEN 'retrying'
		WHEN g.rebuild_step IS NOT NULL THEN 'rebuilding'
		ELSE 'running' END AS state,
	l.checkpoint, l.head, l.lag_events,
	-- An event may have been given a time to come.
	greatest(coalesce(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) l.oldest,
		'0'::pg_catalog.interval), '0'::pg_catalog.interval) AS lag,
	coalesce(g.error_position, d.position) AS error_position,
	coalesce(CASE WHEN r.error_code IS NOT NULL THEN r.error END, g.last_error, d.last_error)
		AS last_error,
	g.updated_at,
	greatest(l.head OPERATOR(pg_catalog.-) l.checkpoint, 0) AS lag_positions,
	l.capped AS lag_capped,
	p.source, r.heard_at
FROM event_store.projection p
JOIN event_store.projection_progress g ON g.name OPERATOR(pg_catalog.=) p.name
CROSS JOIN LATERAL event_store._projection_lag(p.name) l
LEFT JOIN event_store.projection_remote r ON r.name OPERATOR(pg_catalog.=) p.name
LEFT JOIN LATERAL (
	SELECT w.position, w.last_error FROM event_store.projection_deferred w
	WHERE w.name OPERATOR(pg_catalog.=) p.name AND w.last_error IS NOT NULL
	ORDER BY w.position LIMIT 1) d ON true;
COMMENT ON VIEW event_store.projections IS
'One row per projection: state running, paused, retrying, failed, rebuilding or lost; checkpoint, head (high-water mark), how many events and how long it is behind (age of the oldest event it has not handled), and the event it fails at with the error. '
'It looks at 10 000 events at most: with lag_capped, lag_events are those it has found (print "10 000+"), and lag_positions tells how far it is. '
'With a source, positions are those of the source, head and lag are as it said at heard_at, and lag_events is NULL as long as some are missing. lost: it no longer holds what was read (ST021); rebuild_projection() or reset_remote() ends that.';
