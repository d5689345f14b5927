/*
 * scoped.h
 *		Values that are set for the rest of a transaction, and undone with the
 *		savepoint they were set in.
 *
 * Usage:
 *		static Scoped scoped;
 *		scoped_set(&scoped, PointerGetDatum(memory of the transaction));
 *		value = DatumGetPointer(scoped_get(&scoped));	(0 if none is set)
 */
#ifndef ECOMMERCE_PG_SCOPED_H
#define ECOMMERCE_PG_SCOPED_H

#include "postgres.h"

typedef struct ScopedLevel ScopedLevel;

typedef struct Scoped
{
	ScopedLevel *innermost;		/* NULL: nothing is set */
	bool		known;
	struct Scoped *next;		/* of all that are known */
} Scoped;

extern Datum scoped_get(const Scoped *scoped);
extern void scoped_set(Scoped *scoped, Datum value);

#endif
