-- Every privilege, in one place. PUBLIC has none.

-- Again at every upgrade.
DO $revoke$
DECLARE
	ours CONSTANT pg_catalog.oid := (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'ecommerce');
	routine pg_catalog.regprocedure;
	type pg_catalog.regtype;
BEGIN
	FOR routine IN
		SELECT d.objid FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid = ours
			AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', routine);
	END LOOP;
	-- Whoever may read may also build tables and functions on our types.
	FOR type IN
		SELECT t.oid FROM pg_catalog.pg_type t
		LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
		JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
			AND d.objid = t.oid AND d.refobjid = ours
			AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
		WHERE t.typtype IN ('d', 'e') OR t.typtype = 'c' AND c.relkind = 'c'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON TYPE %s FROM PUBLIC', type);
		EXECUTE pg_catalog.format(
			'GRANT USAGE ON TYPE %s TO ecommerce_reader, ecommerce_worker', type);
	END LOOP;
END
$revoke$;

GRANT USAGE ON SCHEMA
	ecommerce,
	event_store,
	message_bus,
	saga
	TO ecommerce_reader, ecommerce_worker;

-- ---------------------------------------------------------------- shared
GRANT EXECUTE ON FUNCTION
	ecommerce.set_context(uuid, uuid, text, text, jsonb, text, uuid),
	ecommerce.context(),
	ecommerce.preloaded(),
	ecommerce._units(),
	ecommerce._sessions()
	TO ecommerce_reader, ecommerce_worker;
GRANT EXECUTE ON FUNCTION ecommerce.position_mark(text) TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION ecommerce.facade(text[]) TO ecommerce_admin;
GRANT EXECUTE ON FUNCTION ecommerce.new_id(), ecommerce.cell_of(uuid), ecommerce._cell_of_stream(text)
	TO ecommerce_reader, ecommerce_worker, ecommerce_monitor;
GRANT EXECUTE ON FUNCTION ecommerce.next_position(text) TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION ecommerce.start_worker(), ecommerce.restore_done(int) TO ecommerce_admin;
GRANT SELECT ON ecommerce.restores TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION ecommerce._restoring_sessions() TO ecommerce_reader;
GRANT SELECT ON ecommerce.units TO ecommerce_reader;

-- ---------------------------------------------------------------- event store
GRANT SELECT ON
	event_store.stored_event,
	event_store.stream,
	event_store.retention,
	event_store.truncated_stream,
	event_store.deletion,
	event_store.subscription,
	event_store.subscription_partition,
	event_store.appenders,
	event_store.streams,
	event_store.subscriptions
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	event_store.read_stream(text, bigint, bigint, boolean),
	event_store.read_all(bigint, bigint, text, text[], boolean),
	event_store.read_between(timestamptz, timestamptz, text, bigint),
	event_store.read_correlation(uuid),
	event_store.get_event(uuid),
	event_store.stream_version(text),
	event_store.high_water_mark(text),
	event_store.channel(text),
	event_store.correlation_of(jsonb),
	event_store._position_holders(),
	event_store.position_counter(),
	event_store.published_mark(),
	event_store._subscription_lag(text),
	event_store.read_stored(bigint, bigint, text, text[], boolean),
	-- a consumer's own bookkeeping, no event is written
	event_store.fetch(text, int),
	event_store.advance(text, bigint)
	TO ecommerce_reader;
GRANT SELECT ON event_store.parked_event, event_store.parked_events TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION event_store.park(text, bigint, text, int), event_store.attempt(text, bigint), event_store.position_at(timestamptz, text)
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION event_store.replay_parked(text, bigint),
	event_store.alter_subscription(text, text, text[], int, int) TO ecommerce_admin;
