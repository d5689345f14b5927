-- What became of the file.  Everything is counted twice, from both ends.

CREATE VIEW demo.reported AS
SELECT line_no, invoice_no, problem
FROM demo.line WHERE problem IS NOT NULL;
COMMENT ON VIEW demo.reported IS 'Every line that is in no order, with the reason.';

CREATE VIEW demo.outcome AS
SELECT i.invoice_no, CASE
	WHEN i.problem IS NOT NULL THEN 'reported'
	WHEN i.cancels THEN 'cancelling'
	ELSE lower(s.status)
END AS outcome
FROM demo.invoice AS i
LEFT JOIN ecommerce_order.order_summary AS s ON s.order_id = i.order_id;
COMMENT ON VIEW demo.outcome IS
'Each invoice: reported, cancelling (an order), or how its order stands in the shop''s own list.';

CREATE VIEW demo.tally AS
WITH line AS (
	SELECT l.problem IS NOT NULL AS reported, o.outcome
	FROM demo.line AS l LEFT JOIN demo.outcome AS o USING (invoice_no))
SELECT 'invoices' AS what,
	   (SELECT count(DISTINCT invoice_no) FROM demo.line) AS "in the file",
	   count(*) FILTER (WHERE outcome = 'completed') AS "orders completed",
	   count(*) FILTER (WHERE outcome = 'cancelled') AS "orders cancelled",
	   count(*) FILTER (WHERE outcome = 'cancelling') AS cancelling,
	   count(*) FILTER (WHERE outcome = 'reported') AS reported
FROM demo.outcome
UNION ALL
SELECT 'lines', (SELECT count(*) - 1 FROM demo.raw_line),
	   count(*) FILTER (WHERE NOT reported AND outcome = 'completed'),
	   count(*) FILTER (WHERE NOT reported AND outcome = 'cancelled'),
	   count(*) FILTER (WHERE NOT reported AND outcome = 'cancelling'),
	   count(*) FILTER (WHERE reported)
FROM line;
COMMENT ON VIEW demo.tally IS
'Invoices and lines: those in the file are those in an order, those that cancel one, and those reported.';

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
SELECT problem AS reason, count(*) AS count
FROM demo.invoice
WHERE problem IS NOT NULL
GROUP BY problem
ORDER BY count(*) DESC, problem;
COMMENT ON VIEW demo.invoice_reasons IS 'Why invoices have become no order and cancel none.';

-- The orders of this run, each as the file has it and as its events have it.
CREATE VIEW demo.placed AS
SELECT s.order_id, s.pieces, s.amount, s.cancelled_by IS NOT NULL AS cancelled,
	   e.created, e.completed, e.cancellation
FROM demo.sale AS s,
	 LATERAL (SELECT (array_agg(data) FILTER (WHERE event_type = 'OrderCreated'))[1] AS created,
				  count(*) FILTER (WHERE event_type = 'OrderCompleted') = 1 AS completed,
				  (array_agg(data) FILTER (WHERE event_type = 'OrderCancelled'))[1] AS cancellation
			  FROM event_store.read_stream('order-' || s.order_id)) AS e
WHERE s.order_id IS NOT NULL;

-- The books as rows (line, what, file, events, service): what the file says, what the
-- orders' events say, what the service concerned has in its tables.
CREATE VIEW demo.orders_book AS
SELECT b.*
FROM (SELECT count(*) AS n, count(*) FILTER (WHERE NOT cancelled) AS kept,
		  coalesce(sum(amount), 0) AS amount,
		  count(created) AS n_events, sum((created ->> 'total_amount')::numeric) AS amount_events,
		  count(*) FILTER (WHERE completed) AS kept_events, count(cancellation) AS lost_events
	  FROM demo.placed) AS p,
	 (SELECT count(*) AS n, sum(total_amount) AS amount,
		  count(*) FILTER (WHERE status = 'Completed') AS kept,
		  count(*) FILTER (WHERE status = 'Cancelled') AS lost
	  FROM ecommerce_order.order_summary
	  WHERE order_id IN (SELECT order_id FROM demo.invoice)) AS s,
	 LATERAL (VALUES
		 (1, 'orders placed', p.n::numeric, p.n_events::numeric, s.n::numeric),
		 (2, 'what they are worth', p.amount, p.amount_events, s.amount),
		 (3, 'orders completed', p.kept, p.kept_events, s.kept),
		 (4, 'orders cancelled', p.n - p.kept, p.lost_events, s.lost))
		 AS b (line, what, file, events, service);

