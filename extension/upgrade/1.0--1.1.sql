-- By hand, from 1.0 to 1.1; see README.md.

-- When events with a time of their own were appended.
DO $columns$
DECLARE
	others text := (SELECT pg_catalog.string_agg(a.attname, ', ') FROM pg_catalog.pg_attribute a
		WHERE a.attrelid = 'event_store.stored_event'::pg_catalog.regclass AND a.attnum > 11);
BEGIN
	IF others IS NOT NULL THEN
		RAISE EXCEPTION 'columns that are not the extension''s stand in the way in event_store.stored_event: %', others
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Copy what they hold and drop them, dump the database, restore it where 1.1 is installed, and add them there.';
	END IF;
END
$columns$;
ALTER TABLE event_store.stored_event ADD COLUMN recorded_at timestamptz;
DROP FUNCTION event_store.load(text, bigint, timestamptz, boolean);

-- Links between databases.
ALTER TABLE message_bus.endpoint ADD COLUMN forward_to text;
DROP FUNCTION message_bus.create_endpoint(text, int, jsonb, anycompatible, interval, text);
DROP FUNCTION ecommerce.set_context(uuid, uuid, text, text, jsonb, text);

-- Parked events.
ALTER TABLE event_store.subscription ADD COLUMN park_after int CHECK (park_after >= 1),
	ADD COLUMN partition_by text, ADD COLUMN passed bigint[];
DROP FUNCTION event_store.create_subscription(text, text, text[], bigint, int, text);

-- Remote projections.
ALTER TABLE event_store.projection ADD COLUMN source text CHECK (source IS NULL OR mode = 'async');
DROP FUNCTION event_store.create_projection(text, regprocedure, text, text[], text, regclass[], text);

-- Rebuilds beside the tables that are read.
DROP FUNCTION event_store.rebuild_projection(text);
ALTER TABLE event_store.projection_progress
	DROP CONSTRAINT projection_progress_rebuild_step_check,
	ADD CONSTRAINT projection_progress_rebuild_step_check
		CHECK (rebuild_step IN ('requested', 'replaying', 'closing'));

-- After everything else
INSERT INTO saga.attention (correlation_id, saga)
SELECT i.correlation_id, i.saga FROM saga.stored_instance i
LEFT JOIN saga.definition_state s ON s.name = i.saga AND s.version = i.definition_version
	AND s.kind = 'normal' AND s.state = i.current_state
WHERE i.engine ?| ARRAY['alarm', 'timer_failures']
	OR i.engine -> 'outstanding' @> '[{"given_up": true}]'
	OR s.timer IS DISTINCT FROM 'none' AND s.state IS NOT NULL
		AND coalesce(i.engine -> 'timers', '{}') = '{}'
ON CONFLICT DO NOTHING;
