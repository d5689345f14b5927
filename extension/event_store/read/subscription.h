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

extern void subscription_load(const char *name, Subscription *subscription);

#endif
