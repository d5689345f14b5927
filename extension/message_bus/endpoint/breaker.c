/*
 * breaker.c
 *		Circuit breakers, per endpoint and message type, shared by the cluster.
 *
 *		closed --(attempts > active and failures >= threshold)--> open
 *		open --(reset_interval over, at the next receive)--> half open
 *		half open --(a probe fails)--> open
 *		half open --(active_threshold probes succeed)--> closed
 *
 * What is counted are messages, by the outcome of their first attempt, and
 * probes: a message that fails again says nothing new about what it needs.  A
 * failure for good (not retryable) is the message's own and counts for nothing.
 * A probe is a message that has not failed yet, if there is one.
 *
 * Lock protocol: the endpoint's LWLock guards its breakers; none is ever removed, but
 * there are only so many: message types beyond that share one.  What transactions
 * change here, and when, is in breaker_note.c, what is on disk in breaker_table.c.
 *
 * A crash loses the counts of the window that runs, never a state or a probe's
 * success that was written down.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "log/wakeup.h"
#include "message_bus/endpoint/breaker.h"
#include "message_bus/know/lane.h"
#include "message_bus/place/aside.h"

/* Shared by message types beyond the limit. */
#define BREAKER_OF_OTHERS "*"

#define LANE_BIT(lane) (UINT64CONST(1) << ((lane) % 64))

static dsa_pointer *bucket_of(const Endpoint *endpoint, const char *message_type);
static BusBreaker *find_in_bucket(dsa_pointer bucket, const char *message_type);
static void half_open(BusBreaker *breaker);
static bool wants_probe(const BusBreaker *breaker, TimestampTz now);
static bool count_closed(BusBreaker *breaker, const BreakerPolicy *policy,
						 const BreakerOutcome *outcome);
static void open_breaker(BusBreaker *breaker, const BreakerPolicy *policy, TimestampTz now);
static void report_open(const Endpoint *endpoint, const BreakerPolicy *policy,
						BreakerChange change, const BusBreaker *breaker,
						const char *message_type);

/*
 * Whether a message of that type may be delivered.  A probe that is admitted is
 * this process's, until whoever asked gives it back; see breaker_note.c.
 */
BreakerAdmission
breaker_admission(const Endpoint *endpoint, const char *message_type, bool first_attempt,
				  TimestampTz now, BusBreaker **probed)
{
	BreakerAdmission admission = BREAKER_HOLDS;
	BusBreaker *breaker;

	LWLockAcquire(&endpoint->shared->lock, LW_EXCLUSIVE);
	breaker = breaker_find(endpoint, message_type, false);
	if (breaker == NULL || breaker->state == BREAKER_CLOSED)
		admission = BREAKER_ADMITS;
	else if (wants_probe(breaker, now))
	{
		half_open(breaker);
		if (first_attempt || breaker->probe_any)
		{
			admission = BREAKER_ADMITS_PROBE;
			breaker->probe_any = false;
			breaker->probe_holder = MyProcPid;
			*probed = breaker;
		}
		else
			admission = BREAKER_PREFERS_OTHERS;
	}
	LWLockRelease(&endpoint->shared->lock);
	return admission;
}

static void
half_open(BusBreaker *breaker)
{
	if (breaker->state != BREAKER_OPEN)
		return;
	breaker->state = BREAKER_HALF_OPEN;
	breaker->probe_successes = 0;
	breaker->probe_any = false;
	breaker->dirty = true;
}

/*
 * The same without taking the probe.
 */
BreakerAdmission
breaker_looks(const Endpoint *endpoint, const char *message_type, bool first_attempt,
			  TimestampTz now)
{
	BreakerAdmission admission = BREAKER_HOLDS;
	BusBreaker *breaker;

	if (!endpoint->breaker.enabled || pg_atomic_read_u32(&endpoint->shared->tripped) == 0)
		return BREAKER_ADMITS;
	LWLockAcquire(&endpoint->shared->lock, LW_SHARED);
	breaker = breaker_find(endpoint, message_type, false);
	if (breaker == NULL || breaker->state == BREAKER_CLOSED)
		admission = BREAKER_ADMITS;
	else if (wants_probe(breaker, now))
		admission = first_attempt || (breaker->state == BREAKER_HALF_OPEN && breaker->probe_any)
						? BREAKER_ADMITS_PROBE
						: BREAKER_PREFERS_OTHERS;
	LWLockRelease(&endpoint->shared->lock);
	return admission;
}

static bool
wants_probe(const BusBreaker *breaker, TimestampTz now)
{
	switch (breaker->state)
	{
		case BREAKER_CLOSED:
			return false;
		case BREAKER_OPEN:
			return now >= breaker->retry_at;
		case BREAKER_HALF_OPEN:
			return breaker->probe_holder == 0 && breaker->probe_until <= now;
	}
	return false;
}

