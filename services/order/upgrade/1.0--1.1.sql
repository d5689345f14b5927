-- By hand, from 1.0 to 1.1; see extension/upgrade/README.md.

-- A customer follows his own orders.
DROP FUNCTION ecommerce_order.follow_orders(text, text, text);
