/*
 * settle.h
 *		How deliveries end.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_SETTLE_H
#define ECOMMERCE_MESSAGE_BUS_SETTLE_H

#include "postgres.h"

#include "base/errors.h"
#include "message_bus/endpoint.h"
#include "message_bus/held.h"

extern void settle_handle(HeldDelivery *delivery);
extern Failure settle_failure(const RowValues *row, int32 attempts, TimestampTz now);
extern const Failure *settle_failed_before(const RowValues *row, Failure *failure);
extern void settle_bury(const Endpoint *endpoint, HeldDelivery *delivery, const RowValues *row,
						const char *reason, const Failure *failure);
extern void settle_wait(const Endpoint *endpoint, HeldDelivery *delivery, const RowValues *row,
						const char *state);
extern TimestampTz settle_retry_at(const Endpoint *endpoint, int32 attempt, bool retryable,
								   TimestampTz now);
extern void settle_remember(const RowValues *row);
extern void settle_refuse(int64 delivery_id) pg_attribute_noreturn();

#endif
