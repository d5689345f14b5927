/*
 * result.c
 *		The row that a function gives, or the rows of one which returns a set.
 *
 * Those are put aside, in memory first, and live as long as the query.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"

#include "pg/result.h"

/* Memory for a result before it goes to disk, in kilobytes. */
#define RESULT_MEMORY Max(work_mem, 128 * 1024)

/*
 * The row type that a function is declared to return, or that a procedure's OUT
 * arguments make; a procedure copies it, to have it after a commit.
 */
TupleDesc
result_row_type(FunctionCallInfo fcinfo)
{
	TupleDesc	descriptor;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return descriptor;
}

/*
 * A row, as a function returns it that gives one.
 */
Datum
result_row(TupleDesc descriptor, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

/*
 * Prepares the result of a function that returns a set of rows.  Its columns are
 * those that the function is declared to return.
 */
void
result_begin(FunctionCallInfo fcinfo, SetResult *result)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;

	if (info == NULL || !IsA(info, ReturnSetInfo) || !(info->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	result->descriptor = CreateTupleDescCopy(result_row_type(fcinfo));
	result->store = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0,
										  false, RESULT_MEMORY);
	info->returnMode = SFRM_Materialize;
	info->setResult = result->store;
	info->setDesc = result->descriptor;
	MemoryContextSwitchTo(old);
}

/*
 * Gives a row.
 */
void
result_put(SetResult *result, Datum *values, bool *nulls)
{
	tuplestore_putvalues(result->store, result->descriptor, values, nulls);
}
