/*
 * evacuate.c
 *		Copying what is left in a segment of the ring to the store, so that a few
 *		who are behind, or gone, do not keep what all others have consumed.
 *
 * The store is a segment that nothing else is written to.  A message that nobody
 * reads is copied there once; the store itself is emptied into another one when
 * half of it has been passed.  So whatever the mix, little more is kept than is
 * unread.
 *
 * A segment with much of it unread is left alone as long as there is room: its
 * consumer may just be slow, and copying would be in vain.  How much that is,
 * a sample of its blocks tells.
 *
 * From the decision to the first copy passes message_bus.dedupe_window: what lanes
 * had passed before that is known long enough, what they pass meanwhile is copied
 * with the rest.  Then the segment is walked lane by lane, so many messages in a
 * turn; those that are not elsewhere are copied.  When all is copied the walk begins
 * again, now from the cursors that the tables tell: a segment is evacuated when a
 * whole walk has found nothing to copy.
 *
 * Lock protocol: rotate.c's.  How far the walk is goes to shared memory when the
 * copies are committed; then the store also gets a new generation (ring.c).
 *
 * A crash forgets the walk, not the copies: the next one finds them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/keep/evacuate.h"
#include "message_bus/keep/segment.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/know/relations.h"
#include "message_bus/place/ring.h"
#include "pg/scan.h"
#include "pg/settings.h"
#include "pg/spi.h"

/* In one turn: messages looked at, a lane counting as some; bytes copied. */
#define TURN_MESSAGES 1000
#define TURN_LANE 10
#define TURN_BYTES (4 * 1024 * 1024)
/* Blocks of a sample. */
#define SAMPLE_BLOCKS 32

#define LATER USECS_PER_SEC

/* One turn of a walk. */
typedef struct EvacuationTurn
{
	BusDatabase *database;
	int			number;			/* the segment */
	int			budget;
	Size		bytes;
	Snapshot	snapshot;
	BusWalk		at;
	int			count;
	HeapTuple	copies[TURN_MESSAGES];
} EvacuationTurn;

/* Where else a lane's messages may be, read side by side with the segment. */
typedef struct Elsewhere
{
	int			count;
	TableScan	scans[RING_SEGMENTS];
	HeapTuple	heads[RING_SEGMENTS];
} Elsewhere;

/* What becomes true when this transaction commits. */
static struct
{
	int			store;			/* -1: nothing was copied */
	int			copied;
	bool		at_end;			/* the walk has been through all lanes */
	BusWalk		walk;
	TransactionId horizon;		/* no xid of those who copied is as new */
}			pending;

static bool is_worth_it(BusDatabase *database, int number, TimestampTz now);
static uint32 sample(int number);
static bool is_unread(TupleTableSlot *slot);
static void remember_cursors(void);
static void lower_to_tables(void);
static int	choose_store(BusDatabase *database, int number, TimestampTz now);
static TimestampTz take_turn(BusDatabase *database, int number, TimestampTz now);
static bool walk(EvacuationTurn *turn);
static bool walk_lane(EvacuationTurn *turn, Endpoint *endpoint, int32 lane, int64 after);
static void elsewhere_begin(Elsewhere *elsewhere, const EvacuationTurn *turn, int64 from);
static bool is_elsewhere(Elsewhere *elsewhere, int64 position);
static void elsewhere_end(Elsewhere *elsewhere);
static void turn_committed(void *evacuated);

/*
 * Forgets an evacuation whose segment has become something else: all lanes have
 * passed it.
 */
void
evacuation_check(BusDatabase *database)
{
	BusEvacuation *evacuation = &database->evacuation;

	if (evacuation->since != 0 &&
		pg_atomic_read_u32(&database->segments[evacuation->segment].state) != SEGMENT_SEALED)
		memset(evacuation, 0, sizeof(*evacuation));
}

/*
 * Begins to evacuate a sealed segment, or goes on; does nothing if it is not worth
 * it, or another one is being evacuated.  Returns when to come back.
 */
TimestampTz
evacuate_run(BusDatabase *database, int number, TimestampTz now)
{
	BusEvacuation *evacuation = &database->evacuation;
	int64		window = setting_message_bus_dedupe_window * INT64CONST(1000);

	if (evacuation->since == 0 && is_worth_it(database, number, now))
	{
		remember_cursors();
		evacuation->segment = number;
		evacuation->since = now;
	}
	if (evacuation->since == 0 || evacuation->segment != number)
		return now + segment_patience();
	if (now < evacuation->since + window)
		return evacuation->since + window;
	return take_turn(database, number, now);
}

