/*
 * define.c
 *		saga.define() and saga.verify().
 *
 * Lock protocol: see definition_store.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"

#include "base/errors.h"
#include "log/wakeup.h"
#include "message_bus/message_bus.h"
#include "pg/relation.h"
#include "pg/result.h"
#include "pg/spi.h"
#include "pg/subtransaction.h"
#include "saga/definition/call.h"
#include "saga/definition/definition.h"

static ExtensionRelation definition_table = {"saga", "definition"};

/* Keys of a transition whose values are actions, in the order they are done. */
static const char *const action_keys[] = {
	"call", "set", "fact", "unschedule", "send", "publish", "append", "schedule", "alarm",
	"compensate"
};

/* A row of saga.definition_transition to be. */
typedef struct TransitionRow
{
	const char *name;
	int			version;
	const char *state;
	const char *event;
	int			ordinal;
} TransitionRow;

static void refuse(const char *name, List *problems);
static Tree *problem_to_tree(const Problem *problem);
static void prepare_endpoint(void *argument);
static int	store_document(const Definition *definition, Jsonb *document);
static void store_rows(const Definition *definition);
static void store_state(const Definition *definition, const State *state, const char *kind);
static void store_transitions(TransitionRow row, const List *transitions);
static void store_actions(int64 transition, const Tree *source);

/*
 * Checks and stores a definition; returns its version.
 */
static int
define(const char *name, Jsonb *document)
{
	List	   *problems = NIL;
	Definition *definition;
	ErrorData  *error;
	ListCell   *cell;

	if (name[0] == '\0' || strlen(name) > 255 || strchr(name, ':') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_INVALID_DEFINITION),
				 errmsg("\"%s\" is no name of a saga", name),
				 errhint("It has 1 to 255 bytes and no colon.")));
	definition_cache_refresh();
	definition = definition_parse(name, document, &problems);
	definition->definer = GetUserNameFromId(GetUserId(), false);
	definition_verify(definition, &problems);
	refuse(name, problems);
	if (!subtransaction_run(prepare_endpoint, definition, &error))
	{
		if (error->sqlerrcode != ERRCODE_INVALID_PARAMETER_VALUE)
			ReThrowError(error);
		definition_problem(&problems, "error", NULL, NULL, "%s", error->message);
	}
	refuse(name, problems);

	spi_begin(SPI_AS_OWNER);
	definition->version = store_document(definition, document);
	store_rows(definition);
	spi_end();
	foreach(cell, definition->calls)
		call_register(definition, ((Registration *) lfirst(cell))->signature);
	CacheInvalidateRelcacheByRelid(extension_relation_oid(&definition_table));
	wakeup_worker_after_commit(WAKE_FOR_UNITS);
	return definition->version;
}

/*
 * Raises SG010 if there is any error among the problems.
 */
static void
refuse(const char *name, List *problems)
{
	Tree	   *errors = tree_array();
	ListCell   *cell;

	foreach(cell, problems)
		if (strcmp(((Problem *) lfirst(cell))->severity, "error") == 0)
			tree_append(errors, problem_to_tree(lfirst(cell)));
	if (errors->count > 0)
		ereport(ERROR,
				(errcode(ERRCODE_SG_INVALID_DEFINITION),
				 errmsg_plural("definition of saga \"%s\" has %d problem",
							   "definition of saga \"%s\" has %d problems",
							   errors->count, name, errors->count),
				 errdetail_internal("%s", tree_to_text(errors))));
}

static Tree *
problem_to_tree(const Problem *problem)
{
	Tree	   *tree = tree_put_text(tree_object(), "severity", problem->severity);

	tree_put_text(tree, "state", problem->state);
	tree_put_text(tree, "event", problem->event);
	return tree_put_text(tree, "problem", problem->problem);
}

/*
 * The saga's endpoint, subscribed to the events of the definition.  The bus knows
 * what a name of an endpoint or a message type may be.
 */
