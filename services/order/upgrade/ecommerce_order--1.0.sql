-- What every service's schema has: its role, its schema, and how its functions
-- answer HTTP requests. order stands for the service's name.
\echo Type "CREATE EXTENSION ecommerce_order CASCADE" to load this file. \quit

-- The daemon logs in with this role; no password lets nobody else in unless
-- pg_hba.conf says otherwise. Roles belong to the whole cluster.
DO $roles$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ecommerce_order') THEN
		CREATE ROLE ecommerce_order LOGIN;
	END IF;
	GRANT ecommerce_writer TO ecommerce_order;
END
$roles$;

CREATE SCHEMA ecommerce_order;
GRANT USAGE ON SCHEMA ecommerce_order TO ecommerce_order, ecommerce_reader;

CREATE TYPE ecommerce_order.reply AS (
	status int,
	body jsonb,
	etag text,
	location text
);
COMMENT ON TYPE ecommerce_order.reply IS
'Answer to an HTTP request: status code, JSON body or NULL for none, values of the headers ETag and Location or NULL.';

CREATE FUNCTION ecommerce_order._answer(status int, body jsonb, etag text DEFAULT NULL,
											location text DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $answer$
BEGIN
	RETURN ROW(status, body, etag, location);
END
$answer$;
COMMENT ON FUNCTION ecommerce_order._answer(int, jsonb, text, text) IS 'Makes a reply.';

CREATE FUNCTION ecommerce_order._refuse(status int, detail text, errors jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'HT' || status, MESSAGE = detail,
		DETAIL = coalesce(errors::text, '');
END
$refuse$;
COMMENT ON FUNCTION ecommerce_order._refuse(int, text, jsonb) IS
'Ends the request with SQLSTATE HT<status>; errors: array of {"field", "detail"}, becomes the DETAIL.';

CREATE FUNCTION ecommerce_order._refuse_fields(errors jsonb)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_fields$
BEGIN
	IF errors <> '[]' THEN
		PERFORM ecommerce_order._refuse(422, 'the request has fields that are missing or wrong',
			errors);
	END IF;
END
$refuse_fields$;
COMMENT ON FUNCTION ecommerce_order._refuse_fields(jsonb) IS
'Does nothing with an empty array; else ends the request with HT422 and the errors.';

CREATE FUNCTION ecommerce_order._bad_field(field text, detail text)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $bad_field$
	SELECT jsonb_build_array(jsonb_build_object('field', field, 'detail', detail))
$bad_field$;
COMMENT ON FUNCTION ecommerce_order._bad_field(text, text) IS
'An array with one error, as refuse_fields takes it.';

CREATE FUNCTION ecommerce_order._is_text(value jsonb)
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
COMMENT ON FUNCTION ecommerce_order._is_text(jsonb) IS
'Whether a value is a text of 1 to 200 characters, not all of them white space.';

CREATE FUNCTION ecommerce_order._is_whole(value jsonb, lowest bigint, highest bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_whole$
BEGIN
	RETURN CASE WHEN jsonb_typeof(value) = 'number' THEN value::numeric BETWEEN lowest AND highest
		AND value::numeric = trunc(value::numeric) ELSE false END;
END
$is_whole$;
COMMENT ON FUNCTION ecommerce_order._is_whole(jsonb, bigint, bigint) IS
'Whether a value is a whole number between two; 5.0 is one.';

CREATE FUNCTION ecommerce_order._as_uuid(value text)
RETURNS uuid LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $as_uuid$
BEGIN
	RETURN CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END;
END
$as_uuid$;
COMMENT ON FUNCTION ecommerce_order._as_uuid(text) IS 'The UUID, or NULL when the text is none.';

CREATE FUNCTION ecommerce_order._query_errors(uuids jsonb, after text, page text)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $query_errors$
DECLARE
	errors jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', name, 'detail', 'must be a UUID')
		ORDER BY name), '[]')
	INTO errors FROM jsonb_each_text(uuids) AS parameter (name, value)
	WHERE value IS NOT NULL AND ecommerce_order._as_uuid(value) IS NULL;
	IF after !~ '^[0-9]{1,18}$' THEN
		errors := errors || ecommerce_order._bad_field('after',
			'must be a cursor from next or cursor');
	END IF;
	IF page !~ '^[0-9]{1,4}$' OR page::int NOT BETWEEN 1 AND 1000 THEN
		errors := errors || ecommerce_order._bad_field('limit',
			'must be a number from 1 to 1000');
	END IF;
	RETURN errors;
END
$query_errors$;
COMMENT ON FUNCTION ecommerce_order._query_errors(jsonb, text, text) IS
'Every bad parameter of a query as [{"field", "detail"}]: uuids are name and text of those that must be UUIDs, after is a cursor, page is the limit; null and absent are good.';

CREATE FUNCTION ecommerce_order._page_size(page text)
RETURNS int LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $page_size$
BEGIN
	RETURN coalesce(page::int, 50);
END
$page_size$;
COMMENT ON FUNCTION ecommerce_order._page_size(text) IS
'The query parameter limit, checked already: 50 when absent.';

CREATE FUNCTION ecommerce_order._tag_of(body jsonb, version bigint)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tag_of$
BEGIN
	RETURN format('"%s-%s"', version, left(md5(body::text), 16));
END
$tag_of$;
COMMENT ON FUNCTION ecommerce_order._tag_of(jsonb, bigint) IS
'The entity tag of a representation. It is made of all that is shown, since a strong one has to change with it, wherever the change comes from.';

CREATE FUNCTION ecommerce_order._tags(header text)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tags$
BEGIN
	RETURN regexp_split_to_array(trim(header), '\s*,\s*');
END
$tags$;
COMMENT ON FUNCTION ecommerce_order._tags(text) IS
'The tags of a header If-Match or If-None-Match; NULL without the header.';

CREATE FUNCTION ecommerce_order._represent(body jsonb, version bigint,
	if_none_match text DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $represent$
DECLARE
	tag CONSTANT text := ecommerce_order._tag_of(body, version);
	known CONSTANT text[] := ecommerce_order._tags(replace(if_none_match, 'W/"', '"'));
BEGIN
	IF '*' = ANY (known) OR tag = ANY (known) THEN
		RETURN ecommerce_order._answer(304, NULL, tag);
	END IF;
	RETURN ecommerce_order._answer(200, body, tag);
END
$represent$;
COMMENT ON FUNCTION ecommerce_order._represent(jsonb, bigint, text) IS
'The reply to a GET: 200 with its entity tag, or 304 when If-None-Match has that tag, weak ones included.';

CREATE FUNCTION ecommerce_order._check_match(if_match text, if_none_match text, tag text,
	version text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $check_match$
DECLARE
	wanted CONSTANT text[] := ecommerce_order._tags(if_match);
	unwanted CONSTANT text[] := ecommerce_order._tags(if_none_match);
BEGIN
	IF wanted IS NOT NULL AND NOT coalesce(tag IS NOT NULL AND '*' = ANY (wanted)
		OR tag = ANY (wanted), false) AND NOT coalesce(version = ANY (wanted), false) THEN
		PERFORM ecommerce_order._refuse(412, CASE WHEN tag IS NULL THEN 'there is none yet'
			ELSE format('it has changed: it is at %s now', tag) END);
	ELSIF unwanted IS NOT NULL AND tag IS NOT NULL
		AND ('*' = ANY (unwanted) OR tag = ANY (unwanted)) THEN
		PERFORM ecommerce_order._refuse(412, format('there is one already: it is at %s', tag));
	END IF;
END
$check_match$;
COMMENT ON FUNCTION ecommerce_order._check_match(text, text, text, text) IS
'HT412 unless what is to be changed is as the headers If-Match and If-None-Match want it. tag: its entity tag, NULL if it does not exist; version: another tag that If-Match may name.';

CREATE FUNCTION ecommerce_order._followed(projection text, mark bigint)
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
COMMENT ON FUNCTION ecommerce_order._followed(text, bigint) IS
'How far a reader may go in the tables of an inline projection whose events can be read up to the mark: below what it has still to be given. Call it in the statement that reads the rows. 55000 while it is rebuilt or paused.';

CREATE FUNCTION ecommerce_order._collection(items jsonb, size int, newest bigint, after text)
RETURNS ecommerce_order.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $collection$
BEGIN
	RETURN ecommerce_order._answer(200, jsonb_build_object(
		'items', coalesce(items, '[]'),
		'next', CASE WHEN jsonb_array_length(coalesce(items, '[]')) >= size THEN newest::text END,
		'cursor', coalesce(newest::text, after, '0')));
END
$collection$;
COMMENT ON FUNCTION ecommerce_order._collection(jsonb, int, bigint, text) IS
'A page of a collection: {"items", "next", "cursor"}. newest: the position of the last item, NULL without any; next is that when the page is full, else null; cursor is where to go on later, when there may be more.';

CREATE FUNCTION ecommerce_order._publish(message_type text, order_id uuid, key uuid,
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
COMMENT ON FUNCTION ecommerce_order._publish(text, uuid, uuid, jsonb) IS
'Publishes a reply: body plus order_id and the step key, in order with the other messages of that order.';

CREATE FUNCTION ecommerce_order._strange_fields(body jsonb, known text[], prefix text DEFAULT '')
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
COMMENT ON FUNCTION ecommerce_order._strange_fields(jsonb, text[], text) IS
'An error for each field of an object that is none of the known ones, for 20 of them at most: what nobody reads would have no effect, and who sent it would not know.';
-- A request that changes something is done once per Idempotency-Key, whatever its route.

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
'First answers by Idempotency-Key, kept 24 hours. owner: tenant and user, whose keys are nobody else''s; request_hash: SHA-256 of what was asked.';

CREATE FUNCTION ecommerce_order.once(idempotency_key text, function regproc, arguments jsonb,
	body_at int)
RETURNS ecommerce_order.reply LANGUAGE plpgsql VOLATILE
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
	known ecommerce_order.idempotency;
	answer ecommerce_order.reply;
BEGIN
	IF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
		PERFORM ecommerce_order._refuse_fields(ecommerce_order._bad_field('Idempotency-Key',
			'must have 1 to 255 characters'));
	END IF;
	-- held until commit: a repeat that comes in the meantime is told so
	IF NOT pg_try_advisory_xact_lock(hashtextextended(
		concat_ws(' ', 'ecommerce_order.idempotency', whose, idempotency_key), 0)) THEN
		PERFORM ecommerce_order._refuse(409,
			'a request with this Idempotency-Key is still running');
	END IF;
	SELECT * INTO known FROM ecommerce_order.idempotency i
	WHERE i.owner = whose AND i.key = idempotency_key
		AND i.created_at > clock_timestamp() - interval '24 hours';
	IF FOUND AND known.request_hash <> hash THEN
		PERFORM ecommerce_order._refuse(422, 'this Idempotency-Key was used for something else',
			ecommerce_order._bad_field('Idempotency-Key',
				'was used with another body or for another resource'));
	ELSIF FOUND THEN
		RETURN known.reply;
	END IF;
	EXECUTE format('SELECT * FROM %s(%s)', function,
		(SELECT string_agg(quote_nullable(value), ', ' ORDER BY n)
			FROM jsonb_array_elements_text(arguments) WITH ORDINALITY AS a (value, n)))
	INTO answer;
	INSERT INTO ecommerce_order.idempotency AS i (owner, key, request_hash, reply)
		VALUES (whose, idempotency_key, hash, answer)
	ON CONFLICT ON CONSTRAINT idempotency_pkey DO UPDATE
	SET request_hash = excluded.request_hash, reply = excluded.reply,
		created_at = excluded.created_at;
	RETURN answer;
END
$once$;
COMMENT ON FUNCTION ecommerce_order.once(text, regproc, jsonb, int) IS
'Any request that changes something and has an Idempotency-Key: lets the function answer it with the arguments (texts or null; body_at: which of them, from 0, is the body as JSON), and returns that answer to a repeat within 24 hours. Used for something else HT422, while the first is still running HT409. What was refused may be tried again.';

CREATE FUNCTION ecommerce_order.forget_keys()
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_keys$
	WITH gone AS (
		DELETE FROM ecommerce_order.idempotency i
		WHERE (i.owner, i.key) IN (SELECT o.owner, o.key FROM ecommerce_order.idempotency o
			WHERE o.created_at <= clock_timestamp() - interval '24 hours'
			ORDER BY o.created_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
		RETURNING 1)
	SELECT count(*)::int FROM gone
$forget_keys$;
COMMENT ON FUNCTION ecommerce_order.forget_keys() IS
'Deletes Idempotency-Keys older than 24 hours, at most 1000 at a time; the number deleted.';
-- Read model of orders, and the copy of the catalogue that orders are priced by.

CREATE TABLE ecommerce_order.order_summary (
	order_id uuid PRIMARY KEY,
	position bigint NOT NULL UNIQUE,
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
CREATE INDEX order_summary_customer ON ecommerce_order.order_summary (customer_id, position);
CREATE INDEX order_summary_status ON ecommerce_order.order_summary (status, position);
COMMENT ON TABLE ecommerce_order.order_summary IS
'One row per order for lists: a projection of the category order, rebuilt by event_store.rebuild_projection(''order_summary''). position is that of OrderCreated.';

CREATE TABLE ecommerce_order.price_list (
	product_id uuid PRIMARY KEY,
	sku text NOT NULL,
	name text NOT NULL,
	kind text NOT NULL CHECK (kind IN ('goods', 'extra', 'charge')),
	amount numeric,
	currency text,
	percent numeric
);
CREATE INDEX price_list_charge ON ecommerce_order.price_list (sku) WHERE kind = 'charge';
COMMENT ON TABLE ecommerce_order.price_list IS
'What products cost: this service''s copy of the catalogue, which inventory keeps; a projection of the events ProductDescribed, inline, so that an order is priced as the last PUT that was answered has it. kind: goods, an extra that a customer may add, or a charge that is on every order; percent, of a charge: of the lines that have an amount.';

CREATE FUNCTION ecommerce_order._apply(event event_store.event)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $apply$
DECLARE
	subject CONSTANT uuid := ecommerce_order._as_uuid(substr(event.stream, 7));
BEGIN
	IF subject IS NULL THEN
		RETURN;		-- a stream of that category that is none of ours
	ELSIF event.event_type = 'OrderCreated' THEN
		INSERT INTO ecommerce_order.order_summary
			(order_id, position, customer_id, status, total_amount, item_count, version,
				created_at, updated_at)
		VALUES (subject, event.position, (event.data ->> 'customer_id')::uuid, 'Created',
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
COMMENT ON FUNCTION ecommerce_order._apply(event_store.event) IS
'Handler of the inline projection "order_summary".';

CREATE FUNCTION ecommerce_order._apply_product(event event_store.event)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $apply_product$
BEGIN
	INSERT INTO ecommerce_order.price_list AS p
		(product_id, sku, name, kind, amount, currency, percent)
	VALUES (substr(event.stream, 9)::uuid, event.data ->> 'sku', event.data ->> 'name',
		coalesce(event.data ->> 'kind', 'goods'), (event.data #>> '{price,amount}')::numeric,
		event.data #>> '{price,currency}', (event.data #>> '{price,percent}')::numeric)
	ON CONFLICT (product_id) DO UPDATE
	SET sku = excluded.sku, name = excluded.name, kind = excluded.kind, amount = excluded.amount,
		currency = excluded.currency, percent = excluded.percent;
END
$apply_product$;
COMMENT ON FUNCTION ecommerce_order._apply_product(event_store.event) IS
'Handler of the inline projection "price_list".';

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
			'ecommerce_order._apply(event_store.event)'::regprocedure,
			category => 'order', mode => 'inline',
				tables => ARRAY['ecommerce_order.order_summary']::regclass[]);
	END IF;
	IF NOT EXISTS (SELECT FROM event_store.projections p WHERE p.name = 'price_list') THEN
		PERFORM event_store.create_projection('price_list',
			'ecommerce_order._apply_product(event_store.event)'::regprocedure,
			category => 'product', event_types => ARRAY['ProductDescribed'], mode => 'inline',
			tables => ARRAY['ecommerce_order.price_list']::regclass[]);
	END IF;
END
$install$;
COMMENT ON FUNCTION ecommerce_order.install() IS
'Registers contracts, the order aggregate, the order saga with its endpoints, and the projections; does nothing where they exist. Call once after CREATE EXTENSION.';
-- POST /orders: the form of its body, every bad field of it.

CREATE FUNCTION ecommerce_order._text_errors(body jsonb, prefix text, fields text[])
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $text_errors$
BEGIN
	RETURN (
		SELECT coalesce(jsonb_agg(jsonb_build_object('field', prefix || field, 'detail', CASE
				WHEN body -> field IS NULL THEN 'is required'
				ELSE 'must be a text of 1 to 200 characters' END)), '[]')
		FROM unnest(fields) AS field WHERE NOT ecommerce_order._is_text(body -> field));
END
$text_errors$;
COMMENT ON FUNCTION ecommerce_order._text_errors(jsonb, text, text[]) IS
'Errors of the named text fields of an object: missing, not a text, blank or too long.';

CREATE FUNCTION ecommerce_order._optional_fields(body jsonb, fields text[])
RETURNS text[] LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $optional_fields$
BEGIN
	RETURN ARRAY(SELECT field FROM unnest(fields) AS field
		WHERE coalesce(body -> field, 'null') <> 'null');
END
$optional_fields$;
COMMENT ON FUNCTION ecommerce_order._optional_fields(jsonb, text[]) IS
'Those of the named fields that an object has and that are not null.';

CREATE FUNCTION ecommerce_order._item_errors(items jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $item_errors$
DECLARE
	-- contracts carry two, of a currency that has more
	decimals CONSTANT int := least(2, ecommerce.minor_units(ecommerce.currency()));
	no_price CONSTANT text := format('must be an amount from 0 to 9999999.99 with at most %s decimals',
		CASE decimals WHEN 2 THEN 'two' ELSE decimals::text END);
	known CONSTANT text[] := '{product_id,sku,product_name,quantity,unit_price,total_price}';
	price_pattern CONSTANT text := format('^[0-9]{1,7}(\.[0-9]{0,%s}0*)?$', decimals);
BEGIN
	RETURN (
		SELECT coalesce(jsonb_agg(jsonb_build_object('field', format('items[%s]%s', n - 1, field),
			'detail', detail)
			ORDER BY n, field), '[]')
		FROM jsonb_array_elements(items) WITH ORDINALITY AS lines (line, n),
			LATERAL (VALUES
				('', 'must be an object', jsonb_typeof(line) = 'object'),
				('.product_id', 'must be a UUID',
					ecommerce_order._as_uuid(line ->> 'product_id') IS NOT NULL),
				('.sku', 'must be a text of 1 to 200 characters',
					ecommerce_order._is_text(line -> 'sku')),
				('.product_name', 'must be a text of 1 to 200 characters',
					ecommerce_order._is_text(line -> 'product_name')),
				('.quantity', 'must be a whole number from 1 to 1000000',
					ecommerce_order._is_whole(line -> 'quantity', 1, 1000000)),
				('.unit_price', no_price, coalesce(line -> 'unit_price', 'null') = 'null'
					OR jsonb_typeof(line -> 'unit_price') = 'number'
						AND line ->> 'unit_price' ~ price_pattern),
				('.total_price', 'must be quantity times unit_price',
					line -> 'total_price' IS NULL OR NOT coalesce(
						jsonb_typeof(line -> 'quantity') = 'number'
							AND jsonb_typeof(line -> 'unit_price') = 'number', false)
					OR (jsonb_typeof(line -> 'total_price') = 'number'
						AND (line ->> 'total_price')::numeric
						= (line ->> 'quantity')::numeric * (line ->> 'unit_price')::numeric))
			) AS checks (field, detail, holds)
		-- of a line that is no object only that is said
		WHERE holds IS NOT TRUE AND (field = '') = (jsonb_typeof(line) <> 'object'))
		|| (SELECT coalesce(jsonb_agg(strange ORDER BY n), '[]')
		FROM jsonb_array_elements(items) WITH ORDINALITY AS lines (line, n),
			jsonb_array_elements(ecommerce_order._strange_fields(line, known,
				format('items[%s].', n - 1))) AS strange);
END
$item_errors$;
COMMENT ON FUNCTION ecommerce_order._item_errors(jsonb) IS
'Errors of the lines of an order, each with its path such as items[0].quantity.';

CREATE FUNCTION ecommerce_order._is_mail_address(value jsonb)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_mail_address$
DECLARE
	address ecommerce.mail_address;
BEGIN
	address := CASE jsonb_typeof(value) WHEN 'string' THEN value #>> '{}' ELSE '' END;
	RETURN true;
EXCEPTION WHEN check_violation THEN
	RETURN false;
END
$is_mail_address$;
COMMENT ON FUNCTION ecommerce_order._is_mail_address(jsonb) IS
'Whether a value is an e-mail address that contracts take.';

CREATE FUNCTION ecommerce_order._order_errors(body jsonb)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $order_errors$
DECLARE
	errors jsonb := '[]';
	method CONSTANT jsonb := body -> 'payment_method';
	part text;
BEGIN
	IF ecommerce_order._as_uuid(body ->> 'customer_id') IS NULL THEN
		errors := errors || ecommerce_order._bad_field('customer_id',
			'must be a UUID');
	END IF;
	IF coalesce(body -> 'email', 'null') <> 'null'
		AND NOT coalesce(ecommerce_order._is_mail_address(body -> 'email'), false) THEN
		errors := errors || ecommerce_order._bad_field('email', 'must be an e-mail address');
	END IF;
	IF jsonb_typeof(body -> 'items') IS DISTINCT FROM 'array'
		OR jsonb_array_length(body -> 'items') NOT BETWEEN 1 AND 500 THEN
		errors := errors || ecommerce_order._bad_field('items',
			'must be an array of 1 to 500 lines');
	ELSE
		errors := errors || ecommerce_order._item_errors(body -> 'items');
	END IF;
	IF coalesce(body -> 'total_amount', 'null') <> 'null'
		AND jsonb_typeof(body -> 'total_amount') <> 'number' THEN
		errors := errors || ecommerce_order._bad_field('total_amount', 'must be an amount');
	END IF;
	FOREACH part IN ARRAY ARRAY['shipping_address', 'payment_method'] LOOP
		IF jsonb_typeof(body -> part) IS DISTINCT FROM 'object' THEN
			errors := errors || jsonb_build_array(jsonb_build_object('field', part, 'detail',
				'must be an object'));
		END IF;
	END LOOP;
	IF jsonb_typeof(body -> 'shipping_address') = 'object' THEN
		errors := errors || ecommerce_order._text_errors(body -> 'shipping_address',
			'shipping_address.',
			ARRAY['street', 'city', 'country'] || ecommerce_order._optional_fields(
				body -> 'shipping_address', ARRAY['state', 'postal_code']));
	END IF;
	IF jsonb_typeof(method) = 'object' THEN
		IF jsonb_typeof(method -> 'type') IS DISTINCT FROM 'string'
			OR NOT ecommerce.is_payment_type(method ->> 'type') THEN
			errors := errors || ecommerce_order._bad_field('payment_method.type',
			CASE WHEN method -> 'type' IS NULL THEN 'is required'
				ELSE 'must be 1 to 50 letters, "_" and "-", such as card or sepa_debit' END);
		END IF;
		IF coalesce(method -> 'last4_digits', 'null') <> 'null'
			AND (jsonb_typeof(method -> 'last4_digits') <> 'string'
				OR method ->> 'last4_digits' !~ '^[0-9]{4}$') THEN
			errors := errors || ecommerce_order._bad_field('payment_method.last4_digits',
			'must be four digits');
		END IF;
		IF coalesce(method -> 'token', 'null') <> 'null'
			AND (jsonb_typeof(method -> 'token') <> 'string'
				OR method ->> 'token' !~ '^[A-Za-z0-9_-]{1,200}$'
				OR ecommerce.holds_card_number(method ->> 'token')) THEN
			errors := errors || ecommerce_order._bad_field('payment_method.token',
			'must be the provider''s token, never a card number');
		END IF;
		-- card data must not even come this far
		errors := errors || (
			SELECT coalesce(jsonb_agg(jsonb_build_object('field', 'payment_method.' || key,
				'detail', 'is not accepted: send type, last4_digits and token only') ORDER BY key),
					'[]')
			FROM jsonb_object_keys(method) AS key WHERE key NOT IN ('type', 'last4_digits',
				'token'));
	END IF;
	RETURN errors
		|| ecommerce_order._strange_fields(body, '{customer_id,email,items,shipping_address,payment_method,total_amount}')
		|| ecommerce_order._strange_fields(body -> 'shipping_address',
			'{street,city,state,postal_code,country}', 'shipping_address.');
END
$order_errors$;
COMMENT ON FUNCTION ecommerce_order._order_errors(jsonb) IS
'Every bad field of the body of POST /orders as [{"field", "detail"}]; empty when there is none.';

CREATE FUNCTION ecommerce_order._new_id()
RETURNS uuid LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $new_id$
BEGIN
	RETURN encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
		PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
			FROM 3) FROM 1 FOR 6),
		52, 1), 53, 1), 'hex')::uuid;
END
$new_id$;
COMMENT ON FUNCTION ecommerce_order._new_id() IS
'A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random bits.';

-- POST /orders: what the order costs, which the catalogue says and not the customer; then
-- the order is created and announced.

CREATE TYPE ecommerce_order.priced_line AS (
	n bigint,
	asked jsonb,
	known ecommerce_order.price_list,
	quantity int,
	unit_price numeric
);
COMMENT ON TYPE ecommerce_order.priced_line IS
'A line of an order: as the customer asked for it, null of a charge that he did not name; what the catalogue knows of it; unit_price: the catalogue''s, null where it has none.';

CREATE FUNCTION ecommerce_order._priced_lines(items jsonb)
RETURNS ecommerce_order.priced_line[] LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $priced_lines$
BEGIN
	RETURN (
	WITH line AS (
		SELECT i.n, i.line, p, (i.line -> 'quantity')::int AS quantity
		FROM jsonb_array_elements(items) WITH ORDINALITY AS i (line, n)
		LEFT JOIN ecommerce_order.price_list p ON p.product_id = (i.line ->> 'product_id')::uuid
	), whole AS (
		TABLE line
		UNION ALL
		-- nobody leaves out what is on every order
		SELECT jsonb_array_length(items) + row_number() OVER (ORDER BY p.sku), NULL, p, 1
		FROM ecommerce_order.price_list p
		WHERE p.kind = 'charge' AND (p.percent IS NOT NULL OR p.currency = ecommerce.currency())
			AND p.product_id NOT IN (SELECT (l.line ->> 'product_id')::uuid FROM line l)
	)
	SELECT array_agg(ROW(w.n, w.line, w.p, w.quantity, coalesce((w.p).amount, round(
		(w.p).percent / 100 * total.amount, least(2, ecommerce.minor_units(ecommerce.currency()))))
		)::ecommerce_order.priced_line ORDER BY w.n)
	FROM whole w, (SELECT sum(t.quantity * (t.p).amount) AS amount FROM whole t) AS total);
END
$priced_lines$;
COMMENT ON FUNCTION ecommerce_order._priced_lines(jsonb) IS
'The lines of an order and after them the charges that it does not name, each with what the catalogue knows of it.';

CREATE FUNCTION ecommerce_order._price_errors(body jsonb,
	lines ecommerce_order.priced_line[])
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $price_errors$
DECLARE
	errors jsonb;
BEGIN
	WITH line AS (
		SELECT *, row_number() OVER (PARTITION BY (l.known).product_id ORDER BY l.n) AS nth
		FROM unnest(lines) l
	), problem (n, field, detail) AS (
		SELECT l.n, format('items[%s].%s', l.n - 1, p.field), p.detail
		FROM line l CROSS JOIN LATERAL (VALUES
			('product_id', 'is not in the catalogue', (l.known).product_id IS NULL),
			('product_id', 'is not for sale: it has no price', (l.known).product_id IS NOT NULL
				AND l.unit_price IS NULL),
			('product_id', format('is sold for %s only', (l.known).currency),
				(l.known).currency <> ecommerce.currency()),
			('product_id', 'is on the order already', (l.known).kind = 'charge' AND l.nth > 1),
			('quantity', 'must be 1 of a charge', (l.known).kind = 'charge' AND l.quantity <> 1),
			('sku', format('is %s in the catalogue', (l.known).sku),
				l.asked ->> 'sku' <> (l.known).sku),
			('unit_price', format('is %s in the catalogue', trim_scale(l.unit_price)),
				(l.asked ->> 'unit_price')::numeric <> l.unit_price)
		) AS p (field, detail, applies)
		WHERE p.applies AND l.asked IS NOT NULL
		UNION ALL
		SELECT 0, 'items', 'must hold goods' WHERE NOT EXISTS (SELECT FROM line l
			WHERE coalesce((l.known).kind, 'goods') = 'goods')
		UNION ALL
		SELECT max(l.n) + 1, 'total_amount', format('is %s', sum(l.quantity * l.unit_price))
		FROM line l
		HAVING sum(l.quantity * l.unit_price) <> (body ->> 'total_amount')::numeric
	)
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', p.field, 'detail', p.detail)
		ORDER BY p.n, p.field), '[]')
	INTO errors FROM problem p;
	RETURN errors;
END
$price_errors$;
COMMENT ON FUNCTION ecommerce_order._price_errors(jsonb, ecommerce_order.priced_line[]) IS
'Where the body of POST /orders, whose form is right, and the catalogue do not agree, as [{"field", "detail"}]. An order without prices gets the catalogue''s.';

CREATE FUNCTION ecommerce_order._refuse_prices(errors jsonb)
RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_prices$
BEGIN
	-- a list that is being filled is no reason to refuse anything
	IF errors <> '[]' AND NOT EXISTS (SELECT FROM event_store.projections p
		WHERE p.name = 'price_list' AND p.state = 'running') THEN
		RAISE EXCEPTION 'the projection "price_list" does not run'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'The view event_store.projections tells why; a rebuild ends by itself.';
	END IF;
	PERFORM ecommerce_order._refuse_fields(errors);
END
$refuse_prices$;
COMMENT ON FUNCTION ecommerce_order._refuse_prices(jsonb) IS
'Refuses with HT422 what price_errors has found; 55000 while the price list is not whole.';

CREATE FUNCTION ecommerce_order.submit_order(body jsonb, caller uuid DEFAULT NULL)
RETURNS ecommerce_order.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $submit_order$
DECLARE
	id CONSTANT uuid := ecommerce_order._new_id();
	lines ecommerce_order.priced_line[];
	document jsonb;
BEGIN
	IF caller <> ecommerce_order._as_uuid(body ->> 'customer_id') THEN
		PERFORM ecommerce_order._refuse(403, 'the customer_id is another customer''s');
	END IF;
	PERFORM ecommerce_order._refuse_fields(ecommerce_order._order_errors(body));
	-- read once: the prices that were checked are those that are charged
	lines := ecommerce_order._priced_lines(body -> 'items');
	PERFORM ecommerce_order._refuse_prices(ecommerce_order._price_errors(body, lines));
	SELECT jsonb_build_object(
		'customer_id', body -> 'customer_id',
		'items', jsonb_agg(jsonb_build_object('product_id', (l.known).product_id,
			'product_name', coalesce(l.asked ->> 'product_name', (l.known).name),
			'sku', (l.known).sku, 'quantity', l.quantity, 'unit_price', round(l.unit_price, 2),
			'total_price', round(l.quantity * l.unit_price, 2)) ORDER BY l.n),
		'total_amount', round(sum(l.quantity * l.unit_price), 2),
		'shipping_address', (SELECT jsonb_object_agg(field,
			body #> ARRAY['shipping_address', field])
			FROM unnest(ARRAY['street', 'city', 'state', 'postal_code', 'country']) AS field),
		'payment_method', body -> 'payment_method', 'currency', ecommerce.currency())
	INTO document
	FROM unnest(lines) l;

	PERFORM event_store.append('order-' || id, 0, 'OrderCreated', document);
	-- who is told, and where, is personal: it goes with the message, and into no event
	PERFORM message_bus.publish('OrderSubmitted', document || jsonb_build_object('order_id', id,
			'email', body -> 'email'),
		partition_key => id::text);
	RETURN ecommerce_order._answer(202,
		jsonb_build_object('order_id', id, 'version', 1, 'status', 'Created'), '"1"', '/orders/'
			|| id);
END
$submit_order$;
COMMENT ON FUNCTION ecommerce_order.submit_order(jsonb, uuid) IS
'POST /orders: appends OrderCreated and publishes OrderSubmitted in this transaction, with the catalogue''s prices: 202 with {order_id, version, status}, or HT422 that names every bad field.';
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
	SELECT * INTO loaded FROM event_store.load('order-' || id);
	IF loaded.version = 0 THEN
		PERFORM ecommerce_order._refuse(404, 'there is no such order');
	END IF;
	running := saga.get('order', id);
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
	mark := event_store.high_water_mark('order');
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
				AND o.position <= (SELECT ecommerce_order._followed('order_summary', mark))
			ORDER BY o.position LIMIT size) AS s);
END
$list_orders$;
COMMENT ON FUNCTION ecommerce_order.list_orders(text, text, text, text, uuid) IS
'GET /orders, of the customer caller only unless that is NULL: in the order of their positions, by customer and status; after takes the cursor that next or cursor gave, and whoever follows it sees each order once. 503 while the list is rebuilt.';

CREATE FUNCTION ecommerce_order.follow_orders(after text DEFAULT NULL, page text DEFAULT NULL,
	wait text DEFAULT NULL)
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
		FROM event_store.read_all(coalesce(after::bigint, 0), size, 'order') AS e);
