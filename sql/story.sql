-- The story of a process, what an id is, what is wrong, how much there is.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid $$;
SELECT message_bus.create_endpoint('flights', 1, '{"kind": "none"}'), message_bus.create_endpoint('hotels', 1, '{"kind": "none"}');
SELECT saga.define('trip', '{"endpoint": "trip", "initial": "Booking",
	"events": {"Asked": {"correlate": "$.message.trip"}, "FlightBooked": {"correlate": "$.message.trip"},
		"HotelBooked": {"correlate": "$.message.trip"}},
	"start": {"Asked": {"goto": "Booking", "set": {"trip": "$.message.trip"},
		"append": {"stream": "trip-${$.message.trip}", "type": "TripAsked", "data": {"secret": 1}},
		"send": [{"endpoint": "flights", "type": "BookFlight", "body": {"secret": 2}, "compensation": "none"},
			{"endpoint": "hotels", "type": "BookHotel", "body": {"secret": 3}, "compensation": "none"}],
		"schedule": {"timer": "late", "delay": "10 days"}}},
	"states": {"Booking": {"default": "ignore", "on": {"FlightBooked": {"set": {"flight": "yes"}},
			"HotelBooked": {"goto": "Done"}, "timer:late": {"alarm": "nobody answers"}}},
		"Done": {"kind": "final", "default": "ignore"}}}');

-- Trip 1 is asked for under correlation 7; the flight is booked, the hotel fails.
SELECT ecommerce.set_context(id(7)), message_bus.publish('Asked', jsonb_build_object('trip', id(1)), id(70));
SELECT saga.run();
BEGIN;
SELECT message_bus.ack(delivery_id) FROM message_bus.receive('flights', 1);
SELECT message_bus.publish('FlightBooked', jsonb_build_object('trip', id(1)), id(71)) IS NOT NULL;
COMMIT;
SELECT message_bus.fail(delivery_id, 'full', 'no room', false) FROM message_bus.receive('hotels', 1);
SELECT kind, lane, name, state, caused_by IS NOT NULL AS caused, hangs, what_to_type IS NOT NULL AS help, data IS NOT NULL AS data
FROM ecommerce.story(id(7));
-- The same from the other end, and the last of it alone.
SELECT (SELECT array_agg(s.id ORDER BY s.id) FROM ecommerce.story(id(7)) s) = (SELECT array_agg(s.id ORDER BY s.id) FROM ecommerce.story(id(1)) s);
SELECT count(*), min(kind) FROM ecommerce.story(id(7), 1);
SELECT kind, name, state, what_to_type = format('SELECT message_bus.redrive(%L, NULL, ''hotels'')', s.id), summary ->> 'error'
FROM ecommerce.story(id(1)) s WHERE hangs;
SELECT count(*) FROM ecommerce.story(id(99));
-- Of several ids, and of two processes.
SELECT count(*) = (SELECT count(*) FROM ecommerce.story(id(7))) FROM ecommerce.story_of(ARRAY[id(7), id(1), id(99)]);
SELECT count(*) FROM ecommerce.story_of(ARRAY[id(98), id(99)]);
SELECT count(*) FROM ecommerce.story_of('{}');
-- Elsewhere the saga is not known: the key of the lane and the correlation are two ids.
SELECT message_bus.create_endpoint('foreign'), ecommerce.set_context(id(60)), message_bus.send('foreign', 'Book', '{}', partition_key => id(61)::text) IS NOT NULL;
SELECT (SELECT count(*) FROM ecommerce.story(id(60))), (SELECT count(*) FROM ecommerce.story(id(61))), (SELECT count(*) FROM ecommerce.story_of(ARRAY[id(60), id(61)]));
SELECT message_bus.drop_endpoint('foreign', true);
SELECT fails($$SELECT ecommerce.story(id(1), 0)$$);

