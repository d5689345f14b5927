-- What every service's schema has: its role, its schema, and how its functions
-- answer HTTP requests. inventory stands for the service's name.
\echo Type "CREATE EXTENSION ecommerce_inventory CASCADE" to load this file. \quit

-- The daemon logs in with this role; no password lets nobody else in unless
-- pg_hba.conf says otherwise. Roles belong to the whole cluster.
DO $roles$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ecommerce_inventory') THEN
		CREATE ROLE ecommerce_inventory LOGIN;
	END IF;
	GRANT ecommerce_writer TO ecommerce_inventory;
END
$roles$;

CREATE SCHEMA ecommerce_inventory;
GRANT USAGE ON SCHEMA ecommerce_inventory TO ecommerce_inventory, ecommerce_reader;

CREATE TYPE ecommerce_inventory.reply AS (
	status int,
	body jsonb,
	etag text,
	location text
);
COMMENT ON TYPE ecommerce_inventory.reply IS
'Answer to an HTTP request: status code, JSON body or NULL for none, values of the headers ETag and Location or NULL.';

CREATE FUNCTION ecommerce_inventory._answer(status int, body jsonb, etag text DEFAULT NULL,
											location text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $answer$
BEGIN
	RETURN ROW(status, body, etag, location);
END
$answer$;
COMMENT ON FUNCTION ecommerce_inventory._answer(int, jsonb, text, text) IS 'Makes a reply.';

CREATE FUNCTION ecommerce_inventory._refuse(status int, detail text, errors jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'HT' || status, MESSAGE = detail,
		DETAIL = coalesce(errors::text, '');
END
$refuse$;
COMMENT ON FUNCTION ecommerce_inventory._refuse(int, text, jsonb) IS
'Ends the request with SQLSTATE HT<status>; errors: array of {"field", "detail"}, becomes the DETAIL.';

CREATE FUNCTION ecommerce_inventory._refuse_fields(errors jsonb)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_fields$
BEGIN
	IF errors <> '[]' THEN
		PERFORM ecommerce_inventory._refuse(422, 'the request has fields that are missing or wrong',
			errors);
	END IF;
END
$refuse_fields$;
COMMENT ON FUNCTION ecommerce_inventory._refuse_fields(jsonb) IS
'Does nothing with an empty array; else ends the request with HT422 and the errors.';

CREATE FUNCTION ecommerce_inventory._bad_field(field text, detail text)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $bad_field$
	SELECT jsonb_build_array(jsonb_build_object('field', field, 'detail', detail))
$bad_field$;
COMMENT ON FUNCTION ecommerce_inventory._bad_field(text, text) IS
'An array with one error, as refuse_fields takes it.';

CREATE FUNCTION ecommerce_inventory._is_text(value jsonb)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_text$
BEGIN
	-- white space as in JSON Schema's patterns, so that the OpenAPI document says the same
	RETURN coalesce(jsonb_typeof(value) = 'string' AND length(value #>> '{}') BETWEEN 1 AND 200
		AND value #>> '{}' ~ '[^\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]',
		false);
END
$is_text$;
COMMENT ON FUNCTION ecommerce_inventory._is_text(jsonb) IS
'Whether a value is a text of 1 to 200 characters, not all of them white space.';

CREATE FUNCTION ecommerce_inventory._is_whole(value jsonb, lowest bigint, highest bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_whole$
BEGIN
	RETURN CASE WHEN jsonb_typeof(value) = 'number' THEN value::numeric BETWEEN lowest AND highest
		AND value::numeric = trunc(value::numeric) ELSE false END;
END
$is_whole$;
COMMENT ON FUNCTION ecommerce_inventory._is_whole(jsonb, bigint, bigint) IS
'Whether a value is a whole number between two; 5.0 is one.';

CREATE FUNCTION ecommerce_inventory._as_uuid(value text)
RETURNS uuid LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $as_uuid$
BEGIN
	RETURN CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END;
END
$as_uuid$;
COMMENT ON FUNCTION ecommerce_inventory._as_uuid(text) IS 'The UUID, or NULL when the text is none.';

CREATE FUNCTION ecommerce_inventory._query_errors(uuids jsonb, after text, page text)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $query_errors$
DECLARE
	errors jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', name, 'detail', 'must be a UUID')
		ORDER BY name), '[]')
	INTO errors FROM jsonb_each_text(uuids) AS parameter (name, value)
	WHERE value IS NOT NULL AND ecommerce_inventory._as_uuid(value) IS NULL;
	IF after !~ '^[0-9]{1,18}$' THEN
		errors := errors || ecommerce_inventory._bad_field('after',
			'must be a cursor from next or cursor');
	END IF;
	IF page !~ '^[0-9]{1,4}$' OR page::int NOT BETWEEN 1 AND 1000 THEN
		errors := errors || ecommerce_inventory._bad_field('limit',
			'must be a number from 1 to 1000');
	END IF;
	RETURN errors;
END
$query_errors$;
COMMENT ON FUNCTION ecommerce_inventory._query_errors(jsonb, text, text) IS
'Every bad parameter of a query as [{"field", "detail"}]: uuids are name and text of those that must be UUIDs, after is a cursor, page is the limit; null and absent are good.';

CREATE FUNCTION ecommerce_inventory._page_size(page text)
RETURNS int LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $page_size$
BEGIN
	RETURN coalesce(page::int, 50);
END
$page_size$;
COMMENT ON FUNCTION ecommerce_inventory._page_size(text) IS
'The query parameter limit, checked already: 50 when absent.';

CREATE FUNCTION ecommerce_inventory._tag_of(body jsonb, version bigint)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tag_of$
BEGIN
	RETURN format('"%s-%s"', version, left(md5(body::text), 16));
END
$tag_of$;
COMMENT ON FUNCTION ecommerce_inventory._tag_of(jsonb, bigint) IS
'The entity tag of a representation. It is made of all that is shown, since a strong one has to change with it, wherever the change comes from.';

CREATE FUNCTION ecommerce_inventory._tags(header text)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tags$
BEGIN
	RETURN regexp_split_to_array(trim(header), '\s*,\s*');
END
$tags$;
COMMENT ON FUNCTION ecommerce_inventory._tags(text) IS
'The tags of a header If-Match or If-None-Match; NULL without the header.';

CREATE FUNCTION ecommerce_inventory._represent(body jsonb, version bigint,
	if_none_match text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $represent$
DECLARE
	tag CONSTANT text := ecommerce_inventory._tag_of(body, version);
	known CONSTANT text[] := ecommerce_inventory._tags(replace(if_none_match, 'W/"', '"'));
BEGIN
	IF '*' = ANY (known) OR tag = ANY (known) THEN
		RETURN ecommerce_inventory._answer(304, NULL, tag);
	END IF;
	RETURN ecommerce_inventory._answer(200, body, tag);
END
$represent$;
COMMENT ON FUNCTION ecommerce_inventory._represent(jsonb, bigint, text) IS
'The reply to a GET: 200 with its entity tag, or 304 when If-None-Match has that tag, weak ones included.';

CREATE FUNCTION ecommerce_inventory._check_match(if_match text, if_none_match text, tag text,
	version text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $check_match$
DECLARE
	wanted CONSTANT text[] := ecommerce_inventory._tags(if_match);
	unwanted CONSTANT text[] := ecommerce_inventory._tags(if_none_match);
BEGIN
	IF wanted IS NOT NULL AND NOT coalesce(tag IS NOT NULL AND '*' = ANY (wanted)
		OR tag = ANY (wanted), false) AND NOT coalesce(version = ANY (wanted), false) THEN
		PERFORM ecommerce_inventory._refuse(412, CASE WHEN tag IS NULL THEN 'there is none yet'
			ELSE format('it has changed: it is at %s now', tag) END);
	ELSIF unwanted IS NOT NULL AND tag IS NOT NULL
		AND ('*' = ANY (unwanted) OR tag = ANY (unwanted)) THEN
		PERFORM ecommerce_inventory._refuse(412, format('there is one already: it is at %s', tag));
	END IF;
END
$check_match$;
COMMENT ON FUNCTION ecommerce_inventory._check_match(text, text, text, text) IS
'HT412 unless what is to be changed is as the headers If-Match and If-None-Match want it. tag: its entity tag, NULL if it does not exist; version: another tag that If-Match may name.';

CREATE FUNCTION ecommerce_inventory._followed(projection text, mark bigint)
RETURNS bigint LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $followed$
DECLARE
	deferred CONSTANT bigint := (SELECT min(d.position) FROM event_store.projection_deferred d
		WHERE d.name = projection);
BEGIN
	IF deferred = 0 THEN
		RAISE EXCEPTION 'the projection "%" does not run', projection
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'The view event_store.projections tells why; a rebuild ends by itself.';
	END IF;
	RETURN least(deferred - 1, mark);
END
$followed$;
COMMENT ON FUNCTION ecommerce_inventory._followed(text, bigint) IS
'How far a reader may go in the tables of an inline projection whose events can be read up to the mark: below what it has still to be given. Call it in the statement that reads the rows. 55000 while it is rebuilt or paused.';

CREATE FUNCTION ecommerce_inventory._collection(items jsonb, size int, newest bigint, after text)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $collection$
BEGIN
	RETURN ecommerce_inventory._answer(200, jsonb_build_object(
		'items', coalesce(items, '[]'),
		'next', CASE WHEN jsonb_array_length(coalesce(items, '[]')) >= size THEN newest::text END,
		'cursor', coalesce(newest::text, after, '0')));
END
$collection$;
COMMENT ON FUNCTION ecommerce_inventory._collection(jsonb, int, bigint, text) IS
'A page of a collection: {"items", "next", "cursor"}. newest: the position of the last item, NULL without any; next is that when the page is full, else null; cursor is where to go on later, when there may be more.';

CREATE FUNCTION ecommerce_inventory._publish(message_type text, order_id uuid, key uuid,
	body jsonb DEFAULT '{}')
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $publish$
BEGIN
	PERFORM message_bus.publish(message_type,
		body || jsonb_build_object('order_id', order_id, 'key', key),
		partition_key => order_id::text);
END
$publish$;
COMMENT ON FUNCTION ecommerce_inventory._publish(text, uuid, uuid, jsonb) IS
'Publishes a reply: body plus order_id and the step key, in order with the other messages of that order.';

CREATE FUNCTION ecommerce_inventory._strange_fields(body jsonb, known text[], prefix text DEFAULT '')
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $strange_fields$
BEGIN
	IF jsonb_typeof(body) IS DISTINCT FROM 'object' OR body - known = '{}' THEN
		RETURN '[]';
	END IF;
	RETURN (
		SELECT jsonb_agg(jsonb_build_object('field', prefix || key, 'detail',
			'is not known here: send ' || array_to_string(known, ', ')) ORDER BY key)
		-- those that there may be are few; a body may have thousands of others
		FROM (SELECT key FROM jsonb_object_keys(body - known) AS key LIMIT 20) AS strange);
END
$strange_fields$;
COMMENT ON FUNCTION ecommerce_inventory._strange_fields(jsonb, text[], text) IS
'An error for each field of an object that is none of the known ones, for 20 of them at most: what nobody reads would have no effect, and who sent it would not know.';
-- A request that changes something is done once per Idempotency-Key, whatever its route.

CREATE TABLE ecommerce_inventory.idempotency (
	owner text NOT NULL,
	key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	request_hash bytea NOT NULL,
	reply ecommerce_inventory.reply NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_age ON ecommerce_inventory.idempotency (created_at);
COMMENT ON TABLE ecommerce_inventory.idempotency IS
'First answers by Idempotency-Key, kept 24 hours. owner: tenant and user, whose keys are nobody else''s; request_hash: SHA-256 of what was asked.';

CREATE FUNCTION ecommerce_inventory.once(idempotency_key text, function regproc, arguments jsonb,
	body_at int)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $once$
DECLARE
	who CONSTANT record := ecommerce.context();
	-- no tenant has a "/" in it
	whose CONSTANT text := concat(who.tenant_id, '/', who.user_id);
	-- the same document may be written in other ways
	asked CONSTANT jsonb := jsonb_build_array(function, CASE WHEN body_at IS NULL THEN arguments
		ELSE jsonb_set(arguments, ARRAY[body_at::text], (arguments ->> body_at)::jsonb) END);
	hash CONSTANT bytea := sha256(convert_to(asked::text, 'UTF8'));
	known ecommerce_inventory.idempotency;
	answer ecommerce_inventory.reply;
BEGIN
	IF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
		PERFORM ecommerce_inventory._refuse_fields(ecommerce_inventory._bad_field('Idempotency-Key',
			'must have 1 to 255 characters'));
	END IF;
	-- held until commit: a repeat that comes in the meantime is told so
	IF NOT pg_try_advisory_xact_lock(hashtextextended(
		concat_ws(' ', 'ecommerce_inventory.idempotency', whose, idempotency_key), 0)) THEN
		PERFORM ecommerce_inventory._refuse(409,
			'a request with this Idempotency-Key is still running');
	END IF;
	SELECT * INTO known FROM ecommerce_inventory.idempotency i
	WHERE i.owner = whose AND i.key = idempotency_key
		AND i.created_at > clock_timestamp() - interval '24 hours';
	IF FOUND AND known.request_hash <> hash THEN
		PERFORM ecommerce_inventory._refuse(422, 'this Idempotency-Key was used for something else',
			ecommerce_inventory._bad_field('Idempotency-Key',
				'was used with another body or for another resource'));
	ELSIF FOUND THEN
		RETURN known.reply;
	END IF;
	EXECUTE format('SELECT * FROM %s(%s)', function,
		(SELECT string_agg(quote_nullable(value), ', ' ORDER BY n)
			FROM jsonb_array_elements_text(arguments) WITH ORDINALITY AS a (value, n)))
	INTO answer;
	INSERT INTO ecommerce_inventory.idempotency AS i (owner, key, request_hash, reply)
		VALUES (whose, idempotency_key, hash, answer)
	ON CONFLICT ON CONSTRAINT idempotency_pkey DO UPDATE
	SET request_hash = excluded.request_hash, reply = excluded.reply,
		created_at = excluded.created_at;
	RETURN answer;
END
$once$;
COMMENT ON FUNCTION ecommerce_inventory.once(text, regproc, jsonb, int) IS
'Any request that changes something and has an Idempotency-Key: lets the function answer it with the arguments (texts or null; body_at: which of them, from 0, is the body as JSON), and returns that answer to a repeat within 24 hours. Used for something else HT422, while the first is still running HT409. What was refused may be tried again.';

CREATE FUNCTION ecommerce_inventory.forget_keys()
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_keys$
	WITH gone AS (
		DELETE FROM ecommerce_inventory.idempotency i
		WHERE (i.owner, i.key) IN (SELECT o.owner, o.key FROM ecommerce_inventory.idempotency o
			WHERE o.created_at <= clock_timestamp() - interval '24 hours'
			ORDER BY o.created_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
		RETURNING 1)
	SELECT count(*)::int FROM gone
$forget_keys$;
COMMENT ON FUNCTION ecommerce_inventory.forget_keys() IS
'Deletes Idempotency-Keys older than 24 hours, at most 1000 at a time; the number deleted.';
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
-- Products over HTTP. Ids and query parameters come as text and are checked here.

CREATE FUNCTION ecommerce_inventory._product_body(product ecommerce_inventory.product)
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $product_body$
	SELECT jsonb_build_object('product_id', product.product_id, 'sku', product.sku,
		'name', product.name, 'kind', product.kind,
		'price', CASE WHEN product.amount IS NOT NULL
				THEN jsonb_build_object('amount', product.amount, 'currency', product.currency)
			WHEN product.percent IS NOT NULL
				THEN jsonb_build_object('percent', product.percent) END,
		'on_hand', product.on_hand, 'reserved', product.reserved,
		'available', product.on_hand - product.reserved, 'version', product.version)
$product_body$;
COMMENT ON FUNCTION ecommerce_inventory._product_body(ecommerce_inventory.product) IS
'{product_id, sku, name, kind, price, on_hand, reserved, available, version}; quantities in pieces, price {amount, currency}, {percent}, or null: not for sale.';

CREATE FUNCTION ecommerce_inventory.get_product(product_id text, if_none_match text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $get_product$
DECLARE
	known ecommerce_inventory.product;
BEGIN
	SELECT * INTO known FROM ecommerce_inventory.product p
	WHERE p.product_id = ecommerce_inventory._as_uuid(get_product.product_id);
	IF NOT FOUND THEN
		PERFORM ecommerce_inventory._refuse(404, 'there is no such product');
	END IF;
	RETURN ecommerce_inventory._represent(ecommerce_inventory._product_body(known), known.version,
		if_none_match);
END
$get_product$;
COMMENT ON FUNCTION ecommerce_inventory.get_product(text, text) IS
'GET /products/{id}: 200, 304, or HT404.';

CREATE FUNCTION ecommerce_inventory.list_products(after text DEFAULT NULL, page text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $list_products$
DECLARE
	size int;
	mark bigint;
BEGIN
	PERFORM ecommerce_inventory._refuse_fields(ecommerce_inventory._query_errors('{}', after, page));
	size := ecommerce_inventory._page_size(page);
	-- before the snapshot that reads the rows: no earlier one can appear any more
	mark := event_store.high_water_mark('product');
	RETURN (
		SELECT ecommerce_inventory._collection(jsonb_agg(ecommerce_inventory._product_body(
			ROW(p.*)::ecommerce_inventory.product) ORDER BY p.position), size, max(p.position),
			after)
		FROM (SELECT * FROM ecommerce_inventory.product p
			WHERE p.position > coalesce(after::bigint, 0)
				AND p.position <= (SELECT ecommerce_inventory._followed('inventory', mark))
			ORDER BY p.position LIMIT size) AS p);
END
$list_products$;
COMMENT ON FUNCTION ecommerce_inventory.list_products(text, text) IS
'GET /products: in the order in which they were made; after takes the cursor that next or cursor gave, and whoever follows it sees each product once. 503 while the list is rebuilt.';

CREATE FUNCTION ecommerce_inventory._price_errors(price jsonb, kind text)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $price_errors$
DECLARE
	paid_in CONSTANT text := coalesce(price ->> 'currency', ecommerce.currency());
	-- contracts carry two, of a currency that has more
	decimals CONSTANT int := CASE WHEN ecommerce.minor_units(paid_in) > 2 THEN 2
		ELSE ecommerce.minor_units(paid_in) END;
	errors jsonb := '[]';
BEGIN
	IF coalesce(price, 'null') = 'null' THEN
		RETURN errors;
	ELSIF jsonb_typeof(price) <> 'object' THEN
		RETURN ecommerce_inventory._bad_field('price', 'must be an object or null');
	ELSIF price ? 'percent' THEN
		IF kind IS DISTINCT FROM 'charge' OR price - 'percent' <> '{}' THEN
			errors := errors || ecommerce_inventory._bad_field('price.percent',
				'is for a charge only, and stands alone');
		ELSIF NOT coalesce(jsonb_typeof(price -> 'percent') = 'number'
			AND price ->> 'percent' ~ '^([0-9]{1,2}(\.[0-9]{1,3}0*)?|100(\.0+)?)$', false) THEN
			errors := errors || ecommerce_inventory._bad_field('price.percent',
				'must be a number from 0 to 100 with at most three decimals');
		END IF;
		RETURN errors;
	END IF;
	IF decimals IS NULL OR jsonb_typeof(coalesce(price -> 'currency', '""')) <> 'string' THEN
		errors := errors || ecommerce_inventory._bad_field('price.currency',
			'must be a currency of ISO 4217, such as EUR');
	END IF;
	IF NOT coalesce(jsonb_typeof(price -> 'amount') = 'number' AND price ->> 'amount'
		~ format('^[0-9]{1,7}(\.[0-9]{0,%s}0*)?$', coalesce(decimals, 2)), false) THEN
		errors := errors || ecommerce_inventory._bad_field('price.amount',
			format('must be an amount from 0 to 9999999.99 with at most %s decimals',
				coalesce(decimals, 2)));
	END IF;
	RETURN errors || ecommerce_inventory._strange_fields(price, '{amount,currency}', 'price.');
END
$price_errors$;
COMMENT ON FUNCTION ecommerce_inventory._price_errors(jsonb, text) IS
'Every bad field of the price of a product of that kind: {amount, currency}, where the shop''s currency may be left out, {percent} of a charge, or null.';

CREATE FUNCTION ecommerce_inventory._product_errors(body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $product_errors$
DECLARE
	errors jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', field, 'detail',
		'must be a text of 1 to 200 characters')), '[]')
	INTO errors FROM unnest(ARRAY['sku', 'name']) AS field
	WHERE NOT ecommerce_inventory._is_text(body -> field);
	IF body ? 'kind' AND (jsonb_typeof(body -> 'kind') <> 'string'
		OR body ->> 'kind' NOT IN ('goods', 'extra', 'charge')) THEN
		errors := errors || ecommerce_inventory._bad_field('kind',
			'must be goods, extra or charge');
	END IF;
	RETURN errors || ecommerce_inventory._price_errors(body -> 'price', body ->> 'kind')
		|| ecommerce_inventory._strange_fields(body, '{sku,name,kind,price}');
END
$product_errors$;
COMMENT ON FUNCTION ecommerce_inventory._product_errors(jsonb) IS
'Every bad field of the body of PUT /products/{id} as [{"field", "detail"}]; empty when there is none.';

CREATE FUNCTION ecommerce_inventory.put_product(product_id text, body jsonb,
	if_match text DEFAULT NULL, if_none_match text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $put_product$
DECLARE
	id CONSTANT uuid := ecommerce_inventory._as_uuid(product_id);
	known ecommerce_inventory.product;
	wanted jsonb;
	answer ecommerce_inventory.reply;
BEGIN
	PERFORM ecommerce_inventory._refuse_fields(ecommerce_inventory._product_errors(body)
		|| CASE WHEN id IS NULL THEN ecommerce_inventory._bad_field('product_id', 'must be a UUID')
			ELSE '[]' END);
	SELECT * INTO known FROM ecommerce_inventory.product p
		WHERE p.product_id = id FOR NO KEY UPDATE;
	PERFORM ecommerce_inventory._check_match(if_match, if_none_match,
		CASE WHEN known.product_id IS NOT NULL THEN ecommerce_inventory._tag_of(
			ecommerce_inventory._product_body(known), known.version) END);
	wanted := jsonb_build_object('product_id', id, 'sku', body -> 'sku', 'name', body -> 'name',
		'kind', coalesce(body ->> 'kind', known.kind, 'goods'),
		'price', CASE WHEN jsonb_typeof(body -> 'price') = 'object' AND NOT body -> 'price'
				? 'percent' THEN jsonb_build_object(
					'amount', trim_scale((body #>> '{price,amount}')::numeric),
					'currency', coalesce(body #>> '{price,currency}', ecommerce.currency()))
			WHEN body ? 'price' THEN body -> 'price'
			ELSE ecommerce_inventory._product_body(known) -> 'price' END);
	IF EXISTS (SELECT FROM ecommerce_inventory.product p WHERE p.sku = body ->> 'sku'
		AND p.product_id <> id) THEN
		PERFORM ecommerce_inventory._refuse(409, format('another product has the sku "%s"',
			body ->> 'sku'));
	ELSIF wanted ->> 'kind' <> 'goods' AND (known.on_hand > 0 OR known.reserved > 0) THEN
		PERFORM ecommerce_inventory._refuse(409, 'there are pieces of it in stock');
	ELSIF wanted ->> 'kind' <> 'charge' AND known.percent IS NOT NULL
		AND NOT body ? 'price' THEN
		PERFORM ecommerce_inventory._refuse_fields(ecommerce_inventory._bad_field('price',
			'must be an amount: only a charge has a price in percent'));
	END IF;
	IF known.product_id IS NULL
		OR NOT ecommerce_inventory._product_body(known) @> wanted THEN
		PERFORM ecommerce_inventory._record('product-' || id, coalesce(known.version, 0),
			'ProductDescribed', wanted);
	END IF;
	answer := ecommerce_inventory.get_product(id::text);
	IF known.product_id IS NULL THEN
		answer.status := 201;
		answer.location := '/products/' || id;
	END IF;
	RETURN answer;
END
$put_product$;
COMMENT ON FUNCTION ecommerce_inventory.put_product(text, jsonb, text, text) IS
'PUT /products/{id} {sku, name, kind, price}: 201 when new (stock 0), 200 otherwise; kind and price stay when left out, and are goods and null of a new one. HT409 when another product has that sku or what is in stock would be no goods any more, HT412 when If-Match or If-None-Match says otherwise.';

CREATE FUNCTION ecommerce_inventory._stock_errors(body jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $stock_errors$
DECLARE
	errors jsonb := '[]';
BEGIN
	IF NOT ecommerce_inventory._is_whole(body -> 'delta', -999999999999, 999999999999) THEN
		errors := errors || ecommerce_inventory._bad_field('delta',
			'must be a whole number of at most 12 digits');
	END IF;
	IF NOT ecommerce_inventory._is_text(body -> 'reason') THEN
		errors := errors || ecommerce_inventory._bad_field('reason',
			'must be a text of 1 to 200 characters');
	END IF;
	RETURN errors || ecommerce_inventory._strange_fields(body, '{delta,reason}');
END
$stock_errors$;
COMMENT ON FUNCTION ecommerce_inventory._stock_errors(jsonb) IS
'Every bad field of the body of POST /products/{id}/stock as [{"field", "detail"}]; empty when there is none.';

CREATE FUNCTION ecommerce_inventory.adjust_stock(product_id text, body jsonb,
	if_match text DEFAULT NULL)
RETURNS ecommerce_inventory.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $adjust_stock$
DECLARE
	known ecommerce_inventory.product;
	change bigint;
BEGIN
	PERFORM ecommerce_inventory._refuse_fields(ecommerce_inventory._stock_errors(body));
	change := (body -> 'delta')::bigint;
	SELECT * INTO known FROM ecommerce_inventory.product p
	WHERE p.product_id = ecommerce_inventory._as_uuid(adjust_stock.product_id) FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		PERFORM ecommerce_inventory._refuse(404, 'there is no such product');
	END IF;
	PERFORM ecommerce_inventory._check_match(if_match, NULL, ecommerce_inventory._tag_of(
		ecommerce_inventory._product_body(known), known.version));
	IF known.kind <> 'goods' THEN
		PERFORM ecommerce_inventory._refuse(409, format('nothing of kind %s is kept in stock',
			known.kind));
	ELSIF known.on_hand + change < known.reserved THEN
		PERFORM ecommerce_inventory._refuse(409, format('only %s pieces are available',
			known.on_hand - known.reserved));
	END IF;
	IF change <> 0 THEN
		PERFORM ecommerce_inventory._record('product-' || known.product_id, known.version,
			'StockAdjusted',
			jsonb_build_object('delta', change, 'reason', body ->> 'reason'));
	END IF;
	RETURN ecommerce_inventory.get_product(known.product_id::text);
END
$adjust_stock$;
COMMENT ON FUNCTION ecommerce_inventory.adjust_stock(text, jsonb, text) IS
'POST /products/{id}/stock {delta, reason}: 200 with the product; HT409 when fewer than 0 would be available or it is no goods, HT412 when If-Match names another tag.';
-- Rights: the daemon's role works on its own tables, readers may look; nobody
-- else calls anything. Data, counters included, belongs to dumps.
-- Again at every upgrade.
DO $rights$
DECLARE
	ours CONSTANT oid := (SELECT oid FROM pg_catalog.pg_extension
		WHERE extname = 'ecommerce_inventory');
	relation record;
	routine regprocedure;
BEGIN
	FOR relation IN
		SELECT c.oid::regclass AS name, c.relkind FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
		WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = ours AND d.deptype = 'e'
			AND c.relkind IN ('r', 'S', 'v')
	LOOP
		IF relation.relkind = 'S' THEN
			EXECUTE pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO ecommerce_inventory',
				relation.name);
			PERFORM pg_catalog.pg_extension_config_dump(relation.name, '');
		ELSIF relation.relkind = 'v' THEN
			EXECUTE pg_catalog.format('GRANT SELECT ON %s TO ecommerce_inventory, ecommerce_reader',
				relation.name);
		ELSE
			EXECUTE pg_catalog.format(
				'GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO ecommerce_inventory', relation.name);
			EXECUTE pg_catalog.format('GRANT SELECT ON %s TO ecommerce_reader', relation.name);
			PERFORM pg_catalog.pg_extension_config_dump(relation.name, '');
		END IF;
	END LOOP;
	FOR routine IN
		SELECT d.objid::regprocedure FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
			AND d.refobjid = ours AND d.deptype = 'e'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
		EXECUTE pg_catalog.format(
			'GRANT EXECUTE ON FUNCTION %s TO ecommerce_inventory, ecommerce_admin', routine);
	END LOOP;
END
$rights$;
REVOKE EXECUTE ON FUNCTION ecommerce_inventory.install() FROM ecommerce_inventory;
