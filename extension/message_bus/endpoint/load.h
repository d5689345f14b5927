/*
 * load.h
 *		Fills the shared memory of the bus from its tables.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_LOAD_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_LOAD_H

#include "message_bus/know/handle.h"

extern void load_endpoint_state(Endpoint *endpoint);

#endif
