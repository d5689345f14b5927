-- Read model of orders, and the copy of the catalogue that orders are priced by.

CREATE TABLE ecommerce_order.order_summary (
	order_id uuid PRIMARY KEY,
	position bigint NOT NULL UNIQUE,
	customer_id uuid NOT NULL,
	status text NOT NULL CHECK (status IN ('Created', 'Confirmed', 'Completed', 'Cancelled')),
	total_amount numeric NOT NULL,
	item_count int NOT NULL,
	confirmation_number text,
	cancel_reason text,
	refund_id text,
	version bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX order_summary_customer ON ecommerce_order.order_summary (customer_id, position);
CREATE INDEX order_summary_status ON ecommerce_order.order_summary (status, position);
COMMENT ON TABLE ecommerce_order.order_summary IS
'One row per order for lists: a projection of the category order, rebuilt by event_store.rebuild_projection(''order_summary''). position is that of OrderCreated.';

CREATE TABLE ecommerce_order.price_list (
	product_id uuid PRIMARY KEY,
	sku text NOT NULL,
	name text NOT NULL,
	kind text NOT NULL CHECK (kind IN ('goods', 'extra', 'charge')),
	amount numeric,
	currency text,
	percent numeric
);
CREATE INDEX price_list_charge ON ecommerce_order.price_list (sku) WHERE kind = 'charge';
COMMENT ON TABLE ecommerce_order.price_list IS
'What products cost: this service''s copy of the catalogue, which inventory keeps; a projection of the events ProductDescribed, inline, so that an order is priced as the last PUT that was answered has it. kind: goods, an extra that a customer may add, or a charge that is on every order; percent, of a charge: of the lines that have an amount.';

CREATE FUNCTION ecommerce_order._apply(event event_store.event)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $apply$
DECLARE
	subject CONSTANT uuid := ecommerce_order._as_uuid(substr(event.stream, 7));
BEGIN
	IF subject IS NULL THEN
		RETURN;		-- a stream of that category that is none of ours
	ELSIF event.event_type = 'OrderCreated' THEN
		INSERT INTO ecommerce_order.order_summary
			(order_id, position, customer_id, status, total_amount, item_count, version,
				created_at, updated_at)
		VALUES (subject, event.position, (event.data ->> 'customer_id')::uuid, 'Created',
			(event.data ->> 'total_amount')::numeric,
			jsonb_array_length(event.data -> 'items'), event.version, event.occurred_at,
				event.occurred_at);
	ELSE
		UPDATE ecommerce_order.order_summary s
		SET status = CASE event.event_type WHEN 'OrderConfirmed' THEN 'Confirmed'
			WHEN 'OrderCancelled' THEN 'Cancelled'
				WHEN 'OrderCompleted' THEN 'Completed' ELSE s.status END,
			confirmation_number = coalesce(event.data ->> 'confirmation_number',
				s.confirmation_number),
			cancel_reason = coalesce(event.data ->> 'reason', s.cancel_reason),
			refund_id = coalesce(event.data ->> 'refund_id', s.refund_id),
			version = event.version, updated_at = event.occurred_at
		WHERE s.order_id = subject;
	END IF;
END
$apply$;
COMMENT ON FUNCTION ecommerce_order._apply(event_store.event) IS
'Handler of the inline projection "order_summary".';

CREATE FUNCTION ecommerce_order._apply_product(event event_store.event)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $apply_product$
BEGIN
	INSERT INTO ecommerce_order.price_list AS p
		(product_id, sku, name, kind, amount, currency, percent)
	VALUES (substr(event.stream, 9)::uuid, event.data ->> 'sku', event.data ->> 'name',
		coalesce(event.data ->> 'kind', 'goods'), (event.data #>> '{price,amount}')::numeric,
		event.data #>> '{price,currency}', (event.data #>> '{price,percent}')::numeric)
	ON CONFLICT (product_id) DO UPDATE
	SET sku = excluded.sku, name = excluded.name, kind = excluded.kind, amount = excluded.amount,
		currency = excluded.currency, percent = excluded.percent;
END
$apply_product$;
COMMENT ON FUNCTION ecommerce_order._apply_product(event_store.event) IS
'Handler of the inline projection "price_list".';

CREATE FUNCTION ecommerce_order.describe_product(product jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $describe_product$
BEGIN
	PERFORM event_store.append('product-' || (product ->> 'product_id')::uuid, -1,
		'ProductDescribed', product);
END
$describe_product$;
COMMENT ON FUNCTION ecommerce_order.describe_product(jsonb) IS
'Handles ProductDescribed, which comes here only from an inventory in another database: the catalogue''s event is kept in this one too, and price_list follows it.';

CREATE FUNCTION ecommerce_order.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	PERFORM ecommerce.register_contracts();
	PERFORM ecommerce.install_order_aggregate();
	PERFORM ecommerce.install_order_saga();
	IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = 'catalogue') THEN
		PERFORM message_bus.create_endpoint('catalogue', lanes => 1);
	END IF;
	IF NOT EXISTS (SELECT FROM event_store.projections p WHERE p.name = 'order_summary') THEN
		PERFORM event_store.create_projection('order_summary',
			'ecommerce_order._apply(event_store.event)'::regprocedure,
			category => 'order', mode => 'inline',
				tables => ARRAY['ecommerce_order.order_summary']::regclass[]);
	END IF;
	IF NOT EXISTS (SELECT FROM event_store.projections p WHERE p.name = 'price_list') THEN
		PERFORM event_store.create_projection('price_list',
			'ecommerce_order._apply_product(event_store.event)'::regprocedure,
			category => 'product', event_types => ARRAY['ProductDescribed'], mode => 'inline',
			tables => ARRAY['ecommerce_order.price_list']::regclass[]);
	END IF;
END
$install$;
COMMENT ON FUNCTION ecommerce_order.install() IS
'Registers contracts, the order aggregate, the order saga with its endpoints, and the projections; does nothing where they exist. Call once after CREATE EXTENSION.';
