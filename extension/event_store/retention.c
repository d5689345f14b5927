/*
 * retention.c
 *		Deleting streams, retention policies, and removing what they hide.
 *
 * Lock protocol: the row of a stream is locked as by an append before events of
 * it go, and is given the version first, so that numbering continues.  All of a
 * call is one transaction; a crash undoes it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "event_store/guard.h"
#include "event_store/snapshot.h"
#include "event_store/stream.h"
#include "event_store/table.h"
#include "event_store/visibility.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/spi.h"

#define MAX_AGE_YEARS 5000

static void hide_stream(FunctionCallInfo fcinfo, const char *function, bool for_good);
static void check_policy(FunctionCallInfo fcinfo);
static int64 remove_hidden(int64 stream_id, const text *name, Visibility *visibility);

/*
 * Hides all events of a stream, and with for_good refuses appends from now on.
 */
static void
hide_stream(FunctionCallInfo fcinfo, const char *function, bool for_good)
{
	static SpiStatement mark = {
		"UPDATE event_store.stream SET last_version = $1, deleted_version = $1,"
		" tombstoned = CASE WHEN $2 THEN true ELSE tombstoned END WHERE name_key = $3"
	};
	static SpiStatement hide = {
		"INSERT INTO event_store.truncated_stream AS t (stream_id, before_version) VALUES ($1, $2 + 1)"
		" ON CONFLICT (stream_id) DO UPDATE SET before_version = greatest(t.before_version, excluded.before_version)"
	};
	EventTables tables;
	StreamName	name;
	Stream		stream;
	text	   *text_name;
	int			level;

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

	spi_begin(SPI_AS_OWNER);
	level = guard_allow_rewrite();
	/* The row we hold may be younger than the transaction's snapshot. */
	if (spi_run_latest(&mark, 3, (Oid[]) {INT8OID, BOOLOID, INT8OID},
					   (Datum[]) {Int64GetDatum(stream.version), BoolGetDatum(for_good),
					   Int64GetDatum(stream.key)}, NULL) != 1)
		elog(ERROR, "stream \"%.*s\" has no row", name.length, name.text);
	(void) spi_run_latest(&hide, 2, (Oid[]) {INT8OID, INT8OID},
						  (Datum[]) {Int64GetDatum(stream.id), Int64GetDatum(stream.version)},
						  NULL);
	guard_forbid_rewrite(level);
	spi_end();
	snapshot_forget(name.text, name.length);
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

/*
 * Refuses what no policy can mean.  An age that reaches back beyond the first
 * timestamp would make every read fail.
 */
static void
check_policy(FunctionCallInfo fcinfo)
{
	Interval	none = {0};
	Interval	longest = {.month = MAX_AGE_YEARS * MONTHS_PER_YEAR};
	const char *negative = NULL;

	if (!PG_ARGISNULL(2))
		(void) clock_finite_interval(PG_GETARG_INTERVAL_P(2), "max_age");
	if (!PG_ARGISNULL(1) && PG_GETARG_INT64(1) < 0)
		negative = "max_count";
	else if (!PG_ARGISNULL(2) && DatumGetBool(DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(2),
																  IntervalPGetDatum(&none))))
		negative = "max_age";
	else if (!PG_ARGISNULL(3) && PG_GETARG_INT64(3) < 0)
		negative = "truncate_before";
	if (negative != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", negative),
				 errhint("Pass NULL for no limit.")));
	if (!PG_ARGISNULL(2) && DatumGetBool(DirectFunctionCall2(interval_gt, PG_GETARG_DATUM(2),
															 IntervalPGetDatum(&longest))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_age must not be more than %d years", MAX_AGE_YEARS),
				 errhint("Pass NULL for no limit.")));
}

PG_FUNCTION_INFO_V1(event_store_set_retention);
/*
 * event_store.set_retention(stream_or_category, max_count, max_age, truncate_before)
 */
Datum
event_store_set_retention(PG_FUNCTION_ARGS)
{
	static SpiStatement set = {
		"INSERT INTO event_store.retention (name, max_count, max_age, truncate_before) VALUES ($1, $2, $3, $4)"
		" ON CONFLICT (name) DO UPDATE SET max_count = excluded.max_count, max_age = excluded.max_age,"
		" truncate_before = excluded.truncate_before"
	};
	static SpiStatement unset = {"DELETE FROM event_store.retention WHERE name = $1"};
	static const Oid types[4] = {TEXTOID, INT8OID, INTERVALOID, INT8OID};
	StreamName	name;
	text	   *text_name;
	Datum		values[4];
	char		nulls[4];

	argument_not_null(&fcinfo->args[0], "stream_or_category",
					  "Name one stream, or a category: what stands before the first \"-\".");
	text_name = PG_GETARG_TEXT_PP(0);
	stream_name(&name, VARDATA_ANY(text_name), VARSIZE_ANY_EXHDR(text_name));
	for (int i = 0; i < 4; i++)
	{
		values[i] = fcinfo->args[i].value;
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	check_policy(fcinfo);
	spi_begin(SPI_AS_OWNER);
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2) && PG_ARGISNULL(3))
		(void) spi_run(&unset, 1, types, values, nulls);
	else
		(void) spi_run(&set, 4, types, values, nulls);
	spi_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_scavenge);
