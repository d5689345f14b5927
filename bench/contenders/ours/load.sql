-- One of the aggregates of aggregate.sql, folded by load().
\set s random(1, 20)
SELECT state FROM event_store.load('cart-' || :s::text);
