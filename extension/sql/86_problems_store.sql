-- What is wrong with worker, event store, subscriptions and projections: from counters, keys and the
-- first rows of indexes, so that it costs the same at any size.

CREATE FUNCTION ecommerce._workers(OUT kind text, OUT pid int, OUT duty text)
RETURNS SETOF record LANGUAGE c VOLATILE ROWS 3
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_workers';
COMMENT ON FUNCTION ecommerce._workers() IS
'The background processes of this database that run: worker, runner, slow runner; and the duty that each is at, or was at last.';

CREATE FUNCTION event_store._subscription_lag(name text, looks int, OUT partition int,
	OUT checkpoint bigint, OUT head bigint, OUT lag_events bigint, OUT oldest timestamptz,
	OUT capped boolean)
RETURNS SETOF record LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 1
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_subscription_lag';
COMMENT ON FUNCTION event_store._subscription_lag(text, int) IS
'As the other one, looking at so many events at most.';

CREATE FUNCTION event_store._projection_lag(name text, looks int, OUT checkpoint bigint,
	OUT head bigint, OUT lag_events bigint, OUT oldest timestamptz, OUT capped boolean)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_projection_lag';
COMMENT ON FUNCTION event_store._projection_lag(text, int) IS
'As the other one, looking at so many events at most.';

CREATE VIEW event_store._seen_subscription AS
SELECT s.name, s.category, s.created_at FROM event_store.subscription s;
COMMENT ON VIEW event_store._seen_subscription IS 'Names of subscriptions, for the lists.';

CREATE VIEW event_store._subscription_checkpoint AS
SELECT s.name, coalesce(s.category, pg_catalog.split_part(s.stream, '-', 1)) AS category,
	pg_catalog.min(p.checkpoint) AS checkpoint,
	coalesce(s.event_types && '{$deleted,$tombstoned}', false) AS deletions
FROM event_store.subscription s
JOIN event_store.subscription_partition p ON p.name = s.name GROUP BY s.name;
COMMENT ON VIEW event_store._subscription_checkpoint IS
'How far subscriptions have read, the category (NULL: all) in which they read, and whether they want deletions too.';

CREATE FUNCTION event_store._oldest_unread(name text, looks int) RETURNS timestamptz
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_oldest_unread';
COMMENT ON FUNCTION event_store._oldest_unread(text, int) IS
'When the first event was appended that a subscription has not read, among so many; NULL: none.';

-- Where a category has nothing new, none of its subscriptions is looked at: there may be thousands,
-- of which nearly all have read everything.
CREATE FUNCTION event_store._behind(OUT name text, OUT looked boolean, OUT oldest timestamptz)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE ROWS 20
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $behind$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH reader AS MATERIALIZED (
		SELECT c.name, c.checkpoint, c.deletions,
			coalesce(event_store._category_key(c.category)::bigint, 9223372036854775807) AS key
		FROM event_store._subscription_checkpoint c),
	written AS MATERIALIZED (
		SELECT k.key, k.deletions, greatest(CASE WHEN k.key = 9223372036854775807
				THEN (SELECT max(e.position) FROM event_store._seen_event e)
				ELSE (SELECT max(e.position) FROM event_store._seen_event e
					WHERE e.category_key = k.key::int) END,
			CASE WHEN NOT k.deletions THEN NULL WHEN k.key = 9223372036854775807
				THEN (SELECT max(d.position) FROM event_store._seen_deletion d)
				ELSE (SELECT max(d.position) FROM event_store._seen_deletion d
					WHERE d.category_key = k.key::int) END) AS newest
		FROM (SELECT DISTINCT r.key, r.deletions FROM reader r) k),
	unread AS (
		SELECT r.name, row_number() OVER (ORDER BY r.checkpoint, r.name) <= 50 AS looked
		FROM reader r JOIN written w ON w.key = r.key AND w.deletions = r.deletions
		WHERE w.newest > r.checkpoint)
	SELECT u.name, u.looked, CASE WHEN u.looked THEN event_store._oldest_unread(u.name, 200) END
	FROM unread u;
