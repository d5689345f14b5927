-- Deletions of streams reach readers that ask for them, as events in their place, and nobody else.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION put(stream text, count int DEFAULT 1) RETURNS bigint LANGUAGE sql AS $$
	SELECT max(a.version) FROM generate_series(1, count) n,
		LATERAL event_store.append(stream, -1, 'Put', jsonb_build_object('n', n)) a
$$;
-- What a subscription has still to get, as it comes.
CREATE FUNCTION rest(name text, most int DEFAULT 100) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got text;
	last bigint;
BEGIN
	SELECT string_agg(format('%s@%s %s', stream, version, event_type), ', ' ORDER BY position), max(position)
	INTO got, last FROM event_store.fetch(name, most);
	IF last IS NOT NULL THEN
		PERFORM event_store.advance(name, last);
	END IF;
	RETURN coalesce(got, 'nothing');
END
$$;
SELECT event_store.create_subscription('plain', 'order'),
	event_store.create_subscription('both', 'order', '{*,$deleted,$tombstoned}'),
	event_store.create_subscription('gone', NULL, '{$deleted}'),
	event_store.create_subscription('one', NULL, '{$tombstoned,Put}', stream => 'order-1'),
	event_store.create_subscription('star', 'order', '{*}'),
	event_store.create_subscription('shared', 'order', '{$deleted,Put}', partitions => 2);

-- ------------------------------------------------------------ in their place
SELECT put('order-1', 2), put('order-2'), put('cart-1');
BEGIN;
SELECT ecommerce.set_context('c0000000-0000-4000-8000-000000000001', user_id => 'ann');
SELECT event_store.delete_stream('order-1', 2);
COMMIT;
SELECT put('order-2'), put('order-1'), event_store.stream_version('order-1');
SELECT event_store.delete_stream('cart-1', -1);
SELECT rest('plain'), rest('star');
SELECT rest('both'), rest('gone');
SELECT event_type, version, schema_version, data, metadata->>'user_id', metadata->>'correlation_id',
	event_id IS NOT NULL, occurred_at > now() - interval '1 hour'
FROM event_store.read_all(0, 100, 'order', '{$deleted}');
-- Reads of events know nothing of it.
SELECT string_agg(event_type, ' ') FROM event_store.read_all(0, 100);
SELECT string_agg(version::text, ' ') FROM event_store.read_stream('order-1');
SELECT count(*) FROM event_store.read_correlation('c0000000-0000-4000-8000-000000000001');
-- Forward, backward, in pages, as stored, by a scan that begins again.
SELECT string_agg(stream || ' ' || event_type, ', ') FROM event_store.read_all(0, 100, NULL, '{*,$deleted}');
SELECT string_agg(stream || ' ' || event_type, ', ')
FROM event_store.read_all(0, 100, NULL, '{*,$deleted}', true);
SELECT string_agg(stream || ' ' || event_type, ', ') FROM event_store.read_all(0, 100, 'order', '{$deleted,Put}', true);
SELECT string_agg(stream, ', ') FROM event_store.read_stored(0, 100, NULL, '{$deleted}');
SELECT string_agg(e.stream || ' ' || e.event_type, ', ') FROM generate_series(1, 7) n,
	LATERAL (SELECT * FROM event_store.read_all((SELECT coalesce(max(p.position), 0) FROM (SELECT position
		FROM event_store.read_all(0, 100, NULL, '{*,$deleted}') LIMIT n - 1) p), 1, NULL, '{*,$deleted}')) e;
SELECT n, string_agg(e.event_type, ' ') FROM generate_series(1, 2) n,
	LATERAL (SELECT * FROM event_store.read_all(0, 100, 'cart', '{*,$deleted}') OFFSET 0) e GROUP BY n ORDER BY n;
-- In the partition of its stream.
SELECT rest('shared');
SELECT rest('shared');

