-- What is wrong with sagas.

CREATE FUNCTION ecommerce._saga_problems()
RETURNS SETOF ecommerce._problem
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $saga_problems$
BEGIN
	RETURN QUERY
	SELECT 'saga_stuck', 'saga ' || s.saga, 'error', min(s.since),
		format('%s%s: %s', ecommerce._counted(least(count(*), 200), count(*) > 200,
				'instance, ', 'instances, the last '), s.reason,
			coalesce((array_agg(s.error ORDER BY s.since DESC))[1], 'without an error')),
		format('SELECT * FROM saga.stuck WHERE saga = %L AND reason = %L', s.saga, s.reason),
		jsonb_build_object('saga', s.saga, 'reason', s.reason, 'count', least(count(*), 200),
			'count_capped', count(*) > 200,
			'correlation_id', (array_agg(s.correlation_id ORDER BY s.since DESC))[1])
	FROM (SELECT * FROM saga._stuck LIMIT 201) s
	GROUP BY s.saga, s.reason;
END
$saga_problems$;
COMMENT ON FUNCTION ecommerce._saga_problems() IS 'What is wrong with sagas, for ecommerce.problems.';

CREATE FUNCTION ecommerce._stuck(problems jsonb)
RETURNS TABLE (saga text, reason text, instances bigint, capped boolean)
LANGUAGE sql IMMUTABLE ROWS 5
SET search_path = pg_catalog, pg_temp
AS $stuck$
	SELECT p #>> '{detail,saga}', p #>> '{detail,reason}', (p #>> '{detail,count}')::bigint,
		coalesce((p #>> '{detail,count_capped}')::boolean, false)
	FROM jsonb_array_elements(problems) p
	WHERE p ->> 'kind' = 'saga_stuck' AND p #>> '{detail,saga}' IS NOT NULL
$stuck$;
COMMENT ON FUNCTION ecommerce._stuck(jsonb) IS
'Instances that are stuck, as the rows of ecommerce.problems tell.';
