/*
 * aside.c
 *		Messages that have left their place in the ring and are not settled:
 *		scheduled, waiting for a retry, held by a breaker, returned.
 *
 * Lock protocol: rows of a lane belong to the lane's holder, who locks the row
 * too before he hands the message out; scheduled messages are inserted, and
 * cancelled before they are due, by anybody.  When a lane must be looked at is
 * kept in shared memory: who inserts lowers it after his commit; the holder
 * raises it to what he found, unless it was lowered since he began to look.
 *
 * A crash leaves the rows; load.c computes the due times again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "log/wakeup.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/row.h"
#include "pg/writer.h"

static void fill(RowValues *row, TimestampTz due_at, int32 attempt, const Failure *failure,
				 int64 receipt);
static void set_column(RowValues *row, int column, Datum value, bool present);

/*
 * The shape of message_bus.aside.
 */
TupleDesc
aside_descriptor(void)
{
	return extension_table_descriptor(&bus_aside_table);
}

/*
 * Begins to read a lane's messages in the order of their due times.
 */
void
aside_scan_begin(TableScan *scan, const Endpoint *endpoint, int32 lane, AsideRange range,
				 TimestampTz at)
{
	static const StrategyNumber strategies[] = {
		[ASIDE_DUE] = BTLessEqualStrategyNumber,
		[ASIDE_FROM] = BTGreaterEqualStrategyNumber,
		[ASIDE_HELD] = BTEqualStrategyNumber,
	};
	ScanKeyData keys[3];

	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, lane);
	if (range != ASIDE_ALL)
		key_time(&keys[2], 3, strategies[range], range == ASIDE_HELD ? DUE_WHEN_RELEASED : at);
	table_scan_begin(scan, &bus_aside_table, &bus_aside_due_index, range == ASIDE_ALL ? 2 : 3, keys,
					 NULL);
}

/*
 * When the first of a lane's messages is due, of those that are not due before that
 * time; NEVER_DUE if there is none that waits for a time.
 */
TimestampTz
aside_first_due(const Endpoint *endpoint, int32 lane, TimestampTz from)
{
	TableScan	scan;
	HeapTuple	row;
	TimestampTz due = NEVER_DUE;

	aside_scan_begin(&scan, endpoint, lane, ASIDE_FROM, from);
	row = table_scan_next(&scan, ForwardScanDirection);
	if (row != NULL)
	{
		bool		isnull;

		due = DatumGetTimestampTz(heap_getattr(row, ASIDE_DUE_AT + 1, scan.descriptor, &isnull));
	}
	table_scan_end(&scan);
	return due;
}

/*
 * Sets a message aside.  The caller notes the due time for the lane.
 */
void
aside_insert(const RowValues *row, const char *state, TimestampTz due_at, int32 attempt,
			 const Failure *failure, int64 receipt)
{
	RowValues	aside = *row;

	set_column(&aside, ASIDE_STATE, CStringGetTextDatum(state), true);
	fill(&aside, due_at, attempt, failure, receipt);
	if (!row->nulls[ROW_EXPIRES_AT])
		note_expiry(DatumGetTimestampTz(row->values[ROW_EXPIRES_AT]));
	table_insert(&bus_aside_table, aside.values, aside.nulls);
}

/*
 * Lets a message that was set aside wait on.
 */
void
aside_update(ItemPointer tid, const RowValues *row, const char *state, TimestampTz due_at,
			 int32 attempt, const Failure *failure, int64 receipt)
{
	RowValues	aside = *row;

	set_column(&aside, ASIDE_STATE, CStringGetTextDatum(state), true);
	fill(&aside, due_at, attempt, failure, receipt);
	table_update(&bus_aside_table, tid, aside.values, aside.nulls);
}

/*
 * The message has been leased under that receipt.
 */
void
aside_lease(ItemPointer tid, const RowValues *row, int64 receipt)
{
	RowValues	aside = *row;

	set_column(&aside, ASIDE_RECEIPT, Int64GetDatum(receipt), true);
	table_update(&bus_aside_table, tid, aside.values, aside.nulls);
}

static void
fill(RowValues *row, TimestampTz due_at, int32 attempt, const Failure *failure, int64 receipt)
{
	const Failure none = {0};
	const Failure *f = failure != NULL ? failure : &none;

	set_column(row, ASIDE_DUE_AT, TimestampTzGetDatum(due_at), true);
	set_column(row, ASIDE_ATTEMPT, Int32GetDatum(attempt), true);
	set_column(row, ASIDE_RECEIPT, Int64GetDatum(receipt), receipt != 0);
	set_column(row, ASIDE_ERROR_CODE, f->code ? CStringGetTextDatum(f->code) : 0, f->code != NULL);
	set_column(row, ASIDE_ERROR, f->text ? CStringGetTextDatum(f->text) : 0, f->text != NULL);
	set_column(row, ASIDE_FIRST_FAILED_AT, TimestampTzGetDatum(f->first_at), failure != NULL);
	set_column(row, ASIDE_LAST_FAILED_AT, TimestampTzGetDatum(f->last_at), failure != NULL);
}

static void
set_column(RowValues *row, int column, Datum value, bool present)
{
	row->values[column] = value;
	row->nulls[column] = !present;
}

/*
 * Is the message set aside for the endpoint?
 */
bool
aside_has_message(const Endpoint *endpoint, pg_uuid_t *message_id)
{
	return row_exists(&bus_aside_table, &bus_aside_id_index, endpoint, message_id);
}

/*
 * Which of many messages are; found is left as it is for others.
 */
void
aside_find_messages(const Endpoint *endpoint, const pg_uuid_t *message_ids, int count,
					bool *found)
{
	rows_find(&bus_aside_table, &bus_aside_id_index, endpoint, message_ids, count, found);
}
