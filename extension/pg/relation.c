/*
 * relation.c
 *		The extension's own relations, by name, resolved once per backend.
 *
 * An object identifier is looked up once and forgotten when the relation is
 * invalidated, which DROP EXTENSION does.  The first look-up after that also
 * checks that the library and the SQL part have the same version.
 *
 * Tables are opened here, so that somebody else's ALTER TABLE is noticed before
 * a row is looked at.  Our columns come first and are what they were, which is
 * checked once per invalidation; what follows them, live or dropped, is none of
 * our business.  So rows are taken apart by a descriptor of our columns alone.
 *
 * Lock protocol: a table's lock comes first and its indexes' names are resolved
 * under it, so that an index which REINDEX CONCURRENTLY has replaced is still
 * maintained for as long as we can be using it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "pg/callbacks.h"
#include "pg/relation.h"

/* Whether a dump is being restored into this database; layer log knows. */
bool		(*extension_is_restored) (void) = NULL;

static ExtensionRelation *known_relations = NULL;
/* The extension's owner, InvalidOid if it is to be looked up. */
static Oid	known_owner = InvalidOid;
static uint64 changes = 0;

static bool read_extension_row(Oid *owner, char **version);
static void check_sql_version(void);
static void check_table(ExtensionRelation *table, Relation heap);
static bool column_fits(const ExtensionColumn *column, TupleDesc descriptor, int number);
static void forget_relation(Oid relid);

/*
 * The object identifier of one of our relations.  An error if the SQL part of
 * the extension is absent or does not fit the library.
 */
Oid
extension_relation_oid(ExtensionRelation *relation)
{
	Oid			schema;

	if (relation->known)
		return relation->oid;
	callback_on_relation(forget_relation);
	check_sql_version();
	schema = get_namespace_oid(relation->schema, true);
	relation->oid = OidIsValid(schema) ? get_relname_relid(relation->name, schema) : InvalidOid;
	if (!OidIsValid(relation->oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" of extension \"ecommerce\" does not exist",
						relation->schema, relation->name),
				 errhint("Type CREATE EXTENSION ecommerce in this database.")));
	relation->known = true;
	relation->fits = false;
	relation->next = known_relations;
	known_relations = relation;
	return relation->oid;
}

/*
 * Opens one of our tables.  An error if it has not the columns that it was made
 * with, or if row level security would have a say.
 */
Relation
extension_table_open(ExtensionRelation *table, LOCKMODE lockmode)
{
	Relation	heap = table_open(extension_relation_oid(table), lockmode);

	/* The lock may have told us of a change. */
	if (unlikely(!table->fits || !table->known))
	{
		check_table(table, heap);
		table->fits = true;
	}
	return heap;
}

/*
 * The shape of a table's rows as far as it is ours.
 */
TupleDesc
extension_table_descriptor(ExtensionRelation *table)
{
	MemoryContext old;
	TupleDesc	descriptor;

	if (table->descriptor != NULL)
		return table->descriptor;
	old = MemoryContextSwitchTo(TopMemoryContext);
	descriptor = CreateTemplateTupleDesc(table->column_count);
	for (int i = 0; i < table->column_count; i++)
		TupleDescInitEntry(descriptor, (AttrNumber) (i + 1), table->columns[i].name,
						   table->columns[i].type, -1, 0);
	table->descriptor = descriptor;
	MemoryContextSwitchTo(old);
	return descriptor;
}

static void
check_table(ExtensionRelation *table, Relation heap)
{
	TupleDesc	descriptor = RelationGetDescr(heap);

	if (heap->rd_rel->relrowsecurity)
		extension_refuse_policies(RelationGetRelid(heap));
	for (int i = 0; i < table->column_count; i++)
	{
		const ExtensionColumn *column = &table->columns[i];

		if (column->name == NULL)
			elog(ERROR, "column %d of \"%s\" has no name", i + 1, table->name);
		if (column_fits(column, descriptor, i))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("table \"%s.%s\" has unexpected columns", table->schema, table->name),
				 errdetail("Column %d should be \"%s\", type %s%s.", i + 1, column->name,
						   format_type_be(column->type), column->not_null ? ", not null" : ""),
				 errhint("Undo what was done to the table's own columns; columns that were added may stay.")));
	}
}

/*
 * Refuses a table of ours that has row level security.  Statements run as the
 * tables' owner, for whom there are no policies.
 */
void
extension_refuse_policies(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	bool		has_policies = HeapTupleIsValid(tuple) &&
		((Form_pg_class) GETSTRUCT(tuple))->relrowsecurity;
	char	   *name;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	if (!has_policies ||
		getExtensionOfObject(RelationRelationId, relation) != get_extension_oid("ecommerce", true))
		return;
	name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
									  get_rel_name(relation));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("table \"%s\" has row level security, which would be ignored", name),
			 errdetail("Who may execute a function of the extension sees and writes all that it does."),
			 errhint("Type ALTER TABLE %s DISABLE ROW LEVEL SECURITY, and put policies on tables of your own.",
					 name)));
}

