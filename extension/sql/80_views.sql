-- Views for operators.

CREATE VIEW event_store.appenders AS
SELECT h.pid, a.usename, s.xact_start, h.lowest_position, h.category, a.query
FROM event_store._position_holders() h
-- Since when, for those too to whom pg_stat_activity does not tell it.
LEFT JOIN ecommerce._sessions() s ON s.pid OPERATOR(pg_catalog.=) h.pid
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) h.pid
ORDER BY h.lowest_position;
COMMENT ON VIEW event_store.appenders IS
'Who holds the high-water mark back: transactions that have appended and not ended. A null category holds back all.';

CREATE VIEW event_store.streams AS
SELECT s.name AS stream, pg_catalog.split_part(s.name, '-', 1) AS category,
	   v.version,
	   s.deleted_version IS NOT NULL
	   	AND s.deleted_version OPERATOR(pg_catalog.=) v.version AS deleted,
	   coalesce(s.tombstoned, false) AS tombstoned
FROM event_store.stream s
CROSS JOIN LATERAL event_store.stream_version(s.name) AS v (version)
-- An append that failed, or a check, may have left the row of a stream without events.
WHERE v.version OPERATOR(pg_catalog.>) 0 OR s.tombstoned;
COMMENT ON VIEW event_store.streams IS 'Every stream that has had an event or is tombstoned, with its category and version. deleted: no event can be read; tombstoned: none can be appended either.';

CREATE VIEW event_store.subscriptions AS
SELECT s.name, s.category, s.event_types, l.partition, l.checkpoint, l.head, l.lag_events,
	   greatest(coalesce(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) l.oldest,
			'0'::interval), '0'::interval) AS lag,
	   k.pid AS holder_pid, a.xact_start AS active_since, s.stream,
	   greatest(l.head OPERATOR(pg_catalog.-) l.checkpoint, 0) AS lag_positions,
	   l.capped AS lag_capped, s.partition_by
FROM event_store.subscription s
CROSS JOIN LATERAL event_store._subscription_lag(s.name) l
JOIN event_store.subscription_partition p ON p.name OPERATOR(pg_catalog.=) s.name
	AND p.partition OPERATOR(pg_catalog.=) l.partition
LEFT JOIN pg_catalog.pg_locks k ON k.locktype OPERATOR(pg_catalog.=) 'transactionid'
	AND k.mode OPERATOR(pg_catalog.=) 'ExclusiveLock' AND k.granted
	AND k.transactionid::pg_catalog.text OPERATOR(pg_catalog.=) p.xmax::pg_catalog.text
LEFT JOIN ecommerce._sessions() a ON a.pid OPERATOR(pg_catalog.=) k.pid;
COMMENT ON VIEW event_store.subscriptions IS
'One row per partition: its checkpoint, the head (high-water mark), how many events and how long it is behind (age of the oldest unread event), and who works on it. '
'It looks at 10 000 unread events of a subscription at most: with lag_capped there may be more, lag_events is what it has found (print "10 000+"), and lag_positions tells how far it is.';

