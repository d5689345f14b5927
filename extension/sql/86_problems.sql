-- What is wrong now, and how much there is of everything: from counters, keys and the
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
	pg_catalog.min(p.checkpoint) AS checkpoint
FROM event_store.subscription s
JOIN event_store.subscription_partition p ON p.name = s.name GROUP BY s.name;
COMMENT ON VIEW event_store._subscription_checkpoint IS
'How far subscriptions have read, and the category (NULL: all) in which they read.';

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
		SELECT c.name, c.checkpoint, coalesce(event_store._category_key(c.category)::bigint,
			9223372036854775807) AS key
		FROM event_store._subscription_checkpoint c),
	written AS MATERIALIZED (
		SELECT k.key, CASE WHEN k.key = 9223372036854775807
			THEN (SELECT max(e.position) FROM event_store._seen_event e)
			ELSE (SELECT max(e.position) FROM event_store._seen_event e
				WHERE e.category_key = k.key::int) END AS newest
		FROM (SELECT DISTINCT r.key FROM reader r) k),
	unread AS (
		SELECT r.name, row_number() OVER (ORDER BY r.checkpoint, r.name) <= 50 AS looked
		FROM reader r JOIN written w ON w.key = r.key WHERE w.newest > r.checkpoint)
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

CREATE INDEX dead_open_idx ON message_bus.dead (endpoint_id, last_failed_at)
	WHERE reason <> 'discarded';
CREATE VIEW message_bus._is_open_dead AS
SELECT d.endpoint_id FROM message_bus.dead d WHERE d.reason <> 'discarded';
COMMENT ON VIEW message_bus._is_open_dead IS 'What counts dead letters that nobody has given up.';

-- The first so many of the table need not be this endpoint's: never without an index.
CREATE FUNCTION message_bus._count_open_dead(endpoint_id int, most int) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $count_open_dead$
BEGIN
	RETURN (SELECT count(*) FROM (SELECT FROM message_bus._is_open_dead d
		WHERE d.endpoint_id = _count_open_dead.endpoint_id LIMIT _count_open_dead.most + 1) d);
END
$count_open_dead$;
COMMENT ON FUNCTION message_bus._count_open_dead(int, int) IS
'Dead letters of an endpoint that nobody has given up, counted to one more than most.';

CREATE FUNCTION message_bus._has_open_dead() RETURNS SETOF int
LANGUAGE plpgsql VOLATILE ROWS 5
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $has_open_dead$
DECLARE
	last int := -2147483648;
BEGIN
	FOR turn IN 1..50 LOOP
		SELECT d.endpoint_id INTO last FROM message_bus._is_open_dead d WHERE d.endpoint_id > last
		ORDER BY d.endpoint_id LIMIT 1;
		EXIT WHEN NOT FOUND;
		RETURN NEXT last;
	END LOOP;
END
$has_open_dead$;
COMMENT ON FUNCTION message_bus._has_open_dead() IS
'Endpoints with dead letters that nobody has given up, the first 50 of them: from one to the next in the index.';

CREATE VIEW message_bus._open_dead AS
SELECT e.endpoint_id, e.name, c.dead, c.capped, o.last_failed_at AS oldest_at,
	n.last_failed_at AS newest_at, n.message_type, n.error_code, n.error
FROM (SELECT h.id, greatest(3000 / pg_catalog.count(*) OVER (), 20) AS most
	FROM message_bus._has_open_dead() h (id)) h
JOIN message_bus.endpoint e ON e.endpoint_id = h.id
CROSS JOIN LATERAL (SELECT d.last_failed_at FROM message_bus.dead d
	WHERE d.endpoint_id = e.endpoint_id AND d.reason <> 'discarded'
	ORDER BY d.last_failed_at LIMIT 1) o
CROSS JOIN LATERAL (SELECT d.last_failed_at, d.message_type, d.error_code, d.error
	FROM message_bus.dead d WHERE d.endpoint_id = e.endpoint_id AND d.reason <> 'discarded'
	ORDER BY d.last_failed_at DESC LIMIT 1) n
