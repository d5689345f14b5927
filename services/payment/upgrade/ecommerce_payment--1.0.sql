-- What every service's schema has: its role, its schema, and how its functions
-- answer HTTP requests. payment stands for the service's name.
\echo Type "CREATE EXTENSION ecommerce_payment CASCADE" to load this file. \quit

-- The daemon logs in with this role; no password lets nobody else in unless
-- pg_hba.conf says otherwise. Roles belong to the whole cluster.
DO $roles$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ecommerce_payment') THEN
		CREATE ROLE ecommerce_payment LOGIN;
	END IF;
	GRANT ecommerce_writer TO ecommerce_payment;
END
$roles$;

CREATE SCHEMA ecommerce_payment;
GRANT USAGE ON SCHEMA ecommerce_payment TO ecommerce_payment, ecommerce_reader;

CREATE TYPE ecommerce_payment.reply AS (
	status int,
	body jsonb,
	etag text,
	location text
);
COMMENT ON TYPE ecommerce_payment.reply IS
'Answer to an HTTP request: status code, JSON body or NULL for none, values of the headers ETag and Location or NULL.';

CREATE FUNCTION ecommerce_payment._answer(status int, body jsonb, etag text DEFAULT NULL,
											location text DEFAULT NULL)
RETURNS ecommerce_payment.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $answer$
BEGIN
	RETURN ROW(status, body, etag, location);
END
$answer$;
COMMENT ON FUNCTION ecommerce_payment._answer(int, jsonb, text, text) IS 'Makes a reply.';

