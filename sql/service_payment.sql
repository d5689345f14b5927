-- The payment service's SQL: intents, outcomes, compensations that commute, webhooks.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/service.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
CREATE EXTENSION ecommerce_payment;
SELECT ecommerce_payment.install(), ecommerce_payment.install();
CREATE FUNCTION pay(key int, token text DEFAULT NULL,
	more jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
	SELECT ecommerce_payment.process_payment(jsonb_build_object('order_id', id(900 + key), 'key',
		id(key),
		'amount', 12.50, 'currency', 'USD', 'payment_method',
		jsonb_build_object('type', 'card', 'last4_digits', '4242', 'token', token)) || more)
$$;
CREATE FUNCTION refund(key int) RETURNS void LANGUAGE sql AS $$
	SELECT ecommerce_payment.refund_payment(jsonb_build_object('order_id', id(900 + key), 'key',
		id(key),
		'amount', 12.50, 'reason', 'test'))
$$;
CREATE FUNCTION query(key int) RETURNS void LANGUAGE sql AS $$
	SELECT ecommerce_payment.query_payment_status(jsonb_build_object('order_id', id(900 + key),
		'key', id(key)))
$$;
CREATE FUNCTION payment(n int) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', status, 'owes ' || operation) FROM ecommerce_payment.payment
		WHERE key = id(n)
$$;
CREATE FUNCTION hook(event text, type text, key int,
	more jsonb DEFAULT '{}') RETURNS int LANGUAGE sql AS $$
	SELECT (ecommerce_payment.take_webhook(jsonb_build_object('id', event, 'type', type, 'data',
		jsonb_build_object(
		'object', jsonb_build_object('id', 'ch_hook', 'metadata',
			jsonb_build_object('key', id(key))) || more)))).status
$$;
-- A payment that is captured; what an event says of it; what the provider says when it is asked.
CREATE FUNCTION captured(key int) RETURNS text LANGUAGE sql AS $$
	SELECT pay(key);
	SELECT hook('c' || key, 'charge.captured', key, jsonb_build_object('id', 'ch_' || key, 'amount', 1250));
	SELECT payment(key)
$$;
CREATE FUNCTION event(event text, type text, object jsonb) RETURNS int LANGUAGE sql AS $$
	SELECT (ecommerce_payment.take_webhook(jsonb_build_object('id', event, 'type', type, 'data',
		jsonb_build_object('object', object)))).status
$$;
CREATE FUNCTION provider_says(outcome jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	item record;
BEGIN
	UPDATE ecommerce_payment.payment SET due_at = '-infinity' WHERE operation IS NOT NULL;
	SELECT * INTO item FROM ecommerce_payment.claim(1, '1 min');
	RETURN concat_ws(' ', item.operation, ecommerce_payment.settle(item.work_id, item.fence, outcome),
		item.request ->> 'refund_id', 'refund ' || (item.request ->> 'refund_number'));
END
$$;
CREATE FUNCTION books(n int) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', payment(n), refund_id, 'gone ' || refunded_amount, dispute_status)
	FROM ecommerce_payment.payment WHERE key = id(n)
$$;
SET ROLE ecommerce_payment;

-- ---------------------------------------------------------------- charges

SELECT pay(1);
SELECT payment(1);
SELECT work('payment');
SELECT pay(1);
SELECT query(1);
SELECT work('payment');
SELECT said();

SELECT pay(2, 'tok_declined');
SELECT work('payment');
SELECT pay(2, 'tok_declined');
SELECT pay(3, 'tok_ok', '{"not_after": "2020-01-01T00:00:00Z"}');
SELECT work('payment');
SELECT said();

-- One retryable decline per order; another key, another attempt.
SELECT pay(4, 'tok_retry_once');
SELECT work('payment');
SELECT pay(14, 'tok_retry_once', jsonb_build_object('order_id', id(904)));
SELECT work('payment');
SELECT said();

-- Arrived without an answer: pending, then found; never a second charge.
SELECT pay(5, 'tok_unknown');
SELECT work('payment');
SELECT payment(5);
UPDATE ecommerce_payment.simulator_charge SET visible_at = 'infinity' WHERE key = id(5);
SELECT query(5);
SELECT work('payment');
UPDATE ecommerce_payment.simulator_charge SET visible_at = '-infinity' WHERE key = id(5);
SELECT query(5);
SELECT work('payment');
SELECT said();
SELECT payment(5);

-- Never arrived: not found, the same key once more, then void.
SELECT pay(6, 'tok_lost');
SELECT work('payment');
SELECT query(6);
SELECT work('payment');
SELECT pay(6, 'tok_lost');
SELECT work('payment');
SELECT refund(6);
SELECT work('payment');
SELECT payment(6);
SELECT query(6);
SELECT query(99);
SELECT said();

-- ---------------------------------------------------------------- refunds and voids

SELECT refund(1);
SELECT work('payment');
SELECT refund(1);
SELECT pay(1);
SELECT refund(2);
SELECT refund(7);
SELECT pay(7);
SELECT work('payment');
SELECT said();

-- While the charge has not begun, and while it is under way.
SELECT pay(8);
SELECT refund(8);
SELECT work('payment');
SELECT pay(9);
CREATE TEMP TABLE claimed AS SELECT * FROM ecommerce_payment.claim(1, '1 min');
SELECT refund(9);
SELECT work('payment');
SELECT ecommerce_payment.settle(work_id, fence, ecommerce_payment.simulate(operation, request))
	FROM claimed;
SELECT payment(9);
SELECT work('payment');
SELECT said();

-- A refund that fails says so, and may be asked for again.
SELECT pay(10, 'tok_refund_fails');
SELECT work('payment');
SELECT refund(10);
SELECT work('payment');
SELECT refund(10);
SELECT work('payment');
SELECT said();

-- ---------------------------------------------------------------- a daemon that died

-- After the charge, before its outcome was recorded: asked about, not repeated.
SELECT pay(11);
CREATE TEMP TABLE died AS SELECT * FROM ecommerce_payment.claim(1, '0 s');
SELECT ecommerce_payment.simulate(operation, request) ->> 'result' FROM died;
SELECT work('payment');
SELECT ecommerce_payment.settle(work_id, fence, '{"result": "declined"}') FROM died;
SELECT payment(11);
SELECT said();

-- A charge that outlives its lease, is said not to be there, and is voided: when it comes
-- after all, the money goes back. What it says later than that counts for nothing.
SELECT pay(21);
SELECT work_id, fence, operation FROM ecommerce_payment.claim(1, '0') \gset slow_
SELECT work_id, fence, operation FROM ecommerce_payment.claim(1, '0') \gset asking_
SELECT :'slow_operation', :'asking_operation', ecommerce_payment.settle(:'asking_work_id',
	:asking_fence, '{"result": "not_found"}'), refund(21);
SELECT payment(21);
SELECT ecommerce_payment.settle(:'slow_work_id', :slow_fence, '{"result": "declined"}'),
	ecommerce_payment.settle(:'slow_work_id', :slow_fence,
		'{"result": "captured", "transaction_id": "late"}'), payment(21);
SELECT ecommerce_payment.settle(:'asking_work_id', :asking_fence,
	'{"result": "refunded", "refund_id": "re_late"}'), payment(21);
SELECT ecommerce_payment.settle(:'slow_work_id', :slow_fence,
	'{"result": "captured", "transaction_id": "late"}'), payment(21);
SELECT said();

-- ---------------------------------------------------------------- webhooks

-- Captured although voided: the money goes back.
SELECT hook('e1', 'charge.succeeded', 7), hook('e1', 'charge.succeeded', 7);
SELECT payment(7);
SELECT hook('e2', 'charge.refunded', 7);
SELECT hook('e3', 'charge.succeeded', 98), hook('e4', 'customer.created', 1);
SELECT said();
SELECT outcome($$SELECT ecommerce_payment.take_webhook('{}')$$);
SELECT outcome($$SELECT ecommerce_payment.take_webhook('{"id": "", "type": 1}')$$);

-- An authorization, another amount and another currency are not this payment's money.
SELECT pay(20);
SELECT hook('e5', 'charge.succeeded', 20, '{"captured": false, "amount": 1250}'),
	hook('e6', 'charge.succeeded', 20, '{"captured": true, "amount": 1249, "currency": "usd"}'),
	hook('e7', 'charge.succeeded', 20, '{"captured": true, "amount": 1250, "currency": "eur"}'),
	hook('e8', 'charge.failed', 20, '{"amount": "1250"}');
SELECT payment(20);
SELECT hook('e9', 'charge.captured', 20, '{"captured": true, "amount": 1250, "currency": "usd"}');
SELECT payment(20);
-- Neither is a part of a refund the whole.
SELECT hook('e10', 'charge.refunded', 20, '{"refunded": false, "amount": 1250}');
SELECT payment(20);
SELECT hook('e11', 'charge.refunded', 20, '{"refunded": true, "amount": 1250}');
SELECT payment(20);
SELECT said();
SELECT ecommerce_payment.forget_webhooks();
UPDATE ecommerce_payment.webhook_event SET received_at = clock_timestamp() - interval '31 days';
SELECT ecommerce_payment.forget_webhooks();

-- ---------------------------------------------------------------- money that moves without us

-- Refunded there: a part, all of it; that it was captured is heard of later.
SELECT captured(40);
SELECT hook('m1', 'charge.refunded', 40, '{"id": "ch_40", "refunded": false, "amount_refunded": 250}'), books(40);
SELECT hook('m2', 'charge.refunded', 40, '{"id": "ch_40", "refunded": true, "amount": 1250,
	"refunds": {"data": [{"id": "re_40", "status": "succeeded"}]}}'), books(40);
SELECT refund(40), query(40);
SELECT said();
SELECT pay(41);
SELECT hook('m3', 'charge.refunded', 41, '{"id": "ch_41", "refunded": true}'), books(41);
SELECT hook('m4', 'charge.succeeded', 41, '{"id": "ch_41"}'), books(41);
SELECT query(41), pay(41);
SELECT said();
-- The refund is known by its charge alone, and heard of before the charge is.
SELECT pay(42);
SELECT event('m5', 'refund.created', '{"id": "re_42", "charge": "ch_42", "status": "succeeded", "amount": 1250}'),
	event('m6', 'refund.created', '{"id": "re_x", "charge": "ch_somebody", "status": "succeeded"}');
SELECT hook('m7', 'charge.captured', 42, '{"id": "ch_42"}'), books(42);
SELECT said();

-- Our own refund: made there already, not through yet, failed later.
SELECT captured(43), refund(43), provider_says('{"result": "refunded", "refund_id": "re_43"}'), books(43);
SELECT captured(44), refund(44), provider_says('{"result": "refund_pending", "refund_id": "re_44"}'), books(44);
SELECT provider_says('{"result": "refund_pending", "refund_id": "re_44"}'),
	event('m8', 'charge.refund.updated', '{"id": "re_44", "charge": "ch_44", "status": "failed",
		"failure_reason": "expired_or_canceled_card"}'), books(44);
SELECT said();
SELECT refund(44), provider_says('{"result": "refunded", "refund_id": "re_44b"}'), books(44);
SELECT event('m9', 'refund.failed', '{"id": "re_44b", "charge": "ch_44", "status": "failed"}'), books(44);
SELECT refund(44), provider_says('{"result": "refunded", "refund_id": "re_44c"}'), books(44);
SELECT said();

-- Disputes: open, and lost or won; while somebody cancels; heard of in any order.
SELECT captured(45), event('d1', 'charge.dispute.created', '{"id": "dp_45", "charge": "ch_45", "status": "warning_needs_response"}'), books(45);
SELECT event('d2', 'charge.dispute.created', '{"id": "dp_45", "charge": "ch_45", "status": "needs_response"}'), books(45);
SELECT event('d3', 'charge.dispute.closed', '{"id": "dp_45", "charge": "ch_45", "status": "won"}'),
	event('d4', 'charge.dispute.funds_withdrawn', '{"id": "dp_45", "charge": "ch_45", "status": "under_review"}'), books(45);
SELECT said();
SELECT captured(46), event('d5', 'charge.dispute.funds_withdrawn', '{"id": "dp_46", "charge": "ch_46", "status": "needs_response"}'), refund(46), books(46);
SELECT said();
SELECT event('d6', 'charge.dispute.closed', '{"id": "dp_46", "charge": "ch_46", "status": "lost"}'), books(46);
SELECT said();
SELECT captured(47), refund(47), provider_says('{"result": "disputed"}'), books(47);
SELECT event('d7', 'charge.dispute.funds_reinstated', '{"id": "dp_47", "charge": "ch_47", "status": "won"}'), books(47);
SELECT provider_says('{"result": "refunded", "refund_id": "re_47"}'), books(47);
SELECT said();

-- Refused for a dispute that was won meanwhile, as a webhook has told; and one of which nothing
-- but the refusal is known.
SELECT captured(48), refund(48), event('d8', 'charge.dispute.closed', '{"id": "dp_48", "charge": "ch_48", "status": "won"}');
SELECT provider_says('{"result": "disputed"}'), books(48), provider_says('{"result": "refunded", "refund_id": "re_48"}'), books(48);
SELECT captured(49), refund(49), provider_says('{"result": "disputed"}'), refund(49),
	provider_says('{"result": "refunded", "refund_id": "re_49"}'), books(49);
SELECT said();

-- ---------------------------------------------------------------- a provider that is away

-- Nothing was sent: it is tried until it is, and that is no decline. A query is told so.
SELECT pay(50), provider_says('{"result": "not_sent"}'), payment(50), query(50);
SELECT provider_says('{"result": "not_sent"}'), provider_says('{"result": "captured", "transaction_id": "ch_50"}');
SELECT said();
-- Cancelled meanwhile, or while the call that came to nothing was under way.
SELECT pay(51), provider_says('{"result": "not_sent"}'), refund(51), payment(51);
SELECT pay(52);
SELECT work_id, fence FROM ecommerce_payment.claim(1, '1 min') \gset gone_
SELECT refund(52), ecommerce_payment.settle(:'gone_work_id', :gone_fence, '{"result": "not_sent"}'), payment(52);
SELECT said();
-- A refund that could not be asked for is asked for again; nobody hears of a failure.
SELECT captured(53), refund(53), provider_says('{"result": "not_sent"}'), payment(53);
SELECT provider_says('{"result": "refunded", "refund_id": "re_53"}'), books(53);
SELECT said();
SELECT (body #> '{items,0}') ->> 'refunded_amount', (body #> '{items,0}') ->> 'dispute_status'
FROM ecommerce_payment.list_payments(id(946)::text);

-- ---------------------------------------------------------------- currencies

-- What the provider is told is in the currency's own smallest units.
SELECT amount, currency, ecommerce_payment._minor_amount(amount, currency)
FROM (VALUES (12.50, 'USD'), (1999, 'JPY'), (19.99, 'JPY'), (1.25, 'KWD'), (1.254, 'KWD'), (5, 'ISK'),
	(5, 'UGX'), (5, 'MGA'), (5.5, 'ISK'), (5, 'CLF'), (1.005, 'USD'), (1, 'ABC')) AS c (amount, currency);
SELECT pay(31, NULL, '{"amount": 1999, "currency": "JPY"}'), pay(32, NULL, '{"amount": 1.25, "currency": "KWD"}'),
	pay(33, NULL, '{"amount": 19.99, "currency": "JPY"}');
SELECT request ->> 'currency', request ->> 'minor_amount' FROM ecommerce_payment.claim(10, '0') ORDER BY 1;
SELECT hook('j1', 'charge.captured', 31, '{"captured": true, "amount": 199900, "currency": "jpy"}'), payment(31),
	hook('j2', 'charge.captured', 31, '{"captured": true, "amount": 1999, "currency": "jpy"}'), payment(31);
SET ecommerce.currency = 'KWD';
SELECT pay(34, NULL, '{"amount": 1.25, "currency": null}');
SELECT currency FROM ecommerce_payment.payment WHERE key = id(34);
RESET ecommerce.currency;
SELECT said();

-- What comes of a call goes back to the command that asked for it, and no other.
SELECT ecommerce.set_context(id(1), id(1001)), pay(35);
SELECT work('payment');
SELECT ecommerce.set_context(id(1), id(1002)), refund(35);
SELECT work('payment');
SELECT message_type, causation_id FROM message_bus.receive('probe', 50)
WHERE body ->> 'key' = id(35)::text;
SELECT said();

-- ---------------------------------------------------------------- list

SELECT (body #> '{items,0}') - 'payment_id'::text
FROM ecommerce_payment.list_payments(id(901)::text);
SELECT outcome($$SELECT ecommerce_payment.list_payments('x')$$);
SELECT ecommerce_payment._retry_delay(0), ecommerce_payment._retry_delay(100);

-- The two books agree.
SELECT p.key, p.status, c.status FROM ecommerce_payment.payment p
FULL JOIN ecommerce_payment.simulator_charge c USING (key)
WHERE c.status IS DISTINCT FROM CASE WHEN p.status IN ('captured', 'refunded', 'declined')
	THEN p.status END
	AND NOT (p.status = 'voided' AND coalesce(c.status, 'declined') = 'declined')
	AND p.key NOT IN (id(3), id(7), id(20), id(21), id(31), id(33)) AND p.key NOT BETWEEN id(40) AND id(53)
ORDER BY 1;
RESET ROLE;
