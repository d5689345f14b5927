-- Currencies and card numbers: data and arithmetic that every amount and payment stands on.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all

-- ---------------------------------------------------------------- ISO 4217
SELECT minor_units, count(*) FROM ecommerce.currencies() GROUP BY 1 ORDER BY 1;
SELECT c.code FROM ecommerce.currencies() c
WHERE c.code !~ '^[A-Z]{3}$' OR ecommerce.minor_units(c.code) IS DISTINCT FROM c.minor_units;
SELECT code, ecommerce.minor_units(code)
FROM unnest(ARRAY['USD', 'JPY', 'KWD', 'CLF', 'usd', 'US', 'USDX', 'XAU', 'XDR', '']) code;

-- What is no currency is refused when it is set, however it is set.
SHOW ecommerce.currency;
SET ecommerce.currency = 'JPY';
SELECT ecommerce.currency();
SET ecommerce.currency = 'ABC';
SET ecommerce.currency = '';
SET ecommerce.currency = 'jpy';
SELECT set_config('ecommerce.currency', 'XAU', true);
ALTER DATABASE regress_currency SET ecommerce.currency = 'Dollar';
SELECT ecommerce.currency();

-- ---------------------------------------------------------------- prices
CREATE FUNCTION order_problems(price numeric, currency text DEFAULT NULL) RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT format('%s: %s', field, detail) FROM ecommerce.check_order(jsonb_populate_record(
		NULL::ecommerce.order_created, jsonb_build_object('customer_id', gen_random_uuid(),
		'items', jsonb_build_array(jsonb_build_object('product_id', gen_random_uuid(),
			'product_name', 'Cup', 'sku', 'CUP', 'quantity', 1, 'unit_price', price,
			'total_price', price)), 'total_amount', price, 'currency', currency,
		'shipping_address', '{"street": "s", "city": "c", "state": "t", "postal_code": "1",
			"country": "JP"}'::jsonb,
		'payment_method', '{"type": "card", "last4_digits": "4242"}'::jsonb)))
$$;
SELECT order_problems(1999), order_problems(19.99), order_problems(19.00);
SELECT order_problems(19.99, 'USD'), order_problems(19.99, 'KWD'), order_problems(0.5, 'XAF');
SELECT ecommerce.register_contracts() > 0;
SELECT fails($$SELECT message_bus.publish('ProcessPayment', '{"order_id": "00000000-0000-4000-8000-000000000001",
	"key": "00000000-0000-4000-8000-000000000001", "amount": 1, "currency": "Taler"}')$$);
RESET ecommerce.currency;

-- ---------------------------------------------------------------- card numbers
SELECT value, ecommerce.holds_card_number(value)
FROM unnest(ARRAY['4242424242424242', '4242-4242-4242-4242', '4242 4242 4242 4242 12/27 123',
	'4242.4242/4242_4242', '4242x4242x4242x4242', 'tok_4242424242424242', '12/27 4242 4242 4242 4242',
	E'4242\u00a04242\u20134242\t4242', '378282246310005', '6304 0000 0000 0000 000', '79927398713', '123456789007', '1 2 3 4 5 6 7 8 9 0 0 7',
	'4242424242424241', 'tok_ok', 'tok_1Nv0FGQ9RKHgCVdK', '3f2b8c1e-9a4d-4e7f-8b6a-1c2d3e4f5a6b', '4242', '']) value;
-- of eighteen digits, wherever the number begins
SELECT n, ecommerce.holds_card_number(repeat('5', n) || '4242424242424242' || repeat('3', 45 - n))
FROM generate_series(0, 45, 9) n;
SELECT value, ecommerce.is_payment_type(value)
FROM unnest(ARRAY['card', 'CreditCard', 'sepa_debit', 'apple-pay', 'p24', '', '4242 4242 4242 4242 12/27 123',
	'card 4242', 'card4242424242424242', 'a1b2', 'karte-ü', repeat('x', 50), repeat('x', 51)]) value;
-- They are not stored in an event, and not sent in a message.
CREATE FUNCTION pays(method jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT fails(format('SELECT event_store.check_data(''OrderSubmitted'', %L)', jsonb_build_object('order_id',
		gen_random_uuid(), 'customer_id', gen_random_uuid(), 'items', '[]'::jsonb, 'total_amount', 1,
		'shipping_address', '{"street": "s", "city": "c", "state": "t", "postal_code": "1", "country": "US"}'::jsonb,
		'payment_method', method)))
$$;
SELECT pays('{"type": "card", "last4_digits": "4242", "token": "4242-4242-4242-4242"}');
SELECT pays('{"type": "4242 4242 4242 4242 12/27 123", "last4_digits": "4242"}');
SELECT pays('{"type": "card", "last4_digits": "4242 4242 4242 4242"}');
SELECT pays('{"type": "card", "last4_digits": "4242", "token": "tok_ok"}');
