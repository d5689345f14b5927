/*
 * reader.c
 *		Results of functions that give events; those that find single ones, and
 *		the one that waits.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/order.h"
#include "event_store/contract.h"
#include "event_store/read.h"
#include "event_store/read_call.h"
#include "event_store/reader.h"
#include "event_store/stream.h"
#include "event_store/table.h"
#include "log/position.h"
#include "log/wakeup.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/context.h"
#include "pg/spi.h"

/* How often wait looks while a synchronous standby is behind, in milliseconds. */
#define BEHIND_POLL 10

/* Memory for a result before it goes to disk, in kilobytes. */
#define RESULT_MEMORY Max(work_mem, 128 * 1024)

static bool readable_beyond(int64 after, const EventFilter *filter, int64 mark);

/*
 * Gives an event to the result of a function that returns SETOF
 * event_store.event.  Most can be given out as they are stored: the row's first
 * columns are the event's, so cutting the number of columns is all there is to do.
 */
void
reader_put_event(ReaderResult *result, const Event *event)
{
	Datum		values[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];
	bool		nulls[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];
	MemoryContext old = MemoryContextSwitchTo(result->row_context);

	if (event->stored != NULL && !HeapTupleHasExternal(event->stored) &&
		(result->as_stored || !contract_has_upcaster(VARDATA_ANY(event->event_type),
													 VARSIZE_ANY_EXHDR(event->event_type))))
	{
		MinimalTuple row = compat_minimal_tuple(event->stored);

		HeapTupleHeaderSetNatts(row, EVENT_PUBLIC_COLUMNS);
		ExecStoreMinimalTuple(row, result->slot, false);
		tuplestore_puttupleslot(result->store, result->slot);
		ExecClearTuple(result->slot);
	}
	else
	{
		if (result->as_stored)
			event_to_stored_values(event, values, nulls);
		else
			event_to_values(event, values, nulls);
		tuplestore_putvalues(result->store, result->descriptor, values, nulls);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(result->row_context);
}

/*
 * Prepares the result of a function that returns a set of rows.
 */
void
reader_begin_result(FunctionCallInfo fcinfo, ReaderResult *result)
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
	result->slot = MakeSingleTupleTableSlot(result->descriptor, &TTSOpsMinimalTuple);
	info->returnMode = SFRM_Materialize;
	info->setResult = result->store;
	info->setDesc = result->descriptor;
	MemoryContextSwitchTo(old);
	result->as_stored = false;
	result->row_context = AllocSetContextCreate(CurrentMemoryContext, "event",
												ALLOCSET_DEFAULT_SIZES);
}

/*
 * The key whose writers hold a reader with this filter back.
 */
uint32
reader_key(const EventFilter *filter)
{
	if (filter->category != NULL)
		return category_key(filter->category, filter->category_length);
	if (filter->stream != NULL)
		return category_key(filter->stream, category_length(filter->stream, filter->stream_length));
	return POSITION_ANY_KEY;
}

PG_FUNCTION_INFO_V1(event_store_read_between);
/*
 * event_store.read_between(from_time, to_time, category, max_count)
 *
 * Times are found through a summarizing index, which gives no order: the rows
 * are sorted by the executor and come in portions through a cursor.
 */
