/*
 * instance.c
 *		The repository: saga.get(), create(), update(), delete(), forget().
 *
 * These read and write instances as data.  No transition is taken and no rule of
 * the definition applies; only what waits for the instance is replayed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "pg/argument.h"
#include "pg/context.h"
#include "pg/result.h"
#include "pg/spi.h"
#include "pg/tell.h"
#include "saga/engine/engine.h"
#include "saga/engine/envelope.h"
#include "saga/engine/repository.h"
#include "saga/machine/wake.h"
#include "saga/value/step_key.h"

#define INSTANCE_ATTRIBUTES 8

static void refuse_version(const Machine *machine, int expected_version);
static void check_data(const Tree *data);
static Tree *whole_data(const Tree *before, const Tree *after);

/*
 * A state by its name; SG004 if there is none.
 */
int
repository_state(const Definition *definition, const char *name)
{
	int			state = definition_find_state(definition, name);

	if (state == NOWHERE)
		ereport(ERROR,
				(errcode(ERRCODE_SG_UNDEFINED),
				 errmsg("saga \"%s\" version %d has no state \"%s\"", definition->name,
						definition->version, name)));
	return state;
}

/*
 * An instance, locked; SG001 if there is none.  purpose says what for.
 */
Machine *
repository_require(const char *saga, const pg_uuid_t *id, const char *purpose)
{
	Machine    *machine;

	definition_cache_refresh();
	(void) definition_require(saga);
	machine = store_load(saga, id, true);
	if (machine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_NO_INSTANCE),
				 errmsg("saga \"%s\" %s not found for %s", saga, uuid_text(id), purpose)));
	return machine;
}

static Machine *
create(const char *saga, const pg_uuid_t *id, Tree *data, const char *state)
{
	Definition *definition;
	Machine    *machine;
	Effects		effects = {0};
	Cause		cause = {"create", NULL, GetUserNameFromId(GetUserId(), false)};

	definition_cache_refresh();
	definition = definition_require(saga);
	check_data(data);
	(void) store_claim(saga, id, true);
	if (store_load(saga, id, false) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_INSTANCE_EXISTS),
				 errmsg("saga \"%s\" %s already exists", saga, uuid_text(id))));
	machine = machine_new(definition, id, GetCurrentTimestamp());
	if (state != NULL)
		machine->state = repository_state(definition, state);
	machine->data = data;
	machine->version = 1;
	machine->context = envelope_kept_from_session(context_get());
	if (definition_state(definition, machine->state)->final)
		machine_arm(machine, TIMER_RETAIN, machine->created_at + definition->retain_for * 1000);
	effects.outcome = OUTCOME_EFFECTIVE;
	effects.from = NOWHERE;
	effects.actions = whole_data(NULL, data);
	wake_ensure(machine, machine->created_at, effects.actions);
	engine_apply(machine, &effects, &cause);
	parked_replay(machine);
	return machine;
}

/*
 * Somebody else was faster.  That goes to the log also when the caller catches it.
 */
static void
refuse_version(const Machine *machine, int expected_version)
{
	ereport(LOG,
			(errhidestmt(true), errhidecontext(true),
			 errmsg("concurrency conflict on saga \"%s\" with correlation %s: expected version %d but was %d",
					machine->definition->name, machine->id_text, expected_version,
					machine->version)));
	ereport(ERROR,
			(errcode(ERRCODE_SG_VERSION_CONFLICT),
			 errmsg("expected version %d but was %d for saga \"%s\" %s", expected_version,
					machine->version, machine->definition->name, machine->id_text),
			 errdetail_internal("{\"expected_version\": %d, \"actual_version\": %d}",
								expected_version, machine->version)));
}

