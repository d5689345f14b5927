/*
 * policy.c
 *		Retry and breaker policies: what their JSON says, and the arithmetic.
 *
 * Exponential follows the seed's library: low = trunc(0.8 delta), high =
 * trunc(1.2 delta); d[i] = min(min + 2^i * R, max) with R uniform in [low,
 * high), drawn once per endpoint and stored with it; retry k then sleeps
 * d[min(k, last)] * U with U uniform in [0.75, 1.25).  k counts from 0, delays
 * are whole milliseconds.
 *
 * Random numbers come from a small generator of our own, so that the setting
 * message_bus.random_seed makes them the same on every machine and version.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "message_bus/policy.h"
#include "pg/clock.h"
#include "pg/settings.h"

/* Doubling min that often passes any max. */
#define DRAWN_DELAYS 40
#define MAX_LIMIT 1000000

typedef enum FieldType
{
	FIELD_KIND,
	FIELD_COUNT,
	FIELD_TIME,					/* microseconds */
	FIELD_TIMES					/* milliseconds, a list */
} FieldType;

typedef struct PolicyField
{
	const char *name;
	FieldType	type;
	uint32		bit;
} PolicyField;

#define BIT_KIND		0x01
#define BIT_LIMIT		0x02
#define BIT_FIRST		0x04
#define BIT_STEP		0x08
#define BIT_MAX			0x10
#define BIT_LIST		0x20
#define BIT_TRACKING	0x40
#define BIT_TRIP		0x80
#define BIT_ACTIVE		0x100
#define BIT_RESET		0x200

static const PolicyField fields[] = {
	{"kind", FIELD_KIND, BIT_KIND},
	{"limit", FIELD_COUNT, BIT_LIMIT},
	{"min", FIELD_TIME, BIT_FIRST},
	{"interval", FIELD_TIME, BIT_FIRST},
	{"initial", FIELD_TIME, BIT_FIRST},
	{"delta", FIELD_TIME, BIT_STEP},
	{"increment", FIELD_TIME, BIT_STEP},
	{"max", FIELD_TIME, BIT_MAX},
	{"intervals", FIELD_TIMES, BIT_LIST},
	{"tracking_period", FIELD_TIME, BIT_TRACKING},
	{"trip_threshold", FIELD_COUNT, BIT_TRIP},
	{"active_threshold", FIELD_COUNT, BIT_ACTIVE},
	{"reset_interval", FIELD_TIME, BIT_RESET},
};

typedef struct PolicyKind
{
	const char *name;
	int			kind;
	const char *members[5];		/* exactly these, besides kind */
} PolicyKind;

static const PolicyKind retry_kinds[] = {
	{"none", RETRY_NONE, {NULL}},
	{"immediate", RETRY_IMMEDIATE, {"limit", NULL}},
	{"interval", RETRY_INTERVAL, {"limit", "interval", NULL}},
	{"interval", RETRY_INTERVAL, {"intervals", NULL}},
	{"incremental", RETRY_INCREMENTAL, {"limit", "initial", "increment", NULL}},
	{"exponential", RETRY_EXPONENTIAL, {"limit", "min", "max", "delta", NULL}},
};

static const PolicyKind breaker_kinds[] = {
	{"none", false, {NULL}},
	{"", true, {"tracking_period", "trip_threshold", "active_threshold", "reset_interval", NULL}},
};

/* What a policy's JSON said, by field. */
typedef struct ParsedPolicy
{
	const char *kind;
	int64		values[lengthof(fields)];
	uint32		present;		/* by index of field */
	int32	   *list;
	int32		list_count;
} ParsedPolicy;

static void parse(Jsonb *json, const char *what, ParsedPolicy *parsed);
static void parse_member(const PolicyField *field, JsonbValue *value, const char *what,
						 ParsedPolicy *parsed);
static const PolicyKind *match_kind(const ParsedPolicy *parsed, const PolicyKind *kinds,
									int count, const char *what);
static int	field_index(const char *name, int length);
static int64 value_of(const ParsedPolicy *parsed, uint32 bit);
static bool parse_time(JsonbValue *value, int64 *microseconds);
static uint64 random_next(void);
static double random_unit(void);
static void malformed(const char *what, const char *detail, const char *name)
			pg_attribute_noreturn();

/*
 * Reads a retry policy; what is not one is an error 22023.
 */
void
retry_policy_parse(Jsonb *json, RetryPolicy *policy)
{
	ParsedPolicy parsed;
	const PolicyKind *kind;

	parse(json, "retry", &parsed);
	kind = match_kind(&parsed, retry_kinds, lengthof(retry_kinds), "retry");
	memset(policy, 0, sizeof(*policy));
	policy->kind = kind->kind;
	policy->limit = value_of(&parsed, BIT_LIMIT);
	policy->first = value_of(&parsed, BIT_FIRST) / 1000;
	policy->step = value_of(&parsed, BIT_STEP) / 1000;
	policy->max = value_of(&parsed, BIT_MAX) / 1000;
	if (parsed.list != NULL)
	{
		policy->delays = parsed.list;
		policy->delay_count = parsed.list_count;
		policy->limit = parsed.list_count;
	}
}

