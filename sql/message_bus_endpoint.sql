-- Endpoints, routes and the names of endpoints.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- ---------------------------------------------------------------- endpoint_name

SELECT t.type, t.kind, message_bus.endpoint_name(t.type, t.kind) FROM (VALUES
	('SubmitOrderConsumer', 'consumer'), ('OrderSaga', 'saga'), ('OneOr2MessageConsumer',
		'consumer'),
	('SomeSuperIDFormatConsumer', 'consumer'), ('UpdateCustomerActivity', 'activity'),
	('UpdateCustomerActivity', 'compensate_activity'), ('My_Order', 'consumer'),
		('ISOOrderConsumer', 'consumer'),
	('SubmitOrdercONSUMER', 'consumer'), ('SubmitOrderConsumer', 'message'), ('SubmitOrder',
		'message'),
	('ConsumerConsumer', 'consumer'), ('OrderSaga', 'consumer'), ('order', 'consumer'),
		('ÄnderungÄ', 'message'),
	('A1B2C3', 'message'), ('__', 'message')) t(type, kind);
SELECT message_bus.endpoint_name('SubmitOrderConsumer');
SELECT message_bus.endpoint_name('SomeReallyCoolConsumer', prefix => 'Dev');
SELECT message_bus.endpoint_name('Consumer', prefix => 'Dev');
SELECT message_bus.endpoint_name('Shop.Orders+SubmitOrderConsumer', include_namespace => true);
SELECT message_bus.endpoint_name('Shop.Orders+SubmitOrderConsumer');
SELECT message_bus.endpoint_name('Shop.Orders+SubmitOrderConsumer', 'consumer', 'Dev', true);
SELECT message_bus.endpoint_name('Shop.SubmitOrderActivity', 'activity', include_namespace => true);
SELECT outcome($$SELECT message_bus.endpoint_name('Consumer')$$);
SELECT outcome($$SELECT message_bus.endpoint_name('Shop.Consumer')$$);
SELECT outcome($$SELECT message_bus.endpoint_name('', 'message')$$);
SELECT outcome($$SELECT message_bus.endpoint_name('X', 'listener')$$);

-- ---------------------------------------------------------------- create, alter

SELECT message_bus.create_endpoint('plain');
SELECT name, lanes, retry, breaker, timeout, max_depth, paused FROM message_bus.endpoint;
-- d[i] = min(1 s + 2^i R, 30 s), R from 2.4 s to 3.6 s: drawn once.
SELECT i, d BETWEEN least(1000 + 2 ^ (i - 1) * 2400, 30000) AND least(1000 + 2 ^ (i - 1) * 3599,
	30000) AS as_drawn
FROM message_bus.endpoint, unnest(retry_delays) WITH ORDINALITY r(d, i);
SELECT message_bus.create_endpoint('other', 1, '{"kind": "none"}', '{"kind": "none"}', '2 s');
SELECT message_bus.alter_endpoint('other', '{"kind": "interval", "intervals": ["1 s", "1 min"]}',
	max_depth => 7);
SELECT lanes, retry, retry_delays, breaker, timeout, max_depth FROM message_bus.endpoint
	WHERE name = 'other';
SELECT message_bus.alter_endpoint('other', timeout => '1 min', max_depth => -1,
	breaker =>
		'{"tracking_period": "10 s", "trip_threshold": 50, "active_threshold": 2,
		"reset_interval": "1 min"}');
SELECT retry, breaker, timeout, max_depth FROM message_bus.endpoint WHERE name = 'other';
SELECT name, lanes, paused, depth, oldest_unacked_age, in_flight, scheduled, retrying, dead,
	sent_per_s, acked_per_s
FROM message_bus.endpoints ORDER BY name;

