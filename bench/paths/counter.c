/*
 * counter.c
 *	  A library for the server under callgrind: counting begins and ends when SQL says so.
 */
#include "postgres.h"

#include <valgrind/callgrind.h>

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(counter_start);
PG_FUNCTION_INFO_V1(counter_stop);

Datum
counter_start(PG_FUNCTION_ARGS)
{
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
	PG_RETURN_VOID();
}

/* What was counted goes to a file of its own. */
Datum
counter_stop(PG_FUNCTION_ARGS)
{
	CALLGRIND_DUMP_STATS;
	CALLGRIND_STOP_INSTRUMENTATION;
	PG_RETURN_VOID();
}
