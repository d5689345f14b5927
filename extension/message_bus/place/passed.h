/*
 * passed.h
 *		Places in the ring, beyond the cursor of their lane, that are done with.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_PLACE_PASSED_H
#define ECOMMERCE_MESSAGE_BUS_PLACE_PASSED_H

#include "postgres.h"


extern void passed_add(int32 endpoint_id, int32 lane, int64 position);
extern bool passed_has(int32 endpoint_id, int32 lane, int64 position);
extern bool passed_forget(int32 endpoint_id, int32 lane, int64 cursor);

#endif
