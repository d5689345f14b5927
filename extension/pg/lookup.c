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
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pg/lookup.h"

/*
 * Starts a look-up of the rows whose first column, a text in collation C, is
 * the given key, in the order of the index; NULL gives all rows.
 */
void
lookup_begin(Lookup *lookup, ExtensionRelation *table, ExtensionRelation *index,
			 const char *key, int length)
{
	TableScan  *scan = &lookup->scan;
	ScanKeyData scankey;

	table_scan_open(scan, table, index);
	scan->snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(scan->table)));
	if (key != NULL)
		key_text(&scankey, 1, key, length);
	table_scan_start(scan, key != NULL ? 1 : 0, &scankey, scan->snapshot);
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
	lookup->row = table_scan_next(&lookup->scan, lookup->direction);
	if (!HeapTupleIsValid(lookup->row))
		return false;
	heap_deform_tuple(lookup->row, lookup->scan.descriptor, values, nulls);
	return true;
}

void
lookup_end(Lookup *lookup)
{
	table_scan_end(&lookup->scan);
}

/*
 * Room for one more element of an array that has count, moved whenever it is full.
 */
void *
lookup_one_more(MemoryContext context, void *array, int count, Size element)
{
	if (count == 0)
		return MemoryContextAlloc(context, element);
	if ((count & (count - 1)) != 0)
		return array;
	return repalloc(array, element * count * 2);
}
