-- What a monitoring system scrapes: counters that only rise while the server runs, and gauges.

CREATE FUNCTION ecommerce._counter_metrics()
RETURNS TABLE (name text, labels jsonb, kind text, value float8)
LANGUAGE plpgsql VOLATILE ROWS 20
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $counter_metrics$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT 'ecommerce_positions_total', '{}'::jsonb, 'counter', event_store.position_counter()::float8
	UNION ALL SELECT m.name, '{}', 'counter', m.value::float8 FROM (VALUES
		('ecommerce_events_appended_total', pg_stat_get_tuples_inserted('event_store.stored_event'::regclass)),
		('ecommerce_streams_created_total', pg_stat_get_tuples_inserted('event_store.stream'::regclass)),
		('ecommerce_messages_dead_total', pg_stat_get_tuples_inserted('message_bus.dead'::regclass)),
		('ecommerce_messages_set_aside_total', pg_stat_get_tuples_inserted('message_bus.aside'::regclass)),
		('ecommerce_saga_instances_created_total', pg_stat_get_tuples_inserted('saga.stored_instance'::regclass)),
		('ecommerce_saga_transitions_total', pg_stat_get_tuples_inserted('saga.history_entry'::regclass))
		) m (name, value)
	UNION ALL SELECT n.name, jsonb_build_object('endpoint', e.name), 'counter', n.value::float8
	FROM message_bus._endpoint_totals() t
	JOIN message_bus._seen_endpoint e ON e.endpoint_id = t.endpoint_id
	CROSS JOIN LATERAL (VALUES ('ecommerce_messages_sent_total', t.sent_total),
		('ecommerce_messages_acked_total', t.acked_total)) n (name, value);
END
$counter_metrics$;
COMMENT ON FUNCTION ecommerce._counter_metrics() IS 'The counters of ecommerce.metrics().';

CREATE FUNCTION ecommerce._server_metrics(problems jsonb)
RETURNS TABLE (name text, labels jsonb, kind text, value float8)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $server_metrics$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT 'ecommerce_worker_up', jsonb_build_object('kind', k.kind), 'gauge',
		(EXISTS (SELECT FROM ecommerce._workers() w WHERE w.kind = k.kind))::int::float8
	FROM (VALUES ('worker'), ('runner'), ('slow runner')) k (kind)
	UNION ALL SELECT 'ecommerce_problems', jsonb_build_object('severity', s.severity), 'gauge',
		s.value::float8
	FROM ecommerce._severities(_server_metrics.problems) n
	CROSS JOIN LATERAL (VALUES ('error', n.error), ('warning', n.warning)) s (severity, value)
	UNION ALL SELECT 'ecommerce_disk_free_bytes', jsonb_build_object('holds', d.holds), 'gauge',
		d.free::float8 FROM ecommerce._disks() d
	UNION ALL SELECT 'ecommerce_disk_bytes', jsonb_build_object('holds', d.holds), 'gauge',
		d.total::float8 FROM ecommerce._disks() d;
END
$server_metrics$;
COMMENT ON FUNCTION ecommerce._server_metrics(jsonb) IS
'The gauges of ecommerce.metrics() that no lock on a table keeps from being known.';