/*
 * Refuses a row type of ours that has not the attributes that it was made with.
 * Others, at most SPARE_ATTRIBUTES, may follow them.
 */
void
extension_row_check(TupleDesc row, const ExtensionColumn *columns, int count)
{
	bool		fits = row->natts <= count + SPARE_ATTRIBUTES;

	/* No attribute of a row type is not null. */
	for (int i = 0; i < count && fits; i++)
		fits = column_fits(&(ExtensionColumn) {columns[i].name, columns[i].type}, row, i);
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("row type %s has unexpected attributes", format_type_be(row->tdtypeid)),
				 errhint("Undo what was done to the type's own attributes with ALTER TYPE.")));
}

static bool
column_fits(const ExtensionColumn *column, TupleDesc descriptor, int number)
{
	Form_pg_attribute attribute;

	if (number >= descriptor->natts)
		return false;
	attribute = TupleDescAttr(descriptor, number);
	return !attribute->attisdropped && strcmp(NameStr(attribute->attname), column->name) == 0 &&
		attribute->atttypid == column->type && (attribute->attnotnull || !column->not_null) &&
		attribute->attgenerated == '\0';
}

/*
 * The installed version of the extension's SQL part, NULL if this database has
 * none.  In the caller's memory context.
 */
char *
extension_sql_version(void)
{
	char	   *version;

	return read_extension_row(NULL, &version) ? version : NULL;
}

/*
 * The role that owns the extension, in whose name its tables are kept.  Nobody is
 * told of a change of pg_extension alone; but whatever makes, drops or hands over
 * the extension does so with its tables.
 */
Oid
extension_owner(void)
{
	Oid			owner;
	uint64		as_of;

	if (likely(OidIsValid(known_owner)))
		return known_owner;
	callback_on_relation(forget_relation);
	as_of = changes;
	if (!read_extension_row(&owner, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"ecommerce\" is not installed in this database"),
				 errhint("Type CREATE EXTENSION ecommerce.")));
	if (as_of == changes)
		known_owner = owner;
	return owner;
}

/*
 * Starts a transaction of a worker, during which the extension is not dropped.
 * DROP EXTENSION locks the extension before all that belongs to it, so who waits
 * here holds nothing of that yet.  A worker whose extension is gone has nothing
 * left to do and ends.  So does one whose tables are being restored: what it
 * knows of them counts no more, and the next one waits for the restore's end.
 */
void
extension_begin_transaction(void)
{
	Oid			extension;

	StartTransactionCommand();
	extension = get_extension_oid("ecommerce", true);
	if (OidIsValid(extension))
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	if (!OidIsValid(extension) || get_extension_oid("ecommerce", true) != extension ||
		(extension_is_restored != NULL && extension_is_restored()))
		proc_exit(0);
}

/*
 * Once in a transaction: under debug_discard_caches every look-up would be the first.
 */
static void
check_sql_version(void)
{
	static LocalTransactionId checked_in = InvalidLocalTransactionId;
	char	   *version;

	if (checked_in == compat_local_transaction())
		return;
	version = extension_sql_version();
	/* While CREATE EXTENSION runs its row is there already. */
	if (version != NULL && strcmp(version, ECOMMERCE_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"ecommerce\" has version %s in this database, but its library has %s",
						version, ECOMMERCE_VERSION),
				 errhint("Type ALTER EXTENSION ecommerce UPDATE, or install the library that fits.")));
	if (version == NULL)
		return;
	pfree(version);
	checked_in = compat_local_transaction();
}

/*
 * Reads our row of pg_extension; there is no syscache for it.
 */
static bool
read_extension_row(Oid *owner, char **version)
{
	Relation	catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;
	bool		found;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("ecommerce"));
	scan = systable_beginscan(catalog, ExtensionNameIndexId, true, NULL, 1, &key);
	row = systable_getnext(scan);
	found = HeapTupleIsValid(row);
	if (found && owner != NULL)
		*owner = ((Form_pg_extension) GETSTRUCT(row))->extowner;
	if (found && version != NULL)
	{
		bool		isnull;
		Datum		value = heap_getattr(row, Anum_pg_extension_extversion,
										 RelationGetDescr(catalog), &isnull);

		*version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

static void
forget_relation(Oid relid)
{
	ExtensionRelation **link = &known_relations;

	known_owner = InvalidOid;
	changes++;
	while (*link != NULL)
	{
		ExtensionRelation *relation = *link;

		if (relid == InvalidOid || relation->oid == relid)
		{
			relation->known = false;
			*link = relation->next;
		}
		else
			link = &relation->next;
	}
}
