-- Endpoints that forward, and links that accept; here both in one database.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/bus.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on
\pset null (null)
SET ecommerce.source = 'shop';
-- Which lane a key has is nobody's business: of the only lane that has something.
CREATE FUNCTION lane_of(endpoint text) RETURNS int LANGUAGE sql AS $$
	SELECT l.lane FROM message_bus.forward_lanes(endpoint) l WHERE l.newest > l.confirmed LIMIT 1 $$;
CREATE FUNCTION waiting(endpoint text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg((f.message).body->>'n', ' ' ORDER BY f.position), 'nothing')
	FROM message_bus.forward_lanes(endpoint) l,
		message_bus.forwarded(endpoint, l.lane, l.confirmed) f $$;
-- What the program that carries does, one round of it.
CREATE FUNCTION carried(link text, endpoint text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(message_bus.accept(link, b.lane, b.after, b.upto, b.messages,
		b.read_from)::text, ' '), 'nothing')
	FROM (SELECT l.lane, p.after, max(f.position) AS upto,
			array_agg(f.message ORDER BY f.position) AS messages, max(f.read_from) AS read_from
		FROM message_bus.forward_lanes(endpoint) l,
			LATERAL (SELECT message_bus.link_position(link, l.lane) AS after) p,
			LATERAL message_bus.forwarded(endpoint, l.lane, p.after) f
		GROUP BY 1, 2) b $$;
CREATE FUNCTION confirmed(link text, endpoint text) RETURNS bigint LANGUAGE sql AS $$
	SELECT sum(message_bus.confirm_forwarded(endpoint, l.lane,
		message_bus.link_position(link, l.lane))) FROM message_bus.forward_lanes(endpoint) l $$;

-- ---------------------------------------------------------------- forwarding

SELECT message_bus.create_endpoint('out', 2, forward_to => 'stock');
SELECT message_bus.create_endpoint('here', 2);
SELECT outcome($$SELECT message_bus.create_endpoint('bad', forward_to => '')$$);
BEGIN;
SELECT ecommerce.set_context(uid(1), uid(2), 'ann', 'acme', '{"channel": "web"}',
	'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', conversation_id => uid(3));
SELECT message_bus.send('out', 'Do', '{"n": 1}', uid(11), 'k', expires_at => '2100-01-01 UTC');
COMMIT;
-- What is sent there is not received here.
SELECT outcome($$SELECT message_bus.receive('out')$$);
SELECT outcome($$SELECT message_bus.forwarded('here', 0, 0)$$);
SELECT outcome($$SELECT message_bus.confirm_forwarded('here', 0, 0)$$);
SELECT outcome($$SELECT message_bus.forward_lanes('here')$$);
SELECT outcome($$SELECT message_bus.forwarded('none', 0, 0)$$);
SELECT outcome($$SELECT message_bus.forwarded('out', 2, 0)$$);
SELECT outcome($$SELECT message_bus.forwarded('out', 0, -1)$$);
SELECT outcome($$SELECT message_bus.forwarded('out', 0, 0, 0)$$);
SELECT outcome($$SELECT message_bus.forwarded('out', 0, 0, 1, 'x')$$);
SELECT outcome($$SELECT message_bus.forwarded('out', NULL, 0)$$);
SELECT endpoint, forward_to, lanes, paused, unconfirmed, oldest_unconfirmed_age > '0 s'
FROM message_bus.forwards;
-- Its envelope is whole.
SELECT (f.message).message_id, (f.message).message_type, (f.message).schema_version,
	(f.message).body, (f.message).headers, (f.message).correlation_id,
	(f.message).conversation_id, (f.message).causation_id, (f.message).user_id,
	(f.message).tenant_id, (f.message).traceparent, (f.message).source,
	(f.message).sent_at <= clock_timestamp(), (f.message).deliver_at, (f.message).expires_at,
	(f.message).partition_key, (f.message).attempt
