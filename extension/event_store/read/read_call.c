/*
 * read_call.c
 *		read_stream, read_all and read_correlation; get_event.
 *
 * A call takes the high-water mark first where it needs one, then its own newest
 * snapshot: a mark that is newer than the snapshot would skip events, at every
 * isolation level.  The snapshot stays registered while the call is open.
 *
 * The functions below put all events into their result; read_plan.c takes them
 * from the call one by one.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/debug_point.h"
#include "event_store/read/event_result.h"
#include "event_store/read/read_call.h"
#include "event_store/stream/stream.h"
#include "event_store/stream/table.h"
#include "log/position.h"
#include "pg/argument.h"
#include "pg/context.h"
#include "pg/result.h"

static void open_stream(ReadCall *call, const NullableDatum *args);
static void open_all(ReadCall *call, const NullableDatum *args);
static void open_correlation(ReadCall *call, const NullableDatum *args);

static const ReadFunction functions[] = {
	{"event_store_read_stream", 4, open_stream},
	{"event_store_read_all", 5, open_all},
	{"event_store_read_correlation", 1, open_correlation},
};

/*
 * The function behind a C symbol, NULL if it is none of these.
 */
const ReadFunction *
read_function(const char *symbol)
{
	for (int i = 0; i < lengthof(functions); i++)
	{
		if (strcmp(functions[i].symbol, symbol) == 0)
			return &functions[i];
	}
	return NULL;
}

/*
 * The next event of a call; false at its end.
 */
bool
read_call_next(ReadCall *call, Event *event)
{
	if (call->count >= call->max_count || !event_scan_next(call->scan, event))
		return false;
	call->count++;
	return true;
}

/*
 * Begins again with the first event: the same ones, as the snapshot is the same.
 */
void
read_call_restart(ReadCall *call)
{
	event_scan_restart(call->scan);
	call->count = 0;
}

void
read_call_close(ReadCall *call)
{
	event_scan_end(call->scan);
	UnregisterSnapshot(call->snapshot);
}

static void
open_stream(ReadCall *call, const NullableDatum *args)
{
	int64		from_version = args[1].isnull ? 0 : DatumGetInt64(args[1].value);
	bool		backward = !args[3].isnull && DatumGetBool(args[3].value);
	text	   *stream;

	argument_not_null(&args[0], "stream", "Name the stream, for example order-7f3c.");
	stream = DatumGetTextPP(args[0].value);
	call->max_count = read_max_count(&args[2]);
	/* Who pages backward asks for version 0 in the end: nothing is there. */
	if (backward && !args[1].isnull && from_version < 1)
		call->max_count = 0;
	call->snapshot = RegisterSnapshot(GetLatestSnapshot());
	call->scan = event_scan_stream(VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream), from_version,
								   backward, call->snapshot);
	call->count = 0;
}

static void
open_all(ReadCall *call, const NullableDatum *args)
{
	EventFilter filter;
	int64		mark;
	int64		after;
	bool		backward = !args[4].isnull && DatumGetBool(args[4].value);

	argument_not_null(&args[0], "after_position",
					  "0 begins with the first event, or backward with the last.");
	after = DatumGetInt64(args[0].value);
	call->max_count = read_max_count(&args[1]);
	read_filter(&filter, &args[2], NULL);
	event_filter_types(&filter, args[3].isnull ? NULL : DatumGetArrayTypeP(args[3].value));
	if (DEBUG_BREAK("mark_after_snapshot"))
	{
		/* Rare without the pause, but found by a longer run all the same. */
		call->snapshot = RegisterSnapshot(GetLatestSnapshot());
		pg_usleep(300);
		mark = position_mark(LOG_EVENT_STORE, event_filter_key(&filter));
	}
	else
	{
		mark = position_mark(LOG_EVENT_STORE, event_filter_key(&filter));
		call->snapshot = RegisterSnapshot(GetLatestSnapshot());
	}
	call->scan = backward
		? event_scan_backward(&filter, after > 0 ? Min(after - 1, mark) : mark, call->snapshot)
		: event_scan_positions(&filter, after, mark, call->snapshot);
	call->count = 0;
}

static void
open_correlation(ReadCall *call, const NullableDatum *args)
{
	argument_not_null(&args[0], "correlation_id",
				  "It stands in the metadata of the events to be found.");
	call->max_count = PG_INT64_MAX;
	call->snapshot = RegisterSnapshot(GetLatestSnapshot());
	call->scan = event_scan_correlation(DatumGetUUIDP(args[0].value), call->snapshot);
	call->count = 0;
}

