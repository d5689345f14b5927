-- Read model of orders, and the first answers of requests with an Idempotency-Key.

CREATE TABLE ecommerce_order.order_summary (
	order_id uuid PRIMARY KEY,
	customer_id uuid NOT NULL,
	status text NOT NULL CHECK (status IN ('Created', 'Confirmed', 'Completed', 'Cancelled')),
	total_amount numeric NOT NULL,
	item_count int NOT NULL,
	confirmation_number text,
	cancel_reason text,
	refund_id text,
	version bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX order_summary_customer ON ecommerce_order.order_summary (customer_id, order_id);
CREATE INDEX order_summary_status ON ecommerce_order.order_summary (status, order_id);
COMMENT ON TABLE ecommerce_order.order_summary IS
'One row per order for lists: a projection of the category order, rebuilt by event_store.rebuild_projection(''order_summary''). Ids are UUIDv7, so their order is that of time.';

CREATE TABLE ecommerce_order.idempotency (
	owner text NOT NULL,
	key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	request_hash bytea NOT NULL,
	reply ecommerce_order.reply NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_age ON ecommerce_order.idempotency (created_at);
COMMENT ON TABLE ecommerce_order.idempotency IS
'First answers by Idempotency-Key, kept 24 hours; request_hash is the SHA-256 of the request. owner is the tenant and whose API key it was: nobody meets the keys of others.';

CREATE FUNCTION ecommerce_order.apply(event event_store.event)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $apply$
DECLARE
	subject CONSTANT uuid := ecommerce_order.as_uuid(substr(event.stream, 7));
BEGIN
	IF subject IS NULL THEN
		RETURN;		-- a stream of that category that is none of ours
	ELSIF event.event_type = 'OrderCreated' THEN
		INSERT INTO ecommerce_order.order_summary
			(order_id, customer_id, status, total_amount, item_count, version, created_at,
				updated_at)
		VALUES (subject, (event.data ->> 'customer_id')::uuid, 'Created',
			(event.data ->> 'total_amount')::numeric,
			jsonb_array_length(event.data -> 'items'), event.version, event.occurred_at,
				event.occurred_at);
	ELSE
		UPDATE ecommerce_order.order_summary s
		SET status = CASE event.event_type WHEN 'OrderConfirmed' THEN 'Confirmed'
			WHEN 'OrderCancelled' THEN 'Cancelled'
				WHEN 'OrderCompleted' THEN 'Completed' ELSE s.status END,
			confirmation_number = coalesce(event.data ->> 'confirmation_number',
				s.confirmation_number),
			cancel_reason = coalesce(event.data ->> 'reason', s.cancel_reason),
			refund_id = coalesce(event.data ->> 'refund_id', s.refund_id),
			version = event.version, updated_at = event.occurred_at
		WHERE s.order_id = subject;
	END IF;
END
$apply$;
COMMENT ON FUNCTION ecommerce_order.apply(event_store.event) IS
'Handler of the inline projection "order_summary".';

CREATE FUNCTION ecommerce_order.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	PERFORM ecommerce.register_contracts();
	PERFORM ecommerce.install_order_aggregate();
	PERFORM ecommerce.install_order_saga();
	IF NOT EXISTS (SELECT FROM event_store.projections p WHERE p.name = 'order_summary') THEN
		PERFORM event_store.create_projection('order_summary',
			'ecommerce_order.apply(event_store.event)'::regprocedure,
			category => 'order', mode => 'inline',
				tables => ARRAY['ecommerce_order.order_summary']::regclass[]);
	END IF;
END
$install$;
COMMENT ON FUNCTION ecommerce_order.install() IS
'Registers contracts, the order aggregate, the order saga with its endpoints, and the projection; does nothing where they exist. Call once after CREATE EXTENSION.';
