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

-- ------------------------------------------------------------ registration
SELECT event_store.append('order-0', -1, 'OrderCreated', '{"anything": "goes"}');
SELECT ecommerce.register_contracts();
SELECT ecommerce.register_contracts() AS again;
SELECT count(*), count(DISTINCT payload_type) FROM event_store.event_type;
-- Each is commented.
SELECT payload_type FROM event_store.event_type WHERE obj_description(payload_type,
	'pg_type') IS NULL;
-- The payload type converts its own JSON.
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
	('a whole number written as a fraction', jsonb_set(data, '{items,1,quantity}', '1.0')),
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
	('a boolean for a UUID', jsonb_set(data, '{customer_id}', 'true'))) AS v (what, data);
SELECT h.what, a.state, a.path, a.message
FROM hostile h, attempt(format('SELECT event_store.append(''order-2'', -1, ''OrderCreated'',
	%L)', h.data)) a
ORDER BY h.n;
SELECT event_store.stream_version('order-2') AS nothing_was_written;
-- In a call with several events the path begins with the event.
SELECT a.* FROM sample, attempt(format($$SELECT event_store.append_json('order-2', 0, %L)$$,
	jsonb_build_array(jsonb_build_object('event_type', 'OrderCreated', 'data', data),
					  jsonb_build_object('event_type', 'OrderCreated', 'data', data - 'items')))) a;
SELECT a.* FROM sample, attempt(format($$SELECT event_store.append('order-2', 0, 'OrderCreated',
	%L)$$,
	jsonb_set(data, '{items,1,colour}', '"red"'))) a;

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
			"big": 9223372036854775807, "flag": "yes",
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
DROP TYPE consignment;
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
DROP FUNCTION parcel_2_to_3(jsonb);
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

-- An upcaster runs with the rights of whoever reads, never the extension's owner's.
CREATE ROLE contract_reader IN ROLE ecommerce_reader;
CREATE OR REPLACE FUNCTION parcel_2_to_3(data jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT data || jsonb_build_object('label', current_user) $$;
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
