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
			jsonb_build_object('product_id', id(11), 'sku', 'A', 'product_name', 'Apple',
				'quantity', 1, 'unit_price', 0)),
		'shipping_address', jsonb_build_object('street', 's', 'city', 'c', 'state', 't',
			'postal_code', '1', 'country', 'DE'),
		'payment_method', jsonb_build_object('type', 'card', 'last4_digits', '4242', 'token',
			'tok_ok')) || more
$$;
-- Errors one a line.
CREATE FUNCTION errors(body jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s: %s', e ->> 'field', e ->> 'detail')
		FROM jsonb_array_elements(ecommerce_order.order_errors(body)) e
$$;
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

-- ---------------------------------------------------------------- idempotency

SELECT status, body ->> 'status' AS state, etag, body ->> 'order_id' AS "order"
	FROM ecommerce_order.submit_order(body(), 'k1') \gset
SELECT :status, :'state', :'etag';
SELECT status, body ->> 'order_id' = :'order' FROM ecommerce_order.submit_order(body(), 'k1');
SELECT outcome($$SELECT ecommerce_order.submit_order(body('{"items": []}'), 'k1')$$);
SELECT outcome($$SELECT ecommerce_order.submit_order(body(), '')$$);
SELECT said();
SELECT ecommerce_order.forget_keys();
UPDATE ecommerce_order.idempotency SET created_at = clock_timestamp() - interval '25 hours';
SELECT status, body ->> 'order_id' = :'order' FROM ecommerce_order.submit_order(body(), 'k1');
UPDATE ecommerce_order.idempotency SET created_at = clock_timestamp() - interval '25 hours';
SELECT ecommerce_order.forget_keys();
SELECT substr(ecommerce_order.new_id()::text, 15, 1),
	ecommerce_order.new_id() <> ecommerce_order.new_id();

-- ---------------------------------------------------------------- reads

SELECT status, etag, body - 'order_id' - 'created_at' FROM ecommerce_order.get_order(:'order');
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
SELECT jsonb_array_length(body -> 'items'), body ->> 'next' = :'order'
	FROM ecommerce_order.list_orders(NULL, NULL, NULL, '1');
SELECT jsonb_array_length(body -> 'items') FROM ecommerce_order.list_orders(NULL, NULL, :'order');
SELECT jsonb_array_length(body -> 'items') FROM ecommerce_order.list_orders(id(2)::text);
SELECT outcome($$SELECT ecommerce_order.list_orders('x')$$);
SELECT outcome($$SELECT ecommerce_order.list_orders(NULL, 'Lost')$$);

-- ---------------------------------------------------------------- cancellation

SELECT said();
SELECT outcome(format($$SELECT ecommerce_order.cancel_order(%L, '{"reason": "x"}', '"2"')$$,
	:'order'));
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
SELECT body ->> 'order_id' AS "order" FROM ecommerce_order.submit_order(body(jsonb_build_object('items',
	jsonb_build_array((body() #> '{items,0}') || '{"unit_price": 1999.00}')))) \gset
RESET ecommerce.currency;
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
SELECT ecommerce_order.cancellation(data) FROM unnest(ARRAY['{}',
	'{"goal": "FULFIL", "cancellation": [{"st": "asked", "by": "ann", "reason": "late"}]}',
	'{"goal": "CANCEL", "cancellation": [{"st": "asked", "by": "ann", "reason": "late"}]}',
	'{"goal": "FULFIL", "cancellation": [{"st": "asked"}, {"st": "rejected", "by": "ann", "reason": "late"}]}']::jsonb[]) data;
RESET ROLE;
SELECT version FROM saga.create('order', :'order'::uuid, '{"goal": "FULFIL", "shp": {"key": "k", "st": "dispatched"}}', 'Confirmed');
SET ROLE ecommerce_order;
SELECT outcome(format($$SELECT ecommerce_order.cancel_order(%L, '{"reason": "x"}')$$, :'order'));
RESET ROLE;
