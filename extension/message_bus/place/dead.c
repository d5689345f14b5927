/*
 * dead.c
 *		Which messages are dead letters, and for how long.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "datatype/timestamp.h"

#include "message_bus/know/relations.h"
#include "message_bus/place/dead.h"
#include "message_bus/place/row.h"
#include "pg/settings.h"
#include "pg/spi.h"

/* In one transaction. */
#define FORGET_PORTION 1000

/*
 * Is there a dead letter of that message at the endpoint?
 */
bool
dead_has_message(const Endpoint *endpoint, pg_uuid_t *message_id)
{
	return row_exists(&bus_dead_table, &bus_dead_id_index, endpoint, message_id);
}

/*
 * Which of many messages are; found is left as it is for others.
 */
void
dead_find_messages(const Endpoint *endpoint, const pg_uuid_t *message_ids, int count,
				   bool *found)
{
	rows_find(&bus_dead_table, &bus_dead_id_index, endpoint, message_ids, count, found);
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

/*
 * Removes dead letters whose time is up, a portion.  Returns whether there may be
 * more.
 */
bool
dead_forget(TimestampTz now)
{
	static SpiStatement remove = {
		"DELETE FROM message_bus.dead d USING (SELECT o.message_id, o.endpoint_id"
		" FROM message_bus.dead o WHERE o.last_failed_at < $1 ORDER BY o.last_failed_at LIMIT $2"
		" FOR UPDATE SKIP LOCKED) f"
		" WHERE d.message_id = f.message_id AND d.endpoint_id = f.endpoint_id"};
	Datum		values[2];
	uint64		count;

	if (setting_message_bus_dead_letter_retention < 0)
		return false;
	values[0] =
		TimestampTzGetDatum(now - setting_message_bus_dead_letter_retention * USECS_PER_SEC);
	values[1] = Int32GetDatum(FORGET_PORTION);
	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&remove, 2, (Oid[]) {TIMESTAMPTZOID, INT4OID}, values, NULL);
	spi_end();
	return count >= FORGET_PORTION;
}
