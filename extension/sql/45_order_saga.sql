-- The order saga: a definition for the saga engine. How to read it: extension/saga/README.md.

CREATE FUNCTION ecommerce.order_saga_definition() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$ SELECT $definition$
{
	"description": "An order over inventory, payment and shipping; undone when a step fails.",
	"endpoint": "order",
	"initial": "ReservingInventory",
	"park_for": "10 min",
	"retain_for": "30 days",
	"conditions": {
		"cancelling": "$.data.goal == \"CANCEL\"",
		"asked": "exists($.data.cancellation[*] ? (@.st == \"asked\"))",
		"hold": "$.data.inv.st == \"held\"",
		"hold_lost": "$.data.inv.st == \"expired\" || <stock_undone>",
		"no_stock": "$.data.inv.st == \"rejected\"",
		"asked_too_late": "<no_stock> && $.data.inv.reason == \"expired\"",
		"captured": "$.data.pay[last].st == \"captured\"",
		"declined": "$.data.pay[last].st == \"declined\"",
		"paid_too_late": "$.data.pay[last].error_code == \"expired\"",
		"may_pay": "$.data.pay[last].retryable == true || <paid_too_late>",
		"may_pay_again": "<may_pay> && $.data.pay[last].attempt < 3",
		"arranged": "$.data.shp.st == \"arranged\" || <goods_left>",
		"on_its_way": "$.data.shp.st == \"dispatched\" || $.data.shp.st == \"delivered\"",
		"goods_left": "<on_its_way> || $.data.shp.st == \"cancel_rejected\"",
		"late_capture": "exists($.data.pay[*] ? (@.key == $.message.key && @.st == \"captured\"))",
		"about_this_payment": "$.message.key == $.data.pay[last].key",
		"not_found": "$.message.status == \"not_found\" && <about_this_payment>",
		"both_done": "$.data.inv.st == \"committed\" && <arranged>",
		"may_ship": "$.data.shp.retryable == true || $.data.shp.error_code == \"expired\"",
		"may_ship_again": "<may_ship> && $.data.shp.attempt < 5",
		"stock_undone": "$.data.inv.st == \"releasing\" || $.data.inv.st == \"released\"",
		"wanted": "$.data.pay[*] ? (!(@.late == true))",
		"money_undone": "exists(<wanted>.st ? (@ starts with \"refund\" || @ == \"voided\"))",
		"undoing": "<stock_undone> || <money_undone>"
	},
	"facts": {
		"inv": {
			"description": "The hold of the goods; a lost one is asked for again with a new key.",
			"keep": "latest",
			"lattice": {"none": ["requested"], "requested": ["held", "rejected", "releasing"],
				"held": ["committed", "expired", "releasing"], "committed": ["releasing"],
				"expired": ["releasing"], "releasing": ["released"]},
			"late": {"rejected": ["held"], "expired": ["held"]}},
		"pay": {"description": "Payments, one per key; a new key only after a definite no.",
			"keep": "all",
			"lattice": {"none": ["requested"],
				"requested": ["captured", "declined", "unknown", "refunding"],
				"unknown": ["captured", "declined", "voided", "refunding"],
				"captured": ["refunding"], "refunding": ["refunded", "voided", "refund_failed"],
				"refund_failed": ["refunding"]},
			"late": {"declined": ["captured"], "voided": ["captured"]}},
		"shp": {"description": "The shipment.", "keep": "latest",
			"lattice": {"none": ["requested"], "requested": ["arranged", "failed", "cancelling"],
				"arranged": ["dispatched", "cancelling"], "dispatched": ["delivered"],
				"cancelling": ["cancelled", "cancel_rejected", "dispatched"],
				"cancel_rejected": ["dispatched"]}, "late": {"failed": ["arranged"]}},
		"cancellation": {"description": "Requests to cancel, one per person and reason.",
			"keep": "all", "lattice": {"none": ["asked"], "asked": ["rejected"]}}
	},
	"events": {
		"OrderSubmitted": {"correlate": "$.message.order_id"},
		"OrderCancellationRequested": {"correlate": "$.message.order_id",
			"fact": {"of": "cancellation", "guard": "$.saga.state != \"Cancelled\"",
				"create": true, "key": "${$.message.by}: ${$.message.reason}", "to": "asked",
				"set": {"by": "$.message.by", "reason": "$.message.reason"}}},
		"InventoryReserved": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "held",
				"most": {"expires_at": {"$time": "$.message.expires_at"}}}},
		"InventoryReservationFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "rejected", "set": {"reason": "$.message.reason"}}},
		"ReservationCommitted": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "committed"}},
		"ReservationCommitFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "expired",
				"set": {"reason": {"$path": "$.message.reason", "default": null}}}},
		"ReservationExpired": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "expired"}},
		"InventoryReleased": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "released"}},
		"InventoryReleaseFailed": {"correlate": "$.message.order_id"},
		"PaymentProcessed": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "to": "captured",
				"note": {"captured": true,
					"transaction_id": {"$path": "$.message.transaction_id", "default": null}}}},
		"PaymentFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "to": "declined",
				"set": {"error_code": {"$path": "$.message.error_code", "default": null},
					"retryable": "$.message.is_retryable"}}},
		"PaymentStatusReported": {"correlate": "$.message.order_id",
			"fact": [
				{"of": "pay", "guard": "$.message.status == \"captured\"", "to": "captured",
					"note": {"captured": true,
						"transaction_id": {"$path": "$.message.transaction_id", "default": null}}},
				{"of": "pay", "guard": "$.message.status == \"declined\"", "to": "declined",
					"set": {"error_code": {"$path": "$.message.error_code", "default": null},
						"retryable": {"$path": "$.message.is_retryable", "default": false}}}]},
		"PaymentRefunded": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "to": "refunded",
				"note": {"refund_id": {"$path": "$.message.refund_id", "default": null}}}},
		"PaymentVoided": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "to": "voided"}},
		"PaymentRefundFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "to": "refund_failed",
				"set": {"refund_error": {"$path": "$.message.error_code", "default": null}}}},
		"ShipmentArranged": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "arranged",
				"note": {"shipment_id": "$.message.shipment_id"}}},
		"ShipmentFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "failed",
				"set": {"error_code": {"$path": "$.message.error_code", "default": null},
					"retryable": "$.message.is_retryable"}}},
		"ShipmentDispatched": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "dispatched",
				"note": {"shipment_id": "$.message.shipment_id",
					"tracking_number": {"$path": "$.message.tracking_number", "default": null}}}},
		"ShipmentDelivered": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "delivered",
				"note": {"shipment_id": "$.message.shipment_id"}}},
		"ShipmentCancelled": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "cancelled"}},
		"ShipmentCancelFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "guard": "$.message.already_dispatched == true",
				"to": "cancel_rejected"}}
	},
	"commands": {
		"reserve": {"step": "reserve", "endpoint": "inventory", "type": "ReserveInventory",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key", "items": "$.data.items",
				"ttl": 900, "not_after": {"$time": "now", "plus": "2 min"}},
			"fact": {"of": "inv", "to": "requested"},
			"resend": {"timer": "reserve", "every": "30 s", "limit": 3},
			"compensation": {"owed": "release"}},
		"renew": {"step": "renew", "key": "$.data.inv.key", "endpoint": "inventory",
			"type": "ReserveInventory",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key", "items": "$.data.items",
				"ttl": 900, "not_after": {"$time": "now", "plus": "1 min"}},
			"compensation": "none"},
		"commit": {"step": "commit", "key": "$.data.inv.key", "endpoint": "inventory",
			"type": "CommitReservation",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key"},
			"fact": {"of": "inv", "set": {"committing": true}},
			"resend": {"timer": "commit", "every": "30 s", "limit": 3},
			"compensation": {"owed": "release"}},
		"pay": {"step": "payment", "endpoint": "payment", "type": "ProcessPayment",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key", "amount": "$.data.total",
				"currency": "$.data.currency", "payment_method": "$.data.payment_method",
				"not_after": {"$time": "now", "plus": "2 min"}},
			"fact": {"of": "pay", "to": "requested"}, "compensation": {"owed": "refund"}},
		"query": {"step": "query", "key": "$.data.pay[last].key", "endpoint": "payment",
			"type": "QueryPaymentStatus",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key"}, "compensation": "none"},
		"ship": {"step": "ship", "endpoint": "shipping", "type": "ArrangeShipment",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key", "items": "$.data.items",
				"shipping_address": "$.data.shipping_address",
				"not_after": {"$time": "now", "plus": "20 min"}},
			"fact": {"of": "shp", "to": "requested"},
			"resend": {"timer": "ship", "every": "5 min", "limit": 3},
			"compensation": {"owed": "cancel_shipment"}},
		"notify": {"endpoint": "notification", "type": "SendNotification",
			"body": {"order_id": "$.saga.correlation_id", "customer_id": "$.data.customer_id",
				"data": {"total": "$.data.total", "currency": "$.data.currency"}},
			"compensation": "none"}
	},
	"owed": {
		"cancel_shipment": {
			"description": "First of all: goods that may still leave are not refunded.",
			"each": "shp", "in": ["requested", "arranged", "cancelling"],
			"when": "<cancelling> || $.record.late == true", "to": "cancelling",
			"endpoint": "shipping", "type": "CancelShipment",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key"},
			"resend": {"kind": "interval",
				"intervals": ["1 min", "2 min", "4 min", "8 min", "15 min"]},
			"give_up_after": "24 h", "then_every": "24 h"},
		"refund": {"description": "Refunds or voids; also a payment heard of after its decline.",
			"each": "pay",
			"in": ["requested", "unknown", "captured", "refunding", "refund_failed"],
			"when": "<cancelling> || $.record.late == true", "after": ["cancel_shipment"],
			"to": "refunding", "endpoint": "payment", "type": "RefundPayment",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key", "amount": "$.data.total",
				"reason": {"$path": "$.data.cancel_reason", "default": "DuplicatePayment"}},
			"resend": {"kind": "interval",
				"intervals": ["1 min", "2 min", "4 min", "8 min", "15 min"]},
			"give_up_after": "72 h", "then_every": "24 h",
			"refused_by": {"PaymentRefundFailed": "$.message.is_retryable == false"}},
		"release": {"each": "inv", "in": ["requested", "held", "committed", "releasing"],
			"when": "<cancelling> || $.record.late == true", "after": ["cancel_shipment"],
			"to": "releasing", "endpoint": "inventory", "type": "ReleaseInventory",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key",
				"reason": {"$path": "$.data.cancel_reason", "default": "LateReservation"}},
			"resend": {"kind": "interval",
				"intervals": ["1 min", "2 min", "4 min", "8 min", "15 min"]},
			"give_up_after": "24 h", "then_every": "24 h",
			"refused_by": {"InventoryReleaseFailed": "$.message.is_retryable == false"}}
	},
	"start": {
		"OrderSubmitted": {
			"set": {"goal": "FULFIL", "customer_id": "$.message.customer_id",
				"total": "$.message.total_amount", "currency": {"$setting": "ecommerce.currency"},
				"items": {"$each": "$.message.items[*]",
					"as": {"product_id": "$.item.product_id", "sku": "$.item.sku",
						"quantity": "$.item.quantity"}},
				"shipping_address": "$.message.shipping_address",
				"payment_method": "$.message.payment_method"},
			"append": {"stream": "order-${$.saga.correlation_id}", "type": "OrderCreated",
				"skip_existing": true,
				"data": {"customer_id": "$.message.customer_id", "items": "$.message.items",
					"total_amount": "$.message.total_amount",
					"shipping_address": "$.message.shipping_address",
					"payment_method": "$.message.payment_method"}},
			"send": [{"command": "reserve"},
				{"command": "notify", "step": "notify_received",
					"body": {"template": "order_received"}}],
			"schedule": {"timer": "overall", "delay": "30 min"}, "goto": "ReservingInventory"}
	},
	"common": {
		"requests": {"description": "A customer may cancel as long as the goods have not left.",
			"always": [
				{"why": "too late to cancel", "each": "cancellation", "in": ["asked"],
					"guard": "<goods_left>",
					"publish": {"type": "OrderCancellationRejected",
						"body": {"order_id": "$.saga.correlation_id",
							"reason": "AlreadyDispatched"}},
					"fact": {"of": "cancellation", "to": "rejected"}},
				{"why": "cancelled on request", "guard": "<asked> && !<cancelling>",
					"set": {"goal": "CANCEL",
						"cancel_reason": {
							"$first": "$.data.cancellation[*] ? (@.st == \"asked\").reason"},
						"cancelled_by": {
							"$first": "$.data.cancellation[*] ? (@.st == \"asked\").by"}}}]},
		"goal": {"description": "Once the goal is to cancel, all that counts is what is owed.",
			"always": [
				{"why": "to be undone", "guard": "<cancelling> && $.owed > 0", "unschedule": ["*"],
					"goto": "Compensating"},
				{"why": "nothing to undo", "guard": "<cancelling>", "unschedule": ["*"],
					"append": {"stream": "order-${$.saga.correlation_id}",
						"type": "OrderCancelled",
						"data": {"reason": "$.data.cancel_reason",
							"refund_id": {"$first": "$.data.pay[*].refund_id", "default": null}}},
					"send": {"command": "notify", "step": "notify_cancelled",
						"body": {"template": "order_cancelled",
							"data": {"reason": "$.data.cancel_reason"}}}, "goto": "Cancelled"}]},
		"overall": {"description": "Thirty minutes from the submission, whatever happens.",
			"on": {
				"timer:overall": [
					{"guard": "<goods_left>", "set": {"stuck_step": "commit"}, "alarm": "overdue",
						"schedule": {"timer": "overall", "delay": "24 h"},
						"goto": "CompensationStuck"},
					{"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}]}},
		"holding": {
			"description": "The hold is renewed a minute ahead; a lost one is asked for once more.",
			"on": {
				"InventoryReserved": {"guard": "$.message.key == $.data.inv.key && <hold>",
					"unschedule": ["reserve"],
					"schedule": {"timer": "hold",
						"at": {"$time": "$.data.inv.expires_at", "plus": "-60 s"}}},
				"timer:hold": {"send": {"if": "<hold>", "command": "renew"},
					"schedule": {"timer": "hold", "delay": "30 s"}},
				"timer:reserve": {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}},
			"always": [
				{"why": "hold lost", "guard": "<hold_lost> && $.data.inv.attempt < 2",
					"unschedule": ["hold"],
					"send": {"command": "reserve", "attempt": "$.data.inv.attempt + 1"}},
				{"why": "hold lost for good", "guard": "<hold_lost> || <no_stock>",
					"set": {"goal": "CANCEL", "cancel_reason": "ReservationExpired"}}]},
		"paying": {"description": "What follows from the outcome of the payment.",
			"always": [
				{"why": "paid", "guard": "<captured>", "unschedule": ["payment", "query", "hold"],
					"goto": "ArrangingFulfilment"},
				{"why": "declined for now", "guard": "<declined> && <may_pay_again>",
					"unschedule": ["payment", "query"],
					"schedule": {"timer": "retry", "attempt": "$.data.pay[last].attempt",
						"backoff": {"kind": "exponential", "limit": 5, "min": "1 s", "max": "30 s",
							"delta": "3 s"}}, "goto": "PaymentRetryWait"},
				{"why": "declined", "guard": "<declined>",
					"set": {"goal": "CANCEL",
						"cancel_reason": {"$path": "$.data.pay[last].error_code",
							"default": "PaymentDeclined"}}}]},
		"committing": {
			"description": "The hold is made permanent; one lost now is asked for once more.",
			"on": {
				"timer:reserve": [
					{"guard": "<goods_left>", "set": {"stuck_step": "commit"}, "alarm": "overdue",
						"schedule": {"timer": "overall", "delay": "24 h"},
						"goto": "CompensationStuck"},
					{"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}],
				"timer:commit": [
					{"guard": "<goods_left>", "set": {"stuck_step": "commit"}, "alarm": "overdue",
						"schedule": {"timer": "overall", "delay": "24 h"},
						"goto": "CompensationStuck"},
					{"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}]},
			"always": [
				{"why": "hold there", "guard": "<hold> && !($.data.inv.committing == true)",
					"unschedule": ["reserve"], "send": {"command": "commit"}},
				{"why": "hold lost", "guard": "<hold_lost> && $.data.inv.attempt < 2",
					"unschedule": ["commit"],
					"send": {"command": "reserve", "attempt": "$.data.inv.attempt + 1"}},
				{"why": "hold lost though the goods have left",
					"guard": "(<hold_lost> || <no_stock>) && <goods_left>",
					"set": {"stuck_step": "commit"}, "alarm": "overdue", "unschedule": ["*"],
					"schedule": {"timer": "overall", "delay": "24 h"},
					"goto": "CompensationStuck"},
				{"why": "hold lost for good", "guard": "<hold_lost> || <no_stock>",
					"set": {"goal": "CANCEL", "cancel_reason": "ReservationExpired"}}]},
		"undone": {
			"description": "To Cancelled, or on with the order if the goods had left before.",
			"always": [
				{"why": "left before anything was undone",
					"guard": "<cancelling> && <goods_left> && !<undoing>",
					"set": {"goal": "FULFIL", "cancel_reason": null, "cancelled_by": null,
						"stuck_step": null}, "fact": {"of": "inv", "set": {"committing": null}},
					"send": {"if": "$.data.inv.st == \"requested\"", "command": "reserve",
						"key": "$.data.inv.key", "fact": {"to": null}},
					"goto": "ArrangingFulfilment"},
				{"why": "undone", "guard": "<cancelling> && $.owed == 0 && !<goods_left>",
					"set": {"stuck_step": null}, "unschedule": ["*"],
					"append": {"stream": "order-${$.saga.correlation_id}",
						"type": "OrderCancelled",
						"data": {"reason": "$.data.cancel_reason",
							"refund_id": {"$first": "$.data.pay[*].refund_id", "default": null}}},
					"send": {"command": "notify", "step": "notify_cancelled",
						"body": {"template": "order_cancelled",
							"data": {"reason": "$.data.cancel_reason"}}}, "goto": "Cancelled"}]}
	},
	"states": {
		"ReservingInventory": {"description": "ReserveInventory is outstanding.", "kind": "normal",
			"default": "ignore", "include": ["requests", "goal", "overall"],
			"on": {"timer:reserve": {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}},
			"always": [
				{"why": "nothing to pay", "guard": "<hold> && $.data.total == 0",
					"unschedule": ["reserve"], "goto": "ArrangingFulfilment"},
				{"why": "reserved", "guard": "<hold>", "unschedule": ["reserve"],
					"send": {"command": "pay"},
					"schedule": [{"timer": "payment", "delay": "2 min"},
						{"timer": "hold",
							"at": {"$time": "$.data.inv.expires_at", "plus": "-60 s"}}],
					"goto": "ProcessingPayment"},
				{"why": "asked too late, or lost at once",
					"guard": "(<asked_too_late> || <hold_lost>) && $.data.inv.attempt < 2",
					"send": {"command": "reserve", "attempt": "$.data.inv.attempt + 1"}},
				{"why": "hold lost for good", "guard": "<hold_lost>",
					"set": {"goal": "CANCEL", "cancel_reason": "ReservationExpired"}},
				{"why": "out of stock", "guard": "<no_stock>",
					"set": {"goal": "CANCEL", "cancel_reason": "OutOfStock"}}]},
		"ProcessingPayment": {"description": "ProcessPayment is outstanding.", "kind": "normal",
			"default": "ignore", "include": ["requests", "goal", "overall", "holding", "paying"],
			"on": {
				"timer:payment": {"why": "no answer", "fact": {"of": "pay", "to": "unknown"},
					"set": {"queries": 1}, "send": {"command": "query"},
					"schedule": {"timer": "query", "attempt": "$.data.queries",
						"backoff": {"kind": "exponential", "limit": 5, "min": "1 s", "max": "30 s",
							"delta": "3 s"}}, "goto": "ResolvingPayment"}}},
		"PaymentRetryWait": {
			"description": "Declined for now; another attempt follows, with the goods held.",
			"kind": "normal", "default": "ignore",
			"include": ["requests", "goal", "overall", "holding"],
			"on": {
				"timer:retry": [
					{"guard": "<hold>",
						"send": {"command": "pay", "attempt": "$.data.pay[last].attempt + 1"},
						"schedule": {"timer": "payment", "delay": "2 min"},
						"goto": "ProcessingPayment"},
					{"why": "first the hold", "schedule": {"timer": "retry", "delay": "5 s"}}]}},
		"ResolvingPayment": {
			"description": "The outcome is unknown; asking. Never a second key meanwhile.",
			"kind": "normal", "default": "ignore",
			"include": ["requests", "goal", "holding", "paying"],
			"on": {
				"timer:overall": {"set": {"goal": "CANCEL", "cancel_reason": "PaymentUnresolved"}},
				"timer:query": {"set": {"queries": "$.data.queries + 1"},
					"fact": {"of": "pay",
						"set": {
							"asked_again": {"$path": "$.data.pay[last].resent", "default": null}}},
					"send": {"command": "query"},
					"schedule": [
						{"if": "$.data.queries <= 5", "timer": "query",
							"attempt": "$.data.queries",
							"backoff": {"kind": "exponential", "limit": 5, "min": "1 s",
								"max": "30 s", "delta": "3 s"}},
						{"if": "$.data.queries > 5", "timer": "query", "delay": "60 s"}]},
				"PaymentStatusReported": [
					{"why": "never arrived",
						"guard": "<not_found> && !($.data.pay[last].resent == true)",
						"send": {"command": "pay", "key": "$.data.pay[last].key",
							"fact": {"to": null, "set": {"resent": true}}}},
					{"why": "still not there",
						"guard": "<not_found> && $.data.pay[last].asked_again == true",
						"set": {"goal": "CANCEL", "cancel_reason": "PaymentUnresolved"}}]}},
		"ArrangingFulfilment": {
			"description": "CommitReservation and ArrangeShipment are outstanding, in parallel.",
			"kind": "normal", "default": "ignore",
			"include": ["requests", "goal", "overall", "committing"],
			"on": {
				"timer:ship": {"set": {"goal": "CANCEL", "cancel_reason": "ShippingUnavailable"}}},
			"always": [
				{"why": "to be shipped", "guard": "!exists($.data.shp)",
					"send": {"command": "ship"}},
				{"why": "all done", "guard": "<both_done> && !exists($.data.confirmation_number)",
					"set": {"confirmation_number": "CN-${$.saga.reference}"}, "unschedule": ["*"],
					"append": {"stream": "order-${$.saga.correlation_id}",
						"type": "OrderConfirmed",
						"data": {"confirmation_number": "$.data.confirmation_number"}},
					"send": {"command": "notify", "step": "notify_confirmed",
						"body": {"template": "order_confirmed",
							"data": {"confirmation_number": "$.data.confirmation_number"}}},
					"schedule": {"timer": "dispatch", "delay": "72 h"}, "goto": "Confirmed"},
				{"why": "all done, as before", "guard": "<both_done>", "unschedule": ["*"],
					"schedule": {"timer": "dispatch", "delay": "72 h"}, "goto": "Confirmed"},
				{"why": "not shipped for now",
					"guard": "$.data.shp.st == \"failed\" && <may_ship_again>",
					"unschedule": ["ship"],
					"schedule": {"timer": "ship_retry", "attempt": "$.data.shp.attempt",
						"backoff": {"kind": "exponential", "limit": 5, "min": "1 s", "max": "30 s",
							"delta": "3 s"}}, "goto": "ShipmentRetryWait"},
				{"why": "cannot be shipped", "guard": "$.data.shp.st == \"failed\"",
					"set": {"goal": "CANCEL", "cancel_reason": "ShippingUnavailable"}}]},
		"ShipmentRetryWait": {"description": "Shipping failed for now; another attempt follows.",
			"kind": "normal", "default": "ignore",
			"include": ["requests", "goal", "overall", "committing"],
			"on": {
				"timer:ship_retry": {
					"send": {"command": "ship", "attempt": "$.data.shp.attempt + 1"},
					"goto": "ArrangingFulfilment"}}},
		"Confirmed": {
			"description": "Paid, committed and arranged; can be cancelled until the goods leave.",
			"kind": "normal", "default": "ignore", "include": ["requests", "goal"],
			"on": {
				"timer:dispatch": {"why": "not on its way yet", "alarm": "overdue",
					"schedule": {"timer": "dispatch", "delay": "24 h"}}},
			"always": [
				{"why": "on its way", "guard": "<goods_left> && !($.data.shp.notified == true)",
					"fact": {"of": "shp", "set": {"notified": true}},
					"send": {"command": "notify", "step": "notify_shipped",
						"body": {"template": "order_shipped",
							"data": {
								"tracking_number": {"$path": "$.data.shp.tracking_number",
									"default": null}}}},
					"schedule": {"timer": "dispatch", "delay": "72 h"}},
				{"why": "delivered", "guard": "$.data.shp.st == \"delivered\"",
					"append": {"stream": "order-${$.saga.correlation_id}",
						"type": "OrderCompleted", "data": {}},
					"send": {"command": "notify", "step": "notify_delivered",
						"body": {"template": "order_delivered"}}, "goto": "Completed"}]},
		"Compensating": {"description": "The goal is to cancel, and something is owed.",
			"kind": "normal", "default": "ignore", "timer": "owed",
			"include": ["requests", "undone"],
			"on": {
				"gave_up:cancel_shipment": {"set": {"stuck_step": "cancel_shipment"},
					"goto": "CompensationStuck"},
				"gave_up:refund": {"set": {"stuck_step": "refund"}, "goto": "CompensationStuck"},
				"gave_up:release": {"set": {"stuck_step": "release"},
					"goto": "CompensationStuck"}},
			"always": [
				{"why": "left though it was being undone", "guard": "<goods_left>",
					"set": {"stuck_step": "shipment"}, "alarm": "overdue",
					"schedule": {"timer": "overall", "delay": "24 h"},
					"goto": "CompensationStuck"}]},
		"CompensationStuck": {
			"description": "Given up; an operator decides. Still asked for once a day.",
			"kind": "normal", "default": "ignore", "timer": "owed",
			"include": ["requests", "undone"],
			"on": {
				"timer:overall": {"alarm": "overdue",
					"schedule": {"timer": "overall", "delay": "24 h"},
					"fact": {"of": "inv", "set": {"committing": null}},
					"send": [
						{"if": "!<cancelling> && (<hold_lost> || <no_stock>)",
							"command": "reserve", "attempt": "$.data.inv.attempt + 1"},
						{"if": "!<cancelling> && $.data.inv.st == \"requested\"",
							"command": "reserve", "key": "$.data.inv.key",
							"fact": {"to": null}}]}},
			"always": [
				{"why": "hold there after all",
					"guard": "!<cancelling> && <hold> && !($.data.inv.committing == true)",
					"unschedule": ["reserve"], "send": {"command": "commit"}},
				{"why": "committed after all", "guard": "!<cancelling> && <both_done>",
					"set": {"stuck_step": null}, "goto": "ArrangingFulfilment"}]},
		"Completed": {"description": "Delivered.", "kind": "final", "default": "ignore",
			"include": ["requests"]},
		"Cancelled": {"description": "Nothing is owed, except for a payment that turned up later.",
			"kind": "final", "default": "ignore",
			"on": {
				"PaymentProcessed": {"guard": "<late_capture>",
					"fact": {"of": "pay", "key": "$.message.key", "set": {"amend": true}}},
				"PaymentStatusReported": {"guard": "<late_capture>",
					"fact": {"of": "pay", "key": "$.message.key", "set": {"amend": true}}}},
			"always": [
				{"why": "refunded afterwards", "each": "pay", "in": ["refunded"],
					"guard": "$.record.amend == true && !($.record.amended == true)",
					"publish": {"type": "OrderCancellationAmended",
						"body": {"order_id": "$.saga.correlation_id",
							"refund_id": {"$path": "$.record.refund_id", "default": null}}},
					"fact": {"of": "pay", "set": {"amended": true}}}]}
	},
	"cancel": {
		"as": "OrderCancellationRequested",
		"body": {"order_id": "$.saga.correlation_id", "by": "operator", "reason": "$.reason"}
	}
}
$definition$::jsonb $function$;
COMMENT ON FUNCTION ecommerce.order_saga_definition() IS
'The order saga as a document for saga.define(): what ecommerce.install_order_saga() installs, and
an example of the whole language.';

CREATE FUNCTION ecommerce.install_order_saga() RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted text;
	installed int;
BEGIN
	PERFORM ecommerce.register_contracts();
	FOREACH wanted IN ARRAY ARRAY['order', 'inventory', 'payment', 'shipping', 'notification'] LOOP
		IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = wanted) THEN
			PERFORM message_bus.create_endpoint(wanted);
		END IF;
	END LOOP;
	-- Installing the same again changes nothing.
	SELECT d.version INTO installed FROM saga.definitions d
	WHERE d.name = 'order' AND d.is_current AND d.definition = ecommerce.order_saga_definition();
	IF installed IS NULL THEN
		installed := saga.define('order', ecommerce.order_saga_definition());
	END IF;
	RETURN installed;
END
$$;
COMMENT ON FUNCTION ecommerce.install_order_saga() IS
'Registers the contracts, creates the endpoints order, inventory, payment, shipping and notification
where absent, and defines saga "order". Returns the version of the definition; installing the same
again changes nothing.';
