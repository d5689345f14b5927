-- What operators look at in the event store: lists by key, bounded in what they read.
-- Nothing here counts a table, and nothing shows what an event holds to who may not read it.

CREATE FUNCTION ecommerce._reads() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_has_role('ecommerce_reader', 'USAGE') $$;
COMMENT ON FUNCTION ecommerce._reads() IS
'Whether the role may read what events, messages and instances hold: lists show it to such roles alone.';

CREATE FUNCTION ecommerce._page(max int) RETURNS int
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF max IS NULL OR max NOT BETWEEN 1 AND 1000 THEN
		RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'max must be between 1 and 1000',
			HINT = 'Ask again with the key of the last row for what comes after it.';
	END IF;
	RETURN max;
END
$$;
COMMENT ON FUNCTION ecommerce._page(int) IS 'The size of a page, 1 to 1000. Error: 22023.';

CREATE FUNCTION ecommerce._counted(count bigint, capped boolean, one text, many text)
RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN format('%s%s %s', count, CASE WHEN capped THEN '+' END,
		CASE WHEN count = 1 AND capped IS NOT TRUE THEN one ELSE many END);
END
$$;
COMMENT ON FUNCTION ecommerce._counted(bigint, boolean, text, text) IS
'A count in words: 1 message waits, 2 messages wait, 200+ messages wait (capped: there may be more).';

CREATE FUNCTION event_store._name_key(stream text) RETURNS bigint
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_name_key';
COMMENT ON FUNCTION event_store._name_key(text) IS 'The hash by which a stream''s row is found.';

CREATE FUNCTION event_store._category_key(category text) RETURNS int
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_category_key';
COMMENT ON FUNCTION event_store._category_key(text) IS 'The hash by which a category''s events are found.';

