/*
 * deletion.c
 *		Deletions of streams, as the events that readers may ask for.
 *
 * They have positions of the same log as events, and a table of their own: what
 * reads events as such never meets one, and pays nothing for them.  keep/erasure.c
 * writes them, read/read.c mixes them in where they were asked for.
 */
#include "postgres.h"

#include "access/table.h"
#include "storage/bufmgr.h"

#include "event_store/stream/deletion.h"
#include "event_store/stream/table.h"
#include "pg/scan.h"

/*
 * Whether a type is one of theirs.
 */
bool
deletion_type(const char *type, int length)
{
	if (likely(length == 0 || type[0] != '$'))
		return false;
	return (length == strlen(EVENT_TYPE_DELETED) &&
			memcmp(type, EVENT_TYPE_DELETED, length) == 0) ||
		(length == strlen(EVENT_TYPE_TOMBSTONED) &&
		 memcmp(type, EVENT_TYPE_TOMBSTONED, length) == 0);
}

/*
 * Whether there may be any; most stores have none, and a look at the size of the
 * table tells.
 */
bool
deletion_any(void)
{
	Relation	heap = extension_table_open(&relation_deletion, AccessShareLock);
	bool		any = RelationGetNumberOfBlocks(heap) > 0;

	table_close(heap, AccessShareLock);
	return any;
}

/*
 * The position of the newest that a snapshot sees, 0 if there is none; NULL is a new
 * snapshot.
 */
int64
deletion_newest_position(Snapshot snapshot)
{
	TableScan	scan;
	bool		isnull;
	int64		position = 0;

	if (!deletion_any())
		return 0;
	table_scan_begin(&scan, &relation_deletion, &index_deletion_position, 0, NULL, snapshot);
	if (table_scan_next_slot(&scan, BackwardScanDirection))
		position = DatumGetInt64(slot_getattr(scan.slot, EVENT_POSITION + 1, &isnull));
	table_scan_end(&scan);
	return position;
}
