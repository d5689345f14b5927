-- How things stand, in one row, at the same cost with many of all.

-- Where some are so far behind that this is a problem, the worst of these has been found already.
CREATE FUNCTION ecommerce._worst_subscription(problems jsonb, OUT name text, OUT lag interval)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $worst_subscription$
DECLARE
	oldest timestamptz;
BEGIN
	SELECT p #>> '{detail,subscription}', (p ->> 'since')::timestamptz INTO name, oldest
	FROM jsonb_array_elements(problems) p
	WHERE p ->> 'kind' = 'subscription_behind' AND p #>> '{detail,subscription}' IS NOT NULL
	ORDER BY 2 LIMIT 1;
	IF NOT FOUND THEN
		SELECT b.name, b.oldest INTO name, oldest
		FROM event_store._behind() b WHERE b.oldest IS NOT NULL ORDER BY b.oldest LIMIT 1;
	END IF;
	lag := clock_timestamp() - oldest;
END
$worst_subscription$;
COMMENT ON FUNCTION ecommerce._worst_subscription(jsonb) IS
'The subscription that is furthest behind, and by how much time; NULL: none is.';

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
	SELECT s.error, s.warning INTO problems_error, problems_warning
	FROM ecommerce._severities(known) s;
	database_bytes := pg_database_size(current_database());
	IF known @> '[{"kind": "tables_locked"}]' THEN
		RETURN;
	END IF;
	mark := event_store._safe_mark();
	"position" := event_store.position_counter();
	mark_lag := "position" - mark;
	SELECT a.pid, a.xact_start INTO mark_holder_pid, mark_held_since
	FROM event_store.appenders a ORDER BY a.lowest_position LIMIT 1;
	streams_estimate := (SELECT nullif(c.reltuples, -1) FROM pg_class c
		WHERE c.oid = 'event_store.stream'::regclass);
	SELECT count(*), coalesce(sum(s.depth), 0), coalesce(sum(s.in_flight), 0),
		clock_timestamp() - min(s.oldest_sent_at), coalesce(sum(s.sent_per_s), 0),
		coalesce(sum(s.acked_per_s), 0)
	INTO endpoints, depth, in_flight, oldest_unacked_age, sent_per_s, acked_per_s
	FROM message_bus._state s;
	SELECT coalesce(sum(d.dead), 0), coalesce(bool_or(d.capped), false), max(d.newest_at)
	INTO dead, dead_capped, newest_dead_at FROM message_bus._open_dead d;
	breakers_open := (SELECT count(*) FROM message_bus.circuit_breakers b WHERE b.state <> 'closed');
	sagas_estimate := (SELECT nullif(c.reltuples, -1) FROM pg_class c
		WHERE c.oid = 'saga.stored_instance'::regclass);
	SELECT coalesce(sum(s.instances), 0), coalesce(bool_or(s.capped), false)
	INTO stuck, stuck_capped FROM ecommerce._stuck(known) s;
	subscriptions := (SELECT count(*) FROM event_store._seen_subscription);
	SELECT w.lag, w.name INTO worst_lag, worst_subscription
	FROM ecommerce._worst_subscription(known) w;
	SELECT count(*), count(*) FILTER (WHERE p.state = 'failed') INTO projections, projections_failed
	FROM event_store._seen_projection p;
	SELECT clock_timestamp() - l.oldest, p.name INTO worst_projection_lag, worst_projection
	FROM event_store._seen_projection p
	CROSS JOIN LATERAL event_store._projection_lag(p.name, 200) l
	WHERE l.oldest IS NOT NULL ORDER BY l.oldest LIMIT 1;
END
$overview$;
COMMENT ON FUNCTION ecommerce.overview(jsonb) IS
'How things stand, in one row: worker and what the background processes are at, positions and who holds the mark, endpoints together, dead letters that nobody has given up (each endpoint to 1000), open breakers, stuck instances (to 200), who is furthest behind and by how much time, how many rows ecommerce.problems has (problems: these rows as an array, if they are known already). _estimate: what ANALYZE last counted; NULL: it never has. While somebody has locked our tables away (tables_locked) all that is in them is NULL.';
