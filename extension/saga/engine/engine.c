/*
 * engine.c
 *		From what a reaction wants to what the database holds.
 *
 * Instance, history, messages, events and timers are written in the caller's
 * transaction, so they commit with the acknowledgement of the message, or not at
 * all.  A crash before the commit leaves the message where it was.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "event_store/append/append.h"
#include "pg/spi.h"
#include "pg/tell.h"
#include "saga/engine/engine.h"
#include "saga/engine/envelope.h"

static void send_message(const Machine *machine, const OutMessage *message);
static void append_event(const Machine *machine, const OutEvent *event);
static bool stream_has_events(const char *stream);

/*
 * Stores an instance after a reaction and sends what came of it.
 */
void
engine_apply(Machine *machine, const Effects *effects, const Cause *cause)
{
	const Definition *definition = machine->definition;
	HistoryEntry entry = {0};
	const Context *outer = context_get();
	ListCell   *cell;

	if (effects->store || effects->outcome == OUTCOME_EFFECTIVE)
		store_write(machine);
	foreach(cell, effects->conflicts)
		tell_when_committed(LOG, "saga \"%s\" with correlation %s ignores a fact of %s: %s",
							definition->name, machine->id_text, cause->event,
							(char *) lfirst(cell));
	if (effects->outcome != OUTCOME_EFFECTIVE)
		return;
	entry.from = cause->from != NULL		? cause->from
				 : effects->from == NOWHERE ? NULL
											: definition_state(definition, effects->from)->name;
	entry.to = definition_state(definition, machine->state)->name;
	entry.event = cause->event;
	entry.message_id = cause->message_id;
	entry.actions = effects->actions;
	entry.actor = cause->actor;
	entry.reason = cause->reason;
	store_history(machine, &entry);
	if (effects->messages == NIL && effects->events == NIL)
		return;
	envelope_take_context(machine, cause->envelope, cause->message_id);
	foreach(cell, effects->events)
		append_event(machine, lfirst(cell));
	foreach(cell, effects->messages)
		send_message(machine, lfirst(cell));
	context_put_back(outer);
}

static void
send_message(const Machine *machine, const OutMessage *message)
{
	BusOutgoing outgoing = {0};
	pg_uuid_t	stored;
	Tree	   *headers = tree_object();

	tree_put_text(headers, "saga", machine->definition->name);
	tree_put_text(headers, "saga_correlation_id", machine->id_text);
	if (message->step_key != NULL)
		tree_put_text(headers, "step_key", message->step_key);
	outgoing.endpoint = message->endpoint;
	outgoing.message_type = message->type;
	outgoing.schema_version = message->schema_version > 0 ? message->schema_version
		: definition_version(machine->definition, message->type);
	outgoing.body = tree_to_jsonb(message->body);
	outgoing.message_id = &message->message_id;
	outgoing.partition_key = message->partition_key;
	outgoing.deliver_at = BUS_NO_TIME;
	outgoing.expires_at = BUS_NO_TIME;
	outgoing.headers = tree_to_jsonb(headers);
	message_bus_send(&outgoing, &stored);
}

static void
append_event(const Machine *machine, const OutEvent *event)
{
	NewEvent	new_event = {0};
	NewEvents	events = {&new_event, 1, true};
	AppendResult result;
	int64		expected = event->expected_version;

	if (event->skip_existing)
	{
		if (stream_has_events(event->stream))
			return;
		expected = 0;
	}
	new_event.event_type = cstring_to_text(event->type);
	new_event.schema_version = event->schema_version > 0 ? event->schema_version
		: definition_version(machine->definition, event->type);
	new_event.data = tree_to_jsonb(event->data);
	new_events_check(&events);
	event_append(event->stream, (int) strlen(event->stream), expected, &events, &result);
}

static bool
stream_has_events(const char *stream)
{
	static SpiStatement version = {
		"SELECT event_store.stream_version($1)"
	};
	int64		result;

	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&version, 1, (Oid[]) {TEXTOID},
				   (Datum[]) {CStringGetTextDatum(stream)}, NULL);
	result = spi_int64(0, 0, 0);
	spi_end();
	return result > 0;
}

/*
 * The engine looks again for what it did not find the first time, so it needs to
 * see what others have committed meanwhile.
 */
void
engine_require_read_committed(const char *function)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s needs isolation level read committed", function),
				 errhint("Type BEGIN ISOLATION LEVEL READ COMMITTED first.")));
}
