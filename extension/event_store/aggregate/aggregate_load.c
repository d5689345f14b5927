/*
 * aggregate_load.c
 *		The state of a stream, now or as it was.
 *
 * Folds the events after the newest usable snapshot through the handlers of
 * the stream's category.  Reads with the newest snapshot of the database, as
 * event_store.read_stream() does.  Locks nothing; with for_update the stream's
 * row first, as an append would, so that what is read then is what stands until
 * the transaction ends.
 *
 * Each event has a memory context of its own, which is reset; only the state
 * passes from one to the next.  Handlers run with the rights of who registered
 * them, which are taken on once for all events in a row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/errors.h"
#include "event_store/aggregate/aggregate.h"
#include "event_store/aggregate/snapshot.h"
#include "event_store/read/read.h"
#include "event_store/stream/stream.h"
#include "pg/function.h"
#include "pg/result.h"
#include "pg/rights.h"

static ExtensionRelation relation_event = {"event_store", "event"};

static bool can_be_loaded(const char *stream, int length, Snapshot snapshot,
						  int64 *deleted_version, int64 *version);
static void fold_events(Fold *fold, EventScan *scan, const AsOf *as_of);
static bool is_later(const EventScan *scan, const Event *event, const AsOf *as_of);
static void lock_for_update(const StreamName *name);
static void fold_event(Fold *fold, EventHandler *handler, const Event *event, TupleDesc row,
					   MemoryContext event_context);

/*
 * Works out the state of a stream: up to a version and times, if given, else
 * as it is now.  fold->version stays 0 if there is nothing to fold.
 */
void
aggregate_load(const char *stream, int length, const AsOf *as_of, Fold *fold)
{
	Snapshot	snapshot;
	EventScan  *scan;
	int64		deleted_version;

	memset(fold, 0, sizeof(*fold));
	fold->aggregate = aggregate_find(stream, category_length(stream, length));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (can_be_loaded(stream, length, snapshot, &deleted_version, &fold->stream_version))
	{
		fold->state = datumCopy(JsonbPGetDatum(fold->aggregate->initial_state), false, -1);
		if (fold->aggregate->snapshot_every > 0)
			snapshot_find(stream, length, deleted_version, as_of, snapshot, fold);
		if (as_of->version == NULL || *as_of->version > fold->version)
		{
			scan = event_scan_stream(stream, length, fold->version + 1, false, snapshot);
			fold_events(fold, scan, as_of);
			event_scan_end(scan);
		}
	}
	UnregisterSnapshot(snapshot);
}

/*
 * Whether a stream has events that are not deleted, and which version it has
 * then; retention may have removed or hidden them all the same.
 */
static bool
can_be_loaded(const char *stream, int length, Snapshot snapshot, int64 *deleted_version,
			  int64 *version)
{
	EventTables tables;
	StreamName	name;
	Stream		found;
	bool		exists;

	stream_name(&name, stream, length);
	event_tables_open(&tables, AccessShareLock);
	exists = stream_read(&tables, &name, snapshot, &found);
	event_tables_close(&tables);
	*deleted_version = found.deleted_version;
	if (!exists || found.tombstoned || found.version <= found.deleted_version)
		return false;
	*version = found.version;
	return true;
}

/*
 * Whether an event that a scan has just given is later than what is asked for.
 */
static bool
is_later(const EventScan *scan, const Event *event, const AsOf *as_of)
{
	return (as_of->version != NULL && event->version > *as_of->version) ||
		(as_of->time != NULL && event->occurred_at > *as_of->time) ||
		(as_of->recorded != NULL && event_scan_recorded_at(scan, event) > *as_of->recorded);
}

static void
fold_events(Fold *fold, EventScan *scan, const AsOf *as_of)
{
	Oid			type = get_rel_type_id(extension_relation_oid(&relation_event));
	TupleDesc	row = lookup_rowtype_tupdesc(type, -1);
	MemoryContext event_context = AllocSetContextCreate(CurrentMemoryContext, "event to fold",
														ALLOCSET_DEFAULT_SIZES);
	bool		taken = false;
	Rights		before;
	Event		event;

	event_row_check(row);
	while (event_scan_next(scan, &event))
	{
		EventHandler *handler;
		Oid			role;

		if (is_later(scan, &event, as_of))
			break;
		handler = aggregate_handler(fold->aggregate, event.event_type);
		/* As a rule all belong to one role. */
		role = registration_owner(&handler->registration);
		if (taken && role != GetUserId())
		{
			rights_give_back(&before);
			taken = false;
		}
		if (taken)
			rights_renew(&before);
		else
			rights_take(role, &before);
		taken = true;
		fold_event(fold, handler, &event, row, event_context);
		CHECK_FOR_INTERRUPTS();
	}
	if (taken)
		rights_give_back(&before);
	MemoryContextDelete(event_context);
	ReleaseTupleDesc(row);
}