static int
update(const char *saga, const pg_uuid_t *id, int expected_version, const char *state, Tree *data)
{
	Machine    *machine = repository_require(saga, id, "update");
	Effects		effects = {0};
	Cause		cause = {"update", NULL, GetUserNameFromId(GetUserId(), false)};
	int			to = state == NULL ? machine->state : repository_state(machine->definition, state);

	if (machine->version != expected_version)
		refuse_version(machine, expected_version);
	effects.outcome = OUTCOME_EFFECTIVE;
	effects.from = machine->state;
	effects.moved = machine->state != to;
	effects.actions = tree_array();
	if (data != NULL)
	{
		check_data(data);
		effects.actions = whole_data(machine->data, data);
		machine->data = data;
	}
	machine->version++;
	machine->updated_at = GetCurrentTimestamp();
	if (effects.moved)
	{
		machine->state = to;
		machine->state_since = machine->updated_at;
		if (definition_state(machine->definition, to)->final)
			machine_arm(machine, TIMER_RETAIN,
						machine->updated_at + machine->definition->retain_for * 1000);
		else
			machine_disarm(machine, TIMER_RETAIN);
		wake_ensure(machine, machine->updated_at, effects.actions);
	}
	engine_apply(machine, &effects, &cause);
	if (effects.moved)
		parked_replay(machine);
	return machine->version;
}

static bool
remove_instance(const char *saga, const pg_uuid_t *id)
{
	Machine    *machine;
	HistoryEntry entry = {0};

	definition_cache_refresh();
	(void) definition_require(saga);
	machine = store_load(saga, id, true);
	if (machine == NULL)
		return false;
	entry.from = definition_state(machine->definition, machine->state)->name;
	entry.event = "delete";
	entry.actions = tree_array();
	entry.actor = GetUserNameFromId(GetUserId(), false);
	machine->version++;
	store_history(machine, &entry);
	parked_bury(machine, "its saga was deleted");
	store_remove(machine, true);
	return true;
}

/*
 * Removes all that is kept of an instance, whether it is still there or not.
 */
static bool
forget(const char *saga, const pg_uuid_t *id)
{
	static SpiStatement statement = {
		"WITH numbers AS (SELECT number FROM saga.stored_instance"
		" WHERE correlation_id = $2 AND saga = $1 UNION ALL SELECT number"
		" FROM saga.deleted_instance WHERE correlation_id = $2 AND saga = $1),"
		" history AS (DELETE FROM saga.history_entry h USING numbers n WHERE h.number = n.number),"
		" deleted AS (DELETE FROM saga.deleted_instance WHERE correlation_id = $2 AND saga = $1),"
		" stored AS (DELETE FROM saga.stored_instance WHERE correlation_id = $2 AND saga = $1),"
		" parked AS (DELETE FROM saga.parked_message WHERE correlation_id = $2 AND saga = $1"
		" RETURNING 1),"
		" dead AS (DELETE FROM message_bus.dead d USING message_bus.endpoint e, saga._dead_letters l"
		" WHERE l.saga = $1 AND l.instance = $2::text AND e.name = l.endpoint"
		" AND d.endpoint_id = e.endpoint_id AND d.message_id = l.message_id RETURNING 1)"
		" SELECT (SELECT count(*) FROM numbers), (SELECT count(*) FROM parked),"
		" (SELECT count(*) FROM dead)"
	};
	int64		instances;
	int64		parked;
	int64		dead;

	definition_cache_refresh();
	(void) definition_require(saga);
	(void) store_claim(saga, id, true);
	(void) store_load(saga, id, true);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&statement, 2, (Oid[]) {TEXTOID, UUIDOID},
				   (Datum[]) {CStringGetTextDatum(saga), UUIDPGetDatum(id)}, NULL);
	instances = spi_int64(0, 0, 0);
	parked = spi_int64(0, 1, 0);
	dead = spi_int64(0, 2, 0);
	spi_end();
	if (instances + parked + dead == 0)
		return false;
	tell_when_committed(LOG,
						"forgot saga \"%s\" with correlation %s, " INT64_FORMAT
						" messages that waited for it and " INT64_FORMAT " dead letters",
						saga, uuid_text(id), parked, dead);
	return true;
}

