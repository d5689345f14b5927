/*
 * breaker_note.h
 *		What a transaction does to circuit breakers.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_BREAKER_NOTE_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_BREAKER_NOTE_H

#include "postgres.h"

#include "message_bus/endpoint/breaker.h"

extern BreakerAdmission breaker_admit(const Endpoint *endpoint, const char *message_type,
									  bool first_attempt, TimestampTz now,
									  TimestampTz leased_until);
extern void breaker_note_outcome(const Endpoint *endpoint, const char *message_type,
								 const BreakerOutcome *outcome);
extern void breaker_note_probe_until(const Endpoint *endpoint, const char *message_type,
									 TimestampTz until);
extern bool breaker_note_reset(const Endpoint *endpoint, const char *message_type);
extern void breaker_note_policy(const Endpoint *endpoint, const BreakerPolicy *policy);
extern void breaker_count_now(const Endpoint *endpoint, const char *message_type,
							  const BreakerOutcome *outcome);
extern void breaker_before_commit(void);
extern void breaker_end_subtransaction(bool committed, SubTransactionId mine,
									   SubTransactionId parent);
extern void breaker_end_transaction(bool committed);

#endif
