/*
 * segment.c
 *		The states of the segments of the ring.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/order.h"
#include "message_bus/keep/segment.h"
#include "pg/settings.h"

#define LEAST_PATIENCE USECS_PER_SEC
#define MAX_PATIENCE (30 * USECS_PER_SEC)

/*
 * How long a segment that stays as it is need not be looked at: nobody says when
 * lanes have passed it.
 */
int64
segment_patience(void)
{
	return lesser(greater(setting_message_bus_dedupe_window * INT64CONST(500), LEAST_PATIENCE),
				  MAX_PATIENCE);
}

/*
 * Gives a segment another role, for all to see at once.
 */
void
segment_set_state(BusDatabase *database, int number, BusSegmentState state, TimestampTz now)
{
	BusSegment *segment = &database->segments[number];

	pg_atomic_write_u64(&segment->since, (uint64) now);
	pg_atomic_write_u32(&segment->state, state);
	pg_memory_barrier();
	pg_atomic_fetch_add_u64(&database->ring_version, 1);
	pg_memory_barrier();
}

/*
 * The first segment in a state, -1 if there is none.
 */
int
segment_find_state(BusDatabase *database, BusSegmentState state)
{
	for (int i = 0; i < RING_SEGMENTS; i++)
	{
		if (pg_atomic_read_u32(&database->segments[i].state) == state)
			return i;
	}
	return -1;
}

int
segment_count_state(BusDatabase *database, BusSegmentState state)
{
	int			count = 0;

	for (int i = 0; i < RING_SEGMENTS; i++)
		count += pg_atomic_read_u32(&database->segments[i].state) == state;
	return count;
}
