-- Rebuilds beside the tables that are read, and of one stream's rows.
CREATE EXTENSION ecommerce;

CREATE FUNCTION attempt(command text, OUT state text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	state := 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		hint = PG_EXCEPTION_HINT;
END $$;
-- Ends once the projection's rebuild is in a state; NULL: it is over.
CREATE PROCEDURE until(projection text, wanted text) LANGUAGE plpgsql AS $$
DECLARE
	now_is text;
BEGIN
	LOOP
		UPDATE event_store.projection_rebuild SET retry_at = NULL WHERE name = projection
			AND retry_at IS NOT NULL;
		COMMIT;
		PERFORM event_store.run_projections();
		COMMIT;
		now_is := (SELECT r.state FROM event_store.rebuilds r WHERE r.name = projection);
		EXIT WHEN now_is IS NOT DISTINCT FROM wanted
			OR now_is IN ('failed', 'paused') OR now_is IS NULL;
	END LOOP;
END $$;

-- ------------------------------------------------------------ two tables of one handler
CREATE SCHEMA shop;
CREATE TABLE shop.customer (
	gone int,
	name text COLLATE "C" PRIMARY KEY,
	orders int NOT NULL DEFAULT 0 CHECK (orders >= 0),
	email text UNIQUE
);
ALTER TABLE shop.customer DROP COLUMN gone;
CREATE TABLE shop."Order line" (
	id text PRIMARY KEY,
	customer text NOT NULL REFERENCES shop.customer,
	amount numeric NOT NULL,
	"with tax" numeric GENERATED ALWAYS AS (amount * 1.2) STORED,
	n bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX ON shop."Order line" (customer) WHERE amount > 0;
CREATE VIEW shop.total AS SELECT customer, sum("with tax") AS total
	FROM shop."Order line" GROUP BY customer;
-- Whoever reads through a function with a parsed body reads what is being filled.
CREATE FUNCTION shop.known(who text) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC SELECT EXISTS (SELECT FROM shop.customer c WHERE c.name = who); END;
CREATE FUNCTION shop.orders_of(who text) RETURNS SETOF shop.customer LANGUAGE sql STABLE
AS 'SELECT * FROM shop.customer c WHERE c.name = who';
CREATE TABLE factor (n int);
INSERT INTO factor VALUES (1);
CREATE FUNCTION shop.project(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	who text := event.data ->> 'customer';
	c shop.customer%ROWTYPE;
BEGIN
	IF event.data ? 'poison' AND (SELECT n FROM public.factor) = 0 THEN
		RAISE EXCEPTION 'poisoned' USING ERRCODE = 'data_exception';
	END IF;
	IF NOT shop.known(who) THEN
		INSERT INTO shop.customer (name) VALUES (who);
	END IF;
	INSERT INTO shop.customer AS k (name, orders, email) VALUES (who, 1, who || '@x')
	ON CONFLICT ON CONSTRAINT customer_pkey DO UPDATE SET orders = k.orders + excluded.orders,
		email = excluded.email;
	SELECT * INTO STRICT c FROM shop.orders_of(who);
	EXECUTE 'INSERT INTO shop."Order line" (id, customer, amount) VALUES ($1, $2, $3)'
	USING event.stream || '/' || event.version, c.name,
		(event.data ->> 'amount')::numeric * (SELECT n FROM public.factor);
END $$;
SELECT count(event_store.append('order-' || i % 10, -1, 'Placed',
	jsonb_build_object('customer', 'c' || i % 4, 'amount', i)
	|| CASE i WHEN 30 THEN '{"poison": true}'::jsonb ELSE '{}' END))
FROM generate_series(1, 60) i;
SELECT event_store.create_projection('shop', 'shop.project(event_store.event)', 'order',
	tables => ARRAY['shop.customer', 'shop."Order line"']::regclass[]);
CALL event_store.wait_projection('shop', event_store.position_counter(), '5 min');
SELECT * FROM shop.total ORDER BY 1;
SELECT name, orders, email FROM shop.customer ORDER BY 1;

-- What cannot be is said.
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('none', 'a.b')$$);
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('shop', 'customer_2')$$);
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('shop', 'shop.customer_2')$$);
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('shop', 'shop.customer, shop.line_2')$$);
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('shop', 'no.customer_2, shop.line_2')$$);
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('shop', 'shop.a, shop.b', 'order-1')$$);
SELECT event_store.cancel_rebuild('shop');
SELECT to_regclass('shop.customer_2'), count(*) FROM event_store.projection_rebuild GROUP BY 1;

