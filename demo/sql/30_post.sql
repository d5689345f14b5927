-- From invoices to events of the order aggregate.  Event ids come from invoice numbers,
-- so posting is idempotent: a second run finds every event where the first one put it.

-- From here on the data of every event is checked against its type.
DO $$ BEGIN PERFORM ecommerce.install_order_aggregate(); END $$;

-- The payload of OrderCreated.  The file has no street and no card, so these
-- fields of the contract are empty.
CREATE FUNCTION demo.order_created(invoice demo.invoice) RETURNS jsonb
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object(
		'customer_id', demo.uuid_of('customer', invoice.customer),
		'items', jsonb_agg(jsonb_build_object(
			'product_id', demo.uuid_of('product', sku),
			'product_name', description,
			'sku', sku,
			'quantity', quantity,
			'unit_price', unit_price,
			'total_price', quantity * unit_price) ORDER BY line_no),
		'total_amount', sum(quantity * unit_price),
		'shipping_address', jsonb_build_object('street', '', 'city', '', 'state', '',
											   'postal_code', '', 'country', invoice.country),
		'payment_method', jsonb_build_object('type', 'invoice', 'last4_digits', '', 'token', NULL))
	FROM demo.line
	WHERE invoice_no = invoice.invoice_no AND problem IS NULL
$$;

-- The order that a cancelling invoice takes back: the newest earlier one of the same
-- customer, not yet cancelled, of which every product is returned in full.
CREATE FUNCTION demo.order_cancelled_by(invoice demo.invoice) RETURNS demo.invoice
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH returned AS (
		SELECT sku, sum(quantity) AS quantity FROM demo.line
		WHERE invoice_no = invoice.invoice_no AND problem IS NULL
		GROUP BY sku)
	SELECT sale FROM demo.invoice AS sale
	WHERE sale.customer = invoice.customer AND sale.outcome = 'created'
	AND (sale.invoice_date, sale.first_line) < (invoice.invoice_date, invoice.first_line)
	AND NOT EXISTS (SELECT FROM demo.invoice AS other
					WHERE other.stream = sale.stream AND other.outcome = 'cancelled')
	AND NOT EXISTS (SELECT FROM (SELECT sku, sum(quantity) AS quantity FROM demo.line
								 WHERE invoice_no = sale.invoice_no AND problem IS NULL
								 GROUP BY sku) AS sold
					LEFT JOIN returned USING (sku)
					WHERE returned.quantity IS NULL OR returned.quantity < sold.quantity)
	ORDER BY sale.invoice_date DESC, sale.first_line DESC
	LIMIT 1
$$;

-- Refuses an order that breaks one of the rules for orders.
CREATE PROCEDURE demo.expect_valid(data jsonb)
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	broken record;
BEGIN
	FOR broken IN SELECT * FROM ecommerce.check_order(
		jsonb_populate_record(NULL::ecommerce.order_created, data))
	LOOP
		RAISE EXCEPTION '% %', broken.field, broken.detail;
	END LOOP;
END
$$;

-- Saves the event of one invoice and records what became of it.
CREATE PROCEDURE demo.post_invoice(given demo.invoice)
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	into_stream text := given.stream;
	kind text := 'OrderCreated';
	data jsonb;
	sale demo.invoice;
BEGIN
	IF given.cancels THEN
		sale := demo.order_cancelled_by(given);
		IF sale.invoice_no IS NULL THEN
			UPDATE demo.invoice SET outcome = 'reported',
				   problem = 'it returns no earlier order of this customer completely'
			WHERE invoice_no = given.invoice_no;
			RETURN;
		END IF;
		into_stream := sale.stream;
		kind := 'OrderCancelled';
		data := jsonb_build_object('reason', 'returned with invoice ' || given.invoice_no,
								   'refund_id', NULL);
	ELSE
		data := demo.order_created(given);
		CALL demo.expect_valid(data);
	END IF;

	PERFORM ecommerce.set_context(
		correlation_id => substr(into_stream, length('order-') + 1)::uuid,
		user_id => 'customer ' || given.customer,
		headers => jsonb_build_object('invoice', given.invoice_no));
	PERFORM event_store.save(
		into_stream, CASE WHEN given.cancels THEN 1 ELSE 0 END,
		ARRAY[ROW(kind, data, NULL, demo.uuid_of(kind, given.invoice_no),
				  given.invoice_date, NULL)::event_store.new_event]);
	UPDATE demo.invoice
	SET outcome = CASE WHEN given.cancels THEN 'cancelled' ELSE 'created' END,
		stream = into_stream
	WHERE invoice_no = given.invoice_no;
END
$$;

-- Posts all invoices in the order of the file, each in a transaction of its own, as a
-- shop would; whoever follows sees them one by one.
CREATE PROCEDURE demo.post_all()
	LANGUAGE plpgsql AS $$
DECLARE
	next_one demo.invoice;
BEGIN
	FOR next_one IN SELECT * FROM demo.invoice WHERE outcome IS NULL
				   ORDER BY invoice_date, first_line LOOP
		CALL demo.post_invoice(next_one);
		COMMIT;
	END LOOP;
	UPDATE demo.line SET problem = i.problem
	FROM demo.invoice AS i
	WHERE line.invoice_no = i.invoice_no AND i.outcome = 'reported' AND line.problem IS NULL;
END
$$;
