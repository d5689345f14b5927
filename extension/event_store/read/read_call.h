/*
 * read_call.h
 *		Calls of the functions that read events in the order of an index.
 */
#ifndef ECOMMERCE_EVENT_STORE_READ_READ_CALL_H
#define ECOMMERCE_EVENT_STORE_READ_READ_CALL_H

#include "postgres.h"

#include "event_store/read/read.h"

/* A call under way: its scan, and the snapshot that the scan reads with. */
typedef struct ReadCall
{
	EventScan  *scan;
	Snapshot	snapshot;
	int64		max_count;
	int64		count;			/* given so far */
} ReadCall;

/* Such a function: the C symbol behind it, and what starts a call of it. */
typedef struct ReadFunction
{
	const char *symbol;
	int			nargs;
	void		(*open) (ReadCall *call, const NullableDatum *args);
} ReadFunction;

extern const ReadFunction *read_function(const char *symbol);
extern bool read_call_next(ReadCall *call, Event *event);
extern void read_call_restart(ReadCall *call);
extern void read_call_close(ReadCall *call);

/* Arguments that reads have in common. */
extern int64 read_max_count(const NullableDatum *argument);
extern void read_filter(EventFilter *filter, const NullableDatum *category,
						const NullableDatum *stream);

#endif
