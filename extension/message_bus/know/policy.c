/*
 * policy.c
 *		Retry and breaker policies: what their JSON says.
 *
 * The arithmetic of retries is in pg/backoff.c.  The delays of an exponential policy
 * are drawn once per endpoint and stored with it.
 *
 * Random numbers come from a small generator of our own, so that the setting
 * message_bus.random_seed makes them the same on every machine and version.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "message_bus/know/policy.h"
#include "pg/settings.h"

/* Doubling min that often passes any max. */
#define DRAWN_DELAYS 40

#define POLICY_HINT \
	"Policies are described with message_bus.create_endpoint: type \\df+ message_bus.create_endpoint."

static const FieldsOwner retry_owner = {
	"retry policy", ERRCODE_INVALID_PARAMETER_VALUE, POLICY_HINT
};
static const FieldsOwner breaker_owner = {
	"breaker policy", ERRCODE_INVALID_PARAMETER_VALUE, POLICY_HINT
};

enum
{
	BREAKER_KIND,
	BREAKER_TRACKING,
	BREAKER_TRIP,
	BREAKER_ACTIVE,
	BREAKER_RESET
};

static const Field breaker_fields[] = {
	[BREAKER_KIND] = {"kind", FIELD_NAME},
	[BREAKER_TRACKING] = {"tracking_period", FIELD_INTERVAL},
	[BREAKER_TRIP] = {"trip_threshold", FIELD_COUNT},
	[BREAKER_ACTIVE] = {"active_threshold", FIELD_COUNT},
	[BREAKER_RESET] = {"reset_interval", FIELD_INTERVAL},
};

static const char *const no_breaker[] = {"kind", NULL};
static const char *const breaker_members[] = {
	"tracking_period", "trip_threshold", "active_threshold", "reset_interval", NULL
};

static uint64 random_next(void);
static double random_unit(void);

/*
 * Reads a retry policy; what is not one is an error 22023.
 */
void
retry_policy_parse(Jsonb *json, RetryPolicy *policy)
{
	backoff_parse(json, &retry_owner, false, policy);
}

/*
 * Draws the delays of an exponential policy, once per endpoint.
 */
void
retry_policy_draw(RetryPolicy *policy)
{
	if (policy->kind != BACKOFF_EXPONENTIAL)
		return;
	policy->delay_count = Min(policy->limit, DRAWN_DELAYS);
	policy->delays = palloc(sizeof(int32) * Max(policy->delay_count, 1));
	for (int i = 0; i < policy->delay_count; i++)
		policy->delays[i] = (int32) backoff_delay(policy, i, random_unit());
}

/*
 * Takes drawn delays from where they were stored.
 */
void
retry_policy_set_delays(RetryPolicy *policy, ArrayType *drawn)
{
	if (policy->kind != BACKOFF_EXPONENTIAL)
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
	int			count = policy->kind == BACKOFF_EXPONENTIAL ? policy->delay_count : 0;
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
	if (policy->kind == BACKOFF_NONE || retry >= policy->limit)
		return -1;
	if (policy->kind == BACKOFF_EXPONENTIAL)
		return backoff_spread(policy->delays[Min(retry, policy->delay_count - 1)],
							  random_unit());
	return backoff_delay(policy, retry, 0);
}

/*
 * Reads a breaker policy; what is not one is an error 22023.
 */
void
breaker_policy_parse(Jsonb *json, BreakerPolicy *policy)
{
	FieldValue	values[lengthof(breaker_fields)];
	const char *kind;

	fields_read(json, &breaker_owner, breaker_fields, lengthof(breaker_fields), values);
	kind = values[BREAKER_KIND].name;
	if (kind != NULL && strcmp(kind, "none") != 0)
		fields_refuse(&breaker_owner, "Its member \"kind\" is \"%s\", and can only be \"none\".",
					  kind);
	fields_check(&breaker_owner, breaker_fields, lengthof(breaker_fields), values,
				 kind != NULL ? no_breaker : breaker_members);
	memset(policy, 0, sizeof(*policy));
	policy->enabled = kind == NULL;
	policy->tracking_period = values[BREAKER_TRACKING].number;
	policy->trip_threshold = values[BREAKER_TRIP].number;
	policy->active_threshold = values[BREAKER_ACTIVE].number;
	policy->reset_interval = values[BREAKER_RESET].number;
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
		fields_refuse(&breaker_owner, "It must be none, default or a JSON object.", NULL);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
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
