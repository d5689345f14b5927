/*
 * retention.c
 *		Retention policies, and removing what they and deletion hide.
 *
 * Lock protocol: the row of a stream is locked as by an append before events of
 * it go, and is given the version first, so that numbering continues.  Each call
 * is one transaction, but for the procedure scavenge(), which commits after every
 * portion; a crash undoes the transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "event_store/keep/guard.h"
#include "event_store/stream/stream.h"
#include "event_store/stream/table.h"
#include "event_store/stream/visibility.h"
#include "log/wakeup.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/result.h"
#include "pg/spi.h"

#define MAX_AGE_YEARS 5000

/* Events that CALL scavenge() removes in one transaction. */
#define PORTION 1000

/* A stream that may have something to remove. */
typedef struct Candidate
{
	int64		stream_id;
	text	   *name;
} Candidate;

static void check_policy(FunctionCallInfo fcinfo);
static int64 remove_hidden(const Candidate *candidate, Visibility *visibility, int64 max);
static int64 passed_by_all(const text *name);

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
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2) && PG_ARGISNULL(3))
		spi_execute(&unset, 1, types, values, nulls);
	else
		spi_execute(&set, 4, types, values, nulls);
	PG_RETURN_VOID();
}

/*
 * The streams that may have something to remove.  Returns how many; what is
 * returned lies in the caller's memory context.
 */
static int
list_candidates(Candidate **candidates)
{
	static SpiStatement list = {
		"SELECT s.stream_id, s.name FROM event_store.stream s WHERE s.stream_id IN"
		" (SELECT t.stream_id FROM event_store.truncated_stream t)"
		" OR s.name IN (SELECT r.name FROM event_store.retention r)"
		" OR split_part(s.name, '-', 1) IN (SELECT r.name FROM event_store.retention r)"
		" ORDER BY s.stream_id"
	};
	MemoryContext caller = CurrentMemoryContext;
	int			count;

	spi_begin(SPI_AS_OWNER);
	count = (int) spi_run(&list, 0, NULL, NULL, NULL);
	*candidates = MemoryContextAllocHuge(caller, sizeof(Candidate) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		bool		isnull;

		(*candidates)[i].stream_id = spi_int64(i, 0, 0);
		(*candidates)[i].name = DatumGetTextPP(spi_copy(i, 1, caller, &isnull));
	}
	spi_end();
	return count;
}

/*
 * Removes what is hidden of one stream, at most max events.  Returns how many.
 */
static int64
remove_hidden_now(const Candidate *candidate, int64 max)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Visibility *visibility = visibility_open(snapshot);
	int64		removed = 0;

	if (visibility != NULL)
	{
		int			level = guard_allow_rewrite();

		removed = remove_hidden(candidate, visibility, max);
		guard_forbid_rewrite(level);
	}
	visibility_close(visibility);
	UnregisterSnapshot(snapshot);
	return removed;
}

/*
 * Deletions of which nothing is left need not be remembered.
 */
static void
forget_deletions(void)
{
	static SpiStatement forget = {
		"DELETE FROM event_store.truncated_stream t WHERE NOT EXISTS (SELECT FROM event_store.stored_event e"
		" WHERE e.stream_id = t.stream_id AND e.version < t.before_version)"
	};

	spi_execute(&forget, 0, NULL, NULL, NULL);
}

PG_FUNCTION_INFO_V1(event_store_scavenge);
/*
 * event_store.scavenge()
 */
Datum
event_store_scavenge(PG_FUNCTION_ARGS)
{
	Candidate  *candidates;
	int			count;
	int64		removed = 0;

	PreventCommandDuringRecovery("event_store.scavenge");
	count = list_candidates(&candidates);
	for (int i = 0; i < count; i++)
	{
		removed += remove_hidden_now(&candidates[i], PG_INT64_MAX);
		CHECK_FOR_INTERRUPTS();
	}
	forget_deletions();
	PG_RETURN_INT64(removed);
}

PG_FUNCTION_INFO_V1(event_store_scavenge_in_portions);
/*
 * CALL event_store.scavenge(max, removed)
 *
 * A transaction for each portion, so that nobody who appends to a stream waits
 * for more than that.  A snapshot is set by hand: there is none after a commit.
 */
Datum
event_store_scavenge_in_portions(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	int64		max = PG_ARGISNULL(0) ? PG_INT64_MAX : PG_GETARG_INT64(0);
	Candidate  *candidates;
	TupleDesc	descriptor;
	int			count;
	int64		removed = 0;
	Datum		value;
	bool		isnull = false;

	wakeup_require_top_level("event_store.scavenge", call == NULL || call->atomic);
	PreventCommandDuringRecovery("event_store.scavenge");
	if (max < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max must not be negative"),
				 errhint("Pass NULL to remove all that is hidden.")));
	descriptor = CreateTupleDescCopy(result_row_type(fcinfo));
	count = list_candidates(&candidates);
	for (int i = 0; i < count && removed < max; i++)
	{
		int64		portion = Min(max - removed, PORTION);
		int64		got;

		do
		{
			spi_commit_transaction();
			PushActiveSnapshot(GetTransactionSnapshot());
			got = remove_hidden_now(&candidates[i], portion);
			PopActiveSnapshot();
			removed += got;
			portion = Min(max - removed, PORTION);
			CHECK_FOR_INTERRUPTS();
		} while (got > 0 && portion > 0);
	}
	spi_commit_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	forget_deletions();
	PopActiveSnapshot();
	value = Int64GetDatum(removed);
	return result_row(descriptor, &value, &isnull);
}

