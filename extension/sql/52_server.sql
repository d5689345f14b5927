-- What the server knows of itself, for those who keep watch: no statement that somebody has typed.

CREATE FUNCTION ecommerce._sessions(OUT pid int, OUT database oid, OUT kind text, OUT state text,
	OUT state_since timestamptz, OUT xact_start timestamptz, OUT holds_snapshot boolean,
	OUT wait_type text, OUT wait_event text)
RETURNS SETOF record LANGUAGE c VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_sessions';
COMMENT ON FUNCTION ecommerce._sessions() IS
'Who is connected: state active, idle or idle in transaction and since when, when the transaction began, whether it keeps vacuum from anything, what it waits for; as pg_stat_activity shows it to its own role alone.';

CREATE FUNCTION ecommerce._session_name(pid int) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $session_name$
BEGIN
	RETURN format('session %s', pid) || coalesce((SELECT format(' (%s of %s)',
			coalesce(nullif(a.application_name, ''), 'unnamed'), pg_get_userbyid(a.usesysid))
		FROM pg_stat_get_activity(_session_name.pid) a WHERE a.usesysid IS NOT NULL), '');
END
$session_name$;
COMMENT ON FUNCTION ecommerce._session_name(int) IS
'A session in words, as far as everybody may know it: session 4711 (psql of alice).';

CREATE FUNCTION ecommerce._disk_space(tablespace oid, OUT device bigint, OUT free bigint,
	OUT total bigint)
LANGUAGE c VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_disk_space';
COMMENT ON FUNCTION ecommerce._disk_space(oid) IS
'The disk that a tablespace, or (0) the WAL, is on: bytes that the server may still write, and all.';

CREATE FUNCTION ecommerce._disks()
RETURNS TABLE (holds text, free bigint, total bigint)
LANGUAGE sql VOLATILE ROWS 2
SET search_path = pg_catalog, pg_temp
AS $disks$
	SELECT string_agg(t.name, ', ' ORDER BY t.name), min(d.free), min(d.total)
	FROM (SELECT 0::oid, 'pg_wal'::text
		UNION ALL SELECT s.oid, s.spcname FROM pg_tablespace s WHERE s.spcname <> 'pg_global') t (id, name)
	CROSS JOIN LATERAL ecommerce._disk_space(t.id) d
	WHERE d.total > 0 GROUP BY d.device
$disks$;
COMMENT ON FUNCTION ecommerce._disks() IS
'The disks of the server: which tablespaces are on each, pg_wal for the WAL; bytes free and all.';