GRANT EXECUTE ON FUNCTION event_store.replaying() TO ecommerce_reader, ecommerce_worker;
GRANT EXECUTE ON PROCEDURE event_store.wait_subscription(text, interval, boolean),
	event_store.wait_projection(text, bigint, interval, boolean),
	ecommerce.wait(text[], text[], interval, text[])
	TO ecommerce_reader;
GRANT EXECUTE ON PROCEDURE event_store.wait(bigint, interval, text, text, bigint)
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	event_store.append(text, bigint, text, jsonb, jsonb, uuid, int),
	event_store.append_batch(text, bigint, event_store.new_event[]),
	event_store.append_json(text, bigint, jsonb),
	event_store.check_version(text, bigint),
	event_store.create_subscription(text, text, text[], bigint, int, text, int, text)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION
	event_store.delete_stream(text, bigint),
	event_store.tombstone_stream(text, bigint),
	event_store.set_retention(text, bigint, interval, bigint),
	event_store.scavenge(),
	event_store.drop_subscription(text),
	event_store.reset_subscription(text, bigint),
	event_store.verify(boolean),
	event_store._verify_upcasting()
	TO ecommerce_admin;
GRANT EXECUTE ON PROCEDURE event_store.scavenge(bigint, bigint) TO ecommerce_admin;
-- ---------------------------------------------------------------- domain models
GRANT SELECT ON
	event_store.event_type,
	event_store.upcaster,
	event_store.aggregate,
	event_store.event_handler,
	event_store.snapshot,
	event_store.projection,
	event_store.projection_progress,
	event_store.projection_remote,
	event_store.projection_deferred,
	event_store.projections,
	event_store.projection_rebuild,
	event_store.rebuilds
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	event_store.asyncapi(),
	event_store._json_schema(oid, int, boolean),
	event_store._scalar_schema(oid, int),
	event_store._composite_schema(oid),
	event_store._is_required(oid),
	event_store._component_key(text),
	event_store._schema_key(oid),
	event_store.check_data(text, jsonb, int),
	event_store._projection_lag(text),
	event_store.load(text, bigint, timestamptz, boolean, timestamptz),
	event_store.recorded_at(bigint),
	ecommerce.apply_order_created(jsonb, event_store.event),
	ecommerce.apply_order_confirmed(jsonb, event_store.event),
	ecommerce.apply_order_cancelled(jsonb, event_store.event),
	ecommerce.apply_order_completed(jsonb, event_store.event),
	ecommerce.check_order(ecommerce.order_created),
	ecommerce.currencies(),
	ecommerce.currency()
	TO ecommerce_reader;
-- Contracts are checked with the rights of who sends.
GRANT EXECUTE ON FUNCTION
	ecommerce.minor_units(text),
	ecommerce.holds_card_number(text),
	ecommerce.is_payment_type(text)
	TO ecommerce_reader, ecommerce_worker;
GRANT EXECUTE ON FUNCTION
	event_store.save(text, bigint, event_store.new_event[]),
	event_store.save_json(text, bigint, jsonb),
	ecommerce._save_order(uuid, text, text[], text, jsonb, bigint),
	ecommerce.create_order(uuid, uuid, jsonb, jsonb, jsonb, numeric),
	ecommerce.confirm_order(uuid, text, bigint),
	ecommerce.cancel_order(uuid, text, text, bigint),
	ecommerce.complete_order(uuid, bigint)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION
	event_store.register_event_type(text, regtype, int, boolean),
	event_store.set_current_version(text, int),
	event_store.unregister_event_type(text, int),
	event_store.register_upcaster(text, int, regprocedure),
	event_store.create_aggregate(text, jsonb, int, boolean),
	event_store.drop_aggregate(text),
	event_store.create_event_handler(text, text, regprocedure, boolean),
	event_store.drop_event_handler(text, text),
	event_store.create_projection(text, regprocedure, text, text[], text, regclass[], text, text),
	event_store.drop_projection(text),
	event_store.pause_projection(text),
	event_store.resume_projection(text),
	event_store.skip_event(text, bigint),
	event_store.rebuild_projection(text, text, text),
	event_store.cancel_rebuild(text),
	event_store.run_projections(int),
	ecommerce.register_contracts(),
	ecommerce.install_order_aggregate()
	TO ecommerce_admin;

