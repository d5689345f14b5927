/*
 * projection_inline.c
 *		Projections that run inside the append.
 *
 * An append gives its events to the handler, or else leaves them to the worker
 * (projection_deferred.c has the protocol).  A handler that fails undoes nothing
 * but itself: its events are deferred with the error.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "base/debug_point.h"
#include "event_store/projection.h"
#include "event_store/projection_deferred.h"
#include "log/wakeup.h"

static void run_inline(Projection *projection, const StreamName *name,
					   int64 first_version, int64 last_version);
static void defer(const ProjectionRun *run, const ErrorData *error);

/*
 * Gives events that were just appended to a stream to the inline projections
 * that want them.
 */
void
projection_after_append(const StreamName *name, int64 first_version, int64 last_version)
{
	bool		visible = false;
	Projection *projection;

	/* Tables that this transaction has locked already would not do it. */
	AcceptInvalidationMessages();
	if (projection_count() == 0)
		return;
	for (int i = 0; (projection = projection_get(i)) != NULL; i++)
	{
		const EventFilter *filter = &projection->filter;

		if (!projection->is_inline ||
			(filter->category != NULL &&
			 (filter->category_length != name->category_length ||
			  memcmp(filter->category, name->text, name->category_length) != 0)))
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
	run.limit = PG_INT32_MAX;
	deferred_lock();
	DEBUG_POINT("projection_inline_decides");
	if (deferred_any(projection))
	{
		defer(&run, NULL);
		return;
	}
	DEBUG_POINT("projection_inline_decided");
	if (!projection_attempt(&run, &error))
		defer(&run, error);
}

/*
 * Leaves an append's events to the worker, and wakes it when they are there.
 */
static void
defer(const ProjectionRun *run, const ErrorData *error)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EventScan  *scan = projection_scan(run, snapshot);
	Event		event;

	while (event_scan_next(scan, &event) && event.version <= run->upto)
	{
		/* Without a position it failed before it got to any event. */
		bool		failed_here = run->position == 0 || event.position == run->position;

		if (event_filter_admits(&run->projection->filter, &event))
			deferred_add(run->projection, event.position, failed_here ? error : NULL);
	}
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	wakeup_worker_after_commit(WAKE_FOR_TIMER);
}