-- ------------------------------------------------------------ what is a deletion
SELECT event_store.delete_stream('cart-1', -1);		-- again: nothing new
SELECT event_store.delete_stream('none-1', -1);		-- nothing there
SELECT event_store.set_retention('order-2', max_count => 0), event_store.scavenge() > 0;
BEGIN;
SELECT event_store.delete_stream('order-1', -1);
ROLLBACK;
SELECT rest('gone'), rest('both');
SELECT put('order-1') AS version;
SELECT event_store.delete_stream('order-1', 4);
SELECT event_store.tombstone_stream('order-1', 4);
SELECT event_store.tombstone_stream('order-3', 0);
SELECT rest('both'), rest('gone'), rest('one');
SELECT rest('plain'), rest('star');
-- scavenge leaves it: who comes later is told too.
SELECT event_store.scavenge() > 0 AS removed;
SELECT event_store.reset_subscription('gone', 0);
SELECT rest('gone');
SELECT * FROM event_store.verify();
-- How far one is behind counts it.
SELECT event_store.reset_subscription('gone', 0);
SELECT lag_events FROM event_store.subscriptions WHERE name = 'gone';
SELECT rest('gone', 1), (SELECT lag_events FROM event_store.subscriptions WHERE name = 'gone');
-- So do problems and overview, of who wants it alone, where nothing else is new.
SELECT put('order-9');
SELECT count(rest(name)) AS read FROM unnest('{plain,star,both,gone}'::text[]) name;
SELECT event_store.delete_stream('order-9', 1);
SELECT name, looked, oldest IS NOT NULL AS unread FROM event_store._behind()
WHERE name IN ('plain', 'star', 'both', 'gone') ORDER BY name;
SELECT rest('both'), rest('gone');
SELECT count(*) FROM event_store._behind() WHERE name IN ('plain', 'star', 'both', 'gone');

