/*
 * collect.c
 *		What a lane has to deliver: first what was set aside and is due, then the
 *		ring.
 *
 * Lock protocol: the caller holds the lane.  Messages that were set aside are
 * locked too, because who cancels a scheduled one does not hold the lane.
 *
 * A message that is not to be delivered is settled on the way: expired ones and
 * those that kill consumers become dead letters, those of a type whose breaker
 * is open are set aside.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/endpoint/death.h"
#include "message_bus/go/ending.h"
#include "message_bus/go/receive.h"
#include "message_bus/know/lane.h"
#include "message_bus/place/passed.h"
#include "message_bus/place/ring.h"
#include "message_bus/place/row.h"

static void collect_due(ReceiveCall *call, HeldLane *lane);
static bool collect_range(ReceiveCall *call, HeldLane *lane, bool held, bool *seen);
static bool is_held_back(ReceiveCall *call, TableScan *scan, HeapTuple row);
static void take_aside(ReceiveCall *call, HeldLane *lane, TableScan *scan, HeapTuple row);
static void collect_ring(ReceiveCall *call, HeldLane *lane);
static bool consider(ReceiveCall *call, HeldDelivery *held);
static bool is_its_turn(ReceiveCall *call, HeldDelivery *held, Delivery *delivery);
static bool passes_breaker(ReceiveCall *call, HeldDelivery *held, Delivery *delivery);
static bool is_dead(ReceiveCall *call, Delivery *delivery);

/*
 * Adds a lane's deliveries to a call of receive.
 */
void
collect_lane(ReceiveCall *call, HeldLane *lane)
{
	int			number = held_lane_number(lane);

	call->lane_waits = false;
	if (call->endpoint->strict)
		call->heads = strict_heads(lane->endpoint, lane->lane);
	collect_due(call, lane);
	if (call->given < call->max && !call->full)
		collect_ring(call, held_lane_get(number));
	if (call->endpoint->strict)
		hash_destroy(call->heads);
}

/*
 * What was set aside: first what is due, then what breakers let go.
 */
static void
collect_due(ReceiveCall *call, HeldLane *lane)
{
	const Endpoint *endpoint = lane->endpoint;
	BusLane    *shared = lane_get(endpoint, lane->lane);
	int32		number = lane->lane;
	uint32		version = lane_due_version(shared);
	bool		look_due = shared->next_due <= call->now;
	bool		look_held = (shared->held || call->late) &&
		(!call->guarded || call->endpoint->strict ||
		 breaker_releases(call->endpoint, number, call->now));
	bool		none_due = false;	/* found out by looking, not by lack of room */
	bool		none_held = false;
	bool		seen = false;

	if (look_due)
		none_due = collect_range(call, lane, false, &seen);
	if (look_held && call->given < call->max && !call->full)
	{
		none_held = collect_range(call, lane, true, &seen);
		if (seen)
			breaker_has_released(endpoint, number);
	}
	if (look_due && none_due)
		lane_due_computed(shared, version, aside_first_due(endpoint, number, call->now + 1),
						  shared->held);
	else if (look_held && none_held)
		lane_due_computed(shared, version, shared->next_due, false);
}

/*
 * Collects from message_bus.aside; true if nothing at all was there.  *seen: all that
 * was there has been looked at.
 */
static bool
collect_range(ReceiveCall *call, HeldLane *lane, bool held, bool *seen)
{
	TableScan	scan;
	HeapTuple	row;
	bool		nothing = true;
	int			number = held_lane_number(lane);

	aside_scan_begin(&scan, lane->endpoint, lane->lane, held ? ASIDE_HELD : ASIDE_DUE, call->now);
	*seen = false;
	while (call->given < call->max && !call->full)
	{
		row = table_scan_next(&scan, ForwardScanDirection);
		*seen = row == NULL;
		if (*seen)
			break;
		nothing = false;
		if (!held || !is_held_back(call, &scan, row))
			take_aside(call, held_lane_get(number), &scan, row);
	}
	table_scan_end(&scan);
	return nothing;
}

/*
 * Whether a message that a breaker held, or that waits for others of its key, must
 * wait on.
 */
static bool
is_held_back(ReceiveCall *call, TableScan *scan, HeapTuple row)
{
	TupleDesc	descriptor = scan->descriptor;
	bool		isnull;
	Datum		type = heap_getattr(row, ROW_MESSAGE_TYPE + 1, descriptor, &isnull);
	Datum		attempt = heap_getattr(row, ASIDE_ATTEMPT + 1, descriptor, &isnull);

	if (call->endpoint->strict)
	{
		RowValues	values;

		row_read(row, descriptor, &values);
		if (!strict_is_first_row(call->heads, &values))
			return true;
	}
	if (!call->guarded)
		return false;
	switch (breaker_looks(call->endpoint, TextDatumGetCString(type),
						  DatumGetInt32(attempt) == 1, call->now))
	{
		case BREAKER_ADMITS:
		case BREAKER_ADMITS_PROBE:
			return false;
		case BREAKER_PREFERS_OTHERS:
			call->late = true;
			return true;
		case BREAKER_HOLDS:
			return true;
	}
	return true;
}

/*
 * Locks a message that was set aside and considers it, unless somebody else
 * has it or it is delivered already.
 */
