-- What became of the file.  Everything is counted twice, from both ends.

CREATE VIEW demo.reported AS
SELECT line_no, invoice_no, problem
FROM demo.line WHERE problem IS NOT NULL;
COMMENT ON VIEW demo.reported IS 'Every line that is in no order, with the reason.';

CREATE VIEW demo.tally AS
SELECT 'invoices' AS what,
	   (SELECT count(DISTINCT invoice_no) FROM demo.line) AS "in the file",
	   count(*) FILTER (WHERE outcome = 'created') AS "orders created",
	   count(*) FILTER (WHERE outcome = 'cancelled') AS "orders cancelled",
	   count(*) FILTER (WHERE outcome = 'reported') AS reported
FROM demo.invoice
UNION ALL
SELECT 'lines', (SELECT count(*) - 1 FROM demo.raw_line),
	   count(*) FILTER (WHERE i.outcome = 'created' AND l.problem IS NULL),
	   count(*) FILTER (WHERE i.outcome = 'cancelled' AND l.problem IS NULL),
	   count(*) FILTER (WHERE l.problem IS NOT NULL)
FROM demo.line AS l LEFT JOIN demo.invoice AS i USING (invoice_no);
COMMENT ON VIEW demo.tally IS 'Invoices and lines: those in the file are those posted and those reported.';

CREATE VIEW demo.line_reasons AS
SELECT problem AS reason, count(*) AS count,
	   (SELECT string_agg(CASE WHEN upper(r) - lower(r) = 1 THEN lower(r)::text
							   ELSE format('%s-%s', lower(r), upper(r) - 1) END, ', ' ORDER BY r)
		FROM unnest(range_agg(int8range(line_no, line_no, '[]'))) AS r) AS numbers
FROM demo.reported
GROUP BY problem
ORDER BY count(*) DESC, problem;
COMMENT ON VIEW demo.line_reasons IS 'The reported lines by reason, with their numbers in the file.';

CREATE VIEW demo.invoice_reasons AS
SELECT problem AS reason, count(*) AS count,
	   string_agg(format('%s (%s)', invoice_no, first_line), ', ' ORDER BY first_line) AS numbers
FROM demo.invoice
WHERE outcome = 'reported'
GROUP BY problem
ORDER BY count(*) DESC, problem;
COMMENT ON VIEW demo.invoice_reasons IS 'The reported invoices by reason, with their first lines.';

-- Fails unless the report adds up, and unless the store holds what was posted.
CREATE PROCEDURE demo.check_report()
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t demo.tally;
	posted bigint;
	stored bigint;
BEGIN
	FOR t IN SELECT * FROM demo.tally LOOP
		IF t."in the file" <> t."orders created" + t."orders cancelled" + t.reported THEN
			RAISE EXCEPTION 'the report does not add up: % of % are missing',
				t.what, t."in the file";
		END IF;
	END LOOP;
	SELECT count(*) INTO posted FROM demo.invoice WHERE outcome <> 'reported';
	SELECT count(*) INTO stored
	FROM (SELECT DISTINCT stream FROM demo.invoice WHERE outcome <> 'reported') AS s,
		 event_store.read_stream(s.stream);
	IF posted <> stored THEN
		RAISE EXCEPTION 'posted % events, but the store has %', posted, stored;
	END IF;
END
$$;
