/*
 * held.c
 *		Lanes and deliveries that belong to this transaction.
 *
 * Lock protocol: a lane is held by a heavyweight lock that the transaction
 * releases when it ends, however it ends.  Nobody ever waits for it here: a lane
 * that is taken is left out.  What the lane's shared memory says is written by
 * the holder before it lets go.
 *
 * Just before the commit each lane's cursor moves once, to the last message
 * that was settled; messages before it that were not are set aside as returned,
 * so that they come first when the lane is read again.
 *
 * A crash or rollback leaves cursors where they were, and the messages with them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/debug_point.h"
#include "base/order.h"
#include "log/wakeup.h"
#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/held.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/place/cursor.h"
#include "message_bus/place/ring.h"
#include "message_bus/place/row.h"
#include "pg/clock.h"
#include "pg/lock.h"

static HeldLane *lanes = NULL;
static int	lane_count = 0;
static int	lane_room = 0;
static HeldDelivery *deliveries = NULL;
static int	delivery_count = 0;
static int	delivery_room = 0;

static void *grow(void *array, int *room, Size element);
static int64 settled_upto(int lane);
static void return_unsettled(int lane, int64 cursor);
static void record_outcomes(void);
static void let_go(HeldLane *lane, bool committed);
static BusLane *shared_lane(const HeldLane *lane);

HeldLane *
held_lane_get(int number)
{
	return &lanes[number];
}

int
held_lane_number(HeldLane *lane)
{
	return (int) (lane - lanes);
}

/*
 * The lane, if this transaction holds it, else NULL.
 */
HeldLane *
held_lane_find(const Endpoint *endpoint, int32 lane)
{
	for (int i = 0; i < lane_count; i++)
	{
		if (lanes[i].lane == lane && !lanes[i].released &&
			same_endpoint(lanes[i].endpoint, endpoint))
			return &lanes[i];
	}
	return NULL;
}

/*
 * Takes a lane unless somebody else has it; then NULL.  Pointers to lanes got
 * earlier are void.
 */
HeldLane *
held_lane_acquire(Endpoint *endpoint, int32 lane)
{
	BusLane    *shared = lane_get(endpoint, lane);
	HeldLane   *held;

	if (!lock_take(LOCK_LANE, endpoint->id, lane, ExclusiveLock, false) &&
		!DEBUG_BREAK("bus_no_lane_lock"))
		return NULL;
	note_begin();
	if (lane_count == lane_room)
		lanes = grow(lanes, &lane_room, sizeof(HeldLane));
	held = &lanes[lane_count++];
	memset(held, 0, sizeof(*held));
	held->endpoint = endpoint;
	held->lane = lane;
	held->read_upto = (int64) pg_atomic_read_u64(&shared->cursor);
	held->first = delivery_count;
	held->acquired_in = GetCurrentSubTransactionId();
	pg_atomic_write_u32(&shared->holder, MyProcPid);
	return held;
}

/*
 * Up to where this transaction has settled a lane without deliveries, 0 if it has not.
 * Who confirms has it several times.
 */
int64
held_lane_swept(const Endpoint *endpoint, int32 lane)
{
	int64		upto = 0;

	for (int i = 0; i < lane_count; i++)
	{
		if (same_endpoint(lanes[i].endpoint, endpoint) && lanes[i].lane == lane &&
			!lanes[i].released)
			upto = greater(upto, lanes[i].swept_upto);
	}
	return upto;
}

/*
 * Gives the lane that was acquired last back before the transaction ends;
 * nothing of it was delivered.
 */
void
held_lane_release(HeldLane *lane)
{
	pg_atomic_write_u32(&shared_lane(lane)->holder, 0);
	lock_give_back(LOCK_LANE, lane->endpoint->id, lane->lane, ExclusiveLock);
	Assert(lane == &lanes[lane_count - 1]);
	lane_count--;
}

