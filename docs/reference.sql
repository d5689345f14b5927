-- Writes docs/reference.md from COMMENT ON: psql -XqAt -v ON_ERROR_STOP=1 -f docs/reference.sql
-- in a database that has just the extension. `make docs` does it; a test compares.

\pset format unaligned
\pset tuples_only on

SELECT $$# Reference

Generated from the comments in the database: `\df+ event_store.*` and so on show the same.
First what all modules share, then each module, then [the shop](#the-shop) that is built on them,
[its types](#the-shops-types), and the settings. What begins with `_` is for the extension's own use and not listed.
Times are timestamptz, ids are uuid, positions and versions are bigint unless said otherwise.$$;

-- The shop has names in schema ecommerce, beside what all modules share.
CREATE FUNCTION pg_temp.is_shop(schema name, name name) RETURNS boolean LANGUAGE sql AS $$
	SELECT schema = 'ecommerce' AND name ~ '^(apply_|check_|create_|confirm_|cancel_|complete_)'
		'|order_|contracts$|currenc|^minor_units$|card_number$|payment_type$'
$$;

CREATE FUNCTION pg_temp.columns_of(relation oid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', '
		ORDER BY a.attnum)
	FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
$$;

WITH module (schema, shop, rank, title, about) AS (
	VALUES ('ecommerce', false, 1, 'Schema ecommerce', NULL),
		('event_store', false, 2, 'Schema event_store', NULL),
		('message_bus', false, 3, 'Schema message_bus', NULL),
		('saga', false, 4, 'Schema saga', NULL),
		('ecommerce', true, 5, 'The shop', 'The order aggregate, the order saga and the contracts '
			'of an online shop, in schema ecommerce: an example that is used as it stands.'),
		('ecommerce', true, 6, 'The shop''s types', 'Value objects, events and commands of the '
			'shop, in schema ecommerce. A column of a domain that begins with required_ must be there.')
), object AS (
	SELECT n.nspname AS schema, pg_temp.is_shop(n.nspname, p.proname) AS shop, 5 AS shop_rank,
		1 AS kind, p.proname::text AS name,
		format(E'### %1$s.%2$s\n\n```sql\n%1$s.%2$s(%3$s)%4$s\n```\n\n%5$s\n',
			n.nspname, p.proname, pg_get_function_arguments(p.oid),
			' RETURNS ' || pg_get_function_result(p.oid), obj_description(p.oid, 'pg_proc')) AS text
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
	WHERE p.proname !~ '^_'
	UNION ALL
	SELECT n.nspname, false, 5, 2, c.relname,
		format(E'### view %s.%s\n\n`%s`\n\n%s\n', n.nspname, c.relname,
			pg_temp.columns_of(c.oid), obj_description(c.oid, 'pg_class'))
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'v' AND c.relname !~ '^_'
	UNION ALL
	SELECT n.nspname, n.nspname = 'ecommerce', 6, 3, c.relname,
		format(E'### type %s.%s\n\n`%s`\n\n%s\n', n.nspname, c.relname,
			pg_temp.columns_of(c.oid),
			coalesce(obj_description(c.reltype, 'pg_type'), obj_description(c.oid, 'pg_class')))
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'c' AND c.relname !~ '^_'
)
SELECT CASE WHEN row_number() OVER w = 1
			THEN format(E'\n## %s\n\n%s\n\n', m.title,
				coalesce(m.about, obj_description(m.schema::regnamespace, 'pg_namespace')))
			ELSE '' END || o.text
FROM object o
JOIN module m ON m.schema = o.schema AND m.shop = o.shop AND (NOT m.shop OR m.rank = o.shop_rank)
WINDOW w AS (PARTITION BY m.rank ORDER BY o.kind, o.name, o.text)
ORDER BY m.rank, o.kind, o.name, o.text;

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
