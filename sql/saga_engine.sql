-- The engine: start, transition, commands, parked and deferred messages, faults, timers, context.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\set ECHO all
SELECT message_bus.create_endpoint('flights'), message_bus.create_endpoint('hotels');
SELECT saga.define('trip', trip());

-- a start event creates the instance; command, timer, history and ack are one commit
BEGIN;
SELECT ecommerce.set_context(id(100), id(101), 'ann', 'shop', '{}', '00-0af7651916cd43dd8448eb211c80319c-0000000000000001-01') IS NULL AS set;
SELECT message_bus.publish('TripRequested', jsonb_build_object('trip_id', id(1), 'nights', 3), id(102)) = id(102) AS sent;
COMMIT;
SELECT saga.run(), saga.run();
SELECT current_state, data ->> 'nights' AS nights, version, definition_version,
	next_timer, next_timer_at - updated_at AS due_in, age_in_state < interval '1 min' AS fresh
FROM saga.instances;
SELECT version, from_state, to_state, event, message_id = id(102) AS by_it, actor IS NULL AS by_the_engine
FROM saga.history('trip', id(1));
SELECT jsonb_path_query(actions, '$[*].action') FROM saga.history('trip', id(1));

-- the step key: in body and header; message id of send n; partition key; context of the instance
BEGIN;
SELECT message_type, body ->> 'key' = k::text AS in_body, headers ->> 'step_key' = k::text AS in_header,
	message_id = ecommerce.uuid_v5(k, '1') AS first_send, partition_key = id(1)::text AS by_instance,
	headers ->> 'saga_correlation_id' = id(1)::text AS tagged, headers ->> 'saga' AS saga,
	correlation_id = id(100) AS kept, causation_id = id(102) AS caused, user_id, tenant_id, traceparent
FROM message_bus.receive('flights'),
	ecommerce.uuid_v5(ecommerce.saga_namespace(), format('trip:%s:flight:1', id(1))) k;
ROLLBACK;

-- an event that its state defers waits for the next change of state
CALL tell('HotelBooked', jsonb_build_object('trip_id', id(1)));
SELECT state('trip', 1), (SELECT count(*) FROM saga.history('trip', id(1))) AS entries;
SELECT saga, correlation_id = id(1) AS mine, message_type, park_until FROM saga.parked;
-- a guard that does not hold leaves it to the default
CALL tell('FlightBooked', jsonb_build_object('trip_id', id(1), 'seats', 0));
SELECT state('trip', 1);
-- two transitions at once: the flight, then the hotel that waited; a line in the log for each
SET client_min_messages = log;
CALL tell('FlightBooked', jsonb_build_object('trip_id', id(1), 'seats', 2, 'seat', '1A'));
SET client_min_messages = warning;
SELECT state('trip', 1), (SELECT count(*) FROM saga.parked) AS parked, (SELECT count(*) FROM saga.timers) AS timers;
SELECT stream = 'trip-' || id(1) AS its_stream, event_type, data ->> 'trip_id' = id(1)::text AS data,
	metadata ->> 'correlation_id' = id(100)::text AS kept, metadata ->> 'tenant_id' AS tenant
FROM event_store.read_all();
SELECT message_type FROM message_bus.receive('hotels');
-- final: nothing moves it any more; duplicates neither
CALL tell('FlightBooked', jsonb_build_object('trip_id', id(1), 'seats', 2, 'seat', '1A'));
CALL tell('TripRequested', jsonb_build_object('trip_id', id(1), 'nights', 9));
SELECT state('trip', 1), data ->> 'nights' AS nights FROM saga.get('trip', id(1));