static BusLane *
shared_lane(const HeldLane *lane)
{
	return lane_get(lane->endpoint, lane->lane);
}

static void *
grow(void *array, int *room, Size element)
{
	*room = Max(*room * 2, 64);
	if (array == NULL)
		return MemoryContextAlloc(note_memory(), element * *room);
	return repalloc_huge(array, element * *room);
}

/*
 * Adds a delivery with a copy of its row; the caller fills in the rest and
 * numbers it.  Pointers to deliveries got earlier are void.
 */
HeldDelivery *
held_delivery_add(HeldLane *lane, HeapTuple row, TupleDesc descriptor)
{
	MemoryContext old = MemoryContextSwitchTo(note_memory());
	HeldDelivery *delivery;
	bool		isnull;

	if (delivery_count == delivery_room)
		deliveries = grow(deliveries, &delivery_room, sizeof(HeldDelivery));
	delivery = &deliveries[delivery_count];
	memset(delivery, 0, sizeof(*delivery));
	delivery->lane = held_lane_number(lane);
	delivery->row = table_copy_row(row, descriptor);
	delivery->message_id = *DatumGetUUIDP(heap_getattr(delivery->row, ROW_MESSAGE_ID + 1,
													   descriptor, &isnull));
	delivery->message_type = TextDatumGetCString(heap_getattr(delivery->row, ROW_MESSAGE_TYPE + 1,
															  descriptor, &isnull));
	delivery->received_in = GetCurrentSubTransactionId();
	delivery_count++;
	MemoryContextSwitchTo(old);
	return delivery;
}

/*
 * Takes the delivery added last back; it stays where it was.
 */
void
held_delivery_drop_last(void)
{
	delivery_count--;
}

/*
 * Gives the deliveries from the given one on their receipts.
 */
void
held_delivery_number(int first, int64 receipt)
{
	for (int i = first; i < delivery_count; i++)
		deliveries[i].delivery_id = receipt++;
}

int
held_delivery_count(void)
{
	return delivery_count;
}

HeldDelivery *
held_delivery_get(int number)
{
	return &deliveries[number];
}

/*
 * The number of the delivery with that receipt that waits to be settled, or -1.
 */