/*
 * Removes what is hidden of one stream.  Returns how many events.
 *
 * What retention hides stays until every consumer that may want it has passed
 * it, and has none of it parked; what was deleted goes at once.
 */
static int64
remove_hidden(const Candidate *candidate, Visibility *visibility, int64 max)
{
#define HIDDEN \
	" stream_id = $1 AND (version < coalesce((SELECT t.before_version" \
	" FROM event_store.truncated_stream t WHERE t.stream_id = $1), 0)" \
	" OR (version < $2 OR occurred_at < $3) AND position <= $4 AND NOT EXISTS" \
	" (SELECT FROM event_store.parked_event k WHERE k.position = stored_event.position))"
	static SpiStatement look = {
		"SELECT FROM event_store.stored_event WHERE" HIDDEN " LIMIT 1"
	};
	static SpiStatement keep_version = {
		"UPDATE event_store.stream SET last_version = $1 WHERE name_key = $2"
		" AND coalesce(last_version, 0) < $1"
	};
	static SpiStatement remove = {
		"DELETE FROM event_store.stored_event WHERE stream_id = $1 AND version IN"
		" (SELECT version FROM event_store.stored_event WHERE" HIDDEN
		" AND version <= $5 ORDER BY version LIMIT $6)"
	};
#undef HIDDEN
	static const Oid types[] = {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID};
	Datum		values[6] = {Int64GetDatum(candidate->stream_id)};
	EventTables tables;
	StreamName	parsed;
	Stream		stream;
	int64		first_version;
	TimestampTz oldest;
	int64		removed;
	bool		hidden;

	visibility_bounds(visibility, candidate->name, candidate->stream_id, &first_version, &oldest);
	values[1] = Int64GetDatum(first_version);
	values[2] = TimestampTzGetDatum(oldest);
	values[3] = Int64GetDatum(passed_by_all(candidate->name));
	hidden = spi_execute(&look, 4, types, values, NULL) > 0;
	/* Most streams of a category have nothing to remove: their appenders need not wait. */
	if (!hidden)
		return 0;

	stream_name(&parsed, VARDATA_ANY(candidate->name), VARSIZE_ANY_EXHDR(candidate->name));
	event_tables_open(&tables, RowExclusiveLock);
	hidden = stream_lock(&tables, &parsed, LockTupleNoKeyExclusive, &stream);
	event_tables_close(&tables);
	if (!hidden)
		return 0;
	values[4] = Int64GetDatum(stream.version);
	values[5] = Int64GetDatum(max);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&keep_version, 2, (Oid[]) {INT8OID, INT8OID},
				   (Datum[]) {Int64GetDatum(stream.version), Int64GetDatum(stream.key)}, NULL);
	removed = (int64) spi_run(&remove, 6, types, values, NULL);
	spi_end();
	return removed;
}

/*
 * The position up to which every subscription, projection and sink that may want a
 * stream's events has been; none that is created later counts.
 */
static int64
passed_by_all(const text *name)
{
	static SpiStatement find = {
		"SELECT min(c.position) FROM ("
		" SELECT coalesce(s.stream, s.category), s.stream IS NOT NULL, p.checkpoint"
		" FROM event_store.subscription s JOIN event_store.subscription_partition p ON p.name = s.name"
		" UNION ALL"
		" SELECT j.category, false, CASE WHEN g.rebuild_step = 'requested' THEN 0 ELSE g.checkpoint END"
		" FROM event_store.projection j JOIN event_store.projection_progress g ON g.name = j.name"
		" WHERE j.source IS NULL AND (j.mode = 'async' OR g.rebuild_step IS NOT NULL)"
		" UNION ALL"
		" SELECT j.category, false, r.checkpoint"
		" FROM event_store.projection j JOIN event_store.projection_rebuild r ON r.name = j.name"
		" UNION ALL"
		/* As far as streamd has said. */
		" SELECT k.category, false, coalesce(k.position, k.starts_after) FROM event_store.sink k"
		" UNION ALL"
		" SELECT j.category, false, d.position - 1"
		" FROM event_store.projection j JOIN event_store.projection_deferred d ON d.name = j.name"
		" WHERE d.position > 0) c (wants, is_stream, position)"
		" WHERE c.wants IS NULL OR c.wants = CASE WHEN c.is_stream THEN $1 ELSE split_part($1, '-', 1) END"
	};
	Datum		value = PointerGetDatum(name);
	int64		position;

	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&find, 1, (Oid[]) {TEXTOID}, &value, NULL);
	position = spi_int64(0, 0, PG_INT64_MAX);
	spi_end();
	return position;
}
