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
