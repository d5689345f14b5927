/*
 * handle.h
 *		An endpoint, as every part of the bus names it.
 *
 * There is one handle: its id, its settings as this backend has read them, and what
 * all backends share of it.  Whoever has got one (endpoint.h) may keep it until the
 * transaction ends, whatever is looked up or changed meanwhile; a look-up after a
 * change gives another one.  So two are the same endpoint if same_endpoint() says so.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KNOW_HANDLE_H
#define ECOMMERCE_MESSAGE_BUS_KNOW_HANDLE_H

#include "postgres.h"

#include "message_bus/know/policy.h"
#include "message_bus/know/shared.h"

typedef struct Endpoint
{
	int32		id;
	char	   *name;
	int32		lanes;
	int32		max_depth;		/* its own, if it has one; see endpoint_max_depth() */
	bool		has_max_depth;
	bool		paused;
	bool		strict;			/* order of a key's messages */
	char	   *forward_to;		/* to whom a link or bridge carries them; NULL: received here */
	RetryPolicy retry;
	BreakerPolicy breaker;
	BusEndpoint *shared;
	LocalTransactionId used_in; /* in which endpoint_use() has locked it last, */
	SubTransactionId used_under;	/* and under which savepoint */
} Endpoint;

static inline bool
same_endpoint(const Endpoint *a, const Endpoint *b)
{
	return a->shared == b->shared;
}

#endif
