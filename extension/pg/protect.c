/*
 * protect.c
 *		Errors that end a transaction of a background process, not the process.
 *
 * What a backend does at the top of its loop.  Whoever has failed waits longer
 * each time, and the log is told once of each error, again after a while.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/limit.h"
#include "pg/protect.h"

/* In milliseconds: the wait after the first failure, doubled with each, and the longest. */
#define FIRST_WAIT 500
#define LONGEST_WAIT (60 * 1000)

/* The same error is told again after this, in milliseconds. */
#define TELL_AGAIN (10 * 60 * 1000)

/*
 * Runs body outside any transaction; it starts and commits its own.  Returns NULL
 * if all went well, else the error, in the caller's memory context, after
 * whatever transaction was open has been aborted.
 */
ErrorData *
protect_run(void (*body) (void *), void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		body(argument);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		limit_end();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		/* What was taken outside a transaction. */
		LWLockReleaseAll();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return error;
}

/*
 * Notes that something has failed, and tells the log unless it has heard that
 * lately.
 */
void
protect_note(Trouble *trouble, const ErrorData *error, const char *what, const char *name)
{
	TimestampTz now = GetCurrentTimestamp();
	uint32		text = hash_bytes((const unsigned char *) error->message,
								  (int) strlen(error->message));
	int64		wait = Min((int64) FIRST_WAIT << Min(trouble->failures, 16), LONGEST_WAIT);

	trouble->retry_at = TimestampTzPlusMilliseconds(now, wait);
	trouble->failures++;
	if (trouble->told_code == error->sqlerrcode && trouble->told_text == text &&
		!TimestampDifferenceExceeds(trouble->told_at, now, TELL_AGAIN))
		return;
	trouble->told_code = error->sqlerrcode;
	trouble->told_text = text;
	trouble->told_at = now;
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("%s%s%s%s failed and is tried again: %s", what, name ? " \"" : "",
					name ? name : "", name ? "\"" : "", error->message),
			 error->detail ? errdetail("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0,
			 error->context ? errcontext("%s", error->context) : 0));
}

/*
 * It has gone well again.  What the log has heard, it has heard.
 */
void
protect_forget(Trouble *trouble)
{
	trouble->failures = 0;
	trouble->retry_at = 0;
}
