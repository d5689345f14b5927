-- Deletion, tombstones, retention, scavenging; stored events do not change.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- What every way of reading shows of a stream, as versions.
CREATE FUNCTION shown(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v text;
	other text;
	source text;
BEGIN
	SELECT coalesce(string_agg(version::text, ' '), 'nothing') INTO v
		FROM event_store.read_stream(name);
	FOREACH source IN ARRAY ARRAY['read_all(0, NULL)',
		'read_all(0, NULL, split_part($1, ''-'', 1))',
		'read_between(''-infinity'', ''infinity'')',
			'read_correlation(''c0000000-0000-4000-8000-000000000001'')'] LOOP
		EXECUTE 'SELECT coalesce(string_agg(version::text, '' '' ORDER BY version), ''nothing'')
			FROM event_store.'
			|| source || ' WHERE stream = $1' INTO other USING name;
		IF other <> v THEN
			RAISE WARNING '% shows % of %, not %', source, other, name, v;
		END IF;
	END LOOP;
	-- A consumer misses nothing but what was deleted.
	PERFORM event_store.reset_subscription('all', 0);
	SELECT coalesce(string_agg(s.version::text, ' ' ORDER BY s.version), 'nothing') INTO other
	FROM event_store.stored_event s JOIN event_store.stream t USING (stream_id)
	WHERE s.stream = shown.name AND s.version > coalesce(t.deleted_version, 0);
	IF other <> (SELECT coalesce(string_agg(version::text, ' ' ORDER BY version), 'nothing')
				 FROM event_store.fetch('all', 10000) WHERE stream = shown.name) THEN
		RAISE WARNING 'fetch shows other than % of %', other, name;
	END IF;
	PERFORM event_store.reset_subscription('all', event_store.high_water_mark());
	SELECT coalesce(string_agg(e.version::text, ' ' ORDER BY e.version), 'nothing') INTO other
	FROM event_store.stored_event s, LATERAL event_store.get_event(s.event_id) e
		WHERE s.stream = name AND e.version IS NOT NULL;
	IF other <> v THEN
		RAISE WARNING 'get_event shows % of %, not %', other, name, v;
	END IF;
	SELECT coalesce(string_agg(version::text, ' '), 'nothing') INTO other FROM
		(SELECT version FROM event_store.read_stream(name, backward => true) ORDER BY version) b;
	IF other <> v THEN
		RAISE WARNING 'read backward shows % of %, not %', other, name, v;
	END IF;
	RETURN v || ' of ' || event_store.stream_version(name);
END
$$;
-- Events that are there, shown or not.
CREATE FUNCTION stored(name text) RETURNS text LANGUAGE sql AS
$$ SELECT coalesce(string_agg(version::text, ' ' ORDER BY version), 'nothing')
	FROM event_store.stored_event WHERE stream = name $$;
CREATE FUNCTION fill(stream text, count int, age interval DEFAULT '0') RETURNS bigint
	LANGUAGE sql AS $$
	SELECT version FROM event_store.append_batch(stream, -1, (SELECT array_agg(ROW('A', '{}',
		'{"correlation_id": "c0000000-0000-4000-8000-000000000001"}', NULL, now() - age,
			NULL)::event_store.new_event)
		FROM generate_series(1, count)))
$$;
SELECT event_store.create_subscription('all');
SELECT fill('keep-1', 2);

-- ---------------------------------------------------------------- delete_stream

SELECT fill('del-1', 3);
SELECT event_store.delete_stream('del-1', 3);
SELECT shown('del-1'), stored('del-1'), shown('keep-1');
SELECT stream, category, version, deleted, tombstoned FROM event_store.streams ORDER BY stream;
-- The next append continues the numbering; it may expect the last version, 0 or -1.
BEGIN;
SELECT outcome($$SELECT version FROM event_store.append('del-1', 3, 'B', '{}')$$);
SELECT array_agg(version) FROM event_store.read_stream('del-1');
ROLLBACK;
SELECT outcome($$SELECT version FROM event_store.append('del-1', -2, 'B', '{}')$$),
	outcome($$SELECT version FROM event_store.append('del-1', 1, 'B', '{}')$$),
	outcome($$SELECT version FROM event_store.append('del-1', 4, 'B', '{}')$$);
SELECT fill('del-1', 1);
SELECT shown('del-1'), stored('del-1');
SELECT stream, version, deleted FROM event_store.streams WHERE stream = 'del-1';
-- Now it has an event again: 0 is wrong, -2 is right.
SELECT outcome($$SELECT version FROM event_store.append('del-1', 0, 'B', '{}')$$),
	outcome($$SELECT event_store.check_version('del-1', -2)$$);
-- Deleted again, and twice.
SELECT event_store.delete_stream('del-1', -2);
SELECT event_store.delete_stream('del-1', 0);
SELECT event_store.delete_stream('del-1', 4);
SELECT shown('del-1'), stored('del-1');
-- Rolled back, it is as it was.
SELECT fill('del-2', 2);
BEGIN;
SELECT event_store.delete_stream('del-2', 2);
SELECT event_store.stream_version('del-2'), count(*) FROM event_store.read_stream('del-2');
ROLLBACK;
SELECT shown('del-2');
-- A stream that has no event.
SELECT expected, outcome(format('SELECT event_store.delete_stream(''none-1'', %L)', expected)),
	outcome(format('SELECT event_store.delete_stream(''del-2'', %L)', expected + 10))
FROM unnest(ARRAY[NULL, -3, -2, -1, 0, 1]) expected;
SELECT count(*) FROM event_store.streams WHERE stream = 'none-1';
SELECT fails($$SELECT event_store.delete_stream('del-2', 1)$$);
SELECT fails($$SELECT event_store.delete_stream('del-2', NULL)$$);
SELECT fails($$SELECT event_store.delete_stream(NULL, 0)$$);
SELECT fails($$SELECT event_store.delete_stream('del-2', -3)$$);

-- ---------------------------------------------------------------- tombstone_stream

SELECT fill('tomb-1', 2);
SELECT fails($$SELECT event_store.tombstone_stream('tomb-1', 1)$$);
SELECT event_store.tombstone_stream('tomb-1', 2);
SELECT shown('tomb-1'), stored('tomb-1');
SELECT version, deleted, tombstoned FROM event_store.streams WHERE stream = 'tomb-1';
SELECT fails($$SELECT event_store.append('tomb-1', 2, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append_batch('tomb-1', -1, '{}')$$);
SELECT fails($$SELECT event_store.check_version('tomb-1', 2)$$);
SELECT fails($$SELECT event_store.delete_stream('tomb-1', -1)$$);
SELECT fails($$SELECT event_store.tombstone_stream('tomb-1', -1)$$);
-- A stream that never had an event, and a deleted one.
SELECT expected, outcome(format('SELECT event_store.tombstone_stream(''none-1'', %L)', expected))
FROM unnest(ARRAY[NULL, -3, -2, 1]) expected;
SELECT event_store.tombstone_stream('none-1', 0);
SELECT outcome($$SELECT version FROM event_store.append('none-1', 0, 'A', '{}')$$),
	event_store.stream_version('none-1');
SELECT event_store.tombstone_stream('del-1', 4);
SELECT outcome($$SELECT version FROM event_store.append('del-1', 0, 'A', '{}')$$), shown('del-1');
SELECT fails($$SELECT event_store.tombstone_stream('keep-1', NULL)$$);
SELECT fails($$SELECT event_store.tombstone_stream(NULL, 0)$$);

-- ---------------------------------------------------------------- set_retention

SELECT fill('ret-1', 5, '2 days'), fill('ret-1', 5, '1 hour'), fill('ret-2', 4);
SELECT event_store.set_retention('ret-1', max_count => 3);
SELECT shown('ret-1'), shown('ret-2'), stored('ret-1');
SELECT event_store.set_retention('ret-1', max_age => '1 day');
SELECT shown('ret-1');
SELECT event_store.set_retention('ret-1', truncate_before => 4);
SELECT shown('ret-1');
-- All together: what any of them hides is hidden.
SELECT event_store.set_retention('ret-1', 8, '1 day', 2);
SELECT shown('ret-1');
SELECT event_store.set_retention('ret-1', 8, '3 days', 2);
SELECT shown('ret-1');
SELECT event_store.set_retention('ret-1', 8, '3 days', 9);
SELECT shown('ret-1');
-- The bounds.
SELECT event_store.set_retention('ret-1', 0);
SELECT shown('ret-1');
SELECT event_store.set_retention('ret-1', 10);
SELECT shown('ret-1');
SELECT event_store.set_retention('ret-1', truncate_before => 10);
SELECT shown('ret-1');
SELECT event_store.set_retention('ret-1', truncate_before => 11);
SELECT shown('ret-1');
SELECT event_store.set_retention('ret-1', truncate_before => 0);
SELECT shown('ret-1');
SELECT event_store.set_retention('ret-1', 9223372036854775807, '100 years', 1);
SELECT shown('ret-1');
-- A category, and a stream of it with its own.
SELECT event_store.set_retention('ret', max_count => 2);
SELECT shown('ret-1'), shown('ret-2'), shown('keep-1');
SELECT event_store.set_retention('ret-1');
SELECT shown('ret-1'), shown('ret-2');
SELECT event_store.set_retention('ret-1', truncate_before => 10);
SELECT shown('ret-1'), shown('ret-2');
SELECT event_store.set_retention('ret-1', max_count => 5);
SELECT shown('ret-1');
SELECT event_store.set_retention('ret');
SELECT shown('ret-1'), shown('ret-2');
SELECT name, max_count, max_age, truncate_before FROM event_store.retention;
-- The stream is not empty, whatever is hidden of it.
SELECT event_store.set_retention('ret-1', max_count => 0);
SELECT outcome($$SELECT event_store.check_version('ret-1', 10)$$),
	outcome($$SELECT event_store.check_version('ret-1', -2)$$),
	outcome($$SELECT event_store.check_version('ret-1', 0)$$);
SELECT event_store.set_retention('ret-1', max_count => 5);
-- An event counts from when it occurred, wherever it stands.
SELECT fill('ret-3', 1), fill('ret-3', 1, '2 days'), fill('ret-3', 1);
SELECT event_store.set_retention('ret-3', max_age => '1 day');
SELECT shown('ret-3');
-- A new event pushes out the oldest.
SELECT fill('ret-1', 1);
SELECT shown('ret-1');
SELECT fails($$SELECT event_store.set_retention(NULL, 1)$$);
SELECT fails($$SELECT event_store.set_retention('', 1)$$);
SELECT fails($$SELECT event_store.set_retention('ret', -1)$$);
SELECT fails($$SELECT event_store.set_retention('ret', truncate_before => -1)$$);
SELECT fails($$SELECT event_store.set_retention('ret', max_age => '-1 day')$$);
SELECT fails($$SELECT event_store.set_retention('ret', max_age => '178000000 years')$$);
SELECT event_store.set_retention('keep', max_age => '5000 years');
SELECT shown('keep-1');
SELECT event_store.set_retention('keep');

-- ---------------------------------------------------------------- scavenge

SELECT event_store.set_retention('ret-2', truncate_before => 3);
SELECT stored('ret-1'), stored('ret-2'), stored('ret-3'), stored('del-1'), stored('del-2'),
	stored('tomb-1');
SELECT event_store.position_counter() AS counter \gset
-- 6 + 2 + 1 of retention, 4 deleted, 2 tombstoned.
SELECT event_store.scavenge();
SELECT stored('ret-1'), stored('ret-2'), stored('ret-3'), stored('del-1'), stored('del-2'),
	stored('tomb-1');
SELECT shown('ret-1'), shown('ret-2'), shown('ret-3'), shown('del-1'), shown('del-2'),
	shown('tomb-1'), shown('keep-1');
SELECT event_store.scavenge();
-- What is gone stays gone, and its numbers are not used again.
SELECT event_store.set_retention('ret-1'), event_store.set_retention('ret-2'),
	event_store.set_retention('ret-3');
SELECT shown('ret-1'), shown('ret-2'), shown('ret-3');
SELECT fill('ret-1', 1), fill('ret-2', 1), fill('ret-3', 1);
SELECT shown('ret-1'), shown('ret-2'), shown('ret-3');
SELECT position - :counter FROM event_store.read_stream('ret-1', 12);
SELECT outcome($$SELECT version FROM event_store.append('tomb-1', 2, 'A', '{}')$$);
-- A stream of which nothing is left still knows its version.
SELECT fill('gone-1', 3);
SELECT event_store.set_retention('gone', max_count => 0);
SELECT event_store.reset_subscription('all', event_store.high_water_mark());
SELECT event_store.scavenge(), stored('gone-1'), shown('gone-1');
SELECT event_store.set_retention('gone');
SELECT outcome($$SELECT version FROM event_store.append('gone-1', 0, 'A', '{}')$$),
	outcome($$SELECT version FROM event_store.append('gone-1', 2, 'A', '{}')$$);
SELECT fill('gone-1', 1);
SELECT shown('gone-1');
SELECT fill('gone-2', 2);
SELECT event_store.delete_stream('gone-2', 2);
SELECT event_store.scavenge(), shown('gone-2');
SELECT outcome($$SELECT version FROM event_store.append('gone-2', -2, 'A', '{}')$$),
	outcome($$SELECT version FROM event_store.append('gone-2', 1, 'A', '{}')$$);
SELECT version FROM event_store.append('gone-2', 0, 'A', '{}',
	'{"correlation_id": "c0000000-0000-4000-8000-000000000001"}');
SELECT shown('gone-2');
SELECT count(*) FROM event_store.truncated_stream;
SELECT * FROM event_store.verify();
-- Rolled back, everything is there still.
SELECT event_store.delete_stream('keep-1', 2);
BEGIN;
SELECT event_store.scavenge(), stored('keep-1');
ROLLBACK;
SELECT stored('keep-1'), shown('keep-1');
-- Many streams at once.
SELECT count(fill('bulk-' || n, 20)) FROM generate_series(1, 200) n;
SELECT event_store.set_retention('bulk', max_count => 5);
SELECT event_store.scavenge() - 2;
SELECT count(*), count(DISTINCT stream), min(version), max(version)
	FROM event_store.read_all(0, NULL, 'bulk');
BEGIN READ ONLY;
SELECT fails($$SELECT event_store.delete_stream('ret-1', -1)$$);
SELECT fails($$SELECT event_store.tombstone_stream('ret-1', -1)$$);
SELECT fails($$SELECT event_store.set_retention('ret-1', 1)$$);
SELECT outcome($$SELECT event_store.scavenge()$$);
ROLLBACK;

-- A repeated append finds its events as long as they are stored, hidden or not.
CREATE FUNCTION repeated(stream text, expected bigint) RETURNS text LANGUAGE sql AS $$
	SELECT outcome(format('SELECT version
		FROM event_store.append(%L, %s, ''A'', ''{}'', ''{}'', uid(1))', stream, expected))
$$;
SELECT repeated('repeat-1', 0), repeated('repeat-1', 0), repeated('repeat-2', 0);
SELECT event_store.delete_stream('repeat-1', 1);
SELECT repeated('repeat-1', 0), repeated('repeat-1', 1), repeated('repeat-2', 0);
SELECT event_store.tombstone_stream('repeat-1', 1);
SELECT repeated('repeat-1', 0), repeated('repeat-1', 1), repeated('repeat-2', 0);
SELECT event_store.reset_subscription('all', event_store.high_water_mark());
SELECT event_store.scavenge();
SELECT repeated('repeat-1', 0), repeated('repeat-2', 0);

-- ---------------------------------------------------------------- immutability

CREATE TABLE fixed AS SELECT * FROM event_store.stored_event;
SELECT fails($$UPDATE event_store.stored_event SET data = '{"a": 1}' WHERE stream = 'ret-1'$$);
SELECT fails($$DELETE FROM event_store.stored_event WHERE stream = 'ret-1'$$);
SELECT fails($$TRUNCATE event_store.stored_event$$);
SELECT fails($$UPDATE event_store.stream SET last_version = 1 WHERE name = 'ret-1'$$);
SELECT fails($$DELETE FROM event_store.stream WHERE name = 'ret-1'$$);
SELECT fails($$TRUNCATE event_store.stream, event_store.stored_event CASCADE$$);
SELECT refusal($$MERGE INTO event_store.stored_event e USING (VALUES (1)) v ON e.stream = 'ret-1'
	WHEN MATCHED THEN DELETE$$),
	refusal($$MERGE INTO event_store.stored_event e USING (VALUES (1)) v ON e.stream = 'ret-1'
		WHEN MATCHED THEN UPDATE SET data = '{}'$$),
	refusal($$INSERT INTO event_store.stored_event SELECT *
		FROM fixed LIMIT 1 ON CONFLICT (event_id) DO UPDATE SET data = '{}'$$),
	refusal($$WITH gone AS (DELETE FROM event_store.stored_event RETURNING *) SELECT count(*)
		FROM gone$$);
-- Replication roles do not get around it, nor does who turns triggers off for the session.
SET session_replication_role = replica;
SELECT refusal($$UPDATE event_store.stored_event SET data = '{}'$$), refusal($$DELETE
	FROM event_store.stored_event$$),
	refusal($$TRUNCATE event_store.stored_event$$),
		refusal($$UPDATE event_store.stream SET name = 'x'$$),
	refusal($$DELETE FROM event_store.stream$$), refusal($$TRUNCATE event_store.stream$$);
SET session_replication_role = local;
SELECT refusal($$DELETE FROM event_store.stored_event$$);
RESET session_replication_role;
SELECT count(*) = (SELECT count(*) FROM fixed)
	FROM (SELECT * FROM event_store.stored_event INTERSECT SELECT * FROM fixed) same;
-- The door for repairs: superusers only, and closed again with the setting.
CREATE ROLE regress_retention_user;
GRANT ALL ON event_store.stored_event TO regress_retention_user;
GRANT USAGE ON SCHEMA event_store TO regress_retention_user;
SET ROLE regress_retention_user;
SET event_store.allow_rewrite = on;
SELECT outcome($$DELETE FROM event_store.stored_event$$);
RESET ROLE;
BEGIN;
SET LOCAL event_store.allow_rewrite = on;
UPDATE event_store.stored_event SET data = '{"repaired": true}'
	WHERE stream = 'ret-1' AND version = 12 RETURNING data;
DELETE FROM event_store.stored_event WHERE stream = 'ret-2' AND version = 5 RETURNING version;
UPDATE event_store.stream SET last_version = 5 WHERE name = 'ret-2' RETURNING last_version;
COMMIT;
SHOW event_store.allow_rewrite;
SELECT refusal($$DELETE FROM event_store.stored_event$$);
SELECT data FROM event_store.read_stream('ret-1', 12);
BEGIN;
SET LOCAL event_store.allow_rewrite = on;
TRUNCATE event_store.stored_event;
ROLLBACK;
-- Our own statements leave the door closed.
SELECT event_store.delete_stream('ret-3', -1), event_store.scavenge() > 0;
SHOW event_store.allow_rewrite;
SELECT outcome($$SELECT event_store.delete_stream('ret-2', 77)$$), refusal($$DELETE
	FROM event_store.stored_event$$);
SELECT event_store._guard_immutable();
-- An append that took a deleted stream for empty can be repeated like any other.
SELECT version FROM event_store.append('ret-again', -1, 'A', '{}');
SELECT event_store.delete_stream('ret-again', 1);
SELECT version FROM event_store.append('ret-again', 0, 'A', '{}', event_id => uid(2));
SELECT version FROM event_store.append('ret-again', 0, 'A', '{}', event_id => uid(2));
SELECT event_store.stream_version('ret-again');
DROP OWNED BY regress_retention_user;
DROP ROLE regress_retention_user;

-- Retention hides nothing from who has not had it yet: not from a subscription, nor from
-- projections of either kind, nor from the inline one that an old event is imported under.
CREATE TABLE seen (by text, version bigint);
CREATE FUNCTION see_async(event event_store.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.seen VALUES ('async', event.version) $$;
CREATE FUNCTION see_inline(event event_store.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.seen VALUES ('inline', event.version) $$;
CREATE FUNCTION see_deferred(event event_store.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.seen VALUES ('deferred', event.version) $$;
SELECT event_store.drop_subscription('all');
SELECT event_store.create_subscription('late', 'late'), event_store.create_subscription('other', 'other');
SELECT event_store.create_projection('async', 'see_async(event_store.event)', 'late'),
	event_store.pause_projection('async'),
	event_store.create_projection('deferred', 'see_deferred(event_store.event)', 'late', mode => 'inline'),
	event_store.pause_projection('deferred'),
	event_store.create_projection('inline', 'see_inline(event_store.event)', 'late', mode => 'inline');
SELECT event_store.set_retention('late', max_count => 2, max_age => '1 day');
SELECT fill('late-1', 10), fill('late-1', 3, '2 days');
SELECT string_agg(version::text, ' ') FROM event_store.read_stream('late-1');
SELECT lag_events FROM event_store.subscriptions WHERE name = 'late'
UNION ALL SELECT lag_events FROM event_store.projections WHERE name IN ('async', 'deferred');
-- nobody has passed them
SELECT event_store.scavenge();
BEGIN;
SELECT string_agg(version::text, ' ' ORDER BY position), event_store.advance('late', max(position) - 4)
FROM event_store.fetch('late');
COMMIT;
SELECT event_store.scavenge();
SELECT event_store.resume_projection('async'), event_store.resume_projection('deferred');
DO $$
BEGIN
	WHILE (SELECT count(*) FROM public.seen) < 39 LOOP
		COMMIT;
		PERFORM event_store.run_projections();
	END LOOP;
END
$$;
SELECT by, string_agg(version::text, ' ' ORDER BY version) FROM seen GROUP BY by ORDER BY by;
-- as far as the slowest of them is
CALL event_store.scavenge(2);
SELECT stored('late-1');
CALL event_store.scavenge(NULL);
SELECT stored('late-1');
-- events of a deleted stream wait for nobody; a subscription that is gone neither
SELECT event_store.delete_stream('late-1', -1);
CALL event_store.scavenge(100);
SELECT stored('late-1');
SELECT fill('other-1', 4), event_store.set_retention('other', max_count => 1);
SELECT event_store.scavenge();
SELECT event_store.drop_subscription('other');
-- portions are transactions of their own
SELECT event_store.scavenge(), fill('other-1', 2500);
CREATE TABLE removal (by xid8);
CREATE FUNCTION note_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.removal VALUES (pg_current_xact_id());
	RETURN NULL;
END
$$;
CREATE TRIGGER note_removal AFTER DELETE ON event_store.stored_event FOR EACH ROW EXECUTE FUNCTION note_removal();
CALL event_store.scavenge(2000);
CALL event_store.scavenge(NULL);
SELECT count(*) FROM removal GROUP BY by ORDER BY 1;
DROP TRIGGER note_removal ON event_store.stored_event;
SELECT stored('other-1');
\set VERBOSITY sqlstate
CALL event_store.scavenge(-1);
BEGIN;
CALL event_store.scavenge(1);
ROLLBACK;
\set VERBOSITY default
