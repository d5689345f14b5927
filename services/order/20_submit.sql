-- POST /orders: check every field, then create the order and announce it.

CREATE FUNCTION ecommerce_order.text_errors(body jsonb, prefix text, fields text[],
	longest int DEFAULT 200)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $text_errors$
BEGIN
	RETURN (
		SELECT coalesce(jsonb_agg(jsonb_build_object('field', prefix || field, 'detail', CASE
				WHEN body -> field IS NULL THEN 'is required'
				ELSE format('must be a text of 1 to %s characters', longest) END)), '[]')
		FROM unnest(fields) AS field
		WHERE jsonb_typeof(body -> field) IS DISTINCT FROM 'string'
			OR length(trim(body ->> field)) = 0 OR length(body ->> field) > longest);
END
$text_errors$;
COMMENT ON FUNCTION ecommerce_order.text_errors(jsonb, text, text[], int) IS
'Errors of the named text fields of an object: missing, not a text, blank or too long.';

CREATE FUNCTION ecommerce_order.item_errors(items jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $item_errors$
DECLARE
	-- contracts carry two, of a currency that has more
	decimals CONSTANT int := least(2, ecommerce.minor_units(ecommerce.currency()));
	no_price CONSTANT text := format('must be an amount from 0 to 9999999.99 with at most %s decimals',
		CASE decimals WHEN 2 THEN 'two' ELSE decimals::text END);
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
					ecommerce_order.as_uuid(line ->> 'product_id') IS NOT NULL),
				('.sku', 'must be a text of 1 to 200 characters',
					jsonb_typeof(line -> 'sku') = 'string'
						AND length(trim(line ->> 'sku')) BETWEEN 1 AND 200),
				('.product_name', 'must be a text of 1 to 200 characters',
					jsonb_typeof(line -> 'product_name') = 'string'
						AND length(trim(line ->> 'product_name')) BETWEEN 1 AND 200),
				('.quantity', 'must be a whole number from 1 to 1000000',
					jsonb_typeof(line -> 'quantity') = 'number'
					AND line ->> 'quantity' ~ '^[0-9]{1,7}$'
					AND (line ->> 'quantity')::int BETWEEN 1 AND 1000000),
				('.unit_price', no_price,
					jsonb_typeof(line -> 'unit_price') = 'number'
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
		WHERE holds IS NOT TRUE AND (field = '') = (jsonb_typeof(line) <> 'object'));
END
$item_errors$;
COMMENT ON FUNCTION ecommerce_order.item_errors(jsonb) IS
'Errors of the lines of an order, each with its path such as items[0].quantity.';

CREATE FUNCTION ecommerce_order.is_mail_address(value jsonb)
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
COMMENT ON FUNCTION ecommerce_order.is_mail_address(jsonb) IS
'Whether a value is an e-mail address that contracts take.';

CREATE FUNCTION ecommerce_order.order_errors(body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $order_errors$
DECLARE
	errors jsonb := '[]';
	method CONSTANT jsonb := body -> 'payment_method';
	part text;
BEGIN
	IF ecommerce_order.as_uuid(body ->> 'customer_id') IS NULL THEN
		errors := errors || ecommerce_order.bad_field('customer_id',
			'must be a UUID');
	END IF;
	IF coalesce(body -> 'email', 'null') <> 'null'
		AND NOT coalesce(ecommerce_order.is_mail_address(body -> 'email'), false) THEN
		errors := errors || ecommerce_order.bad_field('email', 'must be an e-mail address');
	END IF;
	IF jsonb_typeof(body -> 'items') IS DISTINCT FROM 'array'
		OR jsonb_array_length(body -> 'items') NOT BETWEEN 1 AND 500 THEN
		errors := errors || ecommerce_order.bad_field('items',
			'must be an array of 1 to 500 lines');
	ELSE
		errors := errors || ecommerce_order.item_errors(body -> 'items');
	END IF;
	FOREACH part IN ARRAY ARRAY['shipping_address', 'payment_method'] LOOP
		IF jsonb_typeof(body -> part) IS DISTINCT FROM 'object' THEN
			errors := errors || jsonb_build_array(jsonb_build_object('field', part, 'detail',
				'must be an object'));
		END IF;
	END LOOP;
	IF jsonb_typeof(body -> 'shipping_address') = 'object' THEN
		errors := errors || ecommerce_order.text_errors(body -> 'shipping_address',
			'shipping_address.',
			ARRAY['street', 'city', 'state', 'postal_code', 'country']);
	END IF;
	IF jsonb_typeof(method) = 'object' THEN
		IF jsonb_typeof(method -> 'type') IS DISTINCT FROM 'string'
			OR NOT ecommerce.is_payment_type(method ->> 'type') THEN
			errors := errors || ecommerce_order.bad_field('payment_method.type',
			CASE WHEN method -> 'type' IS NULL THEN 'is required'
				ELSE 'must be 1 to 50 letters, "_" and "-", such as card or sepa_debit' END);
		END IF;
		IF jsonb_typeof(method -> 'last4_digits') IS DISTINCT FROM 'string'
			OR method ->> 'last4_digits' !~ '^[0-9]{4}$' THEN
			errors := errors || ecommerce_order.bad_field('payment_method.last4_digits',
			'must be four digits');
		END IF;
		IF coalesce(method -> 'token', 'null') <> 'null'
			AND (jsonb_typeof(method -> 'token') <> 'string'
				OR method ->> 'token' !~ '^[A-Za-z0-9_-]{1,200}$'
				OR ecommerce.holds_card_number(method ->> 'token')) THEN
			errors := errors || ecommerce_order.bad_field('payment_method.token',
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
	RETURN errors;
END
$order_errors$;
COMMENT ON FUNCTION ecommerce_order.order_errors(jsonb) IS
'Every bad field of the body of POST /orders as [{"field", "detail"}]; empty when there is none.';

CREATE FUNCTION ecommerce_order.new_id()
RETURNS uuid LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $new_id$
BEGIN
	RETURN encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
		PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
			FROM 3) FROM 1 FOR 6),
		52, 1), 53, 1), 'hex')::uuid;
