/*
 * ending.h
 *		How a delivery ends, whoever held it: dead, waiting, remembered.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_ENDING_H
#define ECOMMERCE_MESSAGE_BUS_GO_ENDING_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/held.h"
#include "message_bus/place/row.h"

extern void ending_bury(const Endpoint *endpoint, HeldDelivery *delivery, const RowValues *row,
						const char *reason, const Failure *failure);
extern void ending_wait(const Endpoint *endpoint, HeldDelivery *delivery, const RowValues *row,
						const char *state);
extern TimestampTz ending_retry_at(const Endpoint *endpoint, int32 attempt, bool retryable,
								   TimestampTz now);
extern void ending_remember(const Endpoint *endpoint, const RowValues *row);
extern void ending_refuse(int64 delivery_id) pg_attribute_noreturn();

#endif
