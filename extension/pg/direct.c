/*
 * direct.c
 *		Inserting into our own tables without the executor.
 *
 * An append spends most of its time in heap and index insertion; planning and
 * starting an executor for one row would double it.  What is left out with
 * the executor is left out on purpose and checked in direct_possible():
 * triggers on INSERT, row security, partitions, rules.  Privileges are those of
 * the function that was called.
 *
 * What is known of a table's indexes is cached per backend until the relation
 * is invalidated.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pg/direct.h"

typedef struct DirectCache
{
	Oid			relation;
	bool		valid;			/* false: the relation has changed meanwhile */
	bool		complete;		/* false: an error has ended its making */
	int			users;			/* calls that are using it now */
	int			index_count;
	Oid			indexes[DIRECT_MAX_INDEXES];
	IndexInfo  *infos[DIRECT_MAX_INDEXES];
	EState	   *estate;
	MemoryContext context;
	struct DirectCache *next;
} DirectCache;

static DirectCache *caches = NULL;
static bool callback_registered = false;

static Relation open_index(DirectTable *table, int number);
static DirectCache *cache_for(Relation heap);
static DirectCache *build_cache(Relation heap);
static void prepare_index(DirectCache *cache, int number);
static void forget_cache(Datum arg, Oid relation);
static void release_caches(XactEvent event, void *arg);

/*
 * Opens a table; its indexes are opened when they are needed.  In the current
 * memory context.
 */
DirectTable *
direct_open(ExtensionRelation *relation, int lockmode)
{
	DirectTable *table = palloc0(sizeof(DirectTable));

	table->heap = table_open(extension_relation_oid(relation), lockmode);
	table->lockmode = lockmode;
	table->context = CurrentMemoryContext;
	table->cache = cache_for(table->heap);
	if (lockmode != AccessShareLock)
		table->row = MakeSingleTupleTableSlot(RelationGetDescr(table->heap), &TTSOpsVirtual);
	table->slot = table_slot_create(table->heap, NULL);
	return table;
}

/*
 * Whether insertion without the executor does all that INSERT would.
 */
bool
direct_possible(DirectTable *table)
{
	Form_pg_class form = table->heap->rd_rel;
	TriggerDesc *triggers = table->heap->trigdesc;

	return form->relkind == RELKIND_RELATION && !form->relrowsecurity && !form->relhasrules &&
		   !form->relispartition &&
		   (triggers == NULL ||
			!(triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
			  triggers->trig_insert_before_statement || triggers->trig_insert_after_statement));
}

/*
 * Inserts the row's values as one row and enters it into every index.  A
 * conflict in a unique index is an error, except in may_conflict (if valid):
 * there the row stands, false is returned, and the caller must find out who
 * else has the key and raise an error if that one lives.
 */
bool
direct_insert(DirectTable *table, Oid may_conflict)
{
	TupleTableSlot *slot = table->row;
	DirectCache *cache = table->cache;
	ExprContext *expressions = GetPerTupleExprContext(cache->estate);
	bool		unique = true;

	ExecStoreVirtualTuple(slot);
	table_tuple_insert(table->heap, slot, GetCurrentCommandId(true), 0, NULL);

	expressions->ecxt_scantuple = slot;
	for (int i = 0; i < cache->index_count; i++)
	{
		IndexInfo  *info = cache->infos[i];
		IndexUniqueCheck check = UNIQUE_CHECK_NO;
		Relation	index;
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		if (!info->ii_ReadyForInserts)
			continue;
		if (info->ii_PredicateState != NULL && !ExecQual(info->ii_PredicateState, expressions))
			continue;
		index = open_index(table, i);
		FormIndexDatum(info, slot, cache->estate, values, nulls);
		/* The info outlives this call, what an index hangs on it does not. */
		info->ii_AmCache = table->index_states[i];
		info->ii_Context = table->context;
		if (info->ii_Unique)
			check =
				RelationGetRelid(index) == may_conflict ? UNIQUE_CHECK_PARTIAL : UNIQUE_CHECK_YES;
		if (!index_insert(index, values, nulls, &slot->tts_tid, table->heap, check, false, info) &&
			check == UNIQUE_CHECK_PARTIAL)
			unique = false;
		table->index_states[i] = info->ii_AmCache;
	}
	ResetPerTupleExprContext(cache->estate);
	return unique;
}

/*
 * The opened relation of one of the table's indexes.
 */
Relation
direct_index(DirectTable *table, ExtensionRelation *index)
{
	Oid			wanted = extension_relation_oid(index);

	for (int i = 0; i < table->cache->index_count; i++)
	{
		if (table->cache->indexes[i] == wanted)
			return open_index(table, i);
	}
	elog(ERROR, "index \"%s\" does not belong to table \"%s\"",
		 index->name, RelationGetRelationName(table->heap));
}

/*
 * Closes what direct_open() opened.  A reader's locks go at once, a writer's stay
 * until the transaction ends.
 */
