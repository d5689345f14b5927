-- What is wrong with the server below: what a night operator is called for although nothing of
-- ours has failed yet.

-- A look that reads a table which somebody has locked away would wait with everybody else, and say
-- nothing. What has such a lock for a moment, as a TRUNCATE of ours does, is waited for.
CREATE FUNCTION ecommerce._locked_away()
RETURNS TABLE (pid int, prepared text, since timestamptz, waits boolean, tables text)
LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $locked_away$
#variable_conflict use_column
DECLARE
	here CONSTANT oid := (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
	holder record;
BEGIN
	-- Nearly always nobody has one, and every look asks.
	IF NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'relation'
			AND l.mode = 'AccessExclusiveLock' AND l.database = here
			AND l.pid IS DISTINCT FROM pg_backend_pid()) THEN
		RETURN;
	END IF;
	FOR holder IN
		WITH locks AS MATERIALIZED (SELECT * FROM pg_locks)
		SELECT l.virtualtransaction AS id, l.pid, min(p.gid) AS prepared,
			min(coalesce(s.xact_start, p.prepared)) AS since, NOT bool_or(l.granted) AS waits,
			string_agg(DISTINCT n.nspname || '.' || c.relname, ', ') AS tables
		FROM locks l
		JOIN pg_class c ON c.oid = l.relation AND c.relkind = 'r'
		JOIN pg_namespace n ON n.oid = c.relnamespace
			AND n.nspname IN ('ecommerce', 'event_store', 'message_bus', 'saga')
		LEFT JOIN ecommerce._sessions() s ON s.pid = l.pid AND s.kind <> 'autovacuum worker'
		LEFT JOIN (locks x JOIN pg_prepared_xacts p ON p.transaction = x.transactionid)
			ON l.pid IS NULL AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
		WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.database = here
			AND l.pid IS DISTINCT FROM pg_backend_pid() AND (s.pid IS NOT NULL OR p.gid IS NOT NULL)
		GROUP BY l.virtualtransaction, l.pid
	LOOP
		WHILE holder.since > clock_timestamp() - interval '1 s' AND EXISTS (SELECT FROM pg_locks l
			WHERE l.virtualtransaction = holder.id AND l.locktype = 'relation'
				AND l.mode = 'AccessExclusiveLock')
		LOOP
			PERFORM pg_sleep(0.02);
		END LOOP;
		IF holder.since <= clock_timestamp() - interval '1 s' THEN
			pid := holder.pid;
			prepared := holder.prepared;
			since := holder.since;
			waits := holder.waits;
			tables := holder.tables;
			RETURN NEXT;
		END IF;
	END LOOP;
END
$locked_away$;
COMMENT ON FUNCTION ecommerce._locked_away() IS
'Sessions and prepared transactions that have, or wait for, an exclusive lock on tables of the extension, so that whoever reads them waits.';

