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
