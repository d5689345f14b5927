-- Rendering, the handler of the endpoint notification, sending, and HTTP.

CREATE FUNCTION ecommerce_notification.escape_html(value text)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $escape_html$
BEGIN
	RETURN replace(replace(replace(replace(replace(value,
		'&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
END
$escape_html$;
COMMENT ON FUNCTION ecommerce_notification.escape_html(text) IS
'The text as HTML: & < > " and '' escaped.';

CREATE FUNCTION ecommerce_notification.render(template text, data jsonb, as_html boolean)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $render$
DECLARE
	result text := '';
	rest text := template;
	name text;
	value text;
	at int;
BEGIN
	-- one pass from left to right: a value that looks like a placeholder stays what it is
	LOOP
		at := strpos(rest, '${');
		IF at = 0 OR strpos(substr(rest, at), '}') = 0 THEN
			RETURN result || rest;
		END IF;
		name := substr(rest, at + 2, strpos(substr(rest, at), '}') - 3);
		value := coalesce(data ->> name, '');
		result := result || left(rest, at - 1) || CASE WHEN as_html
			THEN ecommerce_notification.escape_html(value)
			ELSE regexp_replace(value, '[[:cntrl:]]+', ' ', 'g') END;
		rest := substr(rest, at + length(name) + 3);
	END LOOP;
END
$render$;
COMMENT ON FUNCTION ecommerce_notification.render(text, jsonb, boolean) IS
'The template with each ${name} replaced by the text of that key, "" if absent; escaped for HTML, or without control characters for a header.';

CREATE FUNCTION ecommerce_notification.reply_state(known ecommerce_notification.notification)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_state$
BEGIN
	IF known.status = 'sent' THEN
		PERFORM ecommerce_notification.publish('NotificationSent', known.order_id, known.key,
			jsonb_build_object('template', known.template));
	ELSIF known.status = 'failed' THEN
		PERFORM ecommerce_notification.publish('NotificationFailed', known.order_id, known.key,
			jsonb_build_object('template', known.template, 'reason', known.reason));
	END IF;
END
$reply_state$;
COMMENT ON FUNCTION ecommerce_notification.reply_state(ecommerce_notification.notification) IS
'Publishes NotificationSent or NotificationFailed; nothing while it is pending.';

CREATE FUNCTION ecommerce_notification.text_for(name text, outcome text)
RETURNS ecommerce_notification.template LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $text_for$
BEGIN
	RETURN (SELECT t FROM ecommerce_notification.template t
		WHERE t.name = text_for.name AND t.outcome IN (coalesce(text_for.outcome, ''), '')
		ORDER BY t.outcome DESC LIMIT 1);
END
$text_for$;
COMMENT ON FUNCTION ecommerce_notification.text_for(text, text) IS
'The text of a template for an outcome, else the one for all others; NULL without any.';

CREATE FUNCTION ecommerce_notification.placeholders(text text)
RETURNS SETOF text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $placeholders$
	SELECT DISTINCT found[1] FROM regexp_matches(text, '\$\{([^}]*)\}', 'g') AS found
$placeholders$;
COMMENT ON FUNCTION ecommerce_notification.placeholders(text) IS
'The names that stand as ${name} in a template.';

CREATE FUNCTION ecommerce_notification.send_notification(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $send_notification$
DECLARE
	context CONSTANT record := ecommerce.context();
	shown jsonb;
	wanted ecommerce_notification.template;
	why text;
	known ecommerce_notification.notification;
BEGIN
	shown := coalesce(command -> 'data', '{}') || jsonb_build_object('order_id',
		command -> 'order_id', 'customer_id', command -> 'customer_id');
	wanted := ecommerce_notification.text_for(command ->> 'template', shown ->> 'outcome');
	why := CASE WHEN wanted IS NULL THEN 'unknown template' ELSE (
		SELECT format('the template needs %s', string_agg(name, ', ' ORDER BY name))
		FROM ecommerce_notification.placeholders(wanted.subject || wanted.body) AS name
		WHERE coalesce(shown ->> name, '') = '' HAVING count(*) > 0) END;
	INSERT INTO ecommerce_notification.notification AS n (key, order_id, customer_id, email,
		template, data, status, reason, correlation_id, user_id, tenant_id, traceparent)
	VALUES ((command ->> 'key')::uuid, (command ->> 'order_id')::uuid,
		(command ->> 'customer_id')::uuid, command ->> 'email', command ->> 'template',
		coalesce(command -> 'data', '{}'), CASE WHEN why IS NULL THEN 'pending' ELSE 'failed' END,
		why, context.correlation_id, context.user_id, context.tenant_id, context.traceparent)
	ON CONFLICT (key) DO NOTHING;
	SELECT * INTO known FROM ecommerce_notification.notification n
		WHERE n.key = (command ->> 'key')::uuid;
	PERFORM ecommerce_notification.reply_state(known);
END
$send_notification$;
COMMENT ON FUNCTION ecommerce_notification.send_notification(jsonb) IS
'Handles SendNotification{order_id, customer_id, email, template, data, key}: records it; NotificationSent or NotificationFailed{template, reason} follows. A template that is unknown or has no value for one of its placeholders is not sent. A known key answers as before.';

CREATE FUNCTION ecommerce_notification.claim(max_count int, lease interval,
	OUT work_id uuid, OUT fence bigint, OUT operation text, OUT request jsonb,
		OUT correlation_id uuid, OUT traceparent text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
-- a LIMIT that is known makes a plan look better than it is worth making
SET plan_cache_mode = force_generic_plan
AS $claim$
BEGIN
	RETURN QUERY
	WITH due AS (
		SELECT n.notification_id, n.template, n.data ->> 'outcome' AS outcome,
			n.data || jsonb_build_object('order_id', n.order_id, 'customer_id',
				n.customer_id) AS document
		FROM ecommerce_notification.notification n
		WHERE n.status = 'pending' AND n.due_at <= clock_timestamp()
			AND (n.lease_until IS NULL OR n.lease_until <= clock_timestamp())
		ORDER BY n.due_at LIMIT max_count
		FOR UPDATE SKIP LOCKED), rendered AS (
		SELECT due.notification_id, due.document, t.subject, t.body
		FROM due CROSS JOIN LATERAL ecommerce_notification.text_for(due.template, due.outcome) AS t)
	UPDATE ecommerce_notification.notification n
	SET lease_until = clock_timestamp() + lease, fence = n.fence + 1
	FROM rendered
	WHERE n.notification_id = rendered.notification_id
	RETURNING n.notification_id, n.fence, 'send'::text, jsonb_build_object('key', n.key, 'order_id',
		n.order_id,
		'customer_id', n.customer_id, 'template', n.template, 'email', n.email,
		'subject', ecommerce_notification.render(rendered.subject, rendered.document, false),
		'body', ecommerce_notification.render(rendered.body, rendered.document, true)), n.correlation_id,
			n.traceparent;
END
$claim$;
COMMENT ON FUNCTION ecommerce_notification.claim(int, interval) IS
'Takes notifications that are due, rendered, under a lease. operation: send; request: {key, order_id, customer_id, template, email, subject, body}.';

CREATE FUNCTION ecommerce_notification.settle(work_id uuid, fence bigint, outcome jsonb)
RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $settle$
DECLARE
	known ecommerce_notification.notification;
	attempts_max CONSTANT int := 8;
BEGIN
	SELECT * INTO known FROM ecommerce_notification.notification n
		WHERE n.notification_id = settle.work_id FOR UPDATE;
	IF NOT FOUND OR known.fence <> settle.fence OR known.status <> 'pending' THEN
		RETURN false;
	END IF;
	PERFORM ecommerce.set_context(known.correlation_id, user_id => known.user_id,
		tenant_id => known.tenant_id,
		traceparent => known.traceparent);
	UPDATE ecommerce_notification.notification n
	SET status = CASE WHEN outcome ->> 'result' = 'sent' THEN 'sent'
			WHEN outcome ->> 'result' = 'refused' OR n.attempts + 1 >= attempts_max
				AND outcome ->> 'result' <> 'not_sent' THEN 'failed'
				ELSE 'pending' END,
		reason = outcome ->> 'reason', lease_until = NULL,
		-- a mail server that is away has refused nothing
		attempts = n.attempts + CASE outcome ->> 'result' WHEN 'not_sent' THEN 0 ELSE 1 END,
		sent_at = CASE WHEN outcome ->> 'result' = 'sent' THEN clock_timestamp() END,
		due_at = clock_timestamp() + least(interval '1 second' * power(2, n.attempts),
			interval '5 minutes')
	WHERE n.notification_id = known.notification_id RETURNING * INTO known;
	PERFORM ecommerce_notification.reply_state(known);
	RETURN true;
END
$settle$;
COMMENT ON FUNCTION ecommerce_notification.settle(uuid, bigint, jsonb) IS
'Records how sending went: {result: sent, refused (for good), failed (tried again, 8 times in all), not_sent (nobody there: tried until somebody is), reason}; false when the claim is no longer the current one.';

CREATE FUNCTION ecommerce_notification.forget_customer(customer_id uuid)
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_customer$
	WITH forgotten AS (
		UPDATE ecommerce_notification.notification n SET email = NULL
		WHERE n.customer_id = forget_customer.customer_id AND n.email IS NOT NULL
			AND n.status <> 'pending'
		RETURNING 1)
	SELECT count(*)::int FROM forgotten
$forget_customer$;
COMMENT ON FUNCTION ecommerce_notification.forget_customer(uuid) IS
'Forgets the customer''s e-mail address in what was sent already; the number of notifications that had it. The order saga''s data has it too, as long as it keeps the order.';

CREATE FUNCTION ecommerce_notification.list_notifications(order_id text DEFAULT NULL,
	after text DEFAULT NULL, page text DEFAULT NULL, caller uuid DEFAULT NULL)
RETURNS ecommerce_notification.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $list_notifications$
DECLARE
	size int;
	mark bigint;
BEGIN
	PERFORM ecommerce_notification.refuse_fields(ecommerce_notification.query_errors(
		jsonb_build_object('order_id', order_id), after, page));
	size := ecommerce_notification.page_size(page);
	-- before the snapshot that reads the rows: no earlier one can appear any more
	mark := ecommerce.position_mark('ecommerce_notification.notification');
	RETURN (
		SELECT ecommerce_notification.collection(jsonb_agg(jsonb_build_object(
			'notification_id', n.notification_id, 'order_id', n.order_id, 'template', n.template,
			'status', n.status, 'sent_at', n.sent_at) ORDER BY n.position), size, max(n.position),
			after)
		FROM (SELECT * FROM ecommerce_notification.notification n
			WHERE (list_notifications.order_id IS NULL
					OR n.order_id = list_notifications.order_id::uuid)
				AND (caller IS NULL OR n.customer_id = caller)
				AND n.position > coalesce(after::bigint, 0) AND n.position <= mark
			ORDER BY n.position LIMIT size) AS n);
END
$list_notifications$;
COMMENT ON FUNCTION ecommerce_notification.list_notifications(text, text, text, uuid) IS
'GET /notifications, of the customer caller only unless that is NULL: in the order of their positions; after takes the cursor that next or cursor gave, and whoever follows it sees each notification once.';
