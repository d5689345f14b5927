-- Rebuilding a projection beside the tables that are read, and progress of all rebuilds.

CREATE TABLE event_store.projection_rebuild (
	name text COLLATE "C" PRIMARY KEY,
	beside text[] NOT NULL,
	checkpoint bigint NOT NULL DEFAULT 0,
	failed boolean NOT NULL DEFAULT false,
	failures int NOT NULL DEFAULT 0,
	retry_at timestamptz,
	error_position bigint,
	last_error text,
	started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) WITH (fillfactor = 50);
COMMENT ON TABLE event_store.projection_rebuild IS
'Rebuilds that fill tables beside those that are read; written in the transaction that fills them. See the view event_store.rebuilds.';
COMMENT ON COLUMN event_store.projection_rebuild.beside IS
'The tables that are filled, one for each of the projection''s tables, in their order.';

-- Not of updates: only which rebuilds there are is remembered, not how far they are.
CREATE TRIGGER registry_changed AFTER INSERT OR DELETE OR TRUNCATE
	ON event_store.projection_rebuild
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._registry_changed();
ALTER TABLE event_store.projection_rebuild ENABLE ALWAYS TRIGGER registry_changed;

CREATE FUNCTION event_store.rebuild_projection(name text, beside text DEFAULT NULL,
											   stream text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_rebuild_projection';
COMMENT ON FUNCTION event_store.rebuild_projection(text, text, text) IS
'Gives all events to the handler again, in the background; appends go on. '
'Without beside the projection''s tables are emptied first, and readers see them fill; an inline projection works like an async one meanwhile. '
'With beside (schema.table; for several tables as many names, separated by commas, in the order of tables) tables of those names are made and filled: what the same handler does to the projection''s tables is led there, while it goes on keeping the old ones. When they have caught up, the rows that differ are brought over in one transaction, and the tables beside are dropped. Readers see the old rows, then the new ones, never fewer, whatever their isolation level; views, indexes, grants and foreign keys stay. A handler that fails leaves the old tables in use. event_store.rebuilds shows how far it is; cancel_rebuild() ends it. '
'With stream only that stream''s events up to now are given again, at once, and the rows they make are put into the tables. For read models whose rows come from one stream each; rows that the stream no longer makes stay. '
'Errors: ST012 if there is none, 22023 for wrong or missing names, 42P07 if a table beside exists already, 0A000 if a table is of a kind that cannot be rebuilt so, 42501 if the projection''s role may not do it, 55006 if it is being rebuilt already or another projection writes one of the tables.';

CREATE FUNCTION event_store.cancel_rebuild(name text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_cancel_rebuild';
COMMENT ON FUNCTION event_store.cancel_rebuild(text) IS
'Ends a rebuild beside, and drops the tables beside; the old ones stay in use. False if there was none to end. Error: ST012 if there is no such projection.';

CREATE FUNCTION event_store._beside_names(tables text[], list text) RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $beside_names$
DECLARE
	wanted text;
	parts text[];
	names text[] := '{}';
BEGIN
	FOREACH wanted IN ARRAY coalesce(string_to_array(list, ','), '{}') LOOP
		parts := parse_ident(wanted);
		IF cardinality(parts) <> 2 THEN
			RAISE EXCEPTION 'beside names "%", which is not schema.table', btrim(wanted)
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Name the table with its schema, as read_model.orders_2.';
		END IF;
		names := names || format('%I.%I', parts[1], parts[2]);
	END LOOP;
	IF cardinality(names) <> cardinality(tables) THEN
		RAISE EXCEPTION 'beside names % of % tables', cardinality(names), cardinality(tables)
		USING ERRCODE = 'invalid_parameter_value',
			DETAIL = format('The projection writes %s.', array_to_string(tables, ', ')),
			HINT = 'Name a new table for each of them, separated by commas, in their order.';
	END IF;
	RETURN names;
END
$beside_names$;
COMMENT ON FUNCTION event_store._beside_names(text[], text) IS
'Names of tables to be filled beside, as they were given, one for each of the tables.';

CREATE FUNCTION event_store._check_beside(owner text, live regclass) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $check_beside$
DECLARE
	reason text;
	missing text;
BEGIN
	SELECT CASE WHEN c.relkind <> 'r' THEN 'it is not an ordinary table'
		WHEN c.relpersistence = 't' THEN 'it is temporary'
		WHEN c.relhassubclass OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
			THEN 'it is, or has, a part of another table'
		WHEN c.relhasrules THEN 'it has rules'
		WHEN c.relrowsecurity THEN 'it has row level security'
		WHEN EXISTS (SELECT FROM pg_constraint f WHERE f.confrelid = c.oid AND f.contype = 'f')
			AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisprimary)
			THEN 'other tables refer to it, and it has no primary key'
		END
	INTO reason FROM pg_class c WHERE c.oid = live;
	IF reason IS NOT NULL THEN
		RAISE EXCEPTION 'table % cannot be rebuilt beside: %', live, reason
		USING ERRCODE = 'feature_not_supported',
			HINT = 'Rebuild in place, without beside.';
	END IF;
	SELECT string_agg(p, ', ') INTO missing
	FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) p
	WHERE NOT has_table_privilege(owner, live, p);
	IF missing IS NOT NULL THEN
		RAISE EXCEPTION 'role "%" may not % table %', owner, missing, live
		USING ERRCODE = 'insufficient_privilege',
			DETAIL = 'The projection runs with the rights of that role, and so does its rebuild.',
			HINT = format('GRANT %s ON %s TO %I', missing, live, owner);
	END IF;
