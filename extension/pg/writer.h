/*
 * writer.h
 *		The one writer of our own tables.
 *
 * Usage:
 *		Writer *writer = writer_open(&relation, RowExclusiveLock);
 *		TupleTableSlot *row = writer_new_row(writer);
 *		fill row's tts_values and tts_isnull
 *		writer_insert(writer, InvalidOid);
 *		writer_close(writer);
 *
 * With AccessShareLock it serves to read only.
 */
#ifndef ECOMMERCE_PG_WRITER_H
#define ECOMMERCE_PG_WRITER_H

#include "postgres.h"

#include "access/genam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"

#include "pg/relation.h"

typedef struct Writer
{
	Relation	heap;
	TupleTableSlot *row;		/* to fill; made by writer_new_row() */
	TupleTableSlot *slot;		/* to scan with; made by writer_slot() */
	Relation   *indexes;		/* NULL until needed */
	void	  **index_states;	/* what indexes keep between insertions */
	MemoryContext context;		/* where those live */
	LOCKMODE	lockmode;
	ExtensionRelation *table;
	struct WriterShape *shape;
} Writer;

extern Writer *writer_open(ExtensionRelation *table, LOCKMODE lockmode);
extern void writer_close(Writer *writer);
extern void writer_cancel(Writer *writer);
extern Relation writer_index(Writer *writer, ExtensionRelation *index);
extern TupleTableSlot *writer_slot(Writer *writer);

extern TupleTableSlot *writer_new_row(Writer *writer);
extern bool writer_insert(Writer *writer, Oid may_conflict);
extern void writer_insert_tuples(Writer *writer, HeapTuple *rows, int count);

extern void table_insert(ExtensionRelation *table, const Datum *values, const bool *nulls);
extern void table_update(ExtensionRelation *table, ItemPointer tid,
						 const Datum *values, const bool *nulls);
extern void table_delete(ExtensionRelation *table, ItemPointer tid);

#endif
