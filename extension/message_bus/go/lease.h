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
extern LeaseSweep lease_sweep(const Endpoint *endpoint, HeldLane *lane, TimestampTz now);
extern void lease_ack(int64 *delivery_ids, int count);
extern void lease_fail(int64 delivery_id, const char *error_code, const char *error,
					   bool retryable);
extern void lease_skip(int64 delivery_id, const char *reason);
extern void lease_snooze(int64 delivery_id, TimestampTz until, const char *reason);
extern void lease_handle(int64 delivery_id);

#endif
