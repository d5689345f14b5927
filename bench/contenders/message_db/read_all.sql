SELECT * FROM get_category_messages('order', 0, :rows::bigint);
