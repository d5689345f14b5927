-- Work in the outside world: what a row owes there is committed before any call, claimed under
-- a lease, and settled with the fence of its claim. lib/work.c is the other half of it.

CREATE FUNCTION ecommerce_@service@._retry_delay(attempts int)
RETURNS interval LANGUAGE sql IMMUTABLE
RETURN least(interval '1 second' * power(2, least(attempts, 10)), interval '5 minutes');
COMMENT ON FUNCTION ecommerce_@service@._retry_delay(int) IS
'Time before the outside is asked again: 1, 2, 4, ... seconds, at most 5 minutes.';

-- Makes a table one of work, once, when the extension is created: adds the columns, and writes
-- claim() and settle() for it. The service writes what differs: _request(work) is what the daemon
-- is given, _settle(work, outcome, is_current) takes what came of it.
CREATE FUNCTION ecommerce_@service@._outside_work(work regclass, id name, operations text[],
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
			-- on whose behalf; _for_whom() adds the message
			ADD correlation_id uuid DEFAULT (ecommerce.context()).correlation_id,
			ADD user_id text DEFAULT (ecommerce.context()).user_id,
			ADD tenant_id text DEFAULT (ecommerce.context()).tenant_id,
			ADD traceparent text DEFAULT (ecommerce.context()).traceparent
	$columns$, work, operations);
	EXECUTE format('CREATE INDEX %I ON %s (due_at) WHERE operation IS NOT NULL',
		(SELECT relname FROM pg_class WHERE oid = work) || '_owed', work);

	EXECUTE format($functions$
		CREATE FUNCTION ecommerce_@service@.claim(max_count int, lease interval,
			OUT work_id uuid, OUT fence bigint, OUT operation text, OUT request jsonb,
			OUT correlation_id uuid, OUT traceparent text)
		RETURNS SETOF record LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		-- a LIMIT that is known makes a plan look better than it is worth making
		SET plan_cache_mode = force_generic_plan
		-- one plan is kept from the first row on: what is good for few must be good for many
		SET enable_seqscan = off
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
			RETURNING w.%2$I, w.fence, w.operation, ecommerce_@service@._request(w),
				w.correlation_id, w.traceparent;
		END
		$claim$;

		CREATE FUNCTION ecommerce_@service@.settle(work_id uuid, fence bigint, outcome jsonb)
		RETURNS boolean LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		AS $settle$
		DECLARE
			known %1$s;
		BEGIN
			SELECT * INTO known FROM %1$s w WHERE w.%2$I = settle.work_id FOR UPDATE;
			RETURN FOUND AND ecommerce_@service@._settle(known, outcome,
				known.fence = settle.fence AND known.operation IS NOT NULL);
		END
		$settle$;
	$functions$, work, id, at_claim);
END
$outside_work$;

-- Has a table of work keep which message asked for it, and writes _act_for(work), once: when the
-- extension is created, and when a database of 1.0, whose tables have no such column, is upgraded.
CREATE FUNCTION ecommerce_@service@._for_whom(work regclass)
RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $for_whom$
BEGIN
	EXECUTE format($act_for$
		ALTER TABLE %1$s ADD causation_id uuid DEFAULT (ecommerce.context()).causation_id;

		CREATE OR REPLACE FUNCTION ecommerce_@service@._act_for(work %1$s)
		RETURNS void LANGUAGE plpgsql VOLATILE
		SET search_path = pg_catalog, pg_temp
		AS $body$
		BEGIN
			PERFORM ecommerce.set_context(work.correlation_id, work.causation_id,
				user_id => work.user_id, tenant_id => work.tenant_id,
				traceparent => work.traceparent);
		END
		$body$;
		COMMENT ON FUNCTION ecommerce_@service@._act_for(%1$s) IS
		'Sets the context in which the work was asked for.';
	$act_for$, work);
END
$for_whom$;
