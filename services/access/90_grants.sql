-- Rights, stricter than those of the other services: the table is nobody's. The daemon's
-- role may ask whose a key is, administrators may make and revoke keys, readers may list
-- them without their hashes. The functions run as their owner, since they alone may look.
-- Again at every upgrade.
DO $rights$
DECLARE
	routine regprocedure;
BEGIN
	FOR routine IN
		SELECT d.objid::regprocedure FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid AND x.extname = 'ecommerce_access'
		WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
			AND d.deptype = 'e'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
		EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO ecommerce_admin', routine);
	END LOOP;
END
$rights$;
GRANT EXECUTE ON FUNCTION ecommerce_access.authenticate(bytea) TO ecommerce_access;
GRANT SELECT ON ecommerce_access.api_keys TO ecommerce_reader;
SELECT pg_catalog.pg_extension_config_dump('ecommerce_access.api_key', '');
