-- Mangled definitions, templates and messages: refused or handled, never a crash, nothing half done.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\set ECHO all
SELECT ecommerce.install_order_saga();
SELECT message_bus.create_endpoint('flights'), message_bus.create_endpoint('hotels');

-- every value in a document, by its path
CREATE FUNCTION paths(document jsonb) RETURNS SETOF text[] LANGUAGE sql AS $$
	WITH RECURSIVE p AS (
		SELECT '{}'::text[] AS path, document AS value
		UNION ALL
		SELECT p.path || m.key, m.value FROM p CROSS JOIN LATERAL (
			SELECT key, value FROM jsonb_each(CASE jsonb_typeof(p.value) WHEN 'object' THEN p.value ELSE '{}' END)
			UNION ALL
			SELECT (n - 1)::text, v FROM jsonb_array_elements(CASE jsonb_typeof(p.value) WHEN 'array' THEN p.value ELSE '[]' END)
				WITH ORDINALITY a (v, n)) m)
	SELECT path FROM p WHERE path <> '{}'
$$;
CREATE FUNCTION mangle(document jsonb, path text[], how int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE how
		WHEN 0 THEN document #- path
		WHEN 1 THEN jsonb_set(document, path, 'null')
		WHEN 2 THEN jsonb_set(document, path, '[]')
		WHEN 3 THEN jsonb_set(document, path, '{}')
		WHEN 4 THEN jsonb_set(document, path, '"$."')
		WHEN 5 THEN jsonb_set(document, path, '-1')
		WHEN 6 THEN jsonb_set(document, path, '[{"$path": 1}, [[]], null]')
		WHEN 7 THEN jsonb_set(document, path, '"<goods_left> && ${$.data.x}"')
		WHEN 8 THEN jsonb_set(document, path, '{"": {"$first": "$", "default": {"$each": "$.x", "as": 1}}}')
		WHEN 9 THEN jsonb_set(document, path, to_jsonb(repeat('x', 300)))
	END
$$;

-- each part of a definition mangled in each way: accepted or SG010, nothing else
CREATE TABLE fuzzed (name text, path text[], how int, outcome text);
CREATE FUNCTION define_mangled(base text, document jsonb, share int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	p text[];
	how int;
BEGIN
	FOR p, how IN SELECT x, h FROM paths(document) x, generate_series(0, 9) h WHERE (hashtext(x::text || h) & 1023) < share
	LOOP
		BEGIN
			PERFORM saga.define(base, mangle(document, p, how));
			INSERT INTO fuzzed VALUES (base, p, how, 'accepted');
		EXCEPTION WHEN OTHERS THEN
			INSERT INTO fuzzed VALUES (base, p, how, SQLSTATE);
		END;
	END LOOP;
END
$$;
SELECT define_mangled('trip', trip(), 400);
SELECT define_mangled('fuzz', ecommerce.order_saga_definition() || '{"endpoint": "fuzz"}', 30);
SELECT name, outcome, count(*) > 20 AS many FROM fuzzed GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM fuzzed WHERE outcome NOT IN ('accepted', 'SG010');

-- what was accepted can be drawn, verified and run through the checker
CREATE FUNCTION run_mangled(base text, document jsonb, scenario jsonb) RETURNS TABLE (outcome text, n bigint) LANGUAGE plpgsql AS $$
DECLARE
	f fuzzed;
BEGIN
	CREATE TEMP TABLE ran (outcome text);
	FOR f IN SELECT * FROM fuzzed x WHERE x.name = base AND x.outcome = 'accepted' LOOP
		BEGIN
			PERFORM saga.define(base, mangle(document, f.path, f.how));
			PERFORM saga.diagram(base), saga.diagram(base, 'dot');
			PERFORM saga.verify(base);
			PERFORM saga.simulate(base, scenario, 3, 1);
			INSERT INTO ran VALUES ('ran');
		EXCEPTION WHEN OTHERS THEN
			INSERT INTO ran VALUES (SQLSTATE || ' ' || SQLERRM || ' ' || f.path::text || f.how);
		END;
	END LOOP;
	RETURN QUERY SELECT r.outcome, CASE r.outcome WHEN 'ran' THEN 1 ELSE count(*) END FROM ran r GROUP BY 1;
	DROP TABLE ran;
END
$$;
SELECT * FROM run_mangled('fuzz', ecommerce.order_saga_definition() || '{"endpoint": "fuzz"}', ecommerce.order_saga_scenario());
SELECT * FROM run_mangled('trip', trip(), '{"start": {"type": "TripRequested", "body": {"trip_id": "00000000-0000-4000-8000-000000000001", "nights": 1}},
	"participants": {"flights": {"commands": {"BookFlight": {"none": [{"reply": {"type": "FlightBooked", "body": {"seats": 1, "seat": "1A"}}},
		{"reply": {"type": "FlightFailed"}}]}, "CancelFlight": {"none": {"reply": {"type": "FlightCancelled"}}}}},
		"hotels": {"commands": {"BookHotel": {"none": [{"reply": {"type": "HotelBooked"}}, {"reply": {"type": "HotelFailed"}}, {}]}}}}}');

-- scenarios too
CREATE FUNCTION simulate_mangled() RETURNS TABLE (outcome text, many boolean) LANGUAGE plpgsql AS $$
DECLARE
	p text[];
	how int;
BEGIN
	CREATE TEMP TABLE ran (outcome text);
	FOR p, how IN SELECT x, h FROM paths(ecommerce.order_saga_scenario()) x, generate_series(0, 9) h
		WHERE (hashtext(x::text || h) & 1023) < 40
	LOOP
		BEGIN
			PERFORM saga.simulate('order', mangle(ecommerce.order_saga_scenario(), p, how), 2, 1);
			INSERT INTO ran VALUES ('ran');
		EXCEPTION WHEN OTHERS THEN
			INSERT INTO ran VALUES (CASE WHEN SQLSTATE LIKE '42601' OR SQLSTATE IN ('SG005', '22P02', '22007') THEN 'refused'
				ELSE SQLSTATE || ' ' || SQLERRM || p::text || how END);
		END;
	END LOOP;
	RETURN QUERY SELECT r.outcome, count(*) > 20 FROM ran r GROUP BY 1 ORDER BY 1;
	DROP TABLE ran;
END
$$;
SELECT * FROM simulate_mangled();

CREATE PROCEDURE run_all() LANGUAGE plpgsql AS $$
BEGIN
	WHILE saga.run() > 0 LOOP
		COMMIT;
	END LOOP;
END
$$;

-- mangled messages: handled, parked, retried or dead; the instance is whole, the endpoint empty
SELECT saga.define('trip', trip()) > 0 AS defined;
SELECT message_bus.alter_endpoint('trip', retry => '{"kind": "none"}', breaker => '{"kind": "none"}');
SELECT count(message_bus.publish(t, CASE WHEN p IS NULL THEN body ELSE mangle(body, p, h) END))
FROM (VALUES ('TripRequested', '{"trip_id": "00000000-0000-4000-8000-000000000001", "nights": 3}'::jsonb),
	('FlightBooked', '{"trip_id": "00000000-0000-4000-8000-000000000001", "seats": 2, "seat": "1A", "key": "x"}'),
	('HotelFailed', '{"trip_id": "00000000-0000-4000-8000-000000000001", "key": "00000000-0000-4000-8000-000000000001"}'),
	('FlightCancelled', '{"trip_id": "00000000-0000-4000-8000-000000000001", "key": "00000000-0000-4000-8000-000000000001"}')) v (t, body)
CROSS JOIN LATERAL (SELECT NULL::text[] AS p, 0 AS h UNION ALL SELECT x, h FROM paths(body) x, generate_series(0, 9) h) m;
SELECT saga.run() > 100 AS handled;
CALL run_all();
SELECT depth, in_flight, retrying FROM message_bus.endpoints WHERE name = 'trip';
SELECT reason, error_code, count(*) > 0 AS some FROM message_bus.dead_letters GROUP BY 1, 2 ORDER BY 1, 2;
SELECT correlation_id, version = (SELECT count(*) FROM saga.history('trip', correlation_id)) AS whole FROM saga.instance WHERE saga = 'trip';
-- data of instances may be anything, saga.update() writes what it is given: messages and timers
-- find it, and are handled or fail
SELECT ecommerce.install_order_saga() > 0 AS defined;
SELECT message_bus.alter_endpoint('order', retry => '{"kind": "none"}', breaker => '{"kind": "none"}');
CREATE FUNCTION half_way() RETURNS jsonb LANGUAGE sql AS $function$ SELECT $$
	{"goal": "FULFIL", "total": 42.00, "currency": "USD", "customer_id": "00000000-0000-4000-8000-000000001001",
	 "items": [{"product_id": "00000000-0000-4000-8000-000000002000", "sku": "MUG", "quantity": 2}],
	 "shipping_address": {"street": "1 Main St", "city": "Springfield", "state": "IL", "postal_code": "62701", "country": "US"},
	 "payment_method": {"type": "card", "last4_digits": "4242", "token": "tok_ok"}, "queries": 2,
	 "inv": {"key": "00000000-0000-4000-8000-000000000011", "attempt": 2, "st": "held", "expires_at": "2026-01-01T00:00:00+00:00"},
	 "earlier": {"inv": [{"key": "00000000-0000-4000-8000-000000000010", "attempt": 1, "st": "expired"}]},
	 "pay": [{"key": "00000000-0000-4000-8000-000000000012", "attempt": 1, "st": "unknown"}],
	 "shp": {"key": "00000000-0000-4000-8000-000000000013", "attempt": 1, "st": "requested"},
	 "cancellation": [{"key": "customer: why", "st": "asked", "by": "customer", "reason": "why"}]}$$::jsonb
$function$;
CREATE TABLE made (n int GENERATED ALWAYS AS IDENTITY, id uuid, path text[], how int);
INSERT INTO made (id, path, how) SELECT NULL, x, h FROM paths(half_way()) x, generate_series(0, 9) h;
UPDATE made SET id = id(n);
SELECT count(saga.create('order', id, mangle(half_way(), path, how), 'ResolvingPayment')) > 200 AS created FROM made;
SELECT count(message_bus.publish(v.type, jsonb_build_object('order_id', m.id) || v.body)) > 800 AS published
FROM made m, (VALUES
	('PaymentStatusReported', '{"key": "00000000-0000-4000-8000-000000000012", "status": "not_found"}'::jsonb),
	('InventoryReserved', '{"key": "00000000-0000-4000-8000-000000000010", "reserved_items": [], "expires_at": "2026-01-02T00:00:00Z"}'),
	('PaymentProcessed', '{"key": "00000000-0000-4000-8000-000000000012", "transaction_id": "x", "amount": 1, "currency": "USD",
		"processed_at": "2026-01-02T00:00:00Z"}'),
	('ShipmentFailed', '{"key": "00000000-0000-4000-8000-000000000013", "reason": "no", "error_code": "x", "is_retryable": false}')) v (type, body);
CALL run_all();
SELECT depth, in_flight, retrying FROM message_bus.endpoints WHERE name = 'order';
SELECT reason, error_code FROM message_bus.dead_letters WHERE endpoint = 'order' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FILTER (WHERE i.version > 1) > 200 AS moved, count(*) FILTER (WHERE i.version <> h.count) AS not_whole
FROM made m JOIN saga.instance i ON i.saga = 'order' AND i.correlation_id = m.id, LATERAL (SELECT count(*) FROM saga.history('order', m.id)) h;
SET client_min_messages = error;
SELECT saga.fire_due(now() + interval '10 min') > 200 AS fired;
SET client_min_messages = warning;

-- deep nesting is refused, not followed to the end of the stack
SELECT refusal(format('SELECT saga.define(%L, %L)', 'deep',
	jsonb_set(trip(), '{start,TripRequested,set,deep}', (repeat('[', 6000) || repeat(']', 6000))::jsonb))) ~ '^(54001|SG010|no error)' AS survived;
