/*
 * ready.h
 *		Whether there is something to receive, and waiting for it.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_READY_H
#define ECOMMERCE_MESSAGE_BUS_GO_READY_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"

extern bool lane_may_have_work(Endpoint *endpoint, int32 lane, TimestampTz now);
extern void endpoint_want(const char *name, TimestampTz until);
extern TimestampTz endpoint_next_due(const char *name);

#endif
