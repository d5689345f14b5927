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
	"replies": {
		"*": {"order_id": "$.command.order_id", "key": "$.key"},
		"InventoryReserved": {
			"reserved_items": [],
			"expires_at": {"$time": "now", "plus": "15 min"}},
		"InventoryReservationFailed": {"reason": "$.record.reason", "out_of_stock_items": []},
		"InventoryReleased": {"product_ids": []},
		"PaymentProcessed": {
			"transaction_id": "tx-${$.key}",
			"amount": "$.command.amount",
			"currency": "USD",
			"processed_at": "$.now"},
		"PaymentFailed": {
			"reason": "no",
			"error_code": "$.record.error_code",
			"is_retryable": "$.record.retryable"},
		"PaymentReturned": {"reason": "refund", "moves": 1},
		"PaymentRefunded": {
			"refund_id": "re-${$.key}",
			"amount": "$.command.amount",
			"reason": "$.command.reason"},
		"ShipmentArranged": {
			"shipment_id": "$.key",
			"carrier": "post",
			"estimated_delivery": "$.now"},
		"ShipmentFailed": {
			"reason": "no",
			"error_code": "$.record.error_code",
			"is_retryable": "$.record.retryable"},
		"ShipmentCancelFailed": {"already_dispatched": true},
		"ShipmentDispatched": {"shipment_id": "$.key", "tracking_number": "T1"},
		"ShipmentDelivered": {"shipment_id": "$.key", "delivered_at": "$.now"}
	},
	"participants": {
		"inventory": {
			"commands": {
				"ReserveInventory": {
					"none": [
						{"weight": 8, "to": "held", "reply": "InventoryReserved"},
						{"to": "rejected", "set": {"reason": "out_of_stock"},
							"reply": "InventoryReservationFailed"},
						{"to": "rejected", "set": {"reason": "expired"},
							"reply": "InventoryReservationFailed"}],
					"held": {"reply": "InventoryReserved"},
					"committed": {"reply": "ReservationCommitted"},
					"rejected": {"reply": "InventoryReservationFailed"},
					"expired": {"reply": "ReservationExpired"},
					"released": {
						"reply": {"type": "InventoryReservationFailed",
							"body": {"reason": "cancelled"}}}},
				"CommitReservation": {
					"none": {
						"reply": {"type": "ReservationCommitFailed", "body": {"reason": "unknown"}}},
					"held": {"to": "committed", "reply": "ReservationCommitted"},
					"committed": {"reply": "ReservationCommitted"},
					"expired": {
						"reply": {"type": "ReservationCommitFailed", "body": {"reason": "expired"}}},
					"released": {
						"reply": {"type": "ReservationCommitFailed", "body": {"reason": "cancelled"}}}},
				"ReleaseInventory": {
					"none": {"to": "released", "reply": "InventoryReleased"},
					"held": [
						{"weight": 2, "to": "released", "reply": "InventoryReleased"},
						{
							"reply": {"type": "InventoryReleaseFailed", "body": {"is_retryable": true}}},
						{
							"reply": {"type": "InventoryReleaseFailed",
								"body": {"is_retryable": false}}}],
					"committed": {"to": "released", "reply": "InventoryReleased"},
					"rejected": {"to": "released", "reply": "InventoryReleased"},
					"expired": {"to": "released", "reply": "InventoryReleased"},
					"released": {"reply": "InventoryReleased"}}},
			"happens": {
				"held": {
					"to": "expired",
					"at_most": 3,
					"reply": {"type": "ReservationExpired",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001"}}}}},
		"payment": {
			"commands": {
				"ProcessPayment": {
					"none": [
						{"weight": 10, "to": "captured", "reply": "PaymentProcessed"},
						{"to": "captured"},
						{"to": "declined",
							"set": {"error_code": "card_declined", "retryable": false},
							"reply": "PaymentFailed"},
						{"to": "declined",
							"set": {"error_code": "provider_busy", "retryable": true},
							"reply": "PaymentFailed"},
						{"to": "declined",
							"set": {"error_code": "expired", "retryable": false},
							"reply": "PaymentFailed"},
						{"to": "declined",
							"set": {"error_code": "card_declined", "retryable": false}},
						{"to": "waiting"},
						{}],
					"captured": {"reply": "PaymentProcessed"},
					"declined": {"reply": "PaymentFailed"},
					"returned": {
						"reply": {"type": "PaymentReturned", "body": {"amount": "$.command.amount"}}},
					"voided": {
						"reply": {
							"type": "PaymentFailed",
							"body": {"reason": "cancelled", "error_code": "cancelled",
								"is_retryable": false}}}},
				"QueryPaymentStatus": {
					"none": {
						"reply": {"type": "PaymentStatusReported", "body": {"status": "not_found"}}},
					"captured": [
						{
							"reply": {
								"type": "PaymentStatusReported",
								"body": {"status": "captured", "transaction_id": "tx-${$.key}",
									"amount": 42.00}}},
						{
							"reply": {"type": "PaymentStatusReported", "body": {"status": "pending"}}}],
					"waiting": {
						"reply": {"type": "PaymentStatusReported", "body": {"status": "waiting"}}},
					"returned": {
						"reply": {"type": "PaymentReturned", "body": {"amount": 42.00}}},
					"declined": {
						"reply": {
							"type": "PaymentStatusReported",
							"body": {"status": "declined", "error_code": "$.record.error_code",
								"is_retryable": "$.record.retryable"}}},
					"voided": {"reply": "PaymentVoided"}},
				"RefundPayment": {
					"none": {"to": "voided", "reply": "PaymentVoided"},
					"captured": [
						{"weight": 2, "to": "refunded", "reply": "PaymentRefunded"},
						{
							"reply": {"type": "PaymentRefundFailed",
								"body": {"is_retryable": true, "error_code": "provider_busy"}}},
						{
							"reply": {"type": "PaymentRefundFailed",
								"body": {"is_retryable": false, "error_code": "closed_account"}}}],
					"refunded": {"reply": "PaymentRefunded"},
					"declined": {"to": "voided", "reply": "PaymentVoided"},
					"waiting": {"to": "voided", "reply": "PaymentVoided"},
					"returned": {"to": "refunded", "reply": "PaymentRefunded"},
					"voided": {"reply": "PaymentVoided"}}},
			"happens": {
				"waiting": {
					"to": "captured",
					"reply": {"type": "PaymentProcessed",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001", "amount": 42.00}}}}},
		"shipping": {
			"commands": {
				"ArrangeShipment": {
					"none": [
						{"weight": 4, "to": "arranged", "reply": "ShipmentArranged"},
						{"to": "failed",
							"set": {"error_code": "no_service", "retryable": false},
							"reply": "ShipmentFailed"},
						{"to": "failed",
							"set": {"error_code": "carrier_busy", "retryable": true},
							"reply": "ShipmentFailed"}],
					"arranged": {"reply": "ShipmentArranged"},
					"failed": {"reply": "ShipmentFailed"},
					"cancelled": {
						"reply": {
							"type": "ShipmentFailed",
							"body": {"reason": "cancelled", "error_code": "cancelled",
								"is_retryable": false}}}},
				"CancelShipment": {
					"none": {"to": "cancelled", "reply": "ShipmentCancelled"},
					"arranged": {"to": "cancelled",
						"reply": {"type": "ShipmentCancelled", "body": {"shipment_id": "$.key"}}},
					"failed": {"to": "cancelled", "reply": "ShipmentCancelled"},
					"cancelled": {"reply": "ShipmentCancelled"},
					"dispatched": {"reply": "ShipmentCancelFailed"},
					"delivered": {"reply": "ShipmentCancelFailed"}}},
			"happens": {
				"arranged": {
					"to": "dispatched",
					"reply": {"type": "ShipmentDispatched",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001"}}},
				"dispatched": {
					"to": "delivered",
					"reply": {"type": "ShipmentDelivered",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001"}}}}}
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
