/*
 * machine.c
 *		An instance of a saga in memory, and what the engine notes about it.
 *
 * The engine's notes (timers, counters, compensations under way) are one jsonb
 * beside the user's data.  They name timers, rules and states, so that they can
 * be read by people and survive a migration to another definition; times are
 * microseconds since 2000, as PostgreSQL counts.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "saga/machine/machine.h"

static Tree *encode_timers(const Machine *machine);
static Tree *encode_outstanding(const Machine *machine);
static Tree *encode_undo(const Machine *machine);
static void decode_timers(Machine *machine, const Tree *timers);
static void decode_outstanding(Machine *machine, const Tree *list);
static void decode_undo(Machine *machine, const Tree *undo);
static void put_if_any(Tree *object, const char *key, Tree *value);
static TimestampTz time_member(const Tree *object, const char *key);

/*
 * An instance that was not stored yet, in the initial state and without data.
 */
Machine *
machine_new(Definition *definition, const pg_uuid_t *id, TimestampTz now)
{
	Machine    *machine = palloc0(sizeof(Machine));

	machine->definition = definition;
	machine->id = *id;
	machine->id_text = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
	machine->state = definition->initial;
	machine->data = tree_object();
	machine->created_at = machine->updated_at = machine->state_since = now;
	machine->wake_at = DT_NOEND;
	machine->sends = tree_object();
	machine->resends = tree_object();
	machine->steps = tree_array();
	machine->context = tree_object();
	return machine;
}

/*
 * A copy that can be changed without touching the original.
 */
Machine *
machine_copy(const Machine *machine)
{
	Machine    *copy = palloc(sizeof(Machine));
	ListCell   *cell;

	*copy = *machine;
	copy->timers = NIL;
	copy->outstanding = NIL;
	foreach(cell, machine->timers)
	{
		ArmedTimer *timer = palloc(sizeof(ArmedTimer));

		*timer = *(ArmedTimer *) lfirst(cell);
		copy->timers = lappend(copy->timers, timer);
	}
	foreach(cell, machine->outstanding)
	{
		Outstanding *outstanding = palloc(sizeof(Outstanding));

		*outstanding = *(Outstanding *) lfirst(cell);
		copy->outstanding = lappend(copy->outstanding, outstanding);
	}
	if (machine->undo != NULL)
	{
		copy->undo = palloc(sizeof(Undo));
		*copy->undo = *machine->undo;
	}
	return copy;
}

/*
 * The engine's notes as JSON.  What is empty is left out.
 */
Tree *
machine_encode(const Machine *machine)
{
	Tree	   *engine = tree_object();

	put_if_any(engine, "timers", encode_timers(machine));
	if (machine->last_token > 0)
		tree_put(engine, "token", tree_int(machine->last_token));
	put_if_any(engine, "sends", machine->sends);
	put_if_any(engine, "resends", machine->resends);
	put_if_any(engine, "steps", machine->steps);
	put_if_any(engine, "outstanding", encode_outstanding(machine));
	if (machine->undo != NULL)
		tree_put(engine, "undo", encode_undo(machine));
	if (machine->alarm != NULL)
	{
		tree_put_text(engine, "alarm", machine->alarm);
		tree_put(engine, "alarm_since", tree_int(machine->alarm_since));
	}
	if (machine->timer_failures > 0)
	{
		tree_put(engine, "timer_failures", tree_int(machine->timer_failures));
		tree_put_text(engine, "timer_error", machine->timer_error);
	}
	put_if_any(engine, "context", machine->context);
	return engine;
}

/*
 * Reads the notes back.  Timers, rules and states that the definition no longer
 * has are left out.
 */
