-- Definitions: what is refused and how, versions, rows, verify, diagrams.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\set ECHO all
SELECT message_bus.create_endpoint('flights'), message_bus.create_endpoint('hotels');

-- accepted; its endpoint is made and subscribed, versions count
SELECT saga.define('trip', trip()), saga.define('trip', trip() || '{"park_for": "5 min"}');
SELECT name, version, is_current, definition = trip() AS as_given FROM saga.definitions ORDER BY 2;
SELECT name FROM message_bus.endpoints WHERE name = 'trip';
SELECT * FROM saga.verify('trip');
SELECT saga.define('NoEndpointSaga', trip() - 'endpoint');
SELECT name FROM message_bus.endpoints WHERE name = 'no-endpoint';

-- the same as rows
SELECT state, kind, default_reaction, timer FROM saga.definition_state
WHERE name = 'trip' AND version = 1 ORDER BY state;
SELECT state, event, ordinal, guard, target FROM saga.definition_transition
WHERE name = 'trip' AND version = 1 ORDER BY state NULLS FIRST, event, ordinal;
SELECT t.event, a.ordinal, a.kind, a.specification ->> 'type' AS type
FROM saga.definition_transition t JOIN saga.definition_action a ON a.transition_id = t.id
WHERE t.name = 'trip' AND t.version = 1 ORDER BY t.state NULLS FIRST, t.event, a.ordinal;
SELECT timer FROM saga.definition_timer WHERE name = 'trip' AND version = 1 ORDER BY 1;

-- each rule broken alone, the culprit named
SELECT problems(trip() #- '{states,BookingFlight,on,FlightBooked,0,goto}');
SELECT problems(jsonb_set(trip(), '{states,Lost}', '{"kind": "final", "default": "ignore"}'));
SELECT problems(trip() #- '{states,BookingHotel,on,HotelBooked}' #- '{states,Failed,kind}'
	#- '{states,Booked}');
SELECT problems(trip() #- '{states,BookingHotel,default}');
SELECT problems(trip() #- '{states,BookingFlight,on,timer:flight}');
SELECT problems(trip() #- '{start,TripRequested,schedule}');
SELECT problems(trip() #- '{states,Stuck,timer}');
SELECT problems(jsonb_set(trip(), '{start,TripRequested,send,0,endpoint}', '"nowhere"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,send,0,compensation,endpoint}', '"nowhere"'));
SELECT problems(trip() #- '{start,TripRequested,send,0,compensation}');
SELECT problems(trip() #- '{start,TripRequested,send,0,compensation,confirmed_by}');
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,FlightBooked,0,guard}', '"$.message.seats >"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,set,nights}', '"$.message["'));
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelBooked,append,0,stream}', '"trip-${$.data.x"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,set,nights}', '{"$pth": "$.message.nights"}'));
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,FlightFailed,goto}', '"Faild"'));
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,FlightLost}', '{"goto": "Failed"}'));
SELECT problems(jsonb_set(trip(), '{start,Begun}', '{"goto": "Failed"}'));
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,FlightFailed,unschedule}', '["flihgt"]'));
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,timer:flihgt}', '{"goto": "Failed"}'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,schedule,0,delay}', '"soon"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,schedule,0,delay}', '"-1 s"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,schedule,0,at}', '"$.message.at"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,schedule,0,timer}', '"compensate"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,whatever}', '1'));
SELECT problems(jsonb_set(trip(), '{states,Booked,kind}', '"finale"'));
SELECT problems(jsonb_set(trip(), '{states,Booked,default}', '"drop"'));
SELECT problems(jsonb_set(trip(), '{initial}', '"Nowhere"'));
SELECT problems(trip() - 'initial', 'without-initial');
SELECT definition -> 'initial' IS NULL AS none FROM saga.definitions WHERE name = 'without-initial';
SELECT current_state FROM saga.create('without-initial', id(9));
SELECT problems((trip() - 'initial') #- '{start,TripRequested,goto}');
SELECT problems(trip() - 'start');
SELECT problems(trip() - 'states');
SELECT problems(trip() - 'events');
SELECT problems('[]');
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelFailed,compensate,order}', '"random"'));
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelFailed,compensate,order}', '["fligth"]'));
SELECT problems(trip() #- '{states,BookingHotel,on,HotelFailed,compensate,give_up}'
	#- '{states,BookingHotel,on,HotelFailed,compensate,then}');
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelFailed,compensate,resend}', '{"kind": "sometimes"}'));
-- one strict reader for policies: every field that is unknown, missing, of another type or negative
SELECT p AS policy, substring(problem FROM 'policy: (.*)') AS problem
FROM unnest('{"{\"kind\": \"immediate\", \"limitt\": 3}", "{\"kind\": \"immediate\", \"limit\": \"three\"}",
	"{\"kind\": \"interval\", \"interval\": \"-1 h\"}", "{\"kind\": \"interval\", \"limit\": 2}", "{\"kind\": \"interval\", \"interval\": 5}",
	"{\"kind\": \"interval\", \"interval\": \"soon\"}", "{\"kind\": \"interval\", \"interval\": \"1 s\", \"max\": \"1 h\"}",
	"{\"kind\": \"interval\", \"intervals\": [\"1 s\", 5]}", "{\"kind\": \"interval\", \"intervals\": []}",
	"{\"kind\": \"incremental\", \"initial\": \"1 s\"}", "{\"kind\": \"immediate\", \"limit\": 1.5}", "{\"kind\": \"immediate\", \"limit\": 0}",
	"{\"kind\": \"immediate\", \"limit\": 1e30}", "{\"kind\": \"immediate\", \"limit\": -1}", "{\"kind\": 5}", "{\"limit\": 5}", "[]"}'::text[]) p,
	problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelFailed,compensate,resend}', p::jsonb));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,schedule,0}', '{"timer": "flight", "backoff": {"kind": "interval", "intervall": "1 s"}}'));
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelFailed,compensate,give_up_after}', '24'));
SELECT problems(jsonb_set(trip(), '{retain_for}', '"600 years"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,schedule,0,delay}', '30'));
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelFailed,call}', '"public.nothing(jsonb)"'));
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelFailed,call}', '"pg_catalog.upper(text)"'));
SELECT problems(jsonb_set(trip(), '{events,TripRequested,correlate}', '"$.message..x"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,send,0,resend}',
	'{"timer": "flight", "every": "1 s", "limit": 0}'));
