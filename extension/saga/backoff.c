/*
 * backoff.c
 *		Delays that grow: timers that are set again, commands that are resent.
 *
 * The policies are those of the message bus.  Their random factor is drawn from
 * a hash of the instance and the attempt, not from a generator, so that the same
 * history gives the same times again; instances still do not march in step.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "pg/clock.h"
#include "saga/backoff.h"

static const struct
{
	const char *name;
	BackoffKind kind;
}			kinds[] = {
	{"none", BACKOFF_NONE},
	{"immediate", BACKOFF_IMMEDIATE},
	{"interval", BACKOFF_INTERVAL},
	{"incremental", BACKOFF_INCREMENTAL},
	{"exponential", BACKOFF_EXPONENTIAL},
};

static int64 required_interval(const Tree *policy, const char *key);
static double unit_random(uint64 seed, int attempt);

/*
 * Reads a policy such as {"kind": "exponential", "limit": 5, "min": "1 s",
 * "max": "30 s", "delta": "3 s"}.
 */
Backoff *
backoff_from_tree(const Tree *policy)
{
	Backoff    *backoff = palloc0(sizeof(Backoff));
	char	   *kind = tree_get_text(policy, "kind");
	Tree	   *intervals = tree_get(policy, "intervals");
	bool		known = false;

	for (int i = 0; kind != NULL && i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].name, kind) == 0)
		{
			backoff->kind = kinds[i].kind;
			known = true;
		}
	}
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("a policy must have a kind"),
				 errhint("There are none, immediate, interval, incremental and exponential.")));
	backoff->limit = (int) tree_to_int(tree_get(policy, "limit"), 0);
	switch (backoff->kind)
	{
		case BACKOFF_NONE:
		case BACKOFF_IMMEDIATE:
			break;
		case BACKOFF_INTERVAL:
			if (intervals == NULL || intervals->type != TREE_ARRAY || intervals->count == 0)
			{
				backoff->min = required_interval(policy, "interval");
				break;
			}
			backoff->interval_count = intervals->count;
			backoff->intervals = palloc(intervals->count * sizeof(int64));
			for (int i = 0; i < intervals->count; i++)
				backoff->intervals[i] =
					interval_milliseconds(tree_to_text(intervals->as.items[i]));
			break;
		case BACKOFF_INCREMENTAL:
			backoff->min = required_interval(policy, "initial");
			backoff->delta = required_interval(policy, "increment");
			break;
		case BACKOFF_EXPONENTIAL:
			backoff->min = required_interval(policy, "min");
			backoff->max = required_interval(policy, "max");
			backoff->delta = required_interval(policy, "delta");
			break;
	}
	return backoff;
}

/*
 * The delay before the given attempt, which counts from 0, in milliseconds.
 */
int64
backoff_delay(const Backoff *backoff, int attempt, uint64 seed)
{
	int			step = backoff->limit > 0 ? Min(attempt, backoff->limit - 1) : attempt;
	double		low;
	double		high;
	double		delay;

	switch (backoff->kind)
	{
		case BACKOFF_INTERVAL:
			if (backoff->interval_count > 0)
				return backoff->intervals[Min(attempt, backoff->interval_count - 1)];
			return backoff->min;
		case BACKOFF_INCREMENTAL:
			return backoff->min + backoff->delta * attempt;
		case BACKOFF_EXPONENTIAL:
			low = floor(0.8 * backoff->delta);
			high = floor(1.2 * backoff->delta);
			delay = backoff->min + ldexp(low + (high - low) * unit_random(seed, -1), Min(step, 40));
			delay = Min(delay, (double) backoff->max);
			return (int64) (delay * (0.75 + 0.5 * unit_random(seed, attempt)));
		default:
			return 0;
	}
}

/*
 * An interval in milliseconds; months count 30 days.
 */
int64
interval_milliseconds(const char *text)
{
	Interval   *interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
																 ObjectIdGetDatum(InvalidOid),
																 Int32GetDatum(-1)));

	return clock_microseconds(interval, text) / 1000;
}

static int64
required_interval(const Tree *policy, const char *key)
{
	char	   *text = tree_get_text(policy, key);

	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE), errmsg("the policy lacks \"%s\"", key)));
	return interval_milliseconds(text);
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
