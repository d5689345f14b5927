/*
 * breaker.h
 *		Circuit breakers, per endpoint and message type.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_BREAKER_H
#define ECOMMERCE_MESSAGE_BUS_BREAKER_H

#include "postgres.h"

#include "utils/tuplestore.h"

#include "message_bus/endpoint.h"
#include "message_bus/shared.h"

typedef enum BreakerAdmission
{
	BREAKER_ADMITS,
	BREAKER_ADMITS_PROBE,
	BREAKER_HOLDS
} BreakerAdmission;

/* Deliveries of one message type that have ended. */
typedef struct BreakerOutcome
{
	int32		attempts;
	int32		failures;		/* none, or all of them */
	bool		probe;
} BreakerOutcome;

extern void breaker_load(BusEndpoint *endpoint);
extern BreakerAdmission breaker_admission(BusEndpoint *endpoint, const char *message_type,
										  TimestampTz now, TimestampTz probe_until);
extern bool breaker_holds(BusEndpoint *endpoint, const char *message_type, TimestampTz now);
extern void breaker_note_held(BusEndpoint *endpoint, const char *message_type);
extern bool breaker_releases(BusEndpoint *endpoint, TimestampTz now);
extern TimestampTz breaker_next_retry(BusEndpoint *endpoint);
extern void breaker_record(BusEndpoint *endpoint, const BreakerPolicy *policy,
						   const char *message_type, const BreakerOutcome *outcome,
						   TimestampTz now);
extern void breaker_record_later(const Endpoint *endpoint, const char *message_type,
								 const BreakerOutcome *outcome);
extern void breaker_before_commit(void);
extern void breaker_end_subtransaction(bool committed, SubTransactionId mine,
									   SubTransactionId parent);
extern BusBreaker *breaker_count(BusEndpoint *endpoint, const BreakerPolicy *policy,
								 const char *message_type, const BreakerOutcome *outcome,
								 TimestampTz now);
extern void breaker_write_dirty(BusEndpoint *endpoint);
extern bool breaker_reset(BusEndpoint *endpoint, const char *message_type);
extern void breaker_describe(BusEndpoint *endpoint, Tuplestorestate *result,
							 TupleDesc descriptor);
extern void breaker_end_transaction(bool committed);

#endif
