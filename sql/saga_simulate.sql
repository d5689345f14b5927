-- The permutation checker: the order saga's invariants hold over its schedules, and fail when a
-- rule is broken on purpose.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\set ECHO all
SELECT ecommerce.install_order_saga();

-- 16 000 schedules in all; here with losses, duplicates, timeouts and customers who change their mind
SELECT seed, r -> 'schedules' AS schedules, (r -> 'transitions')::int > 10000 AS moved,
	(r -> 'end_states' -> 'Completed')::int > 100 AS some_completed,
	(r -> 'end_states' -> 'Cancelled')::int > 100 AS some_cancelled,
	r -> 'violation_count' AS violations, r -> 'violations' -> 0 AS first
FROM generate_series(1, 4) seed, saga.simulate('order', ecommerce.order_saga_scenario(), 2000, seed) r;
-- the quiet ones: nobody cancels, nothing is lost
SELECT r -> 'schedules' AS schedules, (r -> 'end_states' -> 'Completed')::int > 1000 AS most_completed,
	r -> 'violation_count' AS violations, r -> 'violations' -> 0 AS first
FROM saga.simulate('order', ecommerce.order_saga_scenario() || '{"requests": [], "faults": {}, "patient": true}', 2000, 5) r;
-- every order of the same answers ends alike: ten orders each of 200 ways the participants may act
CREATE FUNCTION reordered(place text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
	SELECT ecommerce.order_saga_scenario() #- '{participants,inventory,happens}' || jsonb_build_object('orders', 10,
		'patient', true, 'faults', '{"duplicates": 3}'::jsonb, 'requests', CASE WHEN place IS NULL THEN '[]' ELSE
			jsonb_build_array((ecommerce.order_saga_scenario() #> '{requests,0}') || jsonb_build_object('in', place)) END)
$$;
SELECT r -> 'schedules' AS schedules, r -> 'violation_count' AS violations, r -> 'violations' -> 0 AS first
FROM saga.simulate('order', reordered(), 2000, 6) r;
-- also with a customer who changes her mind at one place of all of them
SELECT place, r -> 'schedules' AS schedules, (r -> 'end_states' -> 'Cancelled')::int > 100 AS some_cancelled,
	r -> 'violation_count' AS violations, r -> 'violations' -> 0 AS first
FROM unnest('{ReservingInventory,ProcessingPayment,ArrangingFulfilment,Confirmed}'::text[]) WITH ORDINALITY p (place, n),
	saga.simulate('order', reordered(place), 500, 10 + n::int) r;
-- payments that turn up after their decline
CREATE FUNCTION late_payments() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_set(s, '{participants,payment,happens,declined}', '{"to": "captured", "at_most": 1, "reply": {
		"type": "PaymentProcessed", "body": {"order_id": "515a9000-0000-4000-8000-000000000001", "key": "$.key",
			"transaction_id": "late", "amount": 42.00, "currency": "USD", "processed_at": "$.now"}}}')
		|| jsonb_build_object('invariants', (SELECT jsonb_agg(i || '{"at_end": true}') FROM jsonb_array_elements(s -> 'invariants') i
			WHERE i ->> 'name' LIKE '1 money%' AND i ->> 'name' <> '1 money, confirmed' OR i ->> 'name' LIKE '2 %'))
	FROM ecommerce.order_saga_scenario() s
$$;
SELECT r -> 'schedules' AS schedules, r -> 'violation_count' AS violations, r -> 'violations' -> 0 AS first
FROM saga.simulate('order', late_payments(), 2000, 7) r;

-- Money that goes back without us: a refund made at the provider of what is still here, or a dispute that is won
-- in the end. What is still here is not sent for it, in whatever order that is heard of.
CREATE FUNCTION returned_payments(happens jsonb, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_set(s, '{participants,payment,happens}', (s #> '{participants,payment,happens}') || '{
		"captured": {"to": "returned", "at_most": 1, "reply": {"type": "PaymentReturned", "body": {"key": "$.key", "moves": 1,
			"order_id": "515a9000-0000-4000-8000-000000000001", "amount": 42.00, "reason": "refund"}}}}' || happens)
		|| jsonb_build_object('faults', '{"duplicates": 3, "timeouts": 3}'::jsonb,
			'invariants', (SELECT jsonb_agg(i || '{"at_end": true}') FROM jsonb_array_elements(s -> 'invariants') i
			WHERE i ->> 'name' LIKE '1 money%' OR i ->> 'name' LIKE '2 %' OR i ->> 'name' LIKE '7 no shipment%')
			|| '{"name": "1 money, returned", "at_end": true, "holds": "!exists($.count.payment.returned)"}') || more
	FROM ecommerce.order_saga_scenario() s
$$;
CREATE FUNCTION refunded_elsewhere() RETURNS jsonb LANGUAGE sql AS $$
	SELECT returned_payments('{}') #- '{participants,shipping,happens}'
$$;
CREATE FUNCTION disputed() RETURNS jsonb LANGUAGE sql AS $$
	SELECT returned_payments('{"returned": {"to": "captured", "reply": {"type": "PaymentRegained",
		"body": {"order_id": "515a9000-0000-4000-8000-000000000001", "key": "$.key", "moves": 2}}}}')
$$;
SELECT scenario, r -> 'schedules' AS schedules, (r -> 'end_states' -> 'Completed')::int > 100 AS some_completed,
	(r -> 'end_states' -> 'Cancelled')::int > 100 AS some_cancelled,
	r -> 'violation_count' AS violations, r -> 'violations' -> 0 AS first
FROM (VALUES ('refunded elsewhere', refunded_elsewhere()), ('disputed', disputed())) s (scenario, world),
	saga.simulate('order', world, 2000, 8) r;

-- the same seed gives the same, another one something else
SELECT a = b AS same, a <> c AS other
FROM saga.simulate('order', ecommerce.order_saga_scenario(), 50, 1) a,
	saga.simulate('order', ecommerce.order_saga_scenario(), 50, 1) b,
	saga.simulate('order', ecommerce.order_saga_scenario(), 50, 2) c;

-- each rule broken alone is found out
CREATE FUNCTION found_out(path text[], value jsonb, scenario jsonb DEFAULT ecommerce.order_saga_scenario())
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	broken jsonb := CASE WHEN value IS NULL THEN ecommerce.order_saga_definition() #- path
		ELSE jsonb_set(ecommerce.order_saga_definition(), path, value) END;
	report jsonb;
BEGIN
	PERFORM saga.define('order', broken);
	report := saga.simulate('order', scenario, 1000, 1);
	RETURN (SELECT string_agg(DISTINCT v ->> 'invariant', ', ') FROM jsonb_array_elements(report -> 'violations') v);
END
$$;
-- refunds do not wait for the shipment to be cancelled
SELECT found_out('{owed,refund,after}', NULL);
-- what was held is never released
SELECT found_out('{owed,release,when}', '"$.record.late == true"');
-- what was captured is never refunded
SELECT found_out('{owed,refund,in}', '["requested", "unknown", "waiting", "returned", "regained", "refunding", "refund_failed"]');
-- what went back without us is not noticed
SELECT found_out('{common,money,always,2,guard}', '"$.data.goal == \"NEVER\""', refunded_elsewhere());
-- shipments go on after the cancellation
SELECT found_out('{owed,cancel_shipment,when}', '"$.record.late == true"');
-- a payment after its decline is not noticed
SELECT found_out('{facts,pay,late}', NULL, late_payments());
-- a second key while the first is unknown
SELECT found_out('{states,ResolvingPayment,on,timer:query,send}', '{"command": "pay", "attempt": "$.data.queries"}');
-- confirmed without a timer for what comes next
SELECT found_out('{states,ArrangingFulfilment,always,1,schedule}', NULL);
-- a message that takes effect twice
SELECT found_out('{states,ResolvingPayment,on,PaymentStatusReported,0,guard}', '"<not_found>"');
-- one that never settles, and one that never ends
SELECT found_out('{states,Confirmed,always,0,guard}', '"<goods_left>"');
SELECT found_out('{states,Confirmed,always,1,guard}', '"$.data.shp.st == \"lost\""');
-- cancelled before anything is undone
SELECT found_out('{common,goal,always,0,guard}', '"<cancelling> && $.owed > 1"');
-- confirmed before it is paid
SELECT found_out('{states,ReservingInventory,always,0,guard}', '"<hold>"');

-- the end of a cancelled order is not told; a confirmed one is cancelled by nobody
SELECT found_out('{common,undone,always,1,append}', NULL);
SELECT found_out('{states,Confirmed,on,timer:dispatch}', '{"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}');
-- what comes of it depends on which answer is first
SELECT found_out('{states,ArrangingFulfilment,on,ShipmentArranged}',
	'{"guard": "$.data.inv.st != \"committed\"", "set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}', reordered());

-- a report says how it came about
SELECT saga.define('order', ecommerce.order_saga_definition() #- '{states,ArrangingFulfilment,always,1,schedule}') > 1 AS broken;
SELECT r -> 'violations' -> 0 -> 'invariant' AS invariant, r -> 'violations' -> 0 -> 'problem' AS problem,
	jsonb_typeof(r -> 'violations' -> 0 -> 'schedule') AS schedule, r -> 'violations' -> 0 -> 'trace' ->> 0 AS first,
	r -> 'violations' -> 0 -> 'trace' ->> -1 AS last, jsonb_array_length(r -> 'violations') AS reported
FROM saga.simulate('order', ecommerce.order_saga_scenario(), 1000, 1) r;

-- a small one, all of it: two answers in either order, each lost or doubled once
SELECT message_bus.create_endpoint('s');
SELECT saga.define('join', '{"endpoint": "join", "initial": "Both",
	"events": {"Go": {}, "ADone": {"fact": {"of": "a", "to": "done"}}, "BDone": {"fact": {"of": "b", "to": "done"}}},
	"facts": {"a": {"keep": "latest", "lattice": {"none": ["asked"], "asked": ["done"]}},
		"b": {"keep": "latest", "lattice": {"none": ["asked"], "asked": ["done"]}}},
	"start": {"Go": {"goto": "Both", "send": [
		{"step": "a", "endpoint": "s", "type": "DoA", "fact": {"of": "a", "to": "asked"}, "compensation": "none",
			"resend": {"timer": "a", "every": "1 s", "limit": 9}},
		{"step": "b", "endpoint": "s", "type": "DoB", "fact": {"of": "b", "to": "asked"}, "compensation": "none",
			"resend": {"timer": "b", "every": "1 s", "limit": 9}}]}},
	"states": {"Both": {"default": "ignore", "on": {"timer:a": {"goto": "Failed"}, "timer:b": {"goto": "Failed"}},
			"always": [{"guard": "$.data.a.st == \"done\" && $.data.b.st == \"done\"", "goto": "Done"}]},
		"Done": {"kind": "final", "default": "ignore"}, "Failed": {"kind": "final", "default": "ignore"}}}');
CREATE FUNCTION join_scenario() RETURNS jsonb LANGUAGE sql AS $function$ SELECT $$
	{"start": {"type": "Go"}, "exhaustive": true, "idempotent": true, "faults": {"drops": 1, "duplicates": 1},
	 "participants": {
		"a": {"commands": {"DoA": {"none": {"to": "done", "reply": {"type": "ADone", "body": {"key": "$.key"}}},
			"done": {"reply": {"type": "ADone", "body": {"key": "$.key"}}}}}},
		"b": {"commands": {"DoB": {"none": {"to": "done", "reply": {"type": "BDone", "body": {"key": "$.key"}}},
			"done": {"reply": {"type": "BDone", "body": {"key": "$.key"}}}}}}},
	 "invariants": [{"name": "done means both", "when": "$.saga.state == \"Done\"",
		"holds": "$.count.a.done == 1 && $.count.b.done == 1"}]}$$::jsonb $function$;
SELECT saga.simulate('join', join_scenario() || '{"faults": {}}', 1000000);
SELECT saga.simulate('join', join_scenario() || '{"faults": {"drops": 1}}', 1000000);
-- replies named by their type have the bodies that stand under it, and under "*"
CREATE FUNCTION short_scenario(replies jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('faults', '{}'::jsonb, 'replies', replies) || regexp_replace(
		(join_scenario() - 'faults')::text, '{"body": {"key": "\$.key"}, "type": ("[AB]Done")}', '\1', 'g')::jsonb
$$;
SELECT s ->> 'replies' AS replies, r -> 'violations' = '[]' AS fine,
	r = saga.simulate('join', join_scenario() || '{"faults": {}}', 1000000) AS the_same
FROM unnest(ARRAY['{"*": {"key": "$.key"}}', '{"ADone": {"key": "$.key"}, "*": {"key": "$.key"}}',
	'{"*": {"key": 1}, "ADone": {"key": "$.key"}, "BDone": {"key": "$.key"}}',
	'{"*": {"key": "$.key"}, "BDone": {"key": 1}}', '{}']::jsonb[]) replies,
	short_scenario(replies) s, saga.simulate('join', s, 1000000) r;
SELECT saga.simulate('join', join_scenario() || '{"faults": {}}', 3) -> 'schedules' AS no_more_than_asked_for;

-- refusals of a plain compensation: whoever refuses is left to an operator, the other is undone all the same
SELECT message_bus.create_endpoint('twice');
SELECT saga.define('twice', '{"endpoint": "twice-saga", "initial": "A", "events": {"Go": {}, "Fail": {}, "Undone": {}, "Refused": {}},
	"start": {"Go": {"goto": "A", "schedule": {"timer": "t", "delay": "1 min"}, "send": [
		{"step": "a", "endpoint": "twice", "type": "Do", "compensation": {"endpoint": "twice", "type": "Undo", "confirmed_by": "Undone", "refused_by": {"Refused": "true"}}},
		{"step": "b", "endpoint": "twice", "type": "Do", "compensation": {"endpoint": "twice", "type": "Undo", "confirmed_by": "Undone", "refused_by": {"Refused": "true"}}}]}},
	"states": {"A": {"default": "ignore", "on": {"timer:t": {"goto": "Undoing", "compensate": {"give_up_after": "1 h", "give_up": "Stuck", "then": "Z"}}}},
		"Undoing": {"default": "ignore"}, "Stuck": {"default": "ignore", "timer": "none"}, "Z": {"kind": "final", "default": "ignore"}}}');
SELECT r -> 'schedules' AS schedules, r -> 'end_states' ?& '{Stuck,Z}' AS both_ends, r -> 'violation_count' AS violations, r -> 'violations' -> 0 AS first
FROM saga.simulate('twice', '{"start": {"type": "Go", "body": {}}, "must_end": false, "faults": {"drops": 2, "duplicates": 2},
	"participants": {"p": {"commands": {"Do": {"none": {"to": "done"}}, "Undo": {
		"done": [{"to": "undone", "reply": {"type": "Undone", "body": {"key": "$.key"}}}, {"to": "refused", "reply": {"type": "Refused", "body": {"key": "$.key"}}}],
		"none": {"to": "undone", "reply": {"type": "Undone", "body": {"key": "$.key"}}},
		"undone": {"reply": {"type": "Undone", "body": {"key": "$.key"}}}, "refused": {"reply": {"type": "Refused", "body": {"key": "$.key"}}}}}}},
	"invariants": [{"name": "nothing is left done", "at_end": true, "holds": "!exists($.count.p.done)"},
		{"name": "all undone in the end", "at_end": true, "when": "$.saga.state == \"Z\"", "holds": "!exists($.count.p.refused)"}]}', 2000) r;

-- what is wrong with a scenario
SELECT refusal(format('SELECT saga.simulate(%L, %L)', 'join', join_scenario() || s))
FROM unnest('{"{\"invarients\": []}", "{\"faults\": {\"drop\": 1}}", "{\"faults\": {\"drops\": \"one\"}}", "{\"faults\": {\"drops\": -1}}",
	"{\"orders\": 1.5}", "{\"exhaustive\": \"yes\"}", "{\"requests\": {\"type\": \"Go\", \"bdy\": {}}}",
	"{\"participants\": {\"a\": {\"command\": {}}}}", "{\"participants\": {\"a\": {\"happens\": {\"none\": {\"too\": \"done\"}}}}}",
	"{\"invariants\": {\"name\": \"x\", \"holds\": \"$.saga.final\", \"whn\": \"1 == 1\"}}"}'::jsonb[]) s;
SELECT refusal('SELECT saga.simulate(''nothing'', ''{}'')');
SELECT refusal('SELECT saga.simulate(''join'', ''{}'')');
SELECT refusal('SELECT saga.simulate(''join'', ''{"start": {"type": "Go"}, "invariants": [{"name": "x"}]}'')');
SELECT refusal('SELECT saga.simulate(''join'', ''{"start": {"type": "Go"}, "invariants": [{"name": "x", "holds": "$.x >"}]}'')');
SELECT saga.simulate('join', '{"start": {"type": "ADone"}}', 1) -> 'violations' -> 0 ->> 'problem' AS problem;
SELECT saga.simulate('join', '{"start": {"type": "Go"}, "invariants": [{"name": "x", "holds": "$.saga.state == 1"}]}', 1)
	-> 'violations' -> 0 ->> 'problem' AS problem;
