/*
 * status.h
 *		What operators see.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KEEP_STATUS_H
#define ECOMMERCE_MESSAGE_BUS_KEEP_STATUS_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"
#include "message_bus/know/handle.h"

extern uint64 status_deliverable(const Endpoint *endpoint);

#endif