static void
prepare_endpoint(void *argument)
{
	static SpiStatement create = {
		"SELECT message_bus.create_endpoint($1)"
	};
	static SpiStatement subscribe = {
		"SELECT message_bus.subscribe($1, $2)"
	};
	static SpiStatement name = {
		"SELECT message_bus.endpoint_name($1, 'saga')"
	};
	Definition *definition = argument;
	MemoryContext caller = CurrentMemoryContext;
	Datum		endpoint;
	bool		isnull;
	ListCell   *cell;

	spi_begin(SPI_AS_OWNER);
	if (definition->endpoint != NULL)
		endpoint = CStringGetTextDatum(definition->endpoint);
	else
	{
		(void) spi_run(&name, 1, (Oid[]) {TEXTOID},
					   (Datum[]) {CStringGetTextDatum(definition->name)}, NULL);
		endpoint = spi_copy(0, 0, CurrentMemoryContext, &isnull);
	}
	if (definition->endpoint == NULL)
		definition->endpoint = MemoryContextStrdup(caller, TextDatumGetCString(endpoint));
	if (!message_bus_endpoint_exists(definition->endpoint))
		(void) spi_run(&create, 1, (Oid[]) {TEXTOID}, &endpoint, NULL);
	/* Who is about to drop it has done so, or waits and finds the definition. */
	message_bus_keep_endpoint(definition->endpoint);
	foreach(cell, definition->events)
	{
		SagaEvent  *event = lfirst(cell);

		(void) spi_run(&subscribe, 2, (Oid[]) {TEXTOID, TEXTOID},
					   (Datum[]) {endpoint, CStringGetTextDatum(event->name)}, NULL);
	}
	spi_end();
}

/*
 * The same for a version that instances are moved to: its endpoint may have been
 * left, and is served again.
 */
void
definition_prepare_endpoint(Definition *definition)
{
	prepare_endpoint(definition);
	CacheInvalidateRelcacheByRelid(extension_relation_oid(&definition_table));
}

/*
 * Inserts the next version.
 */
static int
store_document(const Definition *definition, Jsonb *document)
{
	static SpiStatement lock = {
		"LOCK TABLE saga.definition IN SHARE ROW EXCLUSIVE MODE"
	};
	static SpiStatement insert = {
		"INSERT INTO saga.definition (name, version, document, endpoint, defined_by, type_versions)"
		" SELECT $1, coalesce(max(d.version), 0) + 1, $2, $3, $4, $5 FROM saga.definition d"
		" WHERE d.name = $1 RETURNING version"
	};

	(void) spi_run(&lock, 0, NULL, NULL, NULL);
	(void) spi_run(&insert, 5, (Oid[]) {TEXTOID, JSONBOID, TEXTOID, TEXTOID, JSONBOID},
				   (Datum[]) {CStringGetTextDatum(definition->name), JsonbPGetDatum(document),
					   CStringGetTextDatum(definition->endpoint),
					   CStringGetTextDatum(definition->definer),
					   JsonbPGetDatum(tree_to_jsonb(definition_current_versions(definition)))},
				   NULL);
	return spi_int32(0, 0, 0);
}

/*
 * The same as rows: states, transitions with their actions, timers.
 */
static void
store_rows(const Definition *definition)
{
	static SpiStatement insert_timer = {
		"INSERT INTO saga.definition_timer (name, version, timer) VALUES ($1, $2, $3)"
	};
	TransitionRow row = {definition->name, definition->version, NULL, NULL, 0};
	ListCell   *cell;

	foreach(cell, definition->states)
		store_state(definition, lfirst(cell),
					((State *) lfirst(cell))->final ? "final" : "normal");
	foreach(cell, definition->commons)
		store_state(definition, lfirst(cell), "common");
	for (int i = 0; i < list_length(definition->events); i++)
	{
		if (definition->start[i] == NULL)
			continue;
		row.event = definition_event(definition, i)->name;
		store_transitions(row, definition->start[i]->transitions);
	}
	for (int i = TIMER_BUILT_IN; i < list_length(definition->timers); i++)
		(void) spi_run(&insert_timer, 3, (Oid[]) {TEXTOID, INT4OID, TEXTOID},
					   (Datum[]) {CStringGetTextDatum(definition->name),
						   Int32GetDatum(definition->version),
						   CStringGetTextDatum(definition_timer(definition, i))}, NULL);
}

static void
store_state(const Definition *definition, const State *state, const char *kind)
{
	static SpiStatement insert = {
		"INSERT INTO saga.definition_state (name, version, state, kind, default_reaction, timer)"
		" VALUES ($1, $2, $3, $4, $5, $6)"
	};
	static const char *const decisions[] = {"ignore", "defer", "fault", NULL};
	const char *decision = decisions[state->otherwise];
	TransitionRow row = {definition->name, definition->version, state->name, NULL, 0};
	char		nulls[] = "      ";
	ListCell   *cell;

	nulls[4] = decision == NULL ? 'n' : ' ';
	nulls[5] = state->timer == NULL ? 'n' : ' ';
	(void) spi_run(&insert, 6, (Oid[]) {TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID},
				   (Datum[]) {CStringGetTextDatum(definition->name),
					   Int32GetDatum(definition->version), CStringGetTextDatum(state->name),
					   CStringGetTextDatum(kind), CStringGetTextDatum(decision ? decision : ""),
					   CStringGetTextDatum(state->timer ? state->timer : "")}, nulls);
	foreach(cell, state->on)
	{
		row.event = ((Reaction *) lfirst(cell))->event;
		store_transitions(row, ((Reaction *) lfirst(cell))->transitions);
	}
	row.event = "always";
	store_transitions(row, state->own_always);
}

