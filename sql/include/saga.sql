-- For tests of sagas: no worker takes part, commands are looked at and taken by hand.
-- id(n): a uuid. refusal(statement): SQLSTATE and message of its error, or "no error".
-- problems(definition): what define() says against it. CALL tell(type, body): publishes and runs.
-- commands(endpoints): takes what was sent, in order, without keys.
-- state(saga, n): state and version of instance n.
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
$$;

CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL;
	RETURN state || ' ' || message || coalesce(' | ' || nullif(detail, ''), '');
END
$$;

CREATE FUNCTION problems(definition jsonb, name text DEFAULT 'broken')
RETURNS TABLE (state text, event text, problem text) LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	PERFORM saga.define(name, definition);
	RETURN QUERY SELECT NULL, NULL, 'accepted';
EXCEPTION WHEN SQLSTATE 'SG010' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN QUERY SELECT p ->> 'state', p ->> 'event', p ->> 'problem'
		FROM jsonb_array_elements(detail::jsonb) p;
END
$$;

-- A message is delivered once the transaction that published it has committed.
CREATE PROCEDURE tell(message_type text, body jsonb) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM message_bus.publish(message_type, body);
	COMMIT;
	PERFORM saga.run();
END
$$;

CREATE FUNCTION commands(VARIADIC endpoints text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	d record;
	wanted text;
	taken text[] := '{}';
	found boolean;
BEGIN
	FOREACH wanted IN ARRAY endpoints LOOP
		LOOP
			found := false;
			FOR d IN SELECT * FROM message_bus.receive(wanted, 100) LOOP
				found := true;
				taken := taken || format('%s %s %s', lpad(d.delivery_id::text, 20, '0'), d.message_type,
					d.body - 'key' - 'order_id' - 'not_after');
				PERFORM message_bus.ack(d.delivery_id);
			END LOOP;
			EXIT WHEN NOT found;
		END LOOP;
	END LOOP;
	RETURN QUERY SELECT substr(t, 22) FROM unnest(taken) t ORDER BY t;
END
$$;

CREATE FUNCTION state(saga text, n int) RETURNS text LANGUAGE sql AS $$
	SELECT current_state || ' ' || version FROM saga.instance i
	WHERE i.saga = state.saga AND i.correlation_id = id(n)
$$;

-- The trip of the documentation.
CREATE FUNCTION trip() RETURNS jsonb LANGUAGE sql IMMUTABLE AS $function$ SELECT $$
{"endpoint": "trip", "initial": "BookingFlight", "park_for": "10 min", "retain_for": "30 days",
 "events": {"TripRequested": {"correlate": "$.message.trip_id"},
	"FlightBooked": {"correlate": "$.message.trip_id"},
	"FlightFailed": {"correlate": "$.message.trip_id"},
	"FlightCancelled": {"correlate": "$.message.trip_id"},
	"HotelBooked": {"correlate": "$.message.trip_id"},
	"HotelFailed": {"correlate": "$.message.trip_id"}},
 "start": {"TripRequested": {
	"set": {"trip_id": "$.message.trip_id", "nights": "$.message.nights"},
	"send": [{"step": "flight", "endpoint": "flights", "type": "BookFlight",
		"body": {"trip_id": "$.data.trip_id", "key": "$.key"},
		"compensation": {"endpoint": "flights", "type": "CancelFlight",
			"body": {"trip_id": "$.data.trip_id", "key": "$.key"},
			"confirmed_by": "FlightCancelled"}}],
	"schedule": [{"timer": "flight", "delay": "30 s"}], "goto": "BookingFlight"}},
 "states": {
	"BookingFlight": {"kind": "normal", "default": "ignore", "on": {
		"FlightBooked": [{"guard": "$.message.seats > 0", "set": {"seat": "$.message.seat"},
			"send": [{"step": "hotel", "endpoint": "hotels", "type": "BookHotel",
				"body": {"trip_id": "$.data.trip_id", "nights": "$.data.nights", "key": "$.key"},
				"compensation": "none"}],
			"unschedule": ["flight"], "schedule": [{"timer": "hotel", "delay": "30 s"}],
			"goto": "BookingHotel"}],
		"FlightFailed": {"unschedule": ["flight"], "goto": "Failed"},
		"HotelBooked": "defer",
		"timer:flight": {"goto": "Failed"}}},
	"BookingHotel": {"kind": "normal", "default": "ignore", "on": {
		"HotelBooked": {"append": [{"stream": "trip-${$.data.trip_id}", "type": "TripBooked",
				"data": {"trip_id": "$.data.trip_id"}}],
			"publish": [{"type": "TripCompleted", "body": {"trip_id": "$.data.trip_id"}}],
			"unschedule": ["hotel"], "goto": "Booked"},
		"HotelFailed": {"unschedule": ["hotel"], "goto": "Undoing",
			"compensate": {"order": "reverse", "give_up_after": "24 h", "give_up": "Stuck",
				"resend": {"kind": "exponential", "limit": 10, "min": "1 min", "max": "15 min",
					"delta": "1 min"}, "then": "Failed"}},
		"timer:hotel": {"goto": "Undoing",
			"compensate": {"order": "reverse", "give_up_after": "24 h", "give_up": "Stuck",
				"then": "Failed"}}}},
	"Undoing": {"kind": "normal", "default": "ignore"},
	"Stuck": {"kind": "normal", "default": "ignore", "timer": "none"},
	"Booked": {"kind": "final", "default": "ignore"},
	"Failed": {"kind": "final", "default": "ignore"}}}
$$::jsonb $function$;
