/*
 * inbox.c
 *		Messages of an endpoint, taken in batches and given to their instances.
 *
 * A batch is one subtransaction: when every message goes well, as most do, that is
 * all there is to pay.  If one fails, the batch is undone and its messages are
 * taken one by one, each in a subtransaction of its own; the one that fails goes
 * through the endpoint's retry policy, and its instance stays as it was.  What
 * cannot be read, or yields no correlation id, never will: it is dead at once.
 *
 * Lock protocol: the bus gives messages of lanes that nobody else holds.  The
 * instances of a batch are locked before the first message is handled, in the
 * order of their ids, so that two batches do not wait for one another in a circle.
 * A deadlock with something else gives the rest of the batch back to the bus.
 *
 * In the background nobody's lock is waited for beyond lock_timeout.  A message
 * that would have to wait - for its instance, for a stream it appends to - is set
 * aside for a while, which is no attempt; those behind it go on.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "pg/clock.h"
#include "pg/limit.h"
#include "pg/subtransaction.h"
#include "pg/tell.h"
#include "saga/engine/engine.h"
#include "saga/engine/envelope.h"
#include "saga/value/step_key.h"

/*
 * How long a message waits that somebody's lock is in the way of: a part of its
 * age, within these, in microseconds.
 */
#define BUSY_DELAY_MIN (50 * INT64CONST(1000))
#define BUSY_DELAY_MAX (2 * USECS_PER_SEC)

/* After a lock was in the way, none is waited for, in milliseconds. */
#define IMPATIENT_TIME 1000

/* A message and the instances it is for: one of each saga that lists its type. */
typedef struct Letter
{
	BusDelivery *delivery;
	Tree	   *body;			/* this and the envelope: NULL until needed */
	Tree	   *envelope;
	bool		reading;		/* an error now is the message's own fault */
	bool		known;			/* some saga lists its type */
	List	   *slots;			/* of Slot */
} Letter;

/* A message and why it failed. */
typedef struct FailedLetter
{
	const Letter *letter;
	const ErrorData *error;
} FailedLetter;

/* An instance that messages of the batch are for. */
typedef struct Slot
{
	Definition *definition;		/* the current one, that knows the event */
	pg_uuid_t	id;
	Machine    *machine;		/* NULL: there is none */
	bool		busy;			/* somebody else has it */
} Slot;

typedef struct Batch
{
	const char *endpoint;
	List	   *letters;
	List	   *slots;
	bool		patient;		/* waits for instances */
	int			handled;		/* so many letters, from the first */
} Batch;

static void process_batch(void *argument);
static ErrorData *process_singly(Batch *batch);
static ErrorData *settle_failed(const Letter *letter, const ErrorData *error);
static char *addressees(const Letter *letter);
static void fail_letter(void *argument);
static void skip_letter(void *argument);
static bool is_conflict(const ErrorData *error);
static bool is_patient(bool found_busy);
static void postpone(const Letter *letter);
static bool is_busy(const Letter *letter);
static void address_letter(Batch *batch, Letter *letter);
static void keep_addressee(Letter *letter);
static void correlate(const Definition *definition, const SagaEvent *event, Letter *letter,
					  pg_uuid_t *id);
static Slot *find_slot(Batch *batch, Definition *definition, const pg_uuid_t *id);
static void load_slots(Batch *batch);
static void load_slot(Slot *slot, bool patient);
static bool handle_letter(Batch *batch, Letter *letter);
static bool handle_slot(Batch *batch, Letter *letter, Slot *slot);
static bool has_come(const Letter *letter, const Slot *slot);
static bool start_instance(Letter *letter, Slot *slot);
static Tree *letter_body(Letter *letter, const Definition *definition);
static const Tree *letter_envelope(Letter *letter);
static Letter *open_letter(BusDelivery *delivery);

/*
 * Handles messages of an endpoint in this transaction: up to run->max, and in the
 * background as many as fit into the turn.
 */
void
inbox_run(const char *endpoint, InboxRun *run)
{
	BusDelivery *deliveries;
	Batch		batch = {endpoint};
	ErrorData  *error;

	run->received = message_bus_receive(endpoint, run->max, &deliveries);
	run->settled = 0;
	if (run->received == 0)
		return;
	for (int i = 0; i < run->received; i++)
		batch.letters = lappend(batch.letters, open_letter(&deliveries[i]));
	batch.patient = is_patient(false);
	if (!subtransaction_run(process_batch, &batch, &error))
		error = process_singly(&batch);
	run->settled = batch.handled;
	if (error != NULL)
		ereport(LOG,
				(errmsg("messages of endpoint \"%s\" are handled again: %s", endpoint,
						error->message)));
}

