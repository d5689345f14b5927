-- API keys: made once and shown once, kept as hashes, revoked, expired; who may do what
-- with them.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/service.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
CREATE EXTENSION ecommerce_access;
SELECT ecommerce_access.install(), ecommerce_access.install();
-- Whose a key is, as accessd asks.
CREATE FUNCTION whose(api_key text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', user_id, scope, customer_id, tenant_id)
	FROM ecommerce_access.authenticate(sha256(convert_to(api_key, 'UTF8')))
$$;
SET ROLE ecommerce_admin;
SELECT * FROM ecommerce_access.create_key('web shop', 'operator') \gset op_
SELECT * FROM ecommerce_access.create_key('berlin', 'warehouse', tenant_id => 'acme') \gset wh_
SELECT * FROM ecommerce_access.create_key('app', 'customer', id(7), now() + interval '1 day') \gset cu_
RESET ROLE;
SELECT :'op_api_key' ~ '^shop_[0-9a-f]{64}$', :'op_api_key' <> :'wh_api_key';
SELECT whose(:'op_api_key');
SELECT whose(:'wh_api_key');
SELECT whose(:'cu_api_key');
SELECT whose(''), whose('shop_'), whose(upper(:'op_api_key'));
-- nothing that is kept has a key in it
SELECT count(*) FROM ecommerce_access.api_key k
WHERE position(substr(:'op_api_key', 6) IN k::text) > 0 OR position(:'op_api_key' IN k::text) > 0;

-- What is refused.
SELECT outcome($$SELECT ecommerce_access.create_key('x', 'admin')$$);
SELECT outcome($$SELECT ecommerce_access.create_key('x', NULL)$$);
SELECT outcome($$SELECT ecommerce_access.create_key('x', 'customer')$$);
SELECT outcome($$SELECT ecommerce_access.create_key('x', 'operator', id(7))$$);
SELECT outcome($$SELECT ecommerce_access.create_key('x', 'operator', expires_at => now())$$);
-- a name becomes a header
SELECT left(outcome(format('SELECT ecommerce_access.create_key(%L, ''operator'')', name)), 5)
FROM unnest(ARRAY['', ' x', E'x\r\nX-Scope: operator', 'ü', repeat('x', 101)]) AS name;
SELECT left(outcome($$SELECT ecommerce_access.create_key('x', 'operator',
	tenant_id => 'a/b')$$), 5);

-- Revoked and expired: they open nothing, and stay for the record.
SELECT ecommerce_access.revoke_key(:'op_key_id'), ecommerce_access.revoke_key(:'op_key_id'),
	ecommerce_access.revoke_key(id(1));
SELECT whose(:'op_api_key');
UPDATE ecommerce_access.api_key SET expires_at = clock_timestamp() WHERE key_id = :'cu_key_id';
SELECT whose(:'cu_api_key');
SELECT name, scope, customer_id, tenant_id, expires_at IS NULL AS for_good,
	revoked_by = session_user AS revoked, is_valid FROM ecommerce_access.api_keys ORDER BY name;

-- Rights: the daemon asks and nothing else, readers list, administrators do all of it.
SELECT r.role, o.privilege FROM unnest(ARRAY['ecommerce_access', 'ecommerce_reader',
	'ecommerce_writer', 'ecommerce_admin']) AS r (role),
	LATERAL (SELECT string_agg(what, ', ' ORDER BY what) AS privilege FROM (VALUES
		('authenticate', has_function_privilege(r.role, 'ecommerce_access.authenticate(bytea)', 'execute')),
		('create_key', has_function_privilege(r.role,
			'ecommerce_access.create_key(text, text, uuid, timestamptz, text)', 'execute')),
		('revoke_key', has_function_privilege(r.role, 'ecommerce_access.revoke_key(uuid)', 'execute')),
		('list', has_table_privilege(r.role, 'ecommerce_access.api_keys', 'select')),
		('hashes', has_table_privilege(r.role, 'ecommerce_access.api_key', 'select')),
		('table', has_table_privilege(r.role, 'ecommerce_access.api_key', 'insert, update, delete')),
		('append', has_function_privilege(r.role,
			'event_store.append(text, bigint, text, jsonb, jsonb, uuid, int)', 'execute')))
		AS v (what, held) WHERE held) AS o;
