/*
 * store.c
 *		Instances and their history in tables.
 *
 * Lock protocol: an instance is changed under its row's lock (FOR UPDATE).  Who
 * needs one not to be there - to create it, or to park a message for it - first
 * takes the claim, a lock on (saga, correlation id) in the lock table, after a shared one
 * on the saga itself, which keeps it from being dropped, that lasts
 * until the end of the transaction, and then looks again.  So a message is either
 * parked before the instance is created, and replayed by its creator, or finds it.
 *
 * The timer queue has at most a few entries per instance: one no later than its
 * earliest timer, and wake_at says when.  A timer that is taken back costs nothing;
 * the entry is dropped when its time comes.
 *
 * A crash leaves what was committed; there is no other state.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "log/restore.h"
#include "log/wakeup.h"
#include "pg/lock.h"
#include "pg/sequence.h"
#include "pg/settings.h"
#include "pg/spi.h"
#include "pg/tell.h"
#include "saga/engine/attention.h"
#include "saga/engine/store.h"
#include "saga/value/step_key.h"

/* What is read of an instance, and where it stands in the result. */
#define INSTANCE_COLUMNS \
	"number, definition_version, current_state, version, created_at, updated_at, state_since," \
	" wake_at, data, engine"
enum
{
	NUMBER,
	DEFINITION_VERSION,
	CURRENT_STATE,
	VERSION,
	CREATED_AT,
	UPDATED_AT,
	STATE_SINCE,
	WAKE_AT,
	DATA,
	ENGINE
};

static Machine *read_machine(const char *saga, const pg_uuid_t *id, MemoryContext context);
static void plan_wake(Machine *machine);
static Datum jsonb_of(const Tree *tree);

/*
 * An instance, locked or just looked at; NULL if there is none.
 */
Machine *
store_load(const char *saga, const pg_uuid_t *id, bool lock)
{
	static SpiStatement look = {
		"SELECT " INSTANCE_COLUMNS " FROM saga.stored_instance"
		" WHERE saga = $1 AND correlation_id = $2"
	};
	MemoryContext caller = CurrentMemoryContext;
	Machine    *machine = NULL;

	if (lock)
	{
		restore_refuse_writing();
		return store_load_waiting(saga, id, true);
	}
	spi_begin(SPI_AS_OWNER);
	if (spi_run(&look, 2, (Oid[]) {TEXTOID, UUIDOID},
				(Datum[]) {CStringGetTextDatum(saga), UUIDPGetDatum(id)}, NULL) > 0)
		machine = read_machine(saga, id, caller);
	spi_end();
	return machine;
}

/*
 * An instance, locked; without waiting NULL also when somebody else has it.
 */
Machine *
store_load_waiting(const char *saga, const pg_uuid_t *id, bool wait)
{
	static SpiStatement lock = {
		"SELECT " INSTANCE_COLUMNS " FROM saga.stored_instance"
		" WHERE saga = $1 AND correlation_id = $2 FOR UPDATE"
	};
	static SpiStatement try = {
		"SELECT " INSTANCE_COLUMNS " FROM saga.stored_instance"
		" WHERE saga = $1 AND correlation_id = $2 FOR UPDATE SKIP LOCKED"
	};
	MemoryContext caller = CurrentMemoryContext;
	Machine    *machine = NULL;

	spi_begin(SPI_AS_OWNER);
	if (spi_run(wait ? &lock : &try, 2, (Oid[]) {TEXTOID, UUIDOID},
				(Datum[]) {CStringGetTextDatum(saga), UUIDPGetDatum(id)}, NULL) > 0)
		machine = read_machine(saga, id, caller);
	spi_end();
	return machine;
}

/*
 * Keeps everybody else from creating the instance or parking messages for it,
 * until the transaction ends.  Look for it again afterwards.  Without waiting,
 * false if somebody else has the claim.
 */
bool
store_claim(const char *saga, const pg_uuid_t *id, bool wait)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) saga, (int) strlen(saga), 0);

	restore_refuse_writing();
	if (!definition_lock(saga, ShareLock, wait))
		return false;
	hash = hash_bytes_extended(id->data, UUID_LEN, hash);
	return lock_take(LOCK_SAGA_INSTANCE, (uint32) (hash >> 32), (uint32) hash, ExclusiveLock, wait);
}

