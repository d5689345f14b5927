/*
 * passed.h
 *		Places in the ring, beyond the cursor of their lane, that are done with.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_PLACE_PASSED_H
#define ECOMMERCE_MESSAGE_BUS_PLACE_PASSED_H

#include "postgres.h"

#include "message_bus/know/handle.h"

extern void passed_add(const Endpoint *endpoint, int32 lane, int64 position);
extern bool passed_has(const Endpoint *endpoint, int32 lane, int64 position);
extern bool passed_forget(const Endpoint *endpoint, int32 lane, int64 cursor);

#endif
