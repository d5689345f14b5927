/*
 * expiry.h
 *		Messages that nobody received in time.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KEEP_EXPIRY_H
#define ECOMMERCE_MESSAGE_BUS_KEEP_EXPIRY_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern TimestampTz expiry_run(TimestampTz now);

#endif