SELECT problems(jsonb_set(jsonb_set(trip(), '{start,TripRequested,send,0,resend}',
	'{"timer": "flight", "every": "1 s", "limit": 2}'),
	'{start,TripRequested,send,0,body,n}', '"$.message.nights"'));

-- paths that lead to nothing
SELECT problems(jsonb_set(trip(), '{start,TripRequested,set,room}', '"$.messag.room"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,send,0,body,room}', '"room ${$.dat.room} of ${$.message.rooms}"'));
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,FlightBooked,0,guard}', '"$.mesage.seats > 0 && \"$.x\" == \"$.y\""'));
SELECT problems(jsonb_set(trip(), '{events,FlightBooked,correlate}', '"$.mesage.trip_id"'));
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,FlightBooked,0,send,0,body,room}', '"$.data.romo"'));
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,FlightBooked,0,guard}', '"exists($.data.set) && $.data.nihgts > 0"'));
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,FlightBooked,0,send,0,body,room}', '{"$path": "$.data.room", "default": "any, not $.dat.x"}') || '{"given": ["other"]}', 'fine');
SELECT problems(jsonb_set(trip(), '{states,BookingFlight,on,FlightBooked,0,send,0,body,room}', '"$.data.room"') || '{"given": ["room"]}', 'fine');
-- numbers that are none
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelBooked,append,0,expected_version}', '"latest"'));
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelBooked,append,0,expected_version}', '-1'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,send,0,attempt}', '"second"'));
SELECT problems(jsonb_set(trip(), '{start,TripRequested,schedule,0}', '{"timer": "flight", "backoff": {"kind": "immediate"}, "attempt": 0}'));
-- bodies that no contract fits
CREATE DOMAIN needed AS text NOT NULL;
CREATE TYPE trip_booked AS (trip_id needed, price numeric);
SELECT event_store.register_event_type('TripBooked', 'trip_booked'), event_store.register_event_type('BookHotel', 'trip_booked');
SELECT problems(trip() #- '{states,BookingFlight,on,FlightBooked,0,send,0,body,nights}' #- '{states,BookingFlight,on,FlightBooked,0,send,0,body,key}');
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelBooked,append,0,data}', '{"trp_id": "$.data.trip_id"}'));
SELECT problems(jsonb_set(trip(), '{states,BookingHotel,on,HotelBooked,append,0,data}', '{"trip_id": "x", "price": "dear"}'));
SELECT event_store.unregister_event_type('TripBooked'), event_store.unregister_event_type('BookHotel');

