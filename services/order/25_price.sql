-- POST /orders: what the order costs, which the catalogue says and not the customer; then
-- the order is created and announced.

CREATE TYPE ecommerce_order.priced_line AS (
	n bigint,
	asked jsonb,
	known ecommerce_order.price_list,
	quantity int,
	unit_price numeric
);
COMMENT ON TYPE ecommerce_order.priced_line IS
'A line of an order: as the customer asked for it, null of a charge that he did not name; what the catalogue knows of it; unit_price: the catalogue''s, null where it has none.';

CREATE FUNCTION ecommerce_order._priced_lines(items jsonb)
RETURNS ecommerce_order.priced_line[] LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $priced_lines$
BEGIN
	RETURN (
	WITH line AS (
		SELECT i.n, i.line, p, (i.line -> 'quantity')::int AS quantity
		FROM jsonb_array_elements(items) WITH ORDINALITY AS i (line, n)
		LEFT JOIN ecommerce_order.price_list p ON p.product_id = (i.line ->> 'product_id')::uuid
	), whole AS (
		TABLE line
		UNION ALL
		-- nobody leaves out what is on every order
		SELECT jsonb_array_length(items) + row_number() OVER (ORDER BY p.sku), NULL, p, 1
		FROM ecommerce_order.price_list p
		WHERE p.kind = 'charge' AND (p.percent IS NOT NULL OR p.currency = ecommerce.currency())
			AND p.product_id NOT IN (SELECT (l.line ->> 'product_id')::uuid FROM line l)
	)
	SELECT array_agg(ROW(w.n, w.line, w.p, w.quantity, coalesce((w.p).amount, round(
		(w.p).percent / 100 * total.amount, least(2, ecommerce.minor_units(ecommerce.currency()))))
		)::ecommerce_order.priced_line ORDER BY w.n)
	FROM whole w, (SELECT sum(t.quantity * (t.p).amount) AS amount FROM whole t) AS total);
END
$priced_lines$;
COMMENT ON FUNCTION ecommerce_order._priced_lines(jsonb) IS
'The lines of an order and after them the charges that it does not name, each with what the catalogue knows of it.';

CREATE FUNCTION ecommerce_order._price_errors(body jsonb,
	lines ecommerce_order.priced_line[])
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $price_errors$
DECLARE
	errors jsonb;
BEGIN
	WITH line AS (
		SELECT *, row_number() OVER (PARTITION BY (l.known).product_id ORDER BY l.n) AS nth
		FROM unnest(lines) l
	), problem (n, field, detail) AS (
		SELECT l.n, format('items[%s].%s', l.n - 1, p.field), p.detail
		FROM line l CROSS JOIN LATERAL (VALUES
			('product_id', 'is not in the catalogue', (l.known).product_id IS NULL),
			('product_id', 'is not for sale: it has no price', (l.known).product_id IS NOT NULL
				AND l.unit_price IS NULL),
			('product_id', format('is sold for %s only', (l.known).currency),
				(l.known).currency <> ecommerce.currency()),
			('product_id', 'is on the order already', (l.known).kind = 'charge' AND l.nth > 1),
			('quantity', 'must be 1 of a charge', (l.known).kind = 'charge' AND l.quantity <> 1),
			('sku', format('is %s in the catalogue', (l.known).sku),
				l.asked ->> 'sku' <> (l.known).sku),
			('unit_price', format('is %s in the catalogue', trim_scale(l.unit_price)),
				(l.asked ->> 'unit_price')::numeric <> l.unit_price)
		) AS p (field, detail, applies)
		WHERE p.applies AND l.asked IS NOT NULL
		UNION ALL
		SELECT 0, 'items', 'must hold goods' WHERE NOT EXISTS (SELECT FROM line l
			WHERE coalesce((l.known).kind, 'goods') = 'goods')
		UNION ALL
		SELECT max(l.n) + 1, 'total_amount', format('is %s', sum(l.quantity * l.unit_price))
		FROM line l
		HAVING sum(l.quantity * l.unit_price) <> (body ->> 'total_amount')::numeric
	)
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', p.field, 'detail', p.detail)
		ORDER BY p.n, p.field), '[]')
	INTO errors FROM problem p;
	RETURN errors;
