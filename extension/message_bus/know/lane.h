/*
 * lane.h
 *		What a lane owes, and when: its next message due, who waits for it.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KNOW_LANE_H
#define ECOMMERCE_MESSAGE_BUS_KNOW_LANE_H

#include "postgres.h"

#include "message_bus/know/handle.h"

/* When a message is held by a breaker, and when it was returned. */
#define DUE_WHEN_RELEASED DT_NOEND
#define DUE_AT_ONCE DT_NOBEGIN

/* All lanes of an endpoint as one key, for waiting. */
#define LANE_KEY_MASK 0xFFFFFF00

extern uint32 lane_due_version(BusLane *lane);
extern void lane_due_computed(BusLane *lane, uint32 version, TimestampTz due, bool held);
extern void lane_due_lower(BusLane *lane, TimestampTz due);
extern void lane_lower_worker(TimestampTz due);
extern uint32 lane_key(int32 endpoint_id, int32 lane);
extern BusLane *lane_checked(const Endpoint *endpoint, int32 number);
extern void bus_wake_consumers(const Endpoint *endpoint, int32 lane);
extern bool bus_has_news(BusEndpoint *endpoint);

static inline BusLane *
lane_get(const Endpoint *endpoint, int32 number)
{
	return &bus_lanes(endpoint->shared)[number];
}

#endif
