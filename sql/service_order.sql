-- The order service's SQL: every bad field named, idempotency, reads, cancellation.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/service.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
CREATE EXTENSION ecommerce_order;
SELECT ecommerce_order.install(), ecommerce_order.install();
CREATE FUNCTION body(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('customer_id', id(1), 'items', jsonb_build_array(
			jsonb_build_object('product_id', id(11), 'sku', 'A', 'product_name', 'Apple',
				'quantity', 3, 'unit_price', 1.1),
			jsonb_build_object('product_id', id(12), 'sku', 'B', 'product_name', 'Leaflet',
				'quantity', 1, 'unit_price', 0)),
		'shipping_address', jsonb_build_object('street', 's', 'city', 'c', 'state', 't',
			'postal_code', '1', 'country', 'DE'),
		'payment_method', jsonb_build_object('type', 'card', 'last4_digits', '4242', 'token',
			'tok_ok')) || more
$$;
-- Errors one a line.
CREATE FUNCTION errors(body jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s: %s', e ->> 'field', e ->> 'detail')
		FROM jsonb_array_elements(ecommerce_order._order_errors(body)) e
$$;
-- Lets projections come to rest, by hand or by the worker, whoever is first.
CREATE PROCEDURE settle() LANGUAGE plpgsql AS $$
BEGIN
	FOR attempt IN 1 .. 10000 LOOP
		PERFORM event_store.run_projections(7);
		COMMIT;
		EXIT WHEN NOT EXISTS (SELECT FROM event_store.projections p
			WHERE p.state <> 'running' OR p.lag_events > 0);
	END LOOP;
END
$$;
-- What inventory says of a product.
CREATE FUNCTION describe(product int, sku text, price jsonb,
	kind text DEFAULT 'goods') RETURNS void LANGUAGE sql AS $$
	SELECT event_store.append('product-' || id(product), -1, 'ProductDescribed',
		jsonb_build_object('product_id', id(product), 'sku', sku, 'name', 'the ' || sku,
			'kind', kind, 'price', price))
$$;
SELECT describe(11, 'A', '{"amount": 1.1, "currency": "USD"}'),
	describe(12, 'B', '{"amount": 0, "currency": "USD"}');
-- The saga would answer in its own time.
SELECT message_bus.pause('order');
SET ROLE ecommerce_order;

-- ---------------------------------------------------------------- every bad field

SELECT errors(body());
SELECT errors('{}');
SELECT errors(body('{"customer_id": 5, "items": [{"quantity": 0, "unit_price": 1.234}, 5,
	{"product_id": 7, "sku": " ",
	"product_name": "", "quantity": 1.5, "unit_price": -1}], "shipping_address": {"street": 1},
		"payment_method":
	{"type": "card", "last4_digits": "42", "token": "4242424242424242", "cvc": "123",
		"number": "4242"}}'));
SELECT errors(body('{"items": []}'));
SELECT errors(body(jsonb_build_object('items', (SELECT jsonb_agg(body() #> '{items,0}')
	FROM generate_series(1, 501)))));
SELECT errors(body(jsonb_build_object('items', jsonb_build_array(body() #> '{items,0}'
	|| '{"total_price": 3}'))));
SELECT errors(body('{"payment_method": {"type": "invoice", "last4_digits": "0000"}}'));
-- what a country or a way to pay does not have
SELECT errors(body('{"shipping_address": {"street": "s", "city": "c", "country": "IE", "state": null},
	"payment_method": {"type": "invoice"}}'));
-- nothing goes unread: a currency would be charged in another one
SELECT errors(body('{"currency": "EUR", "shipping_address": {"street": "s", "city": "c",
	"country": "IE", "zip": "1"}, "items": [{"product_id": "x", "sku": "A", "product_name": "Apple",
	"quantity": 1, "discount": 5}], "Email": "a@example.com"}'));
SELECT outcome($$SELECT ecommerce_order.submit_order(body('{"customer_id": null}'))$$);
-- card numbers, however they are written, and whatever they are called
SELECT errors(body(jsonb_build_object('payment_method', '{"type": "card", "last4_digits": "4242"}'::jsonb
	|| method)))
FROM unnest(ARRAY['{"token": "4242-4242-4242-4242"}', '{"token": "tok_4242424242424242"}',
	'{"token": 4242424242424242}', '{"last4_digits": "4242 4242 4242 4242"}',
	'{"type": "4242 4242 4242 4242 12/27 123"}', '{"type": "4242424242424242"}',
	'{"card": "4242424242424242"}']::jsonb[]) method;
-- the decimals of the currency
SET ecommerce.currency = 'JPY';
SELECT errors(body());
RESET ecommerce.currency;

-- ---------------------------------------------------------------- prices

-- What the customer asks for, and what of it is refused, or what he gets.
CREATE FUNCTION pg_temp.ordered(items jsonb, more jsonb DEFAULT '{}') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(format('%s: %s', e ->> 'field', e ->> 'detail'), E'\n'), (
		SELECT string_agg(format('%s of %s at %s', l.quantity, (l.known).sku, l.unit_price), ', ')
		FROM unnest(ecommerce_order._priced_lines(items)) l))
	FROM jsonb_array_elements(ecommerce_order._price_errors(body(more || jsonb_build_object('items', items)),
		ecommerce_order._priced_lines(items))) e
$$;
CREATE FUNCTION pg_temp.line(product int, sku text, quantity int, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('product_id', id(product), 'sku', sku, 'product_name', 'x', 'quantity',
		quantity) || more
$$;
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(11, 'A', 3)));
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(11, 'A', 3, '{"unit_price": null}')), '{"total_amount": 3.3}');
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(11, 'A', 3, '{"unit_price": 1.10}')), '{"total_amount": 3}');
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(11, 'A', 3, '{"unit_price": 0.01}'),
	pg_temp.line(12, 'A', 1, '{"unit_price": 0.01}'), pg_temp.line(13, 'C', 1)));
