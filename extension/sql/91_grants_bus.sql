-- Privileges on the message bus, with its links and bridges.

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
	message_bus._lane_problems()
	TO ecommerce_admin;
-- What verify() compares with what was counted.
GRANT SELECT ON SEQUENCE message_bus.position_seq, message_bus.epoch_seq,
	message_bus.endpoint_endpoint_id_seq, message_bus.link_link_id_seq,
	message_bus.bridge_bridge_id_seq TO ecommerce_admin;

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
