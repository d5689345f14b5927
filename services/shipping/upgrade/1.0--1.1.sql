-- By hand, from 1.0 to 1.1; see extension/upgrade/README.md.

-- One plan is kept from the first row on: what is good for few must be good for many.
ALTER FUNCTION ecommerce_shipping.claim(int, interval) SET enable_seqscan = off;

-- After everything else
-- It has done its work when the extension was created.
DROP FUNCTION ecommerce_shipping._outside_work(regclass, name, text[], text);