void
direct_close(DirectTable *table)
{
	int			lockmode = table->lockmode == AccessShareLock ? AccessShareLock : NoLock;

	for (int i = 0; i < table->cache->index_count; i++)
	{
		if (table->indexes[i] == NULL)
			continue;
		if (table->index_states[i] != NULL)
		{
			table->cache->infos[i]->ii_AmCache = table->index_states[i];
			compat_index_insert_cleanup(table->indexes[i], table->cache->infos[i]);
		}
		index_close(table->indexes[i], lockmode);
	}
	if (table->row != NULL)
		ExecDropSingleTupleTableSlot(table->row);
	ExecDropSingleTupleTableSlot(table->slot);
	table_close(table->heap, lockmode);
	table->cache->users--;
	pfree(table);
}

/*
 * The first row an index gives for a key; *found says whether there is one,
 * and slot holds it.  With a dirty snapshot, the running transaction that is
 * inserting or deleting the row, else InvalidTransactionId.
 */
TransactionId
direct_find(Relation heap, Relation index, Snapshot snapshot, int nkeys, ScanKey keys,
			ScanDirection direction, TupleTableSlot *slot, bool *found)
{
	IndexScanDesc scan = compat_index_beginscan(heap, index, snapshot, nkeys);
	TransactionId in_progress = InvalidTransactionId;

	index_rescan(scan, keys, nkeys, NULL, 0);
	*found = index_getnext_slot(scan, direction, slot);
	if (*found && snapshot->snapshot_type == SNAPSHOT_DIRTY)
		in_progress = TransactionIdIsValid(snapshot->xmin) ? snapshot->xmin : snapshot->xmax;
	/* The slot keeps its own pin on the buffer. */
	index_endscan(scan);
	return in_progress;
}

static Relation
open_index(DirectTable *table, int number)
{
	if (table->indexes[number] == NULL)
		table->indexes[number] = index_open(table->cache->indexes[number], table->lockmode);
	return table->indexes[number];
}

static DirectCache *
cache_for(Relation heap)
{
	DirectCache **link = &caches;

	while (*link != NULL)
	{
		DirectCache *cache = *link;

		if (cache->valid && cache->complete && cache->relation == RelationGetRelid(heap))
		{
			cache->users++;
			return cache;
		}
		/* Not while a call further up still uses it. */
		if (!(cache->valid && cache->complete) && cache->users == 0)
		{
			*link = cache->next;
			MemoryContextDelete(cache->context);
		}
		else
			link = &cache->next;
	}
	return build_cache(heap);
}

static DirectCache *
build_cache(Relation heap)
{
	MemoryContext context = AllocSetContextCreate(CacheMemoryContext, "ecommerce table",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	DirectCache *cache = palloc0(sizeof(DirectCache));
	List	   *indexes = RelationGetIndexList(heap);
	ListCell   *cell;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(forget_cache, (Datum) 0);
		RegisterXactCallback(release_caches, NULL);
		callback_registered = true;
	}
	if (list_length(indexes) > DIRECT_MAX_INDEXES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("table \"%s\" has more than %d indexes",
						RelationGetRelationName(heap), DIRECT_MAX_INDEXES),
				 errhint("Drop indexes that the extension did not create.")));
	cache->relation = RelationGetRelid(heap);
	cache->context = context;
	cache->estate = CreateExecutorState();
	/* Valid from the start: an invalidation that comes meanwhile must not be lost. */
	cache->valid = true;
	cache->users = 1;
	cache->next = caches;
	caches = cache;
	foreach(cell, indexes)
	{
		int			number = cache->index_count;

		cache->indexes[number] = lfirst_oid(cell);
		prepare_index(cache, number);
		cache->index_count++;
	}
	cache->complete = true;
	MemoryContextSwitchTo(old);
	return cache;
}

/*
 * Prepares an index's expressions in the name of the index's owner, so that
 * who calls us needs no privilege on the functions in them.
 */
static void
prepare_index(DirectCache *cache, int number)
{
	Relation	index = index_open(cache->indexes[number], AccessShareLock);
	IndexInfo  *info = BuildIndexInfo(index);
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(index->rd_rel->relowner, security | SECURITY_LOCAL_USERID_CHANGE);
	if (info->ii_Predicate != NIL)
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, cache->estate);
	if (info->ii_Expressions != NIL)
		info->ii_ExpressionsState = ExecPrepareExprList(info->ii_Expressions, cache->estate);
	SetUserIdAndSecContext(user, security);
	cache->infos[number] = info;
	index_close(index, AccessShareLock);
}

static void
forget_cache(Datum arg, Oid relation)
{
	for (DirectCache *cache = caches; cache != NULL; cache = cache->next)
	{
		if (relation == InvalidOid || cache->relation == relation)
			cache->valid = false;
	}
}

/*
 * A call that failed has not closed what it had opened.
 */
static void
release_caches(XactEvent event, void *arg)
{
	/* At a commit too: the failure may have been caught. */
	if (event != XACT_EVENT_ABORT && event != XACT_EVENT_COMMIT)
		return;
	for (DirectCache *cache = caches; cache != NULL; cache = cache->next)
		cache->users = 0;
}
