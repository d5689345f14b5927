-- Privileges on the saga engine.

GRANT SELECT ON
	saga.definition,
	saga.definition_state,
	saga.definition_transition,
	saga.definition_action,
	saga.definition_timer,
	saga.stored_instance,
	saga.history_entry,
	saga.deleted_instance,
	saga.timer_queue,
	saga.parked_message,
	saga.instance,
	saga.definitions,
	saga.timers,
	saga.parked,
	saga.instances,
	saga.stuck,
	saga._dead_letters
	TO ecommerce_reader;
GRANT SELECT ON SEQUENCE
	saga.instance_number_seq,
	saga.definition_transition_id_seq,
	saga.parked_message_id_seq
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	saga.get(text, uuid),
	saga._time(jsonb),
	saga.history(text, uuid),
	saga.verify(text),
	saga.verify(),
	saga._orphans(),
	saga._counter_problems(),
	saga.diagram(text, text),
	ecommerce.uuid_v5(uuid, text),
	ecommerce.saga_namespace(),
	ecommerce.order_saga_definition(),
	ecommerce.order_saga_scenario()
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	saga.create(text, uuid, jsonb, text),
	saga.update(text, uuid, int, text, jsonb),
	saga.delete(text, uuid)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION
	saga.define(text, jsonb),
	saga.drop(text, boolean),
	saga.simulate(text, jsonb, int, bigint),
	saga.run(int),
	saga.fire_due(timestamptz),
	saga.migrate(text, uuid, int, jsonb, jsonb),
	saga.retry(text, uuid),
	saga.goto(text, uuid, text, text, jsonb),
	saga.cancel(text, uuid, text),
	saga.forget(text, uuid),
	ecommerce.install_order_saga()
	TO ecommerce_admin;
