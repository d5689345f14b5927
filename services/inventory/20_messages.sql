-- Handlers of the endpoint inventory. Each takes a command's body and publishes
-- exactly one reply. A command whose key is known answers as before.

CREATE FUNCTION ecommerce_inventory._record(stream text, expected bigint, event_type text,
	data jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $record$
DECLARE
	subject CONSTANT uuid := substr(stream, strpos(stream, '-') + 1);
	appended bigint;
BEGIN
	SELECT a.version INTO appended FROM event_store.append(stream, expected, event_type, data) AS a;
	-- the store goes on without a projection that fails; stock must not
	IF NOT EXISTS (
		SELECT FROM ecommerce_inventory.reservation r WHERE r.key = subject AND r.version = appended
		UNION ALL
		SELECT FROM ecommerce_inventory.product p WHERE p.product_id = subject
			AND p.version = appended) THEN
		RAISE EXCEPTION 'the projection "inventory" did not take event % of "%"', event_type, stream
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'The view event_store.projections tells why; a rebuild ends by itself.';
	END IF;
END
$record$;
COMMENT ON FUNCTION ecommerce_inventory._record(text, bigint, text, jsonb) IS
'Appends to the stream of a product or reservation and makes sure that the inline projection followed, else 55000. Two that know the same version: the later fails with ST001 and is tried again.';

CREATE FUNCTION ecommerce_inventory._lock_products(items jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $lock_products$
BEGIN
	-- in the order of ids, so that two orders with the same products cannot deadlock
	PERFORM FROM ecommerce_inventory.product p
	WHERE p.product_id IN (SELECT line.product_id
		FROM jsonb_to_recordset(items) AS line (product_id uuid))
	ORDER BY p.product_id
	FOR NO KEY UPDATE;
END
$lock_products$;
COMMENT ON FUNCTION ecommerce_inventory._lock_products(jsonb) IS
'Locks the products of the lines in the order of their ids; whoever moves stock calls it first.';

CREATE FUNCTION ecommerce_inventory._reply_held(held ecommerce_inventory.reservation)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_held$
BEGIN
	PERFORM ecommerce_inventory._publish('InventoryReserved', held.order_id, held.key,
		jsonb_build_object(
		'expires_at', held.expires_at,
		'reserved_items', (SELECT coalesce(jsonb_agg(line
			|| jsonb_build_object('reservation_id', held.key) ORDER BY n), '[]')
			FROM jsonb_array_elements(held.items) WITH ORDINALITY AS lines (line, n))));
END
$reply_held$;
COMMENT ON FUNCTION ecommerce_inventory._reply_held(ecommerce_inventory.reservation) IS
'Publishes InventoryReserved for a reservation that holds stock.';

CREATE FUNCTION ecommerce_inventory._reply_refused(order_id uuid, key uuid, reason text,
	items jsonb DEFAULT '[]')
RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_refused$
	SELECT ecommerce_inventory._publish('InventoryReservationFailed', order_id, key,
		jsonb_build_object('reason', reason, 'out_of_stock_items', items))
$reply_refused$;
COMMENT ON FUNCTION ecommerce_inventory._reply_refused(uuid, uuid, text, jsonb) IS
'Publishes InventoryReservationFailed; reason: OutOfStock, cancelled or expired.';

CREATE FUNCTION ecommerce_inventory.reserve_inventory(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reserve_inventory$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	ordered CONSTANT uuid := command ->> 'order_id';
	until CONSTANT timestamptz := clock_timestamp()
		+ make_interval(secs => coalesce((command ->> 'ttl')::int, 900));
	known ecommerce_inventory.reservation;
	lines jsonb;
	missing jsonb;
BEGIN
	SELECT * INTO known FROM ecommerce_inventory.reservation r WHERE r.key = step FOR UPDATE;
	CASE known.status
	WHEN 'held' THEN	-- the same key again renews the hold
		IF until > known.expires_at THEN
			PERFORM ecommerce_inventory._record('reservation-' || step, known.version, 'HoldRenewed',
				jsonb_build_object('order_id', ordered, 'expires_at', until));
			known.expires_at := until;
		END IF;
		PERFORM ecommerce_inventory._reply_held(known);
		RETURN;
	WHEN 'committed' THEN
		PERFORM ecommerce_inventory._reply_held(known);
		RETURN;
	WHEN 'released' THEN
		PERFORM ecommerce_inventory._reply_refused(ordered, step, 'cancelled');
		RETURN;
	WHEN 'expired' THEN
		PERFORM ecommerce_inventory._reply_refused(ordered, step, 'expired');
		RETURN;
	WHEN 'rejected' THEN
		PERFORM ecommerce_inventory._reply_refused(ordered, step, known.reason, known.items);
		RETURN;
	ELSE
		NULL;	-- a key not heard of before
	END CASE;

	IF (command ->> 'not_after')::timestamptz < clock_timestamp() THEN
		PERFORM ecommerce_inventory._record('reservation-' || step, 0, 'HoldRefused',
			jsonb_build_object('order_id', ordered, 'reason', 'expired', 'items', '[]'::jsonb));
		PERFORM ecommerce_inventory._reply_refused(ordered, step, 'expired');
		RETURN;
	END IF;

	-- a hold of fewer than nothing would eat up the holds of others
	IF jsonb_array_length(command -> 'items') = 0 OR EXISTS (
		SELECT FROM jsonb_to_recordset(command -> 'items') AS l (product_id uuid, quantity bigint)
		WHERE l.product_id IS NULL OR l.quantity IS NULL OR l.quantity <= 0) THEN
		RAISE EXCEPTION 'items of reservation "%" must be products with positive quantities', step
			USING ERRCODE = '22023';
	END IF;
	-- several lines of one product count together; what is no goods is not kept in stock
	SELECT coalesce(jsonb_agg(jsonb_build_object('product_id', line.product_id, 'sku', line.sku,
		'quantity', line.quantity) ORDER BY line.product_id), '[]')
	INTO lines
	FROM (SELECT l.product_id, min(l.sku) AS sku, sum(l.quantity) AS quantity
		FROM jsonb_to_recordset(command -> 'items') AS l (product_id uuid, sku text,
			quantity bigint)
		LEFT JOIN ecommerce_inventory.product p USING (product_id)
		WHERE coalesce(p.kind, 'goods') = 'goods'
		GROUP BY l.product_id) AS line;
	PERFORM ecommerce_inventory._lock_products(lines);
	SELECT jsonb_agg(jsonb_build_object('product_id', line.product_id, 'sku', line.sku,
			'requested_quantity', line.quantity, 'available_quantity',
				coalesce(p.on_hand - p.reserved, 0))
			ORDER BY line.product_id)
	INTO missing
	FROM jsonb_to_recordset(lines) AS line (product_id uuid, sku text, quantity bigint)
	LEFT JOIN ecommerce_inventory.product p ON p.product_id = line.product_id
	WHERE line.quantity > coalesce(p.on_hand - p.reserved, 0);

	IF missing IS NOT NULL THEN
		PERFORM ecommerce_inventory._record('reservation-' || step, 0, 'HoldRefused',
			jsonb_build_object('order_id', ordered, 'reason', 'OutOfStock', 'items', missing));
		PERFORM ecommerce_inventory._reply_refused(ordered, step, 'OutOfStock', missing);
		RETURN;
	END IF;
	PERFORM ecommerce_inventory._record('reservation-' || step, 0, 'StockHeld',
		jsonb_build_object('order_id', ordered, 'items', lines, 'expires_at', until));
	known.key := step;
	known.order_id := ordered;
	known.items := lines;
	known.expires_at := until;
	PERFORM ecommerce_inventory._reply_held(known);
END
$reserve_inventory$;
COMMENT ON FUNCTION ecommerce_inventory.reserve_inventory(jsonb) IS
'Handles ReserveInventory{order_id, key, items, ttl in seconds (900), not_after}: holds all items that are goods, or none. Replies InventoryReserved or InventoryReservationFailed (OutOfStock, cancelled, expired); 22023 if there are no items or not all have a positive quantity.';

CREATE FUNCTION ecommerce_inventory.commit_reservation(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $commit_reservation$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	ordered CONSTANT uuid := command ->> 'order_id';
	known ecommerce_inventory.reservation;
BEGIN
	SELECT * INTO known FROM ecommerce_inventory.reservation r WHERE r.key = step FOR UPDATE;
	IF known.status = 'held' THEN
		PERFORM ecommerce_inventory._lock_products(known.items);
		PERFORM ecommerce_inventory._record('reservation-' || step, known.version, 'HoldCommitted',
			jsonb_build_object('order_id', ordered));
	ELSIF known.status IS DISTINCT FROM 'committed' THEN
		PERFORM ecommerce_inventory._publish('ReservationCommitFailed', ordered, step,
			jsonb_build_object('reason', coalesce(known.status, 'unknown')));
		RETURN;
	END IF;
	PERFORM ecommerce_inventory._publish('ReservationCommitted', ordered, step);
END
$commit_reservation$;
COMMENT ON FUNCTION ecommerce_inventory.commit_reservation(jsonb) IS
'Handles CommitReservation{order_id, key}: takes the goods from on hand and reserved, which ends expiry. Replies ReservationCommitted or ReservationCommitFailed{reason: expired, released, rejected, unknown}.';

CREATE FUNCTION ecommerce_inventory.release_inventory(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $release_inventory$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	ordered CONSTANT uuid := command ->> 'order_id';
	known ecommerce_inventory.reservation;
BEGIN
	SELECT * INTO known FROM ecommerce_inventory.reservation r WHERE r.key = step FOR UPDATE;
	-- an unknown key gets a tombstone, so that a reservation that comes later is refused
	IF NOT FOUND OR known.status IN ('held', 'committed') THEN
		PERFORM ecommerce_inventory._lock_products(coalesce(known.items, '[]'));
		PERFORM ecommerce_inventory._record('reservation-' || step, coalesce(known.version, 0),
			'HoldReleased',
			jsonb_build_object('order_id', ordered, 'reason', command ->> 'reason'));
	END IF;
	PERFORM ecommerce_inventory._publish('InventoryReleased', ordered, step,
		jsonb_build_object('product_ids',
		CASE WHEN known.status IN ('held', 'committed', 'released') THEN
			(SELECT coalesce(jsonb_agg(line -> 'product_id'), '[]')
				FROM jsonb_array_elements(known.items) AS line)
		ELSE '[]'::jsonb END));
END
$release_inventory$;
COMMENT ON FUNCTION ecommerce_inventory.release_inventory(jsonb) IS
'Handles ReleaseInventory{order_id, key, reason}: a held reservation gives its stock back, a committed one puts it on hand again, an unknown key is refused from now on. Replies InventoryReleased.';

CREATE FUNCTION ecommerce_inventory.expire_holds()
RETURNS int LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $expire_holds$
DECLARE
	due ecommerce_inventory.reservation[];
	held ecommerce_inventory.reservation;
BEGIN
	due := ARRAY(
		SELECT r FROM ecommerce_inventory.reservation r
		WHERE r.status = 'held' AND r.expires_at <= clock_timestamp()
		ORDER BY r.expires_at LIMIT 100
		FOR UPDATE SKIP LOCKED);
	PERFORM ecommerce_inventory._lock_products(
		(SELECT coalesce(jsonb_agg(line), '[]')
		FROM unnest(due) AS d, jsonb_array_elements(d.items) AS line));
	FOREACH held IN ARRAY due LOOP
		PERFORM ecommerce.set_context(held.correlation_id);
		PERFORM ecommerce_inventory._record('reservation-' || held.key, held.version, 'HoldExpired',
			jsonb_build_object('order_id', held.order_id));
		PERFORM ecommerce_inventory._publish('ReservationExpired', held.order_id, held.key);
	END LOOP;
	RETURN cardinality(due);
END
$expire_holds$;
COMMENT ON FUNCTION ecommerce_inventory.expire_holds() IS
'Gives back the stock of holds whose time is up, at most 100 at a time, and publishes ReservationExpired for each; the number done.';
