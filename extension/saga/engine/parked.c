/*
 * parked.c
 *		Messages that wait: for their instance, or for another state of it.
 *
 * Lock protocol: who parks a message holds the claim on the instance (see store.c)
 * or its row, and who replays holds the same, so none is forgotten: he sees what is
 * committed now at every isolation level.  Who clears away what has waited too long has
 * neither; so who replays locks the messages too, and takes those that are still there.
 * Replayed messages are handled in the order they came, each in a subtransaction; one
 * that fails goes back to the endpoint, whose policy retries it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "log/wakeup.h"
#include "pg/clock.h"
#include "pg/spi.h"
#include "pg/subtransaction.h"
#include "pg/tell.h"
#include "saga/engine/engine.h"
#include "saga/engine/envelope.h"
#include "saga/value/step_key.h"

/* In the headers of what is sent again: the id that it came with. */
#define SENT_AGAIN "sent_again_of"

/* When what could not be buried is tried again, in microseconds. */
#define BURY_AGAIN (INT64CONST(3600) * USECS_PER_SEC)

/* What is read of a parked message, and where it stands in the result. */
#define PARKED_COLUMNS "id, message_id, message_type, endpoint, deferred, envelope, body"
enum
{
	ID,
	MESSAGE_ID,
	MESSAGE_TYPE,
	ENDPOINT,
	DEFERRED,
	ENVELOPE,
	BODY
};

typedef struct ParkedMessage
{
	int64		id;
	pg_uuid_t	message_id;
	const char *type;
	const char *endpoint;
	bool		deferred;
	TimestampTz expires_at;		/* BUS_NO_TIME: never */
	Tree	   *envelope;
	Tree	   *body;
} ParkedMessage;

typedef struct Replay
{
	Machine    *machine;
	ParkedMessage *message;
	Effects		effects;
} Replay;

/* A message that will not be taken any more, and why. */
typedef struct Burial
{
	ParkedMessage *message;
	const char *why;
} Burial;

static bool has_expired(const ParkedMessage *message, TimestampTz as_of);
static void bury_parked(void *argument);
static List *read_waiting(const Machine *machine);
static List *all_parked(uint64 count, MemoryContext context);
static ParkedMessage *read_parked(uint64 row, MemoryContext context);
static void replay_one(void *argument);
static void settle_replayed(Replay *replay, const ErrorData *error);
static int32 schema_version_of(const ParkedMessage *message);
static BusOutgoing as_it_was(const ParkedMessage *message, Context *context);
static void send_back(const Machine *machine, const ParkedMessage *message);
static pg_uuid_t id_again(const pg_uuid_t *came_as, const char *saga, const pg_uuid_t *id);
static void bury_later(const ParkedMessage *message, const ErrorData *error);
static void remove_parked(int64 id);
static void mark_deferred(int64 id);

/*
 * Puts a message aside until its instance is there, or moves; no longer than it is
 * of any use.
 */
void
park_message(const Definition *definition, const pg_uuid_t *id, const char *endpoint,
			 const BusMessage *message, TimestampTz until, bool deferred)
{
	static SpiStatement insert = {
		"INSERT INTO saga.parked_message (saga, correlation_id, message_id, message_type, endpoint,"
		" deferred, parked_at, park_until, envelope, body)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
	};
	static const Oid types[] = {
		TEXTOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		JSONBOID, JSONBOID
	};
	Datum		values[] = {
		CStringGetTextDatum(definition->name), UUIDPGetDatum(id),
		UUIDPGetDatum(&message->message_id),
		CStringGetTextDatum(message->message_type), CStringGetTextDatum(endpoint),
		BoolGetDatum(deferred), TimestampTzGetDatum(clock_now()), 0,
		JsonbPGetDatum(tree_to_jsonb(envelope_of_message(message))), JsonbPGetDatum(message->body)
	};

	definition_refuse_dropped(definition);
	if (message->expires_at != BUS_NO_TIME)
		until = Min(until, message->expires_at);
	values[7] = TimestampTzGetDatum(until);

	spi_execute(&insert, lengthof(types), types, values, NULL);
	if (until != DT_NOEND)
		wakeup_runner_by(until);
	tell_when_committed(LOG, "message %s %s waits for saga \"%s\" %s %s", message->message_type,
						uuid_text(&message->message_id), definition->name, uuid_text(id),
						deferred ? "to change its state" : "to be created");
}

