-- The order saga: every row of its tables of states, cases and timers.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\i :top/sql/include/order_saga.sql
\set ECHO all
SELECT ecommerce.install_order_saga(), ecommerce.install_order_saga();
SELECT * FROM saga.verify('order');
SELECT message_bus.create_endpoint('audit');
SELECT message_bus.subscribe('audit', t) FROM unnest('{OrderCancellationRejected,OrderCancellationAmended}'::text[]) t;

-- all goes well; the timers of each state, in minutes
CALL submit(1);
SELECT state('order', 1), facts(1), timers(1), sent();
SELECT data - 'items' - 'shipping_address' - 'inv' AS data, data -> 'items' AS items, (data -> 'inv') - 'key' AS inv
FROM saga.get('order', id(1));
CALL answer(1, 'InventoryReserved');
SELECT state('order', 1), facts(1), timers(1), sent();
CALL answer(1, 'PaymentProcessed');
SELECT state('order', 1), facts(1), timers(1), sent();
CALL answer(1, 'ShipmentArranged');
SELECT state('order', 1), facts(1), timers(1), sent();
CALL answer(1, 'ReservationCommitted');
SELECT state('order', 1), facts(1), timers(1), sent();
CALL answer(1, 'ShipmentDispatched');
SELECT state('order', 1), facts(1), timers(1), sent();
CALL answer(1, 'ShipmentDelivered');
SELECT state('order', 1), facts(1), timers(1), sent();
SELECT ended(1), data ->> 'confirmation_number' ~ '^CN-' AS numbered FROM saga.get('order', id(1));
-- duplicates of everything change nothing
CALL submit(1);
CALL answer(1, 'InventoryReserved', '{"expires_at": "2020-01-01T00:00:00Z"}');
CALL answer(1, 'PaymentProcessed');
CALL answer(1, 'ReservationCommitted');
CALL answer(1, 'ShipmentArranged');
CALL answer(1, 'ShipmentDispatched');
CALL answer(1, 'ShipmentDelivered');
SELECT state('order', 1), sent();
-- a request to cancel comes too late; asked the same way again it was answered already
CALL happen(1, 'OrderCancellationRequested', '{"by": "customer", "reason": "late"}');
CALL happen(1, 'OrderCancellationRequested', '{"by": "customer", "reason": "late"}');
CALL happen(1, 'OrderCancellationRequested', '{"by": "customer", "reason": "later"}');
SELECT state('order', 1), sent();

