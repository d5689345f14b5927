/*
 * projection.c
 *		Definitions of projections, cached per backend.
 *
 * A trigger on the table invalidates the cache; the old one stays until the
 * transaction ends, because a call may be standing in it.  Only definitions are
 * cached: how far a projection is, and whether appends may run it, is read
 * from the tables each time.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/errors.h"
#include "event_store/projection/projection.h"
#include "pg/cache.h"
#include "pg/callbacks.h"
#include "pg/function.h"
#include "pg/lookup.h"
#include "pg/rights.h"

/* Columns of event_store.projection. */
typedef enum ProjectionColumn
{
	PROJECTION_NAME,
	PROJECTION_HANDLER,
	PROJECTION_OWNER,
	PROJECTION_MODE,
	PROJECTION_CATEGORY,
	PROJECTION_EVENT_TYPES,
	PROJECTION_TABLES,
	PROJECTION_ON_ERROR,
	PROJECTION_SOURCE,
	PROJECTION_COLUMNS
} ProjectionColumn;

static const ExtensionColumn projection_columns[PROJECTION_COLUMNS] = {
	[PROJECTION_NAME] = {"name", TEXTOID, true},
	[PROJECTION_HANDLER] = {"handler", TEXTOID, true},
	[PROJECTION_OWNER] = {"owner", TEXTOID, true},
	[PROJECTION_MODE] = {"mode", TEXTOID, true},
	[PROJECTION_CATEGORY] = {"category", TEXTOID},
	[PROJECTION_EVENT_TYPES] = {"event_types", TEXTARRAYOID},
	[PROJECTION_TABLES] = {"tables", TEXTARRAYOID, true},
	[PROJECTION_ON_ERROR] = {"on_error", TEXTOID, true},
	[PROJECTION_SOURCE] = {"source", TEXTOID},
};

static ExtensionRelation relation_projection =
	EXTENSION_TABLE("event_store", "projection", projection_columns);
static ExtensionRelation index_projection = {"event_store", "projection_pkey"};

/* Only which rebuilds there are is of interest here. */
static const ExtensionColumn rebuild_columns[] = {{"name", TEXTOID, true}};

static ExtensionRelation relation_rebuild =
	EXTENSION_TABLE("event_store", "projection_rebuild", rebuild_columns);
static ExtensionRelation index_rebuild = {"event_store", "projection_rebuild_pkey"};

static MemoryContext cache_context = NULL;
static Projection **projections = NULL;
static int	count = 0;
static Oid	table_oid = InvalidOid;
static Oid	rebuild_oid = InvalidOid;
static bool stale = false;
static bool complete = false;	/* what is there is all */

static void load_cache(void);
static Projection *read_projection(Datum *values, bool *nulls);
static void note_rebuilds(void);
static char *list_tables(ArrayType *tables);
static void relation_changed(Oid relation);

/*
 * How many projections are defined.
 */
int
projection_count(void)
{
	if (unlikely(stale || !complete))
		load_cache();
	return count;
}

/*
 * One of them, in the order of their names; NULL beyond the last.  Valid until
 * the transaction ends.
 */
Projection *
projection_get(int number)
{
	return number < projection_count() ? projections[number] : NULL;
}

/*
 * All of them as they are now, though others may come and go while the caller is at
 * them.  Valid until the transaction ends.
 */
Projection **
projection_all(int *number)
{
	*number = projection_count();
	return projections;
}

/*
 * The projection of a name; ST012 if there is none.
 */
Projection *
projection_find(const char *name)
{
	for (int i = 0; i < projection_count(); i++)
	{
		if (strcmp(projections[i]->name, name) == 0)
			return projections[i];
	}
	projection_unknown(name);
}

/*
 * Raises ST012.
 */
void
projection_unknown(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_ST_NO_PROJECTION),
			 errmsg("projection \"%s\" does not exist", name),
			 errhint("The view event_store.projections lists them.")));
}

/*
 * Whether this is the table that projections are defined in, as far as this process
 * has looked.
 */
bool
projection_is_table(Oid relation)
{
	return !OidIsValid(table_oid) || relation == table_oid;
}

/*
 * Under which name a projection's handler is registered.
 */
