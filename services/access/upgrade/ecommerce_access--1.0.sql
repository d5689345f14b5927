-- What every service's schema has: its role, its schema, and how its functions
-- answer HTTP requests. access stands for the service's name.
\echo Type "CREATE EXTENSION ecommerce_access CASCADE" to load this file. \quit

-- The daemon logs in with this role; no password lets nobody else in unless
-- pg_hba.conf says otherwise. Roles belong to the whole cluster.
DO $roles$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ecommerce_access') THEN
		CREATE ROLE ecommerce_access LOGIN;
	END IF;
	GRANT ecommerce_writer TO ecommerce_access;
END
$roles$;

CREATE SCHEMA ecommerce_access;
GRANT USAGE ON SCHEMA ecommerce_access TO ecommerce_access, ecommerce_reader;

CREATE TYPE ecommerce_access.reply AS (
	status int,
	body jsonb,
	etag text,
	location text
);
COMMENT ON TYPE ecommerce_access.reply IS
'Answer to an HTTP request: status code, JSON body or NULL for none, values of the headers ETag and Location or NULL.';

CREATE FUNCTION ecommerce_access._answer(status int, body jsonb, etag text DEFAULT NULL,
											location text DEFAULT NULL)
RETURNS ecommerce_access.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $answer$
BEGIN
	RETURN ROW(status, body, etag, location);
END
$answer$;
COMMENT ON FUNCTION ecommerce_access._answer(int, jsonb, text, text) IS 'Makes a reply.';

