/*
 * relations.h
 *		The relations of the bus, and where columns are in them.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KNOW_RELATIONS_H
#define ECOMMERCE_MESSAGE_BUS_KNOW_RELATIONS_H

#include "pg/relation.h"

#include "message_bus/know/shared.h"

/* Columns that the ring, message_bus.aside and message_bus.dead begin with. */
typedef enum RowColumn
{
	ROW_POSITION,
	ROW_ENDPOINT_ID,
	ROW_LANE,
	ROW_MESSAGE_ID,
	ROW_CORRELATION_ID,
	ROW_CONVERSATION_ID,
	ROW_SENT_AT,
	ROW_SCHEMA_VERSION,
	ROW_MESSAGE_TYPE,
	ROW_BODY,
	ROW_HEADERS,				/* NULL: {} */
	ROW_CAUSATION_ID,
	ROW_USER_ID,
	ROW_TENANT_ID,
	ROW_TRACEPARENT,
	ROW_SOURCE,
	ROW_DELIVER_AT,
	ROW_EXPIRES_AT,
	ROW_PARTITION_KEY,			/* NULL: the correlation id */
	ROW_COLUMNS
} RowColumn;

typedef enum AsideColumn
{
	ASIDE_STATE = ROW_COLUMNS,
	ASIDE_DUE_AT,
	ASIDE_ATTEMPT,
	ASIDE_RECEIPT,
	ASIDE_ERROR_CODE,
	ASIDE_ERROR,
	ASIDE_FIRST_FAILED_AT,
	ASIDE_LAST_FAILED_AT,
	ASIDE_COLUMNS
} AsideColumn;

typedef enum DeadColumn
{
	DEAD_REASON = ROW_COLUMNS,
	DEAD_ERROR_CODE,
	DEAD_ERROR,
	DEAD_ATTEMPTS,
	DEAD_FIRST_FAILED_AT,
	DEAD_LAST_FAILED_AT,
	DEAD_COLUMNS
} DeadColumn;

typedef enum LeaseColumn
{
	LEASE_DELIVERY_ID,
	LEASE_ENDPOINT_ID,
	LEASE_LANE,
	LEASE_POSITION,
	LEASE_UPTO,
	LEASE_MESSAGE_ID,
	LEASE_MESSAGE_TYPE,
	LEASE_ATTEMPT,
	LEASE_PROBE,
	LEASE_HANDLED,
	LEASE_LEASED_UNTIL,
	LEASE_COLUMNS
} LeaseColumn;

/* Columns of message_bus.endpoint. */
typedef enum EndpointColumn
{
	ENDPOINT_ID,
	ENDPOINT_NAME,
	ENDPOINT_LANES,
	ENDPOINT_RETRY,
	ENDPOINT_RETRY_DELAYS,
	ENDPOINT_BREAKER,
	ENDPOINT_TIMEOUT,
	ENDPOINT_MAX_DEPTH,
	ENDPOINT_PAUSED,
	ENDPOINT_CREATED_AT,
	ENDPOINT_STRICT_ORDER,
	ENDPOINT_FORWARD_TO,
	ENDPOINT_COLUMNS
} EndpointColumn;

/* Columns of message_bus.route. */
typedef enum RouteColumn
{
	ROUTE_MESSAGE_TYPE,
	ROUTE_ENDPOINT_ID,
	ROUTE_COLUMNS
} RouteColumn;

/* Columns of message_bus.ack_0 and ack_1. */
typedef enum AckColumn
{
	ACK_ENDPOINT_ID,
	ACK_LANE,
	ACK_POSITION,
	ACK_COLUMNS
} AckColumn;

extern ExtensionRelation bus_position_sequence;
extern ExtensionRelation bus_epoch_sequence;
extern ExtensionRelation bus_endpoint_table;
extern ExtensionRelation bus_endpoint_name_index;
extern ExtensionRelation bus_route_table;
extern ExtensionRelation bus_route_index;
extern ExtensionRelation bus_ring[RING_SEGMENTS];
extern ExtensionRelation bus_ring_lane_index[RING_SEGMENTS];
extern ExtensionRelation bus_ring_id_index[RING_SEGMENTS];
extern ExtensionRelation bus_ring_expiry_index[RING_SEGMENTS];
extern ExtensionRelation bus_ack[ACK_TABLES];
extern ExtensionRelation bus_aside_table;
extern ExtensionRelation bus_aside_id_index;
extern ExtensionRelation bus_aside_due_index;
extern ExtensionRelation bus_aside_expiry_index;
extern ExtensionRelation bus_dead_table;
extern ExtensionRelation bus_dead_id_index;
extern ExtensionRelation bus_lease_table;

#endif
