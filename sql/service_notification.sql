-- The notification service's SQL: templates, escaping, sending with retries.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/service.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
CREATE EXTENSION ecommerce_notification;
SELECT ecommerce_notification.install(), ecommerce_notification.install();
CREATE FUNCTION notify(key int, template text,
	data jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
	SELECT ecommerce_notification.send_notification(jsonb_build_object('order_id', id(900 + key),
		'customer_id', id(800 + key), 'key', id(key), 'template', template, 'data', data))
$$;
CREATE FUNCTION deliver(result text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', c.request ->> 'subject', c.request ->> 'body',
		ecommerce_notification.settle(c.work_id, c.fence,
			jsonb_build_object('result', result, 'reason', 'because')))
	FROM ecommerce_notification.claim(10, '1 min') AS c
$$;
SET ROLE ecommerce_notification;

-- One pass, escaped: a value can be neither a tag nor a placeholder nor a header.
SELECT ecommerce_notification._render('a ${x} b ${y} c ${', '{"x": "<${y}>&\"''", "y": "z"}', true);
SELECT ecommerce_notification._render('a ${x} ${none}', '{"x": "1\r\nBcc: x"}', false);

SELECT notify(1, 'order_received', '{"total_amount": 12.50, "currency": "<b>"}');
SELECT deliver('sent');
SELECT notify(1, 'order_received');
SELECT deliver('sent');
SELECT said();

-- A text without a value for one of its placeholders is not sent.
SELECT notify(6, 'order_received', '{"currency": "USD"}'), notify(7, 'order_confirmed', '{"confirmation_number": ""}');
SELECT deliver('sent');
SELECT said();

-- Each outcome has a text of its own; what has none gets the one for all others.
SELECT notify(10, 'order_cancelled', '{"outcome": "never_paid"}'), notify(11, 'order_cancelled', '{"outcome": "refunded",
	"total_amount": 12.50, "currency": "USD", "refund_id": "re_1"}'), notify(12, 'order_cancelled', '{"outcome": "new"}');
SELECT deliver('sent');
SELECT said();

SELECT notify(2, 'unheard_of');
SELECT notify(3, 'order_confirmed', '{"confirmation_number": "CN-1"}');
SELECT deliver('refused');
SELECT said();

-- Tried eight times in all.
SELECT notify(4, 'order_delivered');
SELECT deliver('failed');
SELECT status, attempts, due_at > clock_timestamp() FROM ecommerce_notification.notification
	WHERE key = id(4);
SELECT deliver('failed');
UPDATE ecommerce_notification.notification SET due_at = '-infinity', attempts = 7 WHERE key = id(4);
SELECT deliver('failed');
SELECT said();

-- Nobody there is no refusal: tried until somebody is.
SELECT notify(8, 'order_delivered');
SELECT deliver('not_sent') FROM generate_series(1, 20);
SELECT status, attempts FROM ecommerce_notification.notification WHERE key = id(8);
UPDATE ecommerce_notification.notification SET due_at = '-infinity' WHERE key = id(8);
SELECT deliver('sent');
SELECT said();

-- An outcome that comes after the lease has passed on counts no more.
SELECT notify(5, 'order_shipped', '{"tracking_number": "T"}');
CREATE TEMP TABLE died AS SELECT * FROM ecommerce_notification.claim(1, '0 s');
SELECT deliver('sent');
SELECT ecommerce_notification.settle(work_id, fence, '{"result": "refused"}') FROM died;
SELECT said();

SELECT (body #> '{items,0}') - '{notification_id,sent_at}'::text[]
	FROM ecommerce_notification.list_notifications(id(901)::text);
SELECT outcome($$SELECT ecommerce_notification.list_notifications('x')$$);

-- Where customers are written to, until they are forgotten.
SELECT ecommerce_notification.send_notification(jsonb_build_object('order_id', id(913), 'customer_id', id(813),
	'key', id(13), 'template', 'order_delivered', 'email', 'ann@example.com'));
SELECT request ->> 'email', ecommerce_notification.settle(work_id, fence, '{"result": "sent"}')
FROM ecommerce_notification.claim(1, '1 min');
SELECT ecommerce_notification.forget_customer(id(813)), ecommerce_notification.forget_customer(id(813));
RESET ROLE;

-- Every placeholder of every text is a key of what the order saga sends for it, and what it
-- sends has a text.
CREATE VIEW saga_sends AS
WITH definition (d) AS (SELECT ecommerce.order_saga_definition()), used (send) AS (
	SELECT jsonb_path_query(d, 'strict $.** ? (@.command starts with "notify")') FROM definition)
SELECT DISTINCT coalesce(send #>> '{body,template}', command #>> '{body,template}') AS name,
	coalesce(send #>> '{body,data,outcome}', '') AS outcome,
	ARRAY(SELECT jsonb_object_keys(coalesce(command #> '{body,data}', '{}') || coalesce(send #> '{body,data}', '{}')))
		|| '{order_id,customer_id}' AS keys
FROM used, definition, LATERAL (SELECT d #> ARRAY['commands', send ->> 'command']) AS c (command);
SELECT name, outcome FROM saga_sends ORDER BY 1, 2;
SELECT s.name, s.outcome AS has_no_text FROM saga_sends s
LEFT JOIN ecommerce_notification.template t USING (name, outcome) WHERE t.name IS NULL;
SELECT t.name, t.outcome, missing FROM ecommerce_notification.template t
JOIN saga_sends s USING (name, outcome), ecommerce_notification._placeholders(t.subject || t.body) AS missing
WHERE missing <> ALL (s.keys);
SELECT t.name, t.outcome AS nobody_sends FROM ecommerce_notification.template t
LEFT JOIN saga_sends s USING (name, outcome) WHERE s.name IS NULL;
