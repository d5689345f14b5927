-- What 100_bridge.pl needs in its database: endpoints, bridges, and what handles messages.

SELECT message_bus.create_endpoint('inventory', forward_to => 'rabbit');
SELECT ecommerce.install_order_saga();
SELECT message_bus.create_bridge('partners', 'masstransit', '{"endpoint": "to-rabbit", "queue": "shop",
	"target": "orders", "namespace": "Shop.Contracts", "subscribe": ["SubmitOrder"], "replies": ["OrderAccepted"]}');
SELECT message_bus.create_bridge('stock', 'masstransit', '{"endpoint": "inventory", "queue": "shop_stock",
	"namespace": "Shop.Contracts", "subscribe": ["InventoryReserved"]}');
CREATE TABLE traces (what text, trace text);
-- What the order service does: an order of what was asked for.
CREATE FUNCTION submit() RETURNS bigint LANGUAGE sql AS $$
	WITH r AS MATERIALIZED (SELECT * FROM message_bus.receive('orders'))
	SELECT count(*) FROM (SELECT message_bus.handle(delivery_id), message_bus.publish('OrderSubmitted',
		jsonb_build_object('order_id', body->'order_id', 'customer_id', body->'customer_id',
			'items', '[{"product_id": "00000000-0000-4000-8000-000000000001", "sku": "S", "product_name": "P",
			"quantity": 1, "unit_price": 5, "total_price": 5}]'::jsonb, 'total_amount', 5,
			'shipping_address', '{"street": "s", "city": "c", "postal_code": "1", "country": "DE"}'::jsonb,
			'payment_method', '{"type": "card", "last4_digits": "4242", "token": "tok_ok"}'::jsonb)),
		message_bus.ack(delivery_id) FROM r OFFSET 0) d
$$;
-- What the payment service does, as far as the one who has asked wants to know.
CREATE FUNCTION pay() RETURNS bigint LANGUAGE sql AS $$
	WITH r AS MATERIALIZED (SELECT * FROM message_bus.receive('payment')),
		t AS (INSERT INTO traces SELECT message_type, traceparent FROM r)
	SELECT count(*) FROM (SELECT message_bus.handle(delivery_id), message_bus.publish('OrderAccepted',
		jsonb_build_object('order_id', body->'order_id')), message_bus.ack(delivery_id) FROM r OFFSET 0) d
$$;

SELECT message_bus.create_endpoint('out', 4, forward_to => 'rabbit'), message_bus.create_endpoint('in', 4);
SELECT message_bus.create_bridge('numbers', 'raw', '{"endpoint": "out", "queue": "numbers_in", "target": "in",
	"namespace": "com.shop", "destinations": {"Number": "numbers_out"}, "type_header": "__TypeId__"}');
CREATE TABLE handled (n int);
CREATE FUNCTION consume() RETURNS bigint LANGUAGE sql AS $$
	WITH r AS MATERIALIZED (SELECT * FROM message_bus.receive('in', 500)),
		h AS (INSERT INTO handled SELECT (r.body->>'n')::int FROM r)
	SELECT count(*) FROM (SELECT message_bus.ack(delivery_id) FROM r OFFSET 0) d
$$;
CREATE FUNCTION send_numbers(first int, count int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(message_bus.send('out', 'Number', jsonb_build_object('n', i), partition_key => (i % 20)::text))
	FROM generate_series(first, first + count - 1) i
$$;

SELECT message_bus.create_endpoint('events-out', 1, forward_to => 'rabbit'), message_bus.create_endpoint('events-in', 1);
SELECT message_bus.create_bridge('events', 'cloudevents', '{"endpoint": "events-out", "queue": "events_ours",
	"target": "events-in", "namespace": "com.shop", "exchange": "events", "exchange_type": "topic", "prefix": "ce-",
	"subscribe": ["Ordered"], "source": "/shop"}');
