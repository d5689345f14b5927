/*
 * bridge.h
 *		Bridges to brokers, as they stand in their table.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_BRIDGE_BRIDGE_H
#define ECOMMERCE_MESSAGE_BUS_BRIDGE_BRIDGE_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/jsonb.h"

typedef struct Bridge
{
	int32		id;
	char	   *name;
	char	   *format;
	Jsonb	   *options;
	char	   *broker;
	char	   *target;			/* endpoint; NULL: published */
	int32		endpoint_id;	/* its own, for dead letters */
	bool		paused;
	bool		recognises;		/* by content what has no id */
	bool		refuses;		/* what has none */
} Bridge;

/* What became of the messages of a batch. */
typedef struct BridgeCount
{
	int			accepted;
	int			repeated;
	int			refused;
} BridgeCount;

extern Bridge *bridge_argument(FunctionCallInfo fcinfo, bool lock);
extern void bridge_count(const Bridge *bridge, const BridgeCount *count);

#endif
