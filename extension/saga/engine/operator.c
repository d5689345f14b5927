/*
 * operator.c
 *		What operators do to instances: retry, goto, cancel, migrate.
 *
 * Each is a transition: it raises the version and stands in the history with the
 * operator's name and reason.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "pg/argument.h"
#include "pg/spi.h"
#include "saga/engine/engine.h"
#include "saga/engine/repository.h"
#include "saga/machine/wake.h"
#include "saga/value/step_key.h"

/* To which version, and what has another name there. */
typedef struct Migration
{
	Definition *to;
	const Tree *state_map;
	const Tree *timer_map;
} Migration;

static void redrive_dead_letters(const Machine *machine);
static void cancel_as_event(Machine *machine, const Input *input, Effects *effects);
static void migrate_one(Machine *machine, const Migration *migration);
static List *other_versions(const Definition *to);
static const Tree *names_map(FunctionCallInfo fcinfo, int argument, const char *name);

/*
 * The input and cause of something an operator does.
 */
static Input
operator_input(const char *event, const char *reason, Cause *cause)
{
	Input		input = {NOWHERE};

	memset(cause, 0, sizeof(Cause));
	cause->event = event;
	cause->actor = GetUserNameFromId(GetUserId(), false);
	cause->reason = reason;
	input.name = event;
	input.now = GetCurrentTimestamp();
	input.reason = reason;
	return input;
}

/*
 * Stores what an operator did, and gives the instance what waited for its state.
 */
static int
apply_operation(Machine *machine, const Effects *effects, const Cause *cause)
{
	if (effects->moved)
		wake_ensure(machine, machine->updated_at, effects->actions);
	engine_apply(machine, effects, cause);
	if (effects->moved)
		parked_replay(machine);
	return machine->version;
}

/*
 * Sends again at once what is outstanding, and redrives the instance's dead letters.
 */
static int
retry(const char *saga, const pg_uuid_t *id)
{
	Machine    *machine = repository_require(saga, id, "retry");
	Effects		effects;
	Cause		cause;
	Input		input = operator_input("retry", NULL, &cause);

	react_retry(machine, &input, &effects);
	(void) apply_operation(machine, &effects, &cause);
	redrive_dead_letters(machine);
	return machine->version;
}

static void
redrive_dead_letters(const Machine *machine)
{
	static SpiStatement redrive = {
		"SELECT message_bus.redrive(d.message_id, NULL, d.endpoint) FROM saga._dead_letters d"
		" WHERE d.saga = $1 AND d.instance = $2 AND d.reason <> 'discarded'"
	};

	spi_execute(&redrive, 2, (Oid[]) {TEXTOID, TEXTOID},
				   (Datum[]) {CStringGetTextDatum(machine->definition->name),
					   CStringGetTextDatum(machine->id_text)}, NULL);
}

/*
 * Moves an instance to a state; timers, NULL or {name: interval or time}, are set
 * besides those that it has.
 */
static int
go_to(Machine *machine, const char *state, const char *reason, const Tree *timers)
{
	int			to = repository_state(machine->definition, state);
	Effects		effects;
	Cause		cause;
	Input		input = operator_input("goto", reason, &cause);

	react_goto(machine, to, &input, &effects);
	if (timers != NULL)
		wake_set_timers(machine, timers, input.now, effects.actions);
	return apply_operation(machine, &effects, &cause);
}

/*
 * Cancels as the definition says: by its event, by its transition, or else by
 * undoing the steps done so far, as the first "compensate" of the definition does.
 */
static int
cancel(const char *saga, const pg_uuid_t *id, const char *reason)
{
	Machine    *machine = repository_require(saga, id, "cancel");
	const Definition *definition = machine->definition;
	Effects		effects = {0};
	Cause		cause;
	Input		input = operator_input("cancel", reason, &cause);
	bool		taken = true;

	if (definition->cancel_event != NOWHERE)
		cancel_as_event(machine, &input, &effects);
	else if (definition->cancel != NULL &&
			 !definition_state(definition, machine->state)->final)
		taken = react_cancel(machine, &input, &effects);
	else
		taken = false;
	if (!taken || effects.outcome != OUTCOME_EFFECTIVE)
		ereport(ERROR,
				(errcode(ERRCODE_SG_UNDEFINED),
				 errmsg("saga \"%s\" %s cannot be cancelled in state \"%s\"", saga,
						machine->id_text, definition_state(definition, machine->state)->name),
				 definition->cancel == NULL && definition->cancel_event == NOWHERE
					 ? errhint("Add a \"cancel\" to the definition, or use saga.goto().")
					 : 0));
	return apply_operation(machine, &effects, &cause);
}

static void
cancel_as_event(Machine *machine, const Input *input, Effects *effects)
{
	const Definition *definition = machine->definition;
	Document	document = {tree_object(), NULL};
	Input		as_event = *input;
	Tree	   *saga = tree_put_text(tree_object(), "name", definition->name);

	tree_put_text(saga, "correlation_id", machine->id_text);
	tree_put(document.root, "saga", saga);
	tree_put(document.root, "data", machine->data);
	tree_put_text(document.root, "reason", input->reason ? input->reason : "");
	tree_put(document.root, "now", time_to_tree(input->now));
	as_event.event = definition->cancel_event;
	as_event.message = template_evaluate(definition->cancel_body, &document);
	react(machine, &as_event, effects);
}

/*
 * Moves instances to another version of the definition; returns how many.
 */