SELECT outcome($$SELECT ecommerce_order.submit_order(body(jsonb_build_object('items',
	jsonb_build_array((body() #> '{items,0}') || '{"unit_price": 0.01}'))))$$);
-- the price that was read is not the price any more
SELECT describe(11, 'A', '{"amount": 1.2, "currency": "USD"}');
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(11, 'A', 3, '{"unit_price": 1.10}')));
SELECT describe(11, 'A', '{"amount": 1.1, "currency": "USD"}');
-- not for sale, or not for this money
SELECT describe(13, 'C', NULL), describe(14, 'D', '{"amount": 5, "currency": "EUR"}');
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(13, 'C', 1), pg_temp.line(14, 'D', 1)));
-- tax and postage are lines, which nobody can leave out; gift wrap is a line by choice
SELECT describe(15, 'POST', '{"amount": 4.9, "currency": "USD"}', 'charge'),
	describe(16, 'TAX', '{"percent": 19}', 'charge'),
	describe(17, 'WRAP', '{"amount": 1, "currency": "USD"}', 'extra');
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(11, 'A', 3), pg_temp.line(17, 'WRAP', 2)));
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(16, 'TAX', 1, '{"unit_price": 1.56}'), pg_temp.line(11, 'A', 3)));
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(16, 'TAX', 1, '{"unit_price": 1.5}'), pg_temp.line(15, 'POST', 2),
	pg_temp.line(15, 'POST', 1), pg_temp.line(17, 'WRAP', 1)), '{"total_amount": 0}');
