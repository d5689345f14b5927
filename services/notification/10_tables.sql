-- Notifications and their templates.

CREATE TABLE ecommerce_notification.template (
	name text NOT NULL,
	outcome text NOT NULL DEFAULT '',
	subject text NOT NULL,
	body text NOT NULL,
	PRIMARY KEY (name, outcome)
);
COMMENT ON TABLE ecommerce_notification.template IS
'Templates, with a text for each outcome that the notification''s data may name; '''' is for all others. ${name} stands for a value of the notification''s data, ${order_id} and ${customer_id} for its own. The body is HTML, values are escaped in it; in the subject line breaks and control characters are removed from values.';

CREATE TABLE ecommerce_notification.notification (
	notification_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	position bigint NOT NULL UNIQUE
		DEFAULT ecommerce.next_position('ecommerce_notification.notification'),
	key uuid NOT NULL UNIQUE,
	order_id uuid NOT NULL,
	customer_id uuid NOT NULL,
	email text,
	template text NOT NULL,
	data jsonb NOT NULL,
	status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
	reason text,
	sent_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);
CREATE INDEX notification_order ON ecommerce_notification.notification (order_id, created_at);
CREATE INDEX notification_customer
	ON ecommerce_notification.notification (customer_id, position);
SELECT ecommerce_notification._outside_work('ecommerce_notification.notification',
	'notification_id', '{send}');
DROP FUNCTION ecommerce_notification._outside_work(regclass, name, text[], text);
SELECT ecommerce_notification._for_whom('ecommerce_notification.notification');
DROP FUNCTION ecommerce_notification._for_whom(regclass);
COMMENT ON TABLE ecommerce_notification.notification IS
'Notifications by step key; a key is sent once. A daemon that dies between sending and recording sends once more: mail has no better promise. email is personal, see forget_customer().';

CREATE FUNCTION ecommerce_notification.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	PERFORM ecommerce.register_contracts();
	IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = 'notification') THEN
		PERFORM message_bus.create_endpoint('notification', breaker => 'default');
	END IF;
	INSERT INTO ecommerce_notification.template (name, outcome, subject, body) VALUES
		('order_received', '', 'We have received your order ${order_id}',
			'<p>Thank you for your order over ${total_amount} ${currency}.</p>'
			'<p>We will tell you when it is confirmed.</p>'),
		('order_confirmed', '', 'Your order is confirmed: ${confirmation_number}',
			'<p>Your order ${order_id} is confirmed and being packed.</p>'
			'<p>Its number is ${confirmation_number}.</p>'),
		('order_shipped', 'tracked', 'Your order ${order_id} is on its way',
			'<p>The parcel has left us. Tracking number: ${tracking_number}</p>'),
		('order_shipped', '', 'Your order ${order_id} is on its way',
			'<p>The parcel has left us.</p>'),
		('order_delivered', '', 'Your order ${order_id} was delivered',
			'<p>We hope you enjoy it.</p>'),
		('order_cancelled', '', 'Your order ${order_id} was cancelled',
			'<p>Your order was cancelled.</p>'),
		('order_cancelled', 'never_paid', 'Your order ${order_id} was cancelled',
			'<p>We are sorry: we could not carry out your order.</p>'
			'<p>Nothing was charged.</p>'),
		('order_cancelled', 'out_of_stock', 'Your order ${order_id} was cancelled',
			'<p>We are sorry: what you have ordered is sold out.</p>'
			'<p>Nothing was charged.</p>'),
		('order_cancelled', 'payment_refused', 'Your order ${order_id} was cancelled',
			'<p>Your payment over ${total_amount} ${currency} was refused. Please ask your bank, '
			'or order again with another way to pay.</p>'
			'<p>Nothing was charged.</p>'),
		('order_cancelled', 'on_request', 'Your order ${order_id} was cancelled',
			'<p>Your order was cancelled as you wished.</p>'
			'<p>Nothing was charged.</p>'),
		('order_cancelled', 'refunded', 'Your order ${order_id} was cancelled',
			'<p>Your order was cancelled. You get back what you have paid, '
			'${total_amount} ${currency}.</p>'
			'<p>The number of the refund is ${refund_id}.</p>'),
		('order_cancelled', 'returned', 'Your order ${order_id} was cancelled',
			'<p>Your order was cancelled, because its payment of ${total_amount} ${currency} '
			'had gone back to you.</p>'),
		('cancellation_rejected', '', 'Your order ${order_id} cannot be cancelled any more',
			'<p>You wished to cancel your order, but the parcel has left us already.</p>'),
		('payment_refunded', '', 'A refund for your order ${order_id}',
			'<p>A payment of ${total_amount} ${currency} for your order has arrived after it was '
			'cancelled. You get it back.</p>'
			'<p>The number of the refund is ${refund_id}.</p>')
	ON CONFLICT DO NOTHING;
END
$install$;
COMMENT ON FUNCTION ecommerce_notification.install() IS
'Registers contracts and endpoint, and the templates where they are absent. Call once after CREATE EXTENSION.';