-- Beside, with the worker at it. A column of the rows that are read is spoilt; what reads
-- them in the meantime sees every row at any time.
UPDATE factor SET n = 2;
UPDATE shop.customer SET orders = 77, email = 'c' || (substr(name, 2)::int + 1) % 4 || '@x '
	WHERE name <> 'c3';
DELETE FROM shop."Order line" WHERE id = 'order-3/2';
INSERT INTO shop."Order line" VALUES ('never', 'c1', 1);
SELECT 'shop.customer'::regclass::oid AS before \gset
-- In one transaction, lest it be done before the next statement.
BEGIN;
SELECT event_store.rebuild_projection('shop', 'shop.customer_2, shop."Line 2"');
SELECT name, beside, percent BETWEEN 0 AND 100 AS sane FROM event_store.rebuilds;
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('shop')$$);
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('shop', 'shop.x, shop.y')$$);
COMMIT;
CALL until('shop', NULL);
SELECT name, orders, email FROM shop.customer ORDER BY 1;
SELECT * FROM shop.total ORDER BY 1;
SELECT count(*), count(DISTINCT n) FROM shop."Order line";
SELECT 'shop.customer'::regclass::oid = :before AS the_same_table,
	to_regclass('shop.customer_2') IS NULL AND to_regclass('shop."Line 2"') IS NULL AS dropped;
-- From here on the handler keeps the tables themselves again.
SELECT event_store.append('order-1', -1, 'Placed', '{"customer": "c9", "amount": 5}') IS NOT NULL AS appended;
CALL event_store.wait_projection('shop', event_store.position_counter(), '5 min');
SELECT * FROM shop.total WHERE customer = 'c9';

-- A handler that fails leaves the old rows; skipped or mended, it goes on.
UPDATE factor SET n = 0;
SELECT event_store.rebuild_projection('shop', 'shop.customer_2, shop."Line 2"');
CALL until('shop', 'failed');
SELECT r.state, r.last_error, e.data ? 'poison' AS at_it, p.state AS projection
FROM event_store.rebuilds r JOIN event_store.projections p USING (name)
JOIN event_store.read_all(r.error_position - 1, 1) e ON true;
SELECT sum(total) FROM shop.total;
SELECT kind, object, severity FROM ecommerce.problems WHERE kind LIKE 'rebuild%';
SELECT * FROM attempt($$SELECT event_store.skip_event('shop', 1)$$);
SELECT event_store.cancel_rebuild('shop'), to_regclass('shop.customer_2');
SELECT event_store.rebuild_projection('shop', 'shop.customer_2, shop."Line 2"');
CALL until('shop', 'failed');
SELECT event_store.skip_event('shop', error_position) FROM event_store.rebuilds;
CALL until('shop', NULL);
SELECT count(*), sum(total) FROM shop.total;
UPDATE factor SET n = 1;
SELECT event_store.rebuild_projection('shop', 'shop.customer_2, shop."Line 2"');
CALL until('shop', NULL);
SELECT * FROM shop.total ORDER BY 1;

SELECT event_store.drop_projection('shop');

-- ------------------------------------------------------------ one stream's rows
CREATE TABLE line (stream text, version bigint, amount numeric, n bigint GENERATED ALWAYS AS IDENTITY,
	PRIMARY KEY (stream, version));
CREATE FUNCTION line(event event_store.event) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.line (stream, version, amount)
	VALUES ((event).stream, (event).version, ((event).data ->> 'amount')::numeric)
$$;
SELECT event_store.create_projection('line', 'line(event_store.event)', 'order', tables => '{line}');
CALL event_store.wait_projection('line', event_store.position_counter(), '5 min');
CREATE TABLE before AS TABLE line;
UPDATE line SET amount = 0;
DELETE FROM line WHERE stream = 'order-3' AND version = 2;
SELECT event_store.rebuild_projection('line', stream => 'order-3');
SELECT count(*), bool_and(stream = 'order-3') AS of_stream,
	count(*) FILTER (WHERE n = (SELECT b.n FROM before b WHERE b.stream = l.stream
		AND b.version = l.version)) AS with_their_number
