/*
 * relations.c
 *		The relations of the bus by name.
 */
#include "postgres.h"

#include "message_bus/relations.h"

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
ExtensionRelation bus_endpoint_table = BUS("endpoint");
ExtensionRelation bus_endpoint_name_index = BUS("endpoint_name_key");
ExtensionRelation bus_route_table = BUS("route");
ExtensionRelation bus_route_index = BUS("route_pkey");
ExtensionRelation bus_ring[RING_SEGMENTS] = BUS_EACH_SEGMENT("");
ExtensionRelation bus_ring_lane_index[RING_SEGMENTS] = BUS_EACH_SEGMENT("_lane_idx");
ExtensionRelation bus_ring_id_index[RING_SEGMENTS] = BUS_EACH_SEGMENT("_id_idx");
ExtensionRelation bus_ring_expiry_index[RING_SEGMENTS] = BUS_EACH_SEGMENT("_expiry_idx");
ExtensionRelation bus_ack[ACK_TABLES] = {BUS("ack_0"), BUS("ack_1")};
ExtensionRelation bus_aside_table = BUS("aside");
ExtensionRelation bus_aside_id_index = BUS("aside_id_idx");
ExtensionRelation bus_aside_due_index = BUS("aside_due_idx");
ExtensionRelation bus_aside_receipt_index = BUS("aside_receipt_idx");
ExtensionRelation bus_aside_expiry_index = BUS("aside_expiry_idx");
ExtensionRelation bus_dead_table = BUS("dead");
ExtensionRelation bus_dead_id_index = BUS("dead_id_idx");
