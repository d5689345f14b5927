-- What t/137_console_hands.pl has besides: a contract, a projection that fails, one that does not,
-- messages that wait for another attempt, an event of an older version of its type.
CREATE SCHEMA hands;
CREATE TYPE hands.invoice AS (invoice int, note text);
SELECT event_store.register_event_type('WriteInvoice', 'hands.invoice');
CREATE FUNCTION hands.fails(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'the ledger of % is closed', event.stream;
END
$$;
SELECT event_store.create_projection('ledger', 'hands.fails(event_store.event)', category => 'ledger');
SELECT event_store.append('ledger-2026', 0, 'Booked', '{"amount": 1}');
CREATE TABLE hands.counted (n int);
CREATE FUNCTION hands.counts(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE hands.counted SET n = n + 1;
	IF NOT FOUND THEN
		INSERT INTO hands.counted VALUES (1);
	END IF;
END
$$;
SELECT event_store.create_projection('counted', 'hands.counts(event_store.event)', category => 'order',
	tables => '{hands.counted}');
SELECT message_bus.create_endpoint('later',
	retry => '{"kind": "interval", "limit": 3, "interval": "1 hour"}');
SELECT message_bus.send('later', 'BookPayment', '{}') FROM generate_series(1, 5);
SELECT message_bus.fail(delivery_id, '08006', 'nobody is there') FROM message_bus.receive('later', 3);
CREATE TYPE hands.waved AS (hand text);
SELECT event_store.register_event_type('Waved', 'hands.waved');
SELECT event_store.append('old-1', 0, 'Waved', '{"hand": "left"}');
CREATE TYPE hands.waved_2 AS (hands text[]);
SELECT event_store.register_event_type('Waved', 'hands.waved_2', 2);
CREATE FUNCTION hands.waved_to_2(data jsonb) RETURNS jsonb LANGUAGE sql
RETURN jsonb_build_object('hands', jsonb_build_array(data -> 'hand'));
SELECT event_store.register_upcaster('Waved', 1, 'hands.waved_to_2(jsonb)');
