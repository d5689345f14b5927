/*
 * registry.c
 *		The shared memory of layer log.
 *
 * Lock protocol: the LWLock guards which database an entry belongs to.  The
 * rest is atomics, each with one writer or with compare-and-swap; the order of
 * stores that matters is described in position.c and wakeup.c.
 *
 * A crash of the server or of any backend clears all of it.  What must not be
 * lost then is in the sequence's WAL, from where it is filled again.
 *
 * Without shared_preload_libraries the memory comes out of the slack that
 * PostgreSQL keeps for such latecomers, hence fewer holds per slot.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/syscache.h"

#include "log/registry.h"

#define HOLDS_PRELOADED 8
#define HOLDS_LATE 2

static Registry *shared_registry = NULL;
static RegistryDatabase *my_database = NULL;
static bool requested = false;

static Size registry_size(void);
static Size slot_size(int holds);
static RegistryDatabase *find_database(Oid database, bool create);
static bool forget_dropped(void);

/*
 * Bytes of shared memory needed when preloaded.
 */
static Size
registry_size(void)
{
	return add_size(MAXALIGN(sizeof(Registry)),
					mul_size(slot_size(HOLDS_PRELOADED), compat_max_backends()));
}

/*
 * Reserves the shared memory; from the shmem request hook.
 */
void
registry_request(void)
{
	RequestAddinShmemSpace(registry_size());
	requested = true;
}

/*
 * Creates the shared memory or finds what another process has created.  After a
 * crash the postmaster calls this again, for new memory.
 */
void
registry_attach(void)
{
	int			holds = requested ? HOLDS_PRELOADED : HOLDS_LATE;
	int			slots = compat_max_backends();
	Registry   *r;
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	r = ShmemInitStruct("ecommerce registry",
						add_size(MAXALIGN(sizeof(Registry)), mul_size(slot_size(holds), slots)),
						&found);
	if (!found)
	{
		memset(r, 0, MAXALIGN(sizeof(Registry)) + slot_size(holds) * slots);
		r->tranche = LWLockNewTrancheId();
		LWLockInitialize(&r->lock, r->tranche);
		r->preloaded = requested;
		r->slot_count = slots;
		r->slot_size = slot_size(holds);
		r->holds_per_slot = holds;
		pg_atomic_init_u32(&r->launcher, 0);
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(r->tranche, "ecommerce");
	shared_registry = r;
}

/*
 * The registry, attached at the first use of a process.
 */
Registry *
registry(void)
{
	if (unlikely(shared_registry == NULL))
		registry_attach();
	return shared_registry;
}

/*
 * The slot of the backend with this number.
 */
RegistrySlot *
registry_slot(int number)
{
	Registry   *r = registry();

	Assert(number >= 0 && number < r->slot_count);
	return (RegistrySlot *) ((char *) r + MAXALIGN(sizeof(Registry)) +
							 (Size) number * r->slot_size);
}

/*
 * The entry of a database, NULL if it has none and create is false.
 */
RegistryDatabase *
registry_database(Oid database, bool create)
{
	RegistryDatabase *found = find_database(database, create);

	/* Without a launcher nobody else says so. */
	if (found == NULL && create && forget_dropped())
		found = find_database(database, true);
	if (found == NULL && create)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("extension \"ecommerce\" is in use in %d databases of this server already",
						REGISTRY_DATABASES),
				 errhint("Use fewer databases, or a second server.")));
	return found;
}

static RegistryDatabase *
find_database(Oid database, bool create)
{
	Registry   *r = registry();
	RegistryDatabase *free_entry = NULL;
	RegistryDatabase *found = NULL;

	LWLockAcquire(&r->lock, create ? LW_EXCLUSIVE : LW_SHARED);
	for (int i = 0; i < REGISTRY_DATABASES && found == NULL; i++)
	{
		RegistryDatabase *entry = &r->databases[i];

		if (entry->database == database)
			found = entry;
		else if (entry->database == InvalidOid && free_entry == NULL)
			free_entry = entry;
	}
	if (found == NULL && create && free_entry != NULL)
	{
		memset(free_entry, 0, sizeof(*free_entry));
		free_entry->database = database;
		found = free_entry;
	}
	LWLockRelease(&r->lock);
	return found;
}

/*
 * Frees the entries of databases that are gone; nobody is connected to them, so
 * nobody has their entries.  True if there was one.
 */
static bool
forget_dropped(void)
{
	Registry   *r = registry();
	Oid			databases[REGISTRY_DATABASES];
	bool		some = false;

	if (!IsTransactionState())
		return false;
	LWLockAcquire(&r->lock, LW_SHARED);
	for (int i = 0; i < REGISTRY_DATABASES; i++)
		databases[i] = r->databases[i].database;
	LWLockRelease(&r->lock);
	for (int i = 0; i < REGISTRY_DATABASES; i++)
	{
		if (!OidIsValid(databases[i]) ||
			SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(databases[i])))
			continue;
		registry_forget_database(databases[i]);
		some = true;
	}
	return some;
}

/*
 * The entry of the database this process is connected to.
 */
RegistryDatabase *
registry_my_database(void)
{
	if (unlikely(my_database == NULL))
		my_database = registry_database(MyDatabaseId, true);
	return my_database;
}

/*
 * Frees the entry of a database that is gone.
 */
void
registry_forget_database(Oid database)
{
	Registry   *r = registry();

	LWLockAcquire(&r->lock, LW_EXCLUSIVE);
	for (int i = 0; i < REGISTRY_DATABASES; i++)
	{
		if (r->databases[i].database == database)
			r->databases[i].database = InvalidOid;
	}
	LWLockRelease(&r->lock);
}

static Size
slot_size(int holds)
{
	return CACHELINEALIGN(add_size(offsetof(RegistrySlot, holds),
								   mul_size(sizeof(RegistryHold), holds)));
}
