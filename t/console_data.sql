-- What t/095_console.pl looks at: dead letters of a consumer whose neighbour was away.
SELECT message_bus.create_endpoint('billing');
SELECT message_bus.send('billing', CASE WHEN i % 3 = 0 THEN 'WriteInvoice' ELSE 'BookPayment' END,
	jsonb_build_object('invoice', i, 'note', '<img src=x onerror="window.hurt=1">'))
FROM generate_series(1, 60) i;
DO $$
DECLARE
	one record;
	n int := 0;
BEGIN
	FOR one IN SELECT * FROM message_bus.receive('billing', 40) LOOP
		n := n + 1;
		PERFORM message_bus.fail(one.delivery_id,
			CASE WHEN n % 4 = 0 THEN '23514' ELSE '08006' END,
			CASE WHEN n % 4 = 0 THEN 'the amount of an invoice is not negative'
				ELSE 'could not connect to ledger.example.com: connection refused' END, n % 5 = 0);
	END LOOP;
END
$$;

-- A subscription that could not handle an event.
SELECT event_store.create_subscription('mailer');
DO $$
DECLARE
	one record;
BEGIN
	SELECT * INTO one FROM event_store.fetch('mailer', 1);
	PERFORM event_store.park('mailer', one.position, 'there is no <b>address</b>');
	PERFORM event_store.advance('mailer', one.position);
END
$$;
