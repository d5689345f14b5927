-- What docs/limits.md says: up to each limit it works, one further is refused with this error.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned

-- A statement at the limit, with its part that grows left out as %s, and one beyond it.
CREATE TABLE public.tried (what text PRIMARY KEY, statement text, within text, beyond text);
SELECT message_bus.create_endpoint('small', lanes => 1);
SELECT message_bus.alter_endpoint('small', max_depth => 2);
SELECT event_store.create_subscription('narrow', partitions => 2);
SELECT saga.define('limits', '{"initial": "Begun", "events": {"Go": {"correlate": "$.message.id"}},
	"start": {"Go": {"goto": "Begun"}}, "states": {"Begun": {"kind": "final", "default": "ignore"}}}');

CREATE FUNCTION public.nested(levels int) RETURNS text LANGUAGE sql AS $$
	SELECT quote_literal(repeat('{"a":', levels) || '1' || repeat('}', levels))
$$;
CREATE FUNCTION public.sized(bytes int) RETURNS text LANGUAGE sql AS $$
	SELECT format('jsonb_build_object(''a'', repeat(''x'', %s))', bytes)
$$;
CREATE FUNCTION public.long(characters int) RETURNS text LANGUAGE sql AS $$
	SELECT quote_literal(repeat('x', characters))
$$;

INSERT INTO tried VALUES
	('name of a stream', $$event_store.append(%s, 0, 'T', '{}')$$, long(255), long(256)),
	('name of an event type', $$event_store.append('s', -1, %s, '{}')$$, long(255), long(256)),
	('size of an event', $$event_store.append('s', -1, 'T', %s)$$, sized(1048000), sized(1048576)),
	('size of metadata', $$event_store.append('s', -1, 'T', '{}', metadata => %s)$$,
		sized(1048000), sized(1048576)),
	('depth of an event', $$event_store.append('s', -1, 'T', %s)$$, nested(1000), nested(1001)),
	('exponent of a number', $$event_store.append('s', -1, 'T', '{"n": 1e%s}')$$, '1000', '1001'),
	('events of one append', $$event_store.append_json('many', -1, (SELECT
		jsonb_agg('{"event_type": "T", "data": {}}'::jsonb) FROM generate_series(1, %s)))$$,
		'10000', '10001'),
	('partitions of a subscription',
		$$event_store.create_subscription('p' || %1$s, partitions => %1$s)$$, '1024', '1025'),
	('age of retention', $$event_store.set_retention('c', max_age => '%s years')$$, '5000', '5001'),
	('name of an endpoint', $$message_bus.create_endpoint(%s)$$, long(200), long(201)),
	('lanes of an endpoint', $$message_bus.create_endpoint('l' || %1$s, lanes => %1$s)$$, '256', '257'),
	('name of a message type', $$message_bus.publish(%s, '{}')$$, long(255), long(256)),
	('size of a message', $$message_bus.publish('T', %s)$$, sized(16777000), sized(16777216)),
	('size of a Fault', $$message_bus.publish('Fault', %s)$$, sized(17880000), sized(17900000)),
	('depth of a Fault', $$message_bus.publish('Fault', %s)$$, nested(1000), nested(1001)),
	('depth of a message', $$message_bus.publish('T', %s)$$, nested(1000), nested(1001)),
	('depth of an endpoint', $$(SELECT count(message_bus.send('small', 'T', '{}'))
		FROM generate_series(1, %s))$$, '2', '3'),
	('a time', $$message_bus.send('small', 'T', '{}', deliver_at => %s)$$,
		$$timestamptz '290000-01-01'$$, $$timestamptz 'infinity'$$);
SELECT what, left(outcome('SELECT (' || format(statement, within) || ') IS NOT NULL'), 60) AS within,
	left(outcome('SELECT ' || format(statement, beyond)), 100) AS beyond
FROM tried ORDER BY what COLLATE "C";
