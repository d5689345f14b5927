/*
 * failure.c
 *		What failed again and again, counted where no rollback undoes it.
 *
 * A consumer that fails rolls back, and with it whatever it could have written
 * about that.  So failures are counted in shared memory: under a key (a partition
 * of a subscription), by position; and up to where events are suspect, because
 * some of several that were given together failed.
 *
 * There is room for FAILURES of them on the server; the one with the fewest
 * failures makes room.  A crash of the server forgets all, and counting begins
 * anew.  The LWLock guards the entries; who finds their number zero, as nearly
 * always, does not take it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"

#include "log/failure.h"
#include "log/registry.h"

static RegistryFailure *find(uint32 key, int64 position);
static RegistryFailure *make(uint32 key, int64 position);
static void remove_entry(RegistryFailure *entry);

/*
 * Counts a failure at a position.
 */
void
failure_count(uint32 key, int64 position)
{
	LWLockAcquire(&registry()->lock, LW_EXCLUSIVE);
	make(key, position)->times++;
	LWLockRelease(&registry()->lock);
}

/*
 * Some position up to this one failed.
 */
void
failure_suspect(uint32 key, int64 upto)
{
	RegistryFailure *entry;

	LWLockAcquire(&registry()->lock, LW_EXCLUSIVE);
	entry = make(key, 0);
	entry->times++;
	entry->upto = Max(entry->upto, upto);
	LWLockRelease(&registry()->lock);
}

/*
 * How often a position has failed.
 */
int
failure_times(uint32 key, int64 position)
{
	RegistryFailure *entry;
	int			times;

	if (pg_atomic_read_u32(&registry()->failure_count) == 0)
		return 0;
	LWLockAcquire(&registry()->lock, LW_SHARED);
	entry = find(key, position);
	times = entry != NULL ? entry->times : 0;
	LWLockRelease(&registry()->lock);
	return times;
}

/*
 * Up to where positions are suspect, 0 if none is.
 */
int64
failure_suspected_upto(uint32 key)
{
	RegistryFailure *entry;
	int64		upto;

	if (pg_atomic_read_u32(&registry()->failure_count) == 0)
		return 0;
	LWLockAcquire(&registry()->lock, LW_SHARED);
	entry = find(key, 0);
	upto = entry != NULL ? entry->upto : 0;
	LWLockRelease(&registry()->lock);
	return upto;
}

/*
 * All positions up to this one have been dealt with.
 */
void
failure_forget(uint32 key, int64 upto)
{
	if (pg_atomic_read_u32(&registry()->failure_count) == 0)
		return;
	LWLockAcquire(&registry()->lock, LW_EXCLUSIVE);
	for (int i = 0; i < REGISTRY_FAILURES; i++)
	{
		RegistryFailure *entry = &registry()->failures[i];

		if (entry->times > 0 && entry->database == MyDatabaseId && entry->key == key &&
			Max(entry->position, entry->upto) <= upto)
			remove_entry(entry);
	}
	LWLockRelease(&registry()->lock);
}

/*
 * Whatever failed under so many keys from this one on shall be counted anew.
 */
void
failure_forget_all(uint32 first, uint32 count)
{
	if (pg_atomic_read_u32(&registry()->failure_count) == 0)
		return;
	LWLockAcquire(&registry()->lock, LW_EXCLUSIVE);
	for (int i = 0; i < REGISTRY_FAILURES; i++)
	{
		RegistryFailure *entry = &registry()->failures[i];

		if (entry->times > 0 && entry->database == MyDatabaseId && entry->key - first < count)
			remove_entry(entry);
	}
	LWLockRelease(&registry()->lock);
}

/*
 * This one has been dealt with, or shall be counted anew.
 */
void
failure_forget_one(uint32 key, int64 position)
{
	RegistryFailure *entry;

	if (pg_atomic_read_u32(&registry()->failure_count) == 0)
		return;
	LWLockAcquire(&registry()->lock, LW_EXCLUSIVE);
	entry = find(key, position);
	if (entry != NULL)
		remove_entry(entry);
	LWLockRelease(&registry()->lock);
}

static RegistryFailure *
find(uint32 key, int64 position)
{
	for (int i = 0; i < REGISTRY_FAILURES; i++)
	{
		RegistryFailure *entry = &registry()->failures[i];

		if (entry->times > 0 && entry->database == MyDatabaseId && entry->key == key &&
			entry->position == position)
			return entry;
	}
	return NULL;
}

/*
 * The entry of a position, which the one with the fewest failures makes room for.
 */
static RegistryFailure *
make(uint32 key, int64 position)
{
	RegistryFailure *entry = find(key, position);

	if (entry != NULL)
		return entry;
	entry = &registry()->failures[0];
	for (int i = 1; i < REGISTRY_FAILURES && entry->times > 0; i++)
	{
		if (registry()->failures[i].times < entry->times)
			entry = &registry()->failures[i];
	}
	if (entry->times == 0)
		pg_atomic_fetch_add_u32(&registry()->failure_count, 1);
	*entry = (RegistryFailure) {.database = MyDatabaseId, .key = key, .position = position};
	return entry;
}

static void
remove_entry(RegistryFailure *entry)
{
	entry->times = 0;
	pg_atomic_fetch_sub_u32(&registry()->failure_count, 1);
}
