-- What every service's schema has: its role, its schema, and how its functions
-- answer HTTP requests. notification stands for the service's name.
\echo Type "CREATE EXTENSION ecommerce_notification CASCADE" to load this file. \quit

-- The daemon logs in with this role; no password lets nobody else in unless
-- pg_hba.conf says otherwise. Roles belong to the whole cluster.
DO $roles$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ecommerce_notification') THEN
		CREATE ROLE ecommerce_notification LOGIN;
	END IF;
	GRANT ecommerce_writer TO ecommerce_notification;
END
$roles$;

CREATE SCHEMA ecommerce_notification;
GRANT USAGE ON SCHEMA ecommerce_notification TO ecommerce_notification, ecommerce_reader;

CREATE TYPE ecommerce_notification.reply AS (
	status int,
	body jsonb,
	etag text,
	location text
);
COMMENT ON TYPE ecommerce_notification.reply IS
'Answer to an HTTP request: status code, JSON body or NULL for none, values of the headers ETag and Location or NULL.';

CREATE FUNCTION ecommerce_notification._answer(status int, body jsonb, etag text DEFAULT NULL,
											location text DEFAULT NULL)
RETURNS ecommerce_notification.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $answer$
BEGIN
	RETURN ROW(status, body, etag, location);
END
$answer$;
COMMENT ON FUNCTION ecommerce_notification._answer(int, jsonb, text, text) IS 'Makes a reply.';

CREATE FUNCTION ecommerce_notification._refuse(status int, detail text, errors jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'HT' || status, MESSAGE = detail,
		DETAIL = coalesce(errors::text, '');
END
$refuse$;
COMMENT ON FUNCTION ecommerce_notification._refuse(int, text, jsonb) IS
'Ends the request with SQLSTATE HT<status>; errors: array of {"field", "detail"}, becomes the DETAIL.';

CREATE FUNCTION ecommerce_notification._refuse_fields(errors jsonb)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_fields$
BEGIN
	IF errors <> '[]' THEN
		PERFORM ecommerce_notification._refuse(422, 'the request has fields that are missing or wrong',
			errors);
	END IF;
END
$refuse_fields$;
COMMENT ON FUNCTION ecommerce_notification._refuse_fields(jsonb) IS
'Does nothing with an empty array; else ends the request with HT422 and the errors.';

CREATE FUNCTION ecommerce_notification._bad_field(field text, detail text)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $bad_field$
	SELECT jsonb_build_array(jsonb_build_object('field', field, 'detail', detail))
$bad_field$;
COMMENT ON FUNCTION ecommerce_notification._bad_field(text, text) IS
'An array with one error, as refuse_fields takes it.';

CREATE FUNCTION ecommerce_notification._is_text(value jsonb)
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
COMMENT ON FUNCTION ecommerce_notification._is_text(jsonb) IS
'Whether a value is a text of 1 to 200 characters, not all of them white space.';

CREATE FUNCTION ecommerce_notification._is_whole(value jsonb, lowest bigint, highest bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_whole$
BEGIN
	RETURN CASE WHEN jsonb_typeof(value) = 'number' THEN value::numeric BETWEEN lowest AND highest
		AND value::numeric = trunc(value::numeric) ELSE false END;
END
$is_whole$;
COMMENT ON FUNCTION ecommerce_notification._is_whole(jsonb, bigint, bigint) IS
'Whether a value is a whole number between two; 5.0 is one.';

CREATE FUNCTION ecommerce_notification._as_uuid(value text)
RETURNS uuid LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $as_uuid$
BEGIN
	RETURN CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END;
END
$as_uuid$;
COMMENT ON FUNCTION ecommerce_notification._as_uuid(text) IS 'The UUID, or NULL when the text is none.';

CREATE FUNCTION ecommerce_notification._query_errors(uuids jsonb, after text, page text)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $query_errors$
DECLARE
	errors jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', name, 'detail', 'must be a UUID')
		ORDER BY name), '[]')
	INTO errors FROM jsonb_each_text(uuids) AS parameter (name, value)
	WHERE value IS NOT NULL AND ecommerce_notification._as_uuid(value) IS NULL;
	IF after !~ '^[0-9]{1,18}$' THEN
		errors := errors || ecommerce_notification._bad_field('after',
			'must be a cursor from next or cursor');
	END IF;
	IF page !~ '^[0-9]{1,4}$' OR page::int NOT BETWEEN 1 AND 1000 THEN
		errors := errors || ecommerce_notification._bad_field('limit',
			'must be a number from 1 to 1000');
	END IF;
	RETURN errors;
