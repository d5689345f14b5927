-- Views for operators.

CREATE VIEW event_store.appenders AS
SELECT h.pid, a.usename, a.xact_start, h.lowest_position, h.category, a.query
FROM event_store.position_holders() h
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) h.pid
ORDER BY h.lowest_position;
COMMENT ON VIEW event_store.appenders IS
'Who holds the high-water mark back: transactions that have appended and not ended. A null category holds back all.';

CREATE VIEW event_store.streams AS
SELECT s.name AS stream, pg_catalog.split_part(s.name, '-', 1) AS category,
	   event_store.stream_version(s.name) AS version,
	   s.deleted_version IS NOT NULL AND s.deleted_version OPERATOR(pg_catalog.=) event_store.stream_version(s.name) AS deleted,
	   coalesce(s.tombstoned, false) AS tombstoned
FROM event_store.stream s;
COMMENT ON VIEW event_store.streams IS 'Every stream with its category and version. deleted: no event can be read; tombstoned: none can be appended either.';

CREATE VIEW event_store.subscriptions AS
SELECT s.name, s.category, s.event_types, p.partition, p.checkpoint, l.head, l.lag_events,
	   coalesce(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) l.oldest, '0'::interval) AS lag,
	   k.pid AS holder_pid, a.xact_start AS active_since, s.stream
FROM event_store.subscription s
JOIN event_store.subscription_partition p ON p.name OPERATOR(pg_catalog.=) s.name
CROSS JOIN LATERAL event_store.subscription_lag(s.name, p.partition, p.checkpoint) l
LEFT JOIN pg_catalog.pg_locks k ON k.locktype OPERATOR(pg_catalog.=) 'transactionid'
	AND k.mode OPERATOR(pg_catalog.=) 'ExclusiveLock' AND k.granted
	AND k.transactionid::pg_catalog.text OPERATOR(pg_catalog.=) p.xmax::pg_catalog.text
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) k.pid;
COMMENT ON VIEW event_store.subscriptions IS
'One row per partition: its checkpoint, the head (high-water mark), how many events and how long it is behind (age of the oldest unread event), and who works on it.';

CREATE FUNCTION event_store.verify(repair boolean DEFAULT false)
RETURNS TABLE (severity text, object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- The counters last: what is appended meanwhile must not look like damage.
	newest bigint := coalesce((SELECT max(e.position) FROM event_store.stored_event e), 0);
	newest_id bigint := coalesce((SELECT max(s.stream_id) FROM event_store.stream s), 0);
	published bigint := event_store.published_mark();
	passed bigint := coalesce((SELECT max(p.checkpoint) FROM event_store.subscription_partition p), 0);
	counter bigint := event_store.position_counter();
BEGIN
	RETURN QUERY
	SELECT 'error'::text, 'stream ' || g.stream,
		   format('version %s follows version %s', g.version, g.before)
	FROM (SELECT e.stream, e.stream_id, e.version,
				 lag(e.version, 1, 0::bigint) OVER (PARTITION BY e.stream_id ORDER BY e.version) AS before
		  FROM event_store.stored_event e) g
	WHERE g.version <> g.before + 1
	  -- Deletion and retention take versions up to the one they noted.
	  AND NOT EXISTS (SELECT FROM event_store.stream s
					  WHERE s.stream_id = g.stream_id AND s.last_version >= g.version - 1);

	RETURN QUERY
	SELECT 'error'::text, 'stream ' || g.stream,
		   format('position %s of version %s is not above the position before it', g.position, g.version)
	FROM (SELECT e.stream, e.version, e.position,
				 lag(e.position, 1, 0::bigint) OVER (PARTITION BY e.stream_id ORDER BY e.version) AS before
		  FROM event_store.stored_event e) g
	WHERE g.position <= g.before;

	RETURN QUERY
	SELECT 'error'::text, 'stream ' || min(e.stream), format('%s events belong to no stream of that name', count(*))
	FROM event_store.stored_event e
	WHERE NOT EXISTS (SELECT FROM event_store.stream s WHERE s.stream_id = e.stream_id AND s.name = e.stream)
	GROUP BY e.stream_id;

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
						  'events were lost with a server that failed, and new ones would be passed over',
						  greatest(published, passed), counter);
		IF repair THEN
			PERFORM setval('event_store.position_seq', greatest(published, passed));
		END IF;
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION event_store.verify(boolean) IS
'Checks the whole store; no row means all is well. severity is error or repaired.
Finds gaps in versions, positions out of order, events without their stream, and counters behind the data or behind what readers have passed (after a restore or a failover); repair => true mends the counters.';

-- ---------------------------------------------------------------- saga engine
CREATE VIEW saga.definitions AS
SELECT d.name, d.version,
	   d.version OPERATOR(pg_catalog.=) (SELECT pg_catalog.max(n.version) FROM saga.definition n
										 WHERE n.name OPERATOR(pg_catalog.=) d.name) AS is_current,
	   d.document AS definition, d.created_at
FROM saga.definition d;
COMMENT ON VIEW saga.definitions IS 'Every version of every definition; new instances take the current one.';

CREATE VIEW saga.timers AS
SELECT i.saga, i.correlation_id, t.key AS timer,
	   '2000-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+)
		 ((t.value OPERATOR(pg_catalog.->>) 0)::bigint OPERATOR(pg_catalog.*) '1 microsecond'::interval) AS due_at,
	   (t.value OPERATOR(pg_catalog.->>) 1)::bigint AS token
FROM saga.stored_instance i
CROSS JOIN LATERAL pg_catalog.jsonb_each(i.engine OPERATOR(pg_catalog.->) 'timers') t
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

CREATE VIEW saga.stuck AS
SELECT i.saga, i.correlation_id, i.current_state, 'compensation' AS reason,
	   '2000-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+)
		 (pg_catalog.min((o.value OPERATOR(pg_catalog.->>) 'since')::bigint)
		  OPERATOR(pg_catalog.*) '1 microsecond'::interval) AS since
FROM saga.stored_instance i
CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(i.engine OPERATOR(pg_catalog.->) 'outstanding') o
WHERE (o.value OPERATOR(pg_catalog.->>) 'given_up')::boolean
GROUP BY i.saga, i.correlation_id, i.current_state
UNION ALL
SELECT i.saga, i.correlation_id, i.current_state, 'overdue',
	   coalesce('2000-01-01 00:00:00+00'::timestamptz OPERATOR(pg_catalog.+)
				((i.engine OPERATOR(pg_catalog.->>) 'alarm_since')::bigint OPERATOR(pg_catalog.*) '1 microsecond'::interval),
				i.updated_at)
FROM saga.stored_instance i
WHERE i.engine OPERATOR(pg_catalog.?|) ARRAY['alarm', 'timer_failures']
UNION ALL
SELECT i.saga, i.correlation_id, i.current_state, 'dead_letter', pg_catalog.min(d.last_failed_at)
FROM message_bus.dead_letters d
JOIN (SELECT DISTINCT e.name, e.endpoint FROM saga.definition e) f ON f.endpoint OPERATOR(pg_catalog.=) d.endpoint
JOIN saga.stored_instance i ON i.saga OPERATOR(pg_catalog.=) f.name
	AND i.correlation_id::text OPERATOR(pg_catalog.=) (d.message).partition_key
WHERE d.reason OPERATOR(pg_catalog.<>) 'discarded'
GROUP BY i.saga, i.correlation_id, i.current_state;
COMMENT ON VIEW saga.stuck IS
'Instances that need an operator: compensation (given up), overdue (an alarm of the definition, or a timer whose transition fails), dead_letter (a message for them is dead).';
