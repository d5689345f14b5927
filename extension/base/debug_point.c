/*
 * debug_point.c
 *		Stops a backend at a named place, or breaks it there, for tests only.
 *
 * Lock protocol: shares the advisory lock (hash of the name, 0) and gives it
 * back at once, so whoever holds it exclusively stops everybody who comes by.
 * A crash leaves nothing behind.
 */
#include "postgres.h"

#include "base/debug_point.h"

#ifdef ECOMMERCE_DEBUG_POINTS

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"

/*
 * The lock that pg_advisory_lock(hashtext(name)::bigint) takes.
 */
static LOCKTAG
lock_of(const char *name)
{
	LOCKTAG		tag;
	int64		key = (int32) DatumGetUInt32(hash_any((const unsigned char *) name,
													  (int) strlen(name)));

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, 1);
	return tag;
}

/*
 * Waits until nobody holds the lock.
 */
void
debug_point_wait(const char *name)
{
	LOCKTAG		tag = lock_of(name);

	(void) LockAcquire(&tag, ShareLock, false, false);
	LockRelease(&tag, ShareLock, false);
}

/*
 * The same in a transaction of its own.
 */
void
debug_point_wait_outside(const char *name)
{
	StartTransactionCommand();
	debug_point_wait(name);
	CommitTransactionCommand();
}

/*
 * Fails as long as somebody holds the lock.
 */
void
debug_fail(const char *name)
{
	if (debug_held(name))
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("%s fails", name)));
}

/*
 * Whether somebody holds the lock.
 */
bool
debug_held(const char *name)
{
	LOCKTAG		tag = lock_of(name);

	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, false);
	return false;
}

/*
 * Whether the server was started with this part of the code broken.
 */
bool
debug_break(const char *name)
{
	static const char *broken = NULL;

	if (broken == NULL)
	{
		broken = getenv("ECOMMERCE_BREAK");
		if (broken == NULL)
			broken = "";
	}
	return strcmp(broken, name) == 0;
}

#endif
