-- From raw lines to typed ones.  A line never disappears: what cannot be read is
-- kept with the reason, and so are the lines of an invoice that cannot be posted.
-- What breaks a rule of the shop is posted all the same: the shop is to refuse it.

-- Splits one line of comma-separated values; a field may be quoted, and a quote
-- inside it is doubled.
CREATE FUNCTION demo.fields(line text) RETURNS text[]
	LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT array_agg(CASE WHEN field[1] LIKE '"%'
						  THEN replace(substr(field[1], 2, length(field[1]) - 2), '""', '"')
						  ELSE btrim(field[1]) END ORDER BY number)
	FROM regexp_matches(',' || rtrim(line, E'\r'), ',("(?:[^"]|"")*"|[^,]*)', 'g')
		 WITH ORDINALITY AS split (field, number)
$$;

-- A date written day/month/year, in UTC; null for anything else.
CREATE FUNCTION demo.date_of(written text) RETURNS timestamptz
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	part text[] := regexp_match(written, '^(\d{1,2})/(\d{1,2})/(\d{4})$');
BEGIN
	RETURN make_timestamptz(part[3]::int, part[2]::int, part[1]::int, 0, 0, 0, 'UTC');
EXCEPTION WHEN datetime_field_overflow THEN
	RETURN NULL;
END
$$;

-- Why these eight fields cannot be a line of an order or of a return; null if they can.
CREATE FUNCTION demo.problem_of(f text[]) RETURNS text
	LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE
		WHEN f[1] !~ '^C?\d{6}$'
		THEN 'the invoice number is neither a sale nor a cancellation'
		WHEN demo.date_of(f[5]) IS NULL THEN 'the date is not day/month/year'
		WHEN f[2] !~ '^\d{5}[A-Za-z]{0,2}$' THEN 'the stock code is no product'
		WHEN f[4] !~ '^-?\d{1,9}$' OR f[4]::int = 0
		THEN 'the quantity is no whole number other than 0'
		WHEN f[1] LIKE 'C%' AND f[4]::int > 0 THEN 'the quantity of a cancellation is not negative'
		WHEN f[1] NOT LIKE 'C%' AND f[4]::int < 0 THEN 'the quantity of a sale is negative'
		WHEN f[6] !~ '^\d{1,9}(\.\d{1,2})?$' THEN 'the price is not an amount in pounds and pence'
		WHEN f[3] = '' THEN 'the product has no description'
		WHEN f[7] !~ '^\d*$' THEN 'the customer is no number'
		WHEN f[8] = '' THEN 'the line names no country'
		END
$$;

-- Fills demo.line and demo.invoice from demo.raw_line; of more than that many invoices
-- only the first ones, without whatever comes after them in the file.
CREATE PROCEDURE demo.parse(max_invoices int DEFAULT NULL)
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	beyond bigint;
BEGIN
	IF (SELECT content FROM demo.raw_line ORDER BY line_no LIMIT 1) IS DISTINCT FROM
		'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country' THEN
		RAISE EXCEPTION 'the file does not begin with the heading of the Online Retail data set';
	END IF;

	INSERT INTO demo.line (line_no, problem)
	SELECT line_no, format('it has %s fields instead of 8', cardinality(demo.fields(content)))
	FROM demo.raw_line
	WHERE line_no > 1 AND cardinality(demo.fields(content)) <> 8;

	-- MATERIALIZED: a line must be split, and found good, before it is converted.
	WITH split AS MATERIALIZED (
		SELECT line_no, f, demo.problem_of(f) AS problem
		FROM (SELECT line_no, demo.fields(content) AS f FROM demo.raw_line WHERE line_no > 1) AS l
		WHERE cardinality(f) = 8)
	INSERT INTO demo.line
	SELECT line_no, nullif(f[1], ''), f[1] LIKE 'C%', upper(f[2]), nullif(f[3], ''),
		   CASE WHEN problem IS NULL THEN abs(f[4]::int) END,
		   demo.date_of(f[5]),
		   CASE WHEN problem IS NULL THEN f[6]::numeric END,
		   nullif(f[7], ''), f[8], problem
	FROM split;

	SELECT min(line_no) INTO beyond FROM demo.line WHERE invoice_no IS NOT NULL
	GROUP BY invoice_no ORDER BY 1 OFFSET coalesce(max_invoices, 2147483647) LIMIT 1;
	DELETE FROM demo.raw_line WHERE line_no >= beyond;
	DELETE FROM demo.line WHERE line_no >= beyond;

	INSERT INTO demo.invoice
	SELECT invoice_no, bool_or(cancels), min(customer), min(invoice_date), min(country),
		   min(line_no), NULL, NULL,
		   CASE
			   WHEN invoice_no !~ '^C?\d{6}$'
			   THEN 'the invoice number is neither a sale nor a cancellation'
			   WHEN count(DISTINCT (coalesce(customer, ''), country, invoice_date)) > 1
			   THEN 'the lines of the invoice disagree about customer, country or date'
			   WHEN count(*) FILTER (WHERE problem IS NULL) = 0
			   THEN 'no line of the invoice is left'
		   END
	FROM demo.line
	WHERE invoice_no IS NOT NULL
	GROUP BY invoice_no;

	INSERT INTO demo.article
	SELECT sku, unit_price, demo.uuid_of('product', shop_sku), shop_sku
	FROM (SELECT sku, trim_scale(unit_price) AS unit_price, sku || CASE
			  WHEN row_number() OVER (PARTITION BY sku ORDER BY min(line_no)) > 1
			  THEN '@' || trim_scale(unit_price) ELSE '' END AS shop_sku
		  FROM demo.line WHERE problem IS NULL AND NOT cancels
		  GROUP BY sku, trim_scale(unit_price)) AS priced;
END
$$;

-- The invoices that are posted as orders.
CREATE VIEW demo.sale AS
SELECT i.*, o.items, o.pieces, o.amount
FROM demo.invoice AS i,
	 LATERAL (SELECT jsonb_agg(jsonb_build_object(
				 'product_id', a.product_id,
				 'product_name', l.description,
				 'sku', a.shop_sku,
				 'quantity', l.quantity,
				 'unit_price', l.unit_price) ORDER BY l.line_no) AS items,
			  sum(l.quantity) AS pieces, sum(l.quantity * l.unit_price) AS amount
			  FROM demo.line AS l
			  LEFT JOIN demo.article AS a USING (sku, unit_price)
			  WHERE l.invoice_no = i.invoice_no AND l.problem IS NULL) AS o
WHERE NOT i.cancels AND i.problem IS NULL;