static void
store_transitions(TransitionRow row, const List *transitions)
{
	static SpiStatement insert = {
		"INSERT INTO saga.definition_transition (name, version, state, event, ordinal, guard, target, why)"
		" VALUES ($1, $2, $3, $4, $5, $6 ->> 'guard', $6 ->> 'goto', $6 ->> 'why') RETURNING id"
	};
	ListCell   *cell;

	foreach(cell, transitions)
	{
		Transition *transition = lfirst(cell);

		(void) spi_run(&insert, 6, (Oid[]) {TEXTOID, INT4OID, TEXTOID, TEXTOID, INT4OID, JSONBOID},
					   (Datum[]) {CStringGetTextDatum(row.name), Int32GetDatum(row.version),
						   CStringGetTextDatum(row.state ? row.state : ""),
						   CStringGetTextDatum(row.event), Int32GetDatum(++row.ordinal),
						   JsonbPGetDatum(tree_to_jsonb(transition->source))},
					   row.state == NULL ? "  n   " : NULL);
		store_actions(spi_int64(0, 0, 0), transition->source);
	}
}

static void
store_actions(int64 transition, const Tree *source)
{
	static SpiStatement insert = {
		"INSERT INTO saga.definition_action (transition_id, ordinal, kind, specification)"
		" VALUES ($1, $2, $3, $4)"
	};
	int			ordinal = 0;

	for (int i = 0; i < lengthof(action_keys); i++)
	{
		Tree	   *action = tree_get(source, action_keys[i]);
		Tree	   *list = action == NULL				  ? tree_array()
					 : action->type == TREE_ARRAY ? action
												  : tree_append(tree_array(), action);

		for (int j = 0; j < list->count; j++)
			(void) spi_run(&insert, 4, (Oid[]) {INT8OID, INT4OID, TEXTOID, JSONBOID},
						   (Datum[]) {Int64GetDatum(transition), Int32GetDatum(++ordinal),
							   CStringGetTextDatum(action_keys[i]),
							   JsonbPGetDatum(tree_to_jsonb(list->as.items[j]))}, NULL);
	}
}

PG_FUNCTION_INFO_V1(saga_define);
PG_FUNCTION_INFO_V1(saga_verify);
PG_FUNCTION_INFO_V1(saga_diagram);

Datum
saga_define(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(define(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_JSONB_P(1)));
}

Datum
saga_verify(PG_FUNCTION_ARGS)
{
	SetResult	result;
	List	   *problems = NIL;
	Definition *stored;
	Definition *definition;
	ListCell   *cell;

	definition_cache_refresh();
	stored = definition_require(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	definition = definition_parse(stored->name, tree_to_jsonb(stored->document), &problems);
	definition->endpoint = stored->endpoint;
	definition_verify(definition, &problems);
	if (!message_bus_endpoint_exists(stored->endpoint))
		definition_problem(&problems, "error", NULL, NULL,
						   "its own endpoint \"%s\" does not exist: nothing reaches it",
						   stored->endpoint);
	result_begin(fcinfo, &result);
	foreach(cell, problems)
	{
		Problem    *problem = lfirst(cell);
		Datum		values[4] = {CStringGetTextDatum(problem->severity), 0, 0,
		CStringGetTextDatum(problem->problem)};
		bool		nulls[4] = {false, problem->state == NULL, problem->event == NULL, false};

		if (problem->state != NULL)
			values[1] = CStringGetTextDatum(problem->state);
		if (problem->event != NULL)
			values[2] = CStringGetTextDatum(problem->event);
		result_put(&result, values, nulls);
	}
	return (Datum) 0;
}

Datum
saga_diagram(PG_FUNCTION_ARGS)
{
	Definition *definition;

	definition_cache_refresh();
	definition = definition_require(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_TEXT_P(cstring_to_text(definition_diagram(definition,
														text_to_cstring(PG_GETARG_TEXT_PP(1)))));
}
