-- Puts something into every table of the extension and of the services, by the functions that
-- users and daemons call. The dump of what came of it under a version is kept beside this file.
\set ON_ERROR_STOP on
\set QUIET on
\o /dev/null
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
CREATE EXTENSION ecommerce_order;
CREATE EXTENSION ecommerce_inventory;
CREATE EXTENSION ecommerce_payment;
CREATE EXTENSION ecommerce_shipping;
CREATE EXTENSION ecommerce_notification;
CREATE EXTENSION ecommerce_access;
CREATE FUNCTION public.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid
$$;

-- ---------------------------------------------------------------- event store
CREATE DOMAIN public.required AS text NOT NULL;
CREATE TYPE public.opened AS (owner public.required);
CREATE TYPE public.opened_2 AS (owner public.required, currency public.required);
CREATE FUNCTION public.with_currency(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
	AS $$ SELECT data || '{"currency": "EUR"}' $$;
SELECT event_store.register_event_type('Opened', 'public.opened');
SELECT event_store.append('account-1', 0, 'Opened', '{"owner": "Ann"}');
SELECT event_store.register_event_type('Opened', 'public.opened_2', 2);
SELECT event_store.register_upcaster('Opened', 1, 'public.with_currency(jsonb)');
SELECT event_store.append('account-2', 0, 'Opened', '{"owner": "Bob", "currency": "USD"}');

CREATE FUNCTION public.balance(state jsonb, event event_store.event) RETURNS jsonb
	IMMUTABLE LANGUAGE sql AS $$
	SELECT jsonb_set(state, '{balance}', to_jsonb((state ->> 'balance')::numeric
		+ coalesce((event.data ->> 'amount')::numeric, 0)))
$$;
SELECT event_store.create_aggregate('account', '{"balance": 0}', 2);
SELECT event_store.create_event_handler('account', t, 'public.balance(jsonb, event_store.event)')
	FROM unnest(ARRAY['Opened', 'Paid']) AS t;
SELECT event_store.save_json('account-1', 1, '[{"event_type": "Paid", "data": {"amount": 5},
	"metadata": {"by": "Ann"}}, {"event_type": "Paid", "data": {"amount": 1}}]');

SELECT event_store.append('log-1', -1, 'Said', jsonb_build_object('n', n))
	FROM generate_series(1, 40) AS n;
SELECT event_store.append('log-3', 0, 'Said', '{}');
SELECT event_store.tombstone_stream('log-3', 1);
SELECT event_store.set_retention('log-1', max_count => 10);
SELECT event_store.scavenge();
SELECT event_store.append('log-2', 0, 'Said', '{}');
SELECT event_store.delete_stream('log-2', 1);

CREATE TABLE public.heard (n int);
CREATE FUNCTION public.hear(event event_store.event) RETURNS void LANGUAGE sql
	AS $$ INSERT INTO public.heard VALUES (((event).data ->> 'n')::int) $$;
CREATE FUNCTION public.hear_never(event event_store.event) RETURNS void LANGUAGE sql
	AS $$ SELECT 1 / 0 $$;
SELECT event_store.create_projection('heard', 'public.hear(event_store.event)', 'log',
	tables => '{public.heard}');
SELECT event_store.create_projection('never', 'public.hear_never(event_store.event)', 'log',
	mode => 'inline', on_error => 'defer');
SELECT event_store.append('log-1', -1, 'Said', '{"n": 41}');
SELECT event_store.create_subscription('listener', 'log', partitions => 2);
BEGIN;
SELECT event_store.advance('listener', (SELECT max(position) FROM event_store.fetch('listener', 5)));
COMMIT;

-- ---------------------------------------------------------------- message bus
SELECT message_bus.create_endpoint('post', 2, '{"kind": "interval", "limit": 3, "interval": "1 h"}',
	'{"tracking_period": "1 h", "trip_threshold": 1, "active_threshold": 1, "reset_interval": "1 h"}'::jsonb);
SELECT message_bus.subscribe('post', 'Posted');
SELECT message_bus.publish('Posted', jsonb_build_object('n', n)) FROM generate_series(1, 8) AS n;
SELECT message_bus.send('post', 'Later', '{}', deliver_at => now() + interval '10 years');
SELECT message_bus.create_endpoint('box', 1, '{"kind": "interval", "limit": 3, "interval": "1 h"}');
SELECT message_bus.send('box', 'Letter', jsonb_build_object('n', n)) FROM generate_series(1, 9) AS n;
BEGIN;
SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM message_bus.receive('box', 2);
SELECT message_bus.skip(delivery_id, 'not for us') FROM message_bus.receive('box', 1);
SELECT message_bus.fail(delivery_id, 'away', 'nobody is at home') FROM message_bus.receive('box', 1);
COMMIT;
-- leased; the second is settled before the first
SELECT message_bus.ack(max(delivery_id)) FROM message_bus.receive('box', 2, '1 day');
SELECT message_bus.fail(delivery_id, 'broken', 'it is broken') FROM message_bus.receive('post', 8);
SELECT message_bus.create_endpoint('brittle', 1);
SELECT message_bus.send('brittle', 'Blow', '{}');
BEGIN;
SELECT message_bus.handle(delivery_id) FROM message_bus.receive('brittle', 1);
\c -
\o /dev/null
SET client_min_messages = warning;
-- the connection that was left may hold its lane for a while
DO $$
BEGIN
	WHILE EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
		AND backend_type = 'client backend' AND pid <> pg_backend_pid()) LOOP
		COMMIT;
	END LOOP;
