/*
 * cursor.c
 *		The cursors of lanes, on disk.
 *
 * A cursor that moves a thousand times a second must not be a row that is
 * updated: while some snapshot is open elsewhere, no old version could be
 * removed.  So each move is a row of its own in one of two tables without
 * indexes; the greatest counts.  When one has grown, writers change to the
 * other, its rows are folded into message_bus.lane, and it is truncated.
 * Shared memory knows the cursors; the rows are read after a start only.
 *
 * Lock protocol: as for the ring, writers read which table is current, lock it,
 * and read again.  Folding takes the old table exclusively, if it can be had at
 * once, and LOCK_FOLD, which keeps load.c from reading meanwhile.
 *
 * A crash in the middle of folding leaves it undone: it is one transaction.
 */
#include "postgres.h"

#include "access/relation.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "log/restore.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/relations.h"
#include "message_bus/place/cursor.h"
#include "message_bus/place/passed.h"
#include "pg/lock.h"
#include "pg/spi.h"
#include "pg/writer.h"

/* Change tables at this size; each row takes some 50 bytes. */
#define FOLD_BLOCKS 512

static void write_cursor(const Endpoint *endpoint, int32 lane, int64 position);
static BlockNumber size_of(int table);
static bool fold(int table);

/*
 * A lane is settled up to a position, if the transaction commits.  True if what had been
 * settled beyond its cursor was before that, and is forgotten.
 */
bool
cursor_move(const Endpoint *endpoint, int32 lane, int64 position)
{
	write_cursor(endpoint, lane, position);
	return pg_atomic_read_u32(&lane_get(endpoint, lane)->passed) != 0 &&
		passed_forget(endpoint, lane, position);
}

static void
write_cursor(const Endpoint *endpoint, int32 lane, int64 position)
{
	BusDatabase *database = bus_database();

	for (;;)
	{
		uint32		current = pg_atomic_read_u32(&database->current_ack);
		Writer	   *writer = writer_open(&bus_ack[current], RowExclusiveLock);

		pg_memory_barrier();
		if (pg_atomic_read_u32(&database->current_ack) == current)
		{
			TupleTableSlot *row = writer_new_row(writer);

			row->tts_values[ACK_ENDPOINT_ID] = Int32GetDatum(endpoint->id);
			row->tts_values[ACK_LANE] = Int32GetDatum(lane);
			row->tts_values[ACK_POSITION] = Int64GetDatum(position);
			(void) writer_insert(writer, InvalidOid);
			writer_close(writer);
			return;
		}
		writer_cancel(writer);
	}
}

/*
 * Folds the table that is not written, or makes the one that has grown such.
 * In a transaction of its own.  True if there is more to do soon.
 */
bool
cursor_fold(void)
{
	BusDatabase *database = database_state();
	uint32		current = pg_atomic_read_u32(&database->current_ack);
	int			other = 1 - (int) current;

	if (size_of(other) > 0)
		return !fold(other);
	if (size_of((int) current) < FOLD_BLOCKS)
		return false;
	pg_atomic_write_u32(&database->current_ack, (uint32) other);
	return true;
}

static BlockNumber
size_of(int table)
{
	Relation	relation = relation_open(extension_relation_oid(&bus_ack[table]), AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);

	relation_close(relation, AccessShareLock);
	return blocks;
}

static bool
fold(int table)
{
	static SpiStatement merge[ACK_TABLES] = {
#define MERGE(name) { \
		"INSERT INTO message_bus.lane AS l (endpoint_id, lane, position)" \
		" SELECT a.endpoint_id, a.lane, pg_catalog.max(a.position) FROM message_bus." name " a" \
		" JOIN message_bus.endpoint e ON e.endpoint_id = a.endpoint_id GROUP BY 1, 2" \
		" ON CONFLICT (endpoint_id, lane) DO UPDATE SET position = excluded.position" \
		" WHERE l.position < excluded.position"}
		MERGE("ack_0"), MERGE("ack_1")
#undef MERGE
	};
	static SpiStatement truncate[ACK_TABLES] = {
		{"TRUNCATE message_bus.ack_0"}, {"TRUNCATE message_bus.ack_1"}
	};

	if (!lock_take(LOCK_FOLD, 0, 0, ExclusiveLock, false))
		return false;
	if (!ConditionalLockRelationOid(extension_relation_oid(&bus_ack[table]), AccessExclusiveLock))
		return false;
	/* With the lock: what a restore has put here belongs to endpoints that may be still to come. */
	if (restore_goes_on())
		return false;
	spi_execute_latest(&merge[table], 0, NULL, NULL, NULL);
	spi_execute(&truncate[table], 0, NULL, NULL, NULL);
	return true;
}
