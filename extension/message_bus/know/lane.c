/*
 * lane.c
 *		What a lane owes, and when: its next message due, who waits for it.
 *
 * Lock protocol: a spinlock per lane.  Who sets something aside lowers its due time
 * after his commit; the holder raises it to what he found, unless it was lowered
 * since he began to look.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/spin.h"

#include "log/position.h"
#include "log/wakeup.h"
#include "message_bus/know/lane.h"

/*
 * To be read before the snapshot with which due messages are looked for.
 */
uint32
lane_due_version(BusLane *lane)
{
	uint32		version;

	SpinLockAcquire(&lane->mutex);
	version = lane->due_version;
	SpinLockRelease(&lane->mutex);
	return version;
}

/*
 * Notes when the lane must be looked at again, as the holder found; void if
 * something has been set aside since version.
 */
void
lane_due_computed(BusLane *lane, uint32 version, TimestampTz due, bool held)
{
	SpinLockAcquire(&lane->mutex);
	if (lane->due_version == version)
	{
		lane->next_due = due;
		lane->held = held;
	}
	SpinLockRelease(&lane->mutex);
}

/*
 * Notes that something committed is due then; DUE_WHEN_RELEASED: that it waits
 * for a breaker.
 */
void
lane_due_lower(BusLane *lane, TimestampTz due)
{
	SpinLockAcquire(&lane->mutex);
	if (due == DUE_WHEN_RELEASED)
		lane->held = true;
	else
		lane->next_due = Min(lane->next_due, due);
	lane->due_version++;
	SpinLockRelease(&lane->mutex);
	if (due != DUE_WHEN_RELEASED)
		lane_lower_worker(due);
}

/*
 * Sees to it that the worker looks at that time, if not earlier.
 */
void
lane_lower_worker(TimestampTz due)
{
	BusDatabase *database = bus_database_known();

	/* int64 minima would be great as uint64. */
	due = Max(due, 0);
	atomic_lower(&database->next_due, (uint64) due);
	wakeup_worker_before(due);
}

/*
 * A lane whose number comes from a table, where somebody may have written what
 * he liked.
 */
BusLane *
lane_checked(const Endpoint *endpoint, int32 number)
{
	if (unlikely(number < 0 || number >= endpoint->shared->lane_count))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("endpoint %d has no lane %d", endpoint->id, number),
				 errhint("Type SELECT * FROM message_bus.verify().")));
	return lane_get(endpoint, number);
}

/*
 * The key of a lane in layer log.
 */
uint32
lane_key(int32 endpoint_id, int32 lane)
{
	return (uint32) endpoint_id << 8 | (uint32) lane;
}

/*
 * Wakes whoever waits for messages of a lane, the database's runners if they serve
 * the endpoint.
 */
void
bus_wake_consumers(const Endpoint *endpoint, int32 lane)
{
	wakeup_waiters(LOG_MESSAGE_BUS, lane_key(endpoint->id, lane));
	if (pg_atomic_read_u32(&endpoint->shared->served) != 0)
		wakeup_worker(WAKE_FOR_SAGAS);
}

/*
 * Listeners of the endpoint have something to hear, which others see already.  Whether
 * the worker is to be woken for it: not for each message that comes before it has told
 * them.
 */
bool
bus_has_news(BusEndpoint *endpoint)
{
	pg_atomic_uint32 *news = &bus_database_known()->news;

	if (pg_atomic_exchange_u32(&endpoint->notify, 1) != 0 &&
		pg_atomic_read_u32(news) != NEWS_NONE)
		return !wakeup_worker_is_there();
	(void) pg_atomic_exchange_u32(news, NEWS_UNTOLD);
	return true;
}
