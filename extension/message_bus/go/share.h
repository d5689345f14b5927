/*
 * share.h
 *		Sharing the lanes of an endpoint among the consumers that want messages.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_SHARE_H
#define ECOMMERCE_MESSAGE_BUS_GO_SHARE_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "message_bus/know/handle.h"

/* Who wants messages of an endpoint. */
typedef struct Wanting
{
	int			others;			/* so many other processes */
	pg_atomic_uint64 *own;		/* where this one is entered; NULL: it is not */
} Wanting;

extern void share_want(const Endpoint *endpoint, TimestampTz until);
extern void share_look(const Endpoint *endpoint, Wanting *wanting);
extern void share_served(const Wanting *wanting);

#endif
