-- The repository: get, create, update, delete, history; keys; rights.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\set ECHO all
SELECT message_bus.create_endpoint('flights'), message_bus.create_endpoint('hotels');
SELECT saga.define('trip', trip());

SELECT saga.get('trip', id(1)) IS NULL AS absent;
-- lastval() is the application's own.
CREATE TEMP SEQUENCE application START 1000;
SELECT nextval('application');
SELECT saga, correlation_id, definition_version, current_state, data, version, created_at = updated_at AS new
FROM saga.create('trip', id(1));
SELECT lastval();
SELECT current_state, data, version FROM saga.create('trip', id(2), '{"a": [1, null]}', 'BookingHotel');
SELECT saga, current_state, data, version FROM saga.get('trip', id(2));
SELECT saga.update('trip', id(2), 1, 'Stuck', '{"b": 2}'), saga.update('trip', id(2), 2, NULL, NULL);
SELECT current_state, data, version, updated_at > created_at AS later FROM saga.get('trip', id(2));
SELECT saga.update('trip', id(2), 3, 'Booked', '{"b": 2}');

-- the seed's errors
SELECT refusal(format('SELECT saga.update(%L, %L, 1, NULL, NULL)', 'trip', id(3)));
SELECT refusal(format('SELECT saga.update(%L, %L, 3, NULL, NULL)', 'trip', id(2)));
SELECT refusal(format('SELECT saga.update(%L, %L, 5, NULL, NULL)', 'trip', id(2)));
SELECT refusal(format('SELECT saga.create(%L, %L)', 'trip', id(2)));
SELECT refusal(format('SELECT saga.update(%L, %L, 4, %L, NULL)', 'trip', id(2), 'Nowhere'));
SELECT refusal(format('SELECT saga.create(%L, %L, %L, %L)', 'trip', id(3), '{}', 'Nowhere'));
SELECT refusal(format('SELECT saga.create(%L, %L, %L)', 'trip', id(3), '[]'));
SELECT refusal(format('SELECT saga.update(%L, %L, 4, NULL, %L)', 'trip', id(2), '7'));
SELECT refusal(format('SELECT saga.update(%L, %L, NULL, NULL, NULL)', 'trip', id(2)));
SELECT refusal(format('SELECT saga.create(%L, NULL)', 'trip'));
SELECT refusal(format('SELECT saga.get(%L, %L)', 'nothing', id(1)));
SELECT refusal(format('SELECT saga.create(%L, %L)', 'nothing', id(1)));
SELECT refusal(format('SELECT saga.update(%L, %L, 1, NULL, NULL)', 'nothing', id(1)));
SELECT refusal(format('SELECT saga.delete(%L, %L)', 'nothing', id(1)));
SELECT state('trip', 2);

-- history: every change, with who; it stays when the instance goes
SELECT version, from_state, to_state, event, message_id, jsonb_path_query_array(actions, '$[*] ? (@.action == "data")') AS actions, actor = current_user AS by_me, reason,
	at BETWEEN now() - interval '1 min' AND clock_timestamp() AS now
FROM saga.history('trip', id(2));
SELECT saga.delete('trip', id(2)), saga.delete('trip', id(2)), saga.get('trip', id(2)) IS NULL AS gone;
SELECT version, from_state, to_state, event FROM saga.history('trip', id(2));
SELECT version, data FROM saga.create('trip', id(2), '{"again": true}');
SELECT version, to_state, event FROM saga.history('trip', id(2));
SELECT count(*) FROM saga.history('trip', id(9));

-- an instance keeps the version it was created with
SELECT saga.define('trip', jsonb_set(trip(), '{states,BookingFlight,on,FlightFailed,goto}', '"Booked"'));
SELECT definition_version FROM saga.create('trip', id(4)) UNION ALL
SELECT definition_version FROM saga.get('trip', id(1));