/*
 * Gives an instance what waits for it, again whenever its state has changed.
 */
void
parked_replay(Machine *machine)
{
	List	   *waiting = read_waiting(machine);
	bool		moved = true;

	while (moved && waiting != NIL)
	{
		ListCell   *cell;

		moved = false;
		foreach(cell, waiting)
		{
			Replay		replay = {machine_copy(machine), lfirst(cell)};
			ErrorData  *error;

			/* Whoever clears away what has waited too long finds it. */
			if (has_expired(replay.message, clock_now()))
			{
				waiting = foreach_delete_current(waiting, cell);
				continue;
			}

			if (!message_bus_watch_parked(replay.message->endpoint, &replay.message->message_id))
			{
				/* A process has died of it: the bus knows what to do then. */
				send_back(machine, replay.message);
				remove_parked(replay.message->id);
				waiting = foreach_delete_current(waiting, cell);
				continue;
			}
			if (subtransaction_run(replay_one, &replay, &error))
				*machine = *replay.machine;
			message_bus_watch_ends();
			settle_replayed(&replay, error);
			if (error == NULL && replay.effects.outcome == OUTCOME_DEFERRED)
				continue;
			waiting = foreach_delete_current(waiting, cell);
			if (error == NULL && replay.effects.moved)
			{
				moved = true;
				break;
			}
		}
	}
}

static List *
read_waiting(const Machine *machine)
{
	static SpiStatement find = {
		"SELECT " PARKED_COLUMNS " FROM saga.parked_message WHERE correlation_id = $1 AND saga = $2"
		" ORDER BY id FOR UPDATE"
	};
	MemoryContext caller = CurrentMemoryContext;
	List	   *waiting;
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&find, 2, (Oid[]) {UUIDOID, TEXTOID},
						   (Datum[]) {UUIDPGetDatum(&machine->id),
							   CStringGetTextDatum(machine->definition->name)}, NULL);
	waiting = all_parked(count, caller);
	spi_end();
	return waiting;
}

/*
 * The rows of the current result.
 */
static List *
all_parked(uint64 count, MemoryContext context)
{
	List	   *messages = NIL;

	for (uint64 i = 0; i < count; i++)
	{
		ParkedMessage *message = read_parked(i, context);
		MemoryContext old = MemoryContextSwitchTo(context);

		messages = lappend(messages, message);
		MemoryContextSwitchTo(old);
	}
	return messages;
}

static ParkedMessage *
read_parked(uint64 row, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ParkedMessage *message = palloc0(sizeof(ParkedMessage));
	const Tree *expires;
	bool		isnull;

	message->id = spi_int64(row, ID, 0);
	message->message_id = *DatumGetUUIDP(spi_value(row, MESSAGE_ID, &isnull));
	message->type = spi_text(row, MESSAGE_TYPE, context);
	message->endpoint = spi_text(row, ENDPOINT, context);
	message->deferred = spi_bool(row, DEFERRED);
	message->envelope = tree_from_jsonb(DatumGetJsonbP(spi_copy(row, ENVELOPE, context, &isnull)));
	expires = tree_get(message->envelope, "expires_at");
	message->expires_at =
		expires == NULL || expires->type == TREE_NULL ? BUS_NO_TIME : time_from_tree(expires);
	message->body = tree_from_jsonb(DatumGetJsonbP(spi_copy(row, BODY, context, &isnull)));
	MemoryContextSwitchTo(old);
	return message;
}

static void
replay_one(void *argument)
{
	Replay	   *replay = argument;
	ParkedMessage *message = replay->message;
	Cause		cause = {message->type, &message->message_id, NULL, NULL, message->envelope};
	Input		input = {0};

	input.event = definition_find_event(replay->machine->definition, message->type);
	input.name = message->type;
	input.message = definition_message_body(replay->machine->definition, message->type,
											schema_version_of(message), message->body);
	input.envelope = message->envelope;
	input.now = clock_now();
	react(replay->machine, &input, &replay->effects);
	engine_apply(replay->machine, &replay->effects, &cause);
}

