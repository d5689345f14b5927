/*
 * intervene.c
 *		What operators do with messages that wait: take them out, or have them
 *		handled at once.
 *
 * Lock protocol: what waits in the ring is taken out by the holder of its lane,
 * which is never waited for.  What that transaction has in hand itself stays with it.
 * Messages at the front of the lane move its cursor,
 * as a consumer's acknowledgement does; others leave a row in message_bus.passed,
 * as those that expire there.  A message that was set aside is locked by its row
 * too; one that a consumer has in hand is left to him.
 *
 * A crash leaves what was committed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/go/held.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/passed.h"
#include "message_bus/place/ring.h"
#include "message_bus/place/row.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/scan.h"
#include "pg/spi.h"
#include "pg/writer.h"

/* What is to become of messages. */
typedef struct Removal
{
	Endpoint   *endpoint;
	int32		lane;
	const char *reason;			/* of the dead letters; NULL: nothing is left */
	TimestampTz now;
} Removal;

/* How many messages of an endpoint are gone once this transaction has committed. */
typedef struct Removed
{
	const Endpoint *endpoint;
	int			count;
} Removed;

static HeldLane *take_lane(const Removal *removal);
static bool is_first(const Removal *removal, int64 position);
static int	remove_from_ring(const Removal *removal, HeldLane *held, const int64 *positions,
							 int count);
static void count_at_commit(const Endpoint *endpoint, int removed);
static void count_removed(void *argument);
static void bury(const Removal *removal, HeapTuple row, TupleDesc descriptor, int32 attempts);

/*
 * The lane of a removal, if nobody has it; else NULL.
 */
static HeldLane *
take_lane(const Removal *removal)
{
	Endpoint   *endpoint = removal->endpoint;
	HeldLane   *held = held_lane_find(endpoint, removal->lane);

	if (held != NULL)
		return held->leased ? NULL : held;
	if (lane_checked(endpoint, removal->lane)->leases.count > 0)
		return NULL;
	held = held_lane_acquire(endpoint, removal->lane);
	if (held == NULL || lane_checked(endpoint, removal->lane)->leases.count == 0)
		return held;
	held_lane_release(held);
	return NULL;
}

/*
 * Whether a message is the first of its lane that is not settled.
 */
static bool
is_first(const Removal *removal, int64 position)
{
	BusLane    *lane = lane_checked(removal->endpoint, removal->lane);
	LaneReader	reader;
	int64		first = 0;

	lane_reader_begin(&reader, removal->endpoint, removal->lane,
					  (int64) pg_atomic_read_u64(&lane->cursor));
	while (lane_reader_next(&reader, &first) != NULL && first < position &&
		   passed_has(removal->endpoint, removal->lane, first))
		CHECK_FOR_INTERRUPTS();
	lane_reader_end(&reader);
	return first == position;
}

/*
 * Takes messages at these positions, which rise, out of the ring.  Returns how many
 * were there and not settled; -1 if that is none, and this transaction has some in hand.
 */
static int
remove_from_ring(const Removal *removal, HeldLane *held, const int64 *positions, int count)
{
	const Endpoint *endpoint = removal->endpoint;
	BusLane    *lane = lane_checked(endpoint, removal->lane);
	int64		cursor = greater((int64) pg_atomic_read_u64(&lane->cursor),
							 held_lane_swept(endpoint, removal->lane));
	LaneReader	reader;
	HeapTuple	row;
	int64		position;
	int			next = 0;
	int			removed = 0;
	bool		in_hand = false;
	bool		at_front;

	while (next < count && positions[next] <= cursor)
		next++;
	if (next == count)
		return 0;
	/* A savepoint that takes the removal back must take the lane back with it. */
	at_front = held->swept_upto == 0 && held->acquired_in == GetCurrentSubTransactionId() &&
		is_first(removal, positions[next]);
	lane_reader_begin(&reader, endpoint, removal->lane, positions[next] - 1);
	while (next < count && (row = lane_reader_next(&reader, &position)) != NULL)
	{
		const HeldDelivery *delivery;

		while (next < count && positions[next] < position)
			next++;
		if (passed_has(removal->endpoint, removal->lane, position))
			continue;
		if (next == count || positions[next] != position)
		{
			at_front = false;
			continue;
		}
		next++;
		delivery = held_delivery_at(held, position);
		if (delivery != NULL)
		{
			at_front = false;
			in_hand |= delivery->outcome == OUTCOME_NONE || delivery->outcome == OUTCOME_LEASED;
			continue;
		}
		if (removal->reason != NULL)
			bury(removal, row, ring_descriptor(), 0);
		if (at_front)
		{
			held->swept_upto = position;
			held->read_upto = greater(held->read_upto, position);
		}
		else
		{
			passed_add(removal->endpoint, removal->lane, position);
			pg_atomic_write_u32(&lane->passed, 1);
		}
		removed++;
		CHECK_FOR_INTERRUPTS();
	}
	lane_reader_end(&reader);
	if (removed > 0)
	{
		count_at_commit(endpoint, removed);
		CommandCounterIncrement();
	}
	return removed == 0 && in_hand ? -1 : removed;
}

/*
 * Removed messages are no longer part of the depth, unless they come back with a
 * savepoint.
 */
static void
count_at_commit(const Endpoint *endpoint, int removed)
{
	Removed    *note = MemoryContextAlloc(note_memory(), sizeof(Removed));

	note->endpoint = endpoint;
	note->count = removed;
	note_at_commit(count_removed, note);
}

static void
count_removed(void *argument)
{
	Removed    *note = argument;

	pg_atomic_fetch_sub_u64(&note->endpoint->shared->depth, note->count);
}

/*
 * Leaves a dead letter of a message.
 */
