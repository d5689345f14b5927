-- Compensation: order, confirmation, resends, giving up; operators: retry, goto, cancel, migrate.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\set ECHO all
SELECT message_bus.create_endpoint('flights'), message_bus.create_endpoint('hotels'), message_bus.create_endpoint('s');
SELECT saga.define('trip', trip());

-- the hotel fails: the flight is undone, resent with back-off ten times at most, confirmed
CALL tell('TripRequested', jsonb_build_object('trip_id', id(1), 'nights', 3));
CALL tell('FlightBooked', jsonb_build_object('trip_id', id(1), 'seats', 1, 'seat', '1A'));
CALL tell('HotelFailed', jsonb_build_object('trip_id', id(1)));
SELECT state('trip', 1), timer FROM saga.timers;
SELECT commands('flights', 'hotels');
SELECT saga.fire_due(now() + interval '23 h') AS resent;
SELECT count(*), count(DISTINCT message_id), count(DISTINCT body ->> 'key') FROM message_bus.receive('flights', 100);
SELECT count(*), bool_and(d BETWEEN interval '45 s' AND interval '19 min') AS within
FROM (SELECT (a ->> 'due_at')::timestamptz - lag((a ->> 'due_at')::timestamptz) OVER (ORDER BY version) AS d
	FROM saga.history('trip', id(1)), jsonb_array_elements(actions) a WHERE a ->> 'timer' = 'compensate' AND version < 13) x;
SELECT due_at - (SELECT state_since FROM saga.stored_instance) AS gives_up_after FROM saga.timers;
CALL tell('HotelBooked', jsonb_build_object('trip_id', id(1)));
CALL tell('FlightCancelled', jsonb_build_object('trip_id', id(1), 'key', id(77)));
SELECT state('trip', 1) AS not_confirmed_by_another_key;
CALL tell('FlightCancelled', jsonb_build_object('trip_id', id(1)));
SELECT state('trip', 1), (SELECT count(*) FROM saga.timers) AS timers;
SELECT event, from_state, to_state, jsonb_path_query_array(actions, '$[*].action') AS actions
FROM saga.history('trip', id(1)) WHERE from_state IS DISTINCT FROM to_state;

-- never confirmed: given up after 24 h, for an operator; retry goes on where it was
CALL tell('TripRequested', jsonb_build_object('trip_id', id(2), 'nights', 3));
CALL tell('FlightBooked', jsonb_build_object('trip_id', id(2), 'seats', 1, 'seat', '1A'));
SELECT saga.fire_due(now() + interval '31 s');
SELECT state('trip', 2);
SELECT saga.fire_due(now() + interval '23 h 59 min') > 10 AS resent, state('trip', 2) LIKE 'Undoing%' AS still;
SELECT saga.fire_due(now() + interval '24 h 1 min') AS fired, split_part(state('trip', 2), ' ', 1) AS state;
SELECT saga, correlation_id = id(2) AS it, current_state, reason FROM saga.stuck;
SELECT count(*) FROM saga.timers;
SELECT saga.retry('trip', id(2)) > 3 AS version, split_part(state('trip', 2), ' ', 1) AS state;
SELECT count(*) FROM saga.stuck;
SELECT event, actor = current_user AS by_me FROM saga.history('trip', id(2)) ORDER BY version DESC LIMIT 1;
CALL tell('FlightCancelled', jsonb_build_object('trip_id', id(2)));
SELECT split_part(state('trip', 2), ' ', 1);
-- a confirmation that comes after giving up ends it too
CALL tell('TripRequested', jsonb_build_object('trip_id', id(3), 'nights', 3));
CALL tell('FlightBooked', jsonb_build_object('trip_id', id(3), 'seats', 1, 'seat', '1A'));
CALL tell('HotelFailed', jsonb_build_object('trip_id', id(3)));
SELECT saga.fire_due(now() + interval '25 h') > 0 AS fired, split_part(state('trip', 3), ' ', 1);
CALL tell('FlightCancelled', jsonb_build_object('trip_id', id(3)));
SELECT split_part(state('trip', 3), ' ', 1), (SELECT count(*) FROM saga.stuck) AS stuck;

