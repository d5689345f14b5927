-- Webhooks: what the provider tells of its own accord, in any order and more than once.

CREATE FUNCTION ecommerce_payment._is_whole(charge jsonb, known ecommerce_payment.payment)
RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_whole$
	SELECT coalesce(charge -> 'amount' = to_jsonb(ecommerce_payment._minor_amount(known.amount,
			known.currency)), charge -> 'amount' IS NULL)
		AND lower(coalesce(charge ->> 'currency', known.currency)) = lower(known.currency)
$is_whole$;
COMMENT ON FUNCTION ecommerce_payment._is_whole(jsonb, ecommerce_payment.payment) IS
'Whether what the provider says of a charge, {amount in smallest units, currency}, is the payment''s amount; what it does not say is taken as right.';

CREATE FUNCTION ecommerce_payment._charge_outcome(type text, charge jsonb,
	known ecommerce_payment.payment)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $charge_outcome$
DECLARE
	refund CONSTANT jsonb := charge #> '{refunds,data,0}';
	-- an authorization is no money; one that was given up is called refunded as well
	is_money CONSTANT boolean := coalesce(charge -> 'captured', 'true') <> 'false';
	-- false: only a part went back
	is_refunded CONSTANT boolean := is_money AND CASE type WHEN 'charge.refunded'
		THEN coalesce(charge -> 'refunded', 'true') <> 'false'
		ELSE coalesce(charge -> 'refunded', 'false') = 'true' END;
BEGIN
	IF is_refunded AND refund ->> 'status' IN ('pending', 'requires_action') THEN
		RETURN CASE WHEN known.status = 'captured' AND known.is_cancelled THEN jsonb_build_object(
			'result', 'refund_pending', 'refund_id', refund -> 'id') END;
	ELSIF is_refunded AND coalesce(refund ->> 'status', '') NOT IN ('failed', 'canceled') THEN
		RETURN CASE WHEN known.status <> 'refunded' THEN jsonb_build_object('result', 'refunded',
			'transaction_id', charge -> 'id', 'refund_id', coalesce(refund -> 'id',
				charge -> 'id')) END;
	ELSIF NOT is_money OR type NOT IN ('charge.succeeded', 'charge.captured', 'charge.failed')
		OR known.status NOT IN ('pending', 'unknown', 'voided', 'declined') THEN
		RETURN NULL;
	ELSIF NOT ecommerce_payment._is_whole(charge, known) AND known.status <> 'voided' THEN
		-- not what was asked for; what was voided goes back whatever it is
		RAISE WARNING 'the provider tells of another amount than that of payment "%"', known.key;
		RETURN NULL;
	ELSIF type = 'charge.failed' THEN
		RETURN CASE WHEN known.status IN ('pending', 'unknown') THEN jsonb_build_object(
			'result', 'declined', 'error_code', charge -> 'failure_code', 'reason',
			charge -> 'failure_message') END;
	END IF;
	RETURN jsonb_build_object('result', 'captured', 'transaction_id', charge -> 'id');
END
$charge_outcome$;
COMMENT ON FUNCTION ecommerce_payment._charge_outcome(text, jsonb, ecommerce_payment.payment) IS
'What an event about a charge means for the payment, as _conclude() takes it; NULL: nothing, as an authorization, another amount, or a part of a refund.';

CREATE FUNCTION ecommerce_payment._refund_outcome(refund jsonb, known ecommerce_payment.payment)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $refund_outcome$
BEGIN
	CASE
	WHEN refund ->> 'status' = 'succeeded' AND known.status <> 'refunded'
		AND ecommerce_payment._is_whole(refund, known) THEN
		RETURN jsonb_build_object('result', 'refunded', 'transaction_id', refund -> 'charge',
			'refund_id', refund -> 'id');
	WHEN refund ->> 'status' IN ('failed', 'canceled') AND known.refund_id = refund ->> 'id' THEN
		RETURN jsonb_build_object('result', 'refund_failed', 'error_code',
			coalesce(refund -> 'failure_reason', '"refund_failed"'), 'is_retryable', false);
	WHEN refund ->> 'status' IN ('pending', 'requires_action') AND known.status = 'captured'
		AND known.is_cancelled THEN
		RETURN jsonb_build_object('result', 'refund_pending', 'refund_id', refund -> 'id');
	ELSE
		RETURN NULL;
	END CASE;
END
$refund_outcome$;
COMMENT ON FUNCTION ecommerce_payment._refund_outcome(jsonb, ecommerce_payment.payment) IS
'What a refund {id, charge, amount, currency, status, failure_reason} means for the payment; one that succeeded can fail later.';

CREATE FUNCTION ecommerce_payment._dispute_outcome(type text, dispute jsonb,
	known ecommerce_payment.payment)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $dispute_outcome$
DECLARE
	-- an inquiry ("warning_...") takes no money
	status CONSTANT text := CASE
		WHEN dispute ->> 'status' IN ('won', 'lost') THEN dispute ->> 'status'
		WHEN dispute ->> 'status' LIKE 'warning%' THEN NULL
		WHEN type = 'charge.dispute.funds_reinstated' THEN 'won'
		ELSE 'open' END;