/*
 * Draws the delays of an exponential policy, once per endpoint.
 */
void
retry_policy_draw(RetryPolicy *policy)
{
	int64		low = policy->step * 8 / 10;
	int64		high = policy->step * 12 / 10;

	if (policy->kind != RETRY_EXPONENTIAL)
		return;
	policy->delay_count = Min(policy->limit, DRAWN_DELAYS);
	policy->delays = palloc(sizeof(int32) * Max(policy->delay_count, 1));
	for (int i = 0; i < policy->delay_count; i++)
	{
		int64		r = low + (high > low ? (int64) (random_next() % (uint64) (high - low)) : 0);
		double		delay = (double) policy->first + ldexp((double) r, i);

		policy->delays[i] = (int32) Min(delay, (double) Min(policy->max, PG_INT32_MAX));
	}
}

/*
 * Takes drawn delays from where they were stored.
 */
void
retry_policy_set_delays(RetryPolicy *policy, ArrayType *drawn)
{
	if (policy->kind != RETRY_EXPONENTIAL)
		return;
	policy->delay_count = ArrayGetNItems(ARR_NDIM(drawn), ARR_DIMS(drawn));
	policy->delays = palloc(sizeof(int32) * Max(policy->delay_count, 1));
	memcpy(policy->delays, ARR_DATA_PTR(drawn), sizeof(int32) * policy->delay_count);
}

/*
 * The drawn delays as an array to store.
 */
ArrayType *
retry_policy_delays(const RetryPolicy *policy)
{
	int			count = policy->kind == RETRY_EXPONENTIAL ? policy->delay_count : 0;
	Datum	   *elements = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		elements[i] = Int32GetDatum(policy->delays[i]);
	return construct_array(elements, count, INT4OID, sizeof(int32), true, TYPALIGN_INT);
}

/*
 * Milliseconds before a retry; the first is 0.  -1: it is not retried.
 */
int64
retry_policy_delay(const RetryPolicy *policy, int32 retry)
{
	if (retry >= policy->limit)
		return -1;
	switch (policy->kind)
	{
		case RETRY_NONE:
			return -1;
		case RETRY_IMMEDIATE:
			return 0;
		case RETRY_INTERVAL:
			return policy->delay_count > 0 ? policy->delays[retry] : policy->first;
		case RETRY_INCREMENTAL:
			return policy->first + policy->step * retry;
		case RETRY_EXPONENTIAL:
			return (int64) (policy->delays[Min(retry, policy->delay_count - 1)] *
							(0.75 + random_unit() * 0.5));
	}
	return -1;
}

/*
 * Reads a breaker policy; what is not one is an error 22023.
 */
void
breaker_policy_parse(Jsonb *json, BreakerPolicy *policy)
{
	ParsedPolicy parsed;

	parse(json, "breaker", &parsed);
	memset(policy, 0, sizeof(*policy));
	policy->enabled = match_kind(&parsed, breaker_kinds, lengthof(breaker_kinds),
								 "breaker")
						  ->kind;
	policy->tracking_period = value_of(&parsed, BIT_TRACKING);
	policy->trip_threshold = value_of(&parsed, BIT_TRIP);
	policy->active_threshold = value_of(&parsed, BIT_ACTIVE);
	policy->reset_interval = value_of(&parsed, BIT_RESET);
}

/*
 * A breaker policy by its name, or as JSON.
 */
Jsonb *
breaker_policy_from_text(const char *text)
{
	if (strcmp(text, "none") == 0)
		text = "{\"kind\": \"none\"}";
	else if (strcmp(text, "default") == 0)
		text = "{\"tracking_period\": \"60 s\", \"trip_threshold\": 15, "
			   "\"active_threshold\": 10, \"reset_interval\": \"5 min\"}";
	else if (text[strspn(text, " \t\r\n")] != '{')
		malformed("breaker", "It must be none, default or a JSON object.", NULL);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

static void
parse(Jsonb *json, const char *what, ParsedPolicy *parsed)
{
	JsonbIterator *iterator;
	JsonbValue	value;
	int			field = -1;
	JsonbIteratorToken token;

	memset(parsed, 0, sizeof(*parsed));
	parsed->kind = "";
	if (!JB_ROOT_IS_OBJECT(json))
		malformed(what, "It must be a JSON object.", NULL);
	iterator = JsonbIteratorInit(&json->root);
	(void) JsonbIteratorNext(&iterator, &value, false);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_END_OBJECT)
	{
		if (token == WJB_KEY)
		{
			field = field_index(value.val.string.val, value.val.string.len);
			if (field < 0)
				malformed(what, "It has no member \"%s\".",
						  pnstrdup(value.val.string.val, value.val.string.len));
		}
		else
		{
			parse_member(&fields[field], &value, what, parsed);
			parsed->present |= 1u << field;
		}
	}
}

