/*
 * resilience.c
 *		Back-off, and the circuit breaker for calls to the outside.
 *
 * The breaker is the seed's: closed, it counts attempts and failures in a
 * tumbling window; it trips when attempts exceed active_threshold and the
 * failures reach trip_threshold per cent; after reset_ms one probe at a time
 * passes; a failed probe opens it again, active_threshold good ones close it.
 * Calls about the same subject count once, as the last of them went: something
 * that fails however often it is tried says nothing about the others.
 */
#include "lib/resilience.h"

#include <limits.h>
#include <string.h>

static void count(Breaker *breaker, uint64_t subject, bool success);
static void trip(Breaker *breaker, uint64_t now_ms);

long
backoff_delay(int attempt, long min_ms, long max_ms, double fraction)
{
	long		delay = min_ms;

	for (int i = 0; i < attempt && delay < max_ms; i++)
		delay *= 2;
	if (delay > max_ms)
		delay = max_ms;
	return (long) ((double) delay * (0.5 + fraction / 2));
}

void
breaker_init(Breaker *breaker, BreakerPolicy policy)
{
	memset(breaker, 0, sizeof(*breaker));
	breaker->policy = policy;
}

/*
 * Whether a call may be made now.  One that was allowed must be followed by
 * breaker_record, since a half-open breaker lets one probe pass at a time.
 */
bool
breaker_allows(Breaker *breaker, uint64_t now_ms)
{
	if (breaker->state == BREAKER_OPEN && now_ms >= breaker->retry_at)
	{
		breaker->state = BREAKER_HALF_OPEN;
		breaker->successes = 0;
		breaker->probing = false;
	}
	switch (breaker->state)
	{
		case BREAKER_CLOSED:
			return true;
		case BREAKER_HALF_OPEN:
			if (breaker->probing)
				return false;
			breaker->probing = true;
			return true;
		case BREAKER_OPEN:
			break;
	}
	return false;
}

/*
 * How a call went that breaker_allows has allowed.  subject is what it was about,
 * never 0.
 */
void
breaker_record(Breaker *breaker, uint64_t subject, bool success, uint64_t now_ms)
{
	const BreakerPolicy *policy = &breaker->policy;

	if (breaker->state == BREAKER_OPEN)
		return;					/* a call begun before it tripped */
	if (breaker->state == BREAKER_HALF_OPEN)
	{
		breaker->probing = false;
		if (!success)
			trip(breaker, now_ms);
		else if (++breaker->successes >= policy->active_threshold)
			breaker_init(breaker, *policy);
		return;
	}
	if (breaker->window_start == 0 ||
		now_ms - breaker->window_start >= (uint64_t) policy->tracking_ms)
	{
		breaker->window_start = now_ms;
		breaker->attempts = breaker->failures = 0;
		memset(breaker->subjects, 0, sizeof(breaker->subjects));
	}
	count(breaker, subject, success);
	if (breaker->attempts > policy->active_threshold &&
		100 * breaker->failures / breaker->attempts >= policy->trip_threshold)
		trip(breaker, now_ms);
}

/* How many calls it would allow now, for those who can put off to begin any. */
int
breaker_room(const Breaker *breaker, uint64_t now_ms)
{
	switch (breaker->state)
	{
		case BREAKER_CLOSED:
			return INT_MAX;
		case BREAKER_HALF_OPEN:
			return breaker->probing ? 0 : 1;
		case BREAKER_OPEN:
			break;
	}
	return now_ms >= breaker->retry_at ? 1 : 0;
}

const char *
breaker_state_name(BreakerState state)
{
	static const char *const names[] = {"closed", "open", "half_open"};

	return names[state];
}

static void
count(Breaker *breaker, uint64_t subject, bool success)
{
	BreakerSubject *newest;

	for (int i = 0; i < BREAKER_SUBJECTS; i++)
		if (breaker->subjects[i].name == subject)
		{
			breaker->failures += (success ? 0 : 1) - (breaker->subjects[i].failed ? 1 : 0);
			breaker->subjects[i].failed = !success;
			return;
		}
	newest = &breaker->subjects[breaker->attempts % BREAKER_SUBJECTS];
	*newest = (BreakerSubject) {subject, !success};
	breaker->attempts++;
	breaker->failures += success ? 0 : 1;
}

static void
trip(Breaker *breaker, uint64_t now_ms)
{
	breaker->state = BREAKER_OPEN;
	breaker->retry_at = now_ms + (uint64_t) breaker->policy.reset_ms;
	breaker->window_start = 0;
	breaker->probing = false;
}