static void
take_aside(ReceiveCall *call, HeldLane *lane, TableScan *scan, HeapTuple row)
{
	HeldDelivery *delivery;
	RowValues	values;

	row_read(row, scan->descriptor, &values);
	if (held_delivery_is_pending(lane->endpoint, DatumGetUUIDP(values.values[ROW_MESSAGE_ID])) ||
		!table_lock_row(scan, row))
		return;
	delivery = held_delivery_add(lane, row, scan->descriptor);
	delivery->tid = row->t_self;
	delivery->attempt = DatumGetInt32(values.values[ASIDE_ATTEMPT]);
	(void) consider(call, delivery);
}

/*
 * Reads on in the ring from where this transaction has got to.
 */
static void
collect_ring(ReceiveCall *call, HeldLane *lane)
{
	BusLane    *shared = lane_get(lane->endpoint, lane->lane);
	int			number = held_lane_number(lane);
	LaneReader	reader;
	HeapTuple	row;
	int64		position;
	bool		empty = true;

	if (pg_atomic_read_u64(&shared->tail) <= (uint64) lane->read_upto)
		return;
	lane_reader_begin(&reader, lane->endpoint, lane->lane, lane->read_upto);
	while (call->given < call->max && !call->full &&
		   (row = lane_reader_next(&reader, &position)) != NULL)
	{
		HeldDelivery *delivery = held_delivery_add(lane, row, ring_descriptor());

		empty = false;
		delivery->position = position;
		delivery->attempt = 1;
		lane = held_lane_get(number);
		if (pg_atomic_read_u32(&shared->passed) != 0 &&
			passed_has(lane->endpoint, lane->lane, position))
		{
			delivery->uncounted = true;
			held_settle(delivery, OUTCOME_MOVED);
		}
		else if (!consider(call, delivery) && (call->full || call->lane_waits))
			break;
		lane->read_upto = position;
	}
	if (empty && call->given < call->max &&
		reader.after == (int64) pg_atomic_read_u64(&shared->cursor))
		atomic_raise(&shared->empty_to, (uint64) reader.mark);
	lane_reader_end(&reader);
}

/*
 * Decides about the delivery added last: it goes to the caller, or is settled
 * here.  False if it has been taken back, or waits for others of its key.
 */
static bool
consider(ReceiveCall *call, HeldDelivery *held)
{
	Delivery	delivery;
	int32		deaths = death_count(call->endpoint, &held->message_id);
	bool		alone;			/* consumers have died of it, or a lease of it ran out */

	held->deaths = deaths;
	held->attempt += deaths;
	delivery_hold(&delivery, held_delivery_count() - 1);
	held_row_values(held, &delivery.row);
	alone = deaths >= DEATHS_ALONE || !delivery.row.nulls[ASIDE_RECEIPT];
	if (alone && call->given > 0 && deaths < death_limit(call->endpoint))
	{
		held_delivery_drop_last();
		call->full = true;
		return false;
	}
	if (is_dead(call, &delivery))
		return true;
	if (call->endpoint->strict && !is_its_turn(call, held, &delivery))
		return false;
	if (call->guarded && !passes_breaker(call, held, &delivery))
		return true;
	held->guarded = call->guarded;
	call->given++;
	if (alone)
	{
		held->alone = true;
		call->full = true;
	}
	return true;
}

/*
 * Strict order: false if the delivery waits for others of its key.  If they are in
 * the consumer's hands it has been taken back, and its lane ends before it; else
 * it is set aside.
 */
static bool
is_its_turn(ReceiveCall *call, HeldDelivery *held, Delivery *delivery)
{
	int64		position = DatumGetInt64(delivery->row.values[ROW_POSITION]);
	uint64		key = strict_key(&delivery->row);

	held->key = key;
	if (strict_in_hand(held))
	{
		call->lane_waits |= held->position != 0;
		held_delivery_drop_last();
		return false;
	}
	if (strict_is_first(call->heads, key, position))
		return true;
	ending_wait(delivery, "blocked");
	strict_add(call->heads, key, position);
	return false;
}

/*
 * Asks the breaker of the delivery's type; false if the delivery is held.
 */
static bool
passes_breaker(ReceiveCall *call, HeldDelivery *held, Delivery *delivery)
{
	uint64		key = held->key;

	switch (breaker_admit(call->endpoint, held->message_type, held->attempt == 1, call->now,
						  call->leased_until))
	{
		case BREAKER_ADMITS:
			return true;
		case BREAKER_ADMITS_PROBE:
			held->probe = true;
			return true;
		case BREAKER_PREFERS_OTHERS:
			call->late = true;
			break;
		case BREAKER_HOLDS:
			break;
	}
	ending_wait(delivery, "held");
	if (call->endpoint->strict)
		strict_add(call->heads, key, DatumGetInt64(delivery->row.values[ROW_POSITION]));
	return false;
}

/*
 * Makes a dead letter of a message that has expired or has killed too many.
 */
static bool
is_dead(ReceiveCall *call, Delivery *delivery)
{
	const RowValues *row = &delivery->row;
	Failure		failure = row_failure(row, delivery->attempt - 1, call->now);
	const char *reason = NULL;

	if (!row->nulls[ROW_EXPIRES_AT] &&
		DatumGetTimestampTz(row->values[ROW_EXPIRES_AT]) <= call->now)
		reason = "expired";
	else if (death_count(call->endpoint, &delivery->message_id) >=
			 death_limit(call->endpoint))
	{
		reason = "fault";
		failure.code = "crash";
		failure.text = "consumers died while they handled the message";
	}
	if (reason == NULL)
		return false;
	ending_bury(delivery, reason, &failure);
	return true;
}