FROM message_bus.forwarded('out', lane_of('out'), 0) f;
-- Reading again gives the same; nothing was held.
SELECT waiting('out'), waiting('out');
-- Not what is not committed, nor what was rolled back.
BEGIN;
SELECT message_bus.send('out', 'Do', '{"n": 2}', partition_key => 'k') IS NOT NULL;
SELECT waiting('out');
ROLLBACK;
SELECT waiting('out');
-- In order, a portion, and from a position on.
SELECT count(message_bus.send('out', 'Do', jsonb_build_object('n', i), partition_key => 'k'))
FROM generate_series(2, 5) i;
SELECT waiting('out');
SELECT string_agg((f.message).body->>'n', ' ')
FROM message_bus.forwarded('out', lane_of('out'), 0, 3) f;
SELECT min((f.message).body->>'n')
FROM message_bus.forwarded('out', lane_of('out'),
	(SELECT max(g.position) FROM message_bus.forwarded('out', lane_of('out'), 0, 3) g)) f;
-- It waits where it arrives: deliver_at comes along.
SELECT message_bus.send('out', 'Do', '{"n": 6}', partition_key => 'k',
	deliver_at => '2100-01-01 UTC') IS NOT NULL;
SELECT waiting('out'), state('out');
-- A pause lets nothing out.
SELECT message_bus.pause('out');
SELECT waiting('out');
SELECT bool_and(confirmed = newest) FROM message_bus.forward_lanes('out');
SELECT message_bus.resume('out');
SELECT waiting('out');
-- What has expired goes too: where it arrives it is a dead letter.
SELECT message_bus.send('out', 'Do', '{"n": 7}', partition_key => 'k',
	expires_at => '2000-01-01 UTC') IS NOT NULL;
SELECT message_bus.maintain();
SELECT waiting('out'), state('out');
-- The depth holds senders up as anywhere.
SELECT message_bus.alter_endpoint('out', max_depth => 7);
SELECT outcome($$SELECT message_bus.send('out', 'Do', '{}')$$);
SELECT message_bus.alter_endpoint('out', max_depth => -1);

-- ---------------------------------------------------------------- links

SELECT message_bus.create_link('from-shop', 'shop', 'out', 'here');
SELECT outcome($$SELECT message_bus.create_link('from-shop', 'shop', 'out', 'here')$$);
-- What one of two had told to have arrived would be gone for the other.
SELECT outcome($$SELECT message_bus.create_link('twice', 'shop', 'out')$$);
SELECT outcome($$SELECT message_bus.create_link('', 'shop', 'out')$$);
SELECT outcome($$SELECT message_bus.create_link('x', 'host=a password=b', 'out')$$);
SELECT outcome($$SELECT message_bus.create_link('x', 'postgres://a:b@c', 'out')$$);
SELECT outcome($$SELECT message_bus.create_link('x', NULL, 'out')$$);
SELECT outcome($$SELECT message_bus.create_link('x', 'shop', 'out', 'none')$$);
SELECT outcome($$SELECT message_bus.link_position('none', 0)$$);
SELECT outcome($$SELECT message_bus.link_position('from-shop', -1)$$);
SELECT message_bus.link_position('from-shop', 0);
SELECT name, source, endpoint, target, state, lanes, accepted, refused, accepted_at
FROM message_bus.links;
-- Everything of the envelope comes along; the source is where it has come through.
SELECT carried('from-shop', 'out');
SELECT carried('from-shop', 'out');
-- The worker has the lane for a moment, for what has expired.
DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM message_bus.dead) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT message_id, message_type, schema_version, body, headers, correlation_id, conversation_id,
	causation_id, user_id, tenant_id, traceparent, source, sent_at <= clock_timestamp(),
	deliver_at, expires_at, partition_key, attempt
FROM message_bus.receive('here', 1);
-- In order; what is scheduled waits, what has expired is dead.
SELECT in_order('here');
SELECT state('here');
SELECT sum(accepted), sum(refused), bool_and(accepted_at <= clock_timestamp()),
	bool_and(incarnation IS NOT NULL), min(state)