-- a charge without a price, or in other money, is none
SELECT describe(18, 'NONE', NULL, 'charge'), describe(19, 'OTHER', '{"amount": 4.9, "currency": "EUR"}', 'charge');
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(11, 'A', 3)));
SELECT pg_temp.ordered(jsonb_build_array(pg_temp.line(11, 'A', 3), pg_temp.line(18, 'NONE', 1), pg_temp.line(19, 'OTHER', 1)));
SELECT body ->> 'order_id' AS "order" FROM ecommerce_order.submit_order(body('{"total_amount": 9.76}')) \gset
SELECT jsonb_pretty(data -> 'items'), data -> 'total_amount' FROM event_store.read_stream('order-' || :'order');
SELECT count(*) FROM said() s WHERE s LIKE '%OrderSubmitted%"total_amount": 9.76%';
SELECT event_store.append('product-' || id(n), -1, 'ProductDescribed',
	jsonb_build_object('product_id', id(n), 'sku', n::text, 'name', 'gone', 'kind', 'extra')) IS NULL
FROM generate_series(15, 16) n;
-- while the list is made anew nothing is refused for its sake, and no list has holes
RESET ROLE;
SELECT event_store.pause_projection('price_list'), event_store.pause_projection('order_summary');
SET ROLE ecommerce_order;
SELECT outcome($$SELECT ecommerce_order.submit_order(body('{"total_amount": 1}'))$$);
SELECT outcome($$SELECT ecommerce_order.list_orders()$$);
RESET ROLE;
SELECT event_store.resume_projection('price_list'), event_store.resume_projection('order_summary');
CALL settle();
SET ROLE ecommerce_order;

-- ---------------------------------------------------------------- idempotency

CREATE FUNCTION pg_temp.submit_once(body jsonb, key text) RETURNS ecommerce_order.reply LANGUAGE sql AS $$
	SELECT ecommerce_order.once(key, 'ecommerce_order.submit_order', jsonb_build_array(body::text), 0)
$$;

SELECT status, body ->> 'status' AS state, etag, body ->> 'order_id' AS "order"
	FROM pg_temp.submit_once(body(), 'k1') \gset
SELECT :status, :'state', :'etag';
SELECT status, body ->> 'order_id' = :'order' FROM pg_temp.submit_once(body(), 'k1');
SELECT outcome($$SELECT pg_temp.submit_once(body('{"items": []}'), 'k1')$$);
-- the same key of another kind of request, and of another user
SELECT outcome(format($$SELECT ecommerce_order.once('k1', 'ecommerce_order.cancel_order', '[%s, {"reason": "x"}, null]', 1)$$, to_json(:'order'::text)));
BEGIN;
SELECT ecommerce.set_context(id(1), user_id => 'ann');
SELECT status, body ->> 'order_id' <> :'order' FROM pg_temp.submit_once(body(), 'k1');
-- and of a user of the same name at another tenant's
SELECT ecommerce.set_context(id(1), user_id => 'ann', tenant_id => 'a');
SELECT body ->> 'order_id' AS theirs FROM pg_temp.submit_once(body(), 'k1') \gset
SELECT ecommerce.set_context(id(1), user_id => 'ann', tenant_id => 'b');
SELECT status, body ->> 'order_id' <> :'theirs' FROM pg_temp.submit_once(body(), 'k1');
SELECT array_agg(owner ORDER BY owner) FROM ecommerce_order.idempotency WHERE key = 'k1';
ROLLBACK;
SELECT outcome($$SELECT pg_temp.submit_once(body(), '')$$);
SELECT said();
SELECT ecommerce_order.forget_keys();
UPDATE ecommerce_order.idempotency SET created_at = clock_timestamp() - interval '25 hours';
SELECT status, body ->> 'order_id' = :'order' FROM pg_temp.submit_once(body(), 'k1');
UPDATE ecommerce_order.idempotency SET created_at = clock_timestamp() - interval '25 hours';
SELECT ecommerce_order.forget_keys();
SELECT substr(ecommerce_order._new_id()::text, 15, 1),
	ecommerce_order._new_id() <> ecommerce_order._new_id();

-- ---------------------------------------------------------------- reads

