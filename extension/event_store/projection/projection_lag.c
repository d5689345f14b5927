/*
 * projection_lag.c
 *		How far behind a projection is, for the view event_store.projections.
 *
 * Takes the high-water mark first and counts with newer snapshots, so that what
 * is said to be handled is.  Locks nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "event_store/projection/projection.h"
#include "event_store/projection/projection_deferred.h"
#include "event_store/projection/projection_progress.h"
#include "event_store/projection/projection_remote.h"
#include "log/position.h"
#include "pg/argument.h"
#include "pg/result.h"

/* Of a projection whose events lie in another database. */
#define UNKNOWN_EVENTS (-1)

/* What the view shows of a projection. */
typedef struct ProjectionLag
{
	int64		checkpoint;
	int64		events;
	TimestampTz oldest;
	bool		capped;			/* there may be more events */
	int			looks;
} ProjectionLag;

static void count_range(Projection *projection, int64 upto, ProjectionLag *lag);
static void read_remote(const Projection *projection, int64 *head, ProjectionLag *lag);
static void count_deferred(Projection *projection, bool tell_checkpoint, int64 mark,
						   ProjectionLag *lag);

/*
 * Events above the checkpoint.
 */
static void
count_range(Projection *projection, int64 upto, ProjectionLag *lag)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EventScan  *scan = event_scan_positions(&projection->filter, lag->checkpoint, upto, snapshot);
	Event		event;

	event_scan_limit(scan, lag->looks);
	while (event_scan_next(scan, &event))
	{
		if (lag->events++ == 0)
			lag->oldest = event.occurred_at;
	}
	lag->capped = event_scan_was_limited(scan);
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
}

/*
 * Events that appends have deferred.  Without a rebuild they tell where the
 * projection is: before the first of them, else up to date.
 */
static void
count_deferred(Projection *projection, bool tell_checkpoint, int64 mark, ProjectionLag *lag)
{
	int64	   *positions;
	int			count = deferred_positions(projection, lag->looks, &positions);
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;

	if (tell_checkpoint)
		lag->checkpoint = count > 0 ? Min(positions[0] - 1, mark) : mark;
	if (lag->events == 0 && count > 0)
	{
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		scan = event_scan_positions(&projection->filter, positions[0] - 1, positions[0], snapshot);
		if (event_scan_next(scan, &event))
			lag->oldest = event.occurred_at;
		event_scan_end(scan);
		UnregisterSnapshot(snapshot);
	}
	lag->events += count;
	lag->capped = lag->capped || count == lag->looks;
}

/*
 * What is known here of a projection whose events come from another database: how
 * many are missing is not.
 */
static void
read_remote(const Projection *projection, int64 *head, ProjectionLag *lag)
{
	ProjectionRemote remote;

	(void) remote_read(projection, &remote);
	*head = greater(remote.head, lag->checkpoint);
	lag->events = *head > lag->checkpoint ? UNKNOWN_EVENTS : 0;
	lag->oldest = remote.behind_since;
}

PG_FUNCTION_INFO_V1(event_store_projection_lag);
/*
 * event_store._projection_lag(name [, looks])
 */
Datum
event_store_projection_lag(PG_FUNCTION_ARGS)
{
	Projection *projection;
	int64		mark;
	ProjectionProgress progress;
	ProjectionLag lag = {.looks = PG_NARGS() > 1 ? PG_GETARG_INT32(1) : LAG_LOOKS};
	TupleDesc	descriptor;
	Datum		values[5];
	bool		nulls[5] = {false, false, false, false, false};

	argument_not_null(&fcinfo->args[0], "name", "The view event_store.projections lists them.");
	projection = projection_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	/* Who looks does not wait for a standby that is away. */
	(void) position_mark_nowait(LOG_EVENT_STORE, event_filter_key(&projection->filter), &mark);
	descriptor = result_row_type(fcinfo);
	if (!progress_read(projection, &progress))
		PG_RETURN_NULL();
	lag.checkpoint = progress.checkpoint;
	if (projection->source != NULL)
		read_remote(projection, &mark, &lag);
	else if (!projection->is_inline)
		count_range(projection, mark, &lag);
	else
	{
		if (progress.rebuild_step == REBUILD_REPLAYING)
			count_range(projection, progress.rebuild_until, &lag);
		count_deferred(projection, progress.rebuild_step == REBUILD_NONE, mark, &lag);
	}
	values[0] = Int64GetDatum(lag.checkpoint);
	values[1] = Int64GetDatum(mark);
	values[2] = Int64GetDatum(lag.events);
	values[3] = TimestampTzGetDatum(lag.oldest);
	nulls[2] = lag.events == UNKNOWN_EVENTS;
	nulls[3] = lag.events == 0 || lag.oldest == 0;
	values[4] = BoolGetDatum(lag.capped);
	return result_row(descriptor, values, nulls);
}
