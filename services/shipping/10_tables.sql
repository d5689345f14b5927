-- Shipments with what is owed to the carrier, and the simulated carrier's books.

CREATE TABLE ecommerce_shipping.shipment (
	shipment_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	position bigint UNIQUE,
	key uuid NOT NULL UNIQUE,
	order_id uuid NOT NULL,
	customer_id uuid,
	status text NOT NULL CHECK (status IN ('requested', 'arranged', 'dispatched', 'delivered',
		'cancelled', 'failed')),
	items jsonb NOT NULL,
	address jsonb,
	carrier text,
	estimated_delivery timestamptz,
	tracking_number text,
	delivered_at timestamptz,
	error_code text,
	error_reason text,
	is_retryable boolean,
	is_cancelled boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
CREATE INDEX shipment_order ON ecommerce_shipping.shipment (order_id, created_at);
CREATE INDEX shipment_customer ON ecommerce_shipping.shipment (customer_id, position)
	WHERE customer_id IS NOT NULL;
SELECT ecommerce_shipping._outside_work('ecommerce_shipping.shipment', 'shipment_id',
	'{arrange,cancel}');
DROP FUNCTION ecommerce_shipping._outside_work(regclass, name, text[], text);
SELECT ecommerce_shipping._for_whom('ecommerce_shipping.shipment');
DROP FUNCTION ecommerce_shipping._for_whom(regclass);
COMMENT ON TABLE ecommerce_shipping.shipment IS
'Shipments by step key. operation is what is owed to the carrier, committed before any call; the key makes repeated calls harmless there. A key that was cancelled before it was heard of stands here as cancelled without items.';

CREATE FUNCTION ecommerce_shipping._take_position()
RETURNS trigger LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $take_position$
BEGIN
	NEW.position := ecommerce.next_position('ecommerce_shipping.shipment');
	RETURN NEW;
END
$take_position$;
COMMENT ON FUNCTION ecommerce_shipping._take_position() IS
'A shipment gets its position when it begins to be listed, which is when the carrier has answered.';
CREATE TRIGGER take_position BEFORE INSERT OR UPDATE ON ecommerce_shipping.shipment
	FOR EACH ROW WHEN (NEW.position IS NULL AND NEW.status <> 'requested')
	EXECUTE FUNCTION ecommerce_shipping._take_position();

CREATE TABLE ecommerce_shipping.simulator_consignment (
	key uuid PRIMARY KEY,
	order_id uuid NOT NULL,
	status text NOT NULL CHECK (status IN ('arranged', 'refused', 'cancelled'))
);
CREATE INDEX simulator_consignment_order ON ecommerce_shipping.simulator_consignment (order_id);
COMMENT ON TABLE ecommerce_shipping.simulator_consignment IS
'The books of the simulated carrier; commits on its own.';

CREATE FUNCTION ecommerce_shipping.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	PERFORM ecommerce.register_contracts();
	IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = 'shipping') THEN
		PERFORM message_bus.create_endpoint('shipping', breaker => 'default');
	END IF;
END
$install$;
COMMENT ON FUNCTION ecommerce_shipping.install() IS
'Registers contracts and endpoint in this database; does nothing where they exist. Call once after CREATE EXTENSION.';