Datum
event_store_read_between(PG_FUNCTION_ARGS)
{
	static SpiStatement find = {
		"SELECT e.position, e.stream, e.version, e.event_id, e.event_type, e.schema_version, e.data,"
		" e.metadata, e.occurred_at, e.stream_id, e.category_key FROM event_store.stored_event e"
		" WHERE e.occurred_at BETWEEN $1 AND $2 AND ($3 IS NULL OR e.category_key = $3)"
		" ORDER BY e.occurred_at, e.position"
	};
	static const Oid types[3] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	EventFilter filter;
	ReaderResult result;
	Snapshot	snapshot;
	Visibility *visibility;
	Datum		values[3];
	char		nulls[3] = {' ', ' ', 'n'};
	int64		max_count;
	int64		count = 0;
	SpiCursor  *cursor;
	TupleTableSlot *slot;

	argument_not_null(&fcinfo->args[0], "from_time", "-infinity begins with the first event.");
	argument_not_null(&fcinfo->args[1], "to_time", "infinity ends with the last event.");
	max_count = read_max_count(&fcinfo->args[3]);
	read_filter(&filter, &fcinfo->args[2], NULL);
	reader_begin_result(fcinfo, &result);
	event_row_check(result.descriptor);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = Int32GetDatum((int32) reader_key(&filter));
	if (filter.category != NULL)
		nulls[2] = ' ';
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	visibility = visibility_open(snapshot);
	cursor = spi_cursor_open(&find, 3, types, values, nulls, snapshot);
	while (count < max_count && (slot = spi_cursor_next(cursor)) != NULL)
	{
		Event		event;

		event_from_slot(slot, &event);
		if (!event_filter_admits(&filter, &event) ||
			visibility_hides(visibility, event.stream, event.stream_id, event.version,
							 event.occurred_at))
			continue;
		reader_put_event(&result, &event);
		count++;
	}
	spi_cursor_close(cursor);
	visibility_close(visibility);
	UnregisterSnapshot(snapshot);
	return (Datum) 0;
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
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
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

PG_FUNCTION_INFO_V1(event_store_stream_version);
/*
 * event_store.stream_version(stream)
 */
Datum
event_store_stream_version(PG_FUNCTION_ARGS)
{
	EventTables tables;
	StreamName	name;
	Stream		stream;
	text	   *stream_text;
	Snapshot	snapshot;

	argument_not_null(&fcinfo->args[0], "stream", "Name the stream, for example order-7f3c.");
	stream_text = PG_GETARG_TEXT_PP(0);
	stream_name(&name, VARDATA_ANY(stream_text), VARSIZE_ANY_EXHDR(stream_text));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	event_tables_open(&tables, AccessShareLock);
	(void) stream_read(&tables, &name, snapshot, &stream);
	event_tables_close(&tables);
	UnregisterSnapshot(snapshot);
	PG_RETURN_INT64(stream.version);
}

PG_FUNCTION_INFO_V1(event_store_high_water_mark);
/*
 * event_store.high_water_mark(category)
 */
Datum
event_store_high_water_mark(PG_FUNCTION_ARGS)
{
	EventFilter filter;

	read_filter(&filter, &fcinfo->args[0], NULL);
	PG_RETURN_INT64(position_mark(LOG_EVENT_STORE, reader_key(&filter)));
}

PG_FUNCTION_INFO_V1(event_store_channel);
/*
 * event_store.channel(category)
 */
Datum
event_store_channel(PG_FUNCTION_ARGS)
{
	text	   *category = PG_GETARG_TEXT_PP(0);
	char		channel[NAMEDATALEN];

	reader_channel(VARDATA_ANY(category), VARSIZE_ANY_EXHDR(category), channel);
	PG_RETURN_TEXT_P(cstring_to_text(channel));
}

/*
 * The channel of a category.  A name that would not fit is cut and gets a hash,
 * so that no category makes an append or a notification fail.
 */
void
reader_channel(const char *category, int length, char *channel)
{
	static const char prefix[] = "event_store.";
	int			room = NAMEDATALEN - 1 - (int) strlen(prefix);

	if (length <= room)
		snprintf(channel, NAMEDATALEN, "%s%.*s", prefix, length, category);
	else
	{
		uint32		hash = category_key(category, length);
		int			kept = pg_mbcliplen(category, length, room - 9);

		snprintf(channel, NAMEDATALEN, "%s%.*s~%08x", prefix, kept, category, hash);
	}
}

PG_FUNCTION_INFO_V1(event_store_wait);
/*
 * CALL event_store.wait(after_position, timeout, category, stream, high_water_mark)
 */
Datum
event_store_wait(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	EventFilter filter;
	TupleDesc	descriptor;
	TimestampTz deadline;
	int64		after;
	int64		mark;
	bool		isnull = false;
	Datum		value;
	uint32		key;

	wakeup_require_top_level("event_store.wait", call == NULL || call->atomic);
	argument_not_null(&fcinfo->args[0], "after_position", "0 begins with the first event.");
	argument_not_null(&fcinfo->args[1], "timeout", "For example '30 s'.");
	after = PG_GETARG_INT64(0);
	deadline = clock_after(GetCurrentTimestamp(), PG_GETARG_INTERVAL_P(1), "timeout");
	read_filter(&filter, &fcinfo->args[2], &fcinfo->args[3]);
	key = reader_key(&filter);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	descriptor = CreateTupleDescCopy(descriptor);

	/* From here on without a snapshot, so that vacuum is not held up. */
	spi_commit_transaction();
	wakeup_listen(LOG_EVENT_STORE, key);
	for (;;)
	{
		TimestampTz until = deadline;

		if (!position_mark_nowait(LOG_EVENT_STORE, key, &mark))
			until = lesser(deadline,
						   TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BEHIND_POLL));
		if (mark > after && readable_beyond(after, &filter, mark))
			break;
		/* until may have passed while we looked, without the deadline. */
		if (!wakeup_sleep(until) && GetCurrentTimestamp() >= deadline)
			break;
		CHECK_FOR_INTERRUPTS();
	}
	wakeup_unlisten();
	value = Int64GetDatum(mark);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), &value, &isnull));
}

/*
 * Whether there is something to read for a filter above after and up to mark.
 */
static bool
readable_beyond(int64 after, const EventFilter *filter, int64 mark)
{
	MemoryContext context;
	MemoryContext old;
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;
	bool		found;

	if (filter->category == NULL && filter->stream == NULL)
		return true;
	/* A wait may look very often. */
	context = AllocSetContextCreate(CurrentMemoryContext, "event", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (filter->stream != NULL)
		scan = event_scan_stream(filter->stream, filter->stream_length, 0, true, snapshot);
	else
		scan = event_scan_positions(filter, after, mark, snapshot);
	found = event_scan_next(scan, &event);
	/* A stream's newest event may still lie above the mark; then older ones count. */
	while (found && filter->stream != NULL && event.position > mark)
		found = event_scan_next(scan, &event);
	found = found && event.position > after;
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return found;
}

PG_FUNCTION_INFO_V1(event_store_position_holders);
/*
 * event_store.position_holders()
 */
Datum
event_store_position_holders(PG_FUNCTION_ARGS)
{
	ReaderResult result;
	PositionHolder *holders;
	int			count = position_holders(LOG_EVENT_STORE, &holders);

	reader_begin_result(fcinfo, &result);
	for (int i = 0; i < count; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, holders[i].name[0] == '\0'};

		values[0] = Int32GetDatum(holders[i].pid);
		values[1] = Int64GetDatum(holders[i].lowest);
		values[2] = CStringGetTextDatum(holders[i].name);
		tuplestore_putvalues(result.store, result.descriptor, values, nulls);
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
