/*
 * outstanding.c
 *		Commands that were sent and are not answered, and what "compensate" undoes.
 *
 * What is outstanding is owed by a rule, or undoes a step; either is resent with
 * back-off by one timer, "compensate", which is set exactly as long as something is
 * outstanding.  A "compensate" undoes the steps sent so far; each is over when the
 * event that confirms it arrives.
 */
#include "postgres.h"

#include "saga/machine/outstanding.h"

#define MINUTE_MILLISECONDS INT64CONST(60000)

/* What compensations are resent by that say nothing about it. */
static const Backoff default_resend = {
	.kind = BACKOFF_EXPONENTIAL,
	.limit = BACKOFF_ENDLESS,
	.first = MINUTE_MILLISECONDS,
	.step = MINUTE_MILLISECONDS,
	.max = 15 * MINUTE_MILLISECONDS
};

static Outstanding *add_undo_step(Turn *turn, const Tree *step);

Outstanding *
outstanding_find(Turn *turn, int rule, const char *key)
{
	ListCell   *cell;

	foreach(cell, turn->machine->outstanding)
	{
		Outstanding *outstanding = lfirst(cell);

		if (outstanding->rule == rule && strcmp(outstanding->key, key) == 0)
			return outstanding;
	}
	return NULL;
}

/*
 * Sends an outstanding command, the first time or again, and plans the next time.
 */
void
outstanding_send(Turn *turn, Outstanding *outstanding)
{
	Machine    *machine = turn->machine;

	if (outstanding->sends++ == 0)
		outstanding->since = turn->input->now;
	if (outstanding->rule != NOWHERE)
	{
		const Owed *rule = definition_owed(machine->definition, outstanding->rule);
		const Fact *fact = definition_fact(machine->definition, rule->fact);
		Tree	   *outer = turn->record;
		Tree	   *record = fact_find(machine->data, fact, outstanding->key);

		if (fact_status(fact, record) != rule->to)
			turn_change_record(turn, fact, rule->to, record, NULL);
		turn->record = fact_find(machine->data, fact, outstanding->key);
		turn_send(turn, rule->endpoint, rule->type,
					 turn_body(turn, rule->body, outstanding->key), outstanding->key)
			->schema_version = rule->schema_version;
		turn->record = outer;
	}
	else
	{
		Compensation *compensation =
			undo_of_step(machine->definition, outstanding->step)->compensation;

		if (outstanding->body == NULL)
			outstanding->body = turn_body(turn, compensation->body, outstanding->key);
		turn_send(turn, compensation->endpoint, compensation->type, outstanding->body,
					 outstanding->key)
			->schema_version = compensation->schema_version;
	}
	outstanding_plan(turn, outstanding);
}

/*
 * When to resend, or to give up: at the exact time, whatever the back-off says.
 */
void
outstanding_plan(Turn *turn, Outstanding *outstanding)
{
	Machine    *machine = turn->machine;
	const Owed *rule = outstanding->rule == NOWHERE
						   ? NULL
						   : definition_owed(machine->definition, outstanding->rule);
	const Backoff *resend = rule != NULL ? rule->resend : machine->undo->resend;
	int64		give_up_after = rule != NULL ? rule->give_up_after : machine->undo->give_up_after;
	TimestampTz give_up_at =
		give_up_after > 0 ? outstanding->since + give_up_after * 1000 : DT_NOEND;

	if (outstanding->given_up)
	{
		outstanding->next = rule != NULL && rule->then_every > 0
								? turn->input->now + rule->then_every * 1000
								: DT_NOEND;
		return;
	}
	if (resend == NULL)
		resend = &default_resend;
	outstanding->next = give_up_at;
	if (resend->kind != BACKOFF_NONE && outstanding->sends <= resend->limit)
		outstanding->next = Min(give_up_at, turn->input->now + 1000 *
								delay_of(resend, outstanding->sends - 1,
										 machine_seed(machine, outstanding->key)));
}

/*
 * Sends everything outstanding again at once, as if for the first time.
 */
void
outstanding_retry(Turn *turn)
{
	Machine    *machine = turn->machine;
	ListCell   *cell;

	if (machine->undo != NULL && machine->undo->given_up)
	{
		machine->undo->given_up = false;
		turn_enter(turn, machine->undo->from);
	}
	foreach(cell, machine->outstanding)
	{
		Outstanding *outstanding = lfirst(cell);

		if (outstanding->since == 0)
			continue;
		outstanding->given_up = false;
		outstanding->sends = 0;
		outstanding_send(turn, outstanding);
	}
}

/*
 * Sets the timer "compensate" to the next time something is due.
 */
void
outstanding_arm(Turn *turn)
{
	Machine    *machine = turn->machine;
	ArmedTimer *armed = machine_armed(machine, TIMER_COMPENSATE);
	TimestampTz next = DT_NOEND;
	ListCell   *cell;

	foreach(cell, machine->outstanding)
	{
		Outstanding *outstanding = lfirst(cell);

		if (outstanding->since != 0)
			next = Min(next, outstanding->next);
	}
	if (next == DT_NOEND)
		machine_disarm(machine, TIMER_COMPENSATE);
	else if (armed == NULL || armed->due != next)
		turn_set_timer(turn, TIMER_COMPENSATE, next);
}

