/*
 * definition_store.c
 *		Definitions in tables, and compiled in each backend's memory.
 *
 * A version of a definition never changes once stored.  The document is what the
 * engine compiles; the rows of states, transitions, actions and timers are the
 * same for people who ask with SQL.
 *
 * Lock protocol: define() locks saga.definition against other definers, and
 * invalidates its relcache entry, which makes every backend look for new versions:
 * for those that are committed then, at every isolation level, as nothing makes it look
 * again.  Who begins an instance, or parks a message for one, keeps the saga's lock
 * until he has committed; drop() waits for it.
 * Compiled definitions that are dropped from the cache live on until the
 * transaction ends, since an engine further up the stack may run one.  A crash
 * leaves what was committed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "base/errors.h"
#include "message_bus/message_bus.h"
#include "pg/callbacks.h"
#include "pg/lock.h"
#include "pg/relation.h"
#include "pg/spi.h"
#include "saga/definition/definition.h"

static ExtensionRelation definition_table = {"saga", "definition"};

/* An endpoint that older versions of a definition have, and the newest does not. */
typedef struct Home
{
	char	   *name;
	char	   *endpoint;
	int			version;		/* the newest of those that have it */
	bool		left;			/* by the last instance, and no routes lead there */
} Home;

static List *cache = NIL;		/* of Definition */
static List *current = NIL;		/* of Definition, the newest version of each name */
static List *homes = NIL;		/* of Home */
static bool current_known = false;
static bool stale = false;

static Definition *definition_current(const char *name);
static void definition_changed(Oid relid);
static Definition *load(const char *name, int version);
static void load_current(void);
static void load_homes(void);
static bool is_served(Home *home);

/*
 * Drops what is cached if definitions have changed.  To be called where no
 * compiled definition is in use on this level.
 */
void
definition_cache_refresh(void)
{
	ListCell   *cell;

	callback_on_relation(definition_changed);
	(void) extension_relation_oid(&definition_table);
	if (!stale)
		return;
	stale = false;
	current_known = false;
	foreach(cell, cache)
		MemoryContextSetParent(((Definition *) lfirst(cell))->context, TopTransactionContext);
	list_free(cache);
	list_free(current);
	list_free_deep(homes);
	cache = current = homes = NIL;
}

/*
 * The newest version of a definition; NULL if there is none of that name.
 */
static Definition *
definition_current(const char *name)
{
	ListCell   *cell;

	if (!current_known)
		load_current();
	foreach(cell, current)
		if (strcmp(((Definition *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	return NULL;
}

/*
 * The same; SG004 if there is none.
 */
Definition *
definition_require(const char *name)
{
	Definition *definition = definition_current(name);

	if (definition == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_UNDEFINED),
				 errmsg("saga \"%s\" is not defined", name),
				 errhint("Type SELECT saga.define('%s', ...).", name)));
	return definition;
}

/*
 * A certain version; an error if it is gone.
 */
Definition *
definition_get(const char *name, int version)
{
	ListCell   *cell;
	Definition *definition;

	foreach(cell, cache)
	{
		definition = lfirst(cell);
		if (definition->version == version && strcmp(definition->name, name) == 0)
			return definition;
	}
	definition = load(name, version);
	if (definition == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_UNDEFINED),
				 errmsg("saga \"%s\" has no definition with version %d", name, version)));
	return definition;
}

List *
definition_all_current(void)
{
	if (!current_known)
		load_current();
	return current;
}

/*
 * The newest version of a saga that has the given endpoint; NULL if none has it.
 */
Definition *
definition_at(Definition *newest, const char *endpoint)
{
	ListCell   *cell;

	if (strcmp(newest->endpoint, endpoint) == 0)
		return newest;
	foreach(cell, homes)
	{
		const Home *home = lfirst(cell);

		if (strcmp(home->name, newest->name) == 0 && strcmp(home->endpoint, endpoint) == 0)
			return definition_get(home->name, home->version);
	}
	return NULL;
}

/*
 * Has a saga had another endpoint?  What is published then reaches both.
 */
bool
definition_has_moved(const char *name)
{
	ListCell   *cell;

	foreach(cell, homes)
		if (strcmp(((Home *) lfirst(cell))->name, name) == 0)
			return true;
	return false;
}

/*
 * The endpoints that sagas listen at, each once: those of the newest versions, and
 * those of older ones as long as they have instances.  Once they have none, the
 * routes to those are taken away.
 */
List *
definition_endpoints(void)
{
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, definition_all_current())
	{
		const Definition *definition = lfirst(cell);

		names = list_append_unique(names, makeString(pstrdup(definition->endpoint)));
	}
	foreach(cell, homes)
	{
		Home	   *home = lfirst(cell);

		if (is_served(home))
			names = list_append_unique(names, makeString(home->endpoint));
	}
	return names;
}

/*
 * Whether messages of an endpoint that a saga has left are still taken.  The pass in
 * which its routes end takes what has come by them.
 */
