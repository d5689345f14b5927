/*
 * append.h
 *		Appending events to a stream.
 */
#ifndef ECOMMERCE_EVENT_STORE_APPEND_APPEND_H
#define ECOMMERCE_EVENT_STORE_APPEND_APPEND_H

#include "postgres.h"

#include "event_store/append/new_event.h"

typedef struct AppendResult
{
	int64		version;		/* of the last event */
	int64		position;		/* of the last event, 0 if nothing was given to append */
} AppendResult;

extern void event_append(const char *stream, int length, int64 expected_version,
						 NewEvents *events, AppendResult *result);

#endif