FROM line l WHERE amount > 0;
SELECT to_regclass('line_rebuild_1') IS NULL AS dropped, count(*) FROM event_store.rebuilds;
SELECT event_store.rebuild_projection('line', stream => 'order-none');
SELECT event_store.drop_projection('line');

-- ------------------------------------------------------------ what would escape is refused
CREATE TABLE note (at bigint PRIMARY KEY);
CREATE TABLE other (at bigint);
CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT n FROM public.factor) = 2 THEN
		TRUNCATE public.note;
	ELSIF (SELECT n FROM public.factor) = 3 THEN
		INSERT INTO public.other VALUES (event.position);
	END IF;
	INSERT INTO public.note VALUES (event.position);
END $$;
SELECT event_store.create_projection('note', 'note(event_store.event)', 'order', tables => '{note}');
CALL event_store.wait_projection('note', event_store.position_counter(), '5 min');
UPDATE factor SET n = 2;
SELECT event_store.rebuild_projection('note', 'public.note_2');
CALL until('note', 'failed');
SELECT last_error FROM event_store.rebuilds;
SELECT count(*) FROM note;
UPDATE factor SET n = 3;
SELECT event_store.resume_projection('note');
CALL until('note', 'failed');
SELECT last_error FROM event_store.rebuilds;
SELECT count(*) FROM other;
-- Dropped with the projection.
SELECT event_store.drop_projection('note');
SELECT to_regclass('note_2') IS NULL AS dropped, count(*) FROM event_store.projection_rebuild;
UPDATE factor SET n = 1;

-- Kinds of tables, and rights.
CREATE TABLE parted (at bigint) PARTITION BY RANGE (at);
CREATE TABLE ruled (at bigint);
CREATE RULE r AS ON INSERT TO ruled DO ALSO NOTHING;
CREATE TABLE keyless (at bigint UNIQUE);
CREATE TABLE refers (at bigint REFERENCES keyless (at));
SELECT event_store.create_projection(t, 'note(event_store.event)', 'none', tables => ARRAY[t::regclass])
FROM unnest('{parted,ruled,keyless}'::text[]) t;
SELECT a.* FROM unnest('{parted,ruled,keyless}'::text[]) t,
	attempt(format('SELECT event_store.rebuild_projection(%L, %L)', t, 'public.x')) a;
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('ruled', stream => 'none-1')$$);
SELECT event_store.drop_projection(t) FROM unnest('{parted,ruled,keyless}'::text[]) t;
SELECT event_store.create_projection('empty', 'note(event_store.event)', 'none');
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('empty', 'public.x')$$);
SELECT event_store.drop_projection('empty');
CREATE ROLE regress_projection_rebuild_owner IN ROLE ecommerce_admin;
CREATE SCHEMA theirs AUTHORIZATION regress_projection_rebuild_owner;
CREATE TABLE theirs.note (at bigint PRIMARY KEY);
GRANT SELECT, TRUNCATE ON theirs.note TO regress_projection_rebuild_owner;
SET ROLE regress_projection_rebuild_owner;
CREATE FUNCTION theirs.note(event event_store.event) RETURNS void LANGUAGE sql AS
	'INSERT INTO theirs.note VALUES (event.position)';
SELECT event_store.create_projection('theirs', 'theirs.note(event_store.event)', 'order', tables
	=> '{theirs.note}');
SELECT event_store.pause_projection('theirs');
RESET ROLE;
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('theirs', 'theirs.note_2')$$);
GRANT INSERT, UPDATE, DELETE ON theirs.note TO regress_projection_rebuild_owner;
SELECT * FROM attempt($$SELECT event_store.rebuild_projection('theirs', 'public.note_2')$$);
SELECT event_store.rebuild_projection('theirs', 'theirs.note_2');
SELECT state FROM event_store.rebuilds;
SELECT tableowner FROM pg_tables WHERE tablename = 'note_2';
SELECT event_store.resume_projection('theirs');
CALL until('theirs', NULL);
CALL event_store.wait_projection('theirs', event_store.position_counter(), '5 min');
SELECT count(*) FROM theirs.note;
SELECT event_store.drop_projection('theirs');
DROP OWNED BY regress_projection_rebuild_owner CASCADE;
DROP ROLE regress_projection_rebuild_owner;

