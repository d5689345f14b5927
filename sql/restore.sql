-- A session that fills tables of the extension from outside is noted; using them afterwards, or
-- restore_done(), ends that. What others see meanwhile is in t/061_restore_stress.pl.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
CREATE VIEW noted AS SELECT count(*) AS noted, bool_and(pid = pg_backend_pid()) AS it_is_me
	FROM ecommerce.restores;
-- neither the install script nor functions do that
SELECT message_bus.create_endpoint('here', 2), message_bus.subscribe('here', 'Happened');
SELECT event_store.create_subscription('mailer', 'letter'), event_store.create_aggregate('meter');
SELECT count(message_bus.send('here', 'T', '{}')) FROM generate_series(1, 3);
TABLE noted;

-- as a dump does it
BEGIN;
COPY message_bus.route (message_type, endpoint_id) FROM stdin;
Told	1
\.
TABLE noted;
SELECT count(*) FROM message_bus.receive('here');
SELECT count(*) FROM event_store.fetch('mailer');
SELECT saga.run(), saga.fire_due(now()), event_store.run_projections(), message_bus.maintain();
SELECT severity, regexp_replace(object, '\d+', 'N') AS object FROM message_bus.verify()
UNION ALL SELECT severity, regexp_replace(object, '\d+', 'N') FROM event_store.verify();
COMMIT;
TABLE noted;
SELECT count(*) FROM message_bus.receive('here');
TABLE noted;
-- the backend knows what came
SELECT count(message_bus.publish('Told', '{}')) FROM generate_series(1, 3);
SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('here');
-- with INSERT, with triggers turned to replica
INSERT INTO message_bus.route VALUES ('Cried', 1);
TABLE noted;
SELECT ecommerce.restore_done(), ecommerce.restore_done();
SET session_replication_role = replica;
COPY event_store.event_handler FROM stdin;
\.
RESET session_replication_role;
TABLE noted;
SELECT ecommerce.restore_done(0), ecommerce.restore_done(pg_backend_pid());
-- rolled back: it may go on all the same
BEGIN;
COPY message_bus.lease FROM stdin;
\.
ROLLBACK;
TABLE noted;
SELECT version FROM event_store.append('letter-1', 0, 'Written', '{}');
TABLE noted;
-- what only looks like it
BEGIN;
CREATE TEMP TABLE sent AS SELECT message_bus.send('here', 'T', '{}') AS id;
INSERT INTO sent SELECT message_bus.send('here', 'T', '{}', partition_key => n::text)
FROM generate_series(1, 4) n;
UPDATE message_bus.endpoint SET paused = false;
COMMIT;
TABLE noted;
SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'note_restore' AND tgenabled <> 'A'
UNION ALL SELECT t FROM pg_extension, unnest(extconfig) t JOIN pg_class c ON c.oid = t AND relkind = 'r'
WHERE extname = 'ecommerce' AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = t
	AND tgname = 'note_restore');

-- a counter that is ahead of its events takes no checkpoint along
SELECT event_store.create_subscription('parts', 'letter', partitions => 2);
CREATE FUNCTION nothing(event event_store.event) RETURNS void LANGUAGE sql AS '';
SELECT event_store.create_projection('nothing', 'nothing(event_store.event)', 'letter');
SELECT setval('event_store.position_seq', 100000);
SELECT count(*) FROM event_store.fetch('mailer');
SELECT count(*) FROM event_store.fetch('parts');
SELECT count(*) FROM event_store.fetch('parts');
BEGIN;
SELECT count(event_store.advance('mailer', f.position)) FROM event_store.fetch('mailer') f;
SELECT count(event_store.advance('parts', f.position)) FROM event_store.fetch('parts') f;
COMMIT;
SELECT count(*) FROM event_store.fetch('mailer');
SELECT count(*) FROM event_store.fetch('parts');
SELECT event_store.rebuild_projection('nothing');
SELECT count(event_store.run_projections()) FROM generate_series(1, 3);
SELECT name, partition, checkpoint > 1000 AS ran_ahead FROM event_store.subscription_partition
UNION ALL SELECT name, NULL, checkpoint > 1000 FROM event_store.projection_progress ORDER BY 1, 2;
SELECT state, lag_events FROM event_store.projections;

-- children without parents, and numbers that nobody has given out
SELECT * FROM message_bus.verify();
SELECT * FROM event_store.verify();
INSERT INTO message_bus.route VALUES ('Lost', 99);
INSERT INTO message_bus.lane VALUES (1, 2, 7), (1, -1, 7), (99, 0, 7);
INSERT INTO message_bus.passed VALUES (1, 300, 7);
INSERT INTO message_bus.death VALUES (99, '00000000-0000-0000-0000-000000000001', 1);
INSERT INTO event_store.event_handler VALUES ('lost', 'Lost', 'lost()', 'nobody');
INSERT INTO event_store.projection_progress VALUES ('lost');
DELETE FROM event_store.subscription_partition WHERE name = 'parts' AND partition = 1;
INSERT INTO event_store.subscription_partition VALUES ('parts', 2, 0);
INSERT INTO message_bus.lane VALUES (1, 0, 1000000);
INSERT INTO message_bus.bridge (bridge_id, name, format, options, endpoint_id)
	VALUES (7, 'lost', 'raw', '{"queue": "q", "target": "gone", "endpoint": "none"}', 99);
INSERT INTO message_bus.inbox_3 VALUES (9, '00000000-0000-0000-0000-000000000001', now());
INSERT INTO event_store.projection_remote VALUES ('lost');
INSERT INTO event_store.projection_rebuild VALUES ('lost', '{public.gone}');
SELECT ecommerce.restore_done();
SELECT * FROM message_bus.verify() ORDER BY 2, 3;
SELECT * FROM event_store.verify() ORDER BY 2, 3;
-- lanes that do not exist hurt nobody; an endpoint cannot have none
SELECT count(*) < 5 AS some FROM message_bus.receive('here');
UPDATE message_bus.endpoint SET lanes = 0;
SELECT ecommerce.restore_done() FROM (SELECT) none;
\c
SELECT count(*) FROM message_bus.receive('here');
UPDATE message_bus.endpoint SET lanes = 100000;
\c
SELECT message_bus.send('here', 'T', '{}');
UPDATE message_bus.endpoint SET lanes = 256;
\c
SELECT count(message_bus.send('here', 'T', '{}', partition_key => n::text)) FROM generate_series(1, 100) n;
SELECT count(DISTINCT partition_key) > 50 AS from_all_lanes FROM message_bus.receive('here', 200);
