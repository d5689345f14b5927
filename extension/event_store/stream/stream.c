/*
 * stream.c
 *		Streams: names, categories, and the row that appends lock.
 *
 * Lock protocol: whoever appends holds the stream's row locked until the
 * transaction ends, so that versions are given out one transaction after the
 * other; the row itself is not changed.  Who makes the row holds, for the
 * moment of insertion, an advisory lock on the name's hash in a space of its
 * own (the fourth field of the lock tag is 3).  A crash leaves nothing behind:
 * row locks die with their transaction.
 *
 * The row comes before the positions of its events: a standby must hear of a
 * transaction before it can hear of its positions.
 *
 * A stream is found by a 64-bit hash of its name.  Should two names share one,
 * the second is kept under the next free number.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "event_store/stream/stream.h"
#include "log/position.h"
#include "pg/argument.h"
#include "pg/lock.h"
#include "pg/scan.h"
#include "pg/sequence.h"

static void create_stream(EventTables *tables, const StreamName *name, int64 id, Stream *stream);
static int64 name_key(const char *name, int length);
static bool find_row(Writer *streams, const StreamName *name, Snapshot snapshot,
					 int64 *key, TransactionId *in_progress);
static bool try_lock(EventTables *tables, const StreamName *name, LockTupleMode mode,
					 Stream *stream);
static void read_row(TupleTableSlot *slot, Stream *stream);
static void set_version(EventTables *tables, Stream *stream, Snapshot snapshot);

/*
 * Checks a stream's name and takes it apart.  The text must outlive the result.
 */
void
stream_name(StreamName *name, const char *text, int length)
{
	int			control;

	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("stream name is empty"),
				 errhint("Name streams category-id, for example order-7f3c.")));
	if (length > STREAM_NAME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("stream name has %d bytes, more than %d", length, STREAM_NAME_MAX),
				 errhint("Name streams category-id, for example order-7f3c.")));
	if (text[0] == '-')
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("stream name \"%.*s\" has an empty category", length, text),
				 errhint("Put the category before the first \"-\", for example order-7f3c.")));
	control = control_character(text, length);
	if (control >= 0)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("stream name has a control character at byte %d", control),
				 errhint("Use printable characters only.")));
	name->text = text;
	name->length = length;
	name->category_length = category_length(text, length);
	name->key = name_key(text, length);
	name->category_key = category_key(text, name->category_length);
}

/*
 * Checks the name of a category: that of a stream without a "-".
 */
void
category_check(const char *text, int length)
{
	if (length == 0 || length > STREAM_NAME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("category has %d bytes, it must have 1 to %d", length, STREAM_NAME_MAX),
				 errhint("A category is what stands before the first \"-\" of its streams' names.")));
	if (category_length(text, length) != length || control_character(text, length) >= 0)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("\"%.*s\" is no category", length, text),
				 errhint("A category is what stands before the first \"-\" of its streams' names.")));
}

/*
 * Where the first control character of a text stands, -1 if it has none.  That
 * is U+0000 to U+001F, U+007F, and U+0080 to U+009F, which UTF-8 writes in two bytes.
 */
int
control_character(const char *text, int length)
{
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;

	for (int i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c < 0x20 || c == 0x7f ||
			(utf8 && c == 0xc2 && i + 1 < length && (unsigned char) text[i + 1] < 0xa0))
			return i;
	}
	return -1;
}

/*
 * The length of the category at the beginning of a stream's name.
 */
int
category_length(const char *stream, int length)
{
	const char *dash = memchr(stream, '-', length);

	return dash != NULL ? (int) (dash - stream) : length;
}

/*
 * The key under which a category's events are announced and indexed.
 */
uint32
category_key(const char *category, int length)
{
	return position_key(category, length);
}

/*
 * Locks a stream's row in its newest version until the transaction ends,
 * waiting for whoever holds it, and reads its version as it is then.  Returns
 * false, with nothing locked, if there is no such stream.
 *
 * A dirty snapshot can miss a row that is being moved: its old version has died
 * between the look into the index and the look at the heap, and the index had no
 * new one yet.  A snapshot of what is committed cannot, so it has the last word.
 */
