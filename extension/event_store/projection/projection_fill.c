/*
 * projection_fill.c
 *		Turns of a rebuild beside: filling the tables, and ending it.
 *
 * The handler is given every event anew while its statements are led to the tables
 * beside (pg/redirect.h), and goes on keeping the old tables as always.  What it has
 * done and how far that is commit together, so a crash leaves both or neither.
 *
 * An async projection is rebuilt up to its own checkpoint.  Once little is missing its
 * row is locked, so that it stays there, the rest is given, and the rows are brought
 * over, in one transaction.
 *
 * An inline projection has no checkpoint: it is rebuilt up to the mark.  Once that is
 * reached, appends are made to leave its events to the worker (closing).  Whoever has
 * decided otherwise has taken his positions, so when the mark has passed the counter as
 * it was then, the tables hold nothing from beyond; the rest up to there is given, and
 * the rows are brought over.  What was deferred since follows as after a pause.  If that
 * fails for good, the appends run the handler again.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/debug_point.h"
#include "event_store/projection/projection_beside.h"
#include "event_store/projection/projection_deferred.h"
#include "event_store/projection/projection_turn.h"
#include "log/position.h"
#include "log/wakeup.h"
#include "pg/clock.h"
#include "pg/subtransaction.h"

/* A rebuild whose row is locked, in a turn. */
typedef struct Rebuild
{
	Projection *projection;
	Beside		beside;
	ProjectionProgress live;	/* how far the projection itself is */
	bool		live_locked;
	int			max;			/* events in this turn */
	bool		by_hand;
	bool		over;			/* the row is gone */
} Rebuild;

static List *list_rebuilds(MemoryContext context);
static void run_unit(UnitTurn *turn);
static void run_one(Projection *projection, int max, bool by_hand, Outlook *outlook);
static bool look(Rebuild *rebuild, Outlook *outlook);
static bool find_end(const Rebuild *rebuild, int64 *upto, Outlook *outlook);
static bool fill(Rebuild *rebuild, int64 upto, Outlook *outlook);
static bool lock_live(Rebuild *rebuild, Outlook *outlook);
static void close_inline(Rebuild *rebuild, Outlook *outlook);
static void finish(Rebuild *rebuild, Outlook *outlook);
static void bring_over(void *argument);
static void reopen(Rebuild *rebuild);

const UnitKind rebuild_units = {"rebuild", list_rebuilds, run_unit};

/*
 * The names of all projections that are being rebuilt beside, in the given context.
 */
static List *
list_rebuilds(MemoryContext context)
{
	List	   *names = NIL;
	Projection *projection;

	for (int i = 0; (projection = projection_get(i)) != NULL; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		if (projection->is_beside)
			names = lappend(names, pstrdup(projection->name));
		MemoryContextSwitchTo(old);
	}
	return names;
}

/*
 * A turn of the runner.
 */
static void
run_unit(UnitTurn *turn)
{
	Outlook		outlook = {0, false, WAKEUP_NEVER};
	Projection *projection = batch_projection(turn->name);

	batch_begin(turn);
	if (projection == NULL || !projection->is_beside)
		return;
	run_one(projection, turn->portion, false, &outlook);
	turn->worked = turn->more = outlook.more;
	turn->due = outlook.due;
}

/*
 * The same for event_store.run_projections(): as much as can be done now, up to max
 * events.  Returns how many were handled or failed.
 */
int
beside_run_by_hand(Projection *projection, int max)
{
	Outlook		outlook = {0, true, WAKEUP_NEVER};
	int			handled = 0;

	while (outlook.more && handled < max)
	{
		outlook.more = false;
		outlook.handled = 0;
		run_one(projection, max - handled, true, &outlook);
		handled += outlook.handled;
		CHECK_FOR_INTERRUPTS();
	}
	return handled;
}

static void
run_one(Projection *projection, int max, bool by_hand, Outlook *outlook)
{
	Rebuild		rebuild = {.projection = projection, .max = max, .by_hand = by_hand};
	int64		upto;

	if (!look(&rebuild, outlook))
		return;
	if (find_end(&rebuild, &upto, outlook) && fill(&rebuild, upto, outlook))
	{
		if (projection->is_inline && rebuild.live.rebuild_step == REBUILD_NONE)
			close_inline(&rebuild, outlook);
		else if (lock_live(&rebuild, outlook) &&
				 (projection->is_inline || fill(&rebuild, rebuild.live.checkpoint, outlook)))
			finish(&rebuild, outlook);
	}
	if (rebuild.over)
		return;
	if (rebuild.beside.progress.failed)
		reopen(&rebuild);
	beside_write(projection, &rebuild.beside);
	DEBUG_POINT("rebuild_before_commit");
}

/*
 * Whether there is something to be done now; locks the rebuild's row then.
 */
static bool
look(Rebuild *rebuild, Outlook *outlook)
{
	Projection *projection = rebuild->projection;
	ProjectionProgress *progress = &rebuild->beside.progress;

	if (!progress_read(projection, &rebuild->live) || rebuild->live.paused ||
		!beside_read(projection, &rebuild->beside) || progress->failed)
		return false;
	if (progress->retry_at > clock_now())
	{
		outlook->due = Min(outlook->due, progress->retry_at);
		return false;
	}
	if (beside_lock(projection, false, &rebuild->beside))
		return !progress->failed && progress->retry_at <= clock_now();
	batch_due_in(outlook, ASK_AGAIN);
	return false;
}

