/*
 * append.c
 *		Appending events to a stream.
 *
 * Order of things: check the input; lock the stream's row (stream.c); look for
 * event ids that stand already; check the version; announce and take positions
 * (log/position.c); insert.  Everything is undone by the abort of the
 * (sub)transaction; positions that were taken then stay unused.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "event_store/append/append.h"
#include "event_store/projection/projection.h"
#include "event_store/stream/stream.h"
#include "log/position.h"
#include "pg/argument.h"
#include "pg/context.h"
#include "pg/scan.h"
#include "pg/spi.h"

/* Where an event with a given id stands already. */
typedef struct Standing
{
	int64		stream_id;
	int64		version;
	int64		position;
} Standing;

static bool find_event_id(EventTables *tables, const pg_uuid_t *event_id,
						  ItemPointer except, Standing *standing);
static bool is_repetition(EventTables *tables, NewEvents *events, const Stream *stream,
						  int64 expected, AppendResult *result);
static void store_event(EventTables *tables, const StreamName *name, const Stream *stream,
						NewEvent *event, int64 version, int64 position);
static void duplicate_event(const pg_uuid_t *event_id) pg_attribute_noreturn();

/*
 * Appends events to a stream, all or none.  Checks everything that
 * event_store.append() promises; raises its errors.
 */
void
event_append(const char *stream_text, int length, int64 expected_version,
			 NewEvents *events, AppendResult *result)
{
	EventTables tables;
	StreamName	name;
	Stream		stream;

	stream_name(&name, stream_text, length);
	expected_version_check(expected_version);
	new_events_check(events);
	PreventCommandIfReadOnly("event_store.append");
	PreventCommandDuringRecovery("event_store.append");

	event_tables_open(&tables, RowExclusiveLock);
	result->position = 0;
	if (events->count == 0)
	{
		(void) stream_read(&tables, &name, SnapshotSelf, &stream);
		stream_expect(&name, &stream, expected_version);
		result->version = stream.version;
		event_tables_close(&tables);
		return;
	}

	/* A stream that must exist is not made, only to be found empty. */
	if (expected_version > 0 || expected_version == EXPECTED_EXISTS)
	{
		if (!stream_lock(&tables, &name, LockTupleNoKeyExclusive, &stream))
			memset(&stream, 0, sizeof(stream));
	}
	else
		stream_lock_or_create(&tables, &name, LockTupleNoKeyExclusive, expected_version == 0,
							  &stream);

	if (!is_repetition(&tables, events, &stream, expected_version, result))
	{
		stream_expect(&name, &stream, expected_version);
		position_announce(LOG_EVENT_STORE, name.category_key, name.text, name.category_length);
		for (int i = 0; i < events->count; i++)
		{
			result->version = stream.version + i + 1;
			result->position = position_take(LOG_EVENT_STORE);
			store_event(&tables, &name, &stream, &events->events[i], result->version,
						result->position);
		}
		projection_after_append(&name, stream.version + 1, result->version);
	}
	event_tables_close(&tables);
}

/*
 * Whether these very events stand where this append would have put them.  An id
 * that stands anywhere else is an error.
 */
static bool
is_repetition(EventTables *tables, NewEvents *events, const Stream *stream,
			  int64 expected, AppendResult *result)
{
	int64		first_version = 0;
	int			found = 0;
	int			misplaced = -1;

	for (int i = 0; i < events->count; i++)
	{
		NewEvent   *event = &events->events[i];
		Standing	standing;

		if (!event->has_event_id || !find_event_id(tables, &event->event_id, NULL, &standing))
			continue;
		if (i == 0)
			first_version = standing.version;
		if (standing.stream_id == stream->id && standing.version == first_version + i && found == i)
			found++;
		else
			misplaced = i;
		if (misplaced < 0)
		{
			result->version = standing.version;
			result->position = standing.position;
		}
		else
			break;
	}
	if (found == 0 && misplaced < 0)
		return false;
	if (misplaced < 0 && found == events->count &&
		(expected < 0 || first_version == expected + 1 ||
		 /* 0 is also what a stream may be expected to have after delete_stream. */
		 (expected == 0 && first_version == stream->deleted_version + 1)))
		return true;
	duplicate_event(&events->events[Max(misplaced, 0)].event_id);
}

