-- Handlers of the endpoint shipping, and what came of calls to the carrier.

CREATE FUNCTION ecommerce_shipping.reply_state(known ecommerce_shipping.shipment)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_state$
BEGIN
	CASE known.status
	WHEN 'arranged' THEN
		PERFORM ecommerce_shipping.publish('ShipmentArranged', known.order_id, known.key,
			jsonb_build_object(
			'shipment_id', known.shipment_id, 'carrier', known.carrier, 'estimated_delivery',
				known.estimated_delivery));
	WHEN 'dispatched' THEN
		PERFORM ecommerce_shipping.publish('ShipmentDispatched', known.order_id, known.key,
			jsonb_build_object(
			'shipment_id', known.shipment_id, 'tracking_number', known.tracking_number));
	WHEN 'delivered' THEN
		PERFORM ecommerce_shipping.publish('ShipmentDelivered', known.order_id, known.key,
			jsonb_build_object(
			'shipment_id', known.shipment_id, 'delivered_at', known.delivered_at));
	WHEN 'cancelled' THEN
		PERFORM ecommerce_shipping.publish('ShipmentCancelled', known.order_id, known.key,
			jsonb_build_object(
			'shipment_id', CASE WHEN known.items <> '[]' THEN known.shipment_id END));
	WHEN 'failed' THEN
		PERFORM ecommerce_shipping.publish('ShipmentFailed', known.order_id, known.key,
			jsonb_build_object(
			'reason', known.error_reason, 'error_code', known.error_code, 'is_retryable',
				known.is_retryable));
	ELSE
		NULL;	-- requested: the carrier has not answered yet
	END CASE;
END
$reply_state$;
COMMENT ON FUNCTION ecommerce_shipping.reply_state(ecommerce_shipping.shipment) IS
'Publishes the event that stands for a shipment''s status; nothing while it is only requested. A tombstone has no shipment_id.';

