-- The provider: which calls are due, what came of them, and the simulated one.

CREATE FUNCTION ecommerce_payment._request(work ecommerce_payment.payment)
RETURNS jsonb LANGUAGE sql VOLATILE
RETURN jsonb_build_object(
	'key', (work).key,
	'order_id', (work).order_id,
	'amount', (work).amount,
	'minor_amount', ecommerce_payment._minor_amount((work).amount, (work).currency),
	'currency', (work).currency,
	'token', (work).token,
	'transaction_id', (work).transaction_id,
	'refund_id', (work).refund_id,
	'refund_number', (work).refund_number,
	'reason', (work).cancel_reason,
	'is_cancelled', (work).is_cancelled,
	'charge_age', floor(extract(epoch FROM clock_timestamp() - (work).charge_begun_at)));
COMMENT ON FUNCTION ecommerce_payment._request(ecommerce_payment.payment) IS
'What the provider is asked with, see claim().';
COMMENT ON FUNCTION ecommerce_payment.claim(int, interval) IS
'Takes calls that are due, under a lease. operation: charge, query, refund; request: {key, order_id, amount, minor_amount, currency, token, transaction_id, refund_id (of one that is not through yet), refund_number, reason, is_cancelled, charge_age in seconds}. The key is the idempotency key at the provider.';

CREATE FUNCTION ecommerce_payment._settle(known ecommerce_payment.payment, outcome jsonb,
	is_current boolean)
RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $settle$
BEGIN
	IF NOT is_current THEN
		-- somebody else asks by now, or a webhook was faster; yet money that was taken was taken
		IF NOT (outcome ->> 'result' IN ('captured', 'refunded') AND known.status = ANY (
			CASE outcome ->> 'result' WHEN 'captured'
				THEN ARRAY['pending', 'unknown', 'voided', 'declined']
				ELSE ARRAY['pending', 'unknown', 'captured', 'disputed'] END)) THEN
			RETURN false;
		END IF;
		known.is_cancelled := known.is_cancelled OR known.status = 'voided';
	END IF;
	PERFORM ecommerce_payment._take_outcome(known, outcome);
	RETURN true;
END
$settle$;
COMMENT ON FUNCTION ecommerce_payment._settle(ecommerce_payment.payment, jsonb, boolean) IS
'What an outcome makes of a locked payment, see settle().';
COMMENT ON FUNCTION ecommerce_payment.settle(uuid, bigint, jsonb) IS
'Records the outcome of a claimed call, see _conclude(); false when the claim is no longer the current one, unless money was moved after all: what was captured of a voided payment then goes back.';

