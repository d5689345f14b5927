/*
 * rotate.c
 *		Turning the ring: which segment is written, and which is truncated.
 *
 *		free --> current --(old and large enough)--> closing
 *		closing --(the last that wrote has ended)--> sealed
 *		sealed --(every lane has passed it)--> drained
 *		drained --(message_bus.dedupe_window later)--> truncated, free
 *		sealed --(what is left has been copied to the store)--> evacuated
 *		evacuated --(everybody sees the copies)--> truncated, free
 *		free --(the first evacuation)--> store
 *		store --(half of it has been passed)--> sealed
 *
 * The next segment becomes current only when no drained one is left, so that
 * beyond what is not consumed there are never more than two.  One segment stays
 * free for the store.
 *
 * Evacuation is for endpoints that are behind: see evacuate.c.  The old messages
 * are truncated only when no snapshot can be left that sees them and not the copies.
 *
 * Lock protocol: one process turns the ring, under LOCK_LOAD.  It takes
 * locks on segments only if it can have them at once and never waits behind a
 * reader: then the segment stays, and another one is written.  Roles are kept in
 * shared memory; ring_version tells readers that they have changed.
 *
 * A crash forgets the roles; load.c takes every segment with contents as sealed.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "base/order.h"
#include "log/position.h"
#include "log/restore.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/keep/evacuate.h"
#include "message_bus/keep/rotate.h"
#include "message_bus/keep/segment.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/know/relations.h"
#include "message_bus/place/ring.h"
#include "pg/lock.h"
#include "pg/scan.h"
#include "pg/settings.h"
#include "pg/spi.h"

/* A smaller segment is not worth truncating. */
#define MIN_BLOCKS 128
#define SOON (100 * 1000)
#define LATER USECS_PER_SEC

static TimestampTz turn(BusDatabase *database, int number, TimestampTz now);
static TimestampTz turn_left(BusDatabase *database, int number, TimestampTz now);
static TimestampTz turn_current(BusDatabase *database, int number, TimestampTz now);
static bool seal(BusDatabase *database, int number, TimestampTz now);
static bool something_left(BusDatabase *database, int number);
static bool is_left_in_lane(Endpoint *endpoint, int32 lane, int number);
static TimestampTz turn_evacuated(BusDatabase *database, int number, TimestampTz now);
static bool tables_need(int number);
static void segment_truncated(void *segment);
static bool truncate_segment(BusDatabase *database, int number, TimestampTz now);
static BlockNumber blocks_of(int number);

/*
 * Does what is to be done now, in a transaction of its own.  Returns when to
 * come back, NEVER_DUE if there is nothing to wait for.
 */
TimestampTz
rotate_run(TimestampTz now)
{
	BusDatabase *database = database_state();
	TimestampTz next = NEVER_DUE;

	if (!lock_take(LOCK_LOAD, 0, 2, ExclusiveLock, false))
		return now + LATER;
	evacuation_check(database);
	for (int i = 0; i < RING_SEGMENTS; i++)
		next = lesser(next, turn(database, i, now));
	return next;
}

static TimestampTz
turn(BusDatabase *database, int number, TimestampTz now)
{
	BusSegment *segment = &database->segments[number];
	TimestampTz window_end = (TimestampTz) pg_atomic_read_u64(&segment->since) +
		setting_message_bus_dedupe_window * INT64CONST(1000);

	switch ((BusSegmentState) pg_atomic_read_u32(&segment->state))
	{
		case SEGMENT_FREE:
			return NEVER_DUE;
		case SEGMENT_CURRENT:
			return turn_current(database, number, now);
		case SEGMENT_CLOSING:
			return seal(database, number, now) ? now + 1 : now + SOON;
		case SEGMENT_STORE:
			/* What is being copied into it cannot be seen yet. */
			if (database->evacuation.since != 0)
				return now + segment_patience();
			/* FALLTHROUGH */
		case SEGMENT_SEALED:
			if (something_left(database, number))
				return turn_left(database, number, now);
			segment_set_state(database, number, SEGMENT_DRAINED, now);
			return now + setting_message_bus_dedupe_window * INT64CONST(1000);
		case SEGMENT_DRAINED:
			if (now < window_end)
				return window_end;
			return truncate_segment(database, number, now) ? NEVER_DUE : now + SOON;
		case SEGMENT_EVACUATED:
			return turn_evacuated(database, number, now);
	}
	return NEVER_DUE;
}

