/*
 * endpoint.c
 *		Endpoints and routes as this backend knows them.
 *
 * Both are cached by name and forgotten when their tables are invalidated,
 * which administration does on purpose, and when a transaction aborts, because
 * it may have read its own endpoint.
 *
 * Lock protocol: whoever sends to an endpoint or receives from it shares a
 * heavyweight lock on it until his transaction ends, and looks afterwards whether
 * it is still there; dropping it takes that lock exclusively, as soon as nobody
 * has it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/debug_point.h"
#include "base/errors.h"
#include "log/position.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/endpoint/load.h"
#include "message_bus/know/relations.h"
#include "pg/cache.h"
#include "pg/callbacks.h"
#include "pg/lock.h"
#include "pg/scan.h"
#include "pg/settings.h"
#include "pg/spi.h"

#define NAME_SIZE 256
/* Who drops an endpoint waits so often for those who use it just then. */
#define DROP_ROUNDS 1000

static ExtensionRelation endpoint_id_index = {"message_bus", "endpoint_pkey"};

typedef struct NameEntry
{
	char		name[NAME_SIZE];
	Endpoint   *endpoint;
} NameEntry;

typedef struct IdEntry
{
	int32		id;
	Endpoint   *endpoint;
} IdEntry;

typedef struct RouteEntry
{
	char		message_type[NAME_SIZE];
	int			count;
	int32	   *ids;
} RouteEntry;

static MemoryContext cache_context = NULL;
static HTAB *by_name = NULL;
static HTAB *by_id = NULL;
static HTAB *routes = NULL;
static bool stale = true;
static bool changed = false;	/* by this transaction */

static void start_cache(void);
static void refuse_missing(const char *name) pg_attribute_noreturn();
static Endpoint *loaded(Endpoint *endpoint);
static Endpoint *load_endpoint(ExtensionRelation *index, ScanKey key);
static void read_row(HeapTuple row, TupleDesc descriptor, Endpoint *endpoint);
static void forget_on_invalidation(Oid relid);
static void forget_on_abort(XactEvent event, void *arg);
static void forget_on_subabort(SubXactEvent event, SubTransactionId mine,
							   SubTransactionId parent, void *arg);

/*
 * Registers for what makes the cache stale.  From _PG_init.
 */
void
endpoint_cache_init(void)
{
	callback_on_relation(forget_on_invalidation);
	callback_on_transaction(forget_on_abort);
	callback_on_savepoint(forget_on_subabort);
}

/*
 * Makes every backend read endpoints and routes anew when this transaction has
 * committed, and this one now.
 */
void
endpoint_cache_changed(void)
{
	restore_refuse_writing();
	CacheInvalidateRelcacheByRelid(extension_relation_oid(&bus_endpoint_table));
	CommandCounterIncrement();
	changed = true;
	stale = true;
}

/*
 * The endpoint of that name; if there is none, NULL or MB001.
 */
Endpoint *
endpoint_by_name(const char *name, bool missing_ok)
{
	Endpoint   *endpoint = NULL;
	NameEntry  *entry;
	ScanKeyData key;

	start_cache();
	if (strlen(name) < NAME_SIZE)
	{
		entry = hash_search(by_name, name, HASH_FIND, NULL);
		if (likely(entry != NULL))
			return loaded(entry->endpoint);
		key_text(&key, 1, name, (int) strlen(name));
		endpoint = load_endpoint(&bus_endpoint_name_index, &key);
	}
	if (endpoint == NULL && !missing_ok)
		refuse_missing(name);
	return endpoint;
}

static void
refuse_missing(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_MB_NO_ENDPOINT),
			 errmsg("endpoint \"%s\" does not exist", name),
			 errhint("Type SELECT message_bus.create_endpoint(%s).", quote_literal_cstr(name))));
}

/*
 * The endpoint with that id, NULL if it was dropped.
 */
Endpoint *
endpoint_by_id(int32 id)
{
	IdEntry    *entry;
	ScanKeyData key;

	start_cache();
	entry = hash_search(by_id, &id, HASH_FIND, NULL);
	if (likely(entry != NULL))
		return loaded(entry->endpoint);
	key_int4(&key, 1, BTEqualStrategyNumber, id);
	return load_endpoint(&endpoint_id_index, &key);
}

/*
 * All endpoints in the order of their ids, palloc'd.
 */
Endpoint **
endpoint_all(int *count)
{
	static SpiStatement all = {"SELECT e.endpoint_id FROM message_bus.endpoint e ORDER BY 1"};
	MemoryContext caller = CurrentMemoryContext;
	Endpoint  **endpoints;
	int32	   *ids;
	int			found;

	spi_begin(SPI_AS_OWNER);
	found = (int) spi_run_latest(&all, 0, NULL, NULL, NULL);
	endpoints = MemoryContextAlloc(caller, sizeof(Endpoint *) * Max(found, 1));
	ids = MemoryContextAlloc(caller, sizeof(int32) * Max(found, 1));
	for (int i = 0; i < found; i++)
		ids[i] = spi_int32(i, 0, 0);
	spi_end();
	*count = 0;
	for (int i = 0; i < found; i++)
	{
		endpoints[*count] = endpoint_by_id(ids[i]);
		*count += endpoints[*count] != NULL;
	}
	pfree(ids);
	return endpoints;
}

