/*
 * row.c
 *		A message as a row of one of our tables, taken apart; how it has failed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"

#include "message_bus/place/row.h"
#include "pg/scan.h"

/*
 * Has a table, by its index of ids, that message of the endpoint?
 */
bool
row_exists(ExtensionRelation *table, ExtensionRelation *index, const Endpoint *endpoint,
		   const pg_uuid_t *message_id)
{
	ScanKeyData keys[2];

	key_uuid(&keys[0], 1, message_id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, endpoint->id);
	return table_has_row(table, index, 2, keys);
}

/*
 * The same for many: found is set for those that it has, and left as it is for others.
 */
void
rows_find(ExtensionRelation *table, ExtensionRelation *index, const Endpoint *endpoint,
		  const pg_uuid_t *message_ids, int count, bool *found)
{
	TableScan	scan;
	ScanKeyData keys[2];

	key_uuid(&keys[0], 1, &message_ids[0]);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, endpoint->id);
	table_scan_begin(&scan, table, index, 2, keys, NULL);
	for (int i = 0; i < count; i++)
	{
		table_scan_again(&scan, 2, keys, UUIDPGetDatum(&message_ids[i]));
		found[i] |= table_scan_next_slot(&scan, ForwardScanDirection);
	}
	table_scan_end(&scan);
}

/*
 * Takes a row apart; values point into it.
 */
void
row_read(HeapTuple row, TupleDesc descriptor, RowValues *values)
{
	Assert(descriptor->natts <= ASIDE_COLUMNS);
	heap_deform_tuple(row, descriptor, values->values, values->nulls);
}

/*
 * How a message has failed, including now.
 */
Failure
row_failure(const RowValues *row, int32 attempts, TimestampTz now)
{
	Failure		failure = {attempts, NULL, NULL, now, now};

	if (!row->nulls[ASIDE_FIRST_FAILED_AT])
		failure.first_at = DatumGetTimestampTz(row->values[ASIDE_FIRST_FAILED_AT]);
	return failure;
}

/*
 * How a message has failed before; NULL if it has not.
 */
const Failure *
row_failed_before(const RowValues *row, Failure *failure)
{
	if (row->nulls[ASIDE_FIRST_FAILED_AT])
		return NULL;
	failure->attempts = DatumGetInt32(row->values[ASIDE_ATTEMPT]);
	failure->code = row->nulls[ASIDE_ERROR_CODE]
						? NULL
						: TextDatumGetCString(row->values[ASIDE_ERROR_CODE]);
	failure->text = row->nulls[ASIDE_ERROR] ? NULL : TextDatumGetCString(row->values[ASIDE_ERROR]);
	failure->first_at = DatumGetTimestampTz(row->values[ASIDE_FIRST_FAILED_AT]);
	failure->last_at = DatumGetTimestampTz(row->values[ASIDE_LAST_FAILED_AT]);
	return failure;
}