END
$behind$;
COMMENT ON FUNCTION event_store._behind() IS
'Subscriptions that may have something to read, and the time of the first event of that (NULL: nothing after all) for the 50 that are furthest behind; others have not looked.';

CREATE VIEW event_store._listed_subscription AS
SELECT s.name, s.category, s.event_types, l.partition, l.checkpoint, l.head, l.lag_events,
	greatest(coalesce(pg_catalog.clock_timestamp() - l.oldest, '0'::interval), '0'::interval) AS lag,
	k.pid AS holder_pid, a.xact_start AS active_since, s.stream,
	greatest(l.head - l.checkpoint, 0) AS lag_positions, l.capped AS lag_capped
FROM event_store.subscription s
CROSS JOIN LATERAL event_store._subscription_lag(s.name, 200) l
JOIN event_store.subscription_partition p ON p.name = s.name AND p.partition = l.partition
LEFT JOIN pg_catalog.pg_locks k ON k.locktype = 'transactionid' AND k.mode = 'ExclusiveLock'
	AND k.granted AND k.transactionid::text = p.xmax::text
LEFT JOIN ecommerce._sessions() a ON a.pid = k.pid;
COMMENT ON VIEW event_store._listed_subscription IS
'As event_store.subscriptions, looking at 200 unread events of each at most: for lists of many that are far behind.';

-- From one subscription that has any to the next: there may be thousands that have none.
CREATE VIEW event_store._seen_parked AS
WITH RECURSIVE has AS (
	(SELECT p.subscription FROM event_store.parked_event p ORDER BY p.subscription LIMIT 1)
	UNION ALL
	SELECT (SELECT p.subscription FROM event_store.parked_event p
		WHERE p.subscription > h.subscription ORDER BY p.subscription LIMIT 1)
	FROM has h WHERE h.subscription IS NOT NULL)
SELECT h.subscription AS name, f.parked_at, f.error, f.position, least(c.n, 1000) AS parked,
	c.n > 1000 AS capped
FROM (SELECT n.subscription FROM has n WHERE n.subscription IS NOT NULL LIMIT 100) h
CROSS JOIN LATERAL (SELECT p.parked_at, p.error, p.position FROM event_store.parked_event p
	WHERE p.subscription = h.subscription ORDER BY p.position LIMIT 1) f
CROSS JOIN LATERAL (SELECT pg_catalog.count(*) FROM (SELECT FROM event_store.parked_event p
	WHERE p.subscription = h.subscription LIMIT 1001) p) c (n);
COMMENT ON VIEW event_store._seen_parked IS
'Subscriptions with events that they have put aside, 100 of them: how many (to 1000), and the first.';

CREATE VIEW event_store._seen_projection AS
SELECT p.name, p.mode, CASE WHEN r.error_code IS NOT NULL THEN 'lost' WHEN g.paused THEN 'paused' WHEN g.failed THEN 'failed'
		WHEN g.last_error IS NOT NULL OR d.last_error IS NOT NULL THEN 'retrying'
		WHEN g.rebuild_step IS NOT NULL THEN 'rebuilding' ELSE 'running' END AS state,
	coalesce(g.error_position, d.position) AS error_position,
	coalesce(CASE WHEN r.error_code IS NOT NULL THEN r.error END, g.last_error, d.last_error)
		AS last_error, g.updated_at, p.source, r.heard_at
FROM event_store.projection p
JOIN event_store.projection_progress g ON g.name = p.name
LEFT JOIN event_store.projection_remote r ON r.name = p.name
LEFT JOIN LATERAL (SELECT w.position, w.last_error FROM event_store.projection_deferred w
	WHERE w.name = p.name AND w.last_error IS NOT NULL ORDER BY w.position LIMIT 1) d ON true;
COMMENT ON VIEW event_store._seen_projection IS 'States of projections, without their lag.';

