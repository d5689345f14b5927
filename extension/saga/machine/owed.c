/*
 * owed.c
 *		Compensations that are owed by rule, and when any is given up.
 *
 * A rule of "owed" concerns records: as long as one is in the rule's statuses and
 * its guard holds, its command is outstanding; it is over when the record's status
 * says so.  What was refused for good, or is not answered for long, is given up.
 */
#include "postgres.h"

#include "saga/machine/action.h"
#include "saga/machine/outstanding.h"
#include "saga/machine/owed.h"

static bool is_owed(Turn *turn, int rule, Tree *record);
static bool rule_waits(Turn *turn, const Owed *rule, const bool *owing);
static bool *rules_owing(Turn *turn);
static bool ask_for_owed(Turn *turn);
static bool drop_settled(Turn *turn);
static bool give_up(Turn *turn, Outstanding *outstanding);
static bool is_refused(Turn *turn, List *refusals);

/*
 * Works out how many records owe something, for $.owed.
 */
void
owed_count(Turn *turn)
{
	const Definition *definition = turn->machine->definition;
	int			count = 0;
	ListCell   *cell;

	for (int rule = 0; rule < list_length(definition->owed); rule++)
		foreach(cell, fact_records(turn->machine->data,
								   definition_fact(definition,
												   definition_owed(definition, rule)->fact)))
			if (is_owed(turn, rule, lfirst(cell)))
				count++;
	turn->owed_count = count;
}

/*
 * Sends what has become owed and forgets what no longer is; true if that changed
 * facts or the state.
 */
bool
owed_pursue(Turn *turn)
{
	bool		dropped = drop_settled(turn);
	bool		asked = ask_for_owed(turn);

	return undo_pursue(turn) || asked || dropped;
}

static bool
is_owed(Turn *turn, int index, Tree *record)
{
	const Owed *rule = definition_owed(turn->machine->definition, index);
	const Fact *fact = definition_fact(turn->machine->definition, rule->fact);
	Tree	   *outer = turn->record;
	bool		owed = rule->in[fact_status(fact, record)];

	if (owed && rule->guard != NULL)
	{
		turn->record = record;
		owed = path_holds(rule->guard, turn_document(turn));
		turn->record = outer;
	}
	return owed;
}

/*
 * Which rules owe something at all, as an array of flags.
 */
static bool *
rules_owing(Turn *turn)
{
	const Definition *definition = turn->machine->definition;
	bool	   *owing = palloc0(Max(list_length(definition->owed), 1) * sizeof(bool));
	ListCell   *cell;

	for (int rule = 0; rule < list_length(definition->owed); rule++)
		foreach(cell, fact_records(turn->machine->data,
								   definition_fact(definition,
												   definition_owed(definition, rule)->fact)))
			owing[rule] = owing[rule] || is_owed(turn, rule, lfirst(cell));
	return owing;
}

static bool
rule_waits(Turn *turn, const Owed *rule, const bool *owing)
{
	ListCell   *cell;

	foreach(cell, rule->after)
		if (owing[lfirst_int(cell)])
			return true;
	return false;
}

/*
 * Sends the command for each record that owes it and was not asked for yet.
 */
static bool
ask_for_owed(Turn *turn)
{
	Machine    *machine = turn->machine;
	const Definition *definition = machine->definition;
	bool	   *owing;
	bool		asked = false;
	ListCell   *cell;

	if (definition->owed == NIL)
		return false;
	owing = rules_owing(turn);
	for (int index = 0; index < list_length(definition->owed); index++)
	{
		const Owed *rule = definition_owed(definition, index);

		if (!owing[index] || rule_waits(turn, rule, owing))
			continue;
		foreach(cell, fact_records(machine->data, definition_fact(definition, rule->fact)))
		{
			char	   *key = tree_get_text(lfirst(cell), "key");
			Outstanding *outstanding;

			if (!is_owed(turn, index, lfirst(cell)) ||
				outstanding_find(turn, index, key) != NULL)
				continue;
			outstanding = palloc0(sizeof(Outstanding));
			outstanding->rule = index;
			outstanding->key = key;
			machine->outstanding = lappend(machine->outstanding, outstanding);
			outstanding_send(turn, outstanding);
			asked = true;
		}
	}
	return asked;
}

/*
 * Forgets what is no longer owed.
 */
