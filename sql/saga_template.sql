-- Guards and templates: the paths mean what PostgreSQL's jsonpath means, holes are filled.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/saga.sql
\set ECHO all

-- A saga that keeps what a template makes of a message, under r.
CREATE FUNCTION template_saga(template jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('endpoint', 'tpl', 'initial', 'Done',
		'events', '{"Go": {}}'::jsonb,
		'start', jsonb_build_object('Go', jsonb_build_object('set', jsonb_build_object('r', template))),
		'states', '{"Done": {"kind": "final", "default": "ignore"}}'::jsonb)
$$;
CREATE TABLE result (n int GENERATED ALWAYS AS IDENTITY, template text, r jsonb);
CREATE PROCEDURE evaluate(body jsonb, VARIADIC templates text[]) LANGUAGE plpgsql AS $$
DECLARE
	template text;
	message uuid;
BEGIN
	TRUNCATE result RESTART IDENTITY;
	FOREACH template IN ARRAY templates LOOP
		PERFORM saga.define('tpl', template_saga(template::jsonb));
		COMMIT;
		message := message_bus.send('tpl', 'Go', body);
		COMMIT;
		PERFORM saga.run();
		INSERT INTO result (template, r) SELECT template,
			(SELECT data -> 'r' FROM saga.instance WHERE saga = 'tpl' AND correlation_id = message);
		COMMIT;
	END LOOP;
END
$$;

-- every kind of path, against PostgreSQL's own executor
CREATE TABLE path (p text PRIMARY KEY);
INSERT INTO path VALUES
	('$.message.a'), ('$.message.a.b'), ('$.message.missing'), ('$.message.list'), ('$.message.list[*]'),
	('$.message.list[0]'), ('$.message.list[last]'), ('$.message.list[9]'), ('$.message.a[0]'),
	('$.message.a[*]'), ('$.message.a[1]'), ('$.message.objects.n'), ('$.message.objects[*].n'),
	('$.message.objects[*] ? (@.n > 1)'), ('$.message.objects[*] ? (@.n > 1).s'),
	('$.message.objects ? (@.n == 1 || @.s == "three")'), ('$.message.objects[*] ? (exists(@.t))'),
	('$.message.objects[*] ? (!exists(@.t))'), ('$.message.objects[*] ? (@.n > 1) ? (@.n < 3)'),
	('$.message.objects[*].n ? (@ > 1)'), ('$.message.nested[*][*]'), ('$.message.nested[0][1]'),
	('$.message.nested.size()'), ('$.message.list.size()'), ('$.message.a.size()'),
	('$.message.objects.size()'), ('$.message.n + 1'), ('$.message.n - 1.5'), ('$.message.n * $.message.n'),
	('$.message.n > 3'), ('$.message.n >= 4'), ('$.message.n < 4'), ('$.message.n <= 4'),
	('$.message.n == 4'), ('$.message.n != 4'), ('$.message.s == "text"'), ('$.message.s < "z"'),
	('$.message.s == 4'), ('$.message.s > 4'), ('$.message.null == null'), ('$.message.null != 1'),
	('$.message.null == 1'), ('$.message.null > 1'), ('$.message.missing == 1'), ('$.message.yes == true'),
	('$.message.yes == false'), ('$.message.yes > false'), ('$.message.a == 1'), ('$.message.list == 2'),
	('$.message.list == "x"'), ('$.message.objects.n == 3'), ('!($.message.n == 4)'),
	('$.message.n == 4 && $.message.yes == true'), ('$.message.n == 5 || $.message.yes == true'),
	('$.message.n == 5 && $.message.s > 4'), ('$.message.s > 4 && $.message.n == 5'),
	('$.message.s > 4 || $.message.n == 4'), ('$.message.n == 4 || $.message.s > 4'),
	('!($.message.s > 4)'), ('exists($.message.a)'), ('exists($.message.missing)'),
	('exists($.message.objects[*] ? (@.n == 2 && @.s == "two"))'), ('$.message.s starts with "te"'),
	('$.message.s starts with "xt"'), ('$.message.n starts with "4"'), ('$.message.list starts with "x"'),
	('$.message.objects[*] ? (@.n == $.message.two)'), ('"constant"'), ('12.5'), ('true'), ('null'),
	-- left to PostgreSQL
	('strict $.message.a.b'), ('$.message.s like_regex "^t"'), ('$.message.n.type()'), ('$.message.a.*'),
	('$.message.**.n'), ('$.message.list[0 to 1]'), ('$.message.list[last - 1]'), ('-$.message.n'),
	('$.message.n / 3'), ('$.message.n % 3'), ('($.message.s > 4) is unknown'), ('$.message.t.datetime()'),
	('$.message.objects[*] ? (@.n == 1).keyvalue().key'), ('$.message.x.double()');
SET jsonb_test.body = '{"a": {"b": {"c": 1}}, "n": 4, "two": 2, "s": "text", "null": null, "yes": true,
	"list": [1, 2, "x"], "nested": [[1, 2], [3]], "x": "1.5", "t": "2026-01-02T03:04:05+00:00",
	"objects": [{"n": 1}, {"n": 2, "s": "two"}, {"n": 3, "s": "three", "t": null}]}';
