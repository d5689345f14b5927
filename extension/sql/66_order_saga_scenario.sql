-- The world of the order saga, for saga.simulate().

CREATE FUNCTION ecommerce.order_saga_scenario() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$ SELECT $scenario$
{
	"start": {
		"type": "OrderSubmitted",
		"body": {"order_id": "515a9000-0000-4000-8000-000000000001",
			"customer_id": "c0000000-0000-4000-8000-000000000001",
			"items": [
				{"product_id": "a0000000-0000-4000-8000-000000000001", "product_name": "Mug",
					"sku": "MUG", "quantity": 2, "unit_price": 21.00, "total_price": 42.00}],
			"total_amount": 42.00,
			"shipping_address": {"street": "1 Main St", "city": "Springfield", "state": "IL",
				"postal_code": "62701", "country": "US"},
			"payment_method": {"type": "card", "last4_digits": "4242", "token": "tok_ok"}}
	},
	"participants": {
		"inventory": {
			"commands": {
				"ReserveInventory": {
					"none": [
						{"weight": 8, "to": "held",
							"reply": {"type": "InventoryReserved",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"reserved_items": [],
									"expires_at": {"$time": "now", "plus": "15 min"}}}},
						{"to": "rejected", "set": {"reason": "out_of_stock"},
							"reply": {"type": "InventoryReservationFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"reason": "$.record.reason", "out_of_stock_items": []}}},
						{"to": "rejected", "set": {"reason": "expired"},
							"reply": {"type": "InventoryReservationFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"reason": "$.record.reason", "out_of_stock_items": []}}}],
					"held": {
						"reply": {"type": "InventoryReserved",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reserved_items": [],
								"expires_at": {"$time": "now", "plus": "15 min"}}}},
					"committed": {
						"reply": {"type": "ReservationCommitted",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"rejected": {
						"reply": {"type": "InventoryReservationFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reason": "$.record.reason", "out_of_stock_items": []}}},
					"expired": {
						"reply": {"type": "ReservationExpired",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"released": {
						"reply": {"type": "InventoryReservationFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reason": "cancelled", "out_of_stock_items": []}}}},
				"CommitReservation": {
					"none": {
						"reply": {"type": "ReservationCommitFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reason": "unknown"}}},
					"held": {"to": "committed",
						"reply": {"type": "ReservationCommitted",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"committed": {
						"reply": {"type": "ReservationCommitted",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"expired": {
						"reply": {"type": "ReservationCommitFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reason": "expired"}}},
					"released": {
						"reply": {"type": "ReservationCommitFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reason": "cancelled"}}}},
				"ReleaseInventory": {
					"none": {"to": "released",
						"reply": {"type": "InventoryReleased",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"product_ids": []}}},
					"held": [
						{"weight": 2, "to": "released",
							"reply": {"type": "InventoryReleased",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"product_ids": []}}},
						{
							"reply": {"type": "InventoryReleaseFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"is_retryable": true}}},
						{
							"reply": {"type": "InventoryReleaseFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"is_retryable": false}}}],
					"committed": {"to": "released",
						"reply": {"type": "InventoryReleased",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"product_ids": []}}},
					"rejected": {"to": "released",
						"reply": {"type": "InventoryReleased",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"product_ids": []}}},
					"expired": {"to": "released",
						"reply": {"type": "InventoryReleased",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"product_ids": []}}},
					"released": {
						"reply": {"type": "InventoryReleased",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"product_ids": []}}}}},
			"happens": {
				"held": {"to": "expired", "at_most": 3,
					"reply": {"type": "ReservationExpired",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001",
							"key": "$.key"}}}}},
		"payment": {
			"commands": {
				"ProcessPayment": {
					"none": [
						{"weight": 10, "to": "captured",
							"reply": {"type": "PaymentProcessed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"transaction_id": "tx-${$.key}", "amount": "$.command.amount",
									"currency": "USD", "processed_at": "$.now"}}},
						{"to": "captured"},
						{"to": "declined",
							"set": {"error_code": "card_declined", "retryable": false},
							"reply": {"type": "PaymentFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"reason": "no", "error_code": "$.record.error_code",
									"is_retryable": "$.record.retryable"}}},
						{"to": "declined",
							"set": {"error_code": "provider_busy", "retryable": true},
							"reply": {"type": "PaymentFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"reason": "no", "error_code": "$.record.error_code",
									"is_retryable": "$.record.retryable"}}},
						{"to": "declined", "set": {"error_code": "expired", "retryable": false},
							"reply": {"type": "PaymentFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"reason": "no", "error_code": "$.record.error_code",
									"is_retryable": "$.record.retryable"}}},
						{"to": "declined",
							"set": {"error_code": "card_declined", "retryable": false}},
						{"to": "waiting"}, {}],
					"captured": {
						"reply": {"type": "PaymentProcessed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"transaction_id": "tx-${$.key}", "amount": "$.command.amount",
								"currency": "USD", "processed_at": "$.now"}}},
					"declined": {
						"reply": {"type": "PaymentFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reason": "no", "error_code": "$.record.error_code",
								"is_retryable": "$.record.retryable"}}},
					"returned": {
						"reply": {"type": "PaymentReturned",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"amount": "$.command.amount", "reason": "refund",
								"moves": 1}}},
					"voided": {
						"reply": {"type": "PaymentFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reason": "cancelled", "error_code": "cancelled",
								"is_retryable": false}}}},
				"QueryPaymentStatus": {
					"none": {
						"reply": {"type": "PaymentStatusReported",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"status": "not_found"}}},
					"captured": [
						{
							"reply": {"type": "PaymentStatusReported",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"status": "captured", "transaction_id": "tx-${$.key}",
									"amount": 42.00}}},
						{
							"reply": {"type": "PaymentStatusReported",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"status": "pending"}}}],
					"waiting": {
						"reply": {"type": "PaymentStatusReported",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"status": "waiting"}}},
					"returned": {
						"reply": {"type": "PaymentReturned",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"amount": 42.00, "reason": "refund", "moves": 1}}},
					"declined": {
						"reply": {"type": "PaymentStatusReported",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"status": "declined", "error_code": "$.record.error_code",
								"is_retryable": "$.record.retryable"}}},
					"voided": {
						"reply": {"type": "PaymentVoided",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}}},
				"RefundPayment": {
					"none": {"to": "voided",
						"reply": {"type": "PaymentVoided",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"captured": [
						{"weight": 2, "to": "refunded",
							"reply": {"type": "PaymentRefunded",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"refund_id": "re-${$.key}", "amount": "$.command.amount",
									"reason": "$.command.reason"}}},
						{
							"reply": {"type": "PaymentRefundFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"is_retryable": true, "error_code": "provider_busy"}}},
						{
							"reply": {"type": "PaymentRefundFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"is_retryable": false, "error_code": "closed_account"}}}],
					"refunded": {
						"reply": {"type": "PaymentRefunded",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"refund_id": "re-${$.key}", "amount": "$.command.amount",
								"reason": "$.command.reason"}}},
					"declined": {"to": "voided",
						"reply": {"type": "PaymentVoided",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"waiting": {"to": "voided",
						"reply": {"type": "PaymentVoided",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"returned": {"to": "refunded",
						"reply": {"type": "PaymentRefunded",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"refund_id": "re-${$.key}", "amount": "$.command.amount",
								"reason": "$.command.reason"}}},
					"voided": {
						"reply": {"type": "PaymentVoided",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}}}},
			"happens": {
				"waiting": {"to": "captured",
					"reply": {"type": "PaymentProcessed",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001",
							"key": "$.key", "transaction_id": "tx-${$.key}", "amount": 42.00,
							"currency": "USD", "processed_at": "$.now"}}}}},
		"shipping": {
			"commands": {
				"ArrangeShipment": {
					"none": [
						{"weight": 4, "to": "arranged",
							"reply": {"type": "ShipmentArranged",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"shipment_id": "$.key", "carrier": "post",
									"estimated_delivery": "$.now"}}},
						{"to": "failed", "set": {"error_code": "no_service", "retryable": false},
							"reply": {"type": "ShipmentFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"reason": "no", "error_code": "$.record.error_code",
									"is_retryable": "$.record.retryable"}}},
						{"to": "failed", "set": {"error_code": "carrier_busy", "retryable": true},
							"reply": {"type": "ShipmentFailed",
								"body": {"order_id": "$.command.order_id", "key": "$.key",
									"reason": "no", "error_code": "$.record.error_code",
									"is_retryable": "$.record.retryable"}}}],
					"arranged": {
						"reply": {"type": "ShipmentArranged",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"shipment_id": "$.key", "carrier": "post",
								"estimated_delivery": "$.now"}}},
					"failed": {
						"reply": {"type": "ShipmentFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reason": "no", "error_code": "$.record.error_code",
								"is_retryable": "$.record.retryable"}}},
					"cancelled": {
						"reply": {"type": "ShipmentFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"reason": "cancelled", "error_code": "cancelled",
								"is_retryable": false}}}},
				"CancelShipment": {
					"none": {"to": "cancelled",
						"reply": {"type": "ShipmentCancelled",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"arranged": {"to": "cancelled",
						"reply": {"type": "ShipmentCancelled",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"shipment_id": "$.key"}}},
					"failed": {"to": "cancelled",
						"reply": {"type": "ShipmentCancelled",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"cancelled": {
						"reply": {"type": "ShipmentCancelled",
							"body": {"order_id": "$.command.order_id", "key": "$.key"}}},
					"dispatched": {
						"reply": {"type": "ShipmentCancelFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"already_dispatched": true}}},
					"delivered": {
						"reply": {"type": "ShipmentCancelFailed",
							"body": {"order_id": "$.command.order_id", "key": "$.key",
								"already_dispatched": true}}}}},
			"happens": {
				"arranged": {"to": "dispatched",
					"reply": {"type": "ShipmentDispatched",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001",
							"key": "$.key", "shipment_id": "$.key", "tracking_number": "T1"}}},
				"dispatched": {"to": "delivered",
					"reply": {"type": "ShipmentDelivered",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001",
							"key": "$.key", "shipment_id": "$.key", "delivered_at": "$.now"}}}}}
	},
	"requests": [
		{"type": "OrderCancellationRequested",
			"body": {"order_id": "515a9000-0000-4000-8000-000000000001", "by": "customer",
				"reason": "ChangedMind"}},
		{"type": "OrderCancellationRequested",
			"body": {"order_id": "515a9000-0000-4000-8000-000000000001", "by": "customer",
				"reason": "TooSlow"}}
	],
	"invariants": [
		{"name": "1 money, completed", "at_end": true, "when": "$.saga.state == \"Completed\"",
			"holds": "$.count.payment.captured == 1"},
		{"name": "1 money, cancelled", "when": "$.saga.state == \"Cancelled\"",
			"holds": "!exists($.count.payment.captured)"},
		{"name": "1 money, confirmed", "when": "$.saga.state == \"Confirmed\"",
			"holds": "$.count.payment.captured >= 1"},
		{"name": "2 stock, cancelled", "when": "$.saga.state == \"Cancelled\"",
			"holds": "!exists($.count.inventory.held) && !exists($.count.inventory.committed)"},
		{"name": "2 stock, completed", "at_end": true, "when": "$.saga.state == \"Completed\"",
			"holds": "$.count.inventory.committed == 1 && !exists($.count.inventory.held)"},
		{"name": "3 one end, completed", "at_end": true, "when": "$.saga.state == \"Completed\"",
			"holds": "$.events.OrderCompleted == 1 && !exists($.events.OrderCancelled)"},
		{"name": "3 one end, cancelled", "at_end": true, "when": "$.saga.state == \"Cancelled\"",
			"holds": "$.events.OrderCancelled == 1 && !exists($.events.OrderCompleted)"},
		{"name": "3 cancelled though confirmed", "at_end": true,
			"when": "$.events.OrderConfirmed == 1 && $.data.cancel_reason != \"ShippingUnavailable\"",
			"holds": "$.saga.state != \"Cancelled\" || exists($.data.cancelled_by)"},
		{"name": "7 no shipment, cancelled", "when": "$.saga.state == \"Cancelled\"",
			"holds": "!exists($.participants.shipping[*].st ? (@ != \"cancelled\" && @ != \"failed\"))"},
		{"name": "7 no refund of goods that left",
			"when": "exists($.count.shipping.dispatched) || exists($.count.shipping.delivered)",
			"holds": "!exists($.count.payment.refunded) || $.count.payment.captured >= 1"},
		{"name": "two live payments", "holds": "!($.count.payment.captured > 1)"}
	],
	"idempotent": true,
	"alike": {"state": "$.saga.state", "stock": "$.count.inventory",
		"money": {"$path": "$.count.payment.captured", "default": 0},
		"goods": {"$path": "$.count.shipping.delivered", "default": 0}},
	"faults": {
		"drops": 3,
		"duplicates": 3,
		"timeouts": 3
	}
}
$scenario$::jsonb $function$;
COMMENT ON FUNCTION ecommerce.order_saga_scenario() IS
'A world for saga.simulate(''order'', ...): inventory, payment and shipping with everything they may '
'answer, customers who change their mind, and the invariants of the order saga.';
