/*
 * action.c
 *		What a transition does to the machine, and what it sends.
 *
 * The order is fixed: call, set, facts, timers taken back, commands, messages,
 * events, timers set, the alarm, the state, and compensation last.  Each sees what the
 * ones before it have written.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/order.h"
#include "pg/context.h"
#include "saga/definition/call.h"
#include "saga/machine/action.h"
#include "saga/machine/outstanding.h"
#include "saga/value/step_key.h"

static bool apply_each(Turn *turn, Transition *transition);
static void apply(Turn *turn, Transition *transition);
static void apply_data(Turn *turn, Transition *transition);
static void apply_fact(Turn *turn, FactChange *change);
static void apply_send(Turn *turn, SendAction *send);
static char *send_key(Turn *turn, SendAction *send);
static void send_fact(Turn *turn, SendAction *send, const char *key, int64 attempt);
static SendAction *find_resent(const Definition *definition, int timer, const char *step);
static void apply_publish(Turn *turn, PublishAction *publish);
static void apply_append(Turn *turn, AppendAction *append);
static void apply_schedule(Turn *turn, ScheduleAction *schedule);
static void apply_unschedule(Turn *turn, Transition *transition);
static int64 whole_number(const Template *template, Document *document, const char *what,
						  int64 least);
static bool applies(Turn *turn, const Path *condition);

/*
 * Takes the first of some transitions whose guard holds.
 */
bool
transition_take(Turn *turn, List *transitions)
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
			apply(turn, transition);
			return true;
		}
	}
	return false;
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
		apply(turn, transition);
		applied = true;
	}
	turn->fact = outer_fact;
	turn->record = outer_record;
	return applied;
}

/*
 * Applies a transition whose guard holds.
 */
static void
apply(Turn *turn, Transition *transition)
{
	Machine    *machine = turn->machine;
	ListCell   *cell;

	if (transition->label != NULL)
		turn_note(turn, "because", tree_put_text(tree_object(), "why", transition->label));
	apply_data(turn, transition);
	foreach(cell, transition->facts)
		apply_fact(turn, lfirst(cell));
	apply_unschedule(turn, transition);
	foreach(cell, transition->sends)
		if (applies(turn, ((SendAction *) lfirst(cell))->condition))
			apply_send(turn, lfirst(cell));
	foreach(cell, transition->publishes)
		if (applies(turn, ((PublishAction *) lfirst(cell))->condition))
			apply_publish(turn, lfirst(cell));
	foreach(cell, transition->appends)
		if (applies(turn, ((AppendAction *) lfirst(cell))->condition))
			apply_append(turn, lfirst(cell));
	foreach(cell, transition->schedules)
		if (applies(turn, ((ScheduleAction *) lfirst(cell))->condition))
			apply_schedule(turn, lfirst(cell));
	if (transition->alarm != NULL)
	{
		turn->alarmed = true;
		machine->alarm = transition->alarm;
		machine->alarm_since = turn->input->now;
		turn_note(turn, "alarm", tree_put_text(tree_object(), "alarm", transition->alarm));
	}
	if (transition->target != NOWHERE && transition->target != machine->state)
		turn_enter(turn, transition->target);
	if (transition->compensate != NULL)
		undo_begin(turn, transition->compensate);
}

/*
 * What a function computes, then what the templates say, goes into data.
 */
static void
apply_data(Turn *turn, Transition *transition)
{
	Machine    *machine = turn->machine;

	if (transition->call != NULL)
		machine->data = tree_merge(machine->data,
								   call_function(transition->call, turn_document(turn)));
	if (transition->set != NULL)
		machine->data = tree_merge(machine->data,
								   template_patch(transition->set, turn_document(turn)));
}

/*
 * Changes the record with the given key, the one at hand, or the latest one.
 */
static void
apply_fact(Turn *turn, FactChange *change)
{
	Machine    *machine = turn->machine;
	const Fact *fact = definition_fact(machine->definition, change->fact);
	char	   *key = NULL;
	Tree	   *record;
	Tree	   *set;

	if (change->key != NULL)
		key = template_text(change->key, turn_document(turn));
	else if (turn->record != NULL && turn->fact == change->fact)
		key = tree_get_text(turn->record, "key");
	record = key != NULL ? fact_find(machine->data, fact, key) : fact_latest(machine->data, fact);
	if (record == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("fact \"%s\" has no record %s", fact->name, key != NULL ? key : "yet")));
	set = change->set == NULL ? NULL : template_patch(change->set, turn_document(turn));
	turn_change_record(turn, fact, change->to, record, set);
}

