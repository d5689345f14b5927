-- Contracts: which composite type the data of each type and version must fit.
--
-- Functions are stored by signature and looked up when used: a column of type
-- regprocedure would make pg_upgrade refuse the cluster.

CREATE FUNCTION event_store._registry_changed() RETURNS trigger
LANGUAGE c SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_registry_changed';
COMMENT ON FUNCTION event_store._registry_changed() IS
'Trigger on tables that every backend caches: makes them read the table again.';

CREATE TABLE event_store.event_type (
	event_type text COLLATE "C" NOT NULL,
	schema_version int NOT NULL CHECK (schema_version >= 1),
	payload_type regtype NOT NULL,
	owner text NOT NULL,
	may_be_current boolean NOT NULL DEFAULT true,
	PRIMARY KEY (event_type, schema_version)
);
COMMENT ON COLUMN event_store.event_type.may_be_current IS
'The current version of a type is the greatest that may be; if none may, the first.';
COMMENT ON TABLE event_store.event_type IS
'Registered types of events and messages: the composite type that the data of each version must fit. Changed by register_event_type().';

CREATE TABLE event_store.upcaster (
	event_type text COLLATE "C" NOT NULL,
	from_version int NOT NULL CHECK (from_version >= 1),
	function text NOT NULL,
	owner text NOT NULL,
	PRIMARY KEY (event_type, from_version)
);
COMMENT ON TABLE event_store.upcaster IS
'Functions that turn the data of one version of a type into that of the next. Changed by register_upcaster().';
COMMENT ON COLUMN event_store.event_type.owner IS 'The role with whose rights CHECKs and input functions of the type run.';
COMMENT ON COLUMN event_store.upcaster.owner IS 'The role with whose rights the function runs.';

CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON event_store.event_type
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._registry_changed();
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON event_store.upcaster
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._registry_changed();
ALTER TABLE event_store.event_type ENABLE ALWAYS TRIGGER registry_changed;
ALTER TABLE event_store.upcaster ENABLE ALWAYS TRIGGER registry_changed;

CREATE FUNCTION event_store.register_event_type(event_type text, payload_type regtype,
												schema_version int DEFAULT 1,
												current boolean DEFAULT true)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_register_event_type';
COMMENT ON FUNCTION event_store.register_event_type(text, regtype, int, boolean) IS
'From now on the data of every event and message of this type and version must fit a composite type: no key missing whose column is of a NOT NULL domain, no other key, every value convertible and written as asyncapi() says: numbers as numbers, times with their zone. '
'What does not fit is ST004 with the path of the offender. Repeating a registration changes nothing; another type for the same version is 42710. '
'current: whether who names no version means this one from now on, if it is the newest, and whether reads upcast to it. With false both go on as before until set_current_version(): readers first, then writers, one after the other.';

CREATE FUNCTION event_store.set_current_version(event_type text, schema_version int)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_set_current_version';
COMMENT ON FUNCTION event_store.set_current_version(text, int) IS
'From now on this version of a type is meant where none is named, and reads and receive() upcast to it; it may be an older one. Definitions of sagas go on with the versions that were current when they were defined. ST004 if it is not registered.';

