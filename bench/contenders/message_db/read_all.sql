-- The first :rows events of the one category there is.
SELECT * FROM get_category_messages('order', 0, :rows::bigint);
