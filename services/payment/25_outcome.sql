-- What an outcome at the provider does to a payment, and what the saga hears of it.

CREATE FUNCTION ecommerce_payment._try_again(INOUT payment ecommerce_payment.payment, asked text,
	at_most interval)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $try_again$
BEGIN
	payment.operation := asked;
	payment.due_at := clock_timestamp()
		+ least(ecommerce_payment._retry_delay(payment.attempts), at_most);
	payment.attempts := payment.attempts + 1;
END
$try_again$;
COMMENT ON FUNCTION ecommerce_payment._try_again(ecommerce_payment.payment, text, interval) IS
'The payment with a call owed again after a pause that grows with the attempts.';

CREATE FUNCTION ecommerce_payment._conclude_charge(INOUT payment ecommerce_payment.payment,
	outcome jsonb, asked text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $conclude_charge$
BEGIN
	CASE outcome ->> 'result'
	WHEN 'captured' THEN
		payment.status := 'captured';
		payment.transaction_id := coalesce(outcome ->> 'transaction_id', payment.transaction_id);
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
	WHEN 'not_sent' THEN
		-- as if it had not been tried; it is tried until the provider is back
		IF asked = 'charge' THEN
			payment.charge_begun_at := NULL;
			payment.status := CASE WHEN payment.is_cancelled THEN 'voided' ELSE 'pending' END;
		END IF;
		IF asked <> 'charge' OR NOT payment.is_cancelled THEN
			payment := ecommerce_payment._try_again(payment, asked, interval '15 seconds');
		END IF;
	ELSE	-- unknown, pending: it may have happened
		IF asked = 'refund' OR payment.is_cancelled THEN
			payment := ecommerce_payment._try_again(payment, CASE asked WHEN 'refund' THEN 'refund'
				ELSE 'query' END, interval '5 minutes');
		ELSE
			payment.attempts := payment.attempts + 1;
		END IF;
		IF asked <> 'refund' THEN
			payment.status := 'unknown';
		END IF;
	END CASE;
END
$conclude_charge$;
COMMENT ON FUNCTION ecommerce_payment._conclude_charge(ecommerce_payment.payment, jsonb, text) IS
'The payment after an outcome of a charge or a query, see _conclude().';

CREATE FUNCTION ecommerce_payment._conclude(INOUT payment ecommerce_payment.payment, outcome jsonb)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $conclude$
DECLARE
	asked CONSTANT text := payment.operation;
BEGIN
	payment.operation := NULL;
	payment.lease_until := NULL;
	IF outcome ->> 'result' IN ('refunded', 'disputed') THEN
		payment.transaction_id := coalesce(outcome ->> 'transaction_id', payment.transaction_id);
		payment.processed_at := coalesce(payment.processed_at, clock_timestamp());
	END IF;
	CASE outcome ->> 'result'
	WHEN 'refunded' THEN
		payment.status := 'refunded';
		payment.refund_id := outcome ->> 'refund_id';
		payment.refunded_amount := payment.amount;
	WHEN 'refund_pending' THEN
		payment.refund_id := outcome ->> 'refund_id';
		payment := ecommerce_payment._try_again(payment, 'refund', interval '5 minutes');
	WHEN 'refund_failed' THEN
		payment.status := CASE payment.status WHEN 'refunded' THEN 'captured'
			ELSE payment.status END;
		payment.refunded_amount := 0;
		payment.refund_id := NULL;
		payment.refund_number := payment.refund_number + 1;
		payment.error_code := outcome ->> 'error_code';
		payment.is_retryable := coalesce((outcome ->> 'is_retryable')::boolean, false);
	WHEN 'disputed' THEN
		IF asked = 'refund' AND outcome ->> 'dispute_id' IS NULL THEN
			-- refused: the provider gives the same answer for the same key for ever
			payment.refund_number := payment.refund_number + 1;
		END IF;
		IF payment.dispute_status = 'won' AND outcome ->> 'dispute_id' IS NULL THEN
			-- an answer from before it was won: a webhook was faster
			payment := ecommerce_payment._try_again(payment, asked, interval '5 minutes');
		ELSE
			payment.status := 'disputed';
			payment.dispute_status := 'open';
		END IF;
	ELSE
		payment := ecommerce_payment._conclude_charge(payment, outcome, asked);
	END CASE;
END
$conclude$;
COMMENT ON FUNCTION ecommerce_payment._conclude(ecommerce_payment.payment, jsonb) IS
'The payment after an outcome {result: captured, declined, pending, unknown, not_found, not_sent, refunded, refund_pending, refund_failed, disputed; transaction_id, refund_id, dispute_id, error_code, reason, is_retryable}. What was not sent is tried until it is. A cancelled payment goes on: captured is refunded, unknown is queried until it is known.';

CREATE FUNCTION ecommerce_payment._tell(before ecommerce_payment.payment,
	after ecommerce_payment.payment, outcome jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $tell$
BEGIN
	IF outcome ->> 'result' = 'refund_failed' AND before.status = 'refunded'
		OR before.status = 'disputed' AND after.status = 'captured' AND NOT after.is_cancelled THEN
		PERFORM ecommerce_payment._publish('PaymentRegained', after.order_id, after.key,
			jsonb_build_object('moves', after.moves));
	ELSIF outcome ->> 'result' = 'refund_failed' THEN
		PERFORM ecommerce_payment._publish('PaymentRefundFailed', after.order_id, after.key,
			jsonb_build_object('is_retryable', after.is_retryable, 'error_code', after.error_code));
	ELSIF after.operation IS NOT NULL THEN
		NULL;	-- the saga hears of the end, not of the way there
	ELSIF before.is_asked AND before.operation = 'query'
		AND (after.is_cancelled OR after.status NOT IN ('refunded', 'disputed')) THEN
		PERFORM ecommerce_payment._report_status(after.order_id, after.key, after);
	ELSE
		PERFORM ecommerce_payment._reply_state(after);
	END IF;
END
$tell$;
COMMENT ON FUNCTION ecommerce_payment._tell(ecommerce_payment.payment, ecommerce_payment.payment,
	jsonb) IS
'Tells the saga what an outcome has made of a payment.';

CREATE FUNCTION ecommerce_payment._take_outcome(known ecommerce_payment.payment, outcome jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $take_outcome$
DECLARE
	after ecommerce_payment.payment := ecommerce_payment._conclude(known, outcome);
	early record;
BEGIN
	PERFORM ecommerce_payment._act_for(known);
	after.is_asked := known.is_asked AND known.operation IS DISTINCT FROM 'query';
	after.moves := known.moves + CASE WHEN after.status <> known.status THEN 1 ELSE 0 END;
	after.dispute_id := coalesce(outcome ->> 'dispute_id', after.dispute_id);
	after.dispute_status := coalesce(outcome ->> 'dispute_status', after.dispute_status);
	UPDATE ecommerce_payment.payment p
	SET status = after.status,
		transaction_id = after.transaction_id,
		refund_id = after.refund_id,
		refunded_amount = after.refunded_amount,
		refund_number = after.refund_number,
		moves = after.moves,
		dispute_id = after.dispute_id,
		dispute_status = after.dispute_status,
		error_code = after.error_code,
		error_reason = after.error_reason,
		is_retryable = after.is_retryable,
		processed_at = after.processed_at,
		operation = after.operation,
		due_at = after.due_at,
		attempts = after.attempts,
		lease_until = after.lease_until,
		charge_begun_at = after.charge_begun_at,
		not_at_provider = after.not_at_provider,
		is_asked = after.is_asked,
		is_cancelled = after.is_cancelled
	WHERE p.payment_id = known.payment_id;
	PERFORM ecommerce_payment._tell(known, after, outcome);

	IF known.transaction_id IS NULL AND after.transaction_id IS NOT NULL THEN
		FOR early IN
			DELETE FROM ecommerce_payment.early_webhook w
			WHERE w.transaction_id = after.transaction_id RETURNING w.event, w.received_at
		LOOP
			PERFORM ecommerce_payment._take_event(early.event);
		END LOOP;
	END IF;
END
$take_outcome$;
COMMENT ON FUNCTION ecommerce_payment._take_outcome(ecommerce_payment.payment, jsonb) IS
'Stores what the provider said about a locked payment and tells the saga; then what was said of its charge before the charge was known takes effect.';
