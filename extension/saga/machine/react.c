/*
 * react.c
 *		How an instance reacts to an event: a function of both, without a database.
 *
 * One turn: the event is merged into the facts; the state's reaction to it is
 * taken; then the rules that always hold are applied, and what is owed is asked
 * for, until neither changes anything.  All of it is one transition: the version
 * rises by one, or nothing has happened.
 */
#include "postgres.h"

#include "base/errors.h"
#include "saga/machine/action.h"
#include "saga/machine/outstanding.h"
#include "saga/machine/owed.h"
#include "saga/machine/react.h"

/* Rules that still apply after this many rounds never stop. */
#define MAX_ROUNDS 100

typedef enum Heard
{
	HEARD_NO_FACT,				/* the event tells none, or none for which its guard holds */
	HEARD_NOTHING_NEW,
	HEARD_SOMETHING
} Heard;

static Heard hear_facts(Turn *turn);
static Decision react_to_event(Turn *turn);
static void settle(Turn *turn);
static bool apply_always(Turn *turn);

/*
 * Creates an instance by a start event; false if no start transition's guard
 * holds.  The machine must be new.
 */
bool
react_start(Machine *machine, const Input *input, Effects *effects)
{
	Reaction  **start = machine->definition->start;
	Reaction   *reaction = input->event == NOWHERE ? NULL : start[input->event];
	Turn		turn;

	turn_begin(&turn, machine, input, effects);
	effects->from = NOWHERE;
	if (reaction == NULL || !transition_take(&turn, reaction->transitions))
		return false;
	/* It may begin at its end. */
	if (definition_state(machine->definition, machine->state)->final)
		turn_enter(&turn, machine->state);
	turn.effective = true;
	settle(&turn);
	turn_finish(&turn, DECIDE_IGNORE);
	effects->moved = true;
	return true;
}

/*
 * Reacts to a message.
 */
void
react(Machine *machine, const Input *input, Effects *effects)
{
	Turn		turn;
	Heard		heard;
	Decision	decision = DECIDE_IGNORE;

	turn_begin(&turn, machine, input, effects);
	heard = input->event == NOWHERE ? HEARD_NO_FACT : hear_facts(&turn);
	if (heard == HEARD_SOMETHING)
		turn.effective = true;
	if (undo_confirm(&turn) || owed_hear_refusals(&turn))
		turn.effective = true;
	if (heard != HEARD_NOTHING_NEW)
		decision = react_to_event(&turn);
	if (turn.effective)
		settle(&turn);
	turn_finish(&turn, decision);
}

/*
 * Fires a timer that is due.  It is disarmed whatever comes of it.
 */
void
react_timer(Machine *machine, int timer, TimestampTz now, Effects *effects)
{
	Input		input = {event_of_timer(machine->definition, timer)};
	Turn		turn;

	input.name = definition_event_name(machine->definition, input.event);
	input.now = now;
	turn_begin(&turn, machine, &input, effects);
	machine_disarm(machine, timer);
	effects->store = true;
	if (timer == TIMER_COMPENSATE)
		turn.effective = owed_pursue_due(&turn);
	else if (resend_command(&turn, timer))
		turn.effective = true;
	else
		(void) react_to_event(&turn);
	if (turn.effective)
		settle(&turn);
	turn_finish(&turn, DECIDE_IGNORE);
	effects->store = true;
}

/*
 * An operator moves an instance.  The rules of the new state apply at once; a
 * "compensate" under way is the operator's own business now.
 */
void
react_goto(Machine *machine, int state, const Input *input, Effects *effects)
{
	Turn		turn;

	turn_begin(&turn, machine, input, effects);
	undo_abandon(&turn);
	turn_enter(&turn, state);
	turn.effective = true;
	settle(&turn);
	turn_finish(&turn, DECIDE_IGNORE);
}

/*
 * An operator has compensations that are outstanding sent again at once.
 */
