/*
 * projection_inline.c
 *		Projections that run inside the append.
 *
 * An append gives its events to the handler, or else puts them into the table
 * projection_deferred, from where the background worker gives them to it later.
 * It defers when it sees any row of the projection there, so once an event has
 * been deferred all that follow in its stream are, until the worker has gone
 * through them.  A handler that fails undoes nothing but itself: its events are
 * deferred with the error.
 *
 * Lock protocol: RowExclusiveLock on projection_deferred from before the append
 * looks there until its transaction ends.  So whoever gets ShareLock on it has
 * all decisions before him, and may empty it for good.  That one waits for at
 * most BARRIER_TIMEOUT, so that appends never queue behind it for longer.
 *
 * Exactly once: an event is given to the handler and its row removed, or neither,
 * in one transaction; a crash leaves one of the two.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "event_store/projection.h"
#include "log/wakeup.h"
#include "pg/lookup.h"
#include "pg/spi.h"

#define BARRIER_TIMEOUT "100ms"

#define DEFERRED_COLUMNS 4

static ExtensionRelation relation_deferred = {"event_store", "projection_deferred"};
static ExtensionRelation index_deferred = {"event_store", "projection_deferred_pkey"};

static void run_inline(Projection *projection, const StreamName *name,
					   int64 first_version, int64 last_version);
static void defer(ProjectionRun *run, const ErrorData *error);
static void lock_deferred(void *argument);

/*
 * Gives events that were just appended to a stream to the inline projections
 * that want them.
 */
void
projection_after_append(const StreamName *name, int64 first_version, int64 last_version)
{
	bool		visible = false;

	/* Tables that this transaction has locked already would not do it. */
	AcceptInvalidationMessages();
	for (int i = 0; i < projection_count(); i++)
	{
		Projection *projection = projection_get(i);

		if (!projection->is_inline ||
			(projection->filter.category != NULL &&
			 (projection->filter.category_length != name->category_length ||
			  memcmp(projection->filter.category, name->text, name->category_length) != 0)))
			continue;
		/* A handler may append, and so come back here. */
		check_stack_depth();
		if (!visible)
			CommandCounterIncrement();
		visible = true;
		run_inline(projection, name, first_version, last_version);
	}
}

static void
run_inline(Projection *projection, const StreamName *name, int64 first_version, int64 last_version)
{
	ProjectionRun run = {0};
	ErrorData  *error;

	run.projection = projection;
	run.source = SOURCE_STREAM;
	run.stream = name;
	run.after = first_version - 1;
	run.upto = last_version;
	run.limit = INT_MAX;
	LockRelationOid(extension_relation_oid(&relation_deferred), RowExclusiveLock);
	DEBUG_POINT("projection_inline_decides");
	if (projection_is_deferred(projection))
	{
		defer(&run, NULL);
		return;
	}
	DEBUG_POINT("projection_inline_decided");
	if (!projection_attempt(&run, CANCEL_PASSES_ON, &error))
		defer(&run, error);
}

/*
 * Whether appends leave a projection's events to the worker.
 */
bool
projection_is_deferred(const Projection *projection)
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
 * Leaves an append's events to the worker, and wakes it when they are there.
 */
static void
defer(ProjectionRun *run, const ErrorData *error)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.projection_deferred (name, position, last_error, failed_at)"
		" VALUES ($1, $2, $3, $4)"
	};
	static const Oid types[DEFERRED_COLUMNS] = {TEXTOID, INT8OID, TEXTOID, TIMESTAMPTZOID};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EventScan  *scan = projection_scan(run, snapshot);
	Datum		name = CStringGetTextDatum(run->projection->name);
	Event		event;

	while (event_scan_next(scan, &event) && event.version <= run->upto)
	{
		bool		failed = error != NULL && (run->position == 0 ||
			event.position == run->position);
		Datum		values[DEFERRED_COLUMNS] = {name, Int64GetDatum(event.position)};

		if (!event_filter_admits(&run->projection->filter, &event))
			continue;
		if (failed)
		{
			values[2] = CStringGetTextDatum(projection_error_text(error));
			values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
		}
		spi_begin(SPI_AS_OWNER);
		(void) spi_run(&insert, DEFERRED_COLUMNS, types, values, failed ? NULL : "  nn");
		spi_end();
	}
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	wakeup_worker_after_commit(WAKE_FOR_TIMER);
}

/*
 * Shuts appends out of their decision until the transaction ends, for the
 * moment it takes to go through what is left.  False if they do not let go in
 * time: try again later.
 */
bool
projection_shut_out_appends(void)
{
	ErrorData  *error;

	if (subtransaction_run(lock_deferred, NULL, CANCEL_PASSES_ON, &error))
		return true;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	return false;
}

static void
lock_deferred(void *argument)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", BARRIER_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	LockRelationOid(extension_relation_oid(&relation_deferred), ShareLock);
	AtEOXact_GUC(false, level);
}
