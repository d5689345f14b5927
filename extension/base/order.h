/*
 * order.h
 *		The lesser and the greater of two numbers or times, each looked at once.
 *
 * PostgreSQL's Min() and Max() are macros: an argument that is a call is made
 * twice, and the second answer is taken, which may be another than the one that
 * was compared.  ci/check_style refuses calls in them.
 */
#ifndef ECOMMERCE_BASE_ORDER_H
#define ECOMMERCE_BASE_ORDER_H

#include "postgres.h"

static inline int64
lesser(int64 a, int64 b)
{
	return a < b ? a : b;
}

static inline int64
greater(int64 a, int64 b)
{
	return a > b ? a : b;
}

#endif
