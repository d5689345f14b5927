-- Who may do what: reader, writer, admin, worker, and who has none of these roles.
CREATE EXTENSION ecommerce;
\pset format unaligned
\pset footer off

-- The roles are no more than they need to be.
SELECT rolname, rolcanlogin,
	rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS powerful,
	rolpassword IS NULL AS no_password
FROM pg_authid WHERE rolname ~ '^ecommerce_' ORDER BY rolname;
SELECT r.rolname AS role, array_agg(m.rolname ORDER BY m.rolname) AS member_of
FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.member JOIN pg_roles m ON m.oid = a.roleid
WHERE r.rolname ~ '^ecommerce_' GROUP BY r.rolname ORDER BY r.rolname;

CREATE ROLE regress_security_nobody;
CREATE ROLE regress_security_guest;
CREATE ROLE regress_security_reader IN ROLE ecommerce_reader;
CREATE ROLE regress_security_writer IN ROLE ecommerce_writer;
CREATE ROLE regress_security_admin IN ROLE ecommerce_admin;
-- The guest may look into the schemas, so that only what PUBLIC has could help him.
GRANT USAGE ON SCHEMA ecommerce, event_store TO regress_security_guest;

SELECT a.version FROM event_store.append('order-1', 0, 'A', '{}') a;
SELECT a.version FROM event_store.append('order-1', 1, 'B', '{}') a;
SELECT event_store.create_subscription('all');