static void
process_batch(void *argument)
{
	Batch	   *batch = argument;
	int64	   *handled = palloc(list_length(batch->letters) * sizeof(int64));
	int			count = 0;
	ListCell   *cell;

	batch->slots = NIL;
	batch->handled = 0;
	limit_next_piece();
	foreach(cell, batch->letters)
		address_letter(batch, lfirst(cell));
	load_slots(batch);
	foreach(cell, batch->letters)
	{
		Letter	   *letter = lfirst(cell);

		if (batch->handled > 0 && limit_portion_over())
			break;
		limit_next_piece();
		message_bus_watch(letter->delivery->delivery_id);
		if (is_busy(letter))
			postpone(letter);
		else if (handle_letter(batch, letter))
			handled[count++] = letter->delivery->delivery_id;
		batch->handled++;
	}
	message_bus_ack(handled, count);
}

/*
 * One by one; returns the error of a conflict with another transaction, after
 * which the rest must be left to a later one.
 */
static ErrorData *
process_singly(Batch *batch)
{
	ListCell   *cell;

	batch->handled = 0;
	foreach(cell, batch->letters)
	{
		Letter	   *letter = lfirst(cell);
		Batch		single = {batch->endpoint, list_make1(letter)};
		ErrorData  *error;

		if (batch->handled > 0 && limit_portion_over())
			break;
		limit_next_piece();
		single.patient = is_patient(true);
		(void) subtransaction_run(process_batch, &single, &error);
		if (error != NULL && error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE &&
			compat_is_background_worker())
			postpone(letter);
		else if (error != NULL && is_conflict(error))
			return error;
		else if (error != NULL && (error = settle_failed(letter, error)) != NULL)
			return error;
		batch->handled++;
	}
	return NULL;
}

