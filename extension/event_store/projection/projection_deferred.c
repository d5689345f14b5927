/*
 * projection_deferred.c
 *		Events that appends have left to the worker, by inline projection.
 *
 * An append that sees any row of a projection in the table projection_deferred
 * puts its events there too, instead of giving them to the handler.  So once an
 * event has been deferred all that follow in its stream are, until the worker
 * has gone through them.  Position 0 is no event: it holds a projection back
 * that is paused or rebuilt.
 *
 * Lock protocol: RowExclusiveLock on the table from before an append looks there
 * until its transaction ends.  So whoever gets ShareLock has all decisions
 * before him, and may empty it for good.  That one waits for at most
 * BARRIER_TIMEOUT, so that appends never queue behind it for longer.
 *
 * Exactly once: an event is given to the handler and its row removed, or
 * neither, in one transaction; a crash leaves one of the two.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "event_store/projection/projection_deferred.h"
#include "pg/lookup.h"
#include "pg/spi.h"

#define BARRIER_TIMEOUT "100ms"

#define DEFERRED_COLUMNS lengthof(deferred_columns)

static const ExtensionColumn deferred_columns[] = {
	{"name", TEXTOID, true}, {"position", INT8OID, true}, {"last_error", TEXTOID},
	{"failed_at", TIMESTAMPTZOID}
};

static ExtensionRelation relation_deferred =
	EXTENSION_TABLE("event_store", "projection_deferred", deferred_columns);
static ExtensionRelation index_deferred = {"event_store", "projection_deferred_pkey"};

/* The transaction that has held one back last: appends know of it when it has committed. */
static LocalTransactionId held_back_by = InvalidLocalTransactionId;

static void lock_exclusively(void *argument);

/*
 * To be called by an append before it looks whether it must defer.
 */
void
deferred_lock(void)
{
	LockRelationOid(extension_relation_oid(&relation_deferred), RowExclusiveLock);
}

/*
 * Whether appends leave a projection's events to the worker.
 */
bool
deferred_any(const Projection *projection)
{
	Lookup		lookup;
	Datum		values[DEFERRED_COLUMNS];
	bool		nulls[DEFERRED_COLUMNS];
	bool		found;

	lookup_begin(&lookup, &relation_deferred, &index_deferred, projection->name,
				 (int) strlen(projection->name));
	found = lookup_next(&lookup, values, nulls);
	lookup_end(&lookup);
	return found;
}

/*
 * Whether an event up to a position has been left to the worker.
 */
bool
deferred_any_up_to(const Projection *projection, int64 position)
{
	Lookup		lookup;
	Datum		values[DEFERRED_COLUMNS];
	bool		nulls[DEFERRED_COLUMNS];
	bool		found = false;

	lookup_begin(&lookup, &relation_deferred, &index_deferred, projection->name,
				 (int) strlen(projection->name));
	/* In order of position; 0 is no event. */
	while (!found && lookup_next(&lookup, values, nulls))
	{
		if (DatumGetInt64(values[1]) > position)
			break;
		found = DatumGetInt64(values[1]) > 0;
	}
	lookup_end(&lookup);
	return found;
}

/*
 * Leaves an event to the worker; error says why the handler failed at it, NULL
 * if it was not tried.
 */
void
deferred_add(const Projection *projection, int64 position, const ErrorData *error)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.projection_deferred (name, position, last_error, failed_at)"
		" VALUES ($1, $2, $3, $4)"
	};
	static const Oid types[DEFERRED_COLUMNS] = {TEXTOID, INT8OID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[DEFERRED_COLUMNS] = {
		CStringGetTextDatum(projection->name), Int64GetDatum(position)
	};

	if (error != NULL)
	{
		values[2] = CStringGetTextDatum(projection_error_text(error));
		values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	}
	spi_execute(&insert, DEFERRED_COLUMNS, types, values, error != NULL ? NULL : "  nn");
}

/*
 * Shuts appends out of their decision until the transaction ends, for the
 * moment it takes to go through what is left.  False if they do not let go in
 * time: try again later.
 */
bool
deferred_shut_out_appends(void)
{
	ErrorData  *error;

	if (subtransaction_run(lock_exclusively, NULL, &error))
		return true;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	return false;
}

static void
lock_exclusively(void *argument)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", BARRIER_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	LockRelationOid(extension_relation_oid(&relation_deferred), ShareLock);
	AtEOXact_GUC(false, level);
}

