-- The order aggregate: the worked example of an aggregate, and what the order service
-- stands on. Streams are order-<order id>; the state is
-- {order_id, status, customer_id, items, total_amount, shipping_address, payment_method, currency,
--  confirmation_number, cancel_reason, refund_id, cancelled_by}.
--
-- Handlers are written in the SQL-standard form and without SET: then load() inlines
-- them, and every name in them was resolved when the extension was created.

CREATE FUNCTION ecommerce.apply_order_created(state jsonb, event event_store.event) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object('order_id', substr((event).stream, 7), 'status', 'Created')
	|| (event).data;
COMMENT ON FUNCTION ecommerce.apply_order_created(jsonb, event_store.event) IS 'Handler of OrderCreated.';

CREATE FUNCTION ecommerce.apply_order_confirmed(state jsonb, event event_store.event) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN state || jsonb_build_object('status', 'Confirmed', 'confirmation_number',
	(event).data->'confirmation_number');
COMMENT ON FUNCTION ecommerce.apply_order_confirmed(jsonb, event_store.event) IS 'Handler of OrderConfirmed.';

CREATE FUNCTION ecommerce.apply_order_cancelled(state jsonb, event event_store.event) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN state || jsonb_build_object('status', 'Cancelled', 'cancel_reason', (event).data->'reason',
	'refund_id', (event).data->'refund_id', 'cancelled_by', (event).data->'cancelled_by');
COMMENT ON FUNCTION ecommerce.apply_order_cancelled(jsonb, event_store.event) IS 'Handler of OrderCancelled.';

CREATE FUNCTION ecommerce.apply_order_completed(state jsonb, event event_store.event) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN state || '{"status": "Completed"}'::jsonb;
COMMENT ON FUNCTION ecommerce.apply_order_completed(jsonb, event_store.event) IS 'Handler of OrderCompleted.';

CREATE FUNCTION ecommerce.install_order_aggregate() RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install_order_aggregate$
	SELECT ecommerce.register_contracts();
	SELECT event_store.create_aggregate('order', '{}', 100);
	SELECT event_store.create_event_handler('order', 'OrderCreated',
		'ecommerce.apply_order_created(jsonb, event_store.event)');
	SELECT event_store.create_event_handler('order', 'OrderConfirmed',
		'ecommerce.apply_order_confirmed(jsonb, event_store.event)');
	SELECT event_store.create_event_handler('order', 'OrderCancelled',
		'ecommerce.apply_order_cancelled(jsonb, event_store.event)');
	SELECT event_store.create_event_handler('order', 'OrderCompleted',
		'ecommerce.apply_order_completed(jsonb, event_store.event)');
$install_order_aggregate$;
COMMENT ON FUNCTION ecommerce.install_order_aggregate() IS
'Registers the contracts and defines the aggregate of category "order" with its handlers. Running it again changes nothing.';

-- ---------------------------------------------------------------- rules

