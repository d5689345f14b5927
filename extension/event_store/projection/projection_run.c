/*
 * projection_run.c
 *		Giving events to projections outside the append: async ones, rebuilds, and
 *		what inline ones have deferred.
 *
 * One batch per projection and transaction: its row is locked, the handler gets
 * its events in a subtransaction, the row is written.
 *
 * A rebuild of an inline projection: first appends must defer.  Whoever decided
 * not to had taken its positions already, so once the mark has passed the
 * counter as it was then, all those are over: the tables are emptied, events
 * deferred up to there forgotten, and everything up to there is replayed; then
 * comes what was deferred since.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/debug_point.h"
#include "base/errors.h"
#include "base/order.h"
#include "event_store/projection/projection.h"
#include "event_store/projection/projection_deferred.h"
#include "event_store/projection/projection_beside.h"
#include "event_store/projection/projection_progress.h"
#include "event_store/projection/projection_turn.h"
#include "log/position.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "pg/clock.h"
#include "pg/relation.h"

/* So long, in microseconds, appends may be shut out; and how many events that is, at least. */
#define SHUT_OUT_US 50000
#define SHUT_OUT_EVENTS 100

/* A checkpoint that moves over events of others only is written so often, in milliseconds. */
#define WRITE_IDLE_CHECKPOINT 1000

static List *list_projections(MemoryContext context);
static void run_unit(UnitTurn *turn);
static void run_one(Projection *projection, int max, bool by_hand, Outlook *outlook);
static void commit_before_checkpoint(void);
static bool has_work(Projection *projection, const ProjectionProgress *progress, int64 mark,
					 bool by_hand, Outlook *outlook);
static void start_rebuild(Projection *projection, ProjectionProgress *progress, Outlook *outlook);
static void run_range(Projection *projection, ProjectionProgress *progress, int64 upto, int max,
					  Outlook *outlook);
static void end_rebuild(ProjectionProgress *progress);
static void run_deferred(Projection *projection, ProjectionProgress *progress, int max,
						 Outlook *outlook);
static int	affordable_events(const Projection *projection, int max);

const UnitKind projection_units = {"projection", list_projections, run_unit};

/*
 * Whether there is any projection, from the table.
 */
bool
projection_any(void)
{
	return projection_count() > 0;
}

/*
 * The names of all projections of events of this database, in the given context.
 */
static List *
list_projections(MemoryContext context)
{
	List	   *names = NIL;
	Projection *projection;

	for (int i = 0; (projection = projection_get(i)) != NULL; i++)
	{
		MemoryContext old;

		if (projection->source != NULL)
			continue;
		old = MemoryContextSwitchTo(context);
		names = lappend(names, pstrdup(projection->name));
		MemoryContextSwitchTo(old);
	}
	return names;
}

/*
 * A turn of the runner: a batch, if the projection has something to do.
 */
static void
run_unit(UnitTurn *turn)
{
	Outlook		outlook = {0, false, WAKEUP_NEVER};
	Projection *projection = batch_projection(turn->name);

	batch_begin(turn);
	if (projection == NULL)
		return;
	if (!projection->is_inline)
		turn->wakes |= WAKE_FOR_LOG(LOG_EVENT_STORE);
	run_one(projection, turn->portion, false, &outlook);
	turn->worked = turn->more = outlook.more;
	turn->due = outlook.due;
}

PG_FUNCTION_INFO_V1(event_store_run_projections);
/*
 * event_store.run_projections(max)
 */
