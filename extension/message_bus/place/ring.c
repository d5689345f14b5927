/*
 * ring.c
 *		Writing and reading the ring.
 *
 * Writer: reads which segment is current, takes a RowExclusiveLock on it, and
 * reads again; if it is another one by now, tries that.  So once the roles have
 * changed, whoever gets a ShareLock on the old segment knows that nobody writes
 * there any more.
 *
 * Reader: locks all segments that may have something for him, then takes the
 * mark, then the snapshot, and then checks that no segment has changed its
 * role since he chose; else he starts again.  Hence nothing can be truncated or
 * moved between what he chose and what he sees.  Locks are given back at once:
 * what is not settled cannot be truncated, and nobody shall hold rotation up
 * for as long as his handlers run.
 *
 * While a segment is being evacuated, messages are there twice, with the same
 * position; readers skip the second.  A lane that has passed all of a segment says
 * so with the generation that the segment had before the reader's snapshot:
 * evacuation, which brings old positions into the store, gives it another one when
 * its copies are visible, and so whoever has not seen them has said nothing.
 *
 * A crash leaves what was committed; nothing here is kept elsewhere.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "base/compat.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "log/position.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/relations.h"
#include "message_bus/place/ring.h"
#include "pg/writer.h"

static void view_open(RingView *view, BusLane *lane, int64 *mark, uint32 key);
static void view_close(RingView *view);
static bool scan_has_owner(TableScan *scan, const Endpoint *endpoint);
static void advance(LaneReader *reader, int source);
static Writer *open_current(int *segment);

/*
 * Opens every segment that may have messages of a lane; lane NULL: of any.
 */
static void
view_open(RingView *view, BusLane *lane, int64 *mark, uint32 key)
{
	view->database = database_state();
	for (;;)
	{
		Relation	heaps[RING_SEGMENTS];

		view->count = 0;
		view->version = pg_atomic_read_u64(&view->database->ring_version);
		pg_memory_barrier();
		for (int i = 0; i < RING_SEGMENTS; i++)
		{
			BusSegment *segment = &view->database->segments[i];
			uint32		generation = pg_atomic_read_u32(&segment->generation);

			if (pg_atomic_read_u32(&segment->state) == SEGMENT_FREE)
				continue;
			if (lane != NULL && pg_atomic_read_u32(&lane->clean[i]) == generation)
				continue;
			heaps[view->count] = extension_table_open(&bus_ring[i], AccessShareLock);
			view->generations[view->count] = generation;
			view->segments[view->count++] = i;
		}
		if (mark != NULL)
			*mark = position_mark(LOG_MESSAGE_BUS, key);
		view->snapshot = RegisterSnapshot(GetLatestSnapshot());
		pg_memory_barrier();
		if (pg_atomic_read_u64(&view->database->ring_version) == view->version)
		{
			for (int i = 0; i < view->count; i++)
				view->scans[i].table = heaps[i];
			return;
		}
		UnregisterSnapshot(view->snapshot);
		for (int i = 0; i < view->count; i++)
			table_close(heaps[i], AccessShareLock);
	}
}

static void
view_close(RingView *view)
{
	for (int i = 0; i < view->count; i++)
		table_close(view->scans[i].table, AccessShareLock);
	UnregisterSnapshot(view->snapshot);
}

/*
 * Begins to read a lane beyond a position.  The reader lives in the caller's
 * memory and must be ended.
 */
void
lane_reader_begin(LaneReader *reader, const Endpoint *endpoint, int32 lane, int64 after)
{
	BusLane    *shared = lane_get(endpoint, lane);
	int64		cursor = (int64) pg_atomic_read_u64(&shared->cursor);
	ScanKeyData keys[4];

	reader->after = after;
	reader->last = after;
	/* What is clean above the cursor is clean above anything beyond it. */
	view_open(&reader->view, after >= cursor ? shared : NULL, &reader->mark,
			  lane_key(endpoint->id, lane));
	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	key_int8(&keys[2], 3, BTGreaterStrategyNumber, after);
	key_int8(&keys[3], 3, BTLessEqualStrategyNumber, reader->mark);
	for (int i = 0; i < reader->view.count; i++)
	{
		int			number = reader->view.segments[i];
		BusSegment *segment = &reader->view.database->segments[number];
		TableScan  *scan = &reader->view.scans[i];

		table_scan_attach(scan, scan->table, &bus_ring_lane_index[number], 4, keys,
						  reader->view.snapshot);
		advance(reader, i);
		if (reader->heads[i] == NULL && after == cursor &&
			pg_atomic_read_u32(&segment->state) >= SEGMENT_STORE &&
			reader->mark >= (int64) pg_atomic_read_u64(&segment->sealed_at))
			pg_atomic_write_u32(&shared->clean[number], reader->view.generations[i]);
	}
}

/*
 * The next message, valid until the next call; NULL after the last.
 */
