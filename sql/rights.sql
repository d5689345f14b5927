-- Whose rights users' code runs with: of every kind, whoever causes it to run.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\pset format unaligned
\pset footer off
CREATE ROLE regress_rights_dev IN ROLE ecommerce_admin;
CREATE ROLE regress_rights_writer IN ROLE ecommerce_writer;
CREATE ROLE regress_rights_thief IN ROLE ecommerce_admin;
CREATE SCHEMA code AUTHORIZATION regress_rights_dev;
CREATE SCHEMA trap AUTHORIZATION regress_rights_thief;
GRANT USAGE ON SCHEMA trap TO PUBLIC;

SET ROLE regress_rights_dev;
-- What a run of each kind saw, and what it got away with.
CREATE TABLE code.seen (kind text, role text, settings text, escaped text);
CREATE TABLE code.late (n int PRIMARY KEY,
	next int REFERENCES code.late DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION code.escape(attempt text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE attempt;
	RETURN true;
EXCEPTION WHEN OTHERS THEN
	RETURN false;
END $$;
CREATE FUNCTION code.witness(kind text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	before text := current_user;
	attempt text;
	escaped text;
BEGIN
	INSERT INTO code.seen VALUES (kind, before, concat_ws('|',
		current_setting('search_path'), current_setting('timezone'), current_setting('datestyle'),
		current_setting('intervalstyle'), current_setting('extra_float_digits'),
		current_setting('bytea_output'), current_setting('standard_conforming_strings'),
		to_jsonb(timestamptz '2024-07-01 00:00+00'), to_jsonb(1::float8 / 3)));
	FOREACH attempt IN ARRAY ARRAY[
		'SET ROLE postgres', 'SET ROLE regress_rights_writer', 'RESET ROLE',
		'SET SESSION AUTHORIZATION postgres', 'RESET SESSION AUTHORIZATION',
		'SELECT set_config(''role'', ''none'', false)',
		'SELECT set_config(''session_authorization'', ''postgres'', true)',
		'CREATE TEMP TABLE left_behind ()', 'CREATE TEMP VIEW left_behind AS SELECT 1',
		'DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1', 'PREPARE left_behind AS SELECT 1',
		'LISTEN left_behind', 'INSERT INTO code.late VALUES (1, 2)', 'DISCARD ALL']
	LOOP
		IF code.escape(attempt) OR current_user <> before THEN
			escaped := concat_ws('; ', escaped, attempt);
		END IF;
	END LOOP;
	IF escaped IS NOT NULL THEN
		INSERT INTO code.seen VALUES (kind, before, NULL, escaped);
	END IF;
	-- What it leaves to whoever comes next.
	PERFORM set_config('search_path', 'trap, pg_catalog', false),
		set_config('timezone', 'Asia/Tokyo', false), set_config('code.mark', kind, false),
		ecommerce.set_context(NULL, NULL, 'thief');
	RETURN true;
END $$;
-- What is constant is worked out when the CHECK is planned.
CREATE FUNCTION code.folded() RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	RETURN code.witness('CHECK, planned');
END $$;
CREATE DOMAIN code.suspicious AS text CHECK (code.folded() AND code.witness('CHECK of a domain'));
CREATE TYPE code.letter AS (words text, lines code.suspicious[]);
CREATE DOMAIN code.carried AS text CHECK (code.witness('CHECK, over a link'));
CREATE TYPE code.parcel AS (content code.carried);
CREATE DOMAIN code.written AS text CHECK (code.witness('CHECK, sent by a saga'));
CREATE TYPE code.reply AS (content code.written, key text);
CREATE FUNCTION code.handler(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('seen', code.witness('event handler')) $$;
CREATE FUNCTION code.upcast(data jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT data || jsonb_build_object('seen', code.witness('upcaster')) $$;
CREATE FUNCTION code.inline_projection(event event_store.event) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN PERFORM code.witness('inline projection'); END $$;
CREATE FUNCTION code.async_projection(event event_store.event) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN PERFORM code.witness('async projection'); END $$;
CREATE FUNCTION code.inline_projections(events event_store.event[]) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN PERFORM code.witness('inline projection of arrays'); END $$;
CREATE FUNCTION code.async_projections(events event_store.event[]) RETURNS void LANGUAGE plpgsql
AS $$ BEGIN PERFORM code.witness('async projection of arrays'); END $$;
CREATE FUNCTION code.upcast_message(data jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT data || jsonb_build_object('seen', code.witness('upcaster of messages')) $$;
CREATE FUNCTION code.upcast_for_saga(data jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN RETURN data || jsonb_build_object('seen', code.witness('upcaster for a saga')); END $$;
CREATE FUNCTION code.emptied() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM code.witness('TRUNCATE of a rebuild'); RETURN NULL; END $$;
CREATE TABLE code.projected ();
CREATE TRIGGER emptied AFTER TRUNCATE ON code.projected EXECUTE FUNCTION code.emptied();
CREATE FUNCTION code.call(document jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('seen', code.witness('call of a saga')) $$;
CREATE FUNCTION code.call_late(document jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('seen', code.witness('call of a saga, by a timer')) $$;
CREATE FUNCTION code.call_pretended(document jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN RETURN jsonb_build_object('seen', code.witness('call of a saga, simulated')); END $$;

SELECT event_store.register_event_type('Letter', 'code.letter');
SELECT event_store.create_aggregate('letter', snapshot_every => 1);
SELECT event_store.create_event_handler('letter', 'Letter', 'code.handler(jsonb, event_store.event)');
SELECT event_store.register_upcaster('Old', 1, 'code.upcast(jsonb)');
SELECT event_store.create_event_handler('letter', 'Old', 'code.handler(jsonb, event_store.event)');
SELECT event_store.create_projection('inline', 'code.inline_projection(event_store.event)', 'letter',
	mode => 'inline');
SELECT event_store.create_projection('async', 'code.async_projection(event_store.event)', 'letter',
	tables => '{code.projected}');
SELECT event_store.create_projection('inline many', 'code.inline_projections(event_store.event[])', 'letter',
	mode => 'inline');
SELECT event_store.create_projection('async many', 'code.async_projections(event_store.event[])', 'letter');
SELECT message_bus.create_endpoint('box');
SELECT message_bus.subscribe('box', 'Letter');
SELECT message_bus.create_endpoint('old'), event_store.register_upcaster('OldMessage', 1, 'code.upcast_message(jsonb)');
SELECT event_store.register_upcaster('Older', 1, 'code.upcast_for_saga(jsonb)');
SELECT event_store.register_event_type('Parcel', 'code.parcel'), event_store.register_event_type('Reply', 'code.reply');
SELECT message_bus.create_endpoint('parcels'), message_bus.create_endpoint('replies');
SELECT message_bus.create_endpoint('away', 1, forward_to => 'here'),
	message_bus.create_link('by hand', 'there', 'away', 'parcels');
SELECT saga.define('letters', '{"endpoint": "letters", "initial": "A", "events": {"Begin": {}, "Older": {}},
	"start": {"Begin": {"call": "code.call(jsonb)", "schedule": {"timer": "t", "delay": "1 h"}, "goto": "A",
			"send": [{"step": "s", "endpoint": "replies", "type": "Reply", "body": {"content": "x"}, "compensation": "none"}]},
		"Older": {"goto": "Z"}},
	"states": {"A": {"default": "ignore", "on": {"timer:t": {"call": "code.call_late(jsonb)", "goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore"}}}');
SELECT saga.define('pretence', '{"endpoint": "pretence", "initial": "Z", "events": {"Pretend": {}},
	"start": {"Pretend": {"call": "code.call_pretended(jsonb)"}},
	"states": {"Z": {"kind": "final", "default": "ignore"}}}');
RESET ROLE;

-- Every way to make each of them run.
CREATE PROCEDURE run_all() LANGUAGE plpgsql AS $$
DECLARE
	data jsonb := '{"words": "few", "lines": ["a", "b"]}';
	stream text := 'letter-' || current_user;
	delivery bigint;
	id uuid;
BEGIN
	PERFORM event_store.append(stream, -1, 'Letter', data);
	PERFORM event_store.append_batch(stream, -1,
		ARRAY[ROW('Letter', data, NULL, NULL, NULL, NULL)::event_store.new_event]);
	PERFORM event_store.append_json(stream, -1,
		jsonb_build_array(jsonb_build_object('event_type', 'Letter', 'data', data)));
	PERFORM event_store.append(stream, -1, 'Old', '{}');
	PERFORM event_store.save(stream, 4,
		ARRAY[ROW('Letter', data, NULL, NULL, NULL, NULL)::event_store.new_event]);
	PERFORM event_store.check_data('Letter', data);
	PERFORM event_store.load(stream);
	PERFORM event_store.read_stream(stream);
	PERFORM FROM event_store.read_all();
	PERFORM event_store.read_between('-infinity', 'infinity');
	PERFORM message_bus.publish('Letter', data);
	PERFORM message_bus.send('box', 'Letter', data);
	PERFORM message_bus.publish('Begin', '{}', gen_random_uuid());
	PERFORM message_bus.publish('Older', '{}', gen_random_uuid(), schema_version => 1);
	PERFORM message_bus.send('old', 'OldMessage', '{}', schema_version => 1);
	PERFORM message_bus.send('away', 'Packet', '{}');
	IF current_user = session_user THEN
		COMMIT;
		PERFORM FROM message_bus.receive('old', 1);
		PERFORM message_bus.accept('by hand', f.lane, 0, f."position",
			ARRAY[jsonb_populate_record(f.message, '{"message_type": "Parcel", "body": {"content": "x"}}')], f.read_from)
		FROM (SELECT l.lane, (message_bus.forwarded('away', l.lane, 0)).* FROM message_bus.forward_lanes('away') l) f;
		PERFORM saga.simulate('pretence', '{"start": {"type": "Pretend"}, "faults": {}, "participants": {}, "invariants": []}', 1);
		COMMIT;
		SELECT d.delivery_id, d.message_id INTO delivery, id
		FROM message_bus.receive('box', 1) d;
		PERFORM message_bus.skip(delivery, 'test');
		COMMIT;
		PERFORM message_bus.redrive(id, data);
		PERFORM event_store.rebuild_projection('async');
		COMMIT;
		PERFORM event_store.run_projections(), saga.run(), saga.run();
		COMMIT;
		PERFORM saga.fire_due(now() + interval '1 day');
	END IF;
END $$;
CREATE VIEW verdict AS
	SELECT kind, bool_and(role = 'regress_rights_dev') AS as_registrar,
		string_agg(DISTINCT escaped, '; ') AS escaped, count(DISTINCT settings) AS settings
	FROM code.seen GROUP BY kind ORDER BY kind;

-- For a superuser, whose session is not like others; in autocommit, since it commits.
SET search_path = trap, public;
SET timezone = 'America/New_York';
SET datestyle = 'German';
SET intervalstyle = 'iso_8601';
SET extra_float_digits = -3;
SET bytea_output = 'escape';
CALL public.run_all();
-- The worker may have been faster.
DO $$ BEGIN
	FOR i IN 1 .. 3000 LOOP
		EXIT WHEN (SELECT count(DISTINCT kind) >= 16 FROM code.seen);
		PERFORM pg_sleep(0.02);
	END LOOP;
END $$;
SELECT * FROM public.verdict;
SELECT DISTINCT settings FROM code.seen WHERE settings IS NOT NULL;
-- Every kind of registration there is has been handed in: what stands for one begins with its kind. And so
-- takes every function that takes users' code.
SELECT substring(proname FROM '^(event handler|event type|projection|saga|upcaster) ') AS kind, count(*) > 0 AS registered,
	bool_and(proowner = 'regress_rights_dev'::regrole) AS to_registrar
FROM pg_proc WHERE pronamespace = 'ecommerce'::regnamespace AND proname ~ ' ' GROUP BY 1 ORDER BY 1;
SELECT p.oid::regproc::text AS takes_code FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass
	AND d.objid = p.oid AND d.deptype = 'e'
WHERE p.proargtypes::oid[] && '{regproc,regprocedure,regtype,regoper,regoperator}'::regtype[]::oid[] ORDER BY 1;
-- Nothing of it is left to the session.
SELECT current_user = session_user AS self, current_setting('search_path') AS path,
	current_setting('timezone') AS zone, current_setting('code.mark', true) AS mark,
	(ecommerce.context()).user_id;
RESET ALL;
SET client_min_messages = warning;
-- For a writer.
TRUNCATE code.seen;
GRANT EXECUTE ON PROCEDURE run_all() TO regress_rights_writer;
BEGIN;
SET LOCAL ROLE regress_rights_writer;
SELECT ecommerce.set_context(NULL, NULL, 'honest');
SAVEPOINT s;
CALL run_all();
SELECT current_user, current_setting('search_path') AS path, current_setting('timezone') = 'Asia/Tokyo'
	AS moved, (ecommerce.context()).user_id;
RESET ROLE;
SELECT * FROM verdict WHERE kind NOT LIKE 'async%' AND kind <> 'call of a saga';
COMMIT;

-- The same state for every caller, stored or worked out.
SET ROLE regress_rights_dev;
CREATE FUNCTION code.moment(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('at', to_jsonb((event).occurred_at), 'day', (event).occurred_at::date,
	'third', 1::float8 / 3, 'took', interval '1 day 2:03') $$;
CREATE FUNCTION code.moment_slowly(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN RETURN code.moment(state, event); END $$;
SELECT event_store.create_aggregate('fast');
SELECT event_store.create_aggregate('slow');
SELECT event_store.create_event_handler('fast', 'A', 'code.moment(jsonb, event_store.event)');
SELECT event_store.create_event_handler('slow', 'A', 'code.moment_slowly(jsonb, event_store.event)');
RESET ROLE;
SELECT a.version FROM (VALUES ('fast-1'), ('slow-1')) s (stream), event_store.append_json(s.stream, 0,
	'[{"event_type": "A", "data": {}, "occurred_at": "2024-01-01T02:30:00Z"}]') a;
SELECT state FROM event_store.load('fast-1');
SET timezone = 'America/New_York';
SET datestyle = 'German';
SET intervalstyle = 'iso_8601';
SET extra_float_digits = -3;
SELECT l.state = f.state AS same FROM event_store.load('fast-1') f,
	(VALUES ('fast-1'), ('slow-1')) s (stream), event_store.load(s.stream) l;
SELECT state FROM event_store.load('slow-1');
RESET ALL;
SET client_min_messages = warning;

-- ------------------------------------------------ who answers for whose code
CREATE FUNCTION attempt(statement text) RETURNS TABLE (state text, message text, detail text, hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	state := 'ok';
	RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
	RETURN NEXT;
END $$;
SET ROLE regress_rights_thief;
CREATE TABLE trap.loot (role text);
GRANT INSERT ON trap.loot TO PUBLIC;
CREATE FUNCTION trap.loot() RETURNS boolean LANGUAGE sql
AS $$ INSERT INTO trap.loot VALUES (current_user); SELECT true $$;
CREATE FUNCTION trap.state(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('loot', trap.loot()) $$;
CREATE FUNCTION trap.data(data jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('loot', trap.loot()) $$;
CREATE FUNCTION trap.project(event event_store.event) RETURNS void LANGUAGE sql
AS $$ INSERT INTO trap.loot VALUES (current_user) $$;
CREATE DOMAIN trap.bait AS text;
CREATE TYPE trap.bag AS (item trap.bait);
RESET ROLE;
-- A superuser who registers another's code lets it run as the other.
SELECT event_store.create_event_handler('fast', 'B', 'trap.state(jsonb, event_store.event)');
SELECT event_store.register_upcaster('B', 1, 'trap.data(jsonb)');
SELECT event_store.create_projection('b', 'trap.project(event_store.event)', 'fast', mode => 'inline');
SELECT event_store.register_event_type('B', 'trap.bag', 2);
SET ROLE regress_rights_thief;
ALTER DOMAIN trap.bait ADD CHECK (trap.loot());
RESET ROLE;
SELECT a.version FROM event_store.append_json('fast-1', 1, '[{"event_type": "B", "data": {"item": "x"}}]') a;
SELECT a.version FROM event_store.append('fast-1', 2, 'C', '{}') a;
SELECT role, count(*) > 0 AS ran FROM trap.loot GROUP BY role;
-- One who has not the other's rights cannot.
GRANT USAGE ON SCHEMA code TO regress_rights_thief;
SET ROLE regress_rights_thief;
SELECT * FROM attempt($$SELECT event_store.create_event_handler('fast', 'C', 'code.handler(jsonb, event_store.event)')$$);
SELECT * FROM attempt($$SELECT event_store.register_event_type('C', 'code.letter')$$);
RESET ROLE;
SET ROLE regress_rights_dev;
CREATE TYPE code.envelope AS (item trap.bait);
SELECT event_store.register_event_type('Envelope', 'code.envelope');
SELECT * FROM attempt($$SELECT event_store.check_data('Envelope', '{"item": "x"}')$$);
RESET ROLE;

-- Who takes the place of a function gains no more than his own rights, nor crashes the reader.
CREATE FUNCTION trap.honest(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT '{"honest": true}'::jsonb $$;
CREATE FUNCTION trap.honest(document jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT '{"honest": true}'::jsonb $$;
SELECT event_store.create_aggregate('bank');
SELECT event_store.create_event_handler('bank', 'A', 'trap.honest(jsonb, event_store.event)');
SELECT saga.define('bank', '{"endpoint": "bank", "initial": "Z", "events": {"Rob": {}},
	"start": {"Rob": {"call": "trap.honest(jsonb)"}},
	"states": {"Z": {"kind": "final", "default": "ignore"}}}');
SELECT message_bus.alter_endpoint('bank', retry => '{"kind": "none"}');
SELECT a.version FROM event_store.append('bank-1', 0, 'A', '{}') a;
SELECT state FROM event_store.load('bank-1');
TRUNCATE trap.loot;
SET ROLE regress_rights_thief;
DROP FUNCTION trap.honest(jsonb, event_store.event), trap.honest(jsonb) CASCADE;
CREATE FUNCTION trap.honest(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('loot', trap.loot()) $$;
CREATE FUNCTION trap.honest(document jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('loot', trap.loot()) $$;
RESET ROLE;
SELECT * FROM attempt($$SELECT event_store.load('bank-1')$$);
SELECT message_bus.publish('Rob', '{}') IS NOT NULL AS sent;
SELECT saga.run() >= 0 AS ran;
DO $$ BEGIN
	FOR i IN 1 .. 3000 LOOP
		EXIT WHEN EXISTS (SELECT FROM message_bus.dead_letters);
		PERFORM pg_sleep(0.02);
	END LOOP;
END $$;
SELECT error_code, error FROM message_bus.dead_letters WHERE endpoint = 'bank';
SELECT count(*) AS looted FROM trap.loot;
DROP FUNCTION trap.honest(jsonb, event_store.event);
CREATE FUNCTION trap.honest(state jsonb, event event_store.event) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT * FROM attempt($$SELECT event_store.load('bank-1')$$);

-- ------------------------------------------------ what becomes of functions and roles
CREATE ROLE regress_rights_alice IN ROLE ecommerce_admin;
CREATE SCHEMA alice AUTHORIZATION regress_rights_alice;
SET ROLE regress_rights_alice;
CREATE FUNCTION alice.who(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('who', current_user) $$;
CREATE FUNCTION alice.raise(data jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT data || jsonb_build_object('raised', current_user) $$;
CREATE FUNCTION alice.project(event event_store.event) RETURNS void LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION alice.call(document jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
CREATE TYPE alice.note AS (words text);
SELECT event_store.create_aggregate('note');
SELECT event_store.create_event_handler('note', 'Noted', 'alice.who(jsonb, event_store.event)');
SELECT event_store.register_upcaster('Noted', 1, 'alice.raise(jsonb)');
SELECT event_store.register_event_type('Noted', 'alice.note', 2);
SELECT event_store.create_projection('notes', 'alice.project(event_store.event)', 'note');
SELECT saga.define('notes', '{"endpoint": "notes", "initial": "Z", "events": {"Note": {}},
	"start": {"Note": {"call": "alice.call(jsonb)"}},
	"states": {"Z": {"kind": "final", "default": "ignore"}}}');
RESET ROLE;
-- Not hers, but she answers for it.
CREATE FUNCTION other(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('other', current_user) $$;
SET ROLE regress_rights_alice;
SELECT event_store.create_event_handler('note', 'Other', 'public.other(jsonb, event_store.event)');
RESET ROLE;
SELECT a.version FROM event_store.append_json('note-1', 0, '[{"event_type": "Noted", "data": {}, "schema_version": 2}]') a;
SELECT a.version FROM event_store.append_json('note-2', 0, '[{"event_type": "Other", "data": {}}]') a;
-- A drop is refused, and says what would be lost.
\set VERBOSITY terse
DROP ROLE regress_rights_alice;
DROP FUNCTION alice.who(jsonb, event_store.event);
DROP FUNCTION alice.raise(jsonb);
DROP FUNCTION alice.project(event_store.event);
DROP FUNCTION alice.call(jsonb);
DROP TYPE alice.note;
\set VERBOSITY default
DROP FUNCTION other(jsonb, event_store.event);
-- Renames change nothing, whoever takes the name.
ALTER ROLE regress_rights_alice RENAME TO regress_rights_alison;
CREATE ROLE regress_rights_alice SUPERUSER;
ALTER FUNCTION alice.who(jsonb, event_store.event) RENAME TO is_it;
ALTER SCHEMA alice RENAME TO alison;
CREATE SCHEMA alice AUTHORIZATION regress_rights_thief;
CREATE FUNCTION alice.who(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT '{"who": "nobody"}'::jsonb $$;
SELECT n.state AS note, o.state AS other FROM event_store.load('note-1') n, event_store.load('note-2') o;
DROP SCHEMA alice CASCADE;
-- Handed over.
REASSIGN OWNED BY regress_rights_alison TO regress_rights_dev;
SELECT n.state AS note, o.state AS other FROM event_store.load('note-1') n, event_store.load('note-2') o;
-- As pg_restore --no-owner leaves it: a superuser has not registered it.
ALTER FUNCTION ecommerce."event handler Noted of note" OWNER TO postgres;
ALTER FUNCTION alison.is_it(jsonb, event_store.event) OWNER TO postgres;
SELECT * FROM attempt($$SELECT event_store.load('note-1')$$);
-- Without what stands for them, as pg_restore --data-only leaves them, names count.
DROP FUNCTION ecommerce."event handler Other of note";
SELECT * FROM attempt($$SELECT event_store.load('note-2')$$);
DROP ROLE regress_rights_alice;
SELECT * FROM attempt($$SELECT event_store.load('note-2')$$);
ALTER ROLE regress_rights_alison RENAME TO regress_rights_alice;
SELECT state AS other FROM event_store.load('note-2');
-- Gone with the rest of what its role had, or cascaded to.
DROP FUNCTION alison.is_it(jsonb, event_store.event) CASCADE;
SELECT * FROM attempt($$SELECT event_store.load('note-1')$$);
DROP TYPE alison.note CASCADE;
SELECT * FROM attempt($$SELECT event_store.check_data('Noted', '{}')$$);
-- What is unregistered stands for nothing any more.
SELECT event_store.drop_projection('notes');
SELECT event_store.unregister_event_type('Noted');
SELECT event_store.drop_aggregate('note');
SELECT proname FROM pg_proc WHERE pronamespace = 'ecommerce'::regnamespace AND proname ~ '[ ]note'
ORDER BY proname;
-- A long name is cut, and still one of its own.
SELECT event_store.create_aggregate('note');
SELECT event_store.create_event_handler('note', repeat('x', 100) || i, 'other(jsonb, event_store.event)')
FROM generate_series(1, 2) i;
SELECT count(*), max(length(proname)) FROM pg_proc
WHERE pronamespace = 'ecommerce'::regnamespace AND proname ~ '^event handler x';
SELECT event_store.drop_aggregate('note');
DROP FUNCTION other(jsonb, event_store.event);
DROP SCHEMA alison CASCADE;

-- ------------------------------------------------ what a savepoint undoes
BEGIN;
SELECT ecommerce.set_context(NULL, NULL, 'outer');
SAVEPOINT a;
SELECT ecommerce.set_context(NULL, NULL, 'inner');
SAVEPOINT b;
SELECT ecommerce.set_context(NULL, NULL, 'innermost');
RELEASE b;
SELECT (ecommerce.context()).user_id;
ROLLBACK TO a;
SELECT (ecommerce.context()).user_id;
DO $$
BEGIN
	PERFORM ecommerce.set_context(NULL, NULL, 'caught');
	RAISE EXCEPTION 'x';
EXCEPTION WHEN OTHERS THEN
	PERFORM event_store.append('stamp-1', -1, 'A', '{}');
END $$;
SAVEPOINT c;
SELECT ecommerce.set_context(NULL, NULL, 'released');
RELEASE c;
SELECT event_store.append('stamp-1', -1, 'A', '{}') IS NOT NULL AS appended;
SELECT message_bus.send('box', 'A', '{}') IS NOT NULL AS sent;
COMMIT;
SELECT (ecommerce.context()).user_id;
SELECT metadata ->> 'user_id' AS user_id FROM event_store.read_stream('stamp-1');
-- A delivery's context, too.
BEGIN;
SAVEPOINT a;
SELECT message_bus.handle(d.delivery_id) IS NOT NULL AS handled FROM message_bus.receive('box', 1) d;
SELECT (ecommerce.context()).causation_id IS NOT NULL AS has_cause;
ROLLBACK TO a;
SELECT (ecommerce.context()).causation_id IS NOT NULL AS has_cause;
ROLLBACK;

-- Two handlers of one load: what the first has set does not decide what the second means.
CREATE FUNCTION public.unpin(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	seen text := concat_ws('|', current_setting('search_path'), current_setting('timezone'),
		current_setting('datestyle'), current_setting('code.left', true), to_jsonb(timestamptz '2024-07-01 00:00+00'));
BEGIN
	PERFORM set_config(name, value, event.version % 2 = 0)
	FROM (VALUES ('code.left', 'something'), ('search_path', 'trap, pg_catalog'),
		('timezone', 'Asia/Tokyo'), ('datestyle', 'German')) AS s(name, value);
	RETURN jsonb_set(state, ARRAY['seen', seen], to_jsonb(coalesce((state -> 'seen' ->> seen)::int, 0) + 1));
END $$;
SELECT event_store.create_aggregate('unpinned', '{"seen": {}}');
SELECT event_store.create_event_handler('unpinned', 'Unpinned', 'public.unpin(jsonb, event_store.event)');
SELECT count(event_store.append('unpinned-1', v, 'Unpinned', '{}')) FROM generate_series(0, 4) v;
SELECT state -> 'seen' FROM event_store.load('unpinned-1');
SELECT current_setting('timezone'), current_setting('code.left', true) AS left_behind;
DROP FUNCTION public.unpin(jsonb, event_store.event) CASCADE;

-- Upcasters of one read: each finds pinned what shall be, and nothing that another role's has set, nor one
-- of its own role's that has moved a pin.
CREATE FUNCTION public.lift(data jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	seen text := concat_ws('|', current_user = 'regress_rights_thief', current_setting('search_path'),
		current_setting('timezone'), current_setting('datestyle'), current_setting('code.left', true));
BEGIN
	PERFORM set_config('code.left', 'by ' || (data ->> 'by'), false);
	PERFORM set_config(name, value, false)
	FROM (VALUES ('search_path', 'trap, pg_catalog'), ('timezone', 'Asia/Tokyo'), ('datestyle', 'German')) AS s(name, value)
	WHERE (data ->> 'n')::int % 2 = 1;
	RETURN jsonb_build_object('seen', seen);
END $$;
CREATE FUNCTION public.lift_too(data jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN public.lift(data);
END $$;
ALTER FUNCTION public.lift_too(jsonb) OWNER TO regress_rights_thief;
SELECT event_store.register_upcaster('Heavy', 1, 'public.lift(jsonb)'),
	event_store.register_upcaster('Heavier', 1, 'public.lift_too(jsonb)');
SELECT count(event_store.append('lifted-1', n, t, jsonb_build_object('n', n, 'by', t)))
FROM unnest('{Heavy,Heavy,Heavy,Heavier,Heavier,Heavy}'::text[]) WITH ORDINALITY AS e(t, m), LATERAL (SELECT m - 1) AS v(n);
SELECT (event_store.read_stream('lifted-1')).data ->> 'seen' AS seen;
SELECT current_user = 'regress_rights_thief' AS thief, current_setting('timezone') AS zone,
	current_setting('code.left', true) AS left_behind;
SELECT r.data ->> 'seen' AS seen FROM event_store.read_stream('lifted-1') r;
SELECT current_setting('timezone') AS zone, current_setting('code.left', true) AS left_behind;
DROP FUNCTION public.lift(jsonb), public.lift_too(jsonb) CASCADE;

SET event_store.allow_drop = on;
DROP EXTENSION ecommerce CASCADE;

-- The extension changes hands: what it does as its owner, it does as the new one from then on.
CREATE ROLE regress_rights_old SUPERUSER;
SET ROLE regress_rights_old;
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint('before');
RESET ROLE;
SELECT message_bus.create_endpoint('as before');
REASSIGN OWNED BY regress_rights_old TO CURRENT_USER;
DROP ROLE regress_rights_old;
SELECT message_bus.create_endpoint('after');
BEGIN;
DROP EXTENSION ecommerce;
ROLLBACK;
SELECT message_bus.create_endpoint('after all');
SELECT name FROM message_bus.endpoint ORDER BY name;

-- A view alone is not enough where it calls functions: they run with the rights of who asks.
CREATE ROLE regress_rights_look;
GRANT USAGE ON SCHEMA message_bus TO regress_rights_look;
GRANT SELECT ON message_bus.endpoints TO regress_rights_look;
SET ROLE regress_rights_look;
SELECT count(*) FROM message_bus.endpoints;
RESET ROLE;
GRANT ecommerce_monitor TO regress_rights_look;
SET ROLE regress_rights_look;
SELECT count(*) FROM message_bus.endpoints;
RESET ROLE;
DROP EXTENSION ecommerce CASCADE;
DROP SCHEMA trap CASCADE;
DROP SCHEMA code CASCADE;
DROP OWNED BY regress_rights_dev, regress_rights_writer, regress_rights_thief, regress_rights_alice,
	regress_rights_look;
DROP ROLE regress_rights_dev, regress_rights_writer, regress_rights_thief, regress_rights_alice,
	regress_rights_look;