-- the reverse order of the two that are outstanding together; delivered implies dispatched
CALL follow(2, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted');
SELECT state('order', 2), facts(2);
CALL answer(2, 'ShipmentDelivered');
SELECT state('order', 2), facts(2), ended(2);
CALL answer(2, 'ShipmentDispatched');
CALL answer(2, 'ShipmentArranged');
SELECT state('order', 2), facts(2);
SELECT sent();

-- out of stock
CALL follow(3, 'InventoryReservationFailed');
SELECT state('order', 3), facts(3), ended(3), timers(3), sent();
-- late InventoryReserved after the cancellation: released; the state stays
CALL answer(3, 'InventoryReserved');
SELECT state('order', 3), facts(3), timers(3), sent();
CALL answer(3, 'InventoryReleased');
SELECT state('order', 3), facts(3), timers(3), ended(3);
CALL answer(3, 'InventoryReserved');
SELECT state('order', 3), facts(3), sent() AS only_reordering;

-- payment declined for good
CALL follow(4, 'InventoryReserved', 'PaymentFailed');
SELECT state('order', 4), facts(4), timers(4), sent();
CALL answer(4, 'InventoryReleased');
SELECT state('order', 4), ended(4), sent();
CALL follow(5, 'InventoryReserved');
CALL answer(5, 'PaymentFailed', '{"error_code": null}');
SELECT facts(5), sent();
-- PaymentProcessed after the cancellation: refunded with the same key, amended, state as it was
CALL answer(4, 'PaymentProcessed');
SELECT state('order', 4), facts(4), timers(4), sent();
CALL answer(4, 'PaymentRefunded');
SELECT state('order', 4), facts(4), timers(4), sent(), ended(4);
CALL answer(4, 'PaymentProcessed');
SELECT state('order', 4), sent() AS only_reordering;

-- payment declined for now: three attempts with back-off, the hold renewed meanwhile
CALL follow(6, 'InventoryReserved');
CALL answer(6, 'PaymentFailed', '{"error_code": "busy", "is_retryable": true}');
SELECT state('order', 6), facts(6), timers(6), sent();
SELECT fire(6, 'retry');
SELECT state('order', 6), timers(6), sent();
SELECT facts(6), jsonb_path_query_array(data, '$.pay[*].attempt') FROM saga.get('order', id(6));
CALL answer(6, 'PaymentFailed', '{"error_code": "expired"}');
SELECT state('order', 6), fire(6, 'retry');
SELECT sent();
CALL answer(6, 'PaymentFailed', '{"error_code": "busy", "is_retryable": true}');
SELECT state('order', 6), facts(6), sent();
CALL answer(6, 'InventoryReleased');
SELECT state('order', 6), ended(6), sent();

-- payment times out: unknown, asked, never a second key; found captured
CALL follow(7, 'InventoryReserved');
SELECT sent();
SELECT fire(7, 'payment');
SELECT state('order', 7), facts(7), sent();
SELECT fire(7, 'query') AS asked_again;
SELECT sent();
CALL answer(7, 'PaymentStatusReported', '{"status": "pending"}');
SELECT split_part(state('order', 7), ' ', 1);
CALL answer(7, 'PaymentStatusReported', '{"status": "captured", "transaction_id": "tx"}');
SELECT split_part(state('order', 7), ' ', 1), facts(7), data -> 'pay' -> 0 ->> 'transaction_id' AS tx, sent() FROM saga.get('order', id(7));
-- found declined; found by the answer itself
CALL follow(8, 'InventoryReserved');
SELECT fire(8, 'payment');
CALL answer(8, 'PaymentStatusReported', '{"status": "declined", "error_code": "card_declined"}');
SELECT split_part(state('order', 8), ' ', 1), facts(8);
CALL follow(9, 'InventoryReserved');
SELECT fire(9, 'payment');
CALL answer(9, 'PaymentProcessed');
SELECT split_part(state('order', 9), ' ', 1), facts(9);
-- not found: the same key once more, then void
CALL follow(10, 'InventoryReserved');
SELECT fire(10, 'payment');
SELECT sent() IS NOT NULL AS sent;
CALL answer(10, 'PaymentStatusReported', '{"status": "not_found"}');
SELECT state('order', 10), facts(10), sent();
CALL answer(10, 'PaymentStatusReported', '{"status": "not_found"}');
SELECT state('order', 10) AS a_duplicate_tells_nothing, sent();
SELECT fire(10, 'query') AS asked;
SELECT sent();
CALL answer(10, 'PaymentStatusReported', '{"status": "not_found"}');
SELECT split_part(state('order', 10), ' ', 1), facts(10), sent();
CALL answer(10, 'PaymentVoided');
CALL answer(10, 'InventoryReleased');
SELECT split_part(state('order', 10), ' ', 1), ended(10), sent();
-- it stays unknown until the overall time is up: void or refund, cancel; the hold was renewed
CALL follow(11, 'InventoryReserved');
SELECT saga.fire_due(now() + interval '31 min') > 10 AS fired, facts(11);
SELECT s LIKE '%ReserveInventory reserve1, ReserveInventory reserve1%' AS renewed,
	s LIKE '%RefundPayment payment1%' AND s LIKE '%ReleaseInventory reserve1%' AS undone FROM sent() s;
CALL answer(11, 'PaymentVoided');
CALL answer(11, 'InventoryReleased');
SELECT ended(11), sent();

-- the hold: a renewed one counts; a lost one is asked for once more with a new key
CALL follow(12, 'InventoryReserved');
SELECT version, timers(12) FROM saga.get('order', id(12));
CALL answer(12, 'InventoryReserved', jsonb_build_object('expires_at', now() + interval '20 min'));
SELECT version, timers(12) FROM saga.get('order', id(12));
CALL answer(12, 'ReservationExpired');
SELECT state('order', 12), facts(12), timers(12), sent();
CALL answer(12, 'PaymentProcessed');
SELECT state('order', 12), facts(12), timers(12), sent() AS commit_waits_for_the_hold;
CALL answer(12, 'InventoryReserved');
SELECT state('order', 12), facts(12), sent();
CALL answer(12, 'InventoryReserved', '{}', 1);
SELECT facts(12), data -> 'earlier' -> 'inv' -> 0 ->> 'st' AS the_first, sent() FROM saga.get('order', id(12));
-- lost, and no stock left: void or refund, cancelled
CALL follow(13, 'InventoryReserved', 'ReservationExpired', 'InventoryReservationFailed');
SELECT state('order', 13), facts(13), sent();
CALL answer(13, 'PaymentProcessed');
CALL answer(13, 'PaymentRefunded');
SELECT state('order', 13), ended(13), sent();
-- lost while arranging: commit fails, reserved again in the same state, committed
CALL follow(14, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitFailed');
SELECT state('order', 14), facts(14), sent();
CALL answer(14, 'InventoryReserved');
CALL answer(14, 'ReservationCommitted');
CALL answer(14, 'ShipmentArranged');
SELECT state('order', 14), facts(14), sent();
-- no stock: the shipment is cancelled first, then the payment refunded
CALL follow(15, 'InventoryReserved', 'PaymentProcessed', 'ReservationExpired', 'InventoryReservationFailed');
SELECT state('order', 15), facts(15), sent();
CALL answer(15, 'ShipmentCancelled');
SELECT state('order', 15), facts(15), sent();
CALL answer(15, 'PaymentRefunded');
SELECT state('order', 15), ended(15), sent();

-- reserve: three resends with the same key, then cancelled
CALL submit(16);
SELECT saga.fire_due(now() + interval '2 min 1 s');
SELECT state('order', 16), facts(16), sent();
CALL answer(16, 'InventoryReleased');
SELECT ended(16), sent();
-- reserve: dequeued too late is a definite no that may be tried again
CALL submit(17);
CALL answer(17, 'InventoryReservationFailed', '{"reason": "expired"}');
SELECT state('order', 17), facts(17), sent();
CALL answer(17, 'InventoryReserved');
SELECT state('order', 17), sent();
-- commit: resends, then the shipment is cancelled first
CALL follow(18, 'InventoryReserved', 'PaymentProcessed', 'ShipmentArranged');
SELECT saga.fire_due(now() + interval '2 min 1 s');
SELECT state('order', 18), facts(18), sent();

-- shipping fails for good: refund and release in parallel
CALL follow(19, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentFailed');
SELECT state('order', 19), facts(19), timers(19), sent();
CALL answer(19, 'PaymentRefunded');
CALL answer(19, 'InventoryReleased');
SELECT state('order', 19), ended(19), sent();
-- late ShipmentArranged after the cancellation: cancelled
CALL answer(19, 'ShipmentArranged');
SELECT state('order', 19), facts(19), timers(19), sent();
CALL answer(19, 'ShipmentCancelled');
SELECT state('order', 19), facts(19), timers(19);
CALL answer(19, 'ShipmentArranged');
SELECT state('order', 19), sent() AS absorbed;
-- shipping fails for now: five attempts with back-off
CALL follow(20, 'InventoryReserved', 'PaymentProcessed');
SELECT sent() IS NOT NULL AS sent;
CALL answer(20, 'ShipmentFailed', '{"is_retryable": true}');
SELECT state('order', 20), facts(20), sent();
SELECT fire(20, 'ship_retry');
SELECT sent(), facts(20);
CALL answer(20, 'ReservationCommitted');
CALL answer(20, 'ShipmentFailed', '{"is_retryable": true}');
SELECT fire(20, 'ship_retry');
CALL answer(20, 'ShipmentFailed', '{"error_code": "expired"}');
SELECT fire(20, 'ship_retry');
CALL answer(20, 'ShipmentFailed', '{"is_retryable": true}');
SELECT fire(20, 'ship_retry');
SELECT sent(), jsonb_array_length(data -> 'earlier' -> 'shp') + 1 AS attempts FROM saga.get('order', id(20));
CALL answer(20, 'ShipmentFailed', '{"is_retryable": true}');
SELECT split_part(state('order', 20), ' ', 1), facts(20), sent();
-- shipping does not answer: resends, then CancelShipment first
CALL follow(21, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted');
SELECT sent() IS NOT NULL AS sent;
SELECT saga.fire_due(now() + interval '20 min 1 s');
SELECT split_part(state('order', 21), ' ', 1), facts(21), sent() LIKE '%ArrangeShipment ship1, CancelShipment ship1' AS cancelled_first;
CALL answer(21, 'ShipmentCancelled');
SELECT sent();

-- the customer cancels before payment, while paying, when confirmed
CALL submit(22);
CALL happen(22, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
SELECT state('order', 22), facts(22), sent(), data ->> 'cancelled_by' AS by FROM saga.get('order', id(22));
CALL answer(22, 'InventoryReserved');
SELECT facts(22), sent();
CALL answer(22, 'InventoryReleased');
SELECT state('order', 22), ended(22), sent();
CALL happen(22, 'OrderCancellationRequested', '{"by": "customer", "reason": "again"}');
SELECT state('order', 22) AS no_change, sent();
CALL follow(23, 'InventoryReserved');
SELECT sent() IS NOT NULL AS sent;
CALL happen(23, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
SELECT state('order', 23), facts(23), sent();
-- that it was captured is remembered even when the refund is heard of first
CALL answer(23, 'PaymentRefunded');
CALL answer(23, 'PaymentProcessed');
CALL answer(23, 'InventoryReleased');
SELECT state('order', 23), facts(23), data -> 'pay' -> 0 -> 'captured' AS captured, ended(23), sent() FROM saga.get('order', id(23));
CALL follow(24, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged');
SELECT sent() IS NOT NULL AS sent;
CALL happen(24, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
SELECT state('order', 24), facts(24), sent() AS shipment_first;
CALL answer(24, 'ShipmentCancelled');
SELECT facts(24), sent();
CALL answer(24, 'InventoryReleased');
CALL answer(24, 'PaymentRefunded');
SELECT state('order', 24), ended(24), sent();
-- already dispatched: rejected, back to Confirmed, nothing refunded
CALL follow(25, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged');
SELECT sent() IS NOT NULL AS sent;
CALL happen(25, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
CALL answer(25, 'ShipmentCancelFailed');
SELECT state('order', 25), facts(25), timers(25), sent(), ended(25);
CALL answer(25, 'ShipmentDelivered');
SELECT state('order', 25), ended(25);
-- dispatched is known: rejected at once
CALL follow(26, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged', 'ShipmentDispatched');
SELECT sent() IS NOT NULL AS sent;
CALL happen(26, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
SELECT state('order', 26), sent();
-- the request comes before the order: remembered, created and cancelled at once
CALL happen(27, 'OrderCancellationRequested', '{"by": "customer", "reason": "ChangedMind"}');
SELECT count(*) FROM saga.parked;
CALL submit(27);
SELECT state('order', 27), facts(27), ended(27), sent(), (SELECT count(*) FROM saga.parked) AS parked;
-- by an operator
CALL submit(28);
SELECT saga.cancel('order', id(28), 'fraud');
SELECT facts(28), sent();

-- a compensation keeps failing: resent, given up, visible, still asked for once a day
CALL follow(29, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentFailed', 'InventoryReleased', 'PaymentRefundFailed');
SELECT state('order', 29), facts(29), timers(29), sent() IS NOT NULL AS sent;
SELECT fire(29, 'compensate');
SELECT facts(29), sent();
SELECT saga.fire_due(now() + interval '71 h') > 200 AS resent;
SELECT split_part(state('order', 29), ' ', 1), sent() ~ '^(RefundPayment payment1(, )?)+$' AS all_the_same;
SELECT saga.fire_due(now() + interval '72 h 1 min') > 0 AS fired;
SELECT split_part(state('order', 29), ' ', 1), data ->> 'stuck_step' AS step FROM saga.get('order', id(29));
SELECT current_state, reason FROM saga.stuck WHERE correlation_id = id(29);
SELECT sent() IS NOT NULL AS sent;
SELECT saga.fire_due(now() + interval '97 h') AS fired;
SELECT sent();
CALL answer(29, 'PaymentRefunded');
SELECT split_part(state('order', 29), ' ', 1), ended(29), (SELECT count(*) FROM saga.stuck WHERE correlation_id = id(29)) AS stuck;
-- refused for good: at once; release likewise
CALL follow(30, 'InventoryReserved', 'PaymentFailed');
CALL answer(30, 'InventoryReleaseFailed', '{"is_retryable": false}');
SELECT split_part(state('order', 30), ' ', 1), data ->> 'stuck_step' AS step FROM saga.get('order', id(30));
SELECT saga.retry('order', id(30)) > 0 AS retried;
SELECT split_part(state('order', 30), ' ', 1), sent() ~ 'ReleaseInventory reserve1, ReleaseInventory reserve1' AS again;
CALL answer(30, 'InventoryReleased');
SELECT split_part(state('order', 30), ' ', 1);

-- overall time up, here while an operator has it wait
CALL follow(31, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted');
SELECT saga.goto('order', id(31), 'ShipmentRetryWait', 'test') AS version;
SELECT saga.fire_due(now() + interval '31 min') > 0 AS fired, sent() IS NOT NULL AS sent;
SELECT split_part(state('order', 31), ' ', 1), facts(31), sent();
-- both outstanding steps stop being resent once answered, in either order
CALL follow(32, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted');
SELECT timers(32);
CALL follow(33, 'InventoryReserved', 'PaymentProcessed', 'ShipmentArranged');
SELECT timers(33);

-- nothing to pay
CALL submit(36, 0);
CALL answer(36, 'InventoryReserved');
SELECT state('order', 36), facts(36), sent();

-- the dispatch alarm: stays Confirmed, stuck as overdue, again a day later
CALL follow(34, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged');
SELECT saga.fire_due(now() + interval '72 h 1 min') > 0 AS fired;
SELECT split_part(state('order', 34), ' ', 1), timers(34), (SELECT reason FROM saga.stuck WHERE correlation_id = id(34));
CALL answer(34, 'ShipmentDispatched');
SELECT (SELECT count(*) FROM saga.stuck WHERE correlation_id = id(34)) AS stuck;

-- a payment of an earlier, declined key turns up while the order goes on: refunded
CALL follow(35, 'InventoryReserved');
CALL answer(35, 'PaymentFailed', '{"error_code": "busy", "is_retryable": true}');
SELECT fire(35, 'retry');
CALL answer(35, 'PaymentProcessed');
SELECT sent() IS NOT NULL AS sent;
CALL answer(35, 'PaymentProcessed', '{}', 1);
SELECT split_part(state('order', 35), ' ', 1), facts(35), sent();
CALL answer(35, 'PaymentRefunded', '{}', 1);
CALL answer(35, 'ReservationCommitted');
CALL answer(35, 'ShipmentArranged');
SELECT split_part(state('order', 35), ' ', 1), facts(35), sent();

-- a key that nobody asked with, a fact that contradicts: no effect
CALL happen(35, 'PaymentProcessed', jsonb_build_object('key', id(4000), 'transaction_id', 'x', 'amount', 1, 'currency', 'USD', 'processed_at', now()));
CALL answer(35, 'InventoryReleased');
SELECT split_part(state('order', 35), ' ', 1), facts(35), sent();

-- every non-final instance has a timer, a final one none unless something is owed
SELECT current_state, count(*) FROM saga.instances WHERE saga = 'order' AND next_timer IS NULL GROUP BY 1 ORDER BY 1;
SELECT current_state, count(*) FROM saga.instances WHERE saga = 'order' AND next_timer IS NOT NULL GROUP BY 1 ORDER BY 1;
-- the versions are those of the history, and the history folds to the data
SELECT count(*) FROM saga.instance i
WHERE version <> (SELECT count(*) FROM saga.history(i.saga, i.correlation_id))
	OR current_state <> (SELECT to_state FROM saga.history(i.saga, i.correlation_id) ORDER BY version DESC LIMIT 1);
CREATE FUNCTION folded(saga text, id uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	data jsonb := '{}';
	a jsonb;
BEGIN
	FOR a IN SELECT e FROM saga.history(saga, id) h, jsonb_array_elements(h.actions) WITH ORDINALITY e (e, n)
		WHERE e.e ->> 'action' = 'data' ORDER BY h.version, n
	LOOP
		data := (data - ARRAY(SELECT jsonb_array_elements_text(coalesce(a -> 'unset', '[]')))) || coalesce(a -> 'set', '{}');
	END LOOP;
	RETURN data;
END
$$;
SELECT count(*), count(*) FILTER (WHERE folded(saga, correlation_id) = data) AS fold FROM saga.instance;
-- and both are found out: a transition that left no trace, a history that says something else
UPDATE saga.stored_instance SET version = version + 1 WHERE correlation_id = id(1);
SELECT right(correlation_id::text, 2) AS n FROM saga.instance i
WHERE version <> (SELECT count(*) FROM saga.history(i.saga, i.correlation_id));
UPDATE saga.history_entry h SET actions = '[]' FROM saga.stored_instance i
WHERE i.number = h.number AND i.correlation_id = id(2) AND h.version = 1;
SELECT right(correlation_id::text, 2) AS n FROM saga.instance WHERE folded(saga, correlation_id) <> data;