bool
stream_lock(EventTables *tables, const StreamName *name, LockTupleMode mode, Stream *stream)
{
	while (!try_lock(tables, name, mode, stream))
	{
		Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
		TransactionId in_progress;
		int64		key;
		bool		missed = find_row(tables->streams, name, latest, &key, &in_progress);

		UnregisterSnapshot(latest);
		if (!missed)
			return false;
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/*
 * The same, but may miss a row that is being moved; create_stream() looks again.
 */
static bool
try_lock(EventTables *tables, const StreamName *name, LockTupleMode mode, Stream *stream)
{
	Writer	   *streams = tables->streams;
	SnapshotData dirty;
	int64		key;

	memset(stream, 0, sizeof(*stream));
	InitDirtySnapshot(dirty);
	for (;;)
	{
		TransactionId in_progress;
		TM_FailureData failure;
		TM_Result	locked;
		ItemPointerData tid;

		if (!find_row(streams, name, &dirty, &key, &in_progress))
			return false;
		/* Somebody is making or changing the row: what he leaves is what counts. */
		if (TransactionIdIsValid(in_progress))
		{
			XactLockTableWait(in_progress, streams->heap, &streams->slot->tts_tid, XLTW_Lock);
			continue;
		}
		tid = streams->slot->tts_tid;
		locked = table_tuple_lock(streams->heap, &tid, SnapshotSelf, streams->slot,
								  GetCurrentCommandId(true), mode, LockWaitBlock, 0, &failure);
		/* Invisible: this very command has made the row, so nobody else can have it. */
		if (locked == TM_Ok || locked == TM_Invisible)
			break;
		CHECK_FOR_INTERRUPTS();
	}
	read_row(streams->slot, stream);
	set_version(tables, stream, SnapshotSelf);
	return true;
}

/*
 * Makes the row of a stream that stream_lock() did not find, under a new id.
 * If another transaction makes it at the same time, it waits for that one; then
 * stream->id is not the given id and the row is not locked.
 */
static void
create_stream(EventTables *tables, const StreamName *name, int64 id, Stream *stream)
{
	Writer	   *streams = tables->streams;
	SnapshotData dirty;
	TransactionId in_progress;
	uint32		hash = (uint32) name->key;
	uint32		upper = (uint32) ((uint64) name->key >> 32);
	int64		key;

	memset(stream, 0, sizeof(*stream));
	InitDirtySnapshot(dirty);
	(void) lock_take(LOCK_STREAM_NAME, upper, hash, ExclusiveLock, true);
	if (!find_row(streams, name, &dirty, &key, &in_progress))
	{
		TupleTableSlot *row = writer_new_row(streams);

		row->tts_values[STREAM_ID] = Int64GetDatum(id);
		row->tts_values[STREAM_NAME_KEY] = Int64GetDatum(key);
		row->tts_values[STREAM_NAME] =
			PointerGetDatum(cstring_to_text_with_len(name->text, name->length));
		row->tts_isnull[STREAM_LAST_VERSION] = true;
		row->tts_isnull[STREAM_DELETED_VERSION] = true;
		row->tts_isnull[STREAM_TOMBSTONED] = true;
		(void) writer_insert(streams, InvalidOid);
		stream->id = id;
		stream->key = key;
	}
	lock_give_back(LOCK_STREAM_NAME, upper, hash, ExclusiveLock);
}

/*
 * Locks a stream's row, making it first where it is missing.  Who has reason to
 * think that it is missing says so and saves a look.
 */
void
stream_lock_or_create(EventTables *tables, const StreamName *name, LockTupleMode mode,
					  bool likely_new, Stream *stream)
{
	static ExtensionRelation stream_ids = {"event_store", "stream_id_seq"};
	int64		id = 0;

	while (likely_new || !try_lock(tables, name, mode, stream))
	{
		likely_new = false;
		if (id == 0)
			id = sequence_take(extension_relation_oid(&stream_ids));
		create_stream(tables, name, id, stream);
		if (stream->id == id)
			break;
	}
}

/*
 * Reads a stream without locking it.  Returns false if the snapshot sees none.
 */
bool
stream_read(EventTables *tables, const StreamName *name, Snapshot snapshot, Stream *stream)
{
	TransactionId in_progress;
	int64		key;

	memset(stream, 0, sizeof(*stream));
	if (!find_row(tables->streams, name, snapshot, &key, &in_progress))
		return false;
	read_row(tables->streams->slot, stream);
	set_version(tables, stream, snapshot);
	return true;
}

/*
 * The id of a stream, 0 if the snapshot sees none.
 */
int64
stream_id(const StreamName *name, Snapshot snapshot)
{
	Writer	   *streams = writer_open(&relation_stream, AccessShareLock);
	TransactionId in_progress;
	int64		key;
	int64		id = 0;
	bool		isnull;

	if (find_row(streams, name, snapshot, &key, &in_progress))
		id = DatumGetInt64(slot_getattr(streams->slot, STREAM_ID + 1, &isnull));
	writer_close(streams);
	return id;
}

/*
 * Fails if a number can be nobody's expectation.
 */
void
expected_version_check(int64 expected)
{
	if (expected < EXPECTED_EXISTS)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("expected_version is " INT64_FORMAT, expected),
				 errhint("Use the version you read, -1 for any, or -2 for a stream that has an event.")));
}

