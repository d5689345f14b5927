-- What happened to one process, from whatever id one has.

CREATE FUNCTION ecommerce._is_uuid(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(value ~* '^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$', false) $$;
COMMENT ON FUNCTION ecommerce._is_uuid(text) IS 'Whether a text is a UUID, with or without its dashes.';

CREATE FUNCTION ecommerce._related(id uuid, OUT correlations uuid[], OUT processes uuid[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $related$
DECLARE
	more uuid[];
BEGIN
	correlations := ARRAY[id];
	-- Instances that carry the id, or whose streams have events under it.
	SELECT coalesce(array_agg(DISTINCT n.correlation_id), '{}') INTO processes
	-- By an array, which an index finds: with OR it would be every instance there is.
	FROM saga._seen_number n WHERE n.correlation_id = ANY (id || ARRAY(
		SELECT right(e.stream, 36)::uuid FROM (SELECT e.stream FROM event_store._seen_event e
			WHERE e.correlation_id = id ORDER BY e.position LIMIT 200) e
		WHERE ecommerce._is_uuid(right(e.stream, 36))));
	-- What they were created under, and what the events of streams of that id carry.
	SELECT array_agg(DISTINCT c.id) INTO more FROM (
		SELECT i.created_under::uuid AS id FROM saga._seen_instance i
		WHERE i.correlation_id = ANY (processes) AND ecommerce._is_uuid(i.created_under)
		UNION SELECT e.correlation_id FROM event_store.categories(NULL, 50) c
		CROSS JOIN LATERAL event_store._stream_row(c.category || '-' || id) s
		CROSS JOIN LATERAL (SELECT e.correlation_id FROM event_store._seen_event e
			WHERE e.stream_id = s.stream_id ORDER BY e.version LIMIT 50) e) c
	WHERE c.id IS NOT NULL;
	correlations := (SELECT array_agg(DISTINCT c) FROM (SELECT unnest(correlations || more)
		UNION SELECT unnest(processes)) c (c) WHERE c IS NOT NULL);
END
$related$;
COMMENT ON FUNCTION ecommerce._related(uuid) IS
'Correlation ids that belong to one story, and the sagas'' instances in it.';

CREATE FUNCTION ecommerce._story_messages(correlations uuid[], known uuid[])
RETURNS TABLE (message_id uuid, endpoint text, message_type text, state text, sent_at timestamptz,
	causation_id uuid, body jsonb, summary jsonb)
LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $story_messages$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH lane AS MATERIALIZED (
		SELECT e.endpoint_id, e.name, k.key, message_bus._lane_of(e.endpoint_id, k.key) AS lane
		FROM (SELECT n.endpoint_id, n.name FROM message_bus._seen_endpoint n
			LEFT JOIN message_bus._endpoint_status() s ON s.endpoint_id = n.endpoint_id
			ORDER BY coalesce(s.depth > 0 OR s.sent_per_s + s.acked_per_s > 0, true) DESC,
				n.endpoint_id LIMIT 100) e
		CROSS JOIN (SELECT unnest(correlations)::text) k (key)
	), ring AS MATERIALIZED (
		SELECT DISTINCT ON (r.endpoint_id, r.position) r.* FROM (
			SELECT r.* FROM lane l CROSS JOIN LATERAL (SELECT * FROM (
				SELECT * FROM message_bus._seen_ring r WHERE r.endpoint_id = l.endpoint_id
					AND r.lane = l.lane ORDER BY r.position DESC LIMIT 60) r
				WHERE r.correlation_id = ANY (correlations)) r
			UNION ALL
			SELECT r.* FROM unnest(known) k (id)
			CROSS JOIN LATERAL (SELECT * FROM message_bus._seen_ring r WHERE r.message_id = k.id) r) r
		WHERE r.lane >= 0 ORDER BY r.endpoint_id, r.position
	), aside AS MATERIALIZED (
		SELECT DISTINCT ON (a.endpoint_id, a.message_id) a.* FROM (
			SELECT a.* FROM lane l CROSS JOIN LATERAL (SELECT * FROM (
				SELECT * FROM message_bus._seen_aside a WHERE a.endpoint_id = l.endpoint_id
					AND a.lane = l.lane ORDER BY a.due_at LIMIT 60) a
				WHERE a.correlation_id = ANY (correlations)) a
			UNION ALL
			SELECT a.* FROM unnest(known) k (id)
			CROSS JOIN LATERAL (SELECT * FROM message_bus._seen_aside a WHERE a.message_id = k.id) a) a
		ORDER BY a.endpoint_id, a.message_id
	), cursor AS MATERIALIZED (
		SELECT c.*, r.endpoint_id FROM (SELECT DISTINCT r.endpoint_id FROM ring r) r
		CROSS JOIN LATERAL message_bus._cursors(r.endpoint_id) c)
	SELECT r.message_id, e.name, r.message_type, CASE
			WHEN r.position <= c.cursor OR EXISTS (SELECT FROM message_bus._seen_passed p
				WHERE p.endpoint_id = r.endpoint_id AND p.lane = r.lane AND p.position = r.position)
				THEN 'settled'
			WHEN l.leased_until IS NOT NULL THEN 'leased'
			WHEN c.holder_pid IS NOT NULL THEN 'in_hand' ELSE 'waiting' END,
		r.sent_at, r.causation_id, r.body,
		jsonb_strip_nulls(jsonb_build_object('position', r.position, 'holder_pid', c.holder_pid,
			'leased_until', l.leased_until, 'expires_at', r.expires_at, 'source', r.source,
			'forward_to', (SELECT f.forward_to FROM message_bus._seen_forward f
				WHERE f.endpoint_id = r.endpoint_id)))
	FROM ring r
	JOIN message_bus._seen_endpoint e ON e.endpoint_id = r.endpoint_id
	LEFT JOIN cursor c ON c.endpoint_id = r.endpoint_id AND c.lane = r.lane
	LEFT JOIN message_bus._seen_lease l ON l.endpoint_id = r.endpoint_id AND l.lane = r.lane
		AND l.position = r.position
	WHERE NOT EXISTS (SELECT FROM aside a WHERE a.endpoint_id = r.endpoint_id
			AND a.message_id = r.message_id)
		AND NOT EXISTS (SELECT FROM message_bus._seen_dead d WHERE d.endpoint_id = r.endpoint_id
			AND d.message_id = r.message_id)
	UNION ALL
	SELECT a.message_id, e.name, a.message_type, a.state, a.sent_at, a.causation_id, a.body,
		jsonb_strip_nulls(jsonb_build_object('due_at', CASE WHEN isfinite(a.due_at) THEN a.due_at END,
			'attempts', a.attempt - 1, 'error_code', a.error_code, 'error', a.error, 'source', a.source,
			'forward_to', (SELECT f.forward_to FROM message_bus._seen_forward f
				WHERE f.endpoint_id = a.endpoint_id)))
	FROM aside a JOIN message_bus._seen_endpoint e ON e.endpoint_id = a.endpoint_id;
END
$story_messages$;
COMMENT ON FUNCTION ecommerce._story_messages(uuid[], uuid[]) IS
'Messages of correlations that are in the bus, or were until a moment ago: those with known ids, and the last 60 of the lanes that are theirs, of 100 endpoints (those in which something goes on first).';

CREATE FUNCTION ecommerce._story_entries(ids uuid[])
RETURNS TABLE (at timestamptz, kind text, entry_id text, lane text, name text, state text,
	caused_by text, summary jsonb, data jsonb, hangs boolean, what_to_type text)
LANGUAGE plpgsql VOLATILE ROWS 100
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $story_entries$
#variable_conflict use_column
DECLARE
	their record;
	known uuid[];
BEGIN
	SELECT array_agg(DISTINCT c.id) AS correlations, coalesce(array_agg(DISTINCT p.id)
		FILTER (WHERE p.id IS NOT NULL), '{}') AS processes INTO their
	FROM unnest(ids) i (id) CROSS JOIN LATERAL ecommerce._related(i.id) r
	CROSS JOIN LATERAL unnest(r.correlations) c (id)
	LEFT JOIN LATERAL unnest(r.processes) p (id) ON true;
	-- saga: each transition, and the timers that are set.
	RETURN QUERY SELECT h.at, 'saga', format('%s/%s/%s', n.saga, n.correlation_id, h.version), n.saga,
		h.event, coalesce(h.to_state, 'deleted'), h.message_id::text, jsonb_strip_nulls(jsonb_build_object(
			'saga', n.saga, 'correlation_id', n.correlation_id, 'version', h.version,
			'from_state', h.from_state, 'to_state', h.to_state, 'actor', h.actor, 'reason', h.reason,
			'sent', h.sent)), h.actions, false, NULL::text
	FROM saga._seen_number n
	CROSS JOIN LATERAL (SELECT * FROM saga._seen_history h WHERE h.number = n.number
		ORDER BY h.version DESC LIMIT 500) h
	WHERE n.correlation_id = ANY (their.processes);
	RETURN QUERY SELECT s.since, 'saga', format('%s/%s/stuck', s.saga, s.correlation_id), s.saga,
		s.reason, s.current_state, NULL::text, jsonb_strip_nulls(jsonb_build_object('saga', s.saga,
			'correlation_id', s.correlation_id, 'reason', s.reason, 'error', s.error)), NULL::jsonb,
		true, format('SELECT * FROM saga.stuck WHERE saga = %L AND correlation_id = %L', s.saga, s.correlation_id)
	FROM saga._stuck s WHERE s.correlation_id = ANY (their.processes);
	RETURN QUERY SELECT saga._time(t.value -> 0), 'timer', format('%s/%s/%s', i.saga, i.correlation_id, t.key),
		i.saga, t.key, 'set', NULL::text, jsonb_build_object('saga', i.saga,
			'correlation_id', i.correlation_id, 'due_at', saga._time(t.value -> 0)), NULL::jsonb, false, NULL::text
	FROM saga._seen_instance i CROSS JOIN LATERAL jsonb_each(i.timers) t
	WHERE i.correlation_id = ANY (their.processes) AND t.key <> 'retain'
		AND isfinite(saga._time(t.value -> 0));
	RETURN QUERY SELECT e.occurred_at, 'event', e.event_id::text, split_part(e.stream, '-', 1),
		e.event_type, 'stored', e.causation_id, jsonb_build_object('stream', e.stream,
			'version', e.version, 'position', e.position), e.data, false, NULL::text
	FROM unnest(their.correlations) c (id)
	CROSS JOIN LATERAL (SELECT * FROM event_store._seen_event e WHERE e.correlation_id = c.id
		ORDER BY e.position DESC LIMIT 500) e;
	SELECT array_agg(DISTINCT m.id::uuid) INTO known FROM (
		SELECT h.message_id::text AS id FROM saga._seen_number n
		JOIN saga._seen_history h ON h.number = n.number
		WHERE n.correlation_id = ANY (their.processes) AND h.message_id IS NOT NULL
		UNION SELECT s.id FROM saga._seen_number n JOIN saga._seen_history h ON h.number = n.number
		CROSS JOIN LATERAL unnest(h.sent) s (id) WHERE n.correlation_id = ANY (their.processes)
		UNION SELECT e.causation_id FROM unnest(their.correlations) c (id)
		JOIN event_store._seen_event e ON e.correlation_id = c.id) m
	WHERE ecommerce._is_uuid(m.id);
	RETURN QUERY SELECT m.sent_at, 'message', m.message_id::text, m.endpoint, m.message_type, m.state,
		m.causation_id::text, m.summary, m.body, w.hangs, CASE WHEN w.hangs THEN format(CASE
			WHEN e.paused THEN 'SELECT message_bus.resume(%1$L)'
			WHEN m.state = 'retrying' THEN 'SELECT message_bus.retry_now(%1$L, %2$L)'
			WHEN m.state = 'held' THEN 'SELECT message_bus.reset_breaker(%1$L, %3$L)'
			ELSE 'Start a consumer; SELECT * FROM message_bus.consumers WHERE endpoint = %1$L' END,
			m.endpoint, m.message_id, m.message_type) END
	FROM ecommerce._story_messages(their.correlations, known) m
	JOIN message_bus._seen_endpoint e ON e.name = m.endpoint
	CROSS JOIN LATERAL (SELECT m.state IN ('retrying', 'held', 'blocked') OR m.state = 'waiting'
		AND (e.paused OR m.sent_at < clock_timestamp() - interval '10 s')) w (hangs);
	RETURN QUERY SELECT d.last_failed_at, 'dead_letter', d.message_id::text, e.name, d.message_type,
		d.reason, d.causation_id::text, jsonb_strip_nulls(jsonb_build_object('error_code', d.error_code,
			'error', d.error, 'attempts', d.attempts, 'first_failed_at', d.first_failed_at,
			'sent_at', d.sent_at)), d.body, d.reason <> 'discarded',
		CASE WHEN d.reason <> 'discarded' THEN
			format('SELECT message_bus.redrive(%L, NULL, %L)', d.message_id, e.name) END
	FROM (SELECT d.* FROM unnest(their.correlations) c (id) CROSS JOIN LATERAL (
			SELECT * FROM message_bus._seen_dead d WHERE d.correlation_id = c.id LIMIT 100) d
		UNION SELECT d.* FROM unnest(known) k (id)
		JOIN message_bus._seen_dead d ON d.message_id = k.id) d
	JOIN message_bus._seen_endpoint e ON e.endpoint_id = d.endpoint_id;
END
$story_entries$;
COMMENT ON FUNCTION ecommerce._story_entries(uuid[]) IS 'The entries of a story, in no order.';

CREATE FUNCTION ecommerce.story(correlation_id uuid, max int DEFAULT 500)
RETURNS TABLE (at timestamptz, kind text, id text, lane text, name text, state text,
	caused_by text, summary jsonb, data jsonb, hangs boolean, what_to_type text)
LANGUAGE sql VOLATILE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $story$
	SELECT l.* FROM (SELECT * FROM ecommerce._story_entries(ARRAY[correlation_id]) s
		ORDER BY s.at DESC, s.kind, s.entry_id DESC LIMIT ecommerce._page(max)) l
	ORDER BY l.at, l.kind DESC, l.entry_id
$story$;
COMMENT ON FUNCTION ecommerce.story(uuid, int) IS
'What happened to one process, across all services, the last max entries in order of time. correlation_id: of events and messages, or of a saga''s instance; each leads to the other. kind and id: event (its event_id), message (message_id), dead_letter (message_id), saga (saga/correlation id/version: a transition; .../stuck: what is wrong with it), timer (saga/correlation id/timer, at its due time). lane: the category of an event, the endpoint of a message, the saga. name: the type, the event of a transition, the timer. '
'state: stored; waiting, in_hand (a consumer works on its lane), leased, scheduled, retrying, held, blocked, returned or settled; a dead letter''s reason; the state that a transition leads to. caused_by: the message that an entry goes back to. data is null to who may not read it. hangs: it goes no further from here by itself, or has waited for 10 s; what_to_type then. '
'Messages that were settled long ago are known by what they caused: transitions name those they sent (summary, sent). Error: 22023 max is not 1 to 1000.';

CREATE FUNCTION ecommerce.story_of(ids uuid[], max int DEFAULT 500)
RETURNS TABLE (at timestamptz, kind text, id text, lane text, name text, state text,
	caused_by text, summary jsonb, data jsonb, hangs boolean, what_to_type text)
LANGUAGE sql VOLATILE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $story_of$
	SELECT l.* FROM (SELECT * FROM ecommerce._story_entries(ids) s
		ORDER BY s.at DESC, s.kind, s.entry_id DESC LIMIT ecommerce._page(max)) l
	ORDER BY l.at, l.kind DESC, l.entry_id
$story_of$;
COMMENT ON FUNCTION ecommerce.story_of(uuid[], int) IS
'As story(), of a process of which several ids are known: where its saga is in another database, this one does not know that its correlation and its instance belong together. Error: 22023 max is not 1 to 1000.';

-- ---------------------------------------------------------------- find
CREATE FUNCTION ecommerce._find_id(id uuid)
RETURNS TABLE (kind text, found text, correlation_id uuid, label text, at timestamptz)
LANGUAGE plpgsql VOLATILE ROWS 5
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $find_id$
#variable_conflict use_column
DECLARE
	wanted CONSTANT uuid := _find_id.id;
BEGIN
	RETURN QUERY SELECT 'event', e.event_id::text, e.correlation_id,
		format('%s, version %s of %s', e.event_type, e.version, e.stream), e.occurred_at
	FROM event_store._seen_event e WHERE e.event_id = wanted;
	RETURN QUERY SELECT 'dead_letter', d.message_id::text, d.correlation_id,
		format('%s at %s: %s', d.message_type, n.name, coalesce(d.error_code, d.reason)), d.last_failed_at
	FROM message_bus._seen_dead d JOIN message_bus._seen_endpoint n ON n.endpoint_id = d.endpoint_id
	WHERE d.message_id = wanted;
	RETURN QUERY SELECT 'message', a.message_id::text, a.correlation_id,
		format('%s at %s, %s', a.message_type, n.name, a.state), a.sent_at
	FROM message_bus._seen_aside a JOIN message_bus._seen_endpoint n ON n.endpoint_id = a.endpoint_id
	WHERE a.message_id = wanted;
	RETURN QUERY SELECT DISTINCT 'message', r.message_id::text, r.correlation_id,
		format('%s at %s', r.message_type, n.name), r.sent_at
	FROM message_bus._seen_ring r JOIN message_bus._seen_endpoint n ON n.endpoint_id = r.endpoint_id
	WHERE r.message_id = wanted AND r.lane >= 0;
	RETURN QUERY SELECT 'saga', format('%s/%s', n.saga, n.correlation_id), n.correlation_id,
		format('%s, %s', n.saga, coalesce(i.current_state, 'deleted')), i.updated_at
	FROM saga._seen_number n LEFT JOIN saga._seen_instance i ON i.saga = n.saga
		AND i.correlation_id = n.correlation_id WHERE n.correlation_id = wanted;
	RETURN QUERY SELECT 'correlation', wanted::text, wanted, format('%s in %s, the last of it',
		e.event_type, e.stream), e.occurred_at
	FROM (SELECT * FROM event_store._seen_event e WHERE e.correlation_id = wanted
		ORDER BY e.position DESC LIMIT 1) e;
	RETURN QUERY SELECT 'stream', c.category || '-' || wanted, e.correlation_id,
		format('version %s', s.version), s.newest_at
	FROM event_store.categories(NULL, 50) c
	CROSS JOIN LATERAL event_store._stream_row(c.category || '-' || wanted) s
	LEFT JOIN LATERAL (SELECT e.correlation_id FROM event_store._seen_event e
		WHERE e.stream_id = s.stream_id ORDER BY e.version LIMIT 1) e ON true;
END
$find_id$;
COMMENT ON FUNCTION ecommerce._find_id(uuid) IS 'What has this id.';

CREATE FUNCTION ecommerce._find_name(name text)
RETURNS TABLE (kind text, found text, correlation_id uuid, label text, at timestamptz)
LANGUAGE sql VOLATILE ROWS 5
SET search_path = pg_catalog, pg_temp
AS $find_name$
	SELECT 'stream', s.stream, e.correlation_id, format('version %s', s.version), s.newest_at
	FROM event_store.list_streams(prefix => left(name, 255), max => 10) s
	LEFT JOIN LATERAL (SELECT r.stream_id FROM event_store._stream_row(s.stream) r) r ON true
	LEFT JOIN LATERAL (SELECT e.correlation_id FROM event_store._seen_event e
		WHERE e.stream_id = r.stream_id ORDER BY e.version LIMIT 1) e ON true
	WHERE s.stream IS NOT NULL
	UNION ALL
	SELECT 'endpoint', e.name, NULL, ecommerce._counted(e.lanes, false, 'lane', 'lanes'), NULL
	FROM message_bus._seen_endpoint e WHERE starts_with(e.name, _find_name.name)
	UNION ALL
	SELECT 'definition', d.name, NULL, format('saga, version %s', d.version), NULL
	FROM saga._seen_definition d WHERE starts_with(d.name, _find_name.name) AND d.is_current
	UNION ALL
	SELECT 'subscription', s.name, NULL, coalesce('of category ' || s.category, 'of all events'), s.created_at
	FROM event_store._seen_subscription s WHERE starts_with(s.name, _find_name.name)
	UNION ALL
	SELECT 'projection', p.name, NULL, p.state, p.updated_at
	FROM event_store._seen_projection p WHERE starts_with(p.name, _find_name.name)
	UNION ALL
	SELECT 'category', c.category, NULL, format('the newest is a %s', c.newest_type), c.newest_at
	FROM event_store.categories(NULL, 100) c WHERE starts_with(c.category, _find_name.name)
	UNION ALL
	SELECT 'event_type', t.event_type, NULL, format('%s of the newest 2000', t.recent), t.newest_at
	FROM event_store.event_types() t WHERE starts_with(t.event_type, _find_name.name)
$find_name$;
COMMENT ON FUNCTION ecommerce._find_name(text) IS 'What is called so, or has a name that begins so.';

CREATE FUNCTION ecommerce._find_trace(trace text)
RETURNS TABLE (kind text, found text, correlation_id uuid, label text, at timestamptz)
LANGUAGE sql VOLATILE ROWS 5
SET search_path = pg_catalog, pg_temp
AS $find_trace$
	SELECT 'trace', trace, t.correlation_id, format('%s in %s', t.event_type, t.stream), t.occurred_at
	FROM (SELECT DISTINCT ON (e.correlation_id) e.* FROM (
			SELECT e.event_type, e.stream, e.occurred_at, e.correlation_id, e.traceparent
			FROM event_store._seen_event e ORDER BY e.position DESC LIMIT 2000) e
		WHERE split_part(e.traceparent, '-', 2) = trace
		ORDER BY e.correlation_id, e.occurred_at DESC) t
	UNION ALL
	SELECT 'dead_letter', d.message_id::text, d.correlation_id, format('%s: %s', d.message_type,
		coalesce(d.error_code, d.reason)), d.last_failed_at
	FROM (SELECT * FROM message_bus._seen_dead d ORDER BY d.last_failed_at DESC LIMIT 500) d
	WHERE split_part(d.traceparent, '-', 2) = trace
$find_trace$;
COMMENT ON FUNCTION ecommerce._find_trace(text) IS
'Processes of a trace, among the newest 2000 events and 500 dead letters.';

CREATE FUNCTION ecommerce.find(INOUT id text, OUT kind text, OUT correlation_id uuid,
	OUT label text, OUT at timestamptz)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $find$
#variable_conflict use_column
DECLARE
	wanted CONSTANT text := btrim(find.id);
	trace CONSTANT text := lower(coalesce(substring(wanted FROM '^[0-9a-fA-F]{2}-([0-9a-fA-F]{32})-'),
		substring(wanted FROM '^([0-9a-fA-F]{32})$')));
BEGIN
	IF coalesce(wanted, '') = '' THEN
		RETURN;
	END IF;
	IF ecommerce._is_uuid(wanted) THEN
		RETURN QUERY SELECT f.found, f.kind, f.correlation_id, f.label, f.at
		FROM ecommerce._find_id(wanted::uuid) f;
	END IF;
	IF trace IS NOT NULL THEN
		RETURN QUERY SELECT f.found, f.kind, f.correlation_id, f.label, f.at
		FROM ecommerce._find_trace(trace) f;
	ELSIF wanted ~ '^\d{1,18}$' THEN
		RETURN QUERY SELECT e.position::text, 'position', e.correlation_id,
			format('%s, version %s of %s', e.event_type, e.version, e.stream), e.occurred_at
		FROM event_store._seen_event e WHERE e.position = wanted::bigint;
	ELSIF NOT ecommerce._is_uuid(wanted) THEN
		RETURN QUERY SELECT f.found, f.kind, f.correlation_id, f.label, f.at
		FROM ecommerce._find_name(wanted) f;
	END IF;
END
$find$;
COMMENT ON FUNCTION ecommerce.find(text) IS
'What an id is that one has: of an event, a message (in the bus, or dead), a saga''s instance, a correlation, a stream or the UUID its name ends with, a position, a trace (traceparent, or its 32 digits: among the newest events), or a name, or how it begins: of a stream, category, event type, endpoint, saga definition, subscription or projection. kind says which, id is it written out, correlation_id what to open ecommerce.story() with (null: nothing). No row: nothing has it.';
