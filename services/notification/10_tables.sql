-- Notifications and their templates.

CREATE TABLE ecommerce_notification.template (
	name text PRIMARY KEY,
	subject text NOT NULL,
	body text NOT NULL
);
COMMENT ON TABLE ecommerce_notification.template IS
'Templates: ${name} stands for a value of the notification''s data, ${order_id} and ${customer_id} for its own. The body is HTML, values are escaped in it; in the subject line breaks and control characters are removed from values.';

CREATE TABLE ecommerce_notification.notification (
	notification_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	key uuid NOT NULL UNIQUE,
	order_id uuid NOT NULL,
	customer_id uuid NOT NULL,
	template text NOT NULL,
	data jsonb NOT NULL,
	status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
	reason text,
	sent_at timestamptz,
	due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	attempts int NOT NULL DEFAULT 0,
	fence bigint NOT NULL DEFAULT 0,
	lease_until timestamptz,
	correlation_id uuid,
	user_id text,
	tenant_id text,
	traceparent text,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);
CREATE INDEX notification_order ON ecommerce_notification.notification (order_id, created_at);
CREATE INDEX notification_owed ON ecommerce_notification.notification (due_at)
	WHERE status = 'pending';
COMMENT ON TABLE ecommerce_notification.notification IS
'Notifications by step key; a key is sent once. A daemon that dies between sending and recording sends once more: mail has no better promise.';

CREATE FUNCTION ecommerce_notification.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	PERFORM ecommerce.register_contracts();
	IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = 'notification') THEN
		PERFORM message_bus.create_endpoint('notification', breaker => 'default');
	END IF;
	INSERT INTO ecommerce_notification.template (name, subject, body) VALUES
		('order_received', 'We have received your order ${order_id}',
			'<p>Thank you for your order over ${total_amount} ${currency}.</p>'
			'<p>We will tell you when it is confirmed.</p>'),
		('order_confirmed', 'Your order is confirmed: ${confirmation_number}',
			'<p>Your order ${order_id} is paid and being packed.</p>'
			'<p>Its number is ${confirmation_number}.</p>'),
		('order_shipped', 'Your order ${order_id} is on its way',
			'<p>The parcel has left us. Tracking number: ${tracking_number}</p>'),
		('order_delivered', 'Your order ${order_id} was delivered', '<p>We hope you enjoy it.</p>'),
		('order_cancelled', 'Your order ${order_id} was cancelled',
			'<p>Your order was cancelled: ${reason}.</p>'
			'<p>What you have paid goes back to you. Refund: ${refund_id}</p>')
	ON CONFLICT DO NOTHING;
END
$install$;
COMMENT ON FUNCTION ecommerce_notification.install() IS
'Registers contracts and endpoint, and the five templates where they are absent. Call once after CREATE EXTENSION.';
