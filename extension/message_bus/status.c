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
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "storage/spin.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "log/wakeup.h"
#include "message_bus/aside.h"
#include "message_bus/breaker.h"
#include "message_bus/breaker_table.h"
#include "message_bus/endpoint.h"
#include "message_bus/evacuate.h"
#include "message_bus/load.h"
#include "message_bus/message_bus.h"
#include "message_bus/receive.h"
#include "message_bus/ring.h"
#include "message_bus/status.h"
#include "message_bus/table.h"
#include "pg/clock.h"
#include "pg/spi.h"

static TimestampTz endpoint_next_due(Endpoint *endpoint, TimestampTz now);
static uint64 count_aside(BusEndpoint *endpoint, int32 lane, TimestampTz now);
static uint64 count_scan(int key_count, ScanKey keys);
static bool held_is_released(Endpoint *endpoint, int32 lane, TimestampTz now);
static bool aside_is_due(Endpoint *endpoint, int32 lane, TimestampTz now);
static TimestampTz oldest_in_ring(Endpoint *endpoint);

/*
 * Messages that are deliverable: the depth without what is in flight.
 */
uint64
status_deliverable(BusEndpoint *endpoint)
{
	TimestampTz now = clock_now();
	uint64		depth = pg_atomic_read_u64(&endpoint->depth);
	uint64		in_flight = 0;

	for (int i = 0; i < endpoint->lane_count; i++)
	{
		BusLane    *lane = &bus_lanes(endpoint)[i];

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
count_aside(BusEndpoint *endpoint, int32 lane, TimestampTz now)
{
	BusLane    *shared = &bus_lanes(endpoint)[lane];
	ScanKeyData keys[3];
	uint64		count = 0;

	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->key.endpoint_id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	if (shared->next_due <= now)
	{
		key_time(&keys[2], 3, BTLessEqualStrategyNumber, now);
		count += count_scan(3, keys);
	}
	if (shared->held)
	{
		key_time(&keys[2], 3, BTEqualStrategyNumber, DUE_WHEN_RELEASED);
		count += count_scan(3, keys);
	}
	return count;
}

static uint64
count_scan(int key_count, ScanKey keys)
{
	TableScan	scan;
	uint64		count = 0;

	table_scan_begin(&scan, &bus_aside_table, &bus_aside_due_index, key_count, keys, NULL);
	while (table_scan_next(&scan, ForwardScanDirection) != NULL)
		count++;
	table_scan_end(&scan);
	return count;
}

/*
 * Whether a free lane has something to deliver, by looking at it.
 */
bool
lane_has_work(Endpoint *endpoint, int32 number, TimestampTz now)
{
	BusLane    *lane = &bus_lanes(endpoint->shared)[number];
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
	lane_reader_begin(&reader, endpoint->shared, number, cursor);
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
	ScanKeyData keys[3];
	HeapTuple	row;
	StrictHeads *heads = endpoint->strict ? strict_heads(endpoint->shared, number) : NULL;
	bool		released = false;

	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, number);
	key_time(&keys[2], 3, BTEqualStrategyNumber, DUE_WHEN_RELEASED);
	table_scan_begin(&scan, &bus_aside_table, &bus_aside_due_index, 3, keys, NULL);
	while (!released && (row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
	{
		RowValues	values;

		row_read(row, RelationGetDescr(scan.table), &values);
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
	BusLane    *lane = &bus_lanes(endpoint->shared)[number];
	uint32		version = lane_due_version(lane);
	TableScan	scan;
	ScanKeyData keys[2];
	HeapTuple	row;
	TimestampTz due = NEVER_DUE;

	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, number);
	table_scan_begin(&scan, &bus_aside_table, &bus_aside_due_index, 2, keys, NULL);
	row = table_scan_next(&scan, ForwardScanDirection);
	if (row != NULL)
	{
		bool		isnull;

		due = DatumGetTimestampTz(heap_getattr(row, ASIDE_DUE_AT + 1,
											   scan.descriptor, &isnull));
	}
	table_scan_end(&scan);
	if (due > now && pg_atomic_read_u32(&lane->holder) == 0)
		lane_due_computed(lane, version, due == DUE_WHEN_RELEASED ? NEVER_DUE : due, lane->held);
	return due <= now;
}

/*
 * When something of the endpoint will be due by itself.
 */
static TimestampTz
endpoint_next_due(Endpoint *endpoint, TimestampTz now)
{
	BusLane    *lanes = bus_lanes(endpoint->shared);
	TimestampTz next = breaker_next_retry(endpoint->shared);

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
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("endpoint and timeout must not be null"),
				 errhint("Type CALL message_bus.wait('my-endpoint', '30 s').")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	deadline = clock_after(GetCurrentTimestamp(), PG_GETARG_INTERVAL_P(1), "timeout");
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	descriptor = CreateTupleDescCopy(descriptor);
	(void) endpoint_by_name(name, false);

	/* From here on without a snapshot, so that vacuum is not held up. */
	spi_commit_transaction();
	wakeup_listen_group(LOG_MESSAGE_BUS, endpoint_key(endpoint_by_name(name, false)->id, 0),
						ENDPOINT_KEY_MASK);
	while (!(ready = message_bus_ready(name)) && GetCurrentTimestamp() < deadline)
	{
		TimestampTz due = endpoint_next_due(endpoint_by_name(name, false), GetCurrentTimestamp());

		(void) wakeup_sleep(Min(deadline, due));
	}
	wakeup_unlisten();
	value = BoolGetDatum(ready);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), &value, &isnull));
}

