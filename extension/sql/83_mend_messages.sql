-- What operators do with messages that wait or are dead: many at once, in portions, and each
-- call says of every message what became of it.

CREATE FUNCTION message_bus._redrive(message_id uuid, endpoint_id int, due timestamptz)
RETURNS int LANGUAGE c VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_redrive_later';
COMMENT ON FUNCTION message_bus._redrive(uuid, int, timestamptz) IS
'Sends a dead letter to its endpoint again, to be delivered from then on; how many, 0 or 1.';

CREATE FUNCTION message_bus.redrive_matching(filter jsonb, per_second int DEFAULT NULL,
	after text DEFAULT NULL, max int DEFAULT 100)
RETURNS TABLE (message_id uuid, endpoint text, message_type text, result text, error_code text,
	error text, due_at timestamptz, key text)
LANGUAGE plpgsql VOLATILE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $redrive_matching$
#variable_conflict use_column
DECLARE
	begin_at CONSTANT timestamptz := clock_timestamp();
	n int := 0;
	d record;
BEGIN
	IF per_second < 1 THEN
		RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'per_second must be 1 or more',
			HINT = 'Leave it out to have them delivered at once.';
	END IF;
	FOR d IN
		SELECT p.message_id, p.endpoint_id, p.key, e.name, s.message_type
		FROM message_bus._dead_page('{"reason": null}' || redrive_matching.filter,
			redrive_matching.after, redrive_matching.max, true, 5000)
			WITH ORDINALITY p (message_id, endpoint_id, key, n)
		LEFT JOIN message_bus._seen_endpoint e ON e.endpoint_id = p.endpoint_id
		LEFT JOIN message_bus._seen_dead s ON s.message_id = p.message_id
			AND s.endpoint_id = p.endpoint_id
		ORDER BY p.n
	LOOP
		message_id := d.message_id;
		endpoint := d.name;
		message_type := d.message_type;
		key := d.key;
		error_code := NULL;
		error := NULL;
		due_at := NULL;
		IF d.message_id IS NULL THEN
			result := NULL;
		ELSE
			BEGIN
				due_at := begin_at + coalesce(n * interval '1 s' / per_second, '0'::interval);
				result := CASE message_bus._redrive(d.message_id, d.endpoint_id, due_at)
					WHEN 0 THEN 'gone' ELSE 'redriven' END;
				n := n + 1;
			EXCEPTION WHEN OTHERS THEN
				result := 'refused';
				error_code := SQLSTATE;
				error := SQLERRM;
				due_at := NULL;
			END;
		END IF;
		RETURN NEXT;
	END LOOP;
END
$redrive_matching$;
COMMENT ON FUNCTION message_bus.redrive_matching(jsonb, int, text, int) IS
'Sends dead letters that match a filter of list_dead() to their endpoints again, at most max of them, those first that failed first, and says of each what became of it. result: redriven; refused (it stays, error_code and error say why: MB002 the endpoint is full); gone (somebody else has had it). Discarded ones are passed over, unless the filter names that reason. Nothing has happened before the transaction commits. '
'per_second: so many become due each second, at due_at, beginning with the call: wait until the last is due before the next one; without it all at once. after: the key of the last row, for those that come after it: ask until no row comes, and stop by asking no more. A row without message_id says that 5000 were looked at: go on with its key. Errors: 22023, MB001 as list_dead().';

CREATE FUNCTION message_bus.discard_matching(filter jsonb, after text DEFAULT NULL,
	max int DEFAULT 100)
RETURNS TABLE (message_id uuid, endpoint text, message_type text, result text, key text)
LANGUAGE plpgsql VOLATILE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $discard_matching$
#variable_conflict use_column
DECLARE
	d record;
BEGIN
	FOR d IN
		SELECT p.message_id, p.endpoint_id, p.key, e.name, s.message_type
		FROM message_bus._dead_page('{"reason": null}' || discard_matching.filter,
			discard_matching.after, discard_matching.max, true, 5000)
			WITH ORDINALITY p (message_id, endpoint_id, key, n)
		LEFT JOIN message_bus._seen_endpoint e ON e.endpoint_id = p.endpoint_id
		LEFT JOIN message_bus._seen_dead s ON s.message_id = p.message_id
			AND s.endpoint_id = p.endpoint_id
		ORDER BY p.n
	LOOP
		message_id := d.message_id;
		endpoint := d.name;
		message_type := d.message_type;
		key := d.key;
		result := CASE WHEN d.message_id IS NULL THEN NULL
			WHEN message_bus.discard(d.message_id, d.name) = 1 THEN 'discarded' ELSE 'gone' END;
		RETURN NEXT;
	END LOOP;