CREATE FUNCTION ecommerce._session_problems()
RETURNS SETOF ecommerce._problem
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $session_problems$
#variable_conflict use_column
DECLARE
	patience CONSTANT interval := coalesce(current_setting('ecommerce.long_transaction', true), '-1');
	here CONSTANT oid := (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
	at CONSTANT timestamptz := clock_timestamp();
	slots CONSTANT int := current_setting('max_connections')::int
		- current_setting('superuser_reserved_connections')::int;
BEGIN
	RETURN QUERY
	WITH s AS MATERIALIZED (SELECT * FROM ecommerce._sessions())
	SELECT 'transaction_long', ecommerce._session_name(s.pid), 'warning', s.xact_start,
		format('Nothing that was deleted or updated since can be vacuumed: tables and queues grow. It is %s for %s.',
			s.state, date_trunc('second', at - s.state_since)),
		format('SELECT * FROM pg_stat_activity WHERE pid = %1$s; then SELECT pg_terminate_backend(%1$s)', s.pid),
		jsonb_build_object('pid', s.pid, 'state', s.state)
	FROM s WHERE patience >= '0'::interval AND s.database = here AND s.holds_snapshot
		AND s.xact_start < at - patience AND s.kind <> 'autovacuum worker'
		AND s.pid <> pg_backend_pid()
	UNION ALL
	SELECT 'transaction_prepared', 'prepared transaction ' || p.gid, 'warning', p.prepared,
		'It keeps its locks, and nothing deleted since can be vacuumed, until somebody ends it.',
		format('ROLLBACK PREPARED %1$L, or COMMIT PREPARED %1$L', p.gid), '{}'::jsonb
	FROM pg_prepared_xacts p
	WHERE patience >= '0'::interval AND p.database = current_database() AND p.prepared < at - patience
	UNION ALL
	SELECT 'lock_held', ecommerce._session_name(b.pid), 'error', b.since,
		format('Sessions that wait for its locks: %s. It is %s for %s.', b.n, h.state,
			date_trunc('second', at - h.state_since)),
		format('SELECT * FROM pg_stat_activity WHERE pid = %1$s; then SELECT pg_terminate_backend(%1$s)', b.pid),
		jsonb_build_object('pid', b.pid, 'count', b.n)
	FROM (SELECT p.pid, count(*) AS n, min(w.state_since) AS since
		FROM (SELECT s.pid, s.state_since FROM s WHERE s.wait_type = 'Lock'
			AND s.wait_event <> 'advisory' AND s.database = here ORDER BY s.state_since LIMIT 50) w
		CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) p (pid) GROUP BY p.pid) b
	JOIN s h ON h.pid = b.pid AND h.wait_type IS DISTINCT FROM 'Lock'
	WHERE b.since < at - interval '10 s'
	UNION ALL
	SELECT 'mark_held', ecommerce._session_name(a.pid), 'error', a.xact_start,
		format('No reader gets beyond position %s%s.', a.lowest_position,
			coalesce(' of category ' || a.category, '')),
		format('SELECT pg_terminate_backend(%s)', a.pid), jsonb_build_object('pid', a.pid)
	FROM event_store.appenders a WHERE a.xact_start < clock_timestamp() - interval '10 s'
	UNION ALL
	SELECT 'commits_wait', 'synchronous standby', 'error', min(s.state_since),
		format('Sessions whose commit waits for a standby to confirm it: %s.', count(*)),
		'Bring the standby back; or, if losing commits with this server is better: ALTER SYSTEM SET synchronous_standby_names = ''''; SELECT pg_reload_conf()',
		jsonb_build_object('count', count(*))
	FROM s WHERE s.wait_event = 'SyncRep' AND s.state_since < at - interval '10 s'
	HAVING count(*) > 0
	UNION ALL
	SELECT 'connections_low', 'connections', CASE WHEN count(*) >= slots THEN 'error' ELSE 'warning' END, NULL,
		format('%s of %s are taken (%s idle); when all are, nobody gets in, daemons neither.',
			count(*), slots, count(*) FILTER (WHERE s.state = 'idle')),
		'SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC; then raise max_connections, or put a pooler between',
		jsonb_build_object('count', count(*))
	FROM s WHERE s.kind = 'client backend' HAVING count(*) >= slots * 0.9;
END
$session_problems$;
COMMENT ON FUNCTION ecommerce._session_problems() IS
'Sessions and transactions that are in the way of others, for ecommerce.problems.';

CREATE FUNCTION ecommerce._server_problems()
RETURNS SETOF ecommerce._problem
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $server_problems$
#variable_conflict use_column
DECLARE
	low CONSTANT float8 := coalesce(current_setting('ecommerce.disk_low', true), '0')::float8 / 100;
	wal CONSTANT pg_lsn := CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
		ELSE pg_current_wal_lsn() END;
BEGIN
	RETURN QUERY
	SELECT 'worker_missing', 'background worker', 'error', NULL::timestamptz,
		'Timers, notifications, sagas and projections of this database stand still.',
		'Look into the server''s log; SELECT ecommerce.start_worker()', '{}'::jsonb
	WHERE ecommerce.preloaded() AND NOT pg_is_in_recovery()
		AND NOT EXISTS (SELECT FROM ecommerce._workers() w WHERE w.kind = 'worker')
	UNION ALL
	SELECT 'disk_low', 'disk of ' || d.holds, CASE WHEN d.free < d.total * low / 2.5 THEN 'error'
			ELSE 'warning' END, NULL::timestamptz,
		format('%s of %s are free. When it is full, appends and sends fail with 53100%s.',
			pg_size_pretty(d.free), pg_size_pretty(d.total),
			CASE WHEN d.holds ~ '\mpg_wal\M' THEN ', and the server stops' ELSE '' END),
		'Make the disk larger, or delete what is not the server''s. What keeps WAL: SELECT * FROM pg_replication_slots; what is unread: SELECT * FROM message_bus.ring',
		jsonb_build_object('bytes', d.free)
	FROM ecommerce._disks() d WHERE d.free < d.total * low
	UNION ALL
	SELECT 'slot_behind', 'replication slot ' || r.slot_name,
		CASE WHEN r.wal_status = 'extended' THEN 'warning' ELSE 'error' END, NULL,
		CASE WHEN r.wal_status = 'lost' THEN 'WAL that it needs was removed: who reads it must begin anew.'
			ELSE format('%s of WAL are kept for it, more than max_wal_size%s; %s.',
				pg_size_pretty(pg_wal_lsn_diff(wal, r.restart_lsn)),
				CASE r.wal_status WHEN 'unreserved' THEN ', and are about to be removed' ELSE '' END,
				CASE WHEN r.active THEN 'its reader does not keep up' ELSE 'nobody reads it' END) END,
		format('%s; when nobody needs it any more: SELECT pg_drop_replication_slot(%L)',
			CASE WHEN r.wal_status = 'lost' THEN 'Make its standby or subscription anew'
				WHEN r.active THEN 'Look why its reader is slow: SELECT * FROM pg_stat_replication'
				ELSE 'Start its reader' END, r.slot_name),
		jsonb_build_object('slot', r.slot_name, 'bytes', pg_wal_lsn_diff(wal, r.restart_lsn))
	FROM pg_replication_slots r WHERE r.wal_status IN ('extended', 'unreserved', 'lost')
	UNION ALL
	SELECT 'archive_failing', 'WAL archive', 'error', a.last_failed_time,
		format('WAL from %s on is kept until it is archived, and fills the disk; backups end before it.',
			a.last_failed_wal),
		'The server''s log says what archive_command says; SELECT * FROM pg_stat_archiver',
		jsonb_build_object('count', a.failed_count)
	FROM pg_stat_archiver a
	WHERE a.last_failed_time > coalesce(a.last_archived_time, '-infinity')
		AND current_setting('archive_mode') <> 'off'
	UNION ALL
	SELECT 'vacuum_behind', 'database ' || d.datname, 'error', NULL,
		format('Its oldest transaction is %s back; at 2.1 billion the server refuses to write.', age(d.datfrozenxid)),
		'End old transactions, prepared ones and slots; then VACUUM (FREEZE) as a superuser',
		jsonb_build_object('count', age(d.datfrozenxid))
	FROM pg_database d WHERE d.datname = current_database() AND age(d.datfrozenxid) > 1000000000;
END
$server_problems$;
COMMENT ON FUNCTION ecommerce._server_problems() IS
'The background worker, disks, replication slots, archive and vacuum, for ecommerce.problems.';
