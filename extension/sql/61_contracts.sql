-- The shop's contracts: value objects, events and commands as composite types.
--
-- A column of a NOT NULL domain is required. JSON keys are the column names. Ids
-- are UUIDs unless they are another system's, times are ISO 8601 in UTC, money is
-- in the currency of the setting ecommerce.currency unless a currency stands beside it.

CREATE DOMAIN ecommerce.required_uuid AS uuid NOT NULL;
COMMENT ON DOMAIN ecommerce.required_uuid IS 'A UUID; must be present.';
CREATE DOMAIN ecommerce.required_text AS text NOT NULL;
COMMENT ON DOMAIN ecommerce.required_text IS 'A string; must be present.';
CREATE DOMAIN ecommerce.required_int AS int NOT NULL;
COMMENT ON DOMAIN ecommerce.required_int IS 'A whole number; must be present.';
CREATE DOMAIN ecommerce.required_flag AS boolean NOT NULL;
COMMENT ON DOMAIN ecommerce.required_flag IS 'true or false; must be present.';
CREATE DOMAIN ecommerce.required_time AS timestamptz NOT NULL;
COMMENT ON DOMAIN ecommerce.required_time IS 'A time in ISO 8601, UTC; must be present.';

-- Bounded so that cents are exact in a double, which is what JSON numbers become in most languages.
CREATE DOMAIN ecommerce.money AS numeric
	CONSTRAINT two_decimals CHECK (scale(VALUE) <= 2)
	CONSTRAINT finite CHECK (VALUE BETWEEN -9999999999999.99 AND 9999999999999.99);
COMMENT ON DOMAIN ecommerce.money IS 'An amount of money with at most two decimals, of at most 13 digits before them; in the currency of the setting ecommerce.currency unless one stands beside it.';
CREATE DOMAIN ecommerce.required_money AS ecommerce.money NOT NULL;
COMMENT ON DOMAIN ecommerce.required_money IS 'An amount of money with at most two decimals, of at most 13 digits before them, in the currency of the setting ecommerce.currency unless one stands beside it; must be present.';

CREATE DOMAIN ecommerce.currency_code AS text
	CONSTRAINT iso_4217 CHECK (VALUE IS NULL OR ecommerce.minor_units(VALUE) IS NOT NULL);
COMMENT ON DOMAIN ecommerce.currency_code IS 'A currency of ISO 4217, such as EUR; ecommerce.currencies() shows all.';
CREATE DOMAIN ecommerce.required_currency_code AS ecommerce.currency_code NOT NULL;
COMMENT ON DOMAIN ecommerce.required_currency_code IS 'A currency of ISO 4217, such as EUR; must be present.';

-- Events last for ever: what is stored of a card must not be its number, whatever it is called.
CREATE DOMAIN ecommerce.payment_type AS text NOT NULL
	CONSTRAINT short_alphabet CHECK (ecommerce.is_payment_type(VALUE));
COMMENT ON DOMAIN ecommerce.payment_type IS 'The kind of a payment, such as card or sepa_debit: 1 to 50 letters, "_" and "-", up to two digits at the end; must be present.';
CREATE DOMAIN ecommerce.last4_digits AS text
	CONSTRAINT no_card_number CHECK (NOT ecommerce.holds_card_number(VALUE));
COMMENT ON DOMAIN ecommerce.last4_digits IS 'The last four digits of a card, never the whole number; null where there is no card.';
CREATE DOMAIN ecommerce.payment_token AS text
	CONSTRAINT no_card_number CHECK (NOT ecommerce.holds_card_number(VALUE));
COMMENT ON DOMAIN ecommerce.payment_token IS 'The payment provider''s name for a card, never the number of the card.';

CREATE DOMAIN ecommerce.mail_address AS text
	CONSTRAINT one_mailbox CHECK (VALUE ~ '^[^]@<>,;:"()[[:space:][:cntrl:]]{1,64}@[A-Za-z0-9.-]{1,189}$');
COMMENT ON DOMAIN ecommerce.mail_address IS 'An e-mail address as SMTP takes it: what stands before the @ has no white space and no <>,;:"()[], what stands after it is the name of a host.';

-- ---------------------------------------------------------------- value objects

CREATE TYPE ecommerce.order_item AS (
	product_id ecommerce.required_uuid,
	product_name ecommerce.required_text,
	sku ecommerce.required_text,
	quantity ecommerce.required_int,
	unit_price ecommerce.required_money,
	total_price ecommerce.required_money
);
COMMENT ON TYPE ecommerce.order_item IS 'A line of an order. quantity: pieces; total_price: quantity times unit_price.';

