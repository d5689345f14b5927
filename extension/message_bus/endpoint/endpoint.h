/*
 * endpoint.h
 *		Endpoints and routes as this backend knows them.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_ENDPOINT_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_ENDPOINT_H

#include "postgres.h"

#include "message_bus/know/handle.h"

/* The own endpoint of a link or bridge, where dead letters lie that no other could get. */
#define LINK_ENDPOINT_PREFIX "link."
#define BRIDGE_ENDPOINT_PREFIX "bridge."

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
