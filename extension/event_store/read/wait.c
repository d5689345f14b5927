/*
 * wait.c
 *		CALL event_store.wait(): until there is something to read.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "event_store/read/read_call.h"
#include "log/position.h"
#include "log/wakeup.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/result.h"
#include "pg/spi.h"

static bool readable_beyond(int64 after, const EventFilter *filter, int64 mark);

PG_FUNCTION_INFO_V1(event_store_wait);
/*
 * CALL event_store.wait(after_position, timeout, category, stream, high_water_mark)
 */
Datum
event_store_wait(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	EventFilter filter;
	TupleDesc	descriptor;
	TimestampTz deadline;
	int64		after;
	int64		mark;
	bool		isnull = false;
	Datum		value;
	uint32		key;

	wakeup_require_top_level("event_store.wait", call == NULL || call->atomic);
	argument_not_null(&fcinfo->args[0], "after_position", "0 begins with the first event.");
	argument_not_null(&fcinfo->args[1], "timeout", "For example '30 s'.");
	after = PG_GETARG_INT64(0);
	deadline = clock_after(GetCurrentTimestamp(), PG_GETARG_INTERVAL_P(1), "timeout");
	read_filter(&filter, &fcinfo->args[2], &fcinfo->args[3]);
	key = event_filter_key(&filter);
	descriptor = CreateTupleDescCopy(result_row_type(fcinfo));

	/* From here on without a snapshot, so that vacuum is not held up. */
	spi_commit_transaction();
	wakeup_listen(LOG_EVENT_STORE, key);
	for (;;)
	{
		TimestampTz until = deadline;

		if (!position_mark_nowait(LOG_EVENT_STORE, key, &mark))
			until = lesser(deadline,
						   TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_BEHIND_POLL));
		if (mark > after && readable_beyond(after, &filter, mark))
			break;
		/* until may have passed while we looked, without the deadline. */
		if (!wakeup_sleep(until) && GetCurrentTimestamp() >= deadline)
			break;
		CHECK_FOR_INTERRUPTS();
	}
	wakeup_unlisten();
	value = Int64GetDatum(mark);
	return result_row(descriptor, &value, &isnull);
}

/*
 * Whether there is something to read for a filter above after and up to mark: the mark
 * passes what was rolled back too, and deletions, of which most readers know nothing.
 */
static bool
readable_beyond(int64 after, const EventFilter *filter, int64 mark)
{
	MemoryContext context;
	MemoryContext old;
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;
	bool		found;

	/* A wait may look very often. */
	context = AllocSetContextCreate(CurrentMemoryContext, "event", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (filter->stream != NULL)
		scan = event_scan_stream(filter->stream, filter->stream_length, 0, true, snapshot);
	else
		scan = event_scan_positions(filter, after, mark, snapshot);
	found = event_scan_next(scan, &event);
	/* A stream's newest event may still lie above the mark; then older ones count. */
	while (found && filter->stream != NULL && event.position > mark)
		found = event_scan_next(scan, &event);
	found = found && event.position > after;
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return found;
}
