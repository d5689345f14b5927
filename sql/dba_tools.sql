-- What a DBA may do to the extension's tables: indexes, triggers, rules, columns, publications,
-- row level security. Nothing crashes, nothing is lost, and what does not work says so.
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
-- One message through all the bus's tables: sent, failed twice (aside), skipped (dead), redriven,
-- acked outside the ring, scheduled and cancelled; the next one is dead by fault.
SELECT message_bus.create_endpoint('tool', 1, '{"kind": "interval", "limit": 3, "interval": "0 s"}',
	'{"kind": "none"}');
CREATE FUNCTION round_trip() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id uuid := gen_random_uuid();
	result text := '';
BEGIN
	PERFORM event_store.append('round-' || id, 0, 'Began', '{}', event_id => id);
	PERFORM event_store.append('round-' || id, 1, 'Went', jsonb_build_object('long', repeat('x', 9000)));
	result := result || (SELECT count(*) FROM event_store.read_stream('round-' || id));
	PERFORM event_store.delete_stream('round-' || id, 2);
	PERFORM message_bus.send('tool', 'Round', '{"n": 1}', id, expires_at => now() + interval '1 day');
	RETURN result;
END$$;
CREATE PROCEDURE whole_trip(INOUT result text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
BEGIN
	result := round_trip();
	COMMIT;
	FOR n IN 1..2 LOOP
		SELECT * INTO d FROM message_bus.receive('tool', 1);
		PERFORM message_bus.fail(d.delivery_id, 'E', 'again');
		COMMIT;
		result := result || ' ' || coalesce((SELECT string_agg(state || attempt, ',') FROM message_bus.aside), '-');
	END LOOP;
	SELECT * INTO d FROM message_bus.receive('tool', 1);
	PERFORM message_bus.skip(d.delivery_id, 'not today');
	COMMIT;
	result := result || ' ' || (SELECT string_agg(reason, ',') FROM message_bus.dead);
	PERFORM message_bus.discard(d.message_id);
	PERFORM message_bus.redrive(d.message_id);
	COMMIT;
	SELECT * INTO d FROM message_bus.receive('tool', 1);
	PERFORM message_bus.fail(d.delivery_id, 'E', 'and again');
	COMMIT;
	SELECT * INTO d FROM message_bus.receive('tool', 1);
	PERFORM message_bus.ack(d.delivery_id);
	COMMIT;
	SELECT * INTO d FROM message_bus.receive('tool', 1);
	result := result || ' ' || coalesce(d.message_type, 'acked');
	PERFORM message_bus.send('tool', 'Later', '{}', d.message_id, deliver_at => now() + interval '1 day');
	COMMIT;
	result := result || ' ' || (SELECT message_bus.cancel_scheduled(message_id) FROM message_bus.aside);
END$$;
CREATE FUNCTION appended(stream text, version bigint, type text) RETURNS text LANGUAGE sql AS
	$$SELECT outcome(format('SELECT version FROM event_store.append(%L, %s, %L, ''{}'')', stream, version, type))$$;
CALL whole_trip();

-- ---------------------------------------------------------------- indexes
CREATE FUNCTION half(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT left($1, length($1) / 2)';
CREATE INDEX more_dead ON message_bus.dead (public.half(message_type)) WHERE attempts > 0;
CREATE INDEX more_aside ON message_bus.aside (lower(error)) INCLUDE (state);
CREATE INDEX more_hash ON message_bus.aside USING hash (message_id);
CREATE INDEX more_gin ON event_store.stored_event USING gin (data);
DO $$BEGIN
	FOR n IN 0..7 LOOP
		EXECUTE format('CREATE INDEX ON message_bus.ring_%s (upper(message_type), body)', n);
	END LOOP;
	FOR n IN 0..1 LOOP
		EXECUTE format('CREATE INDEX ON message_bus.ack_%s (position)', n);
	END LOOP;
	FOR n IN 1..9 LOOP
		EXECUTE format('CREATE INDEX ON event_store.stored_event (schema_version, (version + %s))', n);
	END LOOP;
END$$;
CREATE INDEX ON event_store.stream (tombstoned);
CREATE INDEX ON message_bus.breaker (lower(message_type));
CREATE INDEX ON message_bus.passed (position);
CALL whole_trip();
REINDEX SCHEMA event_store;
REINDEX SCHEMA message_bus;
REINDEX TABLE CONCURRENTLY event_store.stored_event;
REINDEX TABLE CONCURRENTLY message_bus.aside;
CALL whole_trip();
-- What an index says is what the table holds.
CREATE EXTENSION amcheck;
CREATE VIEW indexes AS SELECT c.oid, c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
	WHERE c.relnamespace IN ('event_store'::regnamespace, 'message_bus'::regnamespace)
		AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree') AND indisvalid;
SELECT count(*) > 60, count(bt_index_check(oid, true)) > 60 FROM indexes;
-- A deferrable constraint and an exclusion constraint.
ALTER TABLE event_store.stored_event ADD CONSTRAINT once UNIQUE (event_id, version) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE message_bus.dead ADD CONSTRAINT one EXCLUDE USING btree (message_id WITH =);
CALL whole_trip();
SELECT count(bt_index_check(oid, true)) > 60 FROM indexes;
SELECT e.version FROM event_store.append('one-1', 0, 'A', '{}', event_id => '00000000-0000-0000-0000-000000000001') e;
SELECT e.version FROM event_store.append('one-1', 0, 'A', '{}', event_id => '00000000-0000-0000-0000-000000000001') e;
SELECT e.version FROM event_store.append('one-1', 0, 'A', '{}', event_id => '00000000-0000-0000-0000-000000000002') e;
SELECT outcome($$SELECT event_store.append('one-2', 0, 'A', '{}', event_id => '00000000-0000-0000-0000-000000000001')$$);
ALTER TABLE event_store.stored_event DROP CONSTRAINT once;
ALTER TABLE message_bus.dead DROP CONSTRAINT one;
-- CHECK, in an expression index too: an error of the user's, and nothing is written.
ALTER TABLE event_store.stored_event ADD CONSTRAINT short CHECK (length(event_type) < 10);
SELECT appended('check-1', 0, 'MuchTooLong');
SELECT appended('check-1', 0, 'Short');
ALTER TABLE event_store.stored_event DROP CONSTRAINT short;
CREATE INDEX more_divides ON event_store.stored_event ((1 / (version - 3)));
SELECT appended('check-1', 1, 'Two');
SELECT appended('check-1', 2, 'Three');
SELECT appended('check-1', 2, 'Three');
DROP INDEX event_store.more_divides;
SELECT appended('check-1', 2, 'Three');
SELECT count(*) FROM event_store.read_stream('check-1');

-- ---------------------------------------------------------------- triggers and rules
CREATE TABLE log (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS
$$BEGIN INSERT INTO log (what) VALUES (lower(tg_op) || ' ' || regexp_replace(tg_table_name, '[0-9]', '')); RETURN NULL; END$$;
DO $$BEGIN
	FOR i IN 0..7 LOOP
		EXECUTE format('CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON message_bus.ring_%s FOR EACH ROW EXECUTE FUNCTION log()', i);
	END LOOP;
END$$;
CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON message_bus.aside FOR EACH ROW EXECUTE FUNCTION log();
CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON message_bus.dead FOR EACH ROW EXECUTE FUNCTION log();
CREATE TRIGGER log AFTER INSERT ON message_bus.ack_0 FOR EACH STATEMENT EXECUTE FUNCTION log();
CREATE TRIGGER log AFTER INSERT ON message_bus.ack_1 FOR EACH STATEMENT EXECUTE FUNCTION log();
CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON event_store.stream FOR EACH ROW EXECUTE FUNCTION log();
CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON event_store.stored_event FOR EACH ROW EXECUTE FUNCTION log();
CALL whole_trip();
SELECT string_agg(what || CASE WHEN times > 1 THEN ' * ' || times ELSE '' END, ', ' ORDER BY first)
	FROM (SELECT what, count(*) AS times, min(n) AS first FROM log GROUP BY what) l;
-- Deferred ones fire in the same transaction, and what they send is not lost.
CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS
$$BEGIN
	IF new.message_type = 'Call' THEN PERFORM message_bus.send('tool', 'Echo', new.body); END IF;
	RETURN NULL;
END$$;
DO $$BEGIN
	FOR i IN 0..7 LOOP
		EXECUTE format('DROP TRIGGER log ON message_bus.ring_%s', i);
		EXECUTE format('CREATE CONSTRAINT TRIGGER echo AFTER INSERT ON message_bus.ring_%s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION echo()', i);
	END LOOP;
END$$;
SELECT message_bus.send('tool', 'Call', '{"n": 7}') IS NOT NULL;
BEGIN;
SELECT message_type, body FROM message_bus.receive('tool', 10);
SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM message_bus.receive('tool', 10);
ROLLBACK;
CREATE PROCEDURE drain(INOUT types text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE d message_bus.delivery;
BEGIN
	FOR d IN SELECT * FROM message_bus.receive('tool', 50) LOOP
		types := types || ' ' || d.message_type;
		PERFORM message_bus.ack(d.delivery_id);
	END LOOP;
END$$;
CALL drain();
DO $$BEGIN
	FOR i IN 0..7 LOOP
		EXECUTE format('DROP TRIGGER echo ON message_bus.ring_%s', i);
		EXECUTE format('CREATE TRIGGER echo AFTER INSERT ON message_bus.ring_%s FOR EACH ROW EXECUTE FUNCTION echo()', i);
	END LOOP;
END$$;
SELECT message_bus.send('tool', 'Call', '{}') IS NOT NULL, message_bus.send('tool', 'Call', '{}') IS NOT NULL;
CALL drain();
DO $$BEGIN
	FOR i IN 0..7 LOOP
		EXECUTE format('DROP TRIGGER echo ON message_bus.ring_%s', i);
	END LOOP;
END$$;
-- A trigger, or a rule, that keeps a row out is an error: we would go on as if it were there.
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER no BEFORE INSERT OR DELETE ON message_bus.aside FOR EACH ROW EXECUTE FUNCTION no();
SELECT message_bus.send('tool', 'Stays', '{}', deliver_at => now() + interval '1 day') IS NOT NULL;
DROP TRIGGER no ON message_bus.aside;
CREATE TRIGGER no BEFORE INSERT ON event_store.stored_event FOR EACH ROW EXECUTE FUNCTION no();
SELECT appended('no-1', 0, 'A');
DROP TRIGGER no ON event_store.stored_event;
CREATE RULE nothing AS ON INSERT TO event_store.stream DO INSTEAD NOTHING;
SELECT appended('no-1', 0, 'A');
DROP RULE nothing ON event_store.stream;
CREATE RULE also AS ON INSERT TO event_store.stored_event DO ALSO INSERT INTO public.log (what) VALUES ('rule');
SELECT appended('no-1', 0, 'A');
SELECT count(*) FROM log WHERE what = 'rule';
DROP RULE also ON event_store.stored_event;
DROP TRIGGER log ON message_bus.aside;
DROP TRIGGER log ON message_bus.dead;
DROP TRIGGER log ON message_bus.ack_0;
DROP TRIGGER log ON message_bus.ack_1;
DROP TRIGGER log ON event_store.stream;
DROP TRIGGER log ON event_store.stored_event;

-- ---------------------------------------------------------------- columns
CREATE TABLE counts (stream text, n int);
CREATE FUNCTION count_events(event_store.event) RETURNS void LANGUAGE sql AS
	$$INSERT INTO public.counts VALUES ($1.stream, 1)$$;
SELECT event_store.create_projection('counting', 'public.count_events(event_store.event)', mode => 'inline',
	category => 'count', tables => '{counts}');
CREATE FUNCTION each_table(command text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	name text;
	n int := 0;
BEGIN
	FOR name IN SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e'
		WHERE c.relkind = 'r' ORDER BY c.oid LOOP
		EXECUTE format(command, name);
		n := n + 1;
	END LOOP;
	RETURN n;
END$$;
SELECT each_table('ALTER TABLE %s ADD COLUMN extra text') > 30;
CALL whole_trip();
SELECT appended('count-1', -1, 'A');
\c
SET client_min_messages = warning;
CALL whole_trip();
SELECT appended('count-1', -1, 'A');
SELECT each_table('ALTER TABLE %s ADD COLUMN given text DEFAULT ''yes'', ADD COLUMN numbered int GENERATED ALWAYS AS IDENTITY, ADD COLUMN made text GENERATED ALWAYS AS (''it is'') STORED, ADD COLUMN told int NOT NULL DEFAULT 7, DROP COLUMN extra') > 30;
CALL whole_trip();
SELECT given, made, told, numbered IS NOT NULL FROM event_store.stored_event WHERE stream = 'count-1';
SELECT appended('count-1', -1, 'A');
SELECT given, made, told FROM event_store.stored_event WHERE stream = 'count-1' ORDER BY version DESC LIMIT 1;
-- What somebody has put into his columns outlives a retry.
CALL drain();
SELECT message_bus.send('tool', 'Marked', '{}') IS NOT NULL;
CREATE PROCEDURE fail_one() LANGUAGE sql AS
	$$SELECT message_bus.fail(delivery_id, 'E', 'x') FROM message_bus.receive('tool', 1)$$;
CALL fail_one();
UPDATE message_bus.aside SET given = 'mine';
CALL fail_one();
SELECT given, attempt FROM message_bus.aside;
CALL drain();
-- In strict order they are read past, too.
SELECT message_bus.create_endpoint('strict', 1, '{"kind": "interval", "limit": 1, "interval": "1 day"}',
	"order" => 'strict');
SELECT count(message_bus.send('strict', k, '{}', partition_key => k)) FROM unnest('{a,a,b}'::text[]) k;
SELECT message_type, message_bus.fail(delivery_id, 'E', 'x') FROM message_bus.receive('strict', 1);
SELECT message_type, message_bus.ack(delivery_id) FROM message_bus.receive('strict', 5);
SELECT message_type, state FROM message_bus.aside ORDER BY 2;
SELECT message_bus.drop_endpoint('strict', true);
SELECT each_table('ALTER TABLE %s DROP COLUMN given, DROP COLUMN numbered, DROP COLUMN made, DROP COLUMN told') > 30;
CALL whole_trip();
SELECT appended('count-1', -1, 'A');
SELECT count(*) FROM counts;
-- A demand that nobody can meet is the demand's own error.
ALTER TABLE event_store.stream ADD COLUMN wanted text,
	ADD CONSTRAINT is_wanted CHECK (wanted IS NOT NULL) NOT VALID;
SELECT appended('want-1', 0, 'A');
ALTER TABLE event_store.stream DROP COLUMN wanted;
SELECT appended('want-1', 0, 'A');
-- Our own columns must stay as they are.
ALTER TABLE event_store.stream RENAME COLUMN last_version TO latest;
SELECT appended('want-1', 1, 'A');
SELECT event_store.append('want-1', 1, 'A', '{}');
ALTER TABLE event_store.stream RENAME COLUMN latest TO last_version;
SELECT appended('want-1', 1, 'A');
ALTER TABLE event_store.retention DROP CONSTRAINT retention_max_count_check, ALTER COLUMN max_count TYPE text;
SELECT outcome($$SELECT * FROM event_store.read_stream('want-1')$$);
ALTER TABLE event_store.retention ALTER COLUMN max_count TYPE bigint USING max_count::bigint;
ALTER TABLE event_store.projection_progress ALTER COLUMN checkpoint DROP NOT NULL;
SELECT outcome($$SELECT * FROM event_store.projections$$);
ALTER TABLE event_store.projection_progress ALTER COLUMN checkpoint SET NOT NULL;
ALTER TABLE message_bus.aside RENAME COLUMN due_at TO due;
SELECT outcome($$SELECT message_bus.send('tool', 'Late', '{}', deliver_at => now() + interval '1 day')$$);
ALTER TABLE message_bus.aside RENAME COLUMN due TO due_at;
SELECT outcome($$SELECT * FROM event_store.read_stream('want-1')$$), outcome($$SELECT * FROM event_store.projections$$);

-- ---------------------------------------------------------------- row level security
ALTER TABLE event_store.stored_event ENABLE ROW LEVEL SECURITY;
SELECT * FROM event_store.read_stream('want-1');
SELECT appended('want-1', 2, 'A');
SELECT outcome($$SELECT * FROM event_store.read_all()$$);
ALTER TABLE event_store.stored_event DISABLE ROW LEVEL SECURITY;
ALTER TABLE message_bus.aside ENABLE ROW LEVEL SECURITY;
SELECT outcome($$SELECT message_bus.send('tool', 'Late', '{}', deliver_at => now() + interval '1 day')$$);
ALTER TABLE message_bus.aside DISABLE ROW LEVEL SECURITY;
-- Of tables that only statements touch too, planned before or not.
SELECT event_store.create_subscription('sub');
SELECT count(*) > 0 FROM event_store.fetch('sub');
ALTER TABLE event_store.subscription_partition ENABLE ROW LEVEL SECURITY;
SELECT outcome($$SELECT count(*) FROM event_store.fetch('sub')$$);
ALTER TABLE event_store.subscription_partition DISABLE ROW LEVEL SECURITY;
SELECT count(*) > 0 FROM event_store.fetch('sub');
CALL whole_trip();

-- ---------------------------------------------------------------- row types
ALTER TYPE event_store.event ADD ATTRIBUTE more text, ADD ATTRIBUTE most int;
ALTER TYPE message_bus.delivery ADD ATTRIBUTE more text, ADD ATTRIBUTE most int;
ALTER TYPE message_bus.message ADD ATTRIBUTE more text;
CALL whole_trip();
SELECT count(*), count(r.data), count(r.most) FROM event_store.read_stream('count-1') r;
SELECT count(*), count(r.data), count(r.more) FROM (SELECT (event_store.read_stream('count-1')).*) r;
SELECT (event_store.get_event(event_id)).more FROM event_store.stored_event WHERE stream = 'count-1' LIMIT 1;
SELECT appended('count-1', -1, 'A');
SELECT count(*) FROM counts;
ALTER TYPE event_store.event DROP ATTRIBUTE more, DROP ATTRIBUTE most;
ALTER TYPE message_bus.delivery DROP ATTRIBUTE more, DROP ATTRIBUTE most;
ALTER TYPE message_bus.message DROP ATTRIBUTE more;
CALL whole_trip();
SELECT count(*), count(r.data) FROM event_store.read_stream('count-1') r;
ALTER TYPE event_store.event RENAME ATTRIBUTE version TO revision;
SELECT outcome($$SELECT count(*) FROM event_store.read_stream('count-1')$$),
	outcome($$SELECT event_store.get_event(gen_random_uuid())$$);
ALTER TYPE event_store.event RENAME ATTRIBUTE revision TO version;
ALTER TYPE message_bus.delivery RENAME ATTRIBUTE body TO content;
SELECT outcome($$SELECT * FROM message_bus.receive('tool')$$);
ALTER TYPE message_bus.delivery RENAME ATTRIBUTE content TO body;

-- ---------------------------------------------------------------- publications
-- Every table can tell which row was changed or deleted.
SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e'
	WHERE c.relkind = 'r' AND c.relreplident NOT IN ('f', 'i')
		AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND indisprimary);
-- It warns of wal_level, in words that differ between versions.
SET client_min_messages = error;
CREATE PUBLICATION everything FOR ALL TABLES;
SET client_min_messages = warning;
CALL whole_trip();
SELECT outcome($$SELECT event_store.tombstone_stream('want-1', -1)$$), outcome('SELECT event_store.scavenge() > 0');
-- Without an identity, what the executor refuses is refused.
SELECT message_bus.send('tool', 'Late', '{}') IS NOT NULL;
CALL fail_one();
ALTER TABLE message_bus.aside REPLICA IDENTITY NOTHING;
CALL drain();
CALL fail_one();
ALTER TABLE message_bus.aside REPLICA IDENTITY USING INDEX aside_id_idx;
CALL drain();
SELECT message_bus.drop_endpoint('tool', true);
DROP PUBLICATION everything;

-- ---------------------------------------------------------------- what belongs to the session
-- lastval() is the application's.
SELECT message_bus.create_endpoint('mine');
CREATE TABLE application (id serial);
SELECT setval('application_id_seq', 1000);
INSERT INTO application DEFAULT VALUES;
SELECT version FROM event_store.append('session-1', 0, 'A', '{}');
SELECT message_bus.send('mine', 'A', '{}') IS NOT NULL;
SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('mine');
SELECT lastval();
-- Arguments are read only, wherever they lie.
CREATE TABLE ids (list bigint[]);
INSERT INTO ids SELECT array_agg(n ORDER BY n DESC) FROM generate_series(1, 100) n;
SELECT outcome('SELECT message_bus.extend_lease(list, ''1 min'') FROM ids LIMIT 1');
SELECT outcome('SELECT message_bus.ack(VARIADIC list) FROM ids LIMIT 1');
SELECT list = (SELECT array_agg(n ORDER BY n DESC) FROM generate_series(1::bigint, 100) n) FROM ids;
-- Order of text keys is the bytes', not the operating system's.
SELECT c.oid::regclass, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_depend d ON d.objid = i.indrelid AND d.deptype = 'e'
	WHERE a.attcollation = 'pg_catalog."default"'::regcollation AND c.relnamespace <> 'public'::regnamespace
	AND c.relname NOT LIKE '%\_idx%' AND c.relname NOT LIKE 'more%';
SELECT * FROM event_store.verify();
