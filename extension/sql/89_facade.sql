-- For SQL clients that want one address for several cells: functions of PL/Proxy (Debian:
-- postgresql-15-plproxy) that call those of the cell that has a stream. This only writes them.

CREATE FUNCTION ecommerce.facade(services text[])
RETURNS SETOF text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $facade$
DECLARE
	call record;
BEGIN
	IF coalesce(cardinality(services), 0) = 0 OR array_position(services, NULL) IS NOT NULL
		OR array_ndims(services) <> 1 THEN
		RAISE EXCEPTION 'services must be the names of one service or more'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'For example ARRAY[''cell1'', ''cell2''], for the cells 1 and 2.';
	END IF;
	RETURN NEXT 'CREATE EXTENSION IF NOT EXISTS plproxy';
	RETURN NEXT 'CREATE SCHEMA cells';
	-- partitions count from 0, cells from 1
	RETURN NEXT format('CREATE SERVER cells FOREIGN DATA WRAPPER plproxy OPTIONS (modular_mapping ''1'', %s)',
		(SELECT string_agg(format('p%s %L', n - 1, 'service=' || quote_literal(s)), ', ' ORDER BY n)
		FROM unnest(services) WITH ORDINALITY AS t (s, n)));
	RETURN NEXT 'CREATE USER MAPPING FOR PUBLIC SERVER cells';
	RETURN NEXT 'GRANT USAGE ON FOREIGN SERVER cells TO ecommerce_reader';
	RETURN NEXT 'GRANT USAGE ON SCHEMA cells TO ecommerce_reader';
	RETURN NEXT format($statement$CREATE FUNCTION cells._partition(stream text) RETURNS int LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	cell CONSTANT int := ecommerce._cell_of_stream(stream);
BEGIN
	IF cell BETWEEN 1 AND %s THEN
		RETURN cell - 1;
	END IF;
	RAISE EXCEPTION 'stream "%%" is in none of the cells', stream USING ERRCODE = 'invalid_parameter_value',
		HINT = 'Its name is a category, "-" and an id made by ecommerce.new_id() in the cell.';
END $$$statement$, cardinality(services));
	-- what is about one stream goes to its cell as it stands
	FOR call IN VALUES
		('append', 'stream text, expected_version bigint, event_type text, data jsonb, metadata jsonb DEFAULT ''{}'', event_id uuid DEFAULT NULL, schema_version int DEFAULT NULL, OUT version bigint, OUT "position" bigint', 'ecommerce_writer'),
		('append_json', 'stream text, expected_version bigint, events jsonb, OUT version bigint, OUT "position" bigint', 'ecommerce_writer'),
		('read_stream', 'stream text, from_version bigint DEFAULT NULL, max_count bigint DEFAULT NULL, backward boolean DEFAULT false) RETURNS SETOF event_store.event', 'ecommerce_reader'),
		('stream_version', 'stream text) RETURNS bigint', 'ecommerce_reader')
	LOOP
		RETURN NEXT format('CREATE FUNCTION cells.%s(%s LANGUAGE plproxy AS %s', call.column1,
			call.column2 || CASE WHEN call.column2 LIKE '%) RETURNS %' THEN '' ELSE ')' END,
			format('$$CLUSTER ''cells''; RUN ON cells._partition(stream); TARGET event_store.%s;$$', call.column1));
		RETURN NEXT format('REVOKE ALL ON FUNCTION cells.%s FROM PUBLIC', call.column1);
		RETURN NEXT format('GRANT EXECUTE ON FUNCTION cells.%s TO %s', call.column1, call.column3);
	END LOOP;
	-- all of them at once, each from its own checkpoint
	RETURN NEXT $statement$CREATE FUNCTION cells.read_all(checkpoints bigint[], max_per_cell bigint, of_category text DEFAULT NULL,
	of_types text[] DEFAULT NULL, OUT cell int, OUT "position" bigint, OUT stream text, OUT version bigint,
	OUT event_id uuid, OUT event_type text, OUT schema_version int, OUT data jsonb, OUT metadata jsonb,
	OUT occurred_at timestamptz)
RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'cells';
	RUN ON ALL;
	SELECT c.cell, e."position", e.stream, e.version, e.event_id, e.event_type, e.schema_version, e.data, e.metadata, e.occurred_at
	FROM (SELECT pg_catalog.current_setting('ecommerce.cell')::int AS cell) c,
	LATERAL event_store.read_all((checkpoints)[c.cell], max_per_cell, of_category, of_types, false) e;
$$$statement$;
	RETURN NEXT 'REVOKE ALL ON FUNCTION cells.read_all FROM PUBLIC';
	RETURN NEXT 'GRANT EXECUTE ON FUNCTION cells.read_all TO ecommerce_reader';
END
$facade$;
COMMENT ON FUNCTION ecommerce.facade(text[]) IS
'Statements that make a facade of several cells in another database, for SQL clients: schema cells with append, append_json, read_stream and stream_version, which PL/Proxy sends to the cell that the stream''s id names, and read_all(checkpoints, max_per_cell, category, types), which reads all cells at once, each from its own checkpoint. services: the names in pg_service.conf of cell 1, cell 2 and so on. '
'Type them with \gexec in a database that has this extension and PL/Proxy. It is no way for transactions: each call is one of its own in the cell, whatever is rolled back here; context, LISTEN, fetch and advance do not pass. 22023: no services.';
