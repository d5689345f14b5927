-- Who sends what to whom: by the newest messages, which lie at the end of the ring's tables.

DO $ring_tail$
BEGIN
	EXECUTE 'CREATE VIEW message_bus._ring_tail AS ' || (
		SELECT pg_catalog.string_agg(pg_catalog.format($part$
			SELECT %s AS segment, r.ctid AS place, r.endpoint_id, r.message_type, r.source,
				r.sent_at, r.message_id, r.causation_id FROM message_bus.ring_%1$s r$part$, n),
			' UNION ALL ' ORDER BY n)
		FROM pg_catalog.generate_series(0, 7) n);
END
$ring_tail$;
COMMENT ON VIEW message_bus._ring_tail IS
'Where each message of the ring lies, and whence it came; nothing of what it holds.';

CREATE FUNCTION message_bus._newest_sent(pages int)
RETURNS SETOF message_bus._ring_tail LANGUAGE plpgsql VOLATILE ROWS 2000
SET search_path = pg_catalog, pg_temp
AS $newest_sent$
DECLARE
	s record;
	size int;
	wanted int := pages;
BEGIN
	FOR s IN SELECT g.segment, pg_relation_size(format('message_bus.ring_%s', g.segment)::regclass)
			/ current_setting('block_size')::int AS size
		FROM generate_series(0, 7) g (segment)
		LEFT JOIN message_bus._ring_status() r ON r.segment = g.segment
		WHERE r.state IS DISTINCT FROM 'store'
		ORDER BY r.state = 'current' DESC NULLS LAST, r.since DESC NULLS LAST
	LOOP
		size := s.size;
		CONTINUE WHEN size = 0;
		RETURN QUERY EXECUTE format('SELECT * FROM message_bus._ring_tail t '
			'WHERE t.segment = %s AND t.place >= ''(%s,0)''::tid', s.segment,
			greatest(size - wanted, 0));
		wanted := wanted - size;
		EXIT WHEN wanted <= 0;
	END LOOP;
END
$newest_sent$;
COMMENT ON FUNCTION message_bus._newest_sent(int) IS
'The messages in the last pages that were written of the ring.';

CREATE FUNCTION message_bus.flow(pages int DEFAULT 64)
RETURNS TABLE (source text, consumes text, endpoint text, message_type text, messages bigint,
	per_s float8, newest_at timestamptz, dead bigint, dead_capped boolean, newest_error text)
LANGUAGE plpgsql VOLATILE ROWS 50
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $flow$
#variable_conflict use_column
BEGIN
	IF pages IS NULL OR pages NOT BETWEEN 1 AND 1000 THEN
		RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'pages must be 1 to 1000';
	END IF;
	RETURN QUERY
	WITH sent AS MATERIALIZED (SELECT * FROM message_bus._newest_sent(flow.pages)),
	span AS (SELECT greatest(extract(epoch FROM clock_timestamp() - greatest(min(s.sent_at),
		clock_timestamp() - interval '5 min')), 1)::float8 AS seconds FROM sent s),
	-- whoever sends in answer to what came to an endpoint consumes that endpoint
	causes AS (SELECT DISTINCT ON (n.source) n.source, n.endpoint_id
		FROM (SELECT s.source, c.endpoint_id, count(*) AS n FROM sent s
			JOIN sent c ON c.message_id = s.causation_id
			WHERE s.source IS NOT NULL GROUP BY 1, 2) n
		ORDER BY n.source, n.n DESC),
	edges AS (SELECT s.source, s.endpoint_id, s.message_type, count(*) AS messages,
			count(*) FILTER (WHERE s.sent_at > clock_timestamp() - interval '5 min') AS lately,
			max(s.sent_at) AS newest_at
		FROM sent s GROUP BY 1, 2, 3),
	fails AS (SELECT g.endpoint, g.message_type, sum(g.count)::bigint AS dead,
			bool_or(g.count_capped) AS capped,
			(array_agg(concat_ws(': ', g.error_code, g.newest_error)
				ORDER BY g.newest_at DESC))[1] AS error
		FROM message_bus.dead_groups(max => 40) g WHERE g.reason <> 'discarded' GROUP BY 1, 2)
	SELECT e.source, (SELECT n.name FROM causes c
			JOIN message_bus._seen_endpoint n ON n.endpoint_id = c.endpoint_id
			WHERE c.source = e.source),
		coalesce(e.name, f.endpoint), coalesce(e.message_type, f.message_type),
		coalesce(e.messages, 0), coalesce(e.lately, 0) / span.seconds, e.newest_at,
		coalesce(f.dead, 0), coalesce(f.capped, false), f.error
	FROM (SELECT e.*, n.name FROM edges e
		JOIN message_bus._seen_endpoint n ON n.endpoint_id = e.endpoint_id) e
	FULL JOIN fails f ON f.endpoint = e.name AND f.message_type = e.message_type
	CROSS JOIN span
	ORDER BY coalesce(f.dead, 0) = 0, coalesce(e.lately, 0) DESC, 3, 4;
END
$flow$;
COMMENT ON FUNCTION message_bus.flow(int) IS
'Who sends what to whom, how fast, and where it fails, by the messages in so many pages of the ring that were written last (pages: 1 to 1000, else 22023), so that it costs the same at any size. source: what senders call themselves (ecommerce.source), null if they do not; consumes: the endpoint whose messages the sender answers, as far as the sample tells; messages in the sample; per_s: of the last five minutes, or of as much of them as the sample reaches back; dead: dead letters of that type at that endpoint which nobody has given up, each group to 1000; newest_error. A type that only fails and is sent no more has no source. Errors: 22023.';
