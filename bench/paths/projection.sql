-- 200 events, one a transaction, each given to an inline projection in PL/pgSQL.
DEALLOCATE ALL;
\if `test :turn = 1 && echo 1 || echo 0`
CREATE TABLE tally (stream text PRIMARY KEY, events int NOT NULL);
CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.tally AS t VALUES (event.stream, 1)
	ON CONFLICT (stream) DO UPDATE SET events = t.events + 1;
END
$$;
SELECT event_store.create_projection('tally', 'public.note(event_store.event)', 'order', mode => 'inline');
\endif
PREPARE append(text) AS SELECT event_store.append('order-' || $1, -1, 'OrderCreated', :'data');
-- counted
SELECT format('EXECUTE append(%L)', :turn || '-' || i % 10) FROM generate_series(1, 200) i \gexec
