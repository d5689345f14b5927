-- fails(statement): what a statement fails with, and that it left nothing behind.
-- refusal(statement): the same in one line. outcome(statement): result or SQLSTATE.
-- uid(n): the n-th of some event ids.

-- All that a failed call could have changed; positions do not come back with a
-- rollback, so a call that took one before it failed is found out.
CREATE FUNCTION store_state() RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT concat_ws(' ', (SELECT count(*) FROM event_store.stored_event),
		(SELECT count(*) FROM event_store.stream), event_store.position_counter(),
		event_store.high_water_mark(), (SELECT count(*) FROM event_store.subscription),
		(SELECT string_agg(checkpoint::text, ',' ORDER BY name, partition)
		 FROM event_store.subscription_partition),
		(SELECT count(*) FROM event_store.retention))
$$;

CREATE FUNCTION fails(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	before text := store_state();
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	BEGIN
		EXECUTE statement;
		RETURN NEXT 'NO ERROR';
		RETURN;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	END;
	RETURN NEXT state || ' ' || message;
	IF detail <> '' THEN
		RETURN NEXT '  detail: ' || detail;
	END IF;
	IF hint <> '' THEN
		RETURN NEXT '  hint: ' || hint;
	END IF;
	IF store_state() <> before THEN
		RETURN NEXT '  LEFT SOMETHING BEHIND: ' || before || ' became ' || store_state();
	END IF;
END
$$;

-- The same in one line, for long lists: SQLSTATE, message, and what is wrong with
-- the error itself.
CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE sql AS $$
	SELECT concat(string_agg(line, ' ') FILTER (WHERE line NOT LIKE '  hint: %'),
		CASE WHEN count(*) FILTER (WHERE line LIKE '  hint: %.') = 0 THEN ' (NO HINT)' END)
	FROM fails(statement) line
$$;

-- The first column of the first row, or the SQLSTATE.
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE statement INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;

CREATE FUNCTION uid(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
