/*
 * table.h
 *		The event store's tables, opened together for one call.
 */
#ifndef ECOMMERCE_EVENT_STORE_STREAM_TABLE_H
#define ECOMMERCE_EVENT_STORE_STREAM_TABLE_H

#include "postgres.h"

#include "pg/writer.h"
#include "utils/snapshot.h"

/*
 * Columns, in the order of CREATE TABLE.  The first nine are those of
 * event_store.event, so that a row can be given out as it is stored.
 */
typedef enum EventColumn
{
	EVENT_POSITION,
	EVENT_STREAM,
	EVENT_VERSION,
	EVENT_EVENT_ID,
	EVENT_EVENT_TYPE,
	EVENT_SCHEMA_VERSION,
	EVENT_DATA,
	EVENT_METADATA,
	EVENT_OCCURRED_AT,
	EVENT_PUBLIC_COLUMNS,
	EVENT_STREAM_ID = EVENT_PUBLIC_COLUMNS,
	EVENT_CATEGORY_KEY,
	EVENT_RECORDED_AT,			/* null where occurred_at says it; then no byte of the row */
	EVENT_COLUMNS
} EventColumn;

typedef enum StreamColumn
{
	STREAM_ID,
	STREAM_NAME_KEY,
	STREAM_NAME,
	STREAM_LAST_VERSION,
	STREAM_DELETED_VERSION,
	STREAM_TOMBSTONED,
	STREAM_COLUMNS
} StreamColumn;

typedef struct EventTables
{
	Writer	   *events;
	Writer	   *streams;
} EventTables;

extern ExtensionRelation relation_stored_event;
extern ExtensionRelation relation_stream;
extern ExtensionRelation relation_retention;
extern ExtensionRelation relation_truncated_stream;
extern ExtensionRelation index_event_position;
extern ExtensionRelation index_event_version;
extern ExtensionRelation index_event_id;
extern ExtensionRelation index_event_category;
extern ExtensionRelation index_event_correlation;
extern ExtensionRelation index_stream_name_key;
extern ExtensionRelation index_truncated_stream;

extern void event_row_check(TupleDesc row);
extern void event_tables_open(EventTables *tables, int lockmode);
extern void event_tables_close(EventTables *tables);
extern int64 event_last_version(EventTables *tables, int64 stream_id, Snapshot snapshot);
extern int64 event_newest_position(Snapshot snapshot);
extern int64 event_passable(int64 mark, Snapshot snapshot);

#endif
