/*
 * lease.c
 *		Deliveries that outlive the transaction that received them.
 *
 * A leased message stays where it is, in the ring or aside; message_bus.lease
 * says who may settle it and until when.  While a lane has leases nobody
 * receives from it; when the last is settled its cursor moves past all of them.
 * An expired lease of a message that was handled is a failed attempt, counted by
 * whoever receives from the lane next, or by the worker.  The message then waits
 * for its retry with the lease's receipt on it: it will be handed out alone, and
 * an ack that comes late is still accepted until it is.
 *
 * Lock protocol: they are given and swept by the lane's holder; shared memory follows
 * at the commit (lease_note.c).
 *
 * A crash leaves leases as they were; consumers go on with their receipts,
 * which no later delivery can have.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/debug_point.h"
#include "message_bus/go/ending.h"
#include "message_bus/go/lease.h"
#include "message_bus/go/lease_note.h"
#include "message_bus/know/note.h"
#include "message_bus/place/aside.h"
#include "pg/clock.h"
#include "pg/spi.h"
#include "pg/writer.h"

static void lease_one(const ReceiveCall *call, int number);
static bool leased_before(int first, int number);
static int64 *expired_leases(const HeldLane *lane, TimestampTz now, uint64 *count);

/*
 * When a lease of that length ends; refuses it inside a transaction block.
 */
TimestampTz
lease_end(const Interval *lease, bool in_block)
{
	TimestampTz now = clock_now();
	TimestampTz end;

	if (in_block)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("receive with a lease cannot run inside a transaction block"),
				 errdetail("The lease must be committed before the consumer begins to work."),
				 errhint("Call it on its own in autocommit mode, or leave lease out.")));
	end = clock_after(now, lease, "lease");
	if (end <= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lease must be positive"),
				 errhint("Pass longer than the work takes, like '30 s', and extend it on the way.")));
	return end;
}

/*
 * Leases the deliveries of a call of receive instead of keeping them in the
 * transaction.
 */
void
lease_deliveries(const ReceiveCall *call)
{
	for (int i = call->first; i < held_delivery_count(); i++)
	{
		const HeldDelivery *delivery = held_delivery_get(i);

		if (delivery->outcome == OUTCOME_NONE)
			lease_one(call, i);
		/* The cursor passes it with the leases, which count only themselves. */
		else if (delivery->position != 0 && !delivery->uncounted && leased_before(call->first, i))
			note_settled(held_lane_get(delivery->lane)->endpoint);
	}
	CommandCounterIncrement();
}

static void
lease_one(const ReceiveCall *call, int number)
{
	const HeldDelivery *held = held_delivery_get(number);
	bool		in_ring = held->position != 0;
	Datum		values[LEASE_COLUMNS];
	bool		nulls[LEASE_COLUMNS] = {[LEASE_POSITION] = !in_ring};
	Delivery	delivery;

	delivery_hold(&delivery, number);
	values[LEASE_DELIVERY_ID] = Int64GetDatum(delivery.delivery_id);
	values[LEASE_ENDPOINT_ID] = Int32GetDatum(delivery.endpoint->id);
	values[LEASE_LANE] = Int32GetDatum(delivery.lane);
	values[LEASE_POSITION] = Int64GetDatum(delivery.position);
	values[LEASE_UPTO] = Int64GetDatum(held_lane_get(held->lane)->read_upto);
	values[LEASE_MESSAGE_ID] = UUIDPGetDatum(&delivery.message_id);
	values[LEASE_MESSAGE_TYPE] = CStringGetTextDatum(held->message_type);
	values[LEASE_ATTEMPT] = Int32GetDatum(delivery.attempt);
	values[LEASE_PROBE] = BoolGetDatum(held->probe);
	values[LEASE_HANDLED] = BoolGetDatum(call->given == 1);
	values[LEASE_LEASED_UNTIL] = TimestampTzGetDatum(call->leased_until);
	if (!in_ring)
	{
		held_row_values(held, &delivery.row);
		aside_lease(&delivery.tid, &delivery.row, delivery.delivery_id);
	}
	table_insert(&bus_lease_table, values, nulls);
	delivery_close(&delivery, OUTCOME_LEASED);
	held_lane_get(held->lane)->leased = true;
	lease_note_lane(delivery.endpoint, delivery.lane)->created_in_ring += in_ring;
}

/*
 * Whether a delivery of the same lane before that one was leased where it is.
 */
static bool
leased_before(int first, int number)
{
	for (int i = first; i < number; i++)
	{
		HeldDelivery *delivery = held_delivery_get(i);

		if (delivery->lane == held_delivery_get(number)->lane && delivery->position != 0 &&
			delivery->outcome == OUTCOME_LEASED)
			return true;
	}
	return false;
}

/*
 * Settles a lane's expired leases; the caller holds the lane.  Of a batch nobody
 * knows which message its consumer died of, so none has failed; each will come
 * alone, and then it is known.
 */
LeaseSweep
lease_sweep(HeldLane *lane, TimestampTz now)
{
	uint64		count;
	int64	   *expired = expired_leases(lane, now, &count);
	int64		upto = 0;
	BusLeases	left;

	DEBUG_POINT("lease_sweep");
	for (uint64 i = 0; i < count; i++)
	{
		Delivery	delivery;

		if (!delivery_of_lease(&delivery, expired[i]) || !delivery_read(&delivery))
			delivery_refuse(expired[i]);
		if (upto == 0)
			upto = delivery.upto;
		if (delivery.handled)
			ending_fail(&delivery, "timeout", "the lease expired", true, expired[i]);
		else
			ending_return(&delivery, expired[i]);
	}
	lease_read_lane(lane->endpoint, lane->lane, &left);
	/* Those that are gone already this transaction has ended itself. */
	if (count == 0)
		upto = lease_noted_upto(lane->endpoint, lane->lane);
	if (left.count == 0 && upto > 0)
	{
		lane->swept_upto = upto;
		lane->read_upto = Max(lane->read_upto, lane->swept_upto);
	}
	return left.count == 0 ? LEASE_LANE_FREE : count > 0 ? LEASE_LANE_SWEPT
														 : LEASE_LANE_TAKEN;
}

/*
 * A lane's expired leases in their order, locked.  Nobody waits for a consumer who is
 * just saying that he begins with one.
 */
static int64 *
expired_leases(const HeldLane *lane, TimestampTz now, uint64 *count)
{
	static SpiStatement find = {
		"SELECT l.delivery_id FROM message_bus.lease l"
		" WHERE l.endpoint_id = $1 AND l.lane = $2 AND l.leased_until <= $3 ORDER BY 1"
		" FOR UPDATE SKIP LOCKED"};
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[] = {Int32GetDatum(lane->endpoint->id), Int32GetDatum(lane->lane),
	TimestampTzGetDatum(now)};
	int64	   *receipts;

	spi_begin(SPI_AS_OWNER);
	*count = spi_run_latest(&find, 3, (Oid[]) {INT4OID, INT4OID, TIMESTAMPTZOID}, values, NULL);
	receipts = MemoryContextAlloc(caller, sizeof(int64) * Max(*count, 1));
	for (uint64 i = 0; i < *count; i++)
		receipts[i] = spi_int64(i, 0, 0);
	spi_end();
	return receipts;
}
