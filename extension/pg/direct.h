/*
 * direct.h
 *		Inserting into our own tables without the executor.
 *
 * Usage:
 *		DirectTable *table = direct_open(&relation, RowExclusiveLock);
 *		fill table->row's tts_values and tts_isnull
 *		direct_insert(table, InvalidOid);
 *		direct_close(table);
 */
#ifndef ECOMMERCE_PG_DIRECT_H
#define ECOMMERCE_PG_DIRECT_H

#include "postgres.h"

#include "access/genam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"

#include "pg/relation.h"

#define DIRECT_MAX_INDEXES 8

typedef struct DirectTable
{
	Relation	heap;
	TupleTableSlot *row;		/* to fill and insert; NULL for readers */
	TupleTableSlot *slot;		/* to scan with */
	Relation	indexes[DIRECT_MAX_INDEXES];	/* NULL until needed */
	void	   *index_states[DIRECT_MAX_INDEXES];	/* what indexes keep between insertions */
	MemoryContext context;		/* where those live */
	int			lockmode;
	struct DirectCache *cache;
} DirectTable;

extern DirectTable *direct_open(ExtensionRelation *relation, int lockmode);
extern bool direct_possible(DirectTable *table);
extern bool direct_insert(DirectTable *table, Oid may_conflict);
extern Relation direct_index(DirectTable *table, ExtensionRelation *index);
extern void direct_close(DirectTable *table);
extern TransactionId direct_find(Relation heap, Relation index, Snapshot snapshot, int nkeys,
								 ScanKey keys, ScanDirection direction, TupleTableSlot *slot,
								 bool *found);

#endif
