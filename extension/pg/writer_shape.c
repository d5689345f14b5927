/*
 * writer_shape.c
 *		What is to be known of a table before rows are written to it.
 *
 * Found out once, until the table or one of its indexes is invalidated: which
 * indexes there are, and whether INSERT, UPDATE or DELETE would do more than
 * write the row and its index entries.  Triggers, rules, partitions, columns
 * that somebody has added with defaults or demands, exclusion and deferrable
 * constraints want the executor.
 *
 * Lock protocol: the caller holds a lock on the table, so what he has got is
 * right for as long as he holds it.  It is kept while a call uses it, even if an
 * invalidation has made it void for the next.
 *
 * A crash leaves nothing: all of it is a backend's own memory.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "pg/cache.h"
#include "pg/callbacks.h"
#include "pg/rights.h"
#include "pg/writer_shape.h"

static WriterShape *shapes = NULL;

static WriterShape *build_shape(ExtensionRelation *table, Relation heap);
static void judge(WriterShape *shape, Relation heap, bool plain_indexes);
static void find_short_row(WriterShape *shape, Relation heap);
static bool is_for_others(Oid called);
static bool columns_want_executor(ExtensionRelation *table, Relation heap, bool *others);
static bool prepare_index(WriterShape *shape, int number);
static int last_column(IndexInfo *info);
static void forget_shape(Oid relation);
static void release_shapes(XactEvent event, void *arg);

/*
 * Finds out what is to be known of a table now, having freed what was known
 * before.
 */
WriterShape *
writer_shape_make(ExtensionRelation *table, Relation heap)
{
	WriterShape **link = &shapes;

	table->shape = NULL;
	while (*link != NULL)
	{
		WriterShape *shape = *link;

		/* Not while a call further up still uses it. */
		if (shape->users > 0 || shape->table->shape == shape)
		{
			link = &shape->next;
			continue;
		}
		*link = shape->next;
		MemoryContextDelete(shape->context);
	}
	return table->shape = build_shape(table, heap);
}