int
held_delivery_find(int64 delivery_id)
{
	int			low = 0;
	int			high = delivery_count - 1;

	/* Receipts rise. */
	while (low <= high)
	{
		int			middle = (low + high) / 2;
		HeldDelivery *delivery = &deliveries[middle];

		if (delivery->delivery_id == delivery_id)
			return delivery->outcome == OUTCOME_NONE ? middle : -1;
		if (delivery->delivery_id < delivery_id)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return -1;
}

/*
 * The delivery of the message at a position of the ring, settled or not; NULL if this
 * transaction has not received it.
 */
HeldDelivery *
held_delivery_at(const HeldLane *lane, int64 position)
{
	for (int i = lane->first; i < delivery_count; i++)
	{
		if (&lanes[deliveries[i].lane] == lane && deliveries[i].position == position)
			return &deliveries[i];
	}
	return NULL;
}

/*
 * Whether a message that had been set aside is delivered and not settled.
 */
bool
held_delivery_is_pending(const Endpoint *endpoint, const pg_uuid_t *message_id)
{
	for (int i = 0; i < delivery_count; i++)
	{
		HeldDelivery *delivery = &deliveries[i];

		if (delivery->position == 0 && same_endpoint(lanes[delivery->lane].endpoint, endpoint) &&
			memcmp(&delivery->message_id, message_id, UUID_LEN) == 0 &&
			(delivery->outcome == OUTCOME_NONE || delivery->outcome == OUTCOME_LEASED))
			return true;
	}
	return false;
}

/*
 * Whether a message that is handed out alone is not settled yet.
 */
bool
held_alone(void)
{
	for (int i = 0; i < delivery_count; i++)
	{
		if (deliveries[i].alone && deliveries[i].outcome == OUTCOME_NONE)
			return true;
	}
	return false;
}

void
held_settle(HeldDelivery *delivery, Outcome outcome)
{
	delivery->outcome = outcome;
	delivery->settled_in = GetCurrentSubTransactionId();
}

/*
 * Takes a delivery's row apart; what a row of the ring does not have is null.
 */
void
held_row_values(const HeldDelivery *delivery, RowValues *values)
{
	for (int i = ROW_COLUMNS; i < ASIDE_COLUMNS; i++)
		values->nulls[i] = true;
	row_read(delivery->row, delivery->position != 0 ? ring_descriptor() : aside_descriptor(),
			 values);
}

/*
 * Writes the cursors, and what was not settled before them.
 */
void
held_before_commit(void)
{
	for (int i = 0; i < lane_count; i++)
	{
		int64		cursor;

		if (lanes[i].released)
			continue;
		cursor = settled_upto(i);
		if (cursor == 0)
			continue;
		if (!DEBUG_BREAK("bus_no_return"))
			return_unsettled(i, cursor);
		if (DEBUG_BREAK("bus_cursor_at_once"))
			atomic_raise(&shared_lane(&lanes[i])->cursor, (uint64) lanes[i].read_upto);
		lanes[i].none_passed = cursor_move(lanes[i].endpoint, lanes[i].lane, cursor);
		lanes[i].new_cursor = cursor;
	}
	DEBUG_POINT("bus_cursors_written");
	record_outcomes();
}

/*
 * The last position of a lane that was settled, before any that was leased.
 */
static int64
settled_upto(int lane)
{
	int64		upto = lanes[lane].swept_upto;

	for (int i = 0; i < delivery_count; i++)
	{
		HeldDelivery *delivery = &deliveries[i];

		if (delivery->lane != lane || delivery->position == 0)
			continue;
		if (delivery->outcome == OUTCOME_LEASED)
			break;
		if (delivery->outcome != OUTCOME_NONE)
			upto = delivery->position;
	}
	return upto;
}

static void
return_unsettled(int lane, int64 cursor)
{
	for (int i = 0; i < delivery_count; i++)
	{
		HeldDelivery *delivery = &deliveries[i];
		RowValues	row;

		if (delivery->lane != lane || delivery->position == 0 || delivery->position > cursor ||
			delivery->outcome != OUTCOME_NONE)
			continue;
		held_row_values(delivery, &row);
		aside_insert(&row, "returned", DUE_AT_ONCE, 1, NULL, 0);
		note_due(lanes[lane].endpoint, lanes[lane].lane, DUE_AT_ONCE);
	}
}

/*
 * Tells the breakers, runs of the same type and outcome at once.
 */
static void
record_outcomes(void)
{
	int			first = 0;
	TimestampTz now = delivery_count > 0 ? clock_now() : 0;

	while (first < delivery_count)
	{
		HeldDelivery *delivery = &deliveries[first];
		const Endpoint *endpoint = lanes[delivery->lane].endpoint;
		BreakerOutcome outcome = {0, 0, delivery->probe, now};
		Endpoint   *known;
		int			i;

		for (i = first; i < delivery_count; i++)
		{
			HeldDelivery *other = &deliveries[i];

			if (other->outcome != delivery->outcome || other->probe != delivery->probe ||
				!same_endpoint(lanes[other->lane].endpoint, endpoint) ||
				strcmp(other->message_type, delivery->message_type) != 0)
				break;
			/* A message counts once: when its first attempt ends. */
			outcome.attempts += other->guarded && (other->attempt == 1 || other->probe);
		}
		first = i;
		if (outcome.attempts == 0 ||
			(delivery->outcome != OUTCOME_ACKED && delivery->outcome != OUTCOME_FAILED))
			continue;
		if (delivery->outcome == OUTCOME_FAILED)
			outcome.failures = outcome.attempts;
		known = endpoint_by_id(endpoint->id);
		if (known != NULL)
			breaker_note_outcome(known, delivery->message_type, &outcome);
	}
}

/*
 * Shared memory follows what has happened to the transaction.
 */
void
held_end_transaction(bool committed, TimestampTz at)
{
	for (int i = 0; i < lane_count; i++)
	{
		HeldLane   *lane = &lanes[i];
		uint32		acked = 0;
		uint32		consumed = 0;
		bool		due_again = false;

		if (lane->released)
			continue;
		for (int d = 0; d < delivery_count; d++)
		{
			HeldDelivery *delivery = &deliveries[d];

			if (delivery->lane != i)
				continue;
			acked += delivery->outcome == OUTCOME_ACKED;
			consumed += delivery->position != 0 && delivery->position <= lane->new_cursor &&
				!delivery->uncounted;
			due_again |= delivery->position == 0 &&
				(!committed || delivery->outcome == OUTCOME_NONE);
		}
		if (committed && lane->new_cursor != 0)
		{
			atomic_raise(&shared_lane(lane)->cursor, (uint64) lane->new_cursor);
			pg_atomic_fetch_sub_u64(&lane->endpoint->shared->depth, consumed);
			if (lane->none_passed)
				pg_atomic_write_u32(&shared_lane(lane)->passed, 0);
		}
		if (committed && acked > 0)
			rate_add(&lane->endpoint->shared->acked, at, acked);
		if (due_again)
			lane_due_lower(shared_lane(lane), DUE_AT_ONCE);
		let_go(lane, committed);
	}
	lanes = NULL;
	deliveries = NULL;
	lane_count = lane_room = delivery_count = delivery_room = 0;
}

/*
 * The lane is free as soon as the transaction's locks go, which is next.
 */
static void
let_go(HeldLane *lane, bool committed)
{
	BusLane    *shared = shared_lane(lane);
	uint64		cursor = pg_atomic_read_u64(&shared->cursor);

	pg_atomic_write_u32(&shared->in_flight, 0);
	pg_atomic_write_u32(&shared->holder, 0);
	if (pg_atomic_read_u64(&shared->tail) >
			greater(cursor, pg_atomic_read_u64(&shared->empty_to)) ||
		shared->next_due <= GetCurrentTimestamp() || shared->held)
		bus_wake_consumers(lane->endpoint, lane->lane);
}

/*
 * A savepoint is released or rolled back.
 */
void
held_end_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
{
	int			kept = delivery_count;

	for (int i = 0; i < delivery_count; i++)
	{
		HeldDelivery *delivery = &deliveries[i];

		if (delivery->settled_in == mine)
		{
			delivery->settled_in = committed ? parent : InvalidSubTransactionId;
			if (!committed)
				delivery->outcome = OUTCOME_NONE;
		}
		if (delivery->received_in != mine)
			continue;
		if (committed)
			delivery->received_in = parent;
		else
			kept = Min(kept, i);	/* what was received last goes first */
	}
	if (committed)
	{
		for (int i = 0; i < lane_count; i++)
		{
			if (lanes[i].acquired_in == mine)
				lanes[i].acquired_in = parent;
		}
		return;
	}
	for (int i = 0; i < lane_count; i++)
	{
		HeldLane   *lane = &lanes[i];
		bool		due_again = false;

		if (lane->released)
			continue;
		lane->read_upto = greater((int64) pg_atomic_read_u64(&shared_lane(lane)->cursor),
							  lane->swept_upto);
		for (int d = 0; d < delivery_count; d++)
		{
			if (deliveries[d].lane != i)
				continue;
			if (d < kept)
				lane->read_upto = Max(lane->read_upto, deliveries[d].position);
			else
				due_again |= deliveries[d].position == 0;
		}
		if (due_again)
			lane_due_lower(shared_lane(lane), DUE_AT_ONCE);
		if (lane->acquired_in == mine)
		{
			let_go(lane, false);
			lane->released = true;
		}
	}
	delivery_count = kept;
}