/*
 * event_store.scavenge()
 */
Datum
event_store_scavenge(PG_FUNCTION_ARGS)
{
	static SpiStatement candidates = {
		"SELECT s.stream_id, s.name FROM event_store.stream s WHERE s.stream_id IN"
		" (SELECT t.stream_id FROM event_store.truncated_stream t)"
		" OR s.name IN (SELECT r.name FROM event_store.retention r)"
		" OR split_part(s.name, '-', 1) IN (SELECT r.name FROM event_store.retention r)"
		" ORDER BY s.stream_id"
	};
	static SpiStatement forget = {
		"DELETE FROM event_store.truncated_stream t WHERE NOT EXISTS (SELECT FROM event_store.stored_event e"
		" WHERE e.stream_id = t.stream_id AND e.version < t.before_version)"
	};
	MemoryContext caller = CurrentMemoryContext;
	int64		removed = 0;
	uint64		count;
	int64	   *ids;
	text	  **names;
	Snapshot	snapshot;
	Visibility *visibility;
	int			level;

	PreventCommandDuringRecovery("event_store.scavenge");
	spi_begin(SPI_AS_OWNER);
	count = spi_run(&candidates, 0, NULL, NULL, NULL);
	ids = MemoryContextAlloc(caller, sizeof(int64) * Max(count, 1));
	names = MemoryContextAlloc(caller, sizeof(text *) * Max(count, 1));
	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;

		ids[i] = spi_int64(i, 0, 0);
		names[i] = DatumGetTextPP(spi_copy(i, 1, caller, &isnull));
	}
	spi_end();

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	visibility = visibility_open(snapshot);
	level = guard_allow_rewrite();
	for (uint64 i = 0; i < count && visibility != NULL; i++)
	{
		removed += remove_hidden(ids[i], names[i], visibility);
		CHECK_FOR_INTERRUPTS();
	}
	visibility_close(visibility);
	UnregisterSnapshot(snapshot);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&forget, 0, NULL, NULL, NULL);
	spi_end();
	guard_forbid_rewrite(level);
	PG_RETURN_INT64(removed);
}

/*
 * Removes what is hidden of one stream.  Returns how many events.
 */
static int64
remove_hidden(int64 stream_id, const text *name, Visibility *visibility)
{
	static SpiStatement look = {
		"SELECT FROM event_store.stored_event WHERE stream_id = $1"
		" AND (version < $2 OR occurred_at < $3) LIMIT 1"
	};
	static SpiStatement keep_version = {
		"UPDATE event_store.stream SET last_version = $1 WHERE name_key = $2"
		" AND coalesce(last_version, 0) < $1"
	};
	static SpiStatement remove = {
		"DELETE FROM event_store.stored_event WHERE stream_id = $1 AND (version < $2 OR occurred_at < $3)"
		" AND version <= $4"
	};
	EventTables tables;
	StreamName	parsed;
	Stream		stream;
	int64		first_version;
	TimestampTz oldest;
	int64		removed;
	bool		hidden;

	visibility_bounds(visibility, name, stream_id, &first_version, &oldest);
	spi_begin(SPI_AS_OWNER);
	hidden = spi_run(&look, 3, (Oid[]) {INT8OID, INT8OID, TIMESTAMPTZOID},
					 (Datum[]) {Int64GetDatum(stream_id), Int64GetDatum(first_version),
					 TimestampTzGetDatum(oldest)}, NULL) > 0;
	spi_end();
	/* Most streams of a category have nothing to remove: their appenders need not wait. */
	if (!hidden)
		return 0;

	stream_name(&parsed, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	event_tables_open(&tables, RowExclusiveLock);
	hidden = stream_lock(&tables, &parsed, LockTupleNoKeyExclusive, &stream);
	event_tables_close(&tables);
	if (!hidden)
		return 0;
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&keep_version, 2, (Oid[]) {INT8OID, INT8OID},
				   (Datum[]) {Int64GetDatum(stream.version), Int64GetDatum(stream.key)}, NULL);
	removed = (int64) spi_run(&remove, 4, (Oid[]) {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID},
							  (Datum[]) {Int64GetDatum(stream_id), Int64GetDatum(first_version),
							  TimestampTzGetDatum(oldest), Int64GetDatum(stream.version)}, NULL);
	spi_end();
	return removed;
}
