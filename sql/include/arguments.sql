-- Every function of some schemas, called by some roles with NULL, empty, huge, negative and
-- infinite arguments: the server stays up, no error is an internal one, and what refuses a NULL
-- says which argument it was. The list is pg_proc's, so that functions that are added later are
-- called too. The test has set roles and schemas; in the end table result has a row for each
-- call, role by role, with what it ended with.
CREATE EXTENSION ecommerce;

-- Something to hit: each argument's ordinary value names it.
CREATE FUNCTION public.on_event(event event_store.event) RETURNS void
	LANGUAGE sql AS 'SELECT';
CREATE FUNCTION public.on_state(state jsonb, event event_store.event) RETURNS jsonb
	LANGUAGE sql AS 'SELECT state';
CREATE FUNCTION public.upcast(data jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT data';
CREATE TYPE public.payload AS (n int);
CREATE TABLE public.read_model (n int);
SELECT message_bus.create_endpoint('thing');
SELECT event_store.create_subscription('thing');
SELECT event_store.create_projection('thing', 'on_event(event_store.event)', mode => 'inline');
SELECT event_store.create_aggregate('thing', snapshot_every => 2);
SELECT event_store.create_event_handler('thing', 'thing', 'on_state(jsonb,event_store.event)');
SELECT event_store.append('thing', 0, 'thing', '{"n": 1}') IS NOT NULL AS appended;
SELECT message_bus.send('thing', 'thing', '{"n": 1}') IS NOT NULL AS sent;
SELECT saga.define('thing', '{"initial": "Begun", "events": {"thing": {"correlate": "$.message.n"}},
	"start": {"thing": {"goto": "Begun"}}, "states": {"Begun": {"kind": "normal", "timer": "none", "on": {"thing": {"goto": "Done"}}},
	"Done": {"kind": "final", "default": "ignore"}}}') IS NOT NULL AS defined;
SELECT saga.create('thing', '00000000-0000-0000-0000-000000000000') IS NOT NULL AS created;

CREATE TABLE value_of (type regtype, ordinary text, extreme text[]);
INSERT INTO value_of VALUES
	('text', $$'thing'$$, ARRAY[$$''$$, $$'-'$$, $$'-1'$$, $$E'\x01'$$, $$'{}'$$, $$repeat('x', 300)$$,
		$$repeat('long ', 30000)$$, $$'infinity'$$, $$'async'$$]),
	('bigint', '1', ARRAY['0', '-1', '-2', '-9223372036854775808', '9223372036854775807']),
	('integer', '1', ARRAY['0', '-1', '-2147483648', '2147483647']),
	('oid', $$'read_model'::regclass$$, ARRAY['0', '4294967295']),
	('numeric', '1', ARRAY[$$'NaN'$$, $$'Infinity'$$, $$'-1e1000'$$]),
	('double precision', '1', ARRAY[$$'NaN'$$, $$'Infinity'$$, $$'-1e300'$$]),
	('boolean', 'true', ARRAY['false']),
	('uuid', $$'00000000-0000-0000-0000-000000000000'$$,
		ARRAY[$$'ffffffff-ffff-ffff-ffff-ffffffffffff'$$]),
	('timestamptz', 'now()', ARRAY[$$'infinity'$$, $$'-infinity'$$, $$'4713-01-01 BC'$$,
		$$'294276-12-31'$$]),
	('interval', $$'1 s'$$, ARRAY[$$'0'$$, $$'-1 us'$$, $$'178000000 years'$$,
		$$'-178000000 years'$$, $$make_interval(secs => 9e12)$$]),
	('text[]', $$'{thing}'$$, ARRAY[$$'{}'$$, $$'{NULL}'$$, $$'{""}'$$, $$'{{a,b},{c,NULL}}'$$,
		$$array_fill('x'::text, '{2000}')$$]),
	('bigint[]', $$'{1}'$$, ARRAY[$$'{}'$$, $$'{NULL}'$$, $$'{{1,2},{-1,NULL}}'$$,
		$$array_fill(-1::bigint, '{2000}')$$]),
	('jsonb', $$'{"n": 1}'$$, ARRAY[$$'null'$$, $$'[]'$$, $$'{}'$$, $$'""'$$, $$'[{}]'$$, $$'[null]'$$, $$'1e1000'$$,
		$$('{"n": 1e131071, "a": ' || repeat('[', 5000) || repeat(']', 5000) || '}')::jsonb$$,
		$$(SELECT jsonb_object_agg(i, i) FROM generate_series(1, 2000) i)$$]),
	('regprocedure', $$'on_event(event_store.event)'$$, ARRAY['0', '4294967295', $$'now()'$$,
		$$'on_state(jsonb,event_store.event)'$$, $$'upcast(jsonb)'$$]),
	('regtype', $$'payload'$$, ARRAY['0', '4294967295', $$'int4'$$, $$'record'$$, $$'payload[]'$$]),
	('regclass', $$'read_model'$$, ARRAY['0', '4294967295']),
	('regclass[]', $$'{read_model}'$$, ARRAY[$$'{}'$$, $$'{NULL}'$$, $$'{0}'$$, $$'{4294967295}'$$,
		$$'{{pg_class,pg_proc},{read_model,NULL}}'$$]),
	('event_store.new_event[]', $$ARRAY[ROW('thing', '{"n": 1}', NULL, NULL, NULL, NULL)]$$,
		ARRAY[$$'{}'$$, $$'{NULL}'$$, $$ARRAY[ROW(NULL, NULL, NULL, NULL, NULL, NULL)]$$,
		$$ARRAY[ROW('thing', '{}', '[]', NULL, 'infinity', -2147483648)]$$,
		$$ARRAY[ROW('', 'null', 'null', NULL, '-infinity', 2147483647)]$$,
		$$'{{NULL,NULL},{NULL,NULL}}'$$]);

-- Ordinary values of arguments that only some values get past the first check of.
CREATE TABLE value_for (name text, ordinary text);
INSERT INTO value_for VALUES ('mode', $$'inline'$$), ('events', $$'[{"event_type": "thing", "data": {}}]'$$),
	('retry', $$'{"kind": "none"}'$$), ('breaker', $$'{"kind": "none"}'$$), ('initial_state', $$'{}'$$),
	('headers', $$'{}'$$), ('metadata', $$'{}'$$), ('data', $$'{}'$$);

-- Arguments of every function: as they are ordinarily, and what else to try.
CREATE VIEW argument AS
SELECT p.oid AS function, a.ordinality AS number, a.type::regtype AS type,
	coalesce(p.proargnames[a.ordinality], '') AS name,
	format('(%s)::%s', coalesce(CASE WHEN a.type = 'jsonb'::regtype OR n.name = 'mode' THEN n.ordinary END,
		v.ordinary, 'NULL'), a.type::regtype) AS ordinary,
	ARRAY['NULL'] || coalesce(v.extreme, ARRAY[format('ROW(%s)',
		(SELECT string_agg('NULL', ', ') FROM pg_attribute t
		 WHERE t.attrelid = (SELECT typrelid FROM pg_type WHERE oid = a.type) AND t.attnum > 0
			AND NOT t.attisdropped))]) AS extreme
FROM pg_proc p
CROSS JOIN LATERAL unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, ordinality)
LEFT JOIN value_of v ON v.type = a.type
LEFT JOIN value_for n ON n.name = p.proargnames[a.ordinality]
WHERE p.pronamespace::regnamespace::text = ANY (:'schemas') AND p.prokind = 'f';

