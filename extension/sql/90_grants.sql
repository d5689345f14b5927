-- Every privilege, here and in 91 and 92; PUBLIC has none. Here: what all share, and the event store.

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
	event_store._verify_upcasting(),
	event_store._orphans(),
	ecommerce._position_problems(),
	ecommerce._restore_problems()
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

-- ---------------------------------------------------------------- carried elsewhere
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
