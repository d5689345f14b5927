/*
 * receive.h
 *		Taking messages from free lanes.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_RECEIVE_H
#define ECOMMERCE_MESSAGE_BUS_GO_RECEIVE_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/held.h"
#include "message_bus/go/share.h"
#include "message_bus/go/strict.h"

/* One call of receive. */
typedef struct ReceiveCall
{
	Endpoint   *endpoint;		/* NULL: a restore goes on, nothing was looked for */
	uint32		generation;		/* of what the tables hold */
	int			max;
	TimestampTz now;
	TimestampTz leased_until;	/* 0: for the transaction */
	int			first;			/* number of the first delivery of this call */
	int			given;			/* deliveries that go to the caller */
	Wanting		wanting;		/* who else wants some, */
	int			lanes_left;		/* so that it may take so many lanes more */
	bool		busy;			/* a lane was left out because somebody has it */
	bool		full;			/* nothing may be added, though max is not reached */
	bool		guarded;		/* by the endpoint's circuit breakers */
	bool		late;			/* messages that have failed before wait to be probes */
	StrictHeads *heads;			/* for strict order: what of the lane is set aside */
	bool		lane_waits;		/* the next message of the ring waits for its key */
} ReceiveCall;

extern void collect_lane(ReceiveCall *call, HeldLane *lane);

#endif
