/*
 * turn.c
 *		One reaction while it is worked out: what it sees, changes and sends.
 *
 * Guards and templates see the document as it is at that moment.  Whatever changes
 * the machine is noted for the history.
 */
#include "postgres.h"

#include "pg/context.h"
#include "saga/machine/turn.h"
#include "saga/value/step_key.h"

static Tree *changed_members(const Tree *before, const Tree *after);

void
turn_begin(Turn *turn, Machine *machine, const Input *input, Effects *effects)
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
 * Moves a record along the lattice and writes attributes into it.
 */
void
turn_change_record(Turn *turn, const Fact *fact, int to, Tree *record, Tree *set)
{
	Growth		growth = fact_do(turn->machine->data, fact, to, record, set);
	char	   *key = tree_get_text(record, "key");

	if (growth.conflict)
	{
		turn_conflict(turn, fact, key, fact->statuses[growth.from], fact->statuses[to]);
		return;
	}
	turn->machine->data = growth.data;
	if (turn->record != NULL && tree_is_text(tree_get(turn->record, "key"), key))
		turn->record = fact_find(growth.data, fact, key);
	if (growth.from != growth.to)
	{
		Tree	   *details = tree_put_text(tree_object(), "of", fact->name);

		tree_put_text(details, "key", key);
		tree_put_text(details, "from", fact->statuses[growth.from]);
		turn_note(turn, "fact", tree_put_text(details, "to", fact->statuses[growth.to]));
	}
}

/*
 * A command's body, with its step key in it.
 */
Tree *
turn_body(Turn *turn, const Template *body, const char *key)
{
	const char *outer = turn->key;
	Tree	   *result;

	turn->key = key;
	result = body == NULL ? tree_object() : template_evaluate(body, turn_document(turn));
	turn->key = outer;
	if (result->type == TREE_OBJECT && tree_get(result, "key") == NULL)
		result = tree_with(result, "key", tree_text(key));
	return result;
}

/*
 * Adds a command to what is sent, and returns it.  The id of the n-th message with a key follows
 * from key and n, so that the same command is never delivered twice.
 */
OutMessage *
turn_send(Turn *turn, const char *endpoint, const char *type, Tree *body, const char *key)
{
	Machine    *machine = turn->machine;
	OutMessage *message = palloc0(sizeof(OutMessage));
	int64		sends = tree_to_int(tree_get(machine->sends, key), 0) + 1;
	pg_uuid_t	space;
	Tree	   *details;

	(void) uuid_parse(key, (int) strlen(key), &space);
	uuid_v5(&space, psprintf(INT64_FORMAT, sends), &message->message_id);
	machine->sends = tree_with(machine->sends, key, tree_int(sends));
	message->endpoint = endpoint;
	message->type = type;
	message->body = body;
	message->step_key = key;
	message->partition_key = machine->id_text;
	turn->effects->messages = lappend(turn->effects->messages, message);

	details = tree_put_text(tree_object(), "type", type);
	tree_put_text(details, "endpoint", endpoint);
	tree_put_text(details, "key", key);
	turn_note(turn, "send", tree_put_text(details, "message_id", uuid_text(&message->message_id)));
	return message;
}

/*
 * Sets a timer, and notes it.
 */
void
turn_set_timer(Turn *turn, int timer, TimestampTz due)
{
	Tree	   *details = tree_put_text(tree_object(), "timer",
										definition_timer(turn->machine->definition, timer));

	machine_arm(turn->machine, timer, due);
	turn_note(turn, "schedule", tree_put(details, "due_at", time_to_tree(due)));
}

void
turn_finish(Turn *turn, Decision decision)
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
