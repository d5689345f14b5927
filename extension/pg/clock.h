/*
 * clock.h
 *		The time as workers and the bus see it, so that tests can own it.
 */
#ifndef ECOMMERCE_PG_CLOCK_H
#define ECOMMERCE_PG_CLOCK_H

#include "datatype/timestamp.h"

extern TimestampTz clock_now(void);
extern TimestampTz clock_set(TimestampTz instead);

#endif
