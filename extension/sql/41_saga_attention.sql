-- Instances that may be stuck, so that nobody has to look through all of them.

CREATE TABLE saga.attention (
	correlation_id uuid NOT NULL,
	saga text COLLATE "C" NOT NULL,
	PRIMARY KEY (correlation_id, saga)
);
COMMENT ON TABLE saga.attention IS
'Instances that may be stuck: the engine puts them here in the transaction that makes them so, and takes them out again. saga.stuck looks at them alone.';

CREATE TABLE saga.patience (
	saga text COLLATE "C" NOT NULL,
	state text COLLATE "C" NOT NULL,
	longest interval NOT NULL CHECK (longest > '0'),
	PRIMARY KEY (saga, state)
);
COMMENT ON TABLE saga.patience IS 'How long an instance may be in a state; state *: in any that has no row. Written by saga.set_patience().';

CREATE FUNCTION saga.set_patience(saga text, state text, longest interval) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_set_patience';
COMMENT ON FUNCTION saga.set_patience(text, text, interval) IS
'From now on an instance that is longer in a state is stuck, with reason too_long; state * is for all states that have no patience of their own and are not final. NULL takes it back. The background worker looks through the instances, 1000 a second; saga.look_for_stuck() does it at once. '
'Errors: SG004 no such saga or state, 22023 longest is not positive.';

CREATE FUNCTION saga.look_for_stuck() RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'saga_look_for_stuck';
COMMENT ON FUNCTION saga.look_for_stuck() IS
'Looks through all instances for those that are longer in their state than saga.set_patience() says, or that nothing would wake, as the background worker does in portions; returns how many it has found that were not known. Reads the whole table.';
