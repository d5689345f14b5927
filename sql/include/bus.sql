-- at(time): what the bus takes for now, until the transaction ends.
-- outcome(statement): the result, or the SQLSTATE and message of the error.
-- got(endpoint, max): receives and acks; the bodies' n, sorted, because which lane comes
-- first is chance. in_order(endpoint): the same in the order of delivery.

CREATE FUNCTION at("time" timestamptz) RETURNS void LANGUAGE c STRICT
AS '$libdir/ecommerce', 'ecommerce_test_clock';

CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE statement INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

CREATE FUNCTION in_order(endpoint text, max int DEFAULT 50) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[];
	result text;
BEGIN
	SELECT array_agg(delivery_id), string_agg(body->>'n', ' ' ORDER BY delivery_id)
	INTO ids, result FROM message_bus.receive(endpoint, max);
	IF ids IS NOT NULL AND message_bus.ack(VARIADIC ids) <> cardinality(ids) THEN
		RETURN 'ack miscounts';
	END IF;
	RETURN coalesce(result, 'nothing');
END
$$;

CREATE FUNCTION got(endpoint text, max int DEFAULT 50) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN r = 'nothing' THEN r ELSE
		(SELECT string_agg(n, ' ' ORDER BY n::int) FROM unnest(string_to_array(r, ' ')) n) END
			FROM in_order(endpoint, max) r
$$;

-- Fails whatever is there; the bodies' n and attempts.
CREATE FUNCTION failed(endpoint text, code text DEFAULT 'E',
	retryable boolean DEFAULT true) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
	result text[] := '{}';
BEGIN
	FOR d IN SELECT * FROM message_bus.receive(endpoint) LOOP
		PERFORM message_bus.fail(d.delivery_id, code, 'it failed', retryable);
		result := result || concat(d.body->>'n', '/', d.attempt);
	END LOOP;
	RETURN coalesce((SELECT string_agg(r, ' ' ORDER BY r) FROM unnest(result) r), 'nothing');
END
$$;

CREATE FUNCTION uid(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;

-- An endpoint as the view shows it, but for what depends on the time of day.
CREATE FUNCTION state(endpoint text) RETURNS text LANGUAGE sql AS $$
	SELECT format('depth %s, in flight %s, scheduled %s, retrying %s, dead %s',
		depth, in_flight, scheduled, retrying, dead) FROM message_bus.endpoints
			WHERE name = endpoint
$$;
