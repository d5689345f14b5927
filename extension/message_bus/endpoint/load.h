/*
 * load.h
 *		Fills the shared memory of the bus from its tables.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_LOAD_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_LOAD_H

#include "message_bus/know/shared.h"

extern BusEndpoint *load_endpoint_state(int32 endpoint_id, int32 lane_count);

#endif