/*
 * No message that has not failed yet was found: any may be the next probe.
 * True if one is wanted.
 */
bool
breaker_admit_any(const Endpoint *endpoint, TimestampTz now)
{
	bool		wanted = false;

	LWLockAcquire(&endpoint->shared->lock, LW_EXCLUSIVE);
	for (BusBreaker *breaker = bus_breaker(endpoint->shared->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		if (!wants_probe(breaker, now))
			continue;
		half_open(breaker);
		wanted = breaker->probe_any = true;
	}
	LWLockRelease(&endpoint->shared->lock);
	return wanted;
}

/*
 * Whether some message of a lane that a breaker held may go now: as a probe, or
 * because its breaker has closed.
 */
bool
breaker_releases(const Endpoint *endpoint, int32 lane, TimestampTz now)
{
	bool		releases = false;

	if (!endpoint->breaker.enabled || pg_atomic_read_u32(&endpoint->shared->tripped) == 0)
		return true;
	LWLockAcquire(&endpoint->shared->lock, LW_SHARED);
	for (BusBreaker *breaker = bus_breaker(endpoint->shared->breakers);
		 breaker != NULL && !releases; breaker = bus_breaker(breaker->next))
	{
		releases = wants_probe(breaker, now) ||
			(breaker->state == BREAKER_CLOSED &&
			 (breaker->releasing[lane / 64] & LANE_BIT(lane)) != 0);
	}
	LWLockRelease(&endpoint->shared->lock);
	return releases;
}

/*
 * The lane's holder has seen all that was held there: what is left is for others
 * than the breakers that are closed.
 */
void
breaker_has_released(const Endpoint *endpoint, int32 lane)
{
	if (pg_atomic_read_u32(&endpoint->shared->tripped) == 0)
		return;
	LWLockAcquire(&endpoint->shared->lock, LW_EXCLUSIVE);
	for (BusBreaker *breaker = bus_breaker(endpoint->shared->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		if (breaker->state == BREAKER_CLOSED)
			breaker->releasing[lane / 64] &= ~LANE_BIT(lane);
	}
	LWLockRelease(&endpoint->shared->lock);
}

/*
 * When the next open breaker lets a probe through; NEVER_DUE if none is open.
 */
TimestampTz
breaker_next_retry(const Endpoint *endpoint)
{
	TimestampTz next = NEVER_DUE;

	if (pg_atomic_read_u32(&endpoint->shared->tripped) == 0)
		return next;
	LWLockAcquire(&endpoint->shared->lock, LW_SHARED);
	for (BusBreaker *breaker = bus_breaker(endpoint->shared->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		if (breaker->state == BREAKER_OPEN)
			next = Min(next, breaker->retry_at);
	}
	LWLockRelease(&endpoint->shared->lock);
	return next;
}

/*
 * Counts an outcome, in a breaker whose lock is held or in a copy of one.
 */
BreakerChange
breaker_count(BusBreaker *breaker, const BreakerPolicy *policy, const BreakerOutcome *outcome)
{
	if (breaker->state == BREAKER_CLOSED)
		return count_closed(breaker, policy, outcome) ? BREAKER_OPENED : BREAKER_UNCHANGED;
	if (breaker->state != BREAKER_HALF_OPEN || !outcome->probe)
		return BREAKER_UNCHANGED;
	breaker->probe_until = 0;
	if (outcome->failures > 0)
	{
		open_breaker(breaker, policy, outcome->at);
		return BREAKER_OPENED_AGAIN;
	}
	breaker->dirty |= outcome->attempts > 0;
	breaker->probe_successes += outcome->attempts;
	return breaker->probe_successes >= policy->active_threshold ? breaker_close(breaker)
																: BREAKER_UNCHANGED;
}

/*
 * True if that opens it.
 */
static bool
count_closed(BusBreaker *breaker, const BreakerPolicy *policy, const BreakerOutcome *outcome)
{
	if (outcome->attempts > 0 &&
		(breaker->window_start == 0 ||
		 outcome->at - breaker->window_start >= policy->tracking_period))
	{
		breaker->window_start = outcome->at;
		breaker->attempts = breaker->failures = 0;
	}
	for (int i = 0; i < outcome->attempts; i++)
	{
		breaker->attempts++;
		if (outcome->failures > 0)
			breaker->failures++;
		if (breaker->attempts > policy->active_threshold &&
			(int64) breaker->failures * 100 / breaker->attempts >= policy->trip_threshold)
		{
			open_breaker(breaker, policy, outcome->at);
			return true;
		}
	}
	return false;
}

static void
open_breaker(BusBreaker *breaker, const BreakerPolicy *policy, TimestampTz now)
{
	breaker->state = BREAKER_OPEN;
	breaker->opened_at = now;
	breaker->retry_at = now + policy->reset_interval;
	breaker->probe_successes = 0;
	breaker->dirty = true;
}

/*
 * Closes a breaker whose lock is held, or a copy of one.
 */
BreakerChange
breaker_close(BusBreaker *breaker)
{
	bool		was_closed = breaker->state == BREAKER_CLOSED;

	breaker->state = BREAKER_CLOSED;
	memset(breaker->releasing, 0xFF, sizeof(breaker->releasing));
	breaker->attempts = breaker->failures = breaker->probe_successes = 0;
	breaker->window_start = breaker->opened_at = breaker->retry_at = 0;
	breaker->probe_until = 0;
	breaker->dirty = true;
	return was_closed ? BREAKER_UNCHANGED : BREAKER_HAS_CLOSED;
}

/*
 * Counts the endpoint's breakers that are not closed; the lock is held.
 */
void
breaker_count_tripped(const Endpoint *endpoint, BusBreakerState before, BusBreakerState after)
{
	if (before == BREAKER_CLOSED && after != BREAKER_CLOSED)
		pg_atomic_fetch_add_u32(&endpoint->shared->tripped, 1);
	else if (before != BREAKER_CLOSED && after == BREAKER_CLOSED)
		pg_atomic_fetch_sub_u32(&endpoint->shared->tripped, 1);
}

/*
 * Tells who waits, and the log, what has become of a breaker.  breaker may be
 * a copy.
 */
void
breaker_announce(const Endpoint *endpoint, const BreakerPolicy *policy, BreakerChange change,
				 const BusBreaker *breaker, const char *message_type)
{
	if (change == BREAKER_HAS_CLOSED)
	{
		/* What was held can be received: consumers that wait or listen hear it. */
		(void) bus_has_news(endpoint->shared);
		bus_wake_consumers(endpoint, 0);
		wakeup_worker(WAKE_FOR_LOG(LOG_MESSAGE_BUS));
		ereport(LOG,
				(errmsg("circuit breaker of endpoint \"%s\" for \"%s\" has closed",
						endpoint->name, message_type)));
	}
	else if (change != BREAKER_UNCHANGED)
	{
		lane_lower_worker(breaker->retry_at);
		report_open(endpoint, policy, change, breaker, message_type);
	}
}

static void
report_open(const Endpoint *endpoint, const BreakerPolicy *policy, BreakerChange change,
			const BusBreaker *breaker, const char *message_type)
{
	double		seconds = (double) policy->reset_interval / USECS_PER_SEC;

	ereport(WARNING,
			(errmsg("circuit breaker of endpoint \"%s\" for \"%s\" has opened%s",
					endpoint->name, message_type,
					change == BREAKER_OPENED_AGAIN ? " again" : ""),
			 change == BREAKER_OPENED_AGAIN
				 ? errdetail("A probe failed; what waits is held for another %.0f s.", seconds)
				 : errdetail("Of %d messages %d failed at once; what follows is held for %.0f s.",
							 breaker->attempts, breaker->failures, seconds),
			 errhint("When the cause is gone, type SELECT message_bus.reset_breaker(%s, %s).",
					 quote_literal_cstr(endpoint->name),
					 quote_literal_cstr(message_type))));
}

/*
 * An endpoint's breaker for a type; the caller has the lock.  Anybody can make types
 * up: those that come when there are very many share one.
 */
BusBreaker *
breaker_find(const Endpoint *endpoint, const char *message_type, bool create)
{
	dsa_pointer *bucket = bucket_of(endpoint, message_type);
	BusBreaker *breaker = find_in_bucket(*bucket, message_type);
	dsa_pointer made;

	if (breaker == NULL && endpoint->shared->breaker_count >= MAX_BREAKERS)
	{
		message_type = BREAKER_OF_OTHERS;
		bucket = bucket_of(endpoint, message_type);
		breaker = find_in_bucket(*bucket, message_type);
	}
	if (breaker != NULL || !create)
		return breaker;
	made = bus_breaker_create(message_type);
	breaker = bus_breaker(made);
	breaker->next_in_bucket = *bucket;
	*bucket = made;
	breaker->next = endpoint->shared->breakers;
	/* Some walk through the list without the lock. */
	pg_write_barrier();
	endpoint->shared->breakers = made;
	endpoint->shared->breaker_count++;
	return breaker;
}

static dsa_pointer *
bucket_of(const Endpoint *endpoint, const char *message_type)
{
	uint32		hash = hash_bytes((const unsigned char *) message_type, strlen(message_type));

	return &endpoint->shared->breaker_buckets[hash % BREAKER_BUCKETS];
}

static BusBreaker *
find_in_bucket(dsa_pointer bucket, const char *message_type)
{
	BusBreaker *breaker = bus_breaker(bucket);

	while (breaker != NULL && strcmp(breaker->message_type, message_type) != 0)
		breaker = bus_breaker(breaker->next_in_bucket);
	return breaker;
}
