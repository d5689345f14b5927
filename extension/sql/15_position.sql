-- Positions for tables of one's own, so that others can follow them without missing a row.

CREATE SEQUENCE ecommerce.position_seq AS bigint NO CYCLE CACHE 1;
COMMENT ON SEQUENCE ecommerce.position_seq IS
'Positions of ecommerce.next_position(), under whatever name; what is rolled back leaves gaps.';

CREATE FUNCTION ecommerce.next_position(name text)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_next_position';
COMMENT ON FUNCTION ecommerce.next_position(text) IS
'A position for a row of a table of one''s own, greater than all before; as the column''s default: bigint NOT NULL UNIQUE DEFAULT ecommerce.next_position(''payments''). '
'Positions are taken before the commit, so read only up to ecommerce.position_mark() of the same name. A transaction that took one cannot be prepared (PREPARE TRANSACTION).';

CREATE FUNCTION ecommerce.position_mark(name text)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_position_mark';
COMMENT ON FUNCTION ecommerce.position_mark(text) IS
'The greatest position at or below which no row of that name can appear any more. Read the rows above the position that you have and up to the mark in a statement after this one (in READ COMMITTED, or a VOLATILE function): no row is ever missed or seen twice. Not on a standby (25006).';
