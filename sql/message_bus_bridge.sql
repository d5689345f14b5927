-- Bridges: envelopes of foreign systems, and messages that come and go over a broker; here
-- without one.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
SET ecommerce.source = 'shop';
SET TimeZone = 'UTC';
-- What a MassTransit-shaped client sends.
CREATE FUNCTION masstransit(id text, type text, body jsonb, more jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE sql AS $$
	SELECT jsonb_build_object('exchange', type, 'routing_key', '', 'headers', '{}'::jsonb,
		'properties', jsonb_build_object('content_type', 'application/vnd.masstransit+json',
			'message_id', id), 'body', (jsonb_build_object('messageId', id,
			'conversationId', uid(900), 'messageType', jsonb_build_array('urn:message:' || type),
			'sourceAddress', 'rabbitmq://h/v/web-shop?temporary=true',
			'sentTime', '2026-01-02T03:04:05.1234567Z', 'message', body) || more)::text) $$;
CREATE FUNCTION raw(id text, type text, body text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('routing_key', 'orders', 'headers', jsonb_build_object('__TypeId__', type),
		'properties', jsonb_strip_nulls(jsonb_build_object('message_id', id)), 'body', body) $$;

-- ---------------------------------------------------------------- keys

SELECT message_bus.recase('{"order_id": 1, "line1_x": [{"unit_price": null, "a": "order_id"}],
	"sha_256": {}, "SKU-1": {"in_stock": true}, "USD": 2, "x__y": 0, "_z": 0, "é_b": 1}', 'camel');
SELECT message_bus.recase('{"orderId": 1, "OrderID": 2, "HTTPStatus": 3, "last4Digits": 4,
	"SKU-1": {"inStock": [[{"aB": 1}]]}, "USD": 5, "a_b": 6}', 'snake');
SELECT message_bus.recase('"orderId"', 'snake'), message_bus.recase('[1, []]', 'camel');
SELECT outcome($$SELECT message_bus.recase('{}', 'kebab')$$);

-- ---------------------------------------------------------------- creating

SELECT message_bus.create_endpoint('to-rabbit', 2, forward_to => 'rabbit');
SELECT message_bus.create_endpoint('order', 2);
SELECT message_bus.create_bridge('partners', 'masstransit', '{"endpoint": "to-rabbit",
	"queue": "shop", "target": "order", "namespace": "Shop.Contracts",
	"subscribe": ["SubmitOrder", "Other:Thing"], "replies": ["OrderAccepted"],
	"types": {"PriceChanged": "Catalog:Price"}, "destinations": {"ProcessPayment": "billing"}}');
SELECT message_bus.create_bridge('spring', 'raw', '{"queue": "spring", "target": "order"}');
SELECT name, format, broker, endpoint, queue, target, state, accepted, repeated, refused, accepted_at
FROM message_bus.bridges ORDER BY name;
SELECT jsonb_pretty(message_bus.bridge_topology('partners'));
SELECT message_bus.bridge_topology('spring');
SELECT outcome($$SELECT message_bus.create_bridge('partners', 'raw', '{"queue": "q"}')$$);
-- An endpoint or a queue has one bridge: two would lose or double what comes.
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"endpoint": "to-rabbit", "broker": "other"}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"queue": "shop", "broker": "rabbit"}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"queue": "shop", "broker": "other"}')$$);
SELECT outcome($$SELECT message_bus.alter_bridge('x', '{"broker": "rabbit"}')$$);
SELECT outcome($$SELECT message_bus.alter_bridge('x', '{"endpoint": "to-rabbit"}')$$);
SELECT outcome($$SELECT message_bus.drop_bridge('x')$$);
SELECT outcome($$SELECT message_bus.create_bridge('', 'raw', '{"queue": "q"}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'soap', '{"queue": "q"}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '[]')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"queue": "q", "colour": 1}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"queue": 1}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"queue": "q", "keys": "pascal"}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"queue": "q", "broker": "amqp://u:p@h"}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"queue": "q", "target": "none"}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"endpoint": "order"}')$$);
SELECT outcome($$SELECT message_bus.create_bridge('x', NULL, '{}')$$);
SELECT outcome($$SELECT message_bus.alter_bridge('none', '{}')$$);
SELECT outcome($$SELECT message_bus.alter_bridge('spring', '{"queue": null}')$$);
SELECT message_bus.alter_bridge('spring', '{"namespace": "com.shop", "keys": "camel"}');
SELECT options FROM message_bus.bridges WHERE name = 'spring';
SELECT message_bus.alter_bridge('partners', '{"keys": "same", "namespace": "Other"}');
SELECT message_bus.alter_bridge('partners', '{"keys": null, "namespace": null}');
SELECT options ->> 'keys', options ->> 'namespace' FROM message_bus.bridges WHERE name = 'partners';
SELECT message_bus.alter_bridge('partners', '{"namespace": "Shop.Contracts"}');

