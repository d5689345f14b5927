-- What the demo keeps beside the event store: the lines of the file as they
-- came, what became of each, and the follower's read model.
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
	stream text,
	outcome text CHECK (outcome IN ('created', 'cancelled', 'reported')),
	problem text
);
COMMENT ON TABLE demo.invoice IS 'Each invoice and what became of it; reported ones have a "problem".';

CREATE TABLE demo.sales (
	country text PRIMARY KEY,
	orders bigint NOT NULL DEFAULT 0,
	cancelled bigint NOT NULL DEFAULT 0,
	revenue numeric NOT NULL DEFAULT 0
);
COMMENT ON TABLE demo.sales IS 'Written by the follower in the same transaction as its checkpoint. Revenue in GBP.';

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
