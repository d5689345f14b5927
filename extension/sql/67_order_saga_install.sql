-- Installing the order saga.

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
			-- A service's messages all need one thing, its provider; the saga's need nothing.
			PERFORM message_bus.create_endpoint(wanted,
				breaker => CASE wanted WHEN 'order' THEN 'none' ELSE 'default' END);
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
'Registers the contracts, creates the endpoints order, inventory, payment, shipping and notification '
'where absent, and defines saga "order". Returns the version of the definition; installing the same '
'again changes nothing.';