-- ---------------------------------------------------------------- inwards

-- The whole envelope comes along.
SELECT message_bus.accept_foreign('partners', ARRAY[masstransit(uid(1)::text, 'Shop.Contracts:SubmitOrder',
	'{"orderId": 7, "lineItems": [{"unitPrice": 2}]}', jsonb_build_object('correlationId', uid(901),
		'initiatorId', uid(902), 'requestId', uid(903), 'expirationTime', '2100-01-01T00:00:00Z',
		'responseAddress', 'rabbitmq://h/v/bus-1?temporary=true', 'headers', '{"X-User-Id": "ann",
		"X-Tenant-Id": "acme", "MT-Activity-Id": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}'::jsonb))]);
SELECT message_id, message_type, schema_version, body, headers - '{X-User-Id,X-Tenant-Id,MT-Activity-Id}'::text[],
	correlation_id, conversation_id, causation_id, user_id, tenant_id, traceparent, source, sent_at,
	expires_at, partition_key, attempt, message_bus.ack(delivery_id)
FROM message_bus.receive('order');
-- Once by its id, twice in a batch or in two.
SELECT message_bus.accept_foreign('partners', ARRAY[masstransit(uid(1)::text, 'Shop.Contracts:SubmitOrder', '{"n": 1}'),
	masstransit(uid(2)::text, 'Shop.Contracts:SubmitOrder', '{"n": 2}'),
	masstransit(uid(2)::text, 'Shop.Contracts:SubmitOrder', '{"n": 2}')]);
SELECT message_bus.accept_foreign('partners', ARRAY[masstransit(uid(2)::text, 'Shop.Contracts:SubmitOrder', '{"n": 2}')]);
SELECT got('order');
-- An id is known per bridge; one that is no UUID becomes one, one that is none is always new.
SELECT message_bus.accept_foreign('spring', ARRAY[raw('42', 'com.shop.Do', '{"n": 3}'),
	raw('42', 'com.shop.Do', '{"n": 3}'), raw(NULL, 'com.shop.Do', '{"n": 4}'), raw(NULL, 'com.shop.Do', '{"n": 4}')]);
SELECT body->>'n', message_type, headers->>'foreign_id', headers->>'via',
	message_id = ecommerce.uuid_v5('c908220c-458d-5f5c-9962-a58a56f18e88', 'spring 42'),
	message_bus.ack(delivery_id)
FROM message_bus.receive('order') ORDER BY 1, 3;
-- Rolled back, it was not accepted.
BEGIN;
SELECT accepted FROM message_bus.accept_foreign('spring', ARRAY[raw('43', 'com.shop.Do', '{"n": 5}')]);
ROLLBACK;
SELECT accepted FROM message_bus.accept_foreign('spring', ARRAY[raw('43', 'com.shop.Do', '{"n": 5}')]);
SELECT got('order');
-- What cannot be read is a dead letter, once, and the others go on.
SELECT message_bus.accept_foreign('spring', ARRAY[raw('50', 'com.shop.Do', '{"n": 6'), raw('51', 'com.shop.Do', '{"n": 7}'),
	raw('52', 'com.shop.Do', '{"n": 8, "x": "\u0000"}'),
	jsonb_build_object('body_base64', '/w==', 'properties', '{"message_id": "53"}'::jsonb, 'routing_key', 'k'),
	'[]', raw('54', '', '{"n": 9}')]);
SELECT message_bus.accept_foreign('spring', ARRAY[raw('50', 'com.shop.Do', '{"n": 6')]);
SELECT got('order');
SELECT endpoint, message_type, reason, error_code, error, (message).body
FROM message_bus.dead_letters ORDER BY error_code, (message).body::text;
-- Nor is this MassTransit's.
SELECT message_bus.accept_foreign('partners', ARRAY[raw(uid(60)::text, 'x', '{"n": 6}'),
	raw(uid(61)::text, 'x', '[1]')]);
SELECT error_code, error FROM message_bus.dead_letters WHERE message_id IN (uid(60), uid(61));
-- A time that never comes, a version below the first, names that no index has room for: dead alone.
SELECT message_bus.accept_foreign('partners', ARRAY[
	masstransit(uid(62)::text, 'Shop.Contracts:SubmitOrder', '{"n": 1}', '{"sentTime": "infinity"}'),
	masstransit(uid(63)::text, 'Shop.Contracts:SubmitOrder', '{"n": 2}', '{"expirationTime": "-infinity"}'),
	masstransit(uid(64)::text, 'Shop.Contracts:SubmitOrder', '{"n": 3}', '{"headers": {"X-Schema-Version": -1}}'),
	masstransit(uid(65)::text, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i), '{"n": 4}'),
	masstransit(uid(66)::text, 'Shop.Contracts:SubmitOrder', '{"n": 5}', '{"headers": []}'),
	masstransit(uid(67)::text, 'Shop.Contracts:SubmitOrder', '{"n": 6}')]);
SELECT got('order');
SELECT (message).body->>'n', error_code, left(error, 40), length(message_type), isfinite((message).sent_at),
	(message).expires_at
FROM message_bus.dead_letters WHERE message_id BETWEEN uid(62) AND uid(66) ORDER BY 1;
-- What breaks its contract is one of its own type, with a Fault; corrected, it goes on.
CREATE TYPE priced AS (price int);
SELECT event_store.register_event_type('Priced', 'priced');
SELECT message_bus.create_endpoint('faults');
SELECT message_bus.subscribe('faults', 'Fault');
SELECT message_bus.accept_foreign('spring', ARRAY[raw(uid(70)::text, 'com.shop.Priced', '{"price": "much"}')]);
SELECT endpoint, message_type, error_code FROM message_bus.dead_letters WHERE message_id = uid(70);
SELECT body->>'error_code', message_bus.ack(delivery_id) FROM message_bus.receive('faults');
SELECT message_bus.redrive(uid(70), '{"price": 3}');
SELECT body, message_bus.ack(delivery_id) FROM message_bus.receive('order');
-- Without a target it is published; what then cannot be, lies at the bridge's own endpoint.
SELECT message_bus.alter_bridge('spring', '{"target": null}');
SELECT message_bus.subscribe('order', 'Priced');
SELECT message_bus.accept_foreign('spring', ARRAY[raw(uid(71)::text, 'com.shop.Priced', '{"price": "much"}')]);
SELECT endpoint FROM message_bus.dead_letters WHERE message_id = uid(71);
SELECT message_bus.redrive(uid(71), '{"price": 4}');
SELECT body, message_bus.ack(delivery_id) FROM message_bus.receive('order');
SELECT message_bus.alter_bridge('spring', '{"target": "order"}');
-- A full endpoint takes nothing, and nothing is noted.
SELECT message_bus.alter_endpoint('order', max_depth => 1);
SELECT outcome($$SELECT message_bus.accept_foreign('spring', ARRAY[raw('80', 'com.shop.Do', '{"n": 1}'),
	raw('81', 'com.shop.Do', '{"n": 2}')])$$);
SELECT message_bus.alter_endpoint('order', max_depth => -1);
SELECT message_bus.accept_foreign('spring', ARRAY[raw('80', 'com.shop.Do', '{"n": 1}'), raw('81', 'com.shop.Do', '{"n": 2}')]);
SELECT got('order');
-- Paused.
SELECT message_bus.pause_bridge('spring');
SELECT state FROM message_bus.bridges WHERE name = 'spring';
SELECT outcome($$SELECT message_bus.accept_foreign('spring', '{}')$$);
SELECT message_bus.resume_bridge('spring');
SELECT message_bus.accept_foreign('spring', '{}');
SELECT outcome($$SELECT message_bus.accept_foreign('none', '{}')$$);
SELECT outcome($$SELECT message_bus.accept_foreign('spring', ARRAY[NULL]::jsonb[])$$);
SELECT outcome($$SELECT message_bus.accept_foreign('spring', NULL)$$);
SELECT name, accepted, repeated, refused, accepted_at IS NOT NULL FROM message_bus.bridges ORDER BY name;
-- The commit waits for the disk whatever the session says.
BEGIN;
SET LOCAL synchronous_commit = off;
SELECT accepted FROM message_bus.accept_foreign('spring', '{}');
SHOW synchronous_commit;
COMMIT;

-- ---------------------------------------------------------------- how long ids are kept

SELECT count(*) FROM message_bus.inbox_turn;
CREATE FUNCTION accepted_at("time" timestamptz, id text) RETURNS int LANGUAGE sql AS $$
	SELECT at("time");
	SELECT accepted FROM message_bus.accept_foreign('spring', ARRAY[raw(id, 'com.shop.Do', '{"n": 1}')]) $$;
-- A day each; the first of them comes again for seven days, then it is forgotten.
SELECT string_agg(accepted_at('2100-01-01'::timestamptz + i * interval '1 day', 'd' || i)::text, ' ')
FROM generate_series(0, 7) i;
SELECT slot, began_at FROM message_bus.inbox_turn ORDER BY began_at;
SELECT accepted_at('2100-01-08 00:00:01', 'd1'), accepted_at('2100-01-08 23:00:00', 'd2');
SELECT accepted_at('2100-01-09 00:00:01', 'd1'), accepted_at('2100-01-09 00:00:01', 'd0');
SELECT accepted_at('2100-01-10 00:00:01', 'd9'), accepted_at('2100-01-10 00:00:01', 'd1');
SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('order');

-- ---------------------------------------------------------------- outwards

CREATE FUNCTION leaving(bridge text) RETURNS SETOF jsonb LANGUAGE sql AS $$
	SELECT jsonb_set(r.envelope, '{body}', coalesce((r.envelope->>'body')::jsonb, 'null'))
	FROM message_bus.read_bridge(bridge) r ORDER BY r.position $$;
BEGIN;
SELECT ecommerce.set_context(uid(901), uid(902), 'ann', 'acme', '{}',
	'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', conversation_id => uid(905));
SELECT message_bus.send('to-rabbit', 'PriceChanged', '{"product_id": 1, "new_price": {"unit_price": 2}}', uid(100), 'k',
	expires_at => '2100-01-01');
SELECT message_bus.send('to-rabbit', 'ProcessPayment', '{"order_id": 1}', uid(101), 'k');
SELECT message_bus.send('to-rabbit', 'OrderShipped', '{"order_id": 1}', uid(102), 'k');
COMMIT;
SELECT e->>'exchange', e->>'exchange_type', e->'body'->'messageType', e->'body'->'message',
	e->'body'->>'destinationAddress' FROM leaving('partners') e;
SELECT jsonb_pretty(jsonb_set(e, '{body}', (e->'body') - 'sentTime') #- '{properties,timestamp}' #- '{properties,expiration}'),
	(e->'properties'->>'expiration')::bigint > 0
FROM leaving('partners') e LIMIT 1;
-- It comes back as it was.
SELECT (m).message_id, (m).message_type, (m).body, (m).correlation_id, (m).conversation_id, (m).causation_id,
	(m).user_id, (m).tenant_id, (m).traceparent, (m).source, (m).partition_key, (m).expires_at, (m).schema_version,
	(m).sent_at = (f.message).sent_at
FROM message_bus.forward_lanes('to-rabbit') l, message_bus.forwarded('to-rabbit', l.lane, l.confirmed) f,
	message_bus.from_envelope('masstransit', message_bus.to_envelope('masstransit', f.message,
		'{"namespace": "N", "keys": "camel"}'), '{"namespace": "N", "keys": "camel"}') m
WHERE l.newest > l.confirmed LIMIT 1;
-- And in the other formats.
SELECT f.format, o.mode, (z.m).*
FROM (SELECT g.message AS message FROM message_bus.forward_lanes('to-rabbit') l,
		message_bus.forwarded('to-rabbit', l.lane, l.confirmed) g WHERE l.newest > l.confirmed LIMIT 1) x,
	(VALUES ('cloudevents', '{}'::jsonb), ('cloudevents', '{"mode": "binary"}'),
		('cloudevents', '{"mode": "binary", "prefix": "ce-"}'), ('raw', '{}'), ('nservicebus', '{}')) f (format, options),
	LATERAL (SELECT f.options || '{"namespace": "com.shop", "keys": "camel"}' AS options, f.options AS mode) o,
	LATERAL (SELECT message_bus.from_envelope(f.format, message_bus.to_envelope(f.format, x.message, o.options),
		o.options) AS m) y,
	LATERAL (SELECT jsonb_populate_record(y.m, '{"sent_at": null, "headers": null, "expires_at": null}')) z (m);
-- What the broker will not take is a dead letter here, when it is let go; not what was before.
SELECT r.lane AS refused_lane, r.position AS refused_at FROM message_bus.read_bridge('partners', 2) r
WHERE r.envelope->>'exchange' = 'Catalog:Price' \gset
BEGIN;
SELECT message_bus.refuse_forwarded('to-rabbit', r.lane, r.position, 'MB012', 'NO_ROUTE'),
	message_bus.confirm_forwarded('to-rabbit', r.lane, r.position)
FROM message_bus.read_bridge('partners', 2) r WHERE r.envelope->>'exchange' = 'Catalog:Price';
SELECT message_bus.refuse_forwarded('to-rabbit', 0, 1, 'MB012', 'x');
COMMIT;
SELECT message_bus.refuse_forwarded('to-rabbit', :refused_lane, :refused_at, 'MB012', 'again');
SELECT message_id = uid(100), endpoint, error_code, error FROM message_bus.dead_letters WHERE endpoint = 'to-rabbit';
SELECT e->>'exchange' FROM leaving('partners') e;
SELECT message_bus.redrive(uid(100));
SELECT e->>'exchange' FROM leaving('partners') e ORDER BY 1;
SELECT outcome($$SELECT message_bus.refuse_forwarded('order', 0, 1, 'MB012', 'x')$$);
-- One carries at a time.
SELECT message_bus.claim_bridge('partners'), outcome($$SELECT message_bus.claim_bridge('none')$$);
SELECT message_bus.pause_bridge('partners');
SELECT count(*) FROM message_bus.read_bridge('partners');
SELECT message_bus.resume_bridge('partners');
SELECT count(message_bus.confirm_forwarded('to-rabbit', r.lane, r.position)) FROM message_bus.read_bridge('partners') r;

-- ---------------------------------------------------------------- answers

-- Whoever has asked gets what it caused, or the newest of its conversation; not others.
SELECT message_bus.accept_foreign('partners', ARRAY[masstransit(uid(110)::text, 'Shop.Contracts:SubmitOrder', '{"n": 1}',
	jsonb_build_object('requestId', uid(910), 'conversationId', uid(920),
		'responseAddress', 'rabbitmq://h/v/bus-1?temporary=true', 'faultAddress', 'rabbitmq://h/v/bus-f'))]);
BEGIN;
SELECT count(message_bus.handle(delivery_id)), count(message_bus.ack(delivery_id)),
	count(message_bus.send('to-rabbit', 'OrderAccepted', '{"n": 1}', uid(111), 'k')),
	count(message_bus.send('to-rabbit', 'OrderShipped', '{"n": 2}', uid(112), 'k'))
FROM message_bus.receive('order') WHERE message_id = uid(110);
COMMIT;
BEGIN;
SELECT ecommerce.set_context(uid(901), conversation_id => uid(920));
SELECT message_bus.send('to-rabbit', 'OrderAccepted', '{"n": 3}', uid(113), 'k');
SELECT ecommerce.set_context(uid(901), conversation_id => uid(921));
SELECT message_bus.send('to-rabbit', 'OrderAccepted', '{"n": 4}', uid(114), 'k');
COMMIT;
SELECT message_bus.subscribe('to-rabbit', 'Fault');
BEGIN;
SELECT ecommerce.set_context(uid(901), conversation_id => uid(920));
SELECT message_bus.publish('Fault', jsonb_build_object('fault_id', uid(1), 'faulted_message_id', uid(110),
	'message_type', 'SubmitOrder', 'error_code', 'OR001', 'error', 'no', 'message', '{"body": {"order_id": 1}}'::jsonb), uid(115), 'k');
COMMIT;
SELECT e->>'exchange', coalesce(e->>'exchange_type', 'must be there'), e->'body'->>'requestId', e->'body'->'message'->>'n',
	e->'body'->'messageType' FROM leaving('partners') e;
SELECT (e->'body'->'message') - 'timestamp'::text FROM leaving('partners') e WHERE e->>'exchange' = 'bus-f';
-- A fault of theirs is one of ours.
SELECT message_type, body FROM message_bus.from_envelope('masstransit', masstransit(uid(120)::text,
	'MassTransit:Fault[[Shop.Contracts:ProcessPayment]]', '{"faultId": "x", "faultedMessageId": "y",
	"exceptions": [{"exceptionType": "System.Exception", "message": "no money"}], "message": {"orderId": 1}}'),
	'{"namespace": "Shop.Contracts", "keys": "camel"}');
-- Of several types the one that we know counts.
SELECT message_type FROM message_bus.from_envelope('masstransit', masstransit(uid(121)::text, 'Theirs:VipOrder', '{}',
	'{"messageType": ["urn:message:Theirs:VipOrder", "urn:message:Shop.Contracts:Order"]}'), '{"namespace": "Shop.Contracts"}');
-- NServiceBus and Spring are answered where they say.
SELECT e->>'exchange', e->>'routing_key', e->'properties'->>'correlation_id', e->'headers'->>'NServiceBus.MessageIntent'
FROM (VALUES ('nservicebus'), ('raw'), ('cloudevents')) f (format), LATERAL (SELECT message_bus.to_envelope(f.format,
	jsonb_populate_record(NULL::message_bus.message, jsonb_build_object('message_id', uid(1), 'message_type', 'Done',
		'body', '{}'::jsonb, 'sent_at', now(), 'headers', '{"destination_address": "web", "request_id": "r1"}'::jsonb)))) x (e);

-- ---------------------------------------------------------------- others than ours

SELECT message_type, headers->>'foreign_id', partition_key, sent_at, body FROM message_bus.from_envelope('cloudevents',
	'{"properties": {"content_type": "application/cloudevents+json"}, "headers": {}, "body":
	"{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/a\",\"type\":\"com.x.Done\",\"subject\":\"s\",\"time\":\"2026-01-02T03:04:05Z\",\"data\":{\"n\":1}}"}',
	'{"namespace": "com.x"}');
SELECT outcome($$SELECT message_bus.from_envelope('cloudevents', '{"properties": {}, "headers": {}, "body": "{}"}')$$);
SELECT outcome($$SELECT message_bus.from_envelope('nservicebus', '{"properties": {}, "headers": {}, "body": "{}"}')$$);
SELECT outcome($$SELECT message_bus.from_envelope('raw', '{"properties": {}, "headers": {}}')$$);
SELECT message_type, body, sent_at, source, headers->>'response_address' FROM message_bus.from_envelope('nservicebus',
	'{"properties": {}, "headers": {"NServiceBus.MessageId": "m1", "NServiceBus.EnclosedMessageTypes":
	"Shop.PlaceOrder, Shop, Version=1.0.0.0;Shop.ICommand, Shop", "NServiceBus.TimeSent": "2026-01-02 03:04:05:123456 Z",
	"NServiceBus.OriginatingEndpoint": "Sales", "NServiceBus.ReplyToAddress": "Sales"}, "body": "{\"n\": 1}"}', '{"namespace": "Shop"}');
SELECT message_type FROM message_bus.from_envelope('raw', '{"routing_key": "order.created", "body": "1"}');

-- ---------------------------------------------------------------- without an id

SELECT message_bus.create_endpoint('nameless', 1), message_bus.create_bridge('nameless', 'raw',
	'{"queue": "n", "target": "nameless", "type": "Tick"}');
CREATE FUNCTION tick(n int, again boolean DEFAULT false, id text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('exchange', '', 'routing_key', 'n', 'body', n::text,
		'properties', jsonb_build_object('message_id', id), 'headers', jsonb_build_object('x-delivery-count', CASE WHEN again THEN 1 END),
		'redelivered', nullif(again, false))) $$;
SELECT message_bus.accept_foreign('nameless', ARRAY[tick(1), tick(1), tick(2)]);
SELECT message_bus.accept_foreign('nameless', ARRAY[tick(1, true), tick(2, true)]);
SELECT message_bus.alter_bridge('nameless', '{"without_id": "recognise"}');
-- Two that are equal are two; brought again they are none.
SELECT message_bus.accept_foreign('nameless', ARRAY[tick(3), tick(3), tick(4)]);
SELECT message_bus.accept_foreign('nameless', ARRAY[tick(3, true), tick(3, true), tick(4, true), tick(5, true)]);
SELECT message_bus.accept_foreign('nameless', ARRAY[tick(3), tick(5, true)]);
-- With an id that one counts, whoever brings it.
SELECT message_bus.accept_foreign('nameless', ARRAY[tick(3, id => 'a'), tick(3, id => 'a'), tick(3, true, 'b')]);
SELECT message_bus.accept_foreign('nameless', ARRAY[tick(3, id => 'a'), tick(3, true, 'b')]);
SELECT message_bus.alter_bridge('nameless', '{"without_id": "refuse"}');
SELECT message_bus.accept_foreign('nameless', ARRAY[tick(6), tick(7, id => 'c')]);
SELECT message_type, error_code, error, (message).body ->> 'body' AS body FROM message_bus.dead_letters WHERE endpoint = 'nameless';
SELECT body, count(*) FROM message_bus.receive('nameless', 100) GROUP BY body ORDER BY body;
SELECT outcome($$SELECT message_bus.alter_bridge('nameless', '{"without_id": "guess"}')$$);
SELECT message_bus.drop_bridge('nameless'), message_bus.drop_endpoint('nameless', true);
-- In every table of the inbox an id is found, whichever has its turn.
SELECT message_bus.create_bridge('turns', 'raw', '{"queue": "t"}');
SELECT message_bus.accept_foreign('turns', ARRAY[tick(1, id => 'x')]);
DO $$
BEGIN
	FOR n IN 1..7 LOOP
		EXECUTE format('WITH gone AS (DELETE FROM message_bus.inbox_%s WHERE message_id = message_bus._foreign_id(''x'', ''turns'') RETURNING *)
			INSERT INTO message_bus.inbox_%s SELECT * FROM gone', n - 1, n);
		IF (message_bus.accept_foreign('turns', ARRAY[tick(1, id => 'x')])).repeated <> 1 THEN
			RAISE 'not found in inbox_%', n;
		END IF;
	END LOOP;
END $$;
-- However many there are, those that are kept are not read: by a plan made for empty tables they were.
BEGIN;
INSERT INTO message_bus.inbox_0 SELECT b.bridge_id, gen_random_uuid(), now()
FROM message_bus.bridge b, generate_series(1, 2000) WHERE b.name = 'turns';
CREATE FUNCTION looked_at() RETURNS numeric LANGUAGE sql AS
$$ SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_xact_all_tables WHERE relname ~ '^inbox_[0-9]' $$;
SELECT looked_at() AS before \gset
SELECT message_bus.accept_foreign('turns', ARRAY[tick(1, id => 'x'), tick(1, id => 'y')]);
SELECT looked_at() - :before < 10;
ROLLBACK;
SELECT message_bus.drop_bridge('turns', true);

-- ---------------------------------------------------------------- dropping, rights

SELECT message_bus.alter_bridge('spring', '{"target": null}');
SELECT message_bus.accept_foreign('spring', ARRAY[raw(uid(130)::text, 'com.shop.Priced', '{"price": "much"}')]);
SELECT outcome($$SELECT message_bus.drop_bridge('spring')$$);
-- Who carries is heard of, each way by itself.
CREATE VIEW wrong AS SELECT kind, object, severity, since < now() - interval '50 min' AS since, holds_up, what_to_type, detail
FROM ecommerce.problems WHERE kind ~ '^bridge' AND object ~ '^bridge (partners|spring)';
SELECT count(*) FROM wrong;
UPDATE message_bus.bridge SET created_at = created_at - interval '1 hour', accepted_at = accepted_at - interval '1 hour';
SELECT * FROM wrong ORDER BY object;
SELECT name, labels, value > 3000 AS long FROM ecommerce.metrics() WHERE name ~ '^ecommerce_bridge_silent' ORDER BY labels;
SELECT message_bus.hear_bridge('partners', true);
SELECT object FROM wrong WHERE object ~ 'partners' ORDER BY object;
SELECT message_bus.hear_bridge('partners', false);
SELECT object FROM wrong WHERE object ~ 'partners' ORDER BY object;
SELECT name, heard_in_at IS NOT NULL AS "in", heard_out_at IS NOT NULL AS "out" FROM message_bus.bridges WHERE name ~ 'partners|spring' ORDER BY name;
SELECT message_bus.pause_bridge('partners');
SELECT * FROM wrong WHERE object ~ 'partners';
SELECT message_bus.resume_bridge('partners');
SELECT outcome($$SELECT message_bus.hear_bridge('none', true)$$);
SELECT outcome($$SELECT message_bus.hear_bridge('spring', NULL)$$);
SELECT message_bus.drop_bridge('spring', true), message_bus.drop_bridge('partners', true);
SELECT count(*) FROM message_bus.bridges;
SELECT outcome($$SELECT message_bus.drop_bridge('spring')$$);
CREATE ROLE regress_message_bus_bridge_user IN ROLE ecommerce_writer;
SET ROLE regress_message_bus_bridge_user;
SELECT outcome($$SELECT message_bus.create_bridge('x', 'raw', '{"queue": "q"}')$$);
SELECT outcome($$SELECT message_bus.accept_foreign('x', '{}')$$);
SELECT count(*) FROM message_bus.bridges;
RESET ROLE;
DROP ROLE regress_message_bus_bridge_user;