END
$check_beside$;
COMMENT ON FUNCTION event_store._check_beside(text, regclass) IS
'An error if a table cannot be filled beside, or the role may not do so.';

-- The columns stand at the same numbers, also where some were dropped: what a statement
-- says of one table must hold for the other.
CREATE FUNCTION event_store._beside_definition(live regclass, beside text) RETURNS SETOF text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $beside_definition$
	SELECT format('CREATE TABLE %s (%s)', beside, string_agg(CASE WHEN a.attisdropped
		THEN format('%I int', 'dropped ' || a.attnum)
		ELSE format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
			|| coalesce((SELECT format(' COLLATE %I.%I', n.nspname, l.collname)
				FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
				JOIN pg_type t ON t.oid = a.atttypid
				WHERE l.oid = a.attcollation AND l.oid <> t.typcollation), '')
			|| CASE WHEN a.attgenerated <> '' THEN format(' GENERATED ALWAYS AS (%s) %s',
				pg_get_expr(d.adbin, d.adrelid),
				CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END)
				-- Numbers go on from those of the table that is read.
				WHEN a.attidentity <> '' THEN format(' DEFAULT nextval(%L::regclass)',
				pg_get_serial_sequence(live::text, a.attname))
				WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
				ELSE '' END
			|| CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END END, ', ' ORDER BY a.attnum))
	FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE a.attrelid = live AND a.attnum > 0
	UNION ALL
	SELECT format('ALTER TABLE %s DROP COLUMN %I', beside, 'dropped ' || a.attnum)
	FROM pg_attribute a WHERE a.attrelid = live AND a.attnum > 0 AND a.attisdropped
	UNION ALL
	SELECT format('ALTER TABLE %s ADD %s', beside, pg_get_constraintdef(c.oid))
	FROM pg_constraint c WHERE c.conrelid = live AND c.contype IN ('p', 'u', 'x', 'c')
	UNION ALL
	SELECT format('CREATE %sINDEX ON %s%s', CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END, beside,
		substr(pg_get_indexdef(x.indexrelid), strpos(pg_get_indexdef(x.indexrelid), ' USING ')))
	FROM pg_index x WHERE x.indrelid = live AND x.indisvalid AND NOT EXISTS
		(SELECT FROM pg_constraint c WHERE c.conindid = x.indexrelid AND c.conrelid = live)