/*
 * What is done with the message after it was replayed.
 */
static void
settle_replayed(Replay *replay, const ErrorData *error)
{
	ParkedMessage *message = replay->message;

	if (error == NULL && replay->effects.outcome == OUTCOME_DEFERRED)
	{
		if (!message->deferred)
			mark_deferred(message->id);
		message->deferred = true;
		return;
	}
	if (error != NULL || replay->effects.outcome == OUTCOME_FAULTED)
		send_back(replay->machine, message);
	remove_parked(message->id);
}

static int32
schema_version_of(const ParkedMessage *message)
{
	return (int32) tree_to_int(tree_get(message->envelope, "schema_version"), 1);
}

/*
 * The message as it was, to be sent or buried.
 */
static BusOutgoing
as_it_was(const ParkedMessage *message, Context *context)
{
	const Tree *envelope = message->envelope;
	Tree	   *headers = tree_get(envelope, "headers");
	BusOutgoing outgoing = {0};

	memset(context, 0, sizeof(Context));
	context->correlation_id = uuid_from_tree(tree_get(envelope, "correlation_id"));
	context->conversation_id = uuid_from_tree(tree_get(envelope, "conversation_id"));
	context->causation_id = uuid_from_tree(tree_get(envelope, "causation_id"));
	context->user_id = tree_get_text(envelope, "user_id");
	context->tenant_id = tree_get_text(envelope, "tenant_id");
	context->traceparent = tree_get_text(envelope, "traceparent");
	outgoing.endpoint = message->endpoint;
	outgoing.message_type = message->type;
	outgoing.schema_version = schema_version_of(message);
	outgoing.body = tree_to_jsonb(message->body);
	outgoing.message_id = &message->message_id;
	outgoing.partition_key = tree_get_text(envelope, "partition_key");
	outgoing.deliver_at = BUS_NO_TIME;
	outgoing.expires_at = message->expires_at;
	outgoing.beyond_depth = true;
	outgoing.headers = headers == NULL ? NULL : tree_to_jsonb(headers);
	outgoing.context = context;
	return outgoing;
}

/*
 * Sends a message to its endpoint again for one instance, under another id: the bus has
 * settled the first, and the endpoint's other instances have had it or have it parked.
 */
static void
send_back(const Machine *machine, const ParkedMessage *message)
{
	Context		context;
	BusOutgoing outgoing = as_it_was(message, &context);
	Tree	   *headers = tree_get(message->envelope, "headers");
	pg_uuid_t	again = id_again(&message->message_id, machine->definition->name, &machine->id);
	pg_uuid_t	stored;

	outgoing.message_id = &again;
	headers = tree_with(headers == NULL ? tree_object() : headers, SENT_AGAIN,
						tree_text(uuid_text(&message->message_id)));
	outgoing.headers = tree_to_jsonb(headers);
	message_bus_send(&outgoing, &stored);
}

/*
 * The id under which a message is sent to one instance again.  It names the instance, so that
 * nobody is passed over for a header that somebody has copied.
 */
static pg_uuid_t
id_again(const pg_uuid_t *came_as, const char *saga, const pg_uuid_t *id)
{
	pg_uuid_t	again;

	uuid_v5(came_as, psprintf("again %s %s", uuid_text(id), saga), &again);
	return again;
}

/*
 * The id that a message was parked under, if its headers say that it is sent again.
 */
bool
parked_came_as(const BusMessage *message, pg_uuid_t *came_as)
{
	char	   *id;

	if (JB_ROOT_COUNT(message->headers) == 0)
		return false;
	id = tree_get_text(tree_from_jsonb(message->headers), SENT_AGAIN);
	return id != NULL && uuid_parse(id, (int) strlen(id), came_as);
}

/*
 * Whether that instance is the one that a message is sent again for.
 */
bool
parked_is_for(const BusMessage *message, const pg_uuid_t *came_as, const char *saga,
			  const pg_uuid_t *id)
{
	pg_uuid_t	again = id_again(came_as, saga, id);

	return memcmp(&again, &message->message_id, UUID_LEN) == 0;
}

