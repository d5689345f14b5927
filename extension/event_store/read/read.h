/*
 * read.h
 *		Reading events: scans in index order, and what becomes of each row.
 */
#ifndef ECOMMERCE_EVENT_STORE_READ_READ_H
#define ECOMMERCE_EVENT_STORE_READ_READ_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "access/htup.h"
#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "event_store/contract/contract.h"
#include "event_store/stream/visibility.h"

/* An event as it was read.  Pointers last until the next one is read. */
typedef struct Event
{
	int64		position;
	int64		stream_id;
	int64		version;
	TimestampTz occurred_at;
	pg_uuid_t  *event_id;
	int32		schema_version;
	text	   *stream;
	text	   *event_type;
	Jsonb	   *metadata;
	Jsonb	   *data;
	HeapTuple	stored;			/* the row itself, where there is one */
} Event;

typedef struct PartitionBy PartitionBy;

/* Which events a reader wants, by more than the index it reads in. */
typedef struct EventFilter
{
	const char *category;		/* NULL: any */
	int			category_length;
	const char *stream;			/* NULL: any */
	int			stream_length;
	int			type_count;		/* 0: any */
	text	  **types;
	bool		all_types;		/* "*" is among them */
	bool		deletions;		/* those of streams too, as far as the types say so */
	int			partitions;		/* 0: any; else only those of partition, see partition.h */
	int			partition;
	PartitionBy *partition_by;	/* NULL: the stream */
	int			passed_count;	/* partitions there were before; each has passed its position */
	const int64 *passed;
	bool		of_consumer;	/* who has a checkpoint misses nothing: retention hides nothing */
} EventFilter;

typedef struct EventScan EventScan;

/* How many events views look at to tell how far behind somebody is. */
#define LAG_LOOKS 10000

extern EventScan *event_scan_positions(const EventFilter *filter, int64 after, int64 mark,
									   Snapshot snapshot);
extern EventScan *event_scan_backward(const EventFilter *filter, int64 upto, Snapshot snapshot);
extern EventScan *event_scan_stream(const char *stream, int length, int64 from_version,
									bool backward, Snapshot snapshot);
extern EventScan *event_scan_correlation(const pg_uuid_t *correlation_id, Snapshot snapshot);
extern EventScan *event_scan_id(const pg_uuid_t *event_id, Snapshot snapshot);
extern bool event_scan_next(EventScan *scan, Event *event);
extern void event_scan_for_consumer(EventScan *scan);
extern void event_scan_limit(EventScan *scan, int64 looks);
extern bool event_scan_was_limited(const EventScan *scan);
extern int64 event_scan_position(const EventScan *scan);
extern TimestampTz event_scan_recorded_at(const EventScan *scan, const Event *event);
extern void event_scan_restart(EventScan *scan);
extern void event_scan_end(EventScan *scan);

extern void event_from_slot(TupleTableSlot *slot, Event *event);
extern void event_filter_types(EventFilter *filter, ArrayType *types);
extern void event_filter_refuse_none(const EventFilter *filter);
extern uint32 event_filter_key(const EventFilter *filter);
extern bool event_filter_admits(const EventFilter *filter, const Event *event);
extern Datum event_to_datum(const Event *event, TupleDesc descriptor);
extern void event_to_stored_values(const Event *event, Datum *values, bool *nulls);
extern void event_to_values(const Event *event, Datum *values, bool *nulls, Upcasting *many);

#endif