END
$$;
BEGIN;
SELECT count(*) FROM message_bus.receive('brittle', 1);
COMMIT;

-- ---------------------------------------------------------------- sagas, the shop
SELECT ecommerce_order.install(), ecommerce_inventory.install(), ecommerce_payment.install(),
	ecommerce_shipping.install(), ecommerce_notification.install(), ecommerce_access.install();
SELECT ecommerce_inventory.once('product', 'ecommerce_inventory.put_product', jsonb_build_array(id(1),
	'{"sku": "MUG", "name": "Mug", "price": {"amount": 21, "currency": "USD"}}', NULL, NULL), 1);
SELECT ecommerce_inventory.adjust_stock(id(1)::text, '{"delta": 10, "reason": "delivery"}');
SELECT ecommerce_order.once('order', 'ecommerce_order.submit_order', jsonb_build_array(jsonb_build_object(
	'customer_id', id(7), 'items', jsonb_build_array(jsonb_build_object('product_id', id(1), 'sku', 'MUG',
		'product_name', 'Mug', 'quantity', 2, 'unit_price', 21)),
	'shipping_address', jsonb_build_object('street', '1 Main St', 'city', 'Springfield', 'country', 'US'),
	'payment_method', jsonb_build_object('type', 'card', 'last4_digits', '4242', 'token', 'tok_ok'))::text), 0);
CALL message_bus.wait('order', '1 min');
SELECT saga.run();
-- the services, each as its daemon would
CREATE FUNCTION public.serve(service text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	message message_bus.delivery;
	item record;
BEGIN
	FOR message IN SELECT * FROM message_bus.receive(service, 10) ORDER BY delivery_id LOOP
		EXECUTE format('SELECT ecommerce_%s.%s($1)', service, lower(regexp_replace(message.message_type,
			'(?<!^)([A-Z])', '_\1', 'g'))) USING message.body;
		PERFORM message_bus.ack(message.delivery_id);
	END LOOP;
	IF service IN ('payment', 'shipping') THEN
		FOR item IN EXECUTE format('SELECT * FROM ecommerce_%s.claim(10, ''1 min'')', service) LOOP
			EXECUTE format('SELECT ecommerce_%1$s.settle($1, $2, ecommerce_%1$s.simulate($3, $4))', service)
				USING item.work_id, item.fence, item.operation, item.request;
		END LOOP;
	END IF;
END
$$;
SELECT serve('inventory');
SELECT saga.run();
SELECT serve('payment');
SELECT saga.run();
SELECT serve('inventory');
SELECT serve('shipping');
SELECT saga.run();
SELECT serve('notification');
SELECT ecommerce_payment.once('hook', 'ecommerce_payment.take_webhook', jsonb_build_array(jsonb_build_object(
	'id', 'evt_1', 'type', 'charge.refunded', 'data', jsonb_build_object('object', jsonb_build_object(
		'id', 'ch_unknown', 'refunded', true)))::text), 0);
SELECT ecommerce_shipping.once('shipped', 'ecommerce_shipping.dispatch_shipment',
	jsonb_build_array(s.shipment_id), NULL) FROM ecommerce_shipping.shipment s;
SELECT ecommerce_access.create_key('web shop', 'operator');
-- what is there before its saga, and a saga that is gone
SELECT message_bus.publish('PaymentProcessed', jsonb_build_object('order_id', id(99), 'key', id(98),
	'transaction_id', 'ch_98', 'amount', 1, 'currency', 'USD', 'processed_at', now()));
SELECT saga.run();
SELECT saga.define('trip', '{"endpoint": "trip", "initial": "Planned", "events": {"Go": {"correlate": "$.message.id"}},
	"start": {"Go": {"goto": "Planned", "schedule": [{"timer": "late", "delay": "1 day"}]}},
	"states": {"Planned": {"default": "ignore", "on": {"timer:late": {"goto": "Over"}}},
		"Over": {"kind": "final", "default": "ignore"}}}');
SELECT message_bus.publish('Go', jsonb_build_object('id', id(n))) FROM generate_series(51, 53) AS n;
SELECT saga.run();
SELECT saga.delete('trip', id(51));
SELECT saga.forget('trip', id(52));
-- one expires behind others that nobody has read
SELECT message_bus.create_endpoint('dust', 1);
SELECT message_bus.send('dust', 'Leaflet', '{}');
SELECT message_bus.send('dust', 'Leaflet', '{}', expires_at => clock_timestamp() + interval '1 ms');
DO $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM message_bus.passed) LOOP
		PERFORM message_bus.maintain();
		COMMIT;
	END LOOP;
END
$$;
SELECT ecommerce_notification.once('none', 'ecommerce_notification.list_notifications',
	'[null, null, null, null]', NULL);
-- what happens after 100 000 acks
INSERT INTO message_bus.lane
	SELECT a.endpoint_id, a.lane, max(a.position) FROM message_bus.ack_0 a GROUP BY 1, 2;
