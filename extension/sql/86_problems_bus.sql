-- What is wrong with endpoints: from shared memory and the first rows of indexes, so that it costs
-- the same at any size.

-- With the id, so that those that are to go are found here in their order, however much was discarded.
CREATE INDEX dead_open_idx ON message_bus.dead (endpoint_id, last_failed_at, message_id)
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
CREATE FUNCTION message_bus._failing()
RETURNS TABLE (endpoint_id int, message_type text, retrying bigint, since timestamptz,
	last_at timestamptz, error_code text, error text)
LANGUAGE plpgsql VOLATILE ROWS 5
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $failing$
#variable_conflict use_column
DECLARE
	last int := -2147483648;
BEGIN
	FOR turn IN 1..100 LOOP
		SELECT a.endpoint_id INTO last FROM message_bus._waits_aside a WHERE a.endpoint_id > last
		ORDER BY a.endpoint_id LIMIT 1;
		EXIT WHEN NOT FOUND;
		RETURN QUERY
		SELECT last, f.message_type, count(*) FILTER (WHERE f.state = 'retrying'),
			min(f.first_failed_at) FILTER (WHERE f.state = 'retrying'), max(f.last_failed_at),
			(array_agg(f.error_code ORDER BY f.last_failed_at DESC))[1],
			(array_agg(f.error ORDER BY f.last_failed_at DESC))[1]
		FROM (SELECT * FROM message_bus._seen_aside a WHERE a.endpoint_id = last LIMIT 200) f
		WHERE f.last_failed_at IS NOT NULL GROUP BY f.message_type;
	END LOOP;
END
$failing$;
COMMENT ON FUNCTION message_bus._failing() IS
'Types of messages that have failed at an endpoint and wait, to be tried again or for a breaker, among 200 set aside of each endpoint: how many are tried again, since when the first of them fails, and what failed last, with what.';

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