/*
 * Up to where the handler is to be given events; false if that cannot be told yet.
 */
static bool
find_end(const Rebuild *rebuild, int64 *upto, Outlook *outlook)
{
	uint32		key = event_filter_key(&rebuild->projection->filter);
	int64		mark;

	*upto = rebuild->live.checkpoint;
	if (!rebuild->projection->is_inline)
		return true;
	if (rebuild->by_hand)
		mark = position_mark(LOG_EVENT_STORE, key);
	else if (!position_mark_nowait(LOG_EVENT_STORE, key, &mark))
		mark = -1;
	*upto = mark;
	if (rebuild->live.rebuild_step == REBUILD_CLOSING && mark >= 0)
	{
		*upto = rebuild->live.rebuild_until;
		if (mark < *upto)
			mark = -1;
	}
	if (mark >= 0)
		return true;
	batch_due_in(outlook, ASK_AGAIN);
	return false;
}

/*
 * Gives the handler what is left up to a position, or this turn's share of it.  Returns
 * whether all of it is in.
 */
static bool
fill(Rebuild *rebuild, int64 upto, Outlook *outlook)
{
	ProjectionProgress *progress = &rebuild->beside.progress;
	ProjectionRun run = {0};

	if (progress->checkpoint >= upto)
		return true;
	run.projection = rebuild->projection;
	run.source = SOURCE_RANGE;
	run.after = progress->checkpoint;
	run.upto = upto;
	run.limit = batch_limit(rebuild->projection, rebuild->max);
	run.replaying = true;
	run.redirect = &rebuild->beside.redirect;
	if (batch_attempt(&run, progress, outlook))
	{
		progress->checkpoint = run.exhausted ? upto : run.position;
		outlook->more = true;
		return run.exhausted;
	}
	if (run.applied > 0)
		progress->checkpoint = run.position;
	return false;
}

/*
 * Locks the projection's own row; false if somebody is at it, or it was paused.
 */
static bool
lock_live(Rebuild *rebuild, Outlook *outlook)
{
	if (progress_lock(rebuild->projection, false, &rebuild->live))
		return !rebuild->live.paused;
	batch_due_in(outlook, ASK_AGAIN);
	return false;
}

/*
 * From the commit on appends leave the inline projection's events to the worker.  How
 * far those may have come that do not know of it, the next turn finds out.
 */
static void
close_inline(Rebuild *rebuild, Outlook *outlook)
{
	if (!lock_live(rebuild, outlook))
		return;
	deferred_hold_back(rebuild->projection);
	rebuild->live.rebuild_step = REBUILD_CLOSING;
	rebuild->live.rebuild_until = -1;
	progress_write(rebuild->projection, &rebuild->live);
	outlook->more = !rebuild->by_hand;
}

/*
 * All that the old tables hold is in the new ones too.
 */
static void
finish(Rebuild *rebuild, Outlook *outlook)
{
	ErrorData  *error;

	outlook->more = true;
	if (rebuild->live.rebuild_step == REBUILD_CLOSING && rebuild->live.rebuild_until < 0)
	{
		if (deferred_held_back_here())
		{
			outlook->more = false;
			return;
		}
		rebuild->live.rebuild_until = position_counter(LOG_EVENT_STORE);
		progress_write(rebuild->projection, &rebuild->live);
		return;
	}
	DEBUG_POINT("rebuild_before_swap");
	if (!subtransaction_run(bring_over, rebuild, &error))
	{
		progress_note_failure(rebuild->projection, &rebuild->beside.progress, 0, error);
		outlook->more = false;
		outlook->handled++;
		if (!rebuild->beside.progress.failed)
			outlook->due = Min(outlook->due, rebuild->beside.progress.retry_at);
		return;
	}
	if (rebuild->projection->is_inline)
	{
		deferred_remove_up_to(rebuild->projection, rebuild->live.rebuild_until);
		rebuild->live.rebuild_step = REBUILD_NONE;
		rebuild->live.rebuild_until = -1;
		progress_write(rebuild->projection, &rebuild->live);
	}
	rebuild->over = true;
	wakeup_worker_after_commit(WAKE_FOR_UNITS);
	DEBUG_POINT("rebuild_before_commit");
}

static void
bring_over(void *argument)
{
	Rebuild    *rebuild = (Rebuild *) argument;

	beside_bring_over(rebuild->projection, &rebuild->beside, false);
}

/*
 * A rebuild that stands still keeps no append from running its handler.
 */
static void
reopen(Rebuild *rebuild)
{
	if (rebuild->live.rebuild_step != REBUILD_CLOSING ||
		!progress_lock(rebuild->projection, true, &rebuild->live))
		return;
	rebuild->live.rebuild_step = REBUILD_NONE;
	rebuild->live.rebuild_until = -1;
	if (!rebuild->live.paused)
		deferred_let_go(rebuild->projection);
	progress_write(rebuild->projection, &rebuild->live);
	wakeup_worker_after_commit(WAKE_FOR_UNITS);
}
