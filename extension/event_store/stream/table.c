/*
 * table.c
 *		The event store's tables, opened together for one call.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/order.h"
#include "event_store/stream/deletion.h"
#include "event_store/stream/table.h"
#include "pg/scan.h"

static const ExtensionColumn event_columns[EVENT_COLUMNS] = {
	[EVENT_POSITION] = {"position", INT8OID, true},
	[EVENT_STREAM] = {"stream", TEXTOID, true},
	[EVENT_VERSION] = {"version", INT8OID, true},
	[EVENT_EVENT_ID] = {"event_id", UUIDOID, true},
	[EVENT_EVENT_TYPE] = {"event_type", TEXTOID, true},
	[EVENT_SCHEMA_VERSION] = {"schema_version", INT4OID, true},
	[EVENT_DATA] = {"data", JSONBOID, true},
	[EVENT_METADATA] = {"metadata", JSONBOID, true},
	[EVENT_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID, true},
	[EVENT_STREAM_ID] = {"stream_id", INT8OID, true},
	[EVENT_CATEGORY_KEY] = {"category_key", INT4OID, true},
	[EVENT_RECORDED_AT] = {"recorded_at", TIMESTAMPTZOID},
};

static const ExtensionColumn stream_columns[STREAM_COLUMNS] = {
	[STREAM_ID] = {"stream_id", INT8OID, true},
	[STREAM_NAME_KEY] = {"name_key", INT8OID, true},
	[STREAM_NAME] = {"name", TEXTOID, true},
	[STREAM_LAST_VERSION] = {"last_version", INT8OID},
	[STREAM_DELETED_VERSION] = {"deleted_version", INT8OID},
	[STREAM_TOMBSTONED] = {"tombstoned", BOOLOID},
};

static const ExtensionColumn retention_columns[] = {
	{"name", TEXTOID, true}, {"max_count", INT8OID}, {"max_age", INTERVALOID},
	{"truncate_before", INT8OID}
};

static const ExtensionColumn truncated_columns[] = {
	{"stream_id", INT8OID, true}, {"before_version", INT8OID, true}
};

ExtensionRelation relation_stored_event =
	EXTENSION_TABLE("event_store", "stored_event", event_columns);
ExtensionRelation relation_deletion = EXTENSION_TABLE("event_store", "deletion", event_columns);
ExtensionRelation relation_stream = EXTENSION_TABLE("event_store", "stream", stream_columns);
ExtensionRelation relation_retention =
	EXTENSION_TABLE("event_store", "retention", retention_columns);
ExtensionRelation relation_truncated_stream =
	EXTENSION_TABLE("event_store", "truncated_stream", truncated_columns);
ExtensionRelation index_event_position = {"event_store", "stored_event_position_idx"};
ExtensionRelation index_event_version = {"event_store", "stored_event_version_idx"};
ExtensionRelation index_event_id = {"event_store", "stored_event_event_id_idx"};
ExtensionRelation index_event_category = {"event_store", "stored_event_category_idx"};
ExtensionRelation index_event_correlation = {"event_store", "stored_event_correlation_idx"};
ExtensionRelation index_deletion_position = {"event_store", "deletion_position_idx"};
ExtensionRelation index_deletion_category = {"event_store", "deletion_category_idx"};
ExtensionRelation index_stream_name_key = {"event_store", "stream_name_key_idx"};
ExtensionRelation index_truncated_stream = {"event_store", "truncated_stream_pkey"};

/* A version that a stream has had, as far as this backend knows. */
typedef struct VersionHint
{
	int64		stream_id;
	int64		version;
} VersionHint;

static VersionHint version_hints[4096];

static int64 last_version_from(EventTables *tables, int64 stream_id, int64 at_least,
							   Snapshot snapshot);

/*
 * Refuses a row type that is not event_store.event as we know it.
 */
void
event_row_check(TupleDesc row)
{
	extension_row_check(row, event_columns, EVENT_PUBLIC_COLUMNS);
}

/*
 * Opens both tables for insertion.
 */
void
event_tables_open(EventTables *tables, int lockmode)
{
	tables->events = writer_open(&relation_stored_event, lockmode);
	tables->streams = writer_open(&relation_stream, lockmode);
}

void
event_tables_close(EventTables *tables)
{
	writer_close(tables->streams);
	writer_close(tables->events);
}

/*
 * The version of a stream's last event as the snapshot sees it, 0 if there is
 * none.
 *
 * An index scan takes in all that matches on a page before it gives the first
 * row, so for long streams it pays to ask from a version on that we have seen.
 */
int64
event_last_version(EventTables *tables, int64 stream_id, Snapshot snapshot)
{
	VersionHint *hint = &version_hints[stream_id % lengthof(version_hints)];
	int64		version = 0;

	if (hint->stream_id == stream_id)
		version = last_version_from(tables, stream_id, hint->version, snapshot);
	/* The event that the hint is from may have been rolled back. */
	if (version == 0)
		version = last_version_from(tables, stream_id, 1, snapshot);
	hint->stream_id = stream_id;
	hint->version = Max(version, 1);
	return version;
}

static int64
last_version_from(EventTables *tables, int64 stream_id, int64 at_least, Snapshot snapshot)
{
	Writer	   *events = tables->events;
	ScanKeyData keys[2];
	bool		found;
	bool		isnull;

	key_int8(&keys[0], 1, BTEqualStrategyNumber, stream_id);
	key_int8(&keys[1], 2, BTGreaterEqualStrategyNumber, at_least);
	(void) index_first(events->heap, writer_index(events, &index_event_version), snapshot, 2, keys,
					   BackwardScanDirection, writer_slot(events), &found);
	if (!found)
		return 0;
	return DatumGetInt64(slot_getattr(events->slot, EVENT_VERSION + 1, &isnull));
}

/*
 * The greatest position that a snapshot sees, of a deletion too, 0 if there is
 * none; NULL is a new snapshot.
 */
int64
event_newest_position(Snapshot snapshot)
{
	TableScan	scan;
	bool		isnull;
	int64		position = 0;

	table_scan_begin(&scan, &relation_stored_event, &index_event_position, 0, NULL, snapshot);
	if (table_scan_next_slot(&scan, BackwardScanDirection))
		position = DatumGetInt64(slot_getattr(scan.slot, EVENT_POSITION + 1, &isnull));
	table_scan_end(&scan);
	return greater(position, deletion_newest_position(snapshot));
}

/*
 * How far a checkpoint may be moved over what is not for it, when the mark is
 * there: to a position that the snapshot (NULL: a new one) sees.  The counter can
 * be ahead of events that a restore is still to bring.
 */
int64
event_passable(int64 mark, Snapshot snapshot)
{
	return lesser(mark, event_newest_position(snapshot));
}