GRANT SELECT ON event_store._beside_key, event_store._beside_table TO ecommerce_admin;
GRANT SELECT ON SEQUENCE
	ecommerce.position_seq,
	event_store.position_seq,
	event_store.stream_id_seq,
	event_store.published_mark_seq
	TO ecommerce_reader;
GRANT UPDATE ON SEQUENCE ecommerce.position_seq, event_store.position_seq,
	event_store.stream_id_seq TO ecommerce_admin;
-- The worker publishes the mark for standbys.
GRANT UPDATE ON SEQUENCE event_store.published_mark_seq TO ecommerce_worker;

-- ---------------------------------------------------------------- message bus
REVOKE ALL ON TYPE message_bus.message, message_bus.delivery FROM PUBLIC;
GRANT USAGE ON TYPE message_bus.message, message_bus.delivery TO ecommerce_reader, ecommerce_worker;
GRANT SELECT ON
	message_bus.endpoint,
	message_bus.route,
	message_bus.aside,
	message_bus.dead,
	message_bus.lease,
	message_bus.passed,
	message_bus.death,
	message_bus.breaker,
	message_bus.lane,
	message_bus.ack_0,
	message_bus.ack_1,
	message_bus.ring_0,
	message_bus.ring_1,
	message_bus.ring_2,
	message_bus.ring_3,
	message_bus.ring_4,
	message_bus.ring_5,
	message_bus.ring_6,
	message_bus.ring_7,
	message_bus._ring,
	message_bus._cursor,
	message_bus._unsettled,
	message_bus.ring,
	message_bus.endpoints,
	message_bus.circuit_breakers,
	message_bus.dead_letters
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	message_bus.endpoint_name(text, text, text, boolean),
	message_bus._endpoint_status(),
	message_bus._lane_status(),
	message_bus._ring_status(),
	message_bus._standby_status(),
	message_bus._breaker_status()
	TO ecommerce_reader, ecommerce_worker;
GRANT EXECUTE ON PROCEDURE message_bus.wait(text, interval, boolean)
	TO ecommerce_writer, ecommerce_worker;
GRANT EXECUTE ON FUNCTION
	message_bus.send(text, text, jsonb, uuid, text, timestamptz, timestamptz, jsonb, int),
	message_bus.publish(text, jsonb, uuid, text, timestamptz, timestamptz, jsonb, int),
	message_bus.cancel_scheduled(uuid),
	message_bus.receive(text, int, interval),
	message_bus.ack(bigint[]),
	message_bus.fail(bigint, text, text, boolean),
	message_bus.snooze(bigint, interval, text),
	message_bus.skip(bigint, text),
	message_bus.handle(bigint),
	message_bus.extend_lease(bigint[], interval)
	TO ecommerce_writer, ecommerce_worker;
GRANT EXECUTE ON FUNCTION
	message_bus.create_endpoint(text, int, jsonb, anycompatible, interval, text, text),
	message_bus.alter_endpoint(text, jsonb, anycompatible, interval, int),
	message_bus.drop_endpoint(text, boolean),
	message_bus.pause(text),
	message_bus.resume(text),
	message_bus.subscribe(text, text),
	message_bus.unsubscribe(text, text),
	message_bus.reset_breaker(text, text),
	message_bus.redrive(uuid, jsonb, text),
	message_bus.redrive_endpoint(text, text, int),
	message_bus.discard(uuid, text),
	message_bus.maintain(),
	message_bus.verify(),
	message_bus._orphans(),
	message_bus._counter_problems(),
	message_bus._lane_problems(),
	event_store._orphans(),
	ecommerce._position_problems(),
	ecommerce._restore_problems()
	TO ecommerce_admin;
