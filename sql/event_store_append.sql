-- Appending: what is stored, expected versions, repetition, bad input.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- ---------------------------------------------------------------- what is stored

SELECT version, position FROM event_store.append('order-1', 0, 'OrderCreated', '{"total": 12.50}');
-- Every parameter by its name.
SELECT version, position FROM event_store.append(stream => 'order-1', expected_version => 1,
	event_type => 'OrderPaid', data => '{"by": "card"}', metadata => '{"user_id": "u1"}',
	event_id => uid(1));
SELECT version, position FROM event_store.append_batch(stream => 'order-1', expected_version => 2,
	events => ARRAY[
	ROW('Packed', '{"box": 1}', NULL, NULL, NULL, NULL),
	ROW('Shipped', '{}', '{"tenant_id": "t"}', uid(2), '2020-02-29 12:00:00.123456Z',
		7)]::event_store.new_event[]);
SELECT version, position FROM event_store.append_json(stream => 'order-1', expected_version => 4,
	events => '[
	{"event_type": "Delivered", "data": {"at": "door"}},
	{"event_type": "Closed", "data": {}, "metadata": {"a": 1}, "schema_version": 3,
	 "event_id": "00000000-0000-4000-8000-000000000003",
	 "occurred_at": "2021-01-31T12:00:00+01:00"},
	{"event_type": "Archived", "data": {}, "metadata": null, "schema_version": null,
	 "event_id": null, "occurred_at": null}]');
SELECT version, position, event_type, schema_version, data, metadata,
	CASE WHEN event_id::text LIKE '00000000-%' THEN event_id::text ELSE 'made' END,
	CASE WHEN occurred_at < '2022-01-01' THEN occurred_at AT TIME ZONE 'UTC' END
FROM event_store.read_stream('order-1');

-- occurred_at is the wall clock, not the transaction's begin.
BEGIN;
SELECT a.version, b.version FROM event_store.append('clock-1', 0, 'A', '{}') a,
	event_store.append('clock-1', 1, 'B', '{}') b;
SELECT bool_and(occurred_at > now() AND occurred_at <= clock_timestamp()),
	count(DISTINCT occurred_at)
FROM event_store.read_stream('clock-1');
COMMIT;

-- A generated id is a UUIDv7 of now, and ids of a batch rise.
SELECT version FROM event_store.append_batch('uuid-1', 0,
	(SELECT array_agg(ROW('A', '{}', NULL, NULL, NULL, NULL)::event_store.new_event)
		FROM generate_series(1, 1000)));
SELECT count(DISTINCT event_id), bool_and(substr(event_id::text, 15, 1) = '7'),
	bool_and(substr(event_id::text, 20, 1) IN ('8', '9', 'a', 'b')),
	bool_and(abs(('x' || translate(left(event_id::text, 13), '-', ''))::bit(48)::bigint
		- extract(epoch FROM clock_timestamp()) * 1000) < 60000),
	array_agg(event_id ORDER BY version) = array_agg(event_id ORDER BY event_id)
FROM event_store.read_stream('uuid-1');
-- So has who appends one, or JSON, and from call to call; NULL metadata is none.
SELECT version FROM event_store.append('uuid-2', 0, 'A', '{}', NULL, NULL);
SELECT version FROM event_store.append('uuid-2', 1, 'A', '{}');
SELECT version FROM event_store.append_json('uuid-2', 2,
	'[{"event_type": "A", "data": {}}, {"event_type": "A", "data": {}}]');
SELECT count(DISTINCT event_id), bool_and(substr(event_id::text, 15, 1) = '7'),
	array_agg(event_id ORDER BY version) = array_agg(event_id ORDER BY event_id),
	array_agg(DISTINCT metadata)
FROM event_store.read_stream('uuid-2');

-- Positions and versions rise together, in every stream, within one command too.
SELECT count(*) FROM generate_series(1, 20) n,
	LATERAL event_store.append('rise-' || n % 3, -1, 'A', '{}');
SELECT stream, count(*), bool_and(version = n), bool_and(position > before) FROM (
	SELECT stream, version, position, row_number() OVER w AS n,
		lag(position, 1, 0::bigint) OVER w AS before
	FROM event_store.read_all(0, NULL, 'rise')
	WINDOW w AS (PARTITION BY stream ORDER BY position)) r
