-- Contracts: registered types, checks of data, upcasters, AsyncAPI.
CREATE EXTENSION ecommerce;

-- What a command raises: SQLSTATE, message, and the path as the column field.
CREATE FUNCTION attempt(command text, OUT state text, OUT path text, OUT message text,
	OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	state := 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, path = COLUMN_NAME,
		message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END $$;

CREATE FUNCTION detail_of(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE command;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN detail;
END $$;

-- ------------------------------------------------------------ registration
SELECT event_store.append('order-0', -1, 'OrderCreated', '{"anything": "goes"}');
SELECT ecommerce.register_contracts();
SELECT ecommerce.register_contracts() AS again;
SELECT count(*), count(DISTINCT payload_type) FROM event_store.event_type;
-- Each is a composite type.
SELECT event_type FROM event_store.event_type e
WHERE NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = e.payload_type AND t.typtype = 'c');

CREATE TYPE parcel AS (weight numeric, label varchar(5));
SELECT * FROM attempt($$SELECT event_store.register_event_type('OrderCreated', 'parcel')$$);
SELECT * FROM attempt($$SELECT event_store.register_event_type('Parcel', 'int')$$);
SELECT * FROM attempt($$SELECT event_store.register_event_type('Parcel', NULL)$$);
SELECT * FROM attempt($$SELECT event_store.register_event_type('', 'parcel')$$);
SELECT * FROM attempt($$SELECT event_store.register_event_type(repeat('x', 256), 'parcel')$$);
SELECT * FROM attempt($$SELECT event_store.register_event_type('Parcel', 'parcel', 0)$$);
SELECT * FROM attempt($$SELECT event_store.check_data('Parcel', NULL)$$);
SELECT * FROM attempt($$SELECT event_store.check_data('Parcel', '[]')$$);
SELECT * FROM attempt($$SELECT event_store.check_data('Parcel', '{}', 0)$$);

-- ------------------------------------------------------------ every contract, field by field
-- As the specification lists them; "?" marks what may be null or absent.
CREATE TABLE specified (contract text PRIMARY KEY, fields text);
INSERT INTO specified VALUES
	-- value objects
	('order_item', 'product_id uuid, product_name text, sku text, quantity int, unit_price numeric,
		total_price numeric'),
	('address', 'street text, city text, state text?, postal_code text?, country text'),
	('payment_method', 'type text, last4_digits text?, token text?'),
	('reserved_item', 'product_id uuid, sku text, quantity int, reservation_id uuid'),
	('out_of_stock_item', 'product_id uuid, sku text, requested_quantity int,
		available_quantity int'),
	('item', 'product_id uuid, sku text, quantity int'),
	('product_price', 'amount numeric?, currency text?, percent numeric?'),
	('ProductDescribed', 'product_id uuid, sku text, name text, kind text?, price product_price?'),
	-- domain events
	('OrderCreated', 'customer_id uuid, items order_item[], total_amount numeric,
		shipping_address address, payment_method payment_method, currency text?'),
	('OrderConfirmed', 'confirmation_number text'),
	('OrderCancelled', 'reason text, refund_id text?, cancelled_by text?'),
	('OrderCompleted', ''),
	-- integration events of the order
	('OrderSubmitted', 'order_id uuid, customer_id uuid, items order_item[], total_amount numeric,
		shipping_address address, payment_method payment_method, currency text?,
		email text?'),
	('OrderCancellationRequested', 'order_id uuid, by text?, reason text?'),
	('OrderCancellationRejected', 'order_id uuid, reason text?'),
	('OrderCancellationAmended', 'order_id uuid, refund_id text'),
	-- inventory: commands, replies
	('ReserveInventory', 'order_id uuid, items item[], ttl int?, not_after timestamptz?, key uuid'),
	('CommitReservation', 'order_id uuid, key uuid'),
	('ReleaseInventory', 'order_id uuid, reason text?, key uuid'),
	('InventoryReserved', 'order_id uuid, reserved_items reserved_item[], expires_at timestamptz,
		key uuid'),
	('InventoryReservationFailed', 'order_id uuid, out_of_stock_items out_of_stock_item[],
		reason text, key uuid'),
	('InventoryReleased', 'order_id uuid, product_ids uuid[], key uuid'),
	('InventoryReleaseFailed', 'order_id uuid, is_retryable bool, key uuid'),
	('ReservationCommitted', 'order_id uuid, key uuid'),
	('ReservationCommitFailed', 'order_id uuid, reason text?, key uuid'),
	('ReservationExpired', 'order_id uuid, key uuid'),
	-- payment
	('ProcessPayment', 'order_id uuid, customer_id uuid?, amount numeric, currency text?,
		payment_method payment_method?, not_after timestamptz?, key uuid'),
	('QueryPaymentStatus', 'order_id uuid, key uuid'),
	('RefundPayment', 'order_id uuid, amount numeric, reason text?, key uuid'),
	('PaymentProcessed', 'order_id uuid, transaction_id text, amount numeric, currency text,
		processed_at timestamptz, key uuid'),
	('PaymentFailed', 'order_id uuid, reason text, error_code text?, is_retryable bool, key uuid'),
	('PaymentRefunded', 'order_id uuid, refund_id text, amount numeric, reason text, key uuid'),
	('PaymentStatusReported', 'order_id uuid, status text, transaction_id text?, amount numeric?,
		error_code text?, is_retryable bool?, key uuid'),
	('PaymentVoided', 'order_id uuid, key uuid'),
	('PaymentReturned', 'order_id uuid, refund_id text?, amount numeric, reason text, moves int?,
		key uuid'),
	('PaymentRegained', 'order_id uuid, moves int?, key uuid'),
	('PaymentRefundFailed', 'order_id uuid, is_retryable bool, error_code text?, key uuid'),
	-- shipping
	('ArrangeShipment', 'order_id uuid, customer_id uuid?, items item[], shipping_address address?,
		not_after timestamptz?, key uuid'),
	('CancelShipment', 'order_id uuid, key uuid'),
	('ShipmentArranged', 'order_id uuid, shipment_id uuid, carrier text?,
		estimated_delivery timestamptz?, key uuid'),
	('ShipmentFailed', 'order_id uuid, reason text?, error_code text?, is_retryable bool,
		key uuid'),
	('ShipmentDispatched', 'order_id uuid, shipment_id uuid, tracking_number text?, key uuid'),
	('ShipmentDelivered', 'order_id uuid, shipment_id uuid, delivered_at timestamptz?, key uuid'),
	('ShipmentCancelled', 'order_id uuid, shipment_id uuid?, key uuid'),
	('ShipmentCancelFailed', 'order_id uuid, already_dispatched bool, key uuid'),
	-- notification
	('SendNotification', 'order_id uuid, customer_id uuid, template text, email text?, data jsonb?,
		key uuid'),
	('NotificationSent', 'order_id uuid, template text?, key uuid'),
	('NotificationFailed', 'order_id uuid, template text?, reason text?, key uuid');
UPDATE specified SET fields = regexp_replace(fields, '\s+', ' ', 'g');
-- What a type is without its domains; what may be null is told apart.
CREATE FUNCTION plain_type(type oid, OUT name text, OUT required boolean) LANGUAGE plpgsql AS $$
DECLARE
	t pg_type;
BEGIN
	required := false;
	LOOP
		SELECT * INTO STRICT t FROM pg_type WHERE oid = type;
		EXIT WHEN t.typtype <> 'd';
		required := required OR t.typnotnull;
		type := t.typbasetype;
	END LOOP;
	name := CASE t.typname WHEN 'int4' THEN 'int' ELSE t.typname END;
	IF t.typcategory = 'A' THEN
		name := (SELECT m.name || CASE WHEN NOT m.required THEN '?' ELSE '' END || '[]'
			FROM plain_type(t.typelem) m);
	END IF;
END $$;
CREATE VIEW built AS
	SELECT coalesce(r.event_type, c.relname) AS contract,
		coalesce(string_agg(a.attname || ' ' || p.name
			|| CASE WHEN p.required THEN '' ELSE '?' END, ', ' ORDER BY a.attnum), '') AS fields
	FROM pg_class c
	LEFT JOIN event_store.event_type r ON r.payload_type = c.reltype
	LEFT JOIN (pg_attribute a CROSS JOIN LATERAL plain_type(a.atttypid) p)
		ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relkind = 'c' AND c.relnamespace = 'ecommerce'::regnamespace
		AND (r.event_type IS NOT NULL OR c.relname ~ 'item$|address|method|price')
	GROUP BY 1;
SELECT 'specified' AS only, * FROM (TABLE specified EXCEPT TABLE built) s
UNION ALL SELECT 'built', * FROM (TABLE built EXCEPT TABLE specified) b;
SELECT count(*) FROM built;
-- A type is named as its event is.
SELECT event_type, payload_type FROM event_store.event_type WHERE schema_version <> 1
	OR payload_type::text <> 'ecommerce' || lower(regexp_replace(
		regexp_replace(event_type, '^(.)', '.\1'), '(?<=[a-z])([A-Z])', '_\1', 'g'));
-- Each is commented, and so are the value objects and the domains.
SELECT t.oid::regtype FROM pg_type t
WHERE t.typnamespace = 'ecommerce'::regnamespace AND (t.typtype = 'd' OR EXISTS (
		SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
	AND obj_description(t.oid, 'pg_type') IS NULL;

-- The names are the shop's only where somebody has said so.
BEGIN;
SELECT event_store.unregister_event_type('OrderCreated');
CREATE TYPE my_order AS (number int);
SELECT event_store.register_event_type('OrderCreated', 'my_order');
SELECT event_store.check_data('OrderCreated', '{"number": 1}');
SELECT state, message FROM attempt('SELECT ecommerce.register_contracts()');
ROLLBACK;

-- ------------------------------------------------------------ an order that fits
CREATE TABLE sample (name text, data jsonb);
INSERT INTO sample VALUES ('order', '{
	"customer_id": "c0000000-0000-4000-8000-000000000001",
	"items": [
		{"product_id": "b0000000-0000-4000-8000-000000000001", "product_name": "Mug",
			"sku": "MUG-1",
		 "quantity": 2, "unit_price": 7.50, "total_price": 15.00},
		{"product_id": "b0000000-0000-4000-8000-000000000002", "product_name": "Tea",
			"sku": "TEA-1",
		 "quantity": 1, "unit_price": 4.99, "total_price": 4.99}],
	"total_amount": 19.99,
	"shipping_address": {"street": "1 High St", "city": "Leeds", "state": "",
		"postal_code": "LS1", "country": "GB"},
	"payment_method": {"type": "card", "last4_digits": "4242", "token": null}}');
SELECT event_store.check_data('OrderCreated', data) FROM sample;
SELECT (event_store.append('order-1', 0, 'OrderCreated', data)).version FROM sample;
SELECT (o.items[2]).sku, o.total_amount, (o.shipping_address).city
FROM sample, jsonb_populate_record(NULL::ecommerce.order_created, data) o;

-- ------------------------------------------------------------ what is refused, with its path
CREATE TABLE hostile (n serial, what text, data jsonb);
INSERT INTO hostile (what, data)
SELECT v.what, v.data FROM sample, LATERAL (VALUES
	('a missing key', data - 'customer_id'),
	('a missing key inside', data #- '{items,1,sku}'),
	('a missing list', data - 'items'),
	('an unknown key', data || '{"discount": 3}'),
	('an unknown key inside', jsonb_set(data, '{items,1,colour}', '"red"')),
	('a key in the wrong case', (data - 'items') || jsonb_build_object('Items', data -> 'items')),
	('null where required', jsonb_set(data, '{shipping_address,city}', 'null')),
	('a null member', jsonb_set(data, '{items,1}', 'null')),
	('a word for a number', jsonb_set(data, '{items,1,quantity}', '"many"')),
	('a fraction for a whole number', jsonb_set(data, '{items,1,quantity}', '1.5')),
	('a whole number that is too big', jsonb_set(data, '{items,1,quantity}', '2147483648')),
	('a whole number that is too small', jsonb_set(data, '{items,1,quantity}', '-2147483649')),
	('a huge number', jsonb_set(data, '{items,1,quantity}', '1e300')),
	('a huge amount', jsonb_set(data, '{total_amount}', '1e300')),
	('three decimals', jsonb_set(data, '{items,0,unit_price}', '7.505')),
	('NaN', jsonb_set(data, '{total_amount}', '"NaN"')),
	('infinity', jsonb_set(data, '{total_amount}', '"Infinity"')),
	('an object for a string', jsonb_set(data, '{payment_method,token}', '{"a": 1}')),
	('a list for a string', jsonb_set(data, '{items,0,sku}', '["MUG-1"]')),
	('a list for a number', jsonb_set(data, '{items,0,quantity}', '[2]')),
	('a list for an object', jsonb_set(data, '{shipping_address}', '[]')),
	('a string for an object', jsonb_set(data, '{shipping_address}', '"(a,b,c,d,e)"')),
	('an object for a list', jsonb_set(data, '{items}', '{}')),
	('a string for a list', jsonb_set(data, '{items}', '"{}"')),
	('a list in the list', jsonb_set(data, '{items}', jsonb_build_array(data -> 'items'))),
	('no UUID', jsonb_set(data, '{customer_id}', '"c0000000-0000-4000-8000-00000000000g"')),
	('a UUID that is too short', jsonb_set(data, '{items,0,product_id}', '"c0000000"')),
	('a boolean for a UUID', jsonb_set(data, '{customer_id}', 'true')),
	('a number of 1000 digits', jsonb_set(data, '{items,1,quantity}', repeat('9', 1000)::jsonb)),
	('a number next to nothing', jsonb_set(data, '{items,1,unit_price}', '1e-16383')),
	('NaN for a whole number', jsonb_set(data, '{items,1,quantity}', '"NaN"')),
	('a list within a list for a string', jsonb_set(data, '{items,1,sku}', '[["TEA-1"]]')),
	('1000 lists within each other', jsonb_set(data, '{items}',
		(repeat('[', 1000) || repeat(']', 1000))::jsonb)),
	('1000 objects within each other', jsonb_set(data, '{shipping_address}',
		(repeat('{"street":', 1000) || '1' || repeat('}', 1000))::jsonb)),
	('an empty key', data || '{"": 1}'),
	('a key that looks like a path', jsonb_set(data, '{items,0}',
		data #> '{items,0}' || '{"a.b[0]": 1}')),
	('a key of two lines', jsonb_set(data, '{items,0}', data #> '{items,0}' || '{"a\nb": 1}')))
	AS v (what, data);
SELECT h.what, a.state, a.path, a.message
FROM hostile h, attempt(format('SELECT event_store.append(''order-2'', -1, ''OrderCreated'',
	%L)', h.data)) a
ORDER BY h.n;
SELECT event_store.stream_version('order-2') AS nothing_was_written;
-- A message is refused for the same, with the same words.
SELECT message_bus.create_endpoint('orders') IS NOT NULL AS created;
SELECT count(*) AS refused_the_same FROM hostile h,
	attempt(format('SELECT event_store.append(''order-2'', -1, ''OrderCreated'', %L)', h.data)) a,
	attempt(format('SELECT message_bus.send(''orders'', ''OrderCreated'', %L)', h.data)) s,
	attempt(format('SELECT message_bus.publish(''OrderCreated'', %L)', h.data)) p
WHERE (a.*) = (s.*) AND (a.*) = (p.*) AND a.state = 'ST004';
SELECT depth FROM message_bus.endpoints WHERE name = 'orders';
-- In a call with several events the path begins with the event.
SELECT a.* FROM sample, attempt(format($$SELECT event_store.append_json('order-2', 0, %L)$$,
	jsonb_build_array(jsonb_build_object('event_type', 'OrderCreated', 'data', data),
					  jsonb_build_object('event_type', 'OrderCreated', 'data', data - 'items')))) a;
SELECT a.* FROM sample, attempt(format($$SELECT event_store.append('order-2', 0, 'OrderCreated',
	%L)$$,
	jsonb_set(data, '{items,1,colour}', '"red"'))) a;

-- However much is sent, little comes back.
SELECT v.what, a.state, a.path, length(a.message) AS message, length(d.detail) AS detail
FROM sample, LATERAL (VALUES
	('a long key', data || jsonb_build_object(repeat('k', 100000), 1)),
	('a long odd key', data || jsonb_build_object(repeat('ü."', 100000), 1)),
	('a long word', jsonb_set(data, '{items,1,quantity}', to_jsonb(repeat('9', 100000)))),
	('a long number', jsonb_set(data, '{items,1,quantity}', '1e131071')))
	AS v (what, data),
	format('SELECT event_store.check_data(''OrderCreated'', %L)', v.data) c (command),
	attempt(c.command) a, detail_of(c.command) d (detail);

-- What converts is accepted, as jsonb_populate_record does.
SELECT v.what, a.state
FROM sample, LATERAL (VALUES
	('a number in a string', jsonb_set(data, '{items,1,quantity}', '"3"')),
	('a string from a number', jsonb_set(data, '{items,0,sku}', '17')),
	('an optional key left out', data #- '{payment_method,token}'),
	('a UUID in braces', jsonb_set(data, '{customer_id}',
		'"{c0000000-0000-4000-8000-000000000001}"')),
	('the smallest whole number', jsonb_set(data, '{items,1,quantity}', '-2147483648')),
	('no items', jsonb_set(data, '{items}', '[]'))) AS v (what, data),
	attempt(format('SELECT event_store.check_data(''OrderCreated'', %L)', v.data)) a;

-- Dates and times begin with an ISO date: others mean something else to every reader.
SELECT v.at, a.state, a.path, a.message
FROM (VALUES ('2024-02-29T12:00:00Z'), ('2024-02-30T12:00:00Z'), ('2023-02-29'), ('tomorrow'),
	('now'),
	('infinity'), ('12:00'), ('20240229'), ('2024-02-29T25:00:00Z'), ('')) AS v (at),
	attempt(format($$SELECT event_store.check_data('ReserveInventory',
		jsonb_build_object('items', '[]'::jsonb,
		'order_id', 'a0000000-0000-4000-8000-000000000001', 'key',
			'a0000000-0000-4000-8000-000000000002',
		'not_after', %L::text))$$, v.at)) a;
SELECT * FROM attempt($$SELECT event_store.check_data('PaymentStatusReported', '{"status": "lost",
	"order_id": "a0000000-0000-4000-8000-000000000001",
		"key": "a0000000-0000-4000-8000-000000000002"}')$$);
SELECT v.what, a.state, a.path, a.message
FROM (VALUES ('expires_at', '"2024-02-30T12:00:00Z"'), ('expires_at', '1709208000'),
	('expires_at', 'null'), ('expires_at', '["2024-02-29T12:00:00Z"]'),
	('reserved_items,1,reservation_id', '"r-2"'), ('reserved_items,1,quantity', '1e30'),
	('expires_at', '"2024-02-29T12:00:00Z"')) AS v (what, value),
	attempt(format('SELECT event_store.check_data(''InventoryReserved'', %L)', jsonb_set('{
		"order_id": "a0000000-0000-4000-8000-000000000001",
		"key": "a0000000-0000-4000-8000-000000000002", "expires_at": "2024-02-29T12:00:00Z",
		"reserved_items": [
			{"product_id": "b0000000-0000-4000-8000-000000000001", "sku": "MUG-1", "quantity": 2,
			 "reservation_id": "d0000000-0000-4000-8000-000000000001"},
			{"product_id": "b0000000-0000-4000-8000-000000000002", "sku": "TEA-1", "quantity": 1,
			 "reservation_id": "d0000000-0000-4000-8000-000000000002"}]}',
		string_to_array(v.what, ','), v.value::jsonb))) a;
SELECT event_store.check_data('OrderCompleted', '{}');
SELECT * FROM attempt($$SELECT event_store.check_data('OrderCompleted', '{"a": 1}')$$);

-- ------------------------------------------------------------ types of one's own
CREATE TYPE size AS ENUM ('small', 'large');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN some_positives AS positive[] CHECK (cardinality(VALUE) > 0);
CREATE TYPE carton AS (length numeric(5, 2), tags text[]);
CREATE DOMAIN flat_carton AS carton CHECK ((VALUE).length > 1);
CREATE TYPE shipment AS (size size, counts some_positives, box flat_carton, extra jsonb,
	plain json, weight float8,
	day date, label varchar(5), small int2, big int8, flag boolean, "odd ""name""" text,
		during tstzrange);
SELECT event_store.register_event_type('Shipment', 'shipment');
SELECT left(v.data::text, 40) AS data, a.state, a.path, a.message
FROM (VALUES
	('{}'::jsonb),
	('{"size": "small", "counts": [1, "2"], "box": {"length": 1.5, "tags": ["a", null]},
		"extra": [[1]], "plain": {"a": []},
		"weight": 1e10, "day": "2024-01-01", "label": "12345", "small": 1,
			"big": 9223372036854775807, "flag": true,
		"odd \"name\"": "x", "during": "[2024-01-01,2024-01-02)"}'),
	('{"size": "huge"}'),
	('{"counts": []}'),
	('{"counts": [1, 0]}'),
	('{"counts": [1, [2]]}'),
	('{"counts": null}'),
	('{"box": {"length": 0.5}}'),
	('{"box": {"length": 12345}}'),
	('{"box": {"tags": "a"}}'),
	('{"weight": "heavy"}'),
	('{"weight": "1e400"}'),
	('{"label": "123456"}'),
	('{"small": 32768}'),
	('{"big": 9223372036854775808}'),
	('{"flag": 2}'),
	('{"odd \"name\"": []}'),
	('{"during": "whenever"}')) AS v (data),
	attempt(format('SELECT event_store.check_data(''Shipment'', %L)', v.data)) a;
-- However deep a type is, the path is complete.
DO $$ BEGIN
	CREATE TYPE deep_0 AS (n int);
	FOR i IN 1 .. 70 LOOP
		EXECUTE format('CREATE TYPE deep_%s AS (d deep_%s)', i, i - 1);
	END LOOP;
END $$;
SELECT event_store.register_event_type('Deep', 'deep_70');
SELECT a.state, a.path = repeat('d.', 70) || 'n' AS complete
FROM attempt(format('SELECT event_store.check_data(''Deep'', %L)',
	repeat('{"d": ', 70) || '{"n": "x"}' || repeat('}', 70))) a;
SELECT event_store.unregister_event_type('Deep');
-- A change of a type counts at once.
ALTER TYPE shipment ADD ATTRIBUTE added text;
SELECT event_store.check_data('Shipment', '{"added": "x"}');
ALTER DOMAIN positive DROP CONSTRAINT positive_check;
SELECT event_store.check_data('Shipment', '{"counts": [0]}');
ALTER DOMAIN positive SET NOT NULL;
SELECT * FROM attempt($$SELECT event_store.check_data('Shipment', '{"counts": [null]}')$$);
ALTER TYPE shipment RENAME TO consignment;
SELECT event_store.check_data('Shipment', '{}');
ALTER TYPE consignment DROP ATTRIBUTE size;
SELECT * FROM attempt($$SELECT event_store.check_data('Shipment', '{"size": "small"}')$$);
DROP TYPE consignment CASCADE;
SELECT * FROM attempt($$SELECT event_store.check_data('Shipment', '{}')$$);
SELECT event_store.unregister_event_type('Shipment');
SELECT event_store.check_data('Shipment', '{"size": 3}');
-- So does a registration that is rolled back.
BEGIN;
SELECT event_store.register_event_type('Parcel', 'parcel');
SELECT * FROM attempt($$SELECT event_store.check_data('Parcel', '{"colour": 1}')$$);
ROLLBACK;
SELECT event_store.check_data('Parcel', '{"colour": 1}');

SET ecommerce.require_registered_types = on;
SELECT * FROM attempt($$SELECT event_store.append('parcel-1', 0, 'Parcel', '{}')$$);
RESET ecommerce.require_registered_types;
SELECT event_store.append('parcel-1', 0, 'Parcel', '{"kg": 2}');

-- That a type is not registered is remembered too, but not of as many as one can make up,
-- also within one transaction.
CREATE FUNCTION cached() RETURNS numeric LANGUAGE sql
AS $$ SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'contract%' $$;
SELECT count(event_store.check_data('Made up ' || n, '{}')) FROM generate_series(1, 3000) n;
SELECT cached() AS before \gset
SELECT count(event_store.check_data('Made up ' || n, '{}')) FROM generate_series(3001, 40000) n;
SELECT cached() < :before + 100000 AS bounded;
SELECT a.state, a.path FROM attempt($$SELECT event_store.check_data('OrderCancelled', '{}')$$) a;
SELECT event_store.register_event_type('Made up 40000', 'parcel');
SELECT a.state, a.path FROM attempt($$
	SELECT event_store.check_data('Made up 40000', '{"colour": 1}')$$) a;
SELECT event_store.unregister_event_type('Made up 40000');

-- ------------------------------------------------------------ versions and upcasters
CREATE TYPE parcel_v1 AS (kg int);
CREATE TYPE parcel_v2 AS (grams int);
CREATE TYPE parcel_v3 AS (grams int, label text);
CREATE FUNCTION parcel_1_to_2(data jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('grams', 1000 * (data ->> 'kg')::int) $$;
CREATE FUNCTION parcel_2_to_3(data jsonb) RETURNS jsonb LANGUAGE plpgsql
AS $$ BEGIN RETURN data || '{"label": "none"}'; END $$;
SELECT event_store.register_event_type('Parcel', 'parcel_v1');
SELECT event_store.register_event_type('Parcel', 'parcel_v2', 2);
SELECT (event_store.append('parcel-1', 1, 'Parcel', '{"grams": 1}')).version;
SELECT event_store.append_json('parcel-1', 2, '[{"event_type": "Parcel", "data": {"kg": 5},
	"schema_version": 1}]');
SELECT * FROM attempt($$SELECT event_store.append_json('parcel-1', 3,
	'[{"event_type": "Parcel", "data": {"kg": 5}, "schema_version": 2}]')$$);
SELECT * FROM attempt($$SELECT event_store.append_json('parcel-1', 3,
	'[{"event_type": "Parcel", "data": {"kg": 5}, "schema_version": 3}]')$$);
SELECT version, schema_version, data FROM event_store.read_stream('parcel-1');
SELECT event_store.register_upcaster('Parcel', 1, 'parcel_1_to_2(jsonb)');
SELECT version, schema_version, data FROM event_store.read_stream('parcel-1');
-- Without an upcaster from 2 the chain ends there.
SELECT event_store.register_event_type('Parcel', 'parcel_v3', 3);
SELECT version, schema_version, data FROM event_store.read_stream('parcel-1');
SELECT event_store.register_upcaster('Parcel', 2, 'parcel_2_to_3(jsonb)');
SELECT version, schema_version, data FROM event_store.read_stream('parcel-1');
SELECT version, schema_version, data FROM event_store.read_all(0, 10, 'parcel');
SELECT version, schema_version, data FROM event_store.read_between('-infinity', 'infinity',
	'parcel');
SELECT e.version, e.schema_version, e.data FROM event_store.stored_event s,
	event_store.get_event(s.event_id) e
WHERE s.stream = 'parcel-1' ORDER BY 1;
SELECT version, schema_version, data FROM event_store.stored_event WHERE stream = 'parcel-1'
	ORDER BY version;
CREATE OR REPLACE FUNCTION parcel_1_to_2(data jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('grams', 1 + 1000 * (data ->> 'kg')::int) $$;
SELECT version, data FROM event_store.read_stream('parcel-1', 1, 1);
CREATE OR REPLACE FUNCTION parcel_2_to_3(data jsonb) RETURNS jsonb LANGUAGE sql
AS 'SELECT NULL::jsonb';
SELECT * FROM attempt($$SELECT * FROM event_store.read_stream('parcel-1', 1, 1)$$);
DROP FUNCTION parcel_2_to_3(jsonb) CASCADE;
SELECT * FROM attempt($$SELECT * FROM event_store.read_stream('parcel-1', 1, 1)$$);
CREATE FUNCTION parcel_2_to_3(data jsonb) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT data || '{"label": ""}' $$;
SELECT version, data FROM event_store.read_stream('parcel-1', 1, 1);
-- A type that nobody registered can have upcasters too.
SELECT event_store.register_upcaster('Letter', 1, 'parcel_2_to_3(jsonb)');
SELECT event_store.append('letter-1', 0, 'Letter', '{}');
SELECT schema_version, data FROM event_store.read_stream('letter-1');
SELECT * FROM attempt($$SELECT event_store.register_upcaster('Parcel', 1, 'lower(text)')$$);
SELECT * FROM attempt($$SELECT event_store.register_upcaster('Parcel', 1, NULL)$$);
SELECT * FROM attempt($$
	SELECT event_store.register_upcaster('Parcel', 0, 'parcel_2_to_3(jsonb)')$$);

-- Whoever reads gets the newest shape: by correlation, through a subscription, in a projection.
BEGIN;
SELECT ecommerce.set_context('a0000000-0000-4000-8000-00000000000c');
SELECT (event_store.append_json('parcel-2', 0, '[{"event_type": "Parcel", "data": {"kg": 7},
	"schema_version": 1}]')).version;
COMMIT;
SELECT stream, schema_version, data
FROM event_store.read_correlation('a0000000-0000-4000-8000-00000000000c');
SELECT event_store.create_subscription('parcels', stream => 'parcel-2');
SELECT stream, schema_version, data FROM event_store.fetch('parcels');
SELECT event_store.drop_subscription('parcels');
CREATE TABLE shape (stream text, version bigint, schema_version int, data jsonb);
CREATE FUNCTION note_shape(event event_store.event) RETURNS void LANGUAGE sql AS $$
	INSERT INTO public.shape VALUES (event.stream, event.version, event.schema_version, event.data)
$$;
SELECT event_store.create_projection('shapes', 'note_shape(event_store.event)', 'parcel',
	mode => 'inline');
SELECT (event_store.append_json('parcel-2', 1, '[{"event_type": "Parcel", "data": {"kg": 8},
	"schema_version": 1}]')).version;
TABLE shape;
SELECT event_store.drop_projection('shapes');

-- An upcaster runs with the rights of who registered it, whoever reads.
CREATE ROLE contract_reader IN ROLE ecommerce_reader;
CREATE OR REPLACE FUNCTION parcel_2_to_3(data jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT data || jsonb_build_object('label', current_user = session_user) $$;
SET ROLE contract_reader;
SELECT data FROM event_store.read_stream('parcel-1', 1, 1);
SELECT data FROM event_store.read_all(0, 1, 'parcel');
SELECT data FROM event_store.read_between('-infinity', 'infinity', 'parcel', 1);
SELECT event_store.fetch('none');
SELECT event_store.register_event_type('Letter', 'parcel');
RESET ROLE;
DROP ROLE contract_reader;

-- ------------------------------------------------------------ AsyncAPI
SELECT event_store.unregister_event_type('Parcel', 1);
SELECT d ->> 'asyncapi' AS asyncapi, d -> 'info' ->> 'version' AS version,
	(SELECT count(*) FROM jsonb_object_keys(d -> 'components' -> 'messages')) AS messages,
	(SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(d -> 'components' -> 'schemas') k
		WHERE k LIKE '%item') AS schemas
FROM event_store.asyncapi() d;
SELECT jsonb_pretty(d -> 'components' -> 'messages' -> 'Parcel.v3') FROM event_store.asyncapi() d;
SELECT jsonb_pretty(d -> 'components' -> 'schemas' -> 'ecommerce.payment_failed')
	FROM event_store.asyncapi() d;
SELECT jsonb_pretty(d #> '{components, schemas, ecommerce.order_created, properties, items}')
FROM event_store.asyncapi() d;
-- Every reference leads somewhere.
SELECT r.ref FROM event_store.asyncapi() d,
	LATERAL (SELECT jsonb_path_query(d, 'strict $.**."$ref"') #>> '{}' AS ref) r
WHERE d #> string_to_array(substr(r.ref, 3), '/') IS NULL;
CREATE TYPE "Odd Type.1" AS (a numeric(6, 2), b varchar(3), c size, d carton[], e interval);
SELECT event_store.register_event_type('shop/odd_ü', '"Odd Type.1"');
SELECT k FROM event_store.asyncapi() d, jsonb_object_keys(d -> 'components' -> 'messages') k
	WHERE k LIKE 'shop%';
SELECT jsonb_pretty(d #> '{components, schemas, public.Odd_u20_Type_u2e_1, properties}')
FROM event_store.asyncapi() d;

-- What asyncapi() says is what is checked: how scalars are written.
CREATE TYPE written AS (n int, big bigint, amount numeric(6, 2), ratio float8, ok boolean, at timestamptz,
	on_day date, local timestamp, id uuid, word text, code varchar(3));
SELECT event_store.register_event_type('Written', 'written');
SELECT key, value, outcome FROM (VALUES ('n', '5'::jsonb), ('n', '"5"'), ('n', '2147483648'), ('n', 'true'), ('big', '"1"'),
	('amount', '"1.5"'), ('amount', '1.5'), ('ratio', '"NaN"'), ('ratio', '1e3'), ('ok', '"yes"'), ('ok', '1'), ('ok', 'false'),
	('at', '"2024-05-31T12:00:00"'), ('at', '"2024-05-31 12:00:00+02:00"'), ('at', '"2024-05-31T12:00:00.123456Z"'), ('at', '"2024-05-31"'),
	('at', '"2024-05-31T12:00:00+02"'), ('at', '"2024-02-30T12:00:00Z"'), ('at', '"now"'), ('at', '1717156800'), ('on_day', '"2024-05-31"'),
	('on_day', '"2024-05-31T12:00:00Z"'), ('local', '"2024-05-31T12:00:00"'), ('local', '"2024-05-31T12:00:00Z"'),
	('id', '"a0000000000040008000000000000001"'), ('id', '"a0000000-0000-4000-8000-000000000001"'), ('word', '5'), ('word', 'true'), ('code', '12'),
	('code', '"12"')) AS v (key, value), LATERAL (SELECT message FROM attempt(
		format('SELECT event_store.check_data(%L, %L)', 'Written', jsonb_build_object(key, value)))) a (outcome);

-- A whole number is one however it is written, and stored as integers are written: whoever
-- reads it may convert it.
CREATE TYPE counted AS (n int, several positive[], sizes carton[], extra jsonb);
SELECT event_store.register_event_type('Counted', 'counted');
SELECT message_bus.create_endpoint('counts') IS NOT NULL AS created;
CREATE TEMPORARY TABLE fractions (data) AS VALUES ('{"n": 5.0, "several": [1.00, 2, 30e-1],
	"sizes": [{"length": 2.50, "tags": ["1.0"]}], "extra": {"n": 7.0}}'::jsonb);
SELECT (event_store.append('counted-1', 0, 'Counted', data)).version FROM fractions;
SELECT message_bus.send('counts', 'Counted', data) IS NOT NULL AS sent FROM fractions;
SELECT e.data, c.n, c.several FROM event_store.read_stream('counted-1') e, jsonb_populate_record(NULL::counted, e.data) c;
SELECT body FROM message_bus.receive('counts');
SELECT * FROM attempt($$SELECT event_store.check_data('Counted', '{"several": [1.5]}')$$);
SELECT * FROM attempt($$SELECT event_store.check_data('Counted', '{"several": [-1.0]}')$$);
SELECT * FROM attempt($$SELECT event_store.check_data('Counted', '{"n": 3000000000.0}')$$);
