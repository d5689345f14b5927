-- What operators look at in the bus, and what they do with messages that wait or are dead.
-- Lists go by key and are bounded in what they read.

CREATE FUNCTION message_bus._endpoint_totals(OUT endpoint_id int, OUT sent_total bigint,
	OUT acked_total bigint)
RETURNS SETOF record LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_endpoint_totals';
COMMENT ON FUNCTION message_bus._endpoint_totals() IS
'Messages sent and acked per endpoint since the server started; no rows on a standby.';

CREATE FUNCTION message_bus._lane_of(endpoint_id int, partition_key text) RETURNS int
LANGUAGE c VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_lane_of';
COMMENT ON FUNCTION message_bus._lane_of(int, text) IS
'The lane of an endpoint that messages with a partition key are in; NULL: no such endpoint.';

-- With the owner's rights, for those who may see how much there is but not what it holds.
CREATE VIEW message_bus._seen_endpoint AS
SELECT e.endpoint_id, e.name, e.lanes, e.paused, e.max_depth, e.strict_order
FROM message_bus.endpoint e;
COMMENT ON VIEW message_bus._seen_endpoint IS 'Endpoints and their numbers, for the lists.';

DO $seen_ring$
BEGIN
	EXECUTE 'CREATE VIEW message_bus._seen_ring AS ' || (
		SELECT pg_catalog.string_agg(pg_catalog.format($part$
			SELECT %s AS segment, r.position, r.endpoint_id, r.lane, r.message_id,
				r.correlation_id, r.conversation_id, r.sent_at, r.schema_version, r.message_type,
				CASE WHEN (SELECT ecommerce._reads()) THEN r.body END AS body,
				CASE WHEN (SELECT ecommerce._reads()) THEN coalesce(r.headers, '{}') END
					AS headers,
				r.causation_id, r.user_id, r.tenant_id, r.traceparent, r.source, r.deliver_at,
				r.expires_at, r.partition_key
			FROM message_bus.ring_%1$s r$part$, n), ' UNION ALL ' ORDER BY n)
		FROM pg_catalog.generate_series(0, 7) n);
END
$seen_ring$;
COMMENT ON VIEW message_bus._seen_ring IS
'Messages of the ring, settled ones too; what they hold is null to roles that may not read it.';

CREATE VIEW message_bus._seen_aside AS
SELECT a.position, a.endpoint_id, a.lane, a.message_id, a.correlation_id, a.conversation_id,
	a.sent_at, a.schema_version, a.message_type,
	CASE WHEN (SELECT ecommerce._reads()) THEN a.body END AS body,
	CASE WHEN (SELECT ecommerce._reads()) THEN coalesce(a.headers, '{}') END AS headers,
	a.causation_id, a.user_id, a.tenant_id, a.traceparent, a.source, a.deliver_at, a.expires_at,
	a.partition_key, a.state, a.due_at, a.attempt, a.error_code, a.error, a.first_failed_at,
	a.last_failed_at
FROM message_bus.aside a;
COMMENT ON VIEW message_bus._seen_aside IS
'Messages that were set aside; what they hold is null to roles that may not read it.';

CREATE VIEW message_bus._seen_dead AS
SELECT d.endpoint_id, d.message_id, d.message_type, d.reason, d.error_code, d.error, d.attempts,
	d.first_failed_at, d.last_failed_at, d.sent_at, d.correlation_id, d.conversation_id,
	d.causation_id, d.partition_key, d.user_id, d.tenant_id, d.source, d.traceparent,
	d.schema_version, d.expires_at, d.position,
	CASE WHEN (SELECT ecommerce._reads()) THEN d.body END AS body,
	CASE WHEN (SELECT ecommerce._reads()) THEN coalesce(d.headers, '{}') END AS headers
FROM message_bus.dead d;
COMMENT ON VIEW message_bus._seen_dead IS
'Dead letters; what they hold is null to roles that may not read it.';

CREATE VIEW message_bus._seen_lease AS
SELECT l.delivery_id, l.endpoint_id, l.lane, l.position, l.upto, l.message_id, l.leased_until
FROM message_bus.lease l;
COMMENT ON VIEW message_bus._seen_lease IS 'Leases, for the lists.';

