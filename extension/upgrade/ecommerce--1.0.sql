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
-- Context, and the row types of the event store's functions.

CREATE FUNCTION ecommerce.set_context(correlation_id uuid, causation_id uuid DEFAULT NULL,
	user_id text DEFAULT NULL, tenant_id text DEFAULT NULL, headers jsonb DEFAULT '{}',
	traceparent text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_set_context';
COMMENT ON FUNCTION ecommerce.set_context(uuid, uuid, text, text, jsonb, text) IS
'Sets who acts and why until the transaction ends; every event and message is stamped with it. '
'headers: a JSON object, traceparent: as in W3C Trace Context, else 22023. NULL leaves a member out.';

CREATE FUNCTION ecommerce.context(OUT correlation_id uuid, OUT causation_id uuid,
	OUT user_id text, OUT tenant_id text, OUT headers jsonb, OUT traceparent text,
	OUT conversation_id uuid)
RETURNS record LANGUAGE c STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_context';
COMMENT ON FUNCTION ecommerce.context() IS
'The context of this transaction as one row, all NULL when none is set. conversation_id is the one of the message being handled.';

CREATE TYPE event_store.event AS (
	position bigint,
	stream text,
	version bigint,
	event_id uuid,
	event_type text,
	schema_version int,
	data jsonb,
	metadata jsonb,
	occurred_at timestamptz
);
COMMENT ON TYPE event_store.event IS
'A stored event: position in the whole store (rising, with gaps), stream and version in it (1, 2, 3, ...), id, type and its schema version, data, metadata (correlation_id and so on), and when it occurred.';

CREATE TYPE event_store.new_event AS (
	event_type text,
	data jsonb,
	metadata jsonb,
	event_id uuid,
	occurred_at timestamptz,
	schema_version int
);
COMMENT ON TYPE event_store.new_event IS
'An event to append. metadata NULL is {}, event_id NULL a new UUIDv7, occurred_at NULL the wall clock, schema_version NULL the current one (1 if none is registered).';
-- Positions for tables of one's own, so that others can follow them without missing a row.

CREATE SEQUENCE ecommerce.position_seq AS bigint NO CYCLE CACHE 1;
COMMENT ON SEQUENCE ecommerce.position_seq IS
'Positions of ecommerce.next_position(), under whatever name; what is rolled back leaves gaps.';

CREATE FUNCTION ecommerce.next_position(name text)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_next_position';
COMMENT ON FUNCTION ecommerce.next_position(text) IS
'A position for a row of a table of one''s own, greater than all before; as the column''s default: bigint NOT NULL UNIQUE DEFAULT ecommerce.next_position(''payments''). '
'Positions are taken before the commit, so read only up to ecommerce.position_mark() of the same name. A transaction that took one cannot be prepared (PREPARE TRANSACTION).';

CREATE FUNCTION ecommerce.position_mark(name text)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_position_mark';
COMMENT ON FUNCTION ecommerce.position_mark(text) IS
'The greatest position at or below which no row of that name can appear any more. Read the rows above the position that you have and up to the mark in a statement after this one (in READ COMMITTED, or a VOLATILE function): no row is ever missed or seen twice. Not on a standby (25006).';
-- Event store: tables, functions. Views stand in 80_views.sql, privileges in 90_grants.sql.

CREATE SEQUENCE event_store.position_seq AS bigint NO CYCLE CACHE 1;
COMMENT ON SEQUENCE event_store.position_seq IS 'Positions of events over the whole store; rolled-back appends leave gaps.';

CREATE SEQUENCE event_store.published_mark_seq AS bigint NO CYCLE CACHE 1;
COMMENT ON SEQUENCE event_store.published_mark_seq IS
'The high-water mark as the primary''s worker last published it; what a standby goes by.';

CREATE SEQUENCE event_store.stream_id_seq AS bigint NO CYCLE CACHE 1;
COMMENT ON SEQUENCE event_store.stream_id_seq IS 'Numbers of streams, unique, in no order that matters.';

-- The row is what appends to the stream lock. Its version is the last event's, or
-- last_version when retention has removed that one.
CREATE TABLE event_store.stream (
	stream_id bigint NOT NULL,
	name_key bigint NOT NULL,
	name text COLLATE "C" NOT NULL,
	last_version bigint,
	deleted_version bigint,
	tombstoned boolean
);
COMMENT ON TABLE event_store.stream IS 'One row per stream; its name is found by name_key, a 64-bit hash of it.';
COMMENT ON COLUMN event_store.stream.stream_id IS 'Number of the stream; its events carry it.';
COMMENT ON COLUMN event_store.stream.last_version IS 'Lower bound of the stream''s version; null: its last event tells.';
COMMENT ON COLUMN event_store.stream.deleted_version IS 'Version at the last delete_stream; events up to it are hidden.';
CREATE UNIQUE INDEX stream_name_key_idx ON event_store.stream (name_key);
ALTER TABLE event_store.stream REPLICA IDENTITY USING INDEX stream_name_key_idx;

-- The first nine columns are those of event_store.event: a row is given out as it is stored.
CREATE TABLE event_store.stored_event (
	position bigint NOT NULL,
	stream text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	event_id uuid NOT NULL,
	event_type text COLLATE "C" NOT NULL,
	schema_version int NOT NULL,
	data jsonb NOT NULL,
	metadata jsonb NOT NULL,
	occurred_at timestamptz NOT NULL,
	stream_id bigint NOT NULL,
	category_key int NOT NULL
);
COMMENT ON TABLE event_store.stored_event IS
'Every event as it was appended. Read it through event_store.read_stream, read_all and so on: they know how far it is safe to read.';
COMMENT ON COLUMN event_store.stored_event.category_key IS 'Hash of the stream''s category.';

CREATE FUNCTION event_store.correlation_of(metadata jsonb) RETURNS uuid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'event_store_correlation_of';
COMMENT ON FUNCTION event_store.correlation_of(jsonb) IS 'The correlation id in an event''s metadata, NULL if there is none.';

CREATE UNIQUE INDEX stored_event_position_idx ON event_store.stored_event (position);
ALTER TABLE event_store.stored_event REPLICA IDENTITY USING INDEX stored_event_position_idx;
CREATE UNIQUE INDEX stored_event_version_idx ON event_store.stored_event (stream_id, version);
CREATE UNIQUE INDEX stored_event_event_id_idx ON event_store.stored_event (event_id);
CREATE INDEX stored_event_category_idx ON event_store.stored_event (category_key, position);
CREATE INDEX stored_event_correlation_idx
	ON event_store.stored_event (event_store.correlation_of(metadata), position)
	WHERE event_store.correlation_of(metadata) IS NOT NULL;
CREATE INDEX stored_event_occurred_at_idx ON event_store.stored_event
	USING brin (occurred_at) WITH (pages_per_range = 32);

-- Retention: policies by name, and per stream the version before which nothing is shown.
CREATE TABLE event_store.retention (
	name text COLLATE "C" PRIMARY KEY,
	max_count bigint CHECK (max_count >= 0),
	max_age interval,
	truncate_before bigint CHECK (truncate_before >= 0)
);
COMMENT ON TABLE event_store.retention IS 'Retention policies, by stream or (a name without -) category.';

CREATE TABLE event_store.truncated_stream (
	stream_id bigint PRIMARY KEY,
	before_version bigint NOT NULL
);
COMMENT ON TABLE event_store.truncated_stream IS 'Events below before_version are hidden; scavenge() removes them and then the row.';

CREATE FUNCTION event_store._guard_immutable() RETURNS trigger
LANGUAGE c SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_guard_immutable';
COMMENT ON FUNCTION event_store._guard_immutable() IS 'Trigger: refuses UPDATE, DELETE and TRUNCATE with ST005 unless event_store.allow_rewrite is on.';

CREATE TRIGGER immutable_row BEFORE UPDATE OR DELETE ON event_store.stored_event
	FOR EACH ROW EXECUTE FUNCTION event_store._guard_immutable();
CREATE TRIGGER immutable_table BEFORE TRUNCATE ON event_store.stored_event
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._guard_immutable();
CREATE TRIGGER immutable_row BEFORE UPDATE OR DELETE ON event_store.stream
	FOR EACH ROW EXECUTE FUNCTION event_store._guard_immutable();
CREATE TRIGGER immutable_table BEFORE TRUNCATE ON event_store.stream
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._guard_immutable();
-- Replication roles must not get around them.
ALTER TABLE event_store.stored_event ENABLE ALWAYS TRIGGER immutable_row;
ALTER TABLE event_store.stored_event ENABLE ALWAYS TRIGGER immutable_table;
ALTER TABLE event_store.stream ENABLE ALWAYS TRIGGER immutable_row;
ALTER TABLE event_store.stream ENABLE ALWAYS TRIGGER immutable_table;

-- ---------------------------------------------------------------- append
-- The hot functions below are C that resolves no name, so a pinned search path
-- would protect nothing and cost a tenth of the append.

CREATE FUNCTION event_store.append(stream text, expected_version bigint, event_type text,
	data jsonb, metadata jsonb DEFAULT '{}', event_id uuid DEFAULT NULL,
	schema_version int DEFAULT NULL, OUT version bigint, OUT "position" bigint)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'event_store_append';
COMMENT ON FUNCTION event_store.append(text, bigint, text, jsonb, jsonb, uuid, int) IS
'Appends one event; returns its version in the stream and its position in the store. '
'expected_version: n >= 0 the stream is exactly at n, -1 any, -2 it has an event; NULL is 22004. '
'data, metadata: JSON objects. event_id: NULL generates a UUIDv7; an id that stands at this place already returns the original. schema_version: which version of the type data is of; NULL is the current one (1 if none is registered). '
'Errors: ST001 version conflict (DETAIL is JSON), ST002 tombstoned, ST003 event id reused, ST004 bad input: also data over event_store.max_event_size, metadata over event_store.max_metadata_size, either nested more than 1000 deep or with a number whose exponent is over 1000.';

CREATE FUNCTION event_store.append_batch(stream text, expected_version bigint,
	events event_store.new_event[], OUT version bigint, OUT "position" bigint)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'event_store_append_batch';
COMMENT ON FUNCTION event_store.append_batch(text, bigint, event_store.new_event[]) IS
'Appends up to 10 000 events to one stream, all or none; returns version and position of the last. '
'An empty array writes nothing, checks the version and returns the current one. Errors as append.';

CREATE FUNCTION event_store.append_json(stream text, expected_version bigint, events jsonb,
	OUT version bigint, OUT "position" bigint)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'event_store_append_json';
COMMENT ON FUNCTION event_store.append_json(text, bigint, jsonb) IS
'As append_batch, with a JSON array of objects that have the keys of event_store.new_event; other keys are ST004.';

CREATE FUNCTION event_store.check_version(stream text, expected_version bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'event_store_check_version';
COMMENT ON FUNCTION event_store.check_version(text, bigint) IS
'Asserts the version of a stream that this transaction does not write, and holds it until commit. Errors: ST001, ST002, 22004.';

-- ---------------------------------------------------------------- read

CREATE FUNCTION event_store.read_stream(stream text, from_version bigint DEFAULT NULL,
	max_count bigint DEFAULT NULL, backward boolean DEFAULT false)
RETURNS SETOF event_store.event LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'event_store_read_stream';
COMMENT ON FUNCTION event_store.read_stream(text, bigint, bigint, boolean) IS
'The events of a stream in order of version, from from_version on (NULL: the first; backward: the last), at most max_count (NULL: all). '
'Sees the newest committed events and this transaction''s own, at every isolation level.';

CREATE FUNCTION event_store.read_all(after_position bigint DEFAULT 0,
	max_count bigint DEFAULT 1000, category text DEFAULT NULL, event_types text[] DEFAULT NULL,
	backward boolean DEFAULT false)
RETURNS SETOF event_store.event LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
AS 'MODULE_PATHNAME', 'event_store_read_all';
COMMENT ON FUNCTION event_store.read_all(bigint, bigint, text, text[], boolean) IS
'Events of all streams, or of one category or of some types, in order of position, above after_position and up to the high-water mark. '
'Ask again from the last position you got: no event is ever missed or seen twice. Works on a standby. '
'backward: the newest first, those below after_position; 0 begins with the last one. '
'In FROM, as read_stream and read_correlation, it gives events as they are found: LIMIT ends the read.';

CREATE FUNCTION event_store.read_stored(after_position bigint DEFAULT 0,
	max_count bigint DEFAULT 1000, category text DEFAULT NULL, event_types text[] DEFAULT NULL,
	backward boolean DEFAULT false)
RETURNS SETOF event_store.event LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_read_stored';
COMMENT ON FUNCTION event_store.read_stored(bigint, bigint, text, text[], boolean) IS
'As read_all, but with data and schema_version as they were appended: no upcaster runs, so none can fail.';

CREATE FUNCTION event_store.read_between(from_time timestamptz, to_time timestamptz,
	category text DEFAULT NULL, max_count bigint DEFAULT NULL)
RETURNS SETOF event_store.event LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_read_between';
COMMENT ON FUNCTION event_store.read_between(timestamptz, timestamptz, text, bigint) IS
'Events with occurred_at between two times, both included, ordered by time, then position.';

CREATE FUNCTION event_store.read_correlation(correlation_id uuid)
RETURNS SETOF event_store.event LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'event_store_read_correlation';
COMMENT ON FUNCTION event_store.read_correlation(uuid) IS
'All events that were appended under a correlation id, in order of position.';

CREATE FUNCTION event_store.get_event(event_id uuid)
RETURNS event_store.event LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'event_store_get_event';
COMMENT ON FUNCTION event_store.get_event(uuid) IS 'The event with an id, NULL if there is none.';

CREATE FUNCTION event_store.stream_version(stream text)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'event_store_stream_version';
COMMENT ON FUNCTION event_store.stream_version(text) IS 'The version of a stream, 0 if it has no event.';

CREATE FUNCTION event_store.high_water_mark(category text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'event_store_high_water_mark';
COMMENT ON FUNCTION event_store.high_water_mark(text) IS
'The greatest position at or below which nothing can appear any more, in the whole store or in one category.';

CREATE FUNCTION event_store.channel(category text)
RETURNS text LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_channel';
COMMENT ON FUNCTION event_store.channel(text) IS
'The channel to LISTEN to for one category: event_store.<category>, its end replaced by a hash where that would be over 63 bytes.';

CREATE PROCEDURE event_store.wait(after_position bigint, timeout interval,
	category text DEFAULT NULL, stream text DEFAULT NULL,
	INOUT high_water_mark bigint DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'event_store_wait';
COMMENT ON PROCEDURE event_store.wait(bigint, interval, text, text, bigint) IS
'Returns as soon as an event beyond after_position can be read (of the category or stream, if given), or at the timeout. '
'Holds no snapshot, needs no LISTEN, can be cancelled. CALL it on its own, outside a transaction block (else 25001).';

CREATE FUNCTION event_store._position_holders(OUT pid int, OUT lowest_position bigint,
	OUT category text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_position_holders';
COMMENT ON FUNCTION event_store._position_holders() IS
'Which backends hold back the high-water mark, and from which position on; event_store.appenders tells more.';

CREATE FUNCTION event_store.position_counter() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_position_counter';
COMMENT ON FUNCTION event_store.position_counter() IS 'The newest position that was taken, committed or not.';

CREATE FUNCTION event_store.published_mark() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_published_mark';
COMMENT ON FUNCTION event_store.published_mark() IS 'How far readers can have been, as far as is known: the mark last published for standbys, or what was handed out since the server started.';

-- ---------------------------------------------------------------- subscriptions

CREATE TABLE event_store.subscription (
	name text COLLATE "C" PRIMARY KEY,
	category text,
	stream text,
	event_types text[],
	partitions int NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE event_store.subscription IS 'Persistent subscriptions; event_store.subscriptions shows how far they are.';

CREATE TABLE event_store.subscription_partition (
	name text COLLATE "C" NOT NULL,
	partition int NOT NULL,
	checkpoint bigint NOT NULL,
	PRIMARY KEY (name, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE event_store.subscription_partition IS
'How far each partition of a subscription is; a consumer holds the row locked while it works.';

CREATE FUNCTION event_store.create_subscription(name text, category text DEFAULT NULL,
	event_types text[] DEFAULT NULL, start_after bigint DEFAULT 0, partitions int DEFAULT 1,
	stream text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_create_subscription';
COMMENT ON FUNCTION event_store.create_subscription(text, text, text[], bigint, int, text) IS
'Creates a persistent subscription to all events, or to those of a category, a stream, some types. '
'start_after: a position; 0 is from the first event on. partitions: 1 to 1024, how many consumers can work in parallel; a stream always falls into the same one. '
'The same call again does nothing, wherever it has got to. Errors: 42710 it exists with another definition, 22023 bad arguments, such as a start_after that no event has reached yet, or no event type at all.';

CREATE FUNCTION event_store.fetch(name text, max_count int DEFAULT 100)
RETURNS SETOF event_store.event LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_fetch';
COMMENT ON FUNCTION event_store.fetch(text, int) IS
'Leases a free partition of the subscription to this transaction and gives its next events, in order of position. Called again in the same transaction it goes on there. '
'Nothing comes when all partitions are held or there is nothing new: CALL event_store.wait. Errors: SB001 no such subscription.';

CREATE FUNCTION event_store.advance(name text, checkpoint bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_advance';
COMMENT ON FUNCTION event_store.advance(text, bigint) IS
'Moves the checkpoint of the partition that fetch leased to this transaction: the events up to there are dealt with when it commits. '
'Errors: SB001, SB002 nothing was fetched in this transaction, SB003 not the position of a fetched event.';

CREATE FUNCTION event_store.drop_subscription(name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_drop_subscription';
COMMENT ON FUNCTION event_store.drop_subscription(text) IS 'Drops a subscription and its checkpoints, once no consumer holds a partition. Errors: SB001.';

CREATE FUNCTION event_store.reset_subscription(name text, to_position bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_reset_subscription';
COMMENT ON FUNCTION event_store.reset_subscription(text, bigint) IS
'Sets every partition''s checkpoint, back (0: everything again) or ahead. Waits for consumers that hold one. Errors: SB001, 22023 beyond the newest position.';

CREATE FUNCTION event_store._subscription_lag(name text, OUT partition int,
	OUT checkpoint bigint, OUT head bigint, OUT lag_events bigint, OUT oldest timestamptz,
	OUT capped boolean)
RETURNS SETOF record LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_subscription_lag';
COMMENT ON FUNCTION event_store._subscription_lag(text) IS
'What the partitions of a subscription have still to read: the high-water mark, the number of events and when the oldest occurred. Looks at 10 000 events at most; capped: there may be more.';

-- ---------------------------------------------------------------- deletion and retention

CREATE FUNCTION event_store.delete_stream(stream text, expected_version bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_delete_stream';
COMMENT ON FUNCTION event_store.delete_stream(text, bigint) IS
'Hides all events of a stream; scavenge() removes them. The next append may expect the last version, 0 or -1, and continues the numbering. Errors: ST001, ST002, 22004.';

CREATE FUNCTION event_store.tombstone_stream(stream text, expected_version bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_tombstone_stream';
COMMENT ON FUNCTION event_store.tombstone_stream(text, bigint) IS
'Deletes a stream for good: its events are hidden and every later append fails with ST002. Errors: ST001, ST002, 22004.';

CREATE FUNCTION event_store.set_retention(stream_or_category text,
	max_count bigint DEFAULT NULL, max_age interval DEFAULT NULL,
	truncate_before bigint DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_set_retention';
COMMENT ON FUNCTION event_store.set_retention(text, bigint, interval, bigint) IS
'Sets what is kept of a stream, or of every stream of a category (a name without "-"): the last max_count events, those that occurred within max_age, versions from truncate_before on. '
'A stream''s own policy comes before its category''s, member by member. All NULL removes the policy. Takes effect on reads at once, on disk with scavenge(). '
'Subscriptions and projections miss nothing: an event that they have not passed yet is not hidden from fetch() and handlers, and scavenge() leaves it; one that nobody consumes any more must be dropped.';

CREATE FUNCTION event_store.scavenge()
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_scavenge';
COMMENT ON FUNCTION event_store.scavenge() IS
'Removes the events that deletion and retention hide; returns how many. Versions and positions are not used again. VACUUM then frees the space. '
'What retention hides stays until every subscription and projection that may want it has passed it. It is one transaction, and appends to the streams that it trims wait for its end: CALL event_store.scavenge(max) commits in between.';

CREATE PROCEDURE event_store.scavenge(max bigint, INOUT removed bigint DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'event_store_scavenge_in_portions';
COMMENT ON PROCEDURE event_store.scavenge(bigint, bigint) IS
'As the function, but at most max events (NULL: all), and in transactions of at most 1000, so that nobody waits for more. removed: how many. CALL it on its own, outside a transaction block (else 25001).';
-- Contracts: which composite type the data of each type and version must fit.
--
-- Functions are stored by signature and looked up when used: a column of type
-- regprocedure would make pg_upgrade refuse the cluster.

CREATE FUNCTION event_store._registry_changed() RETURNS trigger
LANGUAGE c SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_registry_changed';
COMMENT ON FUNCTION event_store._registry_changed() IS
'Trigger on tables that every backend caches: makes them read the table again.';

CREATE TABLE event_store.event_type (
	event_type text COLLATE "C" NOT NULL,
	schema_version int NOT NULL CHECK (schema_version >= 1),
	payload_type regtype NOT NULL,
	owner text NOT NULL,
	may_be_current boolean NOT NULL DEFAULT true,
	PRIMARY KEY (event_type, schema_version)
);
COMMENT ON COLUMN event_store.event_type.may_be_current IS
'The current version of a type is the greatest that may be; if none may, the first.';
COMMENT ON TABLE event_store.event_type IS
'Registered types of events and messages: the composite type that the data of each version must fit. Changed by register_event_type().';

CREATE TABLE event_store.upcaster (
	event_type text COLLATE "C" NOT NULL,
	from_version int NOT NULL CHECK (from_version >= 1),
	function text NOT NULL,
	owner text NOT NULL,
	PRIMARY KEY (event_type, from_version)
);
COMMENT ON TABLE event_store.upcaster IS
'Functions that turn the data of one version of a type into that of the next. Changed by register_upcaster().';
COMMENT ON COLUMN event_store.event_type.owner IS 'The role with whose rights CHECKs and input functions of the type run.';
COMMENT ON COLUMN event_store.upcaster.owner IS 'The role with whose rights the function runs.';

CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON event_store.event_type
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._registry_changed();
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON event_store.upcaster
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._registry_changed();
ALTER TABLE event_store.event_type ENABLE ALWAYS TRIGGER registry_changed;
ALTER TABLE event_store.upcaster ENABLE ALWAYS TRIGGER registry_changed;

CREATE FUNCTION event_store.register_event_type(event_type text, payload_type regtype,
												schema_version int DEFAULT 1,
												current boolean DEFAULT true)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_register_event_type';
COMMENT ON FUNCTION event_store.register_event_type(text, regtype, int, boolean) IS
'From now on the data of every event and message of this type and version must fit a composite type: no key missing whose column is of a NOT NULL domain, no other key, every value convertible and written as asyncapi() says: numbers as numbers, times with their zone. '
'What does not fit is ST004 with the path of the offender. Repeating a registration changes nothing; another type for the same version is 42710. '
'current: whether who names no version means this one from now on, if it is the newest, and whether reads upcast to it. With false both go on as before until set_current_version(): readers first, then writers, one after the other.';

CREATE FUNCTION event_store.set_current_version(event_type text, schema_version int)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_set_current_version';
COMMENT ON FUNCTION event_store.set_current_version(text, int) IS
'From now on this version of a type is meant where none is named, and reads and receive() upcast to it; it may be an older one. Definitions of sagas go on with the versions that were current when they were defined. ST004 if it is not registered.';

CREATE FUNCTION event_store.unregister_event_type(event_type text, schema_version int DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_unregister_event_type';
COMMENT ON FUNCTION event_store.unregister_event_type(text, int) IS
'Forgets a version of a type, or all of them; returns how many it forgot. Stored events stay as they are.';

CREATE FUNCTION event_store.check_data(event_type text, data jsonb, schema_version int DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'event_store_check_data';
COMMENT ON FUNCTION event_store.check_data(text, jsonb, int) IS
'Checks data as an append or publish of that type would, and writes nothing. Returns the schema version it would be stored with (NULL asks for the current one); raises ST004.';

CREATE FUNCTION event_store.register_upcaster(event_type text, from_version int, fn regprocedure)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_register_upcaster';
COMMENT ON FUNCTION event_store.register_upcaster(text, int, regprocedure) IS
'fn(data jsonb) RETURNS jsonb turns data of from_version into data of the next version. Reads, and receive() of messages, apply it, with the rights of the role that calls this and with pinned settings, up to the current version; what is stored stays untouched. '
'Registering another function for the same version replaces it.';

-- What a type looks like as JSON Schema; columns that are not required may be null.
CREATE FUNCTION event_store._json_schema(type oid, typmod int, required boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $json_schema$
DECLARE
	t pg_catalog.pg_type;
	base oid := type;
	modifier int := typmod;
	result jsonb;
	note text;
BEGIN
	LOOP
		SELECT * INTO STRICT t FROM pg_catalog.pg_type WHERE pg_type.oid = base;
		EXIT WHEN t.typtype <> 'd';
		note := coalesce(note, obj_description(t.oid, 'pg_type'));
		base := t.typbasetype;
		IF t.typtypmod <> -1 THEN
			modifier := t.typtypmod;
		END IF;
	END LOOP;
	result := CASE
		WHEN t.typtype = 'c' THEN jsonb_build_object('$ref',
			'#/components/schemas/' || event_store._schema_key(base))
		WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN jsonb_build_object('type', 'array',
			'items', event_store._json_schema(t.typelem, modifier,
				event_store._is_required(t.typelem)))
		WHEN t.typtype = 'e' THEN jsonb_build_object('type', 'string', 'enum',
			(SELECT jsonb_agg(enumlabel ORDER BY enumsortorder) FROM pg_catalog.pg_enum
				WHERE enumtypid = base))
		ELSE event_store._scalar_schema(base, modifier) END;
	IF note IS NOT NULL THEN
		-- Beside a $ref other keys would be ignored.
		IF result ? '$ref' THEN
			result := jsonb_build_object('allOf', jsonb_build_array(result));
		END IF;
		result := result || jsonb_build_object('description', note);
	END IF;
	IF NOT required AND result <> '{}' THEN
		result := CASE WHEN result ? 'type' AND NOT result ? 'enum'
			THEN jsonb_set(result, '{type}', jsonb_build_array(result->'type', 'null'))
			ELSE jsonb_build_object('oneOf', result || '[{"type": "null"}]') END;
	END IF;
	RETURN result;
END
$json_schema$;
COMMENT ON FUNCTION event_store._json_schema(oid, int, boolean) IS
'JSON Schema of a column''s type; composite types become references to components/schemas.';

CREATE FUNCTION event_store._scalar_schema(type oid, typmod int) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $scalar_schema$
	SELECT CASE type
		WHEN 'smallint'::regtype
			THEN '{"type": "integer", "minimum": -32768, "maximum": 32767}'::jsonb
		WHEN 'integer'::regtype THEN '{"type": "integer", "format": "int32",
			"minimum": -2147483648, "maximum": 2147483647}'
		WHEN 'bigint'::regtype THEN '{"type": "integer", "format": "int64"}'
		WHEN 'numeric'::regtype THEN '{"type": "number"}'
		WHEN 'real'::regtype THEN '{"type": "number", "format": "float"}'
		WHEN 'double precision'::regtype THEN '{"type": "number", "format": "double"}'
		WHEN 'boolean'::regtype THEN '{"type": "boolean"}'
		WHEN 'text'::regtype THEN '{"type": "string"}'
		WHEN 'uuid'::regtype THEN '{"type": "string", "format": "uuid"}'
		WHEN 'timestamptz'::regtype THEN '{"type": "string", "format": "date-time"}'
		WHEN 'date'::regtype THEN '{"type": "string", "format": "date"}'
		WHEN 'timestamp'::regtype THEN jsonb_build_object('type', 'string',
			'pattern', '^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?$')
		WHEN 'json'::regtype THEN '{}'
		WHEN 'jsonb'::regtype THEN '{}'
		WHEN 'varchar'::regtype THEN '{"type": "string"}'::jsonb ||
			CASE WHEN typmod > 4 THEN jsonb_build_object('maxLength', typmod - 4) ELSE '{}' END
		ELSE jsonb_build_object('type', 'string', 'description',
			'PostgreSQL ' || format_type(type, typmod)) END
$scalar_schema$;
COMMENT ON FUNCTION event_store._scalar_schema(oid, int) IS 'JSON Schema of a type that is neither composite, array, enum nor domain.';

CREATE FUNCTION event_store._is_required(type oid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $is_required$
	WITH RECURSIVE chain AS (
		SELECT t.typnotnull, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = type
		UNION ALL
		SELECT t.typnotnull, t.typbasetype FROM chain c
			JOIN pg_catalog.pg_type t ON t.oid = c.typbasetype
	)
	SELECT bool_or(typnotnull) FROM chain
$is_required$;
COMMENT ON FUNCTION event_store._is_required(oid) IS 'Whether a type is a NOT NULL domain, or based on one.';

-- Keys of components may hold letters, digits, ".", "-" and "_" only; what else a
-- name has is written as its code point, so that two names never share a key.
CREATE FUNCTION event_store._component_key(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $component_key$
	SELECT string_agg(CASE
		WHEN c ~ '[A-Za-z0-9-]' OR (c = '_' AND substr(name, i::int + 1, 1) <> 'u') THEN c
		ELSE '_u' || to_hex(ascii(c)) || '_' END, '' ORDER BY i)
	FROM string_to_table(name, NULL) WITH ORDINALITY AS s (c, i)
$component_key$;
COMMENT ON FUNCTION event_store._component_key(text) IS 'A name as a key of an AsyncAPI document''s components.';

CREATE FUNCTION event_store._schema_key(type oid) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $schema_key$
	SELECT event_store._component_key(n.nspname) || '.' || event_store._component_key(t.typname)
	FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
	WHERE t.oid = type
$schema_key$;
COMMENT ON FUNCTION event_store._schema_key(oid) IS 'The key of a composite type under components/schemas.';

CREATE FUNCTION event_store._composite_schema(type oid) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $composite_schema$
	SELECT jsonb_strip_nulls(jsonb_build_object('description', obj_description(type, 'pg_type')))
		|| jsonb_build_object('type', 'object', 'additionalProperties', false,
			'properties', coalesce(jsonb_object_agg(a.attname,
				event_store._json_schema(a.atttypid, a.atttypmod,
					event_store._is_required(a.atttypid))
				|| jsonb_strip_nulls(jsonb_build_object('description',
					col_description(a.attrelid, a.attnum))))
				FILTER (WHERE a.attname IS NOT NULL), '{}'),
			'required', coalesce(jsonb_agg(a.attname ORDER BY a.attnum)
				FILTER (WHERE event_store._is_required(a.atttypid)), '[]'))
	FROM pg_catalog.pg_type t
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0
			AND NOT a.attisdropped
	WHERE t.oid = type
$composite_schema$;
COMMENT ON FUNCTION event_store._composite_schema(oid) IS 'JSON Schema of a composite type: required are the columns of NOT NULL domains, other keys are not allowed.';

CREATE FUNCTION event_store.asyncapi() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $asyncapi$
	WITH RECURSIVE registered AS (
		SELECT r.event_type, r.schema_version, r.payload_type,
			event_store._component_key(r.event_type) || '.v' || r.schema_version AS key,
			r.schema_version = max(r.schema_version) OVER (PARTITION BY r.event_type) AS newest,
			r.schema_version = coalesce(max(r.schema_version) FILTER (WHERE r.may_be_current)
					OVER (PARTITION BY r.event_type),
				min(r.schema_version) OVER (PARTITION BY r.event_type)) AS current
		FROM event_store.event_type r
		WHERE EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = r.payload_type)
	),
	-- Every composite type that a registered one reaches, through arrays and domains.
	reached (type) AS (
		SELECT payload_type::oid FROM registered
		UNION
		SELECT next.type
		FROM reached
			JOIN pg_catalog.pg_type t ON t.oid = reached.type
			CROSS JOIN LATERAL (
				SELECT a.atttypid AS type FROM pg_catalog.pg_attribute a
				WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
				UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
				UNION ALL SELECT t.typelem WHERE t.typcategory = 'A' AND t.typelem <> 0) AS next
	),
	schemas AS (
		SELECT jsonb_object_agg(event_store._schema_key(t.oid),
			event_store._composite_schema(t.oid)) AS body
		FROM reached JOIN pg_catalog.pg_type t ON t.oid = reached.type AND t.typtype = 'c'
	),
	messages AS (
		SELECT jsonb_object_agg(r.key, jsonb_strip_nulls(jsonb_build_object(
				'name', r.event_type,
				'title', r.event_type || ' version ' || r.schema_version,
				'summary', obj_description(r.payload_type, 'pg_type'),
				'contentType', 'application/json',
				'x-schema-version', r.schema_version,
				'x-newest', r.newest,
				'x-current', r.current,
				'headers', jsonb_build_object('$ref', '#/components/schemas/envelope'),
				'payload', jsonb_build_object('$ref',
					'#/components/schemas/' || event_store._schema_key(r.payload_type))))) AS body,
			jsonb_object_agg(r.key, jsonb_build_object('$ref',
				'#/components/messages/' || r.key)) AS refs,
			jsonb_agg(jsonb_build_object('$ref', '#/channels/event_store/messages/' || r.key)
				ORDER BY r.key) AS list
		FROM registered r
	)
	SELECT jsonb_build_object(
		'asyncapi', '3.0.0',
		'info', jsonb_build_object(
			'title', current_database() || ' events and messages',
			'version', (SELECT e.extversion FROM pg_catalog.pg_extension e
				WHERE e.extname = 'ecommerce'),
			'description', 'The types registered with event_store.register_event_type().'),
		'defaultContentType', 'application/json',
		'channels', jsonb_build_object('event_store', jsonb_build_object(
			'address', 'event_store',
			'description', 'Every event and message of a registered type.',
			'messages', coalesce(messages.refs, '{}'))),
		'operations', CASE WHEN messages.list IS NULL THEN '{}' ELSE jsonb_build_object(
			'append', jsonb_build_object('action', 'receive',
				'summary', 'Append to a stream, or publish on the bus.',
				'channel', '{"$ref": "#/channels/event_store"}'::jsonb, 'messages', messages.list),
			'read', jsonb_build_object('action', 'send',
				'summary', 'Read streams, subscribe, receive.',
				'channel', '{"$ref": "#/channels/event_store"}'::jsonb,
				'messages', messages.list)) END,
		'components', jsonb_build_object(
			'messages', coalesce(messages.body, '{}'),
			'schemas', coalesce(schemas.body, '{}')
				|| jsonb_build_object('envelope', jsonb_build_object(
				'type', 'object', 'description', 'Metadata of an event, headers of a message.',
				'properties', jsonb_build_object(
					'correlation_id', '{"type": "string", "format": "uuid"}'::jsonb,
					'causation_id', '{"type": "string", "format": "uuid"}'::jsonb,
					'conversation_id', '{"type": "string", "format": "uuid"}'::jsonb,
					'user_id', '{"type": "string"}'::jsonb,
					'tenant_id', '{"type": "string"}'::jsonb,
					'traceparent', '{"type": "string"}'::jsonb,
					'source', '{"type": "string"}'::jsonb,
					'headers', '{"type": "object"}'::jsonb)))))
	FROM messages, schemas
$asyncapi$;
COMMENT ON FUNCTION event_store.asyncapi() IS
'Every registered type as an AsyncAPI 3 document with JSON Schema payloads generated from the composite types.';
-- Aggregates: state and event make the next state, with snapshots of it.

CREATE TABLE event_store.aggregate (
	category text COLLATE "C" PRIMARY KEY,
	initial_state jsonb NOT NULL,
	snapshot_every int CHECK (snapshot_every >= 1)
);
COMMENT ON TABLE event_store.aggregate IS 'Aggregates: the state that streams of a category begin with. Changed by create_aggregate().';

CREATE TABLE event_store.event_handler (
	category text COLLATE "C" NOT NULL,
	event_type text COLLATE "C" NOT NULL,
	handler text NOT NULL,
	owner text NOT NULL,
	PRIMARY KEY (category, event_type)
);
COMMENT ON TABLE event_store.event_handler IS
'Which function turns state and event into the next state. Changed by create_event_handler().';
COMMENT ON COLUMN event_store.event_handler.owner IS 'The role with whose rights the handler runs.';

CREATE TABLE event_store.snapshot (
	stream text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	fingerprint text NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	latest_at timestamptz NOT NULL,
	state jsonb NOT NULL,
	PRIMARY KEY (stream, version)
);
COMMENT ON TABLE event_store.snapshot IS
'States of streams at some version. Can be emptied at any time: loading then begins at the first event.';
COMMENT ON COLUMN event_store.snapshot.fingerprint IS
'Of initial state, handlers and upcasters when it was taken; once they have changed it is not used any more.';
COMMENT ON COLUMN event_store.snapshot.latest_at IS 'Greatest occurred_at of the events it covers.';

CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON event_store.aggregate
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._registry_changed();
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON event_store.event_handler
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._registry_changed();
ALTER TABLE event_store.aggregate ENABLE ALWAYS TRIGGER registry_changed;
ALTER TABLE event_store.event_handler ENABLE ALWAYS TRIGGER registry_changed;

CREATE FUNCTION event_store.create_aggregate(category text, initial_state jsonb DEFAULT '{}',
											 snapshot_every int DEFAULT NULL,
											 replace boolean DEFAULT false)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_create_aggregate';
COMMENT ON FUNCTION event_store.create_aggregate(text, jsonb, int, boolean) IS
'Makes the streams of a category aggregates: initial_state is the state before the first event, and save() stores a snapshot every snapshot_every events (NULL: never). '
'The same call again does nothing; another definition is 42710 unless replace is true. Its handlers stay.';

CREATE FUNCTION event_store.drop_aggregate(category text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_drop_aggregate';
COMMENT ON FUNCTION event_store.drop_aggregate(text) IS
'Forgets an aggregate with its handlers and snapshots; its events stay. Error: ST011 if there is none.';

CREATE FUNCTION event_store.create_event_handler(category text, event_type text,
												 handler regprocedure,
												 replace boolean DEFAULT false)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_create_event_handler';
COMMENT ON FUNCTION event_store.create_event_handler(text, text, regprocedure, boolean) IS
'handler(state jsonb, event event_store.event) RETURNS jsonb gives the state after an event of this type. It runs with the rights of the role that calls this, whoever loads, with search_path pg_catalog and TimeZone UTC: qualify the names in it. '
'A function in language SQL that is one expression is inlined. Replacing the handler, or its body, makes the category''s snapshots useless. '
'The same call again does nothing; another handler is 42710 unless replace is true. Error: ST011 if no aggregate is defined.';

CREATE FUNCTION event_store.drop_event_handler(category text, event_type text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_drop_event_handler';
COMMENT ON FUNCTION event_store.drop_event_handler(text, text) IS 'Forgets a handler. Error: ST010 if there is none.';

CREATE FUNCTION event_store.load(stream text, at_version bigint DEFAULT NULL,
								 at_time timestamptz DEFAULT NULL,
								 for_update boolean DEFAULT false,
								 OUT state jsonb, OUT version bigint,
								 OUT created_at timestamptz, OUT updated_at timestamptz)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_load';
COMMENT ON FUNCTION event_store.load(text, bigint, timestamptz, boolean) IS
'The state of a stream: its events folded through the handlers of its category, from the newest usable snapshot on. With at_version or at_time as it was then: the longest beginning of the stream up to that version or occurred_at. '
'created_at, updated_at: when the first and the last event folded occurred. A stream without events gives a NULL state and version 0. '
'version is what save() must expect: the stream''s, also when retention has taken events, or all of them, which leaves a NULL state; with at_version or at_time it is that of the last event folded. '
'for_update: nobody else appends to the stream until this transaction ends, so that save() with this version meets no conflict; whoever else loads it so waits. Needs the right to append. Who locks several streams does it in one order, by name, lest two wait for each other (40P01). '
'Errors: ST010 an event without handler, ST011 no aggregate is defined for the category; with for_update also ST002 tombstoned, 42501, and 22023 together with at_version or at_time.';

CREATE FUNCTION event_store.save(stream text, loaded_version bigint, events event_store.new_event[],
								 OUT version bigint, OUT "position" bigint)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_save';
COMMENT ON FUNCTION event_store.save(text, bigint, event_store.new_event[]) IS
'Appends what was decided on the state that load() gave at loaded_version, and stores a snapshot every snapshot_every events. Without events it does nothing. '
'Returns version and position of the last event. Errors: ST001 if somebody else has saved since, ST010 an event without handler, ST011, and those of append.';

CREATE FUNCTION event_store.save_json(stream text, loaded_version bigint, events jsonb,
									  OUT version bigint, OUT "position" bigint)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_save_json';
COMMENT ON FUNCTION event_store.save_json(text, bigint, jsonb) IS
'As save, with a JSON array of objects that have the keys of event_store.new_event; other keys are ST004.';
-- Projections: handlers that events are given to, inside the append or in the worker.

CREATE TABLE event_store.projection (
	name text COLLATE "C" PRIMARY KEY,
	handler text NOT NULL,
	owner text NOT NULL,
	mode text NOT NULL CHECK (mode IN ('inline', 'async')),
	category text COLLATE "C",
	event_types text[],
	tables text[] NOT NULL,
	on_error text NOT NULL DEFAULT 'refuse' CHECK (on_error IN ('refuse', 'defer')),
	CHECK (category <> '')
);
COMMENT ON TABLE event_store.projection IS 'Definitions of projections. Changed by create_projection() and drop_projection(); see the view event_store.projections.';
COMMENT ON COLUMN event_store.projection.owner IS 'The role that created it, with whose rights the handler runs.';

CREATE TABLE event_store.projection_progress (
	name text COLLATE "C" PRIMARY KEY,
	checkpoint bigint NOT NULL DEFAULT 0,
	rebuild_step text CHECK (rebuild_step IN ('requested', 'replaying')),
	rebuild_until bigint,
	paused boolean NOT NULL DEFAULT false,
	failed boolean NOT NULL DEFAULT false,
	failures int NOT NULL DEFAULT 0,
	retry_at timestamptz,
	error_position bigint,
	last_error text,
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
COMMENT ON TABLE event_store.projection_progress IS 'How far each projection is; written in the transaction that writes its tables.';
COMMENT ON COLUMN event_store.projection_progress.checkpoint IS 'Position up to which events have been given to the handler. Of an inline projection it counts during a rebuild only.';
COMMENT ON COLUMN event_store.projection_progress.rebuild_until IS 'The rebuild is over when the checkpoint gets here.';
COMMENT ON COLUMN event_store.projection_progress.failures IS 'How often in a row the event at error_position has failed.';

-- While a row is here, appends give no event to the inline projection but put it here
-- too, so that every event is given to the handler exactly once and in order. Position
-- 0 is no event: it holds the projection back while it is paused or rebuilt.
CREATE TABLE event_store.projection_deferred (
	name text COLLATE "C" NOT NULL,
	position bigint NOT NULL,
	last_error text,
	failed_at timestamptz,
	PRIMARY KEY (name, position)
);
COMMENT ON TABLE event_store.projection_deferred IS 'Events that inline projections still have to get, from the worker.';
COMMENT ON COLUMN event_store.projection_deferred.last_error IS 'Why the append could not give it to the handler; NULL if it did not try.';

CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
	ON event_store.projection
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._registry_changed();
ALTER TABLE event_store.projection ENABLE ALWAYS TRIGGER registry_changed;

CREATE FUNCTION event_store.create_projection(name text, handler regprocedure,
											  category text DEFAULT NULL,
											  event_types text[] DEFAULT NULL,
											  mode text DEFAULT 'async',
											  tables regclass[] DEFAULT '{}',
											  on_error text DEFAULT 'refuse')
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_create_projection';
COMMENT ON FUNCTION event_store.create_projection(text, regprocedure, text, text[], text, regclass[], text) IS
'From now on handler(event event_store.event) RETURNS void gets every event of the category and types (NULL: all). mode async: in the background worker, from the first event ever on, exactly once for what it writes to this database; inline: inside the append, from now on. '
'The handler runs with the rights of the role that calls this, with search_path pg_catalog and TimeZone UTC: qualify the names in it. tables: what it writes, so that rebuild_projection() can empty it. '
'on_error is about inline ones. refuse: an append fails with its handler, which so decides what may be appended: a unique index on a read model is a rule over many streams. defer: the append goes on, and the event and all after it are left to the background worker. While a projection is paused or rebuilt, appends leave their events to the worker in either case. '
'A handler that fails in the background is tried again 5 times over about 10 s, then its projection stops, with a line in the log; appends and other projections go on. '
'The same call again does nothing. Errors: 42710 the name is taken by another definition, 55006 another projection writes one of the tables.';

CREATE FUNCTION event_store.drop_projection(name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_drop_projection';
COMMENT ON FUNCTION event_store.drop_projection(text) IS 'Forgets a projection; its tables stay. Error: ST012 if there is none.';

CREATE FUNCTION event_store.pause_projection(name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_pause_projection';
COMMENT ON FUNCTION event_store.pause_projection(text) IS
'Gives the projection no more events until resume_projection(); none is lost. Error: ST012 if there is none.';

CREATE FUNCTION event_store.resume_projection(name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_resume_projection';
COMMENT ON FUNCTION event_store.resume_projection(text) IS
'Goes on with a projection that was paused or has failed, at the event where it stopped. Error: ST012 if there is none.';

CREATE FUNCTION event_store.skip_event(name text, at_position bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_skip_event';
COMMENT ON FUNCTION event_store.skip_event(text, bigint) IS
'Leaves out the event that the projection fails at, and goes on. at_position must be its error_position, else 22023. Error: ST012 if there is none.';

CREATE FUNCTION event_store.rebuild_projection(name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_rebuild_projection';
COMMENT ON FUNCTION event_store.rebuild_projection(text) IS
'Empties the projection''s tables and gives all events to the handler again, in the background; appends go on. An inline projection works like an async one meanwhile. Errors: ST012 if there is none, 55006 if another projection writes one of the tables.';

CREATE FUNCTION event_store.run_projections(max int DEFAULT 1000)
RETURNS int LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_run_projections';
COMMENT ON FUNCTION event_store.run_projections(int) IS
'Gives up to max events to each projection that has some due, as the background worker does; for servers without one. Returns how many events were handled or failed.';

CREATE FUNCTION event_store._projection_lag(name text, OUT checkpoint bigint, OUT head bigint,
											OUT lag_events bigint, OUT oldest timestamptz,
											OUT capped boolean)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_projection_lag';
COMMENT ON FUNCTION event_store._projection_lag(text) IS
'How far a projection is, the high-water mark for it, how many events it still has to handle and when the first of them occurred. Looks at 10 000 events at most; capped: there may be more.';

CREATE VIEW event_store.projections AS
SELECT p.name, p.mode,
	CASE WHEN g.paused THEN 'paused'
		WHEN g.failed THEN 'failed'
		WHEN g.last_error IS NOT NULL OR d.last_error IS NOT NULL THEN 'retrying'
		WHEN g.rebuild_step IS NOT NULL THEN 'rebuilding'
		ELSE 'running' END AS state,
	l.checkpoint, l.head, l.lag_events,
	-- An event may have been given a time to come.
	greatest(coalesce(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) l.oldest,
		'0'::pg_catalog.interval), '0'::pg_catalog.interval) AS lag,
	coalesce(g.error_position, d.position) AS error_position,
	coalesce(g.last_error, d.last_error) AS last_error,
	g.updated_at,
	greatest(l.head OPERATOR(pg_catalog.-) l.checkpoint, 0) AS lag_positions,
	l.capped AS lag_capped
FROM event_store.projection p
JOIN event_store.projection_progress g ON g.name OPERATOR(pg_catalog.=) p.name
CROSS JOIN LATERAL event_store._projection_lag(p.name) l
LEFT JOIN LATERAL (
	SELECT w.position, w.last_error FROM event_store.projection_deferred w
	WHERE w.name OPERATOR(pg_catalog.=) p.name AND w.last_error IS NOT NULL
	ORDER BY w.position LIMIT 1) d ON true;
COMMENT ON VIEW event_store.projections IS
'One row per projection: state running, paused, retrying, failed or rebuilding; checkpoint, head (high-water mark), how many events and how long it is behind (age of the oldest event it has not handled), and the event it fails at with the error. '
'It looks at 10 000 events at most: with lag_capped, lag_events are those it has found (print "10 000+"), and lag_positions tells how far it is.';
-- Message bus: storage, then the functions.

CREATE TYPE message_bus.message AS (
	message_id uuid,
	message_type text,
	schema_version int,
	body jsonb,
	headers jsonb,
	correlation_id uuid,
	conversation_id uuid,
	causation_id uuid,
	user_id text,
	tenant_id text,
	traceparent text,
	source text,
	sent_at timestamptz,
	deliver_at timestamptz,
	expires_at timestamptz,
	partition_key text,
	attempt int
);
COMMENT ON TYPE message_bus.message IS
'A message with its envelope. correlation_id and conversation_id are inherited from the message being handled, causation_id is its id. '
'Messages with one partition_key are delivered in order and never in parallel. attempt: 1 at the '
'first execution.';

CREATE TYPE message_bus.delivery AS (
	message_id uuid,
	message_type text,
	schema_version int,
	body jsonb,
	headers jsonb,
	correlation_id uuid,
	conversation_id uuid,
	causation_id uuid,
	user_id text,
	tenant_id text,
	traceparent text,
	source text,
	sent_at timestamptz,
	deliver_at timestamptz,
	expires_at timestamptz,
	partition_key text,
	attempt int,
	endpoint text,
	delivery_id bigint,
	leased_until timestamptz
);
COMMENT ON TYPE message_bus.delivery IS
'A received message (the columns of message_bus.message) with its receipt: delivery_id is opaque and never reused, a redelivery gets a new one. '
'leased_until: NULL when the message belongs to the receiving transaction.';

CREATE SEQUENCE message_bus.position_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE message_bus.position_seq IS
'The order in which messages were sent; positions rise, with gaps.';
CREATE SEQUENCE message_bus.epoch_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE message_bus.epoch_seq IS
'Raised once per start of the server; the upper part of every receipt.';

CREATE TABLE message_bus.endpoint (
	endpoint_id int GENERATED BY DEFAULT AS IDENTITY (CACHE 1) PRIMARY KEY,
	name text COLLATE "C" NOT NULL UNIQUE,
	lanes int NOT NULL,
	retry jsonb NOT NULL,
	retry_delays int[] NOT NULL,
	breaker jsonb NOT NULL,
	timeout interval NOT NULL,
	max_depth int,
	paused boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	strict_order boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE message_bus.endpoint IS
'An endpoint: where messages of one consumer wait. retry_delays: milliseconds, drawn once from the policy retry. max_depth: NULL takes the setting message_bus.max_depth, -1 is unlimited.';

COMMENT ON SEQUENCE message_bus.position_seq IS 'Positions of messages over all lanes, with gaps.';
COMMENT ON SEQUENCE message_bus.epoch_seq IS 'Starts of the server; the upper part of every receipt.';
COMMENT ON SEQUENCE message_bus.endpoint_endpoint_id_seq IS 'Numbers of endpoints.';

CREATE TABLE message_bus.route (
	message_type text COLLATE "C",
	endpoint_id int,
	PRIMARY KEY (message_type, endpoint_id)
);
COMMENT ON TABLE message_bus.route IS 'Which endpoints a published message type reaches.';
CREATE INDEX route_endpoint_idx ON message_bus.route (endpoint_id);

-- The columns every table of messages begins with; extension/message_bus/row.h
-- numbers them. Fixed-width ones first: position is patched in place.
CREATE TABLE message_bus.ring_0 (
	position bigint NOT NULL,
	endpoint_id int NOT NULL,
	lane int NOT NULL,
	message_id uuid NOT NULL,
	correlation_id uuid NOT NULL,
	conversation_id uuid NOT NULL,
	sent_at timestamptz NOT NULL,
	schema_version int NOT NULL,
	message_type text COLLATE "C" NOT NULL,
	body jsonb NOT NULL,
	headers jsonb,
	causation_id uuid,
	user_id text,
	tenant_id text,
	traceparent text,
	source text,
	deliver_at timestamptz,
	expires_at timestamptz,
	partition_key text
) WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false);
-- Never updated, emptied by TRUNCATE: there is nothing to vacuum.

-- Acks: the lanes' cursors as they move, append-only. Folded into
-- message_bus.lane before a table is truncated.
CREATE TABLE message_bus.ack_0 (
	endpoint_id int NOT NULL,
	lane int NOT NULL,
	position bigint NOT NULL
) WITH (autovacuum_enabled = false);

DO $segments$
BEGIN
	FOR n IN 1..7 LOOP
		EXECUTE pg_catalog.format('CREATE TABLE message_bus.ring_%s (LIKE message_bus.ring_0) '
			'WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)', n);
	END LOOP;
	FOR n IN 0..7 LOOP
		-- A published table needs an identity, should somebody delete from it by hand.
		EXECUTE pg_catalog.format('ALTER TABLE message_bus.ring_%s REPLICA IDENTITY FULL', n);
		EXECUTE
			pg_catalog.format('CREATE INDEX ring_%s_lane_idx ON message_bus.ring_%1$s '
			'(endpoint_id, lane, position)', n);
		EXECUTE
			pg_catalog.format('CREATE INDEX ring_%s_id_idx ON message_bus.ring_%1$s (message_id)',
			n);
		EXECUTE
			pg_catalog.format('CREATE INDEX ring_%s_expiry_idx ON message_bus.ring_%1$s '
			'(expires_at) WHERE expires_at IS NOT NULL', n);
		EXECUTE pg_catalog.format('COMMENT ON TABLE message_bus.ring_%s IS %L', n,
			'A segment of the ring: append-only, truncated when all lanes have passed it.');
	END LOOP;
	CREATE TABLE message_bus.ack_1 (LIKE message_bus.ack_0) WITH (autovacuum_enabled = false);
	FOR n IN 0..1 LOOP
		EXECUTE pg_catalog.format('ALTER TABLE message_bus.ack_%s REPLICA IDENTITY FULL', n);
		EXECUTE pg_catalog.format('COMMENT ON TABLE message_bus.ack_%s IS %L', n,
			'How far lanes have been consumed since message_bus.lane was written: '
			'append-only, the greatest position counts.');
	END LOOP;
END
$segments$;

CREATE TABLE message_bus.lane (
	endpoint_id int,
	lane int,
	position bigint NOT NULL,
	PRIMARY KEY (endpoint_id, lane)
) WITH (fillfactor = 50);
COMMENT ON TABLE message_bus.lane IS
'The cursor of a lane as of the last folding of acks: everything up to it is settled or set aside.';

CREATE TABLE message_bus.aside (
	LIKE message_bus.ring_0,
	state text NOT NULL CHECK (state IN ('scheduled', 'retrying', 'held', 'returned', 'blocked')),
	due_at timestamptz NOT NULL,
	attempt int NOT NULL,
	receipt bigint,
	error_code text,
	error text,
	first_failed_at timestamptz,
	last_failed_at timestamptz
);
COMMENT ON TABLE message_bus.aside IS
'Messages that have left their place in the ring and are not settled: scheduled, waiting for a retry, held by a breaker, blocked by others of its key, or returned by a consumer that committed without settling them. '
'receipt: the last lease of a message that waits for a retry, '
'by which a late ack is still accepted.';
CREATE UNIQUE INDEX aside_id_idx ON message_bus.aside (message_id, endpoint_id);
ALTER TABLE message_bus.aside REPLICA IDENTITY USING INDEX aside_id_idx;
CREATE INDEX aside_due_idx ON message_bus.aside (endpoint_id, lane, due_at, position);
CREATE INDEX aside_expiry_idx ON message_bus.aside (expires_at);
CREATE INDEX aside_receipt_idx ON message_bus.aside (receipt);

CREATE TABLE message_bus.dead (
	LIKE message_bus.ring_0,
	reason text NOT NULL CHECK (reason IN ('fault', 'skipped', 'expired', 'discarded')),
	error_code text,
	error text,
	attempts int NOT NULL,
	first_failed_at timestamptz NOT NULL,
	last_failed_at timestamptz NOT NULL
);
COMMENT ON TABLE message_bus.dead IS
	'Dead letters. Kept until they are redriven or their endpoint is dropped.';
CREATE UNIQUE INDEX dead_id_idx ON message_bus.dead (message_id, endpoint_id);
ALTER TABLE message_bus.dead REPLICA IDENTITY USING INDEX dead_id_idx;
CREATE INDEX dead_endpoint_idx ON message_bus.dead (endpoint_id, last_failed_at);

CREATE TABLE message_bus.passed (
	endpoint_id int,
	lane int,
	position bigint,
	PRIMARY KEY (endpoint_id, lane, position)
);
COMMENT ON TABLE message_bus.passed IS
'Messages beyond their lane''s cursor that are settled already, because they expired there.';

CREATE TABLE message_bus.lease (
	delivery_id bigint PRIMARY KEY,
	endpoint_id int NOT NULL,
	lane int NOT NULL,
	position bigint,
	upto bigint NOT NULL,
	message_id uuid NOT NULL,
	message_type text NOT NULL,
	attempt int NOT NULL,
	probe boolean NOT NULL,
	handled boolean NOT NULL,
	leased_until timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE message_bus.lease IS
'Messages handed out under a lease. position: where in the ring, NULL for one that had been set aside. upto: what the cursor becomes when the lane''s leases are settled. handled: handed out alone, or named by handle(); else its expiry is no attempt.';
CREATE INDEX lease_lane_idx ON message_bus.lease (endpoint_id, lane);

CREATE TABLE message_bus.death (
	endpoint_id int,
	message_id uuid,
	deaths int NOT NULL,
	PRIMARY KEY (endpoint_id, message_id)
);
COMMENT ON TABLE message_bus.death IS
	'How many consumers died while they handled a message that is not settled yet.';

CREATE TABLE message_bus.breaker (
	endpoint_id int,
	message_type text COLLATE "C",
	state text NOT NULL CHECK (state IN ('closed', 'open', 'half_open')),
	attempts int NOT NULL,
	failures int NOT NULL,
	window_start timestamptz,
	opened_at timestamptz,
	retry_at timestamptz,
	probe_successes int NOT NULL,
	PRIMARY KEY (endpoint_id, message_type)
);
COMMENT ON TABLE message_bus.breaker IS
'Circuit breakers as last written down; message_bus.circuit_breakers shows them as they are.';

-- ---------------------------------------------------------------- endpoints
CREATE FUNCTION message_bus.endpoint_name(type_name text, kind text DEFAULT 'consumer',
	prefix text DEFAULT '',
										  include_namespace boolean DEFAULT false)
RETURNS text LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_endpoint_name';
COMMENT ON FUNCTION message_bus.endpoint_name(text, text, text, boolean) IS
'The kebab-case name of an endpoint: SubmitOrderConsumer gives submit-order. '
'kind: consumer, saga, activity, compensate_activity or message; '
'it says which suffix of the type is left out. 22023: nothing is left, or an unknown kind.';

CREATE FUNCTION message_bus.create_endpoint(
	name text, lanes int DEFAULT 8,
	retry jsonb DEFAULT
		'{"kind": "exponential", "limit": 5, "min": "1 s", "max": "30 s", "delta": "3 s"}',
	breaker anycompatible DEFAULT 'none'::text,
	timeout interval DEFAULT '30 s', "order" text DEFAULT 'relaxed')
RETURNS void LANGUAGE c VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_create_endpoint';
COMMENT ON FUNCTION message_bus.create_endpoint(text, int, jsonb, anycompatible, interval, text) IS
'Creates an endpoint. lanes (1 to 256): how many consumers can work at once; messages with one partition key share a lane. '
'retry: {"kind":"exponential","limit","min","max","delta"}, '
'{"kind":"incremental","limit","initial","increment"}, '
'{"kind":"interval","limit","interval"}, {"kind":"interval","intervals":[...]}, '
'{"kind":"immediate","limit"} or {"kind":"none"}; times are intervals as text. '
'breaker, as text or jsonb: none, default, or {"tracking_period", "trip_threshold" (percent), "active_threshold", "reset_interval"}; '
'default is {"tracking_period": "60 s", "trip_threshold": 15, "active_threshold": 10, "reset_interval": "5 min"}, for an endpoint whose messages all need one thing that may be away. '
'timeout: of one execution, kept by the client library. '
'"order" (quote the name): relaxed, where a message that is retried or scheduled lets others of its key pass; or strict, where they wait until it is acked, dead or cancelled. 42710: the endpoint exists. 22023: a '
'malformed policy.';

CREATE FUNCTION message_bus.alter_endpoint(name text, retry jsonb DEFAULT NULL,
	breaker anycompatible DEFAULT NULL::text,
										   timeout interval DEFAULT NULL,
										   	max_depth int DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_alter_endpoint';
COMMENT ON FUNCTION message_bus.alter_endpoint(text, jsonb, anycompatible, interval, int) IS
'Changes what is not NULL. breaker none closes the endpoint''s breakers when it commits, and what they held is delivered. max_depth: greatest number of messages waiting or in flight, -1 is unlimited. MB001: no such endpoint.';

CREATE FUNCTION message_bus.drop_endpoint(name text, force boolean DEFAULT false)
RETURNS void LANGUAGE c VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_drop_endpoint';
COMMENT ON FUNCTION message_bus.drop_endpoint(text, boolean) IS
'Drops an endpoint with its routes, and with force its messages. MB001: no such endpoint. MB004: it has messages, dead letters included.';

CREATE FUNCTION message_bus.pause(endpoint text) RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_pause';
COMMENT ON FUNCTION message_bus.pause(text) IS
'From the commit on nothing is received from the endpoint; sending to it goes on. MB001: no such endpoint.';

CREATE FUNCTION message_bus.resume(endpoint text) RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_resume';
COMMENT ON FUNCTION message_bus.resume(text) IS 'Ends what pause() began. MB001: no such endpoint.';

CREATE FUNCTION message_bus.subscribe(endpoint text,
	message_type text) RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_subscribe';
COMMENT ON FUNCTION message_bus.subscribe(text, text) IS
'What is published with that type after the commit reaches the endpoint. MB001: no such endpoint.';

CREATE FUNCTION message_bus.unsubscribe(endpoint text,
	message_type text) RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_unsubscribe';
COMMENT ON FUNCTION message_bus.unsubscribe(text,
	text) IS 'Ends what subscribe() began. MB001: no such endpoint.';

CREATE FUNCTION message_bus.reset_breaker(endpoint text,
	message_type text) RETURNS boolean LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_reset_breaker';
COMMENT ON FUNCTION message_bus.reset_breaker(text, text) IS
'Closes a circuit breaker when it commits, and what it held is delivered; false if nothing of that type has been delivered yet. MB001: no such endpoint.';

-- ---------------------------------------------------------------- sending
-- send, publish, receive, ack and handle run no SQL where it matters, so they do without the cost
-- of SET; what SQL the rare
-- branches run pins its search path in pg/spi.c.
CREATE FUNCTION message_bus.send(endpoint text, message_type text, body jsonb,
	message_id uuid DEFAULT NULL,
								 partition_key text DEFAULT NULL,
								 	deliver_at timestamptz DEFAULT NULL,
								 expires_at timestamptz DEFAULT NULL, headers jsonb DEFAULT '{}',
								 schema_version int DEFAULT NULL)
RETURNS uuid LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'message_bus_send_sql';
COMMENT ON FUNCTION message_bus.send(text, text, jsonb, uuid, text, timestamptz, timestamptz,
	jsonb, int) IS
'Sends a message to an endpoint, if the transaction commits; returns its id. message_id NULL is a new one; one that the endpoint has already is not stored again. '
'partition_key NULL is the correlation id: messages with one key are delivered in order. '
'deliver_at: not before; expires_at: a dead letter from then on. '
'schema_version: which version of the type the body is of; NULL is the current one. '
'MB001: no such endpoint. MB002: it is full. MB005: no message, or one that cannot be stored: a body over message_bus.max_message_size, nested more than 1000 deep, or with a number whose exponent is over 1000. ST004: the body breaks the contract '
'registered for the type.';

CREATE FUNCTION message_bus.publish(message_type text, body jsonb, message_id uuid DEFAULT NULL,
									partition_key text DEFAULT NULL,
										deliver_at timestamptz DEFAULT NULL,
									expires_at timestamptz DEFAULT NULL, headers jsonb DEFAULT '{}',
									schema_version int DEFAULT NULL)
RETURNS uuid LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'message_bus_publish_sql';
COMMENT ON FUNCTION message_bus.publish(text, jsonb, uuid, text, timestamptz, timestamptz, jsonb, int)
IS
'Sends a message to every endpoint that has subscribed to its type, if the transaction commits; returns its id. Without a subscriber nothing is stored. Otherwise as send().';

CREATE FUNCTION message_bus.cancel_scheduled(message_id uuid) RETURNS boolean LANGUAGE c VOLATILE
	STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_cancel_scheduled_sql';
COMMENT ON FUNCTION message_bus.cancel_scheduled(uuid) IS
'Removes a message whose deliver_at has not come; false if there is none, or it is due.';

-- ---------------------------------------------------------------- receiving
CREATE FUNCTION message_bus.receive(endpoint text, max_messages int DEFAULT 50,
	lease interval DEFAULT NULL)
RETURNS SETOF message_bus.delivery LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'message_bus_receive_sql';
COMMENT ON FUNCTION message_bus.receive(text, int, interval) IS
'Takes up to max_messages from lanes that nobody holds. A body sent in an older version of its type comes in the current one as far as upcasters lead; if one fails, as it was sent. Without lease they belong to this transaction: what is not settled when it ends is returned. '
'With lease (not in a transaction block, 25001) they are the caller''s for so long, '
'whatever happens to his connection; when a lease has expired, its message comes alone. MB001: no such endpoint.';

CREATE FUNCTION message_bus.ack(VARIADIC delivery_ids bigint[]) RETURNS int LANGUAGE c VOLATILE
	STRICT
AS 'MODULE_PATHNAME', 'message_bus_ack_sql';
COMMENT ON FUNCTION message_bus.ack(bigint[]) IS
'Settles deliveries as done; returns how many. MB003: one of them is unknown, settled or has passed on; then none is acked.';

CREATE FUNCTION message_bus.fail(delivery_id bigint, error_code text, error text,
	retryable boolean DEFAULT true)
RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_fail_sql';
COMMENT ON FUNCTION message_bus.fail(bigint, text, text, boolean) IS
'Settles a delivery as failed: it is retried by the endpoint''s policy, or becomes a dead letter and a Fault is published. MB003 as ack().';

CREATE FUNCTION message_bus.skip(delivery_id bigint,
	reason text DEFAULT NULL) RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_skip_sql';
COMMENT ON FUNCTION message_bus.skip(bigint, text) IS
'Settles a delivery as a dead letter with reason skipped, for a message type the consumer has no handler for. MB003 as ack().';

CREATE FUNCTION message_bus.snooze(delivery_id bigint, delay interval, reason text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_snooze_sql';
COMMENT ON FUNCTION message_bus.snooze(bigint, interval, text) IS
'Gives a delivery back for so long: no attempt is counted, and no circuit breaker hears of it. For a consumer that cannot handle it now, by no fault of the message. MB003 as ack().';

CREATE FUNCTION message_bus.handle(delivery_id bigint) RETURNS void LANGUAGE c VOLATILE STRICT
AS 'MODULE_PATHNAME', 'message_bus_handle_sql';
COMMENT ON FUNCTION message_bus.handle(bigint) IS
'Sets the context from a delivery until the next call or the end of the transaction: correlation, conversation, user, tenant, traceparent; causation is its id. '
'A message whose consumer dies now is retried at once; '
'of too many deaths it becomes a dead letter with code crash. Under a lease, called on its own, it says which message of a batch is being handled: that one has failed if the lease expires. MB003 as ack().';

CREATE FUNCTION message_bus.extend_lease(delivery_ids bigint[],
	lease interval) RETURNS int LANGUAGE c VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_extend_lease_sql';
COMMENT ON FUNCTION message_bus.extend_lease(bigint[], interval) IS
'Lets leases end so long from now; returns how many. MB003: one of them is unknown, settled or has passed on; then none is changed.';

CREATE PROCEDURE message_bus.wait(endpoint text, timeout interval,
	INOUT ready boolean DEFAULT NULL) LANGUAGE c
AS 'MODULE_PATHNAME', 'message_bus_wait_sql';
COMMENT ON PROCEDURE message_bus.wait(text, interval, boolean) IS
'Waits until there is something to receive on a free lane: ready says whether. At top level in autocommit only (25001); holds no snapshot meanwhile. MB001: no such endpoint.';

-- ---------------------------------------------------------------- dead letters
CREATE FUNCTION message_bus.redrive(message_id uuid, body jsonb DEFAULT NULL,
	endpoint text DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_redrive_sql';
COMMENT ON FUNCTION message_bus.redrive(uuid, jsonb, text) IS
'Sends a dead letter to its endpoint again, same id and context, attempts from 1, optionally with a corrected body; endpoint NULL is all that have it. Returns how many. '
'An expiry that has passed no longer counts. MB001: no such endpoint. ST004: the body breaks its '
'contract.';

CREATE FUNCTION message_bus.redrive_endpoint(endpoint text, reason text DEFAULT NULL,
	max int DEFAULT NULL)
RETURNS int LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_redrive_endpoint_sql';
COMMENT ON FUNCTION message_bus.redrive_endpoint(text, text, int) IS
'Redrives an endpoint''s dead letters, those first that failed first; reason NULL is all but discarded ones. Returns how many. MB001: no such endpoint.';

CREATE FUNCTION message_bus.discard(message_id uuid,
	endpoint text DEFAULT NULL) RETURNS int LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_discard_sql';
COMMENT ON FUNCTION message_bus.discard(uuid, text) IS
'Marks dead letters as given up: they stay, with reason discarded, until a new message has their id. Returns how many. MB001: no such endpoint.';

-- ---------------------------------------------------------------- operation
CREATE FUNCTION message_bus.maintain() RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_maintain_sql';
COMMENT ON FUNCTION message_bus.maintain() IS
'One turn of what the background worker does for the bus: what has expired, leases, rotation of the ring. For servers without the worker; call it every few seconds.';

CREATE FUNCTION message_bus._endpoint_status(OUT endpoint_id int, OUT depth bigint,
	OUT in_flight bigint, OUT oldest_sent_at timestamptz,
											 OUT sent_per_s float8, OUT acked_per_s float8)
RETURNS SETOF record LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_endpoint_status';
COMMENT ON FUNCTION message_bus._endpoint_status() IS
	'What shared memory knows of endpoints; no rows on a standby.';

CREATE FUNCTION message_bus._breaker_status(OUT endpoint_id int, OUT message_type text,
	OUT state text, OUT attempts int, OUT failures int,
											OUT window_start timestamptz,
												OUT opened_at timestamptz, OUT retry_at timestamptz,
											OUT probe_successes int)
RETURNS SETOF record LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_breaker_status';
COMMENT ON FUNCTION message_bus._breaker_status() IS
	'What shared memory knows of circuit breakers; no rows on a standby.';

CREATE FUNCTION message_bus._lane_status(OUT endpoint_id int, OUT lane int, OUT cursor bigint,
	OUT tail bigint, OUT next_due timestamptz, OUT leases int)
RETURNS SETOF record LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_lane_status';
COMMENT ON FUNCTION message_bus._lane_status() IS
	'What shared memory knows of lanes; no rows on a standby.';

CREATE FUNCTION message_bus._ring_status(OUT segment int, OUT state text, OUT since timestamptz,
	OUT unread float8)
RETURNS SETOF record LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'message_bus_ring_status';
COMMENT ON FUNCTION message_bus._ring_status() IS
	'What shared memory knows of the ring; no rows on a standby.';
-- Saga engine: tables, functions. Views stand in 80_views.sql, privileges in 90_grants.sql.

-- ---------------------------------------------------------------- definitions
-- No foreign keys between tables that are dumped: pg_restore -j fills them in any order.
CREATE TABLE saga.definition (
	name text COLLATE "C" NOT NULL,
	version int NOT NULL,
	document jsonb NOT NULL,
	endpoint text COLLATE "C" NOT NULL,
	defined_by text COLLATE "C" NOT NULL,
	type_versions jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (name, version)
);
COMMENT ON TABLE saga.definition IS 'Every version of every definition, as given to saga.define(). The newest is the current one.';
COMMENT ON COLUMN saga.definition.type_versions IS
'Versions of the registered types it names that were current when it was defined: what it sends and gets goes by them.';
COMMENT ON COLUMN saga.definition.defined_by IS 'Role with whose rights "call" functions run.';

CREATE TABLE saga.definition_state (
	name text COLLATE "C" NOT NULL,
	version int NOT NULL,
	state text COLLATE "C" NOT NULL,
	kind text COLLATE "C" NOT NULL CHECK (kind IN ('normal', 'final', 'common')),
	default_reaction text CHECK (default_reaction IN ('ignore', 'defer', 'fault')),
	timer text,
	PRIMARY KEY (name, version, kind, state)
);
COMMENT ON TABLE saga.definition_state IS 'The states of each definition; kind common: a part that states include.';

CREATE TABLE saga.definition_transition (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text COLLATE "C" NOT NULL,
	version int NOT NULL,
	state text COLLATE "C",
	event text COLLATE "C" NOT NULL,
	ordinal int NOT NULL,
	guard text,
	target text COLLATE "C",
	why text
);
COMMENT ON TABLE saga.definition_transition IS
'The transitions of each definition, alternatives in the order they are tried. A null state is the start; event "always" is a rule; a null target stays.';
COMMENT ON SEQUENCE saga.definition_transition_id_seq IS 'Numbers of transitions of definitions.';
CREATE INDEX definition_transition_name_idx ON saga.definition_transition (name, version);

CREATE TABLE saga.definition_action (
	transition_id bigint NOT NULL,
	ordinal int NOT NULL,
	kind text NOT NULL,
	specification jsonb NOT NULL,
	PRIMARY KEY (transition_id, ordinal)
);
COMMENT ON TABLE saga.definition_action IS 'What each transition does, in the order it is done.';

CREATE TABLE saga.definition_timer (
	name text COLLATE "C" NOT NULL,
	version int NOT NULL,
	timer text COLLATE "C" NOT NULL,
	PRIMARY KEY (name, version, timer)
);
COMMENT ON TABLE saga.definition_timer IS 'The timers of each definition; "compensate" and "retain" are the engine''s.';

CREATE FUNCTION saga.define(name text, definition jsonb) RETURNS int
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_define';
COMMENT ON FUNCTION saga.define(text, jsonb) IS
'Stores a definition and returns its version, one above the last. Creates its endpoint and subscribes that to the events listed. Running instances keep their version. Bodies go by the versions of their types that are current now, whatever becomes current later; an action with a schema_version goes by that. '
'Errors: SG010 the definition has problems; DETAIL is a JSON array of {severity, state, event, problem}, and nothing is stored.';

CREATE FUNCTION saga.drop(name text, force boolean DEFAULT false) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_drop';
COMMENT ON FUNCTION saga.drop(text, boolean) IS
'Removes a saga: all versions of its definition, its instances, their timers and what waits for them, and its subscriptions unless another saga of the endpoint needs them. Histories and the endpoint stay. Errors: SG004 no such saga, SG011 instances have not ended or messages wait for one, unless force.';

-- Whoever drops an endpoint that a saga listens on would stop that saga without a word.
CREATE FUNCTION saga._keep_endpoint() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	used_by text;
BEGIN
	SELECT d.name INTO used_by FROM saga.definition d
	WHERE d.endpoint = OLD.name
	AND (d.version = (SELECT max(l.version) FROM saga.definition l WHERE l.name = d.name)
		OR EXISTS (SELECT FROM saga.stored_instance i
			WHERE i.saga = d.name AND i.definition_version = d.version))
	ORDER BY d.name LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'MB004',
			MESSAGE = format('endpoint "%s" belongs to saga "%s"', OLD.name, used_by),
			HINT = format('Type SELECT saga.drop(%L) first.', used_by);
	END IF;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION saga._keep_endpoint() IS 'Refuses to drop an endpoint that a saga listens on.';
CREATE TRIGGER saga_keeps_endpoint BEFORE DELETE ON message_bus.endpoint
FOR EACH ROW EXECUTE FUNCTION saga._keep_endpoint();

CREATE FUNCTION saga.verify(name text,
	OUT severity text, OUT state text, OUT event text, OUT problem text)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_verify';
COMMENT ON FUNCTION saga.verify(text) IS
'What is wrong with the current definition now, for example because an endpoint is gone. severity is error or warning. Errors: SG004 no such saga.';

CREATE FUNCTION saga.diagram(name text, format text DEFAULT 'mermaid') RETURNS text
LANGUAGE c STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_diagram';
COMMENT ON FUNCTION saga.diagram(text, text) IS
'The current definition drawn, in format mermaid (stateDiagram-v2) or dot (digraph): an edge per transition, labelled with its event. Errors: SG004 no such saga, 22023 no such format.';

CREATE FUNCTION saga.simulate(name text, scenario jsonb, schedules int DEFAULT 1000,
	seed bigint DEFAULT 0) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_simulate';
COMMENT ON FUNCTION saga.simulate(text, jsonb, int, bigint) IS
'Runs the current definition in memory through many orders of messages, with losses, duplicates and timeouts, and checks invariants in each. Returns {schedules, transitions, end_states, violation_count, violations: [{schedule, invariant, problem, trace}]}, the first ten violations with how they came about. The same seed gives the same schedules. The scenario is described in extension/saga/README.md. Errors: SG004 no such saga, SG005 a scenario that does not parse.';

CREATE FUNCTION ecommerce.uuid_v5(namespace uuid, name text) RETURNS uuid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_uuid_v5';
COMMENT ON FUNCTION ecommerce.uuid_v5(uuid, text) IS 'The UUID version 5 (RFC 9562) of a name in a namespace.';

CREATE FUNCTION ecommerce.saga_namespace() RETURNS uuid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_saga_namespace';
COMMENT ON FUNCTION ecommerce.saga_namespace() IS
'The namespace of step keys: a command''s key is ecommerce.uuid_v5(ecommerce.saga_namespace(), ''saga:correlation id:step:attempt'').';

-- ---------------------------------------------------------------- instances
CREATE SEQUENCE saga.instance_number_seq AS bigint NO CYCLE CACHE 1;
COMMENT ON SEQUENCE saga.instance_number_seq IS 'Numbers of instances, unique, in no order that matters.';

-- Nothing that a transition changes is indexed, and pages keep room: updates stay on their page.
CREATE TABLE saga.stored_instance (
	number bigint NOT NULL DEFAULT pg_catalog.nextval('saga.instance_number_seq'),
	correlation_id uuid NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	state_since timestamptz NOT NULL,
	wake_at timestamptz NOT NULL,
	definition_version int NOT NULL,
	version int NOT NULL,
	saga text COLLATE "C" NOT NULL,
	current_state text COLLATE "C" NOT NULL,
	data jsonb NOT NULL,
	engine jsonb NOT NULL,
	PRIMARY KEY (correlation_id, saga)
) WITH (fillfactor = 60);
CREATE INDEX stored_instance_version_idx ON saga.stored_instance (saga, definition_version);
COMMENT ON TABLE saga.stored_instance IS 'Every instance of every saga. Read it through saga.get() and the views.';
COMMENT ON COLUMN saga.stored_instance.number IS 'What the history calls it.';
COMMENT ON COLUMN saga.stored_instance.wake_at IS 'The earliest entry of the timer queue for it; infinity: none.';
COMMENT ON COLUMN saga.stored_instance.engine IS 'The engine''s notes: timers as {name: [due, token]}, commands sent per key, compensations outstanding; times in microseconds since 2000-01-01 UTC.';

CREATE TABLE saga.history_entry (
	number bigint NOT NULL,
	at timestamptz NOT NULL,
	version int NOT NULL,
	message_id uuid,
	from_state text COLLATE "C",
	to_state text COLLATE "C",
	event text COLLATE "C" NOT NULL,
	actor text,
	reason text,
	actions jsonb NOT NULL,
	PRIMARY KEY (number, version)
);
COMMENT ON TABLE saga.history_entry IS 'Every transition of every instance, never changed. Read it with saga.history().';

CREATE TABLE saga.deleted_instance (
	number bigint PRIMARY KEY,
	saga text COLLATE "C" NOT NULL,
	correlation_id uuid NOT NULL,
	deleted_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE saga.deleted_instance IS 'Instances that saga.delete() removed and whose history is kept.';
CREATE INDEX deleted_instance_idx ON saga.deleted_instance (correlation_id, saga);

CREATE TABLE saga.timer_queue (
	due_at timestamptz NOT NULL,
	correlation_id uuid NOT NULL,
	saga text COLLATE "C" NOT NULL,
	PRIMARY KEY (saga, due_at, correlation_id)
);
COMMENT ON TABLE saga.timer_queue IS
'When the worker has to look at which instance: no later than its earliest timer. Timers that were taken back leave their entry until it is due.';

CREATE TABLE saga.parked_message (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	saga text COLLATE "C" NOT NULL,
	correlation_id uuid NOT NULL,
	message_id uuid NOT NULL,
	message_type text COLLATE "C" NOT NULL,
	endpoint text COLLATE "C" NOT NULL,
	deferred boolean NOT NULL,
	parked_at timestamptz NOT NULL,
	park_until timestamptz NOT NULL,
	envelope jsonb NOT NULL,
	body jsonb NOT NULL
);
COMMENT ON TABLE saga.parked_message IS
'Messages that wait: parked for an instance that does not exist yet, deferred until an instance changes its state.';
COMMENT ON SEQUENCE saga.parked_message_id_seq IS 'Order in which messages were put aside.';
CREATE INDEX parked_message_instance_idx ON saga.parked_message (correlation_id, saga);
CREATE INDEX parked_message_until_idx ON saga.parked_message (endpoint, park_until);

CREATE VIEW saga.instance AS
SELECT i.saga, i.correlation_id, i.definition_version, i.current_state, i.data, i.version,
	   i.created_at, i.updated_at
FROM saga.stored_instance i;
COMMENT ON VIEW saga.instance IS 'An instance of a saga: its correlation id, the version of its definition, its state and data. version rises by one with every effective transition.';

CREATE FUNCTION saga.get(saga text, correlation_id uuid) RETURNS saga.instance
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_get';
COMMENT ON FUNCTION saga.get(text, uuid) IS 'An instance, NULL if there is none. Errors: SG004 no such saga.';

CREATE FUNCTION saga.create(saga text, correlation_id uuid, data jsonb DEFAULT '{}',
	state text DEFAULT NULL) RETURNS saga.instance
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_create';
COMMENT ON FUNCTION saga.create(text, uuid, jsonb, text) IS
'Creates an instance with version 1 of the newest definition; a null state is the initial one. It gets the timers that the definition sets on the way into that state. Messages parked for it are replayed. Errors: SG003 it exists, SG004 no such saga or state, SG006 nothing would wake it in that state.';

CREATE FUNCTION saga.update(saga text, correlation_id uuid, expected_version int, new_state text,
	data jsonb) RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_update';
COMMENT ON FUNCTION saga.update(text, uuid, int, text, jsonb) IS
'Replaces state and data (null: as they are) and returns the new version. Errors: SG001 no such instance, SG002 another version, with DETAIL {"expected_version", "actual_version"}, SG004 no such saga or state, SG006 nothing would wake it in the new state.';

CREATE FUNCTION saga.delete(saga text, correlation_id uuid) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_delete';
COMMENT ON FUNCTION saga.delete(text, uuid) IS
'Removes an instance with its timers; false if there is none. Messages that wait for it become dead letters. Its history stays, with all data that ever stood in it: saga.forget() removes that too. Errors: SG004 no such saga.';

CREATE FUNCTION saga.forget(saga text, correlation_id uuid) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_forget';
COMMENT ON FUNCTION saga.forget(text, uuid) IS
'Removes all that is kept of an instance, running, finished or deleted: data, history, timers, messages that wait for it and its dead letters; false if there is nothing. Messages under way and events that it appended are not its own. The log tells that it was forgotten, and not what. Errors: SG004 no such saga.';

CREATE FUNCTION saga.history(saga text, correlation_id uuid)
RETURNS TABLE (version int, from_state text, to_state text, event text, message_id uuid,
	actions jsonb, at timestamptz, actor text, reason text)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT h.version, h.from_state, h.to_state, h.event, h.message_id, h.actions, h.at, h.actor,
		h.reason
	FROM saga.history_entry h
	WHERE h.number IN (
		SELECT i.number FROM saga.stored_instance i
		WHERE i.saga = history.saga AND i.correlation_id = history.correlation_id
		UNION ALL
		SELECT d.number FROM saga.deleted_instance d
		WHERE d.saga = history.saga AND d.correlation_id = history.correlation_id)
	ORDER BY h.number, h.version
$$;
COMMENT ON FUNCTION saga.history(text, uuid) IS
'Every transition of an instance, oldest first, also of deleted ones. from_state null: created; to_state null: deleted. actions is an array of what was done, in order: {"action": "send"|"publish"|"append"|"schedule"|"unschedule"|"fact"|"data"|..., ...}; the "data" entries replay to the instance''s data. at is the wall clock; actor the role of an operator, null for the engine.';

-- ---------------------------------------------------------------- engine
CREATE FUNCTION saga.run(max_messages int DEFAULT 1000) RETURNS int
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_run';
COMMENT ON FUNCTION saga.run(int) IS
'Handles up to so many messages of all sagas in this transaction and returns how many; the background worker does it by itself. Errors: 0A000 isolation level is not read committed.';

CREATE FUNCTION saga.fire_due(as_of timestamptz DEFAULT pg_catalog.now()) RETURNS int
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_fire_due';
COMMENT ON FUNCTION saga.fire_due(timestamptz) IS
'Fires the timers that are due by then, in due order, and returns how many; while one fires the time is its due time. Parked messages and finished instances whose time is up by then go too. Errors: 0A000 isolation level is not read committed.';

CREATE FUNCTION saga.migrate(name text, correlation_id uuid, to_version int,
	state_map jsonb DEFAULT '{}', timer_map jsonb DEFAULT '{}') RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_migrate';
COMMENT ON FUNCTION saga.migrate(text, uuid, int, jsonb, jsonb) IS
'Moves an instance (null: all) to another version of the definition and returns how many. state_map is {"old state": "new state"} and timer_map {"old timer": "new timer"}, null taking the timer back; others keep their name. The new version''s rules apply at once. Errors: SG001 no such instance, SG004 no such saga, version, state or timer, SG006 a timer is set or a compensation outstanding that the version does not have and no map names, or nothing would wake the instance.';

CREATE FUNCTION saga.retry(saga text, correlation_id uuid) RETURNS int
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_retry';
COMMENT ON FUNCTION saga.retry(text, uuid) IS
'Sends the instance''s outstanding compensations again, their time to be given up starting anew, and redrives its dead letters. Returns the new version. Errors: SG001, SG004.';

CREATE FUNCTION saga.goto(saga text, correlation_id uuid, state text,
	reason text DEFAULT NULL, timers jsonb DEFAULT NULL) RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_goto';
COMMENT ON FUNCTION saga.goto(text, uuid, text, text, jsonb) IS
'Moves an instance to a state, whose rules apply at once, and returns the new version. timers is {"timer": "30 min" or a time}: set besides those it has; a state that needs a timer otherwise gets those that the definition sets on the way into it. Errors: SG001, SG004 also for an unknown state or timer, SG006 nothing would wake it there.';

CREATE FUNCTION saga.cancel(saga text, correlation_id uuid, reason text DEFAULT NULL) RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_cancel';
COMMENT ON FUNCTION saga.cancel(text, uuid, text) IS
'Cancels an instance as its definition says ("cancel"), else by undoing the steps done so far, and returns the new version. Errors: SG001, SG004 also if its state does not allow it.';
-- The background worker.

CREATE FUNCTION ecommerce.preloaded() RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_preloaded';
COMMENT ON FUNCTION ecommerce.preloaded() IS
'Whether the library is in shared_preload_libraries: then every database that has the extension gets its background worker.';

CREATE FUNCTION ecommerce.start_worker() RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_start_worker';
COMMENT ON FUNCTION ecommerce.start_worker() IS
'Starts this database''s background worker where the library is not preloaded; it runs until the server stops. Returns its pid, also if it runs already. '
'Errors: 55000 no slot of max_worker_processes is free, or CREATE EXTENSION has not committed.';

CREATE FUNCTION ecommerce._units(OUT kind text, OUT name text, OUT slow boolean, OUT failures int,
	OUT last_error text, OUT retry_at timestamptz, OUT since timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_units';
COMMENT ON FUNCTION ecommerce._units() IS 'The rows of the view ecommerce.units.';

CREATE VIEW ecommerce.units AS
SELECT u.kind, u.name, u.slow, u.failures, u.last_error, u.retry_at, u.since
FROM ecommerce._units() u
UNION ALL
SELECT 'worker', 'ecommerce worker', false, 1, o.obstacle, NULL, NULL
FROM pg_catalog.pg_database d
JOIN pg_catalog.pg_roles r ON r.rolname = 'ecommerce_worker'
CROSS JOIN LATERAL (SELECT CASE
	WHEN NOT r.rolcanlogin THEN 'role ecommerce_worker may not log in: type ALTER ROLE ecommerce_worker LOGIN'
	WHEN NOT d.datallowconn THEN
		format('the database allows no connections: type ALTER DATABASE %I ALLOW_CONNECTIONS true', d.datname)
	WHEN NOT has_database_privilege(r.oid, d.oid, 'CONNECT') THEN
		format('role ecommerce_worker may not connect: type GRANT CONNECT ON DATABASE %I TO ecommerce_worker', d.datname)
	END) o (obstacle)
WHERE d.datname = current_database() AND o.obstacle IS NOT NULL;
COMMENT ON VIEW ecommerce.units IS
'What of this database''s background work is not well: a saga''s endpoint, or a projection. slow: it has been found to take long and belongs to the slow runner, until it has been quick for a while. failures: so many turns in a row have failed as a whole, the last with last_error, and it is put aside until retry_at. All others go on. A row of kind worker says why the background worker may not connect to this database, and what to type; it comes back by itself then. Empty when all is well, and after a restart.';

-- The worker must get in where PUBLIC may not; where PUBLIC may, the database's rights stay as they are.
DO $connect$
BEGIN
	IF NOT has_database_privilege('ecommerce_worker', current_database(), 'CONNECT') THEN
		EXECUTE format('GRANT CONNECT ON DATABASE %I TO ecommerce_worker', current_database());
	END IF;
END
$connect$;

-- CREATE EXTENSION shows nothing less than a warning.
DO $hint$
BEGIN
	IF NOT ecommerce.preloaded() THEN
		RAISE WARNING 'ecommerce is not in shared_preload_libraries: no background worker runs'
			USING HINT = 'Everything works, but nothing runs by itself. Add ecommerce to '
				'shared_preload_libraries and restart, or type SELECT ecommerce.start_worker().';
	END IF;
END
$hint$;
-- While a dump is being restored into this database; see extension/log/restore.c.

CREATE FUNCTION ecommerce._note_restore() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'ecommerce_note_restore';
COMMENT ON FUNCTION ecommerce._note_restore() IS
'Trigger on every table that is dumped: notes a session that fills it with COPY or INSERT, as a restore does.';

CREATE FUNCTION ecommerce._restoring_sessions(OUT pid int, OUT since timestamptz)
RETURNS SETOF record LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_restoring_sessions';
COMMENT ON FUNCTION ecommerce._restoring_sessions() IS 'Sessions that fill tables of the extension in this database.';

CREATE VIEW ecommerce.restores AS
SELECT r.pid, a.usename, a.application_name, r.since
FROM ecommerce._restoring_sessions() r
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) r.pid;
COMMENT ON VIEW ecommerce.restores IS
'Sessions that restore a dump into this database. While there is one, workers wait, receive and fetch give nothing, and nobody else sends or appends (55006); it ends with the session, or with restore_done().';

CREATE FUNCTION ecommerce.restore_done(pid int DEFAULT NULL) RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_restore_done';
COMMENT ON FUNCTION ecommerce.restore_done(int) IS
'Ends a restore by hand whose session (NULL: all of ecommerce.restores) stays connected, for instance in a pool; returns how many. Everything is loaded anew from the tables.';

CREATE FUNCTION ecommerce._restore_problems(OUT object text, OUT problem text)
RETURNS SETOF record LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $restore_problems$
	SELECT 'session ' || r.pid, format('it restores the tables of the extension since %s; until it ends '
		'(or SELECT ecommerce.restore_done(%s)) workers wait and nothing is received', r.since, r.pid)
	FROM ecommerce._restoring_sessions() r
$restore_problems$;
COMMENT ON FUNCTION ecommerce._restore_problems() IS 'A row for each session that restores, for the verify functions.';
-- Currencies, and what the shop's contracts know of payments.

CREATE FUNCTION ecommerce.currencies()
RETURNS TABLE (code text, minor_units int) LANGUAGE c IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_currencies';
COMMENT ON FUNCTION ecommerce.currencies() IS
'The currencies of ISO 4217 with the number of decimals each has.';

-- Contracts check every order with this one and the two below: a pinned search_path would cost
-- more than all the rest of the check.
CREATE FUNCTION ecommerce.minor_units(currency text)
RETURNS int LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_minor_units';
COMMENT ON FUNCTION ecommerce.minor_units(text) IS
'How many decimals amounts in a currency of ISO 4217 have: 2 for USD, 0 for JPY, 3 for KWD; NULL for what is no currency.';

CREATE FUNCTION ecommerce.currency()
RETURNS text LANGUAGE c STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ecommerce_currency';
COMMENT ON FUNCTION ecommerce.currency() IS
'The setting ecommerce.currency, also where the library has not been loaded yet.';

CREATE FUNCTION ecommerce.holds_card_number(value text)
RETURNS boolean LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_holds_card_number';
COMMENT ON FUNCTION ecommerce.holds_card_number(text) IS
'Whether some 12 to 19 digits of a text, in a row, satisfy the algorithm of Luhn, however they are separated.';

CREATE FUNCTION ecommerce.is_payment_type(value text)
RETURNS boolean LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'ecommerce_is_payment_type';
COMMENT ON FUNCTION ecommerce.is_payment_type(text) IS
'Whether a text can name a kind of payment: 1 to 50 letters, "_" and "-", a letter first, and at the end up to two digits.';
-- The shop's contracts: value objects, events and commands as composite types.
--
-- A column of a NOT NULL domain is required. JSON keys are the column names. Ids
-- are UUIDs unless they are another system's, times are ISO 8601 in UTC, money is
-- in the currency of the setting ecommerce.currency unless a currency stands beside it.

CREATE DOMAIN ecommerce.required_uuid AS uuid NOT NULL;
COMMENT ON DOMAIN ecommerce.required_uuid IS 'A UUID; must be present.';
CREATE DOMAIN ecommerce.required_text AS text NOT NULL;
COMMENT ON DOMAIN ecommerce.required_text IS 'A string; must be present.';
CREATE DOMAIN ecommerce.required_int AS int NOT NULL;
COMMENT ON DOMAIN ecommerce.required_int IS 'A whole number; must be present.';
CREATE DOMAIN ecommerce.required_flag AS boolean NOT NULL;
COMMENT ON DOMAIN ecommerce.required_flag IS 'true or false; must be present.';
CREATE DOMAIN ecommerce.required_time AS timestamptz NOT NULL;
COMMENT ON DOMAIN ecommerce.required_time IS 'A time in ISO 8601, UTC; must be present.';

-- Bounded so that cents are exact in a double, which is what JSON numbers become in most languages.
CREATE DOMAIN ecommerce.money AS numeric
	CONSTRAINT two_decimals CHECK (scale(VALUE) <= 2)
	CONSTRAINT finite CHECK (VALUE BETWEEN -9999999999999.99 AND 9999999999999.99);
COMMENT ON DOMAIN ecommerce.money IS 'An amount of money with at most two decimals, of at most 13 digits before them; in the currency of the setting ecommerce.currency unless one stands beside it.';
CREATE DOMAIN ecommerce.required_money AS ecommerce.money NOT NULL;
COMMENT ON DOMAIN ecommerce.required_money IS 'An amount of money with at most two decimals, of at most 13 digits before them, in the currency of the setting ecommerce.currency unless one stands beside it; must be present.';

CREATE DOMAIN ecommerce.currency_code AS text
	CONSTRAINT iso_4217 CHECK (VALUE IS NULL OR ecommerce.minor_units(VALUE) IS NOT NULL);
COMMENT ON DOMAIN ecommerce.currency_code IS 'A currency of ISO 4217, such as EUR; ecommerce.currencies() shows all.';
CREATE DOMAIN ecommerce.required_currency_code AS ecommerce.currency_code NOT NULL;
COMMENT ON DOMAIN ecommerce.required_currency_code IS 'A currency of ISO 4217, such as EUR; must be present.';

-- Events last for ever: what is stored of a card must not be its number, whatever it is called.
CREATE DOMAIN ecommerce.payment_type AS text NOT NULL
	CONSTRAINT short_alphabet CHECK (ecommerce.is_payment_type(VALUE));
COMMENT ON DOMAIN ecommerce.payment_type IS 'The kind of a payment, such as card or sepa_debit: 1 to 50 letters, "_" and "-", up to two digits at the end; must be present.';
CREATE DOMAIN ecommerce.last4_digits AS text
	CONSTRAINT no_card_number CHECK (NOT ecommerce.holds_card_number(VALUE));
COMMENT ON DOMAIN ecommerce.last4_digits IS 'The last four digits of a card, never the whole number; null where there is no card.';
CREATE DOMAIN ecommerce.payment_token AS text
	CONSTRAINT no_card_number CHECK (NOT ecommerce.holds_card_number(VALUE));
COMMENT ON DOMAIN ecommerce.payment_token IS 'The payment provider''s name for a card, never the number of the card.';

CREATE DOMAIN ecommerce.mail_address AS text
	CONSTRAINT one_mailbox CHECK (VALUE ~ '^[^]@<>,;:"()[[:space:][:cntrl:]]{1,64}@[A-Za-z0-9.-]{1,189}$');
COMMENT ON DOMAIN ecommerce.mail_address IS 'An e-mail address as SMTP takes it: what stands before the @ has no white space and no <>,;:"()[], what stands after it is the name of a host.';

-- ---------------------------------------------------------------- value objects

CREATE TYPE ecommerce.order_item AS (
	product_id ecommerce.required_uuid,
	product_name ecommerce.required_text,
	sku ecommerce.required_text,
	quantity ecommerce.required_int,
	unit_price ecommerce.required_money,
	total_price ecommerce.required_money
);
COMMENT ON TYPE ecommerce.order_item IS 'A line of an order. quantity: pieces; total_price: quantity times unit_price.';

CREATE TYPE ecommerce.item AS (
	product_id ecommerce.required_uuid,
	sku ecommerce.required_text,
	quantity ecommerce.required_int
);
COMMENT ON TYPE ecommerce.item IS 'What a command says of a line of an order. quantity: pieces.';

CREATE TYPE ecommerce.reserved_item AS (
	product_id ecommerce.required_uuid,
	sku ecommerce.required_text,
	quantity ecommerce.required_int,
	reservation_id ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reserved_item IS 'Stock held for an order. quantity: pieces.';

CREATE TYPE ecommerce.out_of_stock_item AS (
	product_id ecommerce.required_uuid,
	sku ecommerce.required_text,
	requested_quantity ecommerce.required_int,
	available_quantity ecommerce.required_int
);
COMMENT ON TYPE ecommerce.out_of_stock_item IS 'A product of which there is less than was asked for. Quantities: pieces.';

CREATE TYPE ecommerce.address AS (
	street ecommerce.required_text,
	city ecommerce.required_text,
	state text,
	postal_code text,
	country ecommerce.required_text
);
COMMENT ON TYPE ecommerce.address IS 'Where an order is sent. state, postal_code: null where a country has none; country: ISO 3166-1 alpha-2, as the customer gave it.';

CREATE TYPE ecommerce.payment_method AS (
	type ecommerce.payment_type,
	last4_digits ecommerce.last4_digits,
	token ecommerce.payment_token
);
COMMENT ON TYPE ecommerce.payment_method IS 'How an order is paid. token: the payment provider''s name for the card; the card itself is never stored.';

-- Members of arrays must not be null either, hence a domain for them.
CREATE DOMAIN ecommerce.required_order_item AS ecommerce.order_item NOT NULL;
COMMENT ON DOMAIN ecommerce.required_order_item IS 'A line of an order; must not be null.';
CREATE DOMAIN ecommerce.required_order_items AS ecommerce.required_order_item[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_order_items IS 'The lines of an order; must be present.';
CREATE DOMAIN ecommerce.required_item AS ecommerce.item NOT NULL;
COMMENT ON DOMAIN ecommerce.required_item IS 'A line of a command; must not be null.';
CREATE DOMAIN ecommerce.required_items AS ecommerce.required_item[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_items IS 'The lines of a command; must be present.';
CREATE DOMAIN ecommerce.required_reserved_item AS ecommerce.reserved_item NOT NULL;
COMMENT ON DOMAIN ecommerce.required_reserved_item IS 'Stock held; must not be null.';
CREATE DOMAIN ecommerce.required_reserved_items AS ecommerce.required_reserved_item[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_reserved_items IS 'All stock held for an order; must be present.';
CREATE DOMAIN ecommerce.required_out_of_stock_item AS ecommerce.out_of_stock_item NOT NULL;
COMMENT ON DOMAIN ecommerce.required_out_of_stock_item IS 'A product that is short; must not be null.';
CREATE DOMAIN ecommerce.required_out_of_stock_items
	AS ecommerce.required_out_of_stock_item[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_out_of_stock_items IS 'All products that are short; must be present, may be empty.';
CREATE DOMAIN ecommerce.required_uuids AS ecommerce.required_uuid[] NOT NULL;
COMMENT ON DOMAIN ecommerce.required_uuids IS 'UUIDs; must be present.';
CREATE DOMAIN ecommerce.required_address AS ecommerce.address NOT NULL;
COMMENT ON DOMAIN ecommerce.required_address IS 'An address; must be present.';
CREATE DOMAIN ecommerce.required_payment_method AS ecommerce.payment_method NOT NULL;
COMMENT ON DOMAIN ecommerce.required_payment_method IS 'A payment method; must be present.';
CREATE DOMAIN ecommerce.payment_status AS text NOT NULL
	CONSTRAINT known_status CHECK (VALUE IN ('captured', 'declined', 'pending', 'not_found', 'waiting'));
COMMENT ON DOMAIN ecommerce.payment_status IS 'captured, declined, pending, not_found, or waiting: nothing has been sent to the payment provider yet, and will be.';

-- ---------------------------------------------------------------- domain events

CREATE TYPE ecommerce.order_created AS (
	customer_id ecommerce.required_uuid,
	items ecommerce.required_order_items,
	total_amount ecommerce.required_money,
	shipping_address ecommerce.required_address,
	payment_method ecommerce.required_payment_method,
	currency ecommerce.currency_code
);
COMMENT ON TYPE ecommerce.order_created IS 'Domain event on order-<id>: the order exists. total_amount: sum of the items'' total_price, in currency; null: that of the setting ecommerce.currency.';

CREATE TYPE ecommerce.order_confirmed AS (
	confirmation_number ecommerce.required_text
);
COMMENT ON TYPE ecommerce.order_confirmed IS 'Domain event on order-<id>: paid, stock committed, shipment arranged. confirmation_number: what the customer is told.';

CREATE TYPE ecommerce.order_cancelled AS (
	reason ecommerce.required_text,
	refund_id text,
	cancelled_by text
);
COMMENT ON TYPE ecommerce.order_cancelled IS 'Domain event on order-<id>: the order is off. refund_id: the payment provider''s, null if nothing was refunded; cancelled_by: who wanted it, null if it could not be carried out.';

CREATE TYPE ecommerce.order_completed AS ();
COMMENT ON TYPE ecommerce.order_completed IS 'Domain event on order-<id>: the goods were delivered. Its data is {}.';

-- ---------------------------------------------------------------- integration events of an order

CREATE TYPE ecommerce.order_submitted AS (
	order_id ecommerce.required_uuid,
	customer_id ecommerce.required_uuid,
	items ecommerce.required_order_items,
	total_amount ecommerce.required_money,
	shipping_address ecommerce.required_address,
	payment_method ecommerce.required_payment_method,
	currency ecommerce.currency_code,
	email ecommerce.mail_address
);
COMMENT ON TYPE ecommerce.order_submitted IS 'Integration event of OrderService: an order wants to be fulfilled. total_amount: sum of the items'' total_price, in currency; null: that of the setting ecommerce.currency. email: where the customer is told of it; personal, so no event has it.';

CREATE TYPE ecommerce.order_cancellation_requested AS (
	order_id ecommerce.required_uuid,
	by text,
	reason text
);
COMMENT ON TYPE ecommerce.order_cancellation_requested IS 'Integration event of OrderService: somebody wants the order cancelled. by: who.';

CREATE TYPE ecommerce.order_cancellation_rejected AS (
	order_id ecommerce.required_uuid,
	reason text
);
COMMENT ON TYPE ecommerce.order_cancellation_rejected IS 'Integration event of the order saga: the order cannot be cancelled any more.';

CREATE TYPE ecommerce.order_cancellation_amended AS (
	order_id ecommerce.required_uuid,
	refund_id ecommerce.required_text
);
COMMENT ON TYPE ecommerce.order_cancellation_amended IS 'Integration event of the order saga: a payment that came after the cancellation has been refunded. refund_id: the payment provider''s.';

-- ---------------------------------------------------------------- inventory

CREATE TYPE ecommerce.reserve_inventory AS (
	order_id ecommerce.required_uuid,
	items ecommerce.required_items,
	ttl int,
	not_after timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reserve_inventory IS 'Command to inventory: hold stock for an order, all items or none; with the same key again it renews the hold. ttl: seconds (null: 900); not_after: too late to do it after this time.';

CREATE TYPE ecommerce.commit_reservation AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.commit_reservation IS 'Command to inventory: the hold does not expire any more.';

CREATE TYPE ecommerce.release_inventory AS (
	order_id ecommerce.required_uuid,
	reason text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.release_inventory IS 'Command to inventory: give back what is held under the key, and refuse the key from now on.';

CREATE TYPE ecommerce.inventory_reserved AS (
	order_id ecommerce.required_uuid,
	reserved_items ecommerce.required_reserved_items,
	expires_at ecommerce.required_time,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.inventory_reserved IS 'Integration event of InventoryService: stock is held until expires_at.';

CREATE TYPE ecommerce.inventory_reservation_failed AS (
	order_id ecommerce.required_uuid,
	out_of_stock_items ecommerce.required_out_of_stock_items,
	reason ecommerce.required_text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.inventory_reservation_failed IS 'Integration event of InventoryService: nothing is held. reason: also cancelled or expired, when the command came too late.';

CREATE TYPE ecommerce.inventory_released AS (
	order_id ecommerce.required_uuid,
	product_ids ecommerce.required_uuids,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.inventory_released IS 'Integration event of InventoryService: stock was given back.';

CREATE TYPE ecommerce.inventory_release_failed AS (
	order_id ecommerce.required_uuid,
	is_retryable ecommerce.required_flag,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.inventory_release_failed IS 'Integration event of InventoryService: stock could not be given back.';

CREATE TYPE ecommerce.reservation_committed AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reservation_committed IS 'Integration event of InventoryService: the hold does not expire any more.';

CREATE TYPE ecommerce.reservation_commit_failed AS (
	order_id ecommerce.required_uuid,
	reason text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reservation_commit_failed IS 'Integration event of InventoryService: there was no hold left to commit.';

CREATE TYPE ecommerce.reservation_expired AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.reservation_expired IS 'Integration event of InventoryService: the hold ran out before it was committed.';

-- ---------------------------------------------------------------- payment

CREATE TYPE ecommerce.process_payment AS (
	order_id ecommerce.required_uuid,
	customer_id uuid,
	amount ecommerce.required_money,
	currency ecommerce.currency_code,
	payment_method ecommerce.payment_method,
	not_after timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.process_payment IS 'Command to payment: charge the customer once for this key. customer_id: who may see the payment, null for none but the shop; currency: ISO 4217, null for ecommerce.currency; not_after: too late to do it after this time.';

CREATE TYPE ecommerce.query_payment_status AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.query_payment_status IS 'Command to payment: say what became of the key.';

CREATE TYPE ecommerce.refund_payment AS (
	order_id ecommerce.required_uuid,
	amount ecommerce.required_money,
	reason text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.refund_payment IS 'Command to payment: give back what was charged under the key, or void it, and refuse the key from now on.';

CREATE TYPE ecommerce.payment_processed AS (
	order_id ecommerce.required_uuid,
	transaction_id ecommerce.required_text,
	amount ecommerce.required_money,
	currency ecommerce.required_currency_code,
	processed_at ecommerce.required_time,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_processed IS 'Integration event of PaymentService: the money is ours. transaction_id: the payment provider''s; currency: ISO 4217.';

CREATE TYPE ecommerce.payment_failed AS (
	order_id ecommerce.required_uuid,
	reason ecommerce.required_text,
	error_code text,
	is_retryable ecommerce.required_flag,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_failed IS 'Integration event of PaymentService: nothing was charged. error_code: the payment provider''s, or cancelled or expired when the command came too late.';

CREATE TYPE ecommerce.payment_refunded AS (
	order_id ecommerce.required_uuid,
	refund_id ecommerce.required_text,
	amount ecommerce.required_money,
	reason ecommerce.required_text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_refunded IS 'Integration event of PaymentService: the money was given back. refund_id: the payment provider''s.';

CREATE TYPE ecommerce.payment_status_reported AS (
	order_id ecommerce.required_uuid,
	status ecommerce.payment_status,
	transaction_id text,
	amount ecommerce.money,
	error_code text,
	is_retryable boolean,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_status_reported IS 'Integration event of PaymentService: what is known of a key. transaction_id and amount come with captured, error_code and is_retryable with declined.';

CREATE TYPE ecommerce.payment_voided AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_voided IS 'Integration event of PaymentService: nothing is and nothing will be charged under the key.';

CREATE TYPE ecommerce.payment_refund_failed AS (
	order_id ecommerce.required_uuid,
	is_retryable ecommerce.required_flag,
	error_code text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_refund_failed IS 'Integration event of PaymentService: the money was not given back. error_code: the payment provider''s.';

CREATE TYPE ecommerce.payment_returned AS (
	order_id ecommerce.required_uuid,
	refund_id text,
	amount ecommerce.required_money,
	reason ecommerce.required_text,
	moves int,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_returned IS 'Integration event of PaymentService: the money went back though nobody here has asked for it. reason: refund, somebody made one at the payment provider, or dispute, the customer''s bank has taken it; refund_id: the provider''s, null as long as a dispute is open; moves: rises each time the money moves, so that it is known which of two is newer.';

CREATE TYPE ecommerce.payment_regained AS (
	order_id ecommerce.required_uuid,
	moves int,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.payment_regained IS 'Integration event of PaymentService: money that had gone back is ours again, a dispute was won or a refund has failed later. moves: as in PaymentReturned.';

-- ---------------------------------------------------------------- shipping

CREATE TYPE ecommerce.arrange_shipment AS (
	order_id ecommerce.required_uuid,
	customer_id uuid,
	items ecommerce.required_items,
	shipping_address ecommerce.address,
	not_after timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.arrange_shipment IS 'Command to shipping: have the goods picked up. customer_id: who may see the shipment, null for none but the shop; not_after: too late to do it after this time.';

CREATE TYPE ecommerce.cancel_shipment AS (
	order_id ecommerce.required_uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.cancel_shipment IS 'Command to shipping: do not send the goods, and refuse the key from now on.';

CREATE TYPE ecommerce.shipment_arranged AS (
	order_id ecommerce.required_uuid,
	shipment_id ecommerce.required_uuid,
	carrier text,
	estimated_delivery timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_arranged IS 'Integration event of ShippingService: the goods will be picked up.';

CREATE TYPE ecommerce.shipment_failed AS (
	order_id ecommerce.required_uuid,
	reason text,
	error_code text,
	is_retryable ecommerce.required_flag,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_failed IS 'Integration event of ShippingService: there is no shipment. error_code: the carrier''s, or cancelled or expired when the command came too late.';

CREATE TYPE ecommerce.shipment_dispatched AS (
	order_id ecommerce.required_uuid,
	shipment_id ecommerce.required_uuid,
	tracking_number text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_dispatched IS 'Integration event of ShippingService: the goods have left. tracking_number: the carrier''s.';

CREATE TYPE ecommerce.shipment_delivered AS (
	order_id ecommerce.required_uuid,
	shipment_id ecommerce.required_uuid,
	delivered_at timestamptz,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_delivered IS 'Integration event of ShippingService: the customer has the goods.';

CREATE TYPE ecommerce.shipment_cancelled AS (
	order_id ecommerce.required_uuid,
	shipment_id uuid,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_cancelled IS 'Integration event of ShippingService: the goods will not be sent. shipment_id: null when there was no shipment yet.';

CREATE TYPE ecommerce.shipment_cancel_failed AS (
	order_id ecommerce.required_uuid,
	already_dispatched ecommerce.required_flag,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.shipment_cancel_failed IS 'Integration event of ShippingService: the shipment could not be cancelled.';

-- ---------------------------------------------------------------- notification

CREATE TYPE ecommerce.send_notification AS (
	order_id ecommerce.required_uuid,
	customer_id ecommerce.required_uuid,
	template ecommerce.required_text,
	email ecommerce.mail_address,
	data jsonb,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.send_notification IS 'Command to notification: tell the customer. template: order_received, order_confirmed, order_shipped, order_delivered, order_cancelled, cancellation_rejected or payment_refunded; email: where to; data: what the template needs, and the outcome that its text is for.';

CREATE TYPE ecommerce.notification_sent AS (
	order_id ecommerce.required_uuid,
	template text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.notification_sent IS 'Integration event of NotificationService: the customer was told.';

CREATE TYPE ecommerce.notification_failed AS (
	order_id ecommerce.required_uuid,
	template text,
	reason text,
	key ecommerce.required_uuid
);
COMMENT ON TYPE ecommerce.notification_failed IS 'Integration event of NotificationService: the customer could not be told.';

-- ---------------------------------------------------------------- registration

CREATE FUNCTION ecommerce.register_contracts() RETURNS int
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $register_contracts$
DECLARE
	contract text;
	payload text;
	contracts CONSTANT text[] := ARRAY[
		'OrderCreated', 'OrderConfirmed', 'OrderCancelled', 'OrderCompleted',
		'OrderSubmitted', 'OrderCancellationRequested', 'OrderCancellationRejected',
		'OrderCancellationAmended',
		'ReserveInventory', 'CommitReservation', 'ReleaseInventory', 'InventoryReserved',
		'InventoryReservationFailed', 'InventoryReleased', 'InventoryReleaseFailed',
		'ReservationCommitted', 'ReservationCommitFailed', 'ReservationExpired',
		'ProcessPayment', 'QueryPaymentStatus', 'RefundPayment', 'PaymentProcessed',
		'PaymentFailed', 'PaymentRefunded', 'PaymentStatusReported', 'PaymentVoided',
		'PaymentRefundFailed', 'PaymentReturned', 'PaymentRegained',
		'ArrangeShipment', 'CancelShipment', 'ShipmentArranged', 'ShipmentFailed',
		'ShipmentDispatched', 'ShipmentDelivered', 'ShipmentCancelled', 'ShipmentCancelFailed',
		'SendNotification', 'NotificationSent', 'NotificationFailed'];
BEGIN
	FOREACH contract IN ARRAY contracts LOOP
		-- OrderCreated is ecommerce.order_created, and so on.
		payload := ltrim(lower(regexp_replace(contract, '([A-Z])', '_\1', 'g')), '_');
		PERFORM event_store.register_event_type(contract, ('ecommerce.' || payload)::regtype);
	END LOOP;
	RETURN array_length(contracts, 1);
END
$register_contracts$;
COMMENT ON FUNCTION ecommerce.register_contracts() IS
'Registers every event and command of the shop with its composite type; returns how many there are. Running it again changes nothing. '
'Fails with 42710 if one of the names is registered with another type.';
-- The order aggregate: the worked example of an aggregate, and what the order service
-- stands on. Streams are order-<order id>; the state is
-- {order_id, status, customer_id, items, total_amount, shipping_address, payment_method, currency,
--  confirmation_number, cancel_reason, refund_id, cancelled_by}.
--
-- Handlers are written in the SQL-standard form and without SET: then load() inlines
-- them, and every name in them was resolved when the extension was created.

CREATE FUNCTION ecommerce.apply_order_created(state jsonb, event event_store.event) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object('order_id', substr((event).stream, 7), 'status', 'Created')
	|| (event).data;
COMMENT ON FUNCTION ecommerce.apply_order_created(jsonb, event_store.event) IS 'Handler of OrderCreated.';

CREATE FUNCTION ecommerce.apply_order_confirmed(state jsonb, event event_store.event) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN state || jsonb_build_object('status', 'Confirmed', 'confirmation_number',
	(event).data->'confirmation_number');
COMMENT ON FUNCTION ecommerce.apply_order_confirmed(jsonb, event_store.event) IS 'Handler of OrderConfirmed.';

CREATE FUNCTION ecommerce.apply_order_cancelled(state jsonb, event event_store.event) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN state || jsonb_build_object('status', 'Cancelled', 'cancel_reason', (event).data->'reason',
	'refund_id', (event).data->'refund_id', 'cancelled_by', (event).data->'cancelled_by');
COMMENT ON FUNCTION ecommerce.apply_order_cancelled(jsonb, event_store.event) IS 'Handler of OrderCancelled.';

CREATE FUNCTION ecommerce.apply_order_completed(state jsonb, event event_store.event) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN state || '{"status": "Completed"}'::jsonb;
COMMENT ON FUNCTION ecommerce.apply_order_completed(jsonb, event_store.event) IS 'Handler of OrderCompleted.';

CREATE FUNCTION ecommerce.install_order_aggregate() RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $install_order_aggregate$
	SELECT ecommerce.register_contracts();
	SELECT event_store.create_aggregate('order', '{}', 100);
	SELECT event_store.create_event_handler('order', 'OrderCreated',
		'ecommerce.apply_order_created(jsonb, event_store.event)');
	SELECT event_store.create_event_handler('order', 'OrderConfirmed',
		'ecommerce.apply_order_confirmed(jsonb, event_store.event)');
	SELECT event_store.create_event_handler('order', 'OrderCancelled',
		'ecommerce.apply_order_cancelled(jsonb, event_store.event)');
	SELECT event_store.create_event_handler('order', 'OrderCompleted',
		'ecommerce.apply_order_completed(jsonb, event_store.event)');
$install_order_aggregate$;
COMMENT ON FUNCTION ecommerce.install_order_aggregate() IS
'Registers the contracts and defines the aggregate of category "order" with its handlers. Running it again changes nothing.';

-- ---------------------------------------------------------------- rules

CREATE FUNCTION ecommerce.check_order("order" ecommerce.order_created)
RETURNS TABLE (field text, detail text)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $check_order$
	WITH paid_in AS (
		SELECT code, ecommerce.minor_units(code) AS decimals
		FROM coalesce(("order").currency, ecommerce.currency()) AS code
	), line AS (
		SELECT n - 1 AS n, i.quantity, i.unit_price, i.total_price
		FROM unnest(("order").items) WITH ORDINALITY AS i (product_id, product_name, sku,
			quantity, unit_price, total_price, n)
	)
	SELECT 'items', 'an order has at least one item' WHERE NOT EXISTS (SELECT FROM line)
	UNION ALL
	SELECT 'items', format('an order has at most 500 items, not %s', count(*))
		FROM line HAVING count(*) > 500
	UNION ALL
	SELECT format('items[%s].%s', n, problem.field), problem.detail
	FROM line CROSS JOIN LATERAL (
		SELECT 'quantity', 'must be positive' WHERE quantity <= 0
		UNION ALL
		SELECT 'unit_price', 'must not be negative' WHERE unit_price < 0
		UNION ALL
		SELECT 'unit_price', format('must have at most %s decimals in %s', decimals, code)
		FROM paid_in WHERE scale(trim_scale(unit_price)) > decimals
		UNION ALL
		SELECT 'total_price', format('must be quantity times unit_price, %s', quantity * unit_price)
		WHERE total_price <> quantity * unit_price) AS problem (field, detail)
	UNION ALL
	SELECT 'total_amount', format('must be the sum of the items, %s', sum(total_price)) FROM line
	HAVING sum(total_price) <> ("order").total_amount
$check_order$;
COMMENT ON FUNCTION ecommerce.check_order(ecommerce.order_created) IS
'Every rule that an order breaks, with the path of the field; no row means that it can be placed. '
'At least one and at most 500 items, quantities positive, prices not negative and with no more decimals than their currency has, total_price is quantity times unit_price, total_amount is their sum.';

-- The next step of an order, or OR002 with the state that was met.
CREATE FUNCTION ecommerce._save_order(order_id uuid, verb text, allowed text[], event_type text,
									  data jsonb, expected_version bigint)
RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $save_order$
DECLARE
	name constant text := 'order-' || order_id;
	loaded record;
	status text;
BEGIN
	IF order_id IS NULL THEN
		RAISE EXCEPTION 'order_id must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	SELECT l.state, l.version INTO STRICT loaded FROM event_store.load(name) l;
	status := coalesce(loaded.state ->> 'status', 'unknown');
	IF expected_version IS NULL OR expected_version = loaded.version THEN
		IF status <> ALL (allowed) THEN
			RAISE EXCEPTION 'order % cannot be %: it is %', order_id, verb, status
				USING ERRCODE = 'OR002',
					DETAIL = jsonb_build_object('order_id', order_id, 'status', status,
						'version', loaded.version),
					HINT = format('An order can be %s when it is %s.', verb,
						array_to_string(allowed, ' or '));
		END IF;
	END IF;
	RETURN (event_store.save(name, coalesce(expected_version, loaded.version),
		ARRAY[ROW(event_type, data, NULL, NULL, NULL, NULL)::event_store.new_event])).version;
END
$save_order$;
COMMENT ON FUNCTION ecommerce._save_order(uuid, text, text[], text, jsonb, bigint) IS
'Loads an order, refuses the step unless its status is allowed, saves the event.';

-- ---------------------------------------------------------------- commands

CREATE FUNCTION ecommerce.create_order(order_id uuid, customer_id uuid, items jsonb,
									   shipping_address jsonb, payment_method jsonb,
									   total_amount numeric DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $create_order$
#variable_conflict use_variable
DECLARE
	lines jsonb := items;
	data jsonb;
	problems jsonb;
BEGIN
	IF jsonb_typeof(items) = 'array' THEN
		SELECT coalesce(jsonb_agg(CASE
				WHEN jsonb_typeof(i.line) = 'object' AND NOT i.line ? 'total_price'
					AND jsonb_typeof(i.line -> 'quantity') = 'number'
					AND jsonb_typeof(i.line -> 'unit_price') = 'number'
				-- Of a quantity that is refused below no product: it might overflow.
				THEN i.line || CASE
					WHEN (i.line ->> 'quantity')::numeric BETWEEN -2147483648 AND 2147483647
					THEN jsonb_build_object('total_price',
						(i.line ->> 'quantity')::numeric * (i.line ->> 'unit_price')::numeric)
					ELSE '{}' END
				ELSE i.line END ORDER BY i.n), '[]')
		INTO lines
		FROM jsonb_array_elements(items) WITH ORDINALITY AS i (line, n);
	END IF;
	data := jsonb_build_object('customer_id', customer_id, 'items', lines,
		'total_amount', total_amount, 'shipping_address', shipping_address,
		'payment_method', payment_method, 'currency', ecommerce.currency());
	IF total_amount IS NULL THEN
		-- Any total, so that the shape can be checked before there is a sum.
		data := data || '{"total_amount": 0}';
	END IF;
	PERFORM event_store.check_data('OrderCreated', data);
	IF total_amount IS NULL THEN
		SELECT data || jsonb_build_object('total_amount',
			coalesce(sum((i.line ->> 'total_price')::numeric), 0))
		INTO data FROM jsonb_array_elements(lines) AS i (line);
	END IF;
	SELECT jsonb_agg(jsonb_build_object('field', c.field, 'detail', c.detail)) INTO problems
	FROM ecommerce.check_order(jsonb_populate_record(NULL::ecommerce.order_created, data)) c;
	IF problems IS NOT NULL THEN
		RAISE EXCEPTION '%: %', problems -> 0 ->> 'field', problems -> 0 ->> 'detail'
			USING ERRCODE = 'OR001', DETAIL = problems,
				HINT = 'ecommerce.check_order() tells every rule that an order breaks.';
	END IF;
	RETURN ecommerce._save_order(order_id, 'created', ARRAY['unknown'], 'OrderCreated', data, NULL);
END
$create_order$;
COMMENT ON FUNCTION ecommerce.create_order(uuid, uuid, jsonb, jsonb, jsonb, numeric) IS
'Places an order on stream order-<order_id>; returns the stream''s version. items: a JSON array of ecommerce.order_item, where total_price may be left out; shipping_address, payment_method: ecommerce.address, ecommerce.payment_method as JSON. total_amount: NULL for the sum of the items. '
'Errors: ST004 the shape does not fit, OR001 a rule is broken (DETAIL is a JSON array of {field, detail}), OR002 the order exists.';

CREATE FUNCTION ecommerce.confirm_order(order_id uuid, confirmation_number text,
										expected_version bigint DEFAULT NULL)
RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $confirm_order$
	SELECT ecommerce._save_order(order_id, 'confirmed', ARRAY['Created'], 'OrderConfirmed',
		jsonb_build_object('confirmation_number', confirmation_number), expected_version)
$confirm_order$;
COMMENT ON FUNCTION ecommerce.confirm_order(uuid, text, bigint) IS
'Confirms a Created order; returns the stream''s version. expected_version: NULL for the newest. '
'Errors: OR002 with the status met (DETAIL {order_id, status, version}), ST001 somebody else was faster.';

CREATE FUNCTION ecommerce.cancel_order(order_id uuid, reason text, refund_id text DEFAULT NULL,
									   expected_version bigint DEFAULT NULL)
RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $cancel_order$
	SELECT ecommerce._save_order(order_id, 'cancelled', ARRAY['Created', 'Confirmed'],
		'OrderCancelled',
		jsonb_build_object('reason', reason, 'refund_id', refund_id), expected_version)
$cancel_order$;
COMMENT ON FUNCTION ecommerce.cancel_order(uuid, text, text, bigint) IS
'Cancels a Created or Confirmed order; returns the stream''s version. refund_id: the payment provider''s, NULL if nothing was refunded. Errors as confirm_order.';

CREATE FUNCTION ecommerce.complete_order(order_id uuid, expected_version bigint DEFAULT NULL)
RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $complete_order$
	SELECT ecommerce._save_order(order_id, 'completed', ARRAY['Confirmed'], 'OrderCompleted',
		'{}', expected_version)
$complete_order$;
COMMENT ON FUNCTION ecommerce.complete_order(uuid, bigint) IS
'Completes a Confirmed order, when the goods were delivered; returns the stream''s version. Errors as confirm_order.';
-- The order saga: a definition for the saga engine. How to read it: extension/saga/README.md.

CREATE FUNCTION ecommerce.order_saga_definition() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $function$ SELECT $definition$
{
	"description": "An order over inventory, payment and shipping; undone when a step fails.",
	"endpoint": "order",
	"initial": "ReservingInventory", "park_for": "10 min", "retain_for": "30 days",
	"conditions": {
		"cancelling": "$.data.goal == \"CANCEL\"",
		"asked": "exists($.data.cancellation[*] ? (@.st == \"asked\"))",
		"hold": "$.data.inv.st == \"held\"",
		"hold_lasts": "<hold> && $.data.inv.expires_at > $.now",
		"hold_lost": "$.data.inv.st == \"expired\" || <stock_undone>",
		"no_stock": "$.data.inv.st == \"rejected\"",
		"asked_too_late": "<no_stock> && $.data.inv.reason == \"expired\"",
		"captured": "$.data.pay[last].st == \"captured\" || $.data.pay[last].st == \"regained\"",
		"returned": "$.data.pay[last].st == \"returned\"",
		"declined": "$.data.pay[last].st == \"declined\"",
		"paid_too_late": "$.data.pay[last].error_code == \"expired\"",
		"may_pay": "$.data.pay[last].retryable == true || <paid_too_late>",
		"may_pay_again": "<may_pay> && $.data.pay[last].attempt < 3",
		"arranged": "$.data.shp.st == \"arranged\" || <goods_left>",
		"on_its_way": "$.data.shp.st == \"dispatched\" || $.data.shp.st == \"delivered\"",
		"goods_left": "<on_its_way> || $.data.shp.st == \"cancel_rejected\"",
		"late_capture": "exists($.data.pay[*] ? (@.key == $.message.key && @.st == \"captured\"))",
		"about_this_payment": "$.message.key == $.data.pay[last].key",
		"newer_move": "exists($.data.pay[*] ? (@.key == $.message.key && !(@.moves >= $.message.moves)))",
		"not_found": "$.message.status == \"not_found\" && <about_this_payment>",
		"both_done": "$.data.inv.st == \"committed\" && <arranged>",
		"may_ship": "$.data.shp.retryable == true || $.data.shp.error_code == \"expired\"",
		"may_ship_again": "<may_ship> && $.data.shp.attempt < 5",
		"tracked": "exists($.data.shp.tracking_number ? (@ != null))",
		"disputed": "$.data.pay[last].returned_by == \"dispute\"",
		"refused": "<declined> && !<paid_too_late>",
		"unwanted": "!exists($.data.cancelled_by ? (@ != null))",
		"out_of_stock": "$.data.cancel_reason == \"OutOfStock\" || $.data.cancel_reason == \"ReservationExpired\"",
		"paid_back": "exists($.data.pay[*] ? (@.st == \"refunded\"))",
		"paid_back_elsewhere": "exists($.data.pay[*].returned_by)",
		"stock_undone": "$.data.inv.st == \"releasing\" || $.data.inv.st == \"released\"",
		"wanted": "$.data.pay[*] ? (!(@.late == true))",
		"money_undone": "exists(<wanted>.st ? (@ starts with \"refund\" || @ == \"voided\"))",
		"undoing": "<stock_undone> || <money_undone>"
	},
	"facts": {
		"inv": {
			"description": "The hold of the goods; a lost one is asked for again with a new key.",
			"keep": "latest",
			"lattice": {"none": ["requested"], "requested": ["held", "rejected", "releasing"],
				"held": ["committed", "expired", "releasing"], "committed": ["releasing"],
				"expired": ["releasing"], "releasing": ["released"]},
			"late": {"rejected": ["held"], "expired": ["held"]}},
		"pay": {"description": "Payments, one per key; a new key only after a definite no.",
			"keep": "all",
			"lattice": {"none": ["requested"],
				"requested": ["captured", "declined", "unknown", "refunding"],
				"unknown": ["captured", "declined", "voided", "refunding", "waiting"],
				"waiting": ["captured", "declined", "voided", "refunding", "unknown"],
				"captured": ["refunding", "returned"], "returned": ["refunding", "regained"],
				"refunding": ["refunded", "voided", "refund_failed"],
				"refund_failed": ["refunding", "refunded"], "regained": ["refunding", "returned"]},
			"late": {"declined": ["captured"], "voided": ["captured"], "refunded": ["regained"]}},
		"shp": {"description": "The shipment.", "keep": "latest",
			"lattice": {"none": ["requested"], "requested": ["arranged", "failed", "cancelling"],
				"arranged": ["dispatched", "cancelling"], "dispatched": ["delivered"],
				"cancelling": ["cancelled", "cancel_rejected", "dispatched"],
				"cancel_rejected": ["dispatched"]}, "late": {"failed": ["arranged"]}},
		"cancellation": {"description": "Requests to cancel, one per person and reason.",
			"keep": "all", "lattice": {"none": ["asked"], "asked": ["rejected"]}}
	},
	"events": {
		"OrderSubmitted": {"correlate": "$.message.order_id"},
		"OrderCancellationRequested": {"correlate": "$.message.order_id",
			"fact": {"of": "cancellation", "guard": "$.saga.state != \"Cancelled\"",
				"create": true, "key": "${$.message.by}: ${$.message.reason}", "to": "asked",
				"set": {"by": "$.message.by", "reason": "$.message.reason"}}},
		"InventoryReserved": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "held",
				"most": {"expires_at": {"$time": "$.message.expires_at"}}}},
		"InventoryReservationFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "rejected", "set": {"reason": "$.message.reason"}}},
		"ReservationCommitted": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "committed"}},
		"ReservationCommitFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "expired",
				"set": {"reason": {"$path": "$.message.reason", "default": null}}}},
		"ReservationExpired": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "expired"}},
		"InventoryReleased": {"correlate": "$.message.order_id",
			"fact": {"of": "inv", "to": "released"}},
		"InventoryReleaseFailed": {"correlate": "$.message.order_id"},
		"PaymentProcessed": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "to": "captured",
				"note": {"captured": true,
					"transaction_id": {"$path": "$.message.transaction_id", "default": null}}}},
		"PaymentFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "to": "declined",
				"set": {"error_code": {"$path": "$.message.error_code", "default": null},
					"retryable": "$.message.is_retryable"}}},
		"PaymentStatusReported": {"correlate": "$.message.order_id",
			"fact": [
				{"of": "pay", "guard": "$.message.status == \"captured\"", "to": "captured",
					"note": {"captured": true,
						"transaction_id": {"$path": "$.message.transaction_id", "default": null}}},
				{"of": "pay", "guard": "$.message.status == \"declined\"", "to": "declined",
					"set": {"error_code": {"$path": "$.message.error_code", "default": null},
						"retryable": {"$path": "$.message.is_retryable", "default": false}}},
				{"of": "pay", "guard": "$.message.status == \"waiting\"", "to": "waiting"}]},
		"PaymentRefunded": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "to": "refunded",
				"note": {"refund_id": {"$path": "$.message.refund_id", "default": null}}}},
		"PaymentVoided": {"correlate": "$.message.order_id", "fact": {"of": "pay", "to": "voided"}},
		"PaymentRefundFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "to": "refund_failed",
				"set": {"refund_error": {"$path": "$.message.error_code", "default": null}}}},
		"PaymentReturned": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "guard": "<newer_move>", "to": "returned",
				"set": {"moves": {"$path": "$.message.moves", "default": 1}},
				"note": {"captured": true, "returned_by": "$.message.reason",
					"refund_id": {"$path": "$.message.refund_id ? (@ != null)", "default": null}}}},
		"PaymentRegained": {"correlate": "$.message.order_id",
			"fact": {"of": "pay", "guard": "<newer_move>", "to": "regained",
				"note": {"regained": true}, "set": {"moves": {"$path": "$.message.moves", "default": 2}}}},
		"ShipmentArranged": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "arranged",
				"note": {"shipment_id": "$.message.shipment_id"}}},
		"ShipmentFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "failed",
				"set": {"error_code": {"$path": "$.message.error_code", "default": null},
					"retryable": "$.message.is_retryable"}}},
		"ShipmentDispatched": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "dispatched",
				"note": {"shipment_id": "$.message.shipment_id"},
				"set": {"tracking_number": {"$path": "$.message.tracking_number", "default": null}}}},
		"ShipmentDelivered": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "delivered",
				"note": {"shipment_id": "$.message.shipment_id"}}},
		"ShipmentCancelled": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "to": "cancelled"}},
		"ShipmentCancelFailed": {"correlate": "$.message.order_id",
			"fact": {"of": "shp", "guard": "$.message.already_dispatched == true",
				"to": "cancel_rejected"}}
	},
	"commands": {
		"reserve": {"step": "reserve", "endpoint": "inventory", "type": "ReserveInventory",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key", "items": "$.data.items",
				"ttl": 900, "not_after": {"$time": "now", "plus": "2 min"}},
			"fact": {"of": "inv", "to": "requested"},
			"resend": {"timer": "reserve", "every": "30 s", "limit": 3},
			"compensation": {"owed": "release"}},
		"renew": {"step": "renew", "key": "$.data.inv.key", "endpoint": "inventory",
			"type": "ReserveInventory",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key", "items": "$.data.items",
				"ttl": 900, "not_after": {"$time": "now", "plus": "1 min"}},
			"compensation": "none"},
		"commit": {"step": "commit", "key": "$.data.inv.key", "endpoint": "inventory",
			"type": "CommitReservation",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key"},
			"fact": {"of": "inv", "set": {"committing": true}},
			"resend": {"timer": "commit", "every": "30 s", "limit": 3},
			"compensation": {"owed": "release"}},
		"pay": {"step": "payment", "endpoint": "payment", "type": "ProcessPayment",
			"body": {"order_id": "$.saga.correlation_id", "customer_id": "$.data.customer_id",
				"key": "$.key", "amount": "$.data.total", "currency": "$.data.currency",
				"payment_method": "$.data.payment_method", "not_after": {"$time": "now", "plus": "2 min"}},
			"fact": {"of": "pay", "to": "requested"}, "compensation": {"owed": "refund"}},
		"query": {"step": "query", "key": "$.data.pay[last].key", "endpoint": "payment",
			"type": "QueryPaymentStatus",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key"}, "compensation": "none"},
		"ship": {"step": "ship", "endpoint": "shipping", "type": "ArrangeShipment",
			"body": {"order_id": "$.saga.correlation_id", "customer_id": "$.data.customer_id",
				"key": "$.key", "items": "$.data.items", "shipping_address": "$.data.shipping_address",
				"not_after": {"$time": "now", "plus": "20 min"}},
			"fact": {"of": "shp", "to": "requested"},
			"resend": {"timer": "ship", "every": "5 min", "limit": 3},
			"compensation": {"owed": "cancel_shipment"}},
		"notify": {"endpoint": "notification", "type": "SendNotification",
			"body": {"order_id": "$.saga.correlation_id", "customer_id": "$.data.customer_id",
				"email": {"$path": "$.data.email", "default": null},
				"data": {"total_amount": "$.data.total", "currency": "$.data.currency"}},
			"compensation": "none"},
		"notify_cancelled": {"endpoint": "notification", "type": "SendNotification",
			"step": "notify_cancelled", "compensation": "none",
			"body": {"order_id": "$.saga.correlation_id", "customer_id": "$.data.customer_id",
				"email": {"$path": "$.data.email", "default": null}, "template": "order_cancelled",
				"data": {"total_amount": "$.data.total", "currency": "$.data.currency"}}}
	},
	"owed": {
		"cancel_shipment": {
			"description": "First of all: goods that may still leave are not refunded.",
			"each": "shp", "in": ["requested", "arranged", "cancelling"],
			"when": "<cancelling> || $.record.late == true", "to": "cancelling",
			"endpoint": "shipping", "type": "CancelShipment",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key"},
			"resend": {"kind": "interval", "intervals": ["1 min", "2 min", "4 min", "8 min", "15 min"]},
			"give_up_after": "24 h", "then_every": "24 h"},
		"refund": {"description": "Refunds or voids; also a payment heard of after its decline.",
			"each": "pay",
			"in": ["requested", "unknown", "waiting", "captured", "returned", "regained",
				"refunding", "refund_failed"],
			"when": "<cancelling> || $.record.late == true", "after": ["cancel_shipment"],
			"to": "refunding", "endpoint": "payment", "type": "RefundPayment",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key", "amount": "$.data.total",
				"reason": {"$path": "$.data.cancel_reason", "default": "DuplicatePayment"}},
			"resend": {"kind": "interval", "intervals": ["1 min", "2 min", "4 min", "8 min", "15 min"]},
			"give_up_after": "72 h", "then_every": "24 h",
			"refused_by": {"PaymentRefundFailed": "$.message.is_retryable == false"}},
		"release": {"each": "inv", "in": ["requested", "held", "committed", "releasing"],
			"when": "<cancelling> || $.record.late == true", "after": ["cancel_shipment"],
			"to": "releasing", "endpoint": "inventory", "type": "ReleaseInventory",
			"body": {"order_id": "$.saga.correlation_id", "key": "$.key",
				"reason": {"$path": "$.data.cancel_reason", "default": "LateReservation"}},
			"resend": {"kind": "interval", "intervals": ["1 min", "2 min", "4 min", "8 min", "15 min"]},
			"give_up_after": "24 h", "then_every": "24 h",
			"refused_by": {"InventoryReleaseFailed": "$.message.is_retryable == false"}}
	},
	"start": {
		"OrderSubmitted": {
			"set": {"goal": "FULFIL", "customer_id": "$.message.customer_id",
				"email": {"$path": "$.message.email ? (@ != null)", "default": null},
				"total": "$.message.total_amount",
				"currency": {"$path": "$.message.currency ? (@ != null)",
					"default": {"$setting": "ecommerce.currency"}},
				"items": {"$each": "$.message.items[*]",
					"as": {"product_id": "$.item.product_id", "sku": "$.item.sku",
						"quantity": "$.item.quantity"}},
				"shipping_address": "$.message.shipping_address",
				"payment_method": "$.message.payment_method"},
			"append": {"stream": "order-${$.saga.correlation_id}", "type": "OrderCreated",
				"skip_existing": true,
				"data": {"customer_id": "$.message.customer_id", "items": "$.message.items",
					"total_amount": "$.message.total_amount",
					"shipping_address": "$.message.shipping_address",
					"payment_method": "$.message.payment_method", "currency": "$.data.currency"}},
			"send": [{"command": "reserve"},
				{"command": "notify", "step": "notify_received",
					"body": {"template": "order_received"}}],
			"schedule": {"timer": "overall", "delay": "30 min"}, "goto": "ReservingInventory"}
	},
	"common": {
		"requests": {"description": "A customer may cancel as long as the goods have not left.",
			"always": [
				{"why": "too late to cancel", "each": "cancellation", "in": ["asked"],
					"guard": "<goods_left>",
					"publish": {"type": "OrderCancellationRejected",
						"body": {"order_id": "$.saga.correlation_id",
							"reason": "AlreadyDispatched"}},
					"send": {"command": "notify", "step": "notify_rejected",
						"attempt": "$.data.cancellation.size()",
						"body": {"template": "cancellation_rejected"}},
					"fact": {"of": "cancellation", "to": "rejected"}},
				{"why": "cancelled on request", "guard": "<asked> && !<cancelling>",
					"set": {"goal": "CANCEL",
						"cancel_reason": {
							"$first": "$.data.cancellation[*] ? (@.st == \"asked\").reason"},
						"cancelled_by": {
							"$first": "$.data.cancellation[*] ? (@.st == \"asked\").by"}}}]},
		"money": {
			"description": "Money that went back without us: no goods for it, if they are still here.",
			"always": [
				{"why": "paid back though the goods have left",
					"guard": "<returned> && <goods_left> && !<cancelling>",
					"set": {"stuck_step": "payment"}, "alarm": "overdue", "unschedule": ["*"],
					"fact": {"of": "pay", "set": {"told": "$.data.pay[last].moves"}},
					"schedule": {"timer": "overall", "delay": "24 h"}, "goto": "Unpaid"},
				{"why": "disputed", "guard": "<returned> && !<cancelling> && <disputed>",
					"set": {"goal": "CANCEL", "cancel_reason": "PaymentDisputed",
						"cancelled_by": "payment provider"}},
				{"why": "paid back elsewhere", "guard": "<returned> && !<cancelling>",
					"set": {"goal": "CANCEL", "cancel_reason": "PaymentReturned",
						"cancelled_by": "payment provider"}}]},
		"goal": {"description": "Once the goal is to cancel, all that counts is what is owed.",
			"always": [
				{"why": "to be undone", "guard": "<cancelling> && $.owed > 0", "unschedule": ["*"],
					"goto": "Compensating"},
				{"why": "nothing to undo", "guard": "<cancelling>", "unschedule": ["*"],
					"append": {"stream": "order-${$.saga.correlation_id}",
						"type": "OrderCancelled",
						"data": {"reason": "$.data.cancel_reason",
							"refund_id": {"$first": "$.data.pay[*].refund_id", "default": null},
							"cancelled_by": {"$path": "$.data.cancelled_by", "default": null}}},
					"send": [
						{"if": "!<unwanted>", "command": "notify_cancelled",
							"body": {"data": {"outcome": "on_request"}}},
						{"if": "<unwanted> && <out_of_stock>", "command": "notify_cancelled",
							"body": {"data": {"outcome": "out_of_stock"}}},
						{"if": "<unwanted> && !<out_of_stock>", "command": "notify_cancelled",
							"body": {"data": {"outcome": "never_paid"}}}], "goto": "Cancelled"}]},
		"overall": {"description": "Thirty minutes from the submission, whatever happens.",
			"on": {
				"timer:overall": [
					{"guard": "<goods_left>", "set": {"stuck_step": "commit"}, "alarm": "overdue",
						"schedule": {"timer": "overall", "delay": "24 h"},
						"goto": "CompensationStuck"},
					{"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}]}},
		"holding": {
			"description": "The hold is renewed a minute ahead; a lost one is asked for once more.",
			"on": {
				"InventoryReserved": {"guard": "$.message.key == $.data.inv.key && <hold>",
					"unschedule": ["reserve"],
					"schedule": {"timer": "hold",
						"at": {"$time": "$.data.inv.expires_at", "plus": "-60 s"}}},
				"timer:hold": {"send": {"if": "<hold>", "command": "renew"},
					"schedule": {"timer": "hold", "delay": "30 s"}},
				"timer:reserve": {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}},
			"always": [
				{"why": "hold lost", "guard": "<hold_lost> && $.data.inv.attempt < 2",
					"unschedule": ["hold"],
					"send": {"command": "reserve", "attempt": "$.data.inv.attempt + 1"}},
				{"why": "hold lost for good", "guard": "<hold_lost> || <no_stock>",
					"set": {"goal": "CANCEL", "cancel_reason": "ReservationExpired"}}]},
		"paying": {"description": "What follows from the outcome of the payment.",
			"always": [
				{"why": "paid", "guard": "<captured>", "unschedule": ["payment", "query", "hold"],
					"goto": "ArrangingFulfilment"},
				{"why": "declined for now", "guard": "<declined> && <may_pay_again>",
					"unschedule": ["payment", "query"],
					"schedule": {"timer": "retry", "attempt": "$.data.pay[last].attempt",
						"backoff": {"kind": "exponential", "limit": 5, "min": "1 s", "max": "30 s",
							"delta": "3 s"}}, "goto": "PaymentRetryWait"},
				{"why": "declined", "guard": "<declined>",
					"set": {"goal": "CANCEL",
						"cancel_reason": {"$path": "$.data.pay[last].error_code",
							"default": "PaymentDeclined"}}}]},
		"committing": {
			"description": "The hold is made permanent; one lost now is asked for once more.",
			"on": {
				"ReservationCommitted": {"guard": "$.data.inv.st == \"committed\"",
					"unschedule": ["commit"]},
				"timer:reserve": [
					{"guard": "<goods_left>", "set": {"stuck_step": "commit"}, "alarm": "overdue",
						"schedule": {"timer": "overall", "delay": "24 h"},
						"goto": "CompensationStuck"},
					{"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}],
				"timer:commit": [
					{"guard": "<goods_left>", "set": {"stuck_step": "commit"}, "alarm": "overdue",
						"schedule": {"timer": "overall", "delay": "24 h"},
						"goto": "CompensationStuck"},
					{"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}]},
			"always": [
				{"why": "hold there", "guard": "<hold> && !($.data.inv.committing == true)",
					"unschedule": ["reserve"], "send": {"command": "commit"}},
				{"why": "hold lost", "guard": "<hold_lost> && $.data.inv.attempt < 2",
					"unschedule": ["commit"],
					"send": {"command": "reserve", "attempt": "$.data.inv.attempt + 1"}},
				{"why": "hold lost though the goods have left",
					"guard": "(<hold_lost> || <no_stock>) && <goods_left>",
					"set": {"stuck_step": "commit"}, "alarm": "overdue", "unschedule": ["*"],
					"schedule": {"timer": "overall", "delay": "24 h"},
					"goto": "CompensationStuck"},
				{"why": "hold lost for good", "guard": "<hold_lost> || <no_stock>",
					"set": {"goal": "CANCEL", "cancel_reason": "ReservationExpired"}}]},
		"undone": {
			"description": "To Cancelled, or on with the order if the goods had left before.",
			"always": [
				{"why": "left before anything was undone",
					"guard": "<cancelling> && <goods_left> && !<undoing>",
					"set": {"goal": "FULFIL", "cancel_reason": null, "cancelled_by": null,
						"stuck_step": null}, "fact": {"of": "inv", "set": {"committing": null}},
					"send": {"if": "$.data.inv.st == \"requested\"", "command": "reserve",
						"key": "$.data.inv.key", "fact": {"to": null}},
					"goto": "ArrangingFulfilment"},
				{"why": "undone", "guard": "<cancelling> && $.owed == 0 && !<goods_left>",
					"set": {"stuck_step": null}, "unschedule": ["*"],
					"append": {"stream": "order-${$.saga.correlation_id}",
						"type": "OrderCancelled",
						"data": {"reason": "$.data.cancel_reason",
							"refund_id": {"$first": "$.data.pay[*].refund_id", "default": null},
							"cancelled_by": {"$path": "$.data.cancelled_by", "default": null}}},
					"send": [
						{"if": "<paid_back> && !<paid_back_elsewhere>",
							"command": "notify_cancelled",
							"body": {"data": {"outcome": "refunded",
								"refund_id": {"$first": "$.data.pay[*].refund_id"}}}},
						{"if": "<paid_back_elsewhere>", "command": "notify_cancelled",
							"body": {"data": {"outcome": "returned"}}},
						{"if": "!<paid_back> && !<unwanted>", "command": "notify_cancelled",
							"body": {"data": {"outcome": "on_request"}}},
						{"if": "!<paid_back> && <unwanted> && <refused>", "command": "notify_cancelled",
							"body": {"data": {"outcome": "payment_refused"}}},
						{"if": "!<paid_back> && <unwanted> && !<refused> && <out_of_stock>", "command": "notify_cancelled",
							"body": {"data": {"outcome": "out_of_stock"}}},
						{"if": "!<paid_back> && <unwanted> && !<refused> && !<out_of_stock>", "command": "notify_cancelled",
							"body": {"data": {"outcome": "never_paid"}}}], "goto": "Cancelled"}]}
	},
	"states": {
		"ReservingInventory": {"description": "ReserveInventory is outstanding.", "kind": "normal",
			"default": "ignore", "include": ["requests", "goal", "overall"],
			"on": {"timer:reserve": {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}},
			"always": [
				{"why": "nothing to pay", "guard": "<hold> && $.data.total == 0",
					"unschedule": ["reserve"], "goto": "ArrangingFulfilment"},
				{"why": "reserved", "guard": "<hold>", "unschedule": ["reserve"],
					"send": {"command": "pay"},
					"schedule": [{"timer": "payment", "delay": "2 min"},
						{"timer": "hold",
							"at": {"$time": "$.data.inv.expires_at", "plus": "-60 s"}}],
					"goto": "ProcessingPayment"},
				{"why": "asked too late, or lost at once",
					"guard": "(<asked_too_late> || <hold_lost>) && $.data.inv.attempt < 2",
					"send": {"command": "reserve", "attempt": "$.data.inv.attempt + 1"}},
				{"why": "hold lost for good", "guard": "<hold_lost>",
					"set": {"goal": "CANCEL", "cancel_reason": "ReservationExpired"}},
				{"why": "asked too late again", "guard": "<asked_too_late>",
					"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}},
				{"why": "out of stock", "guard": "<no_stock>",
					"set": {"goal": "CANCEL", "cancel_reason": "OutOfStock"}}]},
		"ProcessingPayment": {"description": "ProcessPayment is outstanding.", "kind": "normal",
			"default": "ignore", "include": ["requests", "money", "goal", "overall", "holding", "paying"],
			"on": {
				"timer:payment": {"why": "no answer", "fact": {"of": "pay", "to": "unknown"},
					"set": {"queries": 1}, "send": {"command": "query"},
					"schedule": {"timer": "query", "attempt": "$.data.queries",
						"backoff": {"kind": "exponential", "limit": 5, "min": "1 s", "max": "30 s",
							"delta": "3 s"}}, "goto": "ResolvingPayment"}}},
		"PaymentRetryWait": {
			"description": "Declined for now; another attempt follows, with the goods held.",
			"kind": "normal", "default": "ignore",
			"include": ["requests", "money", "goal", "overall", "holding"],
			"on": {
				"timer:retry": [
					{"guard": "<hold_lasts>",
						"send": {"command": "pay", "attempt": "$.data.pay[last].attempt + 1"},
						"schedule": {"timer": "payment", "delay": "2 min"},
						"goto": "ProcessingPayment"},
					{"why": "first the hold", "send": {"if": "<hold>", "command": "renew"},
						"schedule": {"timer": "retry", "delay": "5 s"}}]}},
		"ResolvingPayment": {
			"description": "The outcome is unknown; asking. Never a second key meanwhile.",
			"kind": "normal", "default": "ignore",
			"include": ["requests", "money", "goal", "holding", "paying"],
			"on": {
				"timer:overall": [
					{"why": "the provider is away", "guard": "$.data.pay[last].st == \"waiting\"",
						"fact": {"of": "pay", "to": "unknown"}, "send": {"command": "query"},
						"schedule": {"timer": "overall", "delay": "30 min"}},
					{"set": {"goal": "CANCEL", "cancel_reason": "PaymentUnresolved"}}],
				"timer:query": {"set": {"queries": "$.data.queries + 1"},
					"fact": {"of": "pay",
						"set": {
							"asked_again": {"$path": "$.data.pay[last].resent", "default": null}}},
					"send": {"command": "query"},
					"schedule": [
						{"if": "$.data.queries <= 5", "timer": "query",
							"attempt": "$.data.queries",
							"backoff": {"kind": "exponential", "limit": 5, "min": "1 s",
								"max": "30 s", "delta": "3 s"}},
						{"if": "$.data.queries > 5", "timer": "query", "delay": "60 s"}]},
				"PaymentStatusReported": [
					{"why": "never arrived",
						"guard": "<not_found> && !($.data.pay[last].resent == true)",
						"send": {"command": "pay", "key": "$.data.pay[last].key",
							"fact": {"to": null, "set": {"resent": true}}}},
					{"why": "still not there",
						"guard": "<not_found> && $.data.pay[last].asked_again == true",
						"set": {"goal": "CANCEL", "cancel_reason": "PaymentUnresolved"}}]}},
		"ArrangingFulfilment": {
			"description": "CommitReservation and ArrangeShipment are outstanding, in parallel.",
			"kind": "normal", "default": "ignore",
			"include": ["requests", "money", "goal", "overall", "committing"],
			"on": {"ShipmentArranged": {"guard": "<arranged>", "unschedule": ["ship"]},
				"ShipmentDispatched": {"guard": "<arranged>", "unschedule": ["ship"]},
				"ShipmentDelivered": {"guard": "<arranged>", "unschedule": ["ship"]},
				"timer:ship": {"set": {"goal": "CANCEL", "cancel_reason": "ShippingUnavailable"}}},
			"always": [
				{"why": "to be shipped", "guard": "!exists($.data.shp)",
					"send": {"command": "ship"}},
				{"why": "all done", "guard": "<both_done> && !exists($.data.confirmation_number)",
					"set": {"confirmation_number": "CN-${$.saga.reference}"}, "unschedule": ["*"],
					"append": {"stream": "order-${$.saga.correlation_id}",
						"type": "OrderConfirmed",
						"data": {"confirmation_number": "$.data.confirmation_number"}},
					"send": {"command": "notify", "step": "notify_confirmed",
						"body": {"template": "order_confirmed",
							"data": {"confirmation_number": "$.data.confirmation_number"}}},
					"schedule": {"timer": "dispatch", "delay": "72 h"}, "goto": "Confirmed"},
				{"why": "all done, as before", "guard": "<both_done>", "unschedule": ["*"],
					"schedule": {"timer": "dispatch", "delay": "72 h"}, "goto": "Confirmed"},
				{"why": "not shipped for now",
					"guard": "$.data.shp.st == \"failed\" && <may_ship_again>",
					"unschedule": ["ship"],
					"schedule": {"timer": "ship_retry", "attempt": "$.data.shp.attempt",
						"backoff": {"kind": "exponential", "limit": 5, "min": "1 s", "max": "30 s",
							"delta": "3 s"}}, "goto": "ShipmentRetryWait"},
				{"why": "cannot be shipped", "guard": "$.data.shp.st == \"failed\"",
					"set": {"goal": "CANCEL", "cancel_reason": "ShippingUnavailable"}}]},
		"ShipmentRetryWait": {"description": "Shipping failed for now; another attempt follows.",
			"kind": "normal", "default": "ignore",
			"include": ["requests", "money", "goal", "overall", "committing"],
			"on": {
				"timer:ship_retry": {
					"send": {"command": "ship", "attempt": "$.data.shp.attempt + 1"},
					"goto": "ArrangingFulfilment"}}},
		"Confirmed": {
			"description": "Paid, committed and arranged; can be cancelled until the goods leave.",
			"kind": "normal", "default": "ignore", "include": ["requests", "money", "goal"],
			"on": {
				"timer:dispatch": {"why": "not on its way yet", "alarm": "overdue",
					"schedule": {"timer": "dispatch", "delay": "24 h"}}},
			"always": [
				{"why": "on its way", "guard": "<goods_left> && !($.data.shp.notified == true)",
					"fact": {"of": "shp", "set": {"notified": true}},
					"send": [
						{"if": "<tracked>", "command": "notify", "step": "notify_shipped",
							"body": {"template": "order_shipped",
								"data": {"outcome": "tracked",
									"tracking_number": "$.data.shp.tracking_number"}}},
						{"if": "!<tracked>", "command": "notify", "step": "notify_shipped",
							"body": {"template": "order_shipped"}}],
					"schedule": {"timer": "dispatch", "delay": "72 h"}},
				{"why": "delivered", "guard": "$.data.shp.st == \"delivered\"",
					"set": {"completed": true},
					"append": {"stream": "order-${$.saga.correlation_id}",
						"type": "OrderCompleted", "data": {}},
					"send": {"command": "notify", "step": "notify_delivered",
						"body": {"template": "order_delivered"}}, "goto": "Completed"}]},
		"Compensating": {"description": "The goal is to cancel, and something is owed.",
			"kind": "normal", "default": "ignore", "timer": "owed",
			"include": ["requests", "undone"],
			"on": {
				"gave_up:cancel_shipment": {"set": {"stuck_step": "cancel_shipment"},
					"goto": "CompensationStuck"},
				"gave_up:refund": {"set": {"stuck_step": "refund"}, "goto": "CompensationStuck"},
				"gave_up:release": {"set": {"stuck_step": "release"}, "goto": "CompensationStuck"}},
			"always": [
				{"why": "left though it was being undone", "guard": "<goods_left>",
					"set": {"stuck_step": "shipment"}, "alarm": "overdue",
					"schedule": {"timer": "overall", "delay": "24 h"},
					"goto": "CompensationStuck"}]},
		"CompensationStuck": {
			"description": "Given up; an operator decides. Still asked for once a day.",
			"kind": "normal", "default": "ignore", "timer": "owed",
			"include": ["requests", "money", "undone"],
			"on": {"InventoryReservationFailed": {"unschedule": ["reserve"]},
				"ReservationExpired": {"unschedule": ["reserve", "commit"]},
				"ReservationCommitFailed": {"unschedule": ["commit"]},
				"timer:overall": {"alarm": "overdue",
					"schedule": {"timer": "overall", "delay": "24 h"},
					"fact": {"of": "inv", "set": {"committing": null}},
					"send": [
						{"if": "!<cancelling> && (<hold_lost> || <no_stock>)",
							"command": "reserve", "attempt": "$.data.inv.attempt + 1"},
						{"if": "!<cancelling> && $.data.inv.st == \"requested\"",
							"command": "reserve", "key": "$.data.inv.key",
							"fact": {"to": null}}]}},
			"always": [
				{"why": "hold there after all",
					"guard": "!<cancelling> && <hold> && !($.data.inv.committing == true)",
					"unschedule": ["reserve"], "send": {"command": "commit"}},
				{"why": "committed after all", "guard": "!<cancelling> && <both_done>",
					"set": {"stuck_step": null}, "goto": "ArrangingFulfilment"}]},
		"Unpaid": {
			"description": "The goods have left and the money has gone back; an operator decides.",
			"kind": "normal", "default": "ignore", "include": ["requests"],
			"on": {
				"timer:overall": {"why": "still unpaid", "alarm": "overdue",
					"schedule": {"timer": "overall", "delay": "24 h"}},
				"OrderCancellationRequested": {"alarm": "overdue"}, "PaymentProcessed": {"alarm": "overdue"},
				"PaymentReturned": {"guard": "!($.data.pay[last].told >= $.message.moves)",
					"fact": {"of": "pay", "set": {"told": "$.message.moves"}}, "alarm": "overdue"},
				"InventoryReserved": {"alarm": "overdue"}, "ReservationExpired": {"alarm": "overdue"},
				"InventoryReservationFailed": {"alarm": "overdue"}, "ReservationCommitFailed": {"alarm": "overdue"},
				"ReservationCommitted": {"alarm": "overdue"}, "ShipmentArranged": {"alarm": "overdue"},
				"ShipmentDispatched": {"alarm": "overdue"}, "ShipmentDelivered": {"alarm": "overdue"}},
			"always": [
				{"why": "ours again, and delivered long ago",
					"guard": "<captured> && $.data.completed == true", "set": {"stuck_step": null},
					"unschedule": ["*"], "goto": "Completed"},
				{"why": "ours again", "guard": "<captured>", "set": {"stuck_step": null},
					"unschedule": ["*"], "schedule": {"timer": "overall", "delay": "30 min"},
					"goto": "ArrangingFulfilment"}]},
		"Completed": {"description": "Delivered.", "kind": "final", "default": "ignore",
			"include": ["requests", "money"]},
		"Cancelled": {"description": "Nothing is owed, except for a payment that turned up later.",
			"kind": "final", "default": "ignore",
			"on": {
				"PaymentProcessed": {"guard": "<late_capture>",
					"fact": {"of": "pay", "key": "$.message.key", "set": {"amend": true}}},
				"PaymentStatusReported": {"guard": "<late_capture>",
					"fact": {"of": "pay", "key": "$.message.key", "set": {"amend": true}}}},
			"always": [
				{"why": "refunded afterwards", "each": "pay", "in": ["refunded"],
					"guard": "$.record.amend == true && !($.record.amended == true)",
					"publish": {"type": "OrderCancellationAmended",
						"body": {"order_id": "$.saga.correlation_id",
							"refund_id": {"$path": "$.record.refund_id", "default": null}}},
					"send": {"command": "notify", "step": "notify_refunded",
						"attempt": "$.record.attempt",
						"body": {"template": "payment_refunded",
							"data": {"refund_id": "$.record.refund_id"}}},
					"fact": {"of": "pay", "set": {"amended": true}}}]}
	},
	"cancel": {"as": "OrderCancellationRequested",
		"body": {"order_id": "$.saga.correlation_id", "by": "operator", "reason": "$.reason"}}
}
$definition$::jsonb $function$;
COMMENT ON FUNCTION ecommerce.order_saga_definition() IS
'The order saga as a document for saga.define(): what ecommerce.install_order_saga() installs, and '
'an example of the whole language.';
-- The world of the order saga, for saga.simulate().

CREATE FUNCTION ecommerce.order_saga_scenario() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$ SELECT $scenario$
{
	"start": {
		"type": "OrderSubmitted",
		"body": {"order_id": "515a9000-0000-4000-8000-000000000001",
			"customer_id": "c0000000-0000-4000-8000-000000000001",
			"items": [
				{"product_id": "a0000000-0000-4000-8000-000000000001", "product_name": "Mug",
					"sku": "MUG", "quantity": 2, "unit_price": 21.00, "total_price": 42.00}],
			"total_amount": 42.00,
			"shipping_address": {"street": "1 Main St", "city": "Springfield", "state": "IL",
				"postal_code": "62701", "country": "US"},
			"payment_method": {"type": "card", "last4_digits": "4242", "token": "tok_ok"}}
	},
	"replies": {
		"*": {"order_id": "$.command.order_id", "key": "$.key"},
		"InventoryReserved": {
			"reserved_items": [],
			"expires_at": {"$time": "now", "plus": "15 min"}},
		"InventoryReservationFailed": {"reason": "$.record.reason", "out_of_stock_items": []},
		"InventoryReleased": {"product_ids": []},
		"PaymentProcessed": {
			"transaction_id": "tx-${$.key}",
			"amount": "$.command.amount",
			"currency": "USD",
			"processed_at": "$.now"},
		"PaymentFailed": {
			"reason": "no",
			"error_code": "$.record.error_code",
			"is_retryable": "$.record.retryable"},
		"PaymentReturned": {"reason": "refund", "moves": 1},
		"PaymentRefunded": {
			"refund_id": "re-${$.key}",
			"amount": "$.command.amount",
			"reason": "$.command.reason"},
		"ShipmentArranged": {
			"shipment_id": "$.key",
			"carrier": "post",
			"estimated_delivery": "$.now"},
		"ShipmentFailed": {
			"reason": "no",
			"error_code": "$.record.error_code",
			"is_retryable": "$.record.retryable"},
		"ShipmentCancelFailed": {"already_dispatched": true},
		"ShipmentDispatched": {"shipment_id": "$.key", "tracking_number": "T1"},
		"ShipmentDelivered": {"shipment_id": "$.key", "delivered_at": "$.now"}
	},
	"participants": {
		"inventory": {
			"commands": {
				"ReserveInventory": {
					"none": [
						{"weight": 8, "to": "held", "reply": "InventoryReserved"},
						{"to": "rejected", "set": {"reason": "out_of_stock"},
							"reply": "InventoryReservationFailed"},
						{"to": "rejected", "set": {"reason": "expired"},
							"reply": "InventoryReservationFailed"}],
					"held": {"reply": "InventoryReserved"},
					"committed": {"reply": "ReservationCommitted"},
					"rejected": {"reply": "InventoryReservationFailed"},
					"expired": {"reply": "ReservationExpired"},
					"released": {
						"reply": {"type": "InventoryReservationFailed",
							"body": {"reason": "cancelled"}}}},
				"CommitReservation": {
					"none": {
						"reply": {"type": "ReservationCommitFailed", "body": {"reason": "unknown"}}},
					"held": {"to": "committed", "reply": "ReservationCommitted"},
					"committed": {"reply": "ReservationCommitted"},
					"expired": {
						"reply": {"type": "ReservationCommitFailed", "body": {"reason": "expired"}}},
					"released": {
						"reply": {"type": "ReservationCommitFailed", "body": {"reason": "cancelled"}}}},
				"ReleaseInventory": {
					"none": {"to": "released", "reply": "InventoryReleased"},
					"held": [
						{"weight": 2, "to": "released", "reply": "InventoryReleased"},
						{
							"reply": {"type": "InventoryReleaseFailed", "body": {"is_retryable": true}}},
						{
							"reply": {"type": "InventoryReleaseFailed",
								"body": {"is_retryable": false}}}],
					"committed": {"to": "released", "reply": "InventoryReleased"},
					"rejected": {"to": "released", "reply": "InventoryReleased"},
					"expired": {"to": "released", "reply": "InventoryReleased"},
					"released": {"reply": "InventoryReleased"}}},
			"happens": {
				"held": {
					"to": "expired",
					"at_most": 3,
					"reply": {"type": "ReservationExpired",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001"}}}}},
		"payment": {
			"commands": {
				"ProcessPayment": {
					"none": [
						{"weight": 10, "to": "captured", "reply": "PaymentProcessed"},
						{"to": "captured"},
						{"to": "declined",
							"set": {"error_code": "card_declined", "retryable": false},
							"reply": "PaymentFailed"},
						{"to": "declined",
							"set": {"error_code": "provider_busy", "retryable": true},
							"reply": "PaymentFailed"},
						{"to": "declined",
							"set": {"error_code": "expired", "retryable": false},
							"reply": "PaymentFailed"},
						{"to": "declined",
							"set": {"error_code": "card_declined", "retryable": false}},
						{"to": "waiting"},
						{}],
					"captured": {"reply": "PaymentProcessed"},
					"declined": {"reply": "PaymentFailed"},
					"returned": {
						"reply": {"type": "PaymentReturned", "body": {"amount": "$.command.amount"}}},
					"voided": {
						"reply": {
							"type": "PaymentFailed",
							"body": {"reason": "cancelled", "error_code": "cancelled",
								"is_retryable": false}}}},
				"QueryPaymentStatus": {
					"none": {
						"reply": {"type": "PaymentStatusReported", "body": {"status": "not_found"}}},
					"captured": [
						{
							"reply": {
								"type": "PaymentStatusReported",
								"body": {"status": "captured", "transaction_id": "tx-${$.key}",
									"amount": 42.00}}},
						{
							"reply": {"type": "PaymentStatusReported", "body": {"status": "pending"}}}],
					"waiting": {
						"reply": {"type": "PaymentStatusReported", "body": {"status": "waiting"}}},
					"returned": {
						"reply": {"type": "PaymentReturned", "body": {"amount": 42.00}}},
					"declined": {
						"reply": {
							"type": "PaymentStatusReported",
							"body": {"status": "declined", "error_code": "$.record.error_code",
								"is_retryable": "$.record.retryable"}}},
					"voided": {"reply": "PaymentVoided"}},
				"RefundPayment": {
					"none": {"to": "voided", "reply": "PaymentVoided"},
					"captured": [
						{"weight": 2, "to": "refunded", "reply": "PaymentRefunded"},
						{
							"reply": {"type": "PaymentRefundFailed",
								"body": {"is_retryable": true, "error_code": "provider_busy"}}},
						{
							"reply": {"type": "PaymentRefundFailed",
								"body": {"is_retryable": false, "error_code": "closed_account"}}}],
					"refunded": {"reply": "PaymentRefunded"},
					"declined": {"to": "voided", "reply": "PaymentVoided"},
					"waiting": {"to": "voided", "reply": "PaymentVoided"},
					"returned": {"to": "refunded", "reply": "PaymentRefunded"},
					"voided": {"reply": "PaymentVoided"}}},
			"happens": {
				"waiting": {
					"to": "captured",
					"reply": {"type": "PaymentProcessed",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001", "amount": 42.00}}}}},
		"shipping": {
			"commands": {
				"ArrangeShipment": {
					"none": [
						{"weight": 4, "to": "arranged", "reply": "ShipmentArranged"},
						{"to": "failed",
							"set": {"error_code": "no_service", "retryable": false},
							"reply": "ShipmentFailed"},
						{"to": "failed",
							"set": {"error_code": "carrier_busy", "retryable": true},
							"reply": "ShipmentFailed"}],
					"arranged": {"reply": "ShipmentArranged"},
					"failed": {"reply": "ShipmentFailed"},
					"cancelled": {
						"reply": {
							"type": "ShipmentFailed",
							"body": {"reason": "cancelled", "error_code": "cancelled",
								"is_retryable": false}}}},
				"CancelShipment": {
					"none": {"to": "cancelled", "reply": "ShipmentCancelled"},
					"arranged": {"to": "cancelled",
						"reply": {"type": "ShipmentCancelled", "body": {"shipment_id": "$.key"}}},
					"failed": {"to": "cancelled", "reply": "ShipmentCancelled"},
					"cancelled": {"reply": "ShipmentCancelled"},
					"dispatched": {"reply": "ShipmentCancelFailed"},
					"delivered": {"reply": "ShipmentCancelFailed"}}},
			"happens": {
				"arranged": {
					"to": "dispatched",
					"reply": {"type": "ShipmentDispatched",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001"}}},
				"dispatched": {
					"to": "delivered",
					"reply": {"type": "ShipmentDelivered",
						"body": {"order_id": "515a9000-0000-4000-8000-000000000001"}}}}}
	},
	"requests": [
		{"type": "OrderCancellationRequested",
			"body": {"order_id": "515a9000-0000-4000-8000-000000000001", "by": "customer",
				"reason": "ChangedMind"}},
		{"type": "OrderCancellationRequested",
			"body": {"order_id": "515a9000-0000-4000-8000-000000000001", "by": "customer",
				"reason": "TooSlow"}}
	],
	"invariants": [
		{"name": "1 money, completed", "at_end": true, "when": "$.saga.state == \"Completed\"",
			"holds": "$.count.payment.captured == 1"},
		{"name": "1 money, cancelled", "when": "$.saga.state == \"Cancelled\"",
			"holds": "!exists($.count.payment.captured)"},
		{"name": "1 money, confirmed", "when": "$.saga.state == \"Confirmed\"",
			"holds": "$.count.payment.captured >= 1"},
		{"name": "2 stock, cancelled", "when": "$.saga.state == \"Cancelled\"",
			"holds": "!exists($.count.inventory.held) && !exists($.count.inventory.committed)"},
		{"name": "2 stock, completed", "at_end": true, "when": "$.saga.state == \"Completed\"",
			"holds": "$.count.inventory.committed == 1 && !exists($.count.inventory.held)"},
		{"name": "3 one end, completed", "at_end": true, "when": "$.saga.state == \"Completed\"",
			"holds": "$.events.OrderCompleted == 1 && !exists($.events.OrderCancelled)"},
		{"name": "3 one end, cancelled", "at_end": true, "when": "$.saga.state == \"Cancelled\"",
			"holds": "$.events.OrderCancelled == 1 && !exists($.events.OrderCompleted)"},
		{"name": "3 cancelled though confirmed", "at_end": true,
			"when": "$.events.OrderConfirmed == 1 && $.data.cancel_reason != \"ShippingUnavailable\"",
			"holds": "$.saga.state != \"Cancelled\" || exists($.data.cancelled_by)"},
		{"name": "7 no shipment, cancelled", "when": "$.saga.state == \"Cancelled\"",
			"holds": "!exists($.participants.shipping[*].st ? (@ != \"cancelled\" && @ != \"failed\"))"},
		{"name": "7 no refund of goods that left",
			"when": "exists($.count.shipping.dispatched) || exists($.count.shipping.delivered)",
			"holds": "!exists($.count.payment.refunded) || $.count.payment.captured >= 1"},
		{"name": "two live payments", "holds": "!($.count.payment.captured > 1)"}
	],
	"idempotent": true,
	"alike": {"state": "$.saga.state", "stock": "$.count.inventory",
		"money": {"$path": "$.count.payment.captured", "default": 0},
		"goods": {"$path": "$.count.shipping.delivered", "default": 0}},
	"faults": {
		"drops": 3,
		"duplicates": 3,
		"timeouts": 3
	}
}
$scenario$::jsonb $function$;
COMMENT ON FUNCTION ecommerce.order_saga_scenario() IS
'A world for saga.simulate(''order'', ...): inventory, payment and shipping with everything they may '
'answer, customers who change their mind, and the invariants of the order saga.';
-- Installing the order saga.

CREATE FUNCTION ecommerce.install_order_saga() RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted text;
	installed int;
BEGIN
	PERFORM ecommerce.register_contracts();
	FOREACH wanted IN ARRAY ARRAY['order', 'inventory', 'payment', 'shipping', 'notification'] LOOP
		IF NOT EXISTS (SELECT FROM message_bus.endpoints e WHERE e.name = wanted) THEN
			-- A service's messages all need one thing, its provider; the saga's need nothing.
			PERFORM message_bus.create_endpoint(wanted,
				breaker => CASE wanted WHEN 'order' THEN 'none' ELSE 'default' END);
		END IF;
	END LOOP;
	-- Installing the same again changes nothing.
	SELECT d.version INTO installed FROM saga.definitions d
	WHERE d.name = 'order' AND d.is_current AND d.definition = ecommerce.order_saga_definition();
	IF installed IS NULL THEN
		installed := saga.define('order', ecommerce.order_saga_definition());
	END IF;
	RETURN installed;
END
$$;
COMMENT ON FUNCTION ecommerce.install_order_saga() IS
'Registers the contracts, creates the endpoints order, inventory, payment, shipping and notification '
'where absent, and defines saga "order". Returns the version of the definition; installing the same '
'again changes nothing.';
-- Views for operators.

CREATE VIEW event_store.appenders AS
SELECT h.pid, a.usename, a.xact_start, h.lowest_position, h.category, a.query
FROM event_store._position_holders() h
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) h.pid
ORDER BY h.lowest_position;
COMMENT ON VIEW event_store.appenders IS
'Who holds the high-water mark back: transactions that have appended and not ended. A null category holds back all.';

CREATE VIEW event_store.streams AS
SELECT s.name AS stream, pg_catalog.split_part(s.name, '-', 1) AS category,
	   v.version,
	   s.deleted_version IS NOT NULL
	   	AND s.deleted_version OPERATOR(pg_catalog.=) v.version AS deleted,
	   coalesce(s.tombstoned, false) AS tombstoned
FROM event_store.stream s
CROSS JOIN LATERAL event_store.stream_version(s.name) AS v (version)
-- An append that failed, or a check, may have left the row of a stream without events.
WHERE v.version OPERATOR(pg_catalog.>) 0 OR s.tombstoned;
COMMENT ON VIEW event_store.streams IS 'Every stream that has had an event or is tombstoned, with its category and version. deleted: no event can be read; tombstoned: none can be appended either.';

CREATE VIEW event_store.subscriptions AS
SELECT s.name, s.category, s.event_types, l.partition, l.checkpoint, l.head, l.lag_events,
	   greatest(coalesce(pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) l.oldest,
			'0'::interval), '0'::interval) AS lag,
	   k.pid AS holder_pid, a.xact_start AS active_since, s.stream,
	   greatest(l.head OPERATOR(pg_catalog.-) l.checkpoint, 0) AS lag_positions,
	   l.capped AS lag_capped
FROM event_store.subscription s
CROSS JOIN LATERAL event_store._subscription_lag(s.name) l
JOIN event_store.subscription_partition p ON p.name OPERATOR(pg_catalog.=) s.name
	AND p.partition OPERATOR(pg_catalog.=) l.partition
LEFT JOIN pg_catalog.pg_locks k ON k.locktype OPERATOR(pg_catalog.=) 'transactionid'
	AND k.mode OPERATOR(pg_catalog.=) 'ExclusiveLock' AND k.granted
	AND k.transactionid::pg_catalog.text OPERATOR(pg_catalog.=) p.xmax::pg_catalog.text
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) k.pid;
COMMENT ON VIEW event_store.subscriptions IS
'One row per partition: its checkpoint, the head (high-water mark), how many events and how long it is behind (age of the oldest unread event), and who works on it. '
'It looks at 10 000 unread events of a subscription at most: with lag_capped there may be more, lag_events is what it has found (print "10 000+"), and lag_positions tells how far it is.';

-- Nothing else refuses rows without their parents: see the head of 40_saga.sql.
CREATE FUNCTION event_store._orphans() RETURNS TABLE (object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $orphans$
	SELECT 'event handler ' || h.category || ' ' || h.event_type, 'there is no such aggregate'
	FROM event_store.event_handler h
	WHERE NOT EXISTS (SELECT FROM event_store.aggregate a WHERE a.category = h.category)
	UNION ALL SELECT 'progress of projection ' || g.name, 'there is no such projection'
	FROM event_store.projection_progress g
	WHERE NOT EXISTS (SELECT FROM event_store.projection p WHERE p.name = g.name)
	UNION ALL SELECT 'projection ' || p.name, 'it has no row in event_store.projection_progress'
	FROM event_store.projection p
	WHERE NOT EXISTS (SELECT FROM event_store.projection_progress g WHERE g.name = p.name)
	UNION ALL SELECT 'subscription ' || s.name,
		format('it has %s of %s partitions', count(p.partition), s.partitions)
	FROM event_store.subscription s
	LEFT JOIN event_store.subscription_partition p ON p.name = s.name
		AND p.partition BETWEEN 0 AND s.partitions - 1
	GROUP BY s.name, s.partitions HAVING count(p.partition) <> s.partitions
	UNION ALL SELECT 'partition ' || p.partition || ' of subscription ' || p.name,
		'there is no such subscription, or it has fewer'
	FROM event_store.subscription_partition p
	WHERE NOT EXISTS (SELECT FROM event_store.subscription s WHERE s.name = p.name
		AND p.partition BETWEEN 0 AND s.partitions - 1)
$orphans$;
COMMENT ON FUNCTION event_store._orphans() IS 'Rows of the event store without what they belong to.';

-- Events of versions that are not current: is there a way to the current one, and does
-- what comes out fit?
CREATE FUNCTION event_store._verify_upcasting()
RETURNS TABLE (severity text, object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $verify_upcasting$
DECLARE
	old record;
	event event_store.event;
BEGIN
	FOR old IN
		WITH current AS (
			SELECT t.event_type, coalesce(max(t.schema_version) FILTER (WHERE t.may_be_current),
				min(t.schema_version)) AS version
			FROM event_store.event_type t GROUP BY 1)
		SELECT e.event_type, e.schema_version, c.version AS current,
			-- the first that none leads on from is this one, or one that an upcaster leads to
			(SELECT min(n) FROM (SELECT e.schema_version UNION ALL
					SELECT u.from_version + 1 FROM event_store.upcaster u
					WHERE u.event_type = e.event_type AND u.from_version < c.version - 1) m (n)
			 WHERE n >= e.schema_version AND NOT EXISTS (SELECT FROM event_store.upcaster u
				WHERE u.event_type = e.event_type AND u.from_version = n)) AS missing
		FROM (SELECT DISTINCT s.event_type, s.schema_version FROM event_store.stored_event s) e
		JOIN current c ON c.event_type = e.event_type AND c.version > e.schema_version
		ORDER BY 1, 2
	LOOP
		IF old.missing IS NOT NULL THEN
			severity := 'warning';
			object := format('type %s', old.event_type);
			problem := format('events of version %s are not read as version %s: there is no '
							  'upcaster from version %s',
							  old.schema_version, old.current, old.missing);
			RETURN NEXT;
			CONTINUE;
		END IF;
		BEGIN
			FOR event IN SELECT g.* FROM event_store.stored_event s
				CROSS JOIN LATERAL event_store.get_event(s.event_id) g
				WHERE s.event_type = old.event_type AND s.schema_version = old.schema_version
					AND g.event_id IS NOT NULL
			LOOP
				PERFORM event_store.check_data(event.event_type, event.data, event.schema_version);
			END LOOP;
		EXCEPTION WHEN OTHERS THEN
			severity := 'error';
			object := format('type %s', old.event_type);
			problem := format('an event of version %s cannot be read as version %s: %s',
				old.schema_version, old.current, SQLERRM);
			RETURN NEXT;
		END;
	END LOOP;
END
$verify_upcasting$;
COMMENT ON FUNCTION event_store._verify_upcasting() IS
'What verify() finds in upcasters: missing ones, and the first event of a version that one fails at or brings into a shape that breaks its contract.';

CREATE FUNCTION event_store.verify(repair boolean DEFAULT false)
RETURNS TABLE (severity text, object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- The counters last: what is appended meanwhile must not look like damage.
	newest bigint := coalesce((SELECT max(e.position) FROM event_store.stored_event e), 0);
	newest_id bigint := coalesce((SELECT max(s.stream_id) FROM event_store.stream s), 0);
	published bigint := event_store.published_mark();
	passed bigint := coalesce((SELECT max(p.checkpoint)
		FROM event_store.subscription_partition p), 0);
	counter bigint := event_store.position_counter();
BEGIN
	RETURN QUERY
	SELECT 'error'::text, 'stream ' || g.stream,
		   format('version %s follows version %s', g.version, g.before)
	FROM (SELECT e.stream, e.stream_id, e.version,
				 lag(e.version, 1, 0::bigint) OVER (PARTITION BY e.stream_id ORDER BY e.version)
				 	AS before
		  FROM event_store.stored_event e) g
	WHERE g.version <> g.before + 1
	  -- Deletion and retention take versions up to the one they noted.
	  AND NOT EXISTS (SELECT FROM event_store.stream s
					  WHERE s.stream_id = g.stream_id AND s.last_version >= g.version - 1);

	RETURN QUERY
	SELECT 'error'::text, 'stream ' || g.stream,
		   format('position %s of version %s is not above the position before it', g.position,
		   	g.version)
	FROM (SELECT e.stream, e.version, e.position,
				 lag(e.position, 1, 0::bigint) OVER (PARTITION BY e.stream_id ORDER BY e.version)
				 	AS before
		  FROM event_store.stored_event e) g
	WHERE g.position <= g.before;

	RETURN QUERY
	SELECT 'error'::text, 'stream ' || min(e.stream),
		format('%s events belong to no stream of that name', count(*))
	FROM event_store.stored_event e
	WHERE NOT EXISTS (SELECT FROM event_store.stream s WHERE s.stream_id = e.stream_id
		AND s.name = e.stream)
	GROUP BY e.stream_id;

	RETURN QUERY
	SELECT 'error'::text, o.object, o.problem FROM event_store._orphans() o
	UNION ALL SELECT 'warning', r.object, r.problem FROM ecommerce._restore_problems() r;

	RETURN QUERY SELECT u.severity, u.object, u.problem FROM event_store._verify_upcasting() u;

	IF newest_id > (SELECT q.last_value FROM event_store.stream_id_seq q) THEN
		severity := CASE WHEN repair THEN 'repaired' ELSE 'error' END;
		object := 'sequence event_store.stream_id_seq';
		problem := format('the counter is behind stream %s', newest_id);
		IF repair THEN
			PERFORM setval('event_store.stream_id_seq', newest_id);
		END IF;
		RETURN NEXT;
	END IF;

	IF counter < newest THEN
		severity := CASE WHEN repair THEN 'repaired' ELSE 'error' END;
		object := 'sequence event_store.position_seq';
		problem := format('the counter is at %s, behind position %s', counter, newest);
		IF repair THEN
			PERFORM setval('event_store.position_seq', greatest(newest, published, passed));
		END IF;
		RETURN NEXT;
	ELSIF greatest(published, passed) > counter THEN
		severity := CASE WHEN repair THEN 'repaired' ELSE 'error' END;
		object := 'sequence event_store.position_seq';
		problem := format('readers have been up to position %s, the counter is at %s: '
						  'events were lost with a server that failed, '
						  'and new ones would be passed over',
						  greatest(published, passed), counter);
		IF repair THEN
			PERFORM setval('event_store.position_seq', greatest(published, passed));
		END IF;
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION event_store.verify(boolean) IS
'Checks the whole store; no row means all is well. severity is error, repaired or warning (a restore goes on; an upcaster is missing). '
'Finds gaps in versions, positions out of order, events without their stream, rows without what they belong to, upcasters that are missing, fail or bring events into a shape that breaks their contract, and counters behind the data or behind what readers have passed (after a restore or a failover); repair => true mends the counters.';

-- ---------------------------------------------------------------- message bus
CREATE VIEW message_bus._ring AS
SELECT 0 AS segment, endpoint_id, lane, position, sent_at FROM message_bus.ring_0
UNION ALL SELECT 1, endpoint_id, lane, position, sent_at FROM message_bus.ring_1
UNION ALL SELECT 2, endpoint_id, lane, position, sent_at FROM message_bus.ring_2
UNION ALL SELECT 3, endpoint_id, lane, position, sent_at FROM message_bus.ring_3
UNION ALL SELECT 4, endpoint_id, lane, position, sent_at FROM message_bus.ring_4
UNION ALL SELECT 5, endpoint_id, lane, position, sent_at FROM message_bus.ring_5
UNION ALL SELECT 6, endpoint_id, lane, position, sent_at FROM message_bus.ring_6
UNION ALL SELECT 7, endpoint_id, lane, position, sent_at FROM message_bus.ring_7;
COMMENT ON VIEW message_bus._ring IS 'Where every message of the ring lies; one that was evacuated lies in two segments for a while.';

CREATE VIEW message_bus._cursor AS
SELECT c.endpoint_id, c.lane, pg_catalog.max(c.position) AS position
FROM (SELECT endpoint_id, lane, position FROM message_bus.lane
	  UNION ALL SELECT endpoint_id, lane, position FROM message_bus.ack_0
	  UNION ALL SELECT endpoint_id, lane, position FROM message_bus.ack_1) c
GROUP BY 1, 2;
COMMENT ON VIEW message_bus._cursor IS 'How far each lane is, as the tables tell.';

-- What is in the ring beyond its lane's cursor, by the tables alone; for standbys.
CREATE VIEW message_bus._unsettled AS
SELECT r.endpoint_id, pg_catalog.count(*) AS depth, pg_catalog.min(r.sent_at) AS oldest_sent_at
FROM (SELECT DISTINCT endpoint_id, lane, position, sent_at FROM message_bus._ring) r
LEFT JOIN message_bus._cursor l ON l.endpoint_id = r.endpoint_id AND l.lane = r.lane
WHERE r.lane >= 0 AND r.position > coalesce(l.position, 0)
	AND NOT EXISTS (SELECT FROM message_bus.passed p
					WHERE p.endpoint_id = r.endpoint_id AND p.lane = r.lane
						AND p.position = r.position)
	-- Of a leased batch what has no lease any more is settled.
	AND (NOT EXISTS (SELECT FROM message_bus.lease b WHERE b.endpoint_id = r.endpoint_id
						AND b.lane = r.lane AND r.position <= b.upto)
		 OR EXISTS (SELECT FROM message_bus.lease b WHERE b.endpoint_id = r.endpoint_id
						AND b.lane = r.lane AND r.position = b.position))
GROUP BY 1;
COMMENT ON VIEW message_bus._unsettled IS 'Messages in the ring that are not settled, per endpoint, as the tables tell.';

-- A function, so that a primary neither reads the ring nor plans to.
CREATE FUNCTION message_bus._standby_status(OUT endpoint_id int, OUT depth bigint,
	OUT oldest_sent_at timestamptz)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_is_in_recovery() THEN
		RETURN QUERY SELECT u.endpoint_id, u.depth, u.oldest_sent_at
			FROM message_bus._unsettled u;
	END IF;
END
$$;
COMMENT ON FUNCTION message_bus._standby_status() IS
	'What the tables tell of endpoints, on a standby; no rows on a primary.';

CREATE VIEW message_bus.endpoints AS
SELECT e.name, e.lanes, e.paused,
	coalesce(s.depth, u.depth, 0) + a.waiting AS depth,
	pg_catalog.clock_timestamp() - least(s.oldest_sent_at, u.oldest_sent_at, a.oldest_sent_at)
		AS oldest_unacked_age,
	coalesce(s.in_flight, l.leased) AS in_flight,
	a.scheduled, a.retrying, a.held, d.dead,
	coalesce(s.sent_per_s, 0) AS sent_per_s, coalesce(s.acked_per_s, 0) AS acked_per_s
FROM message_bus.endpoint e
LEFT JOIN message_bus._endpoint_status() s ON s.endpoint_id = e.endpoint_id
LEFT JOIN message_bus._standby_status() u ON u.endpoint_id = e.endpoint_id
CROSS JOIN LATERAL (
	SELECT pg_catalog.count(*) FILTER (WHERE a.due_at <= pg_catalog.clock_timestamp()
		OR a.state IN ('held', 'blocked')) AS waiting,
		pg_catalog.count(*) FILTER (WHERE a.state = 'scheduled'
			AND a.due_at > pg_catalog.clock_timestamp()) AS scheduled,
		pg_catalog.count(*) FILTER (WHERE a.state = 'retrying'
			AND a.due_at > pg_catalog.clock_timestamp()) AS retrying,
		pg_catalog.count(*) FILTER (WHERE a.state = 'held') AS held,
		pg_catalog.min(a.sent_at) FILTER (WHERE a.due_at <= pg_catalog.clock_timestamp()
			OR a.state IN ('held', 'blocked')) AS oldest_sent_at
	FROM message_bus.aside a WHERE a.endpoint_id = e.endpoint_id) a
CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS leased FROM message_bus.lease l
	WHERE l.endpoint_id = e.endpoint_id) l
CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS dead FROM message_bus.dead d
	WHERE d.endpoint_id = e.endpoint_id) d;
COMMENT ON VIEW message_bus.endpoints IS
'Every endpoint: depth is deliverable plus in flight, including what an open breaker holds; oldest_unacked_age the age of the oldest of them; '
'scheduled and retrying wait for their time, held for a circuit breaker; dead counts dead letters; '
'rates are over the last ten seconds.';

CREATE VIEW message_bus.circuit_breakers AS
SELECT e.name AS endpoint, b.message_type, b.state, b.attempts, b.failures, b.window_start,
	b.opened_at, b.retry_at, b.probe_successes
FROM message_bus.endpoint e
JOIN (SELECT s.endpoint_id, s.message_type, s.state, s.attempts, s.failures, s.window_start,
	s.opened_at, s.retry_at, s.probe_successes
	  FROM message_bus._breaker_status() s
	  UNION ALL
	  SELECT t.endpoint_id, t.message_type, t.state, t.attempts, t.failures, t.window_start,
	  	t.opened_at, t.retry_at, t.probe_successes
	  FROM message_bus.breaker t WHERE pg_catalog.pg_is_in_recovery()) b
	  	ON b.endpoint_id = e.endpoint_id;
COMMENT ON VIEW message_bus.circuit_breakers IS
'Circuit breakers by endpoint and message type. state: closed, open or half_open; attempts and failures of the window that began at window_start; retry_at: when an open one lets a probe through. An endpoint has 1000; message types beyond that share the one that is called *.';

CREATE VIEW message_bus.dead_letters AS
SELECT d.message_id, e.name AS endpoint, d.message_type,
	ROW(d.message_id, d.message_type, d.schema_version, d.body, coalesce(d.headers, '{}'),
		d.correlation_id, d.conversation_id, d.causation_id,
		d.user_id, d.tenant_id, d.traceparent, d.source, d.sent_at, d.deliver_at, d.expires_at,
		coalesce(d.partition_key, d.correlation_id::text), d.attempts)::message_bus.message
			AS message,
	d.reason, d.error_code, d.error, d.attempts, d.first_failed_at, d.last_failed_at
FROM message_bus.dead d
JOIN message_bus.endpoint e ON e.endpoint_id = d.endpoint_id;
COMMENT ON VIEW message_bus.dead_letters IS
'Messages that will not be delivered again unless redriven. reason: fault (gave up), skipped, expired or discarded; attempts: executions so far.';

CREATE VIEW message_bus.ring AS
SELECT g.segment, s.state, s.since, coalesce(r.messages, 0) AS messages,
	pg_catalog.pg_total_relation_size(pg_catalog.format('message_bus.ring_%s', g.segment)::regclass) AS bytes,
	r.oldest_sent_at, s.unread
FROM pg_catalog.generate_series(0, 7) g (segment)
LEFT JOIN message_bus._ring_status() s ON s.segment = g.segment
LEFT JOIN (SELECT o.segment, pg_catalog.count(*) AS messages, pg_catalog.min(o.sent_at) AS oldest_sent_at
		   FROM message_bus._ring o GROUP BY 1) r ON r.segment = g.segment;
COMMENT ON VIEW message_bus.ring IS
'The segments of the ring. state: free; current (written); closing (not any more, but by transactions that began before); store (what endpoints that are behind have left in others is copied there); sealed; drained (every message is settled, its id stays known for dedupe_window); evacuated (what was left has been copied to the store; truncated when no snapshot is left that does not see that). messages, settled ones too, bytes with indexes, when the oldest was sent; unread: which part of it is not settled, by a sample that is some seconds old, null for segments that need none. state is null on a standby.';

-- ---------------------------------------------------------------- saga engine
CREATE VIEW saga.definitions AS
SELECT d.name, d.version,
	   d.version OPERATOR(pg_catalog.=) (SELECT pg_catalog.max(n.version) FROM saga.definition n
										 WHERE n.name OPERATOR(pg_catalog.=) d.name) AS is_current,
	   d.document AS definition, d.created_at
FROM saga.definition d;
COMMENT ON VIEW saga.definitions IS 'Every version of every definition; new instances take the current one.';

CREATE FUNCTION saga._time(microseconds jsonb) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN jsonb_typeof(microseconds) <> 'number' THEN 'infinity'
		WHEN microseconds::numeric NOT BETWEEN -200000000000000000 AND 9200000000000000000 THEN 'infinity'
		ELSE '2000-01-01 00:00:00+00'::timestamptz + microseconds::numeric::bigint * '1 microsecond'::interval END
$$;
COMMENT ON FUNCTION saga._time(jsonb) IS
'A time as the engine notes it, in microseconds since 2000; what is none, whoever has written it, is infinity, so that no row breaks a view.';

CREATE VIEW saga.timers AS
SELECT i.saga, i.correlation_id, t.key AS timer, saga._time(coalesce(t.value OPERATOR(pg_catalog.->) 0, 'null')) AS due_at,
	   CASE WHEN pg_catalog.jsonb_typeof(t.value OPERATOR(pg_catalog.->) 1) OPERATOR(pg_catalog.=) 'number'
				AND (t.value OPERATOR(pg_catalog.->) 1)::numeric BETWEEN 0 AND 9000000000000000000
			THEN (t.value OPERATOR(pg_catalog.->) 1)::numeric::bigint END AS token
FROM saga.stored_instance i
CROSS JOIN LATERAL pg_catalog.jsonb_each(
	CASE WHEN pg_catalog.jsonb_typeof(i.engine OPERATOR(pg_catalog.->) 'timers') OPERATOR(pg_catalog.=) 'object'
		 THEN i.engine OPERATOR(pg_catalog.->) 'timers' ELSE '{}' END) t
WHERE t.key OPERATOR(pg_catalog.<>) 'retain';
COMMENT ON VIEW saga.timers IS 'Every timer that is set. Setting one again gives it a new token; "compensate" is the engine''s, for what is outstanding.';

CREATE VIEW saga.parked AS
SELECT p.saga, p.correlation_id, p.message_id, p.message_type, p.parked_at, p.park_until
FROM saga.parked_message p;
COMMENT ON VIEW saga.parked IS
'Messages that wait for their instance to be created, or (park_until infinity) for it to change its state.';

CREATE VIEW saga.instances AS
SELECT i.saga, i.correlation_id, i.definition_version, i.current_state, i.data, i.version, i.created_at, i.updated_at,
	   pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) i.state_since AS age_in_state,
	   n.timer AS next_timer, n.due_at AS next_timer_at
FROM saga.stored_instance i
LEFT JOIN LATERAL (
	SELECT t.timer, t.due_at FROM saga.timers t
	WHERE t.saga OPERATOR(pg_catalog.=) i.saga AND t.correlation_id OPERATOR(pg_catalog.=) i.correlation_id
	ORDER BY t.due_at LIMIT 1) n ON true;
COMMENT ON VIEW saga.instances IS 'Every instance, how long it has been in its state, and its next timer.';

-- Which instance a dead letter of a saga's endpoint was for, as the event's path says.
CREATE VIEW saga._dead_letters AS
SELECT f.name AS saga, d.message_id, d.endpoint, d.last_failed_at, d.error, d.reason,
	   coalesce(pg_catalog.jsonb_path_query_first(
			pg_catalog.jsonb_build_object('message', (d.message).body),
			(f.document OPERATOR(pg_catalog.#>>) ARRAY['events', d.message_type, 'correlate'])::pg_catalog.jsonpath,
			'{}', true) OPERATOR(pg_catalog.#>>) '{}', (d.message).correlation_id::text) AS instance
FROM message_bus.dead_letters d
JOIN saga.definition f ON f.endpoint OPERATOR(pg_catalog.=) d.endpoint
	AND f.version OPERATOR(pg_catalog.=) (SELECT pg_catalog.max(n.version) FROM saga.definition n
										  WHERE n.name OPERATOR(pg_catalog.=) f.name
											AND n.endpoint OPERATOR(pg_catalog.=) f.endpoint);
COMMENT ON VIEW saga._dead_letters IS 'Dead letters of the sagas'' endpoints and the correlation id of the instance each was for.';

CREATE VIEW saga.stuck AS
SELECT i.saga, i.correlation_id, i.current_state, 'compensation' AS reason,
	   pg_catalog.min(saga._time(coalesce(o.value OPERATOR(pg_catalog.->) 'since', 'null'))) AS since,
	   pg_catalog.string_agg(DISTINCT coalesce(o.value OPERATOR(pg_catalog.->>) 'rule',
											   o.value OPERATOR(pg_catalog.->>) 'step'), ', ') AS error
FROM saga.stored_instance i
CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(
	CASE WHEN pg_catalog.jsonb_typeof(i.engine OPERATOR(pg_catalog.->) 'outstanding') OPERATOR(pg_catalog.=) 'array'
		 THEN i.engine OPERATOR(pg_catalog.->) 'outstanding' ELSE '[]' END) o
WHERE o.value OPERATOR(pg_catalog.->) 'given_up' OPERATOR(pg_catalog.=) 'true'
GROUP BY i.saga, i.correlation_id, i.current_state
UNION ALL
SELECT i.saga, i.correlation_id, i.current_state, 'overdue',
	   coalesce(saga._time(i.engine OPERATOR(pg_catalog.->) 'alarm_since'), i.updated_at),
	   coalesce(i.engine OPERATOR(pg_catalog.->>) 'timer_error', i.engine OPERATOR(pg_catalog.->>) 'alarm')
FROM saga.stored_instance i
WHERE i.engine OPERATOR(pg_catalog.?|) ARRAY['alarm', 'timer_failures']
UNION ALL
SELECT i.saga, i.correlation_id, i.current_state, 'no_timer', i.state_since, NULL
FROM saga.stored_instance i
JOIN saga.definition_state s ON s.name OPERATOR(pg_catalog.=) i.saga
	AND s.version OPERATOR(pg_catalog.=) i.definition_version AND s.kind OPERATOR(pg_catalog.=) 'normal'
	AND s.state OPERATOR(pg_catalog.=) i.current_state
WHERE s.timer IS DISTINCT FROM 'none'
	AND NOT EXISTS (SELECT FROM saga.timers t WHERE t.saga OPERATOR(pg_catalog.=) i.saga
					AND t.correlation_id OPERATOR(pg_catalog.=) i.correlation_id)
UNION ALL
SELECT i.saga, i.correlation_id, i.current_state, 'dead_letter', pg_catalog.min(d.last_failed_at),
	   (pg_catalog.array_agg(d.error ORDER BY d.last_failed_at DESC))[1]
FROM saga._dead_letters d
JOIN saga.stored_instance i ON i.saga OPERATOR(pg_catalog.=) d.saga
	AND i.correlation_id::text OPERATOR(pg_catalog.=) d.instance
WHERE d.reason OPERATOR(pg_catalog.<>) 'discarded'
GROUP BY i.saga, i.correlation_id, i.current_state;
COMMENT ON VIEW saga.stuck IS
'Instances that need an operator: compensation (given up; error names what), overdue (an alarm of the definition, or a timer whose transition fails), no_timer (nothing would wake it in its state), dead_letter (a message for them is dead). error is the last one, as far as there is one.';
-- Whether what the message bus keeps fits together.

CREATE FUNCTION message_bus._orphans() RETURNS TABLE (object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $orphans$
	WITH child (kind, endpoint_id, lane, of) AS (
		SELECT 'route', r.endpoint_id, 0, r.message_type FROM message_bus.route r
		UNION ALL SELECT 'message aside', a.endpoint_id, a.lane, a.message_id::text
		FROM message_bus.aside a
		UNION ALL SELECT 'dead letter', d.endpoint_id, 0, d.message_id::text FROM message_bus.dead d
		UNION ALL SELECT 'lease', l.endpoint_id, l.lane, l.message_id::text FROM message_bus.lease l
		UNION ALL SELECT 'death', d.endpoint_id, 0, d.message_id::text FROM message_bus.death d
		UNION ALL SELECT 'breaker', b.endpoint_id, 0, b.message_type FROM message_bus.breaker b
		UNION ALL SELECT 'settled message', p.endpoint_id, p.lane, p.position::text
		FROM message_bus.passed p
		UNION ALL SELECT 'cursor', l.endpoint_id, l.lane, 'lane ' || l.lane FROM message_bus.lane l)
	SELECT format('%s %s', c.kind, c.of), CASE WHEN e.endpoint_id IS NULL
		THEN format('there is no endpoint %s', c.endpoint_id)
		ELSE format('endpoint %s has no lane %s', e.name, c.lane) END
	FROM child c LEFT JOIN message_bus.endpoint e ON e.endpoint_id = c.endpoint_id
	WHERE e.endpoint_id IS NULL OR c.lane NOT BETWEEN 0 AND e.lanes - 1
$orphans$;
COMMENT ON FUNCTION message_bus._orphans() IS 'Rows of the bus without their endpoint or lane.';

CREATE FUNCTION message_bus._counter_problems() RETURNS TABLE (object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $counter_problems$
	SELECT 'sequence message_bus.' || c.name, format('the counter is at %s, behind %s', c.at, c.used)
	FROM (SELECT 'position_seq', p.last_value,
			greatest((SELECT max(r.position) FROM message_bus._ring r),
				(SELECT max(k.position) FROM message_bus._cursor k))
		FROM message_bus.position_seq p
		UNION ALL SELECT 'epoch_seq', p.last_value, (SELECT max(l.delivery_id) >> 40
			FROM message_bus.lease l) FROM message_bus.epoch_seq p
		UNION ALL SELECT 'endpoint_endpoint_id_seq', p.last_value, (SELECT max(e.endpoint_id)
			FROM message_bus.endpoint e) FROM message_bus.endpoint_endpoint_id_seq p
		) AS c (name, at, used)
	WHERE c.used > c.at
$counter_problems$;
COMMENT ON FUNCTION message_bus._counter_problems() IS 'Counters of the bus behind what was counted.';

-- Each is read before what must not be behind it: a cursor is in the tables before it is in
-- shared memory, and the end of a lane in shared memory before the message is in the tables.
CREATE FUNCTION message_bus._lane_problems() RETURNS TABLE (object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $lane_problems$
DECLARE
	shared_before jsonb := (SELECT jsonb_agg(s) FROM message_bus._lane_status() s);
	kept jsonb := (SELECT jsonb_agg(k) FROM (
		SELECT e.endpoint_id, e.name, l.lane, coalesce(c.position, 0) AS cursor,
			(SELECT max(r.position) FROM message_bus._ring r WHERE r.endpoint_id = e.endpoint_id
				AND r.lane = l.lane) AS newest,
			(SELECT min(a.due_at) FROM message_bus.aside a WHERE a.endpoint_id = e.endpoint_id
				AND a.lane = l.lane AND a.due_at < 'infinity') AS due,
			(SELECT count(*) FROM message_bus.lease b WHERE b.endpoint_id = e.endpoint_id
				AND b.lane = l.lane) AS leases
		FROM message_bus.endpoint e CROSS JOIN LATERAL generate_series(0, e.lanes - 1) l (lane)
		LEFT JOIN message_bus._cursor c ON c.endpoint_id = e.endpoint_id AND c.lane = l.lane) k);
BEGIN
	RETURN QUERY
	SELECT format('endpoint %s lane %s', k.name, k.lane), p.problem
	FROM jsonb_to_recordset(kept) AS k (endpoint_id int, name text, lane int, cursor bigint,
		newest bigint, due timestamptz, leases int)
	JOIN jsonb_to_recordset(shared_before) AS b (endpoint_id int, lane int, cursor bigint)
		USING (endpoint_id, lane)
	JOIN message_bus._lane_status() s USING (endpoint_id, lane)
	CROSS JOIN LATERAL (VALUES
		(b.cursor > k.cursor, format('it was consumed up to %s, its tables say %s', b.cursor,
			k.cursor)),
		(s.cursor < k.cursor, format('its tables say it was consumed up to %s, it stands at %s',
			k.cursor, s.cursor)),
		(k.newest > greatest(s.tail, s.cursor), format('it has message %s and knows of none above %s',
			k.newest, greatest(s.tail, s.cursor))),
		(k.due < coalesce(s.next_due, 'infinity'), format('a message is due at %s, it waits until %s',
			k.due, s.next_due)),
		(k.leases <> s.leases, format('it has %s leases and knows of %s', k.leases, s.leases)))
		AS p (wrong, problem)
	WHERE p.wrong;
END
$lane_problems$;
COMMENT ON FUNCTION message_bus._lane_problems() IS
'Where shared memory and tables contradict each other. Just after a commit they may for a moment, so only what is found again counts.';

CREATE FUNCTION message_bus.verify() RETURNS TABLE (severity text, object text, problem text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $verify$
DECLARE
	found jsonb := '[]';
BEGIN
	RETURN QUERY
	SELECT 'error'::text, p.object, p.problem FROM message_bus._orphans() p
	UNION ALL SELECT 'error', p.object, p.problem FROM message_bus._counter_problems() p
	UNION ALL SELECT 'error', 'segment ' || g.segment, format('it is free and has %s messages', g.messages)
	FROM message_bus.ring g WHERE g.state = 'free' AND g.messages > 0
	UNION ALL SELECT 'warning', p.object, p.problem FROM ecommerce._restore_problems() p;
	FOR attempt IN 1 .. 5 LOOP
		found := (SELECT jsonb_agg(p) FROM message_bus._lane_problems() p
			WHERE attempt = 1 OR EXISTS (SELECT FROM jsonb_to_recordset(found) f (object text)
				WHERE f.object = p.object));
		EXIT WHEN found IS NULL;
		PERFORM pg_sleep(0.02);
	END LOOP;
	RETURN QUERY
	SELECT 'error'::text, f.object, f.problem FROM jsonb_to_recordset(found) f (object text, problem text);
END
$verify$;
COMMENT ON FUNCTION message_bus.verify() IS
'Checks the whole bus; no row means all is well. severity is error or warning (a restore goes on). '
'Finds rows without their endpoint or lane, counters behind what was counted, segments of the ring taken for free, and lanes of which shared memory and tables tell different things. Not in REPEATABLE READ, where the tables stand still.';

-- ---------------------------------------------------------------- sagas
CREATE FUNCTION saga._orphans() RETURNS TABLE (object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $orphans$
	WITH child (kind, of, name, version) AS (
		SELECT 'saga', format('%s %s', i.saga, i.correlation_id), i.saga, i.definition_version
		FROM saga.stored_instance i
		UNION ALL SELECT 'state', format('%s of %s', s.state, s.name), s.name, s.version
		FROM saga.definition_state s
		UNION ALL SELECT 'transition', format('%s of %s', t.event, t.name), t.name, t.version
		FROM saga.definition_transition t
		UNION ALL SELECT 'timer', format('%s of %s', r.timer, r.name), r.name, r.version
		FROM saga.definition_timer r)
	SELECT format('%s %s', c.kind, c.of), format('there is no version %s of saga %s', c.version, c.name)
	FROM child c LEFT JOIN saga.definition d ON d.name = c.name AND d.version = c.version
	WHERE d.name IS NULL
	UNION ALL SELECT format('action %s', a.kind), format('there is no transition %s', a.transition_id)
	FROM saga.definition_action a
	WHERE NOT EXISTS (SELECT FROM saga.definition_transition t WHERE t.id = a.transition_id)
	UNION ALL SELECT format('message %s', p.message_id), format('it waits for a saga %s, which there is not',
		p.saga)
	FROM saga.parked_message p
	WHERE NOT EXISTS (SELECT FROM saga.definition d WHERE d.name = p.saga)
	UNION ALL SELECT format('saga %s %s', i.saga, i.correlation_id),
		format('it waits for %s, and is not in the timer queue', i.wake_at)
	FROM saga.stored_instance i
	WHERE i.wake_at < 'infinity' AND NOT EXISTS (SELECT FROM saga.timer_queue q
		WHERE q.saga = i.saga AND q.correlation_id = i.correlation_id AND q.due_at <= i.wake_at)
$orphans$;
COMMENT ON FUNCTION saga._orphans() IS 'Rows of sagas without what they belong to.';

CREATE FUNCTION saga.verify() RETURNS TABLE (severity text, object text, problem text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $verify$
	SELECT 'error', o.object, o.problem FROM saga._orphans() o
	UNION ALL SELECT v.severity, format('saga %s', d.name), v.problem
	FROM (SELECT DISTINCT name FROM saga.definition) d CROSS JOIN LATERAL saga.verify(d.name) v
$verify$;
COMMENT ON FUNCTION saga.verify() IS
'Checks all sagas; no row means all is well. severity is error or warning. Finds instances, parts of definitions and parked messages without their definition, instances that nothing will wake, and what saga.verify(name) finds in each.';
-- Every privilege, in one place. PUBLIC has none.

-- Again at every upgrade.
DO $revoke$
DECLARE
	ours CONSTANT pg_catalog.oid := (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'ecommerce');
	routine pg_catalog.regprocedure;
	type pg_catalog.regtype;
BEGIN
	FOR routine IN
		SELECT d.objid FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid = ours
			AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', routine);
	END LOOP;
	-- Whoever may read may also build tables and functions on our types.
	FOR type IN
		SELECT t.oid FROM pg_catalog.pg_type t
		LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
		JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
			AND d.objid = t.oid AND d.refobjid = ours
			AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
		WHERE t.typtype IN ('d', 'e') OR t.typtype = 'c' AND c.relkind = 'c'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON TYPE %s FROM PUBLIC', type);
		EXECUTE pg_catalog.format(
			'GRANT USAGE ON TYPE %s TO ecommerce_reader, ecommerce_worker', type);
	END LOOP;
END
$revoke$;

GRANT USAGE ON SCHEMA
	ecommerce,
	event_store,
	message_bus,
	saga
	TO ecommerce_reader, ecommerce_worker;

-- ---------------------------------------------------------------- shared
GRANT EXECUTE ON FUNCTION
	ecommerce.set_context(uuid, uuid, text, text, jsonb, text),
	ecommerce.context(),
	ecommerce.preloaded(),
	ecommerce._units()
	TO ecommerce_reader, ecommerce_worker;
GRANT EXECUTE ON FUNCTION ecommerce.position_mark(text) TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION ecommerce.next_position(text) TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION ecommerce.start_worker(), ecommerce.restore_done(int) TO ecommerce_admin;
GRANT SELECT ON ecommerce.restores TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION ecommerce._restoring_sessions() TO ecommerce_reader;
GRANT SELECT ON ecommerce.units TO ecommerce_reader;

-- ---------------------------------------------------------------- event store
GRANT SELECT ON
	event_store.stored_event,
	event_store.stream,
	event_store.retention,
	event_store.truncated_stream,
	event_store.subscription,
	event_store.subscription_partition,
	event_store.appenders,
	event_store.streams,
	event_store.subscriptions
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	event_store.read_stream(text, bigint, bigint, boolean),
	event_store.read_all(bigint, bigint, text, text[], boolean),
	event_store.read_between(timestamptz, timestamptz, text, bigint),
	event_store.read_correlation(uuid),
	event_store.get_event(uuid),
	event_store.stream_version(text),
	event_store.high_water_mark(text),
	event_store.channel(text),
	event_store.correlation_of(jsonb),
	event_store._position_holders(),
	event_store.position_counter(),
	event_store.published_mark(),
	event_store._subscription_lag(text),
	event_store.read_stored(bigint, bigint, text, text[], boolean),
	-- a consumer's own bookkeeping, no event is written
	event_store.fetch(text, int),
	event_store.advance(text, bigint)
	TO ecommerce_reader;
GRANT EXECUTE ON PROCEDURE event_store.wait(bigint, interval, text, text, bigint)
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	event_store.append(text, bigint, text, jsonb, jsonb, uuid, int),
	event_store.append_batch(text, bigint, event_store.new_event[]),
	event_store.append_json(text, bigint, jsonb),
	event_store.check_version(text, bigint),
	event_store.create_subscription(text, text, text[], bigint, int, text)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION
	event_store.delete_stream(text, bigint),
	event_store.tombstone_stream(text, bigint),
	event_store.set_retention(text, bigint, interval, bigint),
	event_store.scavenge(),
	event_store.drop_subscription(text),
	event_store.reset_subscription(text, bigint),
	event_store.verify(boolean),
	event_store._verify_upcasting()
	TO ecommerce_admin;
GRANT EXECUTE ON PROCEDURE event_store.scavenge(bigint, bigint) TO ecommerce_admin;
-- ---------------------------------------------------------------- domain models
GRANT SELECT ON
	event_store.event_type,
	event_store.upcaster,
	event_store.aggregate,
	event_store.event_handler,
	event_store.snapshot,
	event_store.projection,
	event_store.projection_progress,
	event_store.projection_deferred,
	event_store.projections
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	event_store.asyncapi(),
	event_store._json_schema(oid, int, boolean),
	event_store._scalar_schema(oid, int),
	event_store._composite_schema(oid),
	event_store._is_required(oid),
	event_store._component_key(text),
	event_store._schema_key(oid),
	event_store.check_data(text, jsonb, int),
	event_store._projection_lag(text),
	event_store.load(text, bigint, timestamptz, boolean),
	ecommerce.apply_order_created(jsonb, event_store.event),
	ecommerce.apply_order_confirmed(jsonb, event_store.event),
	ecommerce.apply_order_cancelled(jsonb, event_store.event),
	ecommerce.apply_order_completed(jsonb, event_store.event),
	ecommerce.check_order(ecommerce.order_created),
	ecommerce.currencies(),
	ecommerce.currency()
	TO ecommerce_reader;
-- Contracts are checked with the rights of who sends.
GRANT EXECUTE ON FUNCTION
	ecommerce.minor_units(text),
	ecommerce.holds_card_number(text),
	ecommerce.is_payment_type(text)
	TO ecommerce_reader, ecommerce_worker;
GRANT EXECUTE ON FUNCTION
	event_store.save(text, bigint, event_store.new_event[]),
	event_store.save_json(text, bigint, jsonb),
	ecommerce._save_order(uuid, text, text[], text, jsonb, bigint),
	ecommerce.create_order(uuid, uuid, jsonb, jsonb, jsonb, numeric),
	ecommerce.confirm_order(uuid, text, bigint),
	ecommerce.cancel_order(uuid, text, text, bigint),
	ecommerce.complete_order(uuid, bigint)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION
	event_store.register_event_type(text, regtype, int, boolean),
	event_store.set_current_version(text, int),
	event_store.unregister_event_type(text, int),
	event_store.register_upcaster(text, int, regprocedure),
	event_store.create_aggregate(text, jsonb, int, boolean),
	event_store.drop_aggregate(text),
	event_store.create_event_handler(text, text, regprocedure, boolean),
	event_store.drop_event_handler(text, text),
	event_store.create_projection(text, regprocedure, text, text[], text, regclass[], text),
	event_store.drop_projection(text),
	event_store.pause_projection(text),
	event_store.resume_projection(text),
	event_store.skip_event(text, bigint),
	event_store.rebuild_projection(text),
	event_store.run_projections(int),
	ecommerce.register_contracts(),
	ecommerce.install_order_aggregate()
	TO ecommerce_admin;

GRANT SELECT ON SEQUENCE
	ecommerce.position_seq,
	event_store.position_seq,
	event_store.stream_id_seq,
	event_store.published_mark_seq
	TO ecommerce_reader;
GRANT UPDATE ON SEQUENCE
	ecommerce.position_seq,
	event_store.position_seq,
	event_store.stream_id_seq
	TO ecommerce_admin;
-- The worker publishes the mark for standbys.
GRANT UPDATE ON SEQUENCE event_store.published_mark_seq TO ecommerce_worker;

-- ---------------------------------------------------------------- message bus
REVOKE ALL ON TYPE message_bus.message, message_bus.delivery FROM PUBLIC;
GRANT USAGE ON TYPE message_bus.message, message_bus.delivery TO ecommerce_reader, ecommerce_worker;
GRANT SELECT ON
	message_bus.endpoint,
	message_bus.route,
	message_bus.aside,
	message_bus.dead,
	message_bus.lease,
	message_bus.passed,
	message_bus.death,
	message_bus.breaker,
	message_bus.lane,
	message_bus.ack_0,
	message_bus.ack_1,
	message_bus.ring_0,
	message_bus.ring_1,
	message_bus.ring_2,
	message_bus.ring_3,
	message_bus.ring_4,
	message_bus.ring_5,
	message_bus.ring_6,
	message_bus.ring_7,
	message_bus._ring,
	message_bus._cursor,
	message_bus._unsettled,
	message_bus.ring,
	message_bus.endpoints,
	message_bus.circuit_breakers,
	message_bus.dead_letters
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	message_bus.endpoint_name(text, text, text, boolean),
	message_bus._endpoint_status(),
	message_bus._lane_status(),
	message_bus._ring_status(),
	message_bus._standby_status(),
	message_bus._breaker_status()
	TO ecommerce_reader, ecommerce_worker;
GRANT EXECUTE ON PROCEDURE message_bus.wait(text, interval, boolean)
	TO ecommerce_writer, ecommerce_worker;
GRANT EXECUTE ON FUNCTION
	message_bus.send(text, text, jsonb, uuid, text, timestamptz, timestamptz, jsonb, int),
	message_bus.publish(text, jsonb, uuid, text, timestamptz, timestamptz, jsonb, int),
	message_bus.cancel_scheduled(uuid),
	message_bus.receive(text, int, interval),
	message_bus.ack(bigint[]),
	message_bus.fail(bigint, text, text, boolean),
	message_bus.snooze(bigint, interval, text),
	message_bus.skip(bigint, text),
	message_bus.handle(bigint),
	message_bus.extend_lease(bigint[], interval)
	TO ecommerce_writer, ecommerce_worker;
GRANT EXECUTE ON FUNCTION
	message_bus.create_endpoint(text, int, jsonb, anycompatible, interval, text),
	message_bus.alter_endpoint(text, jsonb, anycompatible, interval, int),
	message_bus.drop_endpoint(text, boolean),
	message_bus.pause(text),
	message_bus.resume(text),
	message_bus.subscribe(text, text),
	message_bus.unsubscribe(text, text),
	message_bus.reset_breaker(text, text),
	message_bus.redrive(uuid, jsonb, text),
	message_bus.redrive_endpoint(text, text, int),
	message_bus.discard(uuid, text),
	message_bus.maintain(),
	message_bus.verify(),
	message_bus._orphans(),
	message_bus._counter_problems(),
	message_bus._lane_problems(),
	event_store._orphans(),
	ecommerce._restore_problems()
	TO ecommerce_admin;

-- ---------------------------------------------------------------- saga engine
GRANT SELECT ON
	saga.definition,
	saga.definition_state,
	saga.definition_transition,
	saga.definition_action,
	saga.definition_timer,
	saga.stored_instance,
	saga.history_entry,
	saga.deleted_instance,
	saga.timer_queue,
	saga.parked_message,
	saga.instance,
	saga.definitions,
	saga.timers,
	saga.parked,
	saga.instances,
	saga.stuck,
	saga._dead_letters
	TO ecommerce_reader;
GRANT SELECT ON SEQUENCE
	saga.instance_number_seq,
	saga.definition_transition_id_seq,
	saga.parked_message_id_seq
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	saga.get(text, uuid),
	saga._time(jsonb),
	saga.history(text, uuid),
	saga.verify(text),
	saga.verify(),
	saga._orphans(),
	saga.diagram(text, text),
	ecommerce.uuid_v5(uuid, text),
	ecommerce.saga_namespace(),
	ecommerce.order_saga_definition(),
	ecommerce.order_saga_scenario()
	TO ecommerce_reader;
GRANT EXECUTE ON FUNCTION
	saga.create(text, uuid, jsonb, text),
	saga.update(text, uuid, int, text, jsonb),
	saga.delete(text, uuid)
	TO ecommerce_writer;
GRANT EXECUTE ON FUNCTION
	saga.define(text, jsonb),
	saga.drop(text, boolean),
	saga.simulate(text, jsonb, int, bigint),
	saga.run(int),
	saga.fire_due(timestamptz),
	saga.migrate(text, uuid, int, jsonb, jsonb),
	saga.retry(text, uuid),
	saga.goto(text, uuid, text, text, jsonb),
	saga.cancel(text, uuid, text),
	saga.forget(text, uuid),
	ecommerce.install_order_saga()
	TO ecommerce_admin;

-- ---------------------------------------------------------------- monitoring
-- How much and how far behind, in all schemas; nothing that an event, a message or an
-- instance holds.
GRANT USAGE ON SCHEMA ecommerce, event_store, message_bus, saga TO ecommerce_monitor;
GRANT SELECT ON
	ecommerce.restores,
	event_store.appenders,
	event_store.subscriptions,
	event_store.projections,
	message_bus.endpoints,
	message_bus.circuit_breakers,
	message_bus.ring,
	message_bus._unsettled,
	saga.timers,
	saga.parked,
	saga.stuck
	TO ecommerce_monitor;
-- What these views call, they call with the rights of who asks.
GRANT EXECUTE ON FUNCTION
	ecommerce.preloaded(),
	ecommerce._restoring_sessions(),
	event_store._position_holders(),
	event_store._subscription_lag(text),
	event_store._projection_lag(text),
	event_store.high_water_mark(text),
	message_bus._endpoint_status(),
	message_bus._standby_status(),
	message_bus._breaker_status(),
	message_bus._ring_status(),
	saga._time(jsonb)
	TO ecommerce_monitor;
-- What pg_dump carries besides CREATE EXTENSION: all data, and the counters above it.
-- Every table that is named here gets the trigger that notes a restore, see the end.
-- One call per statement: each changes the same row of the catalogue.

-- ---------------------------------------------------------------- shared
SELECT pg_catalog.pg_extension_config_dump('ecommerce.position_seq', '');

-- ---------------------------------------------------------------- event store
SELECT pg_catalog.pg_extension_config_dump('event_store.stored_event', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.stream', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.position_seq', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.stream_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.published_mark_seq', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.retention', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.truncated_stream', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.subscription', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.subscription_partition', '');

-- ---------------------------------------------------------------- domain models
SELECT pg_catalog.pg_extension_config_dump('event_store.event_type', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.upcaster', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.aggregate', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.event_handler', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.snapshot', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.projection', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.projection_progress', '');
SELECT pg_catalog.pg_extension_config_dump('event_store.projection_deferred', '');

-- ---------------------------------------------------------------- message bus
SELECT pg_catalog.pg_extension_config_dump('message_bus.position_seq', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.epoch_seq', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.endpoint_endpoint_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.endpoint', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.route', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_0', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_1', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_2', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_3', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_4', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_5', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_6', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ring_7', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ack_0', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.ack_1', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.lane', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.aside', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.dead', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.passed', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.lease', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.death', '');
SELECT pg_catalog.pg_extension_config_dump('message_bus.breaker', '');

-- ---------------------------------------------------------------- saga engine
SELECT pg_catalog.pg_extension_config_dump('saga.definition', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_state', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_transition', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_transition_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_action', '');
SELECT pg_catalog.pg_extension_config_dump('saga.definition_timer', '');
SELECT pg_catalog.pg_extension_config_dump('saga.instance_number_seq', '');
SELECT pg_catalog.pg_extension_config_dump('saga.stored_instance', '');
SELECT pg_catalog.pg_extension_config_dump('saga.history_entry', '');
SELECT pg_catalog.pg_extension_config_dump('saga.deleted_instance', '');
SELECT pg_catalog.pg_extension_config_dump('saga.timer_queue', '');
SELECT pg_catalog.pg_extension_config_dump('saga.parked_message', '');
SELECT pg_catalog.pg_extension_config_dump('saga.parked_message_id_seq', '');

-- ---------------------------------------------------------------- restore
-- Again at every upgrade.
DO $restore$
DECLARE
	dumped pg_catalog.regclass;
BEGIN
	FOR dumped IN
		SELECT c.oid FROM pg_catalog.pg_extension x
		CROSS JOIN LATERAL pg_catalog.unnest(x.extconfig) AS t (oid)
		JOIN pg_catalog.pg_class c ON c.oid = t.oid
		WHERE x.extname = 'ecommerce' AND c.relkind = 'r'
	LOOP
		EXECUTE pg_catalog.format('CREATE OR REPLACE TRIGGER note_restore BEFORE INSERT ON %s'
			' FOR EACH STATEMENT EXECUTE FUNCTION ecommerce._note_restore()', dumped);
		-- A restore may say session_replication_role = replica.
		EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE ALWAYS TRIGGER note_restore', dumped);
	END LOOP;
END
$restore$;