static bool
is_conflict(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

/*
 * Whether to wait for instances.  By hand always; in the background not while
 * somebody has kept us waiting lately, which found_busy tells.
 */
static bool
is_patient(bool found_busy)
{
	static TimestampTz impatient_until = 0;
	TimestampTz now;

	if (!compat_is_background_worker())
		return true;
	now = GetCurrentTimestamp();
	if (found_busy)
		impatient_until = TimestampTzPlusMilliseconds(now, IMPATIENT_TIME);
	return now >= impatient_until;
}

/*
 * Sets a message aside that would have to wait for somebody's lock.
 */
static void
postpone(const Letter *letter)
{
	TimestampTz now = clock_now();
	int64		age = now - letter->delivery->message.sent_at;

	message_bus_snooze(letter->delivery->delivery_id,
					   now + Min(Max(age / 4, BUSY_DELAY_MIN), BUSY_DELAY_MAX),
					   "somebody else has its instance or a stream");
}

static bool
is_busy(const Letter *letter)
{
	ListCell   *cell;

	foreach(cell, letter->slots)
		if (((Slot *) lfirst(cell))->busy)
			return true;
	return false;
}

/*
 * Gives a message that failed to the bus, which retries or buries it.  If the bus
 * cannot do what it does with failures (such as to build their Fault), it buries
 * the message without; the error of that is returned.
 */
static ErrorData *
settle_failed(const Letter *letter, const ErrorData *error)
{
	const BusMessage *message = &letter->delivery->message;
	FailedLetter failure = {letter, error};
	ErrorData  *worse;

	tell_when_committed(LOG, "message %s %s with correlation %s failed%s: %s",
						message->message_type, uuid_text(&message->message_id),
						uuid_text(&message->correlation_id), addressees(letter), error->message);
	if (subtransaction_run(fail_letter, &failure, &worse))
		return NULL;
	tell_when_committed(LOG, "failure of message %s %s cannot be settled: %s",
						message->message_type, uuid_text(&message->message_id), worse->message);
	(void) subtransaction_run(skip_letter, &failure, &worse);
	return worse;
}

/*
 * The instances that a message was for, as far as that came out.
 */
static char *
addressees(const Letter *letter)
{
	StringInfoData text;
	ListCell   *cell;

	initStringInfo(&text);
	foreach(cell, letter->slots)
	{
		const Slot *slot = lfirst(cell);

		appendStringInfo(&text, "%s saga \"%s\" %s", text.len == 0 ? " for" : " and",
						 slot->definition->name, uuid_text(&slot->id));
	}
	return text.data;
}

static void
fail_letter(void *argument)
{
	const FailedLetter *failure = argument;

	message_bus_fail(failure->letter->delivery->delivery_id,
					 unpack_sql_state(failure->error->sqlerrcode), failure->error->message,
					 !failure->letter->reading);
}

static void
skip_letter(void *argument)
{
	const FailedLetter *failure = argument;

	message_bus_skip(failure->letter->delivery->delivery_id, failure->error->message);
}

/*
 * Works out which instances a message is for.
 */
static void
address_letter(Batch *batch, Letter *letter)
{
	List	   *definitions = definition_all_current();
	ListCell   *cell;

	letter->slots = NIL;
	letter->known = false;
	letter->reading = true;
	if (letter->body == NULL)
		letter->body = tree_from_jsonb(letter->delivery->message.body);
	foreach(cell, definitions)
	{
		Definition *definition = definition_at(lfirst(cell), batch->endpoint);
		SagaEvent  *event = NULL;
		int			index;
		pg_uuid_t	id;

		if (definition == NULL)
			continue;
		index = definition_find_event(definition, letter->delivery->message.message_type);
		/* An event that only older versions list still concerns their instances. */
		for (int version = definition->version; index == NOWHERE && version > 1;)
		{
			definition = definition_get(definition->name, --version);
			index = definition_find_event(definition, letter->delivery->message.message_type);
		}
		if (index == NOWHERE)
			continue;
		event = definition_event(definition, index);
		letter->known = true;
		correlate(definition, event, letter, &id);
		letter->slots = lappend(letter->slots, find_slot(batch, lfirst(cell), &id));
	}
	letter->reading = false;
	if (list_length(letter->slots) > 1)
		keep_addressee(letter);
}

/*
 * What one instance had parked and failed at comes again for that one alone.
 */
static void
keep_addressee(Letter *letter)
{
	const BusMessage *message = &letter->delivery->message;
	pg_uuid_t	came_as;
	ListCell   *cell;

	if (!parked_came_as(message, &came_as))
		return;
	foreach(cell, letter->slots)
	{
		Slot	   *slot = lfirst(cell);

		if (parked_is_for(message, &came_as, slot->definition->name, &slot->id))
		{
			letter->slots = list_make1(slot);
			return;
		}
	}
}

/*
 * The correlation id that an event's path yields; an error if it yields none.
 */
static void
correlate(const Definition *definition, const SagaEvent *event, Letter *letter, pg_uuid_t *id)
{
	Document	document = {tree_object(), NULL};
	Tree	   *value;

	if (event->correlate == NULL)
	{
		*id = letter->delivery->message.correlation_id;
		return;
	}
	tree_put(document.root, "message", letter_body(letter, definition));
	if (path_mentions(event->correlate, "envelope"))
		tree_put(document.root, "envelope", unconstify(Tree *, letter_envelope(letter)));
	value = path_value(event->correlate, &document);
	if (value == NULL || value->type != TREE_STRING ||
		!uuid_parse(value->as.string, value->count, id))
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("\"%s\" of event \"%s\" yields no correlation id for saga \"%s\"",
						event->correlate->source, event->name, definition->name)));
}

static Slot *
find_slot(Batch *batch, Definition *definition, const pg_uuid_t *id)
{
	Slot	   *slot;
	ListCell   *cell;

	foreach(cell, batch->slots)
	{
		slot = lfirst(cell);
		if (slot->definition == definition && memcmp(&slot->id, id, UUID_LEN) == 0)
			return slot;
	}
	slot = palloc0(sizeof(Slot));
	slot->definition = definition;
	slot->id = *id;
	batch->slots = lappend(batch->slots, slot);
	return slot;
}

static int
compare_slots(const ListCell *a, const ListCell *b)
{
	return memcmp(&((Slot *) lfirst(a))->id, &((Slot *) lfirst(b))->id, UUID_LEN);
}

static void
load_slots(Batch *batch)
{
	ListCell   *cell;

	list_sort(batch->slots, compare_slots);
	foreach(cell, batch->slots)
		load_slot(lfirst(cell), batch->patient);
}

/*
 * Loads and locks an instance.  Where there is none, makes sure that it stays so
 * unless we create it.
 */
