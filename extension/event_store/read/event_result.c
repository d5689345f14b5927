/*
 * event_result.c
 *		The result of a function that returns SETOF event_store.event.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "event_store/contract/contract.h"
#include "event_store/read/event_result.h"
#include "event_store/stream/table.h"

/*
 * Prepares the result.  Its columns are checked: the type may have been changed.
 */
void
event_result_begin(FunctionCallInfo fcinfo, EventResult *result)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	result_begin(fcinfo, &result->rows);
	event_row_check(result->rows.descriptor);
	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	result->slot = MakeSingleTupleTableSlot(result->rows.descriptor, &TTSOpsMinimalTuple);
	MemoryContextSwitchTo(old);
	result->as_stored = false;
	result->upcasting.role = InvalidOid;
	result->row_context = AllocSetContextCreate(CurrentMemoryContext, "event",
												ALLOCSET_DEFAULT_SIZES);
}

/*
 * Gives an event to the result of a function that returns SETOF
 * event_store.event.  Most can be given out as they are stored: the row's first
 * columns are the event's, so cutting the number of columns is all there is to do.
 */
void
event_result_put(EventResult *result, const Event *event)
{
	Datum		values[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];
	bool		nulls[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];
	MemoryContext old = MemoryContextSwitchTo(result->row_context);

	if (event->stored != NULL && !HeapTupleHasExternal(event->stored) &&
		(result->as_stored || !contract_has_upcaster(VARDATA_ANY(event->event_type),
													 VARSIZE_ANY_EXHDR(event->event_type))))
	{
		MinimalTuple row = compat_minimal_tuple(event->stored);

		HeapTupleHeaderSetNatts(row, EVENT_PUBLIC_COLUMNS);
		ExecStoreMinimalTuple(row, result->slot, false);
		tuplestore_puttupleslot(result->rows.store, result->slot);
		ExecClearTuple(result->slot);
	}
	else
	{
		if (result->as_stored)
			event_to_stored_values(event, values, nulls);
		else
			event_to_values(event, values, nulls, &result->upcasting);
		result_put(&result->rows, values, nulls);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(result->row_context);
}

/*
 * There are no more events: gives back what upcasters needed.
 */
void
event_result_end(EventResult *result)
{
	upcasting_end(&result->upcasting);
}
