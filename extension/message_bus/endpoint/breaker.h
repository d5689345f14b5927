/*
 * breaker.h
 *		Circuit breakers, per endpoint and message type, as all backends see them.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_BREAKER_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_BREAKER_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"

typedef enum BreakerAdmission
{
	BREAKER_ADMITS,
	BREAKER_ADMITS_PROBE,
	BREAKER_PREFERS_OTHERS,		/* a probe is wanted, but one that has not failed yet */
	BREAKER_HOLDS
} BreakerAdmission;

/* Messages of one type whose first attempt has ended, or a probe. */
typedef struct BreakerOutcome
{
	int32		attempts;		/* 0: a probe that tells nothing */
	int32		failures;		/* none, or all of them */
	bool		probe;
	TimestampTz at;
} BreakerOutcome;

/* What has become of a breaker, for the log. */
typedef enum BreakerChange
{
	BREAKER_UNCHANGED,
	BREAKER_OPENED,
	BREAKER_OPENED_AGAIN,
	BREAKER_HAS_CLOSED
} BreakerChange;

extern BusBreaker *breaker_find(const Endpoint *endpoint, const char *message_type, bool create);
extern BreakerAdmission breaker_admission(const Endpoint *endpoint, const char *message_type,
										  bool first_attempt, TimestampTz now,
										  BusBreaker **probed);
extern BreakerAdmission breaker_looks(const Endpoint *endpoint, const char *message_type,
									  bool first_attempt, TimestampTz now);
extern bool breaker_admit_any(const Endpoint *endpoint, TimestampTz now);
extern bool breaker_releases(const Endpoint *endpoint, int32 lane, TimestampTz now);
extern void breaker_has_released(const Endpoint *endpoint, int32 lane);
extern TimestampTz breaker_next_retry(const Endpoint *endpoint);
extern BreakerChange breaker_count(BusBreaker *breaker, const BreakerPolicy *policy,
								   const BreakerOutcome *outcome);
extern BreakerChange breaker_close(BusBreaker *breaker);
extern void breaker_count_tripped(const Endpoint *endpoint, BusBreakerState before,
								  BusBreakerState after);
extern void breaker_announce(const Endpoint *endpoint, const BreakerPolicy *policy,
							 BreakerChange change, const BusBreaker *breaker,
							 const char *message_type);

#endif
