/*
 * rotate.h
 *		Turning the ring.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KEEP_ROTATE_H
#define ECOMMERCE_MESSAGE_BUS_KEEP_ROTATE_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "message_bus/know/shared.h"

extern TimestampTz rotate_run(TimestampTz now);


#endif
