/*
 * receive.c
 *		Taking messages from free lanes.
 *
 * Lanes the transaction holds already come first, then free ones, beginning
 * with another one in every process so that consumers do not all try the same.
 * A lane that turns out to be empty is given back at once; the others are held
 * until the transaction ends.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "base/order.h"
#include "log/restore.h"
#include "message_bus/breaker_note.h"
#include "message_bus/death.h"
#include "message_bus/envelope.h"
#include "message_bus/lease.h"
#include "message_bus/load.h"
#include "message_bus/message_bus.h"
#include "message_bus/receive.h"
#include "message_bus/settle.h"
#include "message_bus/status.h"
#include "message_bus/transaction.h"
#include "pg/clock.h"

/* So often all lanes are tried before a call gives nothing. */
#define PASSES 3

static bool lane_may_have_work(Endpoint *endpoint, int32 lane, TimestampTz now);
static void serve_lanes(Receipt *receipt);
static void serve_lane(Receipt *receipt, int32 number);
static void hand_out(Receipt *receipt);

/*
 * Takes up to max messages of an endpoint, guarded by its circuit breakers or
 * not.  Those for the caller are the deliveries from receipt->first on that are
 * not settled.  Returns how many.
 */
static int
receive(Receipt *receipt, const char *endpoint, int max, TimestampTz leased_until, bool guarded)
{
	PreventCommandIfReadOnly("message_bus.receive()");
	if (max < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_messages must be at least 1"),
				 errhint("Leave it out for 50.")));
	memset(receipt, 0, sizeof(*receipt));
	receipt->first = held_delivery_count();
	if (restore_goes_on())
		return 0;
	receipt->generation = restore_generation();
	receipt->endpoint = endpoint_use_named(endpoint);
	receipt->max = max;
	receipt->now = clock_now();
	receipt->leased_until = leased_until;
	receipt->guarded = guarded;
	if (receipt->endpoint->paused || held_alone())
		return 0;
	death_write_dirty();
	serve_lanes(receipt);
	/* Those that have not failed yet had their chance. */
	if (receipt->late && breaker_admit_any(receipt->endpoint->shared, receipt->now) &&
		receipt->given < max && !receipt->full)
	{
		CommandCounterIncrement();
		serve_lanes(receipt);
	}
	restore_check_unchanged(receipt->generation);
	hand_out(receipt);
	return receipt->given;
}

/*
 * Lanes the transaction holds come first.
 */
static void
serve_lanes(Receipt *receipt)
{
	static uint32 turn = 0;
	int32		lanes = receipt->endpoint->lanes;

	if (turn == 0)
		turn = (uint32) MyProcPid;
	for (int32 i = 0; i < lanes && receipt->given < receipt->max && !receipt->full; i++)
	{
		HeldLane   *held = held_lane_find(receipt->endpoint->shared, i);

		if (held != NULL)
			collect_lane(receipt, held);
	}
	/* A lane that was taken when we came by may be free by now. */
	for (int pass = 0;
		 pass < PASSES && (pass == 0 || (receipt->given == 0 && receipt->busy));
		 pass++)
	{
		receipt->busy = false;
		for (int32 i = 0; i < lanes && receipt->given < receipt->max && !receipt->full; i++)
			serve_lane(receipt, (int32) ((turn + i) % lanes));
	}
	turn++;
}

/*
 * Tries a lane that this transaction does not hold.
 */
static void
serve_lane(Receipt *receipt, int32 number)
{
	BusEndpoint *shared = receipt->endpoint->shared;
	HeldLane   *lane;
	int			before = held_delivery_count();

	if (!lane_may_have_work(receipt->endpoint, number, receipt->now))
		return;
	if (pg_atomic_read_u32(&bus_lanes(shared)[number].holder) != 0 &&
		!DEBUG_BREAK("bus_no_lane_lock"))
	{
		receipt->busy |= held_lane_find(shared, number) == NULL;
		return;
	}
	lane = held_lane_acquire(shared, number);
	if (lane == NULL)
	{
		receipt->busy = true;
		return;
	}
	DEBUG_POINT("bus_lane_acquired");
	if (bus_lanes(shared)[number].leases.count > 0)
	{
		LeaseSweep	swept = lease_sweep(receipt->endpoint, lane, receipt->now);

		if (swept == LEASE_LANE_TAKEN)
			held_lane_release(lane);
		if (swept != LEASE_LANE_FREE)
			return;
	}
	collect_lane(receipt, lane);
	if (held_delivery_count() == before && lane->swept_upto == 0)
		held_lane_release(lane);
}

/*
 * Whether shared memory says that a lane may have something to do.  Wrong only
 * in saying yes.
 */
static bool
lane_may_have_work(Endpoint *endpoint, int32 number, TimestampTz now)
{
	BusLane    *lane = &bus_lanes(endpoint->shared)[number];
	uint64		read_upto = greater(pg_atomic_read_u64(&lane->cursor),
								pg_atomic_read_u64(&lane->empty_to));

	if (lane->leases.count > 0)
		return lane->leases.first_end <= now;
	return pg_atomic_read_u64(&lane->tail) > read_upto || lane->next_due <= now ||
		(lane->held && (endpoint->strict || breaker_releases(endpoint, number, now)));
}

/*
 * Gives the new deliveries their receipts, and their lease.
 */
