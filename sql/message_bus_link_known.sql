-- A link brings a batch of which its target knows some: they are not taken again, wherever
-- they are by now, and the others are.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION messages(VARIADIC numbers int[]) RETURNS message_bus.message[] LANGUAGE sql AS $$
	SELECT array_agg(ROW(uid(n), 'Do', 1, jsonb_build_object('n', n), '{}', uid(1), uid(1), NULL,
		NULL, NULL, NULL, 'shop', now(), NULL, NULL, 'k', 1)::message_bus.message ORDER BY i)
	FROM unnest(numbers) WITH ORDINALITY AS t (n, i) $$;
CREATE FUNCTION accepted(VARIADIC numbers int[]) RETURNS int LANGUAGE sql AS $$
	SELECT message_bus.accept('from-shop', 0, p, p + 1, messages(VARIADIC numbers))
	FROM message_bus.link_position('from-shop', 0) p $$;
CREATE FUNCTION sent(n int, endpoint text DEFAULT 'here', due timestamptz DEFAULT NULL)
RETURNS boolean LANGUAGE sql AS $$
	SELECT message_bus.send(endpoint, 'Do', jsonb_build_object('n', n), uid(n), 'k', due) IS NOT NULL $$;
SELECT message_bus.create_endpoint('here', 1, '{"kind": "none"}'), message_bus.create_endpoint('other', 1),
	message_bus.create_link('from-shop', 'shop', 'out', 'here');

-- Settled; a dead letter; one that was discarded; waiting; scheduled.
SELECT sent(11);
SELECT got('here');
SELECT sent(12);
SELECT failed('here');
SELECT sent(13);
SELECT failed('here');
SELECT message_bus.discard(uid(13));
SELECT sent(14), sent(15, due => '2100-01-01 UTC');
-- Of two the ring itself knows nothing any more.
DELETE FROM message_bus.ring_0 WHERE message_id IN (uid(12), uid(13), uid(15));
-- At another endpoint it is another message.
SELECT sent(16, 'other');
-- New ones first, last and between; one comes twice.
SELECT accepted(21, 11, 12, 22, 13, 14, 15, 16, 22, 23);
SELECT in_order('here');
SELECT state('here');
-- The first and the last are known; all of them are.
SELECT accepted(11, 24, 15);
SELECT in_order('here');
SELECT accepted(24, 11, 12);
SELECT in_order('here');
-- What this transaction has sent itself.
BEGIN;
SELECT sent(25);
SELECT accepted(25, 26);
COMMIT;
SELECT in_order('here');
-- One that is bad has no say over the others, known or not.
CREATE TYPE counted AS (n int);
SELECT event_store.register_event_type('Counted', 'counted');
SELECT message_bus.accept('from-shop', 0, p, p + 1, messages(11, 27)
	|| ROW(uid(28), 'Counted', 1, '{"n": "much"}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL,
		'shop', now(), NULL, NULL, 'k', 1)::message_bus.message || messages(29))
FROM message_bus.link_position('from-shop', 0) p;
SELECT in_order('here');
SELECT message_id, reason, error_code FROM message_bus.dead_letters ORDER BY 1;
-- Nothing is left claimed.
SELECT sent(30), sent(27);
SELECT in_order('here');
-- Each has its own headers, with the way it has come.
SELECT message_bus.accept('from-shop', 0, p, p + 1, (SELECT array_agg(
	jsonb_populate_record((messages(1))[1], jsonb_build_object('message_id', uid(40 + i::int),
		'headers', h)) ORDER BY i)
	FROM unnest(ARRAY[NULL, '{}', '{"a": 1}', '{"a": 1}', NULL, NULL, '{"b": 1}', '{"a": 2}', '{}']::jsonb[])
		WITH ORDINALITY AS t (h, i)))
FROM message_bus.link_position('from-shop', 0) p;
SELECT headers FROM message_bus.receive('here') ORDER BY delivery_id;
