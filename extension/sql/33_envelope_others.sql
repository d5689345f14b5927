-- Envelopes of NServiceBus, CloudEvents and of those who have none.

-- ---------------------------------------------------------------- NServiceBus
CREATE FUNCTION message_bus._to_nservicebus(message message_bus.message, options jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $to_nservicebus$
DECLARE
	theirs CONSTANT text := message_bus._their_type(message.message_type, options, '.');
	send_to CONSTANT text := coalesce(message.headers ->> 'destination_address',
		options -> 'destinations' ->> message.message_type);
	answers CONSTANT boolean := message.headers ? 'destination_address';
	id CONSTANT text := message.message_id;
BEGIN
	RETURN jsonb_build_object(
		'exchange', coalesce(send_to, regexp_replace(theirs, '\.([^.]*)$', ':\1')), 'routing_key', '',
		'exchange_type', CASE WHEN send_to IS NULL THEN 'fanout' END,
		'properties', jsonb_strip_nulls(jsonb_build_object(
			'content_type', 'application/json', 'delivery_mode', 2, 'message_id', id,
			'correlation_id', coalesce(message.headers ->> 'request_id', message.correlation_id::text),
			'type', theirs, 'timestamp', floor(extract(epoch FROM message.sent_at)),
			'expiration', message_bus._expiration(message))),
		'headers', message_bus._give_headers(message) || jsonb_strip_nulls(jsonb_build_object(
			'NServiceBus.MessageId', id, 'NServiceBus.EnclosedMessageTypes', theirs,
			'NServiceBus.ContentType', 'application/json',
			'NServiceBus.MessageIntent',
			CASE WHEN answers THEN 'Reply' WHEN send_to IS NOT NULL THEN 'Send' ELSE 'Publish' END,
			'NServiceBus.ConversationId', message.conversation_id,
			'NServiceBus.CorrelationId',
			coalesce(message.headers ->> 'request_id', message.correlation_id::text),
			'NServiceBus.RelatedTo', message.causation_id,
			'NServiceBus.OriginatingEndpoint', coalesce(nullif(message.source, ''), 'ecommerce'),
			'NServiceBus.ReplyToAddress', options -> 'queue',
			'NServiceBus.TimeSent',
			to_char(message.sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS:US "Z"'))),
		'body', CASE WHEN options ->> 'keys' = 'camel' THEN message_bus.recase(message.body, 'camel')
			ELSE message.body END::text);
END
$to_nservicebus$;
COMMENT ON FUNCTION message_bus._to_nservicebus(message_bus.message, jsonb) IS
'A message with the headers of NServiceBus, for the exchange of its type in the conventional topology, or for the endpoint it is meant for.';

CREATE FUNCTION message_bus._from_nservicebus(envelope jsonb, options jsonb) RETURNS message_bus.message
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $from_nservicebus$
DECLARE
	headers CONSTANT jsonb := coalesce(envelope -> 'headers', '{}');
	scope CONSTANT text := coalesce(options ->> 'broker', '');
	id CONSTANT text := coalesce(headers ->> 'NServiceBus.MessageId',
		envelope -> 'properties' ->> 'message_id');
	theirs CONSTANT text := substring(coalesce(headers ->> 'NServiceBus.EnclosedMessageTypes',
		envelope -> 'properties' ->> 'type') FROM '^\s*([^,;]+)');
	sent CONSTANT text := headers ->> 'NServiceBus.TimeSent';
	message message_bus.message;
BEGIN
	IF theirs IS NULL THEN
		PERFORM message_bus._refuse_envelope(
			'this is no message of NServiceBus'': it has no header NServiceBus.EnclosedMessageTypes',
			'Control messages are not for this queue.');
	END IF;
	message.message_id := message_bus._foreign_id(id, scope);
	message.message_type := message_bus._own_type(theirs, options, '.');
	message.body := message_bus._body(envelope);
	IF options ->> 'keys' = 'camel' THEN
		message.body := message_bus.recase(message.body, 'snake');
	END IF;
	message.correlation_id := message_bus._foreign_id(headers ->> 'NServiceBus.CorrelationId', scope);
	message.conversation_id := message_bus._foreign_id(headers ->> 'NServiceBus.ConversationId', scope);
	message.causation_id := message_bus._foreign_id(headers ->> 'NServiceBus.RelatedTo', scope);
	message.source := headers ->> 'NServiceBus.OriginatingEndpoint';
	message.sent_at := regexp_replace(sent, ':(\d+) Z$', '.\1Z');
	message.expires_at := message_bus._expires_at(envelope -> 'properties');
	message.headers := (SELECT coalesce(jsonb_object_agg(h.key, h.value), '{}') FROM jsonb_each(headers) h
		WHERE h.key ~ '^NServiceBus\.|^X-') || jsonb_strip_nulls(jsonb_build_object('foreign_id', id,
		'request_id', CASE WHEN headers ? 'NServiceBus.ReplyToAddress' THEN id END,
		'response_address', headers -> 'NServiceBus.ReplyToAddress'));
	RETURN message_bus._take_headers(message, headers);
END
$from_nservicebus$;
COMMENT ON FUNCTION message_bus._from_nservicebus(jsonb, jsonb) IS
'A message of NServiceBus''; what it has in its headers stays there too.';

-- ---------------------------------------------------------------- CloudEvents
CREATE FUNCTION message_bus._to_cloudevents(message message_bus.message, options jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $to_cloudevents$
DECLARE
	theirs CONSTANT text := message_bus._their_type(message.message_type, options, '.');
	prefix CONSTANT text := coalesce(options ->> 'prefix', 'cloudEvents:');
	binary_mode CONSTANT boolean := options ->> 'mode' = 'binary';
	body CONSTANT jsonb := CASE WHEN options ->> 'keys' = 'camel'
		THEN message_bus.recase(message.body, 'camel') ELSE message.body END;
	event jsonb;
BEGIN
	event := jsonb_strip_nulls(jsonb_build_object('specversion', '1.0', 'id', message.message_id,
		'source', coalesce(options ->> 'source', '/' || coalesce(nullif(message.source, ''), 'ecommerce')),
		'type', theirs, 'time', message_bus._utc(message.sent_at),
		'partitionkey', message.partition_key, 'correlationid', message.correlation_id,
		'conversationid', message.conversation_id, 'causationid', message.causation_id,
		'userid', message.user_id, 'tenantid', message.tenant_id, 'traceparent', message.traceparent,
		'schemaversion', message.schema_version, 'expirytime', message_bus._utc(message.expires_at),
		'requestid', message.headers -> 'request_id'));
	RETURN jsonb_build_object('exchange', coalesce(options ->> 'exchange', ''),
		'exchange_type', options -> 'exchange_type',
		'routing_key', coalesce(message_bus._address_name(message.headers ->> 'destination_address'),
			options -> 'destinations' ->> message.message_type, options ->> 'routing_key', theirs),
		'properties', jsonb_strip_nulls(jsonb_build_object(
			'content_type', CASE WHEN binary_mode THEN 'application/json'
				ELSE 'application/cloudevents+json; charset=utf-8' END,
			'delivery_mode', 2, 'message_id', message.message_id,
			'timestamp', floor(extract(epoch FROM message.sent_at)),
			'expiration', message_bus._expiration(message))),
		'headers', CASE WHEN binary_mode THEN
			(SELECT jsonb_object_agg(prefix || a.key, a.value) FROM jsonb_each_text(event) a)
			ELSE jsonb_strip_nulls(jsonb_build_object('traceparent', message.traceparent)) END,
		'body', CASE WHEN binary_mode THEN body
			ELSE event || jsonb_build_object('datacontenttype', 'application/json', 'data', body) END::text)
		|| CASE WHEN message.headers ? 'destination_address' THEN '{"exchange": "", "exchange_type": null}'::jsonb
			ELSE '{}' END;
END
$to_cloudevents$;
COMMENT ON FUNCTION message_bus._to_cloudevents(message_bus.message, jsonb) IS
'A message as a CloudEvent 1.0: structured, the event is the body; binary, its attributes are headers.';

CREATE FUNCTION message_bus._from_cloudevents(envelope jsonb, options jsonb) RETURNS message_bus.message
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $from_cloudevents$
DECLARE
	structured CONSTANT boolean :=
		coalesce(envelope -> 'properties' ->> 'content_type', '') ~* '^application/cloudevents\+json';
	scope CONSTANT text := coalesce(options ->> 'broker', '');
	event jsonb;
	message message_bus.message;
BEGIN
	IF structured THEN
		event := message_bus._body(envelope);
	ELSE
		SELECT jsonb_object_agg(lower(regexp_replace(h.key, '^(cloudEvents|ce)[-:_]', '')), h.value) INTO event
		FROM jsonb_each(envelope -> 'headers') h WHERE h.key ~ '^(cloudEvents|ce)[-:_]';
	END IF;
	IF event ->> 'specversion' IS DISTINCT FROM '1.0' OR event ->> 'id' IS NULL OR event ->> 'type' IS NULL
		OR event ->> 'source' IS NULL THEN
		PERFORM message_bus._refuse_envelope(
			'this is no CloudEvent 1.0: specversion, id, source or type is missing',
			'Its attributes must be in the body, as application/cloudevents+json, or in headers that begin with cloudEvents: or ce-.');
	END IF;
	-- The id is unique within its source.
	message.message_id := message_bus._foreign_id(event ->> 'id', event ->> 'source');
	message.message_type := message_bus._own_type(event ->> 'type', options, '.');
	message.body := CASE WHEN NOT structured THEN message_bus._body(envelope)
		WHEN event ? 'data' THEN event -> 'data'
		WHEN event ? 'data_base64' THEN jsonb_build_object('data_base64', event -> 'data_base64')
		ELSE '{}' END;
	IF options ->> 'keys' = 'camel' THEN
		message.body := message_bus.recase(message.body, 'snake');
	END IF;
	message.correlation_id := message_bus._foreign_id(event ->> 'correlationid', scope);
	message.conversation_id := message_bus._foreign_id(event ->> 'conversationid', scope);
	message.causation_id := message_bus._foreign_id(event ->> 'causationid', scope);
	message.user_id := event ->> 'userid';
	message.tenant_id := event ->> 'tenantid';
	message.partition_key := coalesce(event ->> 'partitionkey', event ->> 'subject');
	message.schema_version := (event ->> 'schemaversion')::int;
	message.source := event ->> 'source';
	message.sent_at := event ->> 'time';
	message.expires_at := coalesce((event ->> 'expirytime')::timestamptz,
		message_bus._expires_at(envelope -> 'properties'));
	message.headers := event - '{data,data_base64}'::text[] || jsonb_strip_nulls(jsonb_build_object(
		'foreign_id', event ->> 'id', 'response_address', envelope -> 'properties' -> 'reply_to',
		'request_id', CASE WHEN envelope -> 'properties' ? 'reply_to' THEN
			coalesce(envelope -> 'properties' ->> 'correlation_id', event ->> 'id') END));
	RETURN message_bus._take_headers(message, coalesce(envelope -> 'headers', '{}')
		|| jsonb_strip_nulls(jsonb_build_object('traceparent', event -> 'traceparent')));
END
$from_cloudevents$;
COMMENT ON FUNCTION message_bus._from_cloudevents(jsonb, jsonb) IS
'A CloudEvent as a message; its attributes are the headers.';

-- ---------------------------------------------------------------- raw JSON
CREATE FUNCTION message_bus._to_raw(message message_bus.message, options jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $to_raw$
DECLARE
	theirs CONSTANT text := message_bus._their_type(message.message_type, options, '.');
	type_header CONSTANT text := coalesce(options ->> 'type_header', '__TypeId__');
	reply_to CONSTANT text := message.headers ->> 'destination_address';
BEGIN
	RETURN jsonb_build_object('exchange', CASE WHEN reply_to IS NULL
			THEN coalesce(options ->> 'exchange', '') ELSE '' END,
		'exchange_type', CASE WHEN reply_to IS NULL THEN options -> 'exchange_type' END,
		'routing_key', coalesce(reply_to, options -> 'destinations' ->> message.message_type,
			options ->> 'routing_key', theirs),
		'properties', jsonb_strip_nulls(jsonb_build_object('content_type', 'application/json',
			'content_encoding', 'UTF-8', 'delivery_mode', 2, 'message_id', message.message_id,
			'correlation_id', coalesce(message.headers ->> 'request_id', message.correlation_id::text),
			'reply_to', CASE WHEN reply_to IS NULL THEN message.headers -> 'reply_to' END,
			'app_id', nullif(message.source, ''), 'type', theirs,
			'timestamp', floor(extract(epoch FROM message.sent_at)),
			'expiration', message_bus._expiration(message))),
		'headers', message_bus._give_headers(message) || jsonb_strip_nulls(jsonb_build_object(
			type_header, theirs, 'X-Correlation-Id', message.correlation_id,
			'X-Conversation-Id', message.conversation_id, 'X-Causation-Id', message.causation_id)),
		'body', CASE WHEN options ->> 'keys' = 'camel' THEN message_bus.recase(message.body, 'camel')
			ELSE message.body END::text);
END
$to_raw$;
COMMENT ON FUNCTION message_bus._to_raw(message_bus.message, jsonb) IS
'A message''s body alone, its type in a header, as Spring''s Jackson2JsonMessageConverter has it.';

CREATE FUNCTION message_bus._from_raw(envelope jsonb, options jsonb) RETURNS message_bus.message
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $from_raw$
DECLARE
	headers CONSTANT jsonb := coalesce(envelope -> 'headers', '{}');
	properties CONSTANT jsonb := coalesce(envelope -> 'properties', '{}');
	scope CONSTANT text := coalesce(options ->> 'broker', '');
	theirs CONSTANT text := coalesce(headers ->> coalesce(options ->> 'type_header', '__TypeId__'),
		properties ->> 'type', options ->> 'type', envelope ->> 'routing_key');
	id CONSTANT text := coalesce(headers ->> (options ->> 'id_header'), properties ->> 'message_id');
	prefix CONSTANT text := (options ->> 'namespace') || '.';
	message message_bus.message;
BEGIN
	message.message_id := message_bus._foreign_id(id, scope);
	message.message_type := CASE WHEN options ? 'types' THEN message_bus._own_type(theirs, options, '.')
		WHEN starts_with(theirs, prefix) THEN substr(theirs, length(prefix) + 1) ELSE theirs END;
	IF envelope ->> 'body' IS NULL THEN
		PERFORM message_bus._body(envelope);
	END IF;
	message.body := envelope ->> 'body';
	IF options ->> 'keys' = 'camel' THEN
		message.body := message_bus.recase(message.body, 'snake');
	END IF;
	message.correlation_id := message_bus._foreign_id(
		coalesce(headers ->> 'X-Correlation-Id', properties ->> 'correlation_id'), scope);
	message.conversation_id := message_bus._foreign_id(headers ->> 'X-Conversation-Id', scope);
	message.causation_id := message_bus._foreign_id(headers ->> 'X-Causation-Id', scope);
	message.source := properties ->> 'app_id';
	message.sent_at := to_timestamp((properties ->> 'timestamp')::float8);
	IF properties ? 'expiration' THEN
		message.expires_at := message_bus._expires_at(properties);
	END IF;
	message.headers := headers;
	IF id IS NOT NULL THEN
		message.headers := message.headers || jsonb_build_object('foreign_id', id);
	END IF;
	IF properties ? 'reply_to' THEN
		message.headers := message.headers || jsonb_strip_nulls(jsonb_build_object(
			'response_address', properties -> 'reply_to',
			'request_id', coalesce(properties ->> 'correlation_id', id)));
	END IF;
	IF headers ?| '{traceparent,MT-Activity-Id}' THEN
		RETURN message_bus._take_headers(message, headers);
	END IF;
	message.user_id := headers ->> 'X-User-Id';
	message.tenant_id := headers ->> 'X-Tenant-Id';
	message.partition_key := headers ->> 'X-Partition-Key';
	message.schema_version := (headers ->> 'X-Schema-Version')::int;
	RETURN message;
END
$from_raw$;
COMMENT ON FUNCTION message_bus._from_raw(jsonb, jsonb) IS
'A bare JSON document as a message; its type is in a header, a property, the options or the routing key.';
