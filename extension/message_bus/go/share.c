/*
 * share.c
 *		Sharing the lanes of an endpoint among the consumers that want messages.
 *
 * Whoever has received nothing, or waits, is entered as one who wants some, until he
 * gets some, ends, or a while has passed.  Who receives meanwhile leaves a part of the free
 * lanes to each of those, so that one call for many messages does not take all lanes
 * of a shallow queue.  What is left to somebody who does not come is taken by the
 * next call: so a wrong entry costs a smaller batch, and nothing waits for it.
 *
 * Lock protocol: a place is an atomic; it is taken by compare-and-swap when it is free,
 * or its time is over, and given back by who has it, at the end of his process if not
 * before.  When there is none left, the others do not know of who came too late.  A
 * crash leaves nothing.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#include "message_bus/go/share.h"

/* So long who has got nothing counts as one who will come again. */
#define WANTS_AGAIN (60 * USECS_PER_SEC)
/* So long who waits counts at most; by then he may have something else to do. */
#define WAITS_AT_MOST (SECS_PER_HOUR * USECS_PER_SEC)
/* So many places a process gives back when it ends; others wait for their time. */
#define OWN_PLACES 16

static pg_atomic_uint64 *own_places[OWN_PLACES];
static int	own_count = 0;

static void remember(pg_atomic_uint64 *place);
static void leave(int code, Datum arg);

/* What is in a place: the process, and the second in which its time is over. */
static inline uint32
entry_pid(uint64 entry)
{
	return (uint32) (entry >> 32);
}

static inline uint32
entry_end(uint64 entry)
{
	return (uint32) entry;
}

/*
 * From now on this process wants messages of an endpoint: it waits until then, or has
 * got none (0).
 */
void
share_want(const Endpoint *endpoint, TimestampTz until)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end = Min(Max(until, now), now + WAITS_AT_MOST) + WANTS_AGAIN;
	uint64		mine = (uint64) MyProcPid << 32 | (uint32) (end / USECS_PER_SEC);

	for (int i = 0; i < WANTING_PLACES; i++)
	{
		pg_atomic_uint64 *place = &endpoint->shared->wanting[(MyProcPid + i) % WANTING_PLACES];
		uint64		entry = pg_atomic_read_u64(place);

		if ((entry_pid(entry) == (uint32) MyProcPid || entry_end(entry) <= now / USECS_PER_SEC) &&
			pg_atomic_compare_exchange_u64(place, &entry, mine))
		{
			remember(place);
			return;
		}
	}
}

static void
remember(pg_atomic_uint64 *place)
{
	for (int i = 0; i < own_count; i++)
		if (own_places[i] == place)
			return;
	if (own_count == 0)
		before_shmem_exit(leave, (Datum) 0);
	if (own_count < OWN_PLACES)
		own_places[own_count++] = place;
}

/*
 * This process ends.
 */
static void
leave(int code, Datum arg)
{
	for (int i = 0; i < own_count; i++)
	{
		uint64		entry = pg_atomic_read_u64(own_places[i]);

		if (entry_pid(entry) == (uint32) MyProcPid)
			(void) pg_atomic_compare_exchange_u64(own_places[i], &entry, 0);
	}
}

/*
 * Who wants messages of an endpoint now.
 */
void
share_look(const Endpoint *endpoint, Wanting *wanting)
{
	TimestampTz now = 0;

	wanting->others = 0;
	wanting->own = NULL;
	for (int i = 0; i < WANTING_PLACES; i++)
	{
		pg_atomic_uint64 *place = &endpoint->shared->wanting[i];
		uint64		entry = pg_atomic_read_u64(place);

		if (likely(entry == 0))
			continue;
		if (entry_pid(entry) == (uint32) MyProcPid)
		{
			wanting->own = place;
			continue;
		}
		if (now == 0)
			now = GetCurrentTimestamp();
		if (entry_end(entry) > now / USECS_PER_SEC)
			wanting->others++;
	}
}

/*
 * This process has got some.
 */
void
share_served(const Wanting *wanting)
{
	if (wanting->own != NULL)
		pg_atomic_write_u64(wanting->own, 0);
}
