-- An aggregate with three kinds of events and handlers in SQL, and the loop to beat:
-- PL/pgSQL over read_stream that looks each handler up and EXECUTEs it.
CREATE FUNCTION item_added(state jsonb, event event_store.event) RETURNS jsonb
	LANGUAGE sql IMMUTABLE AS $$
	SELECT state || jsonb_build_object(
		'items', (state ->> 'items')::int + 1,
		'total', (state ->> 'total')::numeric + (event.data ->> 'price')::numeric)
$$;
CREATE FUNCTION address_changed(state jsonb, event event_store.event) RETURNS jsonb
	LANGUAGE sql IMMUTABLE AS $$
	SELECT state || jsonb_build_object('address', event.data -> 'address')
$$;
CREATE FUNCTION touched(state jsonb, event event_store.event) RETURNS jsonb
	LANGUAGE sql IMMUTABLE AS $$
	SELECT state || jsonb_build_object('touched', event.version)
$$;

SELECT event_store.create_aggregate('cart', '{"items": 0, "total": 0}');
SELECT event_store.create_event_handler('cart', 'ItemAdded',
	'public.item_added(jsonb, event_store.event)');
SELECT event_store.create_event_handler('cart', 'AddressChanged',
	'public.address_changed(jsonb, event_store.event)');
SELECT event_store.create_event_handler('cart', 'Touched',
	'public.touched(jsonb, event_store.event)');

CREATE TABLE handler (event_type text PRIMARY KEY, handler text NOT NULL);
INSERT INTO handler VALUES ('ItemAdded', 'public.item_added'),
	('AddressChanged', 'public.address_changed'), ('Touched', 'public.touched');

CREATE FUNCTION load_in_a_loop(stream text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	event event_store.event;
	state jsonb := '{"items": 0, "total": 0}';
	function_name text;
BEGIN
	FOR event IN SELECT * FROM event_store.read_stream(stream) LOOP
		SELECT h.handler INTO STRICT function_name
		FROM handler AS h WHERE h.event_type = event.event_type;
		EXECUTE format('SELECT %s($1, $2)', function_name) INTO state USING state, event;
	END LOOP;
	RETURN state;
END
$$;

SELECT count(event_store.append_json('cart-' || s, 0, (
	SELECT jsonb_agg(CASE v % 3
		WHEN 0 THEN jsonb_build_object('event_type', 'ItemAdded',
									   'data', jsonb_build_object('sku', v, 'price', v * 0.01))
		WHEN 1 THEN '{"event_type": "Touched", "data": {}}'
		ELSE '{"event_type": "AddressChanged",
			   "data": {"address": {"city": "Porto", "street": "Rua das Flores"}}}'
		END)
	FROM generate_series(1, 1000) AS v)))
FROM generate_series(1, 20) AS s;
