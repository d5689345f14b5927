/*
 * shared.c
 *		The shared memory of the bus: one small fixed part, the rest in a dynamic
 *		area, because nobody knows how many endpoints there will be.
 *
 * Lock protocol: the LWLock of the fixed part guards the creation of the area;
 * afterwards the hash tables have locks of their own.  Entries are never
 * removed, so what was found may be kept.  An endpoint that was dropped costs
 * its entry until the server stops; ids are not used again.
 *
 * A crash clears all of it; load.c fills it from the tables again.
 */
#include "postgres.h"

#include "base/compat.h"
#include "lib/dshash.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "log/restore.h"
#include "message_bus/know/flight.h"
#include "message_bus/know/relations.h"
#include "message_bus/know/shared.h"

/* Who claims millions of message ids in a transaction gets an error before others do. */
#define AREA_LIMIT ((size_t) 1024 * 1024 * 1024)
#define SMALL_LIMIT ((size_t) 8 * 1024 * 1024)

typedef struct BusShared
{
	LWLock		lock;
	int			tranche;
	dsa_handle	area;
	dshash_table_handle databases;
	dshash_table_handle endpoints;
	dshash_table_handle claims;
	bool		created;
} BusShared;

/* A message id that a running transaction is sending. */
typedef struct ClaimKey
{
	Oid			database;
	int32		endpoint_id;
	pg_uuid_t	message_id;
} ClaimKey;

typedef struct Claim
{
	ClaimKey	key;
	VirtualTransactionId owner;
} Claim;

static BusShared *shared = NULL;
static dsa_area *area = NULL;
static dshash_table *databases = NULL;
static dshash_table *endpoints = NULL;
static dshash_table *claims = NULL;
static BusDatabase *my_database = NULL;

static void attach_area(void);
static void make_lanes(BusEndpoint *endpoint, int32 lane_count);

/*
 * Bytes of fixed shared memory.
 */
Size
bus_shared_size(void)
{
	return add_size(MAXALIGN(sizeof(BusShared)), flight_shared_size());
}

/*
 * Creates the fixed part or finds it.  The postmaster comes here again when it
 * makes shared memory anew after a crash, so what it knew does not count.
 */
void
bus_shared_attach(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("ecommerce message bus", sizeof(BusShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(*shared));
		shared->tranche = LWLockNewTrancheId();
		LWLockInitialize(&shared->lock, shared->tranche);
	}
	flight_shared_attach();
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(shared->tranche, "ecommerce_message_bus");
}

static dshash_parameters
table_parameters(size_t key_size, size_t entry_size)
{
	dshash_parameters parameters = {0};

	parameters.key_size = key_size;
	parameters.entry_size = entry_size;
	parameters.compare_function = dshash_memcmp;
	parameters.hash_function = dshash_memhash;
	compat_dshash_copy_function(parameters);
	parameters.tranche_id = shared->tranche;
	return parameters;
}

/*
 * The dynamic area, mapped for good, created if need be.  Remembered, since nothing can
 * be mapped twice, and what comes after it may fail.
 */
static dsa_area *
map_area(void)
{
	static dsa_area *mapped = NULL;

	/* Created in vain; another process was luckier. */
	if (mapped != NULL && shared->created && dsa_get_handle(mapped) != shared->area)
		mapped = NULL;
	if (mapped != NULL)
		return mapped;
	if (shared->created)
		mapped = dsa_attach(shared->area);
	else
	{
		mapped = dsa_create(shared->tranche);
		dsa_pin(mapped);
		dsa_set_size_limit(mapped, DEBUG_BREAK("bus_area_small") ? SMALL_LIMIT : AREA_LIMIT);
	}
	dsa_pin_mapping(mapped);
	return mapped;
}

/*
 * Finds the tables in the dynamic area, for good.
 */