-- What a call comes to in a role: ok, denied, or another SQLSTATE. Always undone.
CREATE FUNCTION as_role(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = 'XX999';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'XX999' THEN 'ok' WHEN '42501' THEN 'denied' ELSE SQLSTATE END;
END
$$;
CREATE TABLE call (n int GENERATED ALWAYS AS IDENTITY, statement text, function regprocedure);
INSERT INTO call (statement, function) VALUES
	('SELECT ecommerce.set_context(NULL)', 'ecommerce.set_context(uuid,uuid,text,text,jsonb,text,uuid)'),
	('SELECT ecommerce.context()', 'ecommerce.context()'),
	('SELECT * FROM event_store.read_stream(''order-1'')',
		'event_store.read_stream(text,bigint,bigint,boolean)'),
	('SELECT * FROM event_store.read_all()', 'event_store.read_all(bigint,bigint,text,text[],boolean)'),
	('SELECT * FROM event_store.read_between(''-infinity'', ''infinity'')',
		'event_store.read_between(timestamptz,timestamptz,text,bigint)'),
	('SELECT * FROM event_store.read_correlation(gen_random_uuid())',
		'event_store.read_correlation(uuid)'),
	('SELECT event_store.get_event(gen_random_uuid())', 'event_store.get_event(uuid)'),
	('SELECT event_store.stream_version(''order-1'')', 'event_store.stream_version(text)'),
	('SELECT event_store.high_water_mark()', 'event_store.high_water_mark(text)'),
	('SELECT event_store.channel(''order'')', 'event_store.channel(text)'),
	('SELECT event_store.correlation_of(''{}'')', 'event_store.correlation_of(jsonb)'),
	('CALL event_store.wait(0, ''0'')', 'event_store.wait(bigint,interval,text,text,bigint)'),
	('CALL ecommerce.wait(''{nix}'', NULL, ''0'')', 'ecommerce.wait(text[],text[],interval,text[])'),
	('SELECT event_store._position_holders()', 'event_store._position_holders()'),
	('SELECT event_store.position_counter()', 'event_store.position_counter()'),
	('SELECT event_store.published_mark()', 'event_store.published_mark()'),
	('SELECT * FROM event_store._subscription_lag(''all'')',
		'event_store._subscription_lag(text)'),
	('SELECT * FROM event_store.fetch(''all'')', 'event_store.fetch(text,int)'),
	('SELECT event_store.fetch(''all''), event_store.advance(''all'', 1)',
		'event_store.advance(text,bigint)'),
	('SELECT event_store.append(''order-1'', 2, ''C'', ''{}'')',
		'event_store.append(text,bigint,text,jsonb,jsonb,uuid,integer)'),
	('SELECT event_store.append_batch(''order-1'', 2, ''{"(C,{},,,,)"}'')',
		'event_store.append_batch(text,bigint,event_store.new_event[])'),
	('SELECT event_store.append_json(''order-1'', 2, ''[{"event_type": "C", "data": {}}]'')',
		'event_store.append_json(text,bigint,jsonb)'),
	('SELECT event_store.append(''order-2'', 0, ''A'', ''{}'',
		''{"correlation_id": "00000000-0000-4000-8000-000000000001"}'')', NULL),
	('SELECT event_store.check_version(''order-1'', 2)', 'event_store.check_version(text,bigint)'),
	('SELECT event_store.create_subscription(''new'', partitions => 2)',
		'event_store.create_subscription(text,text,text[],bigint,int,text,int,text)'),
	('SELECT event_store.drop_subscription(''all'')', 'event_store.drop_subscription(text)'),
	('SELECT event_store.reset_subscription(''all'', 0)',
		'event_store.reset_subscription(text,bigint)'),
	('SELECT event_store.delete_stream(''order-1'', 2)', 'event_store.delete_stream(text,bigint)'),
	('SELECT event_store.tombstone_stream(''order-1'', 2)',
		'event_store.tombstone_stream(text,bigint)'),
	('SELECT event_store.set_retention(''order'', 1)',
		'event_store.set_retention(text,bigint,interval,bigint)'),
	('SELECT event_store.scavenge()', 'event_store.scavenge()'),
	('CALL event_store.scavenge(1)', 'event_store.scavenge(bigint,bigint)'),
	('SELECT event_store.verify()', 'event_store.verify(boolean)'),
	('SELECT event_store.verify(true)', NULL),
	('SELECT ecommerce.preloaded()', 'ecommerce.preloaded()'),
	('SELECT ecommerce.start_worker() > 0', 'ecommerce.start_worker()');
-- Every function of the core occurs above.
SELECT p.oid::regprocedure FROM pg_proc p
WHERE proname IN ('append', 'append_batch', 'append_json', 'check_version', 'read_stream',
	'read_all', 'read_between',
	'read_correlation', 'get_event', 'stream_version', 'high_water_mark', 'channel', 'wait',
		'fetch', 'advance',
	'create_subscription', 'drop_subscription', 'reset_subscription', 'delete_stream',
		'tombstone_stream', 'set_retention',
	'scavenge', 'verify', 'set_context', 'context', 'preloaded', 'start_worker')
AND pronamespace IN ('ecommerce'::regnamespace, 'event_store'::regnamespace)
AND p.oid NOT IN (SELECT function FROM call WHERE function IS NOT NULL);
SELECT statement, as_role('regress_security_nobody', statement) AS nobody,
	as_role('regress_security_guest', statement) AS guest,
	as_role('regress_security_reader', statement) AS reader,
		as_role('regress_security_writer', statement) AS writer,
	as_role('regress_security_admin', statement) AS admin,
		as_role('ecommerce_worker', statement) AS worker
FROM call ORDER BY n;

-- Tables, views, sequences: read at most, and the counters only by who repairs or publishes them.
SELECT c.relname AS relation, coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC') AS grantee,
	string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type) AS may
FROM pg_class c LEFT JOIN LATERAL aclexplode(c.relacl) a ON a.grantee <> c.relowner
WHERE c.relnamespace = 'event_store'::regnamespace
	AND c.relname IN ('stored_event', 'stream', 'retention', 'truncated_stream',
	'subscription', 'subscription_partition', 'appenders', 'streams', 'subscriptions',
		'position_seq', 'stream_id_seq', 'published_mark_seq')
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT statement, as_role('regress_security_guest', statement) AS guest,
	as_role('regress_security_reader', statement) AS reader,
	as_role('regress_security_writer', statement) AS writer,
		as_role('regress_security_admin', statement) AS admin