GROUP BY stream ORDER BY stream;

-- Data comes back as it was given, also from a compressed column stored out of line.
CREATE TEMP TABLE document (n int, data jsonb);
INSERT INTO document VALUES
	(1, '{}'),
	(2, '{"a": [1, 2.50, -1e-300, 12345678901234567890123456789, null, true, {"b": []}], "": "",
		"ü\"\\/\n\t": "€\u001f𝄞"}'),
	(3, jsonb_build_object('long', repeat('compressible ', 20000))),
	(4, (SELECT jsonb_object_agg(i, md5(i::text)) FROM generate_series(1, 3000) i)),
	(5, ('{"deep": ' || repeat('[', 500) || repeat(']', 500) || '}')::jsonb);
SELECT n, a.version
FROM document d, LATERAL event_store.append('document-1', n - 1, 'Stored', d.data) a;
SELECT bool_and(e.data = d.data) FROM document d
JOIN event_store.read_stream('document-1') e ON e.version = d.n;
SELECT version FROM event_store.append_batch('document-2', 0, (SELECT array_agg(
	ROW('Stored', data, data, NULL, NULL, NULL)::event_store.new_event ORDER BY n) FROM document));
SELECT bool_and(e.data = d.data AND e.metadata = d.data) FROM document d
JOIN event_store.read_stream('document-2') e ON e.version = d.n;
SELECT version FROM event_store.append_json('document-3', 0, (SELECT jsonb_agg(
	jsonb_build_object('event_type', 'Stored', 'data', data) ORDER BY n) FROM document));
SELECT bool_and(e.data = d.data) FROM document d
JOIN event_store.read_stream('document-3') e ON e.version = d.n;

-- All events of a call or none, and all calls of a transaction.
SELECT fails($$SELECT event_store.append_batch('atom-1', 0,
	ARRAY[ROW('A', '{}', NULL, NULL, NULL, NULL),
	ROW('B', '[]', NULL, NULL, NULL, NULL)]::event_store.new_event[])$$);
BEGIN;
SELECT version FROM event_store.append('atom-1', 0, 'A', '{}');
SELECT version FROM event_store.append('atom-2', 0, 'A', '{}');
ROLLBACK;
SELECT event_store.stream_version('atom-1'), event_store.stream_version('atom-2');
BEGIN;
SELECT version FROM event_store.append('atom-1', 0, 'A', '{}');
SAVEPOINT s;
SELECT version FROM event_store.append('atom-1', 1, 'B', '{}');
SELECT version FROM event_store.append('atom-2', 0, 'A', '{}');
ROLLBACK TO s;
SELECT version FROM event_store.append('atom-1', 1, 'C', '{}');
COMMIT;
SELECT stream, version, event_type FROM event_store.read_all(0, NULL, 'atom');
SELECT event_store.stream_version('atom-2');

-- 10 000 events are allowed, no more.
SELECT version FROM event_store.append_batch('many-1', 0,
	(SELECT array_agg(ROW('A', '{}', NULL, NULL, NULL, NULL)::event_store.new_event)
		FROM generate_series(1, 10000)));
SELECT version FROM event_store.append_json('many-1', 10000,
	(SELECT jsonb_agg('{"event_type": "A", "data": {}}'::jsonb) FROM generate_series(1, 10000)));
SELECT fails($$SELECT event_store.append_batch('many-2', 0,
	(SELECT array_agg(ROW('A', '{}', NULL, NULL, NULL, NULL)::event_store.new_event)
		FROM generate_series(1, 10001)))$$);
SELECT fails($$SELECT event_store.append_json('many-2', 0,
	(SELECT jsonb_agg('{"event_type": "A", "data": {}}'::jsonb) FROM generate_series(1, 10001)))$$);

-- ---------------------------------------------------------------- expected versions

SELECT version FROM event_store.append_batch('state-three', 0,
	(SELECT array_agg(ROW('A', '{}', NULL, NULL, NULL, NULL)::event_store.new_event)
		FROM generate_series(1, 3)));
