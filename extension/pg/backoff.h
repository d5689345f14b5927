/*
 * backoff.h
 *		How long to wait before the next try: what a policy says, and the arithmetic.
 */
#ifndef ECOMMERCE_PG_BACKOFF_H
#define ECOMMERCE_PG_BACKOFF_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "pg/fields.h"

typedef enum BackoffKind
{
	BACKOFF_NONE,
	BACKOFF_IMMEDIATE,
	BACKOFF_INTERVAL,
	BACKOFF_INCREMENTAL,
	BACKOFF_EXPONENTIAL
} BackoffKind;

/* The limit of a policy that names none, where that is allowed. */
#define BACKOFF_ENDLESS PG_INT32_MAX

/* Times in milliseconds. */
typedef struct Backoff
{
	BackoffKind kind;
	int32		limit;			/* further tries at most */
	int64		first;			/* min, initial or interval */
	int64		step;			/* delta or increment */
	int64		max;
	int32		delay_count;	/* listed intervals, or drawn delays */
	int32	   *delays;
} Backoff;

extern void backoff_parse(Jsonb *json, const FieldsOwner *owner, bool endless, Backoff *backoff);
extern int64 backoff_delay(const Backoff *backoff, int attempt, double draw);
extern int64 backoff_spread(int64 delay, double draw);

#endif
