/*
 * policy.h
 *		Retry and breaker policies: what their JSON says.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KNOW_POLICY_H
#define ECOMMERCE_MESSAGE_BUS_KNOW_POLICY_H

#include "postgres.h"

#include "utils/array.h"
#include "utils/jsonb.h"

#include "pg/backoff.h"

typedef Backoff RetryPolicy;

/* Times in microseconds. */
typedef struct BreakerPolicy
{
	bool		enabled;
	int64		tracking_period;
	int32		trip_threshold; /* percent */
	int32		active_threshold;
	int64		reset_interval;
} BreakerPolicy;

extern void retry_policy_parse(Jsonb *json, RetryPolicy *policy);
extern void retry_policy_draw(RetryPolicy *policy);
extern void retry_policy_set_delays(RetryPolicy *policy, ArrayType *drawn);
extern ArrayType *retry_policy_delays(const RetryPolicy *policy);
extern int64 retry_policy_delay(const RetryPolicy *policy, int32 retry);
extern void breaker_policy_parse(Jsonb *json, BreakerPolicy *policy);
extern Jsonb *breaker_policy_from_text(const char *text);

#endif
