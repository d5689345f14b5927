/*
 * notification.h
 *		NOTIFY as a hint, which must not stop who sends it.
 */
#ifndef ECOMMERCE_PG_NOTIFICATION_H
#define ECOMMERCE_PG_NOTIFICATION_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* How long nothing is sent once the queue is nearly full, in microseconds. */
#define NOTIFICATION_PAUSE USECS_PER_SEC

extern bool notification_has_room(TimestampTz now);

#endif
