/*
 * read_durable.c
 *		Events that may leave this database, for who keeps what he has read elsewhere.
 *
 * Only what this server can no longer lose: up to a mark that is on disk and on the
 * synchronous standbys.  Whoever reads keeps the position and the incarnation that
 * came with it, and shows both the next time: a history that does not hold what was
 * read is refused (ST021).  Nothing is locked or written here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "event_store/read/read.h"
#include "event_store/read/read_call.h"
#include "event_store/stream/table.h"
#include "log/incarnation.h"
#include "log/position.h"
#include "log/restore.h"
#include "pg/argument.h"
#include "pg/result.h"

/* How long a standby may let readers wait before they are told that there is nothing. */
#define DURABLE_WAIT_MS 1000
/* A batch ends after so many bytes, or so many events of others. */
#define MAX_BATCH_BYTES (8 * 1024 * 1024)
#define MAX_LOOKS 50000

static ExtensionRelation relation_event = {"event_store", "event"};

/* One call of read_durable(). */
typedef struct DurableRead
{
	EventFilter filter;
	int64		after;
	int			max;
	int64		mark;			/* nothing beyond it leaves */
	int64		upto;			/* all that is wanted up to here is among the events */
	Datum	   *events;
	int			count;
} DurableRead;

static void read_arguments(FunctionCallInfo fcinfo, DurableRead *read);
static void check_given(int64 position, const char *known);
static void collect(DurableRead *read, TupleDesc row);
static void put_result(FunctionCallInfo fcinfo, const DurableRead *read, Oid type, XLogRecPtr lsn,
					   SetResult *result);

static void
read_arguments(FunctionCallInfo fcinfo, DurableRead *read)
{
	argument_not_null(&fcinfo->args[0], "after_position", "0 is the beginning.");
	argument_not_null(&fcinfo->args[1], "max_events", "Leave it out for 500.");
	read->after = PG_GETARG_INT64(0);
	read->max = PG_GETARG_INT32(1);
	if (read->after < 0 || read->max < 1 || read->max > 100000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("after_position must not be negative, and max_events between 1 and 100000"),
				 errhint("Begin with position 0.")));
	read_filter(&read->filter, &fcinfo->args[2], NULL);
	event_filter_types(&read->filter, PG_ARGISNULL(3) ? NULL : PG_GETARG_ARRAYTYPE_P(3));
	read->filter.of_consumer = true;
}

/*
 * Refuses a position that this database cannot have given.
 */
static void
check_given(int64 position, const char *known)
{
	const char *reason = known != NULL ? incarnation_break(known) : NULL;

	if (reason == NULL && position > position_counter(LOG_EVENT_STORE))
		reason = "it has not given that position yet: an older state was restored";
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ST_SOURCE_LOST),
				 errmsg("this database is not the one that was read up to position " INT64_FORMAT,
						position),
				 errdetail("It does not hold what was read: %s.", reason),
				 errhint("Type SELECT event_store.rebuild_projection(...) where the projection is.")));
}

/*
 * Events after the position, as many as there is room for.
 */
static void
collect(DurableRead *read, TupleDesc row)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EventScan  *scan = event_scan_positions(&read->filter, read->after, read->mark, snapshot);
	Size		bytes = 0;
	Event		event;

	event_scan_limit(scan, MAX_LOOKS);
	read->events = palloc(sizeof(Datum) * read->max);
	read->upto = read->mark;
	while (event_scan_next(scan, &event))
	{
		read->events[read->count] = event_to_datum(&event, row);
		bytes += VARSIZE_ANY(DatumGetPointer(read->events[read->count]));
		if (++read->count == read->max || bytes > MAX_BATCH_BYTES)
		{
			read->upto = event.position;
			break;
		}
	}
	if (event_scan_was_limited(scan))
		read->upto = event_scan_position(scan);
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
}

static void
put_result(FunctionCallInfo fcinfo, const DurableRead *read, Oid type, XLogRecPtr lsn,
		   SetResult *result)
{
	char		incarnation[INCARNATION_SIZE];
	Datum		values[5];
	bool		nulls[5] = {false};

	incarnation_write(incarnation, lsn);
	values[0] = Int64GetDatum(read->upto);
	values[1] = Int64GetDatum(read->mark);
	values[2] = Int32GetDatum(read->count);
	values[3] = PointerGetDatum(construct_array(read->events, read->count, type, -1, false,
												TYPALIGN_DOUBLE));
	values[4] = CStringGetTextDatum(incarnation);
	result_put(result, values, nulls);
}

PG_FUNCTION_INFO_V1(event_store_read_durable);
/*
 * event_store.read_durable(after_position, max_events, category, event_types, incarnation)
 */
Datum
event_store_read_durable(PG_FUNCTION_ARGS)
{
	DurableRead read = {0};
	SetResult	result;
	XLogRecPtr	lsn;
	Oid			type = get_rel_type_id(extension_relation_oid(&relation_event));
	TupleDesc	row;

	result_begin(fcinfo, &result);
	if (restore_goes_on())
		return (Datum) 0;
	read_arguments(fcinfo, &read);
	if (!position_mark_durable(LOG_EVENT_STORE, event_filter_key(&read.filter), DURABLE_WAIT_MS,
							   &read.mark, &lsn))
	{
		ereport(WARNING,
				(errmsg("no event may leave: no synchronous standby has the newest yet"),
				 errhint("Look into pg_stat_replication and synchronous_standby_names.")));
		return (Datum) 0;
	}
	check_given(read.after, PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4)));
	read.mark = event_passable(read.mark, NULL);
	if (read.mark < read.after)
		read.mark = read.after;
	row = lookup_rowtype_tupdesc(type, -1);
	event_row_check(row);
	collect(&read, row);
	put_result(fcinfo, &read, type, lsn, &result);
	ReleaseTupleDesc(row);
	return (Datum) 0;
}
