-- Roles and schemas. Read by CREATE EXTENSION, never by psql.
\echo Type "CREATE EXTENSION ecommerce" to load this file. \quit

-- Roles belong to the whole cluster, so another database may have made them; or
-- somebody who wants what they are going to be granted.
DO $roles$
DECLARE
	wanted text;
	existing pg_catalog.pg_authid;
	members text;
	made_by_us CONSTANT text := 'Made by extension ecommerce, for all databases of this cluster.';
BEGIN
	FOREACH wanted IN ARRAY ARRAY['ecommerce_admin', 'ecommerce_writer', 'ecommerce_reader',
		'ecommerce_monitor', 'ecommerce_worker'] LOOP
		SELECT * INTO existing FROM pg_catalog.pg_authid WHERE rolname = wanted;
		IF NOT FOUND THEN
			-- The background worker logs in from inside the server; no password lets nobody else in.
			EXECUTE pg_catalog.format('CREATE ROLE %I %s', wanted,
				CASE WHEN wanted = 'ecommerce_worker' THEN 'LOGIN' ELSE 'NOLOGIN' END);
			EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', wanted, made_by_us);
			CONTINUE;
		END IF;
		IF existing.rolsuper OR existing.rolcreaterole OR existing.rolcreatedb OR existing.rolreplication
			OR existing.rolbypassrls OR existing.rolpassword IS NOT NULL
			OR existing.rolcanlogin <> (wanted = 'ecommerce_worker') THEN
			RAISE EXCEPTION 'role "%" exists already, and is not as the extension would make it', wanted
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = pg_catalog.format('Find out who made it. Then type DROP ROLE %1$I, or ALTER ROLE %1$I %2$s NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS PASSWORD NULL.',
					wanted, CASE WHEN wanted = 'ecommerce_worker' THEN 'LOGIN' ELSE 'NOLOGIN' END);
		END IF;
		-- Members of a role that somebody else made may not know what they are going to be.
		CONTINUE WHEN pg_catalog.shobj_description(existing.oid, 'pg_authid') = made_by_us;
		SELECT pg_catalog.string_agg(pg_catalog.quote_ident(r.rolname), ', ' ORDER BY r.rolname)
		INTO members
		FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.member
		WHERE m.roleid = existing.oid AND r.rolname !~ '^(ecommerce_|pg_monitor$)';
		IF members IS NOT NULL THEN
			RAISE WARNING 'role "%" exists already, and has members: %', wanted, members
			USING HINT = pg_catalog.format('They have its rights in this database too. If that is not meant, type REVOKE %I FROM %s.',
				wanted, members);
		END IF;
	END LOOP;
	GRANT ecommerce_reader TO ecommerce_writer;
	GRANT ecommerce_writer TO ecommerce_admin;
	GRANT ecommerce_monitor TO pg_monitor;
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
