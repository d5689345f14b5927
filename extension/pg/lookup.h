/*
 * lookup.h
 *		Reading the extension's small tables as PostgreSQL reads its catalogs.
 *
 * Usage:
 *		lookup_begin(&lookup, &table, &index, name, length);	(NULL: all rows)
 *		while (lookup_next(&lookup, values, nulls))
 *			...
 *		lookup_end(&lookup);
 */
#ifndef ECOMMERCE_PG_LOOKUP_H
#define ECOMMERCE_PG_LOOKUP_H

#include "postgres.h"

#include "pg/scan.h"

/*
 * What is cached from such tables is loaded again if something has changed while
 * it was being loaded, but not for ever: then what was read serves this call, as
 * new as any snapshot of it, and the next call loads again.
 */
#define LOOKUP_TRIES 3

typedef struct Lookup
{
	TableScan	scan;
	ScanDirection direction;
	HeapTuple	row;			/* the one that was given last */
} Lookup;

extern void lookup_begin(Lookup *lookup, ExtensionRelation *table, ExtensionRelation *index,
						 const char *key, int length);
extern void lookup_begin_backward(Lookup *lookup, ExtensionRelation *table,
								  ExtensionRelation *index,
								  const char *key, int length);
extern bool lookup_next(Lookup *lookup, Datum *values, bool *nulls);
extern void lookup_end(Lookup *lookup);
extern void *lookup_one_more(MemoryContext context, void *array, int count, Size element);

#endif