CREATE FUNCTION ecommerce.check_order("order" ecommerce.order_created)
RETURNS TABLE (field text, detail text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $check_order$
	WITH paid_in AS (
		SELECT code, ecommerce.minor_units(code) AS decimals
		FROM coalesce(("order").currency, ecommerce.currency()) AS code
	), line AS (
		SELECT n - 1 AS n, i.quantity, i.unit_price, i.total_price
		FROM unnest(("order").items) WITH ORDINALITY AS i (product_id, product_name, sku,
			quantity, unit_price, total_price, n)
	)
	SELECT 'items', 'an order has at least one item' WHERE NOT EXISTS (SELECT FROM line)
	UNION ALL
	SELECT 'items', format('an order has at most 500 items, not %s', count(*))
		FROM line HAVING count(*) > 500
	UNION ALL
	SELECT format('items[%s].%s', n, problem.field), problem.detail
	FROM line CROSS JOIN LATERAL (
		SELECT 'quantity', 'must be positive' WHERE quantity <= 0
		UNION ALL
		SELECT 'unit_price', 'must not be negative' WHERE unit_price < 0
		UNION ALL
		SELECT 'unit_price', format('must have at most %s decimals in %s', decimals, code)
		FROM paid_in WHERE scale(trim_scale(unit_price)) > decimals
		UNION ALL
		SELECT 'total_price', format('must be quantity times unit_price, %s', quantity * unit_price)
		WHERE total_price <> quantity * unit_price) AS problem (field, detail)
	UNION ALL
	SELECT 'total_amount', format('must be the sum of the items, %s', sum(total_price)) FROM line
	HAVING sum(total_price) <> ("order").total_amount
$check_order$;
COMMENT ON FUNCTION ecommerce.check_order(ecommerce.order_created) IS
'Every rule that an order breaks, with the path of the field; no row means that it can be placed. '
'At least one and at most 500 items, quantities positive, prices not negative and with no more decimals than their currency has, total_price is quantity times unit_price, total_amount is their sum.';

-- The next step of an order, or OR002 with the state that was met.
CREATE FUNCTION ecommerce._save_order(order_id uuid, verb text, allowed text[], event_type text,
									  data jsonb, expected_version bigint)
RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $save_order$
DECLARE
	name constant text := 'order-' || order_id;
	loaded record;
	status text;
BEGIN
	IF order_id IS NULL THEN
		RAISE EXCEPTION 'order_id must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	SELECT l.state, l.version INTO STRICT loaded FROM event_store.load(name) l;
	status := coalesce(loaded.state ->> 'status', 'unknown');
	IF expected_version IS NULL OR expected_version = loaded.version THEN
		IF status <> ALL (allowed) THEN
			RAISE EXCEPTION 'order % cannot be %: it is %', order_id, verb, status
				USING ERRCODE = 'OR002',
					DETAIL = jsonb_build_object('order_id', order_id, 'status', status,
						'version', loaded.version),
					HINT = format('An order can be %s when it is %s.', verb,
						array_to_string(allowed, ' or '));
		END IF;
	END IF;
	RETURN (event_store.save(name, coalesce(expected_version, loaded.version),
		ARRAY[ROW(event_type, data, NULL, NULL, NULL, NULL)::event_store.new_event])).version;
END
$save_order$;
COMMENT ON FUNCTION ecommerce._save_order(uuid, text, text[], text, jsonb, bigint) IS
'Loads an order, refuses the step unless its status is allowed, saves the event.';

-- ---------------------------------------------------------------- commands

CREATE FUNCTION ecommerce.create_order(order_id uuid, customer_id uuid, items jsonb,
									   shipping_address jsonb, payment_method jsonb,
									   total_amount numeric DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $create_order$
#variable_conflict use_variable
DECLARE
	lines jsonb := items;
	data jsonb;
	problems jsonb;
BEGIN
	IF jsonb_typeof(items) = 'array' THEN
		SELECT coalesce(jsonb_agg(CASE
				WHEN jsonb_typeof(i.line) = 'object' AND NOT i.line ? 'total_price'
					AND jsonb_typeof(i.line -> 'quantity') = 'number'
					AND jsonb_typeof(i.line -> 'unit_price') = 'number'
				-- Of a quantity that is refused below no product: it might overflow.
				THEN i.line || CASE
					WHEN (i.line ->> 'quantity')::numeric BETWEEN -2147483648 AND 2147483647
					THEN jsonb_build_object('total_price',
						(i.line ->> 'quantity')::numeric * (i.line ->> 'unit_price')::numeric)
					ELSE '{}' END
				ELSE i.line END ORDER BY i.n), '[]')
		INTO lines
		FROM jsonb_array_elements(items) WITH ORDINALITY AS i (line, n);
	END IF;
	data := jsonb_build_object('customer_id', customer_id, 'items', lines,
		'total_amount', total_amount, 'shipping_address', shipping_address,
		'payment_method', payment_method, 'currency', ecommerce.currency());
	IF total_amount IS NULL THEN
		-- Any total, so that the shape can be checked before there is a sum.
		data := data || '{"total_amount": 0}';
	END IF;
	PERFORM event_store.check_data('OrderCreated', data);
	IF total_amount IS NULL THEN
		SELECT data || jsonb_build_object('total_amount',
			coalesce(sum((i.line ->> 'total_price')::numeric), 0))
		INTO data FROM jsonb_array_elements(lines) AS i (line);
	END IF;
	SELECT jsonb_agg(jsonb_build_object('field', c.field, 'detail', c.detail)) INTO problems
	FROM ecommerce.check_order(jsonb_populate_record(NULL::ecommerce.order_created, data)) c;
	IF problems IS NOT NULL THEN
		RAISE EXCEPTION '%: %', problems -> 0 ->> 'field', problems -> 0 ->> 'detail'
			USING ERRCODE = 'OR001', DETAIL = problems,
				HINT = 'ecommerce.check_order() tells every rule that an order breaks.';
	END IF;
	RETURN ecommerce._save_order(order_id, 'created', ARRAY['unknown'], 'OrderCreated', data, NULL);
END
$create_order$;
COMMENT ON FUNCTION ecommerce.create_order(uuid, uuid, jsonb, jsonb, jsonb, numeric) IS
'Places an order on stream order-<order_id>; returns the stream''s version. items: a JSON array of ecommerce.order_item, where total_price may be left out; shipping_address, payment_method: ecommerce.address, ecommerce.payment_method as JSON. total_amount: NULL for the sum of the items. '
'Errors: ST004 the shape does not fit, OR001 a rule is broken (DETAIL is a JSON array of {field, detail}), OR002 the order exists.';

CREATE FUNCTION ecommerce.confirm_order(order_id uuid, confirmation_number text,
										expected_version bigint DEFAULT NULL)
RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $confirm_order$
	SELECT ecommerce._save_order(order_id, 'confirmed', ARRAY['Created'], 'OrderConfirmed',
		jsonb_build_object('confirmation_number', confirmation_number), expected_version)
$confirm_order$;
COMMENT ON FUNCTION ecommerce.confirm_order(uuid, text, bigint) IS
'Confirms a Created order; returns the stream''s version. expected_version: NULL for the newest. '
'Errors: OR002 with the status met (DETAIL {order_id, status, version}), ST001 somebody else was faster.';

CREATE FUNCTION ecommerce.cancel_order(order_id uuid, reason text, refund_id text DEFAULT NULL,
									   expected_version bigint DEFAULT NULL)
RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $cancel_order$
	SELECT ecommerce._save_order(order_id, 'cancelled', ARRAY['Created', 'Confirmed'],
		'OrderCancelled',
		jsonb_build_object('reason', reason, 'refund_id', refund_id), expected_version)
$cancel_order$;
COMMENT ON FUNCTION ecommerce.cancel_order(uuid, text, text, bigint) IS
'Cancels a Created or Confirmed order; returns the stream''s version. refund_id: the payment provider''s, NULL if nothing was refunded. Errors as confirm_order.';

CREATE FUNCTION ecommerce.complete_order(order_id uuid, expected_version bigint DEFAULT NULL)
RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $complete_order$
	SELECT ecommerce._save_order(order_id, 'completed', ARRAY['Confirmed'], 'OrderCompleted',
		'{}', expected_version)
$complete_order$;
COMMENT ON FUNCTION ecommerce.complete_order(uuid, bigint) IS
'Completes a Confirmed order, when the goods were delivered; returns the stream''s version. Errors as confirm_order.';