void
react_retry(Machine *machine, const Input *input, Effects *effects)
{
	Turn		turn;

	turn_begin(&turn, machine, input, effects);
	outstanding_retry(&turn);
	turn.effective = true;
	settle(&turn);
	turn_finish(&turn, DECIDE_IGNORE);
}

/*
 * What the definition says about cancelling; false if its guard does not hold.
 */
bool
react_cancel(Machine *machine, const Input *input, Effects *effects)
{
	Turn		turn;

	turn_begin(&turn, machine, input, effects);
	if (!transition_take(&turn, list_make1(machine->definition->cancel)))
		return false;
	turn.effective = true;
	settle(&turn);
	turn_finish(&turn, DECIDE_IGNORE);
	return true;
}

/*
 * The instance has another definition now: let its rules apply.
 */
void
react_migrated(Machine *machine, const Input *input, Effects *effects)
{
	Turn		turn;

	turn_begin(&turn, machine, input, effects);
	turn.effective = true;
	settle(&turn);
	turn_finish(&turn, DECIDE_IGNORE);
}

/*
 * Merges the event into the facts: the first alternative whose guard holds.
 */
static Heard
hear_facts(Turn *turn)
{
	Machine    *machine = turn->machine;
	SagaEvent  *event = definition_event(machine->definition, turn->input->event);
	ListCell   *cell;

	foreach(cell, event->facts)
	{
		FactChange *change = lfirst(cell);
		const Fact *fact = definition_fact(machine->definition, change->fact);
		Document   *document = turn_document(turn);
		Growth		growth;
		char	   *key;

		if (change->guard != NULL && !path_holds(change->guard, document))
			continue;
		key = template_text(change->key, document);
		growth = fact_hear(machine->data, fact, change, key, document);
		if (growth.conflict)
			turn_conflict(turn, fact, key, fact->statuses[growth.from],
						  change->to == NOWHERE ? "known" : fact->statuses[change->to]);
		if (!growth.grew)
			return HEARD_NOTHING_NEW;
		machine->data = growth.data;
		if (growth.from != growth.to)
		{
			Tree	   *details = tree_put_text(tree_object(), "of", fact->name);

			tree_put_text(details, "key", key);
			tree_put_text(details, "from", fact->statuses[growth.from]);
			turn_note(turn, "fact", tree_put_text(details, "to", fact->statuses[growth.to]));
		}
		return HEARD_SOMETHING;
	}
	return HEARD_NO_FACT;
}

/*
 * Takes the state's transition for the event, if it has one that applies; else
 * says what is to become of the event.
 */
static Decision
react_to_event(Turn *turn)
{
	Machine    *machine = turn->machine;
	State	   *state = definition_state(machine->definition, machine->state);
	Reaction   *reaction =
		turn->input->event == NOWHERE ? NULL : state->reactions[turn->input->event];
	Decision	decision = state->otherwise;

	if (reaction != NULL && transition_take(turn, reaction->transitions))
	{
		turn->effective = true;
		return DECIDE_IGNORE;
	}
	if (reaction != NULL && reaction->otherwise != DECIDE_UNDECIDED)
		decision = reaction->otherwise;
	return decision;
}

/*
 * Applies rules and asks for what is owed until neither changes anything.
 */
static void
settle(Turn *turn)
{
	for (int round = 0; round < MAX_ROUNDS; round++)
	{
		owed_count(turn);
		if (apply_always(turn))
			continue;
		if (owed_pursue(turn))
			continue;
		outstanding_arm(turn);
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_SG_TEMPLATE),
			 errmsg("saga \"%s\" does not settle in state \"%s\"", turn->machine->definition->name,
					definition_state(turn->machine->definition, turn->machine->state)->name),
			 errdetail("Its rules under \"always\" still apply after %d rounds.", MAX_ROUNDS),
			 errhint("Add to the guard of each rule what the rule itself makes untrue.")));
}

static bool
apply_always(Turn *turn)
{
	State	   *state = definition_state(turn->machine->definition, turn->machine->state);

	return transition_take(turn, state->always);
}