/*
 * Makes another segment current, when this one has been long enough.
 */
static TimestampTz
turn_current(BusDatabase *database, int number, TimestampTz now)
{
	BusSegment *segment = &database->segments[number];
	TimestampTz allowed = (TimestampTz) pg_atomic_read_u64(&segment->since) +
		setting_message_bus_dedupe_window * INT64CONST(1000);
	int			next = segment_find_state(database, SEGMENT_FREE);

	if (blocks_of(number) < MIN_BLOCKS)
		return NEVER_DUE;
	if (now < allowed)
		return allowed;
	if (segment_count_state(database, SEGMENT_FREE) < 2 ||
		segment_find_state(database, SEGMENT_DRAINED) >= 0 ||
		segment_find_state(database, SEGMENT_CLOSING) >= 0)
		return now + LATER;
	/* Readers must know of it before anything can be in it. */
	segment_set_state(database, next, SEGMENT_CURRENT, now);
	pg_atomic_write_u32(&database->current, (uint32) next);
	pg_memory_barrier();
	segment_set_state(database, number, SEGMENT_CLOSING, now);
	return now + 1;
}

/*
 * Whoever wrote into the segment before it was closed holds a lock on it.
 */
static bool
seal(BusDatabase *database, int number, TimestampTz now)
{
	Oid			relation = extension_relation_oid(&bus_ring[number]);

	if (!ConditionalLockRelationOid(relation, ShareLock))
		return false;
	pg_atomic_write_u64(&database->segments[number].sealed_at,
						(uint64) position_counter(LOG_MESSAGE_BUS));
	pg_atomic_write_u64(&database->segments[number].sampled_at, 0);
	segment_set_state(database, number, SEGMENT_SEALED, now);
	UnlockRelationOid(relation, ShareLock);
	return true;
}

/*
 * What is left in a segment that nobody writes but evacuation: the store is kept
 * until half of it has been passed, then it is emptied as others are.
 */
static TimestampTz
turn_left(BusDatabase *database, int number, TimestampTz now)
{
	if (pg_atomic_read_u32(&database->segments[number].state) == SEGMENT_SEALED)
		return evacuate_run(database, number, now);
	if (blocks_of(number) >= MIN_BLOCKS &&
		evacuation_unread(database, number, now) < UNREAD_ALL / 2)
	{
		segment_set_state(database, number, SEGMENT_SEALED, now);
		return now + 1;
	}
	return now + segment_patience();
}

/*
 * The segment's size, with what was moved out of line.
 */
static BlockNumber
blocks_of(int number)
{
	Relation	relation = relation_open(extension_relation_oid(&bus_ring[number]),
										 AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);

	if (OidIsValid(relation->rd_rel->reltoastrelid))
	{
		Relation	toast = relation_open(relation->rd_rel->reltoastrelid, AccessShareLock);

		blocks += RelationGetNumberOfBlocks(toast);
		relation_close(toast, AccessShareLock);
	}
	relation_close(relation, AccessShareLock);
	return blocks;
}

/*
 * Whether a segment has messages that lanes have not passed.
 */
static bool
something_left(BusDatabase *database, int number)
{
	int			count;
	Endpoint  **endpoints = endpoint_all(&count);
	uint32		generation = pg_atomic_read_u32(&database->segments[number].generation);
	bool		left = false;

	for (int i = 0; i < count && !left; i++)
	{
		Endpoint   *endpoint = endpoints[i];

		for (int32 lane = 0; lane < endpoint->lanes && !left; lane++)
		{
			BusLane    *shared = lane_get(endpoint, lane);

			if (pg_atomic_read_u32(&shared->clean[number]) == generation)
				continue;
			left = is_left_in_lane(endpoint, lane, number);
			if (!left)
				pg_atomic_write_u32(&shared->clean[number], generation);
		}
	}
	pfree(endpoints);
	return left;
}

static bool
is_left_in_lane(Endpoint *endpoint, int32 lane, int number)
{
	BusLane    *shared = lane_get(endpoint, lane);
	ScanKeyData keys[3];

	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	key_int8(&keys[2], 3, BTGreaterStrategyNumber, (int64) pg_atomic_read_u64(&shared->cursor));
	return table_has_row(&bus_ring[number], &bus_ring_lane_index[number], 3, keys);
}