CREATE VIEW demo.money_book AS
SELECT b.*
FROM (SELECT coalesce(sum(amount) FILTER (WHERE NOT cancelled), 0) AS file,
		  sum((created ->> 'total_amount')::numeric) FILTER (WHERE completed) AS kept,
		  sum((created ->> 'total_amount')::numeric)
			  FILTER (WHERE cancellation ->> 'refund_id' IS NOT NULL) AS returned
	  FROM demo.placed) AS p,
	 (SELECT sum(amount) FILTER (WHERE status = 'captured') AS kept,
		  sum(amount) FILTER (WHERE status = 'refunded') AS returned
	  FROM ecommerce_payment.payment
	  WHERE order_id IN (SELECT order_id FROM demo.invoice)) AS s,
	 (SELECT sum(amount) FILTER (WHERE status = 'captured') AS kept,
		  sum(amount) FILTER (WHERE status = 'refunded') AS returned
	  FROM ecommerce_payment.simulator_charge
	  WHERE order_id IN (SELECT order_id FROM demo.invoice)) AS provider,
	 LATERAL (VALUES
		 (5, 'money kept, by payments', p.file, p.kept, s.kept),
		 (6, 'money kept, at the provider', p.file, p.kept, provider.kept),
		 (7, 'money returned, by payments', NULL, p.returned, s.returned),
		 (8, 'money returned, at the provider', NULL, p.returned, provider.returned))
		 AS b (line, what, file, events, service);

CREATE VIEW demo.goods_book AS
SELECT b.*
FROM (SELECT coalesce(sum(pieces) FILTER (WHERE NOT cancelled), 0) AS file,
		  sum((SELECT sum((item ->> 'quantity')::int)
			   FROM jsonb_array_elements(created -> 'items') AS item))
			  FILTER (WHERE completed) AS events,
		  count(*) FILTER (WHERE NOT cancelled) AS orders,
		  count(*) FILTER (WHERE completed) AS orders_events
	  FROM demo.placed) AS p,
	 (SELECT sum((item ->> 'quantity')::int) AS taken
	  FROM ecommerce_inventory.reservation AS r, jsonb_array_elements(r.items) AS item
	  WHERE r.status = 'committed' AND r.order_id IN (SELECT order_id FROM demo.invoice)) AS held,
	 (SELECT sum(s.before + s.delta) AS offered, sum(p.on_hand) AS on_hand,
		  sum(p.reserved) AS reserved
	  FROM demo.stock AS s JOIN ecommerce_inventory.product AS p USING (product_id)) AS shelf,
	 (SELECT count(*) AS n FROM ecommerce_shipping.shipment
	  WHERE status = 'delivered' AND order_id IN (SELECT order_id FROM demo.invoice)) AS parcel,
	 LATERAL (VALUES
		 (9, 'pieces sold, by reservations', p.file::numeric, p.events::numeric,
			 held.taken::numeric),
		 (10, 'pieces left, by stock', shelf.offered - p.file, shelf.offered - coalesce(p.events, 0),
			 shelf.on_hand - shelf.reserved),
		 (11, 'parcels delivered', p.orders, p.orders_events, parcel.n))
		 AS b (line, what, file, events, service);

-- A mail for every event: what customers hear is what has happened.
CREATE VIEW demo.mail_book AS
WITH event AS (
	SELECT e.event_type, count(*) AS n
	FROM demo.placed AS p, event_store.read_stream('order-' || p.order_id) AS e
	GROUP BY e.event_type),
mail AS (
	SELECT template, count(*) AS n FROM ecommerce_notification.notification
	WHERE status = 'sent' AND order_id IN (SELECT order_id FROM demo.invoice)
	GROUP BY template)
SELECT 11 + t.n AS line, 'mails: ' || replace(t.template, '_', ' ') AS what,
	   NULL::numeric AS file, coalesce(event.n, 0)::numeric AS events,
	   coalesce(mail.n, 0)::numeric AS service
FROM (VALUES (1, 'order_received', 'OrderCreated'), (2, 'order_confirmed', 'OrderConfirmed'),
	(3, 'order_shipped', 'OrderCompleted'), (4, 'order_delivered', 'OrderCompleted'),
	(5, 'order_cancelled', 'OrderCancelled')) AS t (n, template, event_type)
LEFT JOIN event USING (event_type) LEFT JOIN mail USING (template);

CREATE VIEW demo.books AS
SELECT line, what, file, events, service,
	   events = service AND (file IS NULL OR file = events) AS agree
FROM (SELECT line, what, file, coalesce(events, 0) AS events, coalesce(service, 0) AS service
	  FROM (TABLE demo.orders_book UNION ALL TABLE demo.money_book UNION ALL
			TABLE demo.goods_book UNION ALL TABLE demo.mail_book) AS b) AS b
ORDER BY line;
COMMENT ON VIEW demo.books IS
'The same figure from the file, from the orders'' events, and from the service''s own tables; file is NULL where the file cannot know.';

-- Fails unless the report adds up, and unless all the books agree.
CREATE PROCEDURE demo.check_report()
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t demo.tally;
	b demo.books;
BEGIN
	FOR t IN SELECT * FROM demo.tally LOOP
		IF t."in the file" <> t."orders completed" + t."orders cancelled" + t.cancelling
			+ t.reported THEN
			RAISE EXCEPTION 'the report does not add up: % of % are missing',
				t.what, t."in the file";
		END IF;
	END LOOP;
	FOR b IN SELECT * FROM demo.books WHERE NOT agree LOOP
		RAISE EXCEPTION 'the books do not agree about %: % in the file, % by events, % by the service',
			b.what, coalesce(b.file::text, 'unknown'), b.events, b.service;
	END LOOP;
END
$$;
