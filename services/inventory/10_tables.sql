-- Products, stock and reservations: a projection of the events in the categories
-- product and reservation. Everything here can be rebuilt from them.

CREATE TABLE ecommerce_inventory.product (
	product_id uuid PRIMARY KEY,
	position bigint NOT NULL UNIQUE,
	sku text NOT NULL UNIQUE,
	name text NOT NULL,
	on_hand bigint NOT NULL DEFAULT 0,
	reserved bigint NOT NULL DEFAULT 0,
	kind text NOT NULL CHECK (kind IN ('goods', 'extra', 'charge')),
	amount numeric CHECK (amount >= 0),
	currency text,
	percent numeric CHECK (percent BETWEEN 0 AND 100),
	version bigint NOT NULL,
	updated_at timestamptz NOT NULL,
	CONSTRAINT one_price CHECK ((amount IS NULL) = (currency IS NULL)
		AND (percent IS NULL OR amount IS NULL AND kind = 'charge')),
	CONSTRAINT on_hand_not_negative CHECK (on_hand >= 0),
	CONSTRAINT available_not_negative CHECK (reserved BETWEEN 0 AND on_hand)
) WITH (fillfactor = 50);
COMMENT ON TABLE ecommerce_inventory.product IS
'The catalogue, and stock per product in pieces: on_hand lies in the warehouse, reserved of it is held for orders, the rest is available. kind: goods are kept in stock; an extra (gift wrap) and a charge (tax, postage) are not, and a charge is on every order. The price is an amount in a currency, or for a charge percent of what the rest of the order costs; without one a product is not for sale. version is that of the stream product-<id>, position that of its first event.';

CREATE TABLE ecommerce_inventory.reservation (
	key uuid PRIMARY KEY,
	order_id uuid NOT NULL,
	status text NOT NULL CHECK (status IN ('held', 'committed', 'released', 'expired', 'rejected')),
	items jsonb NOT NULL,
	expires_at timestamptz,
	reason text,
	correlation_id uuid,
	version bigint NOT NULL,
	updated_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX reservation_due ON ecommerce_inventory.reservation (expires_at) WHERE status = 'held';
CREATE INDEX reservation_order ON ecommerce_inventory.reservation (order_id);
COMMENT ON TABLE ecommerce_inventory.reservation IS
'Reservations by step key. items: [{product_id, sku, quantity}] with one line per product, of a rejected one what was out of stock. A key that was released before it was heard of stands here as released without items.';

CREATE FUNCTION ecommerce_inventory._apply(event event_store.event)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $apply$
DECLARE
	subject CONSTANT uuid := substr(event.stream, strpos(event.stream, '-') + 1)::uuid;
	lines jsonb;
	before text;
	on_hand_sign int := 0;
	reserved_sign int := 0;
BEGIN
	IF event.event_type = 'ProductDescribed' THEN
		INSERT INTO ecommerce_inventory.product AS p (product_id, position, sku, name, kind, amount, currency,
			percent, version, updated_at)
		VALUES (subject, event.position, event.data ->> 'sku', event.data ->> 'name',
			coalesce(event.data ->> 'kind', 'goods'), (event.data #>> '{price,amount}')::numeric,
			event.data #>> '{price,currency}', (event.data #>> '{price,percent}')::numeric,
			event.version, event.occurred_at)
		ON CONFLICT (product_id) DO UPDATE
		SET sku = excluded.sku, name = excluded.name, kind = excluded.kind,
			amount = excluded.amount, currency = excluded.currency, percent = excluded.percent,
			version = excluded.version, updated_at = excluded.updated_at;
		RETURN;
	ELSIF event.event_type = 'StockAdjusted' THEN
		UPDATE ecommerce_inventory.product p
		SET on_hand = p.on_hand + (event.data ->> 'delta')::bigint, version = event.version,
			updated_at = event.occurred_at
		WHERE p.product_id = subject;
		RETURN;
	END IF;

	SELECT r.status, r.items INTO before, lines FROM ecommerce_inventory.reservation r
		WHERE r.key = subject;
	CASE event.event_type
	WHEN 'StockHeld' THEN
		lines := event.data -> 'items';
		reserved_sign := 1;
	WHEN 'HoldCommitted' THEN
		on_hand_sign := -1;
		reserved_sign := -1;
	WHEN 'HoldReleased' THEN
		on_hand_sign := CASE before WHEN 'committed' THEN 1 ELSE 0 END;
		reserved_sign := CASE before WHEN 'held' THEN -1 ELSE 0 END;
	WHEN 'HoldExpired' THEN
		reserved_sign := -1;
	WHEN 'HoldRefused' THEN
		lines := event.data -> 'items';
	ELSE
		NULL;	-- HoldRenewed moves no stock
	END CASE;

	INSERT INTO ecommerce_inventory.reservation AS r
		(key, order_id, status, items, expires_at, reason, correlation_id, version, updated_at)
	VALUES (subject, (event.data ->> 'order_id')::uuid,
		CASE event.event_type WHEN 'StockHeld' THEN 'held' WHEN 'HoldRenewed' THEN 'held'
			WHEN 'HoldCommitted' THEN 'committed' WHEN 'HoldReleased' THEN 'released'
			WHEN 'HoldExpired' THEN 'expired' ELSE 'rejected' END,
		coalesce(lines, '[]'), (event.data ->> 'expires_at')::timestamptz, event.data ->> 'reason',
		(event.metadata ->> 'correlation_id')::uuid, event.version, event.occurred_at)
	ON CONFLICT (key) DO UPDATE
	SET status = excluded.status, expires_at = coalesce(excluded.expires_at, r.expires_at),
		reason = coalesce(excluded.reason, r.reason), version = excluded.version,
			updated_at = excluded.updated_at;

	IF on_hand_sign <> 0 OR reserved_sign <> 0 THEN
		UPDATE ecommerce_inventory.product p
		SET on_hand = p.on_hand + on_hand_sign * line.quantity,
			reserved = p.reserved + reserved_sign * line.quantity
		FROM jsonb_to_recordset(lines) AS line (product_id uuid, quantity bigint)
		WHERE p.product_id = line.product_id;
	END IF;
END
$apply$;
COMMENT ON FUNCTION ecommerce_inventory._apply(event_store.event) IS
'Handler of the inline projection "inventory": brings product and reservation up to the event. Check constraints refuse what would make stock negative.';

CREATE FUNCTION ecommerce_inventory.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	PERFORM ecommerce.register_contracts();
	IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = 'inventory') THEN
		PERFORM message_bus.create_endpoint('inventory', breaker => 'default');
	END IF;
	IF NOT EXISTS (SELECT FROM event_store.projections p WHERE p.name = 'inventory') THEN
		PERFORM event_store.create_projection('inventory',
			'ecommerce_inventory._apply(event_store.event)'::regprocedure,
			event_types => ARRAY['ProductDescribed', 'StockAdjusted', 'StockHeld', 'HoldRenewed',
				'HoldRefused',
				'HoldCommitted', 'HoldReleased', 'HoldExpired'],
			mode => 'inline',
			tables => ARRAY['ecommerce_inventory.product',
				'ecommerce_inventory.reservation']::regclass[]);
	END IF;
END
$install$;
COMMENT ON FUNCTION ecommerce_inventory.install() IS
'Registers contracts, endpoint and projection in this database; does nothing where they exist. Call once after CREATE EXTENSION; not part of it, so that a dump restores.';
