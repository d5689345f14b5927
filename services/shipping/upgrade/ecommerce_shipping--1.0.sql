-- What every service's schema has: its role, its schema, and how its functions
-- answer HTTP requests. shipping stands for the service's name.
\echo Type "CREATE EXTENSION ecommerce_shipping CASCADE" to load this file. \quit

-- The daemon logs in with this role; no password lets nobody else in unless
-- pg_hba.conf says otherwise. Roles belong to the whole cluster.
DO $roles$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ecommerce_shipping') THEN
		CREATE ROLE ecommerce_shipping LOGIN;
	END IF;
	GRANT ecommerce_writer TO ecommerce_shipping;
END
$roles$;

CREATE SCHEMA ecommerce_shipping;
GRANT USAGE ON SCHEMA ecommerce_shipping TO ecommerce_shipping, ecommerce_reader;

CREATE TYPE ecommerce_shipping.reply AS (
	status int,
	body jsonb,
	etag text,
	location text
);
COMMENT ON TYPE ecommerce_shipping.reply IS
'Answer to an HTTP request: status code, JSON body or NULL for none, values of the headers ETag and Location or NULL.';

CREATE FUNCTION ecommerce_shipping._answer(status int, body jsonb, etag text DEFAULT NULL,
											location text DEFAULT NULL)
RETURNS ecommerce_shipping.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $answer$
BEGIN
	RETURN ROW(status, body, etag, location);
END
$answer$;
COMMENT ON FUNCTION ecommerce_shipping._answer(int, jsonb, text, text) IS 'Makes a reply.';

CREATE FUNCTION ecommerce_shipping._refuse(status int, detail text, errors jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'HT' || status, MESSAGE = detail,
		DETAIL = coalesce(errors::text, '');
END
$refuse$;
COMMENT ON FUNCTION ecommerce_shipping._refuse(int, text, jsonb) IS
'Ends the request with SQLSTATE HT<status>; errors: array of {"field", "detail"}, becomes the DETAIL.';

CREATE FUNCTION ecommerce_shipping._refuse_fields(errors jsonb)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_fields$
BEGIN
	IF errors <> '[]' THEN
		PERFORM ecommerce_shipping._refuse(422, 'the request has fields that are missing or wrong',
			errors);
	END IF;
END
$refuse_fields$;
COMMENT ON FUNCTION ecommerce_shipping._refuse_fields(jsonb) IS
'Does nothing with an empty array; else ends the request with HT422 and the errors.';

CREATE FUNCTION ecommerce_shipping._bad_field(field text, detail text)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $bad_field$
	SELECT jsonb_build_array(jsonb_build_object('field', field, 'detail', detail))
$bad_field$;
COMMENT ON FUNCTION ecommerce_shipping._bad_field(text, text) IS
'An array with one error, as refuse_fields takes it.';

CREATE FUNCTION ecommerce_shipping._is_text(value jsonb)
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
COMMENT ON FUNCTION ecommerce_shipping._is_text(jsonb) IS
'Whether a value is a text of 1 to 200 characters, not all of them white space.';

CREATE FUNCTION ecommerce_shipping._is_whole(value jsonb, lowest bigint, highest bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_whole$
BEGIN
	RETURN CASE WHEN jsonb_typeof(value) = 'number' THEN value::numeric BETWEEN lowest AND highest
		AND value::numeric = trunc(value::numeric) ELSE false END;
END
$is_whole$;
COMMENT ON FUNCTION ecommerce_shipping._is_whole(jsonb, bigint, bigint) IS
'Whether a value is a whole number between two; 5.0 is one.';

CREATE FUNCTION ecommerce_shipping._as_uuid(value text)
RETURNS uuid LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $as_uuid$
BEGIN
	RETURN CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END;
END
$as_uuid$;
COMMENT ON FUNCTION ecommerce_shipping._as_uuid(text) IS 'The UUID, or NULL when the text is none.';

CREATE FUNCTION ecommerce_shipping._query_errors(uuids jsonb, after text, page text)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $query_errors$
DECLARE
	errors jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', name, 'detail', 'must be a UUID')
		ORDER BY name), '[]')
	INTO errors FROM jsonb_each_text(uuids) AS parameter (name, value)
	WHERE value IS NOT NULL AND ecommerce_shipping._as_uuid(value) IS NULL;
	IF after !~ '^[0-9]{1,18}$' THEN
		errors := errors || ecommerce_shipping._bad_field('after',
			'must be a cursor from next or cursor');
	END IF;
	IF page !~ '^[0-9]{1,4}$' OR page::int NOT BETWEEN 1 AND 1000 THEN
		errors := errors || ecommerce_shipping._bad_field('limit',
			'must be a number from 1 to 1000');
	END IF;
	RETURN errors;
