/*
 * callbacks.c
 *		Being told of invalidations and of ends of transactions.
 *
 * PostgreSQL has room for ten relcache callbacks in a process, and whoever comes
 * when all are taken ends with FATAL.  So the library takes one, one per system
 * cache, two for transactions and one for savepoints, and passes on what it is
 * told; a server with other extensions has room for all of them.
 *
 * Who came last is told first, as PostgreSQL does with ends of transactions.
 * Nobody ever leaves, and who comes again is told once all the same: nobody needs
 * to remember that he came, but where it happens with every event, message or statement.
 * The lists are the process's own; a crash leaves nothing.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/resowner.h"

#include "pg/callbacks.h"

/* What is kept of any of them, to see whether it is the same. */
typedef void (*Callback) (void);

typedef struct Listener
{
	union
	{
		Callback	any;
		RelationCallback relation;
		SyscacheCallbackFunction catalog;
		XactCallback transaction;
		SubXactCallback savepoint;
		EndCallback end;
	}			tell;
	int			cache;			/* of catalog */
	struct Listener *next;
} Listener;

static Listener *relations = NULL;
static Listener *catalogs = NULL;
static Listener *transactions = NULL;
static Listener *savepoints = NULL;
static Listener *ends = NULL;

static void listen_first(Listener **list, Callback function, int cache);
static void relation_changed(Datum arg, Oid relation);
static void catalog_changed(Datum arg, int cache, uint32 hash);
static void transaction_ended(XactEvent event, void *arg);
static void savepoint_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							void *arg);
static void resources_released(ResourceReleasePhase phase, bool committed, bool top, void *arg);

/*
 * From now on the function is told of relations that have changed, InvalidOid
 * for all.
 */
void
callback_on_relation(RelationCallback function)
{
	if (relations == NULL)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	listen_first(&relations, (Callback) function, 0);
}

/*
 * The same for rows that a system cache looks up.
 */
void
callback_on_catalog(int cache, SyscacheCallbackFunction function)
{
	bool		known = false;

	for (Listener *listener = catalogs; listener != NULL; listener = listener->next)
		known |= listener->cache == cache;
	if (!known)
		CacheRegisterSyscacheCallback(cache, catalog_changed, (Datum) 0);
	listen_first(&catalogs, (Callback) function, cache);
}

/*
 * The same for what happens at the end of a transaction.
 */
void
callback_on_transaction(XactCallback function)
{
	if (transactions == NULL)
		RegisterXactCallback(transaction_ended, NULL);
	listen_first(&transactions, (Callback) function, 0);
}

/*
 * The same for subtransactions.
 */
void
callback_on_savepoint(SubXactCallback function)
{
	if (savepoints == NULL)
		RegisterSubXactCallback(savepoint_ended, NULL);
	listen_first(&savepoints, (Callback) function, 0);
}

/*
 * From now on the function is told of ends of transactions when others can have
 * heard of all that they have changed, and their locks are gone.  Whoever is woken
 * before that reads from his caches what was there before.  It must not fail.
 */
void
callback_on_end(EndCallback function)
{
	if (ends == NULL)
		RegisterResourceReleaseCallback(resources_released, NULL);
	listen_first(&ends, (Callback) function, 0);
}

/*
 * Puts a function before the others of its list, unless it is there.
 */
static void
listen_first(Listener **list, Callback function, int cache)
{
	Listener   *listener;

	for (listener = *list; listener != NULL; listener = listener->next)
	{
		if (listener->tell.any == function && listener->cache == cache)
			return;
	}
	listener = MemoryContextAlloc(TopMemoryContext, sizeof(Listener));
	listener->tell.any = function;
	listener->cache = cache;
	listener->next = *list;
	*list = listener;
}

static void
relation_changed(Datum arg, Oid relation)
{
	for (Listener *listener = relations; listener != NULL; listener = listener->next)
		listener->tell.relation(relation);
}

static void
catalog_changed(Datum arg, int cache, uint32 hash)
{
	for (Listener *listener = catalogs; listener != NULL; listener = listener->next)
	{
		if (listener->cache == cache)
			listener->tell.catalog(arg, cache, hash);
	}
}

static void
transaction_ended(XactEvent event, void *arg)
{
	for (Listener *listener = transactions; listener != NULL; listener = listener->next)
		listener->tell.transaction(event, arg);
}

static void
savepoint_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	for (Listener *listener = savepoints; listener != NULL; listener = listener->next)
		listener->tell.savepoint(event, mine, parent, arg);
}

static void
resources_released(ResourceReleasePhase phase, bool committed, bool top, void *arg)
{
	if (!top || phase != RESOURCE_RELEASE_AFTER_LOCKS)
		return;
	for (Listener *listener = ends; listener != NULL; listener = listener->next)
		listener->tell.end(committed);
}
