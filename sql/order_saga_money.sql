-- The order saga and money that moves otherwise than by its own commands: a provider that is
-- away, refunds made elsewhere, disputes, refunds that fail later.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\i :top/sql/include/order_saga.sql
\set ECHO all
SELECT ecommerce.install_order_saga();
SELECT * FROM saga.verify('order');
SELECT message_bus.create_endpoint('audit');
SELECT message_bus.subscribe('audit', t) FROM unnest('{OrderCancellationRejected,OrderCancellationAmended}'::text[]) t;
CREATE FUNCTION now_in(n int) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', split_part(state('order', n), ' ', 1), facts(n), 'stuck: '
		|| (SELECT string_agg(reason, ' ') FROM saga.stuck WHERE correlation_id = id(n)))
$$;

-- The provider is away: nothing was sent. The order keeps its hold and waits, however long it takes.
CALL follow(1, 'InventoryReserved');
SELECT sent();
SELECT fire(1, 'payment');
CALL answer(1, 'PaymentStatusReported', '{"status": "waiting"}');
SELECT now_in(1), timers(1) ~ 'hold' AS held;
SELECT fire(1, 'overall');
SELECT now_in(1), timers(1) ~ 'overall 30' AS goes_on;
CALL answer(1, 'PaymentStatusReported', '{"status": "waiting"}');
SELECT fire(1, 'overall');
CALL answer(1, 'PaymentStatusReported', '{"status": "waiting"}');
SELECT now_in(1);
CALL answer(1, 'PaymentProcessed');
SELECT now_in(1);
-- It has been sent by now, and nobody knows what became of it: that has an end.
CALL follow(2, 'InventoryReserved');
SELECT fire(2, 'payment');
CALL answer(2, 'PaymentStatusReported', '{"status": "waiting"}');
SELECT fire(2, 'overall');
CALL answer(2, 'PaymentStatusReported', '{"status": "pending"}');
SELECT fire(2, 'overall');
SELECT now_in(2);
-- Whoever cancels while it waits: nothing was charged.
CALL follow(3, 'InventoryReserved');
SELECT fire(3, 'payment');
CALL answer(3, 'PaymentStatusReported', '{"status": "waiting"}');
SELECT sent() IS NOT NULL AS sent;
CALL happen(3, 'OrderCancellationRequested', '{"by": "customer", "reason": "TooSlow"}');
SELECT now_in(3), sent();
CALL answer(3, 'PaymentVoided');
CALL answer(3, 'InventoryReleased');
SELECT now_in(3), ended(3);

-- Refunded at the provider before the goods have left: no goods for it.
CALL follow(4, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged');
SELECT sent() IS NOT NULL AS sent;
CALL answer(4, 'PaymentReturned');
SELECT now_in(4), sent();
CALL answer(4, 'ShipmentCancelled');
SELECT now_in(4), sent();
CALL answer(4, 'PaymentRefunded', '{"refund_id": "re_else"}');
CALL answer(4, 'InventoryReleased');
SELECT now_in(4), ended(4);
CALL answer(4, 'PaymentReturned');
CALL answer(4, 'PaymentProcessed');
SELECT now_in(4), sent();
-- The same while it is being shipped; the shipment was faster.
CALL follow(5, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged');
CALL answer(5, 'PaymentReturned', '{"reason": "dispute", "refund_id": null}');
SELECT now_in(5);
CALL answer(5, 'ShipmentCancelFailed');
SELECT now_in(5);
CALL answer(5, 'ShipmentDelivered');
CALL happen(5, 'OrderCancellationRequested', '{"by": "customer", "reason": "late"}');
SELECT now_in(5), ended(5);
SELECT fire(5, 'overall');
SELECT now_in(5);
-- The dispute is won.
CALL answer(5, 'PaymentRegained');
SELECT now_in(5), ended(5);

-- After the goods have left, and after all was done.
CALL follow(6, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged', 'ShipmentDispatched');
CALL answer(6, 'PaymentReturned');
SELECT now_in(6);
CALL follow(7, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentArranged', 'ShipmentDelivered');
SELECT now_in(7);
CALL answer(7, 'PaymentReturned', '{"reason": "dispute"}');
SELECT now_in(7);
CALL answer(7, 'PaymentRegained');
CALL answer(7, 'PaymentReturned', '{"reason": "dispute"}');
SELECT now_in(7), ended(7);
-- Won, and then refunded by somebody all the same: newer counts, older does not.
CALL answer(7, 'PaymentReturned', '{"moves": 3}');
SELECT now_in(7);
CALL answer(7, 'PaymentRegained');
SELECT now_in(7);

-- Heard of before the payment itself.
CALL follow(8, 'InventoryReserved');
CALL answer(8, 'PaymentReturned');
CALL answer(8, 'PaymentProcessed');
SELECT now_in(8);

-- Our own refund: one that was made by somebody else meanwhile, one that the provider refuses
-- because of a dispute, one that fails after it was heard of.
CALL follow(9, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentFailed');
CALL answer(9, 'PaymentReturned');
CALL answer(9, 'PaymentRefundFailed');
CALL answer(9, 'InventoryReleased');
SELECT now_in(9);
CALL answer(9, 'PaymentRefunded');
SELECT now_in(9), ended(9);
CALL follow(10, 'InventoryReserved', 'PaymentProcessed', 'ReservationCommitted', 'ShipmentFailed');
CALL answer(10, 'InventoryReleased');
CALL answer(10, 'PaymentRefundFailed', '{"is_retryable": false, "error_code": "charge_disputed"}');
SELECT now_in(10);
CALL answer(10, 'PaymentRefunded', '{"refund_id": "dp_1"}');
SELECT now_in(10), ended(10);
SELECT sent() IS NOT NULL AS sent;
CALL answer(10, 'PaymentRegained');
SELECT now_in(10), sent();
CALL answer(10, 'PaymentRefundFailed', '{"is_retryable": false, "error_code": "expired_card"}');
SELECT now_in(10);
CALL answer(10, 'PaymentRefunded');
SELECT now_in(10), sent();
