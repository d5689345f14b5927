SELECT * FROM event WHERE position > 0 ORDER BY position LIMIT :rows::bigint;
