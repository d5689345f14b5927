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

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "saga/step_key.h"
#include "saga/turn.h"

/* Rules that still apply after this many rounds never stop. */
#define MAX_ROUNDS 100

typedef enum Heard
{
	HEARD_NO_FACT,				/* the event tells none, or none for which its guard holds */
	HEARD_NOTHING_NEW,
	HEARD_SOMETHING
} Heard;

static void begin_turn(Turn *turn, Machine *machine, const Input *input, Effects *effects);
static Heard hear_facts(Turn *turn);
static Decision react_to_event(Turn *turn);
static void settle(Turn *turn);
static bool apply_always(Turn *turn);
static bool apply_each(Turn *turn, Transition *transition);
static void finish_turn(Turn *turn, Decision decision);
static Tree *changed_members(const Tree *before, const Tree *after);

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

	begin_turn(&turn, machine, input, effects);
	effects->from = NOWHERE;
	if (reaction == NULL || !turn_take(&turn, reaction->transitions))
		return false;
	/* It may begin at its end. */
	if (definition_state(machine->definition, machine->state)->final)
		turn_enter(&turn, machine->state);
	turn.effective = true;
	settle(&turn);
	finish_turn(&turn, DECIDE_IGNORE);
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

	begin_turn(&turn, machine, input, effects);
	heard = input->event == NOWHERE ? HEARD_NO_FACT : hear_facts(&turn);
	if (heard == HEARD_SOMETHING)
		turn.effective = true;
	if (confirm_undo(&turn) || hear_refusals(&turn))
		turn.effective = true;
	if (heard != HEARD_NOTHING_NEW)
		decision = react_to_event(&turn);
	if (turn.effective)
		settle(&turn);
	finish_turn(&turn, decision);
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
	begin_turn(&turn, machine, &input, effects);
	machine_disarm(machine, timer);
	effects->store = true;
	if (timer == TIMER_COMPENSATE)
		turn.effective = pursue_due(&turn);
	else if (resend_command(&turn, timer))
		turn.effective = true;
	else
		(void) react_to_event(&turn);
	if (turn.effective)
		settle(&turn);
	finish_turn(&turn, DECIDE_IGNORE);
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

	begin_turn(&turn, machine, input, effects);
	abandon_undo(&turn);
	turn_enter(&turn, state);
	turn.effective = true;
	settle(&turn);
	finish_turn(&turn, DECIDE_IGNORE);
}

/*
 * An operator has compensations that are outstanding sent again at once.
 */
void
react_retry(Machine *machine, const Input *input, Effects *effects)
{
	Turn		turn;

	begin_turn(&turn, machine, input, effects);
	retry_outstanding(&turn);
	turn.effective = true;
	settle(&turn);
	finish_turn(&turn, DECIDE_IGNORE);
}

/*
 * What the definition says about cancelling; false if its guard does not hold.
 */
bool
react_cancel(Machine *machine, const Input *input, Effects *effects)
{
	Turn		turn;

	begin_turn(&turn, machine, input, effects);
	if (!turn_take(&turn, list_make1(machine->definition->cancel)))
		return false;
	turn.effective = true;
	settle(&turn);
	finish_turn(&turn, DECIDE_IGNORE);
	return true;
}

/*
 * The instance has another definition now: let its rules apply.
 */
void
react_migrated(Machine *machine, const Input *input, Effects *effects)
{
	Turn		turn;

	begin_turn(&turn, machine, input, effects);
	turn.effective = true;
	settle(&turn);
	finish_turn(&turn, DECIDE_IGNORE);
}

static void
begin_turn(Turn *turn, Machine *machine, const Input *input, Effects *effects)
{
	memset(turn, 0, sizeof(Turn));
	memset(effects, 0, sizeof(Effects));
	turn->machine = machine;
	turn->input = input;
	turn->effects = effects;
	turn->data_before = machine->data;
	turn->fact = NOWHERE;
	effects->from = machine->state;
	effects->actions = tree_array();
}

/*
 * The document that guards and templates see now.
 */
Document *
turn_document(Turn *turn)
{
	Machine    *machine = turn->machine;
	Tree	   *root;
	Tree	   *saga;

	if (turn->document.root != NULL && turn->seen_data == machine->data &&
		turn->seen_record == turn->record && turn->seen_key == turn->key &&
		turn->seen_state == machine->state && turn->seen_owed == turn->owed_count)
		return &turn->document;
	saga = tree_object();
	tree_put_text(saga, "name", machine->definition->name);
	tree_put_text(saga, "correlation_id", machine->id_text);
	tree_put_text(saga, "reference", step_key_reference(&machine->id));
	tree_put_text(
		saga, "state",
		machine->version == 0 ? NULL : definition_state(machine->definition, machine->state)->name);
	tree_put(saga, "version", tree_int(machine->version));
	tree_put(saga, "definition_version", tree_int(machine->definition->version));

	root = tree_object();
	tree_put(root, "saga", saga);
	tree_put(root, "data", machine->data);
	if (turn->input->message != NULL)
		tree_put(root, "message", turn->input->message);
	if (turn->input->envelope != NULL)
		tree_put(root, "envelope", turn->input->envelope);
	tree_put(root, "now", time_to_tree(turn->input->now));
	tree_put(root, "owed", tree_int(turn->owed_count));
	if (turn->record != NULL)
		tree_put(root, "record", turn->record);
	if (turn->key != NULL)
		tree_put_text(root, "key", turn->key);
	if (turn->input->reason != NULL)
		tree_put_text(root, "reason", turn->input->reason);

	turn->document = (Document) {root, NULL};
	turn->seen_data = machine->data;
	turn->seen_record = turn->record;
	turn->seen_key = turn->key;
	turn->seen_state = machine->state;
	turn->seen_owed = turn->owed_count;
	return &turn->document;
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

	if (reaction != NULL && turn_take(turn, reaction->transitions))
	{
		turn->effective = true;
		return DECIDE_IGNORE;
	}
	if (reaction != NULL && reaction->otherwise != DECIDE_UNDECIDED)
		decision = reaction->otherwise;
	return decision;
}

