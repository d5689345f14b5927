-- Payments with what is owed to the provider, the simulated provider's own
-- books, and the webhooks heard.

CREATE TABLE ecommerce_payment.payment (
	payment_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	position bigint NOT NULL UNIQUE DEFAULT ecommerce.next_position('ecommerce_payment.payment'),
	key uuid NOT NULL UNIQUE,
	order_id uuid NOT NULL,
	customer_id uuid,
	status text NOT NULL CHECK (status IN ('pending', 'captured', 'declined', 'unknown', 'refunded',
		'voided', 'disputed')),
	amount numeric NOT NULL CHECK (amount >= 0),
	currency text NOT NULL,
	card_type text,
	last4_digits text,
	token text,
	transaction_id text,
	refund_id text,
	refunded_amount numeric NOT NULL DEFAULT 0,
	dispute_id text,
	dispute_status text CHECK (dispute_status IN ('open', 'won', 'lost')),
	error_code text,
	error_reason text,
	is_retryable boolean,
	processed_at timestamptz,
	charge_begun_at timestamptz,
	refund_number int NOT NULL DEFAULT 1,
	moves int NOT NULL DEFAULT 0,
	not_at_provider boolean NOT NULL DEFAULT false,
	is_asked boolean NOT NULL DEFAULT false,
	is_cancelled boolean NOT NULL DEFAULT false,
	cancel_reason text,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	CONSTRAINT captured_has_transaction CHECK (status NOT IN ('captured', 'refunded', 'disputed')
		OR transaction_id IS NOT NULL)
) WITH (fillfactor = 50);
CREATE INDEX payment_order ON ecommerce_payment.payment (order_id, created_at);
CREATE INDEX payment_customer ON ecommerce_payment.payment (customer_id, position)
	WHERE customer_id IS NOT NULL;
CREATE INDEX payment_transaction ON ecommerce_payment.payment (transaction_id)
	WHERE transaction_id IS NOT NULL;
-- A charge that was begun and has no outcome is asked about, never repeated.
SELECT ecommerce_payment._outside_work('ecommerce_payment.payment', 'payment_id',
	'{charge,query,refund}', $at_claim$
				operation = CASE WHEN w.operation = 'charge' AND w.charge_begun_at IS NOT NULL
					THEN 'query' ELSE w.operation END,
				charge_begun_at = coalesce(w.charge_begun_at,
					CASE w.operation WHEN 'charge' THEN clock_timestamp() END),
	$at_claim$);
DROP FUNCTION ecommerce_payment._outside_work(regclass, name, text[], text);
SELECT ecommerce_payment._for_whom('ecommerce_payment.payment');
DROP FUNCTION ecommerce_payment._for_whom(regclass);
COMMENT ON TABLE ecommerce_payment.payment IS
'Payments by step key, with the intent towards the provider: operation is what is owed there, committed before any call. charge_begun_at: a charge may have arrived since then. not_at_provider: the provider said it knows no such charge. is_asked: a QueryPaymentStatus waits for the answer. is_cancelled: whatever was captured is to be refunded. refunded_amount is what the provider has given back, whoever asked for it; refund_id beside status captured is a refund that is not through yet; refund_number counts refunds that have failed or were refused for good, each has an idempotency key of its own. moves counts changes of status, and tells the saga which of two is newer. disputed: the provider has taken the money back until the dispute is won or lost; a lost one is a refund. Of a card only type, last four digits and the provider''s token.';

CREATE TABLE ecommerce_payment.simulator_charge (
	key uuid PRIMARY KEY,
	order_id uuid NOT NULL,
	amount numeric NOT NULL,
	token text,
	status text NOT NULL CHECK (status IN ('captured', 'declined', 'refunded')),
	error_code text,
	is_retryable boolean,
	visible_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	refund_id text
);
CREATE INDEX simulator_charge_order ON ecommerce_payment.simulator_charge (order_id);
COMMENT ON TABLE ecommerce_payment.simulator_charge IS
'The books of the simulated provider: one row per charge it heard of. It commits on its own, as a provider outside would, so a daemon that dies after a charge finds it here.';

CREATE TABLE ecommerce_payment.webhook_event (
	event_id text PRIMARY KEY,
	event_type text NOT NULL,
	received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX webhook_event_age ON ecommerce_payment.webhook_event (received_at);
COMMENT ON TABLE ecommerce_payment.webhook_event IS
'Ids of webhooks that took effect, kept 30 days: a repeat does nothing.';

CREATE TABLE ecommerce_payment.early_webhook (
	event_id text PRIMARY KEY,
	transaction_id text NOT NULL,
	event jsonb NOT NULL,
	received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX early_webhook_transaction ON ecommerce_payment.early_webhook (transaction_id);
CREATE INDEX early_webhook_age ON ecommerce_payment.early_webhook (received_at);
COMMENT ON TABLE ecommerce_payment.early_webhook IS
'Refunds and disputes of charges that no payment is known to have yet; they take effect when one has. Kept 30 days: most are another shop''s on the same account.';

CREATE FUNCTION ecommerce_payment.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	PERFORM ecommerce.register_contracts();
	IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = 'payment') THEN
		PERFORM message_bus.create_endpoint('payment', breaker => 'default');
	END IF;
END
$install$;
COMMENT ON FUNCTION ecommerce_payment.install() IS
'Registers contracts and endpoint in this database; does nothing where they exist. Call once after CREATE EXTENSION.';