END
$query_errors$;
COMMENT ON FUNCTION ecommerce_shipping._query_errors(jsonb, text, text) IS
'Every bad parameter of a query as [{"field", "detail"}]: uuids are name and text of those that must be UUIDs, after is a cursor, page is the limit; null and absent are good.';

CREATE FUNCTION ecommerce_shipping._page_size(page text)
RETURNS int LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $page_size$
BEGIN
	RETURN coalesce(page::int, 50);
END
$page_size$;
COMMENT ON FUNCTION ecommerce_shipping._page_size(text) IS
'The query parameter limit, checked already: 50 when absent.';

CREATE FUNCTION ecommerce_shipping._tag_of(body jsonb, version bigint)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tag_of$
BEGIN
	RETURN format('"%s-%s"', version, left(md5(body::text), 16));
END
$tag_of$;
COMMENT ON FUNCTION ecommerce_shipping._tag_of(jsonb, bigint) IS
'The entity tag of a representation. It is made of all that is shown, since a strong one has to change with it, wherever the change comes from.';

CREATE FUNCTION ecommerce_shipping._tags(header text)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tags$
BEGIN
	RETURN regexp_split_to_array(trim(header), '\s*,\s*');
END
$tags$;
COMMENT ON FUNCTION ecommerce_shipping._tags(text) IS
'The tags of a header If-Match or If-None-Match; NULL without the header.';

CREATE FUNCTION ecommerce_shipping._represent(body jsonb, version bigint,
	if_none_match text DEFAULT NULL)
RETURNS ecommerce_shipping.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $represent$
DECLARE
	tag CONSTANT text := ecommerce_shipping._tag_of(body, version);
	known CONSTANT text[] := ecommerce_shipping._tags(replace(if_none_match, 'W/"', '"'));
BEGIN
	IF '*' = ANY (known) OR tag = ANY (known) THEN
		RETURN ecommerce_shipping._answer(304, NULL, tag);
	END IF;
	RETURN ecommerce_shipping._answer(200, body, tag);
END
$represent$;
COMMENT ON FUNCTION ecommerce_shipping._represent(jsonb, bigint, text) IS
'The reply to a GET: 200 with its entity tag, or 304 when If-None-Match has that tag, weak ones included.';

