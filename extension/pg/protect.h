/*
 * protect.h
 *		Errors that end a transaction of a background process, not the process.
 */
#ifndef ECOMMERCE_PG_PROTECT_H
#define ECOMMERCE_PG_PROTECT_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* What is remembered of something that has failed.  Zero it first. */
typedef struct Trouble
{
	int			failures;		/* in a row */
	TimestampTz retry_at;
	int			told_code;		/* what the log has been told last, and when */
	uint32		told_text;
	TimestampTz told_at;
} Trouble;

extern ErrorData *protect_run(void (*body) (void *), void *argument);
extern void protect_note(Trouble *trouble, const ErrorData *error, const char *what,
						 const char *name);
extern void protect_forget(Trouble *trouble);

#endif
