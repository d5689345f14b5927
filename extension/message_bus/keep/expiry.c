/*
 * expiry.c
 *		Messages that nobody received in time.
 *
 * A receive buries the expired messages it meets.  Those that nobody comes for
 * are buried by the worker: the ring has an index of the few that expire at
 * all, and message_bus.passed notes which places beyond a lane's cursor are done
 * with.
 *
 * Lock protocol: the worker takes the lane like a consumer, if it is free, and
 * comes back soon if it is not.  What it need not look at again is kept in
 * shared memory under the database's LWLock, once what was done about it has
 * committed, with a version that tells whether something that expires earlier was
 * sent since.
 *
 * A crash leaves the tables consistent; after it, all that expires is looked at
 * once.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/go/held.h"
#include "message_bus/keep/expiry.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/know/relations.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/passed.h"
#include "message_bus/place/ring.h"
#include "message_bus/place/row.h"
#include "pg/lock.h"
#include "pg/scan.h"
#include "pg/writer.h"

/* Come back after so long to a lane that was taken, in microseconds. */
#define TAKEN_PAUSE (200 * 1000)
/* In one transaction. */
#define BATCH 500

/* One turn of the worker. */
typedef struct ExpiryRun
{
	TimestampTz now;
	TimestampTz next;			/* when the next message expires */
	TimestampTz low;			/* of those left over, the earliest */
	int			buried;
	int			locked;			/* lanes, at most */
} ExpiryRun;

/* What need not be looked at again, once what was done about it has committed. */
typedef struct LookedAt
{
	BusDatabase *database;
	TimestampTz low;
	uint32		version;
} LookedAt;

static void note_looked_at(BusDatabase *database, TimestampTz low, uint32 version);
static void raise_low(void *argument);
static void expire_segment(ExpiryRun *run, int segment, TimestampTz low);
static void expire_aside(ExpiryRun *run);
static HeapTuple next_expired(ExpiryRun *run, TableScan *scan, TimestampTz *expires_at);
static bool take_lane(ExpiryRun *run, const Endpoint *endpoint, int32 lane);
static bool bury_in_ring(ExpiryRun *run, HeapTuple row);
static bool bury_aside(ExpiryRun *run, HeapTuple row, TableScan *scan);

/*
 * Buries what has expired; in a transaction of the worker.  Returns when to come
 * back, NEVER_DUE if nothing expires.
 */
TimestampTz
expiry_run(TimestampTz now)
{
	BusDatabase *database = database_state();
	ExpiryRun	run = {now, NEVER_DUE, NEVER_DUE, 0, 0};
	TimestampTz low;
	uint32		version;

	LWLockAcquire(&database->lock, LW_SHARED);
	low = database->expiry_low;
	version = database->expiry_version;
	LWLockRelease(&database->lock);
	for (int i = 0; i < RING_SEGMENTS; i++)
	{
		if (pg_atomic_read_u32(&database->segments[i].state) != SEGMENT_FREE &&
			pg_atomic_read_u32(&database->segments[i].expiring) != 0)
			expire_segment(&run, i, low);
	}
	expire_aside(&run);
	note_looked_at(database, Min(run.low, now), version);
	if (run.buried >= BATCH)
		return now;
	if (run.low != NEVER_DUE)
		run.next = Min(run.next, now + TAKEN_PAUSE);
	return run.next;
}

static void
note_looked_at(BusDatabase *database, TimestampTz low, uint32 version)
{
	LookedAt   *looked_at = MemoryContextAlloc(note_memory(), sizeof(LookedAt));

	*looked_at = (LookedAt) {database, low, version};
	note_at_commit(raise_low, looked_at);
}

static void
raise_low(void *argument)
{
	const LookedAt *looked_at = argument;
	BusDatabase *database = looked_at->database;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (database->expiry_version == looked_at->version)
		database->expiry_low = looked_at->low;
	LWLockRelease(&database->lock);
}

static void
expire_segment(ExpiryRun *run, int segment, TimestampTz low)
{
	TableScan	scan;
	ScanKeyData key;
	HeapTuple	row;
	TimestampTz expires_at;

	key_time(&key, 1, BTGreaterEqualStrategyNumber, low);
	table_scan_begin(&scan, &bus_ring[segment], &bus_ring_expiry_index[segment], 1, &key, NULL);
	while ((row = next_expired(run, &scan, &expires_at)) != NULL)
	{
		if (run->buried >= BATCH || !bury_in_ring(run, row))
			run->low = Min(run->low, expires_at);
	}
	table_scan_end(&scan);
}

/*
 * Locks a lane unless somebody has it, or something of it: this transaction too, where the turn
 * is made by hand.
 */
