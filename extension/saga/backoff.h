/*
 * backoff.h
 *		Delays that grow: timers that are set again, commands that are resent.
 */
#ifndef ECOMMERCE_SAGA_BACKOFF_H
#define ECOMMERCE_SAGA_BACKOFF_H

#include "postgres.h"

#include "saga/tree.h"

typedef enum BackoffKind
{
	BACKOFF_NONE,
	BACKOFF_IMMEDIATE,
	BACKOFF_INTERVAL,
	BACKOFF_INCREMENTAL,
	BACKOFF_EXPONENTIAL
} BackoffKind;

/* All delays in milliseconds. */
typedef struct Backoff
{
	BackoffKind kind;
	int			limit;			/* how often at most; 0: without end */
	int64		min;			/* also: interval, or initial */
	int64		max;
	int64		delta;			/* also: increment */
	int			interval_count;
	int64	   *intervals;
} Backoff;

extern Backoff *backoff_from_tree(const Tree *policy);
extern int64 backoff_delay(const Backoff *backoff, int attempt, uint64 seed);
extern int64 interval_milliseconds(const char *text);

#endif
