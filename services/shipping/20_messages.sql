-- Handlers of the endpoint shipping, and what came of calls to the carrier.

CREATE FUNCTION ecommerce_shipping._reply_state(known ecommerce_shipping.shipment)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_state$
BEGIN
	CASE known.status
	WHEN 'arranged' THEN
		PERFORM ecommerce_shipping._publish('ShipmentArranged', known.order_id, known.key,
			jsonb_build_object(
				'shipment_id', known.shipment_id,
				'carrier', known.carrier,
				'estimated_delivery', known.estimated_delivery));
	WHEN 'dispatched' THEN
		PERFORM ecommerce_shipping._publish('ShipmentDispatched', known.order_id, known.key,
			jsonb_build_object(
				'shipment_id', known.shipment_id,
				'tracking_number', known.tracking_number));
	WHEN 'delivered' THEN
		PERFORM ecommerce_shipping._publish('ShipmentDelivered', known.order_id, known.key,
			jsonb_build_object(
				'shipment_id', known.shipment_id,
				'delivered_at', known.delivered_at));
	WHEN 'cancelled' THEN
		PERFORM ecommerce_shipping._publish('ShipmentCancelled', known.order_id, known.key,
			jsonb_build_object(
				'shipment_id', CASE WHEN known.items <> '[]' THEN known.shipment_id END));
	WHEN 'failed' THEN
		PERFORM ecommerce_shipping._publish('ShipmentFailed', known.order_id, known.key,
			jsonb_build_object(
				'reason', known.error_reason,
				'error_code', known.error_code,
				'is_retryable', known.is_retryable));
	ELSE
		NULL;	-- requested: the carrier has not answered yet
	END CASE;
END
$reply_state$;
COMMENT ON FUNCTION ecommerce_shipping._reply_state(ecommerce_shipping.shipment) IS
'Publishes the event that stands for a shipment''s status; nothing while it is only requested. A tombstone has no shipment_id.';

CREATE FUNCTION ecommerce_shipping.arrange_shipment(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $arrange_shipment$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	late CONSTANT boolean := coalesce((command ->> 'not_after')::timestamptz < clock_timestamp(),
		false);
	refusal CONSTANT text := CASE WHEN late THEN 'expired' END;
	known ecommerce_shipping.shipment;
BEGIN
	SELECT * INTO known FROM ecommerce_shipping.shipment s WHERE s.key = step FOR UPDATE;
	IF NOT FOUND THEN
		INSERT INTO ecommerce_shipping.shipment AS s (
			key, order_id, customer_id,
			items, address,
			status, operation,
			error_code, error_reason, is_retryable)
		VALUES (
			step, (command ->> 'order_id')::uuid, (command ->> 'customer_id')::uuid,
			command -> 'items', command -> 'shipping_address',
			CASE WHEN late THEN 'failed' ELSE 'requested' END, CASE WHEN NOT late THEN 'arrange' END,
			refusal, refusal, CASE WHEN late THEN false END)
		RETURNING * INTO known;
	ELSIF known.is_cancelled OR known.status = 'cancelled' THEN
		PERFORM ecommerce_shipping._publish('ShipmentFailed', known.order_id, step,
			'{"reason": "cancelled", "error_code": "cancelled", "is_retryable": false}');
		RETURN;
	ELSIF known.status IN ('dispatched', 'delivered') THEN
		-- the answer to this command is that it was arranged; the rest was told when it happened
		known.status := 'arranged';
	END IF;
	PERFORM ecommerce_shipping._reply_state(known);
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
BEGIN
	SELECT * INTO known FROM ecommerce_shipping.shipment s WHERE s.key = step FOR UPDATE;
	IF NOT FOUND THEN
		-- a tombstone: a shipment with this key that is asked for later is refused
		INSERT INTO ecommerce_shipping.shipment AS s (key, order_id, status, items, is_cancelled)
		VALUES (step, (command ->> 'order_id')::uuid, 'cancelled', '[]', true)
		RETURNING * INTO known;
	ELSIF known.status IN ('dispatched', 'delivered') THEN
		PERFORM ecommerce_shipping._publish('ShipmentCancelFailed', known.order_id, step,
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
			attempts = 0,
			causation_id = (ecommerce.context()).causation_id
		WHERE s.shipment_id = known.shipment_id RETURNING * INTO known;
		IF known.operation IS NOT NULL THEN
			RETURN;
		END IF;
	END IF;
	PERFORM ecommerce_shipping._reply_state(known);
END
$cancel_shipment$;
COMMENT ON FUNCTION ecommerce_shipping.cancel_shipment(jsonb) IS
'Handles CancelShipment{order_id, key}: ShipmentCancelled, or ShipmentCancelFailed{already_dispatched} when the goods have left; an unknown key is refused from now on.';

CREATE FUNCTION ecommerce_shipping._request(work ecommerce_shipping.shipment)
RETURNS jsonb LANGUAGE sql STABLE
RETURN jsonb_build_object(
	'key', (work).key,
	'order_id', (work).order_id,
	'items', (work).items,
	'address', (work).address);
COMMENT ON FUNCTION ecommerce_shipping._request(ecommerce_shipping.shipment) IS
'What the carrier is asked with, see claim().';
COMMENT ON FUNCTION ecommerce_shipping.claim(int, interval) IS
'Takes calls that are due, under a lease. operation: arrange, cancel; request: {key, order_id, items, address}. The key makes a repeated call harmless at the carrier.';

CREATE FUNCTION ecommerce_shipping._settle(known ecommerce_shipping.shipment, outcome jsonb,
	is_current boolean)
RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $settle$
DECLARE
	result CONSTANT text := outcome ->> 'result';
BEGIN
	IF NOT is_current THEN
		RETURN false;
	END IF;
	PERFORM ecommerce_shipping._act_for(known);
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
			PERFORM ecommerce_shipping._reply_state(known);
		END IF;
	ELSE
		-- no answer: the key makes it safe to ask again
		UPDATE ecommerce_shipping.shipment s
		SET lease_until = NULL, attempts = s.attempts + 1,
			due_at = clock_timestamp() + ecommerce_shipping._retry_delay(s.attempts)
		WHERE s.shipment_id = known.shipment_id;
	END IF;
	RETURN true;
END
$settle$;
COMMENT ON FUNCTION ecommerce_shipping._settle(ecommerce_shipping.shipment, jsonb, boolean) IS
'What an outcome makes of a locked shipment, see settle().';
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