-- orders: three steps, one of them without compensation
CREATE FUNCTION steps(ordering jsonb) RETURNS jsonb LANGUAGE sql AS $function$ SELECT jsonb_set($$
{"endpoint": "steps", "initial": "Begun",
 "events": {"Go": {}, "Fail": {}, "UndoneA": {}, "UndoneB": {}, "UndoneC": {}},
 "start": {"Go": {"set": {"who": "$.message.who"}, "goto": "Begun", "send": [
	{"step": "a", "endpoint": "s", "type": "DoA", "compensation": {"endpoint": "s", "type": "UndoA", "confirmed_by": "UndoneA",
		"body": {"who": "$.data.who"}}},
	{"step": "n", "endpoint": "s", "type": "DoN", "compensation": "none"},
	{"step": "b", "endpoint": "s", "type": "DoB", "compensation": {"endpoint": "s", "type": "UndoB", "confirmed_by": "UndoneB"}},
	{"step": "never", "if": "$.data.who == \"nobody\"", "endpoint": "s", "type": "DoD",
		"compensation": {"endpoint": "s", "type": "UndoD", "confirmed_by": "UndoneB"}},
	{"step": "c", "endpoint": "s", "type": "DoC", "compensation": {"endpoint": "s", "type": "UndoC", "confirmed_by": "UndoneC"}}]}},
 "states": {"Begun": {"default": "ignore", "timer": "none", "on": {"Fail": {"goto": "Undoing",
		"compensate": {"give_up_after": "1 h", "give_up": "Stuck", "then": "Over"}}}},
	"Undoing": {"default": "ignore"}, "Stuck": {"default": "ignore", "timer": "none"},
	"Over": {"kind": "final", "default": "ignore"}}}$$::jsonb,
	'{states,Begun,on,Fail,compensate,order}', ordering) $function$;