END
$follow_orders$;
COMMENT ON FUNCTION ecommerce_order.follow_orders(text, text, text) IS
'GET /orders/events: the events of all orders in the order of their positions, without the token of the payment; after as in list_orders. wait, at most 20 seconds, is for the daemon, which asks again when there is something.';

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
-- Rights: the daemon's role works on its own tables, readers may look; nobody
-- else calls anything. Data, counters included, belongs to dumps.
-- Again at every upgrade.
DO $rights$
DECLARE
	ours CONSTANT oid := (SELECT oid FROM pg_catalog.pg_extension
		WHERE extname = 'ecommerce_order');
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
			EXECUTE pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO ecommerce_order',
				relation.name);
			PERFORM pg_catalog.pg_extension_config_dump(relation.name, '');
		ELSIF relation.relkind = 'v' THEN
			EXECUTE pg_catalog.format('GRANT SELECT ON %s TO ecommerce_order, ecommerce_reader',
				relation.name);
		ELSE
			EXECUTE pg_catalog.format(
				'GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO ecommerce_order', relation.name);
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
			'GRANT EXECUTE ON FUNCTION %s TO ecommerce_order, ecommerce_admin', routine);
	END LOOP;
END
$rights$;
REVOKE EXECUTE ON FUNCTION ecommerce_order.install() FROM ecommerce_order;
