-- For tests of one service's SQL. id(n): a UUID that ends in n. said(): what was published
-- since the last call, in order, without what differs from run to run. outcome(statement):
-- the reply or value, or SQLSTATE, message and detail of the error.

CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid
$$;

SELECT message_bus.create_endpoint('probe', 1);
SELECT message_bus.subscribe('probe', t) FROM unnest(ARRAY['OrderSubmitted',
	'OrderCancellationRequested',
	'InventoryReserved', 'InventoryReservationFailed', 'InventoryReleased', 'ReservationCommitted',
	'ReservationCommitFailed', 'ReservationExpired', 'PaymentProcessed', 'PaymentFailed',
		'PaymentRefunded',
	'PaymentStatusReported', 'PaymentVoided', 'PaymentRefundFailed', 'PaymentReturned',
		'PaymentRegained', 'ShipmentArranged',
		'ShipmentFailed',
	'ShipmentDispatched', 'ShipmentDelivered', 'ShipmentCancelled', 'ShipmentCancelFailed',
	'NotificationSent', 'NotificationFailed']) AS t;

CREATE FUNCTION said() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
BEGIN
	FOR d IN SELECT * FROM message_bus.receive('probe', 50) LOOP
		RETURN NEXT d.message_type || ' ' || coalesce(ltrim(right(d.body ->> 'key', 4), '0') || ' ',
			'')
			|| (d.body - ARRAY['key', 'order_id', 'expires_at', 'processed_at', 'shipment_id',
				'estimated_delivery', 'delivered_at'])::text;
		PERFORM message_bus.ack(d.delivery_id);
	END LOOP;
END
$$;

CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	detail text;
BEGIN
	EXECUTE statement INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || SQLERRM || coalesce(' ' || nullif(detail, ''), '');
END
$$;

-- Does what is owed outside with the simulated provider of the service.
CREATE FUNCTION work(service text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	item record;
	result jsonb;
	settled boolean;
BEGIN
	FOR item IN EXECUTE format('SELECT * FROM ecommerce_%s.claim(10, ''1 min'')', service) LOOP
		EXECUTE format('SELECT ecommerce_%s.simulate($1, $2)', service) INTO result
			USING item.operation, item.request;
		EXECUTE format('SELECT ecommerce_%s.settle($1, $2, $3)', service) INTO settled
			USING item.work_id, item.fence, result;
		RETURN NEXT format('%s: %s%s', item.operation, result ->> 'result',
			CASE WHEN settled THEN '' ELSE ', too late' END);
	END LOOP;
END
$$;