CROSS JOIN LATERAL (SELECT least(t.n, m.most) AS dead, t.n > m.most AS capped
	FROM (SELECT least(h.most, 1000)::int AS most) m
	CROSS JOIN LATERAL message_bus._count_open_dead(e.endpoint_id, m.most) t (n)) c;
COMMENT ON VIEW message_bus._open_dead IS
'Endpoints with dead letters that nobody has given up, the first 50 of them: how many (to 1000; to less where more than 3 endpoints have some), the first and the last.';

-- Handlers that fail show here first; after their last attempt in _open_dead.
CREATE FUNCTION message_bus._retrying()
RETURNS TABLE (endpoint_id int, n bigint, since timestamptz, message_type text, error_code text,
	error text)
LANGUAGE plpgsql VOLATILE ROWS 5
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $retrying$
#variable_conflict use_column
DECLARE
	last int := -2147483648;
BEGIN
	FOR turn IN 1..100 LOOP
		SELECT a.endpoint_id INTO last FROM message_bus._waits_aside a WHERE a.endpoint_id > last
		ORDER BY a.endpoint_id LIMIT 1;
		EXIT WHEN NOT FOUND;
		RETURN QUERY
		SELECT last, count(*), min(r.first_failed_at),
			(array_agg(r.message_type ORDER BY r.last_failed_at DESC))[1],
			(array_agg(r.error_code ORDER BY r.last_failed_at DESC))[1],
			(array_agg(r.error ORDER BY r.last_failed_at DESC))[1]
		FROM (SELECT * FROM message_bus._seen_aside a WHERE a.endpoint_id = last LIMIT 200) r
		WHERE r.state = 'retrying' HAVING count(*) > 0;
	END LOOP;
END
$retrying$;
COMMENT ON FUNCTION message_bus._retrying() IS
'Endpoints with messages that wait to be tried again, among 200 set aside of each: how many, since when the first fails, and what the last failed with.';

CREATE VIEW message_bus._state AS
SELECT e.endpoint_id, e.name, e.lanes, e.paused, e.max_depth,
	coalesce(s.depth, u.depth, 0) AS depth, coalesce(s.in_flight, 0) AS in_flight,
	least(s.oldest_sent_at, u.oldest_sent_at) AS oldest_sent_at,
	coalesce(s.sent_per_s, 0) AS sent_per_s, coalesce(s.acked_per_s, 0) AS acked_per_s
FROM message_bus._seen_endpoint e
LEFT JOIN message_bus._endpoint_status() s ON s.endpoint_id = e.endpoint_id
LEFT JOIN message_bus._standby_status() u ON u.endpoint_id = e.endpoint_id;
COMMENT ON VIEW message_bus._state IS
'Endpoints as shared memory knows them: message_bus.endpoints without what was set aside and what is dead.';

-- In plpgsql, which keeps its plans: who looks every two seconds would plan all of this each time,
-- which costs ten times what looking does.
CREATE FUNCTION event_store._reader_problems()
RETURNS TABLE (kind text, object text, severity text, since timestamptz, holds_up text,
	what_to_type text, detail jsonb)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $reader_problems$
#variable_conflict use_column
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
	SELECT 'subscription_behind', format('%s more subscriptions', count(*) FILTER (WHERE s.looked)),
		'warning', min(s.oldest),
		format('Their consumers are %s to %s behind%s.',
			date_trunc('second', clock_timestamp() - max(s.oldest)),
			date_trunc('second', clock_timestamp() - min(s.oldest)),
			CASE WHEN bool_and(s.looked) THEN '' ELSE format('; %s others, which have read further, were not looked at',
				count(*) FILTER (WHERE NOT s.looked)) END),
		'SELECT name, checkpoint FROM event_store.subscription_partition ORDER BY checkpoint LIMIT 100',
		jsonb_build_object('count', count(*) FILTER (WHERE s.looked),
			'count_capped', NOT bool_and(s.looked))
	FROM late s WHERE s.n > 20 HAVING count(*) FILTER (WHERE s.looked) > 0;
END
$reader_problems$;
COMMENT ON FUNCTION event_store._reader_problems() IS
'Subscriptions that are behind, for ecommerce.problems: the 20 that are furthest, and how many more.';

