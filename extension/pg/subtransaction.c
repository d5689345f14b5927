/*
 * subtransaction.c
 *		Running what may fail so that its failure undoes no more than itself.
 *
 * The one place that catches errors.  The abort of the subtransaction gives
 * back locks, rights, settings, context and SPI connections that the code had
 * taken.
 *
 * A cancelled query is the user's wish where there is a user: in a client's
 * backend it passes on.  In a worker nobody waits for the transaction: whoever
 * cancels it wants an end of what it stands in, so there it is a failure like
 * any other, and the worker goes on with the rest of its work, unless it is the
 * end of a turn's time (limit.h).  Termination is FATAL and never comes here.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "pg/limit.h"
#include "pg/subtransaction.h"

/*
 * Runs body in a subtransaction of its own, in the current memory context.
 * Returns whether it went through; else *error, palloc'd, tells why not.
 */
bool
subtransaction_run(SubtransactionBody body, void *argument, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	*error = NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		body(argument);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		*error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (!done && !limit_fails_piece(*error) && (!compat_is_background_worker() || limit_reached))
		ReThrowError(*error);
	return done;
}
