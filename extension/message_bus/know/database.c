/*
 * database.c
 *		The entry of this database in shared memory, filled from the tables.
 *
 * Lock protocol: a heavyweight lock while it is filled.  Whoever uses the bus has it
 * filled first, at the first use after the server has started, or after a dump has
 * been restored into the database (log/restore.c).
 *
 * Receipts: the upper part is a number that the sequence epoch_seq gives once
 * per start of the server and that is safe on disk before it is used; the lower
 * part counts in shared memory.  So no receipt is ever given twice.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "log/position.h"
#include "log/restore.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/know/relations.h"
#include "pg/lock.h"
#include "pg/sequence.h"

#define EPOCH_SHIFT 40
/* Start a new epoch well before the counter reaches the upper part. */
#define COUNTER_LIMIT ((UINT64CONST(1) << EPOCH_SHIFT) - (UINT64CONST(1) << 32))

static void load_segments(BusDatabase *database);
static void load_segments_again(BusDatabase *database);
static bool segment_is_empty(int number);
static void forget_deaths(BusDatabase *database);
static void start_epoch(BusDatabase *database);

/*
 * This database's entry, filled.
 */
BusDatabase *
database_state(void)
{
	BusDatabase *database = bus_database();

	uint32		generation = restore_generation();

	if (likely(pg_atomic_read_u32(&database->loaded) == generation))
		return database;
	PreventCommandDuringRecovery("using the message bus");
	note_check_restored();
	(void) lock_take(LOCK_LOAD, 0, 0, ExclusiveLock, true);
	if (pg_atomic_read_u32(&database->loaded) != generation)
	{
		if (pg_atomic_read_u32(&database->loaded) == 0)
			load_segments(database);
		else
			load_segments_again(database);
		forget_deaths(database);
		pg_write_barrier();
		pg_atomic_write_u32(&database->loaded, generation);
	}
	lock_give_back(LOCK_LOAD, 0, 0, ExclusiveLock);
	return database;
}

/*
 * Whatever is in the ring was written before; new messages go to an empty
 * segment, if there is one.
 */
static void
load_segments(BusDatabase *database)
{
	int			current = -1;
	TimestampTz now = GetCurrentTimestamp();

	for (int i = RING_SEGMENTS - 1; i >= 0; i--)
	{
		BusSegment *segment = &database->segments[i];
		bool		empty = segment_is_empty(i);

		pg_atomic_write_u32(&segment->state, empty ? SEGMENT_FREE : SEGMENT_SEALED);
		pg_atomic_write_u32(&segment->generation, 1);
		pg_atomic_write_u64(&segment->since, (uint64) now);
		pg_atomic_write_u32(&segment->expiring, !empty);
		pg_atomic_write_u64(&segment->sealed_at, (uint64) position_counter(LOG_MESSAGE_BUS));
		if (empty || current < 0)
			current = i;
	}
	pg_atomic_write_u32(&database->segments[current].state, SEGMENT_CURRENT);
	pg_atomic_write_u32(&database->current, current);
	pg_atomic_write_u64(&database->ring_version, 1);
	database->expiry_low = DT_NOBEGIN;
}

static bool
segment_is_empty(int number)
{
	Relation	relation = relation_open(extension_relation_oid(&bus_ring[number]),
										 AccessShareLock);
	bool		empty = RelationGetNumberOfBlocks(relation) == 0;

	relation_close(relation, AccessShareLock);
	return empty;
}

/*
 * After a restore: any segment may have got contents.  A transaction from before
 * it may still hold a lock on the one that was written; so what is not certainly
 * empty is closing, until rotate.c gets the lock that tells.
 */
static void
load_segments_again(BusDatabase *database)
{
	int			current = (int) pg_atomic_read_u32(&database->current);
	TimestampTz now = GetCurrentTimestamp();

	/* One that goes on cannot commit. */
	memset(&database->evacuation, 0, sizeof(database->evacuation));
	for (int i = 0; i < RING_SEGMENTS; i++)
	{
		BusSegment *segment = &database->segments[i];
		Oid			relation = extension_relation_oid(&bus_ring[i]);
		bool		unused = i != current && ConditionalLockRelationOid(relation, ShareLock);
		bool		empty = unused && segment_is_empty(i);

		if (unused)
			UnlockRelationOid(relation, ShareLock);
		pg_atomic_fetch_add_u32(&segment->generation, 1);
		pg_atomic_write_u64(&segment->since, (uint64) now);
		pg_atomic_write_u32(&segment->expiring, !empty);
		pg_atomic_write_u64(&segment->sampled_at, 0);
		if (i != current)
			pg_atomic_write_u32(&segment->state, empty ? SEGMENT_FREE : SEGMENT_CLOSING);
	}
	pg_memory_barrier();
	pg_atomic_fetch_add_u64(&database->ring_version, 1);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->expiry_low = DT_NOBEGIN;
	database->expiry_version++;
	LWLockRelease(&database->lock);
}

/*
 * Deaths of the tables that were.
 */
static void
forget_deaths(BusDatabase *database)
{
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	memset(database->deaths, 0, sizeof(database->deaths));
	pg_atomic_write_u32(&database->death_count, 0);
	LWLockRelease(&database->lock);
}

/*
 * Allots receipts: the first of so many in a row.
 */
int64
database_receipts(int count)
{
	BusDatabase *database = bus_database();
	uint64		first;

	for (;;)
	{
		uint64		next = pg_atomic_read_u64(&database->next_receipt);

		if (unlikely(next == 0 ||
					 (next & ((UINT64CONST(1) << EPOCH_SHIFT) - 1)) > COUNTER_LIMIT))
		{
			start_epoch(database);
			continue;
		}
		first = pg_atomic_fetch_add_u64(&database->next_receipt, count);
		return (int64) first;
	}
}

static void
start_epoch(BusDatabase *database)
{
	uint64		before = pg_atomic_read_u64(&database->next_receipt);
	Oid			sequence = extension_relation_oid(&bus_epoch_sequence);
	Relation	relation;
	Buffer		buffer;
	XLogRecPtr	lsn;
	int64		epoch;

	(void) lock_take(LOCK_LOAD, 0, 1, ExclusiveLock, true);
	if (pg_atomic_read_u64(&database->next_receipt) == before)
	{
		epoch = sequence_take(sequence);
		relation = relation_open(sequence, AccessShareLock);
		buffer = ReadBuffer(relation, 0);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		lsn = PageGetLSN(BufferGetPage(buffer));
		UnlockReleaseBuffer(buffer);
		relation_close(relation, AccessShareLock);
		XLogFlush(lsn);
		pg_atomic_write_u64(&database->next_receipt, ((uint64) epoch << EPOCH_SHIFT) + 1);
	}
	lock_give_back(LOCK_LOAD, 0, 1, ExclusiveLock);
}

/*
 * A message that expires then has been committed.
 */
void
database_lower_expiry(TimestampTz expires_at)
{
	BusDatabase *database = bus_database_known();

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	database->expiry_low = Min(database->expiry_low, expires_at);
	database->expiry_version++;
	LWLockRelease(&database->lock);
	lane_lower_worker(expires_at);
}