CREATE FUNCTION ecommerce_access._refuse(status int, detail text, errors jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'HT' || status, MESSAGE = detail,
		DETAIL = coalesce(errors::text, '');
END
$refuse$;
COMMENT ON FUNCTION ecommerce_access._refuse(int, text, jsonb) IS
'Ends the request with SQLSTATE HT<status>; errors: array of {"field", "detail"}, becomes the DETAIL.';

CREATE FUNCTION ecommerce_access._refuse_fields(errors jsonb)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_fields$
BEGIN
	IF errors <> '[]' THEN
		PERFORM ecommerce_access._refuse(422, 'the request has fields that are missing or wrong',
			errors);
	END IF;
END
$refuse_fields$;
COMMENT ON FUNCTION ecommerce_access._refuse_fields(jsonb) IS
'Does nothing with an empty array; else ends the request with HT422 and the errors.';

CREATE FUNCTION ecommerce_access._bad_field(field text, detail text)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $bad_field$
	SELECT jsonb_build_array(jsonb_build_object('field', field, 'detail', detail))
$bad_field$;
COMMENT ON FUNCTION ecommerce_access._bad_field(text, text) IS
'An array with one error, as refuse_fields takes it.';

CREATE FUNCTION ecommerce_access._is_text(value jsonb)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_text$
BEGIN
	-- white space as in JSON Schema's patterns, so that the OpenAPI document says the same
	RETURN coalesce(jsonb_typeof(value) = 'string' AND length(value #>> '{}') BETWEEN 1 AND 200
		AND value #>> '{}' ~ '[^\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]',
		false);
END
$is_text$;
COMMENT ON FUNCTION ecommerce_access._is_text(jsonb) IS
'Whether a value is a text of 1 to 200 characters, not all of them white space.';

CREATE FUNCTION ecommerce_access._is_whole(value jsonb, lowest bigint, highest bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_whole$
BEGIN
	RETURN CASE WHEN jsonb_typeof(value) = 'number' THEN value::numeric BETWEEN lowest AND highest
		AND value::numeric = trunc(value::numeric) ELSE false END;
END
$is_whole$;
COMMENT ON FUNCTION ecommerce_access._is_whole(jsonb, bigint, bigint) IS
'Whether a value is a whole number between two; 5.0 is one.';

CREATE FUNCTION ecommerce_access._as_uuid(value text)
RETURNS uuid LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $as_uuid$
BEGIN
	RETURN CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END;
END
$as_uuid$;
COMMENT ON FUNCTION ecommerce_access._as_uuid(text) IS 'The UUID, or NULL when the text is none.';

CREATE FUNCTION ecommerce_access._query_errors(uuids jsonb, after text, page text)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $query_errors$
DECLARE
	errors jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', name, 'detail', 'must be a UUID')
		ORDER BY name), '[]')
	INTO errors FROM jsonb_each_text(uuids) AS parameter (name, value)
	WHERE value IS NOT NULL AND ecommerce_access._as_uuid(value) IS NULL;
	IF after !~ '^[0-9]{1,18}$' THEN
		errors := errors || ecommerce_access._bad_field('after',
			'must be a cursor from next or cursor');
	END IF;
	IF page !~ '^[0-9]{1,4}$' OR page::int NOT BETWEEN 1 AND 1000 THEN
		errors := errors || ecommerce_access._bad_field('limit',
			'must be a number from 1 to 1000');
	END IF;
	RETURN errors;
END
$query_errors$;
COMMENT ON FUNCTION ecommerce_access._query_errors(jsonb, text, text) IS
'Every bad parameter of a query as [{"field", "detail"}]: uuids are name and text of those that must be UUIDs, after is a cursor, page is the limit; null and absent are good.';

CREATE FUNCTION ecommerce_access._page_size(page text)
RETURNS int LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $page_size$
BEGIN
	RETURN coalesce(page::int, 50);
END
$page_size$;
COMMENT ON FUNCTION ecommerce_access._page_size(text) IS
'The query parameter limit, checked already: 50 when absent.';

CREATE FUNCTION ecommerce_access._tag_of(body jsonb, version bigint)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tag_of$
BEGIN
	RETURN format('"%s-%s"', version, left(md5(body::text), 16));
END
$tag_of$;
COMMENT ON FUNCTION ecommerce_access._tag_of(jsonb, bigint) IS
'The entity tag of a representation. It is made of all that is shown, since a strong one has to change with it, wherever the change comes from.';

CREATE FUNCTION ecommerce_access._tags(header text)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tags$
BEGIN
	RETURN regexp_split_to_array(trim(header), '\s*,\s*');
END
$tags$;
COMMENT ON FUNCTION ecommerce_access._tags(text) IS
'The tags of a header If-Match or If-None-Match; NULL without the header.';

CREATE FUNCTION ecommerce_access._represent(body jsonb, version bigint,
	if_none_match text DEFAULT NULL)
RETURNS ecommerce_access.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $represent$
DECLARE
	tag CONSTANT text := ecommerce_access._tag_of(body, version);
	known CONSTANT text[] := ecommerce_access._tags(replace(if_none_match, 'W/"', '"'));
BEGIN
	IF '*' = ANY (known) OR tag = ANY (known) THEN
		RETURN ecommerce_access._answer(304, NULL, tag);
	END IF;
	RETURN ecommerce_access._answer(200, body, tag);
END
$represent$;
COMMENT ON FUNCTION ecommerce_access._represent(jsonb, bigint, text) IS
'The reply to a GET: 200 with its entity tag, or 304 when If-None-Match has that tag, weak ones included.';

CREATE FUNCTION ecommerce_access._check_match(if_match text, if_none_match text, tag text,
	version text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $check_match$
DECLARE
	wanted CONSTANT text[] := ecommerce_access._tags(if_match);
	unwanted CONSTANT text[] := ecommerce_access._tags(if_none_match);
BEGIN
	IF wanted IS NOT NULL AND NOT coalesce(tag IS NOT NULL AND '*' = ANY (wanted)
		OR tag = ANY (wanted), false) AND NOT coalesce(version = ANY (wanted), false) THEN
		PERFORM ecommerce_access._refuse(412, CASE WHEN tag IS NULL THEN 'there is none yet'
			ELSE format('it has changed: it is at %s now', tag) END);
	ELSIF unwanted IS NOT NULL AND tag IS NOT NULL
		AND ('*' = ANY (unwanted) OR tag = ANY (unwanted)) THEN
		PERFORM ecommerce_access._refuse(412, format('there is one already: it is at %s', tag));
	END IF;
END
$check_match$;
COMMENT ON FUNCTION ecommerce_access._check_match(text, text, text, text) IS
'HT412 unless what is to be changed is as the headers If-Match and If-None-Match want it. tag: its entity tag, NULL if it does not exist; version: another tag that If-Match may name.';

CREATE FUNCTION ecommerce_access._followed(projection text, mark bigint)
RETURNS bigint LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $followed$
DECLARE
	deferred CONSTANT bigint := (SELECT min(d.position) FROM event_store.projection_deferred d
		WHERE d.name = projection);
BEGIN
	IF deferred = 0 THEN
		RAISE EXCEPTION 'the projection "%" does not run', projection
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'The view event_store.projections tells why; a rebuild ends by itself.';
	END IF;
	RETURN least(deferred - 1, mark);
END
$followed$;
COMMENT ON FUNCTION ecommerce_access._followed(text, bigint) IS
'How far a reader may go in the tables of an inline projection whose events can be read up to the mark: below what it has still to be given. Call it in the statement that reads the rows. 55000 while it is rebuilt or paused.';

CREATE FUNCTION ecommerce_access._collection(items jsonb, size int, newest bigint, after text)
RETURNS ecommerce_access.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $collection$
BEGIN
	RETURN ecommerce_access._answer(200, jsonb_build_object(
		'items', coalesce(items, '[]'),
		'next', CASE WHEN jsonb_array_length(coalesce(items, '[]')) >= size THEN newest::text END,
		'cursor', coalesce(newest::text, after, '0')));
END
$collection$;
COMMENT ON FUNCTION ecommerce_access._collection(jsonb, int, bigint, text) IS
'A page of a collection: {"items", "next", "cursor"}. newest: the position of the last item, NULL without any; next is that when the page is full, else null; cursor is where to go on later, when there may be more.';

CREATE FUNCTION ecommerce_access._publish(message_type text, order_id uuid, key uuid,
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
COMMENT ON FUNCTION ecommerce_access._publish(text, uuid, uuid, jsonb) IS
'Publishes a reply: body plus order_id and the step key, in order with the other messages of that order.';

CREATE FUNCTION ecommerce_access._strange_fields(body jsonb, known text[], prefix text DEFAULT '')
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $strange_fields$
BEGIN
	IF jsonb_typeof(body) IS DISTINCT FROM 'object' OR body - known = '{}' THEN
		RETURN '[]';
	END IF;
	RETURN (
		SELECT jsonb_agg(jsonb_build_object('field', prefix || key, 'detail',
			'is not known here: send ' || array_to_string(known, ', ')) ORDER BY key)
		-- those that there may be are few; a body may have thousands of others
		FROM (SELECT key FROM jsonb_object_keys(body - known) AS key LIMIT 20) AS strange);
END
$strange_fields$;
COMMENT ON FUNCTION ecommerce_access._strange_fields(jsonb, text[], text) IS
'An error for each field of an object that is none of the known ones, for 20 of them at most: what nobody reads would have no effect, and who sent it would not know.';
-- API keys: who may come through the gateway, and as what. A key is 256 random bits, so
-- its plain SHA-256 cannot be turned back; nothing here holds a key itself.

-- Unlike other daemons, accessd writes nothing and reads nothing of the rest.
REVOKE ecommerce_writer FROM ecommerce_access;
GRANT ecommerce_monitor TO ecommerce_access;

CREATE TABLE ecommerce_access.api_key (
	key_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	key_hash bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
	name text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._@ -]{0,99}$'),
	scope text NOT NULL CHECK (scope IN ('customer', 'warehouse', 'operator')),
	customer_id uuid,
	tenant_id text CHECK (tenant_id ~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$'),
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	created_by text NOT NULL DEFAULT session_user,
	expires_at timestamptz,
	revoked_at timestamptz,
	revoked_by text,
	CONSTRAINT customers_have_an_id CHECK ((scope = 'customer') = (customer_id IS NOT NULL))
);
CREATE INDEX api_key_customer ON ecommerce_access.api_key (customer_id)
	WHERE customer_id IS NOT NULL;
COMMENT ON TABLE ecommerce_access.api_key IS
'API keys by the SHA-256 of each; nobody reads it but through this extension''s functions and the view api_keys. Rows stay when a key is revoked, so that what it has done has a name.';

CREATE VIEW ecommerce_access.api_keys AS
SELECT k.key_id, k.name, k.scope, k.customer_id, k.tenant_id, k.created_at, k.created_by,
	k.expires_at, k.revoked_at, k.revoked_by,
	k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()) AS is_valid
FROM ecommerce_access.api_key AS k;
COMMENT ON VIEW ecommerce_access.api_keys IS
'All API keys without their hashes: whose, for what, until when, and whether they open anything now.';

CREATE FUNCTION ecommerce_access.create_key(name text, scope text, customer_id uuid DEFAULT NULL,
	expires_at timestamptz DEFAULT NULL, tenant_id text DEFAULT NULL,
	OUT key_id uuid, OUT api_key text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $create_key$
BEGIN
	IF scope NOT IN ('customer', 'warehouse', 'operator') OR scope IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('there is no scope "%s"', scope),
			HINT = 'Type customer, warehouse or operator.';
	ELSIF (scope = 'customer') <> (customer_id IS NOT NULL) THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a customer''s key has a customer id, any other has none',
			HINT = 'Type customer_id => ''...'' with scope => ''customer'' only.';
	ELSIF expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'the key would have expired already',
			HINT = 'Type a time to come, such as expires_at => now() + interval ''90 days''.';
	END IF;
	-- three random UUIDs have 366 random bits; the hash makes 256 even ones of them
	api_key := 'shop_' || encode(sha256(uuid_send(gen_random_uuid())
		|| uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex');
	INSERT INTO ecommerce_access.api_key AS k (key_hash, name, scope, customer_id, tenant_id,
		expires_at)
	VALUES (sha256(convert_to(create_key.api_key, 'UTF8')), create_key.name, create_key.scope,
		create_key.customer_id, create_key.tenant_id, create_key.expires_at)
	RETURNING k.key_id INTO create_key.key_id;
END
$create_key$;
COMMENT ON FUNCTION ecommerce_access.create_key(text, text, uuid, timestamptz, text) IS
'Makes an API key and returns it this once; only its SHA-256 is kept. name says whose it is and is what orders and events call whoever uses it (a customer is called by the customer id), scope is customer, warehouse or operator, customer_id is for customers and for them only; without expires_at it is good until it is revoked; tenant_id goes into the metadata of all that is done with it.';

CREATE FUNCTION ecommerce_access.revoke_key(key_id uuid)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $revoke_key$
BEGIN
	UPDATE ecommerce_access.api_key AS k
	SET revoked_at = clock_timestamp(), revoked_by = session_user
	WHERE k.key_id = revoke_key.key_id AND k.revoked_at IS NULL;
	RETURN FOUND;
END
$revoke_key$;
COMMENT ON FUNCTION ecommerce_access.revoke_key(uuid) IS
'Takes an API key back; from the commit on it opens nothing. False when there is no such key, or it was revoked before.';

CREATE FUNCTION ecommerce_access.authenticate(key_hash bytea)
RETURNS TABLE (user_id text, scope text, customer_id uuid, tenant_id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $authenticate$
BEGIN
	RETURN QUERY
	SELECT coalesce(k.customer_id::text, k.name), k.scope, k.customer_id, k.tenant_id
	FROM ecommerce_access.api_key AS k
	WHERE k.key_hash = authenticate.key_hash AND k.revoked_at IS NULL
		AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp());
END
$authenticate$;
COMMENT ON FUNCTION ecommerce_access.authenticate(bytea) IS
'Whose the key with that SHA-256 is; no row when there is none, or it has expired or was revoked.';

CREATE FUNCTION ecommerce_access.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	NULL;	-- it neither consumes nor projects
END
$install$;
COMMENT ON FUNCTION ecommerce_access.install() IS
'Does nothing, there is nothing to register; all services are installed alike.';
-- Rights, stricter than those of the other services: the table is nobody's. The daemon's
-- role may ask whose a key is, administrators may make and revoke keys, readers may list
-- them without their hashes. The functions run as their owner, since they alone may look.
-- Again at every upgrade.
DO $rights$
DECLARE
	routine regprocedure;
BEGIN
	FOR routine IN
		SELECT d.objid::regprocedure FROM pg_catalog.pg_depend d
		JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid AND x.extname = 'ecommerce_access'
		WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
			AND d.deptype = 'e'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
		EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO ecommerce_admin', routine);
	END LOOP;
END
$rights$;
GRANT EXECUTE ON FUNCTION ecommerce_access.authenticate(bytea) TO ecommerce_access;
GRANT SELECT ON ecommerce_access.api_keys TO ecommerce_reader;
SELECT pg_catalog.pg_extension_config_dump('ecommerce_access.api_key', '');
