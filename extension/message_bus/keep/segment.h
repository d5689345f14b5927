/*
 * segment.h
 *		The states of the segments of the ring.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KEEP_SEGMENT_H
#define ECOMMERCE_MESSAGE_BUS_KEEP_SEGMENT_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "message_bus/know/shared.h"

extern void segment_set_state(BusDatabase *database, int number, BusSegmentState state,
							 TimestampTz now);
extern int	segment_find_state(BusDatabase *database, BusSegmentState state);
extern int64 segment_patience(void);
extern int	segment_count_state(BusDatabase *database, BusSegmentState state);

#endif
