/*
 * result.h
 *		The row that a function gives, or the rows of one which returns a set.
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

extern TupleDesc result_row_type(FunctionCallInfo fcinfo);
extern Datum result_row(TupleDesc descriptor, Datum *values, bool *nulls);
extern void result_begin(FunctionCallInfo fcinfo, SetResult *result);
extern void result_put(SetResult *result, Datum *values, bool *nulls);

#endif
