-- The shipping service's SQL: shipments, carriers, cancellations that commute.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/service.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
CREATE EXTENSION ecommerce_shipping;
SELECT ecommerce_shipping.install(), ecommerce_shipping.install();
CREATE FUNCTION arrange(key int, country text DEFAULT 'DE', postal_code text DEFAULT '1',
	more jsonb DEFAULT '{}')
RETURNS void LANGUAGE sql AS $$
	SELECT ecommerce_shipping.arrange_shipment(jsonb_build_object('order_id', id(900 + key), 'key',
		id(key),
		'items', jsonb_build_array(jsonb_build_object('product_id', id(1), 'sku', 'A', 'quantity',
			3)),
		'shipping_address', jsonb_build_object('street', 's', 'city', 'c', 'state', 't', 'country',
			country,
			'postal_code', postal_code)) || more)
$$;
-- A claim never reads the whole table: its plan is made while that is empty, and kept.
BEGIN;
SELECT seq_scan AS before FROM pg_stat_xact_user_tables
	WHERE relid = 'ecommerce_shipping.shipment'::regclass \gset
SELECT count(*) FROM ecommerce_shipping.claim(1, '1 min');
SELECT seq_scan - :before FROM pg_stat_xact_user_tables
	WHERE relid = 'ecommerce_shipping.shipment'::regclass;
COMMIT;
CREATE FUNCTION cancel(key int) RETURNS void LANGUAGE sql AS $$
	SELECT ecommerce_shipping.cancel_shipment(jsonb_build_object('order_id', id(900 + key), 'key',
		id(key)))
$$;
CREATE FUNCTION shipment(n int) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', status, 'owes ' || operation) FROM ecommerce_shipping.shipment
		WHERE key = id(n)
$$;
CREATE FUNCTION shipment_id(n int) RETURNS text LANGUAGE sql AS $$
	SELECT shipment_id::text FROM ecommerce_shipping.shipment WHERE key = id(n)
$$;
SET ROLE ecommerce_shipping;

-- ---------------------------------------------------------------- arranging

SELECT arrange(1);
SELECT work('shipping');
SELECT arrange(1);
SELECT arrange(2, 'XX');
SELECT work('shipping');
SELECT arrange(3, 'DE', '00000');
SELECT work('shipping');
SELECT arrange(13, 'DE', '00000', jsonb_build_object('order_id', id(903)));
SELECT work('shipping');
SELECT arrange(4, more => '{"not_after": "2020-01-01T00:00:00Z"}');
SELECT work('shipping');
SELECT said();

-- ---------------------------------------------------------------- cancelling

-- Before it was heard of, before the carrier was asked, while it is asked, after.
SELECT cancel(5);
SELECT arrange(5);
SELECT arrange(6);
SELECT cancel(6);
SELECT work('shipping');
SELECT arrange(7);
CREATE TEMP TABLE claimed AS SELECT * FROM ecommerce_shipping.claim(1, '1 min');
SELECT cancel(7);
SELECT shipment(7);
SELECT ecommerce_shipping.settle(work_id, fence, ecommerce_shipping.simulate(operation, request))
	FROM claimed;
SELECT work('shipping');
SELECT ecommerce_shipping.settle(work_id, fence, '{"result": "arranged"}') FROM claimed;
SELECT arrange(7);
SELECT cancel(2), cancel(2);
SELECT said();

-- No answer: asked again, with the same key.
SELECT arrange(8);
SELECT ecommerce_shipping.settle(work_id, fence, '{"result": "unknown"}')
	FROM ecommerce_shipping.claim(1, '1 min');
SELECT shipment(8);
UPDATE ecommerce_shipping.shipment SET due_at = '-infinity' WHERE key = id(8);
SELECT work('shipping');
SELECT said();

-- What comes of a call goes back to the command that asked for it, and no other.
SELECT ecommerce.set_context(id(1), id(1001)), arrange(15);
SELECT work('shipping');
SELECT ecommerce.set_context(id(1), id(1002)), cancel(15);
SELECT work('shipping');
SELECT message_type, causation_id FROM message_bus.receive('probe', 50)
WHERE body ->> 'key' = id(15)::text;
SELECT said();

-- ---------------------------------------------------------------- over HTTP

SELECT outcome(format('SELECT ecommerce_shipping.deliver_shipment(%L)', shipment_id(1)));
SELECT status, body ->> 'status', body ->> 'tracking_number'
	FROM ecommerce_shipping.dispatch_shipment(shipment_id(1));
SELECT status, body ->> 'status' FROM ecommerce_shipping.dispatch_shipment(shipment_id(1));
SELECT cancel(1);
SELECT status, body ->> 'status' FROM ecommerce_shipping.deliver_shipment(shipment_id(1));
SELECT status, body ->> 'status' FROM ecommerce_shipping.deliver_shipment(shipment_id(1));
SELECT outcome(format('SELECT ecommerce_shipping.dispatch_shipment(%L)', shipment_id(7)));
SELECT outcome($$SELECT ecommerce_shipping.dispatch_shipment('x')$$);
SELECT arrange(1);
SELECT said();
SELECT (body #> '{items,0}') - 'shipment_id'::text
FROM ecommerce_shipping.list_shipments(id(901)::text);
RESET ROLE;