/*
 * Fails unless the stream is at the expected version and can be appended to.
 */
void
stream_expect(const StreamName *name, const Stream *stream, int64 expected)
{
	bool		empty = stream->version == 0 || stream->version == stream->deleted_version;
	StringInfoData stream_json;

	if (stream->tombstoned)
		ereport(ERROR,
				(errcode(ERRCODE_ST_STREAM_TOMBSTONED),
				 errmsg("stream \"%.*s\" has been tombstoned", name->length, name->text),
				 errhint("A tombstone is for good: append to a stream of another name.")));
	if (expected == EXPECTED_ANY || expected == stream->version ||
		(expected == EXPECTED_EXISTS && !empty) || (expected == 0 && empty))
		return;
	initStringInfo(&stream_json);
	escape_json(&stream_json, pnstrdup(name->text, name->length));
	ereport(ERROR,
			(errcode(ERRCODE_ST_VERSION_CONFLICT),
			 expected != EXPECTED_EXISTS
			 ? errmsg("expected version " INT64_FORMAT " but was " INT64_FORMAT
					  " for stream \"%.*s\"",
					  expected, stream->version, name->length, name->text)
			 : stream->deleted_version > 0
			 ? errmsg("expected an event but all are deleted in stream \"%.*s\"", name->length,
					  name->text)
			 : errmsg("expected an event but there is none in stream \"%.*s\"", name->length,
					  name->text),
			 errdetail_internal("{\"stream\": %s, \"expected_version\": " INT64_FORMAT
								", \"actual_version\": " INT64_FORMAT "}",
								stream_json.data, expected, stream->version),
			 errhint("Read the stream again, decide again, and append with the version you then have.")));
}

/*
 * FNV-1a, 64 bits: stored, so it must be the same on every machine.
 */
static int64
name_key(const char *name, int length)
{
	uint64		hash = UINT64CONST(14695981039346656037);

	for (int i = 0; i < length; i++)
		hash = (hash ^ (unsigned char) name[i]) * UINT64CONST(1099511628211);
	return (int64) hash;
}

/*
 * Looks a stream up by its name.  The row is in the slot of the table then; key
 * is where it stands, or where it would have to be put.
 */
static bool
find_row(Writer *streams, const StreamName *name, Snapshot snapshot,
		 int64 *key, TransactionId *in_progress)
{
	Relation	index = writer_index(streams, &index_stream_name_key);

	for (*key = name->key;; *key = (int64) ((uint64) *key + 1))
	{
		ScanKeyData scankey;
		bool		found;
		bool		isnull;
		text	   *stored;

		key_int8(&scankey, 1, BTEqualStrategyNumber, *key);
		*in_progress = index_first(streams->heap, index, snapshot, 1, &scankey,
								   ForwardScanDirection, writer_slot(streams), &found);
		if (!found)
			return false;
		stored = DatumGetTextPP(slot_getattr(streams->slot, STREAM_NAME + 1, &isnull));
		if (VARSIZE_ANY_EXHDR(stored) == name->length &&
			memcmp(VARDATA_ANY(stored), name->text, name->length) == 0)
			return true;
	}
}

static void
read_row(TupleTableSlot *slot, Stream *stream)
{
	slot_getallattrs(slot);
	stream->id = DatumGetInt64(slot->tts_values[STREAM_ID]);
	stream->key = DatumGetInt64(slot->tts_values[STREAM_NAME_KEY]);
	stream->version = slot->tts_isnull[STREAM_LAST_VERSION] ? 0
		: DatumGetInt64(slot->tts_values[STREAM_LAST_VERSION]);
	stream->deleted_version = slot->tts_isnull[STREAM_DELETED_VERSION] ? 0
		: DatumGetInt64(slot->tts_values[STREAM_DELETED_VERSION]);
	stream->tombstoned = !slot->tts_isnull[STREAM_TOMBSTONED] &&
		DatumGetBool(slot->tts_values[STREAM_TOMBSTONED]);
}

static void
set_version(EventTables *tables, Stream *stream, Snapshot snapshot)
{
	int64		last = event_last_version(tables, stream->id, snapshot);

	stream->version = Max(stream->version, Max(last, stream->deleted_version));
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
