/*
 * clock.h
 *		The time as workers and the bus see it, so that tests can own it.
 */
#ifndef ECOMMERCE_PG_CLOCK_H
#define ECOMMERCE_PG_CLOCK_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * The longest interval that may be added to now: twice of it is far less than
 * int64 microseconds hold, and the calendar.
 */
#define CLOCK_LONGEST_DAYS (1000 * 365)

extern TimestampTz clock_now(void);
extern TimestampTz clock_set(TimestampTz instead);
extern long clock_timeout(TimestampTz until);

/* What callers give as a time: 22008 unless it is one that comes. */
extern TimestampTz clock_finite(TimestampTz time, const char *what);
extern const Interval *clock_finite_interval(const Interval *interval, const char *what);
extern TimestampTz clock_after(TimestampTz from, const Interval *interval, const char *what);
extern int64 clock_microseconds(const Interval *interval, const char *what);

#endif