-- A call of a function with one argument changed (0: none; -1: all of them).
CREATE FUNCTION call(function oid, changed bigint, choice bigint) RETURNS text
LANGUAGE sql AS $$
	SELECT format('SELECT %s%s(%s)',
		(SELECT CASE WHEN proretset THEN '* FROM ' ELSE '' END FROM pg_proc WHERE oid = function),
		function::regproc, coalesce((
		SELECT string_agg(CASE
			WHEN p.provariadic <> 0 AND a.number = p.pronargs THEN 'VARIADIC ' ELSE '' END ||
			CASE WHEN changed IN (-1, a.number)
				THEN format('(%s)::%s', a.extreme[1 + (choice - 1) % cardinality(a.extreme)], a.type)
				ELSE a.ordinary END, ', ' ORDER BY a.number)
		FROM argument a JOIN pg_proc p ON p.oid = a.function WHERE a.function = call.function), ''))
$$;

CREATE TABLE try (id bigint GENERATED ALWAYS AS IDENTITY, statement text, null_argument text);
INSERT INTO try (statement, null_argument)
SELECT call(p.oid, a.number, c.choice), CASE WHEN c.choice = 1 THEN a.name END
FROM pg_proc p
CROSS JOIN LATERAL (SELECT g.number, g.name, cardinality(g.extreme) AS choices FROM argument g
	WHERE g.function = p.oid
	UNION ALL SELECT 0, NULL, 1 UNION ALL SELECT -1, NULL, 10) a
CROSS JOIN LATERAL generate_series(1, a.choices) AS c (choice)
WHERE p.pronamespace::regnamespace::text = ANY (:'schemas') AND p.prokind = 'f'
ORDER BY p.oid::regprocedure::text COLLATE "C", a.number, c.choice;

-- What a call ends with; it is undone.
CREATE FUNCTION ending(statement text, role text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE statement;
	RAISE EXCEPTION USING ERRCODE = '00001';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

SET client_min_messages = error;
CREATE TABLE result AS
SELECT r.role, t.id, t.statement, t.null_argument, ending(t.statement, r.role) AS ending
FROM unnest(:'roles'::text[])
	WITH ORDINALITY AS r (role, number), try t
ORDER BY r.number, t.id;

-- What a test shows: internal errors, which nobody has thought of, and NULLs that were refused without
-- being named.
CREATE VIEW surprise AS SELECT role, substring(statement, 1, 150) AS statement, ending FROM result
	WHERE ending LIKE 'XX%' ORDER BY role, id;
CREATE VIEW unnamed AS SELECT DISTINCT substring(statement FROM '^SELECT ([^(]+)') AS function, null_argument, ending
	FROM result r WHERE null_argument <> '' AND ending LIKE '22004%' AND position(null_argument IN ending) = 0
		-- Nor for want of another one that no ordinary value is known of; nor helpers of errors.
		AND statement !~ '^SELECT \S*\._refuse' AND NOT EXISTS (SELECT FROM result o WHERE o.role = r.role
			AND o.null_argument IS NULL AND o.ending = r.ending
			AND split_part(o.statement, '(', 1) = split_part(r.statement, '(', 1))
	ORDER BY 1, 2, 3;
CREATE VIEW called AS SELECT role, count(*) AS calls, count(DISTINCT substring(statement FROM '^SELECT ([^(]+)')) AS functions,
		count(*) FILTER (WHERE ending LIKE '22004%') AS refused, count(*) FILTER (WHERE ending LIKE '42501%') AS denied
	FROM result GROUP BY role ORDER BY role;
