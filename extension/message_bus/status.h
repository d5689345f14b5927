/*
 * status.h
 *		What operators see.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_STATUS_H
#define ECOMMERCE_MESSAGE_BUS_STATUS_H

#include "postgres.h"

#include "message_bus/endpoint.h"
#include "message_bus/shared.h"

extern uint64 status_deliverable(BusEndpoint *endpoint);
extern bool lane_has_work(Endpoint *endpoint, int32 lane, TimestampTz now);

#endif
