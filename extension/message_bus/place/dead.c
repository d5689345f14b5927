/*
 * dead.c
 *		Which messages are dead letters.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "message_bus/know/relations.h"
#include "message_bus/place/dead.h"
#include "message_bus/place/row.h"
#include "pg/spi.h"

/*
 * Is there a dead letter of that message at the endpoint?
 */
bool
dead_has_message(const Endpoint *endpoint, pg_uuid_t *message_id)
{
	return row_exists(&bus_dead_table, &bus_dead_id_index, endpoint, message_id);
}

/*
 * Whether no dead letter keeps that id: there is none, or it was discarded and goes.
 */
bool
dead_gives_way(const Endpoint *endpoint, pg_uuid_t *message_id)
{
	static SpiStatement remove = {
		"DELETE FROM message_bus.dead d WHERE d.message_id = $1 AND d.endpoint_id = $2"
		" AND d.reason = 'discarded'"};
	Datum		values[] = {UUIDPGetDatum(message_id), Int32GetDatum(endpoint->id)};
	bool		gone;

	if (!dead_has_message(endpoint, message_id))
		return true;
	gone = spi_execute_latest(&remove, 2, (Oid[]) {UUIDOID, INT4OID}, values, NULL) == 1;
	return gone;
}