CREATE PROCEDURE say(n int, message_type text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM ecommerce.set_context(id(n));
	PERFORM message_bus.publish(message_type, '{"who": "me"}');
	COMMIT;
	PERFORM saga.run();
END
$$;
SELECT saga.define('steps', steps('"reverse"'));
CALL say(10, 'Go');
CALL say(10, 'Fail');
SELECT commands('s');
CALL say(10, 'UndoneA');
SELECT commands('s') AS nothing;
CALL say(10, 'UndoneC');
SELECT commands('s');
CALL say(10, 'UndoneB');
SELECT commands('s'), state('steps', 10);
CALL say(10, 'UndoneA');
SELECT state('steps', 10);
SELECT saga.define('steps', steps('"forward"'));
CALL say(11, 'Go');
CALL say(11, 'Fail');
CALL say(11, 'UndoneA');
SELECT commands('s');
SELECT saga.define('steps', steps('"parallel"'));
CALL say(12, 'Go');
CALL say(12, 'Fail');
SELECT commands('s');
CALL say(12, 'UndoneB');
CALL say(12, 'UndoneA');
CALL say(12, 'UndoneC');
SELECT state('steps', 12);
SELECT saga.define('steps', steps('["b", "a"]'));
CALL say(13, 'Go');
CALL say(13, 'Fail');
CALL say(13, 'UndoneB');
SELECT commands('s');
CALL say(13, 'UndoneA');
SELECT state('steps', 13);
-- nothing to undo: over at once
SELECT current_state FROM saga.create('steps', id(14));
CALL say(14, 'Fail');
SELECT state('steps', 14);
SELECT count(*) AS undone_ones_with_timers FROM saga.timers WHERE saga = 'steps' AND correlation_id <> id(11);

-- cancel: by what the definition says, else by undoing; goto: anywhere; all in the history
CALL say(15, 'Go');
SELECT saga.cancel('steps', id(15), 'not wanted'), state('steps', 15);
SELECT event, actor = current_user AS by_me, reason, from_state, to_state FROM saga.history('steps', id(15)) ORDER BY version DESC LIMIT 1;
SELECT refusal(format('SELECT saga.cancel(%L, %L)', 'steps', id(14)));
SELECT refusal(format('SELECT saga.cancel(%L, %L)', 'steps', id(99)));
SELECT saga.goto('steps', id(15), 'Over', 'settled by phone'), state('steps', 15);
SELECT event, reason, to_state FROM saga.history('steps', id(15)) ORDER BY version DESC LIMIT 1;
SELECT refusal(format('SELECT saga.goto(%L, %L, %L)', 'steps', id(15), 'Nowhere'));
SELECT refusal(format('SELECT saga.goto(%L, %L, %L)', 'steps', id(99), 'Over'));
SELECT refusal(format('SELECT saga.retry(%L, %L)', 'steps', id(99)));
SELECT saga.define('plain', '{"endpoint": "plain", "initial": "A", "events": {"Go": {}, "Stop": {}}, "start": {"Go": {"goto": "A"}},
	"states": {"A": {"default": "ignore", "timer": "none", "on": {"Stop": {"set": {"why": "$.message.why"}, "goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore"}}}');
SELECT current_state FROM saga.create('plain', id(20));
SELECT refusal(format('SELECT saga.cancel(%L, %L)', 'plain', id(20)));
SELECT saga.define('plain', '{"endpoint": "plain", "initial": "A", "events": {"Go": {}, "Stop": {}}, "start": {"Go": {"goto": "A"}},
	"cancel": {"as": "Stop", "body": {"why": "$.reason", "at": {"$time": "now", "plus": "1 h"}}},
	"states": {"A": {"default": "ignore", "timer": "none", "on": {"Stop": {"set": {"why": "$.message.why",
		"late": {"$path": "$.message.at > $.now"}}, "goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore"}}}');
SELECT current_state FROM saga.create('plain', id(21));
SELECT saga.cancel('plain', id(21), 'because'), data, current_state FROM saga.get('plain', id(21));
SELECT data, current_state FROM saga.get('plain', id(21));

-- retry() also redrives what died for the instance
SELECT message_bus.alter_endpoint('plain', retry => '{"kind": "none"}');
SELECT current_state FROM saga.create('plain', id(22));
CALL say(22, 'Stop');
SELECT reason FROM saga.stuck WHERE correlation_id = id(22);
SELECT saga.define('plain', '{"endpoint": "plain", "initial": "A", "events": {"Go": {}, "Stop": {}}, "start": {"Go": {"goto": "A"}},
	"states": {"A": {"default": "ignore", "timer": "none", "on": {"Stop": {"goto": "Y"}}}, "Y": {"default": "ignore", "timer": "none",
		"on": {"Stop": {"goto": "Z"}}}, "Z": {"kind": "final", "default": "ignore"}}}');
SELECT refusal(format('SELECT saga.migrate(%L, %L, 9)', 'plain', id(22)));
SELECT refusal(format('SELECT saga.migrate(%L, %L, 3)', 'plain', id(99)));
SELECT saga.migrate('plain', id(22), 3), saga.migrate('plain', id(22), 3), state('plain', 22);
SELECT saga.retry('plain', id(22));
SELECT saga.run();
SELECT state('plain', 22), (SELECT count(*) FROM saga.stuck WHERE correlation_id = id(22)) AS stuck;

-- migrate: running instances, timers and what is outstanding with them
SELECT saga.define('trip', replace(trip()::text, 'BookingHotel', 'FindingHotel')::jsonb);
CALL tell('TripRequested', jsonb_build_object('trip_id', id(30), 'nights', 3));
SELECT definition_version FROM saga.get('trip', id(30));
SELECT saga.define('trip', trip());
SELECT saga.migrate('trip', id(30), 3), definition_version, next_timer FROM saga.instances WHERE correlation_id = id(30);
CALL tell('FlightBooked', jsonb_build_object('trip_id', id(30), 'seats', 1, 'seat', '1A'));
SELECT state('trip', 30);
SELECT refusal(format('SELECT saga.migrate(%L, %L, 2)', 'trip', id(30)));
SELECT saga.migrate('trip', id(30), 2, '{"BookingHotel": "FindingHotel"}'), state('trip', 30);
SELECT state('trip', 30), next_timer FROM saga.instances WHERE correlation_id = id(30);
SELECT event, from_state, to_state, actions -> -1 AS what FROM saga.history('trip', id(30)) WHERE event = 'migrate';
SELECT saga.migrate('trip', NULL, 3, '{"FindingHotel": "BookingHotel"}');
CALL tell('HotelFailed', jsonb_build_object('trip_id', id(30)));
SELECT state('trip', 30), next_timer FROM saga.instances WHERE correlation_id = id(30);
SELECT count(DISTINCT definition_version) FROM saga.instance WHERE saga = 'trip';

-- whatever brings an instance into a state, something wakes it there, or it is refused
CREATE FUNCTION waiting(timer text) RETURNS jsonb LANGUAGE sql AS $function$
	SELECT replace($$
{"endpoint": "waiting", "initial": "A", "events": {"Go": {}, "Next": {}, "Hold": {}, "Undone": {}},
 "start": {"Go": {"goto": "A", "schedule": {"timer": "TIMER", "delay": "1 min"},
	"send": {"step": "s", "endpoint": "s", "type": "Do", "compensation": {"endpoint": "s", "type": "Undo", "confirmed_by": "Undone"}}}},
 "states": {"A": {"default": "ignore", "on": {"timer:TIMER": {"goto": "Z"}, "Next": {"goto": "Undoing",
			"compensate": {"give_up_after": "1 h", "give_up": "Held", "then": "Z"}},
		"Hold": {"goto": "Held", "unschedule": "*"}}},
	"Held": {"default": "ignore", "timer": "none", "on": {"Hold": {"goto": "Z"}}}, "Undoing": {"default": "ignore"},
	"Z": {"kind": "final", "default": "ignore"}}}$$, 'TIMER', timer)::jsonb
$function$;
CREATE FUNCTION timers(n int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(timer, ' ' ORDER BY timer) FROM saga.timers WHERE correlation_id = id(n)
$$;
SELECT saga.define('waiting', waiting('old')), saga.define('waiting', waiting('new'));
SELECT saga.define('waiting', waiting('old') #- '{start,Go,send}');
-- migrate: a timer with another name
SELECT saga.define('waiting', waiting('old'));
CALL say(40, 'Go');
SELECT refusal(format('SELECT saga.migrate(%L, %L, 2)', 'waiting', id(40)));
SELECT refusal(format('SELECT saga.migrate(%L, %L, 2, timer_map => %L)', 'waiting', id(40), '{"old": "nwe"}'));
SELECT refusal(format('SELECT saga.migrate(%L, %L, 2, timer_map => %L)', 'waiting', id(40), '[]'));
SELECT timers(40), saga.migrate('waiting', id(40), 2, timer_map => '{"old": "new"}');
SELECT timers(40), actions -> -1 AS what FROM saga.history('waiting', id(40)) WHERE event = 'migrate';
SELECT saga.migrate('waiting', id(40), 4, timer_map => '{"new": null}'), timers(40);
SELECT timers(40), jsonb_path_query_array(actions, '$[*].action') AS actions FROM saga.history('waiting', id(40)) WHERE event = 'migrate';
SELECT saga.fire_due(now() + interval '2 min') > 0 AS fired;
SELECT state('waiting', 40);
-- a compensation under way that the version does not have
CALL say(41, 'Go');
CALL say(41, 'Next');
SELECT refusal(format('SELECT saga.migrate(%L, %L, 3)', 'waiting', id(41)));
SELECT saga.define('waiting', replace(waiting('old')::text, 'Held', 'Kept')::jsonb);
SELECT refusal(format('SELECT saga.migrate(%L, %L, 5)', 'waiting', id(41)));
SELECT saga.migrate('waiting', id(41), 5, '{"Held": "Kept"}');
SELECT saga.fire_due(now() + interval '2 h') > 0 AS fired;
SELECT state('waiting', 41) LIKE 'Kept%' AS kept;
-- goto, update and create set what the definition sets on the way there
SELECT saga.define('waiting', waiting('old'));
CALL say(42, 'Go');
CALL say(42, 'Hold');
SELECT timers(42), saga.goto('waiting', id(42), 'A');
SELECT timers(42), saga.goto('waiting', id(42), 'Held');
SELECT refusal(format('SELECT saga.goto(%L, %L, %L)', 'waiting', id(42), 'Undoing')) AS nothing_to_undo;
SELECT refusal(format('SELECT saga.update(%L, %L, 4, %L, NULL)', 'waiting', id(42), 'Undoing')) AS nothing_to_undo;
SELECT saga.create('waiting', id(43)) IS NOT NULL AS created, saga.create('waiting', id(44), '{}', 'Held') IS NOT NULL AS held;
SELECT timers(43), timers(44), saga.update('waiting', id(44), 1, 'A', NULL);
SELECT timers(44);
SELECT refusal(format('SELECT saga.create(%L, %L, %L, %L)', 'waiting', id(45), '{}', 'Undoing'));
-- a time that nobody knows beforehand has to be given
SELECT saga.define('waiting', jsonb_set(waiting('at'), '{start,Go,schedule}', '{"timer": "at", "at": "$.message.at"}')
	#- '{start,Go,send}' #- '{states,A,on,Next}' #- '{states,Undoing}');
SELECT refusal(format('SELECT saga.create(%L, %L)', 'waiting', id(46)));
SELECT saga.create('waiting', id(46), '{}', 'Held') IS NOT NULL AS created;
SELECT refusal(format('SELECT saga.goto(%L, %L, %L)', 'waiting', id(46), 'A'));
SELECT refusal(format('SELECT saga.goto(%L, %L, %L, NULL, %L)', 'waiting', id(46), 'A', '{"old": "1 h"}'));
SELECT refusal(format('SELECT saga.goto(%L, %L, %L, NULL, %L)', 'waiting', id(46), 'A', '{"at": "soon"}'));
SELECT refusal(format('SELECT saga.goto(%L, %L, %L, NULL, %L)', 'waiting', id(46), 'A', '{"at": "infinity"}'));
SELECT saga.goto('waiting', id(46), 'A', 'go on', timers => '{"at": "1 h"}'), timers(46);
SELECT timers(46);
-- what is left without all the same is seen
UPDATE saga.stored_instance SET engine = engine - 'timers' WHERE correlation_id = id(46);
SELECT saga.look_for_stuck();
SELECT saga, correlation_id = id(46) AS it, current_state, reason, since IS NOT NULL AS dated, error FROM saga.stuck
WHERE reason = 'no_timer';

-- a step that cannot be undone does not keep the others from it: given up, or refused, the next one follows
CREATE FUNCTION refusing(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $function$
	SELECT jsonb_set(d, '{states,Begun,on,Fail,compensate}', d #> '{states,Begun,on,Fail,compensate}' || more)
	FROM jsonb_set(jsonb_set(steps('"reverse"'), '{events}', '{"Go": {}, "Fail": {}, "UndoneA": {}, "UndoneB": {}, "UndoneC": {}, "Refused": {}}'),
		'{start,Go,send,4,compensation,refused_by}', '{"Refused": "$.message.final == true"}') d
$function$;
CREATE PROCEDURE answer(n int, message_type text, body jsonb) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM ecommerce.set_context(id(n));
	PERFORM message_bus.publish(message_type, body);
	COMMIT;
	PERFORM saga.run();
END
$$;
SELECT problems(jsonb_set(refusing(), '{start,Go,send,4,compensation,refused_by}', '{"Refusd": "true"}'));
SELECT problems(refusing('{"given_up": "carry on"}'));
SELECT saga.define('steps', refusing());
SELECT count(*) > 0 AS emptied FROM commands('s');
CALL say(50, 'Go');
CALL say(50, 'Fail');
SELECT commands('s');
CALL answer(50, 'Refused', '{"final": false}');
SELECT state('steps', 50), (SELECT count(*) FROM commands('s')) AS sent;
CALL answer(50, 'Refused', '{"final": true}');
SELECT state('steps', 50), commands('s');
SELECT reason, error FROM saga.stuck WHERE correlation_id = id(50);
CALL say(50, 'UndoneB');
CALL say(50, 'UndoneA');
SELECT state('steps', 50), commands('s');
SELECT event, jsonb_path_query_array(actions, '$[*] ? (@.action != "schedule").action') AS actions FROM saga.history('steps', id(50)) ORDER BY version;
-- what was refused can still be tried again, and ends it
SELECT saga.retry('steps', id(50));
SELECT state('steps', 50), commands('s');
CALL say(50, 'UndoneC');
SELECT state('steps', 50), (SELECT count(*) FROM saga.stuck WHERE correlation_id = id(50)) AS stuck;
-- given up by its time: the next is sent then
CALL say(51, 'Go');
CALL say(51, 'Fail');
SELECT count(*) AS sent FROM commands('s');
SELECT saga.fire_due(now() + interval '61 min') > 0 AS fired;
SELECT state('steps', 51) LIKE 'Stuck%' AS stuck, array_agg(DISTINCT c) AS sent FROM commands('s') c;
-- unless one must not be undone before another
SELECT saga.define('steps', refusing('{"given_up": "stop"}'));
CALL say(52, 'Go');
CALL say(52, 'Fail');
CALL answer(52, 'Refused', '{"final": true}');
SELECT state('steps', 52), array_agg(DISTINCT c) AS sent FROM commands('s') c;