CREATE VIEW message_bus._seen_passed AS
SELECT p.endpoint_id, p.lane, p.position FROM message_bus.passed p;
COMMENT ON VIEW message_bus._seen_passed IS 'Places in the ring that are done with, for the lists.';

-- Dead letters are rare where messages are many, so they can have indexes.
CREATE INDEX dead_group_idx ON message_bus.dead (endpoint_id, message_type,
	(reason COLLATE "C"), (coalesce(error_code, '') COLLATE "C"), last_failed_at) INCLUDE (error_code);
CREATE INDEX dead_newest_idx ON message_bus.dead (last_failed_at, message_id);
CREATE INDEX dead_correlation_idx ON message_bus.dead (correlation_id);

-- ---------------------------------------------------------------- who works
CREATE VIEW message_bus._lane_holders AS
SELECT k.classid::bigint AS endpoint_id, k.objid::bigint AS lane, k.pid
FROM pg_catalog.pg_locks k
-- 0xEC01, as pg_locks shows it
WHERE k.locktype = 'advisory' AND k.objsubid = -5119 AND k.granted
	AND k.database = (SELECT d.oid FROM pg_catalog.pg_database d
		WHERE d.datname = pg_catalog.current_database());
COMMENT ON VIEW message_bus._lane_holders IS 'Which sessions hold which lanes now.';

CREATE VIEW message_bus.consumers AS
SELECT e.name AS endpoint, h.lane::int AS lane, 'transaction' AS state, h.pid, a.usename,
	a.application_name, a.client_addr, s.xact_start AS since, NULL::bigint AS leases,
	NULL::timestamptz AS leased_until, a.query
FROM message_bus._lane_holders h
JOIN message_bus._seen_endpoint e ON e.endpoint_id = h.endpoint_id
LEFT JOIN ecommerce._sessions() s ON s.pid = h.pid
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
UNION ALL
SELECT e.name, l.lane, 'lease', NULL, NULL, NULL, NULL, NULL, l.leases, l.leased_until, NULL
FROM (SELECT l.endpoint_id, l.lane, pg_catalog.count(*) AS leases,
		pg_catalog.max(l.leased_until) AS leased_until
	FROM message_bus._seen_lease l GROUP BY 1, 2) l
JOIN message_bus._seen_endpoint e ON e.endpoint_id = l.endpoint_id
UNION ALL
SELECT w.endpoint, NULL, 'waiting', a.pid, a.usename, a.application_name, a.client_addr,
	a.query_start, NULL, NULL, a.query
FROM pg_catalog.pg_stat_activity a
CROSS JOIN LATERAL (SELECT (pg_catalog.regexp_match(a.query,
	'message_bus\.wait\s*\(\s*''([^'']+)''', 'i'))[1] AS endpoint) w
WHERE a.datname = pg_catalog.current_database() AND a.state = 'active'
	AND a.query ~* '^\s*CALL\s+message_bus\.wait\M' AND a.pid <> pg_catalog.pg_backend_pid();
COMMENT ON VIEW message_bus.consumers IS
'Who works on which lane of which endpoint. state transaction: a session that has received there in a transaction that goes on since then; lease: messages are out under so many leases, until leased_until at the latest, wherever their consumer is; waiting: a session that waits in message_bus.wait() (endpoint null: it was passed as a parameter). Consumers that poll, or LISTEN, are seen only while they work. pg_stat_activity shows query and address to members of pg_monitor or pg_read_all_stats alone.';

-- ---------------------------------------------------------------- what waits
CREATE FUNCTION message_bus._endpoint_id(endpoint text) RETURNS int
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $endpoint_id$
DECLARE
	id int;
BEGIN
	SELECT e.endpoint_id INTO id FROM message_bus._seen_endpoint e
	WHERE e.name = _endpoint_id.endpoint;
	IF id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'MB001',
			MESSAGE = format('endpoint "%s" does not exist', _endpoint_id.endpoint),
			HINT = 'The view message_bus.endpoints lists them.';
	END IF;
	RETURN id;
