-- The extension can be created, says its version and goes without a trace.
CREATE EXTENSION ecommerce;
SELECT extname, extversion FROM pg_extension WHERE extname = 'ecommerce';
DROP EXTENSION ecommerce;
SELECT count(*) AS left_behind FROM pg_namespace
WHERE nspname IN ('ecommerce', 'event_store', 'message_bus', 'saga');
