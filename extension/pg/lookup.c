/*
 * lookup.c
 *		Reading the extension's small tables as PostgreSQL reads its catalogs.
 *
 * With the newest snapshot, whatever the transaction's isolation level: what
 * is cached from such a table must be as new as the invalidations that were
 * seen.  Takes an AccessShareLock for the length of the look-up.  No
 * privileges are checked: the caller's EXECUTE was the check.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "pg/lookup.h"

/*
 * Starts a look-up of the rows whose first column, a text in collation C, is
 * the given key, in the order of the index; NULL gives all rows.
 */
void
lookup_begin(Lookup *lookup, ExtensionRelation *table, ExtensionRelation *index,
			 const char *key, int length)
{
	ScanKeyData scankey;

	lookup->table = extension_table_open(table, AccessShareLock);
	lookup->descriptor = extension_table_descriptor(table);
	lookup->index = index_open(extension_relation_oid(index), AccessShareLock);
	if (key != NULL)
		ScanKeyInit(&scankey, 1, BTEqualStrategyNumber, F_TEXTEQ,
					PointerGetDatum(cstring_to_text_with_len(key, length)));
	lookup->scan = systable_beginscan_ordered(lookup->table, lookup->index, NULL,
											  key != NULL ? 1 : 0, &scankey);
	lookup->direction = ForwardScanDirection;
}

/*
 * The same in the opposite order.
 */
void
lookup_begin_backward(Lookup *lookup, ExtensionRelation *table, ExtensionRelation *index,
					  const char *key, int length)
{
	lookup_begin(lookup, table, index, key, length);
	lookup->direction = BackwardScanDirection;
}

/*
 * The next row, the table's own columns; values are valid until the one after it is asked for.
 */
bool
lookup_next(Lookup *lookup, Datum *values, bool *nulls)
{
	lookup->row = systable_getnext_ordered(lookup->scan, lookup->direction);
	if (!HeapTupleIsValid(lookup->row))
		return false;
	heap_deform_tuple(lookup->row, lookup->descriptor, values, nulls);
	return true;
}

void
lookup_end(Lookup *lookup)
{
	systable_endscan_ordered(lookup->scan);
	index_close(lookup->index, AccessShareLock);
	table_close(lookup->table, AccessShareLock);
}

/*
 * The first row an index gives for a key; *found says whether there is one,
 * and slot holds it.  With a dirty snapshot, the running transaction that is
 * inserting or deleting the row, else InvalidTransactionId.
 */
TransactionId
lookup_first(Relation heap, Relation index, Snapshot snapshot, int nkeys, ScanKey keys,
			 ScanDirection direction, TupleTableSlot *slot, bool *found)
{
	IndexScanDesc scan = compat_index_beginscan(heap, index, snapshot, nkeys);
	TransactionId in_progress = InvalidTransactionId;

	index_rescan(scan, keys, nkeys, NULL, 0);
	*found = index_getnext_slot(scan, direction, slot);
	if (*found && snapshot->snapshot_type == SNAPSHOT_DIRTY)
		in_progress = TransactionIdIsValid(snapshot->xmin) ? snapshot->xmin : snapshot->xmax;
	/* The slot keeps its own pin on the buffer. */
	index_endscan(scan);
	return in_progress;
}
