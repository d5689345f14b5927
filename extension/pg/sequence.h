/*
 * sequence.h
 *		Taking numbers from our own sequences.
 */
#ifndef ECOMMERCE_PG_SEQUENCE_H
#define ECOMMERCE_PG_SEQUENCE_H

#include "postgres.h"

#include "pg/relation.h"

/*
 * Numbers of a sequence that this backend has in hand, for numbers of which only
 * their being unique matters.  Define one as a static variable, with schema and
 * name; the rest is filled in.
 */
typedef struct SequenceHand
{
	ExtensionRelation sequence;
	Oid			taken_from;
	int64		next;
	int			left;
} SequenceHand;

extern int64 sequence_take(Oid sequence, int count);
extern int64 sequence_next(SequenceHand *hand);

#endif