Datum
event_store_run_projections(PG_FUNCTION_ARGS)
{
	int			max = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	int			handled = 0;

	if (max < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max must be 1 or more")));
	PreventCommandDuringRecovery("event_store.run_projections");
	if (restore_goes_on())
		PG_RETURN_INT32(0);
	for (int i = 0; i < projection_count(); i++)
	{
		Outlook		outlook = {0, true, WAKEUP_NEVER};
		int			left = max;

		while (outlook.more && left > 0 && projection_get(i) != NULL)
		{
			outlook.more = false;
			outlook.handled = 0;
			run_one(projection_get(i), left, true, &outlook);
			handled += outlook.handled;
			left -= outlook.handled;
			CHECK_FOR_INTERRUPTS();
		}
		if (projection_get(i) != NULL && projection_get(i)->is_beside)
			handled += beside_run_by_hand(projection_get(i), max);
	}
	PG_RETURN_INT32(handled);
}

/*
 * Does a batch for a projection, if there is something to do and nobody else
 * is at it.
 */
static void
run_one(Projection *projection, int max, bool by_hand, Outlook *outlook)
{
	ProjectionProgress progress;
	uint32		key = event_filter_key(&projection->filter);
	int64		mark;

	if (projection->source != NULL || !progress_read(projection, &progress) ||
		progress.paused || progress.failed || progress.rebuild_step == REBUILD_CLOSING)
		return;
	if (progress.retry_at > clock_now())
	{
		outlook->due = progress.retry_at;
		return;
	}
	if (by_hand)
		mark = position_mark(LOG_EVENT_STORE, key);
	else if (!position_mark_nowait(LOG_EVENT_STORE, key, &mark))
	{
		batch_due_in(outlook, ASK_AGAIN);
		return;
	}
	if (!projection->is_inline && mark > progress.checkpoint)
		mark = event_passable(mark, NULL);
	if (!has_work(projection, &progress, mark, by_hand, outlook))
		return;
	DEBUG_POINT("projection_has_work");
	if (!progress_lock(projection, false, &progress))
	{
		batch_due_in(outlook, ASK_AGAIN);
		return;
	}
	/* Somebody else may have set the end of a rebuild just now. */
	if (progress.paused || progress.failed || progress.retry_at > clock_now() ||
		progress.rebuild_step == REBUILD_CLOSING ||
		(progress.rebuild_step == REBUILD_REQUESTED && mark < progress.rebuild_until))
		return;
	if (progress.rebuild_step == REBUILD_REQUESTED)
		start_rebuild(projection, &progress, outlook);
	else if (projection->is_inline && !progress_is_replaying(&progress))
		run_deferred(projection, &progress, max, outlook);
	else
		run_range(projection, &progress, projection->is_inline ? progress.rebuild_until : mark, max,
				  outlook);
	if (DEBUG_BREAK("checkpoint_apart") && !by_hand)
		commit_before_checkpoint();
	progress_write(projection, &progress);
	if (outlook->handled > 0)
		DEBUG_POINT("projection_before_commit");
}

/*
 * What must not be done, for the tests to find out.
 */
static void
commit_before_checkpoint(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	extension_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Whether it is worth locking the row.  An idle look must write nothing, and
 * events of others that pass by little.
 */
static bool
has_work(Projection *projection, const ProjectionProgress *progress, int64 mark, bool by_hand,
		 Outlook *outlook)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		after = progress->checkpoint;

	if (progress->rebuild_step == REBUILD_REQUESTED && mark < progress->rebuild_until)
	{
		batch_due_in(outlook, ASK_AGAIN);
		return false;
	}
	if (progress->rebuild_step != REBUILD_NONE && mark >= progress->rebuild_until)
		return true;
	if (projection->is_inline)
		return deferred_any(projection);
	if (mark <= progress->checkpoint)
		return false;
	/* What was seen before a rebuild began does not count. */
	if (progress->rebuild_step == REBUILD_NONE)
		after = Max(after, projection->seen);
	if (by_hand || projection_has_event(projection, after, mark))
		return true;
	projection->seen = mark;
	if (TimestampDifferenceExceeds(projection->written_at, now, WRITE_IDLE_CHECKPOINT))
	{
		projection->written_at = now;
		return true;
	}
	batch_due_in(outlook, WRITE_IDLE_CHECKPOINT);
	return false;
}

/*
 * Whether there is an event that a projection wants above after and up to upto.
 */
bool
projection_has_event(Projection *projection, int64 after, int64 upto)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EventScan  *scan = event_scan_positions(&projection->filter, after, upto, snapshot);
	Event		event;
	bool		found = event_scan_next(scan, &event);

	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * First step of the rebuild of an inline projection; see the top of this file.
 */
static void
start_rebuild(Projection *projection, ProjectionProgress *progress, Outlook *outlook)
{
	ErrorData  *error;

	if (progress->rebuild_until < 0 && deferred_held_back_here())
		return;
	outlook->more = true;
	if (progress->rebuild_until < 0)
	{
		progress->rebuild_until = position_counter(LOG_EVENT_STORE);
		return;
	}
	if (!subtransaction_run(projection_truncate, projection, &error))
	{
		progress_note_failure(projection, progress, 0, error);
		outlook->handled++;
		return;
	}
	progress_forget_error(progress);
	deferred_remove_up_to(projection, progress->rebuild_until);
	progress->checkpoint = 0;
	progress->rebuild_step = REBUILD_REPLAYING;
}

/*
 * Gives a projection its events above the checkpoint and up to a position.
 */
static void
run_range(Projection *projection, ProjectionProgress *progress, int64 upto, int max,
		  Outlook *outlook)
{
	ProjectionRun run = {0};

	run.projection = projection;
	run.source = SOURCE_RANGE;
	run.after = progress->checkpoint;
	run.upto = upto;
	run.limit = batch_limit(projection, max);
	run.replaying = progress_is_replaying(progress);
	/* What follows the rebuild is given for the first time. */
	if (run.replaying)
		run.upto = lesser(upto, progress->rebuild_until);
	if (batch_attempt(&run, progress, outlook))
		progress->checkpoint = run.exhausted ? run.upto : run.position;
	else if (run.applied > 0)
		progress->checkpoint = run.position;
	outlook->more = progress->checkpoint < upto || projection->is_inline;
	if (!projection->is_inline && !progress_is_replaying(progress))
		end_rebuild(progress);
}

static void
end_rebuild(ProjectionProgress *progress)
{
	progress->rebuild_step = REBUILD_NONE;
	progress->rebuild_until = -1;
}

/*
 * Gives an inline projection what appends have deferred.  When so little is left
 * that they can wait for it, it shuts them out, or else there would always be
 * some more.
 */
static void
run_deferred(Projection *projection, ProjectionProgress *progress, int max, Outlook *outlook)
{
	ProjectionRun run = {0};
	int			affordable = affordable_events(projection, max);
	int64	   *positions;
	int			count = deferred_positions(projection, affordable + 1, &positions);
	bool		complete = false;
	bool		done;

	if (count > affordable)
		count = Min(count, max);
	else if (deferred_shut_out_appends())
	{
		complete = true;
		count = deferred_positions(projection, PG_INT32_MAX, &positions);
	}
	else
		batch_due_in(outlook, ASK_AGAIN);
	run.projection = projection;
	run.source = SOURCE_POSITIONS;
	run.positions = positions;
	run.position_count = count;
	run.limit = count;
	run.whole = complete;
	done = batch_attempt(&run, progress, outlook);
	outlook->more = done && (count > affordable || run.passed < count);
	/* Also after a failure: there may have been no time for all that came before it. */
	deferred_remove(projection, positions, run.passed);
	if (done && complete)
	{
		deferred_let_go(projection);
		end_rebuild(progress);
	}
}

/*
 * How many events the handler gets through while appends are shut out.
 */
static int
affordable_events(const Projection *projection, int max)
{
	double		events = SHUT_OUT_EVENTS;

	if (projection->event_us > 0)
		events = Max(SHUT_OUT_US / projection->event_us, SHUT_OUT_EVENTS);
	/* By hand max is what the caller wants, of the worker only a portion. */
	return compat_is_background_worker() ? (int) events : (int) Min(events, max);
}
