-- Products over HTTP. Ids and query parameters come as text and are checked here.

CREATE FUNCTION ecommerce_inventory._product_body(product ecommerce_inventory.product)
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $product_body$
	SELECT jsonb_build_object('product_id', product.product_id, 'sku', product.sku,
		'name', product.name, 'kind', product.kind,
		'price', CASE WHEN product.amount IS NOT NULL
				THEN jsonb_build_object('amount', product.amount, 'currency', product.currency)
			WHEN product.percent IS NOT NULL
				THEN jsonb_build_object('percent', product.percent) END,
		'on_hand', product.on_hand, 'reserved', product.reserved,
		'available', product.on_hand - product.reserved, 'version', product.version)
$product_body$;
COMMENT ON FUNCTION ecommerce_inventory._product_body(ecommerce_inventory.product) IS
'{product_id, sku, name, kind, price, on_hand, reserved, available, version}; quantities in pieces, price {amount, currency}, {percent}, or null: not for sale.';

CREATE FUNCTION ecommerce_inventory.get_product(product_id text, if_none_match text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $get_product$
DECLARE
	known ecommerce_inventory.product;
BEGIN
	SELECT * INTO known FROM ecommerce_inventory.product p
	WHERE p.product_id = ecommerce_inventory._as_uuid(get_product.product_id);
	IF NOT FOUND THEN
		PERFORM ecommerce_inventory._refuse(404, 'there is no such product');
	END IF;
	RETURN ecommerce_inventory._represent(ecommerce_inventory._product_body(known), known.version,
		if_none_match);
END
$get_product$;
COMMENT ON FUNCTION ecommerce_inventory.get_product(text, text) IS
'GET /products/{id}: 200, 304, or HT404.';

CREATE FUNCTION ecommerce_inventory.list_products(after text DEFAULT NULL, page text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $list_products$
DECLARE
	size int;
	mark bigint;
BEGIN
	PERFORM ecommerce_inventory._refuse_fields(ecommerce_inventory._query_errors('{}', after, page));
	size := ecommerce_inventory._page_size(page);
	-- before the snapshot that reads the rows: no earlier one can appear any more
	mark := event_store.high_water_mark('product');
	RETURN (
		SELECT ecommerce_inventory._collection(jsonb_agg(ecommerce_inventory._product_body(
			ROW(p.*)::ecommerce_inventory.product) ORDER BY p.position), size, max(p.position),
			after)
		FROM (SELECT * FROM ecommerce_inventory.product p
			WHERE p.position > coalesce(after::bigint, 0)
				AND p.position <= (SELECT ecommerce_inventory._followed('inventory', mark))
			ORDER BY p.position LIMIT size) AS p);
END
$list_products$;
COMMENT ON FUNCTION ecommerce_inventory.list_products(text, text) IS
'GET /products: in the order in which they were made; after takes the cursor that next or cursor gave, and whoever follows it sees each product once. 503 while the list is rebuilt.';

CREATE FUNCTION ecommerce_inventory._price_errors(price jsonb, kind text)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $price_errors$
DECLARE
	paid_in CONSTANT text := coalesce(price ->> 'currency', ecommerce.currency());
	-- contracts carry two, of a currency that has more
	decimals CONSTANT int := CASE WHEN ecommerce.minor_units(paid_in) > 2 THEN 2
		ELSE ecommerce.minor_units(paid_in) END;
	errors jsonb := '[]';
BEGIN
	IF coalesce(price, 'null') = 'null' THEN
		RETURN errors;
	ELSIF jsonb_typeof(price) <> 'object' THEN
		RETURN ecommerce_inventory._bad_field('price', 'must be an object or null');
	ELSIF price ? 'percent' THEN
		IF kind IS DISTINCT FROM 'charge' OR price - 'percent' <> '{}' THEN
			errors := errors || ecommerce_inventory._bad_field('price.percent',
				'is for a charge only, and stands alone');
		ELSIF NOT coalesce(jsonb_typeof(price -> 'percent') = 'number'
			AND price ->> 'percent' ~ '^([0-9]{1,2}(\.[0-9]{1,3}0*)?|100(\.0+)?)$', false) THEN
			errors := errors || ecommerce_inventory._bad_field('price.percent',
				'must be a number from 0 to 100 with at most three decimals');
		END IF;
		RETURN errors;
	END IF;
	IF decimals IS NULL OR jsonb_typeof(coalesce(price -> 'currency', '""')) <> 'string' THEN
		errors := errors || ecommerce_inventory._bad_field('price.currency',
			'must be a currency of ISO 4217, such as EUR');
	END IF;
	IF NOT coalesce(jsonb_typeof(price -> 'amount') = 'number' AND price ->> 'amount'
		~ format('^[0-9]{1,7}(\.[0-9]{0,%s}0*)?$', coalesce(decimals, 2)), false) THEN
		errors := errors || ecommerce_inventory._bad_field('price.amount',
			format('must be an amount from 0 to 9999999.99 with at most %s decimals',
				coalesce(decimals, 2)));
	END IF;
	RETURN errors || ecommerce_inventory._strange_fields(price, '{amount,currency}', 'price.');
END
$price_errors$;
COMMENT ON FUNCTION ecommerce_inventory._price_errors(jsonb, text) IS
'Every bad field of the price of a product of that kind: {amount, currency}, where the shop''s currency may be left out, {percent} of a charge, or null.';

CREATE FUNCTION ecommerce_inventory._product_errors(body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $product_errors$
DECLARE
	errors jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', field, 'detail',
		'must be a text of 1 to 200 characters')), '[]')
	INTO errors FROM unnest(ARRAY['sku', 'name']) AS field
	WHERE NOT ecommerce_inventory._is_text(body -> field);
	IF body ? 'kind' AND (jsonb_typeof(body -> 'kind') <> 'string'
		OR body ->> 'kind' NOT IN ('goods', 'extra', 'charge')) THEN
		errors := errors || ecommerce_inventory._bad_field('kind',
			'must be goods, extra or charge');
	END IF;
	RETURN errors || ecommerce_inventory._price_errors(body -> 'price', body ->> 'kind')
		|| ecommerce_inventory._strange_fields(body, '{sku,name,kind,price}');
