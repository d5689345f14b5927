/*
 * forward.h
 *		Arguments that name a lane of an endpoint that forwards.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_LINK_FORWARD_H
#define ECOMMERCE_MESSAGE_BUS_LINK_FORWARD_H

#include "postgres.h"

#include "fmgr.h"

#include "message_bus/endpoint/endpoint.h"

extern Endpoint *forward_endpoint_argument(FunctionCallInfo fcinfo, bool use);
extern int32 forward_lane_argument(FunctionCallInfo fcinfo, const Endpoint *endpoint);

#endif
