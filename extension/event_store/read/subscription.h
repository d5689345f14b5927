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
} Subscription;

/* Positions scanned in vain before the checkpoint is moved over them. */
#define SKIP_BEFORE_MOVING 1000

extern void subscription_load(const char *name, Subscription *subscription);
extern void subscription_want(const char *name);
extern bool subscription_ready(const char *name, TimestampTz *again);

#endif
