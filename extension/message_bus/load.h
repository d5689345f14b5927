/*
 * load.h
 *		Fills the shared memory of the bus from its tables.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_LOAD_H
#define ECOMMERCE_MESSAGE_BUS_LOAD_H

#include "message_bus/shared.h"

extern BusDatabase *load_database_state(void);
extern BusEndpoint *load_endpoint_state(int32 endpoint_id, int32 lane_count);
extern int64 load_receipts(int count);

#endif
