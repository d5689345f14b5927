-- What a payment tells the saga.

CREATE FUNCTION ecommerce_payment._minor_amount(amount numeric, currency text)
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
COMMENT ON FUNCTION ecommerce_payment._minor_amount(numeric, text) IS
'An amount as a whole number of the currency''s smallest units, as Stripe counts them: 12.50 USD is 1250, 12 JPY 12, 1.25 KWD 1250. NULL for an amount with more decimals than the currency has, and for what is no currency.';

CREATE FUNCTION ecommerce_payment._reply_state(known ecommerce_payment.payment)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_state$
BEGIN
	CASE known.status
	WHEN 'captured' THEN
		PERFORM ecommerce_payment._publish('PaymentProcessed', known.order_id, known.key,
			jsonb_build_object(
				'transaction_id', known.transaction_id,
				'amount', known.amount,
				'currency', known.currency,
				'processed_at', known.processed_at));
	WHEN 'declined' THEN
		PERFORM ecommerce_payment._publish('PaymentFailed', known.order_id, known.key,
			jsonb_build_object(
				'reason', known.error_reason,
				'error_code', known.error_code,
				'is_retryable', known.is_retryable));
	WHEN 'refunded' THEN
		IF known.is_cancelled THEN
			PERFORM ecommerce_payment._publish('PaymentRefunded', known.order_id, known.key,
				jsonb_build_object(
					'refund_id', known.refund_id,
					'amount', known.amount,
					'reason', coalesce(known.cancel_reason, 'refund')));
		ELSE	-- nobody has asked for it here
			PERFORM ecommerce_payment._publish('PaymentReturned', known.order_id, known.key,
				jsonb_build_object(
					'refund_id', known.refund_id,
					'amount', known.amount,
					'moves', known.moves,
					'reason', CASE known.dispute_status WHEN 'lost' THEN 'dispute' ELSE 'refund' END));
		END IF;
	WHEN 'disputed' THEN
		IF known.is_cancelled THEN	-- the provider refunds nothing as long as it lasts
			PERFORM ecommerce_payment._publish('PaymentRefundFailed', known.order_id, known.key,
				'{"is_retryable": false, "error_code": "charge_disputed"}');
		ELSE
			PERFORM ecommerce_payment._publish('PaymentReturned', known.order_id, known.key,
				jsonb_build_object(
					'amount', known.amount,
					'moves', known.moves,
					'reason', 'dispute'));
		END IF;
	WHEN 'voided' THEN
		PERFORM ecommerce_payment._publish('PaymentVoided', known.order_id, known.key);
	ELSE
		NULL;	-- pending and unknown have nothing to tell yet
	END CASE;
END
$reply_state$;
COMMENT ON FUNCTION ecommerce_payment._reply_state(ecommerce_payment.payment) IS
'Publishes the event that stands for a payment''s status; nothing while it is pending or unknown. Money that went back is PaymentRefunded when that was asked for, else PaymentReturned.';

CREATE FUNCTION ecommerce_payment._report_status(order_id uuid, key uuid,
	known ecommerce_payment.payment)
RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $report_status$
	SELECT ecommerce_payment._publish('PaymentStatusReported', order_id, key, CASE
		WHEN known.status IN ('captured', 'refunded', 'disputed') THEN jsonb_build_object(
			'status', 'captured',
			'transaction_id', known.transaction_id,
			'amount', known.amount)
		WHEN known.status = 'declined' THEN jsonb_build_object(
			'status', 'declined',
			'amount', known.amount,
			'error_code', known.error_code,
			'is_retryable', known.is_retryable)
		WHEN known.status = 'voided' THEN jsonb_build_object(
			'status', 'declined',
			'amount', known.amount,
			'error_code', 'cancelled',
			'is_retryable', false)
		WHEN known.status IS NULL OR known.not_at_provider THEN '{"status": "not_found"}'::jsonb
		WHEN known.status = 'pending' AND known.operation = 'charge'
			AND known.charge_begun_at IS NULL THEN '{"status": "waiting"}'
		ELSE '{"status": "pending"}'::jsonb END)
$report_status$;
COMMENT ON FUNCTION ecommerce_payment._report_status(uuid, uuid, ecommerce_payment.payment) IS
'Publishes PaymentStatusReported; a NULL payment is one never heard of: not_found. waiting: nothing has been sent to the provider yet, and will be.';
