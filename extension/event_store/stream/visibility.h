/*
 * visibility.h
 *		Which stored events are hidden by deletion and retention.
 */
#ifndef ECOMMERCE_EVENT_STORE_STREAM_VISIBILITY_H
#define ECOMMERCE_EVENT_STORE_STREAM_VISIBILITY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

typedef struct Visibility Visibility;

extern Visibility *visibility_open(Snapshot snapshot);
extern void visibility_ignore_retention(Visibility *visibility);
extern bool visibility_hides(Visibility *visibility, const text *stream, int64 stream_id,
							 int64 version, TimestampTz occurred_at);
extern void visibility_bounds(Visibility *visibility, const text *stream, int64 stream_id,
							  int64 *first_version, TimestampTz *oldest);
extern void visibility_close(Visibility *visibility);

#endif
