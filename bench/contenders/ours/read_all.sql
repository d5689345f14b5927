-- The first :rows events of the store.
SELECT * FROM event_store.read_all(0, :rows::bigint);