END
$endpoint_id$;
COMMENT ON FUNCTION message_bus._endpoint_id(text) IS 'The number of an endpoint. MB001: no such endpoint.';

CREATE FUNCTION message_bus._cursors(endpoint_id int)
RETURNS TABLE (lane int, cursor bigint, holder_pid int)
LANGUAGE sql VOLATILE ROWS 8
SET search_path = pg_catalog, pg_temp
AS $cursors$
	SELECT l.lane, coalesce(s.cursor, (SELECT c.position FROM message_bus._cursor c
		WHERE c.endpoint_id = e.endpoint_id AND c.lane = l.lane), 0), h.pid
	FROM message_bus._seen_endpoint e
	CROSS JOIN LATERAL generate_series(0, e.lanes - 1) l (lane)
	LEFT JOIN message_bus._lane_status() s ON s.endpoint_id = e.endpoint_id AND s.lane = l.lane
	LEFT JOIN message_bus._lane_holders h ON h.endpoint_id = e.endpoint_id AND h.lane = l.lane
	WHERE e.endpoint_id = _cursors.endpoint_id
$cursors$;
COMMENT ON FUNCTION message_bus._cursors(int) IS
'How far each lane of an endpoint is, and who holds it.';

CREATE FUNCTION message_bus._waiting(endpoint_id int, after bigint, max int)
RETURNS TABLE ("position" bigint, segment int, lane int, holder_pid int,
	leased_until timestamptz)
LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $waiting$
#variable_conflict use_column
DECLARE
	wanted CONSTANT int := _waiting.endpoint_id;
BEGIN
	RETURN QUERY
	SELECT r.position, min(r.segment), r.lane, min(r.holder_pid), min(l.leased_until)
	FROM (SELECT w.position, w.segment, c.lane, c.holder_pid
		FROM message_bus._cursors(wanted) c
		LEFT JOIN (SELECT u.lane, max(u.upto) AS upto FROM message_bus._seen_lease u
			WHERE u.endpoint_id = wanted GROUP BY 1) b ON b.lane = c.lane
		CROSS JOIN LATERAL (SELECT DISTINCT ON (r.position) r.position, r.segment
			FROM message_bus._seen_ring r WHERE r.endpoint_id = wanted AND r.lane = c.lane
				AND r.position > greatest(c.cursor, _waiting.after)
				AND NOT EXISTS (SELECT FROM message_bus._seen_passed p
					WHERE p.endpoint_id = wanted AND p.lane = c.lane AND p.position = r.position)
				-- Of a leased batch what has no lease any more is settled.
				AND (b.upto IS NULL OR r.position > b.upto
					OR EXISTS (SELECT FROM message_bus._seen_lease l WHERE l.endpoint_id = wanted
						AND l.lane = c.lane AND l.position = r.position))
			ORDER BY r.position LIMIT _waiting.max) w
		ORDER BY w.position LIMIT _waiting.max) r
	LEFT JOIN message_bus._seen_lease l ON l.endpoint_id = wanted AND l.lane = r.lane
		AND l.position = r.position
	GROUP BY r.position, r.lane ORDER BY r.position LIMIT _waiting.max;
END
$waiting$;
COMMENT ON FUNCTION message_bus._waiting(int, bigint, int) IS
'The first messages of an endpoint in the ring after a position that are not settled: where they lie, who holds their lane, until when they are leased.';