CREATE FUNCTION ecommerce_shipping._check_match(if_match text, if_none_match text, tag text,
	version text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $check_match$
DECLARE
	wanted CONSTANT text[] := ecommerce_shipping._tags(if_match);
	unwanted CONSTANT text[] := ecommerce_shipping._tags(if_none_match);
BEGIN
	IF wanted IS NOT NULL AND NOT coalesce(tag IS NOT NULL AND '*' = ANY (wanted)
		OR tag = ANY (wanted), false) AND NOT coalesce(version = ANY (wanted), false) THEN
		PERFORM ecommerce_shipping._refuse(412, CASE WHEN tag IS NULL THEN 'there is none yet'
			ELSE format('it has changed: it is at %s now', tag) END);
	ELSIF unwanted IS NOT NULL AND tag IS NOT NULL
		AND ('*' = ANY (unwanted) OR tag = ANY (unwanted)) THEN
		PERFORM ecommerce_shipping._refuse(412, format('there is one already: it is at %s', tag));
	END IF;
END
$check_match$;
COMMENT ON FUNCTION ecommerce_shipping._check_match(text, text, text, text) IS
'HT412 unless what is to be changed is as the headers If-Match and If-None-Match want it. tag: its entity tag, NULL if it does not exist; version: another tag that If-Match may name.';

CREATE FUNCTION ecommerce_shipping._followed(projection text, mark bigint)
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
COMMENT ON FUNCTION ecommerce_shipping._followed(text, bigint) IS
'How far a reader may go in the tables of an inline projection whose events can be read up to the mark: below what it has still to be given. Call it in the statement that reads the rows. 55000 while it is rebuilt or paused.';

CREATE FUNCTION ecommerce_shipping._collection(items jsonb, size int, newest bigint, after text)
RETURNS ecommerce_shipping.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $collection$
BEGIN
	RETURN ecommerce_shipping._answer(200, jsonb_build_object(
		'items', coalesce(items, '[]'),
		'next', CASE WHEN jsonb_array_length(coalesce(items, '[]')) >= size THEN newest::text END,
		'cursor', coalesce(newest::text, after, '0')));
END
$collection$;
COMMENT ON FUNCTION ecommerce_shipping._collection(jsonb, int, bigint, text) IS
'A page of a collection: {"items", "next", "cursor"}. newest: the position of the last item, NULL without any; next is that when the page is full, else null; cursor is where to go on later, when there may be more.';

CREATE FUNCTION ecommerce_shipping._publish(message_type text, order_id uuid, key uuid,
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
COMMENT ON FUNCTION ecommerce_shipping._publish(text, uuid, uuid, jsonb) IS
'Publishes a reply: body plus order_id and the step key, in order with the other messages of that order.';

CREATE FUNCTION ecommerce_shipping._strange_fields(body jsonb, known text[], prefix text DEFAULT '')
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
COMMENT ON FUNCTION ecommerce_shipping._strange_fields(jsonb, text[], text) IS
'An error for each field of an object that is none of the known ones, for 20 of them at most: what nobody reads would have no effect, and who sent it would not know.';
-- A request that changes something is done once per Idempotency-Key, whatever its route.

CREATE TABLE ecommerce_shipping.idempotency (
	owner text NOT NULL,
	key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	request_hash bytea NOT NULL,
	reply ecommerce_shipping.reply NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_age ON ecommerce_shipping.idempotency (created_at);
COMMENT ON TABLE ecommerce_shipping.idempotency IS
'First answers by Idempotency-Key, kept 24 hours. owner: tenant and user, whose keys are nobody else''s; request_hash: SHA-256 of what was asked.';

CREATE FUNCTION ecommerce_shipping.once(idempotency_key text, function regproc, arguments jsonb,
	body_at int)
RETURNS ecommerce_shipping.reply LANGUAGE plpgsql VOLATILE
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
	known ecommerce_shipping.idempotency;
	answer ecommerce_shipping.reply;
BEGIN
	IF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
		PERFORM ecommerce_shipping._refuse_fields(ecommerce_shipping._bad_field('Idempotency-Key',
			'must have 1 to 255 characters'));
	END IF;
	-- held until commit: a repeat that comes in the meantime is told so
	IF NOT pg_try_advisory_xact_lock(hashtextextended(
		concat_ws(' ', 'ecommerce_shipping.idempotency', whose, idempotency_key), 0)) THEN
		PERFORM ecommerce_shipping._refuse(409,
			'a request with this Idempotency-Key is still running');
	END IF;
	SELECT * INTO known FROM ecommerce_shipping.idempotency i
	WHERE i.owner = whose AND i.key = idempotency_key
		AND i.created_at > clock_timestamp() - interval '24 hours';
	IF FOUND AND known.request_hash <> hash THEN
		PERFORM ecommerce_shipping._refuse(422, 'this Idempotency-Key was used for something else',
			ecommerce_shipping._bad_field('Idempotency-Key',
				'was used with another body or for another resource'));
	ELSIF FOUND THEN
		RETURN known.reply;
	END IF;
	EXECUTE format('SELECT * FROM %s(%s)', function,
		(SELECT string_agg(quote_nullable(value), ', ' ORDER BY n)
			FROM jsonb_array_elements_text(arguments) WITH ORDINALITY AS a (value, n)))
	INTO answer;
	INSERT INTO ecommerce_shipping.idempotency AS i (owner, key, request_hash, reply)
		VALUES (whose, idempotency_key, hash, answer)
	ON CONFLICT ON CONSTRAINT idempotency_pkey DO UPDATE
	SET request_hash = excluded.request_hash, reply = excluded.reply,
		created_at = excluded.created_at;
	RETURN answer;
END
$once$;
COMMENT ON FUNCTION ecommerce_shipping.once(text, regproc, jsonb, int) IS
'Any request that changes something and has an Idempotency-Key: lets the function answer it with the arguments (texts or null; body_at: which of them, from 0, is the body as JSON), and returns that answer to a repeat within 24 hours. Used for something else HT422, while the first is still running HT409. What was refused may be tried again.';

CREATE FUNCTION ecommerce_shipping.forget_keys()
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_keys$
	WITH gone AS (
		DELETE FROM ecommerce_shipping.idempotency i
		WHERE (i.owner, i.key) IN (SELECT o.owner, o.key FROM ecommerce_shipping.idempotency o
			WHERE o.created_at <= clock_timestamp() - interval '24 hours'
			ORDER BY o.created_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
		RETURNING 1)
	SELECT count(*)::int FROM gone
$forget_keys$;
COMMENT ON FUNCTION ecommerce_shipping.forget_keys() IS
'Deletes Idempotency-Keys older than 24 hours, at most 1000 at a time; the number deleted.';
-- Work in the outside world: what a row owes there is committed before any call, claimed under
-- a lease, and settled with the fence of its claim. lib/work.c is the other half of it.

CREATE FUNCTION ecommerce_shipping._retry_delay(attempts int)
RETURNS interval LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $retry_delay$
	SELECT least(interval '1 second' * power(2, least(attempts, 10)), interval '5 minutes')
$retry_delay$;
COMMENT ON FUNCTION ecommerce_shipping._retry_delay(int) IS
'Time before the outside is asked again: 1, 2, 4, ... seconds, at most 5 minutes.';

-- Makes a table one of work, once, when the extension is created: adds the columns, and writes
-- claim() and settle() for it. The service writes what differs: _request(work) is what the daemon
-- is given, _settle(work, outcome, is_current) takes what came of it.
CREATE FUNCTION ecommerce_shipping._outside_work(work regclass, id name, operations text[],
	at_claim text DEFAULT '')
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $outside_work$
BEGIN
	EXECUTE format($columns$
		ALTER TABLE %1$s
			-- what is owed; NULL: nothing
			ADD operation text CHECK (operation = ANY (%2$L)),
			ADD due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
			ADD attempts int NOT NULL DEFAULT 0,
			-- counts claims
			ADD fence bigint NOT NULL DEFAULT 0,
			-- when a call without outcome counts as lost
			ADD lease_until timestamptz,
			-- on whose behalf
			ADD correlation_id uuid DEFAULT (ecommerce.context()).correlation_id,
			ADD user_id text DEFAULT (ecommerce.context()).user_id,
			ADD tenant_id text DEFAULT (ecommerce.context()).tenant_id,
			ADD traceparent text DEFAULT (ecommerce.context()).traceparent
	$columns$, work, operations);
	EXECUTE format('CREATE INDEX %I ON %s (due_at) WHERE operation IS NOT NULL',
		(SELECT relname FROM pg_class WHERE oid = work) || '_owed', work);

	EXECUTE format($functions$
		CREATE FUNCTION ecommerce_shipping._act_for(work %1$s)
		RETURNS void LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		AS $act_for$
		BEGIN
			PERFORM ecommerce.set_context(work.correlation_id, user_id => work.user_id,
				tenant_id => work.tenant_id, traceparent => work.traceparent);
		END
		$act_for$;
		COMMENT ON FUNCTION ecommerce_shipping._act_for(%1$s) IS
		'Sets the context in which the work was asked for.';

		CREATE FUNCTION ecommerce_shipping.claim(max_count int, lease interval,
			OUT work_id uuid, OUT fence bigint, OUT operation text, OUT request jsonb,
			OUT correlation_id uuid, OUT traceparent text)
		RETURNS SETOF record LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		-- a LIMIT that is known makes a plan look better than it is worth making
		SET plan_cache_mode = force_generic_plan
		AS $claim$
		BEGIN
			RETURN QUERY
			WITH due AS (
				SELECT w.%2$I AS id FROM %1$s w
				WHERE w.operation IS NOT NULL AND w.due_at <= clock_timestamp()
					AND (w.lease_until IS NULL OR w.lease_until <= clock_timestamp())
				ORDER BY w.due_at LIMIT max_count
				FOR UPDATE SKIP LOCKED)
			UPDATE %1$s w
			SET %3$s lease_until = clock_timestamp() + lease, fence = w.fence + 1
			FROM due
			WHERE w.%2$I = due.id
			RETURNING w.%2$I, w.fence, w.operation, ecommerce_shipping._request(w),
				w.correlation_id, w.traceparent;
		END
		$claim$;

		CREATE FUNCTION ecommerce_shipping.settle(work_id uuid, fence bigint, outcome jsonb)
		RETURNS boolean LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		AS $settle$
		DECLARE
			known %1$s;
		BEGIN
			SELECT * INTO known FROM %1$s w WHERE w.%2$I = settle.work_id FOR UPDATE;
			RETURN FOUND AND ecommerce_shipping._settle(known, outcome,
				known.fence = settle.fence AND known.operation IS NOT NULL);
		END
		$settle$;
	$functions$, work, id, at_claim);
END
$outside_work$;
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
-- Handlers of the endpoint shipping, and what came of calls to the carrier.

CREATE FUNCTION ecommerce_shipping._reply_state(known ecommerce_shipping.shipment)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_state$
BEGIN
	CASE known.status
	WHEN 'arranged' THEN
		PERFORM ecommerce_shipping._publish('ShipmentArranged', known.order_id, known.key,
			jsonb_build_object(
				'shipment_id', known.shipment_id,
				'carrier', known.carrier,
				'estimated_delivery', known.estimated_delivery));
	WHEN 'dispatched' THEN
		PERFORM ecommerce_shipping._publish('ShipmentDispatched', known.order_id, known.key,
			jsonb_build_object(
				'shipment_id', known.shipment_id,
				'tracking_number', known.tracking_number));
	WHEN 'delivered' THEN
		PERFORM ecommerce_shipping._publish('ShipmentDelivered', known.order_id, known.key,
			jsonb_build_object(
				'shipment_id', known.shipment_id,
				'delivered_at', known.delivered_at));
	WHEN 'cancelled' THEN
		PERFORM ecommerce_shipping._publish('ShipmentCancelled', known.order_id, known.key,
			jsonb_build_object(
				'shipment_id', CASE WHEN known.items <> '[]' THEN known.shipment_id END));
	WHEN 'failed' THEN
		PERFORM ecommerce_shipping._publish('ShipmentFailed', known.order_id, known.key,
			jsonb_build_object(
				'reason', known.error_reason,
				'error_code', known.error_code,
				'is_retryable', known.is_retryable));
	ELSE
		NULL;	-- requested: the carrier has not answered yet
	END CASE;
END
$reply_state$;
COMMENT ON FUNCTION ecommerce_shipping._reply_state(ecommerce_shipping.shipment) IS
'Publishes the event that stands for a shipment''s status; nothing while it is only requested. A tombstone has no shipment_id.';

CREATE FUNCTION ecommerce_shipping.arrange_shipment(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $arrange_shipment$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	late CONSTANT boolean := coalesce((command ->> 'not_after')::timestamptz < clock_timestamp(),
		false);
	refusal CONSTANT text := CASE WHEN late THEN 'expired' END;
	known ecommerce_shipping.shipment;
BEGIN
	SELECT * INTO known FROM ecommerce_shipping.shipment s WHERE s.key = step FOR UPDATE;
	IF NOT FOUND THEN
		INSERT INTO ecommerce_shipping.shipment AS s (
			key, order_id, customer_id,
			items, address,
			status, operation,
			error_code, error_reason, is_retryable)
		VALUES (
			step, (command ->> 'order_id')::uuid, (command ->> 'customer_id')::uuid,
			command -> 'items', command -> 'shipping_address',
			CASE WHEN late THEN 'failed' ELSE 'requested' END, CASE WHEN NOT late THEN 'arrange' END,
			refusal, refusal, CASE WHEN late THEN false END)
		RETURNING * INTO known;
	ELSIF known.is_cancelled OR known.status = 'cancelled' THEN
		PERFORM ecommerce_shipping._publish('ShipmentFailed', known.order_id, step,
			'{"reason": "cancelled", "error_code": "cancelled", "is_retryable": false}');
		RETURN;
	ELSIF known.status IN ('dispatched', 'delivered') THEN
		-- the answer to this command is that it was arranged; the rest was told when it happened
		known.status := 'arranged';
	END IF;
	PERFORM ecommerce_shipping._reply_state(known);
END
$arrange_shipment$;
COMMENT ON FUNCTION ecommerce_shipping.arrange_shipment(jsonb) IS
'Handles ArrangeShipment{order_id, customer_id, key, items, shipping_address, not_after}: records the intent; ShipmentArranged or ShipmentFailed (error_code of the carrier, cancelled, expired) follows.';

CREATE FUNCTION ecommerce_shipping.cancel_shipment(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $cancel_shipment$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	known ecommerce_shipping.shipment;
BEGIN
	SELECT * INTO known FROM ecommerce_shipping.shipment s WHERE s.key = step FOR UPDATE;
	IF NOT FOUND THEN
		-- a tombstone: a shipment with this key that is asked for later is refused
		INSERT INTO ecommerce_shipping.shipment AS s (key, order_id, status, items, is_cancelled)
		VALUES (step, (command ->> 'order_id')::uuid, 'cancelled', '[]', true)
		RETURNING * INTO known;
	ELSIF known.status IN ('dispatched', 'delivered') THEN
		PERFORM ecommerce_shipping._publish('ShipmentCancelFailed', known.order_id, step,
			'{"already_dispatched": true}');
		RETURN;
	ELSIF known.status IN ('requested', 'arranged', 'failed') THEN
		UPDATE ecommerce_shipping.shipment s
		SET is_cancelled = true,
			status = CASE WHEN s.status = 'failed' OR s.status = 'requested' AND s.fence = 0
				THEN 'cancelled' ELSE s.status END,
			-- a call under way decides first, see settle
			operation = CASE WHEN s.status = 'arranged' THEN 'cancel'
				WHEN s.status = 'requested' AND s.fence > 0 THEN s.operation END,
			due_at = CASE WHEN s.lease_until IS NULL THEN clock_timestamp() ELSE s.due_at END,
			attempts = 0
		WHERE s.shipment_id = known.shipment_id RETURNING * INTO known;
		IF known.operation IS NOT NULL THEN
			RETURN;
		END IF;
	END IF;
	PERFORM ecommerce_shipping._reply_state(known);
END
$cancel_shipment$;
COMMENT ON FUNCTION ecommerce_shipping.cancel_shipment(jsonb) IS
'Handles CancelShipment{order_id, key}: ShipmentCancelled, or ShipmentCancelFailed{already_dispatched} when the goods have left; an unknown key is refused from now on.';

CREATE FUNCTION ecommerce_shipping._request(work ecommerce_shipping.shipment)
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $request$
	SELECT jsonb_build_object(
		'key', work.key,
		'order_id', work.order_id,
		'items', work.items,
		'address', work.address)
$request$;
COMMENT ON FUNCTION ecommerce_shipping._request(ecommerce_shipping.shipment) IS
'What the carrier is asked with, see claim().';
COMMENT ON FUNCTION ecommerce_shipping.claim(int, interval) IS
'Takes calls that are due, under a lease. operation: arrange, cancel; request: {key, order_id, items, address}. The key makes a repeated call harmless at the carrier.';

CREATE FUNCTION ecommerce_shipping._settle(known ecommerce_shipping.shipment, outcome jsonb,
	is_current boolean)
RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $settle$
DECLARE
	result CONSTANT text := outcome ->> 'result';
BEGIN
	IF NOT is_current THEN
		RETURN false;
	END IF;
	PERFORM ecommerce_shipping._act_for(known);
	IF result IN ('arranged', 'failed', 'cancelled') THEN
		UPDATE ecommerce_shipping.shipment s
		SET status = CASE WHEN result = 'failed' AND s.is_cancelled THEN 'cancelled'
				-- arranged while a cancellation waits: cancelled next
				ELSE result END,
			operation = CASE WHEN result = 'arranged' AND s.is_cancelled THEN 'cancel' END,
			carrier = coalesce(outcome ->> 'carrier', s.carrier),
			estimated_delivery = coalesce((outcome ->> 'estimated_delivery')::timestamptz,
				s.estimated_delivery),
			error_code = coalesce(outcome ->> 'error_code', s.error_code),
			error_reason = coalesce(outcome ->> 'reason', s.error_reason),
			is_retryable = coalesce((outcome ->> 'is_retryable')::boolean, s.is_retryable),
			lease_until = NULL, attempts = 0, due_at = clock_timestamp()
		WHERE s.shipment_id = known.shipment_id RETURNING * INTO known;
		IF known.operation IS NULL THEN
			PERFORM ecommerce_shipping._reply_state(known);
		END IF;
	ELSE
		-- no answer: the key makes it safe to ask again
		UPDATE ecommerce_shipping.shipment s
		SET lease_until = NULL, attempts = s.attempts + 1,
			due_at = clock_timestamp() + ecommerce_shipping._retry_delay(s.attempts)
		WHERE s.shipment_id = known.shipment_id;
	END IF;
	RETURN true;
END
$settle$;
COMMENT ON FUNCTION ecommerce_shipping._settle(ecommerce_shipping.shipment, jsonb, boolean) IS
'What an outcome makes of a locked shipment, see settle().';
COMMENT ON FUNCTION ecommerce_shipping.settle(uuid, bigint, jsonb) IS
'Records the outcome of a claimed call: {result: arranged (carrier, estimated_delivery), failed (error_code, reason, is_retryable), cancelled, unknown}; false when the claim is no longer the current one.';

CREATE FUNCTION ecommerce_shipping.simulate(operation text, request jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $simulate$
DECLARE
	step CONSTANT uuid := request ->> 'key';
	country CONSTANT text := request #>> '{address,country}';
	consignment ecommerce_shipping.simulator_consignment;
BEGIN
	SELECT * INTO consignment FROM ecommerce_shipping.simulator_consignment c
		WHERE c.key = step FOR UPDATE;
	IF operation = 'cancel' THEN
		UPDATE ecommerce_shipping.simulator_consignment c SET status = 'cancelled'
			WHERE c.key = step;
		RETURN '{"result": "cancelled"}';
	ELSIF country = 'XX' THEN
		RETURN jsonb_build_object('result', 'failed', 'error_code', 'no_carrier',
			'reason', 'no carrier delivers there', 'is_retryable', false);
	ELSIF consignment.key IS NULL THEN
		INSERT INTO ecommerce_shipping.simulator_consignment (key, order_id, status)
		VALUES (step, (request ->> 'order_id')::uuid,
			-- the first attempt of an order to this postal code is refused
			CASE WHEN request #>> '{address,postal_code}' = '00000' AND NOT EXISTS (
				SELECT FROM ecommerce_shipping.simulator_consignment c
					WHERE c.order_id = (request ->> 'order_id')::uuid)
				THEN 'refused' ELSE 'arranged' END)
		RETURNING * INTO consignment;
	END IF;
	IF consignment.status = 'refused' THEN
		RETURN jsonb_build_object('result', 'failed', 'error_code', 'carrier_busy',
			'reason', 'no capacity today', 'is_retryable', true);
	END IF;
	RETURN jsonb_build_object('result', 'arranged', 'carrier', 'Simulated Parcel',
		'estimated_delivery', date_trunc('day', clock_timestamp()) + interval '3 days');
END
$simulate$;
COMMENT ON FUNCTION ecommerce_shipping.simulate(text, jsonb) IS
'The simulated carrier: country XX is never delivered to (no_carrier); postal code 00000 is refused once per order (carrier_busy, retryable); anything else is arranged.';
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
-- Rights: the daemon's role works on its own tables, readers may look; nobody
-- else calls anything. Data, counters included, belongs to dumps.
-- Again at every upgrade.
DO $rights$
DECLARE
	ours CONSTANT oid := (SELECT oid FROM pg_catalog.pg_extension
		WHERE extname = 'ecommerce_shipping');
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
			EXECUTE pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO ecommerce_shipping',
				relation.name);
			PERFORM pg_catalog.pg_extension_config_dump(relation.name, '');
		ELSIF relation.relkind = 'v' THEN
			EXECUTE pg_catalog.format('GRANT SELECT ON %s TO ecommerce_shipping, ecommerce_reader',
				relation.name);
		ELSE
			EXECUTE pg_catalog.format(
				'GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO ecommerce_shipping', relation.name);
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
			'GRANT EXECUTE ON FUNCTION %s TO ecommerce_shipping, ecommerce_admin', routine);
	END LOOP;
END
$rights$;
REVOKE EXECUTE ON FUNCTION ecommerce_shipping.install() FROM ecommerce_shipping;
