/*
 * passed.c
 *		Places in the ring, beyond the cursor of their lane, that are done with.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/rel.h"

#include "message_bus/place/passed.h"
#include "pg/scan.h"
#include "pg/writer.h"

/* Columns of message_bus.passed. */
enum
{
	PASSED_ENDPOINT_ID, PASSED_LANE, PASSED_POSITION, PASSED_COLUMNS
};

static const ExtensionColumn passed_columns[PASSED_COLUMNS] = {
	[PASSED_ENDPOINT_ID] = {"endpoint_id", INT4OID, true},
	[PASSED_LANE] = {"lane", INT4OID, true},
	[PASSED_POSITION] = {"position", INT8OID, true},
};

static ExtensionRelation passed_table = EXTENSION_TABLE("message_bus", "passed", passed_columns);
static ExtensionRelation passed_index = {"message_bus", "passed_pkey"};

/*
 * Notes that a message beyond its lane's cursor is settled.
 */
void
passed_add(const Endpoint *endpoint, int32 lane, int64 position)
{
	Datum		values[] = {
		Int32GetDatum(endpoint->id), Int32GetDatum(lane), Int64GetDatum(position)
	};
	bool		nulls[lengthof(values)] = {false};

	table_insert(&passed_table, values, nulls);
}

/*
 * Whether a message beyond its lane's cursor is settled already.
 */
bool
passed_has(const Endpoint *endpoint, int32 lane, int64 position)
{
	ScanKeyData keys[3];

	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	key_int8(&keys[2], 3, BTEqualStrategyNumber, position);
	return table_has_row(&passed_table, &passed_index, 3, keys);
}

/*
 * Forgets what a lane's new cursor covers; true if nothing is left beyond it.
 */
bool
passed_forget(const Endpoint *endpoint, int32 lane, int64 cursor)
{
	TableScan	scan;
	ScanKeyData keys[2];
	HeapTuple	row;
	bool		none_left = true;

	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	table_scan_begin(&scan, &passed_table, &passed_index, 2, keys, NULL);
	while ((row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
	{
		bool		isnull;
		Datum		position = heap_getattr(row, PASSED_POSITION + 1, scan.descriptor, &isnull);

		if (DatumGetInt64(position) <= cursor)
			table_delete(&passed_table, &row->t_self);
		else
			none_left = false;
	}
	table_scan_end(&scan);
	/* The cursor may move twice in a transaction. */
	CommandCounterIncrement();
	return none_left;
}
