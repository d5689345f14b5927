-- For tests of the order saga, after saga.sql.
-- CALL submit(n, total): order n comes in. CALL answer(n, type, extra, attempt): a participant
-- answers, to the newest key or that of an attempt. CALL happen(n, type, extra): without a key.
-- sent(): commands since the last call, with the step and attempt their key belongs to, and what
-- was published. facts(n): statuses. ended(n): domain events of the order. timers(n): in minutes
-- from the last transition. fire(n, timer): lets time go on to when that is due.
CREATE PROCEDURE happen(n int, message_type text, extra jsonb DEFAULT '{}') LANGUAGE plpgsql AS $$
BEGIN
	PERFORM message_bus.publish(message_type, jsonb_build_object('order_id', id(n)) || extra,
		partition_key => id(n)::text);
	COMMIT;
	PERFORM saga.run();
END
$$;

-- Orders of earlier cases that are not finished are left out, so that no timer of theirs fires.
CREATE PROCEDURE submit(n int, total numeric DEFAULT 42.00) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM saga.delete('order', i.correlation_id) FROM saga.instance i
	WHERE i.current_state NOT IN ('Completed', 'Cancelled');
	PERFORM sent();
	COMMIT;
	CALL happen(n, 'OrderSubmitted', jsonb_build_object('customer_id', id(1000 + n), 'total_amount', total,
		'items', jsonb_build_array(jsonb_build_object('product_id', id(2000), 'product_name', 'Mug', 'sku', 'MUG',
			'quantity', 2, 'unit_price', round(total / 2, 2), 'total_price', total)),
		'shipping_address', '{"street": "1 Main St", "city": "Springfield", "state": "IL", "postal_code": "62701",
			"country": "US"}'::jsonb,
		'payment_method', '{"type": "card", "last4_digits": "4242", "token": "tok_ok"}'::jsonb));
END
$$;

CREATE FUNCTION key_of(n int, message_type text, attempt int DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN attempt IS NOT NULL THEN ecommerce.uuid_v5(ecommerce.saga_namespace(),
			format('order:%s:%s:%s', id(n), CASE WHEN message_type LIKE 'Payment%' THEN 'payment'
				WHEN message_type LIKE 'Shipment%' THEN 'ship' ELSE 'reserve' END, attempt))::text
		WHEN message_type LIKE 'Payment%' THEN data -> 'pay' -> -1 ->> 'key'
			WHEN message_type LIKE 'Shipment%' THEN data -> 'shp' ->> 'key' ELSE data -> 'inv' ->> 'key' END
	FROM saga.get('order', id(n))
$$;

CREATE PROCEDURE answer(n int, message_type text, extra jsonb DEFAULT '{}', attempt int DEFAULT NULL)
LANGUAGE plpgsql AS $$
BEGIN
	CALL happen(n, message_type, jsonb_build_object('key', key_of(n, message_type, attempt)) || CASE message_type
		WHEN 'InventoryReserved' THEN jsonb_build_object('reserved_items', '[]'::jsonb,
			'expires_at', now() + interval '15 min')
		WHEN 'InventoryReservationFailed' THEN '{"out_of_stock_items": [], "reason": "out_of_stock"}'
		WHEN 'ReservationCommitFailed' THEN '{"reason": "expired"}'
		WHEN 'InventoryReleased' THEN '{"product_ids": []}'
		WHEN 'InventoryReleaseFailed' THEN '{"is_retryable": true}'
		WHEN 'PaymentProcessed' THEN jsonb_build_object('transaction_id', 'tx', 'amount', 42, 'currency', 'USD',
			'processed_at', now())
		WHEN 'PaymentFailed' THEN '{"reason": "no", "error_code": "card_declined", "is_retryable": false}'
		WHEN 'PaymentRefunded' THEN '{"refund_id": "re", "amount": 42, "reason": "x"}'
		WHEN 'PaymentRefundFailed' THEN '{"is_retryable": true, "error_code": "busy"}'
		WHEN 'PaymentReturned' THEN '{"amount": 42, "reason": "refund", "refund_id": "re_else", "moves": 1}'
		WHEN 'PaymentRegained' THEN '{"moves": 2}'
		WHEN 'ShipmentArranged' THEN jsonb_build_object('shipment_id', id(3000), 'carrier', 'post',
			'estimated_delivery', now())
		WHEN 'ShipmentFailed' THEN '{"reason": "no", "error_code": "no_service", "is_retryable": false}'
		WHEN 'ShipmentDispatched' THEN jsonb_build_object('shipment_id', id(3000), 'tracking_number', 'T1')
		WHEN 'ShipmentDelivered' THEN jsonb_build_object('shipment_id', id(3000), 'delivered_at', now())
		WHEN 'ShipmentCancelled' THEN jsonb_build_object('shipment_id', id(3000))
		WHEN 'ShipmentCancelFailed' THEN '{"already_dispatched": true}'
		ELSE '{}' END::jsonb || extra);
END
$$;

-- A whole way: each word is what the participants answer.
CREATE PROCEDURE follow(n int, VARIADIC message_types text[]) LANGUAGE plpgsql AS $$
DECLARE
	message_type text;
BEGIN
	CALL submit(n);
	FOREACH message_type IN ARRAY message_types LOOP
		CALL answer(n, message_type);
	END LOOP;
END
$$;

CREATE FUNCTION step_of(key text, order_id text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT step || attempt FROM unnest('{reserve,payment,ship}'::text[]) step, generate_series(1, 6) attempt
		WHERE ecommerce.uuid_v5(ecommerce.saga_namespace(), format('order:%s:%s:%s', order_id, step, attempt))::text = key), 'none')
