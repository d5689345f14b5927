/*
 * projection_apply.c
 *		Events of another database for a projection here.
 *
 * The checkpoint, a position of the source, and what the handler did are one
 * transaction: a batch that comes twice, from a program that was stopped for a while or
 * from two of them, is refused the second time (ST020).  Nothing else is needed for
 * that; the program between the two may be killed at any moment.  The source is told of
 * nothing and lets go of nothing, so what a crash here undoes is brought again.
 *
 * A handler that fails is noted with its event, like that of a projection of this
 * database, and what came before counts; whoever brings looks when to bring it again.
 *
 * Lock protocol: the projection's row of projection_progress, see projection_progress.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "base/order.h"
#include "event_store/projection/projection.h"
#include "event_store/projection/projection_progress.h"
#include "event_store/projection/projection_remote.h"
#include "event_store/projection/projection_trial.h"
#include "event_store/stream/table.h"
#include "log/incarnation.h"
#include "log/restore.h"
#include "pg/argument.h"
#include "pg/clock.h"

/* One call of apply_remote(). */
typedef struct ApplyCall
{
	Projection *projection;
	ProjectionProgress progress;
	ProjectionRemote remote;
	int64		after;
	int64		upto;
	int64		head;			/* of the source */
	char	   *incarnation;	/* of the source, NULL: not told */
	Datum	   *events;
	int64	   *positions;
	int			count;
} ApplyCall;

static void read_arguments(FunctionCallInfo fcinfo, ApplyCall *call);
static void read_events(ArrayType *array, ApplyCall *call);
static void read_event(ApplyCall *call, int number, TupleDesc row);
static void refuse_order(const ApplyCall *call) pg_attribute_noreturn();
static void refuse_state(const ApplyCall *call);
static void refuse_moved(const ApplyCall *call);
static int	apply(ApplyCall *call);
static bool apply_some(ApplyCall *call, int from, int until, bool replaying, int *applied);
static void note_head(ApplyCall *call);

static void
read_arguments(FunctionCallInfo fcinfo, ApplyCall *call)
{
	argument_not_null(&fcinfo->args[0], "name", "The view event_store.projections lists them.");
	argument_not_null(&fcinfo->args[1], "after_position",
					  "Pass the projection's checkpoint, from event_store.projections.");
	argument_not_null(&fcinfo->args[2], "events", "Pass what event_store.read_durable() gave.");
	call->projection = projection_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	remote_refuse_local(call->projection);
	call->after = PG_GETARG_INT64(1);
	read_events(PG_GETARG_ARRAYTYPE_P(2), call);
	call->upto = call->count > 0 ? call->positions[call->count - 1] : call->after;
	if (!PG_ARGISNULL(3))
	{
		if (PG_GETARG_INT64(3) < call->upto)
			refuse_order(call);
		call->upto = PG_GETARG_INT64(3);
	}
	if (!PG_ARGISNULL(4))
		call->incarnation = text_to_cstring(PG_GETARG_TEXT_PP(4));
	call->head = PG_ARGISNULL(5) ? call->upto : greater(PG_GETARG_INT64(5), call->upto);
}

static void
read_events(ArrayType *array, ApplyCall *call)
{
	TupleDesc	row = lookup_rowtype_tupdesc_copy(ARR_ELEMTYPE(array), -1);
	int16		length;
	bool		by_value;
	char		align;

	event_row_check(row);
	argument_check_elements(array, "events", "Pass what event_store.read_durable() gave.");
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &call->events, NULL,
					  &call->count);
	call->positions = palloc(sizeof(int64) * Max(call->count, 1));
	for (int i = 0; i < call->count; i++)
		read_event(call, i, row);
}

/*
 * Looks at an event: positions rise, and it is one that the projection wants.  It is not
 * when the projection has been created anew, with another definition.
 */
static void
read_event(ApplyCall *call, int number, TupleDesc row)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(call->events[number]);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
	Datum		values[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];
	bool		nulls[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];
	Event		event = {0};

	heap_deform_tuple(&tuple, row, values, nulls);
	for (int i = 0; i < EVENT_PUBLIC_COLUMNS; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("column \"%s\" of events[%d] is null",
							NameStr(TupleDescAttr(row, i)->attname), number),
					 errhint("Pass what event_store.read_durable() gave.")));
	}
	event.position = DatumGetInt64(values[EVENT_POSITION]);
	event.stream = DatumGetTextPP(values[EVENT_STREAM]);
	event.event_type = DatumGetTextPP(values[EVENT_EVENT_TYPE]);
	call->positions[number] = event.position;
	if (event.position <= (number > 0 ? call->positions[number - 1] : call->after))
		refuse_order(call);
	if (!event_filter_admits(&call->projection->filter, &event))
		ereport(ERROR,
				(errcode(ERRCODE_ST_PROJECTION_MOVED),
				 errmsg("projection \"%s\" does not want the event at position " INT64_FORMAT,
						call->projection->name, event.position),
				 errhint("Read with its category and event_types; they may have changed.")));
}