-- creation, change, removal and conflict are written to the server's log
SET client_min_messages = log;
SELECT version FROM saga.create('trip', id(6));
SELECT saga.update('trip', id(6), 1, 'Stuck', NULL);
SELECT refusal(format('SELECT saga.update(%L, %L, 1, NULL, NULL)', 'trip', id(6)));
SELECT saga.delete('trip', id(6));
SET saga.log_transitions = off;
SELECT version FROM saga.create('trip', id(6));
SELECT saga.delete('trip', id(6));
RESET saga.log_transitions;
SET client_min_messages = warning;

-- step keys are RFC 9562 version 5
SELECT ecommerce.uuid_v5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'www.example.com') AS of_the_rfc,
	ecommerce.saga_namespace() = ecommerce.uuid_v5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'saga.ecommerce') AS ours,
	ecommerce.uuid_v5(ecommerce.saga_namespace(), '');

-- readers read, writers write, admins define; tables are for nobody
CREATE ROLE regress_saga_reader; GRANT ecommerce_reader TO regress_saga_reader;
CREATE ROLE regress_saga_writer; GRANT ecommerce_writer TO regress_saga_writer;
CREATE ROLE regress_saga_admin; GRANT ecommerce_admin TO regress_saga_admin;
CREATE ROLE regress_saga_nobody;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;
SET ROLE regress_saga_reader;
SELECT current_state FROM saga.get('trip', id(1));
SELECT count(*) FROM saga.instances;
SELECT refusal(format('SELECT saga.create(%L, %L)', 'trip', id(5)));
SET ROLE regress_saga_writer;
SELECT version FROM saga.create('trip', id(5));
SELECT saga.update('trip', id(5), 1, NULL, '{"x": 1}');
SELECT actor FROM saga.history('trip', id(5));
SELECT refusal('UPDATE saga.stored_instance SET version = 7');
SELECT refusal('DELETE FROM saga.history_entry');
SELECT refusal(format('SELECT saga.define(%L, %L)', 'trip', trip()));
SELECT refusal('SELECT saga.run()');
SET ROLE regress_saga_admin;
SELECT saga.define('admins', trip() || '{"endpoint": "admins"}');
SELECT saga.run();
SET ROLE regress_saga_nobody;
SELECT refusal(format('SELECT saga.get(%L, %L)', 'trip', id(1)));
SELECT refusal('SELECT FROM saga.instances');
RESET ROLE;

-- Rows without what they belong to, as after half a restore.
SELECT * FROM saga.verify();
CREATE FUNCTION damage() RETURNS TABLE (kind text, problem text, rows bigint) LANGUAGE sql AS $$
	SELECT split_part(object, ' ', 1), regexp_replace(v.problem, '(transition|waits for) .*\d', '\1 x'),
		count(*) FROM saga.verify() v WHERE severity = 'error' GROUP BY 1, 2 ORDER BY 1, 2 $$;
BEGIN;
INSERT INTO saga.parked_message (saga, correlation_id, message_id, message_type, endpoint, deferred,
	parked_at, park_until, envelope, body)
VALUES ('none', id(1), id(1), 'T', 'trip', false, now(), now(), '{}', '{}');
DELETE FROM saga.definition WHERE name = 'admins';
UPDATE saga.stored_instance SET wake_at = '2100-01-01' WHERE correlation_id = id(5);
DELETE FROM saga.timer_queue;
SELECT kind, problem, rows > 0 FROM damage();
ROLLBACK;
BEGIN;
DELETE FROM saga.definition_transition WHERE name = 'admins';
SELECT kind, problem, rows > 0 FROM damage();
ROLLBACK;
-- Counters that a restore forgot.
INSERT INTO saga.patience VALUES ('none', '*', '1 h');
SELECT setval(s::regclass, 1) FROM unnest('{saga.instance_number_seq,saga.definition_transition_id_seq}'::text[]) s;
SELECT object, regexp_replace(problem, 'behind \d+', 'behind N') FROM saga.verify() WHERE severity = 'error' ORDER BY 1;
DROP FUNCTION damage;
DROP EXTENSION ecommerce CASCADE;
DROP OWNED BY regress_saga_reader, regress_saga_writer, regress_saga_admin, regress_saga_nobody;
DROP ROLE regress_saga_reader, regress_saga_writer, regress_saga_admin, regress_saga_nobody;