CREATE FUNCTION ecommerce_shipping.arrange_shipment(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $arrange_shipment$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	late CONSTANT boolean := coalesce((command ->> 'not_after')::timestamptz < clock_timestamp(),
		false);
	known ecommerce_shipping.shipment;
	context record;
BEGIN
	SELECT * INTO known FROM ecommerce_shipping.shipment s WHERE s.key = step FOR UPDATE;
	IF NOT FOUND THEN
		context := ecommerce.context();
		INSERT INTO ecommerce_shipping.shipment AS s (key, order_id, customer_id, status, items,
			address, operation, error_code, error_reason, is_retryable, correlation_id, user_id, tenant_id, traceparent)
		VALUES (step, (command ->> 'order_id')::uuid, (command ->> 'customer_id')::uuid,
			CASE WHEN late THEN 'failed' ELSE 'requested' END,
			command -> 'items', command -> 'shipping_address', CASE WHEN NOT late
				THEN 'arrange' END,
			CASE WHEN late THEN 'expired' END, CASE WHEN late THEN 'expired' END, CASE WHEN late
				THEN false END,
			context.correlation_id, context.user_id, context.tenant_id, context.traceparent)
		RETURNING * INTO known;
	ELSIF known.is_cancelled OR known.status = 'cancelled' THEN
		PERFORM ecommerce_shipping.publish('ShipmentFailed', known.order_id, step,
			'{"reason": "cancelled", "error_code": "cancelled", "is_retryable": false}');
		RETURN;
	ELSIF known.status IN ('dispatched', 'delivered') THEN
		-- the answer to this command is that it was arranged; the rest was told when it happened
		known.status := 'arranged';
	END IF;
	PERFORM ecommerce_shipping.reply_state(known);
END
$arrange_shipment$;
COMMENT ON FUNCTION ecommerce_shipping.arrange_shipment(jsonb) IS
'Handles ArrangeShipment{order_id, customer_id, key, items, shipping_address, not_after}: records the intent; ShipmentArranged or ShipmentFailed (error_code of the carrier, cancelled, expired) follows.';

CREATE FUNCTION ecommerce_shipping.cancel_shipment(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $cancel_shipment$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	known ecommerce_shipping.shipment;
	context record;
BEGIN
	SELECT * INTO known FROM ecommerce_shipping.shipment s WHERE s.key = step FOR UPDATE;
	IF NOT FOUND THEN
		-- a tombstone: a shipment with this key that is asked for later is refused
		context := ecommerce.context();
		INSERT INTO ecommerce_shipping.shipment AS s (key, order_id, status, items, is_cancelled,
			correlation_id, user_id,
			tenant_id, traceparent)
		VALUES (step, (command ->> 'order_id')::uuid, 'cancelled', '[]', true,
			context.correlation_id, context.user_id,
			context.tenant_id, context.traceparent)
		RETURNING * INTO known;
	ELSIF known.status IN ('dispatched', 'delivered') THEN
		PERFORM ecommerce_shipping.publish('ShipmentCancelFailed', known.order_id, step,
			'{"already_dispatched": true}');
		RETURN;
	ELSIF known.status IN ('requested', 'arranged', 'failed') THEN
		UPDATE ecommerce_shipping.shipment s
		SET is_cancelled = true,
			status = CASE WHEN s.status = 'failed' OR s.status = 'requested' AND s.fence = 0
				THEN 'cancelled' ELSE s.status END,
			-- a call under way decides first, see settle
			operation = CASE WHEN s.status = 'arranged' THEN 'cancel'
				WHEN s.status = 'requested' AND s.fence > 0 THEN s.operation END,
			due_at = CASE WHEN s.lease_until IS NULL THEN clock_timestamp() ELSE s.due_at END,
				attempts = 0
		WHERE s.shipment_id = known.shipment_id RETURNING * INTO known;
		IF known.operation IS NOT NULL THEN
			RETURN;
		END IF;
	END IF;
	PERFORM ecommerce_shipping.reply_state(known);
END
$cancel_shipment$;
COMMENT ON FUNCTION ecommerce_shipping.cancel_shipment(jsonb) IS
'Handles CancelShipment{order_id, key}: ShipmentCancelled, or ShipmentCancelFailed{already_dispatched} when the goods have left; an unknown key is refused from now on.';

CREATE FUNCTION ecommerce_shipping.claim(max_count int, lease interval,
	OUT work_id uuid, OUT fence bigint, OUT operation text, OUT request jsonb,
		OUT correlation_id uuid, OUT traceparent text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
-- a LIMIT that is known makes a plan look better than it is worth making
SET plan_cache_mode = force_generic_plan
AS $claim$
BEGIN
	RETURN QUERY
	WITH due AS (
		SELECT s.shipment_id FROM ecommerce_shipping.shipment s
		WHERE s.operation IS NOT NULL AND s.due_at <= clock_timestamp()
			AND (s.lease_until IS NULL OR s.lease_until <= clock_timestamp())
		ORDER BY s.due_at LIMIT max_count
		FOR UPDATE SKIP LOCKED)
	UPDATE ecommerce_shipping.shipment s
	SET lease_until = clock_timestamp() + lease, fence = s.fence + 1
	FROM due
	WHERE s.shipment_id = due.shipment_id
	RETURNING s.shipment_id, s.fence, s.operation, jsonb_build_object('key', s.key, 'order_id',
		s.order_id,
		'items', s.items, 'address', s.address), s.correlation_id, s.traceparent;
END
$claim$;
COMMENT ON FUNCTION ecommerce_shipping.claim(int, interval) IS
'Takes calls that are due, under a lease. operation: arrange, cancel; request: {key, order_id, items, address}. The key makes a repeated call harmless at the carrier.';

CREATE FUNCTION ecommerce_shipping.settle(work_id uuid, fence bigint, outcome jsonb)
RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $settle$
DECLARE
	result CONSTANT text := outcome ->> 'result';
	known ecommerce_shipping.shipment;
BEGIN
	SELECT * INTO known FROM ecommerce_shipping.shipment s
		WHERE s.shipment_id = settle.work_id FOR UPDATE;
	IF NOT FOUND OR known.fence <> settle.fence OR known.operation IS NULL THEN
		RETURN false;
	END IF;
	PERFORM ecommerce.set_context(known.correlation_id, user_id => known.user_id,
		tenant_id => known.tenant_id,
		traceparent => known.traceparent);
	IF result IN ('arranged', 'failed', 'cancelled') THEN
		UPDATE ecommerce_shipping.shipment s
		SET status = CASE WHEN result = 'failed' AND s.is_cancelled THEN 'cancelled'
				-- arranged while a cancellation waits: cancelled next
				ELSE result END,
			operation = CASE WHEN result = 'arranged' AND s.is_cancelled THEN 'cancel' END,
			carrier = coalesce(outcome ->> 'carrier', s.carrier),
			estimated_delivery = coalesce((outcome ->> 'estimated_delivery')::timestamptz,
				s.estimated_delivery),
			error_code = coalesce(outcome ->> 'error_code', s.error_code),
			error_reason = coalesce(outcome ->> 'reason', s.error_reason),
			is_retryable = coalesce((outcome ->> 'is_retryable')::boolean, s.is_retryable),
			lease_until = NULL, attempts = 0, due_at = clock_timestamp()
		WHERE s.shipment_id = known.shipment_id RETURNING * INTO known;
		IF known.operation IS NULL THEN
			PERFORM ecommerce_shipping.reply_state(known);
		END IF;
	ELSE
		-- no answer: the key makes it safe to ask again
		UPDATE ecommerce_shipping.shipment s
		SET lease_until = NULL, attempts = s.attempts + 1,
			due_at = clock_timestamp() + least(interval '1 second' * power(2,
				least(s.attempts, 10)), interval '5 minutes')
		WHERE s.shipment_id = known.shipment_id;
	END IF;
	RETURN true;
END
$settle$;
COMMENT ON FUNCTION ecommerce_shipping.settle(uuid, bigint, jsonb) IS
'Records the outcome of a claimed call: {result: arranged (carrier, estimated_delivery), failed (error_code, reason, is_retryable), cancelled, unknown}; false when the claim is no longer the current one.';

CREATE FUNCTION ecommerce_shipping.simulate(operation text, request jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $simulate$
DECLARE
	step CONSTANT uuid := request ->> 'key';
	country CONSTANT text := request #>> '{address,country}';
	consignment ecommerce_shipping.simulator_consignment;
BEGIN
	SELECT * INTO consignment FROM ecommerce_shipping.simulator_consignment c
		WHERE c.key = step FOR UPDATE;
	IF operation = 'cancel' THEN
		UPDATE ecommerce_shipping.simulator_consignment c SET status = 'cancelled'
			WHERE c.key = step;
		RETURN '{"result": "cancelled"}';
	ELSIF country = 'XX' THEN
		RETURN jsonb_build_object('result', 'failed', 'error_code', 'no_carrier',
			'reason', 'no carrier delivers there', 'is_retryable', false);
	ELSIF consignment.key IS NULL THEN
		INSERT INTO ecommerce_shipping.simulator_consignment (key, order_id, status)
		VALUES (step, (request ->> 'order_id')::uuid,
			-- the first attempt of an order to this postal code is refused
			CASE WHEN request #>> '{address,postal_code}' = '00000' AND NOT EXISTS (
				SELECT FROM ecommerce_shipping.simulator_consignment c
					WHERE c.order_id = (request ->> 'order_id')::uuid)
				THEN 'refused' ELSE 'arranged' END)
		RETURNING * INTO consignment;
	END IF;
	IF consignment.status = 'refused' THEN
		RETURN jsonb_build_object('result', 'failed', 'error_code', 'carrier_busy',
			'reason', 'no capacity today', 'is_retryable', true);
	END IF;
	RETURN jsonb_build_object('result', 'arranged', 'carrier', 'Simulated Parcel',
		'estimated_delivery', date_trunc('day', clock_timestamp()) + interval '3 days');
END
$simulate$;
COMMENT ON FUNCTION ecommerce_shipping.simulate(text, jsonb) IS
'The simulated carrier: country XX is never delivered to (no_carrier); postal code 00000 is refused once per order (carrier_busy, retryable); anything else is arranged.';