static void
check_data(const Tree *data)
{
	if (data->type != TREE_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("data of a saga must be a JSON object")));
}

/*
 * The history's note that data was replaced.
 */
static Tree *
whole_data(const Tree *before, const Tree *after)
{
	Tree	   *note = tree_put_text(tree_object(), "action", "data");
	Tree	   *unset = tree_array();

	for (int i = 0; before != NULL && i < before->count; i++)
		if (tree_get_n(after, before->as.members[i].key, before->as.members[i].length) == NULL)
			tree_append(unset, tree_string(before->as.members[i].key,
										   before->as.members[i].length));
	if (after->count > 0)
		tree_put(note, "set", tree_copy(after));
	if (unset->count > 0)
		tree_put(note, "unset", unset);
	return tree_append(tree_array(), note);
}

/*
 * The instance as a row of saga.instance.
 */
static Datum
instance_datum(FunctionCallInfo fcinfo, Machine *machine)
{
	TupleDesc	descriptor = result_row_type(fcinfo);
	Datum		values[INSTANCE_ATTRIBUTES];
	bool		nulls[INSTANCE_ATTRIBUTES] = {0};

	if (descriptor->natts != INSTANCE_ATTRIBUTES)
		elog(ERROR, "saga.instance is not what it should be");
	values[0] = CStringGetTextDatum(machine->definition->name);
	values[1] = UUIDPGetDatum(&machine->id);
	values[2] = Int32GetDatum(machine->definition->version);
	values[3] = CStringGetTextDatum(definition_state(machine->definition, machine->state)->name);
	values[4] = JsonbPGetDatum(tree_to_jsonb(machine->data));
	values[5] = Int32GetDatum(machine->version);
	values[6] = TimestampTzGetDatum(machine->created_at);
	values[7] = TimestampTzGetDatum(machine->updated_at);
	return result_row(descriptor, values, nulls);
}

PG_FUNCTION_INFO_V1(saga_get);
PG_FUNCTION_INFO_V1(saga_create);
PG_FUNCTION_INFO_V1(saga_update);
PG_FUNCTION_INFO_V1(saga_delete);
PG_FUNCTION_INFO_V1(saga_forget);

Datum
saga_get(PG_FUNCTION_ARGS)
{
	char	   *saga = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Machine    *machine;

	definition_cache_refresh();
	(void) definition_require(saga);
	machine = store_load(saga, PG_GETARG_UUID_P(1), false);
	if (machine == NULL)
		PG_RETURN_NULL();
	return instance_datum(fcinfo, machine);
}

Datum
saga_create(PG_FUNCTION_ARGS)
{
	argument_not_null(&fcinfo->args[0], "saga", "The view saga.definitions lists them.");
	argument_not_null(&fcinfo->args[1], "correlation_id", "The view saga.instances lists them.");
	return instance_datum(
		fcinfo, create(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_UUID_P(1),
					   PG_ARGISNULL(2) ? tree_object() : tree_from_jsonb(PG_GETARG_JSONB_P(2)),
					   PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3))));
}

Datum
saga_update(PG_FUNCTION_ARGS)
{
	argument_not_null(&fcinfo->args[0], "saga", "The view saga.definitions lists them.");
	argument_not_null(&fcinfo->args[1], "correlation_id", "The view saga.instances lists them.");
	argument_not_null(&fcinfo->args[2], "expected_version", "Use the version you read.");
	PG_RETURN_INT32(update(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_UUID_P(1),
						   PG_GETARG_INT32(2),
						   PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)),
						   PG_ARGISNULL(4) ? NULL : tree_from_jsonb(PG_GETARG_JSONB_P(4))));
}

Datum
saga_delete(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(remove_instance(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_UUID_P(1)));
}

Datum
saga_forget(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(forget(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_UUID_P(1)));
}
