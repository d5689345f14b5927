-- The inventory service's SQL: products, holds, compensations that commute, rebuild.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/service.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
CREATE EXTENSION ecommerce_inventory;
SELECT ecommerce_inventory.install(), ecommerce_inventory.install();
CREATE FUNCTION command(key int, quantity int,
	more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('order_id', id(900 + key), 'key', id(key), 'ttl', 900, 'items',
		jsonb_build_array(
		jsonb_build_object('product_id', id(1), 'sku', 'A', 'quantity', quantity))) || more
$$;
CREATE FUNCTION stock() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s: %s on hand, %s reserved', sku, on_hand, reserved), '; '
		ORDER BY sku)
	FROM ecommerce_inventory.product
$$;
-- Lets the projection come to rest, by hand or by the worker, whoever is first.
CREATE PROCEDURE settle() LANGUAGE plpgsql AS $$
BEGIN
	FOR attempt IN 1 .. 10000 LOOP
		PERFORM event_store.run_projections(7);
		COMMIT;
		EXIT WHEN EXISTS (SELECT FROM event_store.projections p
			WHERE p.name = 'inventory' AND p.state = 'running' AND p.lag_events = 0);
	END LOOP;
END
$$;
SET ROLE ecommerce_inventory;

-- ---------------------------------------------------------------- products

SELECT * FROM ecommerce_inventory.put_product(id(1)::text, '{"sku": "A", "name": "Apple"}');
SELECT * FROM ecommerce_inventory.put_product(id(1)::text, '{"sku": "A", "name": "Apple"}');
SELECT * FROM ecommerce_inventory.put_product(id(2)::text, '{"sku": "B", "name": "Pear"}');
SELECT outcome($$SELECT ecommerce_inventory.put_product(id(3)::text,
	'{"sku": "A", "name": "Quince"}')$$);
