-- Context, and the row types of the event store's functions.

CREATE FUNCTION ecommerce.set_context(correlation_id uuid, causation_id uuid DEFAULT NULL,
	user_id text DEFAULT NULL, tenant_id text DEFAULT NULL, headers jsonb DEFAULT '{}',
	traceparent text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_set_context';
COMMENT ON FUNCTION ecommerce.set_context(uuid, uuid, text, text, jsonb, text) IS
'Sets who acts and why until the transaction ends; every event and message is stamped with it.
headers: a JSON object, traceparent: as in W3C Trace Context, else 22023. NULL leaves a member out.';

CREATE FUNCTION ecommerce.context(OUT correlation_id uuid, OUT causation_id uuid,
	OUT user_id text, OUT tenant_id text, OUT headers jsonb, OUT traceparent text,
	OUT conversation_id uuid)
RETURNS record LANGUAGE c STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_context';
COMMENT ON FUNCTION ecommerce.context() IS
'The context of this transaction as one row, all NULL when none is set. conversation_id is the one of the message being handled.';

CREATE FUNCTION ecommerce.currencies()
RETURNS TABLE (code text, minor_units int) LANGUAGE c IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_currencies';
COMMENT ON FUNCTION ecommerce.currencies() IS
'The currencies of ISO 4217 with the number of decimals each has.';

-- Contracts check every order with this one and the two below: a pinned search_path would cost
-- more than all the rest of the check.
CREATE FUNCTION ecommerce.minor_units(currency text)
RETURNS int LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_minor_units';
COMMENT ON FUNCTION ecommerce.minor_units(text) IS
'How many decimals amounts in a currency of ISO 4217 have: 2 for USD, 0 for JPY, 3 for KWD; NULL for what is no currency.';

CREATE FUNCTION ecommerce.currency()
RETURNS text LANGUAGE c STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_currency';
COMMENT ON FUNCTION ecommerce.currency() IS
'The setting ecommerce.currency, also where the library has not been loaded yet.';

CREATE FUNCTION ecommerce.holds_card_number(value text)
RETURNS boolean LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_holds_card_number';
COMMENT ON FUNCTION ecommerce.holds_card_number(text) IS
'Whether some 12 to 19 digits of a text, in a row, satisfy the algorithm of Luhn, however they are separated.';

CREATE FUNCTION ecommerce.is_payment_type(value text)
RETURNS boolean LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_is_payment_type';
COMMENT ON FUNCTION ecommerce.is_payment_type(text) IS
'Whether a text can name a kind of payment: 1 to 50 letters, "_" and "-", a letter first, and at the end up to two digits.';

CREATE TYPE event_store.event AS (
	position bigint,
	stream text,
	version bigint,
	event_id uuid,
	event_type text,
	schema_version int,
	data jsonb,
	metadata jsonb,
	occurred_at timestamptz
);
COMMENT ON TYPE event_store.event IS
'A stored event: position in the whole store (rising, with gaps), stream and version in it (1, 2, 3, ...), id, type and its schema version, data, metadata (correlation_id and so on), and when it occurred.';

CREATE TYPE event_store.new_event AS (
	event_type text,
	data jsonb,
	metadata jsonb,
	event_id uuid,
	occurred_at timestamptz,
	schema_version int
);
COMMENT ON TYPE event_store.new_event IS
'An event to append. metadata NULL is {}, event_id NULL a new UUIDv7, occurred_at NULL the wall clock, schema_version NULL the current one (1 if none is registered).';