-- a message before its instance is parked and replayed; the version counts both
CALL tell('FlightFailed', jsonb_build_object('trip_id', id(2)));
SELECT message_type, round(extract(epoch FROM park_until - parked_at)) AS park_for FROM saga.parked;
CALL tell('TripRequested', jsonb_build_object('trip_id', id(2), 'nights', 1));
SELECT state('trip', 2), (SELECT count(*) FROM saga.parked) AS parked;
-- also by saga.create()
CALL tell('FlightFailed', jsonb_build_object('trip_id', id(3)));
SELECT current_state, version FROM saga.create('trip', id(3));
-- which keeps the session's context for what the instance sends
BEGIN;
SELECT ecommerce.set_context(id(700), NULL, 'dan', 'mall', '{}', '00-0af7651916cd43dd8448eb211c80319c-0000000000000007-01') IS NULL AS set;
SELECT version FROM saga.create('trip', id(7), jsonb_build_object('trip_id', id(7), 'nights', 1));
COMMIT;
CALL tell('FlightBooked', jsonb_build_object('trip_id', id(7), 'seats', 2, 'seat', '1A'));
BEGIN;
SELECT message_type, correlation_id = id(700) AS kept, tenant_id, traceparent
FROM message_bus.receive('hotels', 100) WHERE partition_key = id(7)::text;
ROLLBACK;
CALL tell('HotelBooked', jsonb_build_object('trip_id', id(7)));
-- its time over, it is a dead letter with its own id
SELECT message_bus.publish('FlightFailed', jsonb_build_object('trip_id', id(4)), id(104)) = id(104) AS sent;
SELECT saga.run();
SELECT saga.fire_due(now() + interval '9 min'), count(*) FROM saga.parked;
SELECT saga.fire_due(now() + interval '11 min'), count(*) FROM saga.parked;
SELECT count(*) FROM saga.parked;
SELECT message_id = id(104) AS the_same, endpoint, message_type, reason FROM message_bus.dead_letters;

-- a failing transition: retried by the endpoint's policy, instance as it was, then dead
SELECT message_bus.alter_endpoint('trip', retry => '{"kind": "immediate", "limit": 2}');
CALL tell('TripRequested', jsonb_build_object('trip_id', id(5), 'nights', 1));
CALL tell('FlightBooked', jsonb_build_object('trip_id', id(5), 'seats', 1));
SELECT saga.run();
SELECT saga.run();
SELECT saga.run();
SELECT state('trip', 5), reason, error_code, error, attempts FROM message_bus.dead_letters
WHERE (message).body ->> 'trip_id' = id(5)::text;
SELECT saga, current_state, reason FROM saga.stuck;
-- no correlation id where the path says: that cannot heal, so it is dead at once
CALL tell('FlightBooked', '{"trip_id": "five"}');
SELECT error_code, error, attempts FROM message_bus.dead_letters WHERE (message).body ->> 'trip_id' = 'five';
-- a type that no saga of the endpoint lists
SELECT message_bus.send('trip', 'Whatever', '{}') IS NOT NULL AS sent;
SELECT saga.run();
SELECT message_type, reason FROM message_bus.dead_letters WHERE message_type = 'Whatever';
-- one bad message among good ones does not hold them up
SELECT count(message_bus.publish('TripRequested', jsonb_build_object('trip_id', id(n), 'nights', 1)))
FROM generate_series(20, 29) n;
SELECT count(message_bus.publish('FlightBooked', jsonb_build_object('trip_id', id(n), 'seats', CASE n WHEN 25 THEN '"x"' ELSE '1' END::jsonb, 'seat', n::text)))
FROM generate_series(20, 29) n;
SELECT saga.run();
SELECT current_state, count(*) FROM saga.instance WHERE correlation_id BETWEEN id(20) AND id(29) GROUP BY 1 ORDER BY 1;

-- timers: one that was taken back or set again does not fire; those due fire in order
SELECT saga.fire_due((SELECT min(due_at) FROM saga.timers) - interval '1 us');
SELECT saga.fire_due((SELECT max(due_at) FROM saga.timers)) AS fired;
SELECT current_state, count(*) FROM saga.instance WHERE correlation_id BETWEEN id(20) AND id(29) GROUP BY 1 ORDER BY 1;
SELECT version, event, from_state, to_state FROM saga.history('trip', id(25)) ORDER BY version;