/*
 * Truncates an evacuated segment, when everybody sees the copies, or needs none.
 */
static TimestampTz
turn_evacuated(BusDatabase *database, int number, TimestampTz now)
{
	TransactionId horizon = pg_atomic_read_u32(&database->segments[number].evacuated_by);
	Relation	relation;
	TransactionId oldest;

	if (!something_left(database, number))
	{
		segment_set_state(database, number, SEGMENT_DRAINED, now);
		return now + setting_message_bus_dedupe_window * INT64CONST(1000);
	}
	relation = relation_open(extension_relation_oid(&bus_ring[number]), AccessShareLock);
	oldest = GetOldestNonRemovableTransactionId(relation);
	relation_close(relation, AccessShareLock);
	if (!TransactionIdPrecedesOrEquals(horizon, oldest) && !DEBUG_BREAK("evacuate_for_some"))
		return now + LATER;
	return truncate_segment(database, number, now) ? NEVER_DUE : now + SOON;
}

/*
 * Whether the tables say that a segment has a message that is nowhere else and
 * that its lane has not passed.  What shared memory says is what we believe; but
 * what is truncated is gone, so the tables are asked too.  Of an evacuated segment they
 * have been, in turns (evacuate.c).
 */
static bool
tables_need(int number)
{
	static SpiStatement left[RING_SEGMENTS] = {
#define LEFT(n) { \
		"SELECT e.name FROM message_bus.endpoint e" \
		" CROSS JOIN LATERAL pg_catalog.generate_series(0, e.lanes - 1) AS l (lane)" \
		" LEFT JOIN message_bus._cursor c ON c.endpoint_id = e.endpoint_id AND c.lane = l.lane" \
		" CROSS JOIN LATERAL (SELECT FROM message_bus.ring_" #n " r" \
		"  WHERE r.endpoint_id = e.endpoint_id AND r.lane = l.lane" \
		"  AND r.position > coalesce(c.position, 0) AND NOT EXISTS (SELECT FROM message_bus._ring o" \
		"   WHERE o.endpoint_id = r.endpoint_id AND o.lane = r.lane AND o.position = r.position" \
		"   AND o.segment <> " #n ") LIMIT 1) r LIMIT 1"}
		LEFT(0), LEFT(1), LEFT(2), LEFT(3), LEFT(4), LEFT(5), LEFT(6), LEFT(7)
#undef LEFT
	};
	bool		needed;

	spi_begin(SPI_AS_OWNER);
	needed = spi_run_latest(&left[number], 0, NULL, NULL, NULL) > 0;
	if (needed)
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("segment %d of the ring is kept: it has messages of endpoint \"%s\" that shared memory does not know",
						number, spi_text(0, 0, CurrentMemoryContext)),
				 errhint("Type SELECT * FROM message_bus.verify().")));
	spi_end();
	return needed;
}

static bool
truncate_segment(BusDatabase *database, int number, TimestampTz now)
{
	BusSegmentState state = pg_atomic_read_u32(&database->segments[number].state);
	char		command[64];

	if (!ConditionalLockRelationOid(extension_relation_oid(&bus_ring[number]), AccessExclusiveLock))
		return false;
	if (restore_goes_on() || (state == SEGMENT_DRAINED && tables_need(number)))
	{
		segment_set_state(database, number, SEGMENT_SEALED, now);
		return false;
	}
	snprintf(command, sizeof(command), "TRUNCATE message_bus.%s", bus_ring[number].name);
	spi_begin(SPI_AS_OWNER);
	spi_command(command);
	spi_end();
	note_at_commit(segment_truncated, &database->segments[number]);
	return true;
}

/*
 * Now that it is; the lock on it is still held.
 */
static void
segment_truncated(void *truncated)
{
	BusDatabase *database = bus_database_known();
	BusSegment *segment = truncated;

	pg_atomic_fetch_add_u32(&segment->generation, 1);
	pg_atomic_write_u32(&segment->expiring, 0);
	pg_atomic_write_u64(&segment->sampled_at, 0);
	segment_set_state(database, (int) (segment - database->segments), SEGMENT_FREE,
					 GetCurrentTimestamp());
}