END
$price_errors$;
COMMENT ON FUNCTION ecommerce_order._price_errors(jsonb, ecommerce_order.priced_line[]) IS
'Where the body of POST /orders, whose form is right, and the catalogue do not agree, as [{"field", "detail"}]. An order without prices gets the catalogue''s.';

CREATE FUNCTION ecommerce_order._refuse_prices(errors jsonb)
RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_prices$
BEGIN
	IF errors = '[]' THEN
		RETURN;
	END IF;
	-- a list that is being filled is no reason to refuse anything
	IF NOT EXISTS (SELECT FROM event_store.projections p
		WHERE p.name = 'price_list' AND p.state = 'running') THEN
		RAISE EXCEPTION 'the projection "price_list" does not run'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'The view event_store.projections tells why; a rebuild ends by itself.';
	END IF;
	PERFORM ecommerce_order._refuse_fields(errors);
END
$refuse_prices$;
COMMENT ON FUNCTION ecommerce_order._refuse_prices(jsonb) IS
'Refuses with HT422 what price_errors has found; 55000 while the price list is not whole.';

CREATE FUNCTION ecommerce_order.submit_order(body jsonb, caller uuid DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $submit_order$
DECLARE
	id CONSTANT uuid := ecommerce_order._new_id();
	lines ecommerce_order.priced_line[];
	document jsonb;
BEGIN
	IF caller <> ecommerce_order._as_uuid(body ->> 'customer_id') THEN
		PERFORM ecommerce_order._refuse(403, 'the customer_id is another customer''s');
	END IF;
	PERFORM ecommerce_order._refuse_fields(ecommerce_order._order_errors(body));
	-- read once: the prices that were checked are those that are charged
	lines := ecommerce_order._priced_lines(body -> 'items');
	PERFORM ecommerce_order._refuse_prices(ecommerce_order._price_errors(body, lines));
	SELECT jsonb_build_object(
		'customer_id', body -> 'customer_id',
		'items', jsonb_agg(jsonb_build_object('product_id', (l.known).product_id,
			'product_name', coalesce(l.asked ->> 'product_name', (l.known).name),
			'sku', (l.known).sku, 'quantity', l.quantity, 'unit_price', round(l.unit_price, 2),
			'total_price', round(l.quantity * l.unit_price, 2)) ORDER BY l.n),
		'total_amount', round(sum(l.quantity * l.unit_price), 2),
		'shipping_address', (SELECT jsonb_object_agg(field,
			body #> ARRAY['shipping_address', field])
			FROM unnest(ARRAY['street', 'city', 'state', 'postal_code', 'country']) AS field),
		'payment_method', body -> 'payment_method', 'currency', ecommerce.currency())
	INTO document
	FROM unnest(lines) l;

	PERFORM event_store.append('order-' || id, 0, 'OrderCreated', document);
	-- who is told, and where, is personal: it goes with the message, and into no event
	PERFORM message_bus.publish('OrderSubmitted', document || jsonb_build_object('order_id', id,
			'email', body -> 'email'),
		partition_key => id::text);
	RETURN ecommerce_order._answer(202,
		jsonb_build_object('order_id', id, 'version', 1, 'status', 'Created'), '"1"', '/orders/'
			|| id);
END
$submit_order$;
COMMENT ON FUNCTION ecommerce_order.submit_order(jsonb, uuid) IS
'POST /orders: appends OrderCreated and publishes OrderSubmitted in this transaction, with the catalogue''s prices: 202 with {order_id, version, status}, or HT422 that names every bad field.';
