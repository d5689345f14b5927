-- Waves of HTTP requests, a view each: (name, method, path, headers, body).  The names
-- are those of files, too.  demo.curl_config makes curl's configuration of a wave.

CREATE PROCEDURE demo.plan_stock()
	LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO demo.stock
	SELECT a.product_id, a.shop_sku,
		   (array_agg(l.description ORDER BY l.line_no))[1], a.unit_price,
		   coalesce(min(p.on_hand), 0), sum(l.quantity)
		   + CASE WHEN a.shop_sku = min(a.shop_sku) OVER () THEN 10 ELSE 0 END
	FROM demo.sale AS s
	JOIN demo.line AS l ON l.invoice_no = s.invoice_no AND l.problem IS NULL
	JOIN demo.article AS a USING (sku, unit_price)
	LEFT JOIN ecommerce_inventory.product AS p USING (product_id)
	GROUP BY a.product_id, a.shop_sku, a.unit_price
$$;
COMMENT ON PROCEDURE demo.plan_stock() IS
'Every product of the file, with as many pieces as all of its orders want together; of the first one 10 more, for the orders that go wrong.';

CREATE VIEW demo.products AS
SELECT sku AS name, 'PUT' AS method, '/products/' || product_id AS path, '{}'::text[] AS headers,
	   jsonb_build_object('sku', sku, 'name', name,
		   'price', jsonb_build_object('amount', unit_price)) AS body
FROM demo.stock;

CREATE VIEW demo.deliveries AS
SELECT sku AS name, 'POST' AS method, format('/products/%s/stock', product_id) AS path,
	   '{}'::text[] AS headers, jsonb_build_object('delta', delta, 'reason', 'demo') AS body
FROM demo.stock;

-- The file has no street and no card, but the shop wants an address.  The key makes it
-- safe to ask again when an answer is lost; the correlation id leads through all logs.
CREATE VIEW demo.orders AS
SELECT invoice_no AS name, 'POST' AS method, '/orders' AS path,
	   ARRAY['Idempotency-Key: ' || run_id || '-' || invoice_no,
			 'X-Correlation-Id: ' || demo.uuid_of('correlation', run_id || invoice_no)] AS headers,
	   jsonb_build_object(
		   'customer_id', demo.uuid_of('customer', customer),
		   'items', items,
		   'shipping_address', jsonb_build_object(
			   'street', '-', 'city', '-', 'country', country),
		   'payment_method', jsonb_build_object('type', 'invoice')) AS body
FROM demo.sale, demo.run
ORDER BY first_line;

CREATE VIEW demo.cancellations AS
SELECT invoice_no AS name, 'POST' AS method, format('/orders/%s/cancel', order_id) AS path,
	   '{}'::text[] AS headers,
	   jsonb_build_object('reason', 'returned with invoice ' || invoice_no) AS body
FROM demo.invoice
WHERE cancels AND order_id IS NOT NULL
ORDER BY first_line;

CREATE VIEW demo.parcels AS
SELECT invoice_no AS name, 'GET' AS method, '/shipments?order_id=' || order_id AS path,
	   '{}'::text[] AS headers, NULL::jsonb AS body
FROM demo.invoice
WHERE NOT cancels AND order_id IS NOT NULL
ORDER BY first_line;

CREATE VIEW demo.dispatches AS
SELECT a.name, 'POST' AS method,
	   format('/shipments/%s/dispatch', parcel ->> 'shipment_id') AS path,
	   '{}'::text[] AS headers, NULL::jsonb AS body
FROM demo.answer AS a, jsonb_array_elements(a.body -> 'items') AS parcel
WHERE a.wave = 'parcels' AND parcel ->> 'status' = 'arranged';

CREATE VIEW demo.arrivals AS
SELECT name, method, regexp_replace(path, 'dispatch$', 'deliver') AS path, headers, body
FROM demo.dispatches;

-- An order of the first product by its first customer; quantity, country and token are
-- what can make it go wrong.
CREATE FUNCTION demo.tale_body(quantity int, country text, token text) RETURNS jsonb
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object(
		'customer_id', demo.uuid_of('customer', 'demo'),
		'items', jsonb_build_array(jsonb_build_object('product_id', product_id, 'sku', sku,
			'product_name', name, 'quantity', quantity, 'unit_price', unit_price)),
		'shipping_address', jsonb_build_object('street', '1 Main Street', 'city', 'Town',
			'postal_code', '12345', 'country', country),
		'payment_method', jsonb_build_object('type', 'card', 'last4_digits', '4242',
			'token', token))
	FROM demo.stock ORDER BY sku LIMIT 1
$$;

-- A value in curl's configuration.
CREATE FUNCTION demo.quoted(value text) RETURNS text
	LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT '"' || replace(replace(value, '\', '\\'), '"', '\"') || '"'
$$;

CREATE FUNCTION demo.curl_config(wave text, gateway text, directory text, key text) RETURNS SETOF text
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY EXECUTE format($query$
		SELECT concat_ws(E'\n', 'next', 'silent', 'show-error', 'noproxy = "*"',
			'max-time = 30', 'retry = 10', 'retry-max-time = 30',
			'url = ' || demo.quoted($1 || path),
			'request = ' || method,
			'output = ' || demo.quoted($2 || '/' || name),
			'write-out = ' || demo.quoted('%%{stdout}' || name
										  || '\t%%{http_code}\t%%{time_total}\n'),
			'header = "Content-Type: application/json"',
			'header = ' || demo.quoted('@' || $3),
			(SELECT string_agg('header = ' || demo.quoted(h), E'\n') FROM unnest(headers) AS h),
			-- curl takes lines up to 100 KB, and puts pieces together
			(SELECT string_agg('json = ' || demo.quoted(piece[1]), E'\n' ORDER BY n)
			 FROM regexp_matches(body::text, '[^}]*[}]|[^}]+', 'g')
				 WITH ORDINALITY AS p (piece, n)))
		FROM demo.%I $query$, wave)
	USING gateway, directory, key;
END
$$;
COMMENT ON FUNCTION demo.curl_config(text, text, text, text) IS
'What curl is to do: a request each, with the key in that file, answers into files of the directory, and a line of name, status and seconds to standard output.';