/*
 * Messages parked at an endpoint (NULL: at all) whose instance did not come in time,
 * or that have expired, become dead letters.  Returns how many.
 */
int
parked_expire(const char *endpoint, TimestampTz as_of)
{
	static SpiStatement find = {
		"SELECT " PARKED_COLUMNS " FROM saga.parked_message WHERE park_until <= $1"
		" ORDER BY park_until LIMIT 100 FOR UPDATE SKIP LOCKED"
	};
	static SpiStatement find_at = {
		"SELECT " PARKED_COLUMNS " FROM saga.parked_message WHERE endpoint = $2 AND park_until <= $1"
		" ORDER BY park_until LIMIT 100 FOR UPDATE SKIP LOCKED"
	};
	MemoryContext caller = CurrentMemoryContext;
	List	   *expired = NIL;
	ListCell   *cell;
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run(endpoint == NULL ? &find : &find_at, endpoint == NULL ? 1 : 2,
					(Oid[]) {TIMESTAMPTZOID, TEXTOID},
					(Datum[]) {TimestampTzGetDatum(as_of),
						endpoint == NULL ? (Datum) 0 : CStringGetTextDatum(endpoint)}, NULL);
	expired = all_parked(count, caller);
	spi_end();
	foreach(cell, expired)
	{
		ErrorData  *error;
		Burial		burial = {lfirst(cell), "it expired before its saga took it"};

		if (!has_expired(burial.message, as_of))
			burial.why = "its saga was not created in time";
		if (!subtransaction_run(bury_parked, &burial, &error))
			bury_later(burial.message, error);
		CHECK_FOR_INTERRUPTS();
	}
	return list_length(expired);
}

/*
 * Messages that waited for an instance which goes become dead letters, so that none
 * vanishes with it.
 */
void
parked_bury(const Machine *machine, const char *why)
{
	ListCell   *cell;

	foreach(cell, read_waiting(machine))
	{
		ParkedMessage *message = lfirst(cell);
		Burial		burial = {message, why};
		ErrorData  *error;

		if (!subtransaction_run(bury_parked, &burial, &error))
			tell_when_committed(WARNING,
								"message %s %s for saga \"%s\" %s is lost: %s: %s",
								message->type, uuid_text(&message->message_id),
								machine->definition->name, machine->id_text, why, error->message);
	}
}

static void
bury_parked(void *argument)
{
	const Burial *burial = argument;
	Context		context;
	BusOutgoing outgoing = as_it_was(burial->message, &context);

	message_bus_bury(&outgoing, outgoing.schema_version, "expired", NULL, burial->why);
	remove_parked(burial->message->id);
}

static bool
has_expired(const ParkedMessage *message, TimestampTz as_of)
{
	return message->expires_at != BUS_NO_TIME && message->expires_at <= as_of;
}

/*
 * What cannot become a dead letter stays, and is tried again in a while.
 */
static void
bury_later(const ParkedMessage *message, const ErrorData *error)
{
	static SpiStatement wait = {
		"UPDATE saga.parked_message SET park_until = $2 WHERE id = $1"
	};

	ereport(WARNING,
			(errmsg("message %s %s has waited too long and cannot become a dead letter: %s",
					message->type, uuid_text(&message->message_id), error->message)));
	spi_execute(&wait, 2, (Oid[]) {INT8OID, TIMESTAMPTZOID},
				   (Datum[]) {Int64GetDatum(message->id),
					   TimestampTzGetDatum(GetCurrentTimestamp() + BURY_AGAIN)}, NULL);
}

static void
remove_parked(int64 id)
{
	static SpiStatement remove = {
		"DELETE FROM saga.parked_message WHERE id = $1"
	};

	spi_execute_latest(&remove, 1, (Oid[]) {INT8OID}, (Datum[]) {Int64GetDatum(id)}, NULL);
}

static void
mark_deferred(int64 id)
{
	static SpiStatement mark = {
		"UPDATE saga.parked_message SET deferred = true, park_until ="
		" coalesce((envelope ->> 'expires_at')::timestamptz, 'infinity') WHERE id = $1"
	};

	spi_execute_latest(&mark, 1, (Oid[]) {INT8OID}, (Datum[]) {Int64GetDatum(id)}, NULL);
}