SELECT outcome(format('SELECT message_bus.create_endpoint(%s)', arguments)) FROM (VALUES
	(1, $$'plain'$$), (2, $$''$$), (3, $$E'a\nb'$$), (4, $$repeat('x', 201)$$), (5, $$'x', 0$$),
		(6, $$'x', 257$$),
	(7, $$'x', timeout => '0 s'$$), (8, $$'x', timeout => '-1 s'$$),
	(9, $$'x', retry => '{}'$$), (10, $$'x', retry => '[]'$$), (11, $$'x',
		retry => '{"kind": "never"}'$$),
	(12, $$'x', retry => '{"kind": "none", "limit": 1}'$$), (13, $$'x',
		retry => '{"kind": "immediate"}'$$),
	(14, $$'x', retry => '{"kind": "immediate", "limit": -1}'$$), (15, $$'x',
		retry => '{"kind": "immediate", "limit": "1"}'$$),
	(16, $$'x', retry => '{"kind": "interval", "limit": 1, "interval": 5}'$$),
	(17, $$'x', retry => '{"kind": "interval", "intervals": []}'$$), (18, $$'x',
		retry => '{"kind": "interval", "intervals": [1]}'$$),
	(19, $$'x', retry => '{"kind": "interval", "limit": 1, "interval": "soon"}'$$),
	(20, $$'x', retry => '{"kind": "interval", "limit": 1, "interval": "-1 s"}'$$),
	(21, $$'x', retry => '{"kind": 5}'$$), (22, $$'x',
		retry => '{"kind": "immediate", "limit": 1, "color": "red"}'$$),
	(23, $$'x', breaker => '{"kind": "none", "limit": 1}'$$), (24, $$'x',
		breaker => '{"tracking_period": "1 s"}'$$)) a(n, arguments) ORDER BY n;
SELECT outcome($$SELECT message_bus.alter_endpoint('nobody')$$);
SELECT outcome($$SELECT message_bus.alter_endpoint('plain', retry => '{"kind": "no"}')$$);
SELECT outcome($$SELECT message_bus.alter_endpoint('plain', breaker => '{"kind": "no"}')$$);
SELECT outcome($$SELECT message_bus.alter_endpoint('plain', timeout => '0 s')$$);
SELECT outcome($$SELECT message_bus.alter_endpoint('plain', max_depth => -2)$$);
-- The greatest number of lanes works.
SELECT message_bus.create_endpoint('wide', 256);
SELECT count(message_bus.send('wide', 'T', jsonb_build_object('n', n), partition_key => n::text))
FROM generate_series(1, 2000) n;
SELECT count(DISTINCT lane), min(lane), max(lane) FROM message_bus.ring_0
	JOIN message_bus.endpoint USING (endpoint_id) WHERE name = 'wide';
SELECT cardinality(string_to_array(got('wide', 3000), ' '));

-- ---------------------------------------------------------------- routes

SELECT message_bus.subscribe('plain', 'Happened');
SELECT message_bus.subscribe('plain', 'Happened');
SELECT message_bus.subscribe('other', 'Happened');
SELECT message_bus.publish('Happened', '{"n": 1}') IS NOT NULL;
SELECT got('plain'), got('other');
SELECT message_bus.unsubscribe('other', 'Happened');
SELECT message_bus.unsubscribe('other', 'Happened');
SELECT message_bus.publish('Happened', '{"n": 2}') IS NOT NULL;
SELECT got('plain'), got('other');
-- A rolled-back subscription, and one of this transaction.
BEGIN;
SELECT message_bus.subscribe('other', 'Happened');
SELECT message_bus.publish('Happened', '{"n": 3}') IS NOT NULL;
ROLLBACK;
SELECT message_bus.publish('Happened', '{"n": 4}') IS NOT NULL;
BEGIN;
SAVEPOINT s;
SELECT message_bus.create_endpoint('third');
SELECT message_bus.subscribe('third', 'Happened');
SELECT message_bus.publish('Happened', '{"n": 5}') IS NOT NULL;
ROLLBACK TO s;
SELECT outcome($$SELECT message_bus.send('third', 'Happened', '{}')$$);
SELECT message_bus.publish('Happened', '{"n": 6}') IS NOT NULL;
COMMIT;
SELECT got('plain'), got('other');
-- Nobody listens: an id, and nothing stored.
SELECT message_bus.publish('Unheard', '{}', message_id => uid(1));
SELECT sum(depth) FROM message_bus.endpoints;
SELECT outcome(format('SELECT message_bus.%s', call)) FROM (VALUES
	($$subscribe('nobody', 'T')$$), ($$unsubscribe('nobody', 'T')$$), ($$pause('nobody')$$),
		($$resume('nobody')$$),
	($$drop_endpoint('nobody')$$), ($$reset_breaker('nobody', 'T')$$), ($$subscribe(NULL, 'T')$$),
		($$subscribe('plain', '')$$),
	($$subscribe('plain', NULL)$$), ($$subscribe('plain', repeat('T', 256))$$),
		($$reset_breaker('plain', 'T')$$)) c(call);

