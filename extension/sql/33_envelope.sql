-- Envelopes of foreign systems: what they carry as messages, and messages as they know them.
-- An envelope is what a broker such as RabbitMQ carries, as JSON: exchange, routing_key,
-- properties (of AMQP 0-9-1), headers, and body as text, or body_base64 if it is no UTF-8.

CREATE FUNCTION message_bus.recase(document jsonb, style text) RETURNS jsonb
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_recase';
COMMENT ON FUNCTION message_bus.recase(jsonb, text) IS
'A document with the keys of its objects, at every depth, in another style: camel (order_id is orderId) or snake (orderId, OrderId are order_id). Keys that are no names in the other style, such as SKU-1 or USD, stay. 22023: no such style.';

-- ---------------------------------------------------------------- names and ids
CREATE FUNCTION message_bus._foreign_id(id text, scope text) RETURNS uuid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'message_bus_foreign_id';
COMMENT ON FUNCTION message_bus._foreign_id(text, text) IS
'A foreign id as a UUID: itself if it is one, else the UUID version 5 of scope and id; NULL for none.';

CREATE FUNCTION message_bus._their_type(type text, options jsonb, separator text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $their_type$
BEGIN
	RETURN coalesce(options -> 'types' ->> type,
		CASE WHEN strpos(type, separator) > 0 OR coalesce(options ->> 'namespace', '') = '' THEN type
			ELSE (options ->> 'namespace') || separator || type END);
END
$their_type$;
COMMENT ON FUNCTION message_bus._their_type(text, jsonb, text) IS
'What they call a message type of ours: by option types, else in option namespace.';

CREATE FUNCTION message_bus._own_type(theirs text, options jsonb, separator text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $own_type$
DECLARE
	prefix CONSTANT text := (options ->> 'namespace') || separator;
	own text;
BEGIN
	IF options ? 'types' THEN
		SELECT t.key INTO own FROM jsonb_each_text(options -> 'types') t WHERE t.value = theirs
		ORDER BY t.key LIMIT 1;
		IF FOUND THEN
			RETURN own;
		END IF;
	END IF;
	RETURN CASE WHEN starts_with(theirs, prefix) THEN substr(theirs, length(prefix) + 1)
		ELSE theirs END;
END
$own_type$;
COMMENT ON FUNCTION message_bus._own_type(text, jsonb, text) IS
'What we call a message type of theirs; one that no option speaks of keeps its name.';

CREATE FUNCTION message_bus._address_name(address text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $address_name$
BEGIN
	RETURN regexp_replace(regexp_replace(address, '\?.*$', ''), '^.*[/]|^(queue|exchange|topic):', '');
END
$address_name$;
COMMENT ON FUNCTION message_bus._address_name(text) IS
'The exchange that an address such as rabbitmq://host/vhost/billing?temporary=true leads to.';

-- ---------------------------------------------------------------- what is common
CREATE FUNCTION message_bus._give_headers(message message_bus.message) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $give_headers$
BEGIN
	RETURN jsonb_strip_nulls(jsonb_build_object(
		'X-User-Id', message.user_id, 'X-Tenant-Id', message.tenant_id,
		'X-Partition-Key', message.partition_key, 'X-Schema-Version', message.schema_version,
		'traceparent', message.traceparent, 'x-delay', CASE WHEN message.deliver_at > clock_timestamp()
			THEN ceil(extract(epoch FROM message.deliver_at - clock_timestamp()) * 1000)::bigint END));
END
$give_headers$;
COMMENT ON FUNCTION message_bus._give_headers(message_bus.message) IS
'What of a message no foreign envelope has a place for, as headers of the transport.';

CREATE FUNCTION message_bus._take_headers(message message_bus.message, headers jsonb)
RETURNS message_bus.message
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $take_headers$
DECLARE
	trace CONSTANT text := coalesce(headers ->> 'traceparent', headers ->> 'MT-Activity-Id');
BEGIN
	message.user_id := coalesce(message.user_id, headers ->> 'X-User-Id');
	message.tenant_id := coalesce(message.tenant_id, headers ->> 'X-Tenant-Id');
	message.partition_key := coalesce(message.partition_key, headers ->> 'X-Partition-Key');
	message.schema_version := coalesce(message.schema_version,
		(headers ->> 'X-Schema-Version')::int);
	IF message.traceparent IS NULL
		AND trace ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' THEN
		message.traceparent := trace;
	END IF;
	RETURN message;
END
$take_headers$;
COMMENT ON FUNCTION message_bus._take_headers(message_bus.message, jsonb) IS
'The message with what _give_headers() gave, where it has nothing of its own.';

CREATE FUNCTION message_bus._expiration(message message_bus.message) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $expiration$
BEGIN
	RETURN CASE WHEN isfinite(message.expires_at) THEN
		greatest(0, ceil(extract(epoch FROM message.expires_at - clock_timestamp()) * 1000))::bigint::text
		END;
END
$expiration$;
COMMENT ON FUNCTION message_bus._expiration(message_bus.message) IS
'For how many milliseconds more a message counts, as the property expiration wants it.';

CREATE FUNCTION message_bus._expires_at(properties jsonb) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $expires_at$
BEGIN
	RETURN coalesce(to_timestamp((properties ->> 'timestamp')::float8), clock_timestamp())
		+ ((properties ->> 'expiration') || ' ms')::interval;
END
$expires_at$;
COMMENT ON FUNCTION message_bus._expires_at(jsonb) IS
'Until when a message with these properties counts: expiration counts from timestamp, or from now.';

CREATE FUNCTION message_bus._utc(at timestamptz) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $utc$
BEGIN
	RETURN CASE WHEN isfinite(at) THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END;
END
$utc$;
COMMENT ON FUNCTION message_bus._utc(timestamptz) IS 'A time as RFC 3339 has it, in UTC.';

CREATE FUNCTION message_bus._refuse_envelope(problem text, hint text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_envelope$
BEGIN
	RAISE EXCEPTION '%', problem USING ERRCODE = 'MB005', HINT = hint;
END
$refuse_envelope$;
COMMENT ON FUNCTION message_bus._refuse_envelope(text, text) IS 'Ends with MB005.';

CREATE FUNCTION message_bus._body(envelope jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
	IF envelope ->> 'body' IS NULL THEN
		PERFORM message_bus._refuse_envelope('the body is no text in UTF-8',
			'A message must be a JSON document.');
	END IF;
	RETURN envelope ->> 'body';
END
$body$;
COMMENT ON FUNCTION message_bus._body(jsonb) IS
'The document in an envelope; MB005 or 22P02 if there is none.';

-- ---------------------------------------------------------------- MassTransit
CREATE FUNCTION message_bus._to_masstransit(message message_bus.message, options jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $to_masstransit$
DECLARE
	base CONSTANT text := rtrim(coalesce(options ->> 'address', 'rabbitmq://localhost'), '/') || '/';
	faulted CONSTANT boolean := message.message_type = 'Fault';
	theirs text := message_bus._their_type(CASE WHEN faulted
		THEN message.body ->> 'message_type' ELSE message.message_type END, options, ':');
	send_to CONSTANT text := coalesce(message_bus._address_name(message.headers ->> 'destination_address'),
		options -> 'destinations' ->> message.message_type);
	body jsonb := message.body;
	exchange text;
	content jsonb;
BEGIN
	IF faulted THEN
		body := message_bus._to_masstransit_fault(message.body, theirs, options);
		exchange := 'MassTransit:Fault--' || theirs || '--';
		theirs := 'MassTransit:Fault[[' || theirs || ']]';
	ELSE
		exchange := theirs;
		IF options ->> 'keys' = 'camel' THEN
			body := message_bus.recase(body, 'camel');
		END IF;
	END IF;
	exchange := coalesce(send_to, exchange);
	content := jsonb_build_object('messageId', message.message_id,
		'requestId', message.headers -> 'request_id', 'correlationId', message.correlation_id,
		'conversationId', message.conversation_id, 'initiatorId', message.causation_id,
		'sourceAddress', base || coalesce(nullif(message.source, ''), 'ecommerce'),
		'destinationAddress', base || exchange,
		'responseAddress', message.headers -> 'response_address',
		'faultAddress', message.headers -> 'fault_address',
		'messageType', jsonb_build_array('urn:message:' || theirs),
		'expirationTime', message_bus._utc(message.expires_at),
		'sentTime', message_bus._utc(message.sent_at),
		'headers', jsonb_strip_nulls(jsonb_build_object('MT-Activity-Id', message.traceparent))
			|| (message_bus._give_headers(message) - 'traceparent' - 'x-delay'),
		'host', jsonb_build_object('machineName', 'postgresql',
			'processName', coalesce(nullif(message.source, ''), 'ecommerce'), 'massTransitVersion', '8.0.0'));
	RETURN jsonb_build_object('exchange', exchange, 'routing_key', '',
		'exchange_type', CASE WHEN send_to IS NULL THEN 'fanout' END,
		'properties', jsonb_strip_nulls(jsonb_build_object(
			'content_type', 'application/vnd.masstransit+json', 'delivery_mode', 2,
			'message_id', message.message_id, 'correlation_id', message.correlation_id,
			'timestamp', floor(extract(epoch FROM message.sent_at)),
			'expiration', message_bus._expiration(message))),
		'headers', message_bus._give_headers(message) || jsonb_strip_nulls(jsonb_build_object(
			'Content-Type', 'application/vnd.masstransit+json', 'MT-Activity-Id', message.traceparent)),
		'body', (jsonb_strip_nulls(content) || jsonb_build_object('message', body))::text);
END
$to_masstransit$;
COMMENT ON FUNCTION message_bus._to_masstransit(message_bus.message, jsonb) IS
'A message in MassTransit''s envelope, for the exchange of its type, or for the endpoint it is meant for.';

CREATE FUNCTION message_bus._to_masstransit_fault(fault jsonb, theirs text, options jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $to_masstransit_fault$
BEGIN
	RETURN jsonb_build_object('faultId', fault -> 'fault_id', 'faultedMessageId',
		fault -> 'faulted_message_id', 'timestamp', fault -> 'timestamp',
		'exceptions', jsonb_build_array(jsonb_build_object('exceptionType', fault -> 'error_code',
			'message', fault -> 'error', 'source', fault -> 'endpoint', 'stackTrace', '')),
		'host', jsonb_build_object('machineName', 'postgresql', 'processName', 'ecommerce'),
		'faultMessageTypes', jsonb_build_array('urn:message:' || theirs),
		'message', CASE WHEN options ->> 'keys' = 'camel'
			THEN message_bus.recase(coalesce(fault -> 'message' -> 'body', 'null'), 'camel')
			ELSE fault -> 'message' -> 'body' END);
END
$to_masstransit_fault$;
COMMENT ON FUNCTION message_bus._to_masstransit_fault(jsonb, text, jsonb) IS
'The body of a Fault as MassTransit''s Fault<T> has it.';

CREATE FUNCTION message_bus._from_masstransit_fault(fault jsonb, theirs text, options jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $from_masstransit_fault$
DECLARE
	body CONSTANT jsonb := coalesce(fault -> 'message', 'null');
BEGIN
	RETURN jsonb_build_object('fault_id', fault -> 'faultId', 'faulted_message_id',
		fault -> 'faultedMessageId', 'message_type', message_bus._own_type(theirs, options, ':'),
		'endpoint', fault -> 'host' -> 'processName',
		'error_code', fault -> 'exceptions' -> 0 -> 'exceptionType',
		'error', fault -> 'exceptions' -> 0 -> 'message', 'attempts', 1,
		'timestamp', fault -> 'timestamp', 'message', jsonb_build_object('body',
			CASE WHEN options ->> 'keys' = 'camel' THEN message_bus.recase(body, 'snake') ELSE body END));
END
$from_masstransit_fault$;
COMMENT ON FUNCTION message_bus._from_masstransit_fault(jsonb, text, jsonb) IS
'The body of MassTransit''s Fault<T> as a Fault''s.';

CREATE FUNCTION message_bus._from_masstransit(envelope jsonb, options jsonb) RETURNS message_bus.message
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $from_masstransit$
DECLARE
	content CONSTANT jsonb := message_bus._body(envelope);
	scope CONSTANT text := coalesce(options ->> 'broker', '');
	id CONSTANT text := coalesce(content ->> 'messageId', envelope -> 'properties' ->> 'message_id');
	theirs text := substr(content -> 'messageType' ->> 0, 13);
	their_headers CONSTANT jsonb := coalesce(nullif(content -> 'headers', 'null'), '{}');
	message message_bus.message;
BEGIN
	IF theirs IS NULL OR content -> 'message' IS NULL THEN
		PERFORM message_bus._refuse_envelope('this is no message of MassTransit''s: messageType or message is missing',
			'Its serializer must be the one with an envelope (UseJsonSerializer), not raw JSON.');
	END IF;
	message.message_id := message_bus._foreign_id(id, scope);
	IF theirs ~ '^MassTransit:Fault\[\[.*\]\]$' THEN
		theirs := substring(theirs FROM '^MassTransit:Fault\[\[(.*)\]\]$');
		message.message_type := 'Fault';
		message.body := message_bus._from_masstransit_fault(content -> 'message', theirs, options);
	ELSE
		message.message_type := message_bus._own_type(theirs, options, ':');
		IF jsonb_array_length(content -> 'messageType') > 1 AND message.message_type = theirs THEN
			-- An interface or base class of it may be what we know.
			SELECT o.own INTO message.message_type
			FROM jsonb_array_elements_text(content -> 'messageType') WITH ORDINALITY u (urn, n),
				LATERAL message_bus._own_type(substr(u.urn, 13), options, ':') o (own)
			ORDER BY o.own = substr(u.urn, 13), u.n LIMIT 1;
		END IF;
		message.body := CASE WHEN options ->> 'keys' = 'camel'
			THEN message_bus.recase(content -> 'message', 'snake') ELSE content -> 'message' END;
	END IF;
	message.correlation_id := message_bus._foreign_id(content ->> 'correlationId', scope);
	message.conversation_id := message_bus._foreign_id(content ->> 'conversationId', scope);
	message.causation_id := message_bus._foreign_id(content ->> 'initiatorId', scope);
	message.source := message_bus._address_name(content ->> 'sourceAddress');
	message.sent_at := content ->> 'sentTime';
	message.expires_at := content ->> 'expirationTime';
	message.headers := their_headers || jsonb_strip_nulls(jsonb_build_object('foreign_id', id,
		'request_id', content -> 'requestId', 'response_address', content -> 'responseAddress',
		'fault_address', content -> 'faultAddress', 'source_address', content -> 'sourceAddress'));
	RETURN message_bus._take_headers(message,
		coalesce(envelope -> 'headers', '{}') || their_headers);
END
$from_masstransit$;
COMMENT ON FUNCTION message_bus._from_masstransit(jsonb, jsonb) IS 'What is in MassTransit''s envelope.';

-- ---------------------------------------------------------------- all of them
CREATE FUNCTION message_bus.to_envelope(format text, message message_bus.message,
	options jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $to_envelope$
BEGIN
	RETURN CASE format WHEN 'masstransit' THEN message_bus._to_masstransit(message, options)
		WHEN 'cloudevents' THEN message_bus._to_cloudevents(message, options)
		WHEN 'nservicebus' THEN message_bus._to_nservicebus(message, options)
		WHEN 'raw' THEN message_bus._to_raw(message, options) END;
END
$to_envelope$;
COMMENT ON FUNCTION message_bus.to_envelope(text, message_bus.message, jsonb) IS
'A message as a foreign system knows it: {"exchange", "exchange_type", "routing_key", "properties", "headers", "body"}. format: masstransit, cloudevents, nservicebus or raw; options as in create_bridge(). '
'Headers destination_address and request_id of the message say whom it answers. NULL for an unknown format.';

CREATE FUNCTION message_bus.from_envelope(format text, envelope jsonb, options jsonb DEFAULT '{}')
RETURNS message_bus.message
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $from_envelope$
BEGIN
	RETURN CASE format WHEN 'masstransit' THEN message_bus._from_masstransit(envelope, options)
		WHEN 'cloudevents' THEN message_bus._from_cloudevents(envelope, options)
		WHEN 'nservicebus' THEN message_bus._from_nservicebus(envelope, options)
		WHEN 'raw' THEN message_bus._from_raw(envelope, options) END;
END
$from_envelope$;
COMMENT ON FUNCTION message_bus.from_envelope(text, jsonb, jsonb) IS
'A foreign envelope {"exchange", "routing_key", "properties", "headers", "body" or "body_base64"} as a message. Ids that are no UUIDs become UUIDs version 5, the original is in header foreign_id; response_address and request_id in the headers say whom to answer. '
'MB005: it is none of that format. 22P02 and the like: what is in it cannot be read. NULL for an unknown format.';

CREATE FUNCTION message_bus._unreadable(envelope jsonb, options jsonb) RETURNS message_bus.message
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $unreadable$
DECLARE
	headers CONSTANT jsonb := coalesce(envelope -> 'headers', '{}');
	message message_bus.message;
BEGIN
	message.message_id := message_bus._foreign_id(coalesce(envelope -> 'properties' ->> 'message_id',
		headers ->> 'NServiceBus.MessageId', headers ->> 'ce-id', headers ->> 'cloudEvents:id'),
		coalesce(options ->> 'broker', ''));
	message.message_type := 'Unreadable';
	message.body := envelope;
	message.headers := '{}';
	RETURN message;
END
$unreadable$;
COMMENT ON FUNCTION message_bus._unreadable(jsonb, jsonb) IS
'An envelope that cannot be read, as a message of type Unreadable: for the dead letters.';