static bool
drop_settled(Turn *turn)
{
	Machine    *machine = turn->machine;
	bool		dropped = false;
	ListCell   *cell;

	foreach(cell, machine->outstanding)
	{
		Outstanding *outstanding = lfirst(cell);
		Tree	   *record;

		if (outstanding->rule == NOWHERE)
			continue;
		record = fact_find(machine->data,
						   definition_fact(machine->definition,
										   definition_owed(machine->definition,
														   outstanding->rule)
											   ->fact),
						   outstanding->key);
		if (record != NULL && is_owed(turn, outstanding->rule, record))
			continue;
		machine->outstanding = foreach_delete_current(machine->outstanding, cell);
		dropped = true;
	}
	return dropped;
}

/*
 * The timer "compensate" has fired: resends or gives up what is due.
 */
bool
owed_pursue_due(Turn *turn)
{
	bool		did = false;
	ListCell   *cell;

	/* Giving up takes transitions, which may change the list. */
	foreach(cell, list_copy(turn->machine->outstanding))
	{
		Outstanding *outstanding = lfirst(cell);
		int64		give_up_after;

		if (!list_member_ptr(turn->machine->outstanding, outstanding) ||
			outstanding->since == 0 || outstanding->next > turn->input->now)
			continue;
		give_up_after =
			outstanding->rule == NOWHERE
				? turn->machine->undo->give_up_after
				: definition_owed(turn->machine->definition, outstanding->rule)->give_up_after;
		if (!outstanding->given_up && give_up_after > 0 &&
			outstanding->since + give_up_after * 1000 <= turn->input->now)
			did = give_up(turn, outstanding) || did;
		else
		{
			outstanding_send(turn, outstanding);
			did = true;
		}
	}
	if (!did)
		outstanding_arm(turn);
	return did;
}

/*
 * Leaves a compensation to an operator: by the state's reaction to gave_up:rule,
 * or into the state that "compensate" names.
 */
static bool
give_up(Turn *turn, Outstanding *outstanding)
{
	Machine    *machine = turn->machine;
	Tree	   *details = tree_put_text(tree_object(), "key", outstanding->key);
	State	   *state = definition_state(machine->definition, machine->state);
	Reaction   *reaction;

	outstanding->given_up = true;
	outstanding_plan(turn, outstanding);
	if (outstanding->rule == NOWHERE)
	{
		turn_note(turn, "give_up", tree_put_text(details, "step", outstanding->step));
		if (!machine->undo->given_up)
		{
			machine->undo->given_up = true;
			machine->undo->from = machine->state;
			turn_enter(turn, machine->undo->give_up);
		}
		return true;
	}
	turn_note(turn, "give_up",
			  tree_put_text(details, "rule",
							definition_owed(machine->definition, outstanding->rule)->name));
	reaction = state->reactions[event_of_give_up(machine->definition, outstanding->rule)];
	if (reaction != NULL)
		(void) transition_take(turn, reaction->transitions);
	return true;
}

/*
 * Does the event say that a compensation is refused for good?  Of a step without a
 * key in the message, that is the first one that was sent and can be refused so.
 */
bool
owed_hear_refusals(Turn *turn)
{
	Machine    *machine = turn->machine;
	char	   *key = tree_get_text(turn->input->message, "key");
	bool		heard = false;
	ListCell   *cell;

	foreach(cell, list_copy(machine->outstanding))
	{
		Outstanding *outstanding = lfirst(cell);
		List	   *refusals;

		if (outstanding->given_up || outstanding->since == 0 ||
			(key == NULL ? outstanding->rule != NOWHERE || heard
						 : strcmp(key, outstanding->key) != 0))
			continue;
		refusals = outstanding->rule != NOWHERE
					   ? definition_owed(machine->definition, outstanding->rule)->refusals
					   : undo_of_step(machine->definition, outstanding->step)
							 ->compensation->refusals;
		if (is_refused(turn, refusals))
			heard = give_up(turn, outstanding);
	}
	return heard;
}

static bool
is_refused(Turn *turn, List *refusals)
{
	ListCell   *cell;

	foreach(cell, refusals)
	{
		Refusal    *refusal = lfirst(cell);

		if (refusal->event == turn->input->event &&
			(refusal->guard == NULL || path_holds(refusal->guard, turn_document(turn))))
			return true;
	}
	return false;
}