static void
fold_event(Fold *fold, EventHandler *handler, const Event *event, TupleDesc row,
		   MemoryContext event_context)
{
	MemoryContext home = aggregate_cache_context();
	Callable   *callable = callable_borrow(&handler->idle, &handler->registration, JSONBOID, home);
	MemoryContext old = MemoryContextSwitchTo(event_context);
	Datum		arguments[2] = {fold->state, event_to_datum(event, row)};
	bool		isnull;
	Datum		state;

	state = callable_call(callable, arguments, &isnull);
	MemoryContextSwitchTo(old);
	callable_return(&handler->idle, callable, home);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("handler %s returned null for version " INT64_FORMAT " of stream \"%s\"",
						handler->registration.signature, event->version,
						text_to_cstring(event->stream)),
				 errhint("A handler returns the new state, which is never null.")));
	/* The result may be the old state itself, or stand inside the event. */
	state = datumCopy(state, false, -1);
	pfree(DatumGetPointer(fold->state));
	fold->state = state;
	MemoryContextReset(event_context);

	if (fold->version == 0)
	{
		fold->created_at = event->occurred_at;
		fold->latest_at = event->occurred_at;
	}
	fold->version = event->version;
	fold->updated_at = event->occurred_at;
	fold->latest_at = Max(fold->latest_at, event->occurred_at);
}

/*
 * Keeps everybody else from appending to a stream until the transaction ends.
 * Whoever may load may not for that reason stop others: it takes the right to
 * call check_version(), which does the same.
 */
static void
lock_for_update(const StreamName *name)
{
	EventTables tables;
	Stream		stream;
	Oid			like = LookupFuncName(list_make2(makeString("event_store"),
												 makeString("check_version")),
									  2, (Oid[]) {TEXTOID, INT8OID}, false);

	PreventCommandIfReadOnly("event_store.load(for_update => true)");
	PreventCommandDuringRecovery("event_store.load(for_update => true)");
	function_check_rights(like, GetUserId());
	event_tables_open(&tables, RowExclusiveLock);
	stream_lock_or_create(&tables, name, LockTupleNoKeyExclusive, false, &stream);
	event_tables_close(&tables);
	stream_expect(name, &stream, EXPECTED_ANY);
}

PG_FUNCTION_INFO_V1(event_store_load);
/*
 * event_store.load(stream, at_version, at_time, for_update, at_recorded)
 */
Datum
event_store_load(PG_FUNCTION_ARGS)
{
	text	   *stream = PG_ARGISNULL(0) ? cstring_to_text("") : PG_GETARG_TEXT_PP(0);
	int64		at_version = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	TimestampTz at_time = PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2);
	TimestampTz at_recorded = PG_ARGISNULL(4) ? 0 : PG_GETARG_TIMESTAMPTZ(4);
	bool		is_now = PG_ARGISNULL(1) && PG_ARGISNULL(2) && PG_ARGISNULL(4);
	AsOf		as_of = {
		.version = PG_ARGISNULL(1) ? NULL : &at_version,
		.time = PG_ARGISNULL(2) ? NULL : &at_time,
		.recorded = PG_ARGISNULL(4) ? NULL : &at_recorded
	};
	StreamName	name;
	TupleDesc	descriptor;
	Fold		fold;
	Datum		values[4];
	bool		nulls[4];

	stream_name(&name, VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream));
	if (at_version < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at_version must not be negative"),
				 errhint("Pass NULL for the state as it is now.")));
	descriptor = result_row_type(fcinfo);
	if (!PG_ARGISNULL(3) && PG_GETARG_BOOL(3))
	{
		if (!is_now)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("for_update is about the state as it is now"),
					 errhint("Leave out at_version, at_time and at_recorded, or for_update.")));
		lock_for_update(&name);
	}
	aggregate_load(name.text, name.length, &as_of, &fold);
	memset(nulls, fold.version == 0, sizeof(nulls));
	nulls[1] = false;
	values[0] = fold.state;
	/* Now it is the stream's version, which a save must expect, whatever was left to fold. */
	values[1] = Int64GetDatum(is_now ? fold.stream_version : fold.version);
	values[2] = TimestampTzGetDatum(fold.created_at);
	values[3] = TimestampTzGetDatum(fold.updated_at);
	return result_row(descriptor, values, nulls);
}
