-- What a payment tells the saga, and how an outcome at the provider changes it.

CREATE FUNCTION ecommerce_payment.minor_amount(amount numeric, currency text)
RETURNS bigint LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $minor_amount$
DECLARE
	-- Stripe counts these in other units than ISO 4217 has them
	units CONSTANT int := CASE currency WHEN 'ISK' THEN 2 WHEN 'UGX' THEN 2 WHEN 'MGA' THEN 0
		ELSE ecommerce.minor_units(currency) END;
	minor CONSTANT numeric := amount * power(10::numeric, units);
BEGIN
	-- and takes of three decimals only those that end in 0
	RETURN CASE WHEN minor = trunc(minor) AND scale(trim_scale(amount))
		<= least(2, ecommerce.minor_units(currency)) THEN minor END;
END
$minor_amount$;
COMMENT ON FUNCTION ecommerce_payment.minor_amount(numeric, text) IS
'An amount as a whole number of the currency''s smallest units, as Stripe counts them: 12.50 USD is 1250, 12 JPY 12, 1.25 KWD 1250. NULL for an amount with more decimals than the currency has, and for what is no currency.';

CREATE FUNCTION ecommerce_payment.reply_state(known ecommerce_payment.payment)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_state$
BEGIN
	CASE known.status
	WHEN 'captured' THEN
		PERFORM ecommerce_payment.publish('PaymentProcessed', known.order_id, known.key,
			jsonb_build_object(
			'transaction_id', known.transaction_id, 'amount', known.amount, 'currency',
				known.currency,
			'processed_at', known.processed_at));
	WHEN 'declined' THEN
		PERFORM ecommerce_payment.publish('PaymentFailed', known.order_id, known.key,
			jsonb_build_object(
			'reason', known.error_reason, 'error_code', known.error_code, 'is_retryable',
				known.is_retryable));
	WHEN 'refunded' THEN
		PERFORM ecommerce_payment.publish('PaymentRefunded', known.order_id, known.key,
			jsonb_build_object(
			'refund_id', known.refund_id, 'amount', known.amount, 'reason',
				coalesce(known.cancel_reason, 'refund')));
	WHEN 'voided' THEN
		PERFORM ecommerce_payment.publish('PaymentVoided', known.order_id, known.key);
	ELSE
		NULL;	-- pending and unknown have nothing to tell yet
	END CASE;
END
$reply_state$;
COMMENT ON FUNCTION ecommerce_payment.reply_state(ecommerce_payment.payment) IS
'Publishes the event that stands for a payment''s final status; nothing while it is pending or unknown.';

CREATE FUNCTION ecommerce_payment.report_status(order_id uuid, key uuid,
	known ecommerce_payment.payment)
RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $report_status$
	SELECT ecommerce_payment.publish('PaymentStatusReported', order_id, key, CASE
		WHEN known.status IN ('captured', 'refunded') THEN jsonb_build_object('status', 'captured',
			'transaction_id', known.transaction_id, 'amount', known.amount)
		WHEN known.status = 'declined' THEN jsonb_build_object('status', 'declined', 'amount',
			known.amount,
			'error_code', known.error_code, 'is_retryable', known.is_retryable)
		WHEN known.status = 'voided' THEN jsonb_build_object('status', 'declined', 'amount',
			known.amount,
			'error_code', 'cancelled', 'is_retryable', false)
		WHEN known.status IS NULL OR known.not_at_provider THEN '{"status": "not_found"}'::jsonb
		ELSE '{"status": "pending"}'::jsonb END)
$report_status$;
COMMENT ON FUNCTION ecommerce_payment.report_status(uuid, uuid, ecommerce_payment.payment) IS
'Publishes PaymentStatusReported; a NULL payment is one never heard of: not_found.';

CREATE FUNCTION ecommerce_payment.retry_delay(attempts int)
RETURNS interval LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $retry_delay$
	SELECT least(interval '1 second' * power(2, least(attempts, 10)), interval '5 minutes')
$retry_delay$;
COMMENT ON FUNCTION ecommerce_payment.retry_delay(int) IS
'Time before the provider is asked again: 1, 2, 4, ... seconds, at most 5 minutes.';