CREATE FUNCTION ecommerce._store_problems()
RETURNS TABLE (kind text, object text, severity text, since timestamptz, holds_up text,
	what_to_type text, detail jsonb)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $store_problems$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT 'worker_missing', 'background worker', 'error', NULL::timestamptz,
		'Timers, notifications, sagas and projections of this database stand still.',
		'Look into the server''s log; SELECT ecommerce.start_worker()', '{}'::jsonb
	WHERE ecommerce.preloaded() AND NOT pg_is_in_recovery()
		AND NOT EXISTS (SELECT FROM ecommerce._workers() w WHERE w.kind = 'worker')
	UNION ALL
	SELECT CASE u.kind WHEN 'worker' THEN 'worker_refused' ELSE 'unit_failing' END,
		u.kind || ' ' || u.name, 'error', u.since,
		format('It has failed %s times in a row: %s', u.failures, u.last_error),
		CASE u.kind WHEN 'projection' THEN format('SELECT * FROM event_store.projections WHERE name = %L', u.name)
			ELSE 'Mend what the error says; it is tried again by itself' END,
		jsonb_build_object('unit', u.name, 'kind', u.kind)
	FROM ecommerce.units u WHERE u.failures > 0
	UNION ALL
	SELECT 'restore', 'session ' || r.pid, 'warning', r.since,
		'A dump is being restored: nobody appends, sends, receives or fetches.',
		format('When it has ended: SELECT ecommerce.restore_done(%s)', r.pid),
		jsonb_build_object('pid', r.pid)
	FROM ecommerce.restores r
	UNION ALL
	SELECT 'mark_held', 'session ' || a.pid, 'error', a.xact_start,
		format('No reader gets beyond position %s%s.', a.lowest_position,
			coalesce(' of category ' || a.category, '')),
		format('SELECT pg_terminate_backend(%s)', a.pid), jsonb_build_object('pid', a.pid)
	FROM event_store.appenders a WHERE a.xact_start < clock_timestamp() - interval '10 s'
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
		format('%s%s events were put aside, the first at position %s: %s', p.parked,
			CASE WHEN p.capped THEN '+' ELSE '' END, p.position,
			coalesce(left(p.error, 200), 'no error')),
		format('SELECT * FROM event_store.parked_events WHERE subscription = %1$L; when it is mended: SELECT event_store.replay_parked(%1$L)', p.name),
		jsonb_build_object('subscription', p.name, 'count', p.parked, 'count_capped', p.capped)
	FROM event_store._seen_parked p;
END
$store_problems$;
COMMENT ON FUNCTION ecommerce._store_problems() IS
'What is wrong with worker, event store, subscriptions and projections, for ecommerce.problems.';