static void
load_slot(Slot *slot, bool patient)
{
	const char *saga = slot->definition->name;

	slot->machine = store_load_waiting(saga, &slot->id, patient);
	if (slot->machine != NULL)
		return;
	if (!store_claim(saga, &slot->id, patient))
	{
		slot->busy = true;
		return;
	}
	if (patient)
		slot->machine = store_load(saga, &slot->id, true);
	else if (store_load(saga, &slot->id, false) != NULL)
	{
		slot->machine = store_load_waiting(saga, &slot->id, false);
		slot->busy = slot->machine == NULL;
	}
}

/*
 * Gives a message to its instances; false if it was settled otherwise than by an
 * acknowledgement.
 */
static bool
handle_letter(Batch *batch, Letter *letter)
{
	bool		faulted = false;
	ListCell   *cell;

	if (!letter->known)
	{
		message_bus_skip(letter->delivery->delivery_id, "no saga of this endpoint lists the type");
		return false;
	}
	foreach(cell, letter->slots)
		if (!handle_slot(batch, letter, lfirst(cell)))
			faulted = true;
	if (!faulted)
		return true;
	message_bus_fail(letter->delivery->delivery_id, unpack_sql_state(ERRCODE_SG_UNDEFINED),
					 psprintf("event \"%s\" is a fault in the instance's state",
							  letter->delivery->message.message_type),
					 false);
	return false;
}

static bool
handle_slot(Batch *batch, Letter *letter, Slot *slot)
{
	const BusMessage *message = &letter->delivery->message;
	Machine    *machine = slot->machine;
	Cause		cause = {message->message_type, &message->message_id};
	Input		input = {0};
	Effects		effects;

	if (has_come(letter, slot))
		return true;
	if (machine == NULL)
	{
		if (!start_instance(letter, slot))
			park_message(slot->definition, &slot->id, batch->endpoint, message,
						 clock_now() + slot->definition->park_for * 1000, false);
		return true;
	}
	input.event = definition_find_event(machine->definition, message->message_type);
	input.name = message->message_type;
	input.message = letter_body(letter, machine->definition);
	if (machine->definition->uses_envelope)
		input.envelope = unconstify(Tree *, letter_envelope(letter));
	input.now = clock_now();
	react(machine, &input, &effects);
	if (effects.messages != NIL || effects.events != NIL)
		cause.envelope = letter_envelope(letter);
	engine_apply(machine, &effects, &cause);
	if (effects.outcome == OUTCOME_DEFERRED)
		park_message(slot->definition, &slot->id, batch->endpoint, message, DT_NOEND, true);
	if (effects.moved)
		parked_replay(machine);
	return effects.outcome != OUTCOME_FAULTED;
}

/*
 * Whether an instance has a message already: it has come by the other endpoint, or comes
 * again because it was a fault of another saga's instance.
 */
static bool
has_come(const Letter *letter, const Slot *slot)
{
	const char *saga = slot->definition->name;

	if (list_length(letter->slots) == 1 && !definition_has_moved(saga))
		return false;
	return store_has_message(saga, &slot->id, &letter->delivery->message.message_id);
}

/*
 * Creates the instance if the message is one to start with.
 */
static bool
start_instance(Letter *letter, Slot *slot)
{
	const BusMessage *message = &letter->delivery->message;
	Definition *definition = slot->definition;
	Cause		cause = {message->message_type, &message->message_id};
	Input		input = {0};
	Effects		effects;
	Machine    *machine;

	input.event = definition_find_event(definition, message->message_type);
	if (input.event == NOWHERE || definition->start[input.event] == NULL)
		return false;
	input.name = message->message_type;
	input.message = letter_body(letter, definition);
	input.envelope = unconstify(Tree *, letter_envelope(letter));
	cause.envelope = input.envelope;
	input.now = clock_now();
	machine = machine_new(definition, &slot->id, input.now);
	machine->context = envelope_kept(input.envelope);
	if (!react_start(machine, &input, &effects))
		return false;
	slot->machine = machine;
	engine_apply(machine, &effects, &cause);
	parked_replay(machine);
	return true;
}

static Tree *
letter_body(Letter *letter, const Definition *definition)
{
	const BusMessage *message = &letter->delivery->message;

	return definition_message_body(definition, message->message_type, message->schema_version,
								   letter->body);
}

static const Tree *
letter_envelope(Letter *letter)
{
	bool		outer = letter->reading;

	if (letter->envelope == NULL)
	{
		letter->reading = true;
		letter->envelope = envelope_of_message(&letter->delivery->message);
		letter->reading = outer;
	}
	return letter->envelope;
}

static Letter *
open_letter(BusDelivery *delivery)
{
	Letter	   *letter = palloc0(sizeof(Letter));

	letter->delivery = delivery;
	return letter;
}
