-- 400 transitions of sagas, half of them with a call of a function in PL/pgSQL.
\if `test :turn = 1 && echo 1 || echo 0`
CREATE FUNCTION decide(data jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN '{"ok": true}';
END
$$;
SELECT saga.define('calls', '{"endpoint": "calls", "initial": "Waiting",
	"events": {"Go": {"correlate": "$.message.id"}, "Done": {"correlate": "$.message.id"}},
	"start": {"Go": {"set": {"n": 1}, "schedule": {"timer": "late", "delay": "1 h"}}},
	"states": {"Waiting": {"default": "ignore", "on": {"timer:late": {"goto": "Over"},
			"Done": {"call": "public.decide(jsonb)", "goto": "Over"}}},
		"Over": {"kind": "final", "default": "ignore"}}}');
\endif
SELECT array_agg(gen_random_uuid()) AS ids FROM generate_series(1, 200) \gset
SELECT count(message_bus.publish(t, jsonb_build_object('id', id), partition_key => id::text))
FROM unnest('{Go,Done}'::text[]) t, unnest(:'ids'::uuid[]) id;
-- counted
SELECT saga.run(1000);