$beside_definition$;
COMMENT ON FUNCTION event_store._beside_definition(regclass, text) IS
'Statements that make a table like another one, with its columns'' numbers, its keys, checks and indexes.';

CREATE VIEW event_store._beside_key AS
SELECT x.indrelid AS live,
	array_agg(a.attname ORDER BY k.n) AS columns,
	string_agg(format('l.%I OPERATOR(%I.%s) s.%I', a.attname, n.nspname, o.oprname, a.attname),
		' AND ' ORDER BY k.n) AS same
FROM pg_catalog.pg_index x
CROSS JOIN LATERAL unnest(x.indkey::int2[], x.indclass::oid[]) WITH ORDINALITY k (attnum, opclass, n)
JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
JOIN pg_catalog.pg_opclass c ON c.oid = k.opclass
JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype
	AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
WHERE x.indisprimary
GROUP BY x.indrelid;
COMMENT ON VIEW event_store._beside_key IS
'Primary keys of tables: their columns, and how rows l and s of two such tables are the same by it.';

CREATE VIEW event_store._beside_table AS
SELECT c.oid::regclass AS live, k.same, f.columns, f.sources, f.changing, f.changing_sources,
	-- Other tables' rows refer to its own: those must not go before new ones have come.
	EXISTS (SELECT FROM pg_catalog.pg_constraint r WHERE r.confrelid = c.oid AND r.contype = 'f') AS referenced,
	-- A row may take what another one has had: that one must go first.
	EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid
		AND (x.indisunique OR x.indisexclusion) AND NOT x.indisprimary) AS exclusive
FROM pg_catalog.pg_class c
LEFT JOIN event_store._beside_key k ON k.live = c.oid
CROSS JOIN LATERAL (SELECT string_agg(a.name, ', ' ORDER BY a.attnum) AS columns,
		string_agg('s.' || a.name, ', ' ORDER BY a.attnum) AS sources,
		string_agg(a.name, ', ' ORDER BY a.attnum) FILTER (WHERE a.changes) AS changing,
		string_agg('s.' || a.name, ', ' ORDER BY a.attnum) FILTER (WHERE a.changes) AS changing_sources
	-- A row that stays keeps the number that it was given.
	FROM (SELECT a.attnum, quote_ident(a.attname) AS name,
			a.attidentity <> 'a' AND a.attname <> ALL (coalesce(k.columns, '{}')) AS changes
		FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
			AND NOT a.attisdropped AND a.attgenerated = '') a) f
WHERE c.relkind = 'r';
COMMENT ON VIEW event_store._beside_table IS 'What must be known of a table to bring rows into it.';

