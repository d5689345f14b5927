-- Replays of projections: what a handler may ask.

CREATE FUNCTION event_store.replaying() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_replaying';
COMMENT ON FUNCTION event_store.replaying() IS
'Whether the handler of a projection is being given events that it has had before, because the projection is rebuilt: then it should do nothing outside of its tables, such as sending. False anywhere else.';
