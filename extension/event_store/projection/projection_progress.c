/*
 * projection_progress.c
 *		How far a projection is.
 *
 * Lock protocol: whoever gives events to a projection from outside an append,
 * or changes its state, holds its row FOR UPDATE until the transaction ends.
 * The row is written in the same transaction as what the handler did, so a
 * crash leaves both or neither.  While the handler runs nobody gets the row, the
 * handler itself not either: what it did to the row would be written over.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "event_store/projection/projection_progress.h"
#include "log/wakeup.h"
#include "pg/clock.h"
#include "pg/lookup.h"
#include "pg/scoped.h"
#include "pg/spi.h"

/* Retries after the first failure,
	and the wait before the first of them; each waits twice as long. */
#define RETRIES 5
#define FIRST_RETRY_MS 320
#define LOCK_RETRY_MS 1000

/* Columns of event_store.projection_progress. */
typedef enum ProgressColumn
{
	PROGRESS_NAME,
	PROGRESS_CHECKPOINT,
	PROGRESS_REBUILD_STEP,
	PROGRESS_REBUILD_UNTIL,
	PROGRESS_PAUSED,
	PROGRESS_FAILED,
	PROGRESS_FAILURES,
	PROGRESS_RETRY_AT,
	PROGRESS_ERROR_POSITION,
	PROGRESS_LAST_ERROR,
	PROGRESS_UPDATED_AT,
	PROGRESS_COLUMNS
} ProgressColumn;

static const ExtensionColumn progress_columns[PROGRESS_COLUMNS] = {
	[PROGRESS_NAME] = {"name", TEXTOID, true},
	[PROGRESS_CHECKPOINT] = {"checkpoint", INT8OID, true},
	[PROGRESS_REBUILD_STEP] = {"rebuild_step", TEXTOID},
	[PROGRESS_REBUILD_UNTIL] = {"rebuild_until", INT8OID},
	[PROGRESS_PAUSED] = {"paused", BOOLOID, true},
	[PROGRESS_FAILED] = {"failed", BOOLOID, true},
	[PROGRESS_FAILURES] = {"failures", INT4OID, true},
	[PROGRESS_RETRY_AT] = {"retry_at", TIMESTAMPTZOID},
	[PROGRESS_ERROR_POSITION] = {"error_position", INT8OID},
	[PROGRESS_LAST_ERROR] = {"last_error", TEXTOID},
	[PROGRESS_UPDATED_AT] = {"updated_at", TIMESTAMPTZOID, true},
};

static ExtensionRelation relation_progress =
	EXTENSION_TABLE("event_store", "projection_progress", progress_columns);
static ExtensionRelation index_progress = {"event_store", "projection_progress_pkey"};

static const char *const rebuild_steps[] = {NULL, "requested", "replaying", "closing"};

static Scoped in_hand;			/* of ProgressInHand, the innermost */

static RebuildStep rebuild_step(Datum name);
static bool is_in_hand(const Projection *projection);

/*
 * Reads a projection's row as it is now, without locking it.  False if the
 * projection has been dropped.
 */
bool
progress_read(const Projection *projection, ProjectionProgress *progress)
{
	Lookup		lookup;
	Datum		values[PROGRESS_COLUMNS];
	bool		nulls[PROGRESS_COLUMNS];
	bool		found;

	memset(progress, 0, sizeof(*progress));
	lookup_begin(&lookup, &relation_progress, &index_progress, projection->name,
				 (int) strlen(projection->name));
	found = lookup_next(&lookup, values, nulls);
	if (found)
	{
		progress->checkpoint = DatumGetInt64(values[PROGRESS_CHECKPOINT]);
		if (!nulls[PROGRESS_REBUILD_STEP])
			progress->rebuild_step = rebuild_step(values[PROGRESS_REBUILD_STEP]);
		progress->rebuild_until = nulls[PROGRESS_REBUILD_UNTIL] ? -1
			: DatumGetInt64(values[PROGRESS_REBUILD_UNTIL]);
		progress->paused = DatumGetBool(values[PROGRESS_PAUSED]);
		progress->failed = DatumGetBool(values[PROGRESS_FAILED]);
		progress->failures = DatumGetInt32(values[PROGRESS_FAILURES]);
		progress->retry_at = nulls[PROGRESS_RETRY_AT] ? 0
			: DatumGetTimestampTz(values[PROGRESS_RETRY_AT]);
		progress->error_position = nulls[PROGRESS_ERROR_POSITION] ? 0
			: DatumGetInt64(values[PROGRESS_ERROR_POSITION]);
		progress->last_error = nulls[PROGRESS_LAST_ERROR] ? NULL
			: TextDatumGetCString(values[PROGRESS_LAST_ERROR]);
	}
	lookup_end(&lookup);
	return found;
}

static RebuildStep
rebuild_step(Datum name)
{
	char	   *step = TextDatumGetCString(name);

	for (int i = REBUILD_REQUESTED; i < lengthof(rebuild_steps); i++)
	{
		if (strcmp(step, rebuild_steps[i]) == 0)
			return (RebuildStep) i;
	}
	elog(ERROR, "unknown step of a rebuild: %s", step);
}

/*
 * Locks a projection's row until the transaction ends and reads it.  False if
 * the projection has been dropped, or without wait if somebody else holds it, or the
 * handler that is under way; with wait that is refused.
 */
