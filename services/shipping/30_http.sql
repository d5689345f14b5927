-- Shipments over HTTP.

CREATE FUNCTION ecommerce_shipping._shipment_body(known ecommerce_shipping.shipment)
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $shipment_body$
	SELECT jsonb_build_object(
		'shipment_id', known.shipment_id,
		'order_id', known.order_id,
		'key', known.key,
		'status', known.status,
		'carrier', known.carrier,
		'tracking_number', known.tracking_number)
$shipment_body$;
COMMENT ON FUNCTION ecommerce_shipping._shipment_body(ecommerce_shipping.shipment) IS
'{shipment_id, order_id, key, status, carrier, tracking_number}';

CREATE FUNCTION ecommerce_shipping.list_shipments(order_id text DEFAULT NULL,
	after text DEFAULT NULL, page text DEFAULT NULL, caller uuid DEFAULT NULL)
RETURNS ecommerce_shipping.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $list_shipments$
DECLARE
	size int;
	mark bigint;
BEGIN
	PERFORM ecommerce_shipping._refuse_fields(ecommerce_shipping._query_errors(
		jsonb_build_object('order_id', order_id), after, page));
	size := ecommerce_shipping._page_size(page);
	-- before the snapshot that reads the rows: no earlier one can appear any more
	mark := ecommerce.position_mark('ecommerce_shipping.shipment');
	RETURN (
		SELECT ecommerce_shipping._collection(jsonb_agg(ecommerce_shipping._shipment_body(
			ROW(s.*)::ecommerce_shipping.shipment) ORDER BY s.position), size, max(s.position),
			after)
		FROM (SELECT * FROM ecommerce_shipping.shipment s
			WHERE (list_shipments.order_id IS NULL OR s.order_id = list_shipments.order_id::uuid)
				AND (caller IS NULL OR s.customer_id = caller)
				AND s.position > coalesce(after::bigint, 0) AND s.position <= mark
			ORDER BY s.position LIMIT size) AS s);
END
$list_shipments$;
COMMENT ON FUNCTION ecommerce_shipping.list_shipments(text, text, text, uuid) IS
'GET /shipments, of the customer caller only unless that is NULL: in the order in which the carrier has answered, what he has not is left out; after takes the cursor that next or cursor gave, and whoever follows it sees each shipment once.';

CREATE FUNCTION ecommerce_shipping._advance(shipment_id text, target text)
RETURNS ecommerce_shipping.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $advance$
DECLARE
	known ecommerce_shipping.shipment;
BEGIN
	SELECT * INTO known FROM ecommerce_shipping.shipment s
	WHERE s.shipment_id = ecommerce_shipping._as_uuid(_advance.shipment_id) FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM ecommerce_shipping._refuse(404, 'there is no such shipment');
	ELSIF known.status = target OR known.status = 'delivered' AND target = 'dispatched' THEN
		RETURN ecommerce_shipping._answer(200, ecommerce_shipping._shipment_body(known));	-- a repeat
	ELSIF known.is_cancelled OR known.status NOT IN ('arranged', 'dispatched')
		OR target = 'delivered' AND known.status <> 'dispatched' THEN
		PERFORM ecommerce_shipping._refuse(409, format('the shipment is %s', CASE
			WHEN known.is_cancelled
			AND known.status = 'arranged' THEN 'being cancelled' ELSE known.status END));
	END IF;
	UPDATE ecommerce_shipping.shipment s
	SET status = target,
		tracking_number = coalesce(s.tracking_number, 'TRK' || upper(left(md5(s.key::text), 12))),
		delivered_at = CASE target WHEN 'delivered' THEN clock_timestamp() END
	WHERE s.shipment_id = known.shipment_id RETURNING * INTO known;
	-- on behalf of the order, whoever pressed the button
	PERFORM ecommerce.set_context(coalesce(known.correlation_id,
		(ecommerce.context()).correlation_id),
		user_id => (ecommerce.context()).user_id, tenant_id => known.tenant_id,
		traceparent => (ecommerce.context()).traceparent);
	PERFORM ecommerce_shipping._reply_state(known);
	RETURN ecommerce_shipping._answer(200, ecommerce_shipping._shipment_body(known));
END
$advance$;
COMMENT ON FUNCTION ecommerce_shipping._advance(text, text) IS
'POST /shipments/{id}/dispatch and /deliver: the shipment; HT409 when it is cancelled, failed, or not dispatched yet; a repeat changes nothing.';

CREATE FUNCTION ecommerce_shipping.dispatch_shipment(shipment_id text)
RETURNS ecommerce_shipping.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $dispatch_shipment$
BEGIN
	RETURN ecommerce_shipping._advance(shipment_id, 'dispatched');
END
$dispatch_shipment$;
COMMENT ON FUNCTION ecommerce_shipping.dispatch_shipment(text) IS
'POST /shipments/{id}/dispatch, see advance.';

CREATE FUNCTION ecommerce_shipping.deliver_shipment(shipment_id text)
RETURNS ecommerce_shipping.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $deliver_shipment$
BEGIN
	RETURN ecommerce_shipping._advance(shipment_id, 'delivered');
END
$deliver_shipment$;
COMMENT ON FUNCTION ecommerce_shipping.deliver_shipment(text) IS
'POST /shipments/{id}/deliver, see advance.';
