/*
 * owed.c
 *		Compensations: what is owed by rule, and what "compensate" undoes.
 *
 * A rule of "owed" concerns records: as long as one is in the rule's statuses and
 * its guard holds, its command is outstanding; it is over when the record's status
 * says so.  A "compensate" undoes the steps sent so far; each is over when the
 * event that confirms it arrives.  Both are resent with back-off by one timer,
 * "compensate", which is set exactly as long as something is outstanding, and
 * given up after a while.
 */
#include "postgres.h"

#include "saga/turn.h"

#define MINUTE_MILLISECONDS INT64CONST(60000)

/* What compensations are resent by that say nothing about it. */
static const Backoff default_resend = {
	.kind = BACKOFF_EXPONENTIAL,
	.limit = BACKOFF_ENDLESS,
	.first = MINUTE_MILLISECONDS,
	.step = MINUTE_MILLISECONDS,
	.max = 15 * MINUTE_MILLISECONDS
};

static bool is_owed(Turn *turn, int rule, Tree *record);
static bool rule_waits(Turn *turn, const Owed *rule, const bool *owing);
static bool *rules_owing(Turn *turn);
static Outstanding *find_outstanding(Turn *turn, int rule, const char *key);
static bool ask_for_owed(Turn *turn);
static bool drop_settled(Turn *turn);
static bool pursue_undo(Turn *turn);
static void send_outstanding(Turn *turn, Outstanding *outstanding);
static void plan_next(Turn *turn, Outstanding *outstanding);
static bool give_up(Turn *turn, Outstanding *outstanding);
static Outstanding *add_undo_step(Turn *turn, const Tree *step);
static bool is_refused(Turn *turn, List *refusals);
static SendAction *find_compensated(const Definition *definition, const char *step);

/*
 * Works out how many records owe something, for $.owed.
 */
void
count_owed(Turn *turn)
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
pursue_owed(Turn *turn)
{
	bool		dropped = drop_settled(turn);
	bool		asked = ask_for_owed(turn);

	return pursue_undo(turn) || asked || dropped;
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
				find_outstanding(turn, index, key) != NULL)
				continue;
			outstanding = palloc0(sizeof(Outstanding));
			outstanding->rule = index;
			outstanding->key = key;
			machine->outstanding = lappend(machine->outstanding, outstanding);
			send_outstanding(turn, outstanding);
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

static Outstanding *
find_outstanding(Turn *turn, int rule, const char *key)
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
static void
send_outstanding(Turn *turn, Outstanding *outstanding)
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
			change_record(turn, fact, rule->to, record, NULL);
		turn->record = fact_find(machine->data, fact, outstanding->key);
		send_command(turn, rule->endpoint, rule->type,
					 evaluate_body(turn, rule->body, outstanding->key), outstanding->key)
			->schema_version = rule->schema_version;
		turn->record = outer;
	}
	else
	{
		Compensation *compensation =
			find_compensated(machine->definition, outstanding->step)->compensation;

		if (outstanding->body == NULL)
			outstanding->body = evaluate_body(turn, compensation->body, outstanding->key);
		send_command(turn, compensation->endpoint, compensation->type, outstanding->body,
					 outstanding->key)
			->schema_version = compensation->schema_version;
	}
	plan_next(turn, outstanding);
}

/*
 * When to resend, or to give up: at the exact time, whatever the back-off says.
 */
static void
plan_next(Turn *turn, Outstanding *outstanding)
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
 * The timer "compensate" has fired: resends or gives up what is due.
 */
bool
pursue_due(Turn *turn)
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
			send_outstanding(turn, outstanding);
			did = true;
		}
	}
	if (!did)
		arm_outstanding(turn);
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
	plan_next(turn, outstanding);
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
		(void) turn_take(turn, reaction->transitions);
	return true;
}

/*
 * Begins to undo the steps sent so far.
 */
void
begin_undo(Turn *turn, CompensateAction *compensate)
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
	if (find_compensated(turn->machine->definition, outstanding->step) == NULL ||
		find_outstanding(turn, NOWHERE, outstanding->key) != NULL)
		return NULL;
	turn->machine->outstanding = lappend(turn->machine->outstanding, outstanding);
	return outstanding;
}

/*
 * Sends the next compensation, or all of them, and leaves when all are confirmed.
 * One that was given up is no longer waited for, unless the definition says so.
 */
static bool
pursue_undo(Turn *turn)
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
			send_outstanding(turn, outstanding);
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
confirm_undo(Turn *turn)
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
		send = find_compensated(machine->definition, outstanding->step);
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
abandon_undo(Turn *turn)
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

/*
 * Does the event say that a compensation is refused for good?  Of a step without a
 * key in the message, that is the first one that was sent and can be refused so.
 */
bool
hear_refusals(Turn *turn)
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
					   : find_compensated(machine->definition, outstanding->step)
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

/*
 * Sends everything outstanding again at once, as if for the first time.
 */
void
retry_outstanding(Turn *turn)
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
		send_outstanding(turn, outstanding);
	}
}

/*
 * Sets the timer "compensate" to the next time something is due.
 */
void
arm_outstanding(Turn *turn)
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
		set_timer(turn, TIMER_COMPENSATE, next);
}

static SendAction *
find_compensated(const Definition *definition, const char *step)
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