bool
progress_lock(const Projection *projection, bool wait, ProjectionProgress *progress)
{
	static SpiStatement lock_waiting = {
		"SELECT FROM event_store.projection_progress WHERE name = $1 FOR UPDATE"
	};
	static SpiStatement lock_skipping = {
		"SELECT FROM event_store.projection_progress WHERE name = $1 FOR UPDATE SKIP LOCKED"
	};
	Datum		name = CStringGetTextDatum(projection->name);
	uint64		locked;

	if (is_in_hand(projection) && !wait)
		return false;
	if (is_in_hand(projection))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("projection \"%s\" is being given events by this very transaction",
						projection->name),
				 errhint("Its handler cannot change it. When it raises an error it is tried again, and stopped after some failures.")));
	locked = spi_execute(wait ? &lock_waiting : &lock_skipping, 1, (Oid[]) {TEXTOID}, &name, NULL);
	return locked == 1 && progress_read(projection, progress);
}

/*
 * Until progress_put_back(), or the end of the savepoint after an error, a projection's
 * handler is under way, and its row is in the caller's memory.
 */
void
progress_take_in_hand(const Projection *projection, ProgressInHand *entry)
{
	entry->name = projection->name;
	entry->outer = (ProgressInHand *) DatumGetPointer(scoped_get(&in_hand));
	scoped_set(&in_hand, PointerGetDatum(entry));
}

void
progress_put_back(const ProgressInHand *entry)
{
	scoped_set(&in_hand, PointerGetDatum(entry->outer));
}

static bool
is_in_hand(const Projection *projection)
{
	const ProgressInHand *entry = (ProgressInHand *) DatumGetPointer(scoped_get(&in_hand));

	while (entry != NULL && strcmp(entry->name, projection->name) != 0)
		entry = entry->outer;
	return entry != NULL;
}

/*
 * Writes a row that was locked.
 */
void
progress_write(const Projection *projection, const ProjectionProgress *progress)
{
	static SpiStatement update = {
		"UPDATE event_store.projection_progress SET checkpoint = $2, rebuild_step = $3, rebuild_until = $4,"
		" paused = $5, failed = $6, failures = $7, retry_at = $8, error_position = $9, last_error = $10,"
		" updated_at = $11 WHERE name = $1"
	};
	static const Oid types[PROGRESS_COLUMNS] = {
		TEXTOID, INT8OID, TEXTOID, INT8OID, BOOLOID, BOOLOID, INT4OID, TIMESTAMPTZOID, INT8OID,
		TEXTOID, TIMESTAMPTZOID
	};
	const char *step = rebuild_steps[progress->rebuild_step];
	Datum		values[PROGRESS_COLUMNS] = {
		CStringGetTextDatum(projection->name), Int64GetDatum(progress->checkpoint),
		step == NULL ? (Datum) 0 : CStringGetTextDatum(step),
			Int64GetDatum(progress->rebuild_until),
		BoolGetDatum(progress->paused), BoolGetDatum(progress->failed),
			Int32GetDatum(progress->failures),
		TimestampTzGetDatum(progress->retry_at), Int64GetDatum(progress->error_position),
		progress->last_error == NULL ? (Datum) 0 : CStringGetTextDatum(progress->last_error),
		TimestampTzGetDatum(GetCurrentTimestamp())
	};
	char		nulls[PROGRESS_COLUMNS + 1] = "           ";

	if (step == NULL)
		nulls[PROGRESS_REBUILD_STEP] = 'n';
	if (progress->rebuild_until < 0)
		nulls[PROGRESS_REBUILD_UNTIL] = 'n';
	if (progress->retry_at == 0)
		nulls[PROGRESS_RETRY_AT] = 'n';
	if (progress->error_position == 0)
		nulls[PROGRESS_ERROR_POSITION] = 'n';
	if (progress->last_error == NULL)
		nulls[PROGRESS_LAST_ERROR] = 'n';
	spi_execute(&update, PROGRESS_COLUMNS, types, values, nulls);
	wakeup_waiters_at_end(WAIT_FOR_PROJECTION,
						  position_key(projection->name, (int) strlen(projection->name)));
}

/*
 * Whether a rebuild goes by the checkpoint.  Once that has come to its end, an
 * inline projection goes by what is deferred again.
 */
bool
progress_is_replaying(const ProjectionProgress *progress)
{
	return progress->rebuild_step == REBUILD_REPLAYING &&
		progress->checkpoint < progress->rebuild_until;
}

/*
 * All is well again.
 */
void
progress_forget_error(ProjectionProgress *progress)
{
	progress->failed = false;
	progress->failures = 0;
	progress->retry_at = 0;
	progress->error_position = 0;
	progress->last_error = NULL;
}

/*
 * Another failure at an event (0: before any): try again later, or stop.
 */
void
progress_note_failure(const Projection *projection, ProjectionProgress *progress, int64 position,
					  const ErrorData *error)
{
	if (progress->error_position != position)
		progress->failures = 0;
	progress->error_position = position;
	progress->last_error = projection_error_text(error);
	/* Somebody else's lock says nothing about the event. */
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
	{
		progress->retry_at = TimestampTzPlusMilliseconds(clock_now(), LOCK_RETRY_MS);
		return;
	}
	progress->failures++;
	progress->failed = progress->failures > RETRIES;
	progress->retry_at = progress->failed ? 0
		: TimestampTzPlusMilliseconds(clock_now(),
									  (int64) FIRST_RETRY_MS << (progress->failures - 1));
	if (progress->failed)
		ereport(LOG,
				(errmsg("%sprojection \"%s\" has failed for good at position " INT64_FORMAT ": %s",
						progress->of_rebuild ? "rebuild of " : "", projection->name, position,
						progress->last_error),
				 errhint("Mend the handler and call event_store.resume_projection(), or leave the event out with event_store.skip_event().")));
}