CREATE TYPE ecommerce.item AS (
	product_id ecommerce.required_uuid,
	sku ecommerce.required_text,
	quantity ecommerce.required_int
);
COMMENT ON TYPE ecommerce.item IS 'What a command says of a line of an order. quantity: pieces.';

CREATE TYPE ecommerce.reserved_item AS (
	product_id ecommerce.required_uuid,
	sku ecommerce.required_text,
	quantity ecommerce.required_int,
	reservation_id ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reserved_item IS 'Stock held for an order. quantity: pieces.';

CREATE TYPE ecommerce.out_of_stock_item AS (
	product_id ecommerce.required_uuid,
	sku ecommerce.required_text,
	requested_quantity ecommerce.required_int,
	available_quantity ecommerce.required_int
);
COMMENT ON TYPE ecommerce.out_of_stock_item IS 'A product of which there is less than was asked for. Quantities: pieces.';

CREATE TYPE ecommerce.address AS (
	street ecommerce.required_text,
	city ecommerce.required_text,
	state text,
	postal_code text,
	country ecommerce.required_text
);
COMMENT ON TYPE ecommerce.address IS 'Where an order is sent. state, postal_code: null where a country has none; country: ISO 3166-1 alpha-2, as the customer gave it.';

CREATE TYPE ecommerce.payment_method AS (
	type ecommerce.payment_type,
	last4_digits ecommerce.last4_digits,
	token ecommerce.payment_token
);
COMMENT ON TYPE ecommerce.payment_method IS 'How an order is paid. token: the payment provider''s name for the card; the card itself is never stored.';

-- Members of arrays must not be null either, hence a domain for them.
CREATE DOMAIN ecommerce.required_order_item AS ecommerce.order_item NOT NULL;
COMMENT ON DOMAIN ecommerce.required_order_item IS 'A line of an order; must not be null.';
CREATE DOMAIN ecommerce.required_order_items AS ecommerce.required_order_item[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_order_items IS 'The lines of an order; must be present.';
CREATE DOMAIN ecommerce.required_item AS ecommerce.item NOT NULL;
COMMENT ON DOMAIN ecommerce.required_item IS 'A line of a command; must not be null.';
CREATE DOMAIN ecommerce.required_items AS ecommerce.required_item[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_items IS 'The lines of a command; must be present.';
CREATE DOMAIN ecommerce.required_reserved_item AS ecommerce.reserved_item NOT NULL;
COMMENT ON DOMAIN ecommerce.required_reserved_item IS 'Stock held; must not be null.';
CREATE DOMAIN ecommerce.required_reserved_items AS ecommerce.required_reserved_item[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_reserved_items IS 'All stock held for an order; must be present.';
CREATE DOMAIN ecommerce.required_out_of_stock_item AS ecommerce.out_of_stock_item NOT NULL;
COMMENT ON DOMAIN ecommerce.required_out_of_stock_item IS 'A product that is short; must not be null.';
CREATE DOMAIN ecommerce.required_out_of_stock_items
	AS ecommerce.required_out_of_stock_item[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_out_of_stock_items IS 'All products that are short; must be present, may be empty.';
CREATE DOMAIN ecommerce.required_uuids AS ecommerce.required_uuid[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_uuids IS 'UUIDs; must be present.';
CREATE DOMAIN ecommerce.required_address AS ecommerce.address NOT NULL;
COMMENT ON DOMAIN ecommerce.required_address IS 'An address; must be present.';
CREATE DOMAIN ecommerce.required_payment_method AS ecommerce.payment_method NOT NULL;
COMMENT ON DOMAIN ecommerce.required_payment_method IS 'A payment method; must be present.';
CREATE DOMAIN ecommerce.payment_status AS text NOT NULL
	CONSTRAINT known_status CHECK (VALUE IN ('captured', 'declined', 'pending', 'not_found', 'waiting'));
COMMENT ON DOMAIN ecommerce.payment_status IS 'captured, declined, pending, not_found, or waiting: nothing has been sent to the payment provider yet, and will be.';

-- ---------------------------------------------------------------- domain events

CREATE TYPE ecommerce.order_created AS (
	customer_id ecommerce.required_uuid,
	items ecommerce.required_order_items,
	total_amount ecommerce.required_money,
	shipping_address ecommerce.required_address,
	payment_method ecommerce.required_payment_method,
	currency ecommerce.currency_code
);
COMMENT ON TYPE ecommerce.order_created IS 'Domain event on order-<id>: the order exists. total_amount: sum of the items'' total_price, in currency; null: that of the setting ecommerce.currency.';

CREATE TYPE ecommerce.order_confirmed AS (
	confirmation_number ecommerce.required_text
);
COMMENT ON TYPE ecommerce.order_confirmed IS 'Domain event on order-<id>: paid, stock committed, shipment arranged. confirmation_number: what the customer is told.';

CREATE TYPE ecommerce.order_cancelled AS (
	reason ecommerce.required_text,
	refund_id text,
	cancelled_by text
);
COMMENT ON TYPE ecommerce.order_cancelled IS 'Domain event on order-<id>: the order is off. refund_id: the payment provider''s, null if nothing was refunded; cancelled_by: who wanted it, null if it could not be carried out.';

CREATE TYPE ecommerce.order_completed AS ();
COMMENT ON TYPE ecommerce.order_completed IS 'Domain event on order-<id>: the goods were delivered. Its data is {}.';

-- ---------------------------------------------------------------- integration events of an order

CREATE TYPE ecommerce.order_submitted AS (
	order_id ecommerce.required_uuid,
	customer_id ecommerce.required_uuid,
	items ecommerce.required_order_items,
	total_amount ecommerce.required_money,
	shipping_address ecommerce.required_address,
	payment_method ecommerce.required_payment_method,
	currency ecommerce.currency_code,
	email ecommerce.mail_address
);
COMMENT ON TYPE ecommerce.order_submitted IS 'Integration event of OrderService: an order wants to be fulfilled. total_amount: sum of the items'' total_price, in currency; null: that of the setting ecommerce.currency. email: where the customer is told of it; personal, so no event has it.';

CREATE TYPE ecommerce.order_cancellation_requested AS (
	order_id ecommerce.required_uuid,
	by text,
	reason text
);
COMMENT ON TYPE ecommerce.order_cancellation_requested IS 'Integration event of OrderService: somebody wants the order cancelled. by: who.';

CREATE TYPE ecommerce.order_cancellation_rejected AS (
	order_id ecommerce.required_uuid,
	reason text
);
COMMENT ON TYPE ecommerce.order_cancellation_rejected IS 'Integration event of the order saga: the order cannot be cancelled any more.';

CREATE TYPE ecommerce.order_cancellation_amended AS (
	order_id ecommerce.required_uuid,
	refund_id ecommerce.required_text
);
COMMENT ON TYPE ecommerce.order_cancellation_amended IS 'Integration event of the order saga: a payment that came after the cancellation has been refunded. refund_id: the payment provider''s.';

-- ---------------------------------------------------------------- inventory

CREATE TYPE ecommerce.reserve_inventory AS (
	order_id ecommerce.required_uuid,
	items ecommerce.required_items,
	ttl int,
	not_after timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reserve_inventory IS 'Command to inventory: hold stock for an order, all items or none; with the same key again it renews the hold. ttl: seconds (null: 900); not_after: too late to do it after this time.';

CREATE TYPE ecommerce.commit_reservation AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.commit_reservation IS 'Command to inventory: the hold does not expire any more.';

CREATE TYPE ecommerce.release_inventory AS (
	order_id ecommerce.required_uuid,
	reason text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.release_inventory IS 'Command to inventory: give back what is held under the key, and refuse the key from now on.';

CREATE TYPE ecommerce.inventory_reserved AS (
	order_id ecommerce.required_uuid,
	reserved_items ecommerce.required_reserved_items,
	expires_at ecommerce.required_time,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.inventory_reserved IS 'Integration event of InventoryService: stock is held until expires_at.';

CREATE TYPE ecommerce.inventory_reservation_failed AS (
	order_id ecommerce.required_uuid,
	out_of_stock_items ecommerce.required_out_of_stock_items,
	reason ecommerce.required_text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.inventory_reservation_failed IS 'Integration event of InventoryService: nothing is held. reason: also cancelled or expired, when the command came too late.';

CREATE TYPE ecommerce.inventory_released AS (
	order_id ecommerce.required_uuid,
	product_ids ecommerce.required_uuids,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.inventory_released IS 'Integration event of InventoryService: stock was given back.';

CREATE TYPE ecommerce.inventory_release_failed AS (
	order_id ecommerce.required_uuid,
	is_retryable ecommerce.required_flag,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.inventory_release_failed IS 'Integration event of InventoryService: stock could not be given back.';

CREATE TYPE ecommerce.reservation_committed AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reservation_committed IS 'Integration event of InventoryService: the hold does not expire any more.';

CREATE TYPE ecommerce.reservation_commit_failed AS (
	order_id ecommerce.required_uuid,
	reason text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reservation_commit_failed IS 'Integration event of InventoryService: there was no hold left to commit.';

CREATE TYPE ecommerce.reservation_expired AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reservation_expired IS 'Integration event of InventoryService: the hold ran out before it was committed.';

-- ---------------------------------------------------------------- payment

CREATE TYPE ecommerce.process_payment AS (
	order_id ecommerce.required_uuid,
	customer_id uuid,
	amount ecommerce.required_money,
	currency ecommerce.currency_code,
	payment_method ecommerce.payment_method,
	not_after timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.process_payment IS 'Command to payment: charge the customer once for this key. customer_id: who may see the payment, null for none but the shop; currency: ISO 4217, null for ecommerce.currency; not_after: too late to do it after this time.';

CREATE TYPE ecommerce.query_payment_status AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.query_payment_status IS 'Command to payment: say what became of the key.';

CREATE TYPE ecommerce.refund_payment AS (
	order_id ecommerce.required_uuid,
	amount ecommerce.required_money,
	reason text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.refund_payment IS 'Command to payment: give back what was charged under the key, or void it, and refuse the key from now on.';

CREATE TYPE ecommerce.payment_processed AS (
	order_id ecommerce.required_uuid,
	transaction_id ecommerce.required_text,
	amount ecommerce.required_money,
	currency ecommerce.required_currency_code,
	processed_at ecommerce.required_time,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_processed IS 'Integration event of PaymentService: the money is ours. transaction_id: the payment provider''s; currency: ISO 4217.';

CREATE TYPE ecommerce.payment_failed AS (
	order_id ecommerce.required_uuid,
	reason ecommerce.required_text,
	error_code text,
	is_retryable ecommerce.required_flag,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_failed IS 'Integration event of PaymentService: nothing was charged. error_code: the payment provider''s, or cancelled or expired when the command came too late.';

CREATE TYPE ecommerce.payment_refunded AS (
	order_id ecommerce.required_uuid,
	refund_id ecommerce.required_text,
	amount ecommerce.required_money,
	reason ecommerce.required_text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_refunded IS 'Integration event of PaymentService: the money was given back. refund_id: the payment provider''s.';

CREATE TYPE ecommerce.payment_status_reported AS (
	order_id ecommerce.required_uuid,
	status ecommerce.payment_status,
	transaction_id text,
	amount ecommerce.money,
	error_code text,
	is_retryable boolean,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_status_reported IS 'Integration event of PaymentService: what is known of a key. transaction_id and amount come with captured, error_code and is_retryable with declined.';

CREATE TYPE ecommerce.payment_voided AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_voided IS 'Integration event of PaymentService: nothing is and nothing will be charged under the key.';

CREATE TYPE ecommerce.payment_refund_failed AS (
	order_id ecommerce.required_uuid,
	is_retryable ecommerce.required_flag,
	error_code text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_refund_failed IS 'Integration event of PaymentService: the money was not given back. error_code: the payment provider''s.';

CREATE TYPE ecommerce.payment_returned AS (
	order_id ecommerce.required_uuid,
	refund_id text,
	amount ecommerce.required_money,
	reason ecommerce.required_text,
	moves int,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_returned IS 'Integration event of PaymentService: the money went back though nobody here has asked for it. reason: refund, somebody made one at the payment provider, or dispute, the customer''s bank has taken it; refund_id: the provider''s, null as long as a dispute is open; moves: rises each time the money moves, so that it is known which of two is newer.';

CREATE TYPE ecommerce.payment_regained AS (
	order_id ecommerce.required_uuid,
	moves int,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_regained IS 'Integration event of PaymentService: money that had gone back is ours again, a dispute was won or a refund has failed later. moves: as in PaymentReturned.';

-- ---------------------------------------------------------------- shipping

CREATE TYPE ecommerce.arrange_shipment AS (
	order_id ecommerce.required_uuid,
	customer_id uuid,
	items ecommerce.required_items,
	shipping_address ecommerce.address,
	not_after timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.arrange_shipment IS 'Command to shipping: have the goods picked up. customer_id: who may see the shipment, null for none but the shop; not_after: too late to do it after this time.';

CREATE TYPE ecommerce.cancel_shipment AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.cancel_shipment IS 'Command to shipping: do not send the goods, and refuse the key from now on.';

CREATE TYPE ecommerce.shipment_arranged AS (
	order_id ecommerce.required_uuid,
	shipment_id ecommerce.required_uuid,
	carrier text,
	estimated_delivery timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_arranged IS 'Integration event of ShippingService: the goods will be picked up.';

CREATE TYPE ecommerce.shipment_failed AS (
	order_id ecommerce.required_uuid,
	reason text,
	error_code text,
	is_retryable ecommerce.required_flag,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_failed IS 'Integration event of ShippingService: there is no shipment. error_code: the carrier''s, or cancelled or expired when the command came too late.';

CREATE TYPE ecommerce.shipment_dispatched AS (
	order_id ecommerce.required_uuid,
	shipment_id ecommerce.required_uuid,
	tracking_number text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_dispatched IS 'Integration event of ShippingService: the goods have left. tracking_number: the carrier''s.';

CREATE TYPE ecommerce.shipment_delivered AS (
	order_id ecommerce.required_uuid,
	shipment_id ecommerce.required_uuid,
	delivered_at timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_delivered IS 'Integration event of ShippingService: the customer has the goods.';

CREATE TYPE ecommerce.shipment_cancelled AS (
	order_id ecommerce.required_uuid,
	shipment_id uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_cancelled IS 'Integration event of ShippingService: the goods will not be sent. shipment_id: null when there was no shipment yet.';

CREATE TYPE ecommerce.shipment_cancel_failed AS (
	order_id ecommerce.required_uuid,
	already_dispatched ecommerce.required_flag,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_cancel_failed IS 'Integration event of ShippingService: the shipment could not be cancelled.';

-- ---------------------------------------------------------------- notification

CREATE TYPE ecommerce.send_notification AS (
	order_id ecommerce.required_uuid,
	customer_id ecommerce.required_uuid,
	template ecommerce.required_text,
	email ecommerce.mail_address,
	data jsonb,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.send_notification IS 'Command to notification: tell the customer. template: order_received, order_confirmed, order_shipped, order_delivered, order_cancelled, cancellation_rejected or payment_refunded; email: where to; data: what the template needs, and the outcome that its text is for.';

CREATE TYPE ecommerce.notification_sent AS (
	order_id ecommerce.required_uuid,
	template text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.notification_sent IS 'Integration event of NotificationService: the customer was told.';

CREATE TYPE ecommerce.notification_failed AS (
	order_id ecommerce.required_uuid,
	template text,
	reason text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.notification_failed IS 'Integration event of NotificationService: the customer could not be told.';

-- ---------------------------------------------------------------- registration

CREATE FUNCTION ecommerce.register_contracts() RETURNS int
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $register_contracts$
DECLARE
	contract text;
	payload text;
	contracts CONSTANT text[] := ARRAY[
		'OrderCreated', 'OrderConfirmed', 'OrderCancelled', 'OrderCompleted',
		'OrderSubmitted', 'OrderCancellationRequested', 'OrderCancellationRejected',
		'OrderCancellationAmended', 'ProductDescribed',
		'ReserveInventory', 'CommitReservation', 'ReleaseInventory', 'InventoryReserved',
		'InventoryReservationFailed', 'InventoryReleased', 'InventoryReleaseFailed',
		'ReservationCommitted', 'ReservationCommitFailed', 'ReservationExpired',
		'ProcessPayment', 'QueryPaymentStatus', 'RefundPayment', 'PaymentProcessed',
		'PaymentFailed', 'PaymentRefunded', 'PaymentStatusReported', 'PaymentVoided',
		'PaymentRefundFailed', 'PaymentReturned', 'PaymentRegained',
		'ArrangeShipment', 'CancelShipment', 'ShipmentArranged', 'ShipmentFailed',
		'ShipmentDispatched', 'ShipmentDelivered', 'ShipmentCancelled', 'ShipmentCancelFailed',
		'SendNotification', 'NotificationSent', 'NotificationFailed'];
BEGIN
	FOREACH contract IN ARRAY contracts LOOP
		-- OrderCreated is ecommerce.order_created, and so on.
		payload := ltrim(lower(regexp_replace(contract, '([A-Z])', '_\1', 'g')), '_');
		PERFORM event_store.register_event_type(contract, ('ecommerce.' || payload)::regtype);
	END LOOP;
	RETURN array_length(contracts, 1);
END
$register_contracts$;
COMMENT ON FUNCTION ecommerce.register_contracts() IS
'Registers every event and command of the shop with its composite type; returns how many there are. Running it again changes nothing. '
'Fails with 42710 if one of the names is registered with another type.';