-- ---------------------------------------------------------------- find
SELECT f.kind, f.correlation_id = id(7) AS of_seven, replace(f.label, id(1)::text, 'one') FROM ecommerce.find(id(7)::text) f;
SELECT kind, id, correlation_id = id(1) AS of_one FROM ecommerce.find(id(1)::text);
SELECT DISTINCT kind FROM ecommerce.find(replace(id(71)::text, '-', ''));
SELECT kind, correlation_id = id(7) FROM ecommerce.find((SELECT id FROM ecommerce.story(id(7)) WHERE kind = 'event'));
SELECT kind, label FROM ecommerce.find((SELECT id FROM ecommerce.story(id(7)) WHERE kind = 'dead_letter'));
SELECT kind, id = 'trip-' || id(1), correlation_id = id(7) FROM ecommerce.find('trip-' || id(1));
SELECT kind, id FROM ecommerce.find('tri') ORDER BY 1;
SELECT kind, id FROM ecommerce.find('  flights ');
SELECT kind, id FROM ecommerce.find('TripA');
SELECT kind, id FROM ecommerce.find('1');
SELECT count(*) FROM ecommerce.find('0');
SELECT count(*) FROM ecommerce.find('nothing');
SELECT count(*) FROM ecommerce.find('');
SELECT ecommerce.set_context(id(8), traceparent => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'),
	event_store.append('walk-1', 0, 'Walked', '{}');
SELECT kind, id, correlation_id = id(8) FROM ecommerce.find('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
SELECT kind, id FROM ecommerce.find('0AF7651916CD43DD8448EB211C80319C');

-- ---------------------------------------------------------------- what is wrong
SELECT kind, object, severity, since IS NOT NULL, holds_up, what_to_type, detail FROM ecommerce.problems
WHERE kind = 'dead_letters';
SELECT message_bus.discard((SELECT message_id FROM message_bus.list_dead()));
SELECT count(*) FROM ecommerce.problems WHERE kind = 'dead_letters';
UPDATE saga.stored_instance SET state_since = state_since - interval '3 hours';
SELECT count(*) FROM saga.stuck;
SELECT saga.set_patience('trip', 'Booking', '2 hours');
SELECT saga, correlation_id = id(1), current_state, reason, since < now(), error, what_to_type FROM saga.stuck;
SELECT kind, object, holds_up, what_to_type, detail - 'correlation_id' FROM ecommerce.problems WHERE kind = 'saga_stuck';
SELECT kind, name, hangs FROM ecommerce.story(id(7)) WHERE hangs;
SELECT saga.set_patience('trip', '*', '1 hour'), saga.set_patience('trip', 'Booking', '4 hours');
SELECT count(*) FROM saga.stuck;
SELECT saga.set_patience('trip', 'Booking', NULL);
SELECT reason, error FROM saga.stuck;
SELECT saga.set_patience('trip', '*', NULL);
SELECT count(*) FROM saga.stuck;
SELECT fails($$SELECT saga.set_patience('trip', 'Done', '1 hour')$$);
SELECT fails($$SELECT saga.set_patience('none', '*', '1 hour')$$);
SELECT fails($$SELECT saga.set_patience('trip', '*', '-1 hour')$$);
SELECT fails($$SELECT saga.set_patience('trip', NULL, '1 hour')$$);
-- An alarm is noted in the transition that raises it, and taken out by the next.
SELECT saga.fire_due(now() + interval '11 days');
SELECT count(*) FROM saga.attention;
SELECT reason, error FROM saga.stuck;
SELECT saga.goto('trip', id(1), 'Done', 'enough');
SELECT count(*) FROM saga.stuck;
SELECT pg_catalog.sum(instances) FROM saga.overview() WHERE state = 'Done';
-- Paused, held up, failed: each has its row while it lasts.
SELECT message_bus.pause('flights'), message_bus.send('flights', 'BookFlight', '{}') IS NOT NULL;
SELECT kind, object, severity, holds_up, what_to_type, detail FROM ecommerce.problems WHERE kind ~ '^endpoint';
SELECT message_bus.alter_endpoint('flights', max_depth => 1), message_bus.resume('flights');
SELECT kind, object, holds_up, what_to_type FROM ecommerce.problems WHERE kind ~ '^endpoint';
SELECT message_bus.alter_endpoint('flights', max_depth => -1);
SELECT message_bus.create_endpoint('lonely'), message_bus.send('lonely', 'Hello', '{}') IS NOT NULL;
UPDATE message_bus.ring_0 SET sent_at = sent_at - interval '1 hour';
SELECT kind, object, severity, holds_up, what_to_type FROM ecommerce.problems WHERE kind = 'no_consumer' AND object ~ 'lonely';
CREATE FUNCTION fail(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
SELECT event_store.create_projection('broken', 'fail(event_store.event)'),
	event_store.create_projection('idle', 'fail(event_store.event)');
SELECT event_store.pause_projection('idle');
-- The runner may be at it.
CREATE PROCEDURE until_failing() LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM ecommerce.problems WHERE kind IN ('projection_retrying', 'projection_failed')) LOOP
		PERFORM event_store.run_projections(), pg_sleep(0.02);
		COMMIT;
	END LOOP;
END $$;
CALL until_failing();
SELECT object, kind = 'projection_paused' AS paused, what_to_type FROM ecommerce.problems WHERE kind IN ('projection_retrying', 'projection_paused', 'projection_failed')
ORDER BY object;
SELECT event_store.drop_projection('broken'), event_store.drop_projection('idle');
SELECT event_store.create_subscription('old'), event_store.append_json('past-1', 0, '[{"event_type": "Past", "data": {},
	"occurred_at": "2000-01-01T00:00:00Z"}]') IS NOT NULL;
SELECT event_store.reset_subscription('old', (SELECT max(position) - 1 FROM event_store.stored_event));
SELECT kind, object, severity, since AT TIME ZONE 'UTC' FROM ecommerce.problems WHERE kind = 'subscription_behind';
SELECT event_store.drop_subscription('old');

-- ---------------------------------------------------------------- how much
SELECT database = current_database(), version IS NOT NULL, in_recovery, endpoints, mark <= "position", stuck, stuck_capped,
	dead, dead_capped, breakers_open, problems_error > 0, database_bytes > 0 FROM ecommerce.overview();
SELECT name, kind, help IS NULL, count(*) FROM ecommerce.metrics() WHERE name !~ '_disk_' GROUP BY 1, 2, 3 ORDER BY 1;
SELECT name, kind, help IS NULL, bool_and(value > 0 AND labels ->> 'holds' <> '') FROM ecommerce.metrics() WHERE name ~ '_disk_' GROUP BY 1, 2, 3 ORDER BY 1;
SELECT count(*) FROM ecommerce.metrics() WHERE name !~ '^ecommerce_[a-z_]+$' OR (name ~ '_total$') <> (kind = 'counter')
	OR value IS NULL OR jsonb_typeof(labels) <> 'object';
SELECT value FROM ecommerce.metrics() WHERE name = 'ecommerce_endpoint_depth' AND labels ->> 'endpoint' = 'flights';
SELECT value FROM ecommerce.metrics() WHERE name = 'ecommerce_messages_acked_total' AND labels ->> 'endpoint' = 'flights';
SELECT value FROM ecommerce.metrics() WHERE name = 'ecommerce_saga_instances' AND labels ->> 'state' = 'Done';

-- ---------------------------------------------------------------- who may what
CREATE ROLE regress_story_monitor IN ROLE ecommerce_monitor;
SET ROLE regress_story_monitor;
SELECT count(*) > 5, count(data) FROM ecommerce.story(id(7));
SELECT count(*) FROM ecommerce.find(id(1)::text);
SELECT count(*) FROM ecommerce.find('trip');
SELECT count(*) > 0 FROM ecommerce.problems;
SELECT endpoints FROM ecommerce.overview();
SELECT count(*) > 20 FROM ecommerce.metrics();
SELECT saga, current_state, data FROM saga.list();
SELECT count(*) FROM saga.overview();
SELECT count(*) FROM saga.stuck;
SELECT fails($$SELECT saga.set_patience('trip', '*', '1 hour')$$);
SELECT fails($$SELECT saga.look_for_stuck()$$);
SELECT fails($$SELECT data FROM saga.stored_instance$$);
BEGIN READ ONLY;
SELECT count(*) > 0 FROM ecommerce.problems;
SELECT count(*) > 0 FROM ecommerce.story(id(1));
SELECT count(*) > 0 FROM ecommerce.metrics();
ROLLBACK;
RESET ROLE;
DROP ROLE regress_story_monitor;
-- Lists of instances: pages, states, and what they hold for a reader.
SELECT count(saga.create('trip', id(n), jsonb_build_object('trip', n))) FROM generate_series(101, 120) n;
SELECT saga, correlation_id = id(1), current_state, next_timer, data IS NOT NULL FROM saga.list('trip', max => 1);
SELECT count(*) FROM saga.list('trip', after => (SELECT key FROM saga.list('trip', max => 15) OFFSET 14));
SELECT count(*), min(next_timer) FROM saga.list('trip', 'Booking');
SELECT count(*) FROM saga.list('none');
SELECT state, kind, instances, estimated, longest IS NOT NULL FROM saga.overview() ORDER BY 1;
SELECT fails($$SELECT saga.list(max => 0)$$);
