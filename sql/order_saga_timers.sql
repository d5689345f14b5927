-- The order saga: the timers of its states, the bodies of its commands, and cases at the edges.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\i :top/sql/include/order_saga.sql
\set ECHO all
SELECT ecommerce.install_order_saga();
SELECT message_bus.create_endpoint('audit');
SELECT message_bus.subscribe('audit', t) FROM unnest('{OrderCancellationRejected,OrderCancellationAmended}'::text[]) t;
SET ecommerce.currency = 'EUR';
-- seconds from the last transition until a timer is due
CREATE FUNCTION due_in(n int, of text) RETURNS numeric LANGUAGE sql AS $$
	SELECT extract(epoch FROM due_at - i.updated_at) FROM saga.timers t JOIN saga.instance i USING (saga, correlation_id)
	WHERE t.correlation_id = id(n) AND t.timer = of
$$;
-- commands since the last call, whole; times are in tens of seconds from the sending
CREATE FUNCTION bodies() RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
	d record;
	wanted text;
BEGIN
	FOREACH wanted IN ARRAY '{inventory,payment,shipping,notification}'::text[] LOOP
		FOR d IN SELECT * FROM message_bus.receive(wanted, 100) ORDER BY delivery_id LOOP
			RETURN NEXT jsonb_build_object('to', wanted, 'type', d.message_type) || d.body
				|| CASE WHEN d.body ? 'not_after' THEN jsonb_build_object('not_after',
					round(extract(epoch FROM (d.body ->> 'not_after')::timestamptz - d.sent_at), -1)) ELSE '{}' END
				|| jsonb_build_object('key', CASE WHEN d.body ->> 'key' = d.headers ->> 'step_key' THEN 'step key' END);
			PERFORM message_bus.ack(d.delivery_id);
		END LOOP;
	END LOOP;
END
$$;

