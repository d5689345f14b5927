-- Fills the shop's lists, for tests of what looking at a large one costs; after big_store.sql, by
-- BigStore.pm too. psql variable: orders (as many products).
\set ON_ERROR_STOP on
SET synchronous_commit = off;

\echo part: orders
INSERT INTO ecommerce_order.order_summary (order_id, position, customer_id, status, total_amount,
	item_count, version, created_at, updated_at)
SELECT md5('o' || n)::uuid, n, md5('k' || n % 1000)::uuid,
	(ARRAY['Confirmed', 'Completed', 'Cancelled', 'Created'])[n % 4 + 1], n % 500 + 0.5, 1, 1,
	t.at, t.at
FROM generate_series(1, :orders) n, LATERAL (SELECT now() - (:orders - n) * interval '1 s' AS at) t;
VACUUM (ANALYZE) ecommerce_order.order_summary;

\echo part: products
INSERT INTO ecommerce_inventory.product (product_id, position, sku, name, on_hand, reserved, kind,
	amount, currency, version, updated_at)
SELECT md5('p' || n)::uuid, n, 'sku-' || n, 'Thing ' || n, n % 100, 0, 'goods', 2.5, 'USD', 1,
	now()
FROM generate_series(1, :orders) n;
VACUUM (ANALYZE) ecommerce_inventory.product;
