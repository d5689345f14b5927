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
	category_key int NOT NULL,
	recorded_at timestamptz
);
COMMENT ON COLUMN event_store.stored_event.recorded_at IS 'When it was appended, if occurred_at was given by who did it; NULL: at occurred_at. See event_store.recorded_at().';
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
'event_types: as in create_subscription, so that deletions of streams come when they are named. '
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
'Returns as soon as an event beyond after_position can be read (of the category or stream, if given), or at the timeout. Deletions of streams do not end it: wait_subscription does. '
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
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	park_after int CHECK (park_after >= 1),
	partition_by text,
	passed bigint[]
);
COMMENT ON COLUMN event_store.subscription.partition_by IS 'Path to what the events of a partition have in common; NULL: the stream.';
COMMENT ON COLUMN event_store.subscription.passed IS
'Checkpoints of the partitions as they were before their number was changed: what those had passed is not given again. NULL: all were in one place.';
COMMENT ON COLUMN event_store.subscription.park_after IS 'An event that has failed so often is parked; NULL: none is.';
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
	stream text DEFAULT NULL, park_after int DEFAULT NULL, partition_by text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_create_subscription';
COMMENT ON FUNCTION event_store.create_subscription(text, text, text[], bigint, int, text, int, text) IS
'Creates a persistent subscription to all events, or to those of a category, a stream, some types. '
'event_types: ''*'' among them is every type, $deleted and $tombstoned are the deletions of streams, which come only when they are named: ''{*,$deleted,$tombstoned}''. '
'start_after: a position; 0 is from the first event on. partitions: 1 to 1024, how many consumers can work in parallel; a stream always falls into the same one. '
'partition_by: a path such as $.customer_id, or $metadata.correlation_id, to a text, number or boolean in the event as it was appended: events in which it is the same fall into one partition, in order, whatever their streams; those without it go by stream. park_after: as in alter_subscription; NULL parks none. '
'The same call again does nothing, wherever it has got to. Errors: 42710 it exists with another definition, 22023 bad arguments, such as a start_after that no event has reached yet, no event type at all, a stream of another category, or a partition_by with a variable, a date or a time.';

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
'Sets every partition''s checkpoint, back (0: everything again) or ahead; failures are counted from none. Waits for consumers that hold one; what this transaction has fetched itself is to be fetched again. Errors: SB001, 22023 beyond the newest position.';

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
'Hides all events of a stream; scavenge() removes them. The next append may expect the last version, 0 or -1, and continues the numbering. '
'Readers whose event_types name $deleted get an event of that type, in its place: its version is that of the last event that is gone, its metadata what set_context() says. It is none of the stream''s events, and nobody else sees it. What retention hides is no deletion. Errors: ST001, ST002, 22004.';

CREATE FUNCTION event_store.tombstone_stream(stream text, expected_version bigint)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_tombstone_stream';
COMMENT ON FUNCTION event_store.tombstone_stream(text, bigint) IS
'Deletes a stream for good: its events are hidden and every later append fails with ST002. Readers that name the type $tombstoned are told, as by delete_stream. Errors: ST001, ST002, 22004.';

CREATE FUNCTION event_store.set_retention(stream_or_category text,
	max_count bigint DEFAULT NULL, max_age interval DEFAULT NULL,
	truncate_before bigint DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_set_retention';
COMMENT ON FUNCTION event_store.set_retention(text, bigint, interval, bigint) IS
'Sets what is kept of a stream, or of every stream of a category (a name without "-"): the last max_count events, those that occurred within max_age, versions from truncate_before on. '
'A stream''s own policy comes before its category''s, member by member. All NULL removes the policy. Takes effect on reads at once, on disk with scavenge(). '
'Subscriptions, projections and sinks miss nothing: an event that they have not passed yet is not hidden from fetch() and handlers, and scavenge() leaves it; one that nobody consumes any more must be dropped.';

CREATE FUNCTION event_store.scavenge()
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_scavenge';
COMMENT ON FUNCTION event_store.scavenge() IS
'Removes the events that deletion and retention hide; returns how many. Versions and positions are not used again. VACUUM then frees the space. '
'What retention hides stays until every subscription, projection and sink that may want it has passed it, and as long as one has it parked. It is one transaction, and appends to the streams that it trims wait for its end: CALL event_store.scavenge(max) commits in between.';

CREATE PROCEDURE event_store.scavenge(max bigint, INOUT removed bigint DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'event_store_scavenge_in_portions';
COMMENT ON PROCEDURE event_store.scavenge(bigint, bigint) IS
'As the function, but at most max events (NULL: all), and in transactions of at most 1000, so that nobody waits for more. removed: how many. CALL it on its own, outside a transaction block (else 25001).';
