-- What operators look at in the saga engine: states with their numbers, lists by key, what is stuck.

CREATE VIEW saga._seen_instance AS
SELECT i.correlation_id, i.saga, i.definition_version, i.current_state, i.version, i.created_at,
	i.updated_at, i.state_since, i.number,
	CASE WHEN (SELECT ecommerce._reads()) THEN i.data END AS data,
	CASE WHEN pg_catalog.jsonb_typeof(i.engine OPERATOR(pg_catalog.->) 'timers') = 'object'
		THEN i.engine OPERATOR(pg_catalog.->) 'timers' ELSE '{}' END AS timers,
	i.engine OPERATOR(pg_catalog.#>>) '{context,correlation_id}' AS created_under
FROM saga.stored_instance i;
COMMENT ON VIEW saga._seen_instance IS
'Instances; what they hold is null to roles that may not read it.';

CREATE VIEW saga._seen_history AS
SELECT h.number, h.at, h.version, h.message_id, h.from_state, h.to_state, h.event, h.actor, h.reason,
	CASE WHEN (SELECT ecommerce._reads()) THEN h.actions END AS actions,
	ARRAY(SELECT a.value OPERATOR(pg_catalog.->>) 'message_id' FROM pg_catalog.jsonb_array_elements(h.actions) a
		WHERE a.value OPERATOR(pg_catalog.?) 'message_id') AS sent
FROM saga.history_entry h;
COMMENT ON VIEW saga._seen_history IS
'Histories, with the messages that each transition sent; what was done is null to roles that may not read it.';

CREATE VIEW saga._seen_number AS
SELECT i.saga, i.correlation_id, i.number FROM saga.stored_instance i
UNION ALL SELECT d.saga, d.correlation_id, d.number FROM saga.deleted_instance d;
COMMENT ON VIEW saga._seen_number IS 'What the history calls instances, deleted ones too.';

CREATE VIEW saga._seen_definition AS
SELECT d.name, d.version, d.endpoint, d.version = (SELECT pg_catalog.max(n.version)
	FROM saga.definition n WHERE n.name = d.name) AS is_current
FROM saga.definition d;
COMMENT ON VIEW saga._seen_definition IS 'Versions of definitions and their endpoints, for the lists.';

CREATE VIEW saga._seen_state AS
SELECT s.name, s.version, s.state, s.kind, (SELECT p.longest FROM saga.patience p
	WHERE p.saga = s.name AND p.state IN (s.state, '*') AND s.kind = 'normal'
	ORDER BY p.state = '*' LIMIT 1) AS patience
FROM saga.definition_state s WHERE s.kind <> 'common';
COMMENT ON VIEW saga._seen_state IS 'States of definitions, and how long an instance may be in them.';

-- ---------------------------------------------------------------- stuck
CREATE VIEW saga._attended AS
SELECT a.saga, a.correlation_id, i.definition_version, i.current_state, i.state_since,
	i.updated_at, i.engine
FROM saga.attention a
-- One after the other: few are noted, whatever the planner thinks.
CROSS JOIN LATERAL (SELECT n.definition_version, n.current_state, n.state_since, n.updated_at, n.engine
	FROM saga.stored_instance n
	WHERE n.correlation_id = a.correlation_id AND n.saga = a.saga OFFSET 0) i;
COMMENT ON VIEW saga._attended IS 'Instances that may be stuck.';

-- Each is looked up once, whatever is wrong with it.
CREATE VIEW saga._stuck AS
SELECT i.saga, i.correlation_id, i.current_state, r.reason, r.since, r.error
FROM saga._attended i
LEFT JOIN saga.definition_state s ON s.name = i.saga AND s.version = i.definition_version
	AND s.kind = 'normal' AND s.state = i.current_state
LEFT JOIN saga.patience p ON p.saga = i.saga AND p.state = i.current_state
LEFT JOIN saga.patience q ON q.saga = i.saga AND q.state = '*'
CROSS JOIN LATERAL (
	SELECT 'compensation' AS reason,
		pg_catalog.min(saga._time(coalesce(o.value OPERATOR(pg_catalog.->) 'since', 'null'))) AS since,
		pg_catalog.string_agg(DISTINCT coalesce(o.value OPERATOR(pg_catalog.->>) 'rule',
			o.value OPERATOR(pg_catalog.->>) 'step'), ', ') AS error
	FROM pg_catalog.jsonb_array_elements(
		CASE WHEN pg_catalog.jsonb_typeof(i.engine OPERATOR(pg_catalog.->) 'outstanding') = 'array'
			THEN i.engine OPERATOR(pg_catalog.->) 'outstanding' ELSE '[]' END) o
	WHERE o.value OPERATOR(pg_catalog.->) 'given_up' = 'true' HAVING pg_catalog.count(*) > 0
	UNION ALL
	SELECT 'overdue', coalesce(saga._time(i.engine OPERATOR(pg_catalog.->) 'alarm_since'), i.updated_at),
		coalesce(i.engine OPERATOR(pg_catalog.->>) 'timer_error', i.engine OPERATOR(pg_catalog.->>) 'alarm')
	WHERE i.engine OPERATOR(pg_catalog.?|) ARRAY['alarm', 'timer_failures']
	UNION ALL
	SELECT 'no_timer', i.state_since, NULL
	WHERE s.name IS NOT NULL AND s.timer IS DISTINCT FROM 'none' AND NOT EXISTS (SELECT
		FROM pg_catalog.jsonb_object_keys(
			CASE WHEN pg_catalog.jsonb_typeof(i.engine OPERATOR(pg_catalog.->) 'timers') = 'object'
				THEN i.engine OPERATOR(pg_catalog.->) 'timers' ELSE '{}' END) t (timer)
		WHERE t.timer <> 'retain')
	UNION ALL
	SELECT 'too_long', i.state_since + l.patience,
		pg_catalog.format('longer than %s in this state', l.patience)
	FROM (SELECT coalesce(p.longest, q.longest) AS patience) l
	WHERE s.name IS NOT NULL AND i.state_since + l.patience < pg_catalog.clock_timestamp()) r;
COMMENT ON VIEW saga._stuck IS 'What saga.stuck has, without what dead letters tell.';

-- Which instance a dead letter of a saga's endpoint was for, as the event's path says.
CREATE VIEW saga._recent_dead_letters AS
SELECT f.name AS saga, d.message_id, d.last_failed_at, d.error, CASE WHEN c.id
		OPERATOR(pg_catalog.~*) '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN c.id::uuid END
	AS instance
FROM saga.definition f
JOIN message_bus.endpoint e ON e.name = f.endpoint
CROSS JOIN LATERAL (SELECT * FROM message_bus.dead d WHERE d.endpoint_id = e.endpoint_id
	ORDER BY d.last_failed_at DESC LIMIT 500) d
CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.jsonb_path_query_first(
	pg_catalog.jsonb_build_object('message', d.body),
	(f.document OPERATOR(pg_catalog.#>>) ARRAY['events', d.message_type, 'correlate'])::pg_catalog.jsonpath,
	'{}', true) OPERATOR(pg_catalog.#>>) '{}', d.correlation_id::text) AS id) c
WHERE d.reason <> 'discarded' AND f.version = (SELECT pg_catalog.max(n.version)
	FROM saga.definition n WHERE n.name = f.name AND n.endpoint = f.endpoint);
COMMENT ON VIEW saga._recent_dead_letters IS
'The last 500 dead letters of each saga''s endpoint, and the instance each was for.';

CREATE VIEW saga.stuck AS
SELECT s.saga, s.correlation_id, s.current_state, s.reason, s.since, s.error,
	pg_catalog.format(CASE s.reason
		WHEN 'compensation' THEN 'SELECT saga.retry(%1$L, %2$L)'
		WHEN 'no_timer' THEN 'SELECT saga.goto(%1$L, %2$L, %3$L, timers => ''{"a timer of the state": "1 min"}'')'
		WHEN 'dead_letter' THEN 'SELECT saga.retry(%1$L, %2$L)'
		ELSE 'SELECT * FROM saga.history(%1$L, %2$L); then SELECT saga.goto(%1$L, %2$L, ''a state'') or saga.cancel(%1$L, %2$L)'
		END, s.saga, s.correlation_id, s.current_state) AS what_to_type
FROM (SELECT * FROM saga._stuck
	UNION ALL
	SELECT i.saga, i.correlation_id, i.current_state, 'dead_letter', pg_catalog.min(d.last_failed_at),
		(pg_catalog.array_agg(d.error ORDER BY d.last_failed_at DESC))[1]
	FROM saga._recent_dead_letters d
	JOIN saga.stored_instance i ON i.saga = d.saga AND i.correlation_id = d.instance
	GROUP BY i.saga, i.correlation_id, i.current_state) s;
COMMENT ON VIEW saga.stuck IS
'Instances that need an operator: compensation (given up; error names what), overdue (an alarm of the definition, or a timer whose transition fails), no_timer (nothing would wake it in its state), too_long (longer in its state than saga.set_patience() says), dead_letter (a message for them is dead: it looks at the last 500 dead letters of each saga). error is the last one, as far as there is one.';

-- ---------------------------------------------------------------- how many, and which
CREATE FUNCTION saga._sample_percent() RETURNS real
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT least(100.0 * 256 * current_setting('block_size')::float8
		/ greatest(pg_relation_size('saga.stored_instance'), 1), 100)::real
$$;
COMMENT ON FUNCTION saga._sample_percent() IS
'Which part of the instances is looked at to tell how many there are: all while they have 256 pages.';

CREATE VIEW saga._sampled_instance AS
SELECT i.saga, i.definition_version, i.current_state, i.state_since
FROM saga.stored_instance i TABLESAMPLE SYSTEM ((SELECT saga._sample_percent()));
COMMENT ON VIEW saga._sampled_instance IS 'Instances of some 256 pages.';

CREATE FUNCTION saga.overview()
RETURNS TABLE (saga text, definition_version int, state text, kind text, instances bigint,
	estimated boolean, longest interval, patience interval)
LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $overview$
#variable_conflict use_column
DECLARE
	percent CONSTANT real := saga._sample_percent();
BEGIN
	RETURN QUERY
	WITH seen AS (
		SELECT i.saga, i.definition_version, i.current_state, count(*) AS n,
			min(i.state_since) AS oldest
		FROM saga._sampled_instance i GROUP BY 1, 2, 3
	)
	SELECT s.name, s.version, s.state, s.kind, round(coalesce(n.n, 0) * 100 / percent)::bigint,
		percent < 100, clock_timestamp() - n.oldest, s.patience
	FROM saga._seen_state s
	JOIN saga._seen_definition d ON d.name = s.name AND d.version = s.version
	LEFT JOIN seen n ON n.saga = s.name AND n.definition_version = s.version
		AND n.current_state = s.state
	WHERE d.is_current OR EXISTS (SELECT FROM seen o WHERE o.saga = s.name
		AND o.definition_version = s.version)
	ORDER BY 1, 2 DESC, s.kind DESC, 5 DESC, 3;
END
$overview$;
COMMENT ON FUNCTION saga.overview() IS
'How many instances there are in each state, of the current version of each definition and of others that have some; the longest time one has been there, and how long one may be. kind is normal or final. Where the instances take more than 256 pages it looks at so many of them by chance (estimated): numbers are then near, and a state with few may show none.';

CREATE FUNCTION saga.list(INOUT saga text DEFAULT NULL, state text DEFAULT NULL,
	after text DEFAULT NULL, max int DEFAULT 50, OUT correlation_id uuid,
	OUT definition_version int, OUT current_state text, OUT version int, OUT created_at timestamptz,
	OUT updated_at timestamptz, OUT state_since timestamptz, OUT age_in_state interval,
	OUT next_timer text, OUT next_timer_at timestamptz, OUT stuck_reason text, OUT data jsonb,
	OUT key text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $list$
#variable_conflict use_column
DECLARE
	of_saga CONSTANT text := list.saga;
	of_state CONSTANT text := list.state;
	page CONSTANT int := ecommerce._page(list.max);
	looks CONSTANT int := page + 1000;
	from_id CONSTANT uuid := coalesce(split_part(list.after, '|', 1)::uuid,
		'00000000-0000-0000-0000-000000000000');
	from_saga CONSTANT text := coalesce(split_part(list.after, '|', 2), '');
	found_rows bigint;
	looked bigint;
	last_key text;
BEGIN
	RETURN QUERY
	SELECT i.saga, i.correlation_id, i.definition_version, i.current_state, i.version,
		i.created_at, i.updated_at, i.state_since, clock_timestamp() - i.state_since,
		t.timer, t.due_at, (SELECT string_agg(s.reason, ', ' ORDER BY s.since) FROM saga._stuck s
			WHERE s.correlation_id = i.correlation_id AND s.saga = i.saga),
		i.data, format('%s|%s', i.correlation_id, i.saga)
	FROM (SELECT * FROM saga._seen_instance i
		WHERE (i.correlation_id, i.saga) > (from_id, from_saga)
		ORDER BY i.correlation_id, i.saga LIMIT looks) i
	LEFT JOIN LATERAL (SELECT t.key AS timer, saga._time(t.value -> 0) AS due_at
		FROM jsonb_each(i.timers) t WHERE t.key <> 'retain' ORDER BY 2 LIMIT 1) t ON true
	WHERE (of_saga IS NULL OR i.saga = of_saga) AND (of_state IS NULL OR i.current_state = of_state)
	ORDER BY i.correlation_id, i.saga LIMIT page;
	GET DIAGNOSTICS found_rows = ROW_COUNT;
	IF found_rows < page THEN
		SELECT count(*), (array_agg(format('%s|%s', i.correlation_id, i.saga)
			ORDER BY i.correlation_id DESC, i.saga DESC))[1] INTO looked, last_key
		FROM (SELECT i.correlation_id, i.saga FROM saga._seen_instance i
			WHERE (i.correlation_id, i.saga) > (from_id, from_saga)
			ORDER BY i.correlation_id, i.saga LIMIT looks) i;
		IF looked = looks THEN
			saga := NULL;
			key := last_key;
			RETURN NEXT;
		END IF;
	END IF;
END
$list$;
COMMENT ON FUNCTION saga.list(text, text, text, int) IS
'Instances of a saga (NULL: of all), in a state (NULL: in any), in the order of their correlation ids; next timer, and why it is stuck (see saga.stuck; dead letters are not looked at). data is null to who may not read instances. '
'after: the key of the last row, for what comes after it. It looks at 1000 instances and max more: a last row whose correlation_id is null says that there may be others, ask again with its key. Error: 22023 max is not 1 to 1000.';
