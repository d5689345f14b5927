-- Context, and the row types of the event store's functions.

CREATE FUNCTION ecommerce.set_context(correlation_id uuid, causation_id uuid DEFAULT NULL,
	user_id text DEFAULT NULL, tenant_id text DEFAULT NULL, headers jsonb DEFAULT '{}',
	traceparent text DEFAULT NULL, conversation_id uuid DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_set_context';
COMMENT ON FUNCTION ecommerce.set_context(uuid, uuid, text, text, jsonb, text, uuid) IS
'Sets who acts and why until the transaction ends; every event and message is stamped with it. '
'headers: a JSON object, traceparent: as in W3C Trace Context, else 22023. conversation_id NULL: the messages own, or the correlation id. NULL leaves a member out.';

CREATE FUNCTION ecommerce.context(OUT correlation_id uuid, OUT causation_id uuid,
	OUT user_id text, OUT tenant_id text, OUT headers jsonb, OUT traceparent text,
	OUT conversation_id uuid)
RETURNS record LANGUAGE c STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_context';
COMMENT ON FUNCTION ecommerce.context() IS
'The context of this transaction as one row, all NULL when none is set. conversation_id is the one of the message being handled.';

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
