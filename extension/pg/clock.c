/*
 * clock.c
 *		The time as workers and the bus see it.
 *
 * Normally the wall clock.  A caller that replays the past (a test, or a timer
 * that fires "as of" its due time) sets an instant that stands until it is set
 * back, or the transaction or savepoint ends (scoped.c).  Backend-local.
 *
 * Whoever takes a time from outside passes it through here: one that never comes
 * would wait for ever, or overflow what is added to it.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/order.h"
#include "pg/clock.h"
#include "pg/scoped.h"

static void refuse_infinite(const char *what) pg_attribute_noreturn();

static Scoped scoped;

/*
 * The instant set by clock_set(), else the wall clock.
 */
TimestampTz
clock_now(void)
{
	TimestampTz instead = DatumGetTimestampTz(scoped_get(&scoped));

	return instead != 0 ? instead : GetCurrentTimestamp();
}

/*
 * Sets the instant that clock_now() gives in this transaction, 0 for the wall
 * clock.  Returns what was set before, so that calls can nest.
 */
TimestampTz
clock_set(TimestampTz instead)
{
	TimestampTz before = DatumGetTimestampTz(scoped_get(&scoped));

	if (before != instead)
		scoped_set(&scoped, TimestampTzGetDatum(instead));
	return before;
}

/*
 * The time itself; 22008 if it never comes.
 */
TimestampTz
clock_finite(TimestampTz time, const char *what)
{
	if (TIMESTAMP_NOT_FINITE(time))
		refuse_infinite(what);
	return time;
}

/*
 * The interval itself; 22008 if it never ends.
 */
const Interval *
clock_finite_interval(const Interval *interval, const char *what)
{
	if (INTERVAL_NOT_FINITE(interval))
		refuse_infinite(what);
	return interval;
}

/*
 * The time so long after another; 22008 if that never comes.
 */
TimestampTz
clock_after(TimestampTz from, const Interval *interval, const char *what)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(from),
												   IntervalPGetDatum(clock_finite_interval(interval,
																						   what))));
}

/*
 * The length of an interval whose months have 30 days; 22008 if adding it to now
 * could leave the calendar.
 */
int64
clock_microseconds(const Interval *interval, const char *what)
{
	int64		days = (int64) interval->month * DAYS_PER_MONTH + interval->day;

	(void) clock_finite_interval(interval, what);
	if (llabs(days) > CLOCK_LONGEST_DAYS ||
		llabs(interval->time / USECS_PER_DAY) > CLOCK_LONGEST_DAYS)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
				 errmsg("%s is longer than %d years", what, CLOCK_LONGEST_DAYS / 365),
				 errhint("Pass something like '30 s'.")));
	return interval->time + days * USECS_PER_DAY;
}

static void
refuse_infinite(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("%s is not a finite time", what),
			 errhint("Pass a time that comes, or leave it out.")));
}

/*
 * Milliseconds from the wall clock's now to a time, for WaitLatch(), which takes
 * no more than INT_MAX: whoever waits for something later looks again after 24
 * days.
 */
long
clock_timeout(TimestampTz until)
{
	return lesser(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until), INT_MAX);
}

PG_FUNCTION_INFO_V1(ecommerce_test_clock);
/*
 * ecommerce_test_clock(timestamptz): clock_set() for tests, which declare it
 * themselves; no function of the extension is it.
 */
Datum
ecommerce_test_clock(PG_FUNCTION_ARGS)
{
	(void) clock_set(PG_GETARG_TIMESTAMPTZ(0));
	PG_RETURN_VOID();
}