HeapTuple
lane_reader_next(LaneReader *reader, int64 *position)
{
	int			best = -1;

	for (int i = 0; i < reader->view.count; i++)
	{
		while (reader->heads[i] != NULL && reader->positions[i] <= reader->last)
			advance(reader, i);
		if (reader->heads[i] != NULL &&
			(best < 0 || reader->positions[i] < reader->positions[best]))
			best = i;
	}
	if (best < 0)
		return NULL;
	*position = reader->last = reader->positions[best];
	return reader->heads[best];
}

void
lane_reader_end(LaneReader *reader)
{
	for (int i = 0; i < reader->view.count; i++)
		table_scan_detach(&reader->view.scans[i]);
	view_close(&reader->view);
}

static void
advance(LaneReader *reader, int source)
{
	HeapTuple	row = table_scan_next(&reader->view.scans[source], ForwardScanDirection);

	reader->heads[source] = row;
	if (row != NULL)
		reader->positions[source] = row_position(row);
}

/*
 * The position of a row; it is the first column.
 */
int64
row_position(HeapTuple row)
{
	int64		position;

	memcpy(&position, (char *) row->t_data + row->t_data->t_hoff, sizeof(position));
	return position;
}

/*
 * Messages of a lane beyond its cursor, up to a position.
 */
uint64
ring_count(const Endpoint *endpoint, int32 lane, int64 upto)
{
	LaneReader	reader;
	uint64		count = 0;
	int64		position;

	lane_reader_begin(&reader, endpoint, lane,
					  (int64) pg_atomic_read_u64(&lane_get(endpoint, lane)->cursor));
	while (lane_reader_next(&reader, &position) != NULL && position <= upto)
		count++;
	lane_reader_end(&reader);
	return count;
}

/*
 * Is there a message with this id for this endpoint, settled or not?  The
 * caller has made sure that no running transaction is sending it.
 */
bool
ring_has_message(const Endpoint *endpoint, const pg_uuid_t *message_id)
{
	bool		found = false;

	ring_find_messages(endpoint, message_id, 1, &found);
	return found;
}

/*
 * The same for many: found is set for those that are there, and left as it is for others.
 */
void
ring_find_messages(const Endpoint *endpoint, const pg_uuid_t *message_ids, int count,
				   bool *found)
{
	RingView	view;
	ScanKeyData key;

	view_open(&view, NULL, NULL, 0);
	for (int s = 0; s < view.count; s++)
	{
		TableScan  *scan = &view.scans[s];

		key_uuid(&key, 1, &message_ids[0]);
		table_scan_attach(scan, scan->table, &bus_ring_id_index[view.segments[s]], 1, &key,
						  view.snapshot);
		for (int i = 0; i < count; i++)
		{
			if (found[i])
				continue;
			/* It has begun with the first. */
			if (i > 0)
				table_scan_again(scan, 1, &key, UUIDPGetDatum(&message_ids[i]));
			found[i] = scan_has_owner(scan, endpoint);
		}
		table_scan_detach(scan);
	}
	view_close(&view);
}

/*
 * Is what is left of a scan of ids, all of one id, a message of the endpoint too?
 */
static bool
scan_has_owner(TableScan *scan, const Endpoint *endpoint)
{
	HeapTuple	row;
	bool		isnull;

	while ((row = table_scan_next(scan, ForwardScanDirection)) != NULL)
	{
		if (DatumGetInt32(heap_getattr(row, ROW_ENDPOINT_ID + 1, ring_descriptor(), &isnull)) ==
			endpoint->id)
			return true;
	}
	return false;
}

/*
 * The shape of the ring's rows.
 */
TupleDesc
ring_descriptor(void)
{
	return extension_table_descriptor(&bus_ring[0]);
}

/*
 * Inserts rows into the current segment, in this order.  Their positions are
 * taken and announced.
 */
void
ring_insert(HeapTuple *rows, int count)
{
	int			segment;
	Writer	   *writer = open_current(&segment);
	TupleDesc	descriptor;
	bool		expiring = false;

	writer_insert_tuples(writer, rows, count);
	descriptor = ring_descriptor();
	for (int i = 0; i < count && !expiring; i++)
		expiring = !heap_attisnull(rows[i], ROW_EXPIRES_AT + 1, descriptor);
	if (expiring)
		pg_atomic_write_u32(&bus_database()->segments[segment].expiring, 1);
	writer_close(writer);
}

/*
 * Inserts rows into a segment that nobody else writes, and that stays what it is
 * until the transaction ends: copies, whose positions are theirs already.
 */
void
ring_insert_into(int segment, HeapTuple *rows, int count)
{
	Writer	   *writer = writer_open(&bus_ring[segment], RowExclusiveLock);

	writer_insert_tuples(writer, rows, count);
	writer_close(writer);
}

static Writer *
open_current(int *segment)
{
	BusDatabase *database = database_state();

	for (;;)
	{
		uint32		current = pg_atomic_read_u32(&database->current);
		Writer	   *writer = writer_open(&bus_ring[current], RowExclusiveLock);

		DEBUG_POINT("ring_segment_locked");
		pg_memory_barrier();
		if (pg_atomic_read_u32(&database->current) == current)
		{
			*segment = (int) current;
			return writer;
		}
		writer_cancel(writer);
	}
}
