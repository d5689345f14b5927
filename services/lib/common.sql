-- What every service's schema has: its role, its schema, and how its functions
-- answer HTTP requests. @service@ stands for the service's name.
\echo Type "CREATE EXTENSION ecommerce_@service@ CASCADE" to load this file. \quit

-- The daemon logs in with this role; no password lets nobody else in unless
-- pg_hba.conf says otherwise. Roles belong to the whole cluster.
DO $roles$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ecommerce_@service@') THEN
		CREATE ROLE ecommerce_@service@ LOGIN;
	END IF;
	GRANT ecommerce_writer TO ecommerce_@service@;
END
$roles$;

CREATE SCHEMA ecommerce_@service@;
GRANT USAGE ON SCHEMA ecommerce_@service@ TO ecommerce_@service@, ecommerce_reader;

CREATE TYPE ecommerce_@service@.reply AS (
	status int,
	body jsonb,
	etag text,
	location text
);
COMMENT ON TYPE ecommerce_@service@.reply IS
'Answer to an HTTP request: status code, JSON body or NULL for none, values of the headers ETag and Location or NULL.';

CREATE FUNCTION ecommerce_@service@.answer(status int, body jsonb, etag text DEFAULT NULL,
											location text DEFAULT NULL)
RETURNS ecommerce_@service@.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $answer$
BEGIN
	RETURN ROW(status, body, etag, location);
END
$answer$;
COMMENT ON FUNCTION ecommerce_@service@.answer(int, jsonb, text, text) IS 'Makes a reply.';

CREATE FUNCTION ecommerce_@service@.refuse(status int, detail text, errors jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'HT' || status, MESSAGE = detail,
		DETAIL = coalesce(errors::text, '');
END
$refuse$;
COMMENT ON FUNCTION ecommerce_@service@.refuse(int, text, jsonb) IS
'Ends the request with SQLSTATE HT<status>; errors: array of {"field", "detail"}, becomes the DETAIL.';

CREATE FUNCTION ecommerce_@service@.refuse_fields(errors jsonb)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_fields$
BEGIN
	IF errors <> '[]' THEN
		PERFORM ecommerce_@service@.refuse(422, 'the request has fields that are missing or wrong',
			errors);
	END IF;
END
$refuse_fields$;
COMMENT ON FUNCTION ecommerce_@service@.refuse_fields(jsonb) IS
'Does nothing with an empty array; else ends the request with HT422 and the errors.';

CREATE FUNCTION ecommerce_@service@.bad_field(field text, detail text)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $bad_field$
	SELECT jsonb_build_array(jsonb_build_object('field', field, 'detail', detail))
$bad_field$;
COMMENT ON FUNCTION ecommerce_@service@.bad_field(text, text) IS
'An array with one error, as refuse_fields takes it.';

CREATE FUNCTION ecommerce_@service@.as_uuid(value text)
RETURNS uuid LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $as_uuid$
BEGIN
	RETURN CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END;
END
$as_uuid$;
COMMENT ON FUNCTION ecommerce_@service@.as_uuid(text) IS 'The UUID, or NULL when the text is none.';

CREATE FUNCTION ecommerce_@service@.query_errors(uuids jsonb, page text)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $query_errors$
DECLARE
	errors jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', name, 'detail', 'must be a UUID')
		ORDER BY name), '[]')
	INTO errors FROM jsonb_each_text(uuids) AS parameter (name, value)
	WHERE value IS NOT NULL AND ecommerce_@service@.as_uuid(value) IS NULL;
	IF page !~ '^[0-9]{1,4}$' OR page::int NOT BETWEEN 1 AND 1000 THEN
		errors := errors || ecommerce_@service@.bad_field('limit',
			'must be a number from 1 to 1000');
	END IF;
	RETURN errors;
END
$query_errors$;
COMMENT ON FUNCTION ecommerce_@service@.query_errors(jsonb, text) IS
'Every bad parameter of a query as [{"field", "detail"}]: uuids are name and text of those that must be UUIDs, page is the limit; null and absent are good.';

CREATE FUNCTION ecommerce_@service@.page_size(page text)
RETURNS int LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $page_size$
BEGIN
	RETURN coalesce(page::int, 50);
END
$page_size$;
COMMENT ON FUNCTION ecommerce_@service@.page_size(text) IS
'The query parameter limit, checked already: 50 when absent.';

CREATE FUNCTION ecommerce_@service@.tag_matches(header text, tag text)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tag_matches$
BEGIN
	RETURN trim(header) = '*' OR tag = ANY (regexp_split_to_array(
		regexp_replace(trim(header), 'W/"', '"', 'g'), '\s*,\s*'));
END
$tag_matches$;
COMMENT ON FUNCTION ecommerce_@service@.tag_matches(text, text) IS
'Whether the header If-None-Match is * or has that tag among its tags, weak ones included; NULL without the header.';

CREATE FUNCTION ecommerce_@service@.collection(items jsonb, size int, cursor_of text)
RETURNS ecommerce_@service@.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $collection$
BEGIN
	RETURN ecommerce_@service@.answer(200, jsonb_build_object(
		'items', coalesce(items, '[]'),
		'next', CASE WHEN jsonb_array_length(coalesce(items, '[]')) >= size
			THEN items -> -1 ->> cursor_of END));
END
$collection$;
COMMENT ON FUNCTION ecommerce_@service@.collection(jsonb, int, text) IS
'A page of a collection: {"items", "next"}; next is the last item''s key cursor_of when the page is full, else null.';

CREATE FUNCTION ecommerce_@service@.publish(message_type text, order_id uuid, key uuid,
	body jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $publish$
BEGIN
	PERFORM message_bus.publish(message_type,
		body || jsonb_build_object('order_id', order_id, 'key', key),
		partition_key => order_id::text);
END
$publish$;
COMMENT ON FUNCTION ecommerce_@service@.publish(text, uuid, uuid, jsonb) IS
'Publishes a reply: body plus order_id and the step key, in order with the other messages of that order.';