static int
migrate(const char *saga, const pg_uuid_t *id, Migration *migration)
{
	Definition *to = migration->to;
	List	   *ids;
	ListCell   *cell;
	int			moved = 0;

	if (id != NULL)
	{
		Machine    *machine = repository_require(saga, id, "migration");

		if (machine->definition->version == to->version)
			return 0;
		migrate_one(machine, migration);
		return 1;
	}
	ids = other_versions(to);
	foreach(cell, ids)
	{
		Machine    *machine = store_load(saga, lfirst(cell), true);

		CHECK_FOR_INTERRUPTS();
		if (machine == NULL || machine->definition->version == to->version)
			continue;
		migrate_one(machine, migration);
		moved++;
	}
	return moved;
}

static void
migrate_one(Machine *machine, const Migration *migration)
{
	Definition *to = migration->to;
	const char *from_state = definition_state(machine->definition, machine->state)->name;
	char	   *mapped = tree_get_text(migration->state_map, from_state);
	Tree	   *notes = wake_migrate(machine, to, migration->state_map, migration->timer_map);
	Tree	   *what = tree_put_text(tree_object(), "action", "migrate");
	Machine    *moved = machine_new(to, &machine->id, machine->created_at);
	Effects		effects;
	Cause		cause;
	Input		input = operator_input("migrate", NULL, &cause);

	moved->number = machine->number;
	moved->state = repository_state(to, mapped != NULL ? mapped : from_state);
	moved->version = machine->version;
	moved->data = machine->data;
	moved->state_since = machine->state_since;
	moved->wake_at = machine->wake_at;
	machine_decode(moved, notes);
	react_migrated(moved, &input, &effects);
	tree_put(what, "from_version", tree_int(machine->definition->version));
	tree_put(what, "to_version", tree_int(to->version));
	if (migration->timer_map->count > 0)
		tree_put(what, "timer_map", unconstify(Tree *, migration->timer_map));
	wake_ensure(moved, input.now, effects.actions);
	tree_append(effects.actions, what);
	cause.from = from_state;
	engine_apply(moved, &effects, &cause);
	parked_replay(moved);
}

static List *
other_versions(const Definition *to)
{
	static SpiStatement find = {
		"SELECT correlation_id FROM saga.stored_instance"
		" WHERE saga = $1 AND definition_version <> $2 ORDER BY correlation_id"
	};
	MemoryContext caller = CurrentMemoryContext;
	List	   *ids = NIL;
	uint64		count;
	bool		isnull;

	spi_begin(SPI_AS_OWNER);
	count = spi_run(&find, 2, (Oid[]) {TEXTOID, INT4OID},
					(Datum[]) {CStringGetTextDatum(to->name), Int32GetDatum(to->version)}, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		ids = lappend(ids, DatumGetUUIDP(spi_copy(i, 0, caller, &isnull)));
		MemoryContextSwitchTo(old);
	}
	spi_end();
	return ids;
}

/*
 * An argument {"old name": "new name"}; null is an empty one.
 */
static const Tree *
names_map(FunctionCallInfo fcinfo, int argument, const char *name)
{
	Tree	   *map = PG_ARGISNULL(argument) ? tree_object()
									 : tree_from_jsonb(PG_GETARG_JSONB_P(argument));

	if (map->type != TREE_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", name),
				 errhint("Write it as {\"old name\": \"new name\"}.")));
	return map;
}

PG_FUNCTION_INFO_V1(saga_retry);
PG_FUNCTION_INFO_V1(saga_goto);
PG_FUNCTION_INFO_V1(saga_cancel);
PG_FUNCTION_INFO_V1(saga_migrate);

Datum
saga_retry(PG_FUNCTION_ARGS)
{
	engine_require_read_committed("saga.retry()");
	PG_RETURN_INT32(retry(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_UUID_P(1)));
}

Datum
saga_goto(PG_FUNCTION_ARGS)
{
	Machine    *machine;

	engine_require_read_committed("saga.goto()");
	argument_not_null(&fcinfo->args[0], "saga", "The view saga.definitions lists them.");
	argument_not_null(&fcinfo->args[1], "correlation_id", "The view saga.instances lists them.");
	argument_not_null(&fcinfo->args[2], "state", "Name a state of the saga's definition.");
	machine = repository_require(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_UUID_P(1),
								 "goto");
	PG_RETURN_INT32(go_to(machine, text_to_cstring(PG_GETARG_TEXT_PP(2)),
						  PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)),
						  PG_ARGISNULL(4) ? NULL : tree_from_jsonb(PG_GETARG_JSONB_P(4))));
}

Datum
saga_cancel(PG_FUNCTION_ARGS)
{
	engine_require_read_committed("saga.cancel()");
	argument_not_null(&fcinfo->args[0], "saga", "The view saga.definitions lists them.");
	argument_not_null(&fcinfo->args[1], "correlation_id", "The view saga.instances lists them.");
	PG_RETURN_INT32(cancel(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_UUID_P(1),
						   PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2))));
}

Datum
saga_migrate(PG_FUNCTION_ARGS)
{
	Migration	migration;
	char	   *saga;

	engine_require_read_committed("saga.migrate()");
	argument_not_null(&fcinfo->args[0], "name", "The view saga.definitions lists them.");
	argument_not_null(&fcinfo->args[2], "to_version", "The view saga.definitions lists them.");
	saga = text_to_cstring(PG_GETARG_TEXT_PP(0));
	definition_cache_refresh();
	(void) definition_require(saga);
	migration.to = definition_get(saga, PG_GETARG_INT32(2));
	migration.state_map = names_map(fcinfo, 3, "state_map");
	migration.timer_map = names_map(fcinfo, 4, "timer_map");
	if (migration.to != definition_require(saga))
		definition_prepare_endpoint(migration.to);
	PG_RETURN_INT32(migrate(saga, PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1), &migration));
}
