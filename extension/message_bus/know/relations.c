/*
 * relations.c
 *		The relations of the bus by name.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "message_bus/know/relations.h"

/* What the ring, aside and dead begin with. */
#define ROW_COLUMN_LIST \
	[ROW_POSITION] = {"position", INT8OID, true}, \
	[ROW_ENDPOINT_ID] = {"endpoint_id", INT4OID, true}, \
	[ROW_LANE] = {"lane", INT4OID, true}, \
	[ROW_MESSAGE_ID] = {"message_id", UUIDOID, true}, \
	[ROW_CORRELATION_ID] = {"correlation_id", UUIDOID, true}, \
	[ROW_CONVERSATION_ID] = {"conversation_id", UUIDOID, true}, \
	[ROW_SENT_AT] = {"sent_at", TIMESTAMPTZOID, true}, \
	[ROW_SCHEMA_VERSION] = {"schema_version", INT4OID, true}, \
	[ROW_MESSAGE_TYPE] = {"message_type", TEXTOID, true}, \
	[ROW_BODY] = {"body", JSONBOID, true}, \
	[ROW_HEADERS] = {"headers", JSONBOID}, \
	[ROW_CAUSATION_ID] = {"causation_id", UUIDOID}, \
	[ROW_USER_ID] = {"user_id", TEXTOID}, \
	[ROW_TENANT_ID] = {"tenant_id", TEXTOID}, \
	[ROW_TRACEPARENT] = {"traceparent", TEXTOID}, \
	[ROW_SOURCE] = {"source", TEXTOID}, \
	[ROW_DELIVER_AT] = {"deliver_at", TIMESTAMPTZOID}, \
	[ROW_EXPIRES_AT] = {"expires_at", TIMESTAMPTZOID}, \
	[ROW_PARTITION_KEY] = {"partition_key", TEXTOID}

static const ExtensionColumn ring_columns[ROW_COLUMNS] = {ROW_COLUMN_LIST};

static const ExtensionColumn aside_columns[ASIDE_COLUMNS] = {
	ROW_COLUMN_LIST,
	[ASIDE_STATE] = {"state", TEXTOID, true},
	[ASIDE_DUE_AT] = {"due_at", TIMESTAMPTZOID, true},
	[ASIDE_ATTEMPT] = {"attempt", INT4OID, true},
	[ASIDE_RECEIPT] = {"receipt", INT8OID},
	[ASIDE_ERROR_CODE] = {"error_code", TEXTOID},
	[ASIDE_ERROR] = {"error", TEXTOID},
	[ASIDE_FIRST_FAILED_AT] = {"first_failed_at", TIMESTAMPTZOID},
	[ASIDE_LAST_FAILED_AT] = {"last_failed_at", TIMESTAMPTZOID},
};

static const ExtensionColumn dead_columns[DEAD_COLUMNS] = {
	ROW_COLUMN_LIST,
	[DEAD_REASON] = {"reason", TEXTOID, true},
	[DEAD_ERROR_CODE] = {"error_code", TEXTOID},
	[DEAD_ERROR] = {"error", TEXTOID},
	[DEAD_ATTEMPTS] = {"attempts", INT4OID, true},
	[DEAD_FIRST_FAILED_AT] = {"first_failed_at", TIMESTAMPTZOID, true},
	[DEAD_LAST_FAILED_AT] = {"last_failed_at", TIMESTAMPTZOID, true},
};

static const ExtensionColumn lease_columns[LEASE_COLUMNS] = {
	[LEASE_DELIVERY_ID] = {"delivery_id", INT8OID, true},
	[LEASE_ENDPOINT_ID] = {"endpoint_id", INT4OID, true},
	[LEASE_LANE] = {"lane", INT4OID, true},
	[LEASE_POSITION] = {"position", INT8OID},
	[LEASE_UPTO] = {"upto", INT8OID, true},
	[LEASE_MESSAGE_ID] = {"message_id", UUIDOID, true},
	[LEASE_MESSAGE_TYPE] = {"message_type", TEXTOID, true},
	[LEASE_ATTEMPT] = {"attempt", INT4OID, true},
	[LEASE_PROBE] = {"probe", BOOLOID, true},
	[LEASE_HANDLED] = {"handled", BOOLOID, true},
	[LEASE_LEASED_UNTIL] = {"leased_until", TIMESTAMPTZOID, true},
};