void
machine_decode(Machine *machine, const Tree *engine)
{
	Tree	   *part;

	machine->last_token = tree_to_int(tree_get(engine, "token"), 0);
	if ((part = tree_get(engine, "timers")) != NULL)
		decode_timers(machine, part);
	if ((part = tree_get(engine, "sends")) != NULL)
		machine->sends = part;
	if ((part = tree_get(engine, "resends")) != NULL)
		machine->resends = part;
	if ((part = tree_get(engine, "steps")) != NULL)
		machine->steps = part;
	if ((part = tree_get(engine, "outstanding")) != NULL)
		decode_outstanding(machine, part);
	if ((part = tree_get(engine, "undo")) != NULL)
		decode_undo(machine, part);
	machine->alarm = tree_get_text(engine, "alarm");
	machine->alarm_since = time_member(engine, "alarm_since");
	machine->timer_failures = (int) tree_to_int(tree_get(engine, "timer_failures"), 0);
	machine->timer_error = tree_get_text(engine, "timer_error");
	if ((part = tree_get(engine, "context")) != NULL)
		machine->context = part;
}

/*
 * Sets a timer; one that was set before does not fire any more.
 */
void
machine_arm(Machine *machine, int timer, TimestampTz due)
{
	ArmedTimer *armed = machine_armed(machine, timer);

	if (armed == NULL)
	{
		armed = palloc(sizeof(ArmedTimer));
		armed->timer = timer;
		machine->timers = lappend(machine->timers, armed);
	}
	armed->due = due;
	armed->token = ++machine->last_token;
}

/*
 * Takes a timer back; false if it was not set.
 */
bool
machine_disarm(Machine *machine, int timer)
{
	ArmedTimer *armed = machine_armed(machine, timer);

	if (armed == NULL)
		return false;
	machine->timers = list_delete_ptr(machine->timers, armed);
	return true;
}

ArmedTimer *
machine_armed(const Machine *machine, int timer)
{
	ListCell   *cell;

	foreach(cell, machine->timers)
		if (((ArmedTimer *) lfirst(cell))->timer == timer)
			return lfirst(cell);
	return NULL;
}

/*
 * The timer that is due first, of several the one set first; NULL for none.
 */
ArmedTimer *
machine_next_timer(const Machine *machine)
{
	ArmedTimer *next = NULL;
	ListCell   *cell;

	foreach(cell, machine->timers)
	{
		ArmedTimer *timer = lfirst(cell);

		if (next == NULL || timer->due < next->due ||
			(timer->due == next->due && timer->token < next->token))
			next = timer;
	}
	return next;
}

/*
 * A number for the random part of delays that instance and purpose determine.
 */
uint64
machine_seed(const Machine *machine, const char *what)
{
	uint64		seed = hash_bytes_extended(machine->id.data, UUID_LEN, 0);

	return hash_bytes_extended((const unsigned char *) what, (int) strlen(what), seed);
}

static Tree *
encode_timers(const Machine *machine)
{
	Tree	   *timers = tree_object();
	ListCell   *cell;

	foreach(cell, machine->timers)
	{
		ArmedTimer *timer = lfirst(cell);
		Tree	   *pair = tree_array();

		tree_append(pair, tree_int(timer->due));
		tree_append(pair, tree_int(timer->token));
		tree_put(timers, definition_timer(machine->definition, timer->timer), pair);
	}
	return timers;
}

static void
decode_timers(Machine *machine, const Tree *timers)
{
	for (int i = 0; i < timers->count; i++)
	{
		Tree	   *pair = timers->as.members[i].value;
		int			timer = definition_find_timer(machine->definition,
												  pnstrdup(timers->as.members[i].key,
														   timers->as.members[i].length));
		ArmedTimer *armed;

		if (timer == NOWHERE || pair->type != TREE_ARRAY || pair->count != 2)
			continue;
		armed = palloc(sizeof(ArmedTimer));
		armed->timer = timer;
		armed->due = tree_to_int(pair->as.items[0], 0);
		armed->token = tree_to_int(pair->as.items[1], 0);
		machine->timers = lappend(machine->timers, armed);
	}
}

