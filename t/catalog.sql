-- What holds for every object of the extension, whoever adds it: comments,
-- pinned search_path, privileges, dump. pgTAP; run by t/002_catalog.pl.
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off
\set ON_ERROR_STOP on

BEGIN;
SET client_min_messages = warning;

CREATE TEMP VIEW member AS
	SELECT d.classid, d.objid
	FROM pg_depend d
	JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
	WHERE e.extname = 'ecommerce' AND d.deptype = 'e';
CREATE TEMP VIEW our_function AS
	SELECT p.oid::regprocedure::text AS name, p.*
	FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;
CREATE TEMP VIEW our_relation AS
	SELECT c.oid::regclass::text AS name, c.*
	FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid;

SELECT plan(23);

SELECT isnt_empty('SELECT FROM member', 'the extension has members');

SELECT is_empty($$
	SELECT pg_describe_object(classid, objid, 0)
	FROM member m
	WHERE obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)) IS NULL
	AND NOT (classid = 'pg_type'::regclass AND EXISTS (
		-- arrays, and the row types of tables and views
		SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
		WHERE t.oid = m.objid AND (t.typelem <> 0 AND t.typlen = -1 OR c.relkind <> 'c')))
	-- an identity column's sequence
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = m.classid AND d.objid = m.objid
		AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype = 'i')
	-- the rest are parts of a commented object
	AND classid NOT IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_constraint'::regclass,
						'pg_cast'::regclass, 'pg_opfamily'::regclass)
	ORDER BY 1
$$, 'every object has a comment');

SELECT is_empty($$
	SELECT pg_describe_object(classid, objid, 0) FROM member m
	WHERE (classid = 'pg_proc'::regclass AND (SELECT pronamespace::regnamespace::text FROM pg_proc
			WHERE oid = objid) NOT IN ('ecommerce', 'event_store', 'message_bus', 'saga'))
	OR (classid = 'pg_class'::regclass AND (SELECT relnamespace::regnamespace::text FROM pg_class
			WHERE oid = objid) NOT IN ('ecommerce', 'event_store', 'message_bus', 'saga'))
	ORDER BY 1
$$, 'nothing lies outside our schemas');

-- A pinned search_path costs a tenth of an append, and a procedure that has one
-- cannot commit. A body in the standard's form is parsed at CREATE FUNCTION, so
-- it needs none.
CREATE TEMP TABLE unpinned (name text PRIMARY KEY, reason text NOT NULL);
INSERT INTO unpinned
	SELECT 'event_store.' || f, 'hot; C that resolves no name'
	FROM unnest(ARRAY[
		'append(text,bigint,text,jsonb,jsonb,uuid,integer)',
		'append_batch(text,bigint,event_store.new_event[])',
		'append_json(text,bigint,jsonb)',
		'check_data(text,jsonb,integer)',
		'check_version(text,bigint)',
		'correlation_of(jsonb)',
		'get_event(uuid)',
		'high_water_mark(text)',
		'read_all(bigint,bigint,text,text[],boolean)',
		'read_correlation(uuid)',
		'read_stream(text,bigint,bigint,boolean)',
		'stream_version(text)']) AS f
	UNION ALL
	SELECT 'message_bus.' || f, 'hot; C whose SQL, if any, runs with a search path of its own'
	FROM unnest(ARRAY[
		'ack(bigint[])',
		'handle(bigint)',
		'publish(text,jsonb,uuid,text,timestamp with time zone,timestamp with time zone,jsonb,integer)',
		'receive(text,integer,interval)',
		'send(text,text,jsonb,uuid,text,timestamp with time zone,timestamp with time zone,jsonb,integer)'
		]) AS f
	UNION ALL
	VALUES
		('event_store.scavenge(bigint,bigint)', 'commits; C whose SQL runs with a search path of its own'),
		('event_store.wait(bigint,interval,text,text,bigint)', 'commits; C that resolves no name'),
		('event_store.wait_subscription(text,interval,boolean)', 'commits; C that resolves no name'),
		('event_store.wait_projection(text,bigint,interval,boolean)',
			'commits; C that resolves no name'),
		('ecommerce.wait(text[],text[],interval,text[])', 'commits; C that resolves no name'),
		('ecommerce.new_id()', 'hot; C that resolves no name'),
		('ecommerce.cell_of(uuid)', 'hot, in filters of rows; C that resolves no name'),
		('ecommerce._note_restore()', 'hot; C that finds the name in a COPY as the session does'),
		('ecommerce.minor_units(text)', 'contracts are checked with it; C that resolves no name'),
		('ecommerce.holds_card_number(text)', 'the same'),
		('ecommerce.is_payment_type(text)', 'the same'),
		('message_bus._foreign_id(text,text)', 'several times for each message that comes; C that resolves no name'),
		('ecommerce._cell_of_stream(text)', 'for each call of a facade; C that resolves no name'),
		('message_bus.wait(text,interval,boolean)', 'commits; C that resolves no name');
