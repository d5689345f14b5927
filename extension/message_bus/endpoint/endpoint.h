/*
 * endpoint.h
 *		Endpoints and routes as this backend knows them.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_ENDPOINT_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_ENDPOINT_H

#include "postgres.h"

<<<<<<< HEAD
#include "message_bus/know/handle.h"
=======
#include "message_bus/know/policy.h"
#include "message_bus/know/shared.h"

/* A link's own endpoint, where dead letters lie that no other one could get. */
#define LINK_ENDPOINT_PREFIX "link."

/* Valid until the transaction ends. */
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
>>>>>>> f26530e (Links: messages from one database to another, the SQL of it)

extern void endpoint_cache_init(void);
extern void endpoint_cache_changed(void);
extern Endpoint *endpoint_by_name(const char *name, bool missing_ok);
extern Endpoint *endpoint_by_id(int32 id);
extern Endpoint **endpoint_all(int *count);
extern Endpoint **endpoint_in_use(int *count);
extern int	endpoint_routes(const char *message_type, const int32 **ids);
extern int	endpoint_max_depth(const Endpoint *endpoint);
extern int32 endpoint_lane(const Endpoint *endpoint, const char *partition_key, int length);
extern Endpoint *endpoint_use(int32 endpoint_id);
extern Endpoint *endpoint_use_named(const char *name);
extern Endpoint *endpoint_lock_to_drop(const char *name);

#endif
