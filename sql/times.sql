-- A time that never comes is refused wherever one is taken, as 22008.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
SELECT message_bus.create_endpoint('q', 1);
-- What each call says with that time or interval: the SQLSTATE, "taken" if none.
CREATE FUNCTION says(call text, VARIADIC times text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE WHEN o ~ '^[0-9A-Z]{5} ' THEN left(o, 5) ELSE 'taken' END, ' '
		ORDER BY n)
	FROM unnest(times) WITH ORDINALITY t(t, n), outcome(format(call, t)) o $$;
CREATE FUNCTION definition() RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"endpoint": "s", "initial": "Open",
	"events": {"Go": {"correlate": "$.message.id"}, "After": {"correlate": "$.message.id"}},
	"start": {"Go": {"goto": "Open", "schedule": [{"timer": "t", "at": "$.message.at"}]},
		"After": {"goto": "Open", "schedule": [{"timer": "t", "delay": "$.message.after"}]}},
	"states": {"Open": {"kind": "normal", "default": "ignore", "on": {"timer:t": {"goto": "Done"}}},
		"Done": {"kind": "final", "default": "ignore"}}}'::jsonb $$;
SELECT call, says('SELECT ' || call, 'infinity', '-infinity', '2100-01-01') FROM (VALUES
	($$message_bus.send('q', 'T', '{}', deliver_at => %L)$$),
	($$message_bus.send('q', 'T', '{}', expires_at => %L)$$),
	($$message_bus.publish('T', '{}', deliver_at => %L)$$),
	($$message_bus.publish('T', '{}', expires_at => %L)$$),
	($$event_store.append_batch('a-1', -1, ARRAY[ROW('T', '{}', NULL, NULL, %L,
		NULL)::event_store.new_event])$$),
	($$event_store.append_json('a-1', -1, jsonb_build_array(jsonb_build_object('event_type', 'T',
		'data', jsonb_build_object(), 'occurred_at', %L)))$$),
	($$saga.fire_due(%L)$$)) c(call);
-- PostgreSQL before 17 has no infinite intervals, but such as leave the calendar.
SELECT call, says('SELECT ' || call, '178000000 years', '2000000000 days', '1 h') FROM (VALUES
	($$message_bus.create_endpoint('e', timeout => %L)$$),
	($$message_bus.alter_endpoint('q', timeout => %L)$$),
	($$message_bus.alter_endpoint('q', jsonb_build_object('kind', 'interval', 'limit', 1,
		'interval', %L))$$),
	($$message_bus.alter_endpoint('q', breaker => jsonb_build_object('tracking_period', '1 h',
		'trip_threshold', 1, 'active_threshold', 1, 'reset_interval', %L))$$),
	($$saga.define('p', definition() || jsonb_build_object('park_for', %L))$$),
	($$saga.define('r', definition() || jsonb_build_object('retain_for', %L))$$)) c(call);
DO $$ BEGIN PERFORM message_bus.receive('q', 1, '178000000 years'); END $$;
CALL message_bus.wait('q', '178000000 years');
CALL event_store.wait(0, '178000000 years');
-- A saga's timer: the message that would set it fails, and nobody else is harmed.
SELECT saga.define('s', definition());
SELECT message_bus.alter_endpoint('s', retry => '{"kind": "none"}');
SELECT count(message_bus.publish('Go', jsonb_build_object('id', uid(n::int), 'at', t)))
	FROM unnest('{infinity,-infinity,2100-01-01T00:00:00Z}'::text[]) WITH ORDINALITY t(t, n);
SELECT count(message_bus.publish('After', jsonb_build_object('id', uid(10 + n::int), 'after', t)))
	FROM unnest('{178000000 years,1 day}'::text[]) WITH ORDINALITY t(t, n);
SELECT saga.run();
SELECT message->>'at', message->>'after', error_code FROM (SELECT (message).body AS message,
	error_code FROM message_bus.dead_letters WHERE endpoint = 's') d ORDER BY 1, 2;
SELECT count(*), count(next_timer_at) FROM saga.instances;
SELECT count(*) FROM saga.timers;
