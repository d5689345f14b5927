/*
 * table.c
 *		The event store's tables, opened together for one call.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "base/compat.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "event_store/table.h"

ExtensionRelation relation_stored_event = {"event_store", "stored_event"};
ExtensionRelation relation_stream = {"event_store", "stream"};
ExtensionRelation relation_retention = {"event_store", "retention"};
ExtensionRelation relation_truncated_stream = {"event_store", "truncated_stream"};
ExtensionRelation index_event_position = {"event_store", "stored_event_position_idx"};
ExtensionRelation index_event_version = {"event_store", "stored_event_version_idx"};
ExtensionRelation index_event_id = {"event_store", "stored_event_event_id_idx"};
ExtensionRelation index_event_category = {"event_store", "stored_event_category_idx"};
ExtensionRelation index_event_correlation = {"event_store", "stored_event_correlation_idx"};
ExtensionRelation index_stream_name_key = {"event_store", "stream_name_key_idx"};
ExtensionRelation index_truncated_stream = {"event_store", "truncated_stream_pkey"};

/*
 * Opens both tables for insertion.
 */
void
event_tables_open(EventTables *tables, int lockmode)
{
	tables->events = direct_open(&relation_stored_event, lockmode);
	tables->streams = direct_open(&relation_stream, lockmode);
}

void
event_tables_close(EventTables *tables)
{
	direct_close(tables->streams);
	direct_close(tables->events);
}

/*
 * The version of a stream's last event as the snapshot sees it, 0 if there is
 * none.
 */
int64
event_last_version(EventTables *tables, int64 stream_id, Snapshot snapshot)
{
	DirectTable *events = tables->events;
	ScanKeyData key;
	bool		found;
	bool		isnull;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(stream_id));
	(void) direct_find(events->heap, direct_index(events, &index_event_version), snapshot, 1, &key,
					   BackwardScanDirection, events->slot, &found);
	if (!found)
		return 0;
	return DatumGetInt64(slot_getattr(events->slot, EVENT_VERSION + 1, &isnull));
}

/*
 * The greatest position that a snapshot sees, 0 if there is none.
 */
int64
event_newest_position(Snapshot snapshot)
{
	Relation	heap = table_open(extension_relation_oid(&relation_stored_event), AccessShareLock);
	Relation	index = index_open(extension_relation_oid(&index_event_position), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	bool		found;
	bool		isnull;
	int64		position = 0;

	(void) direct_find(heap, index, snapshot, 0, NULL, BackwardScanDirection, slot, &found);
	if (found)
		position = DatumGetInt64(slot_getattr(slot, EVENT_POSITION + 1, &isnull));
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	return position;
}