/*
 * Whether to copy what is left in a segment.  Always, if that is the smaller part.
 * A segment that is mostly unread is kept, as long as it is the only one and there
 * is room for the next.
 */
static bool
is_worth_it(BusDatabase *database, int number, TimestampTz now)
{
	uint32		unread = evacuation_unread(database, number, now);
	bool		room = segment_count_state(database, SEGMENT_FREE) > 2;

	if (unread <= UNREAD_ALL / 2)
		return true;
	if (room && (unread > UNREAD_ALL / 8 * 7 || segment_count_state(database, SEGMENT_SEALED) < 2))
		return false;
	for (int i = 0; i < RING_SEGMENTS; i++)
	{
		if (pg_atomic_read_u32(&database->segments[i].state) == SEGMENT_SEALED &&
			evacuation_unread(database, i, now) < unread)
			return false;
	}
	/* Where nothing has been consumed, nothing is gained. */
	return unread < UNREAD_ALL ||
		evacuation_unread(database, (int) pg_atomic_read_u32(&database->current),
						  now) < UNREAD_ALL;
}

/*
 * How much of a segment lanes have not passed, in thousandths; not quite up to
 * date.
 */
uint32
evacuation_unread(BusDatabase *database, int number, TimestampTz now)
{
	BusSegment *segment = &database->segments[number];
	int64		age = setting_message_bus_dedupe_window * INT64CONST(1000) / 4;
	TimestampTz sampled_at = (TimestampTz) pg_atomic_read_u64(&segment->sampled_at);

	if (sampled_at == 0 || now < sampled_at || now >= sampled_at + age)
	{
		pg_atomic_write_u32(&segment->unread, sample(number));
		pg_atomic_write_u64(&segment->sampled_at, (uint64) now);
	}
	return pg_atomic_read_u32(&segment->unread);
}

static uint32
sample(int number)
{
	Relation	table = relation_open(extension_relation_oid(&bus_ring[number]), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(table, NULL);
	BlockNumber blocks = RelationGetNumberOfBlocks(table);
	BlockNumber step = Max(blocks / SAMPLE_BLOCKS, 1);
	uint64		all = 0;
	uint64		unread = 0;

	for (BlockNumber block = 0; block < blocks; block += step)
	{
		ItemPointerData first;
		ItemPointerData last;
		TableScanDesc scan;

		ItemPointerSet(&first, block, FirstOffsetNumber);
		ItemPointerSet(&last, block, MaxOffsetNumber);
		scan = table_beginscan_tidrange(table, snapshot, &first, &last);
		while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
		{
			all++;
			unread += is_unread(slot);
		}
		table_endscan(scan);
	}
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	relation_close(table, AccessShareLock);
	return all == 0 ? 0 : (uint32) (unread * UNREAD_ALL / all);
}

static bool
is_unread(TupleTableSlot *slot)
{
	bool		isnull;
	int64		position = DatumGetInt64(slot_getattr(slot, ROW_POSITION + 1, &isnull));
	int32		id = DatumGetInt32(slot_getattr(slot, ROW_ENDPOINT_ID + 1, &isnull));
	int32		lane = DatumGetInt32(slot_getattr(slot, ROW_LANE + 1, &isnull));
	Endpoint   *endpoint = endpoint_by_id(id);

	return endpoint != NULL && lane >= 0 && lane < endpoint->lanes &&
		position > (int64) pg_atomic_read_u64(&lane_get(endpoint, lane)->cursor);
}

/*
 * Notes where each lane stands now.
 */
static void
remember_cursors(void)
{
	int			count;
	Endpoint  **endpoints = endpoint_all(&count);

	for (int i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoints[i];

		for (int32 lane = 0; lane < endpoint->lanes; lane++)
		{
			BusLane    *shared = lane_get(endpoint, lane);

			pg_atomic_write_u64(&shared->evacuate_from, pg_atomic_read_u64(&shared->cursor));
		}
	}
	pfree(endpoints);
}

/*
 * Where the tables say that a lane has not got so far, they are believed.
 */
static void
lower_to_tables(void)
{
	static SpiStatement cursors = {
		"SELECT e.endpoint_id, l.lane, coalesce(c.position, 0) FROM message_bus.endpoint e"
		" CROSS JOIN LATERAL pg_catalog.generate_series(0, e.lanes - 1) AS l (lane)"
		" LEFT JOIN message_bus._cursor c ON c.endpoint_id = e.endpoint_id AND c.lane = l.lane"};
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&cursors, 0, NULL, NULL, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoint_by_id(spi_int32(i, 0, 0));

		if (endpoint != NULL)
			atomic_lower(&lane_checked(endpoint, spi_int32(i, 1, 0))->evacuate_from,
						 (uint64) spi_int64(i, 2, 0));
	}
	spi_end();
}