static Machine *
read_machine(const char *saga, const pg_uuid_t *id, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	int			version = spi_int32(0, DEFINITION_VERSION, 0);
	Machine    *machine = machine_new(definition_get(saga, version), id, 0);
	char	   *state = spi_text(0, CURRENT_STATE, context);
	bool		isnull;

	machine->number = spi_int64(0, NUMBER, 0);
	machine->state = definition_find_state(machine->definition, state);
	if (machine->state == NOWHERE)
		elog(ERROR, "saga \"%s\" %s is in state \"%s\", which its definition does not have",
			 saga, machine->id_text, state);
	machine->version = spi_int32(0, VERSION, 0);
	machine->created_at = DatumGetTimestampTz(spi_value(0, CREATED_AT, &isnull));
	machine->updated_at = DatumGetTimestampTz(spi_value(0, UPDATED_AT, &isnull));
	machine->state_since = DatumGetTimestampTz(spi_value(0, STATE_SINCE, &isnull));
	machine->wake_at = DatumGetTimestampTz(spi_value(0, WAKE_AT, &isnull));
	machine->data = tree_from_jsonb(DatumGetJsonbP(spi_copy(0, DATA, context, &isnull)));
	machine_decode(machine, tree_from_jsonb(DatumGetJsonbP(spi_copy(0, ENGINE, context, &isnull))));
	machine->attended = attention_is_due(machine);
	MemoryContextSwitchTo(old);
	return machine;
}

/*
 * Has an instance taken a message, or is it kept for it?
 */
bool
store_has_message(const char *saga, const pg_uuid_t *id, const pg_uuid_t *message_id)
{
	static SpiStatement find = {
		"SELECT EXISTS (SELECT FROM saga.parked_message"
		" WHERE correlation_id = $2 AND saga = $1 AND message_id = $3) OR EXISTS"
		" (SELECT FROM saga.stored_instance i JOIN saga.history_entry h ON h.number = i.number"
		" WHERE i.correlation_id = $2 AND i.saga = $1 AND h.message_id = $3)"
	};
	bool		result;

	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&find, 3, (Oid[]) {TEXTOID, UUIDOID, UUIDOID},
				   (Datum[]) {CStringGetTextDatum(saga), UUIDPGetDatum(id),
					   UUIDPGetDatum(message_id)}, NULL);
	result = spi_bool(0, 0);
	spi_end();
	return result;
}

/*
 * Inserts or updates an instance.
 */
void
store_write(Machine *machine)
{
	static SpiStatement insert = {
		"INSERT INTO saga.stored_instance (saga, correlation_id, definition_version, current_state,"
		" version, created_at, updated_at, state_since, wake_at, data, engine, number)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING number"
	};
	static SpiStatement update = {
		"UPDATE saga.stored_instance SET definition_version = $3, current_state = $4, version = $5,"
		" created_at = $6, updated_at = $7, state_since = $8, wake_at = $9, data = $10, engine = $11"
		" WHERE saga = $1 AND correlation_id = $2 RETURNING number"
	};
	static const Oid types[] = {
		TEXTOID, UUIDOID, INT4OID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID, JSONBOID, INT8OID
	};
	static ExtensionRelation numbers = {"saga", "instance_number_seq"};
	bool		is_new = machine->number == 0;
	bool		stuck = attention_is_due(machine);
	Datum		values[lengthof(types)];

	if (is_new)
		definition_refuse_dropped(machine->definition);
	plan_wake(machine);
	values[0] = CStringGetTextDatum(machine->definition->name);
	values[1] = UUIDPGetDatum(&machine->id);
	values[2] = Int32GetDatum(machine->definition->version);
	values[3] = CStringGetTextDatum(definition_state(machine->definition, machine->state)->name);
	values[4] = Int32GetDatum(machine->version);
	values[5] = TimestampTzGetDatum(machine->created_at);
	values[6] = TimestampTzGetDatum(machine->updated_at);
	values[7] = TimestampTzGetDatum(machine->state_since);
	values[8] = TimestampTzGetDatum(machine->wake_at);
	values[9] = jsonb_of(machine->data);
	values[10] = jsonb_of(machine_encode(machine));
	if (is_new)
		values[11] = Int64GetDatum(sequence_take(extension_relation_oid(&numbers)));
	spi_begin(SPI_AS_OWNER);
	if (spi_run(is_new ? &insert : &update, lengthof(types) - !is_new, types, values, NULL) != 1)
		elog(ERROR, "saga \"%s\" %s vanished", machine->definition->name, machine->id_text);
	machine->number = spi_int64(0, 0, 0);
	spi_end();
	if (stuck != machine->attended)
		attention_set(machine, stuck);
	machine->attended = stuck;
}

/*
 * Sees to it that the timer queue has an entry no later than the next timer.
 */
