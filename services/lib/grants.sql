-- Rights: the daemon's role works on its own tables, readers may look; nobody
-- else calls anything. Data, counters included, belongs to dumps.
DO $rights$
DECLARE
	relation record;
	routine regprocedure;
BEGIN
	FOR relation IN
		SELECT c.oid::regclass AS name, c.relkind FROM pg_catalog.pg_class c
		WHERE c.relnamespace = 'ecommerce_@service@'::regnamespace AND c.relkind IN ('r', 'S', 'v')
	LOOP
		IF relation.relkind = 'S' THEN
			EXECUTE pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO ecommerce_@service@',
				relation.name);
			PERFORM pg_catalog.pg_extension_config_dump(relation.name, '');
		ELSIF relation.relkind = 'v' THEN
			EXECUTE pg_catalog.format('GRANT SELECT ON %s TO ecommerce_@service@, ecommerce_reader',
				relation.name);
		ELSE
			EXECUTE pg_catalog.format(
				'GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO ecommerce_@service@', relation.name);
			EXECUTE pg_catalog.format('GRANT SELECT ON %s TO ecommerce_reader', relation.name);
			PERFORM pg_catalog.pg_extension_config_dump(relation.name, '');
		END IF;
	END LOOP;
	FOR routine IN
		SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
		WHERE p.pronamespace = 'ecommerce_@service@'::regnamespace
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
		EXECUTE pg_catalog.format(
			'GRANT EXECUTE ON FUNCTION %s TO ecommerce_@service@, ecommerce_admin', routine);
	END LOOP;
END
$rights$;
REVOKE EXECUTE ON FUNCTION ecommerce_@service@.install() FROM ecommerce_@service@;
