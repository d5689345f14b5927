-- What the shop answered, written to the invoices.

-- The reason that a problem document gives.
CREATE FUNCTION demo.refusal(answer demo.answer) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('the shop refused it with %s: %s', answer.status,
		coalesce((SELECT string_agg(concat_ws(' ', e ->> 'field', e ->> 'detail'), '; ')
				  FROM jsonb_array_elements(answer.body -> 'errors') AS e),
				 answer.body ->> 'detail'))
$$;

CREATE PROCEDURE demo.take_orders()
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE demo.invoice AS i
	SET order_id = (a.body ->> 'order_id')::uuid,
		problem = CASE WHEN a.status <> 202 THEN demo.refusal(a) END
	FROM demo.answer AS a
	WHERE a.wave = 'orders' AND a.name = i.invoice_no;
	CALL demo.match_cancellations();
END
$$;

-- The order that a cancelling invoice takes back: the newest earlier one of the same
-- customer, not yet cancelled, of which every product is returned in full.
CREATE FUNCTION demo.cancelled_by(invoice demo.invoice) RETURNS demo.invoice
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH returned AS (
		SELECT sku, sum(quantity) AS quantity FROM demo.line
		WHERE invoice_no = invoice.invoice_no AND problem IS NULL
		GROUP BY sku)
	SELECT sale FROM demo.invoice AS sale
	WHERE sale.customer = invoice.customer AND NOT sale.cancels
	AND sale.order_id IS NOT NULL AND sale.cancelled_by IS NULL
	AND (sale.invoice_date, sale.first_line) < (invoice.invoice_date, invoice.first_line)
	AND NOT EXISTS (SELECT FROM (SELECT sku, sum(quantity) AS quantity FROM demo.line
								 WHERE invoice_no = sale.invoice_no AND problem IS NULL
								 GROUP BY sku) AS sold
					LEFT JOIN returned USING (sku)
					WHERE returned.quantity IS NULL OR returned.quantity < sold.quantity)
	ORDER BY sale.invoice_date DESC, sale.first_line DESC
	LIMIT 1
$$;

CREATE PROCEDURE demo.match_cancellations()
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	given demo.invoice;
	sale demo.invoice;
BEGIN
	FOR given IN SELECT * FROM demo.invoice WHERE cancels AND problem IS NULL
				 ORDER BY invoice_date, first_line LOOP
		sale := demo.cancelled_by(given);
		UPDATE demo.invoice
		SET order_id = sale.order_id,
			problem = CASE WHEN sale.invoice_no IS NULL
					  THEN 'it returns no earlier order of this customer completely' END
		WHERE invoice_no = given.invoice_no;
		UPDATE demo.invoice SET cancelled_by = given.invoice_no
		WHERE invoice_no = sale.invoice_no;
	END LOOP;
END
$$;

CREATE PROCEDURE demo.take_cancellations()
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE demo.invoice AS i
	SET order_id = NULL, problem = demo.refusal(a)
	FROM demo.answer AS a
	WHERE a.wave = 'cancellations' AND a.name = i.invoice_no AND a.status NOT IN (200, 202);
	UPDATE demo.invoice AS sale SET cancelled_by = NULL
	FROM demo.invoice AS i
	WHERE sale.cancelled_by = i.invoice_no AND i.problem IS NOT NULL;
	UPDATE demo.line SET problem = i.problem
	FROM demo.invoice AS i
	WHERE line.invoice_no = i.invoice_no AND i.problem IS NOT NULL AND line.problem IS NULL;
END
$$;

-- How many orders of this run are still on their way: in another state of the saga. One
-- whose cancellation was asked for rests when it is cancelled only: until the saga has
-- heard of that it stays where it was.
CREATE FUNCTION demo.orders_under_way(resting text[]) RETURNS bigint
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	SELECT count(*)
	FROM (SELECT order_id, cancelled_by IS NOT NULL AS cancelled FROM demo.sale
		  UNION ALL SELECT order_id, false FROM demo.tale) AS o
	LEFT JOIN saga.instances AS s ON s.saga = 'order' AND s.correlation_id = o.order_id
	WHERE o.order_id IS NOT NULL
	AND NOT coalesce(s.current_state = ANY (CASE WHEN o.cancelled THEN '{Cancelled}'
											ELSE resting END), false)
$$;

CREATE FUNCTION demo.quantiles(wave text) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT format('half of the answers within %s ms, 99 of 100 within %s ms', q[1], q[2])
	FROM (SELECT array_agg(round((1000 * p)::numeric, 1)) AS q
		  FROM unnest((SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY seconds)
					   FROM demo.answer AS a WHERE a.wave = quantiles.wave)) AS p) AS r
$$;
