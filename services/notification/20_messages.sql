-- Rendering, the handler of the endpoint notification, sending, and HTTP.

CREATE FUNCTION ecommerce_notification._escape_html(value text)
RETURNS text LANGUAGE sql IMMUTABLE
RETURN replace(replace(replace(replace(replace(value,
	'&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
COMMENT ON FUNCTION ecommerce_notification._escape_html(text) IS
'The text as HTML: & < > " and '' escaped.';

CREATE FUNCTION ecommerce_notification._render(template text, data jsonb, as_html boolean)
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
			THEN ecommerce_notification._escape_html(value)
			ELSE regexp_replace(value, '[[:cntrl:]]+', ' ', 'g') END;
		rest := substr(rest, at + length(name) + 3);
	END LOOP;
END
$render$;
COMMENT ON FUNCTION ecommerce_notification._render(text, jsonb, boolean) IS
'The template with each ${name} replaced by the text of that key, "" if absent; escaped for HTML, or without control characters for a header.';

CREATE FUNCTION ecommerce_notification._reply_state(known ecommerce_notification.notification)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_state$
BEGIN
	IF known.status = 'sent' THEN
		PERFORM ecommerce_notification._publish('NotificationSent', known.order_id, known.key,
			jsonb_build_object('template', known.template));
	ELSIF known.status = 'failed' THEN
		PERFORM ecommerce_notification._publish('NotificationFailed', known.order_id, known.key,
			jsonb_build_object('template', known.template, 'reason', known.reason));
	END IF;
END
$reply_state$;
COMMENT ON FUNCTION ecommerce_notification._reply_state(ecommerce_notification.notification) IS
'Publishes NotificationSent or NotificationFailed; nothing while it is pending.';

CREATE FUNCTION ecommerce_notification._text_for(name text, outcome text)
RETURNS ecommerce_notification.template LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $text_for$
BEGIN
	RETURN (SELECT t FROM ecommerce_notification.template t
		WHERE t.name = _text_for.name AND t.outcome IN (coalesce(_text_for.outcome, ''), '')
		ORDER BY t.outcome DESC LIMIT 1);
END
$text_for$;
COMMENT ON FUNCTION ecommerce_notification._text_for(text, text) IS
'The text of a template for an outcome, else the one for all others; NULL without any.';

CREATE FUNCTION ecommerce_notification._placeholders(text text)
RETURNS SETOF text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $placeholders$
BEGIN
	RETURN QUERY SELECT DISTINCT match[1]
	FROM regexp_matches(_placeholders.text, '\$\{([^}]*)\}', 'g') AS match;
END
$placeholders$;
COMMENT ON FUNCTION ecommerce_notification._placeholders(text) IS
'The names that stand as ${name} in a template.';

CREATE FUNCTION ecommerce_notification.send_notification(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $send_notification$
DECLARE
	shown jsonb;
	wanted ecommerce_notification.template;
	why text;
	known ecommerce_notification.notification;
BEGIN
	shown := coalesce(command -> 'data', '{}') || jsonb_build_object('order_id',
		command -> 'order_id', 'customer_id', command -> 'customer_id');
	wanted := ecommerce_notification._text_for(command ->> 'template', shown ->> 'outcome');
	why := CASE WHEN wanted IS NULL THEN 'unknown template' ELSE (
		SELECT format('the template needs %s', string_agg(name, ', ' ORDER BY name))
		FROM ecommerce_notification._placeholders(wanted.subject || wanted.body) AS name
		WHERE coalesce(shown ->> name, '') = '' HAVING count(*) > 0) END;
	INSERT INTO ecommerce_notification.notification AS n (
		key, order_id,
		customer_id, email,
		template, data,
		status,
		operation, reason)
	VALUES (
		(command ->> 'key')::uuid, (command ->> 'order_id')::uuid,
		(command ->> 'customer_id')::uuid, command ->> 'email',
		command ->> 'template', coalesce(command -> 'data', '{}'),
		CASE WHEN why IS NULL THEN 'pending' ELSE 'failed' END,
		CASE WHEN why IS NULL THEN 'send' END, why)
	ON CONFLICT (key) DO NOTHING
	RETURNING * INTO known;
	IF NOT FOUND THEN
		SELECT * INTO known FROM ecommerce_notification.notification n
			WHERE n.key = (command ->> 'key')::uuid;
	END IF;
	PERFORM ecommerce_notification._reply_state(known);
END
$send_notification$;
COMMENT ON FUNCTION ecommerce_notification.send_notification(jsonb) IS
'Handles SendNotification{order_id, customer_id, email, template, data, key}: records it; NotificationSent or NotificationFailed{template, reason} follows. A template that is unknown or has no value for one of its placeholders is not sent. A known key answers as before.';

CREATE FUNCTION ecommerce_notification._request(work ecommerce_notification.notification)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $request$
DECLARE
	chosen CONSTANT ecommerce_notification.template :=
		ecommerce_notification._text_for(work.template, work.data ->> 'outcome');
	document CONSTANT jsonb := work.data || jsonb_build_object('order_id', work.order_id,
		'customer_id', work.customer_id);
BEGIN
	RETURN jsonb_build_object(
		'key', work.key,
		'order_id', work.order_id,
		'customer_id', work.customer_id,
		'template', work.template,
		'email', work.email,
		'subject', ecommerce_notification._render(chosen.subject, document, false),
		'body', ecommerce_notification._render(chosen.body, document, true));
END
$request$;
COMMENT ON FUNCTION ecommerce_notification._request(ecommerce_notification.notification) IS
'The mail to be sent, rendered, see claim().';
COMMENT ON FUNCTION ecommerce_notification.claim(int, interval) IS
'Takes notifications that are due, rendered, under a lease. operation: send; request: {key, order_id, customer_id, template, email, subject, body}.';

CREATE FUNCTION ecommerce_notification._settle(known ecommerce_notification.notification,
	outcome jsonb, is_current boolean)
RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $settle$
DECLARE
	attempts_max CONSTANT int := 8;
	result CONSTANT text := outcome ->> 'result';
	-- a mail server that is away has refused nothing
	tried CONSTANT int := CASE result WHEN 'not_sent' THEN 0 ELSE 1 END;
	becomes CONSTANT text := CASE
		WHEN result = 'sent' THEN 'sent'
		WHEN result = 'refused' OR tried = 1 AND known.attempts + 1 >= attempts_max THEN 'failed'
		ELSE 'pending' END;
BEGIN
	IF NOT is_current THEN
		RETURN false;
	END IF;
	PERFORM ecommerce_notification._act_for(known);
	UPDATE ecommerce_notification.notification n
	SET status = becomes,
		operation = CASE becomes WHEN 'pending' THEN n.operation END,
		reason = outcome ->> 'reason',
		lease_until = NULL,
		attempts = n.attempts + tried,
		sent_at = CASE result WHEN 'sent' THEN clock_timestamp() END,
		due_at = clock_timestamp() + ecommerce_notification._retry_delay(n.attempts)
	WHERE n.notification_id = known.notification_id RETURNING * INTO known;
	PERFORM ecommerce_notification._reply_state(known);
	RETURN true;
END
$settle$;
COMMENT ON FUNCTION ecommerce_notification._settle(ecommerce_notification.notification, jsonb,
	boolean) IS
'What an outcome makes of a locked notification, see settle().';
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
	PERFORM ecommerce_notification._refuse_fields(ecommerce_notification._query_errors(
		jsonb_build_object('order_id', order_id), after, page));
	size := ecommerce_notification._page_size(page);
	-- before the snapshot that reads the rows: no earlier one can appear any more
	mark := ecommerce.position_mark('ecommerce_notification.notification');
	RETURN (
		SELECT ecommerce_notification._collection(jsonb_agg(jsonb_build_object(
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
