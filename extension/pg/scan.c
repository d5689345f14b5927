/*
 * scan.c
 *		Reading our own tables in the order of an index, without the executor.
 *
 * EXECUTE on the calling function was the check of rights.  Without a snapshot of the
 * caller's, scans see what is committed when they begin, whatever the isolation level:
 * who holds a lock must see what its holder before him did.
 *
 * Lock protocol: a scan's lock goes when it ends, unless the place of a row is
 * remembered; then it stays until the transaction ends.
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/pg_collation.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pg/scan.h"

/*
 * Opens a table and an index of it, to look for rows.
 */
void
table_scan_open(TableScan *scan, ExtensionRelation *table, ExtensionRelation *index)
{
	scan->table = extension_table_open(table, AccessShareLock);
	scan->index = index_open(extension_relation_oid(index), AccessShareLock);
	scan->slot = table_slot_create(scan->table, NULL);
	scan->descriptor = extension_table_descriptor(table);
	scan->scan = NULL;
	scan->snapshot = NULL;
}

/*
 * Looks for the first row that the keys find; the slot has it then.
 */
bool
table_scan_first(TableScan *scan, int key_count, ScanKey keys, Snapshot snapshot,
				 ScanDirection direction)
{
	bool		found;

	(void) index_first(scan->table, scan->index, snapshot, key_count, keys, direction, scan->slot,
					   &found);
	return found;
}

void
table_scan_close(TableScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, AccessShareLock);
	table_close(scan->table, AccessShareLock);
	if (scan->snapshot != NULL)
		UnregisterSnapshot(scan->snapshot);
}

/*
 * Begins to read what the keys find in a table that table_scan_open() has opened.
 * The current memory context must live as long as the scan.
 */
void
table_scan_start(TableScan *scan, int key_count, ScanKey keys, Snapshot snapshot)
{
	scan->context = CurrentMemoryContext;
	scan->scan = compat_index_beginscan(scan->table, scan->index, snapshot, key_count);
	index_rescan(scan->scan, keys, key_count, NULL, 0);
}

/*
 * Opens a table and begins to read.  snapshot NULL takes a new one.
 */
void
table_scan_begin(TableScan *scan, ExtensionRelation *table, ExtensionRelation *index,
				 int key_count, ScanKey keys, Snapshot snapshot)
{
	table_scan_open(scan, table, index);
	if (snapshot == NULL)
		snapshot = scan->snapshot = RegisterSnapshot(GetLatestSnapshot());
	table_scan_start(scan, key_count, keys, snapshot);
}

void
table_scan_end(TableScan *scan)
{
	index_endscan(scan->scan);
	table_scan_close(scan);
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
	table_scan_start(scan, key_count, keys, snapshot);
}

void
table_scan_detach(TableScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, AccessShareLock);
}

/*
 * Begins anew with another value of the first key.
 */
void
table_scan_again(TableScan *scan, int key_count, ScanKey keys, Datum first)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);

	keys[0].sk_argument = first;
	index_rescan(scan->scan, keys, key_count, NULL, 0);
	MemoryContextSwitchTo(old);
}

/*
 * The next tuple, valid until the next call; NULL after the last.
 */
HeapTuple
table_scan_next(TableScan *scan, ScanDirection direction)
{
	if (!table_scan_next_slot(scan, direction))
		return NULL;
	return ExecFetchSlotHeapTuple(scan->slot, false, NULL);
}

/*
 * The first row an index gives for some keys; *found says whether there is one,
 * and slot holds it.  With a dirty snapshot, the running transaction that is
 * inserting or deleting the row, else InvalidTransactionId.
 */
TransactionId
index_first(Relation heap, Relation index, Snapshot snapshot, int key_count, ScanKey keys,
			ScanDirection direction, TupleTableSlot *slot, bool *found)
{
	IndexScanDesc scan = compat_index_beginscan(heap, index, snapshot, key_count);
	TransactionId in_progress = InvalidTransactionId;

	index_rescan(scan, keys, key_count, NULL, 0);
	*found = index_getnext_slot(scan, direction, slot);
	if (*found && snapshot->snapshot_type == SNAPSHOT_DIRTY)
		in_progress = TransactionIdIsValid(snapshot->xmin) ? snapshot->xmin : snapshot->xmax;
	/* The slot keeps its own pin on the buffer. */
	index_endscan(scan);
	return in_progress;
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
		[BTGreaterEqualStrategyNumber] = F_INT8GE,
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
key_uuid(ScanKey key, int column, const pg_uuid_t *value)
{
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(value));
}

void
key_text(ScanKey key, int column, const char *value, int length)
{
	ScanKeyEntryInitialize(key, 0, column, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ,
						   PointerGetDatum(cstring_to_text_with_len(value, length)));
}
