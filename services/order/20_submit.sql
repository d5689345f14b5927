-- POST /orders: the form of its body, every bad field of it.

CREATE FUNCTION ecommerce_order._text_errors(body jsonb, prefix text, fields text[])
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $text_errors$
BEGIN
	RETURN (
		SELECT coalesce(jsonb_agg(jsonb_build_object('field', prefix || field, 'detail', CASE
				WHEN body -> field IS NULL THEN 'is required'
				ELSE 'must be a text of 1 to 200 characters' END)), '[]')
		FROM unnest(fields) AS field WHERE NOT ecommerce_order._is_text(body -> field));
END
$text_errors$;
COMMENT ON FUNCTION ecommerce_order._text_errors(jsonb, text, text[]) IS
'Errors of the named text fields of an object: missing, not a text, blank or too long.';

CREATE FUNCTION ecommerce_order._optional_fields(body jsonb, fields text[])
RETURNS text[] LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $optional_fields$
BEGIN
	RETURN ARRAY(SELECT field FROM unnest(fields) AS field
		WHERE coalesce(body -> field, 'null') <> 'null');
END
$optional_fields$;
COMMENT ON FUNCTION ecommerce_order._optional_fields(jsonb, text[]) IS
'Those of the named fields that an object has and that are not null.';

CREATE FUNCTION ecommerce_order._item_errors(items jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $item_errors$
DECLARE
	-- contracts carry two, of a currency that has more
	decimals CONSTANT int := least(2, ecommerce.minor_units(ecommerce.currency()));
	no_price CONSTANT text := format('must be an amount from 0 to 9999999.99 with at most %s decimals',
		CASE decimals WHEN 2 THEN 'two' ELSE decimals::text END);
	known CONSTANT text[] := '{product_id,sku,product_name,quantity,unit_price,total_price}';
	price_pattern CONSTANT text := format('^[0-9]{1,7}(\.[0-9]{0,%s}0*)?$', decimals);
BEGIN
	RETURN (
		SELECT coalesce(jsonb_agg(jsonb_build_object('field', format('items[%s]%s', n - 1, field),
			'detail', detail)
			ORDER BY n, field), '[]')
		FROM jsonb_array_elements(items) WITH ORDINALITY AS lines (line, n),
			LATERAL (VALUES
				('', 'must be an object', jsonb_typeof(line) = 'object'),
				('.product_id', 'must be a UUID',
					ecommerce_order._as_uuid(line ->> 'product_id') IS NOT NULL),
				('.sku', 'must be a text of 1 to 200 characters',
					ecommerce_order._is_text(line -> 'sku')),
				('.product_name', 'must be a text of 1 to 200 characters',
					ecommerce_order._is_text(line -> 'product_name')),
				('.quantity', 'must be a whole number from 1 to 1000000',
					ecommerce_order._is_whole(line -> 'quantity', 1, 1000000)),
				('.unit_price', no_price, coalesce(line -> 'unit_price', 'null') = 'null'
					OR jsonb_typeof(line -> 'unit_price') = 'number'
						AND line ->> 'unit_price' ~ price_pattern),
				('.total_price', 'must be quantity times unit_price',
					line -> 'total_price' IS NULL OR NOT coalesce(
						jsonb_typeof(line -> 'quantity') = 'number'
							AND jsonb_typeof(line -> 'unit_price') = 'number', false)
					OR (jsonb_typeof(line -> 'total_price') = 'number'
						AND (line ->> 'total_price')::numeric
						= (line ->> 'quantity')::numeric * (line ->> 'unit_price')::numeric))
			) AS checks (field, detail, holds)
		-- of a line that is no object only that is said
		WHERE holds IS NOT TRUE AND (field = '') = (jsonb_typeof(line) <> 'object'))
		|| (SELECT coalesce(jsonb_agg(strange ORDER BY n), '[]')
		FROM jsonb_array_elements(items) WITH ORDINALITY AS lines (line, n),
			jsonb_array_elements(ecommerce_order._strange_fields(line, known,
				format('items[%s].', n - 1))) AS strange);
END
$item_errors$;
COMMENT ON FUNCTION ecommerce_order._item_errors(jsonb) IS
'Errors of the lines of an order, each with its path such as items[0].quantity.';

CREATE FUNCTION ecommerce_order._is_mail_address(value jsonb)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_mail_address$
DECLARE
	address ecommerce.mail_address;
BEGIN
	address := CASE jsonb_typeof(value) WHEN 'string' THEN value #>> '{}' ELSE '' END;
	RETURN true;
EXCEPTION WHEN check_violation THEN
	RETURN false;
END
$is_mail_address$;
COMMENT ON FUNCTION ecommerce_order._is_mail_address(jsonb) IS
'Whether a value is an e-mail address that contracts take.';

CREATE FUNCTION ecommerce_order._order_errors(body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $order_errors$
DECLARE
	errors jsonb := '[]';
	method CONSTANT jsonb := body -> 'payment_method';
	part text;
BEGIN
	IF ecommerce_order._as_uuid(body ->> 'customer_id') IS NULL THEN
		errors := errors || ecommerce_order._bad_field('customer_id',
			'must be a UUID');
	END IF;
	IF coalesce(body -> 'email', 'null') <> 'null'
		AND NOT coalesce(ecommerce_order._is_mail_address(body -> 'email'), false) THEN
		errors := errors || ecommerce_order._bad_field('email', 'must be an e-mail address');
	END IF;
	IF jsonb_typeof(body -> 'items') IS DISTINCT FROM 'array'
		OR jsonb_array_length(body -> 'items') NOT BETWEEN 1 AND 500 THEN
		errors := errors || ecommerce_order._bad_field('items',
			'must be an array of 1 to 500 lines');
	ELSE
		errors := errors || ecommerce_order._item_errors(body -> 'items');
	END IF;
	IF coalesce(body -> 'total_amount', 'null') <> 'null'
		AND jsonb_typeof(body -> 'total_amount') <> 'number' THEN
		errors := errors || ecommerce_order._bad_field('total_amount', 'must be an amount');
	END IF;
	FOREACH part IN ARRAY ARRAY['shipping_address', 'payment_method'] LOOP
		IF jsonb_typeof(body -> part) IS DISTINCT FROM 'object' THEN
			errors := errors || jsonb_build_array(jsonb_build_object('field', part, 'detail',
				'must be an object'));
		END IF;
	END LOOP;
	IF jsonb_typeof(body -> 'shipping_address') = 'object' THEN
		errors := errors || ecommerce_order._text_errors(body -> 'shipping_address',
			'shipping_address.',
			ARRAY['street', 'city', 'country'] || ecommerce_order._optional_fields(
				body -> 'shipping_address', ARRAY['state', 'postal_code']));
	END IF;
	IF jsonb_typeof(method) = 'object' THEN
		IF jsonb_typeof(method -> 'type') IS DISTINCT FROM 'string'
			OR NOT ecommerce.is_payment_type(method ->> 'type') THEN
			errors := errors || ecommerce_order._bad_field('payment_method.type',
			CASE WHEN method -> 'type' IS NULL THEN 'is required'
				ELSE 'must be 1 to 50 letters, "_" and "-", such as card or sepa_debit' END);
		END IF;
		IF coalesce(method -> 'last4_digits', 'null') <> 'null'
			AND (jsonb_typeof(method -> 'last4_digits') <> 'string'
				OR method ->> 'last4_digits' !~ '^[0-9]{4}$') THEN
			errors := errors || ecommerce_order._bad_field('payment_method.last4_digits',
			'must be four digits');
		END IF;
		IF coalesce(method -> 'token', 'null') <> 'null'
			AND (jsonb_typeof(method -> 'token') <> 'string'
				OR method ->> 'token' !~ '^[A-Za-z0-9_-]{1,200}$'
				OR ecommerce.holds_card_number(method ->> 'token')) THEN
			errors := errors || ecommerce_order._bad_field('payment_method.token',
			'must be the provider''s token, never a card number');
		END IF;
		-- card data must not even come this far
		errors := errors || (
			SELECT coalesce(jsonb_agg(jsonb_build_object('field', 'payment_method.' || key,
				'detail', 'is not accepted: send type, last4_digits and token only') ORDER BY key),
					'[]')
			FROM jsonb_object_keys(method) AS key WHERE key NOT IN ('type', 'last4_digits',
				'token'));
	END IF;
	RETURN errors
		|| ecommerce_order._strange_fields(body, '{customer_id,email,items,shipping_address,payment_method,total_amount}')
		|| ecommerce_order._strange_fields(body -> 'shipping_address',
			'{street,city,state,postal_code,country}', 'shipping_address.');
END
$order_errors$;
COMMENT ON FUNCTION ecommerce_order._order_errors(jsonb) IS
'Every bad field of the body of POST /orders as [{"field", "detail"}]; empty when there is none.';

CREATE FUNCTION ecommerce_order._new_id()
RETURNS uuid LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $new_id$
BEGIN
	RETURN ecommerce.new_id();
END
$new_id$;
COMMENT ON FUNCTION ecommerce_order._new_id() IS
'A new order''s id: ecommerce.new_id(), which tells in which cell the order is.';