-- Nothing else refuses rows without their parents: see the head of 40_saga.sql.
CREATE FUNCTION event_store._orphans() RETURNS TABLE (object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $orphans$
	SELECT 'event handler ' || h.category || ' ' || h.event_type, 'there is no such aggregate'
	FROM event_store.event_handler h
	WHERE NOT EXISTS (SELECT FROM event_store.aggregate a WHERE a.category = h.category)
	UNION ALL SELECT 'progress of projection ' || g.name, 'there is no such projection'
	FROM event_store.projection_progress g
	WHERE NOT EXISTS (SELECT FROM event_store.projection p WHERE p.name = g.name)
	UNION ALL SELECT 'projection ' || p.name, 'it has no row in event_store.projection_progress'
	FROM event_store.projection p
	WHERE NOT EXISTS (SELECT FROM event_store.projection_progress g WHERE g.name = p.name)
	UNION ALL SELECT 'subscription ' || s.name,
		format('it has %s of %s partitions', count(p.partition), s.partitions)
	FROM event_store.subscription s
	LEFT JOIN event_store.subscription_partition p ON p.name = s.name
		AND p.partition BETWEEN 0 AND s.partitions - 1
	GROUP BY s.name, s.partitions HAVING count(p.partition) <> s.partitions
	UNION ALL SELECT 'partition ' || p.partition || ' of subscription ' || p.name,
		'there is no such subscription, or it has fewer'
	FROM event_store.subscription_partition p
	WHERE NOT EXISTS (SELECT FROM event_store.subscription s WHERE s.name = p.name
		AND p.partition BETWEEN 0 AND s.partitions - 1)
	UNION ALL SELECT format('parked event %s of subscription %s', k.position, k.subscription),
		'there is no such subscription'
	FROM event_store.parked_event k
	WHERE NOT EXISTS (SELECT FROM event_store.subscription s WHERE s.name = k.subscription)
	UNION ALL SELECT format('event %s that projection %s still has to get', d.position, d.name),
		'there is no such projection'
	FROM event_store.projection_deferred d
	WHERE NOT EXISTS (SELECT FROM event_store.projection p WHERE p.name = d.name)
	UNION ALL SELECT 'source of projection ' || r.name, 'there is no such projection'
	FROM event_store.projection_remote r
	WHERE NOT EXISTS (SELECT FROM event_store.projection p WHERE p.name = r.name)
	UNION ALL SELECT 'rebuild of projection ' || r.name, 'there is no such projection'
	FROM event_store.projection_rebuild r
	WHERE NOT EXISTS (SELECT FROM event_store.projection p WHERE p.name = r.name)
	UNION ALL SELECT 'table ' || b.name || ' of the rebuild of projection ' || r.name, 'there is no such table'
	FROM event_store.projection_rebuild r CROSS JOIN unnest(r.beside) b (name)
	WHERE to_regclass(b.name) IS NULL
	UNION ALL SELECT format('deletion of stream %s at position %s', d.stream, d.position),
		'there is no such stream'
	FROM event_store.deletion d
	WHERE NOT EXISTS (SELECT FROM event_store.stream s WHERE s.stream_id = d.stream_id
		AND s.name = d.stream)
$orphans$;
COMMENT ON FUNCTION event_store._orphans() IS 'Rows of the event store without what they belong to.';

-- Events of versions that are not current: is there a way to the current one, and does
-- what comes out fit?
CREATE FUNCTION event_store._verify_upcasting()
RETURNS TABLE (severity text, object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $verify_upcasting$
DECLARE
	old record;
	event event_store.event;
BEGIN
	FOR old IN
		WITH current AS (
			SELECT t.event_type, coalesce(max(t.schema_version) FILTER (WHERE t.may_be_current),
				min(t.schema_version)) AS version
			FROM event_store.event_type t GROUP BY 1)
		SELECT e.event_type, e.schema_version, c.version AS current,
			-- the first that none leads on from is this one, or one that an upcaster leads to
			(SELECT min(n) FROM (SELECT e.schema_version UNION ALL
					SELECT u.from_version + 1 FROM event_store.upcaster u
					WHERE u.event_type = e.event_type AND u.from_version < c.version - 1) m (n)
			 WHERE n >= e.schema_version AND NOT EXISTS (SELECT FROM event_store.upcaster u
				WHERE u.event_type = e.event_type AND u.from_version = n)) AS missing
		FROM (SELECT DISTINCT s.event_type, s.schema_version FROM event_store.stored_event s) e
		JOIN current c ON c.event_type = e.event_type AND c.version > e.schema_version
		ORDER BY 1, 2
	LOOP
		IF old.missing IS NOT NULL THEN
			severity := 'warning';
			object := format('type %s', old.event_type);
			problem := format('events of version %s are not read as version %s: there is no '
							  'upcaster from version %s',
							  old.schema_version, old.current, old.missing);
			RETURN NEXT;
			CONTINUE;
		END IF;
		BEGIN
			FOR event IN SELECT g.* FROM event_store.stored_event s
				CROSS JOIN LATERAL event_store.get_event(s.event_id) g
				WHERE s.event_type = old.event_type AND s.schema_version = old.schema_version
					AND g.event_id IS NOT NULL
			LOOP
				PERFORM event_store.check_data(event.event_type, event.data, event.schema_version);
			END LOOP;
		EXCEPTION WHEN OTHERS THEN
			severity := 'error';
			object := format('type %s', old.event_type);
			problem := format('an event of version %s cannot be read as version %s: %s',
				old.schema_version, old.current, SQLERRM);
			RETURN NEXT;
		END;
	END LOOP;
END
$verify_upcasting$;
COMMENT ON FUNCTION event_store._verify_upcasting() IS
'What verify() finds in upcasters: missing ones, and the first event of a version that one fails at or brings into a shape that breaks its contract.';

CREATE FUNCTION event_store.verify(repair boolean DEFAULT false)
RETURNS TABLE (severity text, object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- The counters last: what is appended meanwhile must not look like damage.
	newest bigint := greatest((SELECT max(e.position) FROM event_store.stored_event e),
		(SELECT max(d.position) FROM event_store.deletion d), 0);
	newest_id bigint := coalesce((SELECT max(s.stream_id) FROM event_store.stream s), 0);
	published bigint := event_store.published_mark();
	passed bigint := coalesce((SELECT max(p.checkpoint)
		FROM event_store.subscription_partition p), 0);
	counter bigint := event_store.position_counter();
BEGIN
	RETURN QUERY
	SELECT 'error'::text, 'stream ' || g.stream,
		   format('version %s follows version %s', g.version, g.before)
	FROM (SELECT e.stream, e.stream_id, e.version,
				 lag(e.version, 1, 0::bigint) OVER (PARTITION BY e.stream_id ORDER BY e.version)
				 	AS before
		  FROM event_store.stored_event e) g
	WHERE g.version <> g.before + 1
	  -- Deletion and retention take versions up to the one they noted.
	  AND NOT EXISTS (SELECT FROM event_store.stream s
					  WHERE s.stream_id = g.stream_id AND s.last_version >= g.version - 1);

	RETURN QUERY
	SELECT 'error'::text, 'stream ' || g.stream,
		   format('position %s of version %s is not above the position before it', g.position,
		   	g.version)
	FROM (SELECT e.stream, e.version, e.position,
				 lag(e.position, 1, 0::bigint) OVER (PARTITION BY e.stream_id ORDER BY e.version)
				 	AS before
		  FROM event_store.stored_event e) g
	WHERE g.position <= g.before;

	RETURN QUERY
	SELECT 'error'::text, 'stream ' || min(e.stream),
		ecommerce._counted(count(*), false, 'event belongs to no stream of that name',
			'events belong to no stream of that name')
	FROM event_store.stored_event e
	WHERE NOT EXISTS (SELECT FROM event_store.stream s WHERE s.stream_id = e.stream_id
		AND s.name = e.stream)
	GROUP BY e.stream_id;

	RETURN QUERY
	SELECT 'error'::text, o.object, o.problem FROM event_store._orphans() o
	UNION ALL SELECT 'warning', format('type %s', u.event_type),
		format('there is an upcaster from version %s, but no version is registered', u.from_version)
	FROM event_store.upcaster u
	WHERE NOT EXISTS (SELECT FROM event_store.event_type t WHERE t.event_type = u.event_type)
	UNION ALL SELECT 'error', q.object, q.problem FROM ecommerce._position_problems() q
	UNION ALL SELECT 'warning', r.object, r.problem FROM ecommerce._restore_problems() r;

	RETURN QUERY SELECT u.severity, u.object, u.problem FROM event_store._verify_upcasting() u;

	IF newest_id > (SELECT q.last_value FROM event_store.stream_id_seq q) THEN
		severity := CASE WHEN repair THEN 'repaired' ELSE 'error' END;
		object := 'sequence event_store.stream_id_seq';
		problem := format('the counter is behind stream %s', newest_id);
		IF repair THEN
			PERFORM setval('event_store.stream_id_seq', newest_id);
		END IF;
		RETURN NEXT;
	END IF;

	IF counter < newest THEN
		severity := CASE WHEN repair THEN 'repaired' ELSE 'error' END;
		object := 'sequence event_store.position_seq';
		problem := format('the counter is at %s, behind position %s', counter, newest);
		IF repair THEN
			PERFORM setval('event_store.position_seq', greatest(newest, published, passed));
		END IF;
		RETURN NEXT;
	ELSIF greatest(published, passed) > counter THEN
		severity := CASE WHEN repair THEN 'repaired' ELSE 'error' END;
		object := 'sequence event_store.position_seq';
		problem := format('readers have been up to position %s, the counter is at %s: '
						  'events were lost with a server that failed, '
						  'and new ones would be passed over',
						  greatest(published, passed), counter);
		IF repair THEN
			PERFORM setval('event_store.position_seq', greatest(published, passed));
		END IF;
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION event_store.verify(boolean) IS
'Checks the whole store; no row means all is well. severity is error, repaired or warning (a restore goes on; an upcaster is missing). '
'Finds gaps in versions, positions out of order, events without their stream, rows without what they belong to, upcasters that are missing, fail or bring events into a shape that breaks their contract, and counters behind the data or behind what readers have passed (after a restore or a failover); repair => true mends the counters of the store. Tables with ecommerce.next_position() are looked at where the caller may read them.';

-- ---------------------------------------------------------------- message bus
CREATE VIEW message_bus._ring AS
SELECT 0 AS segment, endpoint_id, lane, position, sent_at, ctid AS tid FROM message_bus.ring_0
UNION ALL SELECT 1, endpoint_id, lane, position, sent_at, ctid FROM message_bus.ring_1
UNION ALL SELECT 2, endpoint_id, lane, position, sent_at, ctid FROM message_bus.ring_2
UNION ALL SELECT 3, endpoint_id, lane, position, sent_at, ctid FROM message_bus.ring_3
UNION ALL SELECT 4, endpoint_id, lane, position, sent_at, ctid FROM message_bus.ring_4
UNION ALL SELECT 5, endpoint_id, lane, position, sent_at, ctid FROM message_bus.ring_5
UNION ALL SELECT 6, endpoint_id, lane, position, sent_at, ctid FROM message_bus.ring_6
UNION ALL SELECT 7, endpoint_id, lane, position, sent_at, ctid FROM message_bus.ring_7;
COMMENT ON VIEW message_bus._ring IS 'Where every message of the ring lies; one that was evacuated lies in two segments for a while.';

CREATE VIEW message_bus._cursor AS
SELECT c.endpoint_id, c.lane, pg_catalog.max(c.position) AS position
FROM (SELECT endpoint_id, lane, position FROM message_bus.lane
	  UNION ALL SELECT endpoint_id, lane, position FROM message_bus.ack_0
	  UNION ALL SELECT endpoint_id, lane, position FROM message_bus.ack_1) c
GROUP BY 1, 2;
COMMENT ON VIEW message_bus._cursor IS 'How far each lane is, as the tables tell.';

-- What is in the ring beyond its lane's cursor, by the tables alone; for standbys.
CREATE VIEW message_bus._unsettled AS
SELECT r.endpoint_id, pg_catalog.count(*) AS depth, pg_catalog.min(r.sent_at) AS oldest_sent_at
FROM (SELECT DISTINCT endpoint_id, lane, position, sent_at FROM message_bus._ring) r
LEFT JOIN message_bus._cursor l ON l.endpoint_id = r.endpoint_id AND l.lane = r.lane
WHERE r.lane >= 0 AND r.position > coalesce(l.position, 0)
	AND NOT EXISTS (SELECT FROM message_bus.passed p
					WHERE p.endpoint_id = r.endpoint_id AND p.lane = r.lane
						AND p.position = r.position)
	-- Of a leased batch what has no lease any more is settled.
	AND (NOT EXISTS (SELECT FROM message_bus.lease b WHERE b.endpoint_id = r.endpoint_id
						AND b.lane = r.lane AND r.position <= b.upto)
		 OR EXISTS (SELECT FROM message_bus.lease b WHERE b.endpoint_id = r.endpoint_id
						AND b.lane = r.lane AND r.position = b.position))
GROUP BY 1;
COMMENT ON VIEW message_bus._unsettled IS 'Messages in the ring that are not settled, per endpoint, as the tables tell.';

-- A function, so that a primary neither reads the ring nor plans to.
CREATE FUNCTION message_bus._standby_status(OUT endpoint_id int, OUT depth bigint,
	OUT oldest_sent_at timestamptz)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_is_in_recovery() THEN
		RETURN QUERY SELECT u.endpoint_id, u.depth, u.oldest_sent_at
			FROM message_bus._unsettled u;
	END IF;
END
$$;
COMMENT ON FUNCTION message_bus._standby_status() IS
	'What the tables tell of endpoints, on a standby; no rows on a primary.';

-- In functions, so that the planner neither thinks of compiling the view nor of other ways.
CREATE VIEW message_bus._waits_aside AS
SELECT a.endpoint_id, a.state, a.due_at, a.sent_at FROM message_bus.aside a;
COMMENT ON VIEW message_bus._waits_aside IS 'What counts messages that were set aside.';

CREATE VIEW message_bus._is_dead AS
SELECT d.endpoint_id FROM message_bus.dead d;
COMMENT ON VIEW message_bus._is_dead IS 'What counts dead letters.';

CREATE FUNCTION message_bus._count_aside(endpoint_id int, OUT waiting bigint,
	OUT scheduled bigint, OUT retrying bigint, OUT held bigint, OUT oldest_sent_at timestamptz,
	OUT aside bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $count_aside$
#variable_conflict use_column
DECLARE
	now CONSTANT timestamptz := clock_timestamp();
BEGIN
	SELECT count(*) FILTER (WHERE a.due_at <= now OR a.state IN ('held', 'blocked')),
		count(*) FILTER (WHERE a.state = 'scheduled' AND a.due_at > now),
		count(*) FILTER (WHERE a.state = 'retrying' AND a.due_at > now),
		count(*) FILTER (WHERE a.state = 'held'),
		min(a.sent_at) FILTER (WHERE a.due_at <= now OR a.state IN ('held', 'blocked')), count(*)
	INTO waiting, scheduled, retrying, held, oldest_sent_at, aside
	FROM (SELECT a.state, a.due_at, a.sent_at FROM message_bus._waits_aside a
		WHERE a.endpoint_id = _count_aside.endpoint_id LIMIT 10001) a;
END
$count_aside$;
COMMENT ON FUNCTION message_bus._count_aside(int) IS
'Messages of an endpoint that were set aside, by what they wait for, counted to 10 001.';

CREATE FUNCTION message_bus._count_all_dead(endpoint_id int) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $count_all_dead$
BEGIN
	RETURN (SELECT count(*) FROM (SELECT FROM message_bus._is_dead d
		WHERE d.endpoint_id = _count_all_dead.endpoint_id LIMIT 10001) d);
END
$count_all_dead$;
COMMENT ON FUNCTION message_bus._count_all_dead(int) IS 'Dead letters of an endpoint, counted to 10 001.';

CREATE VIEW message_bus.endpoints AS
SELECT e.name, e.lanes, e.paused,
	coalesce(s.depth, u.depth, 0) + a.waiting AS depth,
	-- What a link or a bridge has brought was sent by another server's clock.
	greatest(pg_catalog.clock_timestamp() - o.sent_at,
		CASE WHEN o.sent_at IS NOT NULL THEN '0'::interval END) AS oldest_unacked_age,
	coalesce(s.in_flight, l.leased) AS in_flight,
	a.scheduled, a.retrying, a.held, d.dead,
	coalesce(s.sent_per_s, 0) AS sent_per_s, coalesce(s.acked_per_s, 0) AS acked_per_s,
	a.aside > 10000 OR d.dead > 10000 AS counts_capped
FROM message_bus.endpoint e
LEFT JOIN message_bus._endpoint_status() s ON s.endpoint_id = e.endpoint_id
LEFT JOIN message_bus._standby_status() u ON u.endpoint_id = e.endpoint_id
CROSS JOIN LATERAL message_bus._count_aside(e.endpoint_id) a
CROSS JOIN LATERAL (SELECT least(s.oldest_sent_at, u.oldest_sent_at, a.oldest_sent_at)) o (sent_at)
CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS leased FROM message_bus.lease l
	WHERE l.endpoint_id = e.endpoint_id) l
CROSS JOIN LATERAL message_bus._count_all_dead(e.endpoint_id) d (dead);
COMMENT ON VIEW message_bus.endpoints IS
'Every endpoint: depth is deliverable plus in flight, including what an open breaker holds; oldest_unacked_age the age of the oldest of them; '
'scheduled and retrying wait for their time, held for a circuit breaker; dead counts dead letters; '
'rates are over the last ten seconds. '
'It looks at 10 000 messages set aside and 10 000 dead letters of an endpoint at most: with counts_capped there are more (print "10 000+").';

CREATE VIEW message_bus.forwards AS
SELECT e.name AS endpoint, f.forward_to, e.lanes, e.paused, e.depth AS unconfirmed,
	e.oldest_unacked_age AS oldest_unconfirmed_age, e.sent_per_s, e.acked_per_s AS confirmed_per_s,
	f.max_depth
FROM message_bus.endpoint f
JOIN message_bus.endpoints e ON e.name = f.name
WHERE f.forward_to IS NOT NULL;
COMMENT ON VIEW message_bus.forwards IS
'Endpoints whose messages go to other databases or brokers: unconfirmed are those not told to have arrived, oldest_unconfirmed_age the age of the oldest. Known here, whether or not the program that carries them runs.';

CREATE VIEW message_bus.circuit_breakers AS
SELECT e.name AS endpoint, b.message_type, b.state, b.attempts, b.failures, b.window_start,
	b.opened_at, b.retry_at, b.probe_successes
FROM message_bus.endpoint e
JOIN (SELECT s.endpoint_id, s.message_type, s.state, s.attempts, s.failures, s.window_start,
	s.opened_at, s.retry_at, s.probe_successes
	  FROM message_bus._breaker_status() s
	  UNION ALL
	  SELECT t.endpoint_id, t.message_type, t.state, t.attempts, t.failures, t.window_start,
	  	t.opened_at, t.retry_at, t.probe_successes
	  FROM message_bus.breaker t WHERE pg_catalog.pg_is_in_recovery()) b
	  	ON b.endpoint_id = e.endpoint_id;
COMMENT ON VIEW message_bus.circuit_breakers IS
'Circuit breakers by endpoint and message type. state: closed, open or half_open; attempts and failures of the window that began at window_start; retry_at: when an open one lets a probe through. An endpoint has 1000; message types beyond that share the one that is called *.';

CREATE VIEW message_bus.dead_letters AS
SELECT d.message_id, e.name AS endpoint, d.message_type,
	ROW(d.message_id, d.message_type, d.schema_version, d.body, coalesce(d.headers, '{}'),
		d.correlation_id, d.conversation_id, d.causation_id,
		d.user_id, d.tenant_id, d.traceparent, d.source, d.sent_at, d.deliver_at, d.expires_at,
		coalesce(d.partition_key, d.correlation_id::text), d.attempts)::message_bus.message
			AS message,
	d.reason, d.error_code, d.error, d.attempts, d.first_failed_at, d.last_failed_at
FROM message_bus.dead d
JOIN message_bus.endpoint e ON e.endpoint_id = d.endpoint_id;
COMMENT ON VIEW message_bus.dead_letters IS
'Messages that will not be delivered again unless redriven. reason: fault (gave up), skipped, expired or discarded; attempts: executions so far.';

-- How many messages a segment has: counted in its first pages, and as many in all others.
CREATE FUNCTION message_bus._segment_size(segment int, OUT messages bigint, OUT estimated boolean,
	OUT oldest_sent_at timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $segment_size$
DECLARE
	pages CONSTANT bigint := pg_relation_size(format('message_bus.ring_%s', segment)::regclass)
		/ current_setting('block_size')::bigint;
BEGIN
	EXECUTE format('SELECT count(*), min(r.sent_at) FROM message_bus._ring r '
		'WHERE r.segment = %s AND r.tid < %L', segment, '(64,0)') INTO messages, oldest_sent_at;
	estimated := pages > 64;
	IF estimated THEN
		messages := messages * pages / 64;
	END IF;
END
$segment_size$;
COMMENT ON FUNCTION message_bus._segment_size(int) IS
'How many messages are in a segment of the ring, an estimate where it has more than 64 pages, and when the first was sent.';

CREATE VIEW message_bus.ring AS
SELECT g.segment, s.state, s.since, z.messages,
	pg_catalog.pg_total_relation_size(pg_catalog.format('message_bus.ring_%s', g.segment)::regclass) AS bytes,
	z.oldest_sent_at, s.unread, z.estimated AS messages_estimated
FROM pg_catalog.generate_series(0, 7) g (segment)
LEFT JOIN message_bus._ring_status() s ON s.segment = g.segment
CROSS JOIN LATERAL message_bus._segment_size(g.segment) z;
COMMENT ON VIEW message_bus.ring IS
'The segments of the ring. state: free; current (written); closing (not any more, but by transactions that began before); store (what endpoints that are behind have left in others is copied there); sealed; drained (every message is settled, its id stays known for dedupe_window); evacuated (what was left has been copied to the store; truncated when no snapshot is left that does not see that). messages, settled ones too (with messages_estimated what its first 64 pages suggest), bytes with indexes, when the oldest was sent; unread: which part of it is not settled, by a sample that is some seconds old, null for segments that need none. state is null on a standby.';

-- ---------------------------------------------------------------- saga engine
CREATE VIEW saga.definitions AS
SELECT d.name, d.version,
	   d.version OPERATOR(pg_catalog.=) (SELECT pg_catalog.max(n.version) FROM saga.definition n
										 WHERE n.name OPERATOR(pg_catalog.=) d.name) AS is_current,
	   d.document AS definition, d.created_at
FROM saga.definition d;
COMMENT ON VIEW saga.definitions IS 'Every version of every definition; new instances take the current one.';

CREATE FUNCTION saga._time(microseconds jsonb) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN jsonb_typeof(microseconds) <> 'number' THEN 'infinity'
		WHEN microseconds::numeric NOT BETWEEN -200000000000000000 AND 9200000000000000000 THEN 'infinity'
		ELSE '2000-01-01 00:00:00+00'::timestamptz + microseconds::numeric::bigint * '1 microsecond'::interval END
$$;
COMMENT ON FUNCTION saga._time(jsonb) IS
'A time as the engine notes it, in microseconds since 2000; what is none, whoever has written it, is infinity, so that no row breaks a view.';

CREATE VIEW saga.timers AS
SELECT i.saga, i.correlation_id, t.key AS timer, saga._time(coalesce(t.value OPERATOR(pg_catalog.->) 0, 'null')) AS due_at,
	   CASE WHEN pg_catalog.jsonb_typeof(t.value OPERATOR(pg_catalog.->) 1) OPERATOR(pg_catalog.=) 'number'
				AND (t.value OPERATOR(pg_catalog.->) 1)::numeric BETWEEN 0 AND 9000000000000000000
			THEN (t.value OPERATOR(pg_catalog.->) 1)::numeric::bigint END AS token
FROM saga.stored_instance i
CROSS JOIN LATERAL pg_catalog.jsonb_each(
	CASE WHEN pg_catalog.jsonb_typeof(i.engine OPERATOR(pg_catalog.->) 'timers') OPERATOR(pg_catalog.=) 'object'
		 THEN i.engine OPERATOR(pg_catalog.->) 'timers' ELSE '{}' END) t
WHERE t.key OPERATOR(pg_catalog.<>) 'retain';
COMMENT ON VIEW saga.timers IS 'Every timer that is set. Setting one again gives it a new token; "compensate" is the engine''s, for what is outstanding.';

CREATE VIEW saga.parked AS
SELECT p.saga, p.correlation_id, p.message_id, p.message_type, p.parked_at, p.park_until
FROM saga.parked_message p;
COMMENT ON VIEW saga.parked IS
'Messages that wait for their instance to be created, or (park_until infinity) for it to change its state.';

CREATE VIEW saga.instances AS
SELECT i.saga, i.correlation_id, i.definition_version, i.current_state, i.data, i.version, i.created_at, i.updated_at,
	   pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) i.state_since AS age_in_state,
	   n.timer AS next_timer, n.due_at AS next_timer_at
FROM saga.stored_instance i
LEFT JOIN LATERAL (
	SELECT t.timer, t.due_at FROM saga.timers t
	WHERE t.saga OPERATOR(pg_catalog.=) i.saga AND t.correlation_id OPERATOR(pg_catalog.=) i.correlation_id
	ORDER BY t.due_at LIMIT 1) n ON true;
COMMENT ON VIEW saga.instances IS 'Every instance, how long it has been in its state, and its next timer.';

-- Which instance a dead letter of a saga's endpoint was for, as the event's path says.
CREATE VIEW saga._dead_letters AS
SELECT f.name AS saga, d.message_id, d.endpoint, d.last_failed_at, d.error, d.reason,
	   coalesce(pg_catalog.jsonb_path_query_first(
			pg_catalog.jsonb_build_object('message', (d.message).body),
			(f.document OPERATOR(pg_catalog.#>>) ARRAY['events', d.message_type, 'correlate'])::pg_catalog.jsonpath,
			'{}', true) OPERATOR(pg_catalog.#>>) '{}', (d.message).correlation_id::text) AS instance
FROM message_bus.dead_letters d
JOIN saga.definition f ON f.endpoint OPERATOR(pg_catalog.=) d.endpoint
	AND f.version OPERATOR(pg_catalog.=) (SELECT pg_catalog.max(n.version) FROM saga.definition n
										  WHERE n.name OPERATOR(pg_catalog.=) f.name
											AND n.endpoint OPERATOR(pg_catalog.=) f.endpoint);
COMMENT ON VIEW saga._dead_letters IS 'Dead letters of the sagas'' endpoints and the correlation id of the instance each was for.';