/*
 * How many events a max_count admits.
 */
int64
read_max_count(const NullableDatum *argument)
{
	if (argument->isnull)
		return PG_INT64_MAX;
	if (DatumGetInt64(argument->value) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_count must not be negative"),
				 errhint("Pass NULL for all events.")));
	return DatumGetInt64(argument->value);
}

/*
 * Restricts a filter to a category and a stream, where they are given.
 */
void
read_filter(EventFilter *filter, const NullableDatum *category, const NullableDatum *stream)
{
	memset(filter, 0, sizeof(*filter));
	if (!category->isnull)
	{
		text	   *name = DatumGetTextPP(category->value);

		category_check(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		filter->category = VARDATA_ANY(name);
		filter->category_length = VARSIZE_ANY_EXHDR(name);
	}
	if (stream != NULL && !stream->isnull)
	{
		text	   *name = DatumGetTextPP(stream->value);
		StreamName	checked;

		stream_name(&checked, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		filter->stream = VARDATA_ANY(name);
		filter->stream_length = VARSIZE_ANY_EXHDR(name);
	}
}

/*
 * Gives all events of a call as the result of the function.
 */
static Datum
read_events(FunctionCallInfo fcinfo, void (*open) (ReadCall *, const NullableDatum *),
			bool as_stored)
{
	ReadCall	call;
	EventResult result;
	Event		event;

	open(&call, fcinfo->args);
	event_result_begin(fcinfo, &result);
	result.as_stored = as_stored;
	while (read_call_next(&call, &event))
		event_result_put(&result, &event);
	event_result_end(&result);
	read_call_close(&call);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(event_store_read_stream);
/*
 * event_store.read_stream(stream, from_version, max_count, backward)
 */
Datum
event_store_read_stream(PG_FUNCTION_ARGS)
{
	return read_events(fcinfo, open_stream, false);
}

PG_FUNCTION_INFO_V1(event_store_read_all);
/*
 * event_store.read_all(after_position, max_count, category, event_types, backward)
 */
Datum
event_store_read_all(PG_FUNCTION_ARGS)
{
	return read_events(fcinfo, open_all, false);
}

PG_FUNCTION_INFO_V1(event_store_read_stored);
/*
 * event_store.read_stored(after_position, max_count, category, event_types, backward)
 */
Datum
event_store_read_stored(PG_FUNCTION_ARGS)
{
	return read_events(fcinfo, open_all, true);
}

PG_FUNCTION_INFO_V1(event_store_read_correlation);
/*
 * event_store.read_correlation(correlation_id)
 */
Datum
event_store_read_correlation(PG_FUNCTION_ARGS)
{
	return read_events(fcinfo, open_correlation, false);
}

PG_FUNCTION_INFO_V1(event_store_get_event);
/*
 * event_store.get_event(event_id)
 */
Datum
event_store_get_event(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;
	Datum		result = (Datum) 0;

	argument_not_null(&fcinfo->args[0], "event_id", "append and the reads return it.");
	descriptor = result_row_type(fcinfo);
	event_row_check(descriptor);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = event_scan_id(PG_GETARG_UUID_P(0), snapshot);
	fcinfo->isnull = !event_scan_next(scan, &event);
	if (!fcinfo->isnull)
		result = event_to_datum(&event, BlessTupleDesc(descriptor));
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return result;
}

PG_FUNCTION_INFO_V1(event_store_correlation_of);
/*
 * event_store.correlation_of(metadata)
 */
Datum
event_store_correlation_of(PG_FUNCTION_ARGS)
{
	Jsonb	   *metadata = PG_GETARG_JSONB_P(0);
	JsonbValue	buffer;
	JsonbValue *member;
	pg_uuid_t  *uuid;

	if (!JB_ROOT_IS_OBJECT(metadata) || JB_ROOT_COUNT(metadata) == 0)
		PG_RETURN_NULL();
	member = getKeyJsonValueFromContainer(&metadata->root, "correlation_id",
										  strlen("correlation_id"), &buffer);
	uuid = palloc(sizeof(pg_uuid_t));
	if (member == NULL || member->type != jbvString ||
		!uuid_parse(member->val.string.val, member->val.string.len, uuid))
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(uuid);
}