static void
attach_area(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	dshash_parameters of_databases;
	dshash_parameters of_endpoints;
	dshash_parameters of_claims;
	dsa_area   *mapped;

	if (shared == NULL)
		bus_shared_attach();
	of_databases = table_parameters(sizeof(BusDatabaseKey), sizeof(BusDatabase));
	of_endpoints = table_parameters(sizeof(BusEndpointKey), sizeof(BusEndpoint));
	of_claims = table_parameters(sizeof(ClaimKey), sizeof(Claim));
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	mapped = map_area();
	if (!shared->created)
	{
		databases = dshash_create(mapped, &of_databases, NULL);
		endpoints = dshash_create(mapped, &of_endpoints, NULL);
		claims = dshash_create(mapped, &of_claims, NULL);
		shared->area = dsa_get_handle(mapped);
		shared->databases = dshash_get_hash_table_handle(databases);
		shared->endpoints = dshash_get_hash_table_handle(endpoints);
		shared->claims = dshash_get_hash_table_handle(claims);
		shared->created = true;
	}
	else
	{
		databases = dshash_attach(mapped, &of_databases, shared->databases, NULL);
		endpoints = dshash_attach(mapped, &of_endpoints, shared->endpoints, NULL);
		claims = dshash_attach(mapped, &of_claims, shared->claims, NULL);
	}
	DEBUG_FAIL("bus_area");
	area = mapped;
	LWLockRelease(&shared->lock);
	MemoryContextSwitchTo(old);
}

/*
 * The entry of this database, filled or not; load.c sees to that.
 */
BusDatabase *
bus_database(void)
{
	BusDatabaseKey key = {MyDatabaseId, extension_relation_oid(&bus_endpoint_table)};
	bool		found;

	if (likely(my_database != NULL && my_database->key.generation == key.generation))
		return my_database;
	if (area == NULL)
		attach_area();
	my_database = dshash_find_or_insert(databases, &key, &found);
	if (!found)
	{
		memset((char *) my_database + sizeof(key), 0, sizeof(BusDatabase) - sizeof(key));
		LWLockInitialize(&my_database->lock, shared->tranche);
		pg_atomic_write_u64(&my_database->next_due, (uint64) NEVER_DUE);
	}
	dshash_release_lock(databases, my_database);
	return my_database;
}

/*
 * The entry as last found, NULL if never: for where no catalog can be read, that
 * is outside transactions and at their ends.
 */
BusDatabase *
bus_database_known(void)
{
	return my_database;
}

/*
 * The entry of an endpoint, created if need be.
 */
BusEndpoint *
bus_endpoint_shared(int32 endpoint_id, int32 lane_count)
{
	BusEndpointKey key = {MyDatabaseId, bus_database()->key.generation, endpoint_id};
	BusEndpoint *endpoint;
	bool		found;

	endpoint = dshash_find_or_insert(endpoints, &key, &found);
	if (!found)
	{
		memset((char *) endpoint + sizeof(key), 0, sizeof(BusEndpoint) - sizeof(key));
		LWLockInitialize(&endpoint->lock, shared->tranche);
	}
	if (endpoint->lane_count < lane_count)
		make_lanes(endpoint, lane_count);
	dshash_release_lock(endpoints, endpoint);
	return endpoint;
}

/*
 * An endpoint that was restored, or made by a transaction that rolled back, can
 * have had fewer lanes.  The old ones stay: somebody may still look at them.
 */
static void
make_lanes(BusEndpoint *endpoint, int32 lane_count)
{
	dsa_pointer made = dsa_allocate0(area, sizeof(BusLane) * lane_count);
	BusLane    *lanes = (BusLane *) dsa_get_address(area, made);

	for (int i = 0; i < lane_count; i++)
	{
		SpinLockInit(&lanes[i].mutex);
		lanes[i].next_due = NEVER_DUE;
	}
	pg_atomic_write_u32(&endpoint->loaded, 0);
	endpoint->lanes = made;
	pg_write_barrier();
	endpoint->lane_count = lane_count;
}

BusLane *
bus_lanes(BusEndpoint *endpoint)
{
	return (BusLane *) dsa_get_address(area, endpoint->lanes);
}

BusBreaker *
bus_breaker(dsa_pointer pointer)
{
	return DsaPointerIsValid(pointer) ? (BusBreaker *) dsa_get_address(area, pointer) : NULL;
}

/*
 * A new closed breaker, not yet in any list.
 */
