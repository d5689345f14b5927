/*
 * reader.h
 *		What SQL functions that give events share.
 */
#ifndef ECOMMERCE_EVENT_STORE_READER_H
#define ECOMMERCE_EVENT_STORE_READER_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/tuplestore.h"

#include "event_store/read.h"

/* The result of a function that returns a set. */
typedef struct ReaderResult
{
	Tuplestorestate *store;
	TupleDesc	descriptor;
	TupleTableSlot *slot;
	MemoryContext row_context;	/* reset after each row */
	bool		as_stored;		/* events are given without upcasting */
} ReaderResult;

extern void reader_begin_result(FunctionCallInfo fcinfo, ReaderResult *result);
extern void reader_put_event(ReaderResult *result, const Event *event);
extern uint32 reader_key(const EventFilter *filter);
extern void reader_channel(const char *category, int length, char *channel);

#endif