CREATE FUNCTION ecommerce._bus_problems()
RETURNS SETOF ecommerce._problem
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $bus_problems$
BEGIN
	RETURN QUERY
	WITH state AS MATERIALIZED (SELECT * FROM message_bus._state t WHERE t.depth > 0),
	failing AS MATERIALIZED (SELECT * FROM message_bus._failing()),
	open_dead AS MATERIALIZED (SELECT * FROM message_bus._open_dead)
	SELECT 'endpoint_paused', 'endpoint ' || s.name, 'warning', s.oldest_sent_at,
		ecommerce._counted(s.depth, false, 'message waits.', 'messages wait.'), format('SELECT message_bus.resume(%L)', s.name),
		jsonb_build_object('endpoint', s.name, 'count', s.depth)
	FROM state s WHERE s.paused AND s.depth > 0
	UNION ALL
	SELECT CASE WHEN h.pid IS NOT NULL THEN 'consumer_stuck' WHEN c.consumer THEN 'endpoint_behind'
			WHEN f.forward_to IS NOT NULL THEN 'not_carried' ELSE 'no_consumer' END,
		'endpoint ' || s.name, CASE WHEN c.consumer AND h.pid IS NULL THEN 'warning' ELSE 'error' END,
		s.oldest_sent_at,
		format(CASE WHEN f.forward_to IS NOT NULL THEN CASE WHEN c.consumer THEN '%1$s to leave for %2$s, more than are carried.'
				ELSE '%1$s to leave for %2$s, and nobody carries %3$s.' END
			WHEN h.pid IS NOT NULL THEN '%1$s; %4$s has some in hand for %5$s, and nothing was settled lately.'
			WHEN c.consumer THEN '%1$s, its consumers do not keep up.'
			ELSE '%1$s, and nobody takes %3$s.' END,
			ecommerce._counted(s.depth, false, 'message waits', 'messages wait'), f.forward_to,
			CASE WHEN s.depth = 1 THEN 'it' ELSE 'them' END, ecommerce._session_name(h.pid),
			date_trunc('second', clock_timestamp() - h.xact_start)),
		format(CASE WHEN f.bridge IS NOT NULL THEN 'Look into the log of bridged, and whether the broker is there; SELECT * FROM message_bus.bridges WHERE name = %2$L'
			WHEN f.forward_to IS NOT NULL THEN 'In the database %3$s: SELECT * FROM message_bus.links WHERE endpoint = %1$L; start linkd there, or look into its log'
			WHEN h.pid IS NOT NULL THEN 'Look into its log, and whether its process stands still; to give others what it has, SELECT pg_terminate_backend(%4$s)'
			WHEN c.consumer THEN 'Start more consumers; SELECT * FROM message_bus.consumers WHERE endpoint = %1$L'
			ELSE 'Start its consumer. If it runs, its log says what keeps it away, such as a wrong password, or its process stands still; SELECT * FROM message_bus.peek(%1$L)' END, s.name, f.bridge, f.forward_to, h.pid),
		jsonb_build_object('endpoint', s.name, 'count', s.depth)
	FROM state s
	LEFT JOIN message_bus._seen_forward f ON f.endpoint_id = s.endpoint_id
	CROSS JOIN LATERAL (SELECT s.acked_per_s > 0 OR s.in_flight > 0 AS consumer) c
	LEFT JOIN LATERAL (SELECT l.pid, n.xact_start FROM message_bus._lane_holders l
		JOIN ecommerce._sessions() n ON n.pid = l.pid
		WHERE s.in_flight > 0 AND s.acked_per_s = 0 AND f.forward_to IS NULL
			AND l.endpoint_id = s.endpoint_id AND n.xact_start < clock_timestamp() - interval '1 min'
		ORDER BY n.xact_start LIMIT 1) h ON true
	WHERE NOT s.paused AND s.depth > 0 AND s.oldest_sent_at < clock_timestamp()
		- CASE WHEN c.consumer THEN interval '1 min' ELSE interval '10 s' END
	UNION ALL
	SELECT 'endpoint_full', 'endpoint ' || s.name, 'error', s.oldest_sent_at,
		format('Senders are refused (MB002): %s, %s may.',
			ecommerce._counted(s.depth, false, 'message waits', 'messages wait'), m.max_depth),
		format('Start more consumers, or SELECT message_bus.alter_endpoint(%L, max_depth => %s)', s.name, m.max_depth * 2),
		jsonb_build_object('endpoint', s.name, 'count', s.depth)
	FROM state s
	CROSS JOIN LATERAL (SELECT coalesce(s.max_depth,
		current_setting('message_bus.max_depth', true)::int, -1) AS max_depth) m
	WHERE m.max_depth > 0 AND s.depth >= m.max_depth
	UNION ALL
	SELECT 'breaker_open', format('circuit breaker %s of %s', b.message_type, b.endpoint), 'error',
		b.opened_at, format('Messages of that type are held at %s until %s; %s of the last %s failed%s.',
			b.endpoint, b.retry_at, b.failures, b.attempts,
			', the last with ' || nullif(concat_ws(': ', w.error_code, left(w.error, 200)), '')),
		format('When what they need is back: SELECT message_bus.reset_breaker(%L, %L)', b.endpoint, b.message_type),
		jsonb_build_object('endpoint', b.endpoint, 'message_type', b.message_type,
			'error_code', w.error_code, 'error', left(w.error, 200))
	FROM message_bus.circuit_breakers b
	JOIN message_bus._seen_endpoint e ON e.name = b.endpoint
	-- What has failed waits, or was given up at once.
	LEFT JOIN LATERAL (SELECT l.error_code, l.error FROM (
			SELECT f.last_at, f.error_code, f.error FROM failing f
			WHERE f.endpoint_id = e.endpoint_id AND f.message_type = b.message_type
			UNION ALL
			SELECT d.newest_at, d.error_code, d.error FROM open_dead d
			WHERE d.endpoint_id = e.endpoint_id AND d.message_type = b.message_type) l
		WHERE num_nonnulls(l.error_code, l.error) > 0 ORDER BY l.last_at DESC LIMIT 1) w ON true
	WHERE b.state <> 'closed'
	UNION ALL
	SELECT 'messages_failing', 'endpoint ' || e.name, 'warning', r.since,
		format('%s a %s: %s', ecommerce._counted(r.n, r.n >= 200, 'message fails and is tried again,',
				'messages fail and are tried again, the last'), r.message_type, coalesce(r.error_code || ': ', '') || coalesce(left(r.error, 200), 'no error')),
		format('Mend what its handler says, then SELECT message_bus.retry_now(%1$L); which: SELECT * FROM message_bus.peek(%1$L, ''retrying'')', e.name),
		jsonb_build_object('endpoint', e.name, 'count', r.n, 'count_capped', r.n >= 200,
			'message_type', r.message_type, 'error_code', r.error_code)
	FROM (SELECT DISTINCT ON (f.endpoint_id) f.endpoint_id, f.message_type, f.error_code, f.error,
			(sum(f.retrying) OVER one)::bigint AS n, min(f.since) OVER one AS since
		FROM failing f WHERE f.retrying > 0 WINDOW one AS (PARTITION BY f.endpoint_id)
		ORDER BY f.endpoint_id, f.last_at DESC) r
	JOIN message_bus._seen_endpoint e ON e.endpoint_id = r.endpoint_id
	WHERE r.since < clock_timestamp() - interval '10 s'
	UNION ALL
	SELECT 'dead_letters', 'endpoint ' || d.name, 'error', d.oldest_at,
		format('%s a %s: %s', ecommerce._counted(d.dead, d.capped, 'message was given up,',
				'messages were given up, the last'), d.message_type, coalesce(d.error_code || ': ', '') || coalesce(left(d.error, 200), 'no error')),
		format('SELECT * FROM message_bus.dead_groups(%1$L); then SELECT * FROM message_bus.redrive_matching(''%2$s'')',
			d.name, jsonb_build_object('endpoint', d.name)),
		jsonb_build_object('endpoint', d.name, 'count', d.dead, 'count_capped', d.capped,
			'message_type', d.message_type, 'error_code', d.error_code)
	FROM open_dead d
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
