-- Whether anybody carries between this database and others: links, bridges, remote projections.

CREATE VIEW message_bus._seen_link AS
SELECT l.name, l.source, l.paused, p.error_code, p.error, p.lost_at, l.created_at,
	greatest(l.heard_at, p.accepted_at, l.created_at) AS heard_at
FROM message_bus.link l
LEFT JOIN message_bus.links p ON p.name = l.name;
COMMENT ON VIEW message_bus._seen_link IS
'Links, and when their sources were last heard of; a new one was when it was created.';

CREATE VIEW message_bus._seen_bridge AS
SELECT b.name, b.options ->> 'broker' AS broker, b.paused, d.direction,
	greatest(CASE WHEN d.direction = 'in' THEN greatest(b.heard_in_at, b.accepted_at)
		ELSE b.heard_out_at END, b.created_at) AS heard_at
FROM message_bus.bridge b
CROSS JOIN (VALUES ('in', 'queue'), ('out', 'endpoint')) d (direction, option)
WHERE b.options ? d.option;
COMMENT ON VIEW message_bus._seen_bridge IS
'Directions of bridges, and when bridged was last heard of; a new one was when it was created.';

CREATE VIEW message_bus._seen_forward AS
SELECT e.endpoint_id, e.forward_to, b.name AS bridge
FROM message_bus.endpoint e
LEFT JOIN message_bus.bridge b ON b.options ->> 'endpoint' = e.name
WHERE e.forward_to IS NOT NULL;
COMMENT ON VIEW message_bus._seen_forward IS
'Endpoints whose messages leave, and over which bridge; without one, over a link of the database forward_to.';

CREATE FUNCTION ecommerce._carrying_problems()
RETURNS SETOF ecommerce._problem
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $carrying_problems$
BEGIN
	RETURN QUERY
	SELECT 'link_lost', 'link ' || l.name, 'error', l.lost_at,
		format('Nothing is accepted on its lost lanes: %s: %s', l.error_code, l.error),
		format('SELECT * FROM message_bus.link_lanes WHERE link = %1$L; when it is known what is missing: SELECT message_bus.reset_link(%1$L, lane, position)', l.name),
		jsonb_build_object('link', l.name, 'error_code', l.error_code)
	FROM message_bus._seen_link l WHERE l.error_code IS NOT NULL
	UNION ALL
	SELECT 'link_paused', 'link ' || l.name, 'warning', NULL,
		format('What service %s has for it waits there.', l.source),
		format('SELECT message_bus.resume_link(%L)', l.name), jsonb_build_object('link', l.name)
	FROM message_bus._seen_link l WHERE l.paused
	UNION ALL
	SELECT 'link_unfed', 'link ' || l.name, 'warning', l.heard_at,
		format('Nobody brings it messages of service %s; what waits there is in message_bus.forwards there.', l.source),
		'Start linkd for this database, or look into its log', jsonb_build_object('link', l.name)
	FROM message_bus._seen_link l
	WHERE NOT l.paused AND l.error_code IS NULL
		AND l.heard_at < clock_timestamp() - interval '5 min'
	UNION ALL
	SELECT DISTINCT 'bridge_paused', 'bridge ' || b.name, 'warning', NULL::timestamptz,
		format('Nothing goes to broker %s, and nothing comes from there.', b.broker),
		format('SELECT message_bus.resume_bridge(%L)', b.name), jsonb_build_object('bridge', b.name)
	FROM message_bus._seen_bridge b WHERE b.paused
	UNION ALL
	SELECT 'bridge_unfed', format('bridge %s, %s', b.name, b.direction), 'warning', b.heard_at,
		format(CASE b.direction WHEN 'in' THEN 'Nobody brings what its queue at broker %s has.'
			ELSE 'Nobody takes what is for broker %s.' END, b.broker),
		'Start bridged for this database, or look into its log',
		jsonb_build_object('bridge', b.name, 'direction', b.direction)
	FROM message_bus._seen_bridge b
	WHERE NOT b.paused AND b.heard_at < clock_timestamp() - interval '5 min';
END
$carrying_problems$;
COMMENT ON FUNCTION ecommerce._carrying_problems() IS
'What is wrong with links and bridges, for ecommerce.problems; what waits to leave is among the endpoints.';

CREATE FUNCTION ecommerce._carrying_metrics()
RETURNS TABLE (name text, labels jsonb, kind text, value float8)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $carrying_metrics$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT n.name, jsonb_build_object('link', l.name), 'gauge', n.value::float8
	FROM message_bus._seen_link l
	CROSS JOIN LATERAL (VALUES ('ecommerce_link_lost', (l.error_code IS NOT NULL)::int),
		('ecommerce_link_paused', l.paused::int),
		('ecommerce_link_silent_seconds', extract(epoch FROM clock_timestamp() - l.heard_at)))
		n (name, value)
	UNION ALL
	SELECT n.name, jsonb_build_object('bridge', b.name, 'direction', b.direction), 'gauge',
		n.value::float8
	FROM message_bus._seen_bridge b
	CROSS JOIN LATERAL (VALUES ('ecommerce_bridge_paused', b.paused::int),
		('ecommerce_bridge_silent_seconds', extract(epoch FROM clock_timestamp() - b.heard_at)))
		n (name, value)
	UNION ALL
	SELECT n.name, jsonb_build_object('projection', p.name), 'gauge', n.value::float8
	FROM event_store._seen_projection p
	CROSS JOIN LATERAL (VALUES ('ecommerce_projection_lost', (p.state = 'lost')::int),
		('ecommerce_projection_silent_seconds',
			extract(epoch FROM clock_timestamp() - coalesce(p.heard_at, p.updated_at))))
		n (name, value)
	WHERE p.source IS NOT NULL
	UNION ALL
	SELECT n.name, jsonb_build_object('sink', s.name), 'gauge', n.value::float8
	FROM event_store._seen_sink s
	CROSS JOIN LATERAL (VALUES ('ecommerce_sink_lost', s.lost::int),
		('ecommerce_sink_paused', s.paused::int),
		('ecommerce_sink_silent_seconds',
			extract(epoch FROM clock_timestamp() - s.heard_at)))
		n (name, value);
END
$carrying_metrics$;
COMMENT ON FUNCTION ecommerce._carrying_metrics() IS
'The gauges of ecommerce.metrics() about links, bridges, remote projections and sinks.';
