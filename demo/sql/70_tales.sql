-- Single orders, looked at from all sides.

-- One order in all that was written about it: logs of gateway and daemons, the saga's
-- history, its own events.
CREATE FUNCTION demo.timeline(subject uuid)
	RETURNS TABLE (at timestamptz, who text, what text)
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT (entry ->> '@t')::timestamptz, entry ->> 'Service',
		   coalesce(regexp_replace(entry ->> '@m', ' with correlation .*| in [0-9.]+ ms$', ''),
					format('%s answered %s', entry ->> 'Route', entry ->> 'Status'))
	FROM demo.log_line
	UNION ALL
	SELECT h.at, 'saga', concat_ws(': ', h.event, CASE WHEN h.from_state <> h.to_state
		OR h.from_state IS NULL THEN concat_ws(' > ', h.from_state, h.to_state) END)
	FROM saga.history('order', subject) AS h
	UNION ALL
	SELECT occurred_at, 'event store', format('%s, version %s', event_type, version)
	FROM event_store.read_stream('order-' || subject)
	ORDER BY 1
$$;

-- A saga's history in short: what came, where it led, and what was sent.
CREATE FUNCTION demo.history(subject uuid)
	RETURNS TABLE (came text, state text, sent text)
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT event, to_state,
		   (SELECT string_agg(action ->> 'type', ', ' ORDER BY n)
			FROM jsonb_array_elements(actions) WITH ORDINALITY AS a (action, n)
			WHERE action ->> 'action' IN ('send', 'append', 'publish'))
	FROM saga.history('order', subject) ORDER BY version
$$;

CREATE VIEW demo.tales AS
SELECT t.what, o.status, o.cancel_reason AS reason,
	   (SELECT coalesce(string_agg(p.status, ', ' ORDER BY p.created_at), '-')
		FROM ecommerce_payment.payment AS p WHERE p.order_id = t.order_id) AS payment,
	   (SELECT coalesce(string_agg(r.status, ', ' ORDER BY r.updated_at), '-')
		FROM ecommerce_inventory.reservation AS r WHERE r.order_id = t.order_id) AS stock,
	   (SELECT coalesce(string_agg(s.status, ', ' ORDER BY s.created_at), '-')
		FROM ecommerce_shipping.shipment AS s WHERE s.order_id = t.order_id) AS parcel
FROM demo.tale AS t JOIN ecommerce_order.order_summary AS o USING (order_id)
ORDER BY t.tale_no;
COMMENT ON VIEW demo.tales IS 'The orders that go wrong, and what each service has of them in the end.';
