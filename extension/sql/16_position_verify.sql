-- Whether the counter of ecommerce.next_position() fits the tables that use it.

CREATE FUNCTION ecommerce._position_problems() RETURNS TABLE (object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $position_problems$
DECLARE
	used record;
	newest bigint;
	counter bigint;
BEGIN
	-- Only what runs nobody's code when it is read.
	FOR used IN
		SELECT a.attrelid::regclass AS name, a.attname
		FROM pg_depend d
		JOIN pg_attrdef f ON f.oid = d.objid
		JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
		JOIN pg_class c ON c.oid = a.attrelid
		WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_proc'::regclass
			AND d.refobjid = 'ecommerce.next_position(text)'::regprocedure
			AND c.relkind = 'r' AND NOT c.relrowsecurity AND a.atttypid = 'int8'::regtype
			AND (c.relpersistence <> 't' OR c.relnamespace = pg_my_temp_schema())
			AND has_column_privilege(c.oid, a.attnum, 'SELECT')
		ORDER BY 1, 2
	LOOP
		EXECUTE format('SELECT max(%I) FROM ONLY %s', used.attname, used.name) INTO newest;
		-- after the rows: what comes meanwhile must not look like damage
		counter := (SELECT q.last_value FROM ecommerce.position_seq q);
		IF newest > counter THEN
			object := 'sequence ecommerce.position_seq';
			problem := format('the counter is at %s, behind %s in %s.%s: who follows that table would miss '
				'what comes next; type SELECT setval(''ecommerce.position_seq'', %s)',
				counter, newest, used.name, used.attname, newest);
			RETURN NEXT;
		END IF;
	END LOOP;
END
$position_problems$;
COMMENT ON FUNCTION ecommerce._position_problems() IS
'Tables that hold positions which ecommerce.next_position() has still to give, as after a restore that forgot the counter. Only tables that the caller may read, and none with row level security.';
