/*
 * delay.c
 *		Delays of timers and resends: the policies of pg/backoff.c.
 *
 * Their random numbers are drawn from a hash of the instance and the attempt, not
 * from a generator, so that the same history gives the same times again; instances
 * still do not march in step.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"

#include "base/errors.h"
#include "saga/value/delay.h"

static const FieldsOwner owner = {"policy", ERRCODE_SG_TEMPLATE, NULL};

static double unit_random(uint64 seed, int attempt);

/*
 * Reads a policy; without a limit it has no end.  SG005 says what is wrong with it.
 */
Backoff *
delay_policy(const Tree *policy)
{
	Backoff    *backoff = palloc(sizeof(Backoff));

	backoff_parse(tree_to_jsonb(policy), &owner, true, backoff);
	return backoff;
}

/*
 * The delay before the given attempt, which counts from 0, in milliseconds.
 */
int64
delay_of(const Backoff *backoff, int attempt, uint64 seed)
{
	int64		delay = backoff_delay(backoff, Min(attempt, backoff->limit - 1),
									  unit_random(seed, -1));

	if (backoff->kind != BACKOFF_EXPONENTIAL)
		return delay;
	return backoff_spread(delay, unit_random(seed, attempt));
}

/*
 * A number in [0, 1) that seed and attempt determine.
 */
static double
unit_random(uint64 seed, int attempt)
{
	uint64		hash = hash_bytes_uint32_extended((uint32) attempt, seed);

	return ldexp((double) (hash >> 11), -53);
}