-- ---------------------------------------------------------------- pause, resume

SELECT message_bus.send('plain', 'T', '{"n": 7}') IS NOT NULL;
SELECT message_bus.pause('plain');
SELECT message_bus.send('plain', 'T', '{"n": 8}') IS NOT NULL;
SELECT got('plain'), state('plain'), paused FROM message_bus.endpoints WHERE name = 'plain';
CALL message_bus.wait('plain', '0 s');
SELECT message_bus.resume('plain');
CALL message_bus.wait('plain', '0 s');
SELECT got('plain');
SELECT state('plain');

-- ---------------------------------------------------------------- age

-- That of the oldest message that is not acked, in whichever lane.
BEGIN;
SELECT at('2020-01-01 UTC');
SELECT message_bus.send('plain', 'T', '{"n": 1}') IS NOT NULL;
COMMIT;
SELECT message_bus.send('plain', 'T', '{"n": 2}') IS NOT NULL;
CREATE VIEW age AS SELECT CASE WHEN oldest_unacked_age >= now() - '2020-01-01 UTC' THEN 'old'
	WHEN oldest_unacked_age BETWEEN '0 s' AND '1 day' THEN 'new' ELSE 'none' END AS age
FROM message_bus.endpoints WHERE name = 'plain';
TABLE age;
SELECT message_bus.ack(delivery_id) FROM message_bus.receive('plain') WHERE body->>'n' = '1';
TABLE age;
SELECT got('plain');
TABLE age;
DROP VIEW age;

-- ---------------------------------------------------------------- drop

-- Scheduled and leased messages are there too.
SELECT message_bus.create_endpoint('later', 1);
SELECT message_bus.send('later', 'T', '{}', uid(3), deliver_at => '2100-01-01 UTC');
SELECT outcome($$SELECT message_bus.drop_endpoint('later')$$);
SELECT message_bus.cancel_scheduled(uid(3));
SELECT message_bus.send('later', 'T', '{}') IS NOT NULL;
SELECT count(*) FROM message_bus.receive('later', 1, '1 h');
SELECT outcome($$SELECT message_bus.drop_endpoint('later')$$);
SELECT message_bus.ack(delivery_id) FROM message_bus.lease;
SELECT message_bus.drop_endpoint('later');
SELECT message_bus.send('other', 'T', '{"n": 1}', message_id => uid(2));
SELECT outcome($$SELECT message_bus.drop_endpoint('other')$$);
SELECT message_bus.alter_endpoint('other', '{"kind": "interval", "limit": 1, "interval": "1 h"}');
SELECT message_bus.fail(delivery_id, 'E', 'e') FROM message_bus.receive('other');
SELECT outcome($$SELECT message_bus.drop_endpoint('other')$$);
SELECT message_bus.skip(delivery_id) FROM message_bus.receive('other');
SELECT outcome($$SELECT message_bus.drop_endpoint('other')$$);
BEGIN;
SELECT message_bus.send('plain', 'T', '{}') IS NOT NULL;
SELECT outcome($$SELECT message_bus.drop_endpoint('plain')$$);
ROLLBACK;
SELECT message_bus.drop_endpoint('other', true);
SELECT message_bus.drop_endpoint('plain');
SELECT outcome($$SELECT message_bus.send('other', 'T', '{}')$$);
SELECT outcome($$SELECT * FROM message_bus.receive('other')$$);
SELECT (SELECT count(*) FROM message_bus.aside), (SELECT count(*) FROM message_bus.dead),
	(SELECT count(*) FROM message_bus.route);
-- One of the same name is another endpoint.
SELECT message_bus.create_endpoint('other');
SELECT state('other'), got('other');
DROP EXTENSION ecommerce CASCADE;
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint('other');
SELECT depth FROM message_bus.endpoints;