BEGIN
	IF known.dispute_id = dispute ->> 'id' AND known.dispute_status IN ('won', 'lost')
		OR known.status = 'refunded' OR known.status = 'disputed' AND status = 'open' THEN
		RETURN NULL;	-- it is over, or known
	END IF;
	RETURN CASE status
		WHEN 'open' THEN jsonb_build_object('result', 'disputed')
		WHEN 'won' THEN jsonb_build_object('result', 'captured')
		WHEN 'lost' THEN jsonb_build_object('result', 'refunded', 'refund_id', dispute -> 'id')
		END || jsonb_build_object('transaction_id', dispute -> 'charge', 'dispute_id',
			dispute -> 'id', 'dispute_status', status);
END
$dispute_outcome$;
COMMENT ON FUNCTION ecommerce_payment._dispute_outcome(text, jsonb, ecommerce_payment.payment) IS
'What a dispute {id, charge, status} means for the payment: the money is gone until it is won; NULL: nothing.';

CREATE FUNCTION ecommerce_payment._take_event(event jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $take_event$
DECLARE
	type CONSTANT text := event ->> 'type';
	object CONSTANT jsonb := event #> '{data,object}';
	charge CONSTANT text := CASE WHEN type ~ 'refund\.|^charge\.dispute\.'
		THEN object ->> 'charge' ELSE object ->> 'id' END;
	known ecommerce_payment.payment;
	outcome jsonb;
BEGIN
	SELECT * INTO known FROM ecommerce_payment.payment p
	WHERE p.key = ecommerce_payment._as_uuid(object #>> '{metadata,key}') FOR UPDATE;
	IF NOT FOUND THEN
		SELECT * INTO known FROM ecommerce_payment.payment p
		WHERE p.transaction_id = charge ORDER BY p.created_at LIMIT 1 FOR UPDATE;
	END IF;
	IF NOT FOUND AND type ~ 'refund|^charge\.dispute\.' AND charge <> '' THEN
		INSERT INTO ecommerce_payment.early_webhook (event_id, transaction_id, event)
			VALUES (event ->> 'id', charge, event)
		ON CONFLICT DO NOTHING;
	END IF;
	IF known.key IS NULL THEN
		RETURN;		-- not one of ours, or not yet
	END IF;
	outcome := CASE
		WHEN type LIKE 'charge.dispute.%' THEN ecommerce_payment._dispute_outcome(type, object,
			known)
		WHEN type ~ '^(charge\.)?refund\.' THEN ecommerce_payment._refund_outcome(object, known)
		WHEN type LIKE 'charge.%' THEN ecommerce_payment._charge_outcome(type, object, known) END;
	IF outcome IS NOT NULL THEN
		-- captured although it was voided: the money goes back
		known.is_cancelled := known.is_cancelled OR known.status = 'voided';
		PERFORM ecommerce_payment._take_outcome(known, outcome);
	ELSIF type = 'charge.refunded' AND jsonb_typeof(object -> 'amount_refunded') = 'number' THEN
		UPDATE ecommerce_payment.payment p
		SET refunded_amount = least(p.amount, round(p.amount
			* (object ->> 'amount_refunded')::numeric
			/ nullif(ecommerce_payment._minor_amount(p.amount, p.currency), 0), 2))
		WHERE p.payment_id = known.payment_id AND p.status = 'captured';
	END IF;
END
$take_event$;
COMMENT ON FUNCTION ecommerce_payment._take_event(jsonb) IS
'Lets an event {id, type, data: {object}} about a charge, a refund or a dispute take effect on the payment whose key is in its metadata or whose charge it is about; refunds and disputes of charges not known yet are kept.';

CREATE FUNCTION ecommerce_payment.take_webhook(body jsonb)
RETURNS ecommerce_payment.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $take_webhook$
BEGIN
	PERFORM ecommerce_payment._refuse_fields((
		SELECT coalesce(jsonb_agg(jsonb_build_object('field', field, 'detail',
			'must be a text of 1 to 255 characters')), '[]')
		FROM unnest(ARRAY['id', 'type']) AS field
		WHERE jsonb_typeof(body -> field) IS DISTINCT FROM 'string'
			OR length(body ->> field) NOT BETWEEN 1 AND 255));
	INSERT INTO ecommerce_payment.webhook_event (event_id, event_type)
		VALUES (body ->> 'id', body ->> 'type')
	ON CONFLICT DO NOTHING;
	IF FOUND THEN
		PERFORM ecommerce_payment._take_event(body);
	END IF;
	RETURN ecommerce_payment._answer(200, '{"received": true}');
END
$take_webhook$;
COMMENT ON FUNCTION ecommerce_payment.take_webhook(jsonb) IS
'POST /payments/webhook, signature checked already: events about charges, refunds and disputes take effect once each; all others are acknowledged and do nothing.';

CREATE FUNCTION ecommerce_payment.forget_webhooks()
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_webhooks$
	WITH gone AS (
		DELETE FROM ecommerce_payment.webhook_event w
		WHERE w.event_id IN (SELECT o.event_id FROM ecommerce_payment.webhook_event o
			WHERE o.received_at <= clock_timestamp() - interval '30 days'
			ORDER BY o.received_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
		RETURNING 1), early AS (
		DELETE FROM ecommerce_payment.early_webhook w
		WHERE w.event_id IN (SELECT o.event_id FROM ecommerce_payment.early_webhook o
			WHERE o.received_at <= clock_timestamp() - interval '30 days'
			ORDER BY o.received_at LIMIT 1000 FOR UPDATE SKIP LOCKED))
	SELECT count(*)::int FROM gone
$forget_webhooks$;
COMMENT ON FUNCTION ecommerce_payment.forget_webhooks() IS
'Deletes webhook ids older than 30 days, and events that were never matched, at most 1000 at a time; the number of ids deleted.';
