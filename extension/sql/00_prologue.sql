-- Roles and schemas. Read by CREATE EXTENSION, never by psql.
\echo Type "CREATE EXTENSION ecommerce" to load this file. \quit

-- Roles belong to the whole cluster, so another database may have made them.
DO $roles$
DECLARE
	wanted text;
BEGIN
	FOREACH wanted IN ARRAY ARRAY['ecommerce_admin', 'ecommerce_writer', 'ecommerce_reader'] LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
		END IF;
	END LOOP;
	-- The background worker logs in from inside the server; no password lets nobody else in.
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ecommerce_worker') THEN
		CREATE ROLE ecommerce_worker LOGIN;
	END IF;
	GRANT ecommerce_reader TO ecommerce_writer;
	GRANT ecommerce_writer TO ecommerce_admin;
END
$roles$;

CREATE SCHEMA ecommerce;
COMMENT ON SCHEMA ecommerce IS 'What all modules share: context, contracts, worker.';
CREATE SCHEMA event_store;
COMMENT ON SCHEMA event_store IS 'Event store: streams, append, reads, subscriptions, aggregates, projections.';
CREATE SCHEMA message_bus;
COMMENT ON SCHEMA message_bus IS 'Message bus: endpoints, publish and send, receive, retry, dead letters.';
CREATE SCHEMA saga;
COMMENT ON SCHEMA saga IS 'Saga engine: definitions, instances, timers, compensation.';