END
$query_errors$;
COMMENT ON FUNCTION ecommerce_notification._query_errors(jsonb, text, text) IS
'Every bad parameter of a query as [{"field", "detail"}]: uuids are name and text of those that must be UUIDs, after is a cursor, page is the limit; null and absent are good.';

CREATE FUNCTION ecommerce_notification._page_size(page text)
RETURNS int LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $page_size$
BEGIN
	RETURN coalesce(page::int, 50);
END
$page_size$;
COMMENT ON FUNCTION ecommerce_notification._page_size(text) IS
'The query parameter limit, checked already: 50 when absent.';

CREATE FUNCTION ecommerce_notification._tag_of(body jsonb, version bigint)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tag_of$
BEGIN
	RETURN format('"%s-%s"', version, left(md5(body::text), 16));
END
$tag_of$;
COMMENT ON FUNCTION ecommerce_notification._tag_of(jsonb, bigint) IS
'The entity tag of a representation. It is made of all that is shown, since a strong one has to change with it, wherever the change comes from.';

CREATE FUNCTION ecommerce_notification._tags(header text)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tags$
BEGIN
	RETURN regexp_split_to_array(trim(header), '\s*,\s*');
END
$tags$;
COMMENT ON FUNCTION ecommerce_notification._tags(text) IS
'The tags of a header If-Match or If-None-Match; NULL without the header.';

CREATE FUNCTION ecommerce_notification._represent(body jsonb, version bigint,
	if_none_match text DEFAULT NULL)
RETURNS ecommerce_notification.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $represent$
DECLARE
	tag CONSTANT text := ecommerce_notification._tag_of(body, version);
	known CONSTANT text[] := ecommerce_notification._tags(replace(if_none_match, 'W/"', '"'));
BEGIN
	IF '*' = ANY (known) OR tag = ANY (known) THEN
		RETURN ecommerce_notification._answer(304, NULL, tag);
	END IF;
	RETURN ecommerce_notification._answer(200, body, tag);
END
$represent$;
COMMENT ON FUNCTION ecommerce_notification._represent(jsonb, bigint, text) IS
'The reply to a GET: 200 with its entity tag, or 304 when If-None-Match has that tag, weak ones included.';