/*
 * The segment that copies go to; -1 if there is none.  If none is free either, a
 * sealed one takes them, the one with most unread.
 */
static int
choose_store(BusDatabase *database, int number, TimestampTz now)
{
	int			store = segment_find_state(database, SEGMENT_STORE);
	uint32		most = 0;

	if (store >= 0)
		return store;
	store = segment_find_state(database, SEGMENT_FREE);
	for (int i = 0; i < RING_SEGMENTS && segment_count_state(database, SEGMENT_FREE) == 0; i++)
	{
		uint32		unread;

		if (i == number ||
			pg_atomic_read_u32(&database->segments[i].state) != SEGMENT_SEALED)
			continue;
		unread = evacuation_unread(database, i, now);
		if (store >= 0 && unread <= most)
			continue;
		store = i;
		most = unread;
	}
	/* Readers must know of it before anything can be in it. */
	if (store >= 0)
		segment_set_state(database, store, SEGMENT_STORE, now);
	return store;
}

/*
 * Walks on, as far as one turn goes.
 */
static TimestampTz
take_turn(BusDatabase *database, int number, TimestampTz now)
{
	BusEvacuation *evacuation = &database->evacuation;
	EvacuationTurn *turn = palloc(sizeof(EvacuationTurn));
	int			store = choose_store(database, number, now);

	if (store < 0)
		return now + LATER;
	if (evacuation->checking && evacuation->walk.endpoint_id == 0)
		lower_to_tables();
	turn->database = database;
	turn->number = number;
	turn->budget = TURN_MESSAGES;
	turn->bytes = 0;
	turn->at = evacuation->walk;
	turn->count = 0;
	turn->snapshot = RegisterSnapshot(GetLatestSnapshot());
	pending.at_end = walk(turn) || DEBUG_BREAK("evacuate_in_part");
	UnregisterSnapshot(turn->snapshot);
	pending.store = -1;
	pending.copied = turn->count;
	pending.walk = turn->at;
	if (turn->count > 0)
	{
		pending.store = store;
		if (pg_atomic_read_u32(&database->segments[number].expiring) != 0)
			pg_atomic_write_u32(&database->segments[store].expiring, 1);
		ring_insert_into(store, turn->copies, turn->count);
		for (int i = 0; i < turn->count; i++)
			heap_freetuple(turn->copies[i]);
	}
	pfree(turn);
	pending.horizon = ReadNextTransactionId();
	note_at_commit(turn_committed, &database->segments[number]);
	DEBUG_POINT("ring_evacuated");
	return now + 1;
}

/*
 * True if the walk has been through all lanes.
 */
static bool
walk(EvacuationTurn *turn)
{
	int			count;
	Endpoint  **endpoints = endpoint_all(&count);
	BusWalk		from = turn->at;

	for (int i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoints[i];
		bool		again = endpoint->id == from.endpoint_id;

		if (endpoint->id < from.endpoint_id)
			continue;
		for (int32 lane = again ? from.lane : 0; lane < endpoint->lanes; lane++)
		{
			BusLane    *shared = lane_get(endpoint, lane);
			int64		after = (int64) pg_atomic_read_u64(&shared->evacuate_from);

			if (again && lane == from.lane)
				after = Max(after, from.position);
			turn->at = (BusWalk) {endpoint->id, lane, after};
			if (!walk_lane(turn, endpoint, lane, after))
				return false;
		}
	}
	return true;
}

/*
 * Takes copies of a lane's messages beyond a position that are in this segment
 * alone.  False if the turn is over.
 */
