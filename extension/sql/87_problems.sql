-- All that is wrong now, in one view; and what is carried to and from elsewhere, wrong or not.

CREATE VIEW ecommerce._carriers AS
SELECT 'link' AS kind, l.name, l.source AS other,
	CASE WHEN l.error_code IS NOT NULL THEN 'lost' WHEN l.paused THEN 'paused'
		WHEN l.heard_at < pg_catalog.clock_timestamp() - interval '5 min' THEN 'unfed'
		ELSE 'running' END AS state, l.heard_at, l.error
FROM message_bus._seen_link l
UNION ALL
SELECT 'bridge, ' || b.direction, b.name, b.broker, CASE WHEN b.paused THEN 'paused'
		WHEN b.heard_at < pg_catalog.clock_timestamp() - interval '5 min' THEN 'unfed'
		ELSE 'running' END, b.heard_at, NULL
FROM message_bus._seen_bridge b
UNION ALL
SELECT 'sink', s.name, s.broker, s.state, s.heard_at, s.error FROM event_store._seen_sink s
UNION ALL
SELECT 'projection', p.name, p.source, CASE WHEN p.state = 'running' AND coalesce(p.heard_at,
		p.updated_at) < pg_catalog.clock_timestamp() - interval '5 min' THEN 'unfed' ELSE p.state END,
	coalesce(p.heard_at, p.updated_at), p.last_error
FROM event_store._seen_projection p WHERE p.source IS NOT NULL;
COMMENT ON VIEW ecommerce._carriers IS
'What comes from other databases and goes to brokers: links, directions of bridges, sinks, projections of another service''s events; state, and when the other side was last heard of.';

CREATE FUNCTION ecommerce._table_problems()
RETURNS SETOF ecommerce._problem
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $table_problems$
BEGIN
	RETURN QUERY
	SELECT 'tables_locked',
		coalesce('prepared transaction ' || l.prepared, ecommerce._session_name(l.pid)), 'error', l.since,
		format('It %s an exclusive lock on %s: whoever reads that waits. What else is wrong with store, bus and sagas was not looked at.',
			CASE WHEN l.waits THEN 'waits for' ELSE 'has' END, l.tables),
		CASE WHEN l.prepared IS NULL
			THEN format('SELECT * FROM pg_stat_activity WHERE pid = %1$s; then SELECT pg_terminate_backend(%1$s)', l.pid)
			ELSE format('ROLLBACK PREPARED %1$L, or COMMIT PREPARED %1$L', l.prepared) END,
		jsonb_strip_nulls(jsonb_build_object('pid', l.pid))
	FROM ecommerce._locked_away() l;
	IF FOUND THEN
		RETURN;
	END IF;
	RETURN QUERY SELECT * FROM ecommerce._store_problems()
	UNION ALL SELECT * FROM ecommerce._bus_problems()
	UNION ALL SELECT * FROM ecommerce._carrying_problems()
	UNION ALL SELECT * FROM ecommerce._saga_problems();
END
$table_problems$;
COMMENT ON FUNCTION ecommerce._table_problems() IS
'What is found out by reading tables of ours, for ecommerce.problems; or who keeps everybody from reading them.';

CREATE VIEW ecommerce.all_problems AS
SELECT p.kind, p.object, p.severity, p.since, p.holds_up, p.what_to_type, p.detail
FROM (SELECT * FROM ecommerce._server_problems()
	UNION ALL SELECT * FROM ecommerce._session_problems()
	UNION ALL SELECT * FROM ecommerce._table_problems()) p
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
'kind: worker_missing, worker_refused, unit_failing, restore, mark_held (an append that is open for more than 10 s), subscription_behind, parked_events (a subscription has put them aside), rebuild_failed, projection_behind (more than a minute), projection_failed, projection_retrying, projection_paused, projection_lost (its source no longer holds what was read), projection_unfed (its source was not heard of for 5 minutes), sink_lost (this database and the sink do not fit each other), sink_failing, sink_paused, sink_unfed (streamd was not heard of for 5 minutes), endpoint_paused, endpoint_behind (the oldest message waits for more than a minute), no_consumer (for more than 10 s, and nothing was taken meanwhile), consumer_stuck (somebody has messages in hand for more than a minute, and nothing is settled), not_carried (as no_consumer, where messages leave over a link or bridge), link_lost (one of the two databases is older than it was), link_paused, link_unfed (its source was not heard of for 5 minutes), bridge_paused, bridge_unfed (nobody was heard of for 5 minutes who carries that way), endpoint_full, breaker_open, dead_letters, messages_failing (for more than 10 s), ring_large (a segment of more than 4 GB), saga_stuck. Counts go to 1000, of instances to 200. '
'Of the server itself: transaction_long, transaction_prepared (longer than ecommerce.long_transaction), lock_held (others have waited for more than 10 s), tables_locked (somebody has an exclusive lock on tables of ours for more than a second, or waits for one; nothing that reads them is looked at meanwhile), commits_wait (for a synchronous standby), connections_low (nine of ten are taken), disk_low (ecommerce.disk_low), slot_behind (more WAL is kept for it than max_wal_size), archive_failing, vacuum_behind (the oldest transaction is a billion back).';

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