static const ExtensionColumn ack_columns[ACK_COLUMNS] = {
	[ACK_ENDPOINT_ID] = {"endpoint_id", INT4OID, true},
	[ACK_LANE] = {"lane", INT4OID, true},
	[ACK_POSITION] = {"position", INT8OID, true},
};

static const ExtensionColumn endpoint_columns[ENDPOINT_COLUMNS] = {
	[ENDPOINT_ID] = {"endpoint_id", INT4OID, true},
	[ENDPOINT_NAME] = {"name", TEXTOID, true},
	[ENDPOINT_LANES] = {"lanes", INT4OID, true},
	[ENDPOINT_RETRY] = {"retry", JSONBOID, true},
	[ENDPOINT_RETRY_DELAYS] = {"retry_delays", INT4ARRAYOID, true},
	[ENDPOINT_BREAKER] = {"breaker", JSONBOID, true},
	[ENDPOINT_TIMEOUT] = {"timeout", INTERVALOID, true},
	[ENDPOINT_MAX_DEPTH] = {"max_depth", INT4OID},
	[ENDPOINT_PAUSED] = {"paused", BOOLOID, true},
	[ENDPOINT_CREATED_AT] = {"created_at", TIMESTAMPTZOID, true},
	[ENDPOINT_STRICT_ORDER] = {"strict_order", BOOLOID, true},
	[ENDPOINT_FORWARD_TO] = {"forward_to", TEXTOID},
};

static const ExtensionColumn route_columns[ROUTE_COLUMNS] = {
	[ROUTE_MESSAGE_TYPE] = {"message_type", TEXTOID, true},
	[ROUTE_ENDPOINT_ID] = {"endpoint_id", INT4OID, true},
};

#define BUS_TABLE(name, columns) EXTENSION_TABLE("message_bus", name, columns)
#define BUS(name) \
	{ \
		"message_bus", name \
	}
#define BUS_EACH_SEGMENT(suffix) { \
	BUS("ring_0" suffix), BUS("ring_1" suffix), BUS("ring_2" suffix), BUS("ring_3" suffix), \
	BUS("ring_4" suffix), BUS("ring_5" suffix), BUS("ring_6" suffix), BUS("ring_7" suffix)}

StaticAssertDecl(RING_SEGMENTS == 8, "30_message_bus.sql creates eight segments");

ExtensionRelation bus_position_sequence = BUS("position_seq");
ExtensionRelation bus_epoch_sequence = BUS("epoch_seq");
ExtensionRelation bus_endpoint_table = BUS_TABLE("endpoint", endpoint_columns);
ExtensionRelation bus_endpoint_name_index = BUS("endpoint_name_key");
ExtensionRelation bus_route_table = BUS_TABLE("route", route_columns);
ExtensionRelation bus_route_index = BUS("route_pkey");
ExtensionRelation bus_ring[RING_SEGMENTS] = {
	BUS_TABLE("ring_0", ring_columns), BUS_TABLE("ring_1", ring_columns),
	BUS_TABLE("ring_2", ring_columns), BUS_TABLE("ring_3", ring_columns),
	BUS_TABLE("ring_4", ring_columns), BUS_TABLE("ring_5", ring_columns),
	BUS_TABLE("ring_6", ring_columns), BUS_TABLE("ring_7", ring_columns),
};
ExtensionRelation bus_ring_lane_index[RING_SEGMENTS] = BUS_EACH_SEGMENT("_lane_idx");
ExtensionRelation bus_ring_id_index[RING_SEGMENTS] = BUS_EACH_SEGMENT("_id_idx");
ExtensionRelation bus_ring_expiry_index[RING_SEGMENTS] = BUS_EACH_SEGMENT("_expiry_idx");
ExtensionRelation bus_ack[ACK_TABLES] = {
	BUS_TABLE("ack_0", ack_columns), BUS_TABLE("ack_1", ack_columns)
};
ExtensionRelation bus_aside_table = BUS_TABLE("aside", aside_columns);
ExtensionRelation bus_aside_id_index = BUS("aside_id_idx");
ExtensionRelation bus_aside_due_index = BUS("aside_due_idx");
ExtensionRelation bus_aside_expiry_index = BUS("aside_expiry_idx");
ExtensionRelation bus_dead_table = BUS_TABLE("dead", dead_columns);
ExtensionRelation bus_dead_id_index = BUS("dead_id_idx");
ExtensionRelation bus_lease_table = BUS_TABLE("lease", lease_columns);