/*
 * Those that somebody has used since the server started, palloc'd.
 */
Endpoint **
endpoint_in_use(int *count)
{
	int			used;
	BusEndpoint **shared = bus_endpoints(&used);
	Endpoint  **endpoints = palloc(sizeof(Endpoint *) * Max(used, 1));

	*count = 0;
	for (int i = 0; i < used; i++)
	{
		Endpoint   *endpoint = endpoint_by_id(shared[i]->key.endpoint_id);

		if (endpoint != NULL)
			endpoints[(*count)++] = endpoint;
	}
	pfree(shared);
	return endpoints;
}

/*
 * The ids of the endpoints that have subscribed to a message type.
 */
int
endpoint_routes(const char *message_type, const int32 **ids)
{
	RouteEntry *entry;
	TableScan	scan;
	ScanKeyData key;
	HeapTuple	row;
	int32		buffer[64];
	int			count = 0;

	start_cache();
	if (strlen(message_type) >= NAME_SIZE)
		return 0;
	entry = hash_search(routes, message_type, HASH_FIND, NULL);
	if (entry == NULL)
	{
		int32	   *list = buffer;
		int			room = lengthof(buffer);

		key_text(&key, 1, message_type, (int) strlen(message_type));
		table_scan_begin(&scan, &bus_route_table, &bus_route_index, 1, &key, NULL);
		while ((row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
		{
			bool		isnull;

			if (count == room)
			{
				int32	   *more = palloc(sizeof(int32) * room * 2);

				memcpy(more, list, sizeof(int32) * room);
				list = more;
				room *= 2;
			}
			list[count++] = DatumGetInt32(heap_getattr(row, ROUTE_ENDPOINT_ID + 1, scan.descriptor,
													   &isnull));
		}
		table_scan_end(&scan);
		list = memcpy(MemoryContextAlloc(cache_context, sizeof(int32) * Max(count, 1)), list,
					  sizeof(int32) * count);
		entry = hash_search(routes, message_type, HASH_ENTER, NULL);
		entry->ids = list;
		entry->count = count;
	}
	*ids = entry->ids;
	return entry->count;
}

/*
 * The depth that must not be exceeded, -1 for none.
 */
int
endpoint_max_depth(const Endpoint *endpoint)
{
	return endpoint->has_max_depth ? endpoint->max_depth : setting_message_bus_max_depth;
}

/*
 * The lane of a partition key; the same for ever.
 */
int32
endpoint_lane(const Endpoint *endpoint, const char *partition_key, int length)
{
	uint32		hash = position_key(partition_key, length);

	/* Short keys differ in few bits; spread them (the finalizer of MurmurHash3). */
	hash = (hash ^ (hash >> 16)) * 0x85ebca6b;
	hash = (hash ^ (hash >> 13)) * 0xc2b2ae35;
	hash ^= hash >> 16;
	if (DEBUG_BREAK("bus_any_lane"))
		hash = (uint32) random();
	return (int32) (((uint64) hash * (uint32) endpoint->lanes) >> 32);
}

/*
 * Keeps an endpoint from being dropped until the transaction ends.  Returns it as
 * it is then, NULL if it has been dropped.
 */
Endpoint *
endpoint_use(int32 endpoint_id)
{
	/* Who fills its shared memory after a restore waits for those who have the lock. */
	Endpoint   *endpoint = endpoint_by_id(endpoint_id);

	/* The lock ends with the savepoint, if that is rolled back. */
	if (endpoint != NULL && endpoint->used_in == compat_local_transaction() &&
		endpoint->used_under == GetCurrentSubTransactionId())
		return endpoint;
	(void) lock_take(LOCK_ENDPOINT, endpoint_id, 0, ShareLock, true);
	/* What was committed by whoever had the lock before. */
	AcceptInvalidationMessages();
	endpoint = endpoint_by_id(endpoint_id);
	if (endpoint != NULL)
	{
		endpoint->used_in = compat_local_transaction();
		endpoint->used_under = GetCurrentSubTransactionId();
	}
	return endpoint;
}

/*
 * The same for a name; MB001 if there is none, or none any more.
 */
Endpoint *
endpoint_use_named(const char *name)
{
	Endpoint   *endpoint = endpoint_by_name(name, false);

	endpoint = endpoint_use(endpoint->id);
	if (endpoint == NULL)
		refuse_missing(name);
	return endpoint;
}

/*
 * Locks an endpoint to drop it.  Waits for those who use it, but not in the lock's
 * queue, where everybody who comes later would wait too.
 */
Endpoint *
endpoint_lock_to_drop(const char *name)
{
	Endpoint   *endpoint = endpoint_by_name(name, false);
	int32		id = endpoint->id;

	for (int round = 0; !lock_take(LOCK_ENDPOINT, id, 0, ExclusiveLock, false); round++)
	{
		if (round == DROP_ROUNDS)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("endpoint \"%s\" is in use without a break", name),
					 errhint("Stop those who send to it and receive from it, and drop it again.")));
		lock_wait_for_holders(LOCK_ENDPOINT, id, 0, ExclusiveLock);
		/* Who has just ended has his locks a little longer than his transaction. */
		pg_usleep(Min(round, 10) * 1000L);
	}
	AcceptInvalidationMessages();
	endpoint = endpoint_by_id(id);
	if (endpoint == NULL)
		refuse_missing(name);
	return endpoint;
}