CREATE FUNCTION ecommerce._bus_problems()
RETURNS TABLE (kind text, object text, severity text, since timestamptz, holds_up text,
	what_to_type text, detail jsonb)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $bus_problems$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH state AS MATERIALIZED (SELECT * FROM message_bus._state t WHERE t.depth > 0)
	SELECT 'endpoint_paused', 'endpoint ' || s.name, 'warning', s.oldest_sent_at,
		format('%s messages wait.', s.depth), format('SELECT message_bus.resume(%L)', s.name),
		jsonb_build_object('endpoint', s.name, 'count', s.depth)
	FROM state s WHERE s.paused AND s.depth > 0
	UNION ALL
	SELECT CASE WHEN c.consumer THEN 'endpoint_behind' WHEN f.forward_to IS NOT NULL THEN 'not_carried'
			ELSE 'no_consumer' END, 'endpoint ' || s.name,
		CASE WHEN c.consumer THEN 'warning' ELSE 'error' END, s.oldest_sent_at,
		format(CASE WHEN f.forward_to IS NOT NULL THEN CASE WHEN c.consumer THEN '%s messages wait to leave for %s, more than are carried.'
				ELSE '%s messages wait to leave for %s, and nobody carries them.' END
			WHEN c.consumer THEN '%s messages wait, its consumers do not keep up.'
			ELSE '%s messages wait, and nobody takes them.' END, s.depth, f.forward_to),
		format(CASE WHEN f.bridge IS NOT NULL THEN 'Look into the log of bridged, and whether the broker is there; SELECT * FROM message_bus.bridges WHERE name = %2$L'
			WHEN f.forward_to IS NOT NULL THEN 'In the database %3$s: SELECT * FROM message_bus.links WHERE endpoint = %1$L; start linkd there, or look into its log'
			WHEN c.consumer THEN 'Start more consumers; SELECT * FROM message_bus.consumers WHERE endpoint = %1$L'
			ELSE 'Start its consumer. If it runs, its log says what keeps it away, such as a wrong password; SELECT * FROM message_bus.peek(%1$L)' END, s.name, f.bridge, f.forward_to),
		jsonb_build_object('endpoint', s.name, 'count', s.depth)
	FROM state s
	LEFT JOIN message_bus._seen_forward f ON f.endpoint_id = s.endpoint_id
	CROSS JOIN LATERAL (SELECT s.acked_per_s > 0 OR s.in_flight > 0 AS consumer) c
	WHERE NOT s.paused AND s.depth > 0 AND s.oldest_sent_at < clock_timestamp()
		- CASE WHEN c.consumer THEN interval '1 min' ELSE interval '10 s' END
	UNION ALL
	SELECT 'endpoint_full', 'endpoint ' || s.name, 'error', s.oldest_sent_at,
		format('Senders are refused (MB002): %s messages wait, %s may.', s.depth, m.max_depth),
		format('Start more consumers, or SELECT message_bus.alter_endpoint(%L, max_depth => %s)', s.name, m.max_depth * 2),
		jsonb_build_object('endpoint', s.name, 'count', s.depth)
	FROM state s
	CROSS JOIN LATERAL (SELECT coalesce(s.max_depth,
		current_setting('message_bus.max_depth', true)::int, -1) AS max_depth) m
	WHERE m.max_depth > 0 AND s.depth >= m.max_depth
	UNION ALL
	SELECT 'breaker_open', format('circuit breaker %s of %s', b.message_type, b.endpoint), 'error',
		b.opened_at, format('Messages of that type are held at %s until %s; %s of the last %s failed.',
			b.endpoint, b.retry_at, b.failures, b.attempts),
		format('When what they need is back: SELECT message_bus.reset_breaker(%L, %L)', b.endpoint, b.message_type),
		jsonb_build_object('endpoint', b.endpoint, 'message_type', b.message_type)
	FROM message_bus.circuit_breakers b WHERE b.state <> 'closed'
	UNION ALL
	SELECT 'messages_failing', 'endpoint ' || e.name, 'warning', r.since,
		format('%s messages fail and are tried again, the last a %s: %s', CASE WHEN r.n >= 200 THEN '200+' ELSE r.n::text END,
			r.message_type, coalesce(r.error_code || ': ', '') || coalesce(left(r.error, 200), 'no error')),
		format('Mend what its handler says, then SELECT message_bus.retry_now(%1$L); which: SELECT * FROM message_bus.peek(%1$L, ''retrying'')', e.name),
		jsonb_build_object('endpoint', e.name, 'count', r.n, 'count_capped', r.n >= 200,
			'message_type', r.message_type, 'error_code', r.error_code)
	FROM message_bus._retrying() r
	JOIN message_bus._seen_endpoint e ON e.endpoint_id = r.endpoint_id
	WHERE r.since < clock_timestamp() - interval '10 s'
	UNION ALL
	SELECT 'dead_letters', 'endpoint ' || d.name, 'error', d.oldest_at,
		format('%s%s messages were given up, the last a %s: %s', d.dead, CASE WHEN d.capped THEN '+' ELSE '' END,
			d.message_type, coalesce(d.error_code || ': ', '') || coalesce(left(d.error, 200), 'no error')),
		format('SELECT * FROM message_bus.dead_groups(%1$L); then SELECT * FROM message_bus.redrive_matching(''%2$s'')',
			d.name, jsonb_build_object('endpoint', d.name)),
		jsonb_build_object('endpoint', d.name, 'count', d.dead, 'count_capped', d.capped,
			'message_type', d.message_type, 'error_code', d.error_code)
	FROM message_bus._open_dead d
	UNION ALL
	SELECT 'ring_large', 'segment ' || r.segment, 'warning', r.since,
		format('%s are kept for endpoints that are behind.', pg_size_pretty(r.bytes)),
		'SELECT * FROM message_bus.endpoints ORDER BY depth DESC; SELECT * FROM message_bus.ring',
		jsonb_build_object('segment', r.segment, 'bytes', r.bytes)
	FROM (SELECT g.segment, s.since, pg_total_relation_size(format('message_bus.ring_%s', g.segment)::regclass) AS bytes
		FROM generate_series(0, 7) g (segment)
		LEFT JOIN message_bus._ring_status() s ON s.segment = g.segment) r
	WHERE r.bytes > 4::bigint * 1024 * 1024 * 1024;
