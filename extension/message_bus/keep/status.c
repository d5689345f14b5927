/*
 * status.c
 *		What operators see, and how consumers wait.
 *
 * Depth and rates come from shared memory, what is aside or dead from the
 * tables.  Nothing here takes a lane.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "storage/spin.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "log/wakeup.h"
#include "message_bus/endpoint/breaker.h"
#include "message_bus/endpoint/breaker_table.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/receive.h"
#include "message_bus/keep/evacuate.h"
#include "message_bus/keep/status.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/message_bus.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/passed.h"
#include "message_bus/place/ring.h"
#include "pg/clock.h"
#include "pg/result.h"
#include "pg/scan.h"
#include "pg/spi.h"

static uint64 count_aside(const Endpoint *endpoint, int32 lane, TimestampTz now);
static uint64 count_range(const Endpoint *endpoint, int32 lane, AsideRange range,
						  TimestampTz at);
static TimestampTz oldest_in_ring(Endpoint *endpoint);
static Endpoint **begin_endpoints(FunctionCallInfo fcinfo, SetResult *result, int *count);

/*
 * Messages that are deliverable: the depth without what is in flight.
 */
uint64
status_deliverable(const Endpoint *endpoint)
{
	TimestampTz now = clock_now();
	uint64		depth = pg_atomic_read_u64(&endpoint->shared->depth);
	uint64		in_flight = 0;

	for (int i = 0; i < endpoint->shared->lane_count; i++)
	{
		BusLane    *lane = lane_get(endpoint, i);

		depth += count_aside(endpoint, i, now);
		in_flight += pg_atomic_read_u32(&lane->in_flight) + lane->leases.count;
	}
	/* They are read one after the other, so one may be ahead. */
	return depth > in_flight ? depth - in_flight : 0;
}

/*
 * Messages of a lane that were set aside and are due, or that a breaker holds.
 */
static uint64
count_aside(const Endpoint *endpoint, int32 lane, TimestampTz now)
{
	BusLane    *shared = lane_get(endpoint, lane);
	uint64		count = 0;

	if (shared->next_due <= now)
		count += count_range(endpoint, lane, ASIDE_DUE, now);
	if (shared->held)
		count += count_range(endpoint, lane, ASIDE_HELD, now);
	return count;
}

static uint64
count_range(const Endpoint *endpoint, int32 lane, AsideRange range, TimestampTz at)
{
	TableScan	scan;
	uint64		count = 0;

	aside_scan_begin(&scan, endpoint, lane, range, at);
	while (table_scan_next(&scan, ForwardScanDirection) != NULL)
		count++;
	table_scan_end(&scan);
	return count;
}

/*
 * When the oldest message of the ring that is not settled was sent, 0 if there
 * is none.
 */
static TimestampTz
oldest_in_ring(Endpoint *endpoint)
{
	TimestampTz oldest = 0;

	for (int32 i = 0; i < endpoint->lanes; i++)
	{
		BusLane    *lane = lane_get(endpoint, i);
		int64		cursor = (int64) pg_atomic_read_u64(&lane->cursor);
		LaneReader	reader;
		HeapTuple	row;
		int64		position;

		if (pg_atomic_read_u64(&lane->tail) <= (uint64) cursor)
			continue;
		lane_reader_begin(&reader, endpoint, i, cursor);
		do
			row = lane_reader_next(&reader, &position);
		while (row != NULL && pg_atomic_read_u32(&lane->passed) != 0 &&
			   passed_has(endpoint, i, position));
		if (row != NULL)
		{
			bool		isnull;
			TimestampTz sent_at = DatumGetTimestampTz(heap_getattr(row, ROW_SENT_AT + 1,
																   ring_descriptor(), &isnull));

			oldest = oldest == 0 ? sent_at : Min(oldest, sent_at);
		}
		lane_reader_end(&reader);
	}
	return oldest;
}

/*
 * Begins a result with rows about endpoints, and gives them; none on a standby, whose
 * shared memory knows nothing of them.
 */
static Endpoint **
begin_endpoints(FunctionCallInfo fcinfo, SetResult *result, int *count)
{
	result_begin(fcinfo, result);
	*count = 0;
	return RecoveryInProgress() ? NULL : endpoint_all(count);
}

PG_FUNCTION_INFO_V1(message_bus_endpoint_status);
/*
 * message_bus._endpoint_status(): what shared memory knows, one row per
 * endpoint; none on a standby.
 */
