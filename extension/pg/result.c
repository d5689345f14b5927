/*
 * result.c
 *		The rows that a function which returns a set gives.
 *
 * They are put aside, in memory first, and live as long as the query.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"

#include "pg/result.h"

/* Memory for a result before it goes to disk, in kilobytes. */
#define RESULT_MEMORY Max(work_mem, 128 * 1024)

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
	if (get_call_result_type(fcinfo, NULL, &result->descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result->descriptor = CreateTupleDescCopy(result->descriptor);
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