FROM message_bus.link_lanes WHERE link = 'from-shop';
-- The source keeps it until it is told.
SELECT state('out');
BEGIN;
SAVEPOINT s;
SELECT confirmed('from-shop', 'out'), confirmed('from-shop', 'out');
ROLLBACK TO s;
COMMIT;
SELECT state('out');
SELECT confirmed('from-shop', 'out'), confirmed('from-shop', 'out');
SELECT state('out'), waiting('out');
-- Not back, and not beyond what there is.
SELECT sum(message_bus.confirm_forwarded('out', l.lane, 0)) FROM message_bus.forward_lanes('out') l;
SELECT outcome($$SELECT message_bus.confirm_forwarded('out', 0, 1000000)$$);
SELECT outcome($$SELECT message_bus.forwarded('out', 0, 1000000)$$);
-- Whoever asks for what is gone is older than he was.
SELECT l.lane AS used FROM message_bus.forward_lanes('out') l WHERE l.confirmed > 0 \gset
SELECT regexp_replace(outcome(format($$SELECT message_bus.forwarded('out', %s, 0)$$, :used)),
	'lane \d.*position \d+', 'lane has gone on');

-- ---------------------------------------------------------------- twice, stale, lost

SELECT message_bus.send('out', 'Do', '{"n": 8}', uid(18), 'k');
SELECT message_bus.link_position('from-shop', :used) AS before \gset
SELECT f.position AS upto, ARRAY[f.message] AS messages, f.read_from
FROM message_bus.forwarded('out', :used, :before) f \gset
SELECT message_bus.accept('from-shop', :used, :before, :upto, :'messages', :'read_from');
SELECT regexp_replace(outcome(format($$SELECT message_bus.accept('from-shop', %s, %s, %s, %L)$$,
	:used, :before, :upto, :'messages')), '\d+$', 'n');
SELECT got('here');
SELECT outcome($$SELECT message_bus.accept('none', 0, 0, 1, '{}')$$);
SELECT outcome($$SELECT message_bus.accept('from-shop', 0, 2, 1, '{}')$$);
SELECT outcome($$SELECT message_bus.accept('from-shop', -1, 0, 1, '{}')$$);
SELECT outcome($$SELECT message_bus.accept('from-shop', 0, 0, 1, '{NULL}')$$);
SELECT outcome($$SELECT message_bus.accept('from-shop', 0, 0, 1, NULL)$$);
-- Only a place, without messages, is moved to as well.
SELECT message_bus.accept('from-shop', 1 - :used, 0, 1, '{}');
SELECT message_bus.link_position('from-shop', 1 - :used);
-- Paused, it takes nothing.
SELECT message_bus.pause_link('from-shop');
SELECT outcome($$SELECT message_bus.accept('from-shop', 7, 0, 1, '{}')$$);
SELECT state FROM message_bus.links;
SELECT message_bus.resume_link('from-shop');
SELECT outcome($$SELECT message_bus.pause_link('none')$$), outcome($$SELECT message_bus.resume_link('none')$$);
-- Another server, another database, an older timeline, an older log.
SELECT string_to_array(:'read_from', ':') AS parts \gset
SELECT outcome(format($$SELECT * FROM message_bus.forwarded('out', %s, %s, 1, %L)$$, :used, :upto,
	i)) FROM unnest(ARRAY[
		:'read_from',
		array_to_string('1'::text || (:'parts'::text[])[2:], ':'),
		array_to_string((:'parts'::text[])[:1] || '1000'::text || (:'parts'::text[])[3:], ':'),
		array_to_string((:'parts'::text[])[:2] || 'FFFFFFF/0'::text || (:'parts'::text[])[4:], ':'),
		array_to_string((:'parts'::text[])[:3] || '1'::text || (:'parts'::text[])[5:], ':'),
		array_to_string((:'parts'::text[])[:4] || '1'::text, ':')]) i;
SELECT regexp_replace(outcome(format(
	$$SELECT message_bus.accept('from-shop', %s, %s, %s, '{}', %L)$$, :used, :upto, :upto + 1, i)),
	'lane \d', 'lane n')
FROM unnest(ARRAY[
	array_to_string('1'::text || (:'parts'::text[])[2:], ':'),
	array_to_string((:'parts'::text[])[:1] || '0'::text || (:'parts'::text[])[3:], ':')]) i;
SELECT outcome(format($$SELECT message_bus.confirm_forwarded('out', %s, %s, %L)$$, :used, :upto,
	array_to_string('1'::text || (:'parts'::text[])[2:], ':'))) LIKE 'MB008 %';
