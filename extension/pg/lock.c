/*
 * lock.c
 *		Heavyweight locks on what is no relation.
 *
 * They end with the transaction, or the savepoint that is rolled back, but for what a
 * session claims, and are seen by the deadlock detector.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"

#include "pg/lock.h"

/*
 * Takes a lock until the transaction or lock_give_back() ends it.  False if it is
 * taken and wait is false.
 */
bool
lock_take(LockSpace space, uint32 a, uint32 b, LOCKMODE mode, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, a, b, space);
	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Takes a lock until the session ends, whatever becomes of the transaction.  False if
 * another session has it.
 */
bool
lock_claim(LockSpace space, uint32 a, uint32 b)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, a, b, space);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
lock_give_back(LockSpace space, uint32 a, uint32 b, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, a, b, space);
	LockRelease(&tag, mode, false);
}

/*
 * Waits until the transactions have ended that have the lock now.
 */
void
lock_wait_for_holders(LockSpace space, uint32 a, uint32 b, LOCKMODE mode)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, a, b, space);
	holders = GetLockConflicts(&tag, mode, NULL);
	for (; VirtualTransactionIdIsValid(*holders); holders++)
		(void) VirtualXactLock(*holders, true);
	CHECK_FOR_INTERRUPTS();
}