FROM unnest(ARRAY[
	'SELECT * FROM event_store.stored_event', 'SELECT * FROM event_store.stream',
		'SELECT * FROM event_store.subscription_partition',
	'SELECT * FROM event_store.appenders', 'SELECT * FROM event_store.streams',
		'SELECT * FROM event_store.subscriptions',
	'INSERT INTO event_store.stored_event SELECT * FROM event_store.stored_event',
		'UPDATE event_store.stored_event SET data = ''{}''',
	'DELETE FROM event_store.stored_event', 'TRUNCATE event_store.stored_event',
		'SELECT * FROM event_store.stored_event FOR UPDATE',
	'LOCK event_store.stored_event', 'INSERT INTO event_store.stream VALUES (1, 2, ''x'')',
		'UPDATE event_store.stream SET tombstoned = true',
	'UPDATE event_store.subscription_partition SET checkpoint = 0',
		'INSERT INTO event_store.retention VALUES (''order'', 0)',
	'SELECT nextval(''event_store.position_seq'')',
		'SELECT setval(''event_store.published_mark_seq'', 1)',
	'CREATE TRIGGER t BEFORE INSERT ON event_store.stored_event
		FOR EACH ROW EXECUTE FUNCTION event_store._guard_immutable()',
	'CREATE INDEX ON event_store.stored_event (data)',
		'ALTER TABLE event_store.stored_event DISABLE TRIGGER ALL',
	'CREATE TABLE event_store.own ()',
		'CREATE FUNCTION event_store.own() RETURNS int LANGUAGE sql AS ''SELECT 1''',
	'CREATE TABLE public.own OF event_store.new_event', 'DROP EXTENSION ecommerce',
		'DROP TABLE event_store.stored_event',
	'SET LOCAL event_store.allow_rewrite = on', 'SET LOCAL event_store.allow_drop = on',
		'SET LOCAL event_store.max_event_size = ''100MB''',
	'SET LOCAL event_store.notify_interval = 1',
		'SET LOCAL ecommerce.require_registered_types = on', 'SET LOCAL ecommerce.source = ''x''',
	'SET LOCAL session_replication_role = replica']) WITH ORDINALITY s (statement, n) ORDER BY n;

-- A misspelt setting is an error, not a new one.
SET event_store.allow_rewrit = on;

-- Names of the caller's own mean nothing to our functions: else what follows would fail.
GRANT CREATE ON SCHEMA public TO regress_security_admin;
CREATE SCHEMA trap AUTHORIZATION regress_security_admin;
SET SESSION AUTHORIZATION regress_security_admin;
CREATE FUNCTION trap.sprung() RETURNS boolean
	LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap sprung'; END $$;
CREATE FUNCTION trap.equal(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE FUNCTION trap.equal(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE FUNCTION trap.equal(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE FUNCTION trap.equal(timestamptz, timestamptz) RETURNS boolean
	LANGUAGE sql AS 'SELECT trap.sprung()';
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.equal);
CREATE OPERATOR trap.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.equal);
CREATE OPERATOR trap.= (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.equal);
CREATE OPERATOR trap.< (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.equal);
CREATE OPERATOR trap.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.equal);
CREATE OPERATOR trap.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = trap.equal);
CREATE FUNCTION trap.now() RETURNS timestamptz
	LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap sprung'; END $$;
CREATE FUNCTION trap.split_part(text, text, int) RETURNS text
	LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap sprung'; END $$;
CREATE FUNCTION trap.setval(regclass, bigint) RETURNS bigint
	LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap sprung'; END $$;
CREATE FUNCTION trap.format(text, VARIADIC text[]) RETURNS text
	LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap sprung'; END $$;
