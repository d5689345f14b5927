/*
 * table.c
 *		Reading and writing the bus's tables without the executor.
 *
 * EXECUTE on the calling function was the check of rights; what else somebody
 * has hung on a table, pg/writer.c sees to.  Scans see what is committed when
 * they begin, whatever the isolation level, because a lane's holder must see what
 * the holder before it did.
 *
 * Lock protocol: a scan's lock goes when it ends, unless the place of a row is
 * remembered; then, and when something is written, it stays until the
 * transaction ends.
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/pg_collation.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "message_bus/know/table.h"
#include "pg/writer.h"

static void fill_row(Writer *writer, const Datum *values, const bool *nulls);

/*
 * Begins a scan.  snapshot NULL takes a new one.
 */
void
table_scan_begin(TableScan *scan, ExtensionRelation *table, ExtensionRelation *index,
				 int key_count, ScanKey keys, Snapshot snapshot)
{
	Relation	relation = extension_table_open(table, AccessShareLock);
	Snapshot	own = NULL;

	if (snapshot == NULL)
		own = snapshot = RegisterSnapshot(GetLatestSnapshot());
	table_scan_attach(scan, relation, index, key_count, keys, snapshot);
	scan->snapshot = own;
	scan->descriptor = extension_table_descriptor(table);
}

/*
 * Begins a scan of a table that is open and stays so; table_scan_detach() ends
 * it.
 */
void
table_scan_attach(TableScan *scan, Relation table, ExtensionRelation *index,
				  int key_count, ScanKey keys, Snapshot snapshot)
{
	scan->table = table;
	scan->index = index_open(extension_relation_oid(index), AccessShareLock);
	scan->snapshot = NULL;
	scan->descriptor = NULL;
	scan->slot = table_slot_create(table, NULL);
	scan->scan = compat_index_beginscan(table, scan->index, snapshot, key_count);
	index_rescan(scan->scan, keys, key_count, NULL, 0);
}

/*
 * The next tuple, valid until the next call; NULL after the last.
 */
HeapTuple
table_scan_next(TableScan *scan, ScanDirection direction)
{
	if (!index_getnext_slot(scan->scan, direction, scan->slot))
		return NULL;
	return ExecFetchSlotHeapTuple(scan->slot, false, NULL);
}

void
table_scan_detach(TableScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, AccessShareLock);
}

void
table_scan_end(TableScan *scan)
{
	table_scan_detach(scan);
	table_close(scan->table, AccessShareLock);
	if (scan->snapshot != NULL)
		UnregisterSnapshot(scan->snapshot);
}

/*
 * Is there a row that the keys find?
 */
bool
table_has_row(ExtensionRelation *table, ExtensionRelation *index, int key_count, ScanKey keys)
{
	TableScan	scan;
	bool		found;

	table_scan_begin(&scan, table, index, key_count, keys, NULL);
	found = table_scan_next(&scan, ForwardScanDirection) != NULL;
	table_scan_end(&scan);
	return found;
}

/*
 * A copy that needs nothing of the table any more, and has our columns alone.
 */
HeapTuple
table_copy_row(HeapTuple row, TupleDesc descriptor)
{
	/* Flattening takes it apart and puts it together again. */
	if (HeapTupleHasExternal(row) || HeapTupleHeaderGetNatts(row->t_data) > descriptor->natts)
		return toast_flatten_tuple(row, descriptor);
	return heap_copytuple(row);
}

/*
 * Keeps the table locked until the transaction ends: places of rows that were
 * found are remembered, and nobody may move the rows meanwhile, as VACUUM FULL,
 * CLUSTER and pg_repack do.
 */
void
table_keep_rows(TableScan *scan)
{
	LockRelationOid(RelationGetRelid(scan->table), RowExclusiveLock);
}

/*
 * Locks the scan's row for change, unless somebody else has it or has changed
 * it; then false.  The row stays where it is until the transaction ends.
 */
bool
table_lock_row(TableScan *scan, HeapTuple row)
{
	ItemPointerData tid = row->t_self;
	TM_FailureData failure;
	TupleTableSlot *slot = table_slot_create(scan->table, NULL);
	TM_Result	result;

	table_keep_rows(scan);
	result = table_tuple_lock(scan->table, &tid, scan->scan->xs_snapshot, slot,
							  GetCurrentCommandId(true), LockTupleExclusive, LockWaitSkip, 0,
							  &failure);
	ExecDropSingleTupleTableSlot(slot);
	return result == TM_Ok;
}

/*
 * Inserts a row.
 */
void
table_insert(ExtensionRelation *table, const Datum *values, const bool *nulls)
{
	Writer	   *writer = writer_open(table, RowExclusiveLock);

	fill_row(writer, values, nulls);
	(void) writer_insert(writer, InvalidOid);
	writer_close(writer);
}

/*
 * Replaces the row at tid, which nobody else may be changing.
 */
void
table_update(ExtensionRelation *table, ItemPointer tid, const Datum *values, const bool *nulls)
{
	Writer	   *writer = writer_open(table, RowExclusiveLock);

	fill_row(writer, values, nulls);
	writer_update(writer, tid);
	writer_close(writer);
}

/*
 * Deletes the row at tid, which nobody else may be changing.
 */
void
table_delete(ExtensionRelation *table, ItemPointer tid)
{
	Writer	   *writer = writer_open(table, RowExclusiveLock);

	writer_delete(writer, tid);
	writer_close(writer);
}

static void
fill_row(Writer *writer, const Datum *values, const bool *nulls)
{
	TupleTableSlot *row = writer_new_row(writer);
	int			count = writer->table->column_count;

	memcpy(row->tts_values, values, sizeof(Datum) * count);
	memcpy(row->tts_isnull, nulls, sizeof(bool) * count);
}

void
key_int4(ScanKey key, int column, StrategyNumber strategy, int32 value)
{
	Assert(strategy == BTEqualStrategyNumber);
	ScanKeyInit(key, column, strategy, F_INT4EQ, Int32GetDatum(value));
}

void
key_int8(ScanKey key, int column, StrategyNumber strategy, int64 value)
{
	static const RegProcedure compare[BTMaxStrategyNumber + 1] = {
		[BTEqualStrategyNumber] = F_INT8EQ,
		[BTGreaterStrategyNumber] = F_INT8GT,
		[BTLessEqualStrategyNumber] = F_INT8LE,
	};

	ScanKeyInit(key, column, strategy, compare[strategy], Int64GetDatum(value));
}

void
key_time(ScanKey key, int column, StrategyNumber strategy, TimestampTz value)
{
	static const RegProcedure compare[BTMaxStrategyNumber + 1] = {
		[BTEqualStrategyNumber] = F_TIMESTAMPTZ_EQ,
		[BTGreaterEqualStrategyNumber] = F_TIMESTAMPTZ_GE,
		[BTLessEqualStrategyNumber] = F_TIMESTAMPTZ_LE,
	};

	ScanKeyInit(key, column, strategy, compare[strategy], TimestampTzGetDatum(value));
}

void
key_uuid(ScanKey key, int column, pg_uuid_t *value)
{
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(value));
}

void
key_text(ScanKey key, int column, const char *value)
{
	ScanKeyEntryInitialize(key, 0, column, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(value));
}