/*
 * Looks an event id up, waiting for a transaction that is inserting it.  Rows
 * at except are our own and do not count.
 */
static bool
find_event_id(EventTables *tables, const pg_uuid_t *event_id, ItemPointer except,
			  Standing *standing)
{
	Writer	   *events = tables->events;
	TableScan	scan = {.table = events->heap, .index = writer_index(events, &index_event_id)};
	TupleTableSlot *slot = scan.slot = writer_slot(events);
	SnapshotData dirty;
	ScanKeyData key;
	TransactionId in_progress;
	bool		found;

	InitDirtySnapshot(dirty);
	key_uuid(&key, 1, event_id);
	for (;;)
	{
		table_scan_start(&scan, 1, &key, &dirty);
		while ((found = table_scan_next_slot(&scan, ForwardScanDirection)))
		{
			if (except == NULL || !ItemPointerEquals(&slot->tts_tid, except))
				break;
		}
		in_progress = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (found)
		{
			slot_getallattrs(slot);
			standing->stream_id = DatumGetInt64(slot->tts_values[EVENT_STREAM_ID]);
			standing->version = DatumGetInt64(slot->tts_values[EVENT_VERSION]);
			standing->position = DatumGetInt64(slot->tts_values[EVENT_POSITION]);
		}
		index_endscan(scan.scan);
		if (!found || !TransactionIdIsValid(in_progress))
			return found;
		XactLockTableWait(in_progress, events->heap, &slot->tts_tid, XLTW_InsertIndex);
	}
}

static void
store_event(EventTables *tables, const StreamName *name, const Stream *stream,
			NewEvent *event, int64 version, int64 position)
{
	Writer	   *events = tables->events;
	TupleTableSlot *row = writer_new_row(events);
	Oid			may_conflict = InvalidOid;
	TimestampTz recorded_at;

	if (!event->has_event_id)
		uuid_generate_v7(&event->event_id);
	else
		may_conflict = RelationGetRelid(writer_index(events, &index_event_id));
	row->tts_values[EVENT_POSITION] = Int64GetDatum(position);
	row->tts_values[EVENT_STREAM_ID] = Int64GetDatum(stream->id);
	row->tts_values[EVENT_VERSION] = Int64GetDatum(version);
	recorded_at = GetCurrentTimestamp();
	row->tts_values[EVENT_OCCURRED_AT] =
		TimestampTzGetDatum(event->has_occurred_at ? event->occurred_at : recorded_at);
	row->tts_values[EVENT_RECORDED_AT] = TimestampTzGetDatum(recorded_at);
	row->tts_isnull[EVENT_RECORDED_AT] = !event->has_occurred_at;
	row->tts_values[EVENT_EVENT_ID] = UUIDPGetDatum(&event->event_id);
	row->tts_values[EVENT_CATEGORY_KEY] = Int32GetDatum((int32) name->category_key);
	row->tts_values[EVENT_SCHEMA_VERSION] = Int32GetDatum(Max(event->schema_version, 1));
	row->tts_values[EVENT_STREAM] =
		PointerGetDatum(cstring_to_text_with_len(name->text, name->length));
	row->tts_values[EVENT_EVENT_TYPE] = PointerGetDatum(event->event_type);
	row->tts_values[EVENT_METADATA] = JsonbPGetDatum(event->metadata);
	row->tts_values[EVENT_DATA] = JsonbPGetDatum(event->data);
	if (!writer_insert(events, may_conflict))
	{
		ItemPointerData own = row->tts_tid;
		Standing	standing;

		/* Another transaction has just inserted the same id: it decides. */
		if (find_event_id(tables, &event->event_id, &own, &standing))
			duplicate_event(&event->event_id);
	}
}

static void
duplicate_event(const pg_uuid_t *event_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_ST_DUPLICATE_EVENT),
			 errmsg("event id %s has been used already",
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(event_id)))),
			 errhint("Give each event an id of its own; to repeat an append, repeat it whole, with the same expected version.")));
}

/* ---------------------------------------------------------------- SQL */

/*
 * All appends give (version, position).  Asking PostgreSQL for that row type
 * anew would cost each call a few per cent.
 */
