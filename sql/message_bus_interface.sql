-- What users of the message bus type: signatures and shapes as promised, who may call what,
-- and every error with its detail and hint.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset footer off

-- ---------------------------------------------------------------- shapes

SELECT c.relname AS relation, string_agg(format('%s %s', a.attname, CASE
	format_type(a.atttypid, NULL) WHEN 'timestamp with time zone' THEN 'timestamptz'
	ELSE format_type(a.atttypid, NULL) END), ', ' ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'message_bus'::regnamespace AND c.relkind IN ('c', 'v')
	AND c.relname !~ '^_'
GROUP BY 1 ORDER BY 1;
SELECT p.proname AS function, replace(pg_get_function_arguments(p.oid),
	'timestamp with time zone', 'timestamptz') AS arguments, pg_get_function_result(p.oid) AS result
FROM pg_proc p
WHERE p.pronamespace = 'message_bus'::regnamespace AND p.proname !~ '^_' ORDER BY 1;

-- ---------------------------------------------------------------- privileges

CREATE ROLE regress_bus_guest;
CREATE ROLE regress_bus_reader IN ROLE ecommerce_reader;
CREATE ROLE regress_bus_writer IN ROLE ecommerce_writer;
CREATE ROLE regress_bus_admin IN ROLE ecommerce_admin;
-- So that only what PUBLIC has could help the guest.
GRANT USAGE ON SCHEMA message_bus TO regress_bus_guest;
SELECT message_bus.create_endpoint('q', 1), message_bus.create_endpoint('dead', 1);
SELECT message_bus.send('q', 'T', '{"n": 1}', uid(1)), message_bus.send('dead', 'T', '{"n": 2}',
	uid(2));
SELECT message_bus.skip(delivery_id) FROM message_bus.receive('dead');
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
	('SELECT message_bus.endpoint_name(''A'')',
		'message_bus.endpoint_name(text,text,text,boolean)'),
	('SELECT * FROM message_bus._endpoint_status()', 'message_bus._endpoint_status()'),
	('SELECT * FROM message_bus._breaker_status()', 'message_bus._breaker_status()'),
	('SELECT * FROM message_bus._standby_status()', 'message_bus._standby_status()'),
	('SELECT message_bus.send(''q'', ''T'', ''{}'')',
		'message_bus.send(text,text,jsonb,uuid,text,timestamptz,timestamptz,jsonb,integer)'),
	('SELECT message_bus.publish(''T'', ''{}'')',
		'message_bus.publish(text,jsonb,uuid,text,timestamptz,timestamptz,jsonb,integer)'),
	('SELECT message_bus.cancel_scheduled(gen_random_uuid())',
		'message_bus.cancel_scheduled(uuid)'),
	('SELECT * FROM message_bus.receive(''q'')', 'message_bus.receive(text,int,interval)'),
	('SELECT message_bus.ack(delivery_id) FROM message_bus.receive(''q'')',
		'message_bus.ack(bigint[])'),
	('SELECT message_bus.fail(delivery_id, ''E'', ''e'') FROM message_bus.receive(''q'')',
		'message_bus.fail(bigint,text,text,boolean)'),
	('SELECT message_bus.skip(delivery_id) FROM message_bus.receive(''q'')',
		'message_bus.skip(bigint,text)'),
	('SELECT message_bus.snooze(delivery_id, ''1 s'') FROM message_bus.receive(''q'')',
		'message_bus.snooze(bigint,interval,text)'),
	('SELECT message_bus.handle(delivery_id) FROM message_bus.receive(''q'')',
		'message_bus.handle(bigint)'),
	('SELECT message_bus.extend_lease(''{}'', ''1 s'')',
		'message_bus.extend_lease(bigint[],interval)'),
	('CALL message_bus.wait(''q'', ''0'')', 'message_bus.wait(text,interval,boolean)'),
	('SELECT message_bus.create_endpoint(''new'')',
		'message_bus.create_endpoint(text,int,jsonb,anycompatible,interval,text,text)'),
	('SELECT message_bus.alter_endpoint(''q'', timeout => ''1 s'')',
		'message_bus.alter_endpoint(text,jsonb,anycompatible,interval,int)'),
	('SELECT message_bus.drop_endpoint(''q'', true)', 'message_bus.drop_endpoint(text,boolean)'),
	('SELECT message_bus.pause(''q'')', 'message_bus.pause(text)'),
	('SELECT message_bus.resume(''q'')', 'message_bus.resume(text)'),
	('SELECT message_bus.subscribe(''q'', ''T'')', 'message_bus.subscribe(text,text)'),
	('SELECT message_bus.unsubscribe(''q'', ''T'')', 'message_bus.unsubscribe(text,text)'),
	('SELECT message_bus.reset_breaker(''q'', ''T'')', 'message_bus.reset_breaker(text,text)'),
	('SELECT message_bus.redrive(''00000000-0000-4000-8000-000000000002'')',
		'message_bus.redrive(uuid,jsonb,text)'),
	('SELECT message_bus.redrive_endpoint(''dead'')',
		'message_bus.redrive_endpoint(text,text,int)'),
	('SELECT message_bus.discard(''00000000-0000-4000-8000-000000000002'')',
		'message_bus.discard(uuid,text)'),
	('SELECT message_bus.maintain()', 'message_bus.maintain()'),
	('SELECT message_bus.peek(''q'')', 'message_bus.peek(text,text,text,int)'),
	('SELECT message_bus.list_dead()', 'message_bus.list_dead(jsonb,text,int)'),
	('SELECT message_bus.count_dead()', 'message_bus.count_dead(jsonb)'),
	('SELECT message_bus.dead_groups()', 'message_bus.dead_groups(text,text,int)'),
	('SELECT message_bus.redrive_matching(''{"reason": "expired"}'')',
		'message_bus.redrive_matching(jsonb,int,text,int)'),
	('SELECT message_bus.discard_matching(''{"reason": "expired"}'')',
		'message_bus.discard_matching(jsonb,text,int)'),
	('SELECT message_bus.cancel(''00000000-0000-4000-8000-000000000099'')',
		'message_bus.cancel(uuid,text,text)'),
	('SELECT message_bus.retry_now(''dead'')', 'message_bus.retry_now(text,uuid,int)'),
	('SELECT message_bus.purge(''dead'', ''{"message_type": "None"}'')',
		'message_bus.purge(text,jsonb,text,int)');
-- Every function occurs above.
SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'message_bus'::regnamespace
	AND proname !~ '^_' AND p.oid NOT IN (SELECT function FROM call);
SELECT statement, as_role('regress_bus_guest', statement) AS guest,
	as_role('regress_bus_reader', statement) AS reader,
	as_role('regress_bus_writer', statement) AS writer,
	as_role('regress_bus_admin', statement) AS admin,
	as_role('ecommerce_worker', statement) AS worker
FROM call ORDER BY n;
-- Tables are read at most; nobody goes around the functions.
SELECT coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC') AS grantee,
	a.privilege_type AS may, count(*) AS relations
FROM pg_class c JOIN LATERAL aclexplode(c.relacl) a ON a.grantee <> c.relowner
WHERE c.relnamespace = 'message_bus'::regnamespace GROUP BY 1, 2 ORDER BY 1, 2;
SELECT statement, as_role('regress_bus_guest', statement) AS guest,
	as_role('regress_bus_reader', statement) AS reader,
	as_role('regress_bus_writer', statement) AS writer,
	as_role('regress_bus_admin', statement) AS admin
FROM unnest(ARRAY[
	'TABLE message_bus.endpoints', 'TABLE message_bus.circuit_breakers',
	'TABLE message_bus.dead_letters', 'TABLE message_bus.ring_0',
	'INSERT INTO message_bus.ring_0 SELECT * FROM message_bus.ring_0',
	'TRUNCATE message_bus.ring_0', 'DELETE FROM message_bus.dead',
	'UPDATE message_bus.endpoint SET paused = true', 'LOCK message_bus.ring_0',
	'SELECT nextval(''message_bus.position_seq'')',
	'CREATE TABLE message_bus.own ()', 'SET message_bus.max_depth = 1',
	'SET message_bus.random_seed = 1']) statement;
-- Somebody with the writer's role alone works with an endpoint from end to end.
SET ROLE regress_bus_writer;
SELECT message_bus.send('q', 'T', '{"n": 3}') IS NOT NULL AS sent;
BEGIN;
SELECT delivery_id AS id FROM message_bus.receive('q', 1) \gset
SELECT message_bus.handle(:id), message_bus.ack(:id);
COMMIT;
SELECT depth, oldest_unacked_age > '0 s' AS age FROM message_bus.endpoints WHERE name = 'q';
RESET ROLE;
-- Looking at endpoints reads no segment of the ring from end to end, however much is in it.
CREATE FUNCTION plan() RETURNS SETOF text LANGUAGE plpgsql AS
$$ BEGIN RETURN QUERY EXPLAIN (COSTS off) TABLE message_bus.endpoints; END $$;
SELECT count(*) > 0 AS planned, count(*) FILTER (WHERE p ~ 'ring_') AS ring FROM plan() p;

-- ---------------------------------------------------------------- errors

-- All that an error says.
CREATE FUNCTION said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', format('ERROR %s: %s', state, message),
		'  DETAIL: ' || nullif(detail, ''), '  HINT: ' || coalesce(nullif(hint, ''), 'none!'));