/*
 * Sends a command: a step with a key of its own, or one more with a known key.
 */
static void
apply_send(Turn *turn, SendAction *send)
{
	Machine    *machine = turn->machine;
	char	   *key = send_key(turn, send);
	int64		attempt = send->attempt == NULL
						? 1
						: whole_number(send->attempt, turn_document(turn), "attempt", 1);

	if (send->fact != NULL)
		send_fact(turn, send, key, attempt);
	turn_send(turn, send->endpoint, send->type, turn_body(turn, send->body, key), key)
		->schema_version = send->schema_version;
	if (send->timer != NOWHERE)
	{
		Tree	   *resend = tree_object();

		tree_put_text(resend, "step", send->step);
		tree_put_text(resend, "key", key);
		tree_put(resend, "left", tree_int(send->resend->limit));
		machine->resends = tree_with(machine->resends,
									 definition_timer(machine->definition, send->timer), resend);
		turn_set_timer(turn, send->timer, turn->input->now + send->resend->first * 1000);
	}
	if (send->compensation != NULL)
	{
		Tree	   *step = tree_put_text(tree_object(), "step", send->step);

		machine->steps = tree_with_appended(machine->steps, tree_put_text(step, "key", key));
	}
}

static char *
send_key(Turn *turn, SendAction *send)
{
	Machine    *machine = turn->machine;
	char	   *attempt = "1";
	char	   *key;
	pg_uuid_t	parsed;

	if (send->key == NULL)
	{
		if (send->attempt != NULL)
			attempt = template_text(send->attempt, turn_document(turn));
		return step_key(machine->definition->name, machine->id_text, send->step, attempt);
	}
	key = template_text(send->key, turn_document(turn));
	if (!uuid_parse(key, (int) strlen(key), &parsed))
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("key \"%s\" of command \"%s\" is no UUID", key, send->type)));
	return key;
}

/*
 * The record that the command concerns; a key without one makes a new record.
 */
static void
send_fact(Turn *turn, SendAction *send, const char *key, int64 attempt)
{
	const Fact *fact = definition_fact(turn->machine->definition, send->fact->fact);
	Tree	   *record = fact_find(turn->machine->data, fact, key);
	Tree	   *set;

	if (record == NULL)
	{
		record = tree_put_text(tree_object(), "key", key);
		tree_put(record, "attempt", tree_int(attempt));
	}
	set = send->fact->set == NULL ? NULL : template_patch(send->fact->set, turn_document(turn));
	turn_change_record(turn, fact, send->fact->to, record, set);
}

/*
 * Repeats the command that the timer belongs to, with the same key; false if it
 * belongs to none or its resends are used up.
 */
bool
resend_command(Turn *turn, int timer)
{
	Machine    *machine = turn->machine;
	const char *name = definition_timer(machine->definition, timer);
	Tree	   *resend = tree_get(machine->resends, name);
	int64		left = tree_to_int(tree_get(resend, "left"), 0);
	SendAction *send = resend == NULL || left <= 0
						   ? NULL
						   : find_resent(machine->definition, timer, tree_get_text(resend, "step"));
	char	   *key;

	if (send == NULL)
	{
		if (resend != NULL)
			machine->resends = tree_without(machine->resends, name);
		return false;
	}
	key = tree_get_text(resend, "key");
	turn_send(turn, send->endpoint, send->type, turn_body(turn, send->body, key), key)
		->schema_version = send->schema_version;
	machine->resends = tree_with(machine->resends, name,
								 tree_with(resend, "left", tree_int(left - 1)));
	turn_set_timer(turn, timer, turn->input->now + send->resend->first * 1000);
	return true;
}

/*
 * The command of a step that a timer resends; verification lets there be one.
 */
static SendAction *
find_resent(const Definition *definition, int timer, const char *step)
{
	ListCell   *cell;

	foreach(cell, definition->sends)
	{
		SendAction *send = lfirst(cell);

		if (send->timer == timer && strcmp(send->step, step) == 0)
			return send;
	}
	return NULL;
}

