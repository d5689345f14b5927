/*
 * erasure.c
 *		Deleting streams, and telling readers so.
 *
 * What a deletion hides, nobody reads any more, so each is written down as an event
 * of its own, "$deleted" or "$tombstoned", at the next position of the log: readers
 * that name these types get it in its place among the events.  It has the version of
 * the last event that it hides and is none of the stream's: the next append goes on
 * with the numbers as if nothing had been written.
 *
 * Lock protocol: an append's.  The stream's row is locked before the position is
 * announced and taken, so that within a stream deletions are in order with events.
 * One transaction; a crash undoes it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "event_store/aggregate/snapshot.h"
#include "event_store/keep/guard.h"
#include "event_store/projection/projection.h"
#include "event_store/stream/deletion.h"
#include "event_store/stream/stream.h"
#include "event_store/stream/table.h"
#include "log/position.h"
#include "pg/argument.h"
#include "pg/context.h"
#include "pg/spi.h"
#include "pg/writer.h"

static void hide_stream(FunctionCallInfo fcinfo, const char *function, bool for_good);
static void hide_events(const StreamName *name, const Stream *stream, bool for_good);
static void tell_readers(const StreamName *name, const Stream *stream, const char *type);

/*
 * Hides all events of a stream, and with for_good refuses appends from now on.  What
 * is deleted already is not deleted again.
 */
static void
hide_stream(FunctionCallInfo fcinfo, const char *function, bool for_good)
{
	EventTables tables;
	StreamName	name;
	Stream		stream;
	text	   *text_name;

	argument_not_null(&fcinfo->args[0], "stream", "Name the stream, for example order-7f3c.");
	argument_not_null(&fcinfo->args[1], "expected_version",
					  "Use the version you read, or -1 for any.");
	text_name = PG_GETARG_TEXT_PP(0);
	stream_name(&name, VARDATA_ANY(text_name), VARSIZE_ANY_EXHDR(text_name));
	expected_version_check(PG_GETARG_INT64(1));
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	event_tables_open(&tables, RowExclusiveLock);
	if (for_good)
		stream_lock_or_create(&tables, &name, LockTupleNoKeyExclusive, false, &stream);
	else if (!stream_lock(&tables, &name, LockTupleNoKeyExclusive, &stream))
		memset(&stream, 0, sizeof(stream));
	stream_expect(&name, &stream, PG_GETARG_INT64(1));
	event_tables_close(&tables);
	if (stream.id == 0)
		return;
	hide_events(&name, &stream, for_good);
	if (for_good)
		tell_readers(&name, &stream, EVENT_TYPE_TOMBSTONED);
	else if (stream.version > stream.deleted_version)
		tell_readers(&name, &stream, EVENT_TYPE_DELETED);
}

/*
 * The stream's row is locked.
 */
static void
hide_events(const StreamName *name, const Stream *stream, bool for_good)
{
	static SpiStatement mark = {
		"UPDATE event_store.stream SET last_version = $1, deleted_version = $1,"
		" tombstoned = CASE WHEN $2 THEN true ELSE tombstoned END WHERE name_key = $3"
	};
	static SpiStatement hide = {
		"INSERT INTO event_store.truncated_stream AS t (stream_id, before_version) VALUES ($1, $2 + 1)"
		" ON CONFLICT (stream_id) DO UPDATE SET before_version = greatest(t.before_version, excluded.before_version)"
	};
	int			level;

	spi_begin(SPI_AS_OWNER);
	level = guard_allow_rewrite();
	/* The row we hold may be younger than the transaction's snapshot. */
	if (spi_run_latest(&mark, 3, (Oid[]) {INT8OID, BOOLOID, INT8OID},
					   (Datum[]) {Int64GetDatum(stream->version), BoolGetDatum(for_good),
					   Int64GetDatum(stream->key)}, NULL) != 1)
		elog(ERROR, "stream \"%.*s\" has no row", name->length, name->text);
	(void) spi_run_latest(&hide, 2, (Oid[]) {INT8OID, INT8OID},
						  (Datum[]) {Int64GetDatum(stream->id), Int64GetDatum(stream->version)},
						  NULL);
	guard_forbid_rewrite(level);
	spi_end();
	snapshot_forget(name->text, name->length);
}

/*
 * Writes the deletion down, and gives it to the inline projections that ask for it.
 */
static void
tell_readers(const StreamName *name, const Stream *stream, const char *type)
{
	Jsonb	   *nothing = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	Datum		values[EVENT_COLUMNS];
	bool		nulls[EVENT_COLUMNS] = {false};
	pg_uuid_t	id;
	Event		event = {.stream_id = stream->id, .version = stream->version};

	event.stream = cstring_to_text_with_len(name->text, name->length);
	event.event_type = cstring_to_text(type);
	uuid_generate_v7(&id);
	position_announce(LOG_EVENT_STORE, name->category_key, name->text, name->category_length);
	event.position = position_take(LOG_EVENT_STORE);
	values[EVENT_POSITION] = Int64GetDatum(event.position);
	values[EVENT_STREAM] = PointerGetDatum(event.stream);
	values[EVENT_VERSION] = Int64GetDatum(event.version);
	values[EVENT_EVENT_ID] = UUIDPGetDatum(&id);
	values[EVENT_EVENT_TYPE] = PointerGetDatum(event.event_type);
	values[EVENT_SCHEMA_VERSION] = Int32GetDatum(1);
	values[EVENT_DATA] = JsonbPGetDatum(nothing);
	values[EVENT_METADATA] = JsonbPGetDatum(context_stamp(nothing));
	values[EVENT_OCCURRED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[EVENT_STREAM_ID] = Int64GetDatum(event.stream_id);
	values[EVENT_RECORDED_AT] = (Datum) 0;
	nulls[EVENT_RECORDED_AT] = true;
	values[EVENT_CATEGORY_KEY] = Int32GetDatum((int32) name->category_key);
	table_insert(&relation_deletion, values, nulls);
	projection_after_deletion(name, &event);
}

PG_FUNCTION_INFO_V1(event_store_delete_stream);
/*
 * event_store.delete_stream(stream, expected_version)
 */
Datum
event_store_delete_stream(PG_FUNCTION_ARGS)
{
	hide_stream(fcinfo, "event_store.delete_stream", false);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_tombstone_stream);
/*
 * event_store.tombstone_stream(stream, expected_version)
 */
Datum
event_store_tombstone_stream(PG_FUNCTION_ARGS)
{
	hide_stream(fcinfo, "event_store.tombstone_stream", true);
	PG_RETURN_VOID();
}