END
$$;
SELECT message_bus.alter_endpoint('q', max_depth => 0);
SELECT said(statement) FROM unnest(ARRAY[
	-- MB001
	'SELECT message_bus.send(''quue'', ''T'', ''{}'')',
	'SELECT message_bus.send(NULL, ''T'', ''{}'')',
	'SELECT message_bus.pause(NULL)',
	-- MB002
	'SELECT message_bus.send(''q'', ''T'', ''{}'')',
	-- MB003
	'SELECT message_bus.ack(7)',
	'SELECT message_bus.ack(NULL::bigint)',
	'SELECT message_bus.fail(NULL, ''E'', ''e'')',
	'SELECT message_bus.skip(NULL)',
	'SELECT message_bus.extend_lease(ARRAY[NULL]::bigint[], ''1 s'')',
	-- MB004
	'SELECT message_bus.drop_endpoint(''dead'')',
	-- MB005
	'SELECT message_bus.publish('''', ''{}'')',
	'SELECT message_bus.publish(NULL, ''{}'')',
	'SELECT message_bus.send(''q'', ''T'', ''{}'', headers => ''[]'')',
	-- endpoints
	'SELECT message_bus.create_endpoint(''q'')',
	'SELECT message_bus.create_endpoint('''')',
	'SELECT message_bus.create_endpoint(''x'', 0)',
	'SELECT message_bus.create_endpoint(''x'', timeout => ''0 s'')',
	'SELECT message_bus.create_endpoint(''x'', retry => ''{"kind": "immediate"}'')',
	'SELECT message_bus.create_endpoint(''x'', retry => ''{"kind": "none", "color": "red"}'')',
	'SELECT message_bus.create_endpoint(''x'', retry => ''{"kind": 5}'')',
	'SELECT message_bus.create_endpoint(''x'', breaker => ''{"reset_interval": 5}'')',
	'SELECT message_bus.alter_endpoint(''q'', max_depth => -2)',
	'SELECT message_bus.subscribe(''q'', '''')',
	'SELECT message_bus.endpoint_name(''Consumer'')',
	'SELECT message_bus.endpoint_name(''A'', ''queue'')',
	-- receiving
	'SELECT message_bus.receive(''q'', 0)',
	'SELECT message_bus.receive(NULL)',
	'SELECT message_bus.extend_lease(''{}'', ''-1 s'')',
	'CALL message_bus.wait(''q'', ''1 s'')']) statement;
\pset tuples_only on
-- Outside of functions.
BEGIN;
SELECT message_bus.receive('q', 1, '1 min');
ROLLBACK;
CALL message_bus.wait(NULL, '1 s');
BEGIN;
SELECT message_bus.publish('T', '{}') IS NOT NULL, message_bus.send('dead', 'T',
	'{}') IS NOT NULL;
PREPARE TRANSACTION 'bus';

DROP OWNED BY regress_bus_guest;
DROP ROLE regress_bus_guest, regress_bus_reader, regress_bus_writer, regress_bus_admin;
