-- Saga engine: tables, functions. Views stand in 80_views.sql, privileges in 91_grants_saga.sql.

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
'Runs the current definition in memory through many orders of messages, with losses, duplicates and timeouts, and checks invariants in each. Returns {schedules, transitions, end_states, violation_count, violations: [{schedule, invariant, problem, trace}]}, the first ten violations with how they came about. The same seed gives the same schedules. The scenario is described in docs/saga-language.md. Errors: SG004 no such saga, SG005 a scenario that does not parse.';

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