SELECT status, left(etag, 3), body - 'order_id' - 'created_at' FROM ecommerce_order.get_order(:'order');
SELECT etag AS tag FROM ecommerce_order.get_order(:'order') \gset
SELECT status FROM ecommerce_order.get_order(:'order', :'tag');
SELECT status FROM ecommerce_order.get_order(:'order', '"1"');
SELECT outcome($$SELECT ecommerce_order.get_order('x')$$);
SELECT body #> '{items,0,data,payment_method}' FROM ecommerce_order.get_order_events(:'order');
SELECT status, body #>> '{items,0,event_type}', body -> 'next'
	FROM ecommerce_order.get_order_events(:'order');
SELECT body ->> 'next' FROM ecommerce_order.get_order_events(:'order', NULL, '1');
SELECT outcome($$SELECT ecommerce_order.get_order_events('x')$$);
SELECT outcome(format($$SELECT ecommerce_order.get_order_events(%L, 'x')$$, :'order'));
SELECT status, jsonb_array_length(body -> 'items') FROM ecommerce_order.list_orders(id(1)::text,
	'Created');
-- by pages, and on from there when more has come
SELECT body ->> 'next' AS next, body ->> 'cursor' = body ->> 'next' AS same
	FROM ecommerce_order.list_orders(NULL, NULL, NULL, '1') \gset page_
SELECT body -> 'next' AS next, jsonb_array_length(body -> 'items') AS n, body ->> 'cursor' AS rest
	FROM ecommerce_order.list_orders(NULL, NULL, :'page_next') \gset last_
SELECT :'page_same', :'last_next', :'last_n', body -> 'items', body ->> 'cursor' = :'last_rest'
	FROM ecommerce_order.list_orders(NULL, NULL, :'last_rest');
SELECT outcome($$SELECT ecommerce_order.list_orders(NULL, NULL, id(1)::text)$$);
SELECT jsonb_array_length(body -> 'items'), body #>> '{items,0,event_type}', body #> '{items,0,data,payment_method}',
	body #> '{items,0}' ? 'position' FROM ecommerce_order.follow_orders('0', '1');
SELECT body - 'cursor' FROM ecommerce_order.follow_orders('999999');
-- a customer's own: those of his orders and of no others, page by page
CREATE FUNCTION pg_temp.follows(customer uuid) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
	cursor text := '0';
	seen uuid[] := '{}';
	page jsonb;
BEGIN
	LOOP
		page := (ecommerce_order.follow_orders(cursor, '2', NULL, customer)).body;
		EXIT WHEN page -> 'items' = '[]';
		seen := seen || ARRAY(SELECT (i ->> 'event_id')::uuid FROM jsonb_array_elements(page -> 'items') i);
		cursor := coalesce(page ->> 'next', page ->> 'cursor');
	END LOOP;
	RETURN seen;
END $$;
SELECT count(*) > 0 AS some, bool_and(pg_temp.follows(c.customer_id) = ARRAY(
	SELECT e.event_id FROM event_store.read_all(0, 10000, 'order') e
	JOIN ecommerce_order.order_summary s ON e.stream = 'order-' || s.order_id
	WHERE s.customer_id = c.customer_id ORDER BY e.position)) AS own
FROM (SELECT DISTINCT customer_id FROM ecommerce_order.order_summary) c;
SELECT pg_temp.follows(id(404));
SELECT outcome($$SELECT ecommerce_order.follow_orders('x', '0', '21')$$);
SELECT jsonb_array_length(body -> 'items') FROM ecommerce_order.list_orders(id(2)::text);
SELECT outcome($$SELECT ecommerce_order.list_orders('x')$$);
SELECT outcome($$SELECT ecommerce_order.list_orders(NULL, 'Lost')$$);

-- ---------------------------------------------------------------- cancellation

