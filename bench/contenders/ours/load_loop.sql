-- The same aggregate, folded by the loop.
\set s random(1, 20)
SELECT load_in_a_loop('cart-' || :s::text);