/*
 * Begins a result of rows; the caller adds them.
 */
static Tuplestorestate *
begin_result(FunctionCallInfo fcinfo, TupleDesc *descriptor)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	Tuplestorestate *result;

	if (info == NULL || !IsA(info, ReturnSetInfo) || (info->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (get_call_result_type(fcinfo, NULL, descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	*descriptor = CreateTupleDescCopy(*descriptor);
	result = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0, false,
								   work_mem);
	MemoryContextSwitchTo(old);
	info->returnMode = SFRM_Materialize;
	info->setResult = result;
	info->setDesc = *descriptor;
	return result;
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
		BusLane    *lane = &bus_lanes(endpoint->shared)[i];
		int64		cursor = (int64) pg_atomic_read_u64(&lane->cursor);
		LaneReader	reader;
		HeapTuple	row;
		int64		position;

		if (pg_atomic_read_u64(&lane->tail) <= (uint64) cursor)
			continue;
		lane_reader_begin(&reader, endpoint->shared, i, cursor);
		row = lane_reader_next(&reader, &position);
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

PG_FUNCTION_INFO_V1(message_bus_endpoint_status);
/*
 * message_bus._endpoint_status(): what shared memory knows, one row per
 * endpoint; none on a standby.
 */
Datum
message_bus_endpoint_status(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	Tuplestorestate *result = begin_result(fcinfo, &descriptor);
	TimestampTz now = GetCurrentTimestamp();
	int			count;
	int32	   *ids;

	if (RecoveryInProgress())
		return (Datum) 0;
	ids = endpoint_all(&count);
	for (int i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoint_by_id(ids[i]);
		Datum		values[6];
		bool		nulls[6] = {0};
		uint64		in_flight = 0;
		TimestampTz oldest;

		if (endpoint == NULL)
			continue;
		for (int32 lane = 0; lane < endpoint->lanes; lane++)
		{
			BusLane    *shared = &bus_lanes(endpoint->shared)[lane];

			in_flight += pg_atomic_read_u32(&shared->in_flight) + shared->leases.count;
		}
		oldest = oldest_in_ring(endpoint);
		values[0] = Int32GetDatum(endpoint->id);
		values[1] = Int64GetDatum((int64) pg_atomic_read_u64(&endpoint->shared->depth));
		values[2] = Int64GetDatum((int64) in_flight);
		values[3] = TimestampTzGetDatum(oldest);
		nulls[3] = oldest == 0;
		values[4] = Float8GetDatum(rate_per_second(&endpoint->shared->sent, now));
		values[5] = Float8GetDatum(rate_per_second(&endpoint->shared->acked, now));
		tuplestore_putvalues(result, descriptor, values, nulls);
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
	TupleDesc	descriptor;
	Tuplestorestate *result = begin_result(fcinfo, &descriptor);
	int			count;
	int32	   *ids;

	if (RecoveryInProgress())
		return (Datum) 0;
	ids = endpoint_all(&count);
	for (int i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoint_by_id(ids[i]);

		if (endpoint != NULL)
			breaker_describe(endpoint, result, descriptor);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(message_bus_lane_status);
/*
 * message_bus._lane_status(): lanes as shared memory knows them.
 */
Datum
message_bus_lane_status(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	Tuplestorestate *result = begin_result(fcinfo, &descriptor);
	int			count;
	int32	   *ids;

	if (RecoveryInProgress())
		return (Datum) 0;
	ids = endpoint_all(&count);
	for (int i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoint_by_id(ids[i]);

		for (int32 lane = 0; endpoint != NULL && lane < endpoint->lanes; lane++)
		{
			BusLane    *shared = &bus_lanes(endpoint->shared)[lane];
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
			tuplestore_putvalues(result, descriptor, values, nulls);
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
	TupleDesc	descriptor;
	Tuplestorestate *result = begin_result(fcinfo, &descriptor);
	BusDatabase *database;

	if (RecoveryInProgress())
		return (Datum) 0;
	database = load_database_state();
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
		tuplestore_putvalues(result, descriptor, values, nulls);
	}
	return (Datum) 0;
}
