/*
 * table.h
 *		Reading and writing the bus's tables without the executor.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KNOW_TABLE_H
#define ECOMMERCE_MESSAGE_BUS_KNOW_TABLE_H

#include "postgres.h"

#include "utils/uuid.h"
#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "pg/relation.h"

/* A scan of an index in its order, seeing what is committed now. */
typedef struct TableScan
{
	Relation	table;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	Snapshot	snapshot;		/* ours to unregister, or NULL */
	TupleDesc	descriptor;		/* of the columns we know; from table_scan_begin() */
} TableScan;

extern void table_scan_begin(TableScan *scan, ExtensionRelation *table, ExtensionRelation *index,
							 int key_count, ScanKey keys, Snapshot snapshot);
extern void table_scan_attach(TableScan *scan, Relation table, ExtensionRelation *index,
							  int key_count, ScanKey keys, Snapshot snapshot);
extern void table_scan_detach(TableScan *scan);
extern HeapTuple table_scan_next(TableScan *scan, ScanDirection direction);
extern void table_scan_end(TableScan *scan);

extern bool table_has_row(ExtensionRelation *table, ExtensionRelation *index,
						  int key_count, ScanKey keys);
extern HeapTuple table_copy_row(HeapTuple row, TupleDesc descriptor);
extern void table_keep_rows(TableScan *scan);
extern bool table_lock_row(TableScan *scan, HeapTuple row);
extern void table_insert(ExtensionRelation *table, const Datum *values, const bool *nulls);
extern void table_update(ExtensionRelation *table, ItemPointer tid,
						 const Datum *values, const bool *nulls);
extern void table_delete(ExtensionRelation *table, ItemPointer tid);

extern void key_int4(ScanKey key, int column, StrategyNumber strategy, int32 value);
extern void key_int8(ScanKey key, int column, StrategyNumber strategy, int64 value);
extern void key_time(ScanKey key, int column, StrategyNumber strategy, TimestampTz value);
extern void key_uuid(ScanKey key, int column, pg_uuid_t *value);
extern void key_text(ScanKey key, int column, const char *value);

#endif