CREATE FUNCTION event_store._safe_mark(category text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_safe_mark';
COMMENT ON FUNCTION event_store._safe_mark(text) IS
'The high-water mark, for who only looks: where a synchronous standby is away it does not wait, and is the mark that was published last.';

-- With the owner's rights, for those who may see how much there is but not what it holds.
CREATE VIEW event_store._seen_event AS
SELECT e.position, e.stream, e.version, e.event_id, e.event_type, e.schema_version,
	CASE WHEN (SELECT ecommerce._reads()) THEN e.data END AS data,
	CASE WHEN (SELECT ecommerce._reads()) THEN e.metadata END AS metadata,
	event_store.correlation_of(e.metadata) AS correlation_id,
	e.metadata ->> 'causation_id' AS causation_id, e.metadata ->> 'traceparent' AS traceparent,
	e.occurred_at, e.stream_id, e.category_key
FROM event_store.stored_event e;
COMMENT ON VIEW event_store._seen_event IS
'Events as they are stored; what they hold is null to roles that may not read it.';

CREATE VIEW event_store._seen_deletion AS
SELECT d.position, d.category_key FROM event_store.deletion d;
COMMENT ON VIEW event_store._seen_deletion IS 'Where streams were deleted, for who only looks.';

CREATE VIEW event_store._seen_stream AS
SELECT s.stream_id, s.name_key, s.name, s.last_version, s.deleted_version, s.tombstoned
FROM event_store.stream s;
COMMENT ON VIEW event_store._seen_stream IS 'Rows of streams, for the lists.';

CREATE VIEW event_store._category_share AS
SELECT v.category_key, f.share, greatest(c.reltuples, 0)::bigint AS events
FROM pg_catalog.pg_statistic t
JOIN pg_catalog.pg_class c ON c.oid = t.starelid
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.starelid AND a.attnum = t.staattnum
CROSS JOIN LATERAL (SELECT k.category_key, k.n
	FROM pg_catalog.unnest(t.stavalues1::pg_catalog.text::int[])
		WITH ORDINALITY k (category_key, n)) v
CROSS JOIN LATERAL (SELECT t.stanumbers1[v.n] AS share) f
WHERE t.starelid = 'event_store.stored_event'::pg_catalog.regclass
	AND a.attname = 'category_key' AND t.stakind1 = 1;
COMMENT ON VIEW event_store._category_share IS
'Which share of the events a category has, as ANALYZE has found; without the rare ones.';

CREATE FUNCTION event_store.newest(category text DEFAULT NULL, event_types text[] DEFAULT NULL,
	after text DEFAULT NULL, max int DEFAULT 50)
RETURNS TABLE ("position" bigint, stream text, version bigint, event_id uuid, event_type text,
	schema_version int, data jsonb, metadata jsonb, correlation_id uuid,
	occurred_at timestamptz, key text)
LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $newest$
#variable_conflict use_column
DECLARE
	mark CONSTANT bigint := event_store._safe_mark(newest.category);
	below CONSTANT bigint := least(coalesce(newest.after::bigint - 1, mark), mark);
	of_category CONSTANT int := event_store._category_key(newest.category);
	page CONSTANT int := ecommerce._page(newest.max);
	looks CONSTANT int := page + CASE WHEN newest.event_types IS NULL THEN 0 ELSE 2000 END;
	found_rows bigint;
	looked bigint;
	lowest bigint;
BEGIN
	IF of_category IS NULL THEN
		RETURN QUERY SELECT e.position, e.stream, e.version, e.event_id, e.event_type,
			e.schema_version, e.data, e.metadata, e.correlation_id, e.occurred_at, e.position::text
		FROM (SELECT * FROM event_store._seen_event s WHERE s.position <= below
			ORDER BY s.position DESC LIMIT looks) e
		WHERE newest.event_types IS NULL OR e.event_type = ANY (newest.event_types)
		ORDER BY e.position DESC LIMIT page;
	ELSE
		RETURN QUERY SELECT e.position, e.stream, e.version, e.event_id, e.event_type,
			e.schema_version, e.data, e.metadata, e.correlation_id, e.occurred_at, e.position::text
		FROM (SELECT * FROM event_store._seen_event s
			WHERE s.category_key = of_category AND s.position <= below
			ORDER BY s.position DESC LIMIT looks) e
		WHERE (newest.event_types IS NULL OR e.event_type = ANY (newest.event_types))
			AND split_part(e.stream, '-', 1) = newest.category
		ORDER BY e.position DESC LIMIT page;
	END IF;
	GET DIAGNOSTICS found_rows = ROW_COUNT;
	IF found_rows < page AND newest.event_types IS NOT NULL THEN
		SELECT count(*), min(e.position) INTO looked, lowest
		FROM event_store._look_back(of_category, below, looks) e;
		IF looked = looks THEN
			key := lowest::text;
			RETURN NEXT;
		END IF;
	END IF;
END
$newest$;
COMMENT ON FUNCTION event_store.newest(text, text[], text, int) IS
'The newest events, of a category, of some types, up to the high-water mark, the newest first; data as it was appended. data and metadata are null to who may not read events. Also events that deletion or retention hides, until scavenge() has removed them. '
'after: the key of the last row, for what comes after it. Of rare types it looks at 2000 events and max more: a last row whose event_id is null says that there may be others, ask again with its key. Error: 22023 max is not 1 to 1000.';

CREATE FUNCTION event_store._look_back(of_category int, upto bigint, looks int)
RETURNS TABLE ("position" bigint, stream text, version bigint, event_type text,
	occurred_at timestamptz, stream_id bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $look_back$
#variable_conflict use_column
BEGIN
	IF of_category IS NULL THEN
		RETURN QUERY SELECT s.position, s.stream, s.version, s.event_type, s.occurred_at, s.stream_id
		FROM event_store._seen_event s WHERE s.position <= upto
		ORDER BY s.position DESC LIMIT looks;
	ELSE
		RETURN QUERY SELECT s.position, s.stream, s.version, s.event_type, s.occurred_at, s.stream_id
		FROM event_store._seen_event s WHERE s.category_key = of_category AND s.position <= upto
		ORDER BY s.position DESC LIMIT looks;
	END IF;
END
$look_back$;
COMMENT ON FUNCTION event_store._look_back(int, bigint, int) IS
'So many events from a position back, of a category''s key or (NULL) of all.';

CREATE FUNCTION event_store._stream_row(stream text)
RETURNS TABLE (stream_id bigint, version bigint, deleted boolean, tombstoned boolean,
	newest_at timestamptz, newest_position bigint, newest_type text)
LANGUAGE sql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.stream_id, v.version, coalesce(s.deleted_version = v.version, false),
		coalesce(s.tombstoned, false), e.occurred_at, e.position, e.event_type
	FROM event_store._seen_stream s
	LEFT JOIN LATERAL (SELECT n.version, n.occurred_at, n.position, n.event_type
		FROM event_store._seen_event n WHERE n.stream_id = s.stream_id
		ORDER BY n.version DESC LIMIT 1) e ON true
	CROSS JOIN LATERAL (SELECT greatest(e.version, s.last_version, 0)) v (version)
	WHERE s.name_key = event_store._name_key(_stream_row.stream) AND s.name = _stream_row.stream
		AND (v.version > 0 OR s.tombstoned)
$$;
COMMENT ON FUNCTION event_store._stream_row(text) IS
'A stream by its name, with its last event; no row if it never had one.';

CREATE FUNCTION event_store._has_name_index() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
		WHERE i.indrelid = 'event_store.stream'::regclass AND i.indisvalid AND i.indpred IS NULL
			AND a.attname = 'name' AND m.amname = 'btree')
$$;
COMMENT ON FUNCTION event_store._has_name_index() IS
'Whether somebody has made an index on event_store.stream (name): then streams are found by the beginning of their names.';

CREATE FUNCTION event_store.list_streams(category text DEFAULT NULL, prefix text DEFAULT NULL,
	after text DEFAULT NULL, max int DEFAULT 50)
RETURNS TABLE (stream text, version bigint, deleted boolean, tombstoned boolean,
	newest_at timestamptz, newest_position bigint, newest_type text, key text)
LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $list_streams$
#variable_conflict use_column
DECLARE
	page int := ecommerce._page(list_streams.max);
	wanted CONSTANT text := list_streams.prefix;
	group_name CONSTANT text := list_streams.category;
	key_of_group CONSTANT int := event_store._category_key(group_name);
	upto bigint;
	found_rows bigint;
	looked bigint;
	lowest bigint;
BEGIN
	IF wanted IS NOT NULL AND wanted <> '' AND event_store._has_name_index() THEN
		RETURN QUERY SELECT s.name, r.version, r.deleted, r.tombstoned,
			r.newest_at, r.newest_position, r.newest_type, s.name
		FROM (SELECT n.name FROM event_store._seen_stream n
			WHERE n.name >= wanted AND n.name < wanted || chr(1114111)
				AND (list_streams.after IS NULL OR n.name > list_streams.after)
				AND (group_name IS NULL OR split_part(n.name, '-', 1) = group_name)
			ORDER BY n.name LIMIT page) s
		CROSS JOIN LATERAL event_store._stream_row(s.name) r ORDER BY s.name;
		RETURN;
	END IF;
	upto := coalesce(list_streams.after::bigint - 1, event_store._safe_mark(group_name));
	IF list_streams.after IS NULL AND wanted <> '' THEN
		RETURN QUERY SELECT wanted, r.version, r.deleted, r.tombstoned,
			r.newest_at, r.newest_position, r.newest_type, (upto + 1)::text
		FROM event_store._stream_row(left(wanted, 255)) r
		WHERE group_name IS NULL OR split_part(wanted, '-', 1) = group_name;
		GET DIAGNOSTICS found_rows = ROW_COUNT;
		page := page - found_rows;
		IF page = 0 THEN
			RETURN;
		END IF;
	END IF;
	RETURN QUERY SELECT e.stream, e.version,
		coalesce(r.deleted, false), coalesce(r.tombstoned, false), e.occurred_at, e.position,
		e.event_type, e.position::text
	FROM event_store._look_back(key_of_group, upto, 1000) e
	CROSS JOIN LATERAL event_store._stream_flags(e.stream_id, e.version, e.stream) r
	WHERE (wanted IS NULL OR starts_with(e.stream, wanted) AND e.stream <> wanted)
		AND (group_name IS NULL OR split_part(e.stream, '-', 1) = group_name)
	LIMIT page;
	GET DIAGNOSTICS found_rows = ROW_COUNT;
	IF found_rows < page THEN
		SELECT count(*), min(b.position) INTO looked, lowest
		FROM event_store._look_back(key_of_group, upto, 1000) b;
		IF looked = 1000 THEN
			key := lowest::text;
			RETURN NEXT;
		END IF;
	END IF;
END
$list_streams$;
COMMENT ON FUNCTION event_store.list_streams(text, text, text, int) IS
'Streams, of a category, whose names begin with prefix, those with the newest events first; a stream called as prefix says comes before all. deleted: no event can be read; tombstoned: none can be appended either. '
'after: the key of the last row, for what comes after it. It looks at 1000 events: a last row whose stream is null says that there may be others, ask again with its key. '
'Where somebody has typed CREATE INDEX ON event_store.stream (name), which costs the first append to each stream a little, a prefix is found among all names, and those come in order of name. Error: 22023 max is not 1 to 1000.';

CREATE FUNCTION event_store._stream_flags(stream_id bigint, version bigint, stream text,
	OUT deleted boolean, OUT tombstoned boolean)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $stream_flags$
#variable_conflict use_column
BEGIN
	PERFORM FROM event_store._seen_event n
	WHERE n.stream_id = _stream_flags.stream_id AND n.version > _stream_flags.version LIMIT 1;
	IF NOT FOUND THEN
		RETURN QUERY SELECT coalesce(s.deleted_version = _stream_flags.version, false),
			coalesce(s.tombstoned, false)
		FROM event_store._seen_stream s
		WHERE s.name_key = event_store._name_key(_stream_flags.stream);
	END IF;
END
$stream_flags$;
COMMENT ON FUNCTION event_store._stream_flags(bigint, bigint, text) IS
'Whether a stream is deleted or tombstoned, if this version is its last; else no row.';

CREATE FUNCTION event_store.categories(after text DEFAULT NULL, max int DEFAULT 100)
RETURNS TABLE (category text, newest_position bigint, newest_at timestamptz, newest_type text,
	first_at timestamptz, events_estimate bigint, key text)
LANGUAGE plpgsql VOLATILE ROWS 100
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $categories$
#variable_conflict use_column
DECLARE
	next_key bigint := coalesce(categories.after::bigint + 1, -2147483648);
	page CONSTANT int := ecommerce._page(categories.max);
	first record;
BEGIN
	FOR n IN 1..page LOOP
		SELECT e.category_key, e.stream, e.occurred_at INTO first FROM event_store._seen_event e
		WHERE e.category_key >= next_key ORDER BY e.category_key, e.position LIMIT 1;
		EXIT WHEN NOT FOUND;
		next_key := first.category_key::bigint + 1;
		RETURN QUERY SELECT split_part(first.stream, '-', 1), e.position, e.occurred_at,
			e.event_type, first.occurred_at,
			(SELECT round(c.share * c.events)::bigint FROM event_store._category_share c
				WHERE c.category_key = first.category_key), first.category_key::text
		FROM event_store._seen_event e WHERE e.category_key = first.category_key
		ORDER BY e.position DESC LIMIT 1;
	END LOOP;
END
$categories$;
COMMENT ON FUNCTION event_store.categories(text, int) IS
'Every category with its first and its newest event, in no order that matters; events_estimate is what ANALYZE last thought (null: few, or not analysed). Of two categories with one hash one is shown. after: the key of the last row. Error: 22023 max is not 1 to 1000.';

CREATE FUNCTION event_store.event_types(category text DEFAULT NULL, max int DEFAULT 200)
RETURNS TABLE (event_type text, registered boolean, current_version int,
	newest_at timestamptz, recent bigint)
LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
AS $event_types$
#variable_conflict use_column
DECLARE
	of_category CONSTANT int := event_store._category_key(event_types.category);
	mark CONSTANT bigint := event_store._safe_mark(event_types.category);
BEGIN
	RETURN QUERY
	WITH seen AS (
		SELECT b.event_type, max(b.occurred_at) AS newest_at, count(*) AS recent
		FROM event_store._look_back(of_category, mark, 2000) b
		WHERE event_types.category IS NULL
			OR split_part(b.stream, '-', 1) = event_types.category
		GROUP BY 1
	), known AS (
		SELECT t.event_type, coalesce(max(t.schema_version) FILTER (WHERE t.may_be_current),
			min(t.schema_version)) AS version
		FROM event_store._seen_type t GROUP BY 1
	)
	SELECT coalesce(s.event_type, k.event_type), k.event_type IS NOT NULL, k.version,
		s.newest_at, coalesce(s.recent, 0)
	FROM seen s FULL JOIN known k ON k.event_type = s.event_type
	WHERE s.event_type IS NOT NULL OR event_types.category IS NULL
		OR EXISTS (SELECT FROM event_store._seen_handler h
			WHERE h.category = event_types.category AND h.event_type = k.event_type)
	ORDER BY s.newest_at DESC NULLS LAST, 1 LIMIT ecommerce._page(event_types.max);
END
$event_types$;
COMMENT ON FUNCTION event_store.event_types(text, int) IS
'Types of events: those among the newest 2000 events (of the category), how many of these and when the last, then those that are registered (of a category: those its aggregate handles). A type that is neither is not found. Error: 22023 max is not 1 to 1000.';

CREATE VIEW event_store._seen_type AS
SELECT t.event_type, t.schema_version, t.may_be_current FROM event_store.event_type t;
COMMENT ON VIEW event_store._seen_type IS 'Registered types and their versions, for the lists.';
CREATE VIEW event_store._seen_handler AS
SELECT h.category, h.event_type FROM event_store.event_handler h;
COMMENT ON VIEW event_store._seen_handler IS 'Which aggregate handles which events, for the lists.';

-- ---------------------------------------------------------------- rates
CREATE FUNCTION event_store._position_at(at timestamptz, low bigint, low_at timestamptz,
	high bigint, high_at timestamptz, exactness bigint)
RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $position_at$
DECLARE
	share float8;
	guess bigint;
	e record;
	n int := 0;
BEGIN
	WHILE high - low > greatest(exactness, 1) LOOP
		-- By proportion, and where events came unevenly, every third time by half.
		n := n + 1;
		share := CASE WHEN n % 3 = 0 OR high_at <= low_at THEN 0.5
			ELSE extract(epoch FROM at - low_at) / extract(epoch FROM high_at - low_at) END;
		guess := low + greatest(least(((high - low) * share)::bigint, high - low - 1), 0);
		SELECT s.position, s.occurred_at INTO e FROM event_store._seen_event s
		WHERE s.position > guess ORDER BY s.position LIMIT 1;
		IF NOT FOUND OR e.occurred_at >= at THEN
			high := guess;
			high_at := coalesce(e.occurred_at, high_at);
		ELSE
			low := e.position;
			low_at := e.occurred_at;
		END IF;
	END LOOP;
	RETURN high;
END
$position_at$;
COMMENT ON FUNCTION event_store._position_at(timestamptz, bigint, timestamptz, bigint, timestamptz, bigint) IS
'The position up to which events occurred before a time, as if they had occurred in order: between two positions with their times, to within exactness.';

CREATE FUNCTION event_store.rates("from" timestamptz, step interval)
RETURNS TABLE (at timestamptz, events bigint, per_s float8)
LANGUAGE plpgsql VOLATILE ROWS 60
SET search_path = pg_catalog, pg_temp
AS $rates$
#variable_conflict use_column
DECLARE
	until CONSTANT timestamptz := clock_timestamp();
	mark CONSTANT bigint := event_store._safe_mark();
	low bigint;
	high bigint;
	exactness bigint;
	seconds float8;
	first_at timestamptz;
BEGIN
	IF rates."from" IS NULL OR NOT isfinite(rates."from") OR coalesce(step, '0') <= '0'::interval
		OR extract(epoch FROM until - rates."from") / extract(epoch FROM step) > 1000 THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = 'from and step must make at most 1000 steps until now',
			HINT = 'Type, for example, SELECT * FROM event_store.rates(now() - interval ''1 hour'', ''1 min'').';
	END IF;
	SELECT e.occurred_at INTO first_at FROM event_store._seen_event e ORDER BY e.position LIMIT 1;
	low := event_store._position_at(rates."from", 0, first_at, mark, until, 1);
	exactness := greatest((mark - low) / 100000, 1);
	at := rates."from";
	WHILE at < until LOOP
		high := CASE WHEN at + step >= until THEN mark
			ELSE event_store._position_at(at + step, low, at, mark, until, exactness) END;
		events := high - low;
		seconds := extract(epoch FROM least(at + step, until) - at);
		per_s := events / greatest(seconds, 0.001);
		RETURN NEXT;
		low := high;
		at := at + step;
	END LOOP;
END
$rates$;
COMMENT ON FUNCTION event_store.rates(timestamptz, interval) IS
'How many events were appended in each step from a time until now, at most 1000 steps: by their positions, so that what was rolled back counts too, and as if they had occurred in order. Write "from" in quotes, or go by position. Error: 22023.';