END
$bus_problems$;
COMMENT ON FUNCTION ecommerce._bus_problems() IS
'What is wrong with endpoints, for ecommerce.problems.';

CREATE FUNCTION ecommerce._saga_problems()
RETURNS TABLE (kind text, object text, severity text, since timestamptz, holds_up text,
	what_to_type text, detail jsonb)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $saga_problems$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT 'saga_stuck', 'saga ' || s.saga, 'error', min(s.since),
		format('%s%s instances: %s, the last %s', least(count(*), 200), CASE WHEN count(*) > 200 THEN '+' ELSE '' END,
			s.reason, coalesce((array_agg(s.error ORDER BY s.since DESC))[1], 'without an error')),
		format('SELECT * FROM saga.stuck WHERE saga = %L AND reason = %L', s.saga, s.reason),
		jsonb_build_object('saga', s.saga, 'reason', s.reason, 'count', least(count(*), 200),
			'count_capped', count(*) > 200,
			'correlation_id', (array_agg(s.correlation_id ORDER BY s.since DESC))[1])
	FROM (SELECT * FROM saga._stuck LIMIT 201) s
	GROUP BY s.saga, s.reason;
END
$saga_problems$;
COMMENT ON FUNCTION ecommerce._saga_problems() IS 'What is wrong with sagas, for ecommerce.problems.';

CREATE VIEW ecommerce.all_problems AS
SELECT p.kind, p.object, p.severity, p.since, p.holds_up, p.what_to_type, p.detail
FROM (SELECT * FROM ecommerce._server_problems()
	UNION ALL SELECT * FROM ecommerce._session_problems()
	UNION ALL SELECT * FROM ecommerce._store_problems()
	UNION ALL SELECT * FROM ecommerce._bus_problems()
	UNION ALL SELECT * FROM ecommerce._carrying_problems()
	UNION ALL SELECT * FROM ecommerce._saga_problems()) p
ORDER BY p.severity, p.since, p.kind, p.object;
COMMENT ON VIEW ecommerce.all_problems IS
'As ecommerce.problems, which shows the first 25 of each kind. It looks at 50 subscriptions that are behind, 50 endpoints with dead letters, 100 with messages set aside and 100 subscriptions with parked events.';

-- What is wrong at hundreds of endpoints must not hide what is wrong once.
CREATE VIEW ecommerce.problems AS
WITH ranked AS MATERIALIZED (SELECT p.*, pg_catalog.row_number() OVER (PARTITION BY p.kind
		ORDER BY p.severity, p.since, p.object) AS n FROM ecommerce.all_problems p)
SELECT p.kind, p.object, p.severity, p.since, p.holds_up, p.what_to_type, p.detail
FROM (SELECT r.kind, r.object, r.severity, r.since, r.holds_up, r.what_to_type, r.detail
	FROM ranked r WHERE r.n <= 25
	UNION ALL
	SELECT r.kind, pg_catalog.format('%s%s more', pg_catalog.count(*),
			CASE WHEN pg_catalog.count(*) >= 25 THEN '+' END), pg_catalog.min(r.severity),
		pg_catalog.min(r.since), 'The same as those of this kind above.',
		pg_catalog.format('SELECT * FROM ecommerce.all_problems WHERE kind = %L', r.kind),
		pg_catalog.jsonb_build_object('count', pg_catalog.count(*))
	FROM ranked r WHERE r.n > 25 GROUP BY r.kind) p