-- What verify() compares with what was counted.
GRANT SELECT ON SEQUENCE message_bus.position_seq, message_bus.epoch_seq,
	message_bus.endpoint_endpoint_id_seq, message_bus.link_link_id_seq,
	message_bus.bridge_bridge_id_seq TO ecommerce_admin;

-- remote projections
GRANT EXECUTE ON FUNCTION event_store.read_durable(bigint, int, text, text[], text)
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	event_store.apply_remote(text, bigint, event_store.event[], bigint, text, bigint),
	event_store.lose_remote(text, bigint, text, text)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION event_store.reset_remote(text, bigint) TO ecommerce_admin;

-- sinks
GRANT SELECT ON event_store.sink, event_store.sinks TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION event_store._find_sink(text), event_store._to_cloudevent(event_store.event, jsonb)
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	event_store._lock_sink(text), event_store.claim_sink(text),
	event_store.read_sink(text, bigint, int, text),
	event_store.note_sink(text, bigint, bigint, boolean, text)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION
	event_store.create_sink(text, text, jsonb, text, text[], bigint),
	event_store._sink_options(text, text, jsonb),
	event_store.pause_sink(text),
	event_store.resume_sink(text),
	event_store.drop_sink(text),
	event_store.reset_sink(text, bigint)
	TO ecommerce_admin;

-- links between databases
GRANT SELECT ON message_bus.link, message_bus.link_lane, message_bus.links, message_bus.link_lanes,
	message_bus.forwards
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION message_bus.forward_lanes(text), message_bus.link_position(text, int)
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	message_bus.forwarded(text, int, bigint, int, text),
	message_bus.confirm_forwarded(text, int, bigint, text),
	message_bus.accept(text, int, bigint, bigint, message_bus.message[], text),
	message_bus.lose_link(text, int, bigint, text, text),
	message_bus.hear_link(text)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION
	message_bus.create_link(text, text, text, text),
	message_bus.pause_link(text),
	message_bus.resume_link(text),
	message_bus.drop_link(text, boolean),
	message_bus.reset_link(text, int, bigint)
	TO ecommerce_admin;

-- bridges to brokers
GRANT SELECT ON message_bus.bridge, message_bus.bridges, message_bus.inbox, message_bus.inbox_turn,
	message_bus.inbox_0, message_bus.inbox_1, message_bus.inbox_2, message_bus.inbox_3,
	message_bus.inbox_4, message_bus.inbox_5, message_bus.inbox_6, message_bus.inbox_7
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	message_bus.recase(jsonb, text),
	message_bus.to_envelope(text, message_bus.message, jsonb),
	message_bus.from_envelope(text, jsonb, jsonb),
	message_bus._foreign_id(text, text),
	message_bus._their_type(text, jsonb, text),
	message_bus._own_type(text, jsonb, text),
	message_bus._address_name(text),
	message_bus._give_headers(message_bus.message),
	message_bus._take_headers(message_bus.message, jsonb),
	message_bus._expiration(message_bus.message),
	message_bus._expires_at(jsonb),
	message_bus._utc(timestamptz),
	message_bus._refuse_envelope(text, text),
	message_bus._body(jsonb),
	message_bus._to_masstransit(message_bus.message, jsonb),
	message_bus._to_masstransit_fault(jsonb, text, jsonb),
	message_bus._from_masstransit_fault(jsonb, text, jsonb),
	message_bus._from_masstransit(jsonb, jsonb),
	message_bus._to_nservicebus(message_bus.message, jsonb),
	message_bus._from_nservicebus(jsonb, jsonb),
	message_bus._to_cloudevents(message_bus.message, jsonb),
	message_bus._from_cloudevents(jsonb, jsonb),
	message_bus._to_raw(message_bus.message, jsonb),
	message_bus._from_raw(jsonb, jsonb),
	message_bus._answered(int, message_bus.message),
	message_bus._content_id(jsonb),
	message_bus.bridge_topology(text)
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	message_bus.accept_foreign(text, jsonb[]),
	message_bus.refuse_forwarded(text, int, bigint, text, text),
	message_bus.claim_bridge(text),
	message_bus.hear_bridge(text, boolean),
	message_bus.read_bridge(text, int)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION
	message_bus.create_bridge(text, text, jsonb),
	message_bus.alter_bridge(text, jsonb),
	message_bus.pause_bridge(text),
	message_bus.resume_bridge(text),
	message_bus.drop_bridge(text, boolean)
	TO ecommerce_admin;