SELECT array_agg(jsonb_build_object('$each', p)::text ORDER BY p) AS templates FROM path \gset
CALL evaluate(current_setting('jsonb_test.body')::jsonb, VARIADIC :'templates');
CREATE VIEW compared AS
SELECT p, r AS ours, jsonb_path_query_array_tz(jsonb_build_object('message',
	current_setting('jsonb_test.body')::jsonb), p::jsonpath) AS theirs
FROM path JOIN result ON template::jsonb ->> '$each' = p;
SELECT count(*), count(*) FILTER (WHERE ours = theirs) AS the_same FROM compared;
SELECT * FROM compared WHERE ours IS DISTINCT FROM theirs;
-- and what is an error for one is an error for the other
CALL evaluate(current_setting('jsonb_test.body')::jsonb, '{"$each": "$.message.s + 1"}',
	'{"$each": "$.message.list + 1"}', '{"$each": "$.message[\"a\"]"}',
	'{"$each": "strict $.message.missing"}');
SELECT template, r FROM result ORDER BY n;

-- templates
\set body '{"a": {"b": 1}, "list": [1, 2], "name": "Ann", "at": "2026-01-02 03:04:05+02", "one": [7]}'
CALL evaluate(:'body', '"$.message.a"', '"$.message.list[*]"', '"$.message.one[*]"', '"plain"', '"$$.x"',
	'"$$"', '7', 'null', 'true', '[1, "$.message.name"]', '{"x": {"y": "$.message.a.b"}}',
	'"to ${$.message.name}, ${$.message.a.b}/${$.message.list}!"', '"${$.message.name}"',
	'"a } b { ${$.message.list[*] ? (@ == 2)}"', '{"$path": "$.message.z", "default": {"d": "$.message.name"}}',
	'{"$path": "$.message.name", "default": 1}', '{"$path": "$.message.z", "default": null}',
	'{"$first": "$.message.list[*]"}', '{"$first": "$.message.z[*]", "default": "none"}',
	'{"$each": "$.message.list[*]", "as": {"n": "$.item", "who": "$.message.name"}}',
	'{"$each": "$.message.z[*]", "as": "$.item"}', '{"$time": "$.message.at"}',
	'{"$time": "$.message.at", "plus": "-1 day 10 s"}', '{"$setting": "ecommerce.currency"}',
	'"$.saga.name"', '["$.saga.state"]', '"$.saga.definition_version.type()"',
	'"$.envelope.message_type"', '"$.envelope.attempt"');
