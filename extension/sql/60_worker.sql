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
'Starts this database''s background worker where the library is not preloaded; it runs until the server stops. Returns its pid, also if it runs already.
Errors: 55000 no slot of max_worker_processes is free, or CREATE EXTENSION has not committed.';

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
