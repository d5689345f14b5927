/*
 * subscription.h
 *		Persistent subscriptions.
 */
#ifndef ECOMMERCE_EVENT_STORE_READ_SUBSCRIPTION_H
#define ECOMMERCE_EVENT_STORE_READ_SUBSCRIPTION_H

#include "postgres.h"

#include "event_store/read/read.h"

typedef struct Subscription
{
	char	   *name;
	EventFilter filter;
	int			park_after;		/* failures of an event, 0: never */
	bool		replays;		/* there are parked events to be given again */
	ArrayType  *passed;			/* checkpoints of the partitions before; NULL: none */
	int64		passed_upto;	/* the greatest of them */
	Datum		written_by;		/* the transaction that did, which tells definitions apart */
} Subscription;

#define SUBSCRIPTION_PARTITIONS_MAX 1024

/* Positions scanned in vain before the checkpoint is moved over them. */
#define SKIP_BEFORE_MOVING 1000

extern void subscription_load(const char *name, Subscription *subscription);
extern void subscription_want(const char *name);
extern bool subscription_ready(const char *name, TimestampTz *again);

#endif
