-- What pg_dump carries besides CREATE EXTENSION: all data, and the counters above it.
-- Every table that is named here gets the trigger that notes a restore, see the end.
-- One call per statement: each changes the same row of the catalogue.

-- ---------------------------------------------------------------- shared
SELECT pg_catalog.pg_extension_config_dump('ecommerce.position_seq', '');

-- ---------------------------------------------------------------- event store
SELECT pg_catalog.pg_extension_config_dump('event_store.stored_event', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.stream', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.position_seq', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.stream_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.published_mark_seq', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.retention', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.truncated_stream', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.deletion', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.subscription', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_partition', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.parked_event', '');

-- ---------------------------------------------------------------- domain models
SELECT pg_catalog.pg_extension_config_dump('event_store.event_type', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.upcaster', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.aggregate', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.event_handler', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.snapshot', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.projection', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.projection_progress', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.projection_remote', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.projection_deferred', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.projection_rebuild', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.sink', '');

-- ---------------------------------------------------------------- message bus
SELECT pg_catalog.pg_extension_config_dump('message_bus.position_seq', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.epoch_seq', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.endpoint_endpoint_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.endpoint', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.route', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_0', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_1', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_2', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_3', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_4', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_5', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_6', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_7', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ack_0', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ack_1', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.lane', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.aside', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.dead', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.passed', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.lease', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.death', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.breaker', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.link', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.link_link_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.link_lane', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.bridge', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.bridge_bridge_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.inbox_turn', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.inbox_0', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.inbox_1', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.inbox_2', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.inbox_3', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.inbox_4', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.inbox_5', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.inbox_6', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.inbox_7', '');

-- ---------------------------------------------------------------- saga engine
SELECT pg_catalog.pg_extension_config_dump('saga.definition', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_state', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_transition', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_transition_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_action', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_timer', '');
SELECT pg_catalog.pg_extension_config_dump('saga.instance_number_seq', '');
SELECT pg_catalog.pg_extension_config_dump('saga.stored_instance', '');
SELECT pg_catalog.pg_extension_config_dump('saga.history_entry', '');
SELECT pg_catalog.pg_extension_config_dump('saga.deleted_instance', '');
SELECT pg_catalog.pg_extension_config_dump('saga.timer_queue', '');
SELECT pg_catalog.pg_extension_config_dump('saga.attention', '');
SELECT pg_catalog.pg_extension_config_dump('saga.patience', '');
SELECT pg_catalog.pg_extension_config_dump('saga.parked_message', '');
SELECT pg_catalog.pg_extension_config_dump('saga.parked_message_id_seq', '');

-- ---------------------------------------------------------------- restore
-- Again at every upgrade.
DO $restore$
DECLARE
	dumped pg_catalog.regclass;
BEGIN
	FOR dumped IN
		SELECT c.oid FROM pg_catalog.pg_extension x
		CROSS JOIN LATERAL pg_catalog.unnest(x.extconfig) AS t (oid)
		JOIN pg_catalog.pg_class c ON c.oid = t.oid
		WHERE x.extname = 'ecommerce' AND c.relkind = 'r'
	LOOP
		-- an upgrade locks no table that has it
		CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger g
			WHERE g.tgrelid = dumped AND g.tgname = 'note_restore');
		EXECUTE pg_catalog.format('CREATE TRIGGER note_restore BEFORE INSERT ON %s'
			' FOR EACH STATEMENT EXECUTE FUNCTION ecommerce._note_restore()', dumped);
		-- A restore may say session_replication_role = replica.
		EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE ALWAYS TRIGGER note_restore', dumped);
	END LOOP;
END
$restore$;
