-- Products over HTTP. Ids and query parameters come as text and are checked here.

CREATE FUNCTION ecommerce_inventory.product_body(product ecommerce_inventory.product)
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $product_body$
	SELECT jsonb_build_object('product_id', product.product_id, 'sku', product.sku, 'name',
		product.name,
		'on_hand', product.on_hand, 'reserved', product.reserved,
		'available', product.on_hand - product.reserved, 'version', product.version)
$product_body$;
COMMENT ON FUNCTION ecommerce_inventory.product_body(ecommerce_inventory.product) IS
'{product_id, sku, name, on_hand, reserved, available, version}; quantities in pieces.';

CREATE FUNCTION ecommerce_inventory.get_product(product_id text, if_none_match text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $get_product$
DECLARE
	known ecommerce_inventory.product;
	tag text;
BEGIN
	SELECT * INTO known FROM ecommerce_inventory.product p
	WHERE p.product_id = ecommerce_inventory.as_uuid(get_product.product_id);
	IF NOT FOUND THEN
		PERFORM ecommerce_inventory.refuse(404, 'there is no such product');
	END IF;
	-- stock moves without a new version, so it is part of the tag
	tag := format('"%s-%s-%s"', known.version, known.on_hand, known.reserved);
	IF ecommerce_inventory.tag_matches(if_none_match, tag) THEN
		RETURN ecommerce_inventory.answer(304, NULL, tag);
	END IF;
	RETURN ecommerce_inventory.answer(200, ecommerce_inventory.product_body(known), tag);
END
$get_product$;
COMMENT ON FUNCTION ecommerce_inventory.get_product(text, text) IS
'GET /products/{id}: 200, 304, or HT404.';

CREATE FUNCTION ecommerce_inventory.list_products(after text DEFAULT NULL, page text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $list_products$
BEGIN
	PERFORM ecommerce_inventory.refuse_fields(ecommerce_inventory.query_errors(
		jsonb_build_object('after', after), page));
	RETURN (
		SELECT ecommerce_inventory.collection(jsonb_agg(ecommerce_inventory.product_body(p)
			ORDER BY p.product_id), ecommerce_inventory.page_size(page), 'product_id')
		FROM (SELECT * FROM ecommerce_inventory.product p
			WHERE (after IS NULL OR p.product_id > after::uuid)
			ORDER BY p.product_id LIMIT ecommerce_inventory.page_size(page)) AS p);
END
$list_products$;
COMMENT ON FUNCTION ecommerce_inventory.list_products(text, text) IS
'GET /products: by product id, after takes the cursor that next gave.';

CREATE FUNCTION ecommerce_inventory.put_product(product_id text, body jsonb)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $put_product$
DECLARE
	id CONSTANT uuid := ecommerce_inventory.as_uuid(product_id);
	known ecommerce_inventory.product;
	errors jsonb;
	answer ecommerce_inventory.reply;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', field, 'detail',
		'must be a text of 1 to 200 characters')), '[]')
	INTO errors FROM unnest(ARRAY['sku', 'name']) AS field
	WHERE jsonb_typeof(body -> field) IS DISTINCT FROM 'string'
		OR length(body ->> field) NOT BETWEEN 1 AND 200;
	IF id IS NULL THEN
		errors := errors || ecommerce_inventory.bad_field('product_id',
			'must be a UUID');
	END IF;
	PERFORM ecommerce_inventory.refuse_fields(errors);

	SELECT * INTO known FROM ecommerce_inventory.product p
		WHERE p.product_id = id FOR NO KEY UPDATE;
	IF EXISTS (SELECT FROM ecommerce_inventory.product p WHERE p.sku = body ->> 'sku'
		AND p.product_id <> id) THEN
		PERFORM ecommerce_inventory.refuse(409, format('another product has the sku "%s"',
			body ->> 'sku'));
	END IF;
	IF known.product_id IS NULL OR known.sku <> body ->> 'sku' OR known.name <> body ->> 'name' THEN
		PERFORM ecommerce_inventory.record('product-' || id, coalesce(known.version, 0),
			'ProductDescribed',
			jsonb_build_object('product_id', id, 'sku', body ->> 'sku', 'name', body ->> 'name'));
	END IF;
	answer := ecommerce_inventory.get_product(id::text);
	IF known.product_id IS NULL THEN
		answer.status := 201;
		answer.location := '/products/' || id;
	END IF;
	RETURN answer;
END
$put_product$;
COMMENT ON FUNCTION ecommerce_inventory.put_product(text, jsonb) IS
'PUT /products/{id} {sku, name}: 201 when new (stock 0), 200 otherwise; HT409 when another product has that sku.';

CREATE FUNCTION ecommerce_inventory.adjust_stock(product_id text, body jsonb)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $adjust_stock$
DECLARE
	known ecommerce_inventory.product;
	errors jsonb := '[]';
	change bigint;
BEGIN
	IF jsonb_typeof(body -> 'delta') IS DISTINCT FROM 'number'
		OR body ->> 'delta' !~ '^-?[0-9]{1,12}$' THEN
		errors := errors || ecommerce_inventory.bad_field('delta',
			'must be a whole number');
	ELSE
		change := body ->> 'delta';
	END IF;
	IF jsonb_typeof(body -> 'reason') IS DISTINCT FROM 'string'
		OR length(body ->> 'reason') NOT BETWEEN 1 AND 200 THEN
		errors := errors || ecommerce_inventory.bad_field('reason',
			'must be a text of 1 to 200 characters');
	END IF;
	PERFORM ecommerce_inventory.refuse_fields(errors);
	SELECT * INTO known FROM ecommerce_inventory.product p
	WHERE p.product_id = ecommerce_inventory.as_uuid(adjust_stock.product_id) FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		PERFORM ecommerce_inventory.refuse(404, 'there is no such product');
	ELSIF known.on_hand + change < known.reserved THEN
		PERFORM ecommerce_inventory.refuse(409, format('only %s pieces are available',
			known.on_hand - known.reserved));
	END IF;
	IF change <> 0 THEN
		PERFORM ecommerce_inventory.record('product-' || known.product_id, known.version,
			'StockAdjusted',
			jsonb_build_object('delta', change, 'reason', body ->> 'reason'));
	END IF;
	RETURN ecommerce_inventory.get_product(known.product_id::text);
END
$adjust_stock$;
COMMENT ON FUNCTION ecommerce_inventory.adjust_stock(text, jsonb) IS
'POST /products/{id}/stock {delta, reason}: 200 with the product; HT409 when fewer than 0 would be available.';
