/*
 * result.h
 *		The rows that a function which returns a set gives.
 */
#ifndef ECOMMERCE_PG_RESULT_H
#define ECOMMERCE_PG_RESULT_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/tuplestore.h"

typedef struct SetResult
{
	Tuplestorestate *store;
	TupleDesc	descriptor;
} SetResult;

extern void result_begin(FunctionCallInfo fcinfo, SetResult *result);
extern void result_put(SetResult *result, Datum *values, bool *nulls);

#endif
