/*
 * lease.h
 *		Deliveries that outlive the transaction that received them.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_LEASE_H
#define ECOMMERCE_MESSAGE_BUS_GO_LEASE_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "message_bus/go/held.h"
#include "message_bus/go/receive.h"

typedef enum LeaseSweep
{
	LEASE_LANE_FREE,
	LEASE_LANE_TAKEN,
	LEASE_LANE_SWEPT			/* some leases had expired, others have not */
} LeaseSweep;

extern TimestampTz lease_end(const Interval *lease, bool in_block);
extern void lease_deliveries(const ReceiveCall *call);
extern LeaseSweep lease_sweep(HeldLane *lane, TimestampTz now);

#endif
