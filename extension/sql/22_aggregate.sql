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
								 at_recorded timestamptz DEFAULT NULL,
								 OUT state jsonb, OUT version bigint,
								 OUT created_at timestamptz, OUT updated_at timestamptz)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_load';
COMMENT ON FUNCTION event_store.load(text, bigint, timestamptz, boolean, timestamptz) IS
'The state of a stream: its events folded through the handlers of its category, from the newest usable snapshot on. With at_version, at_time or at_recorded as it was then: the longest beginning of the stream up to that version, occurred_at, or moment of the append: at_time is what was so, at_recorded what this database knew. '
'created_at, updated_at: when the first and the last event folded occurred. A stream without events gives a NULL state and version 0. '
'version is what save() must expect: the stream''s, also when retention has taken events, or all of them, which leaves a NULL state; with at_version, at_time or at_recorded it is that of the last event folded. '
'for_update: nobody else appends to the stream until this transaction ends, so that save() with this version meets no conflict; whoever else loads it so waits. Needs the right to append. Who locks several streams does it in one order, by name, lest two wait for each other (40P01). '
'Errors: ST010 an event without handler, ST011 no aggregate is defined for the category; with for_update also ST002 tombstoned, 42501, and 22023 together with any of these.';

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
