/*
 * receive.c
 *		Taking messages from free lanes.
 *
 * Lanes the transaction holds already come first, then free ones, beginning
 * with another one in every process so that consumers do not all try the same.
 * A lane that turns out to be empty is given back at once; the others are held
 * until the transaction ends.  While other consumers want messages too, a call takes
 * no more than its part of the free lanes (share.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "base/order.h"
#include "log/restore.h"
#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/endpoint/death.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/lease.h"
#include "message_bus/go/ready.h"
#include "message_bus/go/receive.h"
#include "message_bus/go/watch.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/message_bus.h"
#include "message_bus/place/row.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/result.h"

/* So often all lanes are tried before a call gives nothing. */
#define PASSES 3

static void refuse_forwarded(const Endpoint *endpoint) pg_attribute_noreturn();
static void serve_lanes(ReceiveCall *call);
static int	fair_lanes(ReceiveCall *call);
static bool is_served(const ReceiveCall *call);
static bool gives_more(const ReceiveCall *call, const HeldLane *lane);
static void serve_lane(ReceiveCall *call, int32 number);
static void hand_out(ReceiveCall *call);

/*
 * Takes up to max messages of an endpoint, guarded by its circuit breakers or
 * not.  Those for the caller are the deliveries from call->first on that are
 * not settled.  Returns how many.
 */
static int
receive(ReceiveCall *call, const char *endpoint, int max, TimestampTz leased_until, bool guarded)
{
	PreventCommandIfReadOnly("message_bus.receive()");
	if (max < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_messages must be at least 1"),
				 errhint("Leave it out for 50.")));
	memset(call, 0, sizeof(*call));
	call->first = held_delivery_count();
	if (restore_goes_on())
		return 0;
	call->generation = restore_generation();
	call->endpoint = endpoint_use_named(endpoint);
	if (call->endpoint->forward_to != NULL)
		refuse_forwarded(call->endpoint);
	call->max = max;
	call->now = clock_now();
	call->leased_until = leased_until;
	call->guarded = guarded;
	if (call->endpoint->paused || held_alone())
		return 0;
	death_write_dirty();
	serve_lanes(call);
	/* Those that have not failed yet had their chance. */
	if (call->late && breaker_admit_any(call->endpoint, call->now) &&
		call->given < max && !call->full)
	{
		CommandCounterIncrement();
		serve_lanes(call);
	}
	restore_check_unchanged(call->generation);
	hand_out(call);
	if (call->given == 0)
		share_want(call->endpoint, 0);
	else
		share_served(&call->wanting);
	return call->given;
}

static void
refuse_forwarded(const Endpoint *endpoint)
{
	ereport(ERROR,
			(errcode(ERRCODE_MB_FORWARDED),
			 errmsg("endpoint \"%s\" forwards its messages", endpoint->name),
			 errdetail("A link or bridge carries them to \"%s\".", endpoint->forward_to),
			 errhint("Receive them there, or from an endpoint without forward_to.")));
}

/*
 * Lanes the transaction holds come first.
 */
static void
serve_lanes(ReceiveCall *call)
{
	static uint32 turn = 0;
	int32		lanes = call->endpoint->lanes;

	if (turn == 0)
		turn = (uint32) MyProcPid;
	for (int32 i = 0; i < lanes && !is_served(call); i++)
	{
		HeldLane   *held = held_lane_find(call->endpoint, i);

		if (held != NULL && gives_more(call, held))
			collect_lane(call, held);
	}
	call->lanes_left = fair_lanes(call);
	/* A lane that was taken when we came by may be free by now. */
	for (int pass = 0;
		 pass < PASSES && (pass == 0 || (call->given == 0 && call->busy));
		 pass++)
	{
		call->busy = false;
		for (int32 i = 0; i < lanes && call->lanes_left > 0 && !is_served(call); i++)
			serve_lane(call, (int32) ((turn + i) % lanes));
	}
	turn++;
}

static bool
is_served(const ReceiveCall *call)
{
	return call->given >= call->max || call->full;
}

/*
 * Whether a lane that the transaction holds already may give more.  The cursor goes by
 * leases where there are any: so who has some of a lane in hand does not lease the rest,
 * and nobody receives behind what is leased.
 */
static bool
gives_more(const ReceiveCall *call, const HeldLane *lane)
{
	return !lane->leased && (call->leased_until == 0 || lane->first >= call->first);
}

/*
 * How many lanes the call may take: of those that are free and not empty, one part
 * for each who wants some.
 */
static int
fair_lanes(ReceiveCall *call)
{
	int			parts;
	int			free = 0;

	share_look(call->endpoint, &call->wanting);
	if (likely(call->wanting.others == 0))
		return call->endpoint->lanes;
	parts = call->wanting.others + 1;
	for (int32 i = 0; i < call->endpoint->lanes; i++)
	{
		if (pg_atomic_read_u32(&lane_get(call->endpoint, i)->holder) == 0 &&
			lane_may_have_work(call->endpoint, i, call->now))
			free++;
	}
	return Max((free + parts - 1) / parts, 1);
}

