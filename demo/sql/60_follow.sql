-- The follower's half inside the database: one batch of its subscription, its
-- read model and its checkpoint, in one transaction.

-- Returns how many events it took, and how far it is.
CREATE FUNCTION demo.follow(subscription text, OUT taken bigint, OUT checkpoint bigint)
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	e event_store.event;
	created jsonb;
BEGIN
	taken := 0;
	FOR e IN SELECT * FROM event_store.fetch(subscription, 50) LOOP
		SELECT data INTO STRICT created FROM event_store.read_stream(e.stream, 1, 1);
		INSERT INTO demo.sales AS s (country, orders, confirmed, completed, cancelled, revenue)
		SELECT created #>> '{shipping_address,country}',
			(e.event_type = 'OrderCreated')::int, (e.event_type = 'OrderConfirmed')::int,
			(e.event_type = 'OrderCompleted')::int, (e.event_type = 'OrderCancelled')::int,
			CASE e.event_type WHEN 'OrderCreated' THEN 1 WHEN 'OrderCancelled' THEN -1 ELSE 0 END
			* (created ->> 'total_amount')::numeric
		ON CONFLICT (country) DO UPDATE
		SET orders = s.orders + excluded.orders, confirmed = s.confirmed + excluded.confirmed,
			completed = s.completed + excluded.completed,
			cancelled = s.cancelled + excluded.cancelled, revenue = s.revenue + excluded.revenue;
		taken := taken + 1;
		checkpoint := e.position;
	END LOOP;
	IF taken > 0 THEN
		PERFORM event_store.advance(subscription, checkpoint);
	END IF;
END
$$;
