-- Two projections of the order aggregate, to read, to run and to copy from:
--	shop.order_list		orders by customer and status; inline, so that whoever has placed
--						an order finds it in the list at once
--	shop.product_sale	pieces and revenue per product and day; async, behind by little,
--						and appends do not wait for it
-- Run once in a database with the extension: psql -f demo/projections.sql
SELECT ecommerce.install_order_aggregate();

CREATE SCHEMA shop;

CREATE TABLE shop.order_list (
	order_id uuid PRIMARY KEY,
	customer_id uuid NOT NULL,
	status text NOT NULL,
	items int NOT NULL,
	total_amount numeric NOT NULL,
	placed_at timestamptz NOT NULL,
	changed_at timestamptz NOT NULL
);
CREATE INDEX ON shop.order_list (customer_id, status, placed_at);

CREATE FUNCTION shop.project_order_list(event event_store.event) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF event.event_type = 'OrderCreated' THEN
		INSERT INTO shop.order_list
		VALUES (substr(event.stream, 7)::uuid, (event.data ->> 'customer_id')::uuid, 'Created',
				jsonb_array_length(event.data -> 'items'), (event.data ->> 'total_amount')::numeric,
				event.occurred_at, event.occurred_at);
	ELSE
		UPDATE shop.order_list
		SET status = substr(event.event_type, 6), changed_at = event.occurred_at
		WHERE order_id = substr(event.stream, 7)::uuid;
	END IF;
END
$$;

CREATE TABLE shop.product_sale (
	product_id uuid,
	day date,
	sku text NOT NULL,
	pieces bigint NOT NULL,
	revenue numeric NOT NULL,
	PRIMARY KEY (product_id, day)
);

-- A cancelled order's pieces are taken off the day on which it was placed.
CREATE FUNCTION shop.project_product_sale(event event_store.event) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	created event_store.event := event;
	sign int := 1;
BEGIN
	IF event.event_type = 'OrderCancelled' THEN
		SELECT * INTO STRICT created FROM event_store.read_stream(event.stream, 1, 1);
		sign := -1;
	END IF;
	INSERT INTO shop.product_sale AS s
	SELECT i.product_id, (created.occurred_at AT TIME ZONE 'UTC')::date, min(i.sku),
		sign * sum(i.quantity), sign * sum(i.total_price)
	FROM jsonb_populate_recordset(NULL::ecommerce.order_item, created.data -> 'items') i
	GROUP BY i.product_id
	ON CONFLICT (product_id, day) DO UPDATE
	SET pieces = s.pieces + excluded.pieces, revenue = s.revenue + excluded.revenue;
END
$$;

SELECT event_store.create_projection('order_list', 'shop.project_order_list(event_store.event)',
	category => 'order',
	event_types => '{OrderCreated, OrderConfirmed, OrderCancelled, OrderCompleted}',
	mode => 'inline', tables => '{shop.order_list}');
SELECT event_store.create_projection('product_sale', 'shop.project_product_sale(event_store.event)',
	category => 'order', event_types => '{OrderCreated, OrderCancelled}',
	tables => '{shop.product_sale}');
-- What was appended before: an inline projection does not look back by itself.
SELECT event_store.rebuild_projection('order_list');
