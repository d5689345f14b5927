-- 2000 events, each brought up by an upcaster in PL/pgSQL, in twenty reads.
\if `test :turn = 1 && echo 1 || echo 0`
CREATE FUNCTION upcast(data jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN data || '{"b": 1}';
END
$$;
SELECT count(event_store.append_batch('old-' || s, 0,
	array_fill(ROW('Upcasted', '{"a": 1}', NULL, NULL, NULL, NULL)::event_store.new_event, ARRAY[100])))
FROM generate_series(1, 20) s;
SELECT event_store.register_upcaster('Upcasted', 1, 'public.upcast(jsonb)');
\endif
-- counted
SELECT count(r) FROM generate_series(1, 20) i, LATERAL event_store.read_stream('old-' || i) r;
