/*
 * scoped.c
 *		Values that are set for the rest of a transaction, and undone with the
 *		savepoint they were set in.
 *
 * As SET LOCAL does it: ROLLBACK TO SAVEPOINT and a caught exception bring back
 * what stood before, RELEASE keeps what was set, the end of the transaction
 * forgets all.  A value has one level for each subtransaction that has set it,
 * in TopTransactionContext.  The values themselves must live as long.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "pg/callbacks.h"
#include "pg/scoped.h"

struct ScopedLevel
{
	Datum		value;
	SubTransactionId set_in;
	ScopedLevel *outer;
};

static Scoped *all_known = NULL;

static void transaction_ended(XactEvent event, void *arg);
static void subtransaction_ended(SubXactEvent event, SubTransactionId mine,
								 SubTransactionId parent, void *arg);

/*
 * What is set, 0 if nothing is.
 */
Datum
scoped_get(const Scoped *scoped)
{
	return scoped->innermost != NULL ? scoped->innermost->value : (Datum) 0;
}

/*
 * Sets a value until the transaction ends or the savepoint is rolled back.
 */
void
scoped_set(Scoped *scoped, Datum value)
{
	SubTransactionId mine = GetCurrentSubTransactionId();
	ScopedLevel *level = scoped->innermost;

	if (all_known == NULL)
	{
		callback_on_transaction(transaction_ended);
		callback_on_savepoint(subtransaction_ended);
	}
	if (!scoped->known)
	{
		scoped->known = true;
		scoped->next = all_known;
		all_known = scoped;
	}
	if (level == NULL || level->set_in != mine)
	{
		level = MemoryContextAlloc(TopTransactionContext, sizeof(ScopedLevel));
		level->set_in = mine;
		level->outer = scoped->innermost;
		scoped->innermost = level;
	}
	level->value = value;
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	for (Scoped *scoped = all_known; scoped != NULL; scoped = scoped->next)
		scoped->innermost = NULL;
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (Scoped *scoped = all_known; scoped != NULL; scoped = scoped->next)
	{
		ScopedLevel *level = scoped->innermost;

		if (level == NULL || level->set_in != mine)
			continue;
		if (event == SUBXACT_EVENT_ABORT_SUB)
			scoped->innermost = level->outer;
		else if (level->outer != NULL && level->outer->set_in == parent)
		{
			level->outer->value = level->value;
			scoped->innermost = level->outer;
		}
		else
			level->set_in = parent;
	}
}