CREATE FUNCTION event_store._beside_swap(live regclass[], beside text[], stream boolean)
RETURNS SETOF text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $beside_swap$
	WITH RECURSIVE pair AS (SELECT t.*, u.beside FROM unnest(live, beside) u (live, beside)
		JOIN event_store._beside_table t ON t.live = u.live),
	reach (live, other) AS (SELECT p.live, p.live::oid FROM pair p
		UNION SELECT r.live, f.confrelid FROM reach r JOIN pg_constraint f
			ON f.conrelid = r.other AND f.contype = 'f' WHERE f.confrelid IN (SELECT p.live FROM pair p)),
	ranked AS (SELECT p.*, (SELECT count(*) FROM reach r WHERE r.live = p.live) AS rank,
		p.exclusive AND NOT p.referenced AND p.same IS NOT NULL AND NOT stream AS anew
		FROM pair p),
	step (phase, rank, live, part, statement) AS (
		-- First what nobody refers to goes,
		SELECT 1, -r.rank, r.live, 1, format('DELETE FROM %s l', r.live)
			|| CASE WHEN r.same IS NULL THEN ''
			ELSE format(' WHERE NOT EXISTS (SELECT FROM %s s WHERE %s%s)', r.beside, r.same,
				CASE WHEN r.anew THEN ' AND l.* OPERATOR(pg_catalog.*=) s.*' ELSE '' END) END
		FROM ranked r WHERE NOT r.referenced AND NOT stream
		-- then comes what is new, what others refer to before them,
		UNION ALL
		SELECT 2, r.rank, r.live, 1, format('UPDATE %s l SET (%s) = ROW(%s) FROM %s s WHERE %s AND l.* OPERATOR(pg_catalog.*<>) s.*',
			r.live, r.changing, r.changing_sources, r.beside, r.same)
		FROM ranked r WHERE r.same IS NOT NULL AND NOT r.anew AND r.changing IS NOT NULL
		UNION ALL
		SELECT 2, r.rank, r.live, 2, format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s s', r.live,
			r.columns, r.sources, r.beside) || CASE WHEN r.same IS NULL THEN ''
			ELSE format(' WHERE NOT EXISTS (SELECT FROM %s l WHERE %s)', r.live, r.same) END
		FROM ranked r
		-- and last goes what others referred to.
		UNION ALL
		SELECT 3, -r.rank, r.live, 1, format('DELETE FROM %s l WHERE NOT EXISTS (SELECT FROM %s s WHERE %s)',
			r.live, r.beside, r.same)
		FROM ranked r WHERE r.referenced AND NOT stream)
	SELECT s.statement FROM step s ORDER BY s.phase, s.rank, s.live::oid, s.part
$beside_swap$;
COMMENT ON FUNCTION event_store._beside_swap(regclass[], text[], boolean) IS
'Statements that make the rows of tables those of the tables beside; of a stream, those that are there are put in and none goes.';

CREATE VIEW event_store.rebuilds AS
SELECT p.name, array_to_string(b.beside, ', ') AS beside,
	CASE WHEN g.paused THEN 'paused'
		WHEN coalesce(b.failed, g.failed) THEN 'failed'
		WHEN coalesce(b.last_error, CASE WHEN b.name IS NULL THEN g.last_error END) IS NOT NULL
			THEN 'retrying'
		WHEN b.name IS NOT NULL AND d.done >= d.until THEN 'swapping'
		ELSE 'filling' END AS state,
	d.done AS checkpoint, d.until,
	CASE WHEN d.until > 0 THEN least(round(100.0 * d.done / d.until, 1), 100) ELSE 100 END AS percent,
	b.started_at,
	CASE WHEN d.done BETWEEN 1 AND d.until THEN justify_interval(
		(clock_timestamp() - b.started_at) * ((d.until - d.done)::float8 / d.done)) END AS remaining,
	CASE WHEN b.name IS NULL THEN g.error_position ELSE b.error_position END AS error_position,
	CASE WHEN b.name IS NULL THEN g.last_error ELSE b.last_error END AS last_error,
	coalesce(b.updated_at, g.updated_at) AS updated_at
FROM event_store.projection p
JOIN event_store.projection_progress g ON g.name = p.name
LEFT JOIN event_store.projection_rebuild b ON b.name = p.name
CROSS JOIN LATERAL (SELECT
	CASE WHEN b.name IS NOT NULL THEN b.checkpoint
		WHEN g.rebuild_step = 'requested' THEN 0 ELSE g.checkpoint END AS done,
	CASE WHEN b.name IS NULL OR g.rebuild_until IS NOT NULL THEN coalesce(g.rebuild_until, 0)
		WHEN p.mode = 'async' THEN g.checkpoint
		ELSE event_store.high_water_mark(p.category) END AS until) d
WHERE b.name IS NOT NULL OR g.rebuild_step IS NOT NULL;
COMMENT ON VIEW event_store.rebuilds IS
'One row per projection that is being rebuilt. beside: the tables that are filled; NULL: in place. state: filling, swapping, retrying, failed (mend the handler, then resume_projection(); or skip_event(), or cancel_rebuild()) or paused. checkpoint: events up to there are in; until: where the rebuild is over; percent of positions; remaining: at the pace so far, of rebuilds beside.';