/*
 * Takes the first of some transitions whose guard holds.
 */
bool
turn_take(Turn *turn, List *transitions)
{
	ListCell   *cell;

	foreach(cell, transitions)
	{
		Transition *transition = lfirst(cell);

		if (transition->each != NOWHERE)
		{
			if (apply_each(turn, transition))
				return true;
		}
		else if (transition->guard == NULL ||
				 path_holds(transition->guard, turn_document(turn)))
		{
			apply_transition(turn, transition);
			return true;
		}
	}
	return false;
}

/*
 * Applies rules and asks for what is owed until neither changes anything.
 */
static void
settle(Turn *turn)
{
	for (int round = 0; round < MAX_ROUNDS; round++)
	{
		count_owed(turn);
		if (apply_always(turn))
			continue;
		if (pursue_owed(turn))
			continue;
		arm_outstanding(turn);
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

	return turn_take(turn, state->always);
}

/*
 * Applies a transition to every record it concerns; false if there is none.
 */
static bool
apply_each(Turn *turn, Transition *transition)
{
	const Fact *fact = definition_fact(turn->machine->definition, transition->each);
	int			outer_fact = turn->fact;
	Tree	   *outer_record = turn->record;
	bool		applied = false;
	ListCell   *cell;

	foreach(cell, fact_records(turn->machine->data, fact))
	{
		turn->fact = transition->each;
		turn->record = lfirst(cell);
		if (!transition->in[fact_status(fact, turn->record)] ||
			(transition->guard != NULL && !path_holds(transition->guard, turn_document(turn))))
			continue;
		apply_transition(turn, transition);
		applied = true;
	}
	turn->fact = outer_fact;
	turn->record = outer_record;
	return applied;
}

/*
 * Enters a state.  A final one takes all timers back and begins the retention.
 */
void
turn_enter(Turn *turn, int state)
{
	Machine    *machine = turn->machine;
	ListCell   *cell;

	if (definition_state(machine->definition, state)->final)
	{
		foreach(cell, machine->timers)
			if (((ArmedTimer *) lfirst(cell))->timer != TIMER_COMPENSATE)
				machine->timers = foreach_delete_current(machine->timers, cell);
		machine->resends = tree_object();
		machine_arm(machine, TIMER_RETAIN,
					turn->input->now + machine->definition->retain_for * 1000);
	}
	else
		machine_disarm(machine, TIMER_RETAIN);
	machine->state = state;
}

/*
 * Notes an action for the history.
 */
void
turn_note(Turn *turn, const char *action, Tree *details)
{
	Tree	   *entry = tree_put_text(tree_object(), "action", action);

	for (int i = 0; details != NULL && i < details->count; i++)
		tree_put(entry, pnstrdup(details->as.members[i].key, details->as.members[i].length),
				 details->as.members[i].value);
	tree_append(turn->effects->actions, entry);
}

void
turn_conflict(Turn *turn, const Fact *fact, const char *key, const char *from, const char *to)
{
	turn->effects->conflicts =
		lappend(turn->effects->conflicts, psprintf("\"%s\" %s is \"%s\" and cannot become \"%s\"",
												   fact->name, key, from, to));
}

static void
finish_turn(Turn *turn, Decision decision)
{
	Machine    *machine = turn->machine;
	Effects    *effects = turn->effects;

	if (!turn->effective)
	{
		effects->outcome = decision == DECIDE_DEFER	  ? OUTCOME_DEFERRED
						   : decision == DECIDE_FAULT ? OUTCOME_FAULTED
													  : OUTCOME_NOTHING;
		return;
	}
	if (machine->data != turn->data_before)
	{
		Tree	   *changes = changed_members(turn->data_before, machine->data);

		if (changes != NULL)
			turn_note(turn, "data", changes);
	}
	effects->outcome = OUTCOME_EFFECTIVE;
	effects->store = true;
	effects->moved = machine->state != effects->from;
	machine->version++;
	machine->updated_at = turn->input->now;
	if (effects->moved)
		machine->state_since = turn->input->now;
	machine->timer_failures = 0;
	if (!turn->alarmed)
		machine->alarm = NULL;
}

/*
 * What became of the members of data: {"set": {...}, "unset": [...]}, so that
 * the history replays to the instance; NULL if nothing did.
 */
static Tree *
changed_members(const Tree *before, const Tree *after)
{
	Tree	   *set = tree_object();
	Tree	   *unset = tree_array();
	Tree	   *result = tree_object();

	for (int i = 0; i < after->count; i++)
	{
		TreeMember *member = &after->as.members[i];

		if (!tree_equal(member->value, tree_get_n(before, member->key, member->length)))
			tree_put(set, pnstrdup(member->key, member->length), member->value);
	}
	for (int i = 0; i < before->count; i++)
	{
		TreeMember *member = &before->as.members[i];

		if (tree_get_n(after, member->key, member->length) == NULL)
			tree_append(unset, tree_string(member->key, member->length));
	}
	if (set->count > 0)
		tree_put(result, "set", set);
	if (unset->count > 0)
		tree_put(result, "unset", unset);
	return result->count > 0 ? result : NULL;
}