static bool
walk_lane(EvacuationTurn *turn, Endpoint *endpoint, int32 lane, int64 after)
{
	Elsewhere	elsewhere = {0};
	TableScan	scan;
	ScanKeyData keys[3];
	HeapTuple	row;

	turn->budget -= TURN_LANE;
	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	key_int8(&keys[2], 3, BTGreaterStrategyNumber, after);
	table_scan_begin(&scan, &bus_ring[turn->number], &bus_ring_lane_index[turn->number], 3, keys,
					 turn->snapshot);
	while (turn->budget > 0 && turn->bytes < TURN_BYTES &&
		   (row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
	{
		int64		position = row_position(row);

		if (elsewhere.count == 0)
			elsewhere_begin(&elsewhere, turn, position);
		if (!is_elsewhere(&elsewhere, position))
		{
			HeapTuple	copy = table_copy_row(row, ring_descriptor());

			turn->copies[turn->count++] = copy;
			turn->bytes += copy->t_len;
		}
		turn->at.position = position;
		turn->budget--;
	}
	elsewhere_end(&elsewhere);
	table_scan_end(&scan);
	return turn->budget > 0 && turn->bytes < TURN_BYTES;
}

/*
 * Opens the lane of a turn in all other segments where copies may be that will
 * stay, from a position on.
 */
static void
elsewhere_begin(Elsewhere *elsewhere, const EvacuationTurn *turn, int64 from)
{
	ScanKeyData keys[3];

	key_int4(&keys[0], 1, BTEqualStrategyNumber, turn->at.endpoint_id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, turn->at.lane);
	key_int8(&keys[2], 3, BTGreaterStrategyNumber, from - 1);
	for (int i = 0; i < RING_SEGMENTS; i++)
	{
		uint32		state = pg_atomic_read_u32(&turn->database->segments[i].state);
		int			number = elsewhere->count;

		if (i == turn->number || (state != SEGMENT_STORE && state != SEGMENT_SEALED))
			continue;
		table_scan_begin(&elsewhere->scans[number], &bus_ring[i], &bus_ring_lane_index[i], 3, keys,
						 turn->snapshot);
		elsewhere->heads[number] = table_scan_next(&elsewhere->scans[number],
												   ForwardScanDirection);
		elsewhere->count++;
	}
}

/*
 * Positions are asked for in their order.
 */
static bool
is_elsewhere(Elsewhere *elsewhere, int64 position)
{
	bool		found = false;

	for (int i = 0; i < elsewhere->count; i++)
	{
		HeapTuple  *head = &elsewhere->heads[i];

		while (*head != NULL && row_position(*head) < position)
			*head = table_scan_next(&elsewhere->scans[i], ForwardScanDirection);
		found |= *head != NULL && row_position(*head) == position;
	}
	return found;
}

static void
elsewhere_end(Elsewhere *elsewhere)
{
	for (int i = 0; i < elsewhere->count; i++)
		table_scan_end(&elsewhere->scans[i]);
}

/*
 * Now that the copies are visible: the walk has got further, and what lanes have
 * said of the store is void.
 */
static void
turn_committed(void *evacuated)
{
	BusDatabase *database = bus_database_known();
	BusEvacuation *evacuation = &database->evacuation;
	BusSegment *segment = evacuated;

	if (pending.store >= 0)
	{
		BusSegment *store = &database->segments[pending.store];

		atomic_raise(&store->sealed_at, pg_atomic_read_u64(&segment->sealed_at));
		pg_write_barrier();
		if (!DEBUG_BREAK("evacuate_in_silence"))
			pg_atomic_fetch_add_u32(&store->generation, 1);
		pg_atomic_write_u64(&store->sampled_at, 0);
	}
	evacuation->copied += (uint64) pending.copied;
	evacuation->walk = pending.walk;
	if (!pending.at_end)
		return;
	if (evacuation->checking && evacuation->copied == 0)
	{
		pg_atomic_write_u32(&segment->evacuated_by, pending.horizon);
		segment_set_state(database, evacuation->segment, SEGMENT_EVACUATED, GetCurrentTimestamp());
		memset(evacuation, 0, sizeof(*evacuation));
		return;
	}
	evacuation->checking = true;
	evacuation->copied = 0;
	memset(&evacuation->walk, 0, sizeof(evacuation->walk));
}
