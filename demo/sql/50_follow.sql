-- The follower's half inside the database: one batch of its subscription, its
-- read model and its checkpoint, in one transaction.

-- Returns how many events it took, and how far it is.
CREATE FUNCTION demo.follow(subscription text, OUT taken bigint, OUT checkpoint bigint)
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	e event_store.event;
BEGIN
	taken := 0;
	FOR e IN SELECT * FROM event_store.fetch(subscription, 50) LOOP
		IF e.event_type = 'OrderCreated' THEN
			INSERT INTO demo.sales AS s (country, orders, revenue)
			VALUES (e.data #>> '{shipping_address,country}', 1,
					(e.data ->> 'total_amount')::numeric)
			ON CONFLICT (country) DO UPDATE
			SET orders = s.orders + 1, revenue = s.revenue + excluded.revenue;
		ELSIF e.event_type = 'OrderCancelled' THEN
			UPDATE demo.sales AS s
			SET cancelled = s.cancelled + 1,
				revenue = s.revenue - (o.data ->> 'total_amount')::numeric
			FROM event_store.read_stream(e.stream, 1, 1) AS o
			WHERE s.country = o.data #>> '{shipping_address,country}';
		END IF;
		taken := taken + 1;
		checkpoint := e.position;
	END LOOP;
	IF taken > 0 THEN
		PERFORM event_store.advance(subscription, checkpoint);
	END IF;
END
$$;