-- facts and what is owed
CREATE FUNCTION with_facts(path text[] DEFAULT '{}', value jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE sql AS $function$
	SELECT CASE WHEN value IS NULL THEN d ELSE jsonb_set(d, path, value) END FROM (SELECT trip() || $$
	{"given": ["off"], "facts": {"f": {"keep": "latest", "lattice": {"none": ["asked"], "asked": ["got", "giving"],
		"got": ["giving"], "giving": ["given"]}}},
	 "owed": {"give": {"each": "f", "in": ["asked", "got", "giving"], "when": "$.data.off == true",
		"to": "giving", "endpoint": "flights", "type": "Give"}}}$$ AS d) t
$function$;
SELECT problems(with_facts(), 'facts');
SELECT problems(with_facts('{facts,f,keep}', '"some"'));
SELECT problems(with_facts('{facts,f,lattice}', '{"asked": ["got"]}'));
SELECT problems(with_facts('{facts,f,late}', '{"lost": ["got"]}'));
SELECT problems(with_facts('{owed,give,in}', '["asked", "taken"]'));
SELECT problems(with_facts('{owed,give,in}', '["asked"]'));
SELECT problems(with_facts('{owed,give,to}', '"given"'));
SELECT problems(with_facts('{owed,give,each}', '"g"'));
SELECT problems(with_facts('{owed,give,after}', '["take"]'));
SELECT problems(with_facts('{owed,give,endpoint}', '"nowhere"'));
SELECT problems(with_facts('{owed,give,when}', '"$.data.off = true"'));
SELECT problems(with_facts('{owed,give,refused_by}', '{"Refused": "true"}'));
SELECT problems(with_facts('{events,FlightBooked,fact}', '{"of": "f", "to": "gott"}'));
SELECT problems(with_facts('{events,FlightBooked,fact}', '{"of": "g", "to": "got"}'));
SELECT problems(with_facts('{start,TripRequested,set,f}', '1'));
SELECT problems(with_facts('{start,TripRequested,send,0,compensation}', '{"owed": "give"}'));
SELECT problems(with_facts('{start,TripRequested,send,0,compensation}', '{"owed": "take"}'));
SELECT problems(with_facts('{states,Booked,include}', '["more"]'));
SELECT problems(with_facts('{conditions}', '{"a": "$.data.x >"}'));
SELECT problems(with_facts('{states,BookingFlight,on,FlightBooked,0,guard}', '"<unknown>"'));
SELECT problems(with_facts('{start,TripRequested,send}', '{"command": "book"}'));

-- all problems at once; nothing is stored
SELECT refusal(format('SELECT saga.define(%L, %L)', 'bad', trip() - 'start'));
SELECT refusal(format('SELECT saga.define(%L, %L)', 'bad', trip() #- '{states,Stuck,timer}'));
SELECT refusal(format('SELECT saga.define(%L, %L)', 'a:b', trip()));
SELECT count(*) FROM saga.definitions WHERE name IN ('bad', 'broken');
SELECT refusal('SELECT saga.verify(''nothing'')');
SELECT refusal('SELECT saga.diagram(''nothing'')');

-- verify() again later: an endpoint has gone; a warning is no refusal
SELECT message_bus.drop_endpoint('hotels', true);
SELECT * FROM saga.verify('trip');
SELECT message_bus.create_endpoint('hotels');
SELECT saga.define('warned', jsonb_set(trip(), '{states,Booked,default}', '"defer"'));
SELECT severity, state, event FROM saga.verify('warned') ORDER BY event LIMIT 2;

-- diagrams
\pset format unaligned
SELECT saga.diagram('trip');
SELECT saga.diagram('trip', 'dot');
SELECT refusal('SELECT saga.diagram(''trip'', ''svg'')');
SELECT saga.define('odd', replace(trip()::text, 'BookingFlight', 'Booking \"a\" flight; #1')::jsonb);
SELECT substr(saga.diagram('odd'), 1, 120);
SELECT substr(saga.diagram('odd', 'dot'), 1, 120);

-- the end of a saga: its endpoint stays with it, and it with its instances
SELECT saga.define('gone', '{"endpoint": "gone-saga", "initial": "A", "events": {"GoneBegin": {}, "GoneEnd": {}},
	"start": {"GoneBegin": {"goto": "A"}},
	"states": {"A": {"default": "ignore", "timer": "none", "on": {"GoneEnd": {"goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore"}}}');
SELECT saga.define('stays', '{"endpoint": "gone-saga", "initial": "Z", "events": {"GoneEnd": {}},
	"start": {"GoneEnd": {"goto": "Z"}}, "states": {"Z": {"kind": "final", "default": "ignore"}}}');
\set SHOW_CONTEXT never
SELECT message_bus.drop_endpoint('gone-saga', force => true);
SELECT saga.drop('never-there');
SELECT saga.create('gone', '00000000-0000-0000-0000-000000000001') IS NOT NULL AS created;
SELECT saga.drop('gone');
SELECT saga.drop('gone', force => true);
SELECT count(*) FROM saga.history('gone', '00000000-0000-0000-0000-000000000001');
SELECT message_type FROM message_bus.route r JOIN message_bus.endpoint e USING (endpoint_id)
WHERE e.name = 'gone-saga' ORDER BY 1;
SELECT saga.drop('gone');
-- gone all the same, as after a repair by hand
ALTER TABLE message_bus.endpoint DISABLE TRIGGER saga_keeps_endpoint;
SELECT message_bus.drop_endpoint('gone-saga', force => true);
ALTER TABLE message_bus.endpoint ENABLE TRIGGER saga_keeps_endpoint;
SELECT severity, problem FROM saga.verify('stays');
SELECT saga.drop('stays');
SELECT count(*) FROM saga.definition_state WHERE name IN ('gone', 'stays');
-- the functions that it calls are nobody's any more
CREATE FUNCTION price(document jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"price": 7}'::jsonb $$;
CREATE FUNCTION priced(function text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT format('{"endpoint": "priced", "initial": "A", "events": {"PricedBegin": {}},
		"start": {"PricedBegin": {"call": "public.%s(jsonb)", "goto": "A"}},
		"states": {"A": {"kind": "final", "default": "ignore"}}}', function)::jsonb $$;
CREATE FUNCTION price_no_more(document jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM saga.drop('priced');
	RETURN '{}';
END
$$;
SELECT saga.define('priced', priced('price')), saga.define('priced', priced('price_no_more')),
	saga.define('priced', priced('price'));
DROP FUNCTION price(jsonb);
SELECT saga.drop('priced');
DROP FUNCTION price(jsonb);
SELECT count(*) FROM pg_proc WHERE pronamespace = 'ecommerce'::regnamespace AND proname LIKE 'saga priced%';
-- who drops it as it begins leaves nothing of it
SELECT saga.define('priced', priced('price_no_more'));
SELECT message_bus.publish('PricedBegin', '{}') IS NOT NULL AS published;
SELECT saga.run();
SELECT object, problem FROM saga.verify() WHERE severity = 'error';
SELECT name FROM saga.definitions WHERE name = 'priced';
SELECT saga.drop('priced');