-- ---------------------------------------------------------------- saga engine
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

-- ---------------------------------------------------------------- looking
-- Lists show what events, messages and instances hold to who may read them; the rest to all.
GRANT SELECT ON event_store._seen_event, event_store._seen_deletion, event_store._seen_stream,
	event_store._category_share,
	event_store._seen_type, event_store._seen_handler,
	message_bus._seen_endpoint, message_bus._seen_ring, message_bus._seen_aside,
	message_bus._seen_dead, message_bus._seen_lease, message_bus._seen_passed,
	message_bus._lane_holders, message_bus._cursor,
	message_bus.consumers, message_bus._ring,
	saga._seen_instance, saga._seen_history, saga._seen_number, saga._seen_definition,
	saga._seen_state, saga._stuck, saga._sampled_instance, saga.attention, saga.patience,
	event_store._seen_subscription, event_store._listed_subscription,
	event_store._subscription_checkpoint, event_store._seen_projection,
	event_store._seen_sink,
	event_store._seen_rebuild, event_store._seen_parked,
	message_bus._open_dead, message_bus._ring_tail,
	message_bus._seen_link, message_bus._seen_bridge, message_bus._seen_forward,
	message_bus._state, message_bus._waits_aside, message_bus._is_dead, message_bus._is_open_dead,
	ecommerce._carriers, ecommerce.problems, ecommerce.all_problems
	TO ecommerce_reader, ecommerce_monitor;
