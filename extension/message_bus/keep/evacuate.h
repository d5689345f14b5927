/*
 * evacuate.h
 *		Copying what is left in a segment of the ring to the store.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KEEP_EVACUATE_H
#define ECOMMERCE_MESSAGE_BUS_KEEP_EVACUATE_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "message_bus/know/shared.h"

/* What is unread is counted in thousandths. */
#define UNREAD_ALL 1000

extern void evacuation_check(BusDatabase *database);
extern uint32 evacuation_unread(BusDatabase *database, int number, TimestampTz now);
extern TimestampTz evacuate_run(BusDatabase *database, int number, TimestampTz now);

#endif
