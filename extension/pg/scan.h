/*
 * scan.h
 *		Reading our own tables in the order of an index, without the executor.
 *
 * Usage:
 *		key_int4(&keys[0], 1, BTEqualStrategyNumber, 42);
 *		table_scan_begin(&scan, &table, &index, 1, keys, NULL);
 *		while ((row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
 *			... heap_deform_tuple(row, scan.descriptor, ...)
 *		table_scan_end(&scan);
 */
#ifndef ECOMMERCE_PG_SCAN_H
#define ECOMMERCE_PG_SCAN_H

#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/relation.h"

/* A table and an index of it, open, and what is being read of them. */
typedef struct TableScan
{
	Relation	table;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;		/* the row that was found */
	Snapshot	snapshot;		/* ours to unregister, or NULL */
	TupleDesc	descriptor;		/* of the columns we know */
	MemoryContext context;		/* lives as long as the scan */
} TableScan;

extern void table_scan_open(TableScan *scan, ExtensionRelation *table, ExtensionRelation *index);
extern bool table_scan_first(TableScan *scan, int key_count, ScanKey keys, Snapshot snapshot,
							 ScanDirection direction);
extern void table_scan_close(TableScan *scan);
extern void table_scan_start(TableScan *scan, int key_count, ScanKey keys, Snapshot snapshot);
extern void table_scan_begin(TableScan *scan, ExtensionRelation *table, ExtensionRelation *index,
							 int key_count, ScanKey keys, Snapshot snapshot);
extern void table_scan_end(TableScan *scan);
extern void table_scan_attach(TableScan *scan, Relation table, ExtensionRelation *index,
							  int key_count, ScanKey keys, Snapshot snapshot);
extern void table_scan_detach(TableScan *scan);
extern void table_scan_again(TableScan *scan, int key_count, ScanKey keys, Datum first);
extern HeapTuple table_scan_next(TableScan *scan, ScanDirection direction);

extern TransactionId index_first(Relation heap, Relation index, Snapshot snapshot, int key_count,
								 ScanKey keys, ScanDirection direction, TupleTableSlot *slot,
								 bool *found);
extern bool table_has_row(ExtensionRelation *table, ExtensionRelation *index,
						  int key_count, ScanKey keys);
extern HeapTuple table_copy_row(HeapTuple row, TupleDesc descriptor);
extern void table_keep_rows(TableScan *scan);
extern bool table_lock_row(TableScan *scan, HeapTuple row);

extern void key_int4(ScanKey key, int column, StrategyNumber strategy, int32 value);
extern void key_int8(ScanKey key, int column, StrategyNumber strategy, int64 value);
extern void key_time(ScanKey key, int column, StrategyNumber strategy, TimestampTz value);
extern void key_uuid(ScanKey key, int column, const pg_uuid_t *value);
extern void key_text(ScanKey key, int column, const char *value, int length);

/*
 * The same into the scan's slot; false after the last.  Whatever context the caller
 * is in: an index remembers things from one row to the next where it is called, such
 * as which entries are dead.
 */
static inline bool
table_scan_next_slot(TableScan *scan, ScanDirection direction)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	bool		found = index_getnext_slot(scan->scan, direction, scan->slot);

	MemoryContextSwitchTo(old);
	return found;
}

#endif