CREATE VIEW event_store._seen_rebuild AS
SELECT b.name, b.failed, b.error_position, b.last_error, b.updated_at
FROM event_store.projection_rebuild b;
COMMENT ON VIEW event_store._seen_rebuild IS 'Rebuilds beside, as the lists show them.';

-- In plpgsql, which keeps its plans: who looks every two seconds would plan all of this each time,
-- which costs ten times what looking does.
CREATE FUNCTION event_store._reader_problems()
RETURNS SETOF ecommerce._problem
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $reader_problems$
BEGIN
	RETURN QUERY
	WITH late AS MATERIALIZED (
		SELECT b.name, b.oldest, b.looked, row_number() OVER (ORDER BY b.oldest, b.name) AS n
		FROM event_store._behind() b
		WHERE b.oldest < clock_timestamp() - interval '1 min' OR NOT b.looked)
	SELECT 'subscription_behind', 'subscription ' || s.name, 'warning', s.oldest,
		format('Its consumer is %s behind.', date_trunc('second', clock_timestamp() - s.oldest)),
		format('SELECT * FROM event_store.subscriptions WHERE name = %1$L; without a consumer: SELECT event_store.drop_subscription(%1$L)', s.name),
		jsonb_build_object('subscription', s.name)
	FROM late s WHERE s.n <= 20 AND s.looked
	UNION ALL
	SELECT 'subscription_behind', ecommerce._counted(count(*) FILTER (WHERE s.looked), false,
			'more subscription', 'more subscriptions'), 'warning', min(s.oldest),
		format('The longest of them is %s behind%s.',
			date_trunc('second', clock_timestamp() - min(s.oldest)),
			CASE WHEN bool_and(s.looked) THEN '' ELSE '; ' || ecommerce._counted(
				count(*) FILTER (WHERE NOT s.looked), false, 'other, which has read further, was not looked at',
				'others, which have read further, were not looked at') END),
		'SELECT name, checkpoint FROM event_store.subscription_partition ORDER BY checkpoint LIMIT 100',
		jsonb_build_object('count', count(*) FILTER (WHERE s.looked),
			'count_capped', NOT bool_and(s.looked))
	FROM late s WHERE s.n > 20 HAVING count(*) FILTER (WHERE s.looked) > 0;
END
$reader_problems$;
COMMENT ON FUNCTION event_store._reader_problems() IS
'Subscriptions that are behind, for ecommerce.problems: the 20 that are furthest, and how many more.';

