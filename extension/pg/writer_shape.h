/*
 * writer_shape.h
 *		What pg/writer.c knows of a table: for it alone.
 */
#ifndef ECOMMERCE_PG_WRITER_SHAPE_H
#define ECOMMERCE_PG_WRITER_SHAPE_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "pg/relation.h"

typedef enum WriterCommand
{
	WRITE_INSERT,
	WRITE_UPDATE,
	WRITE_DELETE
} WriterCommand;

#define WRITER_COMMANDS 3

/* What is known of a table, until it or one of its indexes changes. */
typedef struct WriterShape
{
	ExtensionRelation *table;	/* it has this shape, unless another by now */
	Oid			relation;
	bool		valid;			/* false: something has changed meanwhile */
	int			users;			/* calls that are using it now */
	bool		evaluating;		/* an expression is running, or has failed */
	bool		direct[WRITER_COMMANDS];	/* the executor would do nothing more */
	int			index_count;
	Oid		   *indexes;
	IndexInfo **infos;
	int			last_indexed;	/* the last column that an index looks at */
	int			needed;			/* columns that a row has if those after them are null */
	TupleDesc	short_row;		/* these; NULL if that is all of them */
	EState	   *estate;
	ResultRelInfo *checks;		/* CHECK constraints; NULL without */
	MemoryContext context;
	struct WriterShape *next;
} WriterShape;

extern WriterShape *writer_shape_make(ExtensionRelation *table, Relation heap);

/*
 * What is known of a table that is open.
 */
static inline WriterShape *
writer_shape(ExtensionRelation *table, Relation heap)
{
	WriterShape *shape = table->shape;

	if (unlikely(shape == NULL || !shape->valid || shape->relation != RelationGetRelid(heap)))
		shape = writer_shape_make(table, heap);
	return shape;
}

#endif