static WriterShape *
build_shape(ExtensionRelation *table, Relation heap)
{
	MemoryContext context = AllocSetContextCreate(CacheMemoryContext, "ecommerce table",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	WriterShape *shape = cache_alloc0(context, sizeof(WriterShape));
	List	   *indexes = RelationGetIndexList(heap);
	ListCell   *cell;
	bool		plain = true;

	callback_on_relation(forget_shape);
	callback_on_transaction(release_shapes);
	shape->table = table;
	shape->relation = RelationGetRelid(heap);
	shape->context = context;
	shape->estate = CreateExecutorState();
	shape->indexes = palloc(sizeof(Oid) * Max(list_length(indexes), 1));
	shape->infos = palloc(sizeof(IndexInfo *) * Max(list_length(indexes), 1));
	/* Valid from the start: an invalidation that comes meanwhile must not be lost. */
	shape->valid = true;
	shape->next = shapes;
	shapes = shape;
	foreach(cell, indexes)
	{
		shape->indexes[shape->index_count++] = lfirst_oid(cell);
		plain &= prepare_index(shape, shape->index_count - 1);
	}
	judge(shape, heap, plain);
	find_short_row(shape, heap);
	MemoryContextSwitchTo(old);
	return shape;
}

/*
 * Decides which commands need no executor.
 */
static void
judge(WriterShape *shape, Relation heap, bool plain_indexes)
{
	bool		others;
	bool		demanding = columns_want_executor(shape->table, heap, &others);
	bool		plain = heap->rd_rel->relkind == RELKIND_RELATION &&
		!heap->rd_rel->relhasrules && !heap->rd_rel->relispartition;

	shape->direct[WRITE_INSERT] = plain && plain_indexes && !demanding;
	/* What somebody has put into columns of his own stays. */
	shape->direct[WRITE_UPDATE] = plain && plain_indexes && !others;
	shape->direct[WRITE_DELETE] = plain;
	for (int i = 0; heap->trigdesc != NULL && i < heap->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &heap->trigdesc->triggers[i];
		char		enabled = trigger->tgenabled;
		int16		type = trigger->tgtype;

		/* A look-up may build the list of triggers anew: ours is not read afterwards. */
		if (enabled == TRIGGER_DISABLED || is_for_others(trigger->tgfoid))
			continue;
		shape->direct[WRITE_INSERT] &= !TRIGGER_FOR_INSERT(type);
		shape->direct[WRITE_UPDATE] &= !TRIGGER_FOR_UPDATE(type);
		shape->direct[WRITE_DELETE] &= !TRIGGER_FOR_DELETE(type);
	}
	if (RelationGetDescr(heap)->constr != NULL && RelationGetDescr(heap)->constr->num_check > 0)
	{
		shape->checks = makeNode(ResultRelInfo);
		InitResultRelInfo(shape->checks, heap, 0, NULL, 0);
	}
}

/*
 * Nulls at the end of a row need not be stored: it is one of the time before those
 * columns were added, without the bytes that mark nulls.  Where something looks at
 * them, they are.
 */
static void
find_short_row(WriterShape *shape, Relation heap)
{
	TupleDesc	descriptor = RelationGetDescr(heap);
	int			needed = shape->last_indexed;

	for (int i = needed; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		/* A value that is said to be there where none is stored. */
		if (attribute->attnotnull || attribute->atthasmissing || attribute->attgenerated != '\0')
			needed = i + 1;
	}
	shape->needed = needed;
	if (needed == descriptor->natts || needed == 0 || shape->checks != NULL)
		return;
	shape->short_row = CreateTemplateTupleDesc(needed);
	for (int i = 1; i <= needed; i++)
		TupleDescCopyEntry(shape->short_row, i, descriptor, i);
}

/*
 * Whether a trigger's function is the one of ours that watches who else fills a table.
 */
static bool
is_for_others(Oid called)
{
	char	   *function = get_func_name(called);
	char	   *schema = get_namespace_name(get_func_namespace(called));

	return function != NULL && schema != NULL && strcmp(function, "_note_restore") == 0 &&
		strcmp(schema, "ecommerce") == 0;
}

/*
 * Whether a column that is not ours must be given a value that is not null; and
 * whether there are others than ours at all.
 */
static bool
columns_want_executor(ExtensionRelation *table, Relation heap, bool *others)
{
	TupleDesc	descriptor = RelationGetDescr(heap);
	bool		demanding = false;

	*others = false;
	for (int i = table->column_count; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (attribute->attisdropped)
			continue;
		*others = true;
		demanding |= attribute->atthasdef || attribute->atthasmissing ||
			attribute->attnotnull || attribute->attidentity != '\0' ||
			attribute->attgenerated != '\0' ||
			get_typtype(attribute->atttypid) == TYPTYPE_DOMAIN;
	}
	return demanding;
}

/*
 * Prepares an index's expressions in the name of the index's owner, so that
 * who calls us needs no privilege on the functions in them.  False if only the
 * executor can enter rows into it.
 */
static bool
prepare_index(WriterShape *shape, int number)
{
	Relation	index = index_open(shape->indexes[number], AccessShareLock);
	IndexInfo  *info = BuildIndexInfo(index);
	bool		plain = index->rd_index->indimmediate && !index->rd_index->indisexclusion;
	Identity	before;
	int			last;

	rights_become(index->rd_rel->relowner, 0, &before);
	if (info->ii_Predicate != NIL)
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, shape->estate);
	if (info->ii_Expressions != NIL)
		info->ii_ExpressionsState = ExecPrepareExprList(info->ii_Expressions, shape->estate);
	rights_become_again(&before);
	shape->infos[number] = info;
	last = last_column(info);
	shape->last_indexed = Max(shape->last_indexed, last);
	index_close(index, AccessShareLock);
	return plain;
}

/*
 * The last column that an index takes, or decides or computes with.
 */
static int
last_column(IndexInfo *info)
{
	Bitmapset  *columns = NULL;
	int			member = -1;
	int			last = 0;

	for (int i = 0; i < info->ii_NumIndexAttrs; i++)
		last = Max(last, info->ii_IndexAttrNumbers[i]);
	pull_varattnos((Node *) info->ii_Predicate, 1, &columns);
	pull_varattnos((Node *) info->ii_Expressions, 1, &columns);
	while ((member = bms_next_member(columns, member)) >= 0)
		last = Max(last, member + FirstLowInvalidHeapAttributeNumber);
	return last;
}

/*
 * That an index has changed is told of the index alone.
 */
static void
forget_shape(Oid relation)
{
	for (WriterShape *shape = shapes; shape != NULL; shape = shape->next)
	{
		if (relation == InvalidOid || shape->relation == relation)
			shape->valid = false;
		for (int i = 0; i < shape->index_count && shape->valid; i++)
			shape->valid = shape->indexes[i] != relation;
	}
}

/*
 * A call that failed has not closed what it had opened.
 */
static void
release_shapes(XactEvent event, void *arg)
{
	/* At a commit too: the failure may have been caught. */
	if (event != XACT_EVENT_ABORT && event != XACT_EVENT_COMMIT)
		return;
	for (WriterShape *shape = shapes; shape != NULL; shape = shape->next)
	{
		shape->users = 0;
		shape->evaluating = false;
	}
}