CREATE FUNCTION ecommerce_payment.simulate(operation text, request jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $simulate$
DECLARE
	step CONSTANT uuid := request ->> 'key';
	token CONSTANT text := coalesce(request ->> 'token', 'tok_ok');
	charge ecommerce_payment.simulator_charge;
	failure text;
BEGIN
	SELECT * INTO charge FROM ecommerce_payment.simulator_charge c WHERE c.key = step FOR UPDATE;
	IF operation = 'charge' AND charge.key IS NULL THEN
		IF token = 'tok_lost' THEN
			RETURN '{"result": "unknown"}';		-- the request never arrived
		END IF;
		failure := CASE
			WHEN token = 'tok_declined' THEN 'card_declined'
			WHEN token = 'tok_retry_always' OR token = 'tok_retry_once' AND NOT EXISTS (
				SELECT FROM ecommerce_payment.simulator_charge c
					WHERE c.order_id = (request ->> 'order_id')::uuid)
				THEN 'issuer_unavailable' END;
		INSERT INTO ecommerce_payment.simulator_charge (
			key, order_id, amount, token,
			status,
			error_code, is_retryable,
			visible_at)
		VALUES (
			step, (request ->> 'order_id')::uuid, (request ->> 'amount')::numeric, token,
			CASE WHEN failure IS NULL THEN 'captured' ELSE 'declined' END,
			failure, failure = 'issuer_unavailable',
			clock_timestamp() + CASE token WHEN 'tok_unknown' THEN interval '1 second'
				ELSE interval '0' END)
		RETURNING * INTO charge;
		IF token = 'tok_unknown' THEN
			RETURN '{"result": "unknown"}';		-- arrived, but the answer did not
		END IF;
	END IF;
	CASE
	WHEN charge.key IS NULL THEN
		RETURN '{"result": "not_found"}';
	WHEN operation = 'refund' AND token = 'tok_refund_fails' THEN
		RETURN jsonb_build_object('result', 'refund_failed', 'error_code', 'refund_unavailable',
			'is_retryable', true);
	WHEN operation = 'refund' AND charge.status = 'declined' THEN
		RETURN jsonb_build_object('result', 'refund_failed', 'error_code', 'charge_not_captured',
			'is_retryable', false);
	WHEN operation = 'refund' THEN
		UPDATE ecommerce_payment.simulator_charge c
		SET status = 'refunded',
			refund_id = coalesce(c.refund_id, 'sim_re_' || left(md5(c.key::text), 16))
		WHERE c.key = step RETURNING * INTO charge;
		RETURN jsonb_build_object('result', 'refunded', 'refund_id', charge.refund_id);
	WHEN charge.visible_at > clock_timestamp() THEN
		RETURN '{"result": "pending"}';
	WHEN charge.status = 'declined' THEN
		RETURN jsonb_build_object('result', 'declined', 'error_code', charge.error_code,
			'reason', charge.error_code, 'is_retryable', charge.is_retryable);
	ELSE
		RETURN jsonb_build_object('result', 'captured',
			'transaction_id', 'sim_ch_' || left(md5(charge.key::text), 16));
	END CASE;
END
$simulate$;
COMMENT ON FUNCTION ecommerce_payment.simulate(text, jsonb) IS
'The simulated provider: outcome by token. tok_ok, tok_slow or any other: captured; tok_declined: card_declined; tok_retry_once: issuer_unavailable for the first charge of an order; tok_retry_always; tok_unknown: no answer, found captured a second later; tok_lost: never arrives; tok_refund_fails: captured, refunds fail. The same key gives the same answer.';

CREATE FUNCTION ecommerce_payment.list_payments(order_id text DEFAULT NULL, after text DEFAULT NULL,
	page text DEFAULT NULL, caller uuid DEFAULT NULL)
RETURNS ecommerce_payment.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $list_payments$
DECLARE
	size int;
	mark bigint;
BEGIN
	PERFORM ecommerce_payment._refuse_fields(ecommerce_payment._query_errors(
		jsonb_build_object('order_id', order_id), after, page));
	size := ecommerce_payment._page_size(page);
	-- before the snapshot that reads the rows: no earlier one can appear any more
	mark := ecommerce.position_mark('ecommerce_payment.payment');
	RETURN (
		SELECT ecommerce_payment._collection(jsonb_agg(jsonb_build_object(
			'payment_id', p.payment_id, 'order_id', p.order_id, 'key', p.key, 'status', p.status,
			'amount', p.amount, 'currency', p.currency, 'transaction_id', p.transaction_id,
			'refund_id', p.refund_id, 'refunded_amount', p.refunded_amount, 'dispute_status',
			p.dispute_status, 'error_code', p.error_code, 'card_type', p.card_type,
			'last4_digits', p.last4_digits)
			ORDER BY p.position), size, max(p.position), after)
		FROM (SELECT * FROM ecommerce_payment.payment p
			WHERE (list_payments.order_id IS NULL OR p.order_id = list_payments.order_id::uuid)
				AND (caller IS NULL OR p.customer_id = caller)
				AND p.position > coalesce(after::bigint, 0) AND p.position <= mark
			ORDER BY p.position LIMIT size) AS p);
END
$list_payments$;
COMMENT ON FUNCTION ecommerce_payment.list_payments(text, text, text, uuid) IS
'GET /payments, of the customer caller only unless that is NULL: in the order of their positions; after takes the cursor that next or cursor gave, and whoever follows it sees each payment once.';
