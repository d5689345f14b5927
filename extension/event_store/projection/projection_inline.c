/*
 * projection_inline.c
 *		Projections that run inside the append.
 *
 * An append gives its events to the handler, or else leaves them to the worker
 * (projection_deferred.c has the protocol).  When a handler fails, the append
 * fails with it (on_error refuse), or nothing but the handler is undone and its
 * events are deferred with the error (defer).
 *
 * A handler may append, and so be given what it has appended; how deep that goes
 * is counted and bounded, lest the stack be the bound.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/debug_point.h"
#include "event_store/projection/projection.h"
#include "event_store/projection/projection_deferred.h"
#include "log/wakeup.h"
#include "pg/callbacks.h"

/* Appends inside of handlers inside of appends. */
#define NESTED_MAX 16

/* How deep we are, and in which savepoint we got there. */
typedef struct Nesting
{
	int			depth;
	SubTransactionId level;
	struct Nesting *before;
} Nesting;

static Nesting *nesting = NULL; /* in TopTransactionContext */

static void enter(const Projection *projection);
static void transaction_ended(XactEvent event, void *arg);
static void savepoint_ended(SubXactEvent event, SubTransactionId level, SubTransactionId parent,
							void *arg);
static void run_all(const StreamName *name, const ProjectionRun *what, const Event *deletion);
static bool wants(const Projection *projection, const StreamName *name, const Event *deletion);
static void run_inline(Projection *projection, const ProjectionRun *what);
static void give_or_defer(ProjectionRun *run);
static void defer(const ProjectionRun *run, const ErrorData *error);

/*
 * Gives events that were just appended to a stream to the inline projections
 * that want them.
 */
void
projection_after_append(const StreamName *name, int64 first_version, int64 last_version)
{
	ProjectionRun what = {
		.source = SOURCE_STREAM, .stream = name, .after = first_version - 1, .upto = last_version
	};

	run_all(name, &what, NULL);
}

/*
 * The same with the deletion of a stream.
 */
void
projection_after_deletion(const StreamName *name, const Event *deletion)
{
	ProjectionRun what = {
		.source = SOURCE_POSITIONS, .positions = &deletion->position, .position_count = 1
	};

	run_all(name, &what, deletion);
}

static void
run_all(const StreamName *name, const ProjectionRun *what, const Event *deletion)
{
	bool		visible = false;
	Projection **projections;
	int			count;

	/* Tables that this transaction has locked already would not do it. */
	AcceptInvalidationMessages();
	/* Not by number: a handler may hear of one that has come or gone meanwhile. */
	projections = projection_all(&count);
	for (int i = 0; i < count; i++)
	{
		if (!wants(projections[i], name, deletion))
			continue;
		if (!visible)
			CommandCounterIncrement();
		visible = true;
		run_inline(projections[i], what);
	}
}

/*
 * Whether it is inline, and may want events of a stream, or wants its deletion.
 */
static bool
wants(const Projection *projection, const StreamName *name, const Event *deletion)
{
	const EventFilter *filter = &projection->filter;

	if (!projection->is_inline ||
		(filter->category != NULL &&
		 (filter->category_length != name->category_length ||
		  memcmp(filter->category, name->text, name->category_length) != 0)))
		return false;
	return deletion == NULL || (filter->deletions && event_filter_admits(filter, deletion));
}

static void
run_inline(Projection *projection, const ProjectionRun *what)
{
	ProjectionRun run = *what;

	run.projection = projection;
	run.limit = PG_INT32_MAX;
	deferred_lock();
	DEBUG_POINT("projection_inline_decides");
	if (deferred_any(projection))
	{
		defer(&run, NULL);
		return;
	}
	DEBUG_POINT("projection_inline_decided");
	enter(projection);
	if (projection->refuses)
		projection_give(&run);
	else
		give_or_defer(&run);
	nesting = nesting->before;
}

/*
 * One appender too deep inside of others is not this handler's failure: it goes
 * up to the outermost, whose events are deferred.
 */
static void
give_or_defer(ProjectionRun *run)
{
	ErrorData  *error;

	if (projection_attempt(run, &error))
		return;
	if (error->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED && nesting->depth > 1)
		ReThrowError(error);
	defer(run, error);
}

/*
 * Goes one deeper; what an error leaves behind, its savepoint's end takes away.
 */
static void
enter(const Projection *projection)
{
	Nesting    *entry;

	if (nesting != NULL && nesting->depth == NESTED_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("inline projection \"%s\" appends events that it is given itself, %d deep",
						projection->name, NESTED_MAX),
				 errhint("Leave the event types that its handler appends out of event_types, or make it async.")));
	callback_on_transaction(transaction_ended);
	callback_on_savepoint(savepoint_ended);
	entry = MemoryContextAlloc(TopTransactionContext, sizeof(Nesting));
	entry->depth = nesting != NULL ? nesting->depth + 1 : 1;
	entry->level = GetCurrentSubTransactionId();
	entry->before = nesting;
	nesting = entry;
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		nesting = NULL;
}

static void
savepoint_ended(SubXactEvent event, SubTransactionId level, SubTransactionId parent, void *arg)
{
	while (event == SUBXACT_EVENT_ABORT_SUB && nesting != NULL && nesting->level == level)
		nesting = nesting->before;
}

/*
 * Leaves an append's events, or a deletion, to the worker, and wakes it when they are
 * there.
 */
static void
defer(const ProjectionRun *run, const ErrorData *error)
{
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;

	wakeup_worker_after_commit(WAKE_FOR_UNITS);
	if (run->source == SOURCE_POSITIONS)
	{
		deferred_add(run->projection, run->positions[0], error);
		return;
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = projection_scan(run, snapshot);
	while (event_scan_next(scan, &event) && event.version <= run->upto)
	{
		/* Without a position it failed before it got to any event. */
		bool		failed_here = run->position == 0 || event.position == run->position;

		if (event_filter_admits(&run->projection->filter, &event))
			deferred_add(run->projection, event.position, failed_here ? error : NULL);
	}
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
}