SELECT said();
SELECT regexp_replace(outcome(format($$SELECT ecommerce_order.cancel_order(%L, '{"reason": "x"}', '"2"')$$,
	:'order')), '-[0-9a-f]{16}', '-...');
SELECT outcome(format($$SELECT ecommerce_order.cancel_order(%L, '{}')$$, :'order'));
SELECT outcome($$SELECT ecommerce_order.cancel_order('x', '{"reason": "x"}')$$);
SELECT status, body ->> 'status' FROM ecommerce_order.cancel_order(:'order',
	'{"reason": "mind changed"}', '"7", "1"');
SELECT said();
SELECT ecommerce.cancel_order(:'order'::uuid, 'mind changed');
SELECT status, body ->> 'status' FROM ecommerce_order.cancel_order(:'order', '{"reason": "again"}');
SELECT said();
SELECT status, version, cancel_reason FROM ecommerce_order.order_summary WHERE order_id = :'order';
SELECT body ->> 'order_id' AS "order" FROM ecommerce_order.submit_order(body()) \gset
SELECT ecommerce.confirm_order(:'order'::uuid, 'CN-1'), ecommerce.complete_order(:'order'::uuid);
SELECT outcome(format($$SELECT ecommerce_order.cancel_order(%L, '{"reason": "x"}', '*')$$,
	:'order'));
-- An order keeps the currency that it was placed in.
SELECT said();
SET ecommerce.currency = 'JPY';
SELECT describe(11, 'A', '{"amount": 1999, "currency": "JPY"}');
SELECT body ->> 'order_id' AS "order" FROM ecommerce_order.submit_order(body(jsonb_build_object('items',
	jsonb_build_array((body() #> '{items,0}') || '{"unit_price": 1999.00}')))) \gset
RESET ecommerce.currency;
SELECT describe(11, 'A', '{"amount": 1.1, "currency": "USD"}');
SELECT body ->> 'currency', body -> 'total_amount' FROM ecommerce_order.get_order(:'order');
SELECT count(*) FROM said() s WHERE s LIKE '%"currency": "JPY"%';
-- Where the customer is told: checked, told to the saga, in no event.
SELECT address, errors(body(jsonb_build_object('email', address)))
FROM unnest(ARRAY['"ann@example.com"', '"x y@example.com"', '"ann@exa@mple.com"', '"ann"', '""', '5',
	'"a@b\r\nBcc: c@d"']::jsonb[]) address;
SELECT body ->> 'order_id' AS "order" FROM ecommerce_order.submit_order(body('{"email": "ann@example.com"}')) \gset
SELECT count(*) FROM said() s WHERE s LIKE '%"email": "ann@example.com"%';
SELECT count(*) FROM event_store.read_stream('order-' || :'order') e WHERE e.data::text LIKE '%ann@%';

-- What became of a wish to cancel: told at once where that is known, else on the order.
SELECT ecommerce_order._cancellation(data) FROM unnest(ARRAY['{}',
	'{"goal": "FULFIL", "cancellation": [{"st": "asked", "by": "ann", "reason": "late"}]}',
	'{"goal": "CANCEL", "cancellation": [{"st": "asked", "by": "ann", "reason": "late"}]}',
	'{"goal": "FULFIL", "cancellation": [{"st": "asked"}, {"st": "rejected", "by": "ann", "reason": "late"}]}']::jsonb[]) data;
RESET ROLE;
SELECT etag AS tag FROM ecommerce_order.get_order(:'order') \gset
SELECT version FROM saga.create('order', :'order'::uuid, '{"goal": "FULFIL", "shp": {"key": "k", "st": "dispatched"}}', 'Confirmed');
-- What the saga knows is shown, so the tag has changed with it.
SELECT etag <> :'tag', status FROM ecommerce_order.get_order(:'order', :'tag');
SET ROLE ecommerce_order;
SELECT outcome(format($$SELECT ecommerce_order.cancel_order(%L, '{"reason": "x"}')$$, :'order'));
RESET ROLE;