static bool
is_served(Home *home)
{
	static SpiStatement inhabited = {
		"SELECT EXISTS (SELECT FROM saga.definition d WHERE d.name = $1 AND d.endpoint = $2"
		" AND EXISTS (SELECT FROM saga.stored_instance i"
		" WHERE i.saga = d.name AND i.definition_version = d.version))"
	};
	static SpiStatement leave = {
		"SELECT message_bus.unsubscribe($2, r.message_type) FROM message_bus.route r"
		" JOIN message_bus.endpoint e ON e.endpoint_id = r.endpoint_id WHERE e.name = $2"
		" AND EXISTS (SELECT FROM saga.definition d WHERE d.name = $1 AND d.endpoint = $2"
		" AND d.document -> 'events' ? r.message_type)"
		" AND NOT EXISTS (SELECT FROM saga.definition o WHERE o.name <> $1 AND o.endpoint = $2"
		" AND o.document -> 'events' ? r.message_type)"
	};
	static const Oid types[] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(home->name), CStringGetTextDatum(home->endpoint)};
	bool		served;

	if (home->left || !message_bus_endpoint_exists(home->endpoint))
		return false;
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&inhabited, 2, types, values, NULL);
	served = spi_bool(0, 0);
	if (!served && spi_run(&leave, 2, types, values, NULL) > 0)
		served = true;
	spi_end();
	home->left = !served;
	return served;
}

/*
 * Takes a saga's lock until the transaction ends; false if somebody has it and wait is
 * false.
 */
bool
definition_lock(const char *name, LOCKMODE mode, bool wait)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0);

	if (!lock_take(LOCK_SAGA, (uint32) (hash >> 32), (uint32) hash, mode, wait))
		return false;
	/* What was committed by whoever had the lock before. */
	AcceptInvalidationMessages();
	return true;
}

/*
 * SG004 if a version of a definition has been dropped, by this transaction or before it
 * had the saga's lock; it may have been made anew.
 */
void
definition_refuse_dropped(const Definition *definition)
{
	static SpiStatement find = {
		"SELECT FROM saga.definition WHERE name = $1 AND version = $2 AND document = $3"
	};

	if (stale && spi_execute_latest(&find, 3, (Oid[]) {TEXTOID, INT4OID, JSONBOID},
									(Datum[]) {CStringGetTextDatum(definition->name),
										Int32GetDatum(definition->version),
										JsonbPGetDatum(tree_to_jsonb(definition->document))},
									NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_SG_UNDEFINED),
				 errmsg("saga \"%s\" has been dropped", definition->name)));
}

/*
 * Any change of saga.definition, DROP EXTENSION included.
 */
static void
definition_changed(Oid relid)
{
	if (relid == InvalidOid || !definition_table.known || relid == definition_table.oid)
		stale = true;
}

/*
 * Reads and compiles one version into the cache; NULL if there is none.
 */
static Definition *
load(const char *name, int version)
{
	static SpiStatement find = {
		"SELECT document, endpoint, defined_by, type_versions FROM saga.definition"
		" WHERE name = $1 AND version = $2"
	};
	MemoryContext context;
	MemoryContext old;
	Definition *definition = NULL;
	List	   *problems = NIL;
	bool		isnull;
	ListCell   *cell;

	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(&find, 2, (Oid[]) {TEXTOID, INT4OID},
				(Datum[]) {CStringGetTextDatum(name), Int32GetDatum(version)}, NULL) == 1)
	{
		context = AllocSetContextCreate(CurrentMemoryContext, "saga definition",
										ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(context);
		definition = definition_parse(name, DatumGetJsonbPCopy(spi_copy(0, 0, context, &isnull)),
									  &problems);
		definition->context = context;
		definition->version = version;
		definition->endpoint = spi_text(0, 1, context);
		definition->definer = spi_text(0, 2, context);
		definition->versions =
			tree_from_jsonb(DatumGetJsonbPCopy(spi_copy(0, 3, context, &isnull)));
		foreach(cell, definition->calls)
		{
			Registration *call = lfirst(cell);

			registration_init(call, definition_call_name(definition, call->signature),
							  call->signature, spi_value(0, 2, &isnull));
		}
		MemoryContextSwitchTo(CacheMemoryContext);
		cache = lappend(cache, definition);
		MemoryContextSetParent(context, CacheMemoryContext);
		MemoryContextSwitchTo(old);
	}
	spi_end();
	return definition;
}

static void
load_current(void)
{
	static SpiStatement newest = {
		"SELECT name, max(version) FROM saga.definition GROUP BY name ORDER BY name"
	};
	List	   *names = NIL;
	List	   *versions = NIL;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&newest, 0, NULL, NULL, NULL);
	old = MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < count; i++)
	{
		names = lappend(names, spi_text(i, 0, caller));
		versions = lappend_int(versions, spi_int32(i, 1, 0));
	}
	MemoryContextSwitchTo(old);
	spi_end();

	list_free(current);
	current = NIL;
	for (int i = 0; i < list_length(names); i++)
	{
		Definition *definition = definition_get(list_nth(names, i), list_nth_int(versions, i));

		old = MemoryContextSwitchTo(CacheMemoryContext);
		current = lappend(current, definition);
		MemoryContextSwitchTo(old);
	}
	load_homes();
	current_known = true;
}

static void
load_homes(void)
{
	static SpiStatement find = {
		"SELECT d.name, d.endpoint, max(d.version) FROM saga.definition d WHERE d.endpoint <>"
		" (SELECT n.endpoint FROM saga.definition n WHERE n.name = d.name"
		" ORDER BY n.version DESC LIMIT 1) GROUP BY d.name, d.endpoint"
	};
	uint64		count;

	list_free_deep(homes);
	homes = NIL;
	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&find, 0, NULL, NULL, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(CacheMemoryContext);
		Home	   *home = palloc0(sizeof(Home));

		home->name = spi_text(i, 0, CacheMemoryContext);
		home->endpoint = spi_text(i, 1, CacheMemoryContext);
		home->version = spi_int32(i, 2, 0);
		homes = lappend(homes, home);
		MemoryContextSwitchTo(old);
	}
	spi_end();
}