-- Lost, until somebody says how it goes on.
SELECT message_bus.lose_link('from-shop', :used, 0, 'MB008', 'restored');
SELECT message_bus.lose_link('from-shop', :used, :upto, 'MB008', 'restored');
SELECT message_bus.lose_link('from-shop', :used, :upto, 'MB008', 'restored');
SELECT name, state, error_code, error, cardinality(lost_lanes), lost_at <= clock_timestamp()
FROM message_bus.links;
SELECT outcome(format($$SELECT message_bus.accept('from-shop', %s, %s, %s, '{}')$$, :used, :upto,
	:upto + 1)) LIKE 'MB008 %is lost';
SELECT outcome($$SELECT message_bus.lose_link('none', 0, 0, 'MB008', 'x')$$);
SELECT outcome($$SELECT message_bus.reset_link('none', 0, 0)$$);
SELECT outcome($$SELECT message_bus.reset_link('from-shop', 0, -1)$$);
SELECT outcome($$SELECT message_bus.reset_link('from-shop', 0, NULL)$$);
SELECT message_bus.reset_link('from-shop', :used, :upto);
SELECT message_bus.reset_link('from-shop', 1 - :used, 0);
SELECT state, error_code FROM message_bus.links;
SELECT confirmed('from-shop', 'out');

-- ---------------------------------------------------------------- what is refused

