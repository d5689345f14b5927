/*
 * rotate.h
 *		Turning the ring.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ROTATE_H
#define ECOMMERCE_MESSAGE_BUS_ROTATE_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern TimestampTz rotate_run(TimestampTz now);

#endif