-- ------------------------------------------------------------ projections
CREATE TABLE model (stream text PRIMARY KEY, version bigint);
CREATE TABLE model_inline (LIKE model INCLUDING ALL);
CREATE TABLE model_batch (LIKE model INCLUDING ALL);
CREATE TABLE model_remote (LIKE model INCLUDING ALL);
CREATE FUNCTION keep(name text, e event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF e.event_type IN ('$deleted', '$tombstoned') THEN
		EXECUTE format('DELETE FROM public.%I WHERE stream = $1', name) USING e.stream;
	ELSE
		EXECUTE format('INSERT INTO public.%I VALUES ($1, $2) ON CONFLICT (stream) DO UPDATE'
			' SET version = excluded.version', name) USING e.stream, e.version;
	END IF;
END
$$;
CREATE FUNCTION keep_async(e event_store.event) RETURNS void LANGUAGE sql AS $$ SELECT public.keep('model', e) $$;
CREATE FUNCTION keep_remote(e event_store.event) RETURNS void LANGUAGE sql AS $$ SELECT public.keep('model_remote', e) $$;
CREATE FUNCTION keep_batch(e event_store.event[]) RETURNS void LANGUAGE sql
	AS $$ SELECT public.keep('model_batch', v) FROM unnest(e) v $$;
CREATE FUNCTION keep_inline(e event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF e.stream = 'room-7' AND e.event_type = '$deleted' THEN
		RAISE EXCEPTION 'room 7 stays';
	END IF;
	PERFORM public.keep('model_inline', e);
END
$$;
SELECT event_store.create_projection('async', 'keep_async(event_store.event)', 'room',
	'{*,$deleted,$tombstoned}', tables => '{model}'),
	event_store.create_projection('batch', 'keep_batch(event_store.event[])', 'room',
	'{*,$deleted,$tombstoned}', tables => '{model_batch}'),
	event_store.create_projection('inline', 'keep_inline(event_store.event)', 'room',
	'{*,$deleted,$tombstoned}', mode => 'inline', tables => '{model_inline}'),
	event_store.create_projection('remote', 'keep_remote(event_store.event)', 'room',
	'{*,$deleted,$tombstoned}', tables => '{model_remote}', source => 'here');
SELECT put('room-' || n, 2) FROM generate_series(1, 7) n;
SELECT event_store.delete_stream('room-1', 2);
SELECT count(*) FROM model_inline;
SELECT put('room-1'), event_store.delete_stream('room-2', -1), event_store.tombstone_stream('room-3', -1);
SELECT version FROM model_inline WHERE stream = 'room-1';
-- Who refuses, refuses the deletion.
SELECT refusal($$SELECT event_store.delete_stream('room-7', 2)$$);
SELECT count(*) FROM event_store.read_stream('room-7');
CREATE FUNCTION rows_of(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT string_agg(stream || ''@'' || version, '' '' ORDER BY stream) FROM public.%I', name) INTO result;
	RETURN result;
END
$$;
CREATE FUNCTION all_same() RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN count(DISTINCT r) = 1 THEN min(r) ELSE string_agg(r, ' or ') END
	FROM unnest(ARRAY['model', 'model_batch', 'model_inline']) t (name), rows_of(name) r
$$;
CREATE PROCEDURE catch_up() LANGUAGE plpgsql AS $$
DECLARE
	which text;
BEGIN
	FOREACH which IN ARRAY ARRAY['async', 'batch', 'inline'] LOOP
		COMMIT;
		WHILE NOT coalesce((SELECT p.state = 'running' AND p.lag_events = 0 FROM event_store.projections p
			WHERE p.name = which), false) LOOP
			COMMIT;
			PERFORM event_store.run_projections();
		END LOOP;
	END LOOP;
END
$$;
CALL catch_up();
SELECT all_same();
-- A rebuild comes to the same, in every way.
SELECT event_store.rebuild_projection('async'), event_store.rebuild_projection('batch'),
	event_store.rebuild_projection('inline');
CALL catch_up();
SELECT all_same();
SELECT event_store.rebuild_projection('async', stream => 'room-1'),
	event_store.rebuild_projection('inline', stream => 'room-1');
SELECT all_same();
-- Deferred, it comes in its order.
SELECT event_store.pause_projection('inline');
SELECT put('room-4'), event_store.delete_stream('room-4', -1), put('room-4'), event_store.delete_stream('room-5', -1);
SELECT count(*) FROM event_store.projection_deferred WHERE position > 0;
SELECT event_store.resume_projection('inline');
CALL catch_up();
SELECT all_same();
-- From another database.
SELECT applied FROM event_store.read_durable(0, 500, 'room', '{*,$deleted,$tombstoned}') d,
	event_store.apply_remote('remote', 0, d.events, d.upto, d.read_from, d.head) applied;
SELECT rows_of('model_remote') = rows_of('model') AS the_same;

-- ------------------------------------------------------------ put aside, given again
SELECT event_store.create_subscription('late', 'room', '{$tombstoned}');
BEGIN;
SELECT event_store.park('late', position, 'not now'), event_store.advance('late', position)
FROM event_store.fetch('late');
COMMIT;
SELECT stream, version, event_type FROM event_store.parked_events;
SELECT event_store.replay_parked('late');
SELECT rest('late'), rest('late');

-- ------------------------------------------------------------ nobody else makes them, or changes them
SELECT fails($$SELECT event_store.append('room-9', 0, '$deleted', '{}')$$);
SELECT fails($$SELECT event_store.append_json('room-9', 0, '[{"event_type": "$tombstoned", "data": {}}]')$$);
SELECT version FROM event_store.append('room-9', 0, '$other', '{}');
SELECT refusal($$UPDATE event_store.deletion SET stream = 'x'$$), refusal($$DELETE FROM event_store.deletion$$),
	refusal($$TRUNCATE event_store.deletion$$);
SET event_store.allow_rewrite = on;
UPDATE event_store.deletion SET stream = 'other-1' WHERE stream = 'room-2';
RESET event_store.allow_rewrite;
SELECT severity, regexp_replace(object, '\d+$', 'N'), problem FROM event_store.verify();
