/*
 * lease_note.c
 *		Lanes whose leases a transaction has changed: their cursors, and what
 *		shared memory knows of their leases.
 *
 * Lock protocol: who changes a lease has its lane's lock, so what is read here
 * just before the commit is what will be.  The lock goes with the savepoint that it was
 * taken in, and so does what was noted there: then the lane is somebody else's.
 *
 * A crash leaves the leases; load.c counts them again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/order.h"
#include "log/wakeup.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/lease_note.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/cursor.h"
#include "pg/scan.h"

static ExtensionRelation lease_lane_index = {"message_bus", "lease_lane_idx"};

/* One for each lane and savepoint, those of the innermost first. */
static LeaseNote *notes = NULL;

static LeaseNote *find_note(const Endpoint *endpoint, int32 lane, SubTransactionId noted_in);

/*
 * The note of a lane in this savepoint, made if there is none.
 */
LeaseNote *
lease_note_lane(const Endpoint *endpoint, int32 lane)
{
	SubTransactionId mine = GetCurrentSubTransactionId();
	LeaseNote  *note = find_note(endpoint, lane, mine);

	if (note != NULL)
		return note;
	(void) lane_checked(endpoint, lane);
	note_begin();
	note = MemoryContextAllocZero(note_memory(), sizeof(LeaseNote));
	note->endpoint = endpoint;
	note->lane = lane;
	note->noted_in = mine;
	note->next = notes;
	notes = note;
	return note;
}

static LeaseNote *
find_note(const Endpoint *endpoint, int32 lane, SubTransactionId noted_in)
{
	for (LeaseNote *note = notes; note != NULL && note->noted_in == noted_in; note = note->next)
	{
		if (note->lane == lane && same_endpoint(note->endpoint, endpoint))
			return note;
	}
	return NULL;
}

/*
 * Up to where this transaction has ended leases of a lane, 0 if it has ended none.
 */
int64
lease_noted_upto(const Endpoint *endpoint, int32 lane)
{
	int64		upto = 0;

	for (LeaseNote *note = notes; note != NULL; note = note->next)
	{
		if (note->lane == lane && same_endpoint(note->endpoint, endpoint))
			upto = greater(upto, note->upto);
	}
	return upto;
}

/*
 * A savepoint is released, and its notes are its parent's; or rolled back.
 */
void
lease_end_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
{
	LeaseNote  *note = notes;
	LeaseNote  *next;

	while (notes != NULL && notes->noted_in == mine)
		notes = notes->next;
	for (LeaseNote *end = notes; note != end && committed; note = next)
	{
		LeaseNote  *older = find_note(note->endpoint, note->lane, parent);

		next = note->next;
		if (older != NULL)
		{
			older->upto = greater(older->upto, note->upto);
			older->created_in_ring += note->created_in_ring;
			older->acked += note->acked;
			continue;
		}
		note->noted_in = parent;
		note->next = notes;
		notes = note;
	}
}

/*
 * A lane's leases as they are now.
 */
void
lease_read_lane(const Endpoint *endpoint, int32 lane, BusLeases *leases)
{
	TableScan	scan;
	ScanKeyData keys[2];
	HeapTuple	row;

	memset(leases, 0, sizeof(*leases));
	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	table_scan_begin(&scan, &bus_lease_table, &lease_lane_index, 2, keys, NULL);
	while ((row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
	{
		bool		isnull;
		Datum		end = heap_getattr(row, LEASE_LEASED_UNTIL + 1, scan.descriptor, &isnull);
		TimestampTz until = DatumGetTimestampTz(end);

		leases->first_end = leases->count == 0 ? until : Min(leases->first_end, until);
		leases->count++;
		(void) heap_getattr(row, LEASE_POSITION + 1, scan.descriptor, &isnull);
		leases->in_ring += !isnull;
	}
	table_scan_end(&scan);
}

/*
 * Moves the cursors of lanes that have no lease left, whoever has given them.
 */
void
lease_before_commit(void)
{
	/* What consumers' cursors have been written with is done. */
	if (notes != NULL)
		CommandCounterIncrement();
	for (LeaseNote *note = notes; note != NULL; note = note->next)
	{
		lease_read_lane(note->endpoint, note->lane, &note->leases);
		if (note->leases.count > 0 || note->upto == 0)
			continue;
		note->cursor = note->upto;
		note->none_passed = cursor_move(note->endpoint, note->lane, note->upto);
	}
}

/*
 * Shared memory follows, while the lanes' locks are still held.
 */
void
lease_end_transaction(bool committed, TimestampTz at)
{
	for (LeaseNote *note = notes; note != NULL && committed; note = note->next)
	{
		BusLane    *lane = lane_get(note->endpoint, note->lane);

		pg_atomic_fetch_sub_u64(&note->endpoint->shared->depth, lane->leases.in_ring +
								note->created_in_ring - note->leases.in_ring);
		SpinLockAcquire(&lane->mutex);
		lane->leases = note->leases;
		SpinLockRelease(&lane->mutex);
		if (note->cursor != 0)
			atomic_raise(&lane->cursor, (uint64) note->cursor);
		if (note->none_passed)
			pg_atomic_write_u32(&lane->passed, 0);
		if (note->acked > 0)
			rate_add(&note->endpoint->shared->acked, at, note->acked);
		if (note->leases.count > 0)
			lane_lower_worker(note->leases.first_end);
		else
			bus_wake_consumers(note->endpoint, note->lane);
	}
	notes = NULL;
}