static void
hand_out(Receipt *receipt)
{
	int			count = held_delivery_count() - receipt->first;
	HeldDelivery *only = NULL;

	if (count == 0)
		return;
	held_delivery_number(receipt->first, load_receipts(count));
	for (int i = receipt->first; i < held_delivery_count(); i++)
	{
		HeldDelivery *delivery = held_delivery_get(i);
		HeldLane   *lane = held_lane_get(delivery->lane);

		if (delivery->outcome != OUTCOME_NONE)
			continue;
		only = delivery;
		if (receipt->leased_until == 0)
			pg_atomic_fetch_add_u32(&bus_lanes(lane->endpoint)[lane->lane].in_flight, 1);
	}
	if (receipt->leased_until != 0)
		lease_deliveries(receipt);
	else if (receipt->max == 1 && only != NULL)
		settle_handle(only);
}

/*
 * For the saga engine; see message_bus.h.
 */
int
message_bus_receive(const char *endpoint, int max, BusDelivery **deliveries)
{
	Receipt		receipt;
	BusDelivery *next;

	/* A saga's replies are never held: its timers would not wait for them. */
	receive(&receipt, endpoint, max, 0, false);
	next = *deliveries = palloc0(sizeof(BusDelivery) * Max(receipt.given, 1));
	for (int i = receipt.first; i < held_delivery_count(); i++)
	{
		HeldDelivery *delivery = held_delivery_get(i);
		RowValues	row;

		if (delivery->outcome != OUTCOME_NONE)
			continue;
		held_row_values(delivery, &row);
		envelope_message(&row, delivery->attempt, &next->message);
		next->delivery_id = delivery->delivery_id;
		next->leased_until = BUS_NO_TIME;
		next++;
	}
	return receipt.given;
}

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
		if (pg_atomic_read_u32(&bus_lanes(endpoint->shared)[i].holder) == 0 &&
			lane_may_have_work(endpoint, i, now) && lane_has_work(endpoint, i, now))
			return true;
	}
	return false;
}

/*
 * For the runner; see message_bus.h.
 */
void
message_bus_serve(const char *endpoint)
{
	BusEndpoint *shared = endpoint_by_name(endpoint, false)->shared;

	if (pg_atomic_read_u32(&shared->served) != 0)
		return;
	pg_atomic_write_u32(&shared->served, 1);
	pg_memory_barrier();
}

void
message_bus_keep_endpoint(const char *endpoint)
{
	if (endpoint_use(endpoint_by_name(endpoint, false)->id) == NULL)
		(void) endpoint_by_name(endpoint, false);
}

bool
message_bus_holds_back(const char *name)
{
	Endpoint   *endpoint = endpoint_by_name(name, false);

	if (endpoint->paused)
		return true;
	for (int32 i = 0; i < endpoint->lanes; i++)
	{
		if (bus_lanes(endpoint->shared)[i].held)
			return true;
	}
	return false;
}

bool
message_bus_notify_pending(void)
{
	BusDatabase *database = bus_database_known();

	return database != NULL && pg_atomic_read_u32(&database->notify_pending) != 0;
}

bool
message_bus_endpoint_exists(const char *endpoint)
{
	return endpoint_by_name(endpoint, true) != NULL;
}

/*
 * The deliveries of a call as rows of message_bus.delivery.
 */
static void
return_deliveries(FunctionCallInfo fcinfo, const Receipt *receipt)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		endpoint = 0;
	MemoryContext old;
	TupleDesc	descriptor;
	Tuplestorestate *result;

	if (info == NULL || !IsA(info, ReturnSetInfo) || (info->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	envelope_check_row(descriptor, DELIVERY_COLUMNS);
	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	descriptor = CreateTupleDescCopy(descriptor);
	result = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0, false,
								   work_mem);
	MemoryContextSwitchTo(old);
	if (receipt->given > 0)
		endpoint = CStringGetTextDatum(receipt->endpoint->name);
	for (int i = receipt->first; i < held_delivery_count(); i++)
	{
		HeldDelivery *delivery = held_delivery_get(i);
		Datum		values[DELIVERY_COLUMNS + SPARE_ATTRIBUTES];
		bool		nulls[DELIVERY_COLUMNS + SPARE_ATTRIBUTES];
		RowValues	row;

		if (delivery->outcome != OUTCOME_NONE && delivery->outcome != OUTCOME_LEASED)
			continue;
		held_row_values(delivery, &row);
		memset(nulls + DELIVERY_COLUMNS, true, sizeof(bool) * SPARE_ATTRIBUTES);
		envelope_columns(&row, delivery->attempt, values, nulls);
		values[DELIVERY_ENDPOINT] = endpoint;
		values[DELIVERY_ID] = Int64GetDatum(delivery->delivery_id);
		values[DELIVERY_LEASED_UNTIL] = TimestampTzGetDatum(receipt->leased_until);
		nulls[DELIVERY_ENDPOINT] = nulls[DELIVERY_ID] = false;
		nulls[DELIVERY_LEASED_UNTIL] = receipt->leased_until == 0;
		/* Last: what delivery points to may not outlive a user's function. */
		envelope_upcast(values);
		tuplestore_putvalues(result, descriptor, values, nulls);
	}
	info->returnMode = SFRM_Materialize;
	info->setResult = result;
	info->setDesc = descriptor;
}

PG_FUNCTION_INFO_V1(message_bus_receive_sql);
/*
 * message_bus.receive(endpoint, max_messages, lease)
 */
Datum
message_bus_receive_sql(PG_FUNCTION_ARGS)
{
	Receipt		receipt;
	TimestampTz leased_until = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("endpoint and max_messages must not be null"),
				 errhint("Names of endpoints are in message_bus.endpoints; max_messages may be left out.")));
	if (!PG_ARGISNULL(2))
		leased_until = lease_end(PG_GETARG_INTERVAL_P(2), IsTransactionBlock());
	receive(&receipt, text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT32(1), leased_until,
			true);
	return_deliveries(fcinfo, &receipt);
	return (Datum) 0;
}