CREATE FUNCTION event_store.unregister_event_type(event_type text, schema_version int DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_unregister_event_type';
COMMENT ON FUNCTION event_store.unregister_event_type(text, int) IS
'Forgets a version of a type, or all of them; returns how many it forgot. Stored events stay as they are.';

CREATE FUNCTION event_store.check_data(event_type text, data jsonb, schema_version int DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'event_store_check_data';
COMMENT ON FUNCTION event_store.check_data(text, jsonb, int) IS
'Checks data as an append or publish of that type would, and writes nothing. Returns the schema version it would be stored with (NULL asks for the current one); raises ST004.';

CREATE FUNCTION event_store.register_upcaster(event_type text, from_version int, fn regprocedure)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_register_upcaster';
COMMENT ON FUNCTION event_store.register_upcaster(text, int, regprocedure) IS
'fn(data jsonb) RETURNS jsonb turns data of from_version into data of the next version. Reads, and receive() of messages, apply it, with the rights of the role that calls this and with pinned settings, up to the current version; what is stored stays untouched. '
'Registering another function for the same version replaces it.';

-- What a type looks like as JSON Schema; columns that are not required may be null.
CREATE FUNCTION event_store._json_schema(type oid, typmod int, required boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $json_schema$
DECLARE
	t pg_catalog.pg_type;
	base oid := type;
	modifier int := typmod;
	result jsonb;
	note text;
BEGIN
	LOOP
		SELECT * INTO STRICT t FROM pg_catalog.pg_type WHERE pg_type.oid = base;
		EXIT WHEN t.typtype <> 'd';
		note := coalesce(note, obj_description(t.oid, 'pg_type'));
		base := t.typbasetype;
		IF t.typtypmod <> -1 THEN
			modifier := t.typtypmod;
		END IF;
	END LOOP;
	result := CASE
		WHEN t.typtype = 'c' THEN jsonb_build_object('$ref',
			'#/components/schemas/' || event_store._schema_key(base))
		WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN jsonb_build_object('type', 'array',
			'items', event_store._json_schema(t.typelem, modifier,
				event_store._is_required(t.typelem)))
		WHEN t.typtype = 'e' THEN jsonb_build_object('type', 'string', 'enum',
			(SELECT jsonb_agg(enumlabel ORDER BY enumsortorder) FROM pg_catalog.pg_enum
				WHERE enumtypid = base))
		ELSE event_store._scalar_schema(base, modifier) END;
	IF note IS NOT NULL THEN
		-- Beside a $ref other keys would be ignored.
		IF result ? '$ref' THEN
			result := jsonb_build_object('allOf', jsonb_build_array(result));
		END IF;
		result := result || jsonb_build_object('description', note);
	END IF;
	IF NOT required AND result <> '{}' THEN
		result := CASE WHEN result ? 'type' AND NOT result ? 'enum'
			THEN jsonb_set(result, '{type}', jsonb_build_array(result->'type', 'null'))
			ELSE jsonb_build_object('oneOf', result || '[{"type": "null"}]') END;
	END IF;
	RETURN result;
END
$json_schema$;
COMMENT ON FUNCTION event_store._json_schema(oid, int, boolean) IS
'JSON Schema of a column''s type; composite types become references to components/schemas.';

CREATE FUNCTION event_store._scalar_schema(type oid, typmod int) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $scalar_schema$
	SELECT CASE type
		WHEN 'smallint'::regtype
			THEN '{"type": "integer", "minimum": -32768, "maximum": 32767}'::jsonb
		WHEN 'integer'::regtype THEN '{"type": "integer", "format": "int32",
			"minimum": -2147483648, "maximum": 2147483647}'
		WHEN 'bigint'::regtype THEN '{"type": "integer", "format": "int64"}'
		WHEN 'numeric'::regtype THEN '{"type": "number"}'
		WHEN 'real'::regtype THEN '{"type": "number", "format": "float"}'
		WHEN 'double precision'::regtype THEN '{"type": "number", "format": "double"}'
		WHEN 'boolean'::regtype THEN '{"type": "boolean"}'
		WHEN 'text'::regtype THEN '{"type": "string"}'
		WHEN 'uuid'::regtype THEN '{"type": "string", "format": "uuid"}'
		WHEN 'timestamptz'::regtype THEN '{"type": "string", "format": "date-time"}'
		WHEN 'date'::regtype THEN '{"type": "string", "format": "date"}'
		WHEN 'timestamp'::regtype THEN jsonb_build_object('type', 'string',
			'pattern', '^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?$')
		WHEN 'json'::regtype THEN '{}'
		WHEN 'jsonb'::regtype THEN '{}'
		WHEN 'varchar'::regtype THEN '{"type": "string"}'::jsonb ||
			CASE WHEN typmod > 4 THEN jsonb_build_object('maxLength', typmod - 4) ELSE '{}' END
		ELSE jsonb_build_object('type', 'string', 'description',
			'PostgreSQL ' || format_type(type, typmod)) END
$scalar_schema$;
COMMENT ON FUNCTION event_store._scalar_schema(oid, int) IS 'JSON Schema of a type that is neither composite, array, enum nor domain.';

CREATE FUNCTION event_store._is_required(type oid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $is_required$
	WITH RECURSIVE chain AS (
		SELECT t.typnotnull, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = type
		UNION ALL
		SELECT t.typnotnull, t.typbasetype FROM chain c
			JOIN pg_catalog.pg_type t ON t.oid = c.typbasetype
	)
	SELECT bool_or(typnotnull) FROM chain
$is_required$;
COMMENT ON FUNCTION event_store._is_required(oid) IS 'Whether a type is a NOT NULL domain, or based on one.';

-- Keys of components may hold letters, digits, ".", "-" and "_" only; what else a
-- name has is written as its code point, so that two names never share a key.
CREATE FUNCTION event_store._component_key(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $component_key$
	SELECT string_agg(CASE
		WHEN c ~ '[A-Za-z0-9-]' OR (c = '_' AND substr(name, i::int + 1, 1) <> 'u') THEN c
		ELSE '_u' || to_hex(ascii(c)) || '_' END, '' ORDER BY i)
	FROM string_to_table(name, NULL) WITH ORDINALITY AS s (c, i)
$component_key$;
COMMENT ON FUNCTION event_store._component_key(text) IS 'A name as a key of an AsyncAPI document''s components.';

CREATE FUNCTION event_store._schema_key(type oid) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $schema_key$
	SELECT event_store._component_key(n.nspname) || '.' || event_store._component_key(t.typname)
	FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
	WHERE t.oid = type
$schema_key$;
COMMENT ON FUNCTION event_store._schema_key(oid) IS 'The key of a composite type under components/schemas.';

CREATE FUNCTION event_store._composite_schema(type oid) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $composite_schema$
	SELECT jsonb_strip_nulls(jsonb_build_object('description', obj_description(type, 'pg_type')))
		|| jsonb_build_object('type', 'object', 'additionalProperties', false,
			'properties', coalesce(jsonb_object_agg(a.attname,
				event_store._json_schema(a.atttypid, a.atttypmod,
					event_store._is_required(a.atttypid))
				|| jsonb_strip_nulls(jsonb_build_object('description',
					col_description(a.attrelid, a.attnum))))
				FILTER (WHERE a.attname IS NOT NULL), '{}'),
			'required', coalesce(jsonb_agg(a.attname ORDER BY a.attnum)
				FILTER (WHERE event_store._is_required(a.atttypid)), '[]'))
	FROM pg_catalog.pg_type t
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0
			AND NOT a.attisdropped
	WHERE t.oid = type
$composite_schema$;
COMMENT ON FUNCTION event_store._composite_schema(oid) IS 'JSON Schema of a composite type: required are the columns of NOT NULL domains, other keys are not allowed.';

CREATE FUNCTION event_store.asyncapi() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $asyncapi$
	WITH RECURSIVE registered AS (
		SELECT r.event_type, r.schema_version, r.payload_type,
			event_store._component_key(r.event_type) || '.v' || r.schema_version AS key,
			r.schema_version = max(r.schema_version) OVER (PARTITION BY r.event_type) AS newest,
			r.schema_version = coalesce(max(r.schema_version) FILTER (WHERE r.may_be_current)
					OVER (PARTITION BY r.event_type),
				min(r.schema_version) OVER (PARTITION BY r.event_type)) AS current
		FROM event_store.event_type r
		WHERE EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = r.payload_type)
	),
	-- Every composite type that a registered one reaches, through arrays and domains.
	reached (type) AS (
		SELECT payload_type::oid FROM registered
		UNION
		SELECT next.type
		FROM reached
			JOIN pg_catalog.pg_type t ON t.oid = reached.type
			CROSS JOIN LATERAL (
				SELECT a.atttypid AS type FROM pg_catalog.pg_attribute a
				WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
				UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
				UNION ALL SELECT t.typelem WHERE t.typcategory = 'A' AND t.typelem <> 0) AS next
	),
	schemas AS (
		SELECT jsonb_object_agg(event_store._schema_key(t.oid),
			event_store._composite_schema(t.oid)) AS body
		FROM reached JOIN pg_catalog.pg_type t ON t.oid = reached.type AND t.typtype = 'c'
	),
	messages AS (
		SELECT jsonb_object_agg(r.key, jsonb_strip_nulls(jsonb_build_object(
				'name', r.event_type,
				'title', r.event_type || ' version ' || r.schema_version,
				'summary', obj_description(r.payload_type, 'pg_type'),
				'contentType', 'application/json',
				'x-schema-version', r.schema_version,
				'x-newest', r.newest,
				'x-current', r.current,
				'headers', jsonb_build_object('$ref', '#/components/schemas/envelope'),
				'payload', jsonb_build_object('$ref',
					'#/components/schemas/' || event_store._schema_key(r.payload_type))))) AS body,
			jsonb_object_agg(r.key, jsonb_build_object('$ref',
				'#/components/messages/' || r.key)) AS refs,
			jsonb_agg(jsonb_build_object('$ref', '#/channels/event_store/messages/' || r.key)
				ORDER BY r.key) AS list
		FROM registered r
	)
	SELECT jsonb_build_object(
		'asyncapi', '3.0.0',
		'info', jsonb_build_object(
			'title', current_database() || ' events and messages',
			'version', (SELECT e.extversion FROM pg_catalog.pg_extension e
				WHERE e.extname = 'ecommerce'),
			'description', 'The types registered with event_store.register_event_type().'),
		'defaultContentType', 'application/json',
		'channels', jsonb_build_object('event_store', jsonb_build_object(
			'address', 'event_store',
			'description', 'Every event and message of a registered type.',
			'messages', coalesce(messages.refs, '{}'))),
		'operations', CASE WHEN messages.list IS NULL THEN '{}' ELSE jsonb_build_object(
			'append', jsonb_build_object('action', 'receive',
				'summary', 'Append to a stream, or publish on the bus.',
				'channel', '{"$ref": "#/channels/event_store"}'::jsonb, 'messages', messages.list),
			'read', jsonb_build_object('action', 'send',
				'summary', 'Read streams, subscribe, receive.',
				'channel', '{"$ref": "#/channels/event_store"}'::jsonb,
				'messages', messages.list)) END,
		'components', jsonb_build_object(
			'messages', coalesce(messages.body, '{}'),
			'schemas', coalesce(schemas.body, '{}')
				|| jsonb_build_object('envelope', jsonb_build_object(
				'type', 'object', 'description', 'Metadata of an event, headers of a message.',
				'properties', jsonb_build_object(
					'correlation_id', '{"type": "string", "format": "uuid"}'::jsonb,
					'causation_id', '{"type": "string", "format": "uuid"}'::jsonb,
					'conversation_id', '{"type": "string", "format": "uuid"}'::jsonb,
					'user_id', '{"type": "string"}'::jsonb,
					'tenant_id', '{"type": "string"}'::jsonb,
					'traceparent', '{"type": "string"}'::jsonb,
					'source', '{"type": "string"}'::jsonb,
					'headers', '{"type": "object"}'::jsonb)))))
	FROM messages, schemas
$asyncapi$;
COMMENT ON FUNCTION event_store.asyncapi() IS
'Every registered type as an AsyncAPI 3 document with JSON Schema payloads generated from the composite types.';
