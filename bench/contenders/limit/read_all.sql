-- The first :rows events of the store.
SELECT * FROM event WHERE position > 0 ORDER BY position LIMIT :rows::bigint;