CREATE FUNCTION ecommerce_notification._check_match(if_match text, if_none_match text, tag text,
	version text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $check_match$
DECLARE
	wanted CONSTANT text[] := ecommerce_notification._tags(if_match);
	unwanted CONSTANT text[] := ecommerce_notification._tags(if_none_match);
BEGIN
	IF wanted IS NOT NULL AND NOT coalesce(tag IS NOT NULL AND '*' = ANY (wanted)
		OR tag = ANY (wanted), false) AND NOT coalesce(version = ANY (wanted), false) THEN
		PERFORM ecommerce_notification._refuse(412, CASE WHEN tag IS NULL THEN 'there is none yet'
			ELSE format('it has changed: it is at %s now', tag) END);
	ELSIF unwanted IS NOT NULL AND tag IS NOT NULL
		AND ('*' = ANY (unwanted) OR tag = ANY (unwanted)) THEN
		PERFORM ecommerce_notification._refuse(412, format('there is one already: it is at %s', tag));
	END IF;
END
$check_match$;
COMMENT ON FUNCTION ecommerce_notification._check_match(text, text, text, text) IS
'HT412 unless what is to be changed is as the headers If-Match and If-None-Match want it. tag: its entity tag, NULL if it does not exist; version: another tag that If-Match may name.';

CREATE FUNCTION ecommerce_notification._followed(projection text, mark bigint)
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
COMMENT ON FUNCTION ecommerce_notification._followed(text, bigint) IS
'How far a reader may go in the tables of an inline projection whose events can be read up to the mark: below what it has still to be given. Call it in the statement that reads the rows. 55000 while it is rebuilt or paused.';

CREATE FUNCTION ecommerce_notification._collection(items jsonb, size int, newest bigint, after text)
RETURNS ecommerce_notification.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $collection$
BEGIN
	RETURN ecommerce_notification._answer(200, jsonb_build_object(
		'items', coalesce(items, '[]'),
		'next', CASE WHEN jsonb_array_length(coalesce(items, '[]')) >= size THEN newest::text END,
		'cursor', coalesce(newest::text, after, '0')));
END
$collection$;
COMMENT ON FUNCTION ecommerce_notification._collection(jsonb, int, bigint, text) IS
'A page of a collection: {"items", "next", "cursor"}. newest: the position of the last item, NULL without any; next is that when the page is full, else null; cursor is where to go on later, when there may be more.';

CREATE FUNCTION ecommerce_notification._publish(message_type text, order_id uuid, key uuid,
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
COMMENT ON FUNCTION ecommerce_notification._publish(text, uuid, uuid, jsonb) IS
'Publishes a reply: body plus order_id and the step key, in order with the other messages of that order.';

CREATE FUNCTION ecommerce_notification._strange_fields(body jsonb, known text[], prefix text DEFAULT '')
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
COMMENT ON FUNCTION ecommerce_notification._strange_fields(jsonb, text[], text) IS
'An error for each field of an object that is none of the known ones, for 20 of them at most: what nobody reads would have no effect, and who sent it would not know.';
-- A request that changes something is done once per Idempotency-Key, whatever its route.

CREATE TABLE ecommerce_notification.idempotency (
	owner text NOT NULL,
	key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	request_hash bytea NOT NULL,
	reply ecommerce_notification.reply NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_age ON ecommerce_notification.idempotency (created_at);
COMMENT ON TABLE ecommerce_notification.idempotency IS
'First answers by Idempotency-Key, kept 24 hours. owner: tenant and user, whose keys are nobody else''s; request_hash: SHA-256 of what was asked.';

CREATE FUNCTION ecommerce_notification.once(idempotency_key text, function regproc, arguments jsonb,
	body_at int)
RETURNS ecommerce_notification.reply LANGUAGE plpgsql VOLATILE
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
	known ecommerce_notification.idempotency;
	answer ecommerce_notification.reply;
BEGIN
	IF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
		PERFORM ecommerce_notification._refuse_fields(ecommerce_notification._bad_field('Idempotency-Key',
			'must have 1 to 255 characters'));
	END IF;
	-- held until commit: a repeat that comes in the meantime is told so
	IF NOT pg_try_advisory_xact_lock(hashtextextended(
		concat_ws(' ', 'ecommerce_notification.idempotency', whose, idempotency_key), 0)) THEN
		PERFORM ecommerce_notification._refuse(409,
			'a request with this Idempotency-Key is still running');
	END IF;
	SELECT * INTO known FROM ecommerce_notification.idempotency i
	WHERE i.owner = whose AND i.key = idempotency_key
		AND i.created_at > clock_timestamp() - interval '24 hours';
	IF FOUND AND known.request_hash <> hash THEN
		PERFORM ecommerce_notification._refuse(422, 'this Idempotency-Key was used for something else',
			ecommerce_notification._bad_field('Idempotency-Key',
				'was used with another body or for another resource'));
	ELSIF FOUND THEN
		RETURN known.reply;
	END IF;
	EXECUTE format('SELECT * FROM %s(%s)', function,
		(SELECT string_agg(quote_nullable(value), ', ' ORDER BY n)
			FROM jsonb_array_elements_text(arguments) WITH ORDINALITY AS a (value, n)))
	INTO answer;
	INSERT INTO ecommerce_notification.idempotency AS i (owner, key, request_hash, reply)
		VALUES (whose, idempotency_key, hash, answer)
	ON CONFLICT ON CONSTRAINT idempotency_pkey DO UPDATE
	SET request_hash = excluded.request_hash, reply = excluded.reply,
		created_at = excluded.created_at;
	RETURN answer;
END
$once$;
COMMENT ON FUNCTION ecommerce_notification.once(text, regproc, jsonb, int) IS
'Any request that changes something and has an Idempotency-Key: lets the function answer it with the arguments (texts or null; body_at: which of them, from 0, is the body as JSON), and returns that answer to a repeat within 24 hours. Used for something else HT422, while the first is still running HT409. What was refused may be tried again.';

CREATE FUNCTION ecommerce_notification.forget_keys()
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_keys$
	WITH gone AS (
		DELETE FROM ecommerce_notification.idempotency i
		WHERE (i.owner, i.key) IN (SELECT o.owner, o.key FROM ecommerce_notification.idempotency o
			WHERE o.created_at <= clock_timestamp() - interval '24 hours'
			ORDER BY o.created_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
		RETURNING 1)
	SELECT count(*)::int FROM gone
$forget_keys$;
COMMENT ON FUNCTION ecommerce_notification.forget_keys() IS
'Deletes Idempotency-Keys older than 24 hours, at most 1000 at a time; the number deleted.';
-- Work in the outside world: what a row owes there is committed before any call, claimed under
-- a lease, and settled with the fence of its claim. lib/work.c is the other half of it.

CREATE FUNCTION ecommerce_notification._retry_delay(attempts int)
RETURNS interval LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $retry_delay$
	SELECT least(interval '1 second' * power(2, least(attempts, 10)), interval '5 minutes')
$retry_delay$;
COMMENT ON FUNCTION ecommerce_notification._retry_delay(int) IS
'Time before the outside is asked again: 1, 2, 4, ... seconds, at most 5 minutes.';

-- Makes a table one of work, once, when the extension is created: adds the columns, and writes
-- claim() and settle() for it. The service writes what differs: _request(work) is what the daemon
-- is given, _settle(work, outcome, is_current) takes what came of it.
CREATE FUNCTION ecommerce_notification._outside_work(work regclass, id name, operations text[],
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
		CREATE FUNCTION ecommerce_notification._act_for(work %1$s)
		RETURNS void LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		AS $act_for$
		BEGIN
			PERFORM ecommerce.set_context(work.correlation_id, user_id => work.user_id,
				tenant_id => work.tenant_id, traceparent => work.traceparent);
		END
		$act_for$;
		COMMENT ON FUNCTION ecommerce_notification._act_for(%1$s) IS
		'Sets the context in which the work was asked for.';

		CREATE FUNCTION ecommerce_notification.claim(max_count int, lease interval,
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
			RETURNING w.%2$I, w.fence, w.operation, ecommerce_notification._request(w),
				w.correlation_id, w.traceparent;
		END
		$claim$;

		CREATE FUNCTION ecommerce_notification.settle(work_id uuid, fence bigint, outcome jsonb)
		RETURNS boolean LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		AS $settle$
		DECLARE
			known %1$s;
		BEGIN
			SELECT * INTO known FROM %1$s w WHERE w.%2$I = settle.work_id FOR UPDATE;
			RETURN FOUND AND ecommerce_notification._settle(known, outcome,
				known.fence = settle.fence AND known.operation IS NOT NULL);
		END
		$settle$;
	$functions$, work, id, at_claim);
END
$outside_work$;
-- Notifications and their templates.

CREATE TABLE ecommerce_notification.template (
	name text NOT NULL,
	outcome text NOT NULL DEFAULT '',
	subject text NOT NULL,
	body text NOT NULL,
	PRIMARY KEY (name, outcome)
);
COMMENT ON TABLE ecommerce_notification.template IS
'Templates, with a text for each outcome that the notification''s data may name; '''' is for all others. ${name} stands for a value of the notification''s data, ${order_id} and ${customer_id} for its own. The body is HTML, values are escaped in it; in the subject line breaks and control characters are removed from values.';

CREATE TABLE ecommerce_notification.notification (
	notification_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	position bigint NOT NULL UNIQUE
		DEFAULT ecommerce.next_position('ecommerce_notification.notification'),
	key uuid NOT NULL UNIQUE,
	order_id uuid NOT NULL,
	customer_id uuid NOT NULL,
	email text,
	template text NOT NULL,
	data jsonb NOT NULL,
	status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
	reason text,
	sent_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);
CREATE INDEX notification_order ON ecommerce_notification.notification (order_id, created_at);
CREATE INDEX notification_customer
	ON ecommerce_notification.notification (customer_id, position);
SELECT ecommerce_notification._outside_work('ecommerce_notification.notification',
	'notification_id', '{send}');
DROP FUNCTION ecommerce_notification._outside_work(regclass, name, text[], text);
COMMENT ON TABLE ecommerce_notification.notification IS
'Notifications by step key; a key is sent once. A daemon that dies between sending and recording sends once more: mail has no better promise. email is personal, see forget_customer().';

CREATE FUNCTION ecommerce_notification.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	PERFORM ecommerce.register_contracts();
	IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = 'notification') THEN
		PERFORM message_bus.create_endpoint('notification', breaker => 'default');
	END IF;
	INSERT INTO ecommerce_notification.template (name, outcome, subject, body) VALUES
		('order_received', '', 'We have received your order ${order_id}',
			'<p>Thank you for your order over ${total_amount} ${currency}.</p>'
			'<p>We will tell you when it is confirmed.</p>'),
		('order_confirmed', '', 'Your order is confirmed: ${confirmation_number}',
			'<p>Your order ${order_id} is confirmed and being packed.</p>'
			'<p>Its number is ${confirmation_number}.</p>'),
		('order_shipped', 'tracked', 'Your order ${order_id} is on its way',
			'<p>The parcel has left us. Tracking number: ${tracking_number}</p>'),
		('order_shipped', '', 'Your order ${order_id} is on its way',
			'<p>The parcel has left us.</p>'),
		('order_delivered', '', 'Your order ${order_id} was delivered',
			'<p>We hope you enjoy it.</p>'),
		('order_cancelled', '', 'Your order ${order_id} was cancelled',
			'<p>Your order was cancelled.</p>'),
		('order_cancelled', 'never_paid', 'Your order ${order_id} was cancelled',
			'<p>We are sorry: we could not carry out your order.</p>'
			'<p>Nothing was charged.</p>'),
		('order_cancelled', 'out_of_stock', 'Your order ${order_id} was cancelled',
			'<p>We are sorry: what you have ordered is sold out.</p>'
			'<p>Nothing was charged.</p>'),
		('order_cancelled', 'payment_refused', 'Your order ${order_id} was cancelled',
			'<p>Your payment over ${total_amount} ${currency} was refused. Please ask your bank, '
			'or order again with another way to pay.</p>'
			'<p>Nothing was charged.</p>'),
		('order_cancelled', 'on_request', 'Your order ${order_id} was cancelled',
			'<p>Your order was cancelled as you wished.</p>'
			'<p>Nothing was charged.</p>'),
		('order_cancelled', 'refunded', 'Your order ${order_id} was cancelled',
			'<p>Your order was cancelled. You get back what you have paid, '
			'${total_amount} ${currency}.</p>'
			'<p>The number of the refund is ${refund_id}.</p>'),
		('order_cancelled', 'returned', 'Your order ${order_id} was cancelled',
			'<p>Your order was cancelled, because its payment of ${total_amount} ${currency} '
			'had gone back to you.</p>'),
		('cancellation_rejected', '', 'Your order ${order_id} cannot be cancelled any more',
			'<p>You wished to cancel your order, but the parcel has left us already.</p>'),
		('payment_refunded', '', 'A refund for your order ${order_id}',
			'<p>A payment of ${total_amount} ${currency} for your order has arrived after it was '
			'cancelled. You get it back.</p>'
			'<p>The number of the refund is ${refund_id}.</p>')
	ON CONFLICT DO NOTHING;
END
$install$;
COMMENT ON FUNCTION ecommerce_notification.install() IS
'Registers contracts and endpoint, and the templates where they are absent. Call once after CREATE EXTENSION.';
-- Rendering, the handler of the endpoint notification, sending, and HTTP.

CREATE FUNCTION ecommerce_notification._escape_html(value text)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $escape_html$
BEGIN
	RETURN replace(replace(replace(replace(replace(value,
		'&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
END
$escape_html$;
COMMENT ON FUNCTION ecommerce_notification._escape_html(text) IS
'The text as HTML: & < > " and '' escaped.';

CREATE FUNCTION ecommerce_notification._render(template text, data jsonb, as_html boolean)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $render$
DECLARE
	result text := '';
	rest text := template;
	name text;
	value text;
	at int;
BEGIN
	-- one pass from left to right: a value that looks like a placeholder stays what it is
	LOOP
		at := strpos(rest, '${');
		IF at = 0 OR strpos(substr(rest, at), '}') = 0 THEN
			RETURN result || rest;
		END IF;
		name := substr(rest, at + 2, strpos(substr(rest, at), '}') - 3);
		value := coalesce(data ->> name, '');
		result := result || left(rest, at - 1) || CASE WHEN as_html
			THEN ecommerce_notification._escape_html(value)
			ELSE regexp_replace(value, '[[:cntrl:]]+', ' ', 'g') END;
		rest := substr(rest, at + length(name) + 3);
	END LOOP;
END
$render$;
COMMENT ON FUNCTION ecommerce_notification._render(text, jsonb, boolean) IS
'The template with each ${name} replaced by the text of that key, "" if absent; escaped for HTML, or without control characters for a header.';

CREATE FUNCTION ecommerce_notification._reply_state(known ecommerce_notification.notification)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_state$
BEGIN
	IF known.status = 'sent' THEN
		PERFORM ecommerce_notification._publish('NotificationSent', known.order_id, known.key,
			jsonb_build_object('template', known.template));
	ELSIF known.status = 'failed' THEN
		PERFORM ecommerce_notification._publish('NotificationFailed', known.order_id, known.key,
			jsonb_build_object('template', known.template, 'reason', known.reason));
	END IF;
END
$reply_state$;
COMMENT ON FUNCTION ecommerce_notification._reply_state(ecommerce_notification.notification) IS
'Publishes NotificationSent or NotificationFailed; nothing while it is pending.';

CREATE FUNCTION ecommerce_notification._text_for(name text, outcome text)
RETURNS ecommerce_notification.template LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $text_for$
BEGIN
	RETURN (SELECT t FROM ecommerce_notification.template t
		WHERE t.name = _text_for.name AND t.outcome IN (coalesce(_text_for.outcome, ''), '')
		ORDER BY t.outcome DESC LIMIT 1);
END
$text_for$;
COMMENT ON FUNCTION ecommerce_notification._text_for(text, text) IS
'The text of a template for an outcome, else the one for all others; NULL without any.';

CREATE FUNCTION ecommerce_notification._placeholders(text text)
RETURNS SETOF text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $placeholders$
	SELECT DISTINCT found[1] FROM regexp_matches(text, '\$\{([^}]*)\}', 'g') AS found
$placeholders$;
COMMENT ON FUNCTION ecommerce_notification._placeholders(text) IS
'The names that stand as ${name} in a template.';

CREATE FUNCTION ecommerce_notification.send_notification(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $send_notification$
DECLARE
	shown jsonb;
	wanted ecommerce_notification.template;
	why text;
	known ecommerce_notification.notification;
BEGIN
	shown := coalesce(command -> 'data', '{}') || jsonb_build_object('order_id',
		command -> 'order_id', 'customer_id', command -> 'customer_id');
	wanted := ecommerce_notification._text_for(command ->> 'template', shown ->> 'outcome');
	why := CASE WHEN wanted IS NULL THEN 'unknown template' ELSE (
		SELECT format('the template needs %s', string_agg(name, ', ' ORDER BY name))
		FROM ecommerce_notification._placeholders(wanted.subject || wanted.body) AS name
		WHERE coalesce(shown ->> name, '') = '' HAVING count(*) > 0) END;
	INSERT INTO ecommerce_notification.notification AS n (
		key, order_id,
		customer_id, email,
		template, data,
		status,
		operation, reason)
	VALUES (
		(command ->> 'key')::uuid, (command ->> 'order_id')::uuid,
		(command ->> 'customer_id')::uuid, command ->> 'email',
		command ->> 'template', coalesce(command -> 'data', '{}'),
		CASE WHEN why IS NULL THEN 'pending' ELSE 'failed' END,
		CASE WHEN why IS NULL THEN 'send' END, why)
	ON CONFLICT (key) DO NOTHING;
	SELECT * INTO known FROM ecommerce_notification.notification n
		WHERE n.key = (command ->> 'key')::uuid;
	PERFORM ecommerce_notification._reply_state(known);
END
$send_notification$;
COMMENT ON FUNCTION ecommerce_notification.send_notification(jsonb) IS
'Handles SendNotification{order_id, customer_id, email, template, data, key}: records it; NotificationSent or NotificationFailed{template, reason} follows. A template that is unknown or has no value for one of its placeholders is not sent. A known key answers as before.';

CREATE FUNCTION ecommerce_notification._request(work ecommerce_notification.notification)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $request$
DECLARE
	chosen CONSTANT ecommerce_notification.template :=
		ecommerce_notification._text_for(work.template, work.data ->> 'outcome');
	document CONSTANT jsonb := work.data || jsonb_build_object('order_id', work.order_id,
		'customer_id', work.customer_id);
BEGIN
	RETURN jsonb_build_object(
		'key', work.key,
		'order_id', work.order_id,
		'customer_id', work.customer_id,
		'template', work.template,
		'email', work.email,
		'subject', ecommerce_notification._render(chosen.subject, document, false),
		'body', ecommerce_notification._render(chosen.body, document, true));
END
$request$;
COMMENT ON FUNCTION ecommerce_notification._request(ecommerce_notification.notification) IS
'The mail to be sent, rendered, see claim().';
COMMENT ON FUNCTION ecommerce_notification.claim(int, interval) IS
'Takes notifications that are due, rendered, under a lease. operation: send; request: {key, order_id, customer_id, template, email, subject, body}.';

CREATE FUNCTION ecommerce_notification._settle(known ecommerce_notification.notification,
	outcome jsonb, is_current boolean)
RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $settle$
DECLARE
	attempts_max CONSTANT int := 8;
	result CONSTANT text := outcome ->> 'result';
	-- a mail server that is away has refused nothing
	tried CONSTANT int := CASE result WHEN 'not_sent' THEN 0 ELSE 1 END;
	becomes CONSTANT text := CASE
		WHEN result = 'sent' THEN 'sent'
		WHEN result = 'refused' OR tried = 1 AND known.attempts + 1 >= attempts_max THEN 'failed'
		ELSE 'pending' END;
BEGIN
	IF NOT is_current THEN
		RETURN false;
	END IF;
	PERFORM ecommerce_notification._act_for(known);
	UPDATE ecommerce_notification.notification n
	SET status = becomes,
		operation = CASE becomes WHEN 'pending' THEN n.operation END,
		reason = outcome ->> 'reason',
		lease_until = NULL,
		attempts = n.attempts + tried,
		sent_at = CASE result WHEN 'sent' THEN clock_timestamp() END,
		due_at = clock_timestamp() + ecommerce_notification._retry_delay(n.attempts)
	WHERE n.notification_id = known.notification_id RETURNING * INTO known;
	PERFORM ecommerce_notification._reply_state(known);
	RETURN true;
END
$settle$;
COMMENT ON FUNCTION ecommerce_notification._settle(ecommerce_notification.notification, jsonb,
	boolean) IS
'What an outcome makes of a locked notification, see settle().';
COMMENT ON FUNCTION ecommerce_notification.settle(uuid, bigint, jsonb) IS
'Records how sending went: {result: sent, refused (for good), failed (tried again, 8 times in all), not_sent (nobody there: tried until somebody is), reason}; false when the claim is no longer the current one.';

CREATE FUNCTION ecommerce_notification.forget_customer(customer_id uuid)
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_customer$
	WITH forgotten AS (
		UPDATE ecommerce_notification.notification n SET email = NULL
		WHERE n.customer_id = forget_customer.customer_id AND n.email IS NOT NULL
			AND n.status <> 'pending'
		RETURNING 1)
	SELECT count(*)::int FROM forgotten
$forget_customer$;
COMMENT ON FUNCTION ecommerce_notification.forget_customer(uuid) IS
'Forgets the customer''s e-mail address in what was sent already; the number of notifications that had it. The order saga''s data has it too, as long as it keeps the order.';

CREATE FUNCTION ecommerce_notification.list_notifications(order_id text DEFAULT NULL,
	after text DEFAULT NULL, page text DEFAULT NULL, caller uuid DEFAULT NULL)
RETURNS ecommerce_notification.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $list_notifications$
DECLARE
	size int;
	mark bigint;
BEGIN
	PERFORM ecommerce_notification._refuse_fields(ecommerce_notification._query_errors(
		jsonb_build_object('order_id', order_id), after, page));
	size := ecommerce_notification._page_size(page);
	-- before the snapshot that reads the rows: no earlier one can appear any more
	mark := ecommerce.position_mark('ecommerce_notification.notification');
	RETURN (
		SELECT ecommerce_notification._collection(jsonb_agg(jsonb_build_object(
			'notification_id', n.notification_id, 'order_id', n.order_id, 'template', n.template,
			'status', n.status, 'sent_at', n.sent_at) ORDER BY n.position), size, max(n.position),
			after)
		FROM (SELECT * FROM ecommerce_notification.notification n
			WHERE (list_notifications.order_id IS NULL
					OR n.order_id = list_notifications.order_id::uuid)
				AND (caller IS NULL OR n.customer_id = caller)
				AND n.position > coalesce(after::bigint, 0) AND n.position <= mark
			ORDER BY n.position LIMIT size) AS n);
END
$list_notifications$;
COMMENT ON FUNCTION ecommerce_notification.list_notifications(text, text, text, uuid) IS
'GET /notifications, of the customer caller only unless that is NULL: in the order of their positions; after takes the cursor that next or cursor gave, and whoever follows it sees each notification once.';
-- Rights: the daemon's role works on its own tables, readers may look; nobody
-- else calls anything. Data, counters included, belongs to dumps.
-- Again at every upgrade.
DO $rights$
DECLARE
	ours CONSTANT oid := (SELECT oid FROM pg_catalog.pg_extension
		WHERE extname = 'ecommerce_notification');
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
			EXECUTE pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO ecommerce_notification',
				relation.name);
			PERFORM pg_catalog.pg_extension_config_dump(relation.name, '');
		ELSIF relation.relkind = 'v' THEN
			EXECUTE pg_catalog.format('GRANT SELECT ON %s TO ecommerce_notification, ecommerce_reader',
				relation.name);
		ELSE
			EXECUTE pg_catalog.format(
				'GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO ecommerce_notification', relation.name);
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
			'GRANT EXECUTE ON FUNCTION %s TO ecommerce_notification, ecommerce_admin', routine);
	END LOOP;
END
$rights$;
REVOKE EXECUTE ON FUNCTION ecommerce_notification.install() FROM ecommerce_notification;
