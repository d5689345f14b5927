/*
 * mark.c
 *		SQL functions that tell up to where events can be read, and who holds that back.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "event_store/read/read_call.h"
#include "log/position.h"
#include "pg/result.h"

PG_FUNCTION_INFO_V1(event_store_high_water_mark);
/*
 * event_store.high_water_mark(category)
 */
Datum
event_store_high_water_mark(PG_FUNCTION_ARGS)
{
	EventFilter filter;

	read_filter(&filter, &fcinfo->args[0], NULL);
	PG_RETURN_INT64(position_mark(LOG_EVENT_STORE, event_filter_key(&filter)));
}

PG_FUNCTION_INFO_V1(event_store_safe_mark);
/*
 * event_store._safe_mark(category): who only looks does not wait for a standby that
 * is away; then it is the mark that was published last.
 */
Datum
event_store_safe_mark(PG_FUNCTION_ARGS)
{
	EventFilter filter;
	int64		mark;

	read_filter(&filter, &fcinfo->args[0], NULL);
	(void) position_mark_nowait(LOG_EVENT_STORE, event_filter_key(&filter), &mark);
	PG_RETURN_INT64(mark);
}

PG_FUNCTION_INFO_V1(event_store_position_holders);
/*
 * event_store._position_holders()
 */
Datum
event_store_position_holders(PG_FUNCTION_ARGS)
{
	SetResult	result;
	PositionHolder *holders;
	int			count = position_holders(LOG_EVENT_STORE, &holders);

	result_begin(fcinfo, &result);
	for (int i = 0; i < count; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, holders[i].name[0] == '\0'};

		values[0] = Int32GetDatum(holders[i].pid);
		values[1] = Int64GetDatum(holders[i].lowest);
		values[2] = CStringGetTextDatum(holders[i].name);
		result_put(&result, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(event_store_position_counter);
/*
 * event_store.position_counter()
 */
Datum
event_store_position_counter(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(position_counter(LOG_EVENT_STORE));
}

PG_FUNCTION_INFO_V1(event_store_published_mark);
/*
 * event_store.published_mark()
 */
Datum
event_store_published_mark(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(position_published(LOG_EVENT_STORE));
}