ORDER BY p.severity, p.since, p.kind, p.object;
COMMENT ON VIEW ecommerce.problems IS
'One row for each thing that is wrong now; none when all is well. Of a kind 25 are shown, and one that tells how many more there are (ecommerce.all_problems). severity: error (somebody is needed now) or warning; since when; what it holds up; what to type; detail: names and numbers of the objects concerned. '
'kind: worker_missing, worker_refused, unit_failing, restore, mark_held (an append that is open for more than 10 s), subscription_behind, parked_events, rebuild_failed, projection_behind (more than a minute), projection_failed, projection_retrying, projection_paused, projection_lost (its source no longer holds what was read), projection_unfed (its source was not heard of for 5 minutes), sink_lost (this database and the sink do not fit each other), sink_failing, sink_paused, sink_unfed (streamd was not heard of for 5 minutes), endpoint_paused, endpoint_behind (the oldest message waits for more than a minute), no_consumer (for more than 10 s, and nothing was taken meanwhile), not_carried (the same where messages leave over a link or bridge), link_lost (one of the two databases is older than it was), link_paused, link_unfed (its source was not heard of for 5 minutes), bridge_paused, bridge_unfed (nobody was heard of for 5 minutes who carries that way), endpoint_full, breaker_open, dead_letters, messages_failing (for more than 10 s), ring_large (a segment of more than 4 GB), saga_stuck. Counts go to 1000, of instances to 200. '
'Of the server itself: transaction_long, transaction_prepared (longer than ecommerce.long_transaction), lock_held (others have waited for more than 10 s), commits_wait (for a synchronous standby), connections_low (nine of ten are taken), disk_low (ecommerce.disk_low), slot_behind (more WAL is kept for it than max_wal_size), archive_failing, vacuum_behind (the oldest transaction is a billion back).';

