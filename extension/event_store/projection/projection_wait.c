/*
 * projection_wait.c
 *		Waiting until a projection has handled what one has appended.
 *
 * Whoever moves a projection wakes those who wait for it, see
 * projection_progress.c; appends that end wake them too, since the mark may be
 * what is still behind.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "event_store/projection/projection.h"
#include "event_store/projection/projection_deferred.h"
#include "event_store/projection/projection_progress.h"
#include "log/position.h"
#include "log/wakeup.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/result.h"
#include "pg/spi.h"

static bool look(const char *name, int64 position, TimestampTz *again);
static bool has_reached(Projection *projection, int64 position, int64 mark);

/*
 * Whether a projection has handled every event up to a position that it wants.
 * Lowers *again to when to look although nobody wakes us.
 */
static bool
look(const char *name, int64 position, TimestampTz *again)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "look at projection",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Projection *projection = projection_find(name);
	int64		mark;
	bool		reached;

	if (!position_mark_nowait(LOG_EVENT_STORE, event_filter_key(&projection->filter), &mark))
		*again = lesser(*again,
						TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_BEHIND_POLL));
	reached = has_reached(projection, position, mark);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return reached;
}

static bool
has_reached(Projection *projection, int64 position, int64 mark)
{
	ProjectionProgress progress;

	if (!progress_read(projection, &progress))
		projection_unknown(projection->name);
	/* at_position is the source's then, of which nothing is known here but this. */
	if (projection->source != NULL)
		return progress.checkpoint >= position;
	if (projection->is_inline)
		return mark >= position &&
			(!progress_is_replaying(&progress) || progress.checkpoint >= position) &&
			!deferred_any_up_to(projection, position);
	/* A checkpoint does not follow at once over events that are not for it. */
	return progress.checkpoint >= position ||
		(mark >= position && !projection_has_event(projection, progress.checkpoint, position));
}

PG_FUNCTION_INFO_V1(event_store_wait_projection);
/*
 * CALL event_store.wait_projection(name, at_position, timeout, reached)
 */
Datum
event_store_wait_projection(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	TupleDesc	descriptor;
	TimestampTz deadline;
	char	   *name;
	bool		reached;
	bool		isnull = false;
	Datum		value;

	wakeup_require_top_level("event_store.wait_projection", call == NULL || call->atomic);
	argument_not_null(&fcinfo->args[0], "name", "The view event_store.projections lists them.");
	argument_not_null(&fcinfo->args[1], "at_position", "Pass the position that append() returned.");
	argument_not_null(&fcinfo->args[2], "timeout", "For example '5 s'.");
	PreventCommandDuringRecovery("event_store.wait_projection");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	deadline = clock_after(GetCurrentTimestamp(), PG_GETARG_INTERVAL_P(2), "timeout");
	descriptor = CreateTupleDescCopy(result_row_type(fcinfo));
	wakeup_want(LOG_EVENT_STORE, event_filter_key(&projection_find(name)->filter), 0xffffffff);
	wakeup_want(WAIT_FOR_PROJECTION, position_key(name, (int) strlen(name)), 0xffffffff);
	wakeup_listen_wanted();
	for (;;)
	{
		TimestampTz again = deadline;

		reached = look(name, PG_GETARG_INT64(1), &again);
		/* Neither a snapshot nor a lock is held while it sleeps. */
		spi_commit_transaction();
		if (reached || (!wakeup_sleep(again) && GetCurrentTimestamp() >= deadline))
			break;
	}
	wakeup_unlisten();
	value = BoolGetDatum(reached);
	return result_row(descriptor, &value, &isnull);
}