CREATE FUNCTION message_bus._check_state(state text, allowed text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $check_state$
BEGIN
	IF state <> ALL (allowed) THEN
		RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" is no state of a message', state),
			HINT = format('States are %s.', array_to_string(allowed, ', '));
	END IF;
END
$check_state$;
COMMENT ON FUNCTION message_bus._check_state(text, text[]) IS 'Refuses what is none of these states (22023).';

CREATE FUNCTION message_bus._set_aside(endpoint_id int, after text, max int)
RETURNS TABLE (lane int, holder_pid int, due_at timestamptz, message_id uuid, key text)
LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $set_aside$
#variable_conflict use_column
DECLARE
	wanted CONSTANT int := _set_aside.endpoint_id;
	from_due timestamptz := '-infinity';
	from_id uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
	IF _set_aside.after LIKE 'a%' THEN
		from_due := split_part(substr(_set_aside.after, 2), '|', 1)::timestamptz;
		from_id := split_part(_set_aside.after, '|', 2)::uuid;
	END IF;
	RETURN QUERY
	SELECT c.lane, c.holder_pid, w.due_at, w.message_id, format('a%s|%s', w.due_at, w.message_id)
	FROM message_bus._cursors(wanted) c
	CROSS JOIN LATERAL (SELECT w.due_at, w.message_id FROM message_bus._seen_aside w
		WHERE w.endpoint_id = wanted AND w.lane = c.lane AND w.due_at >= from_due
			AND (w.due_at > from_due OR w.message_id > from_id)
		ORDER BY w.due_at, w.message_id LIMIT _set_aside.max) w
	ORDER BY w.due_at, w.message_id LIMIT _set_aside.max;
END
$set_aside$;
COMMENT ON FUNCTION message_bus._set_aside(int, text, int) IS
'The first messages of an endpoint that were set aside after a key of peek(), by due time.';

CREATE FUNCTION message_bus.peek(endpoint text, INOUT state text DEFAULT NULL,
	after text DEFAULT NULL, max int DEFAULT 50, OUT message_id uuid, OUT message_type text,
	OUT lane int, OUT "position" bigint, OUT sent_at timestamptz, OUT due_at timestamptz,
	OUT expires_at timestamptz, OUT attempt int, OUT correlation_id uuid,
	OUT conversation_id uuid, OUT causation_id uuid, OUT partition_key text, OUT user_id text,
	OUT tenant_id text, OUT source text, OUT traceparent text, OUT error_code text,
	OUT error text, OUT first_failed_at timestamptz, OUT last_failed_at timestamptz,
	OUT leased_until timestamptz, OUT holder_pid int, OUT schema_version int, OUT body jsonb,
	OUT headers jsonb, OUT key text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $peek$
#variable_conflict use_column
DECLARE
	wanted CONSTANT text := peek.state;
	page CONSTANT int := ecommerce._page(peek.max);
	id CONSTANT int := message_bus._endpoint_id(peek.endpoint);
	looks CONSTANT int := page + CASE WHEN wanted IS NULL THEN 0 ELSE 200 END;
	from_position CONSTANT bigint := CASE WHEN peek.after LIKE 'a%' THEN NULL
		ELSE coalesce(substr(peek.after, 2)::bigint, 0) END;
	found_rows bigint := 0;
	looked bigint;
	last_key text;
BEGIN
	PERFORM message_bus._check_state(wanted, '{waiting,leased,scheduled,retrying,held,blocked,returned}');
	state := NULL;
	IF from_position IS NOT NULL AND (wanted IS NULL OR wanted IN ('waiting', 'leased')) THEN
		RETURN QUERY SELECT f.state, r.message_id, r.message_type, w.lane, w.position, r.sent_at,
			r.deliver_at, r.expires_at, 1, r.correlation_id, r.conversation_id, r.causation_id,
			coalesce(r.partition_key, r.correlation_id::text), r.user_id, r.tenant_id, r.source,
			r.traceparent, NULL::text, NULL::text, NULL::timestamptz, NULL::timestamptz,
			w.leased_until, w.holder_pid, r.schema_version, r.body, r.headers,
			'r' || w.position
		FROM message_bus._waiting(id, from_position, looks) w
		CROSS JOIN LATERAL (SELECT CASE WHEN w.leased_until IS NULL THEN 'waiting'
			ELSE 'leased' END) f (state)
		CROSS JOIN LATERAL (SELECT * FROM message_bus._seen_ring r WHERE r.endpoint_id = id
			AND r.lane = w.lane AND r.position = w.position LIMIT 1) r
		WHERE wanted IS NULL OR f.state = wanted
		ORDER BY w.position LIMIT page;
		GET DIAGNOSTICS found_rows = ROW_COUNT;
		IF wanted IS NOT NULL AND found_rows < page THEN
			SELECT count(*), 'r' || max(w.position) INTO looked, last_key
			FROM message_bus._waiting(id, from_position, looks) w;
			IF looked = looks THEN
				key := last_key;
				RETURN NEXT;
				RETURN;
			END IF;
		END IF;
	END IF;
	IF found_rows < page AND wanted IS DISTINCT FROM 'waiting' THEN
		RETURN QUERY SELECT f.state, a.message_id, a.message_type, a.lane, a.position, a.sent_at,
			CASE WHEN isfinite(a.due_at) THEN a.due_at END, a.expires_at, a.attempt,
			a.correlation_id, a.conversation_id, a.causation_id,
			coalesce(a.partition_key, a.correlation_id::text), a.user_id, a.tenant_id, a.source,
			a.traceparent, a.error_code, a.error, a.first_failed_at, a.last_failed_at,
			f.leased_until, w.holder_pid, a.schema_version, a.body, a.headers, w.key
		FROM message_bus._set_aside(id, peek.after, looks) w
		JOIN message_bus._seen_aside a ON a.message_id = w.message_id AND a.endpoint_id = id
		LEFT JOIN LATERAL (SELECT l.leased_until FROM message_bus._seen_lease l
			WHERE l.endpoint_id = id AND l.lane = w.lane AND l.message_id = w.message_id LIMIT 1) l
			ON true
		CROSS JOIN LATERAL (SELECT CASE WHEN l.leased_until IS NULL THEN a.state ELSE 'leased' END,
			l.leased_until) f (state, leased_until)
		WHERE wanted IS NULL OR f.state = wanted
		ORDER BY w.due_at, w.message_id LIMIT page - found_rows;
		GET DIAGNOSTICS found_rows = ROW_COUNT;
		IF wanted IS NOT NULL AND found_rows < page THEN
			SELECT count(*), (array_agg(w.key ORDER BY w.due_at DESC, w.message_id DESC))[1]
			INTO looked, last_key FROM message_bus._set_aside(id, peek.after, looks) w;
			IF looked = looks THEN
				key := last_key;
				RETURN NEXT;
			END IF;
		END IF;
	END IF;
END
$peek$;
COMMENT ON FUNCTION message_bus.peek(text, text, text, int) IS
'Messages of an endpoint that are not settled, without taking any: first those in their place (waiting, leased) by position, then those set aside (scheduled, retrying, held, blocked, returned) by due time. holder_pid: who works on the lane now, perhaps on this message. body and headers are null to who may not read messages. '
'after: the key of the last row, for what comes after it. Of one state it looks at 200 messages and max more: a last row whose message_id is null says that there may be others, ask again with its key. Errors: MB001 no such endpoint, 22023 no such state, or max is not 1 to 1000.';

-- ---------------------------------------------------------------- dead letters
CREATE FUNCTION message_bus._check_filter(filter jsonb, keys text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $check_filter$
DECLARE
	wrong text;
BEGIN
	IF jsonb_typeof(filter) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a filter must be a JSON object',
			HINT = format('Its keys are %s.', array_to_string(keys, ', '));
	END IF;
	SELECT k INTO wrong FROM jsonb_object_keys(filter) k WHERE k <> ALL (keys) LIMIT 1;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('a filter has no key "%s"', wrong),
			HINT = format('Its keys are %s.', array_to_string(keys, ', '));
	END IF;
END
$check_filter$;
COMMENT ON FUNCTION message_bus._check_filter(jsonb, text[]) IS 'Refuses a filter with other keys than these (22023).';

CREATE FUNCTION message_bus._dead_where(filter jsonb, OUT by_index text, OUT by_row text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $dead_where$
DECLARE
	rest jsonb := filter;
	reason CONSTANT text := 'd.reason COLLATE "C" = %L';
	open CONSTANT text := 'd.reason <> ''discarded''';
	code CONSTANT text := 'coalesce(d.error_code, '''') COLLATE "C" = %L';
BEGIN
	PERFORM message_bus._check_filter(filter, ARRAY['endpoint', 'message_type', 'reason',
		'error_code', 'error', 'message_ids', 'correlation_id', 'from', 'to']);
	by_index := concat_ws(' AND ',
		CASE WHEN filter ? 'endpoint' THEN
			format('d.endpoint_id = %s', message_bus._endpoint_id(filter ->> 'endpoint')) END,
		CASE WHEN filter ? 'message_ids' THEN format('d.message_id = ANY (%L::uuid[])',
			ARRAY(SELECT jsonb_array_elements_text(filter -> 'message_ids'))) END,
		CASE WHEN filter ? 'correlation_id' THEN
			format('d.correlation_id = %L::uuid', filter ->> 'correlation_id') END,
		CASE WHEN filter ? 'from' THEN
			format('d.last_failed_at >= %L::timestamptz', filter ->> 'from') END,
		CASE WHEN filter ? 'to' THEN
			format('d.last_failed_at < %L::timestamptz', filter ->> 'to') END, 'true');
	IF filter ? 'endpoint' AND filter -> 'reason' = 'null' THEN
		by_index := by_index || ' AND ' || open;
		rest := rest - 'reason';
	ELSIF filter ?& ARRAY['endpoint', 'message_type', 'reason', 'error_code'] THEN
		by_index := format('d.message_type = %L AND ' || reason || ' AND ' || code || ' AND %s',
			filter ->> 'message_type', filter ->> 'reason', coalesce(filter ->> 'error_code', ''),
			by_index);
		rest := rest - ARRAY['message_type', 'reason', 'error_code'];
	END IF;
	by_row := nullif(concat_ws(' AND ',
		CASE WHEN rest ? 'message_type' THEN format('d.message_type = %L', rest ->> 'message_type') END,
		CASE WHEN rest -> 'reason' = 'null' THEN open
			WHEN rest ? 'reason' THEN format(reason, rest ->> 'reason') END,
		CASE WHEN rest ? 'error_code' THEN format(code, coalesce(rest ->> 'error_code', '')) END,
		CASE WHEN rest ? 'error' THEN format('position(%L IN d.error) > 0', rest ->> 'error') END), '');
END
$dead_where$;
COMMENT ON FUNCTION message_bus._dead_where(jsonb) IS
'A filter of dead letters as conditions: what an index finds, and what is looked at row by row (null: nothing).';

CREATE FUNCTION message_bus._dead_page(filter jsonb, after text, max int, oldest_first boolean,
	looks int)
RETURNS TABLE (message_id uuid, endpoint_id int, key text)
LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $dead_page$
#variable_conflict use_column
DECLARE
	page CONSTANT int := ecommerce._page(_dead_page.max);
	way CONSTANT text := CASE WHEN oldest_first THEN '' ELSE 'DESC' END;
	key_of CONSTANT text := 'format(''%s|%s|%s'', d.last_failed_at, d.message_id, d.endpoint_id)';
	conditions record;
	beyond text := 'true';
	inner_query text;
	found_rows bigint;
	mark record;
BEGIN
	SELECT w.by_index, w.by_row INTO conditions
	FROM message_bus._dead_where(_dead_page.filter) w;
	IF _dead_page.after IS NOT NULL THEN
		-- The second half is for those that failed at the same time.
		beyond := format('d.last_failed_at %1$s= %2$L AND (d.last_failed_at %1$s %2$L OR '
			'(d.message_id, d.endpoint_id) %1$s (%3$L::uuid, %4$s))',
			CASE WHEN oldest_first THEN '>' ELSE '<' END,
			split_part(_dead_page.after, '|', 1)::timestamptz, split_part(_dead_page.after, '|', 2)::uuid,
			split_part(_dead_page.after, '|', 3)::int);
	END IF;
	inner_query := format('SELECT d.message_id, d.endpoint_id, d.last_failed_at, d.message_type, d.reason, '
		'd.error_code, d.error FROM message_bus._seen_dead d WHERE %s AND %s '
		'ORDER BY d.last_failed_at %3$s, d.message_id %3$s, d.endpoint_id %3$s LIMIT %4$s',
		conditions.by_index, beyond, way,
		CASE WHEN conditions.by_row IS NULL THEN page ELSE looks END);
	RETURN QUERY EXECUTE format('SELECT d.message_id, d.endpoint_id, %s FROM (%s) d WHERE %s '
		'ORDER BY d.last_failed_at %4$s, d.message_id %4$s, d.endpoint_id %4$s LIMIT %5$s',
		key_of, inner_query, coalesce(conditions.by_row, 'true'), way, page);
	GET DIAGNOSTICS found_rows = ROW_COUNT;
	IF found_rows < page AND conditions.by_row IS NOT NULL THEN
		EXECUTE format('SELECT count(*) AS n, (array_agg(%s ORDER BY d.last_failed_at %3$s, '
			'd.message_id %3$s, d.endpoint_id %3$s))[count(*)] AS last FROM (%2$s) d',
			key_of, inner_query, way) INTO mark;
		IF mark.n = looks THEN
			key := mark.last;
			RETURN NEXT;
		END IF;
	END IF;
END
$dead_page$;
COMMENT ON FUNCTION message_bus._dead_page(jsonb, text, int, boolean, int) IS
'Which dead letters a page has, by when they failed last; a last row without message_id where looks ended the search.';

CREATE FUNCTION message_bus.list_dead(filter jsonb DEFAULT '{}', after text DEFAULT NULL,
	max int DEFAULT 50)
RETURNS TABLE (message_id uuid, endpoint text, message_type text, reason text, error_code text,
	error text, attempts int, first_failed_at timestamptz, last_failed_at timestamptz,
	sent_at timestamptz, correlation_id uuid, conversation_id uuid, causation_id uuid,
	partition_key text, user_id text, tenant_id text, source text, traceparent text,
	schema_version int, expires_at timestamptz, body jsonb, headers jsonb, key text)
LANGUAGE sql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
AS $list_dead$
	SELECT p.message_id, e.name, d.message_type, d.reason, d.error_code, d.error, d.attempts,
		d.first_failed_at, d.last_failed_at, d.sent_at, d.correlation_id, d.conversation_id,
		d.causation_id, coalesce(d.partition_key, d.correlation_id::text), d.user_id, d.tenant_id,
		d.source, d.traceparent, d.schema_version, d.expires_at, d.body, d.headers, p.key
	FROM message_bus._dead_page(filter, after, max, false, 1000) WITH ORDINALITY
		p (message_id, endpoint_id, key, n)
	LEFT JOIN LATERAL (SELECT * FROM message_bus._seen_dead d
		WHERE d.message_id = p.message_id AND d.endpoint_id = p.endpoint_id OFFSET 0) d ON true
	LEFT JOIN message_bus._seen_endpoint e ON e.endpoint_id = p.endpoint_id
	ORDER BY p.n
$list_dead$;
COMMENT ON FUNCTION message_bus.list_dead(jsonb, text, int) IS
'Dead letters, those first that failed last. filter: an object with any of endpoint, message_type, reason (null: all but discarded), error_code (null: none), error (a part of its text), message_ids (an array), correlation_id, from and to (when it failed last: not before from, before to); all must hold. body and headers are null to who may not read messages. '
'after: the key of the last row, for what comes after it. By error, or by message_type, reason or error_code without all of these and the endpoint, it looks at 1000 dead letters: a last row whose message_id is null says that there may be others, ask again with its key. Errors: 22023 no such key of a filter, or max is not 1 to 1000; MB001 no such endpoint.';

CREATE STATISTICS message_bus.dead_groups (mcv) ON endpoint_id, message_type, reason, error_code
	FROM message_bus.dead;
COMMENT ON STATISTICS message_bus.dead_groups IS 'How many dead letters of a kind there may be.';

CREATE FUNCTION message_bus._count_dead(condition text, OUT count bigint, OUT capped boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $count_dead$
#variable_conflict use_column
DECLARE
	plan json;
BEGIN
	EXECUTE format('SELECT count(*) FROM (SELECT FROM message_bus._seen_dead d WHERE %s LIMIT 1001) d',
		condition) INTO count;
	capped := count > 1000;
	IF capped THEN
		EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM message_bus._seen_dead d WHERE %s', condition)
		INTO plan;
		count := greatest((plan #>> '{0,Plan,Plan Rows}')::numeric, 1000);
	END IF;
END
$count_dead$;
COMMENT ON FUNCTION message_bus._count_dead(text) IS
'How many dead letters meet a condition: counted to 1000, beyond that what the planner thinks.';

CREATE FUNCTION message_bus.count_dead(filter jsonb DEFAULT '{}', OUT count bigint,
	OUT capped boolean)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $count_dead$
	SELECT c.count, c.capped FROM message_bus._dead_where(filter) w
	CROSS JOIN LATERAL message_bus._count_dead(concat_ws(' AND ', w.by_index, w.by_row)) c
$count_dead$;
COMMENT ON FUNCTION message_bus.count_dead(jsonb) IS
'How many dead letters match a filter of list_dead(): exact to 1000, beyond that (capped) an estimate of the planner''s, at least 1000. A filter that is met rarely is looked for in all of them. Errors as list_dead().';

CREATE FUNCTION message_bus.dead_groups(INOUT endpoint text DEFAULT NULL,
	after text DEFAULT NULL, max int DEFAULT 50, OUT message_type text, OUT reason text,
	OUT error_code text, OUT count bigint, OUT count_capped boolean, OUT oldest_at timestamptz,
	OUT newest_at timestamptz, OUT newest_message_id uuid, OUT newest_error text, OUT key text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE ROWS 20
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $dead_groups$
#variable_conflict use_column
DECLARE
	only_id CONSTANT int := CASE WHEN dead_groups.endpoint IS NOT NULL
		THEN message_bus._endpoint_id(dead_groups.endpoint) END;
	start CONSTANT json := dead_groups.after;
	at_id int := coalesce((start ->> 0)::int, only_id, 0);
	at_type text := coalesce(start ->> 1, '');
	at_reason text := coalesce(start ->> 2, '');
	at_code text := coalesce(start ->> 3, '');
	g record;
BEGIN
	FOR n IN 1..ecommerce._page(dead_groups.max) LOOP
		SELECT d.endpoint_id, d.message_type, d.reason, coalesce(d.error_code, '') AS code,
			d.error_code, d.last_failed_at INTO g
		FROM message_bus._seen_dead d
		WHERE (d.endpoint_id, d.message_type, d.reason COLLATE "C",
			coalesce(d.error_code, '') COLLATE "C") > (at_id, at_type, at_reason, at_code)
		ORDER BY d.endpoint_id, d.message_type, d.reason COLLATE "C",
			coalesce(d.error_code, '') COLLATE "C", d.last_failed_at LIMIT 1;
		EXIT WHEN NOT FOUND OR g.endpoint_id <> only_id;
		at_id := g.endpoint_id;
		at_type := g.message_type;
		at_reason := g.reason;
		at_code := g.code;
		RETURN QUERY SELECT (SELECT e.name FROM message_bus._seen_endpoint e
				WHERE e.endpoint_id = at_id), at_type, at_reason, g.error_code,
			c.count, c.capped, g.last_failed_at, l.last_failed_at, l.message_id, l.error,
			json_build_array(at_id, at_type, at_reason, at_code)::text
		FROM message_bus._count_dead(format('d.endpoint_id = %s AND d.message_type = %L '
			'AND d.reason COLLATE "C" = %L AND coalesce(d.error_code, '''') COLLATE "C" = %L',
			at_id, at_type, at_reason, at_code)) c
		CROSS JOIN LATERAL (SELECT d.last_failed_at, d.message_id, d.error
			FROM message_bus._seen_dead d WHERE d.endpoint_id = at_id
				AND d.message_type = at_type AND d.reason COLLATE "C" = at_reason
				AND coalesce(d.error_code, '') COLLATE "C" = at_code
			ORDER BY d.last_failed_at DESC LIMIT 1) l;
	END LOOP;
END
$dead_groups$;
COMMENT ON FUNCTION message_bus.dead_groups(text, text, int) IS
'Dead letters by endpoint (NULL: all), message type, reason and error code: how many (exact to 1000; with count_capped more, and count is an estimate of the planner''s), when the first and the last of them failed, and the last one. after: the key of the last row. Errors: MB001 no such endpoint, 22023 max is not 1 to 1000.';
