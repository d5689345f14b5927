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
