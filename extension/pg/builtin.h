/*
 * builtin.h
 *		Which expressions are PostgreSQL's own code through and through.
 */
#ifndef ECOMMERCE_PG_BUILTIN_H
#define ECOMMERCE_PG_BUILTIN_H

#include "postgres.h"

#include "nodes/nodes.h"

extern bool builtin_expression(Node *expression, char volatility);
extern bool builtin_type(Oid type);

#endif
