/*
 * ring.h
 *		The ring: segments of messages, written at one end, truncated at the other.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_PLACE_RING_H
#define ECOMMERCE_MESSAGE_BUS_PLACE_RING_H

#include "postgres.h"

#include "access/htup.h"
#include "utils/uuid.h"

#include "message_bus/know/handle.h"
#include "pg/scan.h"

/* The segments that may have something, held open. */
typedef struct RingView
{
	BusDatabase *database;
	uint64		version;
	Snapshot	snapshot;
	int			count;
	int			segments[RING_SEGMENTS];
	uint32		generations[RING_SEGMENTS]; /* of their contents, before the snapshot */
	TableScan	scans[RING_SEGMENTS];
} RingView;

/* A lane's messages beyond a position, in order, up to the high-water mark. */
typedef struct LaneReader
{
	int64		after;
	int64		mark;
	int64		last;			/* position last given */
	RingView	view;
	HeapTuple	heads[RING_SEGMENTS];	/* next of each segment */
	int64		positions[RING_SEGMENTS];
} LaneReader;

extern void lane_reader_begin(LaneReader *reader, const Endpoint *endpoint, int32 lane,
							  int64 after);
extern HeapTuple lane_reader_next(LaneReader *reader, int64 *position);
extern void lane_reader_end(LaneReader *reader);

extern void ring_insert(HeapTuple *rows, int count);
extern bool ring_has_message(const Endpoint *endpoint, const pg_uuid_t *message_id);
extern void ring_find_messages(const Endpoint *endpoint, const pg_uuid_t *message_ids, int count,
							   bool *found);
extern void ring_insert_into(int segment, HeapTuple *rows, int count);
extern uint64 ring_count(const Endpoint *endpoint, int32 lane, int64 upto);
extern TupleDesc ring_descriptor(void);
extern int64 row_position(HeapTuple row);

#endif