CREATE FUNCTION ecommerce._asked(problems jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $asked$
BEGIN
	RETURN coalesce(problems, (SELECT jsonb_agg(p) FROM ecommerce.problems p), '[]');
END
$asked$;
COMMENT ON FUNCTION ecommerce._asked(jsonb) IS
'The rows of ecommerce.problems, which are asked for unless they are given.';

CREATE FUNCTION ecommerce._severities(problems jsonb, OUT error int, OUT warning int)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $severities$
BEGIN
	SELECT count(*) FILTER (WHERE p ->> 'severity' = 'error'),
		count(*) FILTER (WHERE p ->> 'severity' <> 'error')
	INTO error, warning FROM jsonb_array_elements(problems) p;
END
$severities$;
COMMENT ON FUNCTION ecommerce._severities(jsonb) IS 'How many rows of ecommerce.problems there are.';

CREATE FUNCTION ecommerce._stuck(problems jsonb)
RETURNS TABLE (saga text, reason text, instances bigint, capped boolean)
LANGUAGE sql IMMUTABLE ROWS 5
SET search_path = pg_catalog, pg_temp
AS $stuck$
	SELECT p #>> '{detail,saga}', p #>> '{detail,reason}', (p #>> '{detail,count}')::bigint,
		coalesce((p #>> '{detail,count_capped}')::boolean, false)
	FROM jsonb_array_elements(problems) p
	WHERE p ->> 'kind' = 'saga_stuck' AND p #>> '{detail,saga}' IS NOT NULL
$stuck$;
COMMENT ON FUNCTION ecommerce._stuck(jsonb) IS
'Instances that are stuck, as the rows of ecommerce.problems tell.';

-- problems: what ecommerce.problems says, from whoever has just asked it.
CREATE FUNCTION ecommerce.overview(problems jsonb DEFAULT NULL, OUT at timestamptz,
	OUT database text, OUT version text, OUT in_recovery boolean, OUT preloaded boolean,
	OUT worker_pid int, OUT workers int, OUT duties text[],
	OUT "position" bigint, OUT mark bigint, OUT mark_lag bigint, OUT mark_holder_pid int,
	OUT mark_held_since timestamptz, OUT streams_estimate bigint, OUT endpoints int,
	OUT depth bigint, OUT in_flight bigint, OUT oldest_unacked_age interval,
	OUT sent_per_s float8, OUT acked_per_s float8, OUT dead bigint, OUT dead_capped boolean,
	OUT newest_dead_at timestamptz, OUT breakers_open int, OUT sagas_estimate bigint,
	OUT stuck bigint, OUT stuck_capped boolean, OUT subscriptions int,
	OUT worst_lag interval, OUT worst_subscription text, OUT projections int,
	OUT projections_failed int, OUT worst_projection_lag interval, OUT worst_projection text,
	OUT problems_error int, OUT problems_warning int, OUT database_bytes bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $overview$
#variable_conflict use_column
DECLARE
	known CONSTANT jsonb := ecommerce._asked(overview.problems);
BEGIN
	at := clock_timestamp();
	database := current_database();
	version := (SELECT x.extversion FROM pg_extension x WHERE x.extname = 'ecommerce');
	in_recovery := pg_is_in_recovery();
	preloaded := ecommerce.preloaded();
	SELECT max(w.pid) FILTER (WHERE w.kind = 'worker'), count(*),
		array_agg(w.kind || ': ' || w.duty ORDER BY w.kind DESC) FILTER (WHERE w.duty <> '')
	INTO worker_pid, workers, duties FROM ecommerce._workers() w;
	mark := event_store._safe_mark();
	"position" := event_store.position_counter();
	mark_lag := "position" - mark;
	SELECT a.pid, a.xact_start INTO mark_holder_pid, mark_held_since
	FROM event_store.appenders a ORDER BY a.lowest_position LIMIT 1;
	streams_estimate := (SELECT greatest(c.reltuples, 0) FROM pg_class c
		WHERE c.oid = 'event_store.stream'::regclass);
	SELECT count(*), coalesce(sum(s.depth), 0), coalesce(sum(s.in_flight), 0),
		clock_timestamp() - min(s.oldest_sent_at), coalesce(sum(s.sent_per_s), 0),
		coalesce(sum(s.acked_per_s), 0)
	INTO endpoints, depth, in_flight, oldest_unacked_age, sent_per_s, acked_per_s
	FROM message_bus._state s;
	SELECT coalesce(sum(d.dead), 0), coalesce(bool_or(d.capped), false), max(d.newest_at)
	INTO dead, dead_capped, newest_dead_at FROM message_bus._open_dead d;
	breakers_open := (SELECT count(*) FROM message_bus.circuit_breakers b WHERE b.state <> 'closed');
	sagas_estimate := (SELECT greatest(c.reltuples, 0) FROM pg_class c
		WHERE c.oid = 'saga.stored_instance'::regclass);
	SELECT coalesce(sum(s.instances), 0), coalesce(bool_or(s.capped), false)
	INTO stuck, stuck_capped FROM ecommerce._stuck(known) s;
	subscriptions := (SELECT count(*) FROM event_store._seen_subscription);
	SELECT clock_timestamp() - b.oldest, b.name INTO worst_lag, worst_subscription
	FROM event_store._behind() b WHERE b.oldest IS NOT NULL ORDER BY b.oldest LIMIT 1;
	SELECT count(*), count(*) FILTER (WHERE p.state = 'failed') INTO projections, projections_failed
	FROM event_store._seen_projection p;
	SELECT clock_timestamp() - l.oldest, p.name INTO worst_projection_lag, worst_projection
	FROM event_store._seen_projection p
	CROSS JOIN LATERAL event_store._projection_lag(p.name, 200) l
	WHERE l.oldest IS NOT NULL ORDER BY l.oldest LIMIT 1;
	SELECT s.error, s.warning INTO problems_error, problems_warning
	FROM ecommerce._severities(known) s;
	database_bytes := pg_database_size(current_database());
END
$overview$;
COMMENT ON FUNCTION ecommerce.overview(jsonb) IS
'How things stand, in one row: worker and what the background processes are at, positions and who holds the mark, endpoints together, dead letters that nobody has given up (each endpoint to 1000), open breakers, stuck instances (to 200), who is furthest behind and by how much time, how many rows ecommerce.problems has (problems: these rows as an array, if they are known already). _estimate: what ANALYZE last counted.';