END
$discard_matching$;
COMMENT ON FUNCTION message_bus.discard_matching(jsonb, text, int) IS
'Gives dead letters up that match a filter of list_dead(), at most max of them, and says of each what became of it: discarded, or gone (somebody else has had it). Those that were discarded before are passed over. after, rows without message_id and errors as redrive_matching().';

CREATE FUNCTION message_bus._take_from_ring(endpoint_id int, lane int, positions bigint[],
	reason text)
RETURNS int LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_take_from_ring';
COMMENT ON FUNCTION message_bus._take_from_ring(int, int, bigint[], text) IS
'Takes messages at rising positions of a lane out of the ring, with a reason as dead letters; how many were not settled, -1 if somebody has the lane.';

CREATE FUNCTION message_bus._take_aside(endpoint_id int, message_id uuid, reason text)
RETURNS int LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_take_aside';
COMMENT ON FUNCTION message_bus._take_aside(int, uuid, text) IS
'Removes a message that was set aside, with a reason as a dead letter: 1, 0 if there is none, -1 if somebody has it.';

CREATE FUNCTION message_bus._make_due(endpoint_id int, message_id uuid, max int)
RETURNS int LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_make_due';
COMMENT ON FUNCTION message_bus._make_due(int, uuid, int) IS
'Makes messages due that wait for a retry (with message_id: that one, also if it is scheduled); how many.';

CREATE FUNCTION message_bus.retry_now(endpoint text, message_id uuid DEFAULT NULL,
	max int DEFAULT 1000)
RETURNS int LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $retry_now$
	SELECT message_bus._make_due(message_bus._endpoint_id(endpoint), message_id, ecommerce._page(max))
$retry_now$;
COMMENT ON FUNCTION message_bus.retry_now(text, uuid, int) IS
'Has messages handled at once that wait for a retry, at most max, or the one with an id, also if it is scheduled; returns how many. Those that a consumer has in hand are left to him. Errors: MB001 no such endpoint, 22023 max is not 1 to 1000.';