static void
parse_member(const PolicyField *field, JsonbValue *value, const char *what, ParsedPolicy *parsed)
{
	int64	   *target = &parsed->values[field - fields];

	switch (field->type)
	{
		case FIELD_KIND:
			if (value->type != jbvString)
				malformed(what, "Its member \"%s\" must be a string.", field->name);
			parsed->kind = pnstrdup(value->val.string.val, value->val.string.len);
			break;
		case FIELD_COUNT:
			if (value->type != jbvNumeric)
				malformed(what, "Its member \"%s\" must be a number.", field->name);
			*target = DatumGetInt64(DirectFunctionCall1(numeric_int8,
														NumericGetDatum(value->val.numeric)));
			if (*target < 0 || *target > MAX_LIMIT)
				malformed(what, "Its member \"%s\" is out of range.", field->name);
			break;
		case FIELD_TIME:
			if (!parse_time(value, target))
				malformed(what, "Its member \"%s\" must be an interval, like \"3 s\".",
						  field->name);
			break;
		case FIELD_TIMES:
			if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
				JsonContainerSize(value->val.binary.data) == 0)
				malformed(what, "Its member \"%s\" must be an array of intervals.", field->name);
			parsed->list_count = JsonContainerSize(value->val.binary.data);
			parsed->list = palloc(sizeof(int32) * parsed->list_count);
			for (int i = 0; i < parsed->list_count; i++)
			{
				int64		each;

				if (!parse_time(getIthJsonbValueFromContainer(value->val.binary.data, i), &each))
					malformed(what, "Its member \"%s\" must be an array of intervals.",
							  field->name);
				parsed->list[i] = (int32) Min(each / 1000, PG_INT32_MAX);
			}
			break;
	}
}

/*
 * The kind whose members are exactly those present.
 */
static const PolicyKind *
match_kind(const ParsedPolicy *parsed, const PolicyKind *kinds, int count, const char *what)
{
	for (int i = 0; i < count; i++)
	{
		uint32		wanted = parsed->kind[0] != '\0' ? 1u << field_index("kind", 4) : 0;

		if (strcmp(kinds[i].name, parsed->kind) != 0)
			continue;
		for (int m = 0; kinds[i].members[m] != NULL; m++)
			wanted |= 1u << field_index(kinds[i].members[m], strlen(kinds[i].members[m]));
		if (wanted == parsed->present)
			return &kinds[i];
	}
	malformed(what, "Its members do not fit its kind \"%s\".", parsed->kind);
}

static int
field_index(const char *name, int length)
{
	for (int i = 0; i < lengthof(fields); i++)
	{
		if (strlen(fields[i].name) == length && strncmp(fields[i].name, name, length) == 0)
			return i;
	}
	return -1;
}

/* Of the fields with one bit, a kind has one, so the sum is its value. */
static int64
value_of(const ParsedPolicy *parsed, uint32 bit)
{
	int64		sum = 0;

	for (int i = 0; i < lengthof(fields); i++)
	{
		if (fields[i].bit == bit)
			sum += parsed->values[i];
	}
	return sum;
}

static bool
parse_time(JsonbValue *value, int64 *microseconds)
{
	Interval   *interval;
	char	   *text;

	if (value->type != jbvString)
		return false;
	text = pnstrdup(value->val.string.val, value->val.string.len);
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	*microseconds = clock_microseconds(interval, "a time of a policy");
	return *microseconds >= 0;
}

/*
 * SplitMix64: seeded from the setting, or from the system when that is -1.
 */
static uint64
random_next(void)
{
	static uint64 state = 0;
	static int	seeded_with = -2;
	uint64		z;

	if (seeded_with != setting_message_bus_random_seed)
	{
		seeded_with = setting_message_bus_random_seed;
		state = (uint64) seeded_with;
		if (seeded_with == -1 && !pg_strong_random(&state, sizeof(state)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
	}
	state += UINT64CONST(0x9E3779B97F4A7C15);
	z = state;
	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/*
 * Uniform in [0, 1).
 */
static double
random_unit(void)
{
	return (double) (random_next() >> 11) * (1.0 / 9007199254740992.0);
}

static void
malformed(const char *what, const char *detail, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("malformed %s policy", what),
			 errdetail_internal("%s", name == NULL ? detail : psprintf(detail, name)),
			 errhint("Policies are described with message_bus.create_endpoint: type \\df+ message_bus.create_endpoint.")));
}
