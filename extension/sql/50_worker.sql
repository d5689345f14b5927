-- The background worker.

CREATE FUNCTION ecommerce.preloaded() RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_preloaded';
COMMENT ON FUNCTION ecommerce.preloaded() IS
'Whether the library is in shared_preload_libraries: then every database that has the extension gets its background worker.';

CREATE FUNCTION ecommerce.start_worker() RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_start_worker';
COMMENT ON FUNCTION ecommerce.start_worker() IS
'Starts this database''s background worker where the library is not preloaded; it runs until the server stops. Returns its pid, also if it runs already. '
'Errors: 55000 no slot of max_worker_processes is free, or CREATE EXTENSION has not committed.';

CREATE FUNCTION ecommerce._units(OUT kind text, OUT name text, OUT slow boolean, OUT failures int,
	OUT last_error text, OUT retry_at timestamptz, OUT since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_units';
COMMENT ON FUNCTION ecommerce._units() IS 'The rows of the view ecommerce.units.';

CREATE VIEW ecommerce.units AS
SELECT u.kind, u.name, u.slow, u.failures, u.last_error, u.retry_at, u.since
FROM ecommerce._units() u
UNION ALL
SELECT 'worker', 'ecommerce worker', false, 1, o.obstacle, NULL, NULL
FROM pg_catalog.pg_database d
JOIN pg_catalog.pg_roles r ON r.rolname = 'ecommerce_worker'
CROSS JOIN LATERAL (SELECT CASE
	WHEN NOT r.rolcanlogin THEN 'role ecommerce_worker may not log in: type ALTER ROLE ecommerce_worker LOGIN'
	WHEN NOT d.datallowconn THEN
		format('the database allows no connections: type ALTER DATABASE %I ALLOW_CONNECTIONS true', d.datname)
	WHEN NOT has_database_privilege(r.oid, d.oid, 'CONNECT') THEN
		format('role ecommerce_worker may not connect: type GRANT CONNECT ON DATABASE %I TO ecommerce_worker', d.datname)
	END) o (obstacle)
WHERE d.datname = current_database() AND o.obstacle IS NOT NULL;
COMMENT ON VIEW ecommerce.units IS
'What of this database''s background work is not well: a saga''s endpoint, or a projection. slow: it has been found to take long and belongs to the slow runner, until it has been quick for a while. failures: so many turns in a row have failed as a whole, the last with last_error, and it is put aside until retry_at. All others go on. A row of kind worker says why the background worker may not connect to this database, and what to type; it comes back by itself then. Empty when all is well, and after a restart.';

-- The worker must get in where PUBLIC may not; where PUBLIC may, the database's rights stay as they are.
DO $connect$
BEGIN
	IF NOT has_database_privilege('ecommerce_worker', current_database(), 'CONNECT') THEN
		EXECUTE format('GRANT CONNECT ON DATABASE %I TO ecommerce_worker', current_database());
	END IF;
END
$connect$;

-- CREATE EXTENSION shows nothing less than a warning.
DO $hint$
BEGIN
	IF NOT ecommerce.preloaded() THEN
		RAISE WARNING 'ecommerce is not in shared_preload_libraries: no background worker runs'
			USING HINT = 'Everything works, but nothing runs by itself. Add ecommerce to '
				'shared_preload_libraries and restart, or type SELECT ecommerce.start_worker().';
	END IF;
END
$hint$;
