-- Looking at orders, and cancelling them.

CREATE FUNCTION ecommerce_order._check_caller(id uuid, caller uuid)
RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $check_caller$
BEGIN
	IF id IS NULL OR caller IS NOT NULL AND NOT EXISTS (
		SELECT FROM ecommerce_order.order_summary s
		WHERE s.order_id = id AND s.customer_id = caller) THEN
		PERFORM ecommerce_order._refuse(404, 'there is no such order');
	END IF;
END
$check_caller$;
COMMENT ON FUNCTION ecommerce_order._check_caller(uuid, uuid) IS
'HT404 unless the order is the customer caller''s; a NULL caller may see any. An id that is NULL is no order''s.';

CREATE FUNCTION ecommerce_order._cancellation(data jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $cancellation$
DECLARE
	newest CONSTANT jsonb := data #> '{cancellation,-1}';
BEGIN
	RETURN CASE WHEN newest IS NOT NULL THEN jsonb_build_object(
		'status', CASE WHEN newest ->> 'st' = 'rejected' THEN 'rejected'
			WHEN data ->> 'goal' = 'CANCEL' THEN 'accepted' ELSE 'requested' END,
		'by', newest -> 'by', 'reason', newest -> 'reason') END;
END
$cancellation$;
COMMENT ON FUNCTION ecommerce_order._cancellation(jsonb) IS
'What became of the newest wish to cancel an order, from the saga''s data: {status: requested, accepted or rejected; by, reason}, NULL if there was none.';

CREATE FUNCTION ecommerce_order.get_order(order_id text, if_none_match text DEFAULT NULL,
	caller uuid DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $get_order$
DECLARE
	id CONSTANT uuid := ecommerce_order._as_uuid(order_id);
	loaded record;
	running saga.instance;
BEGIN
	PERFORM ecommerce_order._check_caller(id, caller);
	-- The saga first: when it says that the order has ended, its events tell how.
	running := saga.get('order', id);
	SELECT * INTO loaded FROM event_store.load('order-' || id);
	IF loaded.version = 0 THEN
		PERFORM ecommerce_order._refuse(404, 'there is no such order');
	END IF;
	RETURN ecommerce_order._represent(jsonb_build_object(
		'order_id', id, 'version', loaded.version, 'status', loaded.state -> 'status',
		'state', running.current_state, 'customer_id', loaded.state -> 'customer_id',
		'items', loaded.state -> 'items', 'total_amount', loaded.state -> 'total_amount',
		'currency', coalesce(running.data ->> 'currency', loaded.state ->> 'currency',
			ecommerce.currency()),
		'confirmation_number', loaded.state -> 'confirmation_number',
		'cancel_reason', loaded.state -> 'cancel_reason', 'refund_id', loaded.state -> 'refund_id',
		'cancelled_by', loaded.state -> 'cancelled_by',
		'cancellation', ecommerce_order._cancellation(running.data),
		'facts', jsonb_build_object('inv', running.data -> 'inv', 'pay', running.data -> 'pay',
			'shp', running.data -> 'shp'),
		'timeline', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', h.at, 'event', h.event,
			'from', h.from_state,
				'to', h.to_state) ORDER BY h.version), '[]') FROM saga.history('order', id) AS h),
		'created_at', loaded.created_at), loaded.version, if_none_match);
END
$get_order$;
COMMENT ON FUNCTION ecommerce_order.get_order(text, text, uuid) IS
'GET /orders/{id}: the order, the saga''s state, the facts known to it and its timeline. 304 when nothing of that has changed; HT404.';