static void
refuse_order(const ApplyCall *call)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%d events do not lie in order between " INT64_FORMAT " and upto", call->count,
					call->after),
			 errhint("Pass events, upto and after_position as event_store.read_durable() gave and got them.")));
}

/*
 * Refuses a projection that is lost, stands still, or waits for the next try.
 */
static void
refuse_state(const ApplyCall *call)
{
	const char *name = call->projection->name;
	const char *reason = NULL;

	if (call->remote.error_code != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ST_SOURCE_LOST),
				 errmsg("projection \"%s\" has lost its source", name),
				 errdetail("%s", call->remote.error),
				 errhint("Type SELECT event_store.rebuild_projection(%s), or event_store.reset_remote().",
						 quote_literal_cstr(name))));
	if (call->remote.incarnation != NULL && call->incarnation != NULL)
		reason = incarnation_step_break(call->remote.incarnation, call->incarnation);
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ST_SOURCE_LOST),
				 errmsg("what is brought to projection \"%s\" does not follow what was brought before",
						name),
				 errdetail("Of its source: %s.", reason),
				 errhint("Look where the service \"%s\" leads to.", call->projection->source)));
	if (call->progress.paused || call->progress.failed || call->progress.retry_at > clock_now())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("projection \"%s\" takes no events now", name),
				 errhint("Look into event_store.projections; event_store.resume_projection() lets it go on at once.")));
}

static void
refuse_moved(const ApplyCall *call)
{
	if (call->progress.checkpoint != call->after && !DEBUG_BREAK("remote_no_compare"))
		ereport(ERROR,
				(errcode(ERRCODE_ST_PROJECTION_MOVED),
				 errmsg("projection \"%s\" is not at position " INT64_FORMAT,
						call->projection->name, call->after),
				 errdetail("It is at " INT64_FORMAT ".", call->progress.checkpoint),
				 errhint("Somebody else has brought the events; go on from its checkpoint.")));
}

/*
 * Gives the events to the handler, those that it has had before a rebuild first.
 * Returns how many it took.
 */
static int
apply(ApplyCall *call)
{
	ProjectionProgress *progress = &call->progress;
	int			replayed = 0;
	int			applied = 0;

	/* A source that was restored has less than what the projection has had of it. */
	if (progress->rebuild_step != REBUILD_NONE)
		progress->rebuild_until = lesser(progress->rebuild_until, call->head);
	if (progress_is_replaying(progress))
	{
		while (replayed < call->count && call->positions[replayed] <= progress->rebuild_until)
			replayed++;
	}
	if (apply_some(call, 0, replayed, true, &applied) &&
		apply_some(call, replayed, call->count, false, &applied))
		progress->checkpoint = call->upto;
	if (progress->rebuild_step != REBUILD_NONE && !progress_is_replaying(progress))
	{
		progress->rebuild_step = REBUILD_NONE;
		progress->rebuild_until = -1;
	}
	return applied;
}

/*
 * Those from one number up to another; false after a failure, which is noted.
 */
static bool
apply_some(ApplyCall *call, int from, int until, bool replaying, int *applied)
{
	bool		failed = false;

	while (from < until && !failed)
	{
		ProjectionRun run = {.projection = call->projection, .source = SOURCE_BROUGHT,
			.positions = call->positions + from, .position_count = until - from,
			.brought = call->events + from, .limit = until - from, .replaying = replaying,
		.whole = true};

		(void) projection_try(&run, &call->progress, &failed);
		from += run.applied;
		*applied += run.applied;
		if (run.applied > 0)
			call->progress.checkpoint = call->positions[from - 1];
	}
	return !failed;
}

/*
 * How far the source is, as we were told, and since when we are behind it.
 */
static void
note_head(ApplyCall *call)
{
	ProjectionRemote *remote = &call->remote;

	remote->head = call->head;
	if (call->incarnation != NULL)
		remote->incarnation = call->incarnation;
	if (call->progress.checkpoint >= call->head)
		remote->behind_since = 0;
	else if (remote->behind_since == 0)
		remote->behind_since = GetCurrentTimestamp();
	remote_heard(call->projection, remote);
}

PG_FUNCTION_INFO_V1(event_store_apply_remote);
/*
 * event_store.apply_remote(name, after_position, events, upto, incarnation, head)
 */
Datum
event_store_apply_remote(PG_FUNCTION_ARGS)
{
	ApplyCall	call = {0};
	int			applied;

	PreventCommandIfReadOnly("event_store.apply_remote()");
	restore_refuse_writing();
	read_arguments(fcinfo, &call);
	DEBUG_POINT("remote_apply");
	if (!progress_lock(call.projection, true, &call.progress))
		projection_unknown(call.projection->name);
	(void) remote_read(call.projection, &call.remote);
	refuse_state(&call);
	refuse_moved(&call);
	applied = apply(&call);
	progress_write(call.projection, &call.progress);
	note_head(&call);
	PG_RETURN_INT32(applied);
}