END
$new_id$;
COMMENT ON FUNCTION ecommerce_order.new_id() IS
'A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random bits.';

CREATE FUNCTION ecommerce_order.create_order(body jsonb)
RETURNS ecommerce_order.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $create_order$
DECLARE
	id CONSTANT uuid := ecommerce_order.new_id();
	document jsonb;
BEGIN
	PERFORM ecommerce_order.refuse_fields(ecommerce_order.order_errors(body));
	SELECT jsonb_build_object(
		'customer_id', body -> 'customer_id',
		'items', jsonb_agg(jsonb_build_object('product_id', line -> 'product_id', 'product_name',
			line -> 'product_name',
			'sku', line -> 'sku', 'quantity', (line ->> 'quantity')::int,
			'unit_price', round((line ->> 'unit_price')::numeric, 2),
			'total_price', round((line ->> 'quantity')::int * (line ->> 'unit_price')::numeric, 2))
				ORDER BY n),
		'total_amount', round(sum((line ->> 'quantity')::int * (line ->> 'unit_price')::numeric),
			2),
		'shipping_address', (SELECT jsonb_object_agg(field,
			body #> ARRAY['shipping_address', field])
			FROM unnest(ARRAY['street', 'city', 'state', 'postal_code', 'country']) AS field),
		'payment_method', body -> 'payment_method', 'currency', ecommerce.currency())
	INTO document
	FROM jsonb_array_elements(body -> 'items') WITH ORDINALITY AS lines (line, n);

	PERFORM event_store.append('order-' || id, 0, 'OrderCreated', document);
	-- who is told, and where, is personal: it goes with the message, and into no event
	PERFORM message_bus.publish('OrderSubmitted', document || jsonb_build_object('order_id', id,
			'email', body -> 'email'),
		partition_key => id::text);
	RETURN ecommerce_order.answer(202,
		jsonb_build_object('order_id', id, 'version', 1, 'status', 'Created'), '"1"', '/orders/'
			|| id);
END
$create_order$;
COMMENT ON FUNCTION ecommerce_order.create_order(jsonb) IS
'Appends OrderCreated and publishes OrderSubmitted in this transaction: 202 with {order_id, version, status}, or HT422 that names every bad field.';

CREATE FUNCTION ecommerce_order.submit_order(body jsonb, idempotency_key text DEFAULT NULL,
	caller uuid DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $submit_order$
DECLARE
	hash CONSTANT bytea := sha256(convert_to(body::text, 'UTF8'));
	-- no tenant has a "/" in it
	whose CONSTANT text := concat((ecommerce.context()).tenant_id, '/',
		(ecommerce.context()).user_id);
	known ecommerce_order.idempotency;
	answer ecommerce_order.reply;
BEGIN
	IF caller <> ecommerce_order.as_uuid(body ->> 'customer_id') THEN
		PERFORM ecommerce_order.refuse(403, 'the customer_id is another customer''s');
	ELSIF idempotency_key IS NULL THEN
		RETURN ecommerce_order.create_order(body);
	ELSIF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
		PERFORM ecommerce_order.refuse_fields(
			ecommerce_order.bad_field('Idempotency-Key',
			'must have 1 to 255 characters'));
	END IF;
	-- held until commit: a repeat that comes in the meantime is told so
	IF NOT pg_try_advisory_xact_lock(hashtextextended(
		concat_ws(' ', 'ecommerce_order.idempotency', whose, idempotency_key), 0)) THEN
		PERFORM ecommerce_order.refuse(409, 'a request with this Idempotency-Key is still running');
	END IF;
	SELECT * INTO known FROM ecommerce_order.idempotency i
	WHERE i.owner = whose AND i.key = idempotency_key
		AND i.created_at > clock_timestamp() - interval '24 hours';
	IF FOUND AND known.request_hash <> hash THEN
		PERFORM ecommerce_order.refuse(422, 'this Idempotency-Key was used with another body',
			ecommerce_order.bad_field('Idempotency-Key',
			'was used with another body'));
	ELSIF FOUND THEN
		RETURN known.reply;
	END IF;
	answer := ecommerce_order.create_order(body);
	INSERT INTO ecommerce_order.idempotency AS i (owner, key, request_hash, reply)
		VALUES (whose, idempotency_key, hash, answer)
	ON CONFLICT (owner, key) DO UPDATE
	SET request_hash = excluded.request_hash, reply = excluded.reply,
		created_at = excluded.created_at;
	RETURN answer;
END
$submit_order$;
COMMENT ON FUNCTION ecommerce_order.submit_order(jsonb, text, uuid) IS
'POST /orders; HT403 when the customer caller orders for another one. With an Idempotency-Key a repeat within 24 hours returns the first answer; with another body HT422, while the first is still running HT409.';

CREATE FUNCTION ecommerce_order.forget_keys()
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_keys$
	WITH gone AS (
		DELETE FROM ecommerce_order.idempotency i
		WHERE (i.owner, i.key) IN (SELECT o.owner, o.key FROM ecommerce_order.idempotency o
			WHERE o.created_at <= clock_timestamp() - interval '24 hours'
			ORDER BY o.created_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
		RETURNING 1)
	SELECT count(*)::int FROM gone
$forget_keys$;
COMMENT ON FUNCTION ecommerce_order.forget_keys() IS
'Deletes Idempotency-Keys older than 24 hours, at most 1000 at a time; the number deleted.';