static bool
take_lane(ExpiryRun *run, const Endpoint *endpoint, int32 lane)
{
	const BusLane *shared = lane_checked(endpoint, lane);

	if (shared->leases.count > 0 || ++run->locked > BATCH ||
		held_lane_find(endpoint, lane) != NULL ||
		!lock_take(LOCK_LANE, endpoint->id, lane, ExclusiveLock, false))
		return false;
	return shared->leases.count == 0;
}

/*
 * Buries a message in the ring, unless it is settled.  False if its lane is
 * taken.
 */
static bool
bury_in_ring(ExpiryRun *run, HeapTuple row)
{
	RowValues	values;
	Endpoint   *endpoint;
	int32		lane;
	int64		position = row_position(row);
	BusLane    *shared;
	Failure		failure;

	for (int i = ROW_COLUMNS; i < ASIDE_COLUMNS; i++)
		values.nulls[i] = true;
	row_read(row, ring_descriptor(), &values);
	lane = DatumGetInt32(values.values[ROW_LANE]);
	endpoint = endpoint_by_id(DatumGetInt32(values.values[ROW_ENDPOINT_ID]));
	if (endpoint == NULL || lane < 0 || lane >= endpoint->shared->lane_count)
		return true;
	/* It may be on its way already: it expires where it arrives. */
	if (endpoint->forward_to != NULL)
		return true;
	shared = lane_checked(endpoint, lane);
	if (position <= (int64) pg_atomic_read_u64(&shared->cursor))
		return true;
	if (!take_lane(run, endpoint, lane))
		return false;
	if (position <= (int64) pg_atomic_read_u64(&shared->cursor) ||
		passed_has(endpoint, lane, position))
		return true;
	failure = row_failure(&values, 0, run->now);
	dead_letter(endpoint, &values, "expired", &failure);
	passed_add(endpoint, lane, position);
	/* The lane is ours until the commit; a rollback leaves a vain look. */
	pg_atomic_write_u32(&shared->passed, 1);
	note_settled(endpoint);
	CommandCounterIncrement();
	run->buried++;
	return true;
}

static void
expire_aside(ExpiryRun *run)
{
	TableScan	scan;
	ScanKeyData key;
	HeapTuple	row;
	TimestampTz expires_at;

	key_time(&key, 1, BTGreaterEqualStrategyNumber, DT_NOBEGIN);
	table_scan_begin(&scan, &bus_aside_table, &bus_aside_expiry_index, 1, &key, NULL);
	while ((row = next_expired(run, &scan, &expires_at)) != NULL)
	{
		if (run->buried >= BATCH || !bury_aside(run, row, &scan))
			run->next = Min(run->next, run->now + TAKEN_PAUSE);
	}
	table_scan_end(&scan);
}

/*
 * The next row of a scan by expires_at that has expired; NULL at the end of
 * those, having noted when the one after them expires.
 */
static HeapTuple
next_expired(ExpiryRun *run, TableScan *scan, TimestampTz *expires_at)
{
	HeapTuple	row = table_scan_next(scan, ForwardScanDirection);
	bool		isnull;

	if (row == NULL)
		return NULL;
	*expires_at = DatumGetTimestampTz(heap_getattr(row, ROW_EXPIRES_AT + 1, scan->descriptor,
												   &isnull));
	if (*expires_at <= run->now)
		return row;
	run->next = Min(run->next, *expires_at);
	return NULL;
}

/*
 * Buries a message that was set aside.  False if its lane is taken.
 */
static bool
bury_aside(ExpiryRun *run, HeapTuple row, TableScan *scan)
{
	RowValues	values;
	Endpoint   *endpoint;
	int32		lane;
	Failure		failure;

	row_read(row, scan->descriptor, &values);
	lane = DatumGetInt32(values.values[ROW_LANE]);
	endpoint = endpoint_by_id(DatumGetInt32(values.values[ROW_ENDPOINT_ID]));
	if (endpoint == NULL || lane < 0 || lane >= endpoint->shared->lane_count)
		return true;
	if (!take_lane(run, endpoint, lane))
		return false;
	/* Look again: a consumer may have had it until now. */
	if (!table_lock_row(scan, row))
		return false;
	/* Others of its key may wait for it. */
	if (endpoint->strict)
		note_due(endpoint, lane, run->now);
	failure = row_failure(&values, DatumGetInt32(values.values[ASIDE_ATTEMPT]) - 1, run->now);
	table_delete(&bus_aside_table, &row->t_self);
	dead_letter(endpoint, &values, "expired", &failure);
	CommandCounterIncrement();
	run->buried++;
	return true;
}
