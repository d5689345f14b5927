/*
 * wake.c
 *		What wakes an instance that no message comes for.
 *
 * define() makes sure that transitions do not lead to where nothing would wake an
 * instance.  There are other ways into a state: created or updated by a user's
 * program, moved by an operator, migrated to another version.  Such an instance
 * gets the timers that the definition sets on the way into its state; where that
 * cannot be told it is refused (SG006).
 */
#include "postgres.h"

#include "datatype/timestamp.h"

#include "base/errors.h"
#include "base/order.h"
#include "pg/clock.h"
#include "saga/machine/wake.h"

#define MAX_DELAY (CLOCK_LONGEST_DAYS * USECS_PER_DAY)

static bool is_awake(const Machine *machine);
static bool handles(const Machine *machine, int timer);
static bool derive_timers(Machine *machine, TimestampTz now, Tree *actions, bool direct);
static bool derive_from(Machine *machine, const Transition *transition, TimestampTz now,
						Tree *actions);
static bool delay_in_advance(const Machine *machine, const ScheduleAction *schedule,
							 int64 *microseconds);
static void set_noted(Machine *machine, int timer, TimestampTz due, Tree *actions);
static Tree *migrate_timers(const Machine *machine, const Definition *to, const Tree *by_timer,
							const Tree *timer_map);
static void check_outstanding(const Machine *machine, const Definition *to);
static Tree *migrate_undo(const Machine *machine, const Definition *to, Tree *undo,
						  const Tree *state_map);
static void refuse(const Machine *machine, const char *problem, const char *hint)
	pg_attribute_noreturn();

/*
 * Sets timers as {name: interval or time} says, for an operator.
 */
void
wake_set_timers(Machine *machine, const Tree *timers, TimestampTz now, Tree *actions)
{
	if (timers->type != TREE_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timers must be a JSON object"),
				 errhint("Write them as {\"name\": \"30 min\"}.")));
	for (int i = 0; i < timers->count; i++)
	{
		char	   *name = pnstrdup(timers->as.members[i].key, timers->as.members[i].length);
		int			timer = definition_find_timer(machine->definition, name);
		const Tree *when = timers->as.members[i].value;
		Interval	delay;

		if (timer < TIMER_BUILT_IN)
			ereport(ERROR,
					(errcode(ERRCODE_SG_UNDEFINED),
					 errmsg("saga \"%s\" version %d has no timer \"%s\"",
							machine->definition->name, machine->definition->version, name)));
		if (when->type == TREE_STRING && interval_parse(tree_to_text(when), &delay))
			set_noted(machine, timer, now + greater(clock_microseconds(&delay, name), 0), actions);
		else
			set_noted(machine, timer, time_from_tree(when), actions);
	}
}

/*
 * Sees to it that an instance which needs a timer in its state has one, else SG006.
 */
void
wake_ensure(Machine *machine, TimestampTz now, Tree *actions)
{
	if (is_awake(machine) || derive_timers(machine, now, actions, true) ||
		derive_timers(machine, now, actions, false))
		return;
	refuse(machine,
		   psprintf("nothing would wake it in state \"%s\"",
					definition_state(machine->definition, machine->state)->name),
		   "Set a timer with saga.goto(..., timers => '{\"name\": \"30 min\"}').");
}

static bool
is_awake(const Machine *machine)
{
	const State *state = definition_state(machine->definition, machine->state);
	ListCell   *cell;

	if (state->final || (state->timer != NULL && strcmp(state->timer, "none") == 0))
		return true;
	foreach(cell, machine->timers)
	{
		int			timer = ((ArmedTimer *) lfirst(cell))->timer;

		if (timer == TIMER_COMPENSATE || (timer >= TIMER_BUILT_IN && handles(machine, timer)))
			return true;
	}
	return false;
}

/*
 * Is the timer an event that the instance's state does something about?
 */
static bool
handles(const Machine *machine, int timer)
{
	const State *state = definition_state(machine->definition, machine->state);
	Reaction   *reaction = state->reactions[event_of_timer(machine->definition, timer)];

	return reaction != NULL && reaction->transitions != NIL;
}

/*
 * Sets what a transition into the state would set, or else any transition that
 * sets a timer which the state handles; false if no such delay is known beforehand.
 */
static bool
derive_timers(Machine *machine, TimestampTz now, Tree *actions, bool direct)
{
	ListCell   *cell;

	foreach(cell, machine->definition->transitions)
	{
		const Transition *transition = lfirst(cell);
		int			target = transition->target;

		if (target == NOWHERE && transition->starts)
			target = machine->definition->initial;
		if ((!direct || target == machine->state) &&
			derive_from(machine, transition, now, actions))
			return true;
	}
	return false;
}

static bool
derive_from(Machine *machine, const Transition *transition, TimestampTz now, Tree *actions)
{
	bool		any = false;
	ListCell   *cell;

	foreach(cell, transition->schedules)
	{
		const ScheduleAction *schedule = lfirst(cell);
		int64		delay;

		if (schedule->timer == NOWHERE || !handles(machine, schedule->timer) ||
			!delay_in_advance(machine, schedule, &delay))
			continue;
		set_noted(machine, schedule->timer, now + delay, actions);
		any = true;
	}
	/* The timer of a command that is resent, when the last resend would be over. */
	foreach(cell, transition->sends)
	{
		const SendAction *send = lfirst(cell);

		if (send->timer == NOWHERE || !handles(machine, send->timer))
			continue;
		set_noted(machine, send->timer,
				  now + Min(send->resend->first * 1000 * (send->resend->limit + 1), MAX_DELAY),
				  actions);
		any = true;
	}
	return any;
}