CREATE FUNCTION ecommerce._gauge_metrics(problems jsonb)
RETURNS TABLE (name text, labels jsonb, kind text, value float8)
LANGUAGE plpgsql VOLATILE ROWS 100
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $gauge_metrics$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH open_dead AS MATERIALIZED (SELECT * FROM message_bus._open_dead)
	SELECT 'ecommerce_mark_held_seconds', '{}', 'gauge', coalesce(extract(epoch FROM
		clock_timestamp() - min(a.xact_start)), 0)::float8 FROM event_store.appenders a
	UNION ALL SELECT 'ecommerce_subscription_lag_seconds', jsonb_build_object('subscription', s.name),
		'gauge', greatest(coalesce(extract(epoch FROM clock_timestamp() - b.oldest), 0), 0)::float8
	FROM event_store._seen_subscription s
	LEFT JOIN event_store._behind() b ON b.name = s.name
	WHERE b.looked IS NOT FALSE
	UNION ALL SELECT n.name, jsonb_build_object('projection', p.name), 'gauge', n.value
	FROM event_store._seen_projection p
	CROSS JOIN LATERAL event_store._projection_lag(p.name, 200) l
	CROSS JOIN LATERAL (VALUES ('ecommerce_projection_lag_seconds',
			greatest(coalesce(extract(epoch FROM clock_timestamp() - l.oldest), 0), 0)::float8),
		('ecommerce_projection_failed', (p.state = 'failed')::int::float8)) n (name, value)
	UNION ALL SELECT n.name, jsonb_build_object('endpoint', s.name), 'gauge', n.value
	FROM message_bus._state s
	CROSS JOIN LATERAL (VALUES ('ecommerce_endpoint_depth', s.depth::float8),
		('ecommerce_endpoint_in_flight', s.in_flight::float8),
		('ecommerce_endpoint_paused', s.paused::int::float8),
		('ecommerce_endpoint_oldest_seconds', greatest(coalesce(extract(epoch FROM
			clock_timestamp() - s.oldest_sent_at), 0), 0)::float8)) n (name, value)
	UNION ALL SELECT 'ecommerce_dead_letters', jsonb_build_object('endpoint', e.name), 'gauge',
		coalesce(d.dead, 0)::float8
	FROM message_bus._seen_endpoint e
	LEFT JOIN open_dead d ON d.endpoint_id = e.endpoint_id
	-- Whether those after the fiftieth that has some have any was not looked at.
	WHERE d.dead IS NOT NULL OR (SELECT count(*) < 50 OR e.endpoint_id < max(o.endpoint_id)
		FROM open_dead o)
	UNION ALL SELECT 'ecommerce_breaker_open', jsonb_build_object('endpoint', b.endpoint,
		'message_type', b.message_type), 'gauge', (b.state <> 'closed')::int::float8
	FROM message_bus.circuit_breakers b
	UNION ALL SELECT 'ecommerce_ring_bytes', jsonb_build_object('segment', g.segment::text), 'gauge',
		pg_total_relation_size(format('message_bus.ring_%s', g.segment)::regclass)::float8
	FROM generate_series(0, 7) g (segment)
	UNION ALL SELECT 'ecommerce_saga_stuck', jsonb_build_object('saga', s.saga, 'reason', s.reason),
		'gauge', s.instances::float8
	FROM ecommerce._stuck(_gauge_metrics.problems) s
	UNION ALL SELECT 'ecommerce_saga_instances', jsonb_build_object('saga', o.saga, 'state', o.state,
		'kind', o.kind), 'gauge', sum(o.instances)::float8
	FROM saga.overview() o GROUP BY o.saga, o.state, o.kind;
END
$gauge_metrics$;
COMMENT ON FUNCTION ecommerce._gauge_metrics(jsonb) IS 'The gauges of ecommerce.metrics().';

CREATE FUNCTION ecommerce._all_metrics(problems jsonb)
RETURNS TABLE (name text, labels jsonb, kind text, value float8)
LANGUAGE plpgsql VOLATILE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $all_metrics$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT * FROM ecommerce._server_metrics(_all_metrics.problems);
	IF _all_metrics.problems @> '[{"kind": "tables_locked"}]' THEN
		RETURN;
	END IF;
	RETURN QUERY SELECT * FROM ecommerce._counter_metrics()
	UNION ALL SELECT * FROM ecommerce._gauge_metrics(_all_metrics.problems)
	UNION ALL SELECT * FROM ecommerce._carrying_metrics();
END
$all_metrics$;
COMMENT ON FUNCTION ecommerce._all_metrics(jsonb) IS
'The metrics, without their help; those alone that read no table while somebody keeps everybody from that.';

