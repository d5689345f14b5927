-- What the demo keeps beside the shop: the lines of the file as they came, what became
-- of each, what the gateway answered, and the follower's read model.
DROP SCHEMA IF EXISTS demo CASCADE;
CREATE SCHEMA demo;

CREATE TABLE demo.raw_line (
	line_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	content text NOT NULL
);
COMMENT ON TABLE demo.raw_line IS 'The file, one row per line; the first one is its heading.';

CREATE TABLE demo.line (
	line_no bigint PRIMARY KEY,
	invoice_no text,
	cancels boolean,
	sku text,
	description text,
	quantity int,
	invoice_date timestamptz,
	unit_price numeric,
	customer text,
	country text,
	problem text
);
COMMENT ON TABLE demo.line IS 'Each line with its fields; "problem" says why it cannot be part of an order.';

CREATE TABLE demo.invoice (
	invoice_no text PRIMARY KEY,
	cancels boolean NOT NULL,
	customer text,
	invoice_date timestamptz,
	country text,
	first_line bigint NOT NULL,
	order_id uuid,
	cancelled_by text REFERENCES demo.invoice,
	problem text,
	CHECK (problem IS NULL OR order_id IS NULL)
);
COMMENT ON TABLE demo.invoice IS 'Each invoice and what became of it: "order_id" is the order it has become, or for a cancelling one the order it has cancelled, which then names it in "cancelled_by"; or there is a "problem".';

CREATE TABLE demo.article (
	sku text NOT NULL,
	unit_price numeric NOT NULL,
	product_id uuid NOT NULL,
	shop_sku text NOT NULL,
	PRIMARY KEY (sku, unit_price)
);
COMMENT ON TABLE demo.article IS 'The file has one stock code at several prices; in the shop a product has one, so each price after the first is a product of its own.';

CREATE TABLE demo.stock (
	product_id uuid PRIMARY KEY,
	sku text NOT NULL,
	name text NOT NULL,
	unit_price numeric NOT NULL,
	before bigint NOT NULL,
	delta bigint NOT NULL
);
COMMENT ON TABLE demo.stock IS 'Products of the file: pieces on hand before this run, and pieces that it brings.';

CREATE TABLE demo.answer (
	wave text NOT NULL,
	name text NOT NULL,
	status int NOT NULL,
	seconds float8 NOT NULL,
	body jsonb,
	PRIMARY KEY (wave, name)
);
COMMENT ON TABLE demo.answer IS 'What the gateway answered to each request of a wave, see 30_requests.sql.';

CREATE TABLE demo.tale (
	tale_no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	what text NOT NULL,
	order_id uuid NOT NULL
);
COMMENT ON TABLE demo.tale IS 'The orders that go wrong.';

CREATE TABLE demo.log_line (
	entry jsonb NOT NULL
);
COMMENT ON TABLE demo.log_line IS 'Lines of the daemons'' logs about one order, as they are.';

CREATE TABLE demo.sales (
	country text PRIMARY KEY,
	orders bigint NOT NULL DEFAULT 0,
	confirmed bigint NOT NULL DEFAULT 0,
	completed bigint NOT NULL DEFAULT 0,
	cancelled bigint NOT NULL DEFAULT 0,
	revenue numeric NOT NULL DEFAULT 0
);
COMMENT ON TABLE demo.sales IS 'Written by the follower in the same transaction as its checkpoint. What was confirmed and later cancelled counts as both; revenue is without the cancelled ones.';

-- Distinguishes the orders of this run from those of earlier ones.
CREATE TABLE demo.run AS
	SELECT gen_random_uuid() AS run_id, event_store.high_water_mark() AS began_at;

-- A name-based UUID (RFC 4122, version 3) in the namespace of this data set:
-- the same invoice, customer or product is the same id in every run.
CREATE FUNCTION demo.uuid_of(kind text, name text) RETURNS uuid
	LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
	SELECT encode(set_byte(set_byte(digest, 6, get_byte(digest, 6) & 15 | 48),
						   8, get_byte(digest, 8) & 63 | 128), 'hex')::uuid
	FROM (SELECT decode(md5('\x6ba7b8119dad11d180b400c04fd430c8'::bytea
							|| convert_to('online-retail/' || kind || '/' || name, 'UTF8')),
						'hex')) AS hashed (digest)
$$;