CREATE FUNCTION trap.generate_series(int, int) RETURNS SETOF int
	LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap sprung'; END $$;
CREATE TEMP TABLE stored_event (position bigint, stream text);
CREATE TEMP TABLE stream (stream_id bigint);
CREATE TEMP TABLE pg_extension (oid oid, extname name, extowner oid, extversion text);
SET search_path = trap, pg_temp, event_store, pg_catalog;
-- The trap works.
SELECT 'a'::text = 'a'::text;
SELECT * FROM pg_catalog.unnest(ARRAY[1]) u WHERE u = 1;
SELECT event_store.create_subscription('trap', 'order', '{C,D}', 0, 2);
SELECT a.version FROM event_store.append('order-1', 2, 'C', '{}',
	'{"correlation_id": "00000000-0000-4000-8000-000000000001"}',
	'00000000-0000-4000-8000-000000000002') a;
SELECT a.version FROM event_store.append_batch('order-2', 0, '{"(C,{},,,,)"}') a;
SELECT a.version FROM event_store.append_json('order-3', 0,
	'[{"event_type": "C", "data": {}, "occurred_at": "2026-01-01T00:00:00Z",
	   "schema_version": 1}]') a;
SELECT event_store.check_version('order-3', 1);
SELECT pg_catalog.count(*) FROM event_store.read_stream('order-1');
SELECT pg_catalog.count(*) FROM event_store.read_all(0, NULL, 'order', '{C}');
SELECT pg_catalog.count(*) FROM event_store.read_between('-infinity', 'infinity', 'order');
SELECT pg_catalog.count(*)
FROM event_store.read_correlation('00000000-0000-4000-8000-000000000001');
SELECT (event_store.get_event('00000000-0000-4000-8000-000000000002')).version;
SELECT event_store.stream_version('order-1');
BEGIN;
SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>) 0 FROM event_store.fetch('trap') f;
SELECT event_store.advance('trap', 3);
COMMIT;
SELECT pg_catalog.count(*) FROM event_store.subscriptions;
SELECT pg_catalog.count(*) FROM event_store.streams;
SELECT pg_catalog.count(*) FROM event_store.appenders;
SELECT event_store.reset_subscription('trap', 0);
SELECT event_store.drop_subscription('trap');
SELECT event_store.set_retention('order-1', 1, '1 day', 2);
SELECT event_store.delete_stream('order-2', 1);
SELECT event_store.tombstone_stream('order-3', 1);
SELECT event_store.scavenge();
SELECT pg_catalog.count(*) FROM event_store.verify();
SELECT pg_catalog.setval('event_store.position_seq', 1);
SELECT severity FROM event_store.verify(true);
RESET search_path;
RESET SESSION AUTHORIZATION;
SELECT stream, version, tombstoned FROM event_store.streams ORDER BY stream;

-- Who monitors sees every view that he may see work, and nothing that is stored.
CREATE ROLE regress_security_monitor IN ROLE ecommerce_monitor;
SELECT c.oid::regclass AS seen, as_role('regress_security_monitor', format('SELECT * FROM %s', c.oid::regclass))
FROM pg_class c WHERE c.relnamespace IN ('ecommerce'::regnamespace, 'event_store'::regnamespace,
	'message_bus'::regnamespace, 'saga'::regnamespace) AND c.relkind IN ('r', 'v')
AND has_table_privilege('regress_security_monitor', c.oid, 'SELECT') ORDER BY c.oid::regclass::text COLLATE "C";
SELECT statement, as_role('regress_security_monitor', statement) FROM call
WHERE as_role('regress_security_monitor', statement) <> 'denied' ORDER BY n;

SET client_min_messages = warning;
DROP SCHEMA trap CASCADE;
DROP ROLE regress_security_monitor;
DROP OWNED BY regress_security_admin, regress_security_guest;
DROP ROLE regress_security_nobody, regress_security_guest, regress_security_reader,
	regress_security_writer, regress_security_admin;
