/*
 * snapshot.h
 *		Stored states of aggregates, so that loading need not begin at the beginning.
 */
#ifndef ECOMMERCE_EVENT_STORE_AGGREGATE_SNAPSHOT_H
#define ECOMMERCE_EVENT_STORE_AGGREGATE_SNAPSHOT_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "event_store/aggregate/aggregate.h"

extern void snapshot_find(const char *stream, int length, int64 deleted_version,
						  const AsOf *as_of, Snapshot events, Fold *fold);
extern void snapshot_store(const char *stream, int length, const Fold *fold);
extern void snapshot_forget_all(void);
extern void snapshot_forget(const char *stream, int length);

#endif
