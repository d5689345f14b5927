-- Whether what the message bus keeps fits together.

CREATE FUNCTION message_bus._orphans() RETURNS TABLE (object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $orphans$
	WITH child (kind, endpoint_id, lane, of) AS (
		SELECT 'route', r.endpoint_id, 0, r.message_type FROM message_bus.route r
		UNION ALL SELECT 'message aside', a.endpoint_id, a.lane, a.message_id::text
		FROM message_bus.aside a
		UNION ALL SELECT 'dead letter', d.endpoint_id, 0, d.message_id::text FROM message_bus.dead d
		UNION ALL SELECT 'lease', l.endpoint_id, l.lane, l.message_id::text FROM message_bus.lease l
		UNION ALL SELECT 'death', d.endpoint_id, 0, d.message_id::text FROM message_bus.death d
		UNION ALL SELECT 'breaker', b.endpoint_id, 0, b.message_type FROM message_bus.breaker b
		UNION ALL SELECT 'settled message', p.endpoint_id, p.lane, p.position::text
		FROM message_bus.passed p
		UNION ALL SELECT 'link', k.endpoint_id, 0, k.name FROM message_bus.link k
		UNION ALL SELECT 'bridge', b.endpoint_id, 0, b.name FROM message_bus.bridge b
		UNION ALL SELECT 'cursor', l.endpoint_id, l.lane, 'lane ' || l.lane FROM message_bus.lane l)
	SELECT format('%s %s', c.kind, c.of), CASE WHEN e.endpoint_id IS NULL
		THEN format('there is no endpoint %s', c.endpoint_id)
		ELSE format('endpoint %s has no lane %s', e.name, c.lane) END
	FROM child c LEFT JOIN message_bus.endpoint e ON e.endpoint_id = c.endpoint_id
	WHERE e.endpoint_id IS NULL OR c.lane NOT BETWEEN 0 AND e.lanes - 1
	UNION ALL SELECT format('link %s', k.name), format('there is no endpoint %s for its messages', k.target)
	FROM message_bus.link k
	WHERE k.target IS NOT NULL
		AND NOT EXISTS (SELECT FROM message_bus.endpoint e WHERE e.name = k.target)
	UNION ALL SELECT format('bridge %s', b.name), format('there is no endpoint %s for its messages', n.name)
	FROM message_bus.bridge b
	CROSS JOIN LATERAL (VALUES (b.options ->> 'target'), (b.options ->> 'endpoint')) n (name)
	WHERE n.name IS NOT NULL
		AND NOT EXISTS (SELECT FROM message_bus.endpoint e WHERE e.name = n.name)
	UNION ALL SELECT format('lane %s of a link', p.lane), format('there is no link %s', p.link_id)
	FROM message_bus.link_lane p
	WHERE NOT EXISTS (SELECT FROM message_bus.link k WHERE k.link_id = p.link_id)
$orphans$;
COMMENT ON FUNCTION message_bus._orphans() IS 'Rows of the bus without their endpoint, lane, link or bridge.';

CREATE FUNCTION message_bus._counter_problems() RETURNS TABLE (object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $counter_problems$
	SELECT 'sequence message_bus.' || c.name, format('the counter is at %s, behind %s', c.at, c.used)
	FROM (SELECT 'position_seq', p.last_value,
			greatest((SELECT max(r.position) FROM message_bus._ring r),
				(SELECT max(k.position) FROM message_bus._cursor k))
		FROM message_bus.position_seq p
		UNION ALL SELECT 'epoch_seq', p.last_value, (SELECT max(l.delivery_id) >> 40
			FROM message_bus.lease l) FROM message_bus.epoch_seq p
		UNION ALL SELECT 'endpoint_endpoint_id_seq', p.last_value, (SELECT max(e.endpoint_id)
			FROM message_bus.endpoint e) FROM message_bus.endpoint_endpoint_id_seq p
		UNION ALL SELECT 'link_link_id_seq', p.last_value, (SELECT max(k.link_id)
			FROM message_bus.link k) FROM message_bus.link_link_id_seq p
		-- Ids that were accepted outlive their bridge: another one of its number would know them.
		UNION ALL SELECT 'bridge_bridge_id_seq', p.last_value, greatest((SELECT max(b.bridge_id)
			FROM message_bus.bridge b), (SELECT max(i.bridge_id) FROM message_bus.inbox i))
		FROM message_bus.bridge_bridge_id_seq p
		) AS c (name, at, used)
	WHERE c.used > c.at
$counter_problems$;
COMMENT ON FUNCTION message_bus._counter_problems() IS 'Counters of the bus behind what was counted.';

-- Each is read before what must not be behind it: a cursor is in the tables before it is in
-- shared memory, and the end of a lane in shared memory before the message is in the tables.
CREATE FUNCTION message_bus._lane_problems() RETURNS TABLE (object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $lane_problems$
DECLARE
	shared_before jsonb := (SELECT jsonb_agg(s) FROM message_bus._lane_status() s);
	kept jsonb := (SELECT jsonb_agg(k) FROM (
		SELECT e.endpoint_id, e.name, l.lane, coalesce(c.position, 0) AS cursor,
			(SELECT max(r.position) FROM message_bus._ring r WHERE r.endpoint_id = e.endpoint_id
				AND r.lane = l.lane) AS newest,
			(SELECT min(a.due_at) FROM message_bus.aside a WHERE a.endpoint_id = e.endpoint_id
				AND a.lane = l.lane AND a.due_at < 'infinity') AS due,
			(SELECT count(*) FROM message_bus.lease b WHERE b.endpoint_id = e.endpoint_id
				AND b.lane = l.lane) AS leases
		FROM message_bus.endpoint e CROSS JOIN LATERAL generate_series(0, e.lanes - 1) l (lane)
		LEFT JOIN message_bus._cursor c ON c.endpoint_id = e.endpoint_id AND c.lane = l.lane) k);
BEGIN
	RETURN QUERY
	SELECT format('endpoint %s lane %s', k.name, k.lane), p.problem
	FROM jsonb_to_recordset(kept) AS k (endpoint_id int, name text, lane int, cursor bigint,
		newest bigint, due timestamptz, leases int)
	JOIN jsonb_to_recordset(shared_before) AS b (endpoint_id int, lane int, cursor bigint)
		USING (endpoint_id, lane)
	JOIN message_bus._lane_status() s USING (endpoint_id, lane)
	CROSS JOIN LATERAL (VALUES
		(b.cursor > k.cursor, format('it was consumed up to %s, its tables say %s', b.cursor,
			k.cursor)),
		(s.cursor < k.cursor, format('its tables say it was consumed up to %s, it stands at %s',
			k.cursor, s.cursor)),
		(k.newest > greatest(s.tail, s.cursor), format('it has message %s and knows of none above %s',
			k.newest, greatest(s.tail, s.cursor))),
		(k.due < coalesce(s.next_due, 'infinity'), format('a message is due at %s, it waits until %s',
			k.due, s.next_due)),
		(k.leases <> s.leases, format('leases in its tables: %s, known: %s', k.leases, s.leases)))
		AS p (wrong, problem)
	WHERE p.wrong;
END
$lane_problems$;
COMMENT ON FUNCTION message_bus._lane_problems() IS
'Where shared memory and tables contradict each other. Just after a commit they may for a moment, so only what is found again counts.';

CREATE FUNCTION message_bus.verify() RETURNS TABLE (severity text, object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $verify$
DECLARE
	found jsonb := '[]';
BEGIN
	RETURN QUERY
	SELECT 'error'::text, p.object, p.problem FROM message_bus._orphans() p
	UNION ALL SELECT 'error', p.object, p.problem FROM message_bus._counter_problems() p
	UNION ALL SELECT 'error', 'segment ' || g.segment,
		'it is free and has ' || ecommerce._counted(g.messages, false, 'message', 'messages')
	FROM message_bus.ring g WHERE g.state = 'free' AND g.messages > 0
	UNION ALL SELECT 'warning', p.object, p.problem FROM ecommerce._restore_problems() p;
	-- Hashed: a condition of each row would read all that was found for each.
	found := (SELECT jsonb_agg(p) FROM message_bus._lane_problems() p);
	FOR attempt IN 2 .. 5 LOOP
		EXIT WHEN found IS NULL;
		PERFORM pg_sleep(0.02);
		found := (SELECT jsonb_agg(p) FROM message_bus._lane_problems() p
			WHERE p.object IN (SELECT f.object FROM jsonb_to_recordset(found) f (object text)));
	END LOOP;
	RETURN QUERY
	SELECT 'error'::text, f.object, f.problem FROM jsonb_to_recordset(found) f (object text, problem text);
END
$verify$;
COMMENT ON FUNCTION message_bus.verify() IS
'Checks the whole bus; no row means all is well. severity is error or warning (a restore goes on). '
'Finds rows without their endpoint, lane, link or bridge, counters behind what was counted, segments of the ring taken for free, and lanes of which shared memory and tables tell different things. Not in REPEATABLE READ, where the tables stand still.';

-- ---------------------------------------------------------------- sagas
CREATE FUNCTION saga._orphans() RETURNS TABLE (object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $orphans$
	WITH child (kind, of, name, version) AS (
		SELECT 'saga', format('%s %s', i.saga, i.correlation_id), i.saga, i.definition_version
		FROM saga.stored_instance i
		UNION ALL SELECT 'state', format('%s of %s', s.state, s.name), s.name, s.version
		FROM saga.definition_state s
		UNION ALL SELECT 'transition', format('%s of %s', t.event, t.name), t.name, t.version
		FROM saga.definition_transition t
		UNION ALL SELECT 'timer', format('%s of %s', r.timer, r.name), r.name, r.version
		FROM saga.definition_timer r)
	SELECT format('%s %s', c.kind, c.of), format('there is no version %s of saga %s', c.version, c.name)
	FROM child c LEFT JOIN saga.definition d ON d.name = c.name AND d.version = c.version
	WHERE d.name IS NULL
	UNION ALL SELECT format('action %s', a.kind), format('there is no transition %s', a.transition_id)
	FROM saga.definition_action a
	WHERE NOT EXISTS (SELECT FROM saga.definition_transition t WHERE t.id = a.transition_id)
	UNION ALL SELECT format('message %s', p.message_id), format('it waits for a saga %s, which there is not',
		p.saga)
	FROM saga.parked_message p
	WHERE NOT EXISTS (SELECT FROM saga.definition d WHERE d.name = p.saga)
	UNION ALL SELECT format('patience with state %s', p.state), format('there is no saga %s', p.saga)
	FROM saga.patience p
	WHERE NOT EXISTS (SELECT FROM saga.definition d WHERE d.name = p.saga)
	UNION ALL SELECT format('saga %s %s', i.saga, i.correlation_id),
		format('it waits for %s, and is not in the timer queue', i.wake_at)
	FROM saga.stored_instance i
	WHERE i.wake_at < 'infinity' AND NOT EXISTS (SELECT FROM saga.timer_queue q
		WHERE q.saga = i.saga AND q.correlation_id = i.correlation_id AND q.due_at <= i.wake_at)
$orphans$;
COMMENT ON FUNCTION saga._orphans() IS 'Rows of sagas without what they belong to.';

CREATE FUNCTION saga._counter_problems() RETURNS TABLE (object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $counter_problems$
	SELECT 'sequence saga.' || c.name, format('the counter is at %s, behind %s', c.at, c.used)
	FROM (SELECT 'instance_number_seq', p.last_value,
			greatest((SELECT max(i.number) FROM saga.stored_instance i),
				(SELECT max(d.number) FROM saga.deleted_instance d))
		FROM saga.instance_number_seq p
		UNION ALL SELECT 'definition_transition_id_seq', p.last_value,
			(SELECT max(t.id) FROM saga.definition_transition t)
		FROM saga.definition_transition_id_seq p
		UNION ALL SELECT 'parked_message_id_seq', p.last_value,
			(SELECT max(m.id) FROM saga.parked_message m)
		FROM saga.parked_message_id_seq p
		) AS c (name, at, used)
	WHERE c.used > c.at
$counter_problems$;
COMMENT ON FUNCTION saga._counter_problems() IS 'Counters of sagas behind what was counted.';

CREATE FUNCTION saga.verify() RETURNS TABLE (severity text, object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $verify$
	SELECT 'error', o.object, o.problem FROM saga._orphans() o
	UNION ALL SELECT 'error', o.object, o.problem FROM saga._counter_problems() o
	UNION ALL SELECT v.severity, format('saga %s', d.name), v.problem
	FROM (SELECT DISTINCT name FROM saga.definition) d CROSS JOIN LATERAL saga.verify(d.name) v
$verify$;
COMMENT ON FUNCTION saga.verify() IS
'Checks all sagas; no row means all is well. severity is error or warning. Finds instances, parts of definitions and parked messages without their definition, instances that nothing will wake, counters behind what was counted, and what saga.verify(name) finds in each.';