dsa_pointer
bus_breaker_create(const char *message_type)
{
	dsa_pointer pointer = dsa_allocate0(area, offsetof(BusBreaker, message_type) +
										strlen(message_type) + 1);

	strcpy(bus_breaker(pointer)->message_type, message_type);
	return pointer;
}

/*
 * Claims a message id for this transaction.  False if there is a claim
 * already; then *owner is whose.
 */
bool
bus_claim(int32 endpoint_id, const pg_uuid_t *message_id, VirtualTransactionId *owner)
{
	ClaimKey	key = {MyDatabaseId, endpoint_id, *message_id};
	Claim	   *claim;
	bool		found;

	(void) bus_database();
	claim = dshash_find_or_insert(claims, &key, &found);
	if (!found)
		GET_VXID_FROM_PGPROC(claim->owner, *MyProc);
	*owner = claim->owner;
	dshash_release_lock(claims, claim);
	return !found;
}

/*
 * Takes a claim back, if it is still that transaction's.  Not at the end of one: it
 * may have to map memory.
 */
void
bus_unclaim(int32 endpoint_id, const pg_uuid_t *message_id, const VirtualTransactionId *owner)
{
	ClaimKey	key = {MyDatabaseId, endpoint_id, *message_id};
	Claim	   *claim = dshash_find(claims, &key, true);

	if (claim == NULL)
		return;
	if (VirtualTransactionIdEquals(claim->owner, *owner))
		dshash_delete_entry(claims, claim);
	else
		dshash_release_lock(claims, claim);
}

/*
 * All endpoints of this database that are in use, palloc'd.
 */
BusEndpoint **
bus_endpoints(int *count)
{
	BusDatabase *database = bus_database();
	uint32		generation = restore_generation();
	int			room = 16;
	BusEndpoint **found = palloc(sizeof(BusEndpoint *) * room);
	dshash_seq_status scan;
	BusEndpoint *endpoint;

	*count = 0;
	dshash_seq_init(&scan, endpoints, false);
	while ((endpoint = dshash_seq_next(&scan)) != NULL)
	{
		if (endpoint->key.database != MyDatabaseId ||
			endpoint->key.generation != database->key.generation ||
			pg_atomic_read_u32(&endpoint->loaded) != generation)
			continue;
		if (*count == room)
			found = repalloc(found, sizeof(BusEndpoint *) * (room *= 2));
		found[(*count)++] = endpoint;
	}
	dshash_seq_term(&scan);
	return found;
}

void
atomic_raise(pg_atomic_uint64 *value, uint64 at_least)
{
	uint64		current = pg_atomic_read_u64(value);

	while (current < at_least &&
		   !pg_atomic_compare_exchange_u64(value, &current, at_least))
		;
}

void
atomic_lower(pg_atomic_uint64 *value, uint64 at_most)
{
	uint64		current = pg_atomic_read_u64(value);

	while (current > at_most &&
		   !pg_atomic_compare_exchange_u64(value, &current, at_most))
		;
}

/*
 * Counts something that happened at a time, in the bucket of its second.
 */
void
rate_add(BusRate *rate, TimestampTz at, uint32 count)
{
	uint64		second = (uint64) (at / USECS_PER_SEC) & 0xFFFFFFFF;
	pg_atomic_uint64 *bucket = &rate->seconds[second % RATE_SECONDS];
	uint64		old = pg_atomic_read_u64(bucket);
	uint64		new;

	pg_atomic_fetch_add_u64(&rate->total, count);
	do
	{
		new = (old >> 32) == second ? old + count : (second << 32 | count);
	} while (!pg_atomic_compare_exchange_u64(bucket, &old, new));
}

/*
 * Per second, over the last ten full seconds.
 */
double
rate_per_second(BusRate *rate, TimestampTz at)
{
	uint64		now = (uint64) (at / USECS_PER_SEC) & 0xFFFFFFFF;
	uint64		sum = 0;

	for (int i = 0; i < RATE_SECONDS; i++)
	{
		uint64		bucket = pg_atomic_read_u64(&rate->seconds[i]);
		uint64		second = bucket >> 32;

		if (second < now && second + 10 >= now)
			sum += bucket & 0xFFFFFFFF;
	}
	return sum / 10.0;
}