static void
apply_publish(Turn *turn, PublishAction *publish)
{
	Machine    *machine = turn->machine;
	OutMessage *message = palloc0(sizeof(OutMessage));
	Tree	   *details;

	uuid_v5(step_key_namespace(),
			psprintf("%s:%s:publish:%d:%d", machine->definition->name, machine->id_text,
					 machine->version + 1, ++turn->published),
			&message->message_id);
	message->type = publish->type;
	message->schema_version = publish->schema_version;
	message->body = publish->body == NULL ? tree_object()
										  : template_evaluate(publish->body, turn_document(turn));
	message->partition_key =
		publish->key == NULL ? machine->id_text : template_text(publish->key, turn_document(turn));
	turn->effects->messages = lappend(turn->effects->messages, message);

	details = tree_put_text(tree_object(), "type", publish->type);
	turn_note(turn, "publish",
			  tree_put_text(details, "message_id", uuid_text(&message->message_id)));
}

static void
apply_append(Turn *turn, AppendAction *append)
{
	Document   *document = turn_document(turn);
	OutEvent   *event = palloc0(sizeof(OutEvent));
	Tree	   *details;

	event->stream = template_text(append->stream, document);
	event->type = append->type;
	event->schema_version = append->schema_version;
	event->data = template_evaluate(append->data, document);
	event->expected_version =
		append->expected_version == NULL
			? -1
			: whole_number(append->expected_version, document, "expected_version", 0);
	event->skip_existing = append->skip_existing;
	turn->effects->events = lappend(turn->effects->events, event);

	details = tree_put_text(tree_object(), "type", append->type);
	turn_note(turn, "append", tree_put_text(details, "stream", event->stream));
}

static void
apply_schedule(Turn *turn, ScheduleAction *schedule)
{
	Machine    *machine = turn->machine;
	Document   *document = turn_document(turn);
	TimestampTz due = turn->input->now;
	const char *name = definition_timer(machine->definition, schedule->timer);

	if (schedule->at != NULL)
		due = greater(due, time_from_tree(template_evaluate(schedule->at, document)));
	else if (schedule->delay != NULL)
	{
		Datum		interval = DirectFunctionCall3(interval_in,
												   CStringGetDatum(template_text(schedule->delay,
																				 document)),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1));

		due = greater(due, time_plus(due, DatumGetIntervalP(interval), name));
	}
	else
	{
		int64		attempt = schedule->attempt == NULL
							? 1
							: whole_number(schedule->attempt, document, "attempt", 1);

		attempt = Min(attempt, FIELD_MAX_COUNT);
		due += delay_of(schedule->backoff, (int) attempt - 1, machine_seed(machine, name)) * 1000;
	}
	machine->resends = tree_without(machine->resends, name);
	turn_set_timer(turn, schedule->timer, due);
}

static void
apply_unschedule(Turn *turn, Transition *transition)
{
	Machine    *machine = turn->machine;
	ListCell   *cell;

	if (transition->unschedule_all)
	{
		foreach(cell, machine->timers)
			if (((ArmedTimer *) lfirst(cell))->timer >= TIMER_BUILT_IN)
				machine->timers = foreach_delete_current(machine->timers, cell);
		machine->resends = tree_object();
		turn_note(turn, "unschedule", tree_put_text(tree_object(), "timer", "*"));
		return;
	}
	foreach(cell, transition->unschedule)
	{
		const char *name = definition_timer(machine->definition, lfirst_int(cell));

		if (!machine_disarm(machine, lfirst_int(cell)))
			continue;
		machine->resends = tree_without(machine->resends, name);
		turn_note(turn, "unschedule", tree_put_text(tree_object(), "timer", name));
	}
}

/*
 * The number that a template yields; SG005 if it is none, or too small.
 */
static int64
whole_number(const Template *template, Document *document, const char *what, int64 least)
{
	Tree	   *value = template_evaluate(template, document);
	int64		number = tree_to_int(value, least - 1);

	if (number < least)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("\"%s\" must be a whole number from " INT64_FORMAT ", and is %s", what,
						least, tree_to_text(value))));
	return number;
}

static bool
applies(Turn *turn, const Path *condition)
{
	return condition == NULL || path_holds(condition, turn_document(turn));
}