-- ------------------------------------------------------------ inline, and of arrays
CREATE TABLE tally (stream text PRIMARY KEY, n int NOT NULL);
CREATE FUNCTION tally(events event_store.event[]) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.tally AS t SELECT e.stream, count(*) FROM unnest(events) e GROUP BY 1
	ON CONFLICT (stream) DO UPDATE SET n = t.n + excluded.n
$$;
SELECT event_store.create_projection('tally', 'tally(event_store.event[])', 'order',
	mode => 'inline', tables => '{tally}');
SELECT event_store.append('order-1', -1, 'Placed', '{}') IS NOT NULL AS appended;
SELECT * FROM tally;
SELECT event_store.rebuild_projection('tally', 'public.tally_2');
CALL until('tally', NULL);
SELECT count(*), sum(n) = (SELECT count(*) FROM event_store.read_all(category => 'order')) AS all_of_them
FROM tally;
CREATE PROCEDURE until_inline() LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM event_store.projection_deferred) LOOP
		COMMIT;
		PERFORM event_store.run_projections();
	END LOOP;
END $$;
CALL until_inline();
BEGIN;
SELECT n AS before FROM tally WHERE stream = 'order-1' \gset
SELECT event_store.append('order-1', -1, 'Placed', '{}') IS NOT NULL AS appended;
SELECT n - :before AS inside_the_append FROM tally WHERE stream = 'order-1';
ROLLBACK;
UPDATE tally SET n = 0;
SELECT event_store.rebuild_projection('tally', stream => 'order-2');
SELECT stream, n FROM tally WHERE n > 0;

-- ------------------------------------------------------------ what scavenge may take
-- Not what a rebuild beside has still to be given: its rows would be gone with the swap.
CREATE TABLE kept ("position" bigint PRIMARY KEY);
CREATE FUNCTION keep(event event_store.event) RETURNS void LANGUAGE sql AS
	'INSERT INTO public.kept VALUES (event.position)';
SELECT event_store.create_projection('kept', 'keep(event_store.event)', 'scarce', tables => '{kept}');
SELECT count(event_store.append('scarce-1', -1, 'T', '{}')) FROM generate_series(1, 10);
CREATE PROCEDURE until_kept(wanted int) LANGUAGE plpgsql AS $$
BEGIN
	WHILE (SELECT count(*) FROM kept) < wanted LOOP
		COMMIT;
		PERFORM event_store.run_projections();
	END LOOP;
END $$;
CALL until_kept(10);
BEGIN;
SELECT event_store.rebuild_projection('kept', 'public.kept_2');
SELECT event_store.set_retention('scarce', 3), event_store.scavenge() AS removed;
COMMIT;
CALL until('kept', NULL);
SELECT count(*) FROM kept;
SELECT event_store.scavenge() AS removed;

-- ------------------------------------------------------------ slower than a turn of the runner
-- The runner breaks it off in the middle and goes on elsewhere: nothing of it is left behind.
CREATE TABLE slowly ("position" bigint PRIMARY KEY);
CREATE FUNCTION slowly(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.slowly VALUES (event.position);
	IF event_store.replaying() THEN
		PERFORM pg_sleep(0.3);
	END IF;
END $$;
SELECT event_store.create_projection('slowly', 'slowly(event_store.event)', 'slow', tables => '{slowly}');
SELECT count(event_store.append('slow-1', -1, 'T', '{}')) FROM generate_series(1, 3);
CALL event_store.wait_projection('slowly', event_store.position_counter(), '5 min');
SELECT event_store.rebuild_projection('slowly', 'public.slowly_2');
-- By the runner, not by hand.
DO $$
BEGIN
	WHILE EXISTS (SELECT FROM event_store.projection_rebuild) LOOP
		COMMIT;
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT count(*) FROM slowly;
