-- verify: nothing to say of a sound store, every kind of damage found, counters mended.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

SELECT * FROM event_store.verify();
SELECT count(*) FROM generate_series(1, 30) n,
	LATERAL event_store.append('order-' || n % 3, -1, 'A', '{}');
BEGIN;
SELECT version FROM event_store.append('order-1', 10, 'A', '{}');
ROLLBACK;
SELECT event_store.delete_stream('order-2', 10);
SELECT event_store.tombstone_stream('other-1', 0);
SELECT event_store.create_subscription('all', start_after => 31);
SELECT * FROM event_store.verify();
SELECT * FROM event_store.verify(repair => true);
SELECT event_store.scavenge();
SELECT version FROM event_store.append('order-2', 0, 'A', '{}');
SELECT * FROM event_store.verify();
SELECT * FROM event_store.verify(NULL);

-- Each damage, one at a time; the store is as it was after each.
SET event_store.allow_rewrite = on;
BEGIN;
DELETE FROM event_store.stored_event WHERE stream = 'order-1' AND version = 4;
SELECT * FROM event_store.verify();
SELECT * FROM event_store.verify(true);
ROLLBACK;
BEGIN;
DELETE FROM event_store.stored_event WHERE stream = 'order-1' AND version < 3;
SELECT * FROM event_store.verify();
ROLLBACK;
-- A stream that was deleted and written again must not hide one.
BEGIN;
SELECT version FROM event_store.append('order-2', 11, 'A', '{}');
SELECT version FROM event_store.append('order-2', 12, 'A', '{}');
DELETE FROM event_store.stored_event WHERE stream = 'order-2' AND version = 12;
SELECT * FROM event_store.verify();
ROLLBACK;
BEGIN;
UPDATE event_store.stored_event SET position = 1000000 WHERE stream = 'order-1' AND version = 4;
SELECT * FROM event_store.verify();
ROLLBACK;
BEGIN;
DELETE FROM event_store.stream WHERE name = 'order-1';
SELECT * FROM event_store.verify();
ROLLBACK;
BEGIN;
UPDATE event_store.stored_event SET stream = 'order-9' WHERE stream = 'order-1' AND version > 8;
SELECT * FROM event_store.verify();
ROLLBACK;
RESET event_store.allow_rewrite;
SELECT * FROM event_store.verify();

-- Counters behind the data, as after a restore that forgot them.
SELECT event_store.high_water_mark() AS mark \gset
SELECT setval('event_store.stream_id_seq', 1);
SELECT setval('event_store.position_seq', 10);
SELECT severity, object, regexp_replace(problem, 'stream \d+', 'stream N')
	FROM event_store.verify();
-- No position is given out twice.
SELECT version FROM event_store.append('order-1', 10, 'A', '{}');
SELECT severity, object FROM event_store.verify(true);
SELECT * FROM event_store.verify();
SELECT event_store.position_counter() - :mark;
SELECT position - :mark FROM event_store.append('order-1', 10, 'A', '{}');
SELECT version FROM event_store.append('order-10', 0, 'A', '{}');
SELECT position - :mark FROM event_store.read_all(:mark);
-- Readers that have been further than the counter: events were lost with a failed server.
SELECT event_store.position_counter() AS counter \gset
UPDATE event_store.subscription_partition SET checkpoint = 1000;
SELECT * FROM event_store.verify();
SELECT * FROM event_store.verify(true);
SELECT * FROM event_store.verify();
SELECT position FROM event_store.append('order-1', 11, 'A', '{}');
SELECT setval('event_store.published_mark_seq', 2000);
SELECT * FROM event_store.verify();
SELECT severity FROM event_store.verify(true);
SELECT position FROM event_store.append('order-1', 12, 'A', '{}');
SELECT event_store.published_mark() >= 2000;
-- Looking needs no right to write.
BEGIN READ ONLY;
SELECT * FROM event_store.verify();
COMMIT;

-- Rows of what is not there, of the younger kinds.
BEGIN;
INSERT INTO event_store.parked_event (subscription, position, partition, attempts) VALUES ('none', 1, 0, 1);
INSERT INTO event_store.projection_deferred (name, position) VALUES ('none', 1);
INSERT INTO event_store.upcaster VALUES ('None', 1, 'none(jsonb)', 'nobody');
SELECT object, problem FROM event_store.verify() WHERE severity = 'error' ORDER BY 1;
ROLLBACK;
SELECT ecommerce.restore_done() >= 0;

-- Tables that others follow by position: a counter that a restore forgot.
CREATE TABLE invoice (id int PRIMARY KEY,
	position bigint NOT NULL UNIQUE DEFAULT ecommerce.next_position('invoices'));
INSERT INTO invoice SELECT n FROM generate_series(1, 10) n;
CREATE TABLE secret (LIKE invoice INCLUDING ALL);
CREATE FUNCTION spy() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ran'; END $$;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY spy ON secret USING (spy());
SELECT * FROM event_store.verify();
SELECT setval('ecommerce.position_seq', 3);
SELECT * FROM event_store.verify();
CREATE ROLE regress_event_store_verify_stranger IN ROLE ecommerce_admin;
SET ROLE regress_event_store_verify_stranger;
SELECT * FROM event_store.verify();
RESET ROLE;
SELECT setval('ecommerce.position_seq', 10);
SELECT * FROM event_store.verify();
DROP ROLE regress_event_store_verify_stranger;