static void
start_cache(void)
{
	HASHCTL		control = {0};

	if (likely(!stale))
		return;
	/* Whoever has got an endpoint in this transaction may keep it until its end. */
	cache_begin(&cache_context, "message bus endpoints");
	control.hcxt = cache_context;
	control.keysize = NAME_SIZE;
	control.entrysize = sizeof(NameEntry);
	by_name = hash_create("message bus endpoints by name", 16, &control,
						  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	control.entrysize = sizeof(RouteEntry);
	routes = hash_create("message bus routes", 16, &control,
						 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	control.keysize = sizeof(int32);
	control.entrysize = sizeof(IdEntry);
	by_id = hash_create("message bus endpoints by id", 16, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	stale = false;
}

/*
 * What shared memory knows of an endpoint was loaded once, but a restore may have
 * come since.
 */
static Endpoint *
loaded(Endpoint *endpoint)
{
	if (unlikely(pg_atomic_read_u32(&endpoint->shared->loaded) != restore_generation()))
		load_endpoint_state(endpoint);
	return endpoint;
}

static Endpoint *
load_endpoint(ExtensionRelation *index, ScanKey key)
{
	Endpoint   *endpoint = NULL;
	NameEntry  *name_entry;
	IdEntry    *id_entry;
	TableScan	scan;
	HeapTuple	row;
	bool		found;
	MemoryContext context;

	table_scan_begin(&scan, &bus_endpoint_table, index, 1, key, NULL);
	row = table_scan_next(&scan, ForwardScanDirection);
	/* Opening the table may have told us that the cache is stale. */
	start_cache();
	if (row != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(cache_context);

		endpoint = cache_alloc0(cache_context, sizeof(Endpoint));
		read_row(row, scan.descriptor, endpoint);
		MemoryContextSwitchTo(old);
	}
	table_scan_end(&scan);
	if (endpoint == NULL)
		return NULL;
	context = cache_context;
	load_endpoint_state(endpoint);
	/* Not into a cache that was begun meanwhile: this lives as long as its own. */
	if (cache_context != context)
		return endpoint;
	name_entry = hash_search(by_name, endpoint->name, HASH_ENTER, &found);
	name_entry->endpoint = endpoint;
	id_entry = hash_search(by_id, &endpoint->id, HASH_ENTER, &found);
	id_entry->endpoint = endpoint;
	return endpoint;
}

static void
read_row(HeapTuple row, TupleDesc descriptor, Endpoint *endpoint)
{
	Datum		values[ENDPOINT_COLUMNS];
	bool		nulls[ENDPOINT_COLUMNS];

	heap_deform_tuple(row, descriptor, values, nulls);
	endpoint->id = DatumGetInt32(values[ENDPOINT_ID]);
	endpoint->name = TextDatumGetCString(values[ENDPOINT_NAME]);
	endpoint->lanes = DatumGetInt32(values[ENDPOINT_LANES]);
	if (endpoint->lanes < 1 || endpoint->lanes > MAX_LANES)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("endpoint \"%s\" has %d lanes", endpoint->name, endpoint->lanes),
				 errhint("There are 1 to %d; mend the row in message_bus.endpoint.", MAX_LANES)));
	retry_policy_parse(DatumGetJsonbP(values[ENDPOINT_RETRY]), &endpoint->retry);
	retry_policy_set_delays(&endpoint->retry, DatumGetArrayTypeP(values[ENDPOINT_RETRY_DELAYS]));
	breaker_policy_parse(DatumGetJsonbP(values[ENDPOINT_BREAKER]), &endpoint->breaker);
	endpoint->paused = DatumGetBool(values[ENDPOINT_PAUSED]);
	endpoint->strict = DatumGetBool(values[ENDPOINT_STRICT_ORDER]);
	endpoint->max_depth = DatumGetInt32(values[ENDPOINT_MAX_DEPTH]);
	endpoint->has_max_depth = !nulls[ENDPOINT_MAX_DEPTH];
	if (!nulls[ENDPOINT_FORWARD_TO])
		endpoint->forward_to = TextDatumGetCString(values[ENDPOINT_FORWARD_TO]);
}

static void
forget_on_invalidation(Oid relid)
{
	if (relid == InvalidOid || relid == bus_endpoint_table.oid || relid == bus_route_table.oid)
		stale = true;
}

static void
forget_on_abort(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		stale |= changed;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT)
		changed = false;
}

static void
forget_on_subabort(SubXactEvent event, SubTransactionId mine,
				   SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		stale |= changed;
}