char *
projection_registration(const char *name)
{
	return registration_name("projection %s", name);
}

/*
 * The context that callables of handlers live in while they are idle.
 */
MemoryContext
projection_cache_context(void)
{
	return cache_context;
}

static void
load_cache(void)
{
	Lookup		lookup;
	Datum		values[PROJECTION_COLUMNS];
	bool		nulls[PROJECTION_COLUMNS];
	MemoryContext old;

	callback_on_relation(relation_changed);
	/* An error on the way must not leave a part of them that is taken for all. */
	complete = false;
	for (int tries = 1; (stale || !complete) && tries <= LOOKUP_TRIES; tries++)
	{
		int			room = 8;

		count = 0;
		cache_begin(&cache_context, "projections");
		old = MemoryContextSwitchTo(cache_context);
		projections = palloc(sizeof(Projection *) * room);
		table_oid = extension_relation_oid(&relation_projection);
		stale = false;
		lookup_begin(&lookup, &relation_projection, &index_projection, NULL, 0);
		while (lookup_next(&lookup, values, nulls))
		{
			if (count == room)
				projections = repalloc(projections, sizeof(Projection *) * (room *= 2));
			projections[count] = read_projection(values, nulls);
			count++;
		}
		lookup_end(&lookup);
		MemoryContextSwitchTo(old);
		note_rebuilds();
		complete = true;
	}
}

/*
 * Which projections are being rebuilt beside their tables.
 */
static void
note_rebuilds(void)
{
	Lookup		lookup;
	Datum		values[lengthof(rebuild_columns)];
	bool		nulls[lengthof(rebuild_columns)];

	rebuild_oid = extension_relation_oid(&relation_rebuild);
	if (count == 0)
		return;
	lookup_begin(&lookup, &relation_rebuild, &index_rebuild, NULL, 0);
	while (lookup_next(&lookup, values, nulls))
	{
		char	   *name = TextDatumGetCString(values[0]);

		for (int i = 0; i < count; i++)
			projections[i]->is_beside |= strcmp(projections[i]->name, name) == 0;
	}
	lookup_end(&lookup);
}

static Projection *
read_projection(Datum *values, bool *nulls)
{
	Projection *projection = cache_alloc0(cache_context, sizeof(Projection));

	projection->name = TextDatumGetCString(values[PROJECTION_NAME]);
	registration_init(&projection->registration, projection_registration(projection->name),
					  TextDatumGetCString(values[PROJECTION_HANDLER]), values[PROJECTION_OWNER]);
	projection->takes_batch = function_signature_takes_array(projection->registration.signature);
	projection->is_inline = strcmp(TextDatumGetCString(values[PROJECTION_MODE]), "inline") == 0;
	projection->refuses = projection->is_inline &&
		strcmp(TextDatumGetCString(values[PROJECTION_ON_ERROR]), "refuse") == 0;
	projection->filter.of_consumer = true;
	if (!nulls[PROJECTION_CATEGORY])
	{
		projection->filter.category = TextDatumGetCString(values[PROJECTION_CATEGORY]);
		projection->filter.category_length = (int) strlen(projection->filter.category);
	}
	if (!nulls[PROJECTION_EVENT_TYPES])
		event_filter_types(&projection->filter,
						   DatumGetArrayTypePCopy(values[PROJECTION_EVENT_TYPES]));
	if (!nulls[PROJECTION_SOURCE])
		projection->source = TextDatumGetCString(values[PROJECTION_SOURCE]);
	projection->tables = list_tables(DatumGetArrayTypeP(values[PROJECTION_TABLES]));
	return projection;
}

/*
 * The tables' names are stored qualified and quoted.
 */
static char *
list_tables(ArrayType *tables)
{
	StringInfoData list;
	Datum	   *names;
	int			table_count;

	deconstruct_array(tables, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &table_count);
	if (table_count == 0)
		return NULL;
	initStringInfo(&list);
	for (int i = 0; i < table_count; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", TextDatumGetCString(names[i]));
	return list.data;
}

static void
relation_changed(Oid relation)
{
	if (relation == InvalidOid || relation == table_oid || relation == rebuild_oid)
		stale = true;
}
