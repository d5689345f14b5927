/*
 * aggregate.c
 *		Aggregates: what create_aggregate() and create_event_handler() defined.
 *
 * Definitions are cached per backend.  Triggers on their tables invalidate the
 * cache, and so does a change of a function that the fingerprint of a
 * definition was worked out from; the old cache stays until the transaction
 * ends, because a call may be standing in it.
 *
 * The fingerprint covers everything that decides what a stream's state is:
 * initial state, handlers with their source, and how their events are upcast.
 * Snapshots carry it and are of no use once it has changed.  It holds names and
 * source only, so that it survives a dump.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/errors.h"
#include "event_store/aggregate/aggregate.h"
#include "event_store/contract/contract.h"
#include "pg/cache.h"
#include "pg/callbacks.h"
#include "pg/lookup.h"
#include "pg/rights.h"

/* Columns of event_store.aggregate and event_handler. */
enum
{
	AGGREGATE_CATEGORY, AGGREGATE_INITIAL_STATE, AGGREGATE_SNAPSHOT_EVERY, AGGREGATE_COLUMNS,
	HANDLER_CATEGORY = 0, HANDLER_EVENT_TYPE, HANDLER_FUNCTION, HANDLER_OWNER, HANDLER_COLUMNS
};

typedef struct CacheEntry
{
	char		category[256];	/* hash key */
	Aggregate  *aggregate;
} CacheEntry;

static const ExtensionColumn aggregate_columns[AGGREGATE_COLUMNS] = {
	{"category", TEXTOID, true}, {"initial_state", JSONBOID, true}, {"snapshot_every", INT4OID}
};
static const ExtensionColumn event_handler_columns[HANDLER_COLUMNS] = {
	{"category", TEXTOID, true}, {"event_type", TEXTOID, true}, {"handler", TEXTOID, true},
	{"owner", TEXTOID, true}
};

/* Tables whose change makes the cache useless. */
static ExtensionRelation tables[] = {
	EXTENSION_TABLE("event_store", "aggregate", aggregate_columns),
	EXTENSION_TABLE("event_store", "event_handler", event_handler_columns),
	{"event_store", "event_type"},
	{"event_store", "upcaster"},
};
static ExtensionRelation index_aggregate = {"event_store", "aggregate_pkey"};
static ExtensionRelation index_event_handler = {"event_store", "event_handler_pkey"};

static Oid	table_oids[lengthof(tables)];
static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static List *function_hashes = NIL; /* syscache PROCOID, of fingerprints */
static bool stale = false;
static bool function_missing = false;	/* seen by describe_function() */

static void start_cache(void);
static Aggregate *load_aggregate(const char *category, int length);
static void load_handlers(Aggregate *aggregate);
static int	compare_handlers(const void *a, const void *b);
static int	compare_texts(const text *a, const text *b);
static void describe_function(StringInfo description, Registration *registration);
static void relation_changed(Oid relation);
static void function_changed(Datum arg, int cacheid, uint32 hash);

/*
 * The aggregate of a category; ST011 if there is none.  Valid until the
 * transaction ends.
 */
Aggregate *
aggregate_find(const char *category, int length)
{
	char		key[256] = {0};
	CacheEntry *entry;
	Aggregate  *aggregate;

	memcpy(key, category, Min(length, (int) sizeof(key) - 1));
	/* Tables that this transaction has locked already would not do it. */
	AcceptInvalidationMessages();
	for (int tries = 1;; tries++)
	{
		if (cache == NULL || stale)
			start_cache();
		entry = hash_search(cache, key, HASH_FIND, NULL);
		if (entry != NULL)
			return entry->aggregate;
		aggregate = load_aggregate(category, length);
		/* Somebody may have changed the definition while we were reading it. */
		if (stale && tries < LOOKUP_TRIES)
			continue;
		if (aggregate == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_ST_NO_AGGREGATE),
					 errmsg("no aggregate is defined for category \"%.*s\"", length, category),
					 errhint("Type SELECT event_store.create_aggregate('%.*s').", length, category)));
		/* Not before all of it is there: reading may have failed. */
		entry = hash_search(cache, key, HASH_ENTER, NULL);
		entry->aggregate = aggregate;
		return aggregate;
	}
}

/*
 * The handler of an event type; ST010 if there is none.
 */
EventHandler *
aggregate_handler(Aggregate *aggregate, const text *event_type)
{
	int			low = 0;
	int			high = aggregate->handler_count - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = compare_texts(event_type, aggregate->handlers[middle].event_type);

		if (order == 0)
			return &aggregate->handlers[middle];
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_ST_NO_HANDLER),
			 errmsg("no handler registered for event type \"%s\" of category \"%s\"",
					text_to_cstring(event_type), text_to_cstring(aggregate->category)),
			 errhint("Register one with event_store.create_event_handler().")));
}

/*
 * Under which name a handler is registered.
 */
char *
aggregate_handler_registration(const text *category, const text *event_type)
{
	return registration_name("event handler %s of %s", text_to_cstring(event_type),
							 text_to_cstring(category));
}

/*
 * The context that callables of handlers live in while they are idle.
 */
MemoryContext
aggregate_cache_context(void)
{
	return cache_context;
}

/*
 * Names everything that decides the state of the aggregate's streams.
 */
