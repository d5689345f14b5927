-- A projection that counts and adds up per stream, as inline and as async one, and the
-- same work by hand.
CREATE TABLE tally (stream text PRIMARY KEY, events int NOT NULL, newest bigint NOT NULL);
CREATE TABLE tally_inline (LIKE tally INCLUDING ALL);
CREATE TABLE tally_by_hand (LIKE tally INCLUDING ALL);

CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.tally AS t VALUES (event.stream, 1, event.position)
	ON CONFLICT (stream) DO UPDATE SET events = t.events + 1, newest = excluded.newest
$$;
CREATE FUNCTION note_inline(event event_store.event) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.tally_inline AS t VALUES (event.stream, 1, event.position)
	ON CONFLICT (stream) DO UPDATE SET events = t.events + 1, newest = excluded.newest
$$;

CREATE TABLE tally_batch (LIKE tally INCLUDING ALL);
CREATE FUNCTION note_batch(events event_store.event[]) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.tally_batch AS t
	SELECT stream, count(*), max(position) FROM unnest(events) GROUP BY stream
	ON CONFLICT (stream) DO UPDATE SET events = t.events + excluded.events, newest = excluded.newest
$$;

-- A loop over what is there, in batches of 500, with a checkpoint.
CREATE TABLE checkpoint_by_hand (position bigint NOT NULL);
INSERT INTO checkpoint_by_hand VALUES (0);
CREATE PROCEDURE catch_up_by_hand() LANGUAGE plpgsql AS $$
DECLARE
	event event_store.event;
	last bigint;
BEGIN
	LOOP
		SELECT c.position INTO last FROM checkpoint_by_hand c FOR UPDATE;
		event := NULL;
		FOR event IN SELECT * FROM event_store.read_all(last, 500) LOOP
			INSERT INTO tally_by_hand AS t VALUES (event.stream, 1, event.position)
			ON CONFLICT (stream) DO UPDATE SET events = t.events + 1, newest = excluded.newest;
			last := event.position;
		END LOOP;
		UPDATE checkpoint_by_hand SET position = last WHERE position < last;
		EXIT WHEN NOT FOUND;
		COMMIT;
	END LOOP;
	COMMIT;
END
$$;
