/*
 * inline.h
 *		The expression that a simple SQL function consists of.
 */
#ifndef ECOMMERCE_PG_INLINE_H
#define ECOMMERCE_PG_INLINE_H

#include "postgres.h"

#include "nodes/nodes.h"

extern Node *inline_function_body(Oid function);
extern Query *inline_only_query(Oid function);

#endif
