-- Writes docs/reference.md from COMMENT ON: psql -XqAt -v ON_ERROR_STOP=1 -f docs/reference.sql
-- in a database that has just the extension. `make docs` does it; a test compares.

\pset format unaligned
\pset tuples_only on

SELECT $$# Reference

Generated from the comments in the database: `\df+ event_store.*` and so on show the same.
Settings stand at the end.
Times are timestamptz, ids are uuid, positions and versions are bigint unless said otherwise.$$;

WITH module (schema, rank) AS (
	VALUES ('ecommerce', 1), ('event_store', 2), ('message_bus', 3), ('saga', 4)
), object AS (
	SELECT m.schema, m.rank, 1 AS kind,
		   p.proname::text AS name,
		   format(E'### %s.%s\n\n```sql\n%s.%s(%s)%s\n```\n\n%s\n', m.schema, p.proname,
		   	m.schema, p.proname,
				  pg_get_function_arguments(p.oid),
				  CASE p.prokind WHEN 'p' THEN ''
				  	ELSE ' RETURNS ' || pg_get_function_result(p.oid) END,
				  obj_description(p.oid, 'pg_proc')) AS text
	FROM module m
	JOIN pg_namespace n ON n.nspname = m.schema
	JOIN pg_proc p ON p.pronamespace = n.oid
	WHERE p.prorettype <> 'trigger'::regtype
	UNION ALL
	SELECT m.schema, m.rank, 2, c.relname::text,
		   format(E'### view %s.%s\n\n`%s`\n\n%s\n', m.schema, c.relname,
				  (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod),
				  	', ' ORDER BY a.attnum)
				   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
				   	AND NOT a.attisdropped),
				  obj_description(c.oid, 'pg_class'))
	FROM module m
	JOIN pg_namespace n ON n.nspname = m.schema
	JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'v'
	UNION ALL
	SELECT m.schema, m.rank, 3, c.relname::text,
		   format(E'### type %s.%s\n\n`%s`\n\n%s\n', m.schema, c.relname,
				  (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod),
				  	', ' ORDER BY a.attnum)
				   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
				   	AND NOT a.attisdropped),
				  coalesce(obj_description(c.reltype, 'pg_type'), obj_description(c.oid,
				  	'pg_class')))
	FROM module m
	JOIN pg_namespace n ON n.nspname = m.schema
	JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'c'
)
SELECT CASE WHEN row_number() OVER w = 1
			THEN format(E'\n## Schema %s\n\n%s\n\n', schema,
						(SELECT obj_description(n.oid, 'pg_namespace') FROM pg_namespace n
							WHERE n.nspname = schema))
			ELSE '' END || text
FROM object
WINDOW w AS (PARTITION BY schema ORDER BY kind, name, text)
ORDER BY rank, kind, name, text;

SELECT E'\n## Settings\n\n| setting | default | unit | who may set it | meaning |\n'
	'|---|---|---|---|---|';
SELECT format('| `%s` | %s | %s | %s | %s |', name, coalesce(nullif(boot_val, ''), 'empty'),
	coalesce(unit, ''),
			  CASE context WHEN 'user' THEN 'anybody' WHEN 'superuser' THEN 'superuser'
			  	WHEN 'sighup' THEN 'configuration file' ELSE context END,
			  short_desc)
FROM pg_settings
WHERE split_part(name, '.', 1) IN ('ecommerce', 'event_store', 'message_bus', 'saga')
ORDER BY name;