CREATE FUNCTION ecommerce_payment._refuse(status int, detail text, errors jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'HT' || status, MESSAGE = detail,
		DETAIL = coalesce(errors::text, '');
END
$refuse$;
COMMENT ON FUNCTION ecommerce_payment._refuse(int, text, jsonb) IS
'Ends the request with SQLSTATE HT<status>; errors: array of {"field", "detail"}, becomes the DETAIL.';

CREATE FUNCTION ecommerce_payment._refuse_fields(errors jsonb)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $refuse_fields$
BEGIN
	IF errors <> '[]' THEN
		PERFORM ecommerce_payment._refuse(422, 'the request has fields that are missing or wrong',
			errors);
	END IF;
END
$refuse_fields$;
COMMENT ON FUNCTION ecommerce_payment._refuse_fields(jsonb) IS
'Does nothing with an empty array; else ends the request with HT422 and the errors.';

CREATE FUNCTION ecommerce_payment._bad_field(field text, detail text)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $bad_field$
	SELECT jsonb_build_array(jsonb_build_object('field', field, 'detail', detail))
$bad_field$;
COMMENT ON FUNCTION ecommerce_payment._bad_field(text, text) IS
'An array with one error, as refuse_fields takes it.';

CREATE FUNCTION ecommerce_payment._is_text(value jsonb)
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
COMMENT ON FUNCTION ecommerce_payment._is_text(jsonb) IS
'Whether a value is a text of 1 to 200 characters, not all of them white space.';

CREATE FUNCTION ecommerce_payment._is_whole(value jsonb, lowest bigint, highest bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_whole$
BEGIN
	RETURN CASE WHEN jsonb_typeof(value) = 'number' THEN value::numeric BETWEEN lowest AND highest
		AND value::numeric = trunc(value::numeric) ELSE false END;
END
$is_whole$;
COMMENT ON FUNCTION ecommerce_payment._is_whole(jsonb, bigint, bigint) IS
'Whether a value is a whole number between two; 5.0 is one.';

CREATE FUNCTION ecommerce_payment._as_uuid(value text)
RETURNS uuid LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $as_uuid$
BEGIN
	RETURN CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN value::uuid END;
END
$as_uuid$;
COMMENT ON FUNCTION ecommerce_payment._as_uuid(text) IS 'The UUID, or NULL when the text is none.';

CREATE FUNCTION ecommerce_payment._query_errors(uuids jsonb, after text, page text)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $query_errors$
DECLARE
	errors jsonb;
BEGIN
	SELECT coalesce(jsonb_agg(jsonb_build_object('field', name, 'detail', 'must be a UUID')
		ORDER BY name), '[]')
	INTO errors FROM jsonb_each_text(uuids) AS parameter (name, value)
	WHERE value IS NOT NULL AND ecommerce_payment._as_uuid(value) IS NULL;
	IF after !~ '^[0-9]{1,18}$' THEN
		errors := errors || ecommerce_payment._bad_field('after',
			'must be a cursor from next or cursor');
	END IF;
	IF page !~ '^[0-9]{1,4}$' OR page::int NOT BETWEEN 1 AND 1000 THEN
		errors := errors || ecommerce_payment._bad_field('limit',
			'must be a number from 1 to 1000');
	END IF;
	RETURN errors;
END
$query_errors$;
COMMENT ON FUNCTION ecommerce_payment._query_errors(jsonb, text, text) IS
'Every bad parameter of a query as [{"field", "detail"}]: uuids are name and text of those that must be UUIDs, after is a cursor, page is the limit; null and absent are good.';

CREATE FUNCTION ecommerce_payment._page_size(page text)
RETURNS int LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $page_size$
BEGIN
	RETURN coalesce(page::int, 50);
END
$page_size$;
COMMENT ON FUNCTION ecommerce_payment._page_size(text) IS
'The query parameter limit, checked already: 50 when absent.';

CREATE FUNCTION ecommerce_payment._tag_of(body jsonb, version bigint)
RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tag_of$
BEGIN
	RETURN format('"%s-%s"', version, left(md5(body::text), 16));
END
$tag_of$;
COMMENT ON FUNCTION ecommerce_payment._tag_of(jsonb, bigint) IS
'The entity tag of a representation. It is made of all that is shown, since a strong one has to change with it, wherever the change comes from.';

CREATE FUNCTION ecommerce_payment._tags(header text)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $tags$
BEGIN
	RETURN regexp_split_to_array(trim(header), '\s*,\s*');
END
$tags$;
COMMENT ON FUNCTION ecommerce_payment._tags(text) IS
'The tags of a header If-Match or If-None-Match; NULL without the header.';

CREATE FUNCTION ecommerce_payment._represent(body jsonb, version bigint,
	if_none_match text DEFAULT NULL)
RETURNS ecommerce_payment.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $represent$
DECLARE
	tag CONSTANT text := ecommerce_payment._tag_of(body, version);
	known CONSTANT text[] := ecommerce_payment._tags(replace(if_none_match, 'W/"', '"'));
BEGIN
	IF '*' = ANY (known) OR tag = ANY (known) THEN
		RETURN ecommerce_payment._answer(304, NULL, tag);
	END IF;
	RETURN ecommerce_payment._answer(200, body, tag);
END
$represent$;
COMMENT ON FUNCTION ecommerce_payment._represent(jsonb, bigint, text) IS
'The reply to a GET: 200 with its entity tag, or 304 when If-None-Match has that tag, weak ones included.';

CREATE FUNCTION ecommerce_payment._check_match(if_match text, if_none_match text, tag text,
	version text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $check_match$
DECLARE
	wanted CONSTANT text[] := ecommerce_payment._tags(if_match);
	unwanted CONSTANT text[] := ecommerce_payment._tags(if_none_match);
BEGIN
	IF wanted IS NOT NULL AND NOT coalesce(tag IS NOT NULL AND '*' = ANY (wanted)
		OR tag = ANY (wanted), false) AND NOT coalesce(version = ANY (wanted), false) THEN
		PERFORM ecommerce_payment._refuse(412, CASE WHEN tag IS NULL THEN 'there is none yet'
			ELSE format('it has changed: it is at %s now', tag) END);
	ELSIF unwanted IS NOT NULL AND tag IS NOT NULL
		AND ('*' = ANY (unwanted) OR tag = ANY (unwanted)) THEN
		PERFORM ecommerce_payment._refuse(412, format('there is one already: it is at %s', tag));
	END IF;
END
$check_match$;
COMMENT ON FUNCTION ecommerce_payment._check_match(text, text, text, text) IS
'HT412 unless what is to be changed is as the headers If-Match and If-None-Match want it. tag: its entity tag, NULL if it does not exist; version: another tag that If-Match may name.';

CREATE FUNCTION ecommerce_payment._followed(projection text, mark bigint)
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
COMMENT ON FUNCTION ecommerce_payment._followed(text, bigint) IS
'How far a reader may go in the tables of an inline projection whose events can be read up to the mark: below what it has still to be given. Call it in the statement that reads the rows. 55000 while it is rebuilt or paused.';

CREATE FUNCTION ecommerce_payment._collection(items jsonb, size int, newest bigint, after text)
RETURNS ecommerce_payment.reply LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $collection$
BEGIN
	RETURN ecommerce_payment._answer(200, jsonb_build_object(
		'items', coalesce(items, '[]'),
		'next', CASE WHEN jsonb_array_length(coalesce(items, '[]')) >= size THEN newest::text END,
		'cursor', coalesce(newest::text, after, '0')));
END
$collection$;
COMMENT ON FUNCTION ecommerce_payment._collection(jsonb, int, bigint, text) IS
'A page of a collection: {"items", "next", "cursor"}. newest: the position of the last item, NULL without any; next is that when the page is full, else null; cursor is where to go on later, when there may be more.';

CREATE FUNCTION ecommerce_payment._publish(message_type text, order_id uuid, key uuid,
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
COMMENT ON FUNCTION ecommerce_payment._publish(text, uuid, uuid, jsonb) IS
'Publishes a reply: body plus order_id and the step key, in order with the other messages of that order.';

CREATE FUNCTION ecommerce_payment._strange_fields(body jsonb, known text[], prefix text DEFAULT '')
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
COMMENT ON FUNCTION ecommerce_payment._strange_fields(jsonb, text[], text) IS
'An error for each field of an object that is none of the known ones, for 20 of them at most: what nobody reads would have no effect, and who sent it would not know.';
-- A request that changes something is done once per Idempotency-Key, whatever its route.

CREATE TABLE ecommerce_payment.idempotency (
	owner text NOT NULL,
	key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	request_hash bytea NOT NULL,
	reply ecommerce_payment.reply NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_age ON ecommerce_payment.idempotency (created_at);
COMMENT ON TABLE ecommerce_payment.idempotency IS
'First answers by Idempotency-Key, kept 24 hours. owner: tenant and user, whose keys are nobody else''s; request_hash: SHA-256 of what was asked.';

CREATE FUNCTION ecommerce_payment.once(idempotency_key text, function regproc, arguments jsonb,
	body_at int)
RETURNS ecommerce_payment.reply LANGUAGE plpgsql VOLATILE
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
	known ecommerce_payment.idempotency;
	answer ecommerce_payment.reply;
BEGIN
	IF length(idempotency_key) NOT BETWEEN 1 AND 255 THEN
		PERFORM ecommerce_payment._refuse_fields(ecommerce_payment._bad_field('Idempotency-Key',
			'must have 1 to 255 characters'));
	END IF;
	-- held until commit: a repeat that comes in the meantime is told so
	IF NOT pg_try_advisory_xact_lock(hashtextextended(
		concat_ws(' ', 'ecommerce_payment.idempotency', whose, idempotency_key), 0)) THEN
		PERFORM ecommerce_payment._refuse(409,
			'a request with this Idempotency-Key is still running');
	END IF;
	SELECT * INTO known FROM ecommerce_payment.idempotency i
	WHERE i.owner = whose AND i.key = idempotency_key
		AND i.created_at > clock_timestamp() - interval '24 hours';
	IF FOUND AND known.request_hash <> hash THEN
		PERFORM ecommerce_payment._refuse(422, 'this Idempotency-Key was used for something else',
			ecommerce_payment._bad_field('Idempotency-Key',
				'was used with another body or for another resource'));
	ELSIF FOUND THEN
		RETURN known.reply;
	END IF;
	EXECUTE format('SELECT * FROM %s(%s)', function,
		(SELECT string_agg(quote_nullable(value), ', ' ORDER BY n)
			FROM jsonb_array_elements_text(arguments) WITH ORDINALITY AS a (value, n)))
	INTO answer;
	INSERT INTO ecommerce_payment.idempotency AS i (owner, key, request_hash, reply)
		VALUES (whose, idempotency_key, hash, answer)
	ON CONFLICT ON CONSTRAINT idempotency_pkey DO UPDATE
	SET request_hash = excluded.request_hash, reply = excluded.reply,
		created_at = excluded.created_at;
	RETURN answer;
END
$once$;
COMMENT ON FUNCTION ecommerce_payment.once(text, regproc, jsonb, int) IS
'Any request that changes something and has an Idempotency-Key: lets the function answer it with the arguments (texts or null; body_at: which of them, from 0, is the body as JSON), and returns that answer to a repeat within 24 hours. Used for something else HT422, while the first is still running HT409. What was refused may be tried again.';

CREATE FUNCTION ecommerce_payment.forget_keys()
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_keys$
	WITH gone AS (
		DELETE FROM ecommerce_payment.idempotency i
		WHERE (i.owner, i.key) IN (SELECT o.owner, o.key FROM ecommerce_payment.idempotency o
			WHERE o.created_at <= clock_timestamp() - interval '24 hours'
			ORDER BY o.created_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
		RETURNING 1)
	SELECT count(*)::int FROM gone
$forget_keys$;
COMMENT ON FUNCTION ecommerce_payment.forget_keys() IS
'Deletes Idempotency-Keys older than 24 hours, at most 1000 at a time; the number deleted.';
-- Work in the outside world: what a row owes there is committed before any call, claimed under
-- a lease, and settled with the fence of its claim. lib/work.c is the other half of it.

CREATE FUNCTION ecommerce_payment._retry_delay(attempts int)
RETURNS interval LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $retry_delay$
	SELECT least(interval '1 second' * power(2, least(attempts, 10)), interval '5 minutes')
$retry_delay$;
COMMENT ON FUNCTION ecommerce_payment._retry_delay(int) IS
'Time before the outside is asked again: 1, 2, 4, ... seconds, at most 5 minutes.';

-- Makes a table one of work, once, when the extension is created: adds the columns, and writes
-- claim() and settle() for it. The service writes what differs: _request(work) is what the daemon
-- is given, _settle(work, outcome, is_current) takes what came of it.
CREATE FUNCTION ecommerce_payment._outside_work(work regclass, id name, operations text[],
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
		CREATE FUNCTION ecommerce_payment._act_for(work %1$s)
		RETURNS void LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		AS $act_for$
		BEGIN
			PERFORM ecommerce.set_context(work.correlation_id, user_id => work.user_id,
				tenant_id => work.tenant_id, traceparent => work.traceparent);
		END
		$act_for$;
		COMMENT ON FUNCTION ecommerce_payment._act_for(%1$s) IS
		'Sets the context in which the work was asked for.';

		CREATE FUNCTION ecommerce_payment.claim(max_count int, lease interval,
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
			RETURNING w.%2$I, w.fence, w.operation, ecommerce_payment._request(w),
				w.correlation_id, w.traceparent;
		END
		$claim$;

		CREATE FUNCTION ecommerce_payment.settle(work_id uuid, fence bigint, outcome jsonb)
		RETURNS boolean LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		AS $settle$
		DECLARE
			known %1$s;
		BEGIN
			SELECT * INTO known FROM %1$s w WHERE w.%2$I = settle.work_id FOR UPDATE;
			RETURN FOUND AND ecommerce_payment._settle(known, outcome,
				known.fence = settle.fence AND known.operation IS NOT NULL);
		END
		$settle$;
	$functions$, work, id, at_claim);
END
$outside_work$;
-- Payments with what is owed to the provider, the simulated provider's own
-- books, and the webhooks heard.

CREATE TABLE ecommerce_payment.payment (
	payment_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	position bigint NOT NULL UNIQUE DEFAULT ecommerce.next_position('ecommerce_payment.payment'),
	key uuid NOT NULL UNIQUE,
	order_id uuid NOT NULL,
	customer_id uuid,
	status text NOT NULL CHECK (status IN ('pending', 'captured', 'declined', 'unknown', 'refunded',
		'voided', 'disputed')),
	amount numeric NOT NULL CHECK (amount >= 0),
	currency text NOT NULL,
	card_type text,
	last4_digits text,
	token text,
	transaction_id text,
	refund_id text,
	refunded_amount numeric NOT NULL DEFAULT 0,
	dispute_id text,
	dispute_status text CHECK (dispute_status IN ('open', 'won', 'lost')),
	error_code text,
	error_reason text,
	is_retryable boolean,
	processed_at timestamptz,
	charge_begun_at timestamptz,
	refund_number int NOT NULL DEFAULT 1,
	moves int NOT NULL DEFAULT 0,
	not_at_provider boolean NOT NULL DEFAULT false,
	is_asked boolean NOT NULL DEFAULT false,
	is_cancelled boolean NOT NULL DEFAULT false,
	cancel_reason text,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	CONSTRAINT captured_has_transaction CHECK (status NOT IN ('captured', 'refunded', 'disputed')
		OR transaction_id IS NOT NULL)
) WITH (fillfactor = 50);
CREATE INDEX payment_order ON ecommerce_payment.payment (order_id, created_at);
CREATE INDEX payment_customer ON ecommerce_payment.payment (customer_id, position)
	WHERE customer_id IS NOT NULL;
CREATE INDEX payment_transaction ON ecommerce_payment.payment (transaction_id)
	WHERE transaction_id IS NOT NULL;
-- A charge that was begun and has no outcome is asked about, never repeated.
SELECT ecommerce_payment._outside_work('ecommerce_payment.payment', 'payment_id',
	'{charge,query,refund}', $at_claim$
				operation = CASE WHEN w.operation = 'charge' AND w.charge_begun_at IS NOT NULL
					THEN 'query' ELSE w.operation END,
				charge_begun_at = coalesce(w.charge_begun_at,
					CASE w.operation WHEN 'charge' THEN clock_timestamp() END),
	$at_claim$);
DROP FUNCTION ecommerce_payment._outside_work(regclass, name, text[], text);
COMMENT ON TABLE ecommerce_payment.payment IS
'Payments by step key, with the intent towards the provider: operation is what is owed there, committed before any call. charge_begun_at: a charge may have arrived since then. not_at_provider: the provider said it knows no such charge. is_asked: a QueryPaymentStatus waits for the answer. is_cancelled: whatever was captured is to be refunded. refunded_amount is what the provider has given back, whoever asked for it; refund_id beside status captured is a refund that is not through yet; refund_number counts refunds that have failed or were refused for good, each has an idempotency key of its own. moves counts changes of status, and tells the saga which of two is newer. disputed: the provider has taken the money back until the dispute is won or lost; a lost one is a refund. Of a card only type, last four digits and the provider''s token.';

CREATE TABLE ecommerce_payment.simulator_charge (
	key uuid PRIMARY KEY,
	order_id uuid NOT NULL,
	amount numeric NOT NULL,
	token text,
	status text NOT NULL CHECK (status IN ('captured', 'declined', 'refunded')),
	error_code text,
	is_retryable boolean,
	visible_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	refund_id text
);
CREATE INDEX simulator_charge_order ON ecommerce_payment.simulator_charge (order_id);
COMMENT ON TABLE ecommerce_payment.simulator_charge IS
'The books of the simulated provider: one row per charge it heard of. It commits on its own, as a provider outside would, so a daemon that dies after a charge finds it here.';

CREATE TABLE ecommerce_payment.webhook_event (
	event_id text PRIMARY KEY,
	event_type text NOT NULL,
	received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX webhook_event_age ON ecommerce_payment.webhook_event (received_at);
COMMENT ON TABLE ecommerce_payment.webhook_event IS
'Ids of webhooks that took effect, kept 30 days: a repeat does nothing.';

CREATE TABLE ecommerce_payment.early_webhook (
	event_id text PRIMARY KEY,
	transaction_id text NOT NULL,
	event jsonb NOT NULL,
	received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX early_webhook_transaction ON ecommerce_payment.early_webhook (transaction_id);
CREATE INDEX early_webhook_age ON ecommerce_payment.early_webhook (received_at);
COMMENT ON TABLE ecommerce_payment.early_webhook IS
'Refunds and disputes of charges that no payment is known to have yet; they take effect when one has. Kept 30 days: most are another shop''s on the same account.';

CREATE FUNCTION ecommerce_payment.install()
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install$
BEGIN
	PERFORM ecommerce.register_contracts();
	IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = 'payment') THEN
		PERFORM message_bus.create_endpoint('payment', breaker => 'default');
	END IF;
END
$install$;
COMMENT ON FUNCTION ecommerce_payment.install() IS
'Registers contracts and endpoint in this database; does nothing where they exist. Call once after CREATE EXTENSION.';
-- What a payment tells the saga.

CREATE FUNCTION ecommerce_payment._minor_amount(amount numeric, currency text)
RETURNS bigint LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $minor_amount$
DECLARE
	-- Stripe counts these in other units than ISO 4217 has them
	units CONSTANT int := CASE currency WHEN 'ISK' THEN 2 WHEN 'UGX' THEN 2 WHEN 'MGA' THEN 0
		ELSE ecommerce.minor_units(currency) END;
	minor CONSTANT numeric := amount * power(10::numeric, units);
BEGIN
	-- and takes of three decimals only those that end in 0
	RETURN CASE WHEN minor = trunc(minor) AND scale(trim_scale(amount))
		<= least(2, ecommerce.minor_units(currency)) THEN minor END;
END
$minor_amount$;
COMMENT ON FUNCTION ecommerce_payment._minor_amount(numeric, text) IS
'An amount as a whole number of the currency''s smallest units, as Stripe counts them: 12.50 USD is 1250, 12 JPY 12, 1.25 KWD 1250. NULL for an amount with more decimals than the currency has, and for what is no currency.';

CREATE FUNCTION ecommerce_payment._reply_state(known ecommerce_payment.payment)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $reply_state$
BEGIN
	CASE known.status
	WHEN 'captured' THEN
		PERFORM ecommerce_payment._publish('PaymentProcessed', known.order_id, known.key,
			jsonb_build_object(
				'transaction_id', known.transaction_id,
				'amount', known.amount,
				'currency', known.currency,
				'processed_at', known.processed_at));
	WHEN 'declined' THEN
		PERFORM ecommerce_payment._publish('PaymentFailed', known.order_id, known.key,
			jsonb_build_object(
				'reason', known.error_reason,
				'error_code', known.error_code,
				'is_retryable', known.is_retryable));
	WHEN 'refunded' THEN
		IF known.is_cancelled THEN
			PERFORM ecommerce_payment._publish('PaymentRefunded', known.order_id, known.key,
				jsonb_build_object(
					'refund_id', known.refund_id,
					'amount', known.amount,
					'reason', coalesce(known.cancel_reason, 'refund')));
		ELSE	-- nobody has asked for it here
			PERFORM ecommerce_payment._publish('PaymentReturned', known.order_id, known.key,
				jsonb_build_object(
					'refund_id', known.refund_id,
					'amount', known.amount,
					'moves', known.moves,
					'reason', CASE known.dispute_status WHEN 'lost' THEN 'dispute' ELSE 'refund' END));
		END IF;
	WHEN 'disputed' THEN
		IF known.is_cancelled THEN	-- the provider refunds nothing as long as it lasts
			PERFORM ecommerce_payment._publish('PaymentRefundFailed', known.order_id, known.key,
				'{"is_retryable": false, "error_code": "charge_disputed"}');
		ELSE
			PERFORM ecommerce_payment._publish('PaymentReturned', known.order_id, known.key,
				jsonb_build_object(
					'amount', known.amount,
					'moves', known.moves,
					'reason', 'dispute'));
		END IF;
	WHEN 'voided' THEN
		PERFORM ecommerce_payment._publish('PaymentVoided', known.order_id, known.key);
	ELSE
		NULL;	-- pending and unknown have nothing to tell yet
	END CASE;
END
$reply_state$;
COMMENT ON FUNCTION ecommerce_payment._reply_state(ecommerce_payment.payment) IS
'Publishes the event that stands for a payment''s status; nothing while it is pending or unknown. Money that went back is PaymentRefunded when that was asked for, else PaymentReturned.';

CREATE FUNCTION ecommerce_payment._report_status(order_id uuid, key uuid,
	known ecommerce_payment.payment)
RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $report_status$
	SELECT ecommerce_payment._publish('PaymentStatusReported', order_id, key, CASE
		WHEN known.status IN ('captured', 'refunded', 'disputed') THEN jsonb_build_object(
			'status', 'captured',
			'transaction_id', known.transaction_id,
			'amount', known.amount)
		WHEN known.status = 'declined' THEN jsonb_build_object(
			'status', 'declined',
			'amount', known.amount,
			'error_code', known.error_code,
			'is_retryable', known.is_retryable)
		WHEN known.status = 'voided' THEN jsonb_build_object(
			'status', 'declined',
			'amount', known.amount,
			'error_code', 'cancelled',
			'is_retryable', false)
		WHEN known.status IS NULL OR known.not_at_provider THEN '{"status": "not_found"}'::jsonb
		WHEN known.status = 'pending' AND known.operation = 'charge'
			AND known.charge_begun_at IS NULL THEN '{"status": "waiting"}'
		ELSE '{"status": "pending"}'::jsonb END)
$report_status$;
COMMENT ON FUNCTION ecommerce_payment._report_status(uuid, uuid, ecommerce_payment.payment) IS
'Publishes PaymentStatusReported; a NULL payment is one never heard of: not_found. waiting: nothing has been sent to the provider yet, and will be.';
-- What an outcome at the provider does to a payment, and what the saga hears of it.

CREATE FUNCTION ecommerce_payment._try_again(INOUT payment ecommerce_payment.payment, asked text,
	at_most interval)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $try_again$
BEGIN
	payment.operation := asked;
	payment.due_at := clock_timestamp()
		+ least(ecommerce_payment._retry_delay(payment.attempts), at_most);
	payment.attempts := payment.attempts + 1;
END
$try_again$;
COMMENT ON FUNCTION ecommerce_payment._try_again(ecommerce_payment.payment, text, interval) IS
'The payment with a call owed again after a pause that grows with the attempts.';

CREATE FUNCTION ecommerce_payment._conclude_charge(INOUT payment ecommerce_payment.payment,
	outcome jsonb, asked text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $conclude_charge$
BEGIN
	CASE outcome ->> 'result'
	WHEN 'captured' THEN
		payment.status := 'captured';
		payment.transaction_id := coalesce(outcome ->> 'transaction_id', payment.transaction_id);
		payment.processed_at := coalesce(payment.processed_at, clock_timestamp());
		payment.not_at_provider := false;
		payment.operation := CASE WHEN payment.is_cancelled THEN 'refund' END;
		payment.attempts := 0;
	WHEN 'declined' THEN
		payment.status := CASE WHEN payment.is_cancelled THEN 'voided' ELSE 'declined' END;
		payment.error_code := outcome ->> 'error_code';
		payment.error_reason := coalesce(outcome ->> 'reason', outcome ->> 'error_code',
			'declined');
		payment.is_retryable := coalesce((outcome ->> 'is_retryable')::boolean, false);
	WHEN 'not_found' THEN
		payment.status := CASE WHEN payment.is_cancelled THEN 'voided' ELSE 'unknown' END;
		payment.not_at_provider := true;
	WHEN 'not_sent' THEN
		-- as if it had not been tried; it is tried until the provider is back
		IF asked = 'charge' THEN
			payment.charge_begun_at := NULL;
			payment.status := CASE WHEN payment.is_cancelled THEN 'voided' ELSE 'pending' END;
		END IF;
		IF asked <> 'charge' OR NOT payment.is_cancelled THEN
			payment := ecommerce_payment._try_again(payment, asked, interval '15 seconds');
		END IF;
	ELSE	-- unknown, pending: it may have happened
		IF asked = 'refund' OR payment.is_cancelled THEN
			payment := ecommerce_payment._try_again(payment, CASE asked WHEN 'refund' THEN 'refund'
				ELSE 'query' END, interval '5 minutes');
		ELSE
			payment.attempts := payment.attempts + 1;
		END IF;
		IF asked <> 'refund' THEN
			payment.status := 'unknown';
		END IF;
	END CASE;
END
$conclude_charge$;
COMMENT ON FUNCTION ecommerce_payment._conclude_charge(ecommerce_payment.payment, jsonb, text) IS
'The payment after an outcome of a charge or a query, see _conclude().';

CREATE FUNCTION ecommerce_payment._conclude(INOUT payment ecommerce_payment.payment, outcome jsonb)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $conclude$
DECLARE
	asked CONSTANT text := payment.operation;
BEGIN
	payment.operation := NULL;
	payment.lease_until := NULL;
	IF outcome ->> 'result' IN ('refunded', 'disputed') THEN
		payment.transaction_id := coalesce(outcome ->> 'transaction_id', payment.transaction_id);
		payment.processed_at := coalesce(payment.processed_at, clock_timestamp());
	END IF;
	CASE outcome ->> 'result'
	WHEN 'refunded' THEN
		payment.status := 'refunded';
		payment.refund_id := outcome ->> 'refund_id';
		payment.refunded_amount := payment.amount;
	WHEN 'refund_pending' THEN
		payment.refund_id := outcome ->> 'refund_id';
		payment := ecommerce_payment._try_again(payment, 'refund', interval '5 minutes');
	WHEN 'refund_failed' THEN
		payment.status := CASE payment.status WHEN 'refunded' THEN 'captured'
			ELSE payment.status END;
		payment.refunded_amount := 0;
		payment.refund_id := NULL;
		payment.refund_number := payment.refund_number + 1;
		payment.error_code := outcome ->> 'error_code';
		payment.is_retryable := coalesce((outcome ->> 'is_retryable')::boolean, false);
	WHEN 'disputed' THEN
		IF asked = 'refund' AND outcome ->> 'dispute_id' IS NULL THEN
			-- refused: the provider gives the same answer for the same key for ever
			payment.refund_number := payment.refund_number + 1;
		END IF;
		IF payment.dispute_status = 'won' AND outcome ->> 'dispute_id' IS NULL THEN
			-- an answer from before it was won: a webhook was faster
			payment := ecommerce_payment._try_again(payment, asked, interval '5 minutes');
		ELSE
			payment.status := 'disputed';
			payment.dispute_status := 'open';
		END IF;
	ELSE
		payment := ecommerce_payment._conclude_charge(payment, outcome, asked);
	END CASE;
END
$conclude$;
COMMENT ON FUNCTION ecommerce_payment._conclude(ecommerce_payment.payment, jsonb) IS
'The payment after an outcome {result: captured, declined, pending, unknown, not_found, not_sent, refunded, refund_pending, refund_failed, disputed; transaction_id, refund_id, dispute_id, error_code, reason, is_retryable}. What was not sent is tried until it is. A cancelled payment goes on: captured is refunded, unknown is queried until it is known.';

CREATE FUNCTION ecommerce_payment._tell(before ecommerce_payment.payment,
	after ecommerce_payment.payment, outcome jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $tell$
BEGIN
	IF outcome ->> 'result' = 'refund_failed' AND before.status = 'refunded'
		OR before.status = 'disputed' AND after.status = 'captured' AND NOT after.is_cancelled THEN
		PERFORM ecommerce_payment._publish('PaymentRegained', after.order_id, after.key,
			jsonb_build_object('moves', after.moves));
	ELSIF outcome ->> 'result' = 'refund_failed' THEN
		PERFORM ecommerce_payment._publish('PaymentRefundFailed', after.order_id, after.key,
			jsonb_build_object('is_retryable', after.is_retryable, 'error_code', after.error_code));
	ELSIF after.operation IS NOT NULL THEN
		NULL;	-- the saga hears of the end, not of the way there
	ELSIF before.is_asked AND before.operation = 'query'
		AND (after.is_cancelled OR after.status NOT IN ('refunded', 'disputed')) THEN
		PERFORM ecommerce_payment._report_status(after.order_id, after.key, after);
	ELSE
		PERFORM ecommerce_payment._reply_state(after);
	END IF;
END
$tell$;
COMMENT ON FUNCTION ecommerce_payment._tell(ecommerce_payment.payment, ecommerce_payment.payment,
	jsonb) IS
'Tells the saga what an outcome has made of a payment.';

CREATE FUNCTION ecommerce_payment._take_outcome(known ecommerce_payment.payment, outcome jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $take_outcome$
DECLARE
	after ecommerce_payment.payment := ecommerce_payment._conclude(known, outcome);
	early record;
BEGIN
	PERFORM ecommerce_payment._act_for(known);
	after.is_asked := known.is_asked AND known.operation IS DISTINCT FROM 'query';
	after.moves := known.moves + CASE WHEN after.status <> known.status THEN 1 ELSE 0 END;
	after.dispute_id := coalesce(outcome ->> 'dispute_id', after.dispute_id);
	after.dispute_status := coalesce(outcome ->> 'dispute_status', after.dispute_status);
	UPDATE ecommerce_payment.payment p
	SET status = after.status,
		transaction_id = after.transaction_id,
		refund_id = after.refund_id,
		refunded_amount = after.refunded_amount,
		refund_number = after.refund_number,
		moves = after.moves,
		dispute_id = after.dispute_id,
		dispute_status = after.dispute_status,
		error_code = after.error_code,
		error_reason = after.error_reason,
		is_retryable = after.is_retryable,
		processed_at = after.processed_at,
		operation = after.operation,
		due_at = after.due_at,
		attempts = after.attempts,
		lease_until = after.lease_until,
		charge_begun_at = after.charge_begun_at,
		not_at_provider = after.not_at_provider,
		is_asked = after.is_asked,
		is_cancelled = after.is_cancelled
	WHERE p.payment_id = known.payment_id;
	PERFORM ecommerce_payment._tell(known, after, outcome);

	IF known.transaction_id IS NULL AND after.transaction_id IS NOT NULL THEN
		FOR early IN
			DELETE FROM ecommerce_payment.early_webhook w
			WHERE w.transaction_id = after.transaction_id RETURNING w.event, w.received_at
		LOOP
			PERFORM ecommerce_payment._take_event(early.event);
		END LOOP;
	END IF;
END
$take_outcome$;
COMMENT ON FUNCTION ecommerce_payment._take_outcome(ecommerce_payment.payment, jsonb) IS
'Stores what the provider said about a locked payment and tells the saga; then what was said of its charge before the charge was known takes effect.';
-- Handlers of the endpoint payment. They record what is wanted; the provider is
-- called after the commit, see 40_provider.sql.

CREATE FUNCTION ecommerce_payment.process_payment(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $process_payment$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	late CONSTANT boolean := coalesce((command ->> 'not_after')::timestamptz < clock_timestamp(),
		false);
	method CONSTANT jsonb := coalesce(command -> 'payment_method', '{}');
	paid_in CONSTANT text := coalesce(command ->> 'currency', ecommerce.currency());
	-- what is refused at once
	no CONSTANT text := CASE WHEN late THEN 'expired'
		WHEN ecommerce_payment._minor_amount((command ->> 'amount')::numeric, paid_in) IS NULL
			THEN 'invalid_amount' END;
	known ecommerce_payment.payment;
BEGIN
	SELECT * INTO known FROM ecommerce_payment.payment p WHERE p.key = step FOR UPDATE;
	IF NOT FOUND THEN
		INSERT INTO ecommerce_payment.payment AS p (
			key, order_id, customer_id,
			amount, currency,
			card_type, last4_digits, token,
			status, operation,
			error_code, error_reason, is_retryable)
		VALUES (
			step, (command ->> 'order_id')::uuid, (command ->> 'customer_id')::uuid,
			(command ->> 'amount')::numeric, paid_in,
			method ->> 'type', method ->> 'last4_digits', method ->> 'token',
			CASE WHEN no IS NULL THEN 'pending' ELSE 'declined' END, CASE WHEN no IS NULL THEN 'charge' END,
			no, no, CASE WHEN no IS NOT NULL THEN false END)
		RETURNING * INTO known;
		PERFORM ecommerce_payment._reply_state(known);
	ELSIF known.status = 'voided' THEN
		PERFORM ecommerce_payment._publish('PaymentFailed', known.order_id, step,
			'{"reason": "cancelled", "error_code": "cancelled", "is_retryable": false}');
	ELSIF known.status IN ('refunded', 'disputed') AND known.is_cancelled THEN
		-- that it was captured is the answer to this command
		known.status := 'captured';
		PERFORM ecommerce_payment._reply_state(known);
	ELSIF known.status <> 'unknown' THEN
		PERFORM ecommerce_payment._reply_state(known);
	ELSIF known.not_at_provider AND known.operation IS NULL AND late THEN
		UPDATE ecommerce_payment.payment p
		SET status = 'declined', error_code = 'expired', error_reason = 'expired',
			is_retryable = false
		WHERE p.payment_id = known.payment_id RETURNING * INTO known;
		PERFORM ecommerce_payment._reply_state(known);
	ELSIF known.operation IS NULL THEN
		-- charged again, with the same key, only where the provider has never heard of it
		UPDATE ecommerce_payment.payment p
		SET operation = CASE WHEN known.not_at_provider THEN 'charge' ELSE 'query' END,
			charge_begun_at = CASE WHEN known.not_at_provider THEN NULL ELSE p.charge_begun_at END,
			not_at_provider = false,
			due_at = clock_timestamp(),
			attempts = 0
		WHERE p.payment_id = known.payment_id;
	END IF;
END
$process_payment$;
COMMENT ON FUNCTION ecommerce_payment.process_payment(jsonb) IS
'Handles ProcessPayment{order_id, customer_id, key, amount, currency, payment_method, not_after}: records the intent; the outcome follows as PaymentProcessed or PaymentFailed (error_code of the provider, cancelled, expired, invalid_amount). A known key is never charged twice.';

CREATE FUNCTION ecommerce_payment.query_payment_status(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $query_payment_status$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	known ecommerce_payment.payment;
BEGIN
	SELECT * INTO known FROM ecommerce_payment.payment p WHERE p.key = step FOR UPDATE;
	IF known.status IN ('refunded', 'disputed') AND NOT known.is_cancelled THEN
		PERFORM ecommerce_payment._reply_state(known);
		RETURN;
	ELSIF known.status IS DISTINCT FROM 'unknown' THEN
		PERFORM ecommerce_payment._report_status((command ->> 'order_id')::uuid, step, known);
		RETURN;
	END IF;
	UPDATE ecommerce_payment.payment p
	SET operation = coalesce(p.operation, 'query'),
		is_asked = true,
		attempts = 0,
		due_at = CASE WHEN p.operation IS NULL THEN clock_timestamp() ELSE p.due_at END
	WHERE p.payment_id = known.payment_id;
END
$query_payment_status$;
COMMENT ON FUNCTION ecommerce_payment.query_payment_status(jsonb) IS
'Handles QueryPaymentStatus{order_id, key}: replies PaymentStatusReported at once if the answer is known, else after asking the provider.';

CREATE FUNCTION ecommerce_payment.refund_payment(command jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $refund_payment$
DECLARE
	step CONSTANT uuid := command ->> 'key';
	known ecommerce_payment.payment;
BEGIN
	SELECT * INTO known FROM ecommerce_payment.payment p WHERE p.key = step FOR UPDATE;
	IF NOT FOUND THEN
		-- a tombstone: a charge with this key that comes later is refused
		INSERT INTO ecommerce_payment.payment AS p (
			key, order_id,
			amount, currency,
			status, is_cancelled, cancel_reason)
		VALUES (
			step, (command ->> 'order_id')::uuid,
			(command ->> 'amount')::numeric, ecommerce.currency(),
			'voided', true, command ->> 'reason')
		RETURNING * INTO known;
		PERFORM ecommerce_payment._reply_state(known);
		RETURN;
	END IF;
	known.is_cancelled := true;
	known.cancel_reason := coalesce(known.cancel_reason, command ->> 'reason');
	CASE
	WHEN known.status = 'captured'
		-- known from a refusal alone, which may be over
		OR known.status = 'disputed' AND known.dispute_id IS NULL THEN
		known.operation := 'refund';
	WHEN known.status = 'declined' OR known.status = 'unknown' AND known.not_at_provider
		AND known.operation IS NULL
		OR known.status = 'pending' AND known.charge_begun_at IS NULL THEN
		-- nothing was or will be charged
		known.status := 'voided';
		known.operation := NULL;
	WHEN known.status = 'unknown' THEN
		known.operation := coalesce(known.operation, 'query');
	ELSE
		-- a charge is under way: its outcome is refunded; voided, refunded and disputed stay
		NULL;
	END CASE;
	UPDATE ecommerce_payment.payment p
	SET status = known.status,
		operation = known.operation,
		is_cancelled = true,
		cancel_reason = known.cancel_reason,
		attempts = 0,
		due_at = CASE WHEN p.lease_until IS NULL THEN clock_timestamp() ELSE p.due_at END
	WHERE p.payment_id = known.payment_id;
	IF known.operation IS NULL THEN
		PERFORM ecommerce_payment._reply_state(known);
	END IF;
END
$refund_payment$;
COMMENT ON FUNCTION ecommerce_payment.refund_payment(jsonb) IS
'Handles RefundPayment{order_id, key, amount, reason}: what was captured is refunded in full, what is unknown or running is resolved and then refunded, an unknown key is voided for good; what went back already was refunded. Replies PaymentRefunded, PaymentVoided or PaymentRefundFailed.';
-- The provider: which calls are due, what came of them, and the simulated one.

CREATE FUNCTION ecommerce_payment._request(work ecommerce_payment.payment)
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $request$
	SELECT jsonb_build_object(
		'key', work.key,
		'order_id', work.order_id,
		'amount', work.amount,
		'minor_amount', ecommerce_payment._minor_amount(work.amount, work.currency),
		'currency', work.currency,
		'token', work.token,
		'transaction_id', work.transaction_id,
		'refund_id', work.refund_id,
		'refund_number', work.refund_number,
		'reason', work.cancel_reason,
		'is_cancelled', work.is_cancelled,
		'charge_age', floor(extract(epoch FROM clock_timestamp() - work.charge_begun_at)))
$request$;
COMMENT ON FUNCTION ecommerce_payment._request(ecommerce_payment.payment) IS
'What the provider is asked with, see claim().';
COMMENT ON FUNCTION ecommerce_payment.claim(int, interval) IS
'Takes calls that are due, under a lease. operation: charge, query, refund; request: {key, order_id, amount, minor_amount, currency, token, transaction_id, refund_id (of one that is not through yet), refund_number, reason, is_cancelled, charge_age in seconds}. The key is the idempotency key at the provider.';

CREATE FUNCTION ecommerce_payment._settle(known ecommerce_payment.payment, outcome jsonb,
	is_current boolean)
RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $settle$
BEGIN
	IF NOT is_current THEN
		-- somebody else asks by now, or a webhook was faster; yet money that was taken was taken
		IF NOT (outcome ->> 'result' IN ('captured', 'refunded') AND known.status = ANY (
			CASE outcome ->> 'result' WHEN 'captured'
				THEN ARRAY['pending', 'unknown', 'voided', 'declined']
				ELSE ARRAY['pending', 'unknown', 'captured', 'disputed'] END)) THEN
			RETURN false;
		END IF;
		known.is_cancelled := known.is_cancelled OR known.status = 'voided';
	END IF;
	PERFORM ecommerce_payment._take_outcome(known, outcome);
	RETURN true;
END
$settle$;
COMMENT ON FUNCTION ecommerce_payment._settle(ecommerce_payment.payment, jsonb, boolean) IS
'What an outcome makes of a locked payment, see settle().';
COMMENT ON FUNCTION ecommerce_payment.settle(uuid, bigint, jsonb) IS
'Records the outcome of a claimed call, see _conclude(); false when the claim is no longer the current one, unless money was moved after all: what was captured of a voided payment then goes back.';

CREATE FUNCTION ecommerce_payment.simulate(operation text, request jsonb)
RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $simulate$
DECLARE
	step CONSTANT uuid := request ->> 'key';
	token CONSTANT text := coalesce(request ->> 'token', 'tok_ok');
	charge ecommerce_payment.simulator_charge;
	failure text;
BEGIN
	SELECT * INTO charge FROM ecommerce_payment.simulator_charge c WHERE c.key = step FOR UPDATE;
	IF operation = 'charge' AND charge.key IS NULL THEN
		IF token = 'tok_lost' THEN
			RETURN '{"result": "unknown"}';		-- the request never arrived
		END IF;
		failure := CASE
			WHEN token = 'tok_declined' THEN 'card_declined'
			WHEN token = 'tok_retry_always' OR token = 'tok_retry_once' AND NOT EXISTS (
				SELECT FROM ecommerce_payment.simulator_charge c
					WHERE c.order_id = (request ->> 'order_id')::uuid)
				THEN 'issuer_unavailable' END;
		INSERT INTO ecommerce_payment.simulator_charge (
			key, order_id, amount, token,
			status,
			error_code, is_retryable,
			visible_at)
		VALUES (
			step, (request ->> 'order_id')::uuid, (request ->> 'amount')::numeric, token,
			CASE WHEN failure IS NULL THEN 'captured' ELSE 'declined' END,
			failure, failure = 'issuer_unavailable',
			clock_timestamp() + CASE token WHEN 'tok_unknown' THEN interval '1 second'
				ELSE interval '0' END)
		RETURNING * INTO charge;
		IF token = 'tok_unknown' THEN
			RETURN '{"result": "unknown"}';		-- arrived, but the answer did not
		END IF;
	END IF;
	CASE
	WHEN charge.key IS NULL THEN
		RETURN '{"result": "not_found"}';
	WHEN operation = 'refund' AND token = 'tok_refund_fails' THEN
		RETURN jsonb_build_object('result', 'refund_failed', 'error_code', 'refund_unavailable',
			'is_retryable', true);
	WHEN operation = 'refund' AND charge.status = 'declined' THEN
		RETURN jsonb_build_object('result', 'refund_failed', 'error_code', 'charge_not_captured',
			'is_retryable', false);
	WHEN operation = 'refund' THEN
		UPDATE ecommerce_payment.simulator_charge c
		SET status = 'refunded',
			refund_id = coalesce(c.refund_id, 'sim_re_' || left(md5(c.key::text), 16))
		WHERE c.key = step RETURNING * INTO charge;
		RETURN jsonb_build_object('result', 'refunded', 'refund_id', charge.refund_id);
	WHEN charge.visible_at > clock_timestamp() THEN
		RETURN '{"result": "pending"}';
	WHEN charge.status = 'declined' THEN
		RETURN jsonb_build_object('result', 'declined', 'error_code', charge.error_code,
			'reason', charge.error_code, 'is_retryable', charge.is_retryable);
	ELSE
		RETURN jsonb_build_object('result', 'captured',
			'transaction_id', 'sim_ch_' || left(md5(charge.key::text), 16));
	END CASE;
END
$simulate$;
COMMENT ON FUNCTION ecommerce_payment.simulate(text, jsonb) IS
'The simulated provider: outcome by token. tok_ok, tok_slow or any other: captured; tok_declined: card_declined; tok_retry_once: issuer_unavailable for the first charge of an order; tok_retry_always; tok_unknown: no answer, found captured a second later; tok_lost: never arrives; tok_refund_fails: captured, refunds fail. The same key gives the same answer.';

CREATE FUNCTION ecommerce_payment.list_payments(order_id text DEFAULT NULL, after text DEFAULT NULL,
	page text DEFAULT NULL, caller uuid DEFAULT NULL)
RETURNS ecommerce_payment.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $list_payments$
DECLARE
	size int;
	mark bigint;
BEGIN
	PERFORM ecommerce_payment._refuse_fields(ecommerce_payment._query_errors(
		jsonb_build_object('order_id', order_id), after, page));
	size := ecommerce_payment._page_size(page);
	-- before the snapshot that reads the rows: no earlier one can appear any more
	mark := ecommerce.position_mark('ecommerce_payment.payment');
	RETURN (
		SELECT ecommerce_payment._collection(jsonb_agg(jsonb_build_object(
			'payment_id', p.payment_id, 'order_id', p.order_id, 'key', p.key, 'status', p.status,
			'amount', p.amount, 'currency', p.currency, 'transaction_id', p.transaction_id,
			'refund_id', p.refund_id, 'refunded_amount', p.refunded_amount, 'dispute_status',
			p.dispute_status, 'error_code', p.error_code, 'card_type', p.card_type,
			'last4_digits', p.last4_digits)
			ORDER BY p.position), size, max(p.position), after)
		FROM (SELECT * FROM ecommerce_payment.payment p
			WHERE (list_payments.order_id IS NULL OR p.order_id = list_payments.order_id::uuid)
				AND (caller IS NULL OR p.customer_id = caller)
				AND p.position > coalesce(after::bigint, 0) AND p.position <= mark
			ORDER BY p.position LIMIT size) AS p);
END
$list_payments$;
COMMENT ON FUNCTION ecommerce_payment.list_payments(text, text, text, uuid) IS
'GET /payments, of the customer caller only unless that is NULL: in the order of their positions; after takes the cursor that next or cursor gave, and whoever follows it sees each payment once.';
-- Webhooks: what the provider tells of its own accord, in any order and more than once.

CREATE FUNCTION ecommerce_payment._is_whole(charge jsonb, known ecommerce_payment.payment)
RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $is_whole$
	SELECT coalesce(charge -> 'amount' = to_jsonb(ecommerce_payment._minor_amount(known.amount,
			known.currency)), charge -> 'amount' IS NULL)
		AND lower(coalesce(charge ->> 'currency', known.currency)) = lower(known.currency)
$is_whole$;
COMMENT ON FUNCTION ecommerce_payment._is_whole(jsonb, ecommerce_payment.payment) IS
'Whether what the provider says of a charge, {amount in smallest units, currency}, is the payment''s amount; what it does not say is taken as right.';

CREATE FUNCTION ecommerce_payment._charge_outcome(type text, charge jsonb,
	known ecommerce_payment.payment)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $charge_outcome$
DECLARE
	refund CONSTANT jsonb := charge #> '{refunds,data,0}';
	-- an authorization is no money; one that was given up is called refunded as well
	is_money CONSTANT boolean := coalesce(charge -> 'captured', 'true') <> 'false';
	-- false: only a part went back
	is_refunded CONSTANT boolean := is_money AND CASE type WHEN 'charge.refunded'
		THEN coalesce(charge -> 'refunded', 'true') <> 'false'
		ELSE coalesce(charge -> 'refunded', 'false') = 'true' END;
BEGIN
	IF is_refunded AND refund ->> 'status' IN ('pending', 'requires_action') THEN
		RETURN CASE WHEN known.status = 'captured' AND known.is_cancelled THEN jsonb_build_object(
			'result', 'refund_pending', 'refund_id', refund -> 'id') END;
	ELSIF is_refunded AND coalesce(refund ->> 'status', '') NOT IN ('failed', 'canceled') THEN
		RETURN CASE WHEN known.status <> 'refunded' THEN jsonb_build_object('result', 'refunded',
			'transaction_id', charge -> 'id', 'refund_id', coalesce(refund -> 'id',
				charge -> 'id')) END;
	ELSIF NOT is_money OR type NOT IN ('charge.succeeded', 'charge.captured', 'charge.failed')
		OR known.status NOT IN ('pending', 'unknown', 'voided', 'declined') THEN
		RETURN NULL;
	ELSIF NOT ecommerce_payment._is_whole(charge, known) AND known.status <> 'voided' THEN
		-- not what was asked for; what was voided goes back whatever it is
		RAISE WARNING 'the provider tells of another amount than that of payment "%"', known.key;
		RETURN NULL;
	ELSIF type = 'charge.failed' THEN
		RETURN CASE WHEN known.status IN ('pending', 'unknown') THEN jsonb_build_object(
			'result', 'declined', 'error_code', charge -> 'failure_code', 'reason',
			charge -> 'failure_message') END;
	END IF;
	RETURN jsonb_build_object('result', 'captured', 'transaction_id', charge -> 'id');
END
$charge_outcome$;
COMMENT ON FUNCTION ecommerce_payment._charge_outcome(text, jsonb, ecommerce_payment.payment) IS
'What an event about a charge means for the payment, as _conclude() takes it; NULL: nothing, as an authorization, another amount, or a part of a refund.';

CREATE FUNCTION ecommerce_payment._refund_outcome(refund jsonb, known ecommerce_payment.payment)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $refund_outcome$
BEGIN
	CASE
	WHEN refund ->> 'status' = 'succeeded' AND known.status <> 'refunded'
		AND ecommerce_payment._is_whole(refund, known) THEN
		RETURN jsonb_build_object('result', 'refunded', 'transaction_id', refund -> 'charge',
			'refund_id', refund -> 'id');
	WHEN refund ->> 'status' IN ('failed', 'canceled') AND known.refund_id = refund ->> 'id' THEN
		RETURN jsonb_build_object('result', 'refund_failed', 'error_code',
			coalesce(refund -> 'failure_reason', '"refund_failed"'), 'is_retryable', false);
	WHEN refund ->> 'status' IN ('pending', 'requires_action') AND known.status = 'captured'
		AND known.is_cancelled THEN
		RETURN jsonb_build_object('result', 'refund_pending', 'refund_id', refund -> 'id');
	ELSE
		RETURN NULL;
	END CASE;
END
$refund_outcome$;
COMMENT ON FUNCTION ecommerce_payment._refund_outcome(jsonb, ecommerce_payment.payment) IS
'What a refund {id, charge, amount, currency, status, failure_reason} means for the payment; one that succeeded can fail later.';

CREATE FUNCTION ecommerce_payment._dispute_outcome(type text, dispute jsonb,
	known ecommerce_payment.payment)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $dispute_outcome$
DECLARE
	-- an inquiry ("warning_...") takes no money
	status CONSTANT text := CASE
		WHEN dispute ->> 'status' IN ('won', 'lost') THEN dispute ->> 'status'
		WHEN dispute ->> 'status' LIKE 'warning%' THEN NULL
		WHEN type = 'charge.dispute.funds_reinstated' THEN 'won'
		ELSE 'open' END;
BEGIN
	IF known.dispute_id = dispute ->> 'id' AND known.dispute_status IN ('won', 'lost')
		OR known.status = 'refunded' OR known.status = 'disputed' AND status = 'open' THEN
		RETURN NULL;	-- it is over, or known
	END IF;
	RETURN CASE status
		WHEN 'open' THEN jsonb_build_object('result', 'disputed')
		WHEN 'won' THEN jsonb_build_object('result', 'captured')
		WHEN 'lost' THEN jsonb_build_object('result', 'refunded', 'refund_id', dispute -> 'id')
		END || jsonb_build_object('transaction_id', dispute -> 'charge', 'dispute_id',
			dispute -> 'id', 'dispute_status', status);
END
$dispute_outcome$;
COMMENT ON FUNCTION ecommerce_payment._dispute_outcome(text, jsonb, ecommerce_payment.payment) IS
'What a dispute {id, charge, status} means for the payment: the money is gone until it is won; NULL: nothing.';

CREATE FUNCTION ecommerce_payment._take_event(event jsonb)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $take_event$
DECLARE
	type CONSTANT text := event ->> 'type';
	object CONSTANT jsonb := event #> '{data,object}';
	charge CONSTANT text := CASE WHEN type ~ 'refund\.|^charge\.dispute\.'
		THEN object ->> 'charge' ELSE object ->> 'id' END;
	known ecommerce_payment.payment;
	outcome jsonb;
BEGIN
	SELECT * INTO known FROM ecommerce_payment.payment p
	WHERE p.key = ecommerce_payment._as_uuid(object #>> '{metadata,key}') FOR UPDATE;
	IF NOT FOUND THEN
		SELECT * INTO known FROM ecommerce_payment.payment p
		WHERE p.transaction_id = charge ORDER BY p.created_at LIMIT 1 FOR UPDATE;
	END IF;
	IF NOT FOUND AND type ~ 'refund|^charge\.dispute\.' AND charge <> '' THEN
		INSERT INTO ecommerce_payment.early_webhook (event_id, transaction_id, event)
			VALUES (event ->> 'id', charge, event)
		ON CONFLICT DO NOTHING;
	END IF;
	IF known.key IS NULL THEN
		RETURN;		-- not one of ours, or not yet
	END IF;
	outcome := CASE
		WHEN type LIKE 'charge.dispute.%' THEN ecommerce_payment._dispute_outcome(type, object,
			known)
		WHEN type ~ '^(charge\.)?refund\.' THEN ecommerce_payment._refund_outcome(object, known)
		WHEN type LIKE 'charge.%' THEN ecommerce_payment._charge_outcome(type, object, known) END;
	IF outcome IS NOT NULL THEN
		-- captured although it was voided: the money goes back
		known.is_cancelled := known.is_cancelled OR known.status = 'voided';
		PERFORM ecommerce_payment._take_outcome(known, outcome);
	ELSIF type = 'charge.refunded' AND jsonb_typeof(object -> 'amount_refunded') = 'number' THEN
		UPDATE ecommerce_payment.payment p
		SET refunded_amount = least(p.amount, round(p.amount
			* (object ->> 'amount_refunded')::numeric
			/ nullif(ecommerce_payment._minor_amount(p.amount, p.currency), 0), 2))
		WHERE p.payment_id = known.payment_id AND p.status = 'captured';
	END IF;
END
$take_event$;
COMMENT ON FUNCTION ecommerce_payment._take_event(jsonb) IS
'Lets an event {id, type, data: {object}} about a charge, a refund or a dispute take effect on the payment whose key is in its metadata or whose charge it is about; refunds and disputes of charges not known yet are kept.';

CREATE FUNCTION ecommerce_payment.take_webhook(body jsonb)
RETURNS ecommerce_payment.reply LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $take_webhook$
BEGIN
	PERFORM ecommerce_payment._refuse_fields((
		SELECT coalesce(jsonb_agg(jsonb_build_object('field', field, 'detail',
			'must be a text of 1 to 255 characters')), '[]')
		FROM unnest(ARRAY['id', 'type']) AS field
		WHERE jsonb_typeof(body -> field) IS DISTINCT FROM 'string'
			OR length(body ->> field) NOT BETWEEN 1 AND 255));
	INSERT INTO ecommerce_payment.webhook_event (event_id, event_type)
		VALUES (body ->> 'id', body ->> 'type')
	ON CONFLICT DO NOTHING;
	IF FOUND THEN
		PERFORM ecommerce_payment._take_event(body);
	END IF;
	RETURN ecommerce_payment._answer(200, '{"received": true}');
END
$take_webhook$;
COMMENT ON FUNCTION ecommerce_payment.take_webhook(jsonb) IS
'POST /payments/webhook, signature checked already: events about charges, refunds and disputes take effect once each; all others are acknowledged and do nothing.';

CREATE FUNCTION ecommerce_payment.forget_webhooks()
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $forget_webhooks$
	WITH gone AS (
		DELETE FROM ecommerce_payment.webhook_event w
		WHERE w.event_id IN (SELECT o.event_id FROM ecommerce_payment.webhook_event o
			WHERE o.received_at <= clock_timestamp() - interval '30 days'
			ORDER BY o.received_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
		RETURNING 1), early AS (
		DELETE FROM ecommerce_payment.early_webhook w
		WHERE w.event_id IN (SELECT o.event_id FROM ecommerce_payment.early_webhook o
			WHERE o.received_at <= clock_timestamp() - interval '30 days'
			ORDER BY o.received_at LIMIT 1000 FOR UPDATE SKIP LOCKED))
	SELECT count(*)::int FROM gone
$forget_webhooks$;
COMMENT ON FUNCTION ecommerce_payment.forget_webhooks() IS
'Deletes webhook ids older than 30 days, and events that were never matched, at most 1000 at a time; the number of ids deleted.';
-- Rights: the daemon's role works on its own tables, readers may look; nobody
-- else calls anything. Data, counters included, belongs to dumps.
-- Again at every upgrade.
DO $rights$
DECLARE
	ours CONSTANT oid := (SELECT oid FROM pg_catalog.pg_extension
		WHERE extname = 'ecommerce_payment');
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
			EXECUTE pg_catalog.format('GRANT USAGE ON SEQUENCE %s TO ecommerce_payment',
				relation.name);
			PERFORM pg_catalog.pg_extension_config_dump(relation.name, '');
		ELSIF relation.relkind = 'v' THEN
			EXECUTE pg_catalog.format('GRANT SELECT ON %s TO ecommerce_payment, ecommerce_reader',
				relation.name);
		ELSE
			EXECUTE pg_catalog.format(
				'GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO ecommerce_payment', relation.name);
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
			'GRANT EXECUTE ON FUNCTION %s TO ecommerce_payment, ecommerce_admin', routine);
	END LOOP;
END
$rights$;
REVOKE EXECUTE ON FUNCTION ecommerce_payment.install() FROM ecommerce_payment;