Datum
message_bus_endpoint_status(PG_FUNCTION_ARGS)
{
	SetResult	result;
	TimestampTz now = GetCurrentTimestamp();
	int			count;
	Endpoint  **endpoints = begin_endpoints(fcinfo, &result, &count);

	for (int i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoints[i];
		Datum		values[6];
		bool		nulls[6] = {0};
		uint64		depth = pg_atomic_read_u64(&endpoint->shared->depth);
		uint64		in_flight = 0;
		TimestampTz oldest;

		for (int32 lane = 0; lane < endpoint->lanes; lane++)
		{
			BusLane    *shared = lane_get(endpoint, lane);

			in_flight += pg_atomic_read_u32(&shared->in_flight) + shared->leases.count;
		}
		/* There may be hundreds in which nothing waits: no look at the ring for each. */
		oldest = depth > 0 ? oldest_in_ring(endpoint) : 0;
		values[0] = Int32GetDatum(endpoint->id);
		values[1] = Int64GetDatum((int64) depth);
		values[2] = Int64GetDatum((int64) in_flight);
		values[3] = TimestampTzGetDatum(oldest);
		nulls[3] = oldest == 0;
		values[4] = Float8GetDatum(rate_per_second(&endpoint->shared->sent, now));
		values[5] = Float8GetDatum(rate_per_second(&endpoint->shared->acked, now));
		result_put(&result, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(message_bus_breaker_status);
/*
 * message_bus._breaker_status(): breakers as they are, none on a standby.
 */
Datum
message_bus_breaker_status(PG_FUNCTION_ARGS)
{
	SetResult	result;
	int			count;
	Endpoint  **endpoints = begin_endpoints(fcinfo, &result, &count);

	for (int i = 0; i < count; i++)
		breaker_describe(endpoints[i], &result);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(message_bus_lane_status);
/*
 * message_bus._lane_status(): lanes as shared memory knows them.
 */
Datum
message_bus_lane_status(PG_FUNCTION_ARGS)
{
	SetResult	result;
	int			count;
	Endpoint  **endpoints = begin_endpoints(fcinfo, &result, &count);

	for (int i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoints[i];

		for (int32 lane = 0; lane < endpoint->lanes; lane++)
		{
			BusLane    *shared = lane_get(endpoint, lane);
			Datum		values[6];
			bool		nulls[6] = {0};

			values[0] = Int32GetDatum(endpoint->id);
			values[1] = Int32GetDatum(lane);
			values[2] = Int64GetDatum((int64) pg_atomic_read_u64(&shared->cursor));
			values[3] = Int64GetDatum((int64) pg_atomic_read_u64(&shared->tail));
			SpinLockAcquire(&shared->mutex);
			nulls[4] = shared->next_due == NEVER_DUE;
			values[4] = TimestampTzGetDatum(shared->next_due);
			values[5] = Int32GetDatum((int32) shared->leases.count);
			SpinLockRelease(&shared->mutex);
			result_put(&result, values, nulls);
		}
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(message_bus_ring_status);
/*
 * message_bus._ring_status(): segments as shared memory knows them.
 */
Datum
message_bus_ring_status(PG_FUNCTION_ARGS)
{
	static const char *const states[] = {
		[SEGMENT_FREE] = "free", [SEGMENT_CURRENT] = "current", [SEGMENT_CLOSING] = "closing",
		[SEGMENT_STORE] = "store", [SEGMENT_SEALED] = "sealed", [SEGMENT_DRAINED] = "drained",
		[SEGMENT_EVACUATED] = "evacuated"
	};
	SetResult	result;
	BusDatabase *database;

	result_begin(fcinfo, &result);
	if (RecoveryInProgress())
		return (Datum) 0;
	database = database_state();
	for (int i = 0; i < RING_SEGMENTS; i++)
	{
		BusSegment *segment = &database->segments[i];
		Datum		values[4];
		bool		nulls[4] = {0};

		values[0] = Int32GetDatum(i);
		values[1] = CStringGetTextDatum(states[pg_atomic_read_u32(&segment->state)]);
		values[2] = TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(&segment->since));
		nulls[3] = pg_atomic_read_u64(&segment->sampled_at) == 0;
		values[3] = Float8GetDatum(pg_atomic_read_u32(&segment->unread) / (double) UNREAD_ALL);
		result_put(&result, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(message_bus_endpoint_totals);
/*
 * message_bus._endpoint_totals(): counters since the server started, none on a
 * standby.
 */
Datum
message_bus_endpoint_totals(PG_FUNCTION_ARGS)
{
	SetResult	result;
	int			count;
	Endpoint  **endpoints = begin_endpoints(fcinfo, &result, &count);

	for (int i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoints[i];
		Datum		values[3];
		bool		nulls[3] = {0};

		values[0] = Int32GetDatum(endpoint->id);
		values[1] = Int64GetDatum((int64) pg_atomic_read_u64(&endpoint->shared->sent.total));
		values[2] = Int64GetDatum((int64) pg_atomic_read_u64(&endpoint->shared->acked.total));
		result_put(&result, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(message_bus_lane_of);
/*
 * message_bus._lane_of(endpoint_id, partition_key)
 */
Datum
message_bus_lane_of(PG_FUNCTION_ARGS)
{
	Endpoint   *endpoint = endpoint_by_id(PG_GETARG_INT32(0));
	text	   *key = PG_GETARG_TEXT_PP(1);

	if (endpoint == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT32(endpoint_lane(endpoint, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)));
}
