/*
 * sequence.h
 *		Taking numbers from our own sequences.
 */
#ifndef ECOMMERCE_PG_SEQUENCE_H
#define ECOMMERCE_PG_SEQUENCE_H

#include "postgres.h"

extern int64 sequence_take(Oid sequence);
extern void sequence_raise(Oid sequence, int64 least);

#endif
