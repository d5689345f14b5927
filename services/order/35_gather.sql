-- The list of all orders where several databases have them: a projection of the cells'
-- events, in a database that has no orders of its own.

CREATE FUNCTION ecommerce_order._gather(event event_store.event)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $gather$
DECLARE
	subject CONSTANT uuid := ecommerce_order._as_uuid(substr(event.stream, 7));
BEGIN
	IF event.event_type <> 'OrderCreated' THEN
		PERFORM ecommerce_order._apply(event);
	ELSIF subject IS NOT NULL THEN
		-- positions of the cells say nothing about each other; again only in a rebuild
		INSERT INTO ecommerce_order.order_summary
			(order_id, position, customer_id, status, total_amount, item_count, version,
				created_at, updated_at)
		VALUES (subject, ecommerce.next_position('orders'), (event.data ->> 'customer_id')::uuid,
			'Created', (event.data ->> 'total_amount')::numeric,
			jsonb_array_length(event.data -> 'items'), event.version, event.occurred_at,
			event.occurred_at)
		ON CONFLICT (order_id) DO UPDATE
		SET status = excluded.status, confirmation_number = NULL, cancel_reason = NULL,
			refund_id = NULL, version = excluded.version, updated_at = excluded.updated_at;
	END IF;
END
$gather$;
COMMENT ON FUNCTION ecommerce_order._gather(event_store.event) IS
'Handler of the projections "orders of CELL", which share the table order_summary.';

CREATE FUNCTION ecommerce_order._gather_from(cell text)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $gather$
BEGIN
	PERFORM event_store.create_projection('orders of ' || cell,
		'ecommerce_order._gather(event_store.event)'::regprocedure, category => 'order',
		source => cell);
END
$gather$;
COMMENT ON FUNCTION ecommerce_order._gather_from(text) IS
'Lets GET /orders here show the orders of a cell, the database behind that service of pg_service.conf, whose events linkd brings; in a database without orders of its own. Does nothing when it does so already. After a cell was lost and its projection rebuilt, orders that no longer exist stay listed.';

CREATE FUNCTION ecommerce_order._gathers()
RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $gathers$
BEGIN
	RETURN EXISTS (SELECT FROM event_store.projection p
		WHERE p.source IS NOT NULL AND starts_with(p.name, 'orders of '));
END
$gathers$;
COMMENT ON FUNCTION ecommerce_order._gathers() IS
'Whether the orders listed here are those of other databases.';