-- what fault means; several sagas on one endpoint; correlation by the message
SELECT saga.define('strict', '{"endpoint": "shared", "initial": "A", "events": {"Go": {}, "Odd": {}},
	"start": {"Go": {"set": {"n": 1}, "goto": "A"}},
	"states": {"A": {"default": "fault", "timer": "none", "on": {"Go": {"goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore"}}}');
SELECT saga.define('lax', '{"endpoint": "shared", "initial": "Z", "events": {"Go": {}},
	"start": {"Go": {"set": {"by": "$.envelope.user_id"}}}, "states": {"Z": {"kind": "final", "default": "ignore"}}}');
BEGIN;
SELECT ecommerce.set_context(id(200), NULL, 'bob') IS NULL AS set;
SELECT message_bus.publish('Go', '{}', id(201)) = id(201), message_bus.publish('Odd', '{}', id(202)) = id(202);
COMMIT;
SELECT saga.run();
SELECT saga, correlation_id = id(200) AS by_message, current_state, data FROM saga.instance
WHERE saga IN ('strict', 'lax') ORDER BY 1;
SELECT message_type, reason, error_code, error FROM message_bus.dead_letters WHERE endpoint = 'shared';

-- resends: the same key, another message, the context of the beginning; used up, the timer is an event
SELECT saga.define('resend', '{"endpoint": "resend", "initial": "A", "events": {"Begin": {}, "Answer": {}},
	"start": {"Begin": {"send": {"step": "ask", "endpoint": "flights", "type": "Ask", "body": {"at": "$.now"},
		"resend": {"timer": "ask", "every": "10 s", "limit": 2}, "compensation": "none"}, "goto": "A"}},
	"states": {"A": {"default": "ignore", "on": {"Answer": {"goto": "Z"},
			"timer:ask": {"send": {"step": "ask", "attempt": 2, "endpoint": "flights", "type": "AskAgain",
				"body": {"attempt": "$.data.attempt"}, "compensation": "none"}, "set": {"attempt": 2}, "goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore"}}}');
BEGIN;
SELECT count(*) FROM message_bus.receive('flights', 100), message_bus.ack(delivery_id);
COMMIT;
BEGIN;
SELECT ecommerce.set_context(id(300), NULL, 'cy', 'shop', '{}', '00-0af7651916cd43dd8448eb211c80319c-0000000000000003-01') IS NULL AS set;
SELECT message_bus.publish('Begin', '{}') IS NOT NULL AS sent;
COMMIT;
SELECT saga.run();
SELECT saga.fire_due(created_at + interval '29 s') AS resent, saga.fire_due(created_at + interval '30 s') AS given_up
FROM saga.get('resend', id(300));
BEGIN;
SELECT message_type, (body ->> 'key')::uuid = k1 AS first_key, (body ->> 'key')::uuid = k2 AS second_key,
	message_id = ecommerce.uuid_v5((body ->> 'key')::uuid, '1') AS send_1,
	message_id = ecommerce.uuid_v5((body ->> 'key')::uuid, '2') AS send_2,
	message_id = ecommerce.uuid_v5((body ->> 'key')::uuid, '3') AS send_3,
	(body ->> 'at')::timestamptz - (SELECT created_at FROM saga.get('resend', id(300))) AS at,
	correlation_id = id(300) AS kept, tenant_id, traceparent
FROM message_bus.receive('flights', 100),
	ecommerce.uuid_v5(ecommerce.saga_namespace(), format('resend:%s:ask:1', id(300))) k1,
	ecommerce.uuid_v5(ecommerce.saga_namespace(), format('resend:%s:ask:2', id(300))) k2
WHERE headers ->> 'saga' = 'resend';
ROLLBACK;
SELECT version, event FROM saga.history('resend', id(300));

-- a timer that is set again does not fire when it was due before; a final state reacts like any other
SELECT saga.define('again', '{"endpoint": "again", "initial": "A", "events": {"Set": {}, "Later": {}, "Late": {}},
	"start": {"Set": {"schedule": {"timer": "t", "delay": "10 s"}, "goto": "A"}},
	"states": {"A": {"default": "ignore", "on": {"Later": {"schedule": {"timer": "t", "delay": "1 h"}}, "timer:t": {"goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore", "on": {"Late": {"set": {"late": true},
			"publish": {"type": "CameLate", "body": {"by": "$.envelope.user_id"}, "key": "the key"}}}}}}');
SELECT message_bus.subscribe('hotels', 'CameLate');
CREATE PROCEDURE say(n int, message_type text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM ecommerce.set_context(id(n), NULL, 'eve');
	PERFORM message_bus.publish(message_type, '{}');
	COMMIT;
	PERFORM saga.run();
END
$$;
CALL say(500, 'Set');
SELECT token AS first, due_at AS due FROM saga.timers WHERE correlation_id = id(500) \gset
CALL say(500, 'Later');
SELECT token <> :first AS another FROM saga.timers WHERE correlation_id = id(500);
SELECT saga.fire_due(:'due'::timestamptz + interval '1 min') IS NOT NULL AS fired;
SELECT state('again', 500) AS as_it_was;
SELECT saga.fire_due((SELECT due_at FROM saga.timers WHERE correlation_id = id(500))) > 0 AS fired;
SELECT state('again', 500);
CALL say(500, 'Late');
SELECT state('again', 500), data FROM saga.get('again', id(500));
BEGIN;
SELECT message_type, body, partition_key, correlation_id = id(500) AS kept, user_id
FROM message_bus.receive('hotels', 100) WHERE message_type = 'CameLate';
ROLLBACK;
-- one process for the sagas, unless a superuser says otherwise
SELECT boot_val, context FROM pg_settings WHERE name = 'saga.workers';
-- a paused endpoint pauses its sagas; no more messages than asked for
SELECT message_bus.pause('again');
CALL say(501, 'Set');
CALL say(502, 'Set');
SELECT saga.run();
SELECT message_bus.resume('again');
SELECT saga.run(1), saga.run(), saga.run();
SELECT count(*) FROM saga.instance WHERE saga = 'again';

-- a function computes what a template cannot, with the rights of the role that defined the saga
CREATE ROLE regress_saga_definer;
GRANT ecommerce_admin TO regress_saga_definer;
CREATE SCHEMA regress_call;
GRANT USAGE ON SCHEMA regress_call TO PUBLIC;
CREATE FUNCTION regress_call.total(document jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('total', (SELECT sum(i::int) FROM jsonb_array_elements_text(document -> 'message' -> 'items') i),
		'user', current_user)
$$;
CREATE FUNCTION regress_call.bad(document jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT ''7''::jsonb';
CREATE FUNCTION call_saga(fn text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('endpoint', 'call', 'initial', 'Z', 'events', '{"Count": {}}'::jsonb,
		'start', jsonb_build_object('Count', jsonb_build_object('call', fn, 'set', '{"twice": "$.data.total * 2"}'::jsonb)),
		'states', '{"Z": {"kind": "final", "default": "ignore"}}'::jsonb)
$$;
GRANT EXECUTE ON FUNCTION call_saga(text) TO regress_saga_definer;
SET ROLE regress_saga_definer;
SELECT saga.define('call', call_saga('regress_call.total(jsonb)'));
RESET ROLE;
CALL tell('Count', '{"items": [1, 2, 3]}');
SELECT data FROM saga.instance WHERE saga = 'call';
SELECT message_bus.alter_endpoint('call', retry => '{"kind": "none"}');
REVOKE EXECUTE ON FUNCTION regress_call.total(jsonb) FROM PUBLIC;
CALL tell('Count', '{"items": [4]}');
SELECT error_code, error FROM message_bus.dead_letters WHERE endpoint = 'call';
SELECT saga.define('call', call_saga('regress_call.bad(jsonb)'));
CALL tell('Count', '{"items": [5]}');
SELECT error_code, error FROM message_bus.dead_letters WHERE endpoint = 'call' ORDER BY last_failed_at DESC LIMIT 1;
CREATE OR REPLACE FUNCTION regress_call.bad(document jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CALL tell('Count', '{"items": [7]}');
SELECT error_code, error FROM message_bus.dead_letters WHERE endpoint = 'call' ORDER BY last_failed_at DESC LIMIT 1;
DROP FUNCTION regress_call.bad(jsonb) CASCADE;
CALL tell('Count', '{"items": [6]}');
SELECT error_code, error FROM message_bus.dead_letters WHERE endpoint = 'call' ORDER BY last_failed_at DESC LIMIT 1;

-- append: an expected version that has passed fails like anything else
SELECT saga.define('append', '{"endpoint": "append", "initial": "Z", "events": {"Add": {}},
	"start": {"Add": {"append": [{"stream": "thing-${$.saga.correlation_id}", "type": "Made", "data": {}, "skip_existing": true},
		{"stream": "thing-${$.saga.correlation_id}", "type": "Added", "data": {"n": 1}, "expected_version": "$.message.version"}]}},
	"states": {"Z": {"kind": "final", "default": "ignore"}}}');
SELECT message_bus.alter_endpoint('append', retry => '{"kind": "none"}');
SELECT version FROM event_store.append('thing-' || id(401), 0, 'Was', '{}');
CREATE PROCEDURE add_to(n int, version int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM ecommerce.set_context(id(n));
	PERFORM message_bus.publish('Add', jsonb_build_object('version', version));
	COMMIT;
	PERFORM saga.run();
END
$$;
CALL add_to(400, 1);
CALL add_to(401, 1);
CALL add_to(402, 5);
SELECT right(stream, 3) AS stream, version, event_type FROM event_store.read_all(category => 'thing') ORDER BY position;
SELECT error_code, error FROM message_bus.dead_letters WHERE endpoint = 'append';
SELECT count(*) FROM saga.instance WHERE correlation_id = id(402);

-- finished instances go after retain_for, unfinished ones stay; the history goes along
SELECT count(*) FROM saga.instance WHERE current_state IN ('Booked', 'Failed', 'Z');
SELECT saga.fire_due(now() + interval '29 days') IS NOT NULL AS fired;
SELECT count(*) > 0 AS still_there FROM saga.instance WHERE current_state IN ('Booked', 'Failed', 'Z');
SELECT saga.fire_due(now() + interval '31 days') IS NOT NULL AS fired;
SELECT count(*) FROM saga.instance WHERE current_state IN ('Booked', 'Failed', 'Z');
SELECT count(*) FROM saga.history('trip', id(1));
SELECT count(*) FROM saga.instance i WHERE NOT EXISTS (SELECT FROM saga.history(i.saga, i.correlation_id));

-- the log tells what has committed, once, and names the instance of what failed
SET client_min_messages = log;
BEGIN;
SELECT version FROM saga.create('trip', id(600));
ROLLBACK;
BEGIN;
SAVEPOINT before;
SELECT version FROM saga.create('trip', id(601));
ROLLBACK TO before;
SELECT version FROM saga.create('trip', id(602));
COMMIT;
SELECT message_bus.alter_endpoint('trip', retry => '{"kind": "none"}');
BEGIN;
SELECT ecommerce.set_context(id(603)) IS NOT NULL AS set;
SELECT message_bus.publish('TripRequested', jsonb_build_object('trip_id', id(603), 'nights', 1), id(604), partition_key => 'one') = id(604) AS sent;
SELECT message_bus.publish('FlightBooked', jsonb_build_object('trip_id', id(603), 'seats', 'many'), id(605), partition_key => 'one') = id(605) AS sent;
SELECT message_bus.publish('FlightFailed', jsonb_build_object('trip_id', id(606)), id(607), partition_key => 'one') = id(607) AS sent;
COMMIT;
BEGIN;
SELECT saga.run() >= 3 AS handled;
ROLLBACK;
SELECT saga.run() >= 3 AS handled;
SET client_min_messages = warning;
SELECT reason, error FROM saga.stuck WHERE correlation_id = id(603);

-- a version with another endpoint: what runs is still reached at the old one, until the last instance
-- has gone; what is published reaches both, and counts once
CREATE FUNCTION moving(endpoint text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('endpoint', endpoint, 'retain_for', '1 h') || '{"initial": "A",
		"events": {"Start": {"correlate": "$.message.id"}, "End": {"correlate": "$.message.id"}},
		"start": {"Start": {"set": {"n": 1}, "goto": "A"}},
		"states": {"A": {"default": "fault", "timer": "none", "on": {"End": {"goto": "Z"}}}, "Z": {"kind": "final", "default": "fault"}}}'
$$;
CREATE FUNCTION routes(endpoint text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(message_type, ' ' ORDER BY message_type) FROM message_bus.route r
	JOIN message_bus.endpoint e ON e.endpoint_id = r.endpoint_id WHERE e.name = routes.endpoint
$$;
SELECT saga.define('moving', moving('old-home'));
CALL tell('Start', jsonb_build_object('id', id(700)));
CALL tell('Start', jsonb_build_object('id', id(701)));
SELECT saga.define('moving', moving('new-home'));
CALL tell('Start', jsonb_build_object('id', id(702)));
SELECT message_bus.send('old-home', 'End', jsonb_build_object('id', id(700))) IS NOT NULL AS replied;
SELECT message_bus.send('old-home', 'End', jsonb_build_object('id', id(702))) IS NOT NULL AS replied_to_a_new_one;
SELECT saga.run() > 0 AS handled;
CALL tell('End', jsonb_build_object('id', id(701)));
CALL tell('End', jsonb_build_object('id', id(703)));
SELECT right(correlation_id::text, 3) AS n, definition_version, current_state, version FROM saga.instance WHERE saga = 'moving' ORDER BY 1;
SELECT count(*) AS parked_once FROM saga.parked WHERE saga = 'moving';
SELECT reason FROM message_bus.dead_letters WHERE endpoint LIKE '%-home';
SELECT routes('old-home'), routes('new-home');
SELECT saga.fire_due(now() + interval '2 h') > 0 AS gone, count(*) FROM saga.instance WHERE saga = 'moving';
SELECT saga.run() AS nothing, routes('old-home'), routes('new-home');
SELECT routes('old-home'), routes('new-home');
CALL tell('Start', jsonb_build_object('id', id(704)));
SELECT depth FROM message_bus.endpoints WHERE name = 'old-home';
-- whoever is moved back is reached there again
SELECT saga.migrate('moving', id(704), 1), routes('old-home');
SELECT message_bus.send('old-home', 'End', jsonb_build_object('id', id(704))) IS NOT NULL AS replied;
SELECT saga.run() > 0 AS handled;
SELECT state('moving', 704), routes('old-home');

-- a message is of no use after expires_at, parked or deferred; none vanishes with its instance
SELECT saga.define('waits', '{"endpoint": "waits", "initial": "A", "park_for": "1 h", "retain_for": "2 h", "events": {"WaitGo": {}, "WaitLater": {}, "WaitOn": {}, "WaitEnd": {}},
	"start": {"WaitGo": {"goto": "A"}},
	"states": {"A": {"default": "defer", "timer": "none", "on": {"WaitOn": {"goto": "B"}, "WaitEnd": {"goto": "Z"}}},
		"B": {"default": "ignore", "timer": "none", "on": {"WaitLater": {"set": {"later": true}}, "WaitEnd": {"goto": "Z"}}},
		"Z": {"kind": "final", "default": "defer"}}}');
CREATE PROCEDURE say_until(n int, message_type text, until interval, message_id uuid DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM ecommerce.set_context(id(n));
	PERFORM message_bus.publish(message_type, '{}', message_id, expires_at => now() + until);
	COMMIT;
	PERFORM saga.run();
END
$$;
CALL say_until(800, 'WaitLater', '10 min', id(850));
SELECT saga.fire_due(now() + interval '9 min') IS NOT NULL AS fired, count(*) FROM saga.parked WHERE saga = 'waits';
SELECT saga.fire_due(now() + interval '11 min') IS NOT NULL AS fired;
SELECT count(*) FROM saga.parked WHERE saga = 'waits';
CALL say_until(801, 'WaitGo', NULL);
CALL say_until(801, 'WaitLater', '10 min', id(851));
CALL say_until(801, 'WaitLater', NULL, id(852));
SELECT park_until < 'infinity' AS until FROM saga.parked WHERE saga = 'waits' ORDER BY 1;
SELECT saga.fire_due(now() + interval '11 min') IS NOT NULL AS fired;
CALL say_until(801, 'WaitEnd', NULL);
CALL say_until(802, 'WaitGo', NULL);
CALL say_until(802, 'WaitLater', NULL, id(853));
SELECT count(*) AS waiting FROM saga.parked WHERE saga = 'waits';
SELECT saga.delete('waits', id(802));
-- time passes between message and state: expired, though nobody has cleared it away yet
CALL say_until(803, 'WaitGo', NULL);
CALL say_until(803, 'WaitLater', '1 h', id(854));
UPDATE saga.parked_message SET envelope = jsonb_set(envelope, '{expires_at}', '"2020-01-01T00:00:00Z"') WHERE correlation_id = id(803);
CALL say_until(803, 'WaitOn', NULL);
SELECT current_state, data FROM saga.get('waits', id(803));
SELECT saga.fire_due(now() + interval '3 h') IS NOT NULL AS fired;
SELECT right(message_id::text, 3) AS message, reason, error FROM message_bus.dead_letters WHERE endpoint = 'waits' ORDER BY 1;
SELECT count(*) FROM saga.parked WHERE saga = 'waits';

-- forget: nothing is left, of a running one, a deleted one, one that never was
CALL say_until(810, 'WaitGo', NULL);
CALL say_until(810, 'WaitLater', NULL, id(855));
CALL say_until(811, 'WaitGo', NULL);
SELECT saga.delete('waits', id(811)), (SELECT count(*) FROM saga.history('waits', id(811))) AS kept;
CALL say_until(812, 'WaitLater', NULL, id(856));
SELECT saga.fire_due(now() + interval '2 h') IS NOT NULL AS fired;
SET client_min_messages = log;
SELECT saga.forget('waits', id(810)), saga.forget('waits', id(811)), saga.forget('waits', id(812)), saga.forget('waits', id(813)), saga.forget('waits', id(810));
SET client_min_messages = warning;
SELECT (SELECT count(*) FROM saga.history_entry h WHERE NOT EXISTS (SELECT FROM saga.stored_instance i WHERE i.number = h.number)
		AND NOT EXISTS (SELECT FROM saga.deleted_instance d WHERE d.number = h.number)) AS orphans,
	(SELECT count(*) FROM saga.parked_message WHERE correlation_id BETWEEN id(810) AND id(812)) AS parked,
	(SELECT count(*) FROM message_bus.dead WHERE message_id IN (id(855), id(856))) AS dead,
	(SELECT count(*) FROM saga.history('waits', id(811))) AS history;
SELECT refusal(format('SELECT saga.forget(%L, %L)', 'nothing', id(1)));

-- a timer at infinity is refused where it is set; a row that is broken all the same breaks no view
SELECT saga.define('never', '{"endpoint": "never", "initial": "A", "events": {"NeverGo": {}}, "start": {"NeverGo": {"schedule": {"timer": "t", "at": "$.message.at"}}},
	"states": {"A": {"default": "ignore", "on": {"timer:t": {"goto": "Z"}}}, "Z": {"kind": "final", "default": "ignore"}}}');
SELECT message_bus.alter_endpoint('never', retry => '{"kind": "none"}');
CALL tell('NeverGo', '{"at": "infinity"}');
CALL tell('NeverGo', '{"at": "2026-01-01 00:00:00"}');
CALL tell('NeverGo', '{"at": "tomorrow"}');
SELECT error_code, error FROM message_bus.dead_letters WHERE endpoint = 'never' ORDER BY 1, 2;
BEGIN;
SELECT ecommerce.set_context(id(820)) IS NOT NULL AS set;
SELECT message_bus.publish('NeverGo', '{"at": "2036-01-01T00:00:00+02:00"}') IS NOT NULL AS sent;
COMMIT;
SELECT saga.run();
SELECT next_timer, next_timer_at = '2036-01-01T00:00:00+02:00' AS at FROM saga.instances WHERE saga = 'never' AND correlation_id = id(820);
UPDATE saga.stored_instance SET engine = jsonb_set(engine, '{timers}', '{"t": [9223372036854775807, 1], "u": [1.5, "x"], "v": 7, "w": [-9223372036854775808, 2], "x": [0, 3]}')
WHERE saga = 'never' AND correlation_id = id(820);
SELECT timer, due_at = '2000-01-01 00:00:00+00' AS at, token FROM saga.timers WHERE saga = 'never' AND correlation_id = id(820) ORDER BY 1;
SELECT next_timer, next_timer_at FROM saga.instances WHERE saga = 'never' AND correlation_id = id(820);
UPDATE saga.stored_instance SET engine = jsonb_set(engine, '{timers}', '[]') || '{"outstanding": {}, "alarm_since": "x", "alarm": 5}' WHERE saga = 'never' AND correlation_id = id(820);
SELECT count(*) FROM saga.instances WHERE saga = 'never' AND correlation_id = id(820);
SELECT saga.look_for_stuck();
SELECT reason, error FROM saga.stuck WHERE saga = 'never' AND correlation_id = id(820) ORDER BY 1;
DELETE FROM saga.stored_instance WHERE saga = 'never' AND correlation_id = id(820);

-- only under READ COMMITTED
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT refusal('SELECT saga.run()'), refusal('SELECT saga.fire_due()');
COMMIT;
SET event_store.allow_drop = on;
DROP EXTENSION ecommerce CASCADE;
DROP SCHEMA regress_call CASCADE;
DROP OWNED BY regress_saga_definer;
DROP ROLE regress_saga_definer;
