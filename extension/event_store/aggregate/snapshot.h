/*
 * snapshot.h
 *		Stored states of aggregates, so that loading need not begin at the beginning.
 */
#ifndef ECOMMERCE_EVENT_STORE_AGGREGATE_SNAPSHOT_H
#define ECOMMERCE_EVENT_STORE_AGGREGATE_SNAPSHOT_H

#include "postgres.h"

#include "event_store/aggregate/aggregate.h"

extern void snapshot_find(const char *stream, int length, int64 deleted_version,
						  const int64 *at_version, const TimestampTz *at_time, Fold *fold);
extern void snapshot_store(const char *stream, int length, const Fold *fold);
extern void snapshot_forget_all(void);
extern void snapshot_forget(const char *stream, int length);

#endif
