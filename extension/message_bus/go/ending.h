/*
 * ending.h
 *		How a delivery ends, whoever has it.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_ENDING_H
#define ECOMMERCE_MESSAGE_BUS_GO_ENDING_H

#include "postgres.h"

#include "message_bus/go/delivery.h"

extern void ending_ack(Delivery *delivery);
extern void ending_fail(Delivery *delivery, const char *code, const char *text, bool retryable,
						int64 receipt);
extern void ending_bury(Delivery *delivery, const char *reason, const Failure *failure);
extern void ending_skip(Delivery *delivery, const char *reason);
extern void ending_snooze(Delivery *delivery, TimestampTz until, const char *reason);
extern void ending_return(Delivery *delivery, int64 receipt);
extern void ending_wait(Delivery *delivery, const char *state);

#endif