static void
plan_wake(Machine *machine)
{
	static SpiStatement enqueue = {
		"INSERT INTO saga.timer_queue (due_at, saga, correlation_id) VALUES ($1, $2, $3)"
		" ON CONFLICT DO NOTHING"
	};
	ArmedTimer *next = machine_next_timer(machine);

	if (next == NULL || next->due >= machine->wake_at)
		return;
	machine->wake_at = next->due;
	spi_execute(&enqueue, 3, (Oid[]) {TIMESTAMPTZOID, TEXTOID, UUIDOID},
				   (Datum[]) {TimestampTzGetDatum(next->due),
					   CStringGetTextDatum(machine->definition->name),
					   UUIDPGetDatum(&machine->id)}, NULL);
	wakeup_runner_by(next->due);
}

/*
 * Adds a transition to the history; the machine has its new version already.
 */
void
store_history(Machine *machine, const HistoryEntry *entry)
{
	static SpiStatement insert = {
		"INSERT INTO saga.history_entry (number, version, from_state, to_state, event, message_id,"
		" actions, at, actor, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
	};
	static const Oid types[] = {
		INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, UUIDOID, JSONBOID, TIMESTAMPTZOID, TEXTOID,
		TEXTOID
	};
	Datum		values[lengthof(types)] = {0};
	char		nulls[] = "          ";

	values[0] = Int64GetDatum(machine->number);
	values[1] = Int32GetDatum(machine->version);
	if (entry->from != NULL)
		values[2] = CStringGetTextDatum(entry->from);
	if (entry->to != NULL)
		values[3] = CStringGetTextDatum(entry->to);
	values[4] = CStringGetTextDatum(entry->event);
	if (entry->message_id != NULL)
		values[5] = UUIDPGetDatum(entry->message_id);
	values[6] = jsonb_of(entry->actions);
	values[7] = TimestampTzGetDatum(GetCurrentTimestamp());
	if (entry->actor != NULL)
		values[8] = CStringGetTextDatum(entry->actor);
	if (entry->reason != NULL)
		values[9] = CStringGetTextDatum(entry->reason);
	nulls[2] = entry->from == NULL ? 'n' : ' ';
	nulls[3] = entry->to == NULL ? 'n' : ' ';
	nulls[5] = entry->message_id == NULL ? 'n' : ' ';
	nulls[8] = entry->actor == NULL ? 'n' : ' ';
	nulls[9] = entry->reason == NULL ? 'n' : ' ';
	spi_execute(&insert, lengthof(types), types, values, nulls);
	store_log(machine, entry);
}

/*
 * Removes an instance and what is parked or deferred for it.  Its history stays
 * readable unless it is to go too.
 */
void
store_remove(Machine *machine, bool keep_history)
{
	static SpiStatement remove = {
		"WITH gone AS (DELETE FROM saga.stored_instance WHERE saga = $1 AND correlation_id = $2),"
		" unparked AS (DELETE FROM saga.parked_message WHERE saga = $1 AND correlation_id = $2),"
		" unnoted AS (DELETE FROM saga.attention WHERE saga = $1 AND correlation_id = $2)"
		" INSERT INTO saga.deleted_instance (number, saga, correlation_id)"
		" SELECT $3, $1, $2 WHERE $4"
	};
	static SpiStatement forget = {
		"DELETE FROM saga.history_entry WHERE number = $1"
	};

	spi_execute(&remove, 4, (Oid[]) {TEXTOID, UUIDOID, INT8OID, BOOLOID},
				(Datum[]) {CStringGetTextDatum(machine->definition->name),
					UUIDPGetDatum(&machine->id), Int64GetDatum(machine->number),
					BoolGetDatum(keep_history)}, NULL);
	if (!keep_history)
		spi_execute(&forget, 1, (Oid[]) {INT8OID}, (Datum[]) {Int64GetDatum(machine->number)},
					NULL);
}

/*
 * One line in the server's log per transition, creation and removal, once it has
 * committed.
 */
void
store_log(const Machine *machine, const HistoryEntry *entry)
{
	const char *what = entry->from == NULL ? "created" : entry->to == NULL ? "deleted"
																		   : "updated";
	StringInfoData line;

	if (!setting_saga_log_transitions)
		return;
	initStringInfo(&line);
	appendStringInfo(&line, "%s saga \"%s\" with correlation %s: %s", what,
					 machine->definition->name, machine->id_text, entry->event);
	if (entry->from != NULL)
		appendStringInfo(&line, ", from %s", entry->from);
	if (entry->to != NULL)
		appendStringInfo(&line, ", to %s", entry->to);
	tell_when_committed(LOG, "%s, version %d", line.data, machine->version);
}

static Datum
jsonb_of(const Tree *tree)
{
	return JsonbPGetDatum(tree_to_jsonb(tree));
}
