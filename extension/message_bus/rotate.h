/*
 * rotate.h
 *		Turning the ring.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ROTATE_H
#define ECOMMERCE_MESSAGE_BUS_ROTATE_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "message_bus/shared.h"

extern TimestampTz rotate_run(TimestampTz now);

extern void rotate_set_state(BusDatabase *database, int number, BusSegmentState state,
							 TimestampTz now);
extern int	rotate_find_state(BusDatabase *database, BusSegmentState state);
extern int64 rotate_patience(void);
extern int	rotate_count_state(BusDatabase *database, BusSegmentState state);

#endif