SELECT version FROM event_store.append('state-deleted', 0, 'A', '{}');
SELECT version FROM event_store.append('state-deleted', 1, 'A', '{}');
SELECT event_store.delete_stream('state-deleted', 2);
SELECT version FROM event_store.append('state-dead', 0, 'A', '{}');
SELECT event_store.tombstone_stream('state-dead', 1);
-- Each call is undone, so that the next finds the stream as it was.
CREATE FUNCTION undone(call text, stream text, expected bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format(call, stream, expected) INTO result;
	RAISE EXCEPTION USING ERRCODE = 'XX999', MESSAGE = coalesce(nullif(result, ''), 'held');
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN 'XX999' THEN SQLERRM ELSE SQLSTATE END;
END
$$;
\pset tuples_only off
\pset footer off
SELECT c.name AS call, s.stream,
	undone(c.call, s.stream, NULL) AS "null",
		undone(c.call, s.stream, -9223372036854775808) AS "min",
	undone(c.call, s.stream, -3) AS "-3",
	undone(c.call, s.stream, -2) AS "-2", undone(c.call, s.stream, -1) AS "-1",
	undone(c.call, s.stream, 0) AS "0", undone(c.call, s.stream, 1) AS "1",
	undone(c.call, s.stream, 2) AS "2", undone(c.call, s.stream, 3) AS "3",
	undone(c.call, s.stream, 4) AS "4", undone(c.call, s.stream, 9223372036854775807) AS "max"
FROM (VALUES
	(1, 'append', 'SELECT version FROM event_store.append(%L, %L, ''A'', ''{}'')'),
	(2, 'append_batch', 'SELECT version FROM event_store.append_batch(%L, %L, ''{"(A,{},,,,)"}'')'),
	(3, 'append_json', 'SELECT version
		FROM event_store.append_json(%L, %L, ''[{"event_type": "A", "data": {}}]'')'),
	(4, 'batch of 0', 'SELECT version FROM event_store.append_batch(%L, %L, ''{}'')'),
	(5, 'json of 0', 'SELECT version FROM event_store.append_json(%L, %L, ''[]'')'),
	(6, 'check', 'SELECT event_store.check_version(%L, %L)')) c (n, name, call),
	(VALUES (1, 'state-none'), (2, 'state-three'), (3, 'state-deleted'), (4, 'state-dead'))
		s (m, stream)
ORDER BY n, m;
\pset tuples_only on

-- The errors in full.
SELECT fails($$SELECT event_store.append('state-three', NULL, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append_batch('state-three', NULL, '{}')$$);
SELECT fails($$SELECT event_store.append_json('state-three', NULL, '[]')$$);
SELECT fails($$SELECT event_store.check_version('state-three', NULL)$$);
SELECT fails($$SELECT event_store.append('state-three', -3, 'A', '{}')$$);
SELECT fails($$SELECT event_store.check_version('state-three', -3)$$);
SELECT fails($$SELECT event_store.append('state-three', 2, 'A', '{}')$$);
SELECT fails($$SELECT event_store.check_version('state-none', -2)$$);
SELECT fails($$SELECT event_store.append('state-dead', -1, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append('state-three', 'NaN'::float8::bigint, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append('state-three', 9223372036854775808::bigint, 'A', '{}')$$);
-- DETAIL is JSON whatever the stream is called.
SELECT version FROM event_store.append(E'quo"te-\\ü{}', 0, 'A', '{}');
DO $$
DECLARE
	detail text;
BEGIN
	PERFORM event_store.append(E'quo"te-\\ü{}', 7, 'A', '{}');
EXCEPTION WHEN SQLSTATE 'ST001' THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '% %', SQLERRM, detail::jsonb = jsonb_build_object('stream', E'quo"te-\\ü{}',
		'expected_version', 7, 'actual_version', 1);
END
$$;
-- An empty array gives the version and no position.
SELECT version, position IS NULL FROM event_store.append_batch('state-three', 3, '{}');
SELECT version, position IS NULL FROM event_store.append_json('state-none', 0, '[]');
SELECT event_store.check_version('state-checked', 0);
SELECT count(*) FROM event_store.streams WHERE stream IN ('state-none', 'state-checked');

-- Two names with one hash, made by putting another name where hash-1 belongs: each is a
-- stream of its own, the second under the next number.
BEGIN;
SELECT version FROM event_store.append('hash-1', 0, 'A', '{}');
SELECT name_key FROM event_store.stream WHERE name = 'hash-1' \gset
ROLLBACK;
INSERT INTO event_store.stream (stream_id, name_key, name)
	VALUES (nextval('event_store.stream_id_seq'), :name_key, 'hash-2');
SELECT event_store.stream_version('hash-1'),
	outcome($$SELECT event_store.check_version('hash-1', -2)$$);
SELECT version FROM event_store.append('hash-1', 0, 'A', '{}');
SELECT version FROM event_store.append('hash-1', 1, 'B', '{}');
SELECT name, name_key - :name_key AS key FROM event_store.stream WHERE name LIKE 'hash-%'
	ORDER BY name;
SELECT stream, version, event_type FROM event_store.read_stream('hash-1');
SELECT event_store.delete_stream('hash-1', 2);
SELECT stream, version, deleted FROM event_store.streams WHERE category = 'hash';

-- ---------------------------------------------------------------- repetition

-- Versions 1 to 4 of rep-1 have the ids 101 to 104; 105 stands in rep-2, 109 nowhere.
CREATE FUNCTION events(ids int[]) RETURNS event_store.new_event[] LANGUAGE sql AS $$
	SELECT array_agg(ROW('A', '{}', NULL, CASE WHEN id > 0 THEN uid(id) END, NULL,
		NULL)::event_store.new_event ORDER BY n)
	FROM unnest(ids) WITH ORDINALITY i (id, n)
$$;
SELECT version, position FROM event_store.append_batch('rep-1', 0, events('{101,102,103,104}'));
SELECT version, position FROM event_store.append_batch('rep-2', 0, events('{105}'));
CREATE TEMP TABLE before AS SELECT store_state() AS state;
-- The outcome: version and position relative to rep-1's first, or the SQLSTATE.
SELECT ids, expected, outcome(format('SELECT version || ''@'' || position
	- (SELECT position FROM event_store.get_event(uid(101)))
	FROM event_store.append_batch(%L, %s, events(%L))', coalesce(stream, 'rep-1'), expected, ids))
FROM (VALUES
	-- at its place
	('{101}', 0, NULL), ('{101}', -1, NULL), ('{101}', -2, NULL), ('{102}', 1, NULL),
		('{104}', 3, NULL),
	('{101,102}', 0, NULL), ('{101,102,103,104}', 0, NULL), ('{102,103}', 1, NULL),
		('{103,104}', -1, NULL),
	('{102,103}', -2, NULL),
	-- elsewhere
	('{101}', 1, NULL), ('{101}', 4, NULL), ('{102}', 0, NULL), ('{102,103}', 0, NULL),
		('{104}', 4, NULL),
	('{102,101}', -1, NULL), ('{101,103}', -1, NULL), ('{104,101}', -2, NULL),
	-- partly
	('{101,109}', 0, NULL), ('{109,101}', -1, NULL), ('{104,109}', 3, NULL), ('{101,0}', 0, NULL),
	('{0,101}', -1, NULL), ('{0,102}', 0, NULL), ('{104,0}', -1, NULL), ('{101,102,105}', 0, NULL),
	-- in another stream
	('{101}', 0, 'rep-3'), ('{101}', -1, 'rep-2'), ('{105}', -1, NULL), ('{105}', 4, NULL),
	('{101,102,103,104}', 0, 'rep-3'), ('{109,105}', 0, 'rep-3'), ('{101}', -2, 'rep-3'),
		('{101}', 7, 'rep-3'),
	-- a new id is judged by the version alone
	('{109}', 0, NULL), ('{109}', 3, NULL), ('{109}', 5, NULL), ('{109}', -2, 'rep-3')
	) c (ids, expected, stream);
SELECT store_state() = state FROM before;
SELECT version, position - (SELECT position FROM event_store.get_event(uid(101)))
FROM event_store.append('rep-1', 1, 'Other', '{"other": true}', '{}', uid(102));
SELECT version, position - (SELECT position FROM event_store.get_event(uid(101)))
FROM event_store.append_json('rep-1', 2,
	format('[{"event_type": "A", "data": {}, "event_id": "{%s}"}]', upper(uid(103)::text))::jsonb);
SELECT store_state() = state FROM before;
SELECT event_type, data FROM event_store.get_event(uid(102));
-- The same id twice in one call.
SELECT fails($$SELECT event_store.append_batch('rep-3', 0, events('{109,108,109}'))$$);
SELECT fails($$SELECT event_store.append_json('rep-1', -1, '[
	{"event_type": "A", "data": {}, "event_id": "00000000-0000-4000-8000-00000000010a"},
	{"event_type": "A", "data": {}, "event_id": "00000000-0000-4000-8000-00000000010A"}]')$$);
SELECT fails($$SELECT event_store.append_batch('rep-1', 0, events('{101,101}'))$$);
SELECT fails($$SELECT event_store.append('rep-3', -1, 'A', '{}', '{}', uid(101))$$);
-- A rolled-back id is free; within a transaction repetition counts too.
BEGIN;
SAVEPOINT s;
SELECT version FROM event_store.append('rep-3', 0, 'A', '{}', '{}', uid(109));
ROLLBACK TO s;
SELECT version FROM event_store.append('rep-4', 0, 'A', '{}', '{}', uid(109));
SELECT version FROM event_store.append('rep-4', 0, 'A', '{}', '{}', uid(109));
SELECT outcome($$SELECT version FROM event_store.append('rep-3', 0, 'A', '{}', '{}', uid(109))$$);
COMMIT;
SELECT event_store.stream_version('rep-3'), event_store.stream_version('rep-4');

-- ---------------------------------------------------------------- bad input: names

SELECT fails($$SELECT event_store.append(NULL, 0, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append('', 0, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append(repeat('x', 256), 0, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append(repeat('ü', 128), 0, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append('-', 0, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append('-7f3c', 0, 'A', '{}')$$);
SELECT to_hex(ascii(c)),
	refusal(format('SELECT event_store.append(%L, 0, ''A'', ''{}'')', 'or' || c || 'der-1'))
FROM unnest(ARRAY[E'\x01', E'\t', E'\n', E'\r', E'\x1b', E'\x1f', E'\x7f', U&'\0080', U&'\0085',
	U&'\009F']) c;
SELECT fails(format('SELECT event_store.append(%L, 0, ''A'', ''{}'')', E'order-1\n'));
-- No other function lets such a name in.
SELECT call, outcome(format(call, '')), outcome(format(call, repeat('x', 256))),
	outcome(format(call, '-a')), outcome(format(call, E'a\nb'))
FROM (VALUES
	('SELECT event_store.append_batch(%L, 0, ''{}'')'),
	('SELECT event_store.append_json(%L, 0, ''[]'')'),
	('SELECT event_store.check_version(%L, 0)'),
	('SELECT event_store.delete_stream(%L, 0)'),
	('SELECT event_store.tombstone_stream(%L, 0)'),
	('SELECT event_store.set_retention(%L, 1)')) c (call);
-- The longest names, and strange ones that are none the less good.
SELECT octet_length(name),
	outcome(format('SELECT version FROM event_store.append(%L, 0, ''A'', ''{}'')', name)),
	event_store.stream_version(name)
FROM (VALUES (repeat('x', 255)), (repeat('ü', 127) || '-'), (repeat('𝄞', 63) || '-ab'), ('a-'),
	('a--'), (' '), ('a-b-c'),
	('A-1'), ('a-1'), ('ä'), ('%s-''"\'), (U&'\00A0\2028'), ('*'), ('NULL'), ('{}')) n (name);
SELECT stream, category FROM event_store.streams
WHERE octet_length(stream) < 8 AND stream !~ '^(rep|many|atom|rise|uuid)-'
	ORDER BY stream COLLATE "C";

-- ---------------------------------------------------------------- bad input: events

SELECT fails($$SELECT event_store.append('bad-1', 0, NULL, '{}')$$);
SELECT fails($$SELECT event_store.append('bad-1', 0, '', '{}')$$);
SELECT fails($$SELECT event_store.append('bad-1', 0, repeat('x', 256), '{}')$$);
SELECT fails($$SELECT event_store.append('bad-1', 0, repeat('ü', 128), '{}')$$);
SELECT fails($$SELECT event_store.append('bad-1', 0, E'A\x7f', '{}')$$);
SELECT fails($$SELECT event_store.append('bad-1', 0, 'A', NULL)$$);
SELECT data, refusal(format('SELECT event_store.append(''bad-1'', 0, ''A'', %L)', data))
FROM unnest(ARRAY['null', '1', '"x"', 'true', '[]', '[{}]']) data;
SELECT fails($$SELECT event_store.append('bad-1', 0, 'A', '{}', '5')$$);
SELECT metadata, refusal(format('SELECT event_store.append(''bad-1'', 0, ''A'', ''{}'', %L)',
	metadata))
FROM unnest(ARRAY['null', '1', '"x"', '[]', '[{"correlation_id": 1}]']) metadata;
SELECT fails($$SELECT event_store.append('bad-1', 0, 'A', '{}', '{"correlation_id": "x"}')$$);
SELECT id, refusal(format('SELECT event_store.append(''bad-1'', 0, ''A'', ''{}'', %L)',
	jsonb_build_object('correlation_id', id)))
FROM unnest(ARRAY['1', '"x"', 'null', '{}', '"00000000-0000-4000-8000-0000000000g1"']::jsonb[]) id;
-- No text can hold NUL, and jsonb refuses its escape.
SELECT fails($$SELECT event_store.append('bad-1', 0, 'A', '{"a": "\u0000"}')$$);
SELECT fails($$SELECT event_store.append_json('bad-1', 0,
	'[{"event_type": "\u0000", "data": {}}]')$$);

-- A long name of a type is good up to 255 bytes.
SELECT version FROM event_store.append('type-1', 0, repeat('x', 255), '{}');
SELECT version FROM event_store.append('type-1', 1, repeat('ü', 127) || 'x', '{}');
SELECT version, octet_length(event_type) FROM event_store.read_stream('type-1');

-- Size of data: what counts is its size, not how well it compresses.
SHOW event_store.max_event_size;
SELECT version FROM event_store.append('size-1', 0, 'A',
	jsonb_build_object('a', repeat('x', 1024 * 1024 - 16)));
SELECT fails($$SELECT event_store.append('size-1', 1, 'A',
	jsonb_build_object('a', repeat('x', 1024 * 1024)))$$);
SET event_store.max_event_size = 64;
SELECT fails($$SELECT event_store.append('size-1', 1, 'A',
	jsonb_build_object('a', repeat('x', 64)))$$);
SELECT fails($$SELECT event_store.append_batch('size-1', 1,
	ARRAY[ROW('A', '{}', NULL, NULL, NULL, NULL),
	ROW('B', jsonb_build_object('a', repeat('x', 64)), NULL, NULL, NULL,
		NULL)]::event_store.new_event[])$$);
SELECT fails($$SELECT event_store.append_json('size-1', 1,
	jsonb_build_array(jsonb_build_object('event_type', 'A',
	'data', jsonb_build_object('a', repeat('x', 64)))))$$);
SELECT version FROM event_store.append('size-1', 1, 'A', '{"a": 1}');
SELECT outcome($$SELECT set_config('event_store.max_event_size', '0', false)$$) = '22023';
RESET event_store.max_event_size;

-- Arrays.
SELECT fails($$SELECT event_store.append_batch('bad-1', 0, NULL)$$);
SELECT fails($$SELECT event_store.append_batch('bad-1', 0, ARRAY[NULL]::event_store.new_event[])$$);
SELECT fails($$SELECT event_store.append_batch('bad-1', 0,
	ARRAY[[ROW('A', '{}', NULL, NULL, NULL, NULL)],
	[ROW('B', '{}', NULL, NULL, NULL, NULL)]]::event_store.new_event[])$$);
SELECT bad, refusal(format($$SELECT event_store.append_batch('bad-1', 0,
	ARRAY[ROW('A', '{}', NULL, NULL, NULL, NULL),
	ROW(%s)]::event_store.new_event[])$$, bad))
FROM unnest(ARRAY[
	$$NULL, '{}', NULL, NULL, NULL, NULL$$,
	$$'', '{}', NULL, NULL, NULL, NULL$$,
	$$repeat('x', 256), '{}', NULL, NULL, NULL, NULL$$,
	$$E'\n', '{}', NULL, NULL, NULL, NULL$$,
	$$'B', NULL, NULL, NULL, NULL, NULL$$,
	$$'B', '5', NULL, NULL, NULL, NULL$$,
	$$'B', '{}', '[]', NULL, NULL, NULL$$,
	$$'B', '{}', '{"correlation_id": "x"}', NULL, NULL, NULL$$,
	$$'B', '{}', NULL, NULL, 'infinity', NULL$$,
	$$'B', '{}', NULL, NULL, '-infinity', NULL$$,
	$$'B', '{}', NULL, NULL, NULL, 0$$,
	$$'B', '{}', NULL, NULL, NULL, -1$$]) bad;
-- Bounds other than 1 do not matter.
SELECT version FROM event_store.append_batch('bounds-1', 0,
	('[0:1]={"(A,{},,,,)","(B,{},,,,)"}')::event_store.new_event[]);

-- JSON.
SELECT fails($$SELECT event_store.append_json('bad-1', 0, NULL)$$);
SELECT fails($$SELECT event_store.append_json('bad-1', 0, '{}')$$);
SELECT events, refusal(format('SELECT event_store.append_json(''bad-1'', 0, %L)', events))
FROM unnest(ARRAY['null', '1', '"[]"', 'true', '{}', '{"event_type": "A", "data": {}}']) events;
SELECT bad, refusal(format('SELECT event_store.append_json(''bad-1'', 0, %L)',
	'[{"event_type": "A", "data": {}}, ' || bad || ']'))
FROM unnest(ARRAY['null', '1', '"x"', '[]', '[{"event_type": "A", "data": {}}]', '{}',
	'{"event_type": "A"}', '{"data": {}}', '{"event_type": null, "data": {}}',
		'{"event_type": "", "data": {}}',
	'{"event_type": 5, "data": {}}', '{"event_type": ["A"], "data": {}}',
		'{"event_type": {}, "data": {}}',
	'{"event_type": "B", "data": null}', '{"event_type": "B", "data": []}',
		'{"event_type": "B", "data": "{}"}',
	'{"event_type": "B", "data": {}, "metadata": []}',
		'{"event_type": "B", "data": {}, "metadata": 1}',
	'{"event_type": "B", "data": {}, "metadata": {"correlation_id": 1}}',
	'{"event_type": "B", "data": {}, "event_id": 1}',
		'{"event_type": "B", "data": {}, "event_id": ""}',
	'{"event_type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-00000000000"}',
	'{"event_type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-0000000000001"}',
	'{"event_type": "B", "data": {}, "event_id": {}}',
	'{"event_type": "B", "data": {}, "occurred_at": 1}',
		'{"event_type": "B", "data": {}, "occurred_at": ""}',
	'{"event_type": "B", "data": {}, "occurred_at": "infinity"}',
	'{"event_type": "B", "data": {}, "occurred_at": "-infinity"}',
	'{"event_type": "B", "data": {}, "occurred_at": "soon"}',
	'{"event_type": "B", "data": {}, "occurred_at": "2026-02-30T00:00:00Z"}',
	'{"event_type": "B", "data": {}, "occurred_at": "999999-01-01"}',
	'{"event_type": "B", "data": {}, "occurred_at": []}',
	'{"event_type": "B", "data": {}, "schema_version": 0}',
		'{"event_type": "B", "data": {}, "schema_version": -1}',
	'{"event_type": "B", "data": {}, "schema_version": 1.5}',
		'{"event_type": "B", "data": {}, "schema_version": "1"}',
	'{"event_type": "B", "data": {}, "schema_version": 2147483648}',
	'{"event_type": "B", "data": {}, "schema_version": 1e400}',
	'{"event_type": "B", "data": {}, "schema_version": true}',
	'{"event_type": "B", "data": {}, "version": 1}', '{"event_type": "B", "data": {}, "Data": {}}',
	'{"event_type": "B", "data": {}, "": 1}',
		'{"event_type": "B", "data": {}, "event_type ": null}']) e (bad);

-- Nothing of all this has been written.
SELECT count(*) FROM event_store.streams WHERE stream ~ '^bad-';
-- Of equal keys the last counts, as in jsonb everywhere.
SELECT version FROM event_store.append_json('json-1', 0,
	'[{"data": 1, "event_type": 2, "event_type": "A", "data": {}}]');

-- A transaction that may only read.
BEGIN READ ONLY;
SELECT fails($$SELECT event_store.append('bad-1', 0, 'A', '{}')$$);
SELECT fails($$SELECT event_store.append_batch('bad-1', 0, '{}')$$);
SELECT fails($$SELECT event_store.append_json('bad-1', 0, '[]')$$);
SELECT fails($$SELECT event_store.check_version('bad-1', 0)$$);
COMMIT;

-- PREPARE TRANSACTION is refused to who has appended, and does not hold the mark afterwards.
BEGIN;
SELECT version FROM event_store.append('prepared-1', 0, 'A', '{}');
PREPARE TRANSACTION 'ours';
SELECT event_store.stream_version('prepared-1'),
	event_store.high_water_mark() = event_store.position_counter(),
	(SELECT count(*) FROM event_store.appenders), (SELECT count(*) FROM pg_prepared_xacts);
BEGIN;
SELECT event_store.check_version('prepared-1', 0);
SELECT count(*) FROM event_store.read_stream('state-three');
PREPARE TRANSACTION 'others';
ROLLBACK PREPARED 'others';

-- ---------------------------------------------------------------- a table with more than ours

-- Triggers, row security and indexes that somebody has added see every event.
CREATE TABLE seen (stream text, version bigint);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO public.seen VALUES (new.stream, new.version); RETURN new; END $$;
CREATE INDEX own_idx ON event_store.stored_event (length(event_type)) WHERE version > 1;
SELECT version FROM event_store.append('own-1', 0, 'A', '{}', '{}', uid(201));
CREATE TRIGGER see AFTER INSERT ON event_store.stored_event FOR EACH ROW EXECUTE FUNCTION see();
SELECT version FROM event_store.append_batch('own-1', 1, events('{202,203}'));
SELECT version FROM event_store.append('own-2', 0, 'A', '{}');
SELECT outcome($$SELECT version FROM event_store.append_batch('own-1', 1, events('{202,203}'))$$),
	outcome($$SELECT version FROM event_store.append('own-2', 1, 'A', '{}', '{}', uid(201))$$);
SELECT * FROM seen ORDER BY stream, version;
DROP TRIGGER see ON event_store.stored_event;
ALTER TABLE event_store.stored_event ENABLE ROW LEVEL SECURITY;
SELECT version FROM event_store.append('own-1', 3, 'A', '{}');
ALTER TABLE event_store.stored_event DISABLE ROW LEVEL SECURITY;
SELECT version FROM event_store.append('own-1', 3, 'A', '{}');
SET enable_seqscan = off;
SELECT count(*) FROM event_store.stored_event
	WHERE length(event_type) = 1 AND version > 1 AND stream = 'own-1';
RESET enable_seqscan;
SELECT array_agg(version) FROM event_store.read_stream('own-1');

-- ---------------------------------------------------------------- no drop by accident

DROP FUNCTION events(int[]);
DROP EXTENSION ecommerce;
DROP EXTENSION ecommerce CASCADE;
DROP SCHEMA event_store CASCADE;
SELECT count(*) > 0 FROM event_store.stored_event;
SET event_store.allow_drop = on;
DROP EXTENSION ecommerce;
CREATE EXTENSION ecommerce;
SELECT version, position FROM event_store.append('order-1', 0, 'OrderCreated', '{}');
DROP EXTENSION ecommerce;
CREATE EXTENSION ecommerce;
RESET event_store.allow_drop;
DROP EXTENSION ecommerce;

-- Appending leaves nothing behind in the session.
SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'brin%';