$$;

CREATE FUNCTION sent() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d record;
	wanted text;
	taken text[] := '{}';
	found boolean;
BEGIN
	FOREACH wanted IN ARRAY '{inventory,payment,shipping,notification,audit}'::text[] LOOP
		LOOP
			found := false;
			FOR d IN SELECT * FROM message_bus.receive(wanted, 100) LOOP
				found := true;
				taken := taken || format('%s %s', lpad(d.delivery_id::text, 20, '0'), CASE d.endpoint
					WHEN 'notification' THEN concat_ws(' ', d.body ->> 'template', d.body #>> '{data,outcome}')
					WHEN 'audit' THEN d.message_type || coalesce(' ' || (d.body ->> 'reason'), ' ' || (d.body ->> 'refund_id'), '')
					ELSE d.message_type || ' ' || step_of(d.body ->> 'key', d.body ->> 'order_id') END);
				PERFORM message_bus.ack(d.delivery_id);
			END LOOP;
			EXIT WHEN NOT found;
		END LOOP;
	END LOOP;
	RETURN (SELECT string_agg(substr(t, 22), ', ' ORDER BY t) FROM unnest(taken) t);
END
$$;

CREATE FUNCTION facts(n int) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', data ->> 'goal', 'inv ' || (data -> 'inv' ->> 'st'),
		'pay ' || (SELECT string_agg(p ->> 'st', ',') FROM jsonb_array_elements(data -> 'pay') p),
		'shp ' || (data -> 'shp' ->> 'st'), data ->> 'cancel_reason')
	FROM saga.get('order', id(n))
$$;

CREATE FUNCTION ended(n int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(event_type || coalesce(' ' || (data ->> 'reason'), '') || coalesce(' ' || (data ->> 'refund_id'), ''),
		', ' ORDER BY version) FROM event_store.read_stream('order-' || id(n))
$$;

-- In half minutes, rounded up: what a test takes until it looks does not show.
CREATE FUNCTION timers(n int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(timer || ' ' || round(ceil(extract(epoch FROM due_at - i.updated_at) / 30) / 2, 1), ', ' ORDER BY timer)
	FROM saga.timers t JOIN saga.instance i USING (saga, correlation_id) WHERE t.correlation_id = id(n)
$$;

CREATE FUNCTION fire(n int, of text) RETURNS int LANGUAGE sql AS $$
	SELECT saga.fire_due(due_at) FROM saga.timers WHERE correlation_id = id(n) AND timer = of
$$;