static Datum
append_result(const AppendResult *result)
{
	static TupleDesc descriptor = NULL;
	Datum		values[2];
	bool		nulls[2] = {false, result->position == 0};

	if (descriptor == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		descriptor = CreateTemplateTupleDesc(2);
		TupleDescInitEntry(descriptor, 1, "version", INT8OID, -1, 0);
		TupleDescInitEntry(descriptor, 2, "position", INT8OID, -1, 0);
		descriptor = BlessTupleDesc(descriptor);
		MemoryContextSwitchTo(old);
	}
	values[0] = Int64GetDatum(result->version);
	values[1] = Int64GetDatum(result->position);
	return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}

/*
 * Stream and expected version are the first two arguments of every append.
 */
static Datum
append_to(FunctionCallInfo fcinfo, NewEvents *events)
{
	AppendResult result = {0};
	text	   *stream;

	argument_not_null(&fcinfo->args[1], "expected_version",
					  "Use the version you read, -1 for any, or -2 for a stream that has an event.");
	stream = PG_ARGISNULL(0) ? cstring_to_text("") : PG_GETARG_TEXT_PP(0);
	event_append(VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream), PG_GETARG_INT64(1), events,
				 &result);
	return append_result(&result);
}

PG_FUNCTION_INFO_V1(event_store_append);
/*
 * event_store.append(stream, expected_version, event_type, data, metadata, event_id,
 *					  schema_version)
 */
Datum
event_store_append(PG_FUNCTION_ARGS)
{
	NewEvent	event = {0};
	NewEvents	events = {&event, 1, true};

	if (!PG_ARGISNULL(2))
		event.event_type = PG_GETARG_TEXT_PP(2);
	if (!PG_ARGISNULL(3))
		event.data = PG_GETARG_JSONB_P(3);
	if (!PG_ARGISNULL(4))
		event.metadata = PG_GETARG_JSONB_P(4);
	event.has_event_id = !PG_ARGISNULL(5);
	if (event.has_event_id)
		event.event_id = *PG_GETARG_UUID_P(5);
	if (!PG_ARGISNULL(6))
		new_event_version(&event, PG_GETARG_INT32(6), -1);
	return append_to(fcinfo, &events);
}

PG_FUNCTION_INFO_V1(event_store_append_batch);
/*
 * event_store.append_batch(stream, expected_version, events)
 */
Datum
event_store_append_batch(PG_FUNCTION_ARGS)
{
	NewEvents	events = {0};

	argument_not_null_as(ERRCODE_ST_INVALID_EVENT, &fcinfo->args[2], "events",
						 "Pass an array, '{}' to append nothing.");
	new_events_from_array(PG_GETARG_ARRAYTYPE_P(2), &events);
	return append_to(fcinfo, &events);
}

PG_FUNCTION_INFO_V1(event_store_append_json);
/*
 * event_store.append_json(stream, expected_version, events)
 */
Datum
event_store_append_json(PG_FUNCTION_ARGS)
{
	NewEvents	events = {0};

	argument_not_null_as(ERRCODE_ST_INVALID_EVENT, &fcinfo->args[2], "events",
						 "Pass a JSON array, '[]' to append nothing.");
	new_events_from_json(PG_GETARG_JSONB_P(2), &events);
	return append_to(fcinfo, &events);
}

PG_FUNCTION_INFO_V1(event_store_check_version);
/*
 * event_store.check_version(stream, expected_version)
 */
Datum
event_store_check_version(PG_FUNCTION_ARGS)
{
	EventTables tables;
	StreamName	name;
	Stream		stream;
	text	   *stream_text;
	int64		expected;

	argument_not_null(&fcinfo->args[1], "expected_version", "Use the version you read.");
	stream_text = PG_ARGISNULL(0) ? cstring_to_text("") : PG_GETARG_TEXT_PP(0);
	expected = PG_GETARG_INT64(1);
	stream_name(&name, VARDATA_ANY(stream_text), VARSIZE_ANY_EXHDR(stream_text));
	expected_version_check(expected);
	PreventCommandIfReadOnly("event_store.check_version");
	PreventCommandDuringRecovery("event_store.check_version");
	event_tables_open(&tables, RowExclusiveLock);
	stream_lock_or_create(&tables, &name, LockTupleShare, expected == 0, &stream);
	stream_expect(&name, &stream, expected);
	event_tables_close(&tables);
	PG_RETURN_VOID();
}