SELECT outcome($$SELECT ecommerce_inventory.put_product('x', '{"sku": "", "name": 5}')$$);
-- nothing goes unread
SELECT outcome($$SELECT ecommerce_inventory.put_product(id(3)::text, '{"sku": "C", "name": "x",
	"stock": 5, "price": {"amount": 1, "curency": "EUR"}}')$$);
SELECT outcome($$SELECT ecommerce_inventory.adjust_stock(id(1)::text,
	'{"delta": 1, "reason": "x", "Delta": 2}')$$);
SELECT status FROM ecommerce_inventory.adjust_stock(id(1)::text,
	'{"delta": 10, "reason": "delivery"}');
SELECT outcome($$SELECT ecommerce_inventory.adjust_stock(id(1)::text,
	'{"delta": -11, "reason": "theft"}')$$);
SELECT outcome($$SELECT ecommerce_inventory.adjust_stock(id(1)::text, '{"delta": 1.5}')$$);
SELECT outcome($$SELECT ecommerce_inventory.adjust_stock(id(9)::text,
	'{"delta": 1, "reason": "x"}')$$);
SELECT body - 'next' - 'cursor' AS items, body ->> 'next' AS next FROM ecommerce_inventory.list_products(NULL, '1') \gset page_
SELECT :'page_items';
SELECT body - 'cursor' FROM ecommerce_inventory.list_products(:'page_next');
SELECT outcome($$SELECT ecommerce_inventory.list_products('x')$$);

-- Prices, and what is not kept in stock.
SELECT body -> 'price' FROM ecommerce_inventory.put_product(id(2)::text,
	'{"sku": "B", "name": "Pear", "price": {"amount": 1.50}}');
SELECT body -> 'price', body -> 'version' FROM ecommerce_inventory.put_product(id(2)::text,
	'{"sku": "B", "name": "Pear"}');
SELECT data FROM event_store.read_stream('product-' || id(2)) WHERE version = 2;
SELECT body -> 'price' FROM ecommerce_inventory.put_product(id(2)::text,
	'{"sku": "B", "name": "Pear", "price": null}');
SELECT price, ecommerce_inventory._price_errors(price, kind) FROM (VALUES
	('{"amount": 1, "currency": "EUR"}'::jsonb, NULL), ('{"amount": 19.99}', 'goods'), ('{"amount": 1.5, "currency": "JPY"}', 'goods'),
	('{"amount": 1.234}', 'goods'), ('{"amount": -1}', 'goods'), ('{"amount": "1"}', 'goods'), ('{"amount": 12345678}', 'goods'),
	('{"amount": 1, "currency": "XYZ"}', 'goods'), ('{"amount": 1, "currency": 5}', 'goods'), ('{}', 'goods'), ('5', 'goods'),
	('{"percent": 19}', 'charge'), ('{"percent": 7.125}', 'charge'), ('{"percent": 19}', 'goods'), ('{"percent": 101}', 'charge'),
	('{"percent": 5, "amount": 1}', 'charge'), ('{"percent": "5"}', 'charge')) AS p (price, kind);
SELECT body -> 'kind', body -> 'price' FROM ecommerce_inventory.put_product(id(3)::text,
	'{"sku": "TAX", "name": "Tax", "kind": "charge", "price": {"percent": 19}}');
SELECT outcome($$SELECT ecommerce_inventory.put_product(id(3)::text, '{"sku": "TAX", "name": "Tax", "kind": "extra"}')$$);
SELECT outcome($$SELECT ecommerce_inventory.put_product(id(1)::text, '{"sku": "A", "name": "Apple", "kind": "extra"}')$$);
SELECT outcome($$SELECT ecommerce_inventory.put_product(id(1)::text, '{"sku": "A", "name": "Apple", "kind": 5}')$$);
SELECT outcome($$SELECT ecommerce_inventory.adjust_stock(id(3)::text, '{"delta": 1, "reason": "x"}')$$);
-- A hold is of goods only; of what else there is in an order nothing is held.
SELECT ecommerce_inventory.reserve_inventory(command(30, 1) || jsonb_build_object('items',
	command(30, 1) -> 'items' || jsonb_build_array(jsonb_build_object('product_id', id(3), 'sku', 'TAX', 'quantity', 1))));
SELECT ecommerce_inventory.release_inventory(command(30, 0));
SELECT said();

-- The tag is that of what is shown; who has seen something else changes nothing.
SELECT etag AS tag FROM ecommerce_inventory.get_product(id(1)::text) \gset
SELECT status FROM unnest(ARRAY[:'tag', 'W/' || :'tag', '"x", ' || :'tag', '*', '"x"']) seen,
	ecommerce_inventory.get_product(id(1)::text, seen);
SELECT outcome(format($$SELECT status FROM ecommerce_inventory.put_product(%L, '{"sku": "A", "name": "Apple"}', %L, %L)$$, product, match, none))
FROM (VALUES (id(1), '"1-x"', NULL), (id(1), 'W/' || :'tag', NULL), (id(1), NULL, '*'), (id(1), NULL, :'tag'), (id(8), '*', NULL),
	(id(1), '"x", ' || :'tag', '"x"'), (id(1), '*', NULL)) AS p (product, match, none);
SELECT outcome(format($$SELECT status FROM ecommerce_inventory.adjust_stock(%L, '{"delta": 1, "reason": "found"}', %L)$$, id(1), :'tag'))
FROM generate_series(1, 2);
-- A delivery is booked once, however often it is told.
SELECT (r.reply).status, (r.reply).body -> 'on_hand' FROM generate_series(1, 2), LATERAL (SELECT ecommerce_inventory.once('delivery 1',
	'ecommerce_inventory.adjust_stock', jsonb_build_array(id(1), '{"delta": -1, "reason": "lost"}', NULL), 1) AS reply) r;
SELECT outcome($$SELECT ecommerce_inventory.list_products(NULL, '0')$$);

-- ---------------------------------------------------------------- holds

-- Two lines of one product count together; the same key again renews.
SELECT ecommerce_inventory.reserve_inventory(command(1, 3) || jsonb_build_object('items',
	command(1, 3) -> 'items' || (command(1, 2) -> 'items')));
SELECT ecommerce_inventory.reserve_inventory(command(1, 3));
SELECT said();
-- No hold of less than one piece: it would eat up the others'.
SELECT outcome(format('SELECT ecommerce_inventory.reserve_inventory(%L)', bad)) FROM unnest(ARRAY[
	command(20, -1), command(20, 0), command(20, 1, '{"items": []}'),
	command(20, 1, '{"items": [{"product_id": null, "quantity": 1}]}'),
	command(20, 1, '{"items": [{"product_id": "00000000-0000-4000-8000-000000000001"}]}')]) AS bad;
SELECT stock();
SELECT count(*), count(DISTINCT data ->> 'expires_at') FROM event_store.read_stream('reservation-'
	|| id(1));
SELECT stock();

-- All or nothing.
SELECT ecommerce_inventory.reserve_inventory(command(2, 6,
	jsonb_build_object('items', jsonb_build_array(
	jsonb_build_object('product_id', id(1), 'sku', 'A', 'quantity', 5),
	jsonb_build_object('product_id', id(2), 'sku', 'B', 'quantity', 1),
	jsonb_build_object('product_id', id(7), 'sku', 'Z', 'quantity', 1)))));
SELECT ecommerce_inventory.reserve_inventory(command(2, 1));
SELECT said();
SELECT stock();

-- Commit takes the goods, once; releasing then puts them back on hand.
SELECT ecommerce_inventory.commit_reservation(command(1, 0)) FROM generate_series(1, 2);
SELECT stock();
SELECT ecommerce_inventory.reserve_inventory(command(1, 3));
SELECT ecommerce_inventory.release_inventory(command(1, 0)) FROM generate_series(1, 2);
SELECT stock();
SELECT ecommerce_inventory.reserve_inventory(command(1, 3));
SELECT ecommerce_inventory.commit_reservation(command(1, 0));
SELECT ecommerce_inventory.commit_reservation(command(8, 0));
SELECT said();

-- A release that comes first refuses the reservation; so does the time.
SELECT ecommerce_inventory.release_inventory(command(3, 0));
SELECT ecommerce_inventory.reserve_inventory(command(3, 1));
SELECT ecommerce_inventory.reserve_inventory(command(4, 1,
	'{"not_after": "2020-01-01T00:00:00Z"}'));
SELECT ecommerce_inventory.reserve_inventory(command(4, 1));
SELECT said();

-- Holds expire, once, and a hold that was committed does not.
SELECT ecommerce_inventory.reserve_inventory(command(5, 2, '{"ttl": 0}'));
SELECT ecommerce_inventory.reserve_inventory(command(6, 1, '{"ttl": 0}'));
SELECT ecommerce_inventory.commit_reservation(command(6, 1));
SELECT ecommerce_inventory.expire_holds(), ecommerce_inventory.expire_holds();
SELECT ecommerce_inventory.commit_reservation(command(5, 0));
SELECT ecommerce_inventory.reserve_inventory(command(5, 1));
SELECT said();
SELECT stock();

-- ---------------------------------------------------------------- it is a projection

RESET ROLE;
CREATE TABLE before AS SELECT key, status, items, reason FROM ecommerce_inventory.reservation;
CREATE TABLE stock_before AS SELECT product_id, sku, name, on_hand, reserved, version
	FROM ecommerce_inventory.product;
SELECT event_store.rebuild_projection('inventory');
CALL settle();
SELECT count(*) FROM (TABLE before EXCEPT SELECT key, status, items, reason
	FROM ecommerce_inventory.reservation) d;
SELECT count(*) FROM (TABLE stock_before EXCEPT
	SELECT product_id, sku, name, on_hand, reserved, version FROM ecommerce_inventory.product) d;

-- Without its projection the service writes nothing rather than lose count.
SELECT event_store.pause_projection('inventory');
SELECT outcome($$SELECT ecommerce_inventory.reserve_inventory(command(7, 1))$$);
SELECT event_store.resume_projection('inventory');
CALL settle();
SELECT ecommerce_inventory.reserve_inventory(command(7, 1));
SELECT said();

-- Nobody else may write.
CREATE ROLE regress_stranger;
SET ROLE regress_stranger;
SELECT outcome('SELECT ecommerce_inventory.expire_holds()');
RESET ROLE;
DROP ROLE regress_stranger;