SELECT is_empty($$
	SELECT name FROM our_function
	WHERE prosqlbody IS NULL
	AND (proconfig IS NULL OR NOT 'search_path=pg_catalog, pg_temp' = ANY (proconfig))
	EXCEPT SELECT name FROM unpinned
	ORDER BY 1
$$, 'every function pins search_path, but for those listed with a reason');

SELECT is_empty($$
	SELECT name FROM unpinned
	EXCEPT SELECT f.name FROM our_function f JOIN pg_language l ON l.oid = f.prolang
	WHERE l.lanname = 'c' AND proconfig IS NULL
	ORDER BY 1
$$, 'what is listed is C and needs the exception');

SELECT is_empty($$
	SELECT name FROM our_function
	WHERE proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0)
	ORDER BY 1
$$, 'PUBLIC may execute nothing');

SELECT is_empty($$
	SELECT name FROM our_relation
	WHERE EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee = 0)
	ORDER BY 1
$$, 'PUBLIC may read and write nothing');

SELECT is_empty($$
	SELECT format_type(t.oid, NULL) FROM pg_type t
	JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
	LEFT JOIN pg_class c ON c.oid = t.typrelid
	WHERE (t.typtype IN ('d', 'e', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
	AND (typacl IS NULL OR EXISTS (SELECT FROM aclexplode(typacl) WHERE grantee = 0))
	ORDER BY 1
$$, 'PUBLIC may use no type');

SELECT is_empty($$
	SELECT name FROM our_function f
	WHERE proname !~ '^_'
	AND NOT EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee::regrole::text ~ '^ecommerce_')
	ORDER BY 1
$$, 'every function is of use to one of our roles, or begins with _');

SELECT is_empty($$
	SELECT name FROM our_relation r
	WHERE relkind IN ('r', 'v')
	AND NOT EXISTS (SELECT FROM aclexplode(relacl)
					WHERE grantee::regrole::text ~ '^ecommerce_' AND privilege_type = 'SELECT')
	ORDER BY 1
$$, 'every table and view can be read by one of our roles');

SELECT is_empty($$
	SELECT name, grantee::regrole, privilege_type FROM our_relation, aclexplode(relacl)
	WHERE grantee <> relowner AND privilege_type <> 'SELECT'
	-- counters can be mended by who may run verify(repair => true)
	AND NOT (relkind = 'S' AND grantee IN (
		SELECT oid FROM pg_roles WHERE rolname IN ('ecommerce_admin', 'ecommerce_worker')))
	ORDER BY 1, 2, 3
$$, 'nobody has direct write rights on a table or view');

SELECT is_empty($$
	SELECT nspname, grantee::regrole FROM pg_namespace, aclexplode(nspacl)
	WHERE nspname IN ('ecommerce', 'event_store', 'message_bus', 'saga')
	AND grantee <> nspowner AND (grantee = 0 OR privilege_type <> 'USAGE')
	ORDER BY 1
$$, 'nobody may create objects in our schemas');

-- Each with the reason why its caller's rights do not do.
CREATE TEMP TABLE definer (name text PRIMARY KEY, reason text NOT NULL);
SELECT is_empty($$
	SELECT name FROM our_function WHERE prosecdef EXCEPT SELECT name FROM definer ORDER BY 1
$$, 'SECURITY DEFINER is listed with its reason');

SELECT is_empty($$
	SELECT name FROM our_function, unnest(proargmodes, proargnames) AS a (mode, arg)
	WHERE coalesce(a.mode, 'i') IN ('i', 'b', 'v') AND coalesce(a.arg, '') = ''
	UNION
	SELECT name FROM our_function
	WHERE pronargs > 0 AND proargnames IS NULL AND prorettype NOT IN ('trigger'::regtype)
	ORDER BY 1
$$, 'every parameter has a name');

SELECT is_empty($$
	SELECT name FROM our_relation r
	WHERE relkind IN ('r', 'S') AND relpersistence = 'p'
	AND NOT EXISTS (
		SELECT FROM pg_extension WHERE extname = 'ecommerce' AND r.oid = ANY (extconfig))
	ORDER BY 1
$$, 'pg_dump carries every table and sequence');

-- A message is found by its place in a segment, never by a value.
SELECT is_empty($$
	SELECT name FROM our_relation r
	WHERE relkind = 'r' AND name !~ '^message_bus\.(ring|ack)_\d$' AND NOT EXISTS (
		SELECT FROM pg_index WHERE indrelid = r.oid AND indisunique AND indpred IS NULL
		AND NOT EXISTS (
			SELECT FROM unnest(indkey) AS k JOIN pg_attribute ON attrelid = r.oid AND attnum = k
			WHERE NOT attnotnull))
	ORDER BY 1
$$, 'every table has a key');

-- regtype, regclass and regrole survive pg_upgrade, no other of their kind does.
SELECT is_empty($$
	SELECT r.name, a.attname, format_type(a.atttypid, a.atttypmod)
	FROM our_relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0
	LEFT JOIN pg_type t ON t.oid = a.atttypid
	WHERE r.relkind IN ('r', 'c', 'm', 'i')
	AND ARRAY[a.atttypid, t.typelem, t.typbasetype] && ARRAY['regproc', 'regprocedure', 'regoper',
		'regoperator', 'regconfig', 'regdictionary', 'regnamespace',
			'regcollation']::regtype[]::oid[]
	ORDER BY 1, 2
$$, 'no column makes pg_upgrade fail');

SELECT is_empty($$
	SELECT r.name, t.tgname FROM pg_trigger t JOIN our_relation r ON r.oid = t.tgrelid
	WHERE t.tgfoid = 'event_store._guard_immutable'::regproc AND t.tgenabled <> 'A'
	UNION ALL
	SELECT e.name, e.event FROM (VALUES
		('event_store.stored_event', 'row'), ('event_store.stored_event', 'table'),
		('event_store.stream', 'row'), ('event_store.stream', 'table'),
		('event_store.deletion', 'row'), ('event_store.deletion', 'table')) e (name, event)
	WHERE NOT EXISTS (
		SELECT FROM pg_trigger t WHERE t.tgrelid = e.name::regclass AND t.tgenabled = 'A'
		AND t.tgfoid = 'event_store._guard_immutable'::regproc
		-- ROW BEFORE DELETE UPDATE, or BEFORE TRUNCATE
		AND t.tgtype = CASE e.event WHEN 'row' THEN 1 + 2 + 8 + 16 ELSE 2 + 32 END)
	ORDER BY 1, 2
$$, 'events are guarded in every session_replication_role');

SELECT is_empty($$
	SELECT name FROM our_relation r JOIN pg_index i ON i.indexrelid = r.oid OR i.indrelid = r.oid
	WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
	ORDER BY 1
$$, 'every index is valid');

SELECT is_empty($$
	SELECT name, context FROM pg_settings
	WHERE name ~ '^(ecommerce|event_store|message_bus|saga)\.'
	AND (coalesce(short_desc, '') !~ '\.$' OR context IN ('postmaster', 'internal'))
	ORDER BY 1
$$, 'every setting has a description and can be changed without a restart');

-- An operating system's update that sorts otherwise must not leave an index that finds nothing.
SELECT is_empty($$
	SELECT i.indexrelid::regclass, a.attname FROM pg_index i JOIN our_relation r ON r.oid = i.indrelid
	JOIN pg_attribute a ON a.attrelid = i.indexrelid JOIN pg_collation c ON c.oid = a.attcollation
	WHERE c.collname <> 'C'
	ORDER BY 1
$$, 'the order of every index is that of bytes');

SELECT is_empty($$
	SELECT conrelid::regclass, conname FROM pg_constraint
	JOIN our_relation r ON r.oid = conrelid WHERE NOT convalidated
	ORDER BY 1
$$, 'every constraint is validated');

-- pg_restore -j loads tables in any order, and the constraints of an extension are there first.
SELECT is_empty($$
	SELECT conrelid::regclass, conname FROM pg_constraint
	JOIN our_relation r ON r.oid = conrelid WHERE contype = 'f'
	ORDER BY 1
$$, 'no foreign key stands in the way of a parallel restore');

SELECT * FROM finish();
ROLLBACK;
