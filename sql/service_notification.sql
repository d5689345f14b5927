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
SELECT ecommerce_notification.render('a ${x} b ${y} c ${', '{"x": "<${y}>&\"''", "y": "z"}', true);
SELECT ecommerce_notification.render('a ${x} ${none}', '{"x": "1\r\nBcc: x"}', false);

SELECT notify(1, 'order_received', '{"total_amount": 12.50, "currency": "<b>"}');
SELECT deliver('sent');
SELECT notify(1, 'order_received');
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

-- An outcome that comes after the lease has passed on counts no more.
SELECT notify(5, 'order_shipped', '{"tracking_number": "T"}');
CREATE TEMP TABLE died AS SELECT * FROM ecommerce_notification.claim(1, '0 s');
SELECT deliver('sent');
SELECT ecommerce_notification.settle(work_id, fence, '{"result": "refused"}') FROM died;
SELECT said();

SELECT (body #> '{items,0}') - '{notification_id,sent_at}'::text[]
	FROM ecommerce_notification.list_notifications(id(901)::text);
SELECT outcome($$SELECT ecommerce_notification.list_notifications('x')$$);
RESET ROLE;
