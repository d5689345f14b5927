-- While a dump is being restored into this database; see extension/log/restore.c.

CREATE FUNCTION ecommerce._note_restore() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'ecommerce_note_restore';
COMMENT ON FUNCTION ecommerce._note_restore() IS
'Trigger on every table that is dumped: notes a session that fills it with COPY or INSERT, as a restore does.';

CREATE FUNCTION ecommerce._restoring_sessions(OUT pid int, OUT since timestamptz)
RETURNS SETOF record LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_restoring_sessions';
COMMENT ON FUNCTION ecommerce._restoring_sessions() IS 'Sessions that fill tables of the extension in this database.';

CREATE VIEW ecommerce.restores AS
SELECT r.pid, a.usename, a.application_name, r.since
FROM ecommerce._restoring_sessions() r
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) r.pid;
COMMENT ON VIEW ecommerce.restores IS
'Sessions that restore a dump into this database. While there is one, workers wait, receive and fetch give nothing, and nobody else sends or appends (55006); it ends with the session, or with restore_done().';

CREATE FUNCTION ecommerce.restore_done(pid int DEFAULT NULL) RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_restore_done';
COMMENT ON FUNCTION ecommerce.restore_done(int) IS
'Ends a restore by hand whose session (NULL: all of ecommerce.restores) stays connected, for instance in a pool; returns how many. Everything is loaded anew from the tables.';

CREATE FUNCTION ecommerce._restore_problems(OUT object text, OUT problem text)
RETURNS SETOF record LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $restore_problems$
	SELECT 'session ' || r.pid, format('it restores the tables of the extension since %s; until it ends '
		'(or SELECT ecommerce.restore_done(%s)) workers wait and nothing is received', r.since, r.pid)
	FROM ecommerce._restoring_sessions() r
$restore_problems$;
COMMENT ON FUNCTION ecommerce._restore_problems() IS 'A row for each session that restores, for the verify functions.';