CREATE FUNCTION ecommerce._store_problems()
RETURNS SETOF ecommerce._problem
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $store_problems$
BEGIN
	RETURN QUERY
	SELECT CASE u.kind WHEN 'worker' THEN 'worker_refused' ELSE 'unit_failing' END,
		u.kind || ' ' || u.name, 'error', u.since,
		format('It has failed %s: %s', ecommerce._counted(u.failures, false, 'time', 'times in a row'),
			u.last_error),
		CASE u.kind WHEN 'projection' THEN format('SELECT * FROM event_store.projections WHERE name = %L', u.name)
			ELSE 'Mend what the error says; it is tried again by itself' END,
		jsonb_build_object('unit', u.name, 'kind', u.kind)
	FROM ecommerce.units u WHERE u.failures > 0
	UNION ALL
	SELECT 'restore', ecommerce._session_name(r.pid), 'warning', r.since,
		'A dump is being restored: nobody appends, sends, receives or fetches.',
		format('When it has ended: SELECT ecommerce.restore_done(%s)', r.pid),
		jsonb_build_object('pid', r.pid)
	FROM ecommerce.restores r
	UNION ALL
	SELECT 'projection_' || p.state, 'projection ' || p.name,
		CASE WHEN p.state IN ('failed', 'lost') THEN 'error' ELSE 'warning' END, p.updated_at,
		CASE WHEN p.state = 'lost' THEN format('Its source %s is not what it was: %s', p.source, p.last_error)
			ELSE coalesce(format('Its read model is not up to date: event %s: %s', p.error_position, p.last_error),
				'Its read model is not up to date.') END,
		format(CASE p.state WHEN 'paused' THEN 'SELECT event_store.resume_projection(%1$L)'
			WHEN 'lost' THEN 'SELECT event_store.rebuild_projection(%1$L)'
			ELSE 'Mend its handler, then SELECT event_store.resume_projection(%1$L); or SELECT event_store.skip_event(%1$L, %2$s)'
			END, p.name, coalesce(p.error_position, 0)),
		jsonb_build_object('projection', p.name, 'position', p.error_position)
	FROM event_store._seen_projection p WHERE p.state IN ('paused', 'failed', 'retrying', 'lost')
	UNION ALL
	SELECT 'projection_unfed', 'projection ' || p.name, 'warning', coalesce(p.heard_at, p.updated_at),
		format('Nobody brings it events of service %s.', p.source),
		'Start linkd for this database, or look into its log', jsonb_build_object('projection', p.name)
	FROM event_store._seen_projection p
	WHERE p.source IS NOT NULL AND p.state IN ('running', 'rebuilding')
		AND coalesce(p.heard_at, p.updated_at) < clock_timestamp() - interval '5 min'
	UNION ALL
	SELECT 'sink_' || s.state, 'sink ' || s.name,
		CASE WHEN s.state IN ('lost', 'failing') THEN 'error' ELSE 'warning' END, s.since,
		CASE s.state WHEN 'unfed' THEN format('Nobody publishes events to %s.', s.broker)
			ELSE format('%s gets no events: %s', s.broker, coalesce(s.error, 'it is paused')) END,
		format(CASE s.state WHEN 'paused' THEN 'SELECT event_store.resume_sink(%L)'
			WHEN 'lost' THEN 'SELECT event_store.reset_sink(%L, POSITION): see docs/streams.md'
			WHEN 'failing' THEN 'Look at the broker; SELECT * FROM event_store.sinks WHERE name = %L'
			ELSE 'Start streamd for this database, or look into its log' END, s.name),
		jsonb_build_object('sink', s.name)
	FROM event_store._seen_sink s WHERE s.state <> 'running'
	UNION ALL
	SELECT 'rebuild_failed', 'rebuild of ' || r.name, 'error', r.updated_at,
		format('The read model stays as it is; the new one beside it stands at event %s: %s', r.error_position, r.last_error),
		format('Mend its handler, then SELECT event_store.resume_projection(%1$L); or SELECT event_store.cancel_rebuild(%1$L)', r.name),
		jsonb_build_object('projection', r.name, 'position', r.error_position)
	FROM event_store._seen_rebuild r WHERE r.failed
	UNION ALL
	SELECT 'projection_behind', 'projection ' || p.name, 'warning', l.oldest,
		format('Its read model is %s behind.', date_trunc('second', clock_timestamp() - l.oldest)),
		format('SELECT * FROM event_store.projections WHERE name = %L', p.name),
		jsonb_build_object('projection', p.name)
	FROM event_store._seen_projection p
	CROSS JOIN LATERAL event_store._projection_lag(p.name, 200) l
	WHERE p.state = 'running' AND l.oldest < clock_timestamp() - interval '1 min'
	UNION ALL
	SELECT r.kind, r.object, r.severity, r.since, r.holds_up, r.what_to_type, r.detail
	FROM event_store._reader_problems() r
	UNION ALL
	SELECT 'parked_events', 'subscription ' || p.name, 'error', p.parked_at,
		format('%s at position %s: %s', ecommerce._counted(p.parked, p.capped,
				'event was put aside,', 'events were put aside, the first'), p.position,
			coalesce(left(p.error, 200), 'no error')),
		format('SELECT * FROM event_store.parked_events WHERE subscription = %1$L; when it is mended: SELECT event_store.replay_parked(%1$L)', p.name),
		jsonb_build_object('subscription', p.name, 'count', p.parked, 'count_capped', p.capped)
	FROM event_store._seen_parked p;
END
$store_problems$;
COMMENT ON FUNCTION ecommerce._store_problems() IS
'What is wrong with background work, event store, subscriptions and projections, for ecommerce.problems.';