-- what each command says; the amount of a payment is the order's total, its currency a setting
CALL follow(1, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged');
CALL happen(1, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
CALL answer(1, 'ShipmentCancelled');
SELECT * FROM bodies();
CALL follow(2, 'InventoryReserved');
SELECT fire(2, 'payment');
SELECT b FROM bodies() b WHERE b ->> 'type' = 'QueryPaymentStatus';
-- the order's stream may have begun before its saga
SELECT version FROM event_store.append('order-' || id(3), 0, 'OrderCreated', (SELECT data FROM event_store.read_stream('order-' || id(1), max_count => 1)));
CALL submit(3);
SELECT count(*) FROM event_store.read_stream('order-' || id(3));

-- PaymentRetryWait: Exponential(5, 1 s, 30 s, 3 s); hold; overall
CALL follow(4, 'InventoryReserved');
CALL answer(4, 'PaymentFailed', '{"error_code": "busy", "is_retryable": true}');
SELECT current_state, due_in(4, 'retry') BETWEEN 2.55 AND 5.75 AS first, due_in(4, 'hold') BETWEEN 800 AND 840 AS hold,
	due_in(4, 'overall') BETWEEN 1750 AND 1800 AS overall, (SELECT count(*) FROM saga.timers) FROM saga.instance;
SELECT fire(4, 'retry');
CALL answer(4, 'PaymentFailed', '{"error_code": "busy", "is_retryable": true}');
SELECT due_in(4, 'retry') BETWEEN 4.35 AND 10.25 AS second FROM saga.instance;
-- no attempt on a hold that may be over: first it is renewed
CALL submit(5);
CALL answer(5, 'InventoryReserved', jsonb_build_object('expires_at', now() + interval '1 s'));
CALL answer(5, 'PaymentFailed', '{"error_code": "busy", "is_retryable": true}');
SELECT sent() IS NOT NULL AS sent;
SELECT fire(5, 'retry') > 0 AS fired;
SELECT current_state, sent() ~ '^ReserveInventory reserve1(, ReserveInventory reserve1)*$' AS renewed, due_in(5, 'retry') AS retry FROM saga.instance WHERE correlation_id = id(5);
CALL answer(5, 'InventoryReserved', jsonb_build_object('expires_at', now() + interval '15 min'));
SELECT fire(5, 'retry') AS fired;
SELECT current_state, sent() FROM saga.instance WHERE correlation_id = id(5);
-- a hold lost while it waits: a new key first, then the payment
CALL answer(5, 'PaymentFailed', '{"error_code": "busy", "is_retryable": true}');
CALL answer(5, 'ReservationExpired');
SELECT current_state, facts(5), sent(), due_in(5, 'reserve') AS reserve, due_in(5, 'hold') AS hold FROM saga.instance WHERE correlation_id = id(5);
SELECT fire(5, 'retry') AS fired, current_state FROM saga.instance WHERE correlation_id = id(5);
CALL answer(5, 'InventoryReserved');
SELECT sent();
SELECT fire(5, 'retry') AS fired;
SELECT current_state, sent() FROM saga.instance WHERE correlation_id = id(5);

-- the hold is renewed a minute ahead with the key it has, and again each 30 s until that is heard
CALL submit(6);
CALL answer(6, 'InventoryReserved', jsonb_build_object('expires_at', now() + interval '2 min'));
SELECT sent() IS NOT NULL AS sent, timers(6) FROM saga.instance;
SELECT due_at = (data -> 'inv' ->> 'expires_at')::timestamptz - interval '1 min' AS a_minute_ahead
FROM saga.timers JOIN saga.instance USING (correlation_id) WHERE timer = 'hold' AND correlation_id = id(6);
SELECT fire(6, 'hold') AS fired;
SELECT due_in(6, 'hold') AS again FROM saga.instance;
SELECT b FROM bodies() b;
CALL answer(6, 'InventoryReserved', jsonb_build_object('expires_at', now() + interval '16 min'));
SELECT timers(6);

-- ResolvingPayment: asked at once, five times with back-off, then every minute; hold; overall
CALL follow(7, 'InventoryReserved');
SELECT sent() IS NOT NULL AS sent;
SELECT fire(7, 'payment');
SELECT current_state, due_in(7, 'query') BETWEEN 2.55 AND 5.75 AS first, due_in(7, 'overall') BETWEEN 1650 AND 1680 AS overall,
	due_in(7, 'hold') BETWEEN 690 AND 720 AS hold, (SELECT count(*) FROM saga.timers) AS timers FROM saga.instance;
SELECT saga.fire_due(now() + interval '6 min') > 6 AS fired;
SELECT due_in(7, 'query') AS later FROM saga.instance;
SELECT count(*) FILTER (WHERE delay < 40) AS with_backoff, count(*) FILTER (WHERE delay = 60) > 0 AS each_minute, count(*) FILTER (WHERE delay BETWEEN 40 AND 59) AS others
FROM (SELECT extract(epoch FROM (a ->> 'due_at')::timestamptz - lag((a ->> 'due_at')::timestamptz) OVER (ORDER BY version)) AS delay
	FROM saga.history('order', id(7)), jsonb_array_elements(actions) a WHERE a ->> 'timer' = 'query') x;
CALL answer(7, 'PaymentStatusReported', '{"status": "captured", "transaction_id": "tx"}');
SELECT current_state, timers(7) ~ '^commit 0.5, overall [0-9.]+, ship 5.0$' AS timers FROM saga.instance;

-- ShipmentRetryWait: exponential; overall; the commit goes on
CALL follow(8, 'InventoryReserved', 'PaymentProcessed');
CALL answer(8, 'ShipmentFailed', '{"is_retryable": true}');
SELECT current_state, due_in(8, 'ship_retry') BETWEEN 2.55 AND 5.75 AS first, due_in(8, 'overall') > 1700 AS overall,
	due_in(8, 'commit') <= 30 AS commit, (SELECT count(*) FROM saga.timers) AS timers FROM saga.instance;
SELECT fire(8, 'ship_retry');
CALL answer(8, 'ShipmentFailed', '{"is_retryable": true}');
SELECT due_in(8, 'ship_retry') BETWEEN 4.35 AND 10.25 AS second FROM saga.instance;

-- Compensating: each step after a minute, backing off to 15, for 24 h; a refund for 72 h
CREATE PROCEDURE wait_for(n int, VARIADIC minutes int[]) LANGUAGE plpgsql AS $$
DECLARE
	m int;
	times text := '';
BEGIN
	FOREACH m IN ARRAY minutes LOOP
		PERFORM saga.fire_due(now() + m * interval '1 min' + interval '1 s');
		COMMIT;
		times := concat_ws(', ', nullif(times, ''), round(due_in(n, 'compensate') / 60));
	END LOOP;
	RAISE WARNING 'minutes until the next: %', times;
END
$$;
SET ecommerce.currency = 'USD';
CALL follow(9, 'InventoryReserved', 'PaymentFailed');
SELECT sent() IS NOT NULL AS sent, due_in(9, 'compensate');
CALL wait_for(9, 1, 3, 7, 15, 30, 45, 60);
SELECT sent();
SELECT saga.fire_due(now() + interval '23 h 59 min') > 0 AS fired, current_state FROM saga.instance WHERE correlation_id = id(9);
SELECT saga.fire_due(now() + interval '24 h 1 min') AS fired;
SELECT current_state, data ->> 'stuck_step' AS step, due_in(9, 'compensate') / 3600 AS hours, (SELECT reason FROM saga.stuck) FROM saga.instance WHERE correlation_id = id(9);
CALL answer(9, 'InventoryReleased');
SELECT current_state, (SELECT count(*) FROM saga.stuck) AS stuck FROM saga.instance WHERE correlation_id = id(9);
CALL follow(10, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged');
SELECT sent() IS NOT NULL AS sent;
CALL happen(10, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
-- not cancelled, though not dispatched either: asked again
CALL answer(10, 'ShipmentCancelFailed', '{"already_dispatched": false}');
CALL wait_for(10, 1, 3, 7, 15, 30);
SELECT facts(10), sent() ~ '^(CancelShipment ship1(, )?){6}$' AS nothing_else;
SELECT saga.fire_due(now() + interval '24 h 1 min') > 50 AS fired;
SELECT current_state, data ->> 'stuck_step' AS step FROM saga.instance WHERE correlation_id = id(10);
-- goods that had left after all: back on the way, the request answered
SELECT sent() IS NOT NULL AS sent;
CALL answer(10, 'ShipmentDispatched');
SELECT current_state, facts(10), data ->> 'stuck_step' AS step, sent(), timers(10) FROM saga.instance WHERE correlation_id = id(10);

-- cancelled while arranging, but the goods had left: the commit goes on, nothing was undone
CALL follow(11, 'InventoryReserved', 'PaymentProcessed');
SELECT sent() IS NOT NULL AS sent;
CALL happen(11, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
CALL happen(11, 'OrderCancellationRequested', '{"by": "customer", "reason": "TooSlow"}');
CALL happen(11, 'OrderCancellationRequested', '{"by": "customer", "reason": "TooSlow"}');
SELECT current_state, facts(11), sent() FROM saga.instance WHERE correlation_id = id(11);
CALL answer(11, 'ShipmentCancelFailed');
SELECT current_state, facts(11), sent(), data -> 'cancel_reason' AS reason, data -> 'cancelled_by' AS by FROM saga.instance WHERE correlation_id = id(11);
CALL answer(11, 'ReservationCommitted');
SELECT current_state, facts(11), sent() FROM saga.instance WHERE correlation_id = id(11);
CALL answer(11, 'ShipmentDelivered');
SELECT current_state, ended(11) FROM saga.instance WHERE correlation_id = id(11);

-- after the cancellation: a payment found by asking, or after it was voided, is refunded too
CALL follow(12, 'InventoryReserved', 'PaymentFailed', 'InventoryReleased');
CALL answer(12, 'PaymentStatusReported', '{"status": "captured", "transaction_id": "tx"}');
SELECT current_state, facts(12), sent() FROM saga.instance WHERE correlation_id = id(12);
CALL answer(12, 'PaymentRefunded');
SELECT current_state, facts(12), sent() FROM saga.instance WHERE correlation_id = id(12);
CALL follow(13, 'InventoryReserved');
CALL happen(13, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
CALL answer(13, 'PaymentVoided');
CALL answer(13, 'InventoryReleased');
SELECT current_state, facts(13), sent() IS NOT NULL AS sent FROM saga.instance WHERE correlation_id = id(13);
CALL answer(13, 'PaymentProcessed');
SELECT current_state, facts(13), timers(13), sent() FROM saga.instance WHERE correlation_id = id(13);
CALL answer(13, 'PaymentRefunded');
SELECT current_state, timers(13), sent() FROM saga.instance WHERE correlation_id = id(13);
-- when Completed, the payment of another key: refunded, with a timer, and nothing is amended
CALL follow(14, 'InventoryReserved');
CALL answer(14, 'PaymentFailed', '{"error_code": "busy", "is_retryable": true}');
SELECT fire(14, 'retry');
CALL answer(14, 'PaymentProcessed');
CALL answer(14, 'ReservationCommitted');
CALL answer(14, 'ShipmentDelivered');
SELECT current_state, timers(14), sent() IS NOT NULL AS sent FROM saga.instance WHERE correlation_id = id(14);
CALL answer(14, 'PaymentProcessed', '{"transaction_id": "late"}', 1);
SELECT current_state, facts(14), timers(14), sent() FROM saga.instance WHERE correlation_id = id(14);
CALL answer(14, 'PaymentRefunded', '{}', 1);
SELECT current_state, facts(14), timers(14), sent(), ended(14) FROM saga.instance WHERE correlation_id = id(14);

-- dequeued too late twice
CALL submit(15);
CALL answer(15, 'InventoryReservationFailed', '{"reason": "expired"}');
CALL answer(15, 'InventoryReservationFailed', '{"reason": "expired"}');
SELECT current_state, facts(15), ended(15) FROM saga.instance WHERE correlation_id = id(15);
-- notifications are nothing to the saga
CALL submit(16);
CALL happen(16, 'NotificationFailed', jsonb_build_object('key', id(1), 'template', 'order_received', 'reason', 'no such address'));
SELECT state('order', 16), (SELECT count(*) FROM saga.parked) AS parked;
-- what contradicts is ignored and written to the log
CALL answer(16, 'InventoryReserved');
SET client_min_messages = log;
SET saga.log_transitions = off;
CALL answer(16, 'InventoryReleased');
RESET saga.log_transitions;
SET client_min_messages = warning;
SELECT state('order', 16), facts(16);