/*
 * Begins to undo the steps sent so far.
 */
void
undo_begin(Turn *turn, CompensateAction *compensate)
{
	Machine    *machine = turn->machine;
	Tree	   *steps = machine->steps;
	Undo	   *undo = palloc0(sizeof(Undo));
	ListCell   *cell;

	undo->parallel = compensate->order == COMPENSATE_PARALLEL;
	undo->stops = compensate->stops;
	undo->then = compensate->then;
	undo->give_up = compensate->give_up;
	undo->from = machine->state;
	undo->resend = compensate->resend;
	undo->resend_source = compensate->resend_source;
	undo->give_up_after = compensate->give_up_after;
	if (machine->undo == NULL)
		machine->undo = undo;
	machine->steps = tree_array();
	for (int i = 0; i < steps->count; i++)
	{
		int			at = compensate->order == COMPENSATE_REVERSE ? steps->count - 1 - i : i;

		if (compensate->order != COMPENSATE_LISTED)
			add_undo_step(turn, steps->as.items[at]);
	}
	foreach(cell, compensate->steps)
		for (int i = 0; i < steps->count; i++)
			if (tree_is_text(tree_get(steps->as.items[i], "step"), lfirst(cell)))
				add_undo_step(turn, steps->as.items[i]);
}

static Outstanding *
add_undo_step(Turn *turn, const Tree *step)
{
	Outstanding *outstanding = palloc0(sizeof(Outstanding));

	outstanding->rule = NOWHERE;
	outstanding->step = tree_get_text(step, "step");
	outstanding->key = tree_get_text(step, "key");
	outstanding->next = DT_NOEND;
	/* A definition migrated to may know the step no longer. */
	if (undo_of_step(turn->machine->definition, outstanding->step) == NULL ||
		outstanding_find(turn, NOWHERE, outstanding->key) != NULL)
		return NULL;
	turn->machine->outstanding = lappend(turn->machine->outstanding, outstanding);
	return outstanding;
}

/*
 * Sends the next compensation, or all of them, and leaves when all are confirmed.
 * One that was given up is no longer waited for, unless the definition says so.
 */
bool
undo_pursue(Turn *turn)
{
	Machine    *machine = turn->machine;
	bool		any = false;
	bool		awaited = false;
	ListCell   *cell;

	if (machine->undo == NULL)
		return false;
	foreach(cell, machine->outstanding)
	{
		Outstanding *outstanding = lfirst(cell);

		if (outstanding->rule != NOWHERE)
			continue;
		if (outstanding->since == 0 && (!awaited || machine->undo->parallel))
			outstanding_send(turn, outstanding);
		any = true;
		if (!outstanding->given_up || machine->undo->stops)
			awaited = true;
	}
	if (any)
		return false;
	turn_note(turn, "compensated", NULL);
	if (machine->undo->then != machine->state)
		turn_enter(turn, machine->undo->then);
	machine->undo = NULL;
	return true;
}

/*
 * Does the event confirm a compensation?  With a key it must be the step's own.
 */
bool
undo_confirm(Turn *turn)
{
	Machine    *machine = turn->machine;
	char	   *key = tree_get_text(turn->input->message, "key");
	bool		confirmed = false;
	ListCell   *cell;

	foreach(cell, machine->outstanding)
	{
		Outstanding *outstanding = lfirst(cell);
		SendAction *send;

		if (outstanding->rule != NOWHERE || outstanding->since == 0)
			continue;
		send = undo_of_step(machine->definition, outstanding->step);
		if (send->compensation->confirmed_by != turn->input->event ||
			(key != NULL && strcmp(key, outstanding->key) != 0))
			continue;
		turn_note(turn, "confirmed", tree_put_text(tree_object(), "step", outstanding->step));
		machine->outstanding = foreach_delete_current(machine->outstanding, cell);
		confirmed = true;
		if (key == NULL)
			break;
	}
	return confirmed;
}

/*
 * Leaves steps as they are, undone or not.
 */
void
undo_abandon(Turn *turn)
{
	Machine    *machine = turn->machine;
	ListCell   *cell;

	if (machine->undo == NULL)
		return;
	machine->undo = NULL;
	foreach(cell, machine->outstanding)
	{
		Outstanding *outstanding = lfirst(cell);

		if (outstanding->rule != NOWHERE)
			continue;
		turn_note(turn, "abandon", tree_put_text(tree_object(), "step", outstanding->step));
		machine->outstanding = foreach_delete_current(machine->outstanding, cell);
	}
}

SendAction *
undo_of_step(const Definition *definition, const char *step)
{
	ListCell   *cell;

	foreach(cell, definition->sends)
	{
		SendAction *send = lfirst(cell);

		if (send->compensation != NULL && strcmp(send->step, step) == 0)
			return send;
	}
	return NULL;
}
