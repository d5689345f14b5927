/*
 * ready.c
 *		Whether there is something to receive, and waiting for it.
 *
 * Nothing here takes a lane.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "message_bus/endpoint/breaker.h"
#include "message_bus/go/ready.h"
#include "message_bus/go/share.h"
#include "message_bus/go/strict.h"
#include "message_bus/know/lane.h"
#include "message_bus/message_bus.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/ring.h"
#include "message_bus/place/row.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/result.h"
#include "pg/scan.h"
#include "pg/spi.h"

static bool lane_has_work(Endpoint *endpoint, int32 lane, TimestampTz now);
static bool held_is_released(Endpoint *endpoint, int32 lane, TimestampTz now);
static bool aside_is_due(Endpoint *endpoint, int32 lane, TimestampTz now);

/*
 * Is there something to receive?  Looks at lanes that seem free and not empty.
 */
bool
message_bus_ready(const char *name)
{
	Endpoint   *endpoint;
	TimestampTz now = clock_now();

	if (restore_goes_on())
		return false;
	endpoint = endpoint_by_name(name, false);
	if (endpoint->paused)
		return false;
	for (int32 i = 0; i < endpoint->lanes; i++)
	{
		if (pg_atomic_read_u32(&lane_get(endpoint, i)->holder) == 0 &&
			lane_may_have_work(endpoint, i, now) && lane_has_work(endpoint, i, now))
			return true;
	}
	return false;
}

/*
 * Whether shared memory says that a lane may have something to do.  Wrong only
 * in saying yes.
 */
bool
lane_may_have_work(Endpoint *endpoint, int32 number, TimestampTz now)
{
	BusLane    *lane = lane_get(endpoint, number);
	uint64		read_upto = greater(pg_atomic_read_u64(&lane->cursor),
								pg_atomic_read_u64(&lane->empty_to));

	if (lane->leases.count > 0)
		return lane->leases.first_end <= now;
	return pg_atomic_read_u64(&lane->tail) > read_upto || lane->next_due <= now ||
		(lane->held && (endpoint->strict || breaker_releases(endpoint, number, now)));
}

/*
 * Whether a free lane has something to deliver, by looking at it.
 */
static bool
lane_has_work(Endpoint *endpoint, int32 number, TimestampTz now)
{
	BusLane    *lane = lane_get(endpoint, number);
	int64		cursor = (int64) pg_atomic_read_u64(&lane->cursor);
	LaneReader	reader;
	int64		position;
	bool		found;

	if (lane->leases.count > 0)
		return lane->leases.first_end <= now;
	if (lane->next_due <= now && aside_is_due(endpoint, number, now))
		return true;
	if (lane->held && (endpoint->strict || breaker_releases(endpoint, number, now)) &&
		held_is_released(endpoint, number, now))
		return true;
	if (pg_atomic_read_u64(&lane->tail) <= (uint64) cursor)
		return false;
	lane_reader_begin(&reader, endpoint, number, cursor);
	found = lane_reader_next(&reader, &position) != NULL;
	if (!found)
		atomic_raise(&lane->empty_to, (uint64) reader.mark);
	lane_reader_end(&reader);
	return found;
}

/*
 * Whether a lane has a message that its breaker, and those before it, would let go.
 */
static bool
held_is_released(Endpoint *endpoint, int32 number, TimestampTz now)
{
	TableScan	scan;
	HeapTuple	row;
	StrictHeads *heads = endpoint->strict ? strict_heads(endpoint, number) : NULL;
	bool		released = false;

	aside_scan_begin(&scan, endpoint, number, ASIDE_HELD, 0);
	while (!released && (row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
	{
		RowValues	values;

		row_read(row, scan.descriptor, &values);
		/* Any attempt: the next receive finds out whether it may be a probe. */
		released = (heads == NULL || strict_is_first_row(heads, &values)) &&
			breaker_looks(endpoint, TextDatumGetCString(values.values[ROW_MESSAGE_TYPE]), true,
						  now) != BREAKER_HOLDS;
	}
	table_scan_end(&scan);
	if (heads != NULL)
		hash_destroy(heads);
	return released;
}

static bool
aside_is_due(Endpoint *endpoint, int32 number, TimestampTz now)
{
	BusLane    *lane = lane_get(endpoint, number);
	uint32		version = lane_due_version(lane);
	TimestampTz due = aside_first_due(endpoint, number, DT_NOBEGIN);

	if (due > now && pg_atomic_read_u32(&lane->holder) == 0)
		lane_due_computed(lane, version, due, lane->held);
	return due <= now;
}

/*
 * Adds an endpoint to what wakeup_listen_wanted() is about, as one whose lanes this
 * process wants a part of until then; MB001 if there is none of that name.
 */
void
endpoint_want(const char *name, TimestampTz until)
{
	const Endpoint *endpoint = endpoint_by_name(name, false);

	wakeup_want(LOG_MESSAGE_BUS, lane_key(endpoint->id, 0), LANE_KEY_MASK);
	share_want(endpoint, until);
}

/*
 * When something of an endpoint will be due by itself.
 */
TimestampTz
endpoint_next_due(const char *name)
{
	Endpoint   *endpoint = endpoint_by_name(name, false);
	TimestampTz now = GetCurrentTimestamp();
	BusLane    *lanes = bus_lanes(endpoint->shared);
	TimestampTz next = breaker_next_retry(endpoint);

	if (next <= now)
		next = NEVER_DUE;
	for (int i = 0; i < endpoint->lanes; i++)
	{
		if (lanes[i].next_due > now)
			next = Min(next, lanes[i].next_due);
		if (lanes[i].leases.count > 0 && lanes[i].leases.first_end > now)
			next = Min(next, lanes[i].leases.first_end);
	}
	return next;
}

PG_FUNCTION_INFO_V1(message_bus_wait_sql);
/*
 * CALL message_bus.wait(endpoint, timeout, ready)
 */
Datum
message_bus_wait_sql(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	char	   *name;
	TupleDesc	descriptor;
	TimestampTz deadline;
	bool		isnull = false;
	bool		ready;
	Datum		value;

	wakeup_require_top_level("message_bus.wait", call == NULL || call->atomic);
	argument_not_null(&fcinfo->args[0], "endpoint", "Names are in message_bus.endpoints.");
	argument_not_null(&fcinfo->args[1], "timeout", "For example '30 s'.");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	deadline = clock_after(GetCurrentTimestamp(), PG_GETARG_INTERVAL_P(1), "timeout");
	descriptor = CreateTupleDescCopy(result_row_type(fcinfo));
	(void) endpoint_by_name(name, false);

	/* From here on without a snapshot, so that vacuum is not held up. */
	spi_commit_transaction();
	endpoint_want(name, deadline);
	wakeup_listen_wanted();
	while (!(ready = message_bus_ready(name)) && GetCurrentTimestamp() < deadline)
		(void) wakeup_sleep(lesser(deadline, endpoint_next_due(name)));
	wakeup_unlisten();
	value = BoolGetDatum(ready);
	return result_row(descriptor, &value, &isnull);
}