CREATE FUNCTION message_bus.cancel(INOUT message_id uuid, INOUT endpoint text DEFAULT NULL,
	reason text DEFAULT NULL, OUT message_type text, OUT result text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $cancel$
#variable_conflict use_column
DECLARE
	why CONSTANT text := coalesce(cancel.reason, 'cancelled by ' || session_user);
	wanted CONSTANT uuid := cancel.message_id;
	only_id CONSTANT int := CASE WHEN cancel.endpoint IS NOT NULL
		THEN message_bus._endpoint_id(cancel.endpoint) END;
	m record;
	taken int;
BEGIN
	FOR m IN
		SELECT a.endpoint_id, a.lane, NULL::bigint AS position, a.message_type
		FROM message_bus._seen_aside a WHERE a.message_id = wanted
		UNION
		SELECT r.endpoint_id, r.lane, r.position, r.message_type
		FROM message_bus._seen_ring r
		CROSS JOIN LATERAL message_bus._cursors(r.endpoint_id) c
		WHERE r.message_id = wanted AND c.lane = r.lane AND r.position > c.cursor
	LOOP
		CONTINUE WHEN m.endpoint_id <> only_id;
		taken := CASE WHEN m.position IS NULL
			THEN message_bus._take_aside(m.endpoint_id, wanted, why)
			ELSE message_bus._take_from_ring(m.endpoint_id, m.lane, ARRAY[m.position], why) END;
		CONTINUE WHEN taken = 0;
		message_id := wanted;
		endpoint := (SELECT e.name FROM message_bus._seen_endpoint e
			WHERE e.endpoint_id = m.endpoint_id);
		message_type := m.message_type;
		result := CASE taken WHEN 1 THEN 'cancelled' ELSE 'in hand' END;
		RETURN NEXT;
	END LOOP;
END
$cancel$;
COMMENT ON FUNCTION message_bus.cancel(uuid, text, text) IS
'Takes a message that waits (in its place, scheduled, for a retry, held or blocked) out of an endpoint, NULL: all that have it; it becomes a dead letter with reason discarded, code cancelled and the reason as its error. One row for each endpoint, none if nothing waits there: result cancelled, or in hand: a consumer has its lane or a lease of it, try again. Error: MB001 no such endpoint.';

CREATE FUNCTION message_bus.purge(endpoint text, filter jsonb DEFAULT '{}',
	after text DEFAULT NULL, max int DEFAULT 1000)
RETURNS TABLE (state text, lane int, count bigint, result text, key text)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $purge$
#variable_conflict use_column
DECLARE
	id CONSTANT int := message_bus._endpoint_id(purge.endpoint);
	page CONSTANT int := ecommerce._page(purge.max);
	of_type CONSTANT text := purge.filter ->> 'message_type';
	of_state CONSTANT text := purge.filter ->> 'state';
	of_process CONSTANT uuid := purge.filter ->> 'correlation_id';
	of_time CONSTANT timestamptz := purge.filter ->> 'sent_before';
	looked bigint := 0;
	last_key text;
	m record;
	taken int;
BEGIN
	PERFORM message_bus._check_filter(purge.filter, ARRAY['message_type', 'state',
		'correlation_id', 'sent_before']);
	PERFORM message_bus._check_state(of_state, '{waiting,scheduled,retrying,held,blocked,returned}');
	IF coalesce(purge.after, 'r') LIKE 'r%' AND coalesce(of_state, 'waiting') = 'waiting' THEN
		FOR m IN
			SELECT w.lane, array_agg(w.position ORDER BY w.position) FILTER (WHERE
					(of_type IS NULL OR r.message_type = of_type)
					AND (of_process IS NULL OR r.correlation_id = of_process)
					AND (of_time IS NULL OR r.sent_at < of_time)) AS positions,
				count(*) AS n, max(w.position) AS last
			FROM message_bus._waiting(id, coalesce(substr(purge.after, 2)::bigint, 0), page) w
			CROSS JOIN LATERAL (SELECT * FROM message_bus._seen_ring r WHERE r.endpoint_id = id
				AND r.lane = w.lane AND r.position = w.position LIMIT 1) r
			GROUP BY w.lane ORDER BY w.lane
		LOOP
			looked := looked + m.n;
			last_key := 'r' || greatest(m.last, substr(last_key, 2)::bigint);
			CONTINUE WHEN m.positions IS NULL;
			taken := message_bus._take_from_ring(id, m.lane, m.positions, NULL);
			RETURN QUERY SELECT 'waiting', m.lane, CASE WHEN taken < 0
				THEN cardinality(m.positions) ELSE taken END::bigint,
				CASE WHEN taken < 0 THEN 'in hand' ELSE 'purged' END, NULL::text;
		END LOOP;
	END IF;
	IF looked = page THEN
		key := last_key;
		RETURN NEXT;
		RETURN;
	END IF;
	looked := 0;
	FOR m IN
		SELECT a.state, a.lane, w.message_id, w.key, (of_state IS NULL OR a.state = of_state)
			AND (of_type IS NULL OR a.message_type = of_type)
			AND (of_process IS NULL OR a.correlation_id = of_process)
			AND (of_time IS NULL OR a.sent_at < of_time) AS wanted
		FROM message_bus._set_aside(id, purge.after, page) w
		JOIN message_bus._seen_aside a ON a.message_id = w.message_id AND a.endpoint_id = id
		ORDER BY w.due_at, w.message_id
	LOOP
		looked := looked + 1;
		key := m.key;
		CONTINUE WHEN NOT m.wanted OR of_state = 'waiting';
		taken := message_bus._take_aside(id, m.message_id, NULL);
		RETURN QUERY SELECT m.state, m.lane, 1::bigint,
			CASE taken WHEN 1 THEN 'purged' WHEN 0 THEN 'gone' ELSE 'in hand' END, NULL::text;
	END LOOP;
	IF looked = page THEN
		state := NULL;
		RETURN NEXT;
	END IF;
END
$purge$;
COMMENT ON FUNCTION message_bus.purge(text, jsonb, text, int) IS
'Removes messages that wait at an endpoint, for good: no dead letter is left of them. filter: an object with any of message_type, state (waiting, scheduled, retrying, held, blocked, returned), correlation_id and sent_before; {} is all. It looks at max messages at most and says what became of them, by lane: purged, in hand (a consumer has the lane or leases of it; they stay), gone. A last row without lane says that there may be more: ask again with its key. Works on a paused endpoint, the usual way to use it. Errors: MB001 no such endpoint, 22023.';
