-- Handlers of the endpoint payment. They record what is wanted; the provider is
-- called after the commit, see 40_provider.sql.

CREATE FUNCTION ecommerce_payment.process_payment(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $process_payment$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	late CONSTANT boolean := coalesce((command ->> 'not_after')::timestamptz < clock_timestamp(),
		false);
	method CONSTANT jsonb := coalesce(command -> 'payment_method', '{}');
	paid_in CONSTANT text := coalesce(command ->> 'currency', ecommerce.currency());
	-- what is refused at once
	no CONSTANT text := CASE WHEN late THEN 'expired'
		WHEN ecommerce_payment._minor_amount((command ->> 'amount')::numeric, paid_in) IS NULL
			THEN 'invalid_amount' END;
	known ecommerce_payment.payment;
BEGIN
	SELECT * INTO known FROM ecommerce_payment.payment p WHERE p.key = step FOR UPDATE;
	IF NOT FOUND THEN
		INSERT INTO ecommerce_payment.payment AS p (
			key, order_id, customer_id,
			amount, currency,
			card_type, last4_digits, token,
			status, operation,
			error_code, error_reason, is_retryable)
		VALUES (
			step, (command ->> 'order_id')::uuid, (command ->> 'customer_id')::uuid,
			(command ->> 'amount')::numeric, paid_in,
			method ->> 'type', method ->> 'last4_digits', method ->> 'token',
			CASE WHEN no IS NULL THEN 'pending' ELSE 'declined' END, CASE WHEN no IS NULL THEN 'charge' END,
			no, no, CASE WHEN no IS NOT NULL THEN false END)
		RETURNING * INTO known;
		PERFORM ecommerce_payment._reply_state(known);
	ELSIF known.status = 'voided' THEN
		PERFORM ecommerce_payment._publish('PaymentFailed', known.order_id, step,
			'{"reason": "cancelled", "error_code": "cancelled", "is_retryable": false}');
	ELSIF known.status IN ('refunded', 'disputed') AND known.is_cancelled THEN
		-- that it was captured is the answer to this command
		known.status := 'captured';
		PERFORM ecommerce_payment._reply_state(known);
	ELSIF known.status <> 'unknown' THEN
		PERFORM ecommerce_payment._reply_state(known);
	ELSIF known.not_at_provider AND known.operation IS NULL AND late THEN
		UPDATE ecommerce_payment.payment p
		SET status = 'declined', error_code = 'expired', error_reason = 'expired',
			is_retryable = false
		WHERE p.payment_id = known.payment_id RETURNING * INTO known;
		PERFORM ecommerce_payment._reply_state(known);
	ELSIF known.operation IS NULL THEN
		-- charged again, with the same key, only where the provider has never heard of it
		UPDATE ecommerce_payment.payment p
		SET operation = CASE WHEN known.not_at_provider THEN 'charge' ELSE 'query' END,
			charge_begun_at = CASE WHEN known.not_at_provider THEN NULL ELSE p.charge_begun_at END,
			not_at_provider = false,
			due_at = clock_timestamp(),
			attempts = 0,
			causation_id = (ecommerce.context()).causation_id
		WHERE p.payment_id = known.payment_id;
	END IF;
END
$process_payment$;
COMMENT ON FUNCTION ecommerce_payment.process_payment(jsonb) IS
'Handles ProcessPayment{order_id, customer_id, key, amount, currency, payment_method, not_after}: records the intent; the outcome follows as PaymentProcessed or PaymentFailed (error_code of the provider, cancelled, expired, invalid_amount). A known key is never charged twice.';

CREATE FUNCTION ecommerce_payment.query_payment_status(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $query_payment_status$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	known ecommerce_payment.payment;
BEGIN
	SELECT * INTO known FROM ecommerce_payment.payment p WHERE p.key = step FOR UPDATE;
	IF known.status IN ('refunded', 'disputed') AND NOT known.is_cancelled THEN
		PERFORM ecommerce_payment._reply_state(known);
		RETURN;
	ELSIF known.status IS DISTINCT FROM 'unknown' THEN
		PERFORM ecommerce_payment._report_status((command ->> 'order_id')::uuid, step, known);
		RETURN;
	END IF;
	UPDATE ecommerce_payment.payment p
	SET operation = coalesce(p.operation, 'query'),
		is_asked = true,
		attempts = 0,
		causation_id = (ecommerce.context()).causation_id,
		due_at = CASE WHEN p.operation IS NULL THEN clock_timestamp() ELSE p.due_at END
	WHERE p.payment_id = known.payment_id;
END
$query_payment_status$;
COMMENT ON FUNCTION ecommerce_payment.query_payment_status(jsonb) IS
'Handles QueryPaymentStatus{order_id, key}: replies PaymentStatusReported at once if the answer is known, else after asking the provider.';

CREATE FUNCTION ecommerce_payment.refund_payment(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $refund_payment$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	known ecommerce_payment.payment;
BEGIN
	SELECT * INTO known FROM ecommerce_payment.payment p WHERE p.key = step FOR UPDATE;
	IF NOT FOUND THEN
		-- a tombstone: a charge with this key that comes later is refused
		INSERT INTO ecommerce_payment.payment AS p (
			key, order_id,
			amount, currency,
			status, is_cancelled, cancel_reason)
		VALUES (
			step, (command ->> 'order_id')::uuid,
			(command ->> 'amount')::numeric, ecommerce.currency(),
			'voided', true, command ->> 'reason')
		RETURNING * INTO known;
		PERFORM ecommerce_payment._reply_state(known);
		RETURN;
	END IF;
	known.is_cancelled := true;
	known.cancel_reason := coalesce(known.cancel_reason, command ->> 'reason');
	CASE
	WHEN known.status = 'captured'
		-- known from a refusal alone, which may be over
		OR known.status = 'disputed' AND known.dispute_id IS NULL THEN
		known.operation := 'refund';
	WHEN known.status = 'declined' OR known.status = 'unknown' AND known.not_at_provider
		AND known.operation IS NULL
		OR known.status = 'pending' AND known.charge_begun_at IS NULL THEN
		-- nothing was or will be charged
		known.status := 'voided';
		known.operation := NULL;
	WHEN known.status = 'unknown' THEN
		known.operation := coalesce(known.operation, 'query');
	ELSE
		-- a charge is under way: its outcome is refunded; voided, refunded and disputed stay
		NULL;
	END CASE;
	UPDATE ecommerce_payment.payment p
	SET status = known.status,
		operation = known.operation,
		is_cancelled = true,
		cancel_reason = known.cancel_reason,
		attempts = 0,
		causation_id = (ecommerce.context()).causation_id,
		due_at = CASE WHEN p.lease_until IS NULL THEN clock_timestamp() ELSE p.due_at END
	WHERE p.payment_id = known.payment_id;
	IF known.operation IS NULL THEN
		PERFORM ecommerce_payment._reply_state(known);
	END IF;
END
$refund_payment$;
COMMENT ON FUNCTION ecommerce_payment.refund_payment(jsonb) IS
'Handles RefundPayment{order_id, key, amount, reason}: what was captured is refunded in full, what is unknown or running is resolved and then refunded, an unknown key is voided for good; what went back already was refunded. Replies PaymentRefunded, PaymentVoided or PaymentRefundFailed.';