CREATE FUNCTION ecommerce.metrics(problems jsonb DEFAULT NULL)
RETURNS TABLE (name text, labels jsonb, kind text, value float8, help text)
LANGUAGE plpgsql VOLATILE ROWS 100
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $metrics$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT m.name, m.labels, m.kind, m.value, h.help
	FROM ecommerce._all_metrics(ecommerce._asked(metrics.problems)) m
	LEFT JOIN (VALUES
		('ecommerce_positions_total', 'Positions taken by appends, rolled-back ones too.'),
		('ecommerce_events_appended_total', 'Events appended, as the statistics of tables count.'),
		('ecommerce_streams_created_total', 'Streams created.'),
		('ecommerce_messages_dead_total', 'Messages that became dead letters.'),
		('ecommerce_messages_set_aside_total', 'Messages scheduled, retried, held or returned.'),
		('ecommerce_saga_instances_created_total', 'Instances of sagas created.'),
		('ecommerce_saga_transitions_total', 'Transitions of sagas.'),
		('ecommerce_messages_sent_total', 'Messages sent to an endpoint since the server started.'),
		('ecommerce_messages_acked_total', 'Messages acked at an endpoint since the server started.'),
		('ecommerce_worker_up', 'Whether a background process of this database runs.'),
		('ecommerce_problems', 'Rows of ecommerce.problems.'),
		('ecommerce_mark_held_seconds', 'How long the oldest transaction that has appended is open.'),
		('ecommerce_disk_free_bytes', 'Room on a disk of the server, for the server.'),
		('ecommerce_disk_bytes', 'Size of a disk of the server.'),
		('ecommerce_subscription_lag_seconds', 'Age of the oldest event that a subscription has not passed; left out beyond the 50 that are furthest behind.'),
		('ecommerce_projection_lag_seconds', 'Age of the oldest event that a projection has not handled.'),
		('ecommerce_projection_failed', 'Whether a projection has stopped at an event.'),
		('ecommerce_endpoint_depth', 'Messages in the ring that are not settled.'),
		('ecommerce_endpoint_in_flight', 'Messages that consumers have in hand.'),
		('ecommerce_endpoint_paused', 'Whether an endpoint is paused.'),
		('ecommerce_endpoint_oldest_seconds', 'Age of the oldest message in the ring that is not settled.'),
		('ecommerce_dead_letters', 'Dead letters that nobody has given up, counted to 1000, or less where more than 3 endpoints have some; left out where it was not looked at.'),
		('ecommerce_breaker_open', 'Whether a circuit breaker is not closed.'),
		('ecommerce_ring_bytes', 'Size of a segment of the ring with its indexes.'),
		('ecommerce_saga_stuck', 'Instances that are stuck, 200 at most.'),
		('ecommerce_saga_instances', 'Instances in a state, by a sample where there are many.'),
		('ecommerce_link_lost', 'Whether a link''s source no longer fits what was accepted.'),
		('ecommerce_link_paused', 'Whether a link is paused.'),
		('ecommerce_link_silent_seconds', 'Since when a link''s source was not heard of.'),
		('ecommerce_bridge_paused', 'Whether a bridge is paused.'),
		('ecommerce_bridge_silent_seconds', 'Since when nobody who carries a bridge was heard of.'),
		('ecommerce_projection_lost', 'Whether a projection''s source no longer holds what was read.'),
		('ecommerce_projection_silent_seconds', 'Since when a projection''s source was not heard of.'),
		('ecommerce_sink_lost', 'Whether a sink and this database no longer fit.'),
		('ecommerce_sink_paused', 'Whether a sink is paused.'),
		('ecommerce_sink_silent_seconds', 'Since when nobody who publishes to a sink was heard of.')
		) h (name, help) ON h.name = m.name
	ORDER BY m.name, m.labels;
END
$metrics$;
COMMENT ON FUNCTION ecommerce.metrics(jsonb) IS
'What a monitoring system scrapes, as Prometheus names and means it: name, labels (an object of texts), kind counter or gauge, value, help. Counters only rise, but begin at 0 again with the server, or with pg_stat_reset(). problems: the rows of ecommerce.problems as an array, if they are known already. While somebody has locked our tables away there is only what needs none of them. docs/monitoring has a dashboard and alerts for them.';
