/*
 * expiry.h
 *		Messages that nobody received in time.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_EXPIRY_H
#define ECOMMERCE_MESSAGE_BUS_EXPIRY_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern bool expiry_passed(int32 endpoint_id, int32 lane, int64 position);
extern bool expiry_forget_passed(int32 endpoint_id, int32 lane, int64 cursor);
extern void expiry_note(TimestampTz expires_at);
extern TimestampTz expiry_run(TimestampTz now);

#endif
