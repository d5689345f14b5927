/*
 * backoff.c
 *		How long to wait before the next try: what a policy says, and the arithmetic.
 *
 * Exponential follows the seed's library: low = trunc(0.8 delta), high =
 * trunc(1.2 delta); d[i] = min(min + 2^i * R, max) with R uniform in [low, high);
 * try k then waits d[k] * U with U uniform in [0.75, 1.25).  k counts from 0, delays
 * are whole milliseconds.  Whoever waits draws R and U, numbers from [0, 1): the bus
 * at random, R once per endpoint; a saga from its own identity, so that the same
 * history gives the same times again.
 */
#include "postgres.h"

#include <math.h>

#include "pg/backoff.h"

/* 2^i beyond which any max has long been passed. */
#define MAX_DOUBLINGS 40

/* A hundred years: what comes out can still be added to a time. */
#define MAX_DELAY 3.15e12

#define MAX_MEMBERS 6

enum
{
	POLICY_KIND,
	POLICY_LIMIT,
	POLICY_MIN,
	POLICY_INTERVAL,
	POLICY_INITIAL,
	POLICY_DELTA,
	POLICY_INCREMENT,
	POLICY_MAX,
	POLICY_INTERVALS
};

static const Field fields[] = {
	[POLICY_KIND] = {"kind", FIELD_NAME},
	[POLICY_LIMIT] = {"limit", FIELD_COUNT},
	[POLICY_MIN] = {"min", FIELD_INTERVAL},
	[POLICY_INTERVAL] = {"interval", FIELD_INTERVAL},
	[POLICY_INITIAL] = {"initial", FIELD_INTERVAL},
	[POLICY_DELTA] = {"delta", FIELD_INTERVAL},
	[POLICY_INCREMENT] = {"increment", FIELD_INTERVAL},
	[POLICY_MAX] = {"max", FIELD_INTERVAL},
	[POLICY_INTERVALS] = {"intervals", FIELD_INTERVALS},
};

static const struct
{
	const char *name;
	BackoffKind kind;
	const char *members[MAX_MEMBERS];
}			kinds[] = {
	{"none", BACKOFF_NONE, {"kind"}},
	{"immediate", BACKOFF_IMMEDIATE, {"kind", "limit"}},
	{"interval", BACKOFF_INTERVAL, {"kind", "limit", "interval"}},
	{"incremental", BACKOFF_INCREMENTAL, {"kind", "limit", "initial", "increment"}},
	{"exponential", BACKOFF_EXPONENTIAL, {"kind", "limit", "min", "max", "delta"}},
};

/* An interval for each try, and so many tries; without end, the last one again and again. */
static const char *const listed[] = {"kind", "intervals", NULL};
static const char *const listed_endless[] = {"kind", "?limit", "intervals", NULL};

static BackoffKind find_kind(const FieldsOwner *owner, const FieldValue *values, bool endless);
static void check_limit(const FieldsOwner *owner, const FieldValue *values, bool endless);

/*
 * Reads a policy such as {"kind": "exponential", "limit": 5, "min": "1 s", "max":
 * "30 s", "delta": "3 s"}; what is not one is the owner's error.  Endless: the limit
 * may be missing, but is not 0.
 */
void
backoff_parse(Jsonb *json, const FieldsOwner *owner, bool endless, Backoff *backoff)
{
	FieldValue	values[lengthof(fields)];

	memset(backoff, 0, sizeof(*backoff));
	fields_read(json, owner, fields, lengthof(fields), values);
	backoff->kind = find_kind(owner, values, endless);
	check_limit(owner, values, endless);
	/* Of those that mean the same, a kind has one. */
	backoff->limit = values[POLICY_LIMIT].given ? values[POLICY_LIMIT].number
					 : endless					? BACKOFF_ENDLESS
												: 0;
	backoff->first = (values[POLICY_MIN].number + values[POLICY_INTERVAL].number +
					  values[POLICY_INITIAL].number) /
		1000;
	backoff->step = (values[POLICY_DELTA].number + values[POLICY_INCREMENT].number) / 1000;
	backoff->max = values[POLICY_MAX].number / 1000;
	if (!values[POLICY_INTERVALS].given)
		return;
	backoff->delay_count = values[POLICY_INTERVALS].number;
	if (!endless)
		backoff->limit = backoff->delay_count;
	backoff->delays = palloc(backoff->delay_count * sizeof(int32));
	for (int i = 0; i < backoff->delay_count; i++)
		backoff->delays[i] = (int32) Min(values[POLICY_INTERVALS].list[i] / 1000, PG_INT32_MAX);
}

/*
 * Milliseconds to wait before a try, counted from 0; beyond the last listed
 * interval that one.  draw is R's.
 */
int64
backoff_delay(const Backoff *backoff, int attempt, double draw)
{
	double		low = floor(0.8 * backoff->step);
	double		high = floor(1.2 * backoff->step);

	switch (backoff->kind)
	{
		case BACKOFF_INTERVAL:
			if (backoff->delay_count > 0)
				return backoff->delays[Min(attempt, backoff->delay_count - 1)];
			return Min(backoff->first, (int64) MAX_DELAY);
		case BACKOFF_INCREMENTAL:
			return (int64) Min(backoff->first + (double) backoff->step * attempt, MAX_DELAY);
		case BACKOFF_EXPONENTIAL:
			return (int64) Min(backoff->first + ldexp(floor(low + (high - low) * draw),
													  Min(attempt, MAX_DOUBLINGS)),
							   (double) Min(backoff->max, PG_INT32_MAX));
		default:
			return 0;
	}
}

/*
 * What an exponential delay becomes each time, so that many do not march in step.
 * draw is U's.
 */
int64
backoff_spread(int64 delay, double draw)
{
	return (int64) (delay * (0.75 + 0.5 * draw));
}

static BackoffKind
find_kind(const FieldsOwner *owner, const FieldValue *values, bool endless)
{
	const char *name = values[POLICY_KIND].name;
	const char *members[MAX_MEMBERS];
	const char *const *expected;

	if (name == NULL)
		fields_refuse(owner, "It lacks the member \"%s\".", fields[POLICY_KIND].name);
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].name, name) != 0)
			continue;
		memcpy(members, kinds[i].members, sizeof(members));
		if (endless && members[1] != NULL)
			members[1] = "?limit";
		expected = members;
		if (kinds[i].kind == BACKOFF_INTERVAL && values[POLICY_INTERVALS].given)
			expected = endless ? listed_endless : listed;
		fields_check(owner, fields, lengthof(fields), values, expected);
		return kinds[i].kind;
	}
	fields_refuse(owner,
				  "Its member \"kind\" is \"%s\", not none, immediate, interval, incremental or"
				  " exponential.",
				  name);
}

static void
check_limit(const FieldsOwner *owner, const FieldValue *values, bool endless)
{
	if (endless && values[POLICY_LIMIT].given && values[POLICY_LIMIT].number == 0)
		fields_refuse(owner, "Its member \"%s\" must be at least 1; without it there is no end.",
					  fields[POLICY_LIMIT].name);
}