CREATE FUNCTION ecommerce_payment.conclude(INOUT payment ecommerce_payment.payment, outcome jsonb)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $conclude$
DECLARE
	result CONSTANT text := outcome ->> 'result';
	asked CONSTANT text := payment.operation;
BEGIN
	payment.operation := NULL;
	payment.lease_until := NULL;
	CASE result
	WHEN 'captured' THEN
		payment.status := 'captured';
		payment.transaction_id := outcome ->> 'transaction_id';
		payment.processed_at := coalesce(payment.processed_at, clock_timestamp());
		payment.not_at_provider := false;
		payment.operation := CASE WHEN payment.is_cancelled THEN 'refund' END;
		payment.attempts := 0;
	WHEN 'declined' THEN
		payment.status := CASE WHEN payment.is_cancelled THEN 'voided' ELSE 'declined' END;
		payment.error_code := outcome ->> 'error_code';
		payment.error_reason := coalesce(outcome ->> 'reason', outcome ->> 'error_code',
			'declined');
		payment.is_retryable := coalesce((outcome ->> 'is_retryable')::boolean, false);
	WHEN 'not_found' THEN
		payment.status := CASE WHEN payment.is_cancelled THEN 'voided' ELSE 'unknown' END;
		payment.not_at_provider := true;
	WHEN 'refunded' THEN
		payment.status := 'refunded';
		payment.refund_id := outcome ->> 'refund_id';
	WHEN 'refund_failed' THEN
		payment.error_code := outcome ->> 'error_code';
		payment.is_retryable := coalesce((outcome ->> 'is_retryable')::boolean, false);
	ELSE	-- unknown, pending: it may have happened
		IF asked = 'refund' OR payment.is_cancelled THEN
			payment.operation := CASE asked WHEN 'refund' THEN 'refund' ELSE 'query' END;
			payment.due_at := clock_timestamp() + ecommerce_payment.retry_delay(payment.attempts);
		END IF;
		IF asked <> 'refund' THEN
			payment.status := 'unknown';
		END IF;
		payment.attempts := payment.attempts + 1;
	END CASE;
END
$conclude$;
COMMENT ON FUNCTION ecommerce_payment.conclude(ecommerce_payment.payment, jsonb) IS
'The payment after an outcome {result: captured, declined, pending, unknown, not_found, refunded, refund_failed; transaction_id, refund_id, error_code, reason, is_retryable}. A cancelled payment goes on: captured is refunded, unknown is queried until it is known.';

CREATE FUNCTION ecommerce_payment.take_outcome(known ecommerce_payment.payment, outcome jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $take_outcome$
DECLARE
	asked CONSTANT boolean := known.is_asked AND known.operation = 'query';
	after ecommerce_payment.payment := ecommerce_payment.conclude(known, outcome);
BEGIN
	PERFORM ecommerce.set_context(known.correlation_id, user_id => known.user_id,
		tenant_id => known.tenant_id,
		traceparent => known.traceparent);
	after.is_asked := known.is_asked AND NOT asked;
	UPDATE ecommerce_payment.payment p
	SET (status, transaction_id, refund_id, error_code, error_reason, is_retryable, processed_at,
		operation, due_at,
			attempts, lease_until, not_at_provider, is_asked)
		= (after.status, after.transaction_id, after.refund_id, after.error_code,
			after.error_reason, after.is_retryable,
			after.processed_at, after.operation, after.due_at, after.attempts, after.lease_until,
				after.not_at_provider,
			after.is_asked)
	WHERE p.payment_id = known.payment_id;

	IF outcome ->> 'result' = 'refund_failed' THEN
		PERFORM ecommerce_payment.publish('PaymentRefundFailed', after.order_id, after.key,
			jsonb_build_object('is_retryable', after.is_retryable, 'error_code', after.error_code));
	ELSIF after.is_cancelled AND after.operation IS NOT NULL THEN
		NULL;	-- the saga hears of the end, not of the way there
	ELSIF asked THEN
		PERFORM ecommerce_payment.report_status(after.order_id, after.key, after);
	ELSE
		PERFORM ecommerce_payment.reply_state(after);
	END IF;
END
$take_outcome$;
COMMENT ON FUNCTION ecommerce_payment.take_outcome(ecommerce_payment.payment, jsonb) IS
'Stores what the provider said about a locked payment and tells the saga.';