CREATE TYPE counted AS (n int);
SELECT event_store.register_event_type('Counted', 'counted');
SELECT message_bus.create_endpoint('faults');
SELECT message_bus.subscribe('faults', 'Fault');
-- The source knows of no contract; between good ones, a bad one holds up nobody.
SELECT message_bus.accept('from-shop', 3, 0, 5, ARRAY[
	ROW(uid(31), 'Counted', 1, '{"n": 31}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		'2020-01-01 UTC', NULL, NULL, 'k', 4)::message_bus.message,
	ROW(uid(32), 'Counted', 1, '{"n": "much"}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL,
		'shop', '2020-01-01 UTC', NULL, NULL, 'k', 1)::message_bus.message,
	ROW(uid(33), '', 1, '{"n": 33}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		'2020-01-01 UTC', NULL, NULL, 'k', 1)::message_bus.message,
	ROW(uid(34), 'Counted', 1, '{"n": 34}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
		NULL, NULL, NULL, NULL, NULL)::message_bus.message]);
SELECT message_id, endpoint, message_type, reason, error_code, attempts, (message).source,
	(message).sent_at = '2020-01-01 UTC'
FROM message_bus.dead_letters WHERE reason = 'fault' ORDER BY 1;
SELECT body->>'faulted_message_id', body->>'error_code', body->>'endpoint'
FROM message_bus.receive('faults') ORDER BY 1;
SELECT message_id, attempt, source, headers, correlation_id, schema_version
FROM message_bus.receive('here') ORDER BY 1;
SELECT got('here');
SELECT accepted, refused, position FROM message_bus.link_lanes WHERE lane = 3;
-- Corrected it goes on its way.
SELECT message_bus.redrive(uid(32), '{"n": 32}');
SELECT got('here');
-- Nor do times that never come get in, which would be due for ever or never.
SELECT message_bus.accept('from-shop', 3, 5, 5, '{}'), message_bus.accept('from-shop', 4, 0, 4, ARRAY[
	ROW(uid(35), 'Told', 1, '{}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		now(), 'infinity', NULL, 'k', 1)::message_bus.message,
	ROW(uid(36), 'Told', 1, '{}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		'-infinity', NULL, NULL, 'k', 1)::message_bus.message,
	ROW(uid(37), 'Fault', 1, '{}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		now(), NULL, 'infinity', 'k', 1)::message_bus.message,
	ROW(uid(38), 'Told', -3, '{"n": 38}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		now(), NULL, NULL, 'k', 1)::message_bus.message]);
SELECT message_id, error_code, error, isfinite((message).sent_at), (message).deliver_at, (message).expires_at
FROM message_bus.dead_letters WHERE message_id BETWEEN uid(35) AND uid(38) ORDER BY 1;
SELECT depth, scheduled, oldest_unacked_age IS NULL FROM message_bus.endpoints WHERE name = 'here';
-- The source's clock may be ahead: then nothing is younger than it can be.
SELECT message_bus.accept('from-shop', 5, 0, 1, ARRAY[
	ROW(uid(39), 'Told', 1, '{"n": 39}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		now() + interval '1 h', NULL, NULL, 'k', 1)::message_bus.message]);
SELECT depth, oldest_unacked_age FROM message_bus.endpoints WHERE name = 'here';
SELECT got('here');
-- Known ids are not taken again, whatever the position.
SELECT message_bus.accept('from-shop', 3, 5, 6, ARRAY[
	ROW(uid(31), 'Counted', 1, '{"n": 31}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		now(), NULL, NULL, 'k', 1)::message_bus.message]);
SELECT got('here');
-- Full: nothing is taken, and the position stays.
SELECT message_bus.alter_endpoint('here', max_depth => 1);
SELECT outcome($$SELECT message_bus.accept('from-shop', 3, 6, 8, ARRAY[
	ROW(uid(41), 'Counted', 1, '{"n": 41}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		now(), NULL, NULL, 'k', 1)::message_bus.message,
	ROW(uid(42), 'Counted', 1, '{"n": 42}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		now(), NULL, NULL, 'k', 1)::message_bus.message])$$);
SELECT got('here'), message_bus.link_position('from-shop', 3);
SELECT message_bus.alter_endpoint('here', max_depth => -1);
-- A target that was dropped: the link's own endpoint keeps what it cannot give.
SELECT message_bus.drop_endpoint('here', force => true);
SELECT message_bus.accept('from-shop', 3, 6, 8, ARRAY[
	ROW(uid(41), 'Counted', 1, '{"n": 41}', '{}', uid(1), uid(1), NULL, NULL, NULL, NULL, 'shop',
		now(), NULL, NULL, 'k', 1)::message_bus.message]);
SELECT message_id, endpoint, error_code FROM message_bus.dead_letters
WHERE endpoint LIKE 'link.%';
SELECT outcome($$SELECT message_bus.drop_link('from-shop')$$);
-- Redriven, it goes where the link's messages go by now.
SELECT message_bus.create_endpoint('here', 2);
SELECT message_bus.redrive(uid(41));
SELECT got('here');

-- ---------------------------------------------------------------- published; no circles

SELECT message_bus.create_link('all', 'shop', 'all');
SELECT message_bus.subscribe('here', 'Happened');
SELECT message_bus.create_endpoint('to-shop', 1, forward_to => 'shop');
SELECT message_bus.create_endpoint('to-mail', 1, forward_to => 'mail');
SELECT message_bus.subscribe(e, 'Happened') FROM unnest('{to-shop,to-mail}'::text[]) e;
SELECT message_bus.accept('all', 0, 0, 1, ARRAY[
	ROW(uid(51), 'Happened', 1, '{"n": 51}', '{"via": ["till"]}', uid(1), uid(1), NULL, NULL, NULL,
		NULL, 'till', now(), NULL, NULL, 'k', 1)::message_bus.message]);
SELECT got('here'), waiting('to-mail'), waiting('to-shop');
SELECT (f.message).headers FROM message_bus.forwarded('to-mail', 0, 0) f;
-- What is new goes everywhere.
SELECT message_bus.publish('Happened', '{"n": 52}', uid(52));
SELECT got('here'), waiting('to-mail'), waiting('to-shop');
-- Sent back on purpose, or through too many, it is refused for good.
SELECT message_bus.create_link('back', 'shop', 'back', 'to-shop');
SELECT message_bus.accept('back', 0, 0, 1, ARRAY[
	ROW(uid(53), 'Happened', 1, '{"n": 53}', '{}', uid(1), uid(1), NULL, NULL, NULL,
		NULL, 'till', now(), NULL, NULL, 'k', 1)::message_bus.message]);
SELECT message_bus.accept('all', 0, 1, 2, ARRAY[
	ROW(uid(54), 'Happened', 1, '{"n": 54}', jsonb_build_object('via',
		(SELECT jsonb_agg('db' || i) FROM generate_series(1, 16) i)), uid(1), uid(1), NULL, NULL,
		NULL, NULL, 'till', now(), NULL, NULL, 'k', 1)::message_bus.message]);
SELECT message_id, endpoint, error_code, error FROM message_bus.dead_letters
WHERE message_id IN (uid(53), uid(54)) ORDER BY 1;

-- ---------------------------------------------------------------- dropping

SELECT outcome($$SELECT message_bus.drop_link('all')$$);
SELECT message_bus.drop_link(l, force => true) FROM unnest('{all,back,from-shop}'::text[]) l;
SELECT count(*) FROM message_bus.links;
SELECT count(*) FROM message_bus.link_lanes;
SELECT outcome($$SELECT message_bus.drop_link('all')$$);
SELECT name FROM message_bus.endpoints WHERE name LIKE 'link.%';
-- A program with the rights of a writer carries; it changes no link.
CREATE ROLE regress_message_bus_link_carrier IN ROLE ecommerce_writer;
SELECT message_bus.create_link('again', 'shop', 'to-mail', 'here');
SET ROLE regress_message_bus_link_carrier;
SELECT message_bus.accept('again', 0, 0, 1, '{}'), count(*) FROM message_bus.forwarded('to-mail', 0, 0);
SELECT message_bus.confirm_forwarded('to-mail', 0, 1) >= 0;
SELECT message_bus.hear_link('again');
SELECT outcome($$SELECT message_bus.reset_link('again', 0, 0)$$);
SELECT outcome($$SELECT message_bus.create_link('b', 'shop', 'to-mail')$$);
SELECT outcome($$UPDATE message_bus.link_lane SET position = 0$$);
RESET ROLE;
DROP ROLE regress_message_bus_link_carrier;

-- ---------------------------------------------------------------- who carries

CREATE VIEW wrong AS SELECT kind, object, severity, since < now() - interval '50 min' AS since, holds_up, what_to_type, detail
FROM ecommerce.problems WHERE kind ~ '^(link|not_carried|no_consumer|endpoint)' AND object ~ '(again|to-mail)$';
SELECT heard_at > created_at AS heard FROM message_bus.links;
SELECT kind FROM wrong WHERE kind ~ 'link';
-- Nobody for an hour, though nothing may wait.
UPDATE message_bus.link SET created_at = created_at - interval '1 hour', heard_at = heard_at - interval '1 hour';
SELECT kind FROM wrong WHERE kind ~ 'link';
UPDATE message_bus.link_lane SET accepted_at = accepted_at - interval '1 hour';
SELECT * FROM wrong WHERE kind ~ 'link';
SELECT name, labels, value > 3000 AS long, value FROM ecommerce.metrics() WHERE name ~ '^ecommerce_link' AND name !~ 'silent'
UNION ALL SELECT name, labels, value > 3000, NULL FROM ecommerce.metrics() WHERE name ~ '^ecommerce_link_silent' ORDER BY 1;
SELECT message_bus.hear_link('again');
SELECT kind FROM wrong WHERE kind ~ 'link';
SELECT message_bus.pause_link('again');
SELECT * FROM wrong WHERE kind ~ 'link';
SELECT message_bus.resume_link('again'), message_bus.lose_link('again', 0, 1, 'MB008', 'it is older');
SELECT kind, object, severity, since, holds_up, what_to_type, detail FROM wrong WHERE kind ~ 'link';
SELECT message_bus.reset_link('again', 0, 1);
SELECT kind FROM wrong WHERE kind ~ 'link';
SELECT outcome($$SELECT message_bus.hear_link('none')$$);
-- Something waits to leave.
SELECT message_bus.send('to-mail', 'Waiting', '{}', uid(120)) IS NOT NULL;
UPDATE message_bus.ring_0 SET sent_at = sent_at - interval '1 hour';
SELECT kind, object, severity, since, holds_up ~ 'wait to leave for mail, and nobody' AS says, what_to_type, detail ->> 'endpoint' FROM wrong WHERE kind !~ 'link';

-- ---------------------------------------------------------------- verify

-- Half a restore, a target that was dropped, a counter that was forgotten.
SELECT * FROM message_bus.verify();
BEGIN;
DELETE FROM message_bus.link WHERE name = 'again';
SELECT regexp_replace(object, '\d+', 'N'), regexp_replace(problem, '\d+', 'N') FROM message_bus.verify();
ROLLBACK;
BEGIN;
UPDATE message_bus.link SET endpoint_id = 99, target = 'none';
SELECT * FROM message_bus.verify() ORDER BY problem;
ROLLBACK;
SELECT setval('message_bus.link_link_id_seq', 1);
SELECT object, regexp_replace(problem, 'behind \d+', 'behind N') FROM message_bus.verify();
