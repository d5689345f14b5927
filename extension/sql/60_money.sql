-- Currencies, and what the shop's contracts know of payments.

CREATE FUNCTION ecommerce.currencies()
RETURNS TABLE (code text, minor_units int) LANGUAGE c IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_currencies';
COMMENT ON FUNCTION ecommerce.currencies() IS
'The currencies of ISO 4217 with the number of decimals each has.';

-- Contracts check every order with this one and the two below: a pinned search_path would cost
-- more than all the rest of the check.
CREATE FUNCTION ecommerce.minor_units(currency text)
RETURNS int LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_minor_units';
COMMENT ON FUNCTION ecommerce.minor_units(text) IS
'How many decimals amounts in a currency of ISO 4217 have: 2 for USD, 0 for JPY, 3 for KWD; NULL for what is no currency.';

CREATE FUNCTION ecommerce.currency()
RETURNS text LANGUAGE c STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_currency';
COMMENT ON FUNCTION ecommerce.currency() IS
'The setting ecommerce.currency, also where the library has not been loaded yet.';

CREATE FUNCTION ecommerce.holds_card_number(value text)
RETURNS boolean LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_holds_card_number';
COMMENT ON FUNCTION ecommerce.holds_card_number(text) IS
'Whether some 12 to 19 digits of a text, in a row, satisfy the algorithm of Luhn, however they are separated.';

CREATE FUNCTION ecommerce.is_payment_type(value text)
RETURNS boolean LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_is_payment_type';
COMMENT ON FUNCTION ecommerce.is_payment_type(text) IS
'Whether a text can name a kind of payment: 1 to 50 letters, "_" and "-", a letter first, and at the end up to two digits.';