END
$product_errors$;
COMMENT ON FUNCTION ecommerce_inventory._product_errors(jsonb) IS
'Every bad field of the body of PUT /products/{id} as [{"field", "detail"}]; empty when there is none.';

CREATE FUNCTION ecommerce_inventory.put_product(product_id text, body jsonb,
	if_match text DEFAULT NULL, if_none_match text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $put_product$
DECLARE
	id CONSTANT uuid := ecommerce_inventory._as_uuid(product_id);
	known ecommerce_inventory.product;
	wanted jsonb;
	answer ecommerce_inventory.reply;
BEGIN
	PERFORM ecommerce_inventory._refuse_fields(ecommerce_inventory._product_errors(body)
		|| CASE WHEN id IS NULL THEN ecommerce_inventory._bad_field('product_id', 'must be a UUID')
			ELSE '[]' END);
	SELECT * INTO known FROM ecommerce_inventory.product p
		WHERE p.product_id = id FOR NO KEY UPDATE;
	PERFORM ecommerce_inventory._check_match(if_match, if_none_match,
		CASE WHEN known.product_id IS NOT NULL THEN ecommerce_inventory._tag_of(
			ecommerce_inventory._product_body(known), known.version) END);
	wanted := jsonb_build_object('product_id', id, 'sku', body -> 'sku', 'name', body -> 'name',
		'kind', coalesce(body ->> 'kind', known.kind, 'goods'),
		'price', CASE WHEN jsonb_typeof(body -> 'price') = 'object' AND NOT body -> 'price'
				? 'percent' THEN jsonb_build_object(
					'amount', trim_scale((body #>> '{price,amount}')::numeric),
					'currency', coalesce(body #>> '{price,currency}', ecommerce.currency()))
			WHEN body ? 'price' THEN body -> 'price'
			ELSE ecommerce_inventory._product_body(known) -> 'price' END);
	IF EXISTS (SELECT FROM ecommerce_inventory.product p WHERE p.sku = body ->> 'sku'
		AND p.product_id <> id) THEN
		PERFORM ecommerce_inventory._refuse(409, format('another product has the sku "%s"',
			body ->> 'sku'));
	ELSIF wanted ->> 'kind' <> 'goods' AND (known.on_hand > 0 OR known.reserved > 0) THEN
		PERFORM ecommerce_inventory._refuse(409, 'there are pieces of it in stock');
	ELSIF wanted ->> 'kind' <> 'charge' AND known.percent IS NOT NULL
		AND NOT body ? 'price' THEN
		PERFORM ecommerce_inventory._refuse_fields(ecommerce_inventory._bad_field('price',
			'must be an amount: only a charge has a price in percent'));
	END IF;
	IF known.product_id IS NULL
		OR NOT ecommerce_inventory._product_body(known) @> wanted THEN
		PERFORM ecommerce_inventory._record('product-' || id, coalesce(known.version, 0),
			'ProductDescribed', wanted);
		-- for order services in other databases; here they see the event
		PERFORM message_bus.publish('ProductDescribed', wanted, partition_key => id::text);
	END IF;
	answer := ecommerce_inventory.get_product(id::text);
	IF known.product_id IS NULL THEN
		answer.status := 201;
		answer.location := '/products/' || id;
	END IF;
	RETURN answer;
END
$put_product$;
COMMENT ON FUNCTION ecommerce_inventory.put_product(text, jsonb, text, text) IS
'PUT /products/{id} {sku, name, kind, price}: 201 when new (stock 0), 200 otherwise; kind and price stay when left out, and are goods and null of a new one. HT409 when another product has that sku or what is in stock would be no goods any more, HT412 when If-Match or If-None-Match says otherwise.';

CREATE FUNCTION ecommerce_inventory._stock_errors(body jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $stock_errors$
DECLARE
	errors jsonb := '[]';
BEGIN
	IF NOT ecommerce_inventory._is_whole(body -> 'delta', -999999999999, 999999999999) THEN
		errors := errors || ecommerce_inventory._bad_field('delta',
			'must be a whole number of at most 12 digits');
	END IF;
	IF NOT ecommerce_inventory._is_text(body -> 'reason') THEN
		errors := errors || ecommerce_inventory._bad_field('reason',
			'must be a text of 1 to 200 characters');
	END IF;
	RETURN errors || ecommerce_inventory._strange_fields(body, '{delta,reason}');
END
$stock_errors$;
COMMENT ON FUNCTION ecommerce_inventory._stock_errors(jsonb) IS
'Every bad field of the body of POST /products/{id}/stock as [{"field", "detail"}]; empty when there is none.';

CREATE FUNCTION ecommerce_inventory.adjust_stock(product_id text, body jsonb,
	if_match text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $adjust_stock$
DECLARE
	known ecommerce_inventory.product;
	change bigint;
BEGIN
	PERFORM ecommerce_inventory._refuse_fields(ecommerce_inventory._stock_errors(body));
	change := (body -> 'delta')::bigint;
	SELECT * INTO known FROM ecommerce_inventory.product p
	WHERE p.product_id = ecommerce_inventory._as_uuid(adjust_stock.product_id) FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		PERFORM ecommerce_inventory._refuse(404, 'there is no such product');
	END IF;
	PERFORM ecommerce_inventory._check_match(if_match, NULL, ecommerce_inventory._tag_of(
		ecommerce_inventory._product_body(known), known.version));
	IF known.kind <> 'goods' THEN
		PERFORM ecommerce_inventory._refuse(409, format('nothing of kind %s is kept in stock',
			known.kind));
	ELSIF known.on_hand + change < known.reserved THEN
		PERFORM ecommerce_inventory._refuse(409, format('only %s pieces are available',
			known.on_hand - known.reserved));
	END IF;
	IF change <> 0 THEN
		PERFORM ecommerce_inventory._record('product-' || known.product_id, known.version,
			'StockAdjusted',
			jsonb_build_object('delta', change, 'reason', body ->> 'reason'));
	END IF;
	RETURN ecommerce_inventory.get_product(known.product_id::text);
END
$adjust_stock$;
COMMENT ON FUNCTION ecommerce_inventory.adjust_stock(text, jsonb, text) IS
'POST /products/{id}/stock {delta, reason}: 200 with the product; HT409 when fewer than 0 would be available or it is no goods, HT412 when If-Match names another tag.';