/*
 * Tries a lane that this transaction does not hold.
 */
static void
serve_lane(ReceiveCall *call, int32 number)
{
	BusLane    *shared = lane_get(call->endpoint, number);
	HeldLane   *lane;
	int			before = held_delivery_count();
	int			given;

	if (!lane_may_have_work(call->endpoint, number, call->now))
		return;
	if (pg_atomic_read_u32(&shared->holder) != 0 &&
		!DEBUG_BREAK("bus_no_lane_lock"))
	{
		call->busy |= held_lane_find(call->endpoint, number) == NULL;
		return;
	}
	lane = held_lane_acquire(call->endpoint, number);
	if (lane == NULL)
	{
		call->busy = true;
		return;
	}
	DEBUG_POINT("bus_lane_acquired");
	if (shared->leases.count > 0)
	{
		LeaseSweep	swept = lease_sweep(lane, call->now);

		if (swept == LEASE_LANE_TAKEN)
			held_lane_release(lane);
		else
			lane->leased = swept == LEASE_LANE_SWEPT;
		if (swept != LEASE_LANE_FREE)
			return;
	}
	given = call->given;
	collect_lane(call, lane);
	if (call->given > given)
		call->lanes_left--;
	else if (held_delivery_count() == before && lane->swept_upto == 0)
		held_lane_release(lane);
}

/*
 * Gives the new deliveries their receipts, and their lease.
 */
static void
hand_out(ReceiveCall *call)
{
	int			count = held_delivery_count() - call->first;
	int			only = -1;

	if (count == 0)
		return;
	held_delivery_number(call->first, database_receipts(count));
	for (int i = call->first; i < held_delivery_count(); i++)
	{
		HeldDelivery *delivery = held_delivery_get(i);
		HeldLane   *lane = held_lane_get(delivery->lane);

		if (delivery->outcome != OUTCOME_NONE)
			continue;
		only = i;
		if (call->leased_until == 0)
			pg_atomic_fetch_add_u32(&lane_get(lane->endpoint, lane->lane)->in_flight, 1);
	}
	if (call->leased_until != 0)
		lease_deliveries(call);
	else if (call->max == 1 && only >= 0)
	{
		Delivery	delivery;

		delivery_hold(&delivery, only);
		held_row_values(held_delivery_get(only), &delivery.row);
		watch_delivery(&delivery);
	}
}

/*
 * For the saga engine; see message_bus.h.
 */
int
message_bus_receive(const char *endpoint, int max, BusDelivery **deliveries)
{
	ReceiveCall call;
	BusDelivery *next;

	/* A saga's replies are never held: its timers would not wait for them. */
	receive(&call, endpoint, max, 0, false);
	next = *deliveries = palloc0(sizeof(BusDelivery) * Max(call.given, 1));
	for (int i = call.first; i < held_delivery_count(); i++)
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
	return call.given;
}

/*
 * For the runner; see message_bus.h.
 */
void
message_bus_serve(const char *endpoint)
{
	pg_atomic_uint32 *served = &endpoint_by_name(endpoint, false)->shared->served;

	if (pg_atomic_read_u32(served) != 0)
		return;
	pg_atomic_write_u32(served, 1);
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
		if (lane_get(endpoint, i)->held)
			return true;
	}
	return false;
}

bool
message_bus_notify_pending(void)
{
	BusDatabase *database = bus_database_known();

	return database != NULL && pg_atomic_read_u32(&database->news) == NEWS_UNTOLD;
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
return_deliveries(FunctionCallInfo fcinfo, const ReceiveCall *call)
{
	SetResult	result;
	Datum		endpoint = 0;

	result_begin(fcinfo, &result);
	envelope_check_row(result.descriptor, DELIVERY_COLUMNS);
	if (call->given > 0)
		endpoint = CStringGetTextDatum(call->endpoint->name);
	for (int i = call->first; i < held_delivery_count(); i++)
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
		values[DELIVERY_LEASED_UNTIL] = TimestampTzGetDatum(call->leased_until);
		nulls[DELIVERY_ENDPOINT] = nulls[DELIVERY_ID] = false;
		nulls[DELIVERY_LEASED_UNTIL] = call->leased_until == 0;
		/* Last: what delivery points to may not outlive a user's function. */
		envelope_upcast(values);
		result_put(&result, values, nulls);
	}
}

PG_FUNCTION_INFO_V1(message_bus_receive_sql);
/*
 * message_bus.receive(endpoint, max_messages, lease)
 */
Datum
message_bus_receive_sql(PG_FUNCTION_ARGS)
{
	ReceiveCall call;
	TimestampTz leased_until = 0;

	argument_not_null(&fcinfo->args[0], "endpoint", "Names are in message_bus.endpoints.");
	argument_not_null(&fcinfo->args[1], "max_messages", "It may be left out.");
	if (!PG_ARGISNULL(2))
		leased_until = lease_end(PG_GETARG_INTERVAL_P(2), IsTransactionBlock());
	receive(&call, text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT32(1), leased_until,
			true);
	return_deliveries(fcinfo, &call);
	return (Datum) 0;
}