const char *
aggregate_fingerprint(Aggregate *aggregate)
{
	StringInfoData description;
	text	   *described;
	bytea	   *digest;
	char		hex[2 * 32 + 1];

	if (aggregate->fingerprint != NULL)
		return aggregate->fingerprint;
	function_missing = false;
	initStringInfo(&description);
	appendStringInfo(&description, "initial state %s\n",
					 JsonbToCString(NULL, &aggregate->initial_state->root,
									VARSIZE(aggregate->initial_state)));
	for (int i = 0; i < aggregate->handler_count; i++)
	{
		EventHandler *handler = &aggregate->handlers[i];

		appendStringInfo(&description, "%s: ", text_to_cstring(handler->event_type));
		describe_function(&description, &handler->registration);
		contract_describe_upcasting(VARDATA_ANY(handler->event_type),
									VARSIZE_ANY_EXHDR(handler->event_type), &description,
									describe_function);
	}
	described = cstring_to_text_with_len(description.data, description.len);
	digest = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(described)));
	hex[hex_encode(VARDATA_ANY(digest), VARSIZE_ANY_EXHDR(digest), hex)] = '\0';
	/* Nothing will tell us when a missing function is there again. */
	if (function_missing)
		return pstrdup(hex);
	aggregate->fingerprint = MemoryContextStrdup(cache_context, hex);
	return aggregate->fingerprint;
}

/*
 * Adds a function as it is now.  One that is missing is described as such: the
 * definition that repairs it gives another fingerprint.
 */
static void
describe_function(StringInfo description, Registration *registration)
{
	Oid			function = registration_function(registration);
	MemoryContext old;

	appendStringInfo(description, "%s\n", registration->signature);
	if (!OidIsValid(function))
	{
		function_missing = true;
		return;
	}
	appendStringInfoString(description,
						   TextDatumGetCString(DirectFunctionCall1(pg_get_functiondef,
																   ObjectIdGetDatum(function))));
	old = MemoryContextSwitchTo(cache_context);
	function_hashes =
		list_append_unique_int(function_hashes,
							   (int) GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(function)));
	MemoryContextSwitchTo(old);
}

static void
start_cache(void)
{
	HASHCTL		control = {0};

	callback_on_relation(relation_changed);
	callback_on_catalog(PROCOID, function_changed);
	cache = NULL;
	cache_begin(&cache_context, "aggregates");
	function_hashes = NIL;
	stale = false;
	for (int i = 0; i < lengthof(tables); i++)
		table_oids[i] = extension_relation_oid(&tables[i]);
	control.keysize = sizeof(((CacheEntry *) NULL)->category);
	control.entrysize = sizeof(CacheEntry);
	control.hcxt = cache_context;
	/* Last, as looking up the tables may fail. */
	cache = hash_create("aggregates", 16, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static Aggregate *
load_aggregate(const char *category, int length)
{
	Lookup		lookup;
	Datum		values[AGGREGATE_COLUMNS];
	bool		nulls[AGGREGATE_COLUMNS];
	MemoryContext old = MemoryContextSwitchTo(cache_context);
	Aggregate  *aggregate = NULL;

	lookup_begin(&lookup, &tables[0], &index_aggregate, category, length);
	if (lookup_next(&lookup, values, nulls))
	{
		aggregate = cache_alloc0(cache_context, sizeof(Aggregate));
		aggregate->category = DatumGetTextPCopy(values[AGGREGATE_CATEGORY]);
		aggregate->initial_state = DatumGetJsonbPCopy(values[AGGREGATE_INITIAL_STATE]);
		aggregate->snapshot_every = nulls[AGGREGATE_SNAPSHOT_EVERY]
			? 0
			: DatumGetInt32(values[AGGREGATE_SNAPSHOT_EVERY]);
	}
	lookup_end(&lookup);
	if (aggregate != NULL)
		load_handlers(aggregate);
	MemoryContextSwitchTo(old);
	return aggregate;
}

static void
load_handlers(Aggregate *aggregate)
{
	Lookup		lookup;
	Datum		values[HANDLER_COLUMNS];
	bool		nulls[HANDLER_COLUMNS];

	lookup_begin(&lookup, &tables[1], &index_event_handler, VARDATA_ANY(aggregate->category),
				 VARSIZE_ANY_EXHDR(aggregate->category));
	while (lookup_next(&lookup, values, nulls))
	{
		int			count = aggregate->handler_count++;
		EventHandler *handler;

		aggregate->handlers = lookup_one_more(cache_context, aggregate->handlers, count,
											  sizeof(EventHandler));
		handler = &aggregate->handlers[count];
		handler->event_type = DatumGetTextPCopy(values[HANDLER_EVENT_TYPE]);
		registration_init(&handler->registration,
						  aggregate_handler_registration(aggregate->category, handler->event_type),
						  TextDatumGetCString(values[HANDLER_FUNCTION]), values[HANDLER_OWNER]);
		handler->idle = NULL;
	}
	lookup_end(&lookup);
	qsort(aggregate->handlers, aggregate->handler_count, sizeof(EventHandler), compare_handlers);
}

static int
compare_handlers(const void *a, const void *b)
{
	return compare_texts(((const EventHandler *) a)->event_type,
						 ((const EventHandler *) b)->event_type);
}

static int
compare_texts(const text *a, const text *b)
{
	int			a_length = VARSIZE_ANY_EXHDR(a);
	int			b_length = VARSIZE_ANY_EXHDR(b);

	if (a_length != b_length)
		return a_length < b_length ? -1 : 1;
	return memcmp(VARDATA_ANY(a), VARDATA_ANY(b), a_length);
}

static void
relation_changed(Oid relation)
{
	for (int i = 0; i < lengthof(table_oids); i++)
	{
		if (relation == InvalidOid || relation == table_oids[i])
			stale = true;
	}
}

static void
function_changed(Datum arg, int cacheid, uint32 hash)
{
	if (hash == 0 || list_member_int(function_hashes, (int) hash))
		stale = true;
}