GRANT SELECT ON ecommerce.units TO ecommerce_monitor;
GRANT SELECT ON saga._attended, saga._recent_dead_letters TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	ecommerce._reads(),
	ecommerce._page(int),
	ecommerce._counted(bigint, boolean, text, text),
	ecommerce._session_name(int),
	event_store._name_key(text),
	event_store._category_key(text),
	event_store.correlation_of(jsonb),
	event_store.newest(text, text[], text, int),
	event_store._look_back(int, bigint, int),
	event_store._safe_mark(text),
	event_store._stream_row(text),
	event_store._stream_flags(bigint, bigint, text),
	event_store._has_name_index(),
	event_store.list_streams(text, text, text, int),
	event_store.categories(text, int),
	event_store.event_types(text, int),
	event_store._position_at(timestamptz, bigint, timestamptz, bigint, timestamptz, bigint),
	event_store.rates(timestamptz, interval),
	message_bus._endpoint_totals(),
	message_bus._count_aside(int),
	message_bus._count_all_dead(int),
	message_bus._count_open_dead(int, int),
	message_bus._has_open_dead(),
	message_bus._failing(),
	event_store._oldest_unread(text, int),
	event_store._behind(),
	event_store._reader_problems(),
	ecommerce._disk_space(oid),
	ecommerce._disks(),
	ecommerce._locked_away(),
	ecommerce._table_problems(),
	ecommerce._session_problems(),
	ecommerce._server_problems(),
	message_bus._lane_status(),
	message_bus._lane_of(int, text),
	message_bus._endpoint_id(text),
	message_bus._segment_size(int),
	message_bus._cursors(int),
	message_bus._waiting(int, bigint, int),
	message_bus._set_aside(int, text, int),
	message_bus._check_state(text, text[]),
	message_bus._check_filter(jsonb, text[]),
	message_bus._dead_where(jsonb),
	message_bus._dead_page(jsonb, text, int, boolean, int),
	message_bus._count_dead(text),
	message_bus.peek(text, text, text, int),
	message_bus.list_dead(jsonb, text, int),
	message_bus.count_dead(jsonb),
	message_bus.dead_groups(text, text, int),
	message_bus._newest_sent(int),
	message_bus.flow(int),
	saga._sample_percent(),
	saga.overview(),
	saga.list(text, text, text, int),
	event_store._subscription_lag(text, int),
	event_store._projection_lag(text, int),
	event_store.position_counter(),
	ecommerce._units(),
	ecommerce._workers(),
	ecommerce._store_problems(),
	ecommerce._bus_problems(),
	ecommerce._carrying_problems(),
	ecommerce._saga_problems(),
	ecommerce._severities(jsonb),
	ecommerce._worst_subscription(jsonb),
	ecommerce._asked(jsonb),
	ecommerce._stuck(jsonb),
	ecommerce.overview(jsonb),
	ecommerce._is_uuid(text),
	ecommerce._related(uuid),
	ecommerce._story_messages(uuid[], uuid[]),
	ecommerce._story_entries(uuid[]),
	ecommerce.story(uuid, int),
	ecommerce.story_of(uuid[], int),
	ecommerce._find_id(uuid),
	ecommerce._find_name(text),
	ecommerce._find_trace(text),
	ecommerce.find(text),
	ecommerce._counter_metrics(),
	ecommerce._server_metrics(jsonb),
	ecommerce._all_metrics(jsonb),
	ecommerce._gauge_metrics(jsonb),
	ecommerce._carrying_metrics(),
	ecommerce.metrics(jsonb)
	TO ecommerce_reader, ecommerce_monitor;
GRANT EXECUTE ON FUNCTION
	message_bus._redrive(uuid, int, timestamptz),
	message_bus.redrive_matching(jsonb, int, text, int),
	message_bus.discard_matching(jsonb, text, int),
	message_bus._take_from_ring(int, int, bigint[], text),
	message_bus._take_aside(int, uuid, text),
	message_bus._make_due(int, uuid, int),
	message_bus.retry_now(text, uuid, int),
	message_bus.cancel(uuid, text, text),
	message_bus.purge(text, jsonb, text, int),
	saga.set_patience(text, text, interval),
	saga.look_for_stuck()
	TO ecommerce_admin;

-- ---------------------------------------------------------------- monitoring
-- How much and how far behind, in all schemas; nothing that an event, a message or an
-- instance holds.
GRANT USAGE ON SCHEMA ecommerce, event_store, message_bus, saga TO ecommerce_monitor;
GRANT SELECT ON
	ecommerce.restores,
	event_store.appenders,
	event_store.subscriptions,
	event_store.projections,
	event_store.rebuilds,
	message_bus.endpoint,
	message_bus.endpoints,
	message_bus.route,
	message_bus.circuit_breakers,
	message_bus.ring,
	message_bus._unsettled,
	message_bus.links,
	message_bus.link_lanes,
	message_bus.forwards,
	message_bus.bridges,
	saga.definitions,
	saga.timers,
	saga.parked,
	saga.stuck
	TO ecommerce_monitor;
-- What these views call, they call with the rights of who asks.
GRANT EXECUTE ON FUNCTION
	ecommerce.preloaded(),
	ecommerce._restoring_sessions(),
	ecommerce._sessions(),
	saga.diagram(text, text),
	event_store._position_holders(),
	event_store._subscription_lag(text),
	event_store._projection_lag(text),
	event_store.high_water_mark(text),
	message_bus._endpoint_status(),
	message_bus._standby_status(),
	message_bus._breaker_status(),
	message_bus._ring_status(),
	saga._time(jsonb)
	TO ecommerce_monitor;
