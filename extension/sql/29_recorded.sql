-- When events were appended.

CREATE FUNCTION event_store.recorded_at(at_position bigint) RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $recorded_at$
	SELECT coalesce(e.recorded_at, e.occurred_at) FROM event_store.stored_event e WHERE e.position = at_position
	UNION ALL
	SELECT d.occurred_at FROM event_store.deletion d WHERE d.position = at_position
$recorded_at$;
COMMENT ON FUNCTION event_store.recorded_at(bigint) IS
'When the event at a position was appended to this database, by its clock; NULL if there is none. It differs from occurred_at where who appended gave that, as an import does. Events that were given one under 1.0 say occurred_at here too.';
