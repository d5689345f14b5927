/*
 * park.h
 *		Events of a subscription that have been put aside.
 */
#ifndef ECOMMERCE_EVENT_STORE_READ_PARK_H
#define ECOMMERCE_EVENT_STORE_READ_PARK_H

#include "event_store/read/subscription_lease.h"

extern bool park_if_failed(const Subscription *subscription, int partition, int64 position);
extern Lease *park_lease_replays(Subscription *subscription, int max, int64 **positions,
								 int *count);
extern bool park_replayed(const Lease *lease, int64 upto);
extern void park_remove(const char *name, const int64 *positions, int count);

#endif
