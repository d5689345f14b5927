-- 2000 events folded by handlers in SQL, in twenty loads of a hundred.
\if `test :turn = 1 && echo 1 || echo 0`
CREATE FUNCTION item_added(state jsonb, event event_store.event) RETURNS jsonb
	LANGUAGE sql IMMUTABLE AS $$
	SELECT state || jsonb_build_object('items', (state ->> 'items')::int + 1);
$$;
SELECT event_store.create_aggregate('cart', '{"items": 0}');
SELECT event_store.create_event_handler('cart', 'ItemAdded', 'public.item_added(jsonb, event_store.event)');
SELECT count(event_store.append_batch('cart-' || s, 0,
	array_fill(ROW('ItemAdded', '{"sku": "85123A"}', NULL, NULL, NULL, NULL)::event_store.new_event, ARRAY[100])))
FROM generate_series(1, 20) s;
\endif
-- counted
SELECT count((event_store.load('cart-' || s)).state) FROM generate_series(1, 20) s;