/*
 * The lowest positions that a projection's appends have deferred.  Behind them
 * stands one that is greater than all.
 */
int
deferred_positions(const Projection *projection, int max, int64 **positions)
{
	static SpiStatement list = {
		"SELECT position FROM event_store.projection_deferred WHERE name = $1 AND position > 0"
		" ORDER BY position LIMIT $2"
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		values[2] = {CStringGetTextDatum(projection->name), Int32GetDatum(max)};
	int			count;

	spi_begin(SPI_AS_OWNER);
	count = (int) spi_run(&list, 2, (Oid[]) {TEXTOID, INT4OID}, values, NULL);
	*positions = MemoryContextAllocHuge(context, sizeof(int64) * ((Size) count + 1));
	for (int i = 0; i < count; i++)
		(*positions)[i] = spi_int64(i, 0, 0);
	(*positions)[count] = PG_INT64_MAX;
	spi_end();
	return count;
}

/*
 * Whether an append has deferred an event because the handler failed at it.
 */
bool
deferred_failed_at(const Projection *projection, int64 position)
{
	static SpiStatement find = {
		"SELECT FROM event_store.projection_deferred"
		" WHERE name = $1 AND position = $2 AND last_error IS NOT NULL"
	};
	Datum		values[2] = {CStringGetTextDatum(projection->name), Int64GetDatum(position)};
	bool		found;

	found = spi_execute(&find, 2, (Oid[]) {TEXTOID, INT8OID}, values, NULL) == 1;
	return found;
}

/*
 * These have been handled, or are to be left out.
 */
void
deferred_remove(const Projection *projection, const int64 *positions, int count)
{
	static SpiStatement remove = {
		"DELETE FROM event_store.projection_deferred WHERE name = $1 AND position = ANY ($2)"
	};
	Datum	   *elements = palloc(sizeof(Datum) * Max(count, 1));
	Datum		values[2] = {CStringGetTextDatum(projection->name)};

	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(positions[i]);
	values[1] = PointerGetDatum(construct_array(elements, count, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	spi_execute(&remove, 2, (Oid[]) {TEXTOID, INT8ARRAYOID}, values, NULL);
}

/*
 * A replay is going to handle everything up to here.
 */
void
deferred_remove_up_to(const Projection *projection, int64 upto)
{
	static SpiStatement remove = {
		"DELETE FROM event_store.projection_deferred WHERE name = $1 AND position BETWEEN 1 AND $2"
	};
	Datum		values[2] = {CStringGetTextDatum(projection->name), Int64GetDatum(upto)};

	spi_execute(&remove, 2, (Oid[]) {TEXTOID, INT8OID}, values, NULL);
}

/*
 * There is no projection of this name, or not any more.
 */
void
deferred_remove_all(const char *name)
{
	static SpiStatement remove = {"DELETE FROM event_store.projection_deferred WHERE name = $1"};
	Datum		value = CStringGetTextDatum(name);

	spi_execute(&remove, 1, (Oid[]) {TEXTOID}, &value, NULL);
}

/*
 * From the commit on, appends leave the projection's events to the worker.
 */
void
deferred_hold_back(const Projection *projection)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.projection_deferred (name, position) VALUES ($1, 0)"
		" ON CONFLICT DO NOTHING"
	};
	Datum		name = CStringGetTextDatum(projection->name);

	spi_execute(&insert, 1, (Oid[]) {TEXTOID}, &name, NULL);
	held_back_by = compat_local_transaction();
}

/*
 * Whether this transaction has held a projection back: it cannot tell which appends will
 * not have known of that.
 */
bool
deferred_held_back_here(void)
{
	return held_back_by == compat_local_transaction();
}

/*
 * Appends may run the handler again, if nothing has been left to the worker; if
 * something has, that comes first.
 */
void
deferred_let_go(const Projection *projection)
{
	static SpiStatement remove = {
		"DELETE FROM event_store.projection_deferred WHERE name = $1 AND position = 0 AND NOT EXISTS"
		" (SELECT FROM event_store.projection_deferred WHERE name = $1 AND position > 0)"
	};
	Datum		name = CStringGetTextDatum(projection->name);

	spi_execute(&remove, 1, (Oid[]) {TEXTOID}, &name, NULL);
}
