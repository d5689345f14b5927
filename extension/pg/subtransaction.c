/*
 * subtransaction.c
 *		Running user code so that its failure undoes no more than itself.
 *
 * The one place that catches errors.  The abort of the subtransaction gives
 * back locks, rights, settings and SPI connections that the code had taken.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "pg/subtransaction.h"

/*
 * Runs body in a subtransaction of its own, in the current memory context.
 * Returns whether it went through; else *error, palloc'd, tells why not.
 */
bool
subtransaction_run(void (*body) (void *), void *argument, CancelPolicy policy, ErrorData **error)
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
	if (!done && policy == CANCEL_PASSES_ON && (*error)->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(*error);
	return done;
}