static bool
delay_in_advance(const Machine *machine, const ScheduleAction *schedule, int64 *microseconds)
{
	const char *name = definition_timer(machine->definition, schedule->timer);
	Document	document = {tree_object(), NULL};
	Interval	delay;

	if (schedule->backoff != NULL)
	{
		*microseconds = delay_of(schedule->backoff, 0, machine_seed(machine, name)) * 1000;
		return true;
	}
	if (schedule->delay == NULL || !template_is_fixed(schedule->delay) ||
		!interval_parse(template_text(schedule->delay, &document), &delay))
		return false;
	*microseconds = greater(clock_microseconds(&delay, name), 0);
	return true;
}

static void
set_noted(Machine *machine, int timer, TimestampTz due, Tree *actions)
{
	Tree	   *note = tree_put_text(tree_object(), "action", "schedule");

	machine_arm(machine, timer, due);
	tree_put_text(note, "timer", definition_timer(machine->definition, timer));
	tree_append(actions, tree_put(note, "due_at", time_to_tree(due)));
}

/*
 * The engine's notes of an instance for another version of its definition.  What
 * it waits for must be known there, under the same name or that in the maps; a
 * timer that is mapped to null is taken back.
 */
Tree *
wake_migrate(const Machine *machine, const Definition *to, const Tree *state_map,
			 const Tree *timer_map)
{
	Tree	   *notes = machine_encode(machine);
	Tree	   *timers = tree_get(notes, "timers");
	Tree	   *resends = tree_get(notes, "resends");
	Tree	   *undo = tree_get(notes, "undo");

	check_outstanding(machine, to);
	if (timers != NULL)
		tree_put(notes, "timers", migrate_timers(machine, to, timers, timer_map));
	if (resends != NULL)
		tree_put(notes, "resends", migrate_timers(machine, to, resends, timer_map));
	if (undo != NULL)
		tree_put(notes, "undo", migrate_undo(machine, to, undo, state_map));
	return notes;
}

static Tree *
migrate_timers(const Machine *machine, const Definition *to, const Tree *by_timer,
			   const Tree *timer_map)
{
	Tree	   *result = tree_object();

	for (int i = 0; i < by_timer->count; i++)
	{
		char	   *name = pnstrdup(by_timer->as.members[i].key, by_timer->as.members[i].length);
		const Tree *mapped = tree_get(timer_map, name);

		if (mapped != NULL && mapped->type == TREE_NULL)
			continue;
		if (mapped != NULL)
			name = tree_to_text(mapped);
		if (definition_find_timer(to, name) == NOWHERE && mapped != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_SG_UNDEFINED),
					 errmsg("saga \"%s\" version %d has no timer \"%s\"", to->name, to->version,
							name)));
		if (definition_find_timer(to, name) == NOWHERE)
			refuse(machine,
				   psprintf("timer \"%s\" is set, which version %d does not have", name,
							to->version),
				   "Say what becomes of it, as in timer_map => '{\"old\": \"new\"}'; null takes it"
				   " back.");
		tree_put(result, name, by_timer->as.members[i].value);
	}
	return result;
}

/*
 * What is owed, or being undone, is so by the new version too.
 */
static void
check_outstanding(const Machine *machine, const Definition *to)
{
	ListCell   *cell;
	ListCell   *send_cell;

	foreach(cell, machine->outstanding)
	{
		const Outstanding *outstanding = lfirst(cell);
		const char *name = outstanding->step;
		bool		known = false;

		if (outstanding->rule != NOWHERE)
		{
			name = definition_owed(machine->definition, outstanding->rule)->name;
			known = definition_find_owed(to, name) != NOWHERE;
		}
		else
			foreach(send_cell, to->sends)
			{
				const SendAction *send = lfirst(send_cell);

				known = known || (send->compensation != NULL && strcmp(send->step, name) == 0);
			}
		if (!known)
			refuse(machine,
				   psprintf("compensation \"%s\" is outstanding, which version %d does not have",
							name, to->version),
				   "Migrate when it is confirmed, or end it with saga.goto() first.");
	}
}

static Tree *
migrate_undo(const Machine *machine, const Definition *to, Tree *undo, const Tree *state_map)
{
	static const char *const states[] = {"then", "give_up", "from"};

	for (int i = 0; i < lengthof(states); i++)
	{
		char	   *state = tree_get_text(undo, states[i]);
		char	   *mapped = tree_get_text(state_map, state);

		if (mapped != NULL)
			state = mapped;
		if (definition_find_state(to, state) == NOWHERE)
			refuse(machine,
				   psprintf("a compensation leads to state \"%s\", which version %d does not have",
							state, to->version),
				   "Say what it is called now in state_map.");
		undo = tree_with(undo, states[i], tree_text(state));
	}
	return undo;
}

static void
refuse(const Machine *machine, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_SG_NO_TIMER),
			 errmsg("saga \"%s\" %s: %s", machine->definition->name, machine->id_text, problem),
			 errhint("%s", hint)));
}
