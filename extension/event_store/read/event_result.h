/*
 * event_result.h
 *		The result of a function that returns SETOF event_store.event.
 */
#ifndef ECOMMERCE_EVENT_STORE_READ_EVENT_RESULT_H
#define ECOMMERCE_EVENT_STORE_READ_EVENT_RESULT_H

#include "event_store/read/read.h"
#include "pg/result.h"

typedef struct EventResult
{
	SetResult	rows;
	TupleTableSlot *slot;
	MemoryContext row_context;	/* reset after each row */
	bool		as_stored;		/* events are given without upcasting */
	Upcasting	upcasting;
} EventResult;

extern void event_result_begin(FunctionCallInfo fcinfo, EventResult *result);
extern void event_result_put(EventResult *result, const Event *event);
extern void event_result_end(EventResult *result);

#endif