CREATE FUNCTION ecommerce_order.get_order_events(order_id text, after text DEFAULT NULL,
	page text DEFAULT NULL, caller uuid DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $get_order_events$
DECLARE
	stream CONSTANT text := 'order-' || ecommerce_order._as_uuid(order_id);
BEGIN
	PERFORM ecommerce_order._check_caller(ecommerce_order._as_uuid(order_id), caller);
	IF event_store.stream_version(stream) = 0 THEN
		PERFORM ecommerce_order._refuse(404, 'there is no such order');
	END IF;
	PERFORM ecommerce_order._refuse_fields(ecommerce_order._query_errors('{}', after, page));
	RETURN (SELECT ecommerce_order._collection(jsonb_agg(jsonb_build_object('version', e.version,
		'event_id', e.event_id,
			'event_type', e.event_type, 'schema_version', e.schema_version, 'occurred_at',
				e.occurred_at, 'data', e.data #- '{payment_method,token}',
			'metadata', e.metadata) ORDER BY e.version), ecommerce_order._page_size(page),
				max(e.version), after)
	FROM event_store.read_stream(stream, coalesce(after::bigint, 0) + 1,
		ecommerce_order._page_size(page)) AS e);
END
$get_order_events$;
COMMENT ON FUNCTION ecommerce_order.get_order_events(text, text, text, uuid) IS
'GET /orders/{id}/events: the order''s own events in order, without the token of the payment; the cursor is a version.';

CREATE FUNCTION ecommerce_order.list_orders(customer_id text DEFAULT NULL, status text DEFAULT NULL,
	after text DEFAULT NULL, page text DEFAULT NULL, caller uuid DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $list_orders$
DECLARE
	of_customer CONSTANT uuid := ecommerce_order._as_uuid(customer_id);
	gathers CONSTANT boolean := ecommerce_order._gathers();
	size int;
	mark bigint;
BEGIN
	PERFORM ecommerce_order._refuse_fields(ecommerce_order._query_errors(
			jsonb_build_object('customer_id', customer_id), after, page)
		|| CASE WHEN status NOT IN ('Created', 'Confirmed', 'Completed', 'Cancelled')
			THEN ecommerce_order._bad_field('status',
				'must be Created, Confirmed, Completed or Cancelled') ELSE '[]' END);
	size := ecommerce_order._page_size(page);
	-- before the snapshot that reads the rows: no earlier one can appear any more
	mark := CASE WHEN gathers THEN ecommerce.position_mark('orders')
		ELSE event_store.high_water_mark('order') END;
	RETURN (
		SELECT ecommerce_order._collection(jsonb_agg(jsonb_build_object('order_id', s.order_id,
			'version', s.version, 'status', s.status, 'customer_id', s.customer_id,
			'total_amount', s.total_amount, 'item_count', s.item_count,
			'confirmation_number', s.confirmation_number, 'cancel_reason', s.cancel_reason,
			'refund_id', s.refund_id, 'created_at', s.created_at) ORDER BY s.position),
			size, max(s.position), after)
		FROM (SELECT * FROM ecommerce_order.order_summary o
			WHERE (of_customer IS NULL OR o.customer_id = of_customer)
				AND (caller IS NULL OR o.customer_id = caller)
				AND (list_orders.status IS NULL OR o.status = list_orders.status)
				AND o.position > coalesce(after::bigint, 0)
				AND o.position <= (SELECT CASE WHEN gathers THEN mark
					ELSE ecommerce_order._followed('order_summary', mark) END)
			ORDER BY o.position LIMIT size) AS s);
END
$list_orders$;
COMMENT ON FUNCTION ecommerce_order.list_orders(text, text, text, text, uuid) IS
'GET /orders, of the customer caller only unless that is NULL: in the order of their positions, by customer and status; after takes the cursor that next or cursor gave, and whoever follows it sees each order once. 503 while the list is rebuilt.';

CREATE FUNCTION ecommerce_order._events_of(customer uuid, after bigint, size int, mark bigint)
RETURNS SETOF event_store.event LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $events_of$
	SELECT e.* FROM ecommerce_order.order_summary s
	CROSS JOIN LATERAL event_store.read_stream('order-' || s.order_id, 1, 1000) AS e
	WHERE s.customer_id = customer AND e.position > after
		AND e.position <= (SELECT ecommerce_order._followed('order_summary', mark))
	ORDER BY e.position LIMIT size
$events_of$;
COMMENT ON FUNCTION ecommerce_order._events_of(uuid, bigint, int, bigint) IS
'Events of a customer''s orders after a position and up to mark, in the order of their positions. Reads no order of others.';

CREATE FUNCTION ecommerce_order.follow_orders(after text DEFAULT NULL, page text DEFAULT NULL,
	wait text DEFAULT NULL, caller uuid DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $follow_orders$
DECLARE
	size int;
	mark bigint;
BEGIN
	PERFORM ecommerce_order._refuse_fields(ecommerce_order._query_errors('{}', after, page)
		|| CASE WHEN wait !~ '^[0-9]{1,2}$' OR wait::int > 20 THEN ecommerce_order._bad_field('wait',
			'must be a number of seconds from 0 to 20') ELSE '[]' END);
	size := ecommerce_order._page_size(page);
	-- an empty page says up to where nothing is
	mark := event_store.high_water_mark('order');
	RETURN (
		SELECT ecommerce_order._collection(jsonb_agg(jsonb_build_object(
			'position', e.position, 'order_id', substr(e.stream, 7), 'version', e.version,
			'event_id', e.event_id, 'event_type', e.event_type,
			'schema_version', e.schema_version, 'occurred_at', e.occurred_at,
			'data', e.data #- '{payment_method,token}', 'metadata', e.metadata)
			ORDER BY e.position)
			-- a stream of that category that is none of ours
			FILTER (WHERE ecommerce_order._as_uuid(substr(e.stream, 7)) IS NOT NULL),
			size, max(e.position), greatest(mark, after::bigint)::text)
		FROM (SELECT * FROM event_store.read_all(coalesce(after::bigint, 0), size, 'order')
				WHERE caller IS NULL
			UNION ALL SELECT * FROM ecommerce_order._events_of(caller, coalesce(after::bigint, 0),
				size, mark) WHERE caller IS NOT NULL) AS e);
END
$follow_orders$;
COMMENT ON FUNCTION ecommerce_order.follow_orders(text, text, text, uuid) IS
'GET /orders/events: the events of all orders, or of the customer caller''s, in the order of their positions, without the token of the payment; after as in list_orders. wait, at most 20 seconds, is for the daemon, which asks again when there is something.';

CREATE FUNCTION ecommerce_order._cancel_errors(body jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $cancel_errors$
BEGIN
	RETURN ecommerce_order._text_errors(body, '', ARRAY['reason'])
		|| ecommerce_order._strange_fields(body, '{reason}');
END
$cancel_errors$;
COMMENT ON FUNCTION ecommerce_order._cancel_errors(jsonb) IS
'Every bad field of the body of POST /orders/{id}/cancel as [{"field", "detail"}]; empty when there is none.';

CREATE FUNCTION ecommerce_order.cancel_order(order_id text, body jsonb, if_match text DEFAULT NULL,
	caller uuid DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $cancel_order$
DECLARE
	id CONSTANT uuid := ecommerce_order._as_uuid(order_id);
	loaded record;
	status text;
	shipment text;
BEGIN
	PERFORM ecommerce_order._check_caller(id, caller);
	SELECT * INTO loaded FROM event_store.load('order-' || id);
	IF loaded.version = 0 THEN
		PERFORM ecommerce_order._refuse(404, 'there is no such order');
	END IF;
	status := loaded.state ->> 'status';
	IF if_match IS NOT NULL THEN
		PERFORM ecommerce_order._check_match(if_match, NULL,
			(ecommerce_order.get_order(id::text)).etag, format('"%s"', loaded.version));
	END IF;
	PERFORM ecommerce_order._refuse_fields(ecommerce_order._cancel_errors(body));
	IF status = 'Completed' THEN
		PERFORM ecommerce_order._refuse(409, 'a completed order cannot be cancelled');
	END IF;
	shipment := (saga.get('order', id)).data #>> '{shp,st}';
	IF status <> 'Cancelled' AND shipment IN ('dispatched', 'delivered', 'cancel_rejected') THEN
		PERFORM ecommerce_order._refuse(409, 'the goods are on their way already');
	ELSIF status <> 'Cancelled' THEN
		PERFORM message_bus.publish('OrderCancellationRequested',
			jsonb_build_object('order_id', id, 'by', coalesce((ecommerce.context()).user_id,
				'customer'),
				'reason', body -> 'reason'),
			partition_key => id::text);
	END IF;
	RETURN ecommerce_order._answer(CASE status WHEN 'Cancelled' THEN 200 ELSE 202 END,
		jsonb_build_object('order_id', id, 'version', loaded.version, 'status', status),
		format('"%s"', loaded.version));
END
$cancel_order$;
COMMENT ON FUNCTION ecommerce_order.cancel_order(text, jsonb, text, uuid) IS
'POST /orders/{id}/cancel {reason}: asks the saga to cancel, 202; 200 when it is cancelled already, HT409 when completed or when the goods have left as far as is known here, HT412 when If-Match names neither its entity tag nor its version.';