SELECT template, r FROM result ORDER BY n;
CALL evaluate('{}', '{"$time": "now"}', '"$.saga.reference"');
SELECT n, r ->> 0 ~ CASE n WHEN 1 THEN '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$'
	ELSE '^[2-9A-HJ-NP-Z]{12}$' END AS as_it_should FROM result ORDER BY n;

-- what cannot be filled is SG005, goes to the endpoint's policy, and leaves no instance
SELECT message_bus.alter_endpoint('tpl', retry => '{"kind": "none"}');
CALL evaluate('{"s": "text"}', '"$.message.z"', '"x ${$.message.z}"', '{"$first": "$.message.z"}',
	'{"$time": "$.message.s"}', '{"$time": "$.message.z"}', '{"$setting": "no.such_setting"}');
SELECT r, error_code, error FROM result
JOIN (SELECT row_number() OVER (ORDER BY (message).sent_at) AS n, * FROM message_bus.dead_letters
	WHERE (message).body = '{"s": "text"}') d USING (n) ORDER BY n;

-- a guard that is neither true nor false is an error too; one that matches something holds
CREATE FUNCTION guarded(guard text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_set(template_saga('1'), '{start,Go,guard}', to_jsonb(guard))
$$;
CREATE PROCEDURE try_guards(body jsonb, VARIADIC guards text[]) LANGUAGE plpgsql AS $$
DECLARE
	guard text;
	id uuid;
BEGIN
	TRUNCATE result RESTART IDENTITY;
	FOREACH guard IN ARRAY guards LOOP
		PERFORM saga.define('tpl', guarded(guard));
		COMMIT;
		id := message_bus.send('tpl', 'Go', body);
		COMMIT;
		PERFORM saga.run();
		INSERT INTO result (template, r) SELECT guard, to_jsonb(CASE
			WHEN EXISTS (SELECT FROM saga.instance i WHERE i.correlation_id = id) THEN 'holds'
			WHEN EXISTS (SELECT FROM saga.parked p WHERE p.message_id = id) THEN 'does not hold'
			ELSE (SELECT error_code || ' ' || error FROM message_bus.dead_letters d
				WHERE d.message_id = id) END);
	END LOOP;
END
$$;
CALL try_guards('{"n": 3, "s": "x", "l": [1, 2]}', '$.message.n > 2', '$.message.n > 3', '$.message.s > 2',
	'$.message.l', '$.message.z', '$.message.l[*] ? (@ > 1)', '$.message.l[*] ? (@ > 2)', '$.message.n',
	'strict $.message.z');
SELECT template, r FROM result ORDER BY n;
-- days and months are those of UTC, whatever zone the session has: here clocks are put forward that night
SET TimeZone = 'America/New_York';
CALL evaluate('{"at": "2026-03-07T12:00:00Z"}', '{"$time": "$.message.at", "plus": "1 day"}', '{"$time": "$.message.at", "plus": "1 month"}');
SELECT template, r FROM result ORDER BY n;
SELECT saga.define('later', '{"endpoint": "later", "initial": "A", "events": {"Later": {}}, "start": {"Later": {"schedule": [{"timer": "t", "delay": "1 day"}, {"timer": "u", "at": {"$time": "now", "plus": "1 day"}}]}},
	"states": {"A": {"default": "ignore", "on": {"timer:t": {"goto": "Z"}, "timer:u": {"goto": "Z"}}}, "Z": {"kind": "final", "default": "ignore"}}}');
CREATE FUNCTION test_clock(timestamptz) RETURNS void LANGUAGE c AS 'ecommerce', 'ecommerce_test_clock';
SELECT message_bus.publish('Later', '{}') IS NOT NULL AS sent;
BEGIN;
SELECT test_clock('2036-03-08T12:00:00Z');
SELECT saga.run();
SELECT timer, due_at - '2036-03-08T12:00:00Z' AS after FROM saga.timers WHERE saga = 'later' ORDER BY 1;
COMMIT;
RESET TimeZone;
DROP FUNCTION test_clock(timestamptz);