static Tree *
encode_outstanding(const Machine *machine)
{
	Tree	   *list = tree_array();
	ListCell   *cell;

	foreach(cell, machine->outstanding)
	{
		Outstanding *outstanding = lfirst(cell);
		Tree	   *tree = tree_object();

		if (outstanding->rule != NOWHERE)
			tree_put_text(tree, "rule",
						  definition_owed(machine->definition, outstanding->rule)->name);
		else
			tree_put_text(tree, "step", outstanding->step);
		tree_put_text(tree, "key", outstanding->key);
		if (outstanding->body != NULL)
			tree_put(tree, "body", outstanding->body);
		tree_put(tree, "sends", tree_int(outstanding->sends));
		tree_put(tree, "since", tree_int(outstanding->since));
		tree_put(tree, "next", tree_int(outstanding->next));
		if (outstanding->given_up)
			tree_put(tree, "given_up", tree_bool(true));
		tree_append(list, tree);
	}
	return list;
}

static void
decode_outstanding(Machine *machine, const Tree *list)
{
	for (int i = 0; i < list->count; i++)
	{
		Tree	   *tree = list->as.items[i];
		char	   *rule = tree_get_text(tree, "rule");
		Outstanding *outstanding = palloc0(sizeof(Outstanding));

		outstanding->rule =
			rule == NULL ? NOWHERE : definition_find_owed(machine->definition, rule);
		if (rule != NULL && outstanding->rule == NOWHERE)
			continue;
		outstanding->step = tree_get_text(tree, "step");
		outstanding->key = tree_get_text(tree, "key");
		outstanding->body = tree_get(tree, "body");
		outstanding->sends = (int) tree_to_int(tree_get(tree, "sends"), 0);
		outstanding->since = time_member(tree, "since");
		outstanding->next = time_member(tree, "next");
		outstanding->given_up = tree_is_true(tree_get(tree, "given_up"));
		machine->outstanding = lappend(machine->outstanding, outstanding);
	}
}

static Tree *
encode_undo(const Machine *machine)
{
	const Undo *undo = machine->undo;
	Tree	   *tree = tree_object();

	tree_put(tree, "parallel", tree_bool(undo->parallel));
	tree_put(tree, "given_up", tree_bool(undo->given_up));
	if (undo->stops)
		tree_put(tree, "stops", tree_bool(true));
	tree_put_text(tree, "then", definition_state(machine->definition, undo->then)->name);
	tree_put_text(tree, "give_up", definition_state(machine->definition, undo->give_up)->name);
	tree_put_text(tree, "from", definition_state(machine->definition, undo->from)->name);
	if (undo->resend_source != NULL)
		tree_put(tree, "resend", undo->resend_source);
	tree_put(tree, "give_up_after", tree_int(undo->give_up_after));
	return tree;
}

static void
decode_undo(Machine *machine, const Tree *tree)
{
	Undo	   *undo = palloc0(sizeof(Undo));

	undo->parallel = tree_is_true(tree_get(tree, "parallel"));
	undo->given_up = tree_is_true(tree_get(tree, "given_up"));
	undo->stops = tree_is_true(tree_get(tree, "stops"));
	undo->then = definition_find_state(machine->definition, tree_get_text(tree, "then"));
	undo->give_up = definition_find_state(machine->definition, tree_get_text(tree, "give_up"));
	undo->from = definition_find_state(machine->definition, tree_get_text(tree, "from"));
	undo->resend_source = tree_get(tree, "resend");
	if (undo->resend_source != NULL)
		undo->resend = delay_policy(undo->resend_source);
	undo->give_up_after = tree_to_int(tree_get(tree, "give_up_after"), 0);
	machine->undo = undo;
}

static void
put_if_any(Tree *object, const char *key, Tree *value)
{
	if (value->count > 0)
		tree_put(object, key, value);
}

static TimestampTz
time_member(const Tree *object, const char *key)
{
	return tree_to_int(tree_get(object, key), 0);
}
