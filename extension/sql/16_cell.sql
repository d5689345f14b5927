-- Cells: ids that tell which of several databases made them.

CREATE FUNCTION ecommerce.new_id()
RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'ecommerce_new_id';
COMMENT ON FUNCTION ecommerce.new_id() IS
'A new UUIDv7 (RFC 9562) that carries this database''s cell, the setting ecommerce.cell, in the 12 bits after the version: characters 16 to 18 of its text, in hexadecimal. So whoever sees the id knows where what it names is kept; cell_of() reads it.';

CREATE FUNCTION ecommerce.cell_of(id uuid)
RETURNS int LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_cell_of';
COMMENT ON FUNCTION ecommerce.cell_of(uuid) IS
'The cell, 0 to 4095, that a new_id() carries; NULL of an id that is no UUIDv7. Of a UUIDv7 that something else has made it is any number.';

CREATE FUNCTION ecommerce._cell_of_stream(stream text)
RETURNS int LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_cell_of_stream';
COMMENT ON FUNCTION ecommerce._cell_of_stream(text) IS
'The cell of the id that a stream''s name ends with, after category and "-"; NULL if it ends with none.';