static void
bury(const Removal *removal, HeapTuple row, TupleDesc descriptor, int32 attempts)
{
	RowValues	values;
	Failure		failure;

	for (int i = ROW_COLUMNS; i < ASIDE_COLUMNS; i++)
		values.nulls[i] = true;
	row_read(row, descriptor, &values);
	failure = row_failure(&values, attempts, removal->now);
	failure.code = "cancelled";
	failure.text = removal->reason;
	dead_letter(removal->endpoint, &values, "discarded", &failure);
}

PG_FUNCTION_INFO_V1(message_bus_take_from_ring);
/*
 * message_bus._take_from_ring(endpoint_id, lane, positions, reason)
 */
Datum
message_bus_take_from_ring(PG_FUNCTION_ARGS)
{
	Removal		removal = {endpoint_use(PG_GETARG_INT32(0)), PG_GETARG_INT32(1), NULL, clock_now()};
	HeldLane   *held;
	Datum	   *elements;
	int			count;
	int64	   *positions;

	PreventCommandIfReadOnly("message_bus.cancel()");
	argument_not_null(&fcinfo->args[2], "positions", "Pass the positions of messages.");
	if (removal.endpoint == NULL || removal.lane < 0 ||
		removal.lane >= removal.endpoint->lanes || (held = take_lane(&removal)) == NULL)
		PG_RETURN_INT32(-1);
	if (!PG_ARGISNULL(3))
		removal.reason = text_to_cstring(PG_GETARG_TEXT_PP(3));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE,
					  &elements, NULL, &count);
	positions = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; i < count; i++)
		positions[i] = DatumGetInt64(elements[i]);
	PG_RETURN_INT32(remove_from_ring(&removal, held, positions, count));
}

PG_FUNCTION_INFO_V1(message_bus_take_aside);
/*
 * message_bus._take_aside(endpoint_id, message_id, reason)
 */
Datum
message_bus_take_aside(PG_FUNCTION_ARGS)
{
	Removal		removal = {endpoint_use(PG_GETARG_INT32(0)), 0, NULL, clock_now()};
	ScanKeyData keys[2];
	TableScan	scan;
	HeapTuple	row;
	bool		isnull;
	bool		taken;

	PreventCommandIfReadOnly("message_bus.cancel()");
	argument_not_null(&fcinfo->args[1], "message_id", "Pass the id of a message.");
	if (removal.endpoint == NULL)
		PG_RETURN_INT32(0);
	if (!PG_ARGISNULL(2))
		removal.reason = text_to_cstring(PG_GETARG_TEXT_PP(2));
	key_uuid(&keys[0], 1, PG_GETARG_UUID_P(1));
	key_int4(&keys[1], 2, BTEqualStrategyNumber, removal.endpoint->id);
	table_scan_begin(&scan, &bus_aside_table, &bus_aside_id_index, 2, keys, NULL);
	row = table_scan_next(&scan, ForwardScanDirection);
	if (row == NULL)
	{
		table_scan_end(&scan);
		PG_RETURN_INT32(0);
	}
	removal.lane = DatumGetInt32(heap_getattr(row, ROW_LANE + 1, scan.descriptor, &isnull));
	taken = removal.lane >= 0 && removal.lane < removal.endpoint->lanes &&
		take_lane(&removal) != NULL &&
		!held_delivery_is_pending(removal.endpoint, PG_GETARG_UUID_P(1)) &&
		table_lock_row(&scan, row);
	if (taken)
	{
		int32		attempt = DatumGetInt32(heap_getattr(row, ASIDE_ATTEMPT + 1, scan.descriptor,
														 &isnull));

		/* Others of its key may wait for it. */
		if (removal.endpoint->strict)
			note_due(removal.endpoint, removal.lane, removal.now);
		table_delete(&bus_aside_table, &row->t_self);
		if (removal.reason != NULL)
			bury(&removal, row, scan.descriptor, attempt - 1);
		CommandCounterIncrement();
	}
	table_scan_end(&scan);
	PG_RETURN_INT32(taken ? 1 : -1);
}

PG_FUNCTION_INFO_V1(message_bus_make_due);
/*
 * message_bus._make_due(endpoint_id, message_id, max)
 */
Datum
message_bus_make_due(PG_FUNCTION_ARGS)
{
	static SpiStatement update = {
		"UPDATE message_bus.aside a SET due_at = $3 FROM ("
		" SELECT w.message_id FROM message_bus.aside w WHERE w.endpoint_id = $1 AND w.due_at > $3"
		" AND ($2 IS NULL AND w.state = 'retrying'"
		"  OR w.message_id = $2 AND w.state IN ('retrying', 'scheduled'))"
		" ORDER BY w.lane, w.due_at LIMIT $4 FOR UPDATE SKIP LOCKED) f"
		" WHERE a.message_id = f.message_id AND a.endpoint_id = $1 RETURNING a.lane"};
	Endpoint   *endpoint = endpoint_use(PG_GETARG_INT32(0));
	Datum		values[4];
	char		nulls[] = "    ";
	TimestampTz now = clock_now();
	uint64		count;

	PreventCommandIfReadOnly("message_bus.retry_now()");
	if (endpoint == NULL)
		PG_RETURN_INT32(0);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_ARGISNULL(1) ? 0 : PG_GETARG_DATUM(1);
	nulls[1] = PG_ARGISNULL(1) ? 'n' : ' ';
	values[2] = TimestampTzGetDatum(now);
	values[3] = PG_GETARG_DATUM(2);
	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&update, 4, (Oid[]) {INT4OID, UUIDOID, TIMESTAMPTZOID, INT4OID},
						   values, nulls);
	for (uint64 i = 0; i < count; i++)
		note_due(endpoint, spi_int32(i, 0, 0), now);
	spi_end();
	PG_RETURN_INT32((int32) count);
}
