/*
 * projection_run.c
 *		Giving events to projections outside the append: async ones, rebuilds, and
 *		what inline ones have deferred.
 *
 * One batch per projection and transaction: its row is locked, the handler gets
 * its events in a subtransaction, the row is written.  A batch that fails is
 * done again up to the event before the one that failed.
 *
 * A rebuild of an inline projection: first appends must defer.  Whoever decided
 * not to had taken its positions already, so once the mark has passed the
 * counter as it was then, all those are over: the tables are emptied, events
 * deferred up to there forgotten, and everything up to there is replayed; then
 * comes what was deferred since.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "event_store/projection.h"
#include "event_store/projection_progress.h"
#include "event_store/reader.h"
#include "log/position.h"
#include "log/wakeup.h"
#include "pg/clock.h"
#include "pg/spi.h"

/* Events per transaction of the worker. */
#define BATCH 500

#define WORKER_LOCK_TIMEOUT "1s"

/* So few deferred events are handled while appends are shut out. */
#define SHUT_OUT_AT_MOST 100

/* What is asked again when somebody is in the way, in milliseconds. */
#define ASK_AGAIN 50

/* A checkpoint that moves over events of others only is written so often, in milliseconds. */
#define WRITE_IDLE_CHECKPOINT 1000

/* What a look at a projection found out. */
typedef struct Outlook
{
	int			handled;		/* events, failures included */
	bool		more;			/* there may be more to do at once */
	TimestampTz due;			/* or then */
} Outlook;

/* What the view shows of a projection. */
typedef struct ProjectionLag
{
	int64		checkpoint;
	int64		events;
	TimestampTz oldest;
} ProjectionLag;

static void restrict_worker(void);
static void run_one(Projection *projection, int max, bool by_hand, Outlook *outlook);
static bool has_work(Projection *projection, const ProjectionProgress *progress, int64 mark,
					 bool by_hand, Outlook *outlook);
static bool has_event(Projection *projection, int64 after, int64 upto);
static void start_rebuild(Projection *projection, ProjectionProgress *progress, Outlook *outlook);
static void run_range(Projection *projection, ProjectionProgress *progress, int64 upto, int max,
					  Outlook *outlook);
static void run_deferred(Projection *projection, ProjectionProgress *progress, int max,
						 Outlook *outlook);
static int	deferred_positions(const Projection *projection, int max, int64 **positions);
static void forget_deferred(const Projection *projection, const int64 *positions, int count);
static void forget_deferred_up_to(const Projection *projection, int64 upto);
static bool attempt_up_to_failure(ProjectionRun *run, ProjectionProgress *progress,
								  Outlook *outlook);
static CancelPolicy cancel_policy(void);
static void due_in(Outlook *outlook, int milliseconds);
static void count_range(Projection *projection, int64 upto, ProjectionLag *lag);
static void count_deferred(Projection *projection, bool tell_checkpoint, int64 mark,
						   ProjectionLag *lag);

/*
 * Duty of the worker: a batch for each projection that has something to do.
 */
void
projection_run_due(DutyWish *wish)
{
	int			count;

	StartTransactionCommand();
	count = projection_count();
	CommitTransactionCommand();
	for (int i = 0; i < count; i++)
	{
		Outlook		outlook = {0, false, WAKEUP_NEVER};
		Projection *projection;

		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		restrict_worker();
		projection = projection_get(i);
		if (projection != NULL)
		{
			if (!projection->is_inline)
				wish->wakes |= WAKE_FOR_LOG(LOG_EVENT_STORE);
			run_one(projection, BATCH, false, &outlook);
		}
		PopActiveSnapshot();
		CommitTransactionCommand();
		wish->due = Min(wish->due, outlook.more ? GetCurrentTimestamp() : outlook.due);
	}
}

/*
 * The worker has other duties: it does not wait for somebody's lock, nor for a
 * flush, because what a crash undoes it does again.
 */
static void
restrict_worker(void)
{
	(void) set_config_option("lock_timeout", WORKER_LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
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
	uint32		key = reader_key(&projection->filter);
	int64		mark;

	if (!progress_read(projection, &progress) || progress.paused || progress.failed)
		return;
	if (progress.retry_at > clock_now())
	{
		outlook->due = progress.retry_at;
		return;
	}
	if (progress_is_restored(&progress))
	{
		due_in(outlook, WRITE_IDLE_CHECKPOINT);
		return;
	}
	if (by_hand)
		mark = position_mark(LOG_EVENT_STORE, key);
	else if (!position_mark_nowait(LOG_EVENT_STORE, key, &mark))
	{
		due_in(outlook, ASK_AGAIN);
		return;
	}
	if (!has_work(projection, &progress, mark, by_hand, outlook))
		return;
	if (!progress_lock(projection, false, &progress))
	{
		due_in(outlook, ASK_AGAIN);
		return;
	}
	if (progress.paused || progress.failed || progress.retry_at > clock_now())
		return;
	if (progress.rebuild_step == REBUILD_REQUESTED)
		start_rebuild(projection, &progress, outlook);
	else if (projection->is_inline && progress.rebuild_step == REBUILD_NONE)
		run_deferred(projection, &progress, max, outlook);
	else
		run_range(projection, &progress, projection->is_inline ? progress.rebuild_until : mark, max,
				  outlook);
	progress_write(projection, &progress);
	DEBUG_POINT("projection_before_commit");
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

	if (progress->rebuild_step == REBUILD_REQUESTED && mark < progress->rebuild_until)
	{
		due_in(outlook, ASK_AGAIN);
		return false;
	}
	if (progress->rebuild_step != REBUILD_NONE && mark >= progress->rebuild_until)
		return true;
	if (projection->is_inline)
		return projection_is_deferred(projection);
	if (mark <= progress->checkpoint)
		return false;
	if (by_hand || has_event(projection, Max(progress->checkpoint, projection->seen), mark))
		return true;
	projection->seen = mark;
	if (TimestampDifferenceExceeds(projection->written_at, now, WRITE_IDLE_CHECKPOINT))
	{
		projection->written_at = now;
		return true;
	}
	due_in(outlook, WRITE_IDLE_CHECKPOINT);
	return false;
}

static bool
has_event(Projection *projection, int64 after, int64 upto)
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

	outlook->more = true;
	if (progress->rebuild_until < 0)
	{
		progress->rebuild_until = position_counter(LOG_EVENT_STORE);
		return;
	}
	if (!subtransaction_run(projection_truncate, projection, cancel_policy(), &error))
	{
		progress_note_failure(progress, 0, error);
		outlook->handled++;
		return;
	}
	progress_forget_error(progress);
	forget_deferred_up_to(projection, progress->rebuild_until);
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
	run.limit = max;
	if (attempt_up_to_failure(&run, progress, outlook))
		progress->checkpoint = run.exhausted ? upto : run.position;
	else if (run.applied > 0)
		progress->checkpoint = run.position;
	outlook->more = progress->checkpoint < upto || projection->is_inline;
	if (progress->rebuild_step == REBUILD_REPLAYING &&
		progress->checkpoint >= progress->rebuild_until)
	{
		progress->rebuild_step = REBUILD_NONE;
		progress->rebuild_until = -1;
	}
}

/*
 * Gives an inline projection what appends have deferred.  When little is left
 * it shuts them out, or else there would always be some more.
 */
static void
run_deferred(Projection *projection, ProjectionProgress *progress, int max, Outlook *outlook)
{
	ProjectionRun run = {0};
	int64	   *positions;
	int			count = deferred_positions(projection, max, &positions);
	bool		complete = false;
	bool		done;

	if (count < Min(max, SHUT_OUT_AT_MOST))
	{
		complete = projection_shut_out_appends();
		if (complete)
			count = deferred_positions(projection, max, &positions);
		else
			due_in(outlook, ASK_AGAIN);
	}
	run.projection = projection;
	run.source = SOURCE_POSITIONS;
	run.positions = positions;
	run.position_count = count;
	run.limit = max;
	done = attempt_up_to_failure(&run, progress, outlook);
	outlook->more = count == max;
	if (!done)
	{
		for (count = 0; positions[count] < progress->error_position; count++)
			;
		complete = false;
	}
	forget_deferred(projection, positions, count);
	if (complete && count < max)
		forget_deferred_up_to(projection, -1);
}

/*
 * The lowest positions that a projection's appends have deferred.
 */
static int
deferred_positions(const Projection *projection, int max, int64 **positions)
{
	static SpiStatement list = {
		"SELECT position FROM event_store.projection_deferred WHERE name = $1 AND position > 0"
		" ORDER BY position LIMIT $2"
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		values[2] = {CStringGetTextDatum(projection->name), Int32GetDatum(max)};
	int			count;

	spi_begin(SPI_AS_OWNER);
	count = (int) spi_run(&list, 2, (Oid[]) {TEXTOID, INT4OID}, values, NULL);
	*positions = MemoryContextAlloc(context, sizeof(int64) * (count + 1));
	for (int i = 0; i < count; i++)
		(*positions)[i] = spi_int64(i, 0, 0);
	(*positions)[count] = PG_INT64_MAX;
	spi_end();
	return count;
}

/*
 * These have been handled.
 */
static void
forget_deferred(const Projection *projection, const int64 *positions, int count)
{
	static SpiStatement remove = {
		"DELETE FROM event_store.projection_deferred WHERE name = $1 AND position = ANY ($2)"
	};
	Datum	   *elements = palloc(sizeof(Datum) * Max(count, 1));
	Datum		values[2] = {CStringGetTextDatum(projection->name)};

	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(positions[i]);
	values[1] = PointerGetDatum(construct_array(elements, count, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&remove, 2, (Oid[]) {TEXTOID, INT8ARRAYOID}, values, NULL);
	spi_end();
}

/*
 * A replay is going to handle these; or with -1, appends run the handler again.
 */
static void
forget_deferred_up_to(const Projection *projection, int64 upto)
{
	static SpiStatement remove = {
		"DELETE FROM event_store.projection_deferred"
		" WHERE name = $1 AND CASE WHEN $2 < 0 THEN position = 0 ELSE position BETWEEN 1 AND $2 END"
	};
	Datum		values[2] = {CStringGetTextDatum(projection->name), Int64GetDatum(upto)};

	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&remove, 2, (Oid[]) {TEXTOID, INT8OID}, values, NULL);
	spi_end();
}

/*
 * Makes an attempt; when it fails, another one with what came before the
 * failure.  Returns whether all went through; if not, run tells what did, and
 * progress what did not.
 */
static bool
attempt_up_to_failure(ProjectionRun *run, ProjectionProgress *progress, Outlook *outlook)
{
	ErrorData  *error;

	if (projection_attempt(run, cancel_policy(), &error))
	{
		progress_forget_error(progress);
		outlook->handled += run->applied;
		return true;
	}
	for (;;)
	{
		progress_note_failure(progress, run->position, error);
		run->limit = run->applied;
		if (run->limit == 0 || projection_attempt(run, cancel_policy(), &error))
			break;
	}
	outlook->handled += run->applied + 1;
	if (!progress->failed)
		outlook->due = Min(outlook->due, progress->retry_at);
	return false;
}

/*
 * A cancelled worker has been asked to let go of one handler, not of its work.
 */
static CancelPolicy
cancel_policy(void)
{
	return IsBackgroundWorker ? CANCEL_IS_FAILURE : CANCEL_PASSES_ON;
}

static void
due_in(Outlook *outlook, int milliseconds)
{
	outlook->due = Min(outlook->due, TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
																 milliseconds));
}

PG_FUNCTION_INFO_V1(event_store_projection_lag);
/*
 * event_store._projection_lag(name)
 */
Datum
event_store_projection_lag(PG_FUNCTION_ARGS)
{
	Projection *projection = projection_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	int64		mark = position_mark(LOG_EVENT_STORE, reader_key(&projection->filter));
	ProjectionProgress progress;
	ProjectionLag lag = {0};
	TupleDesc	descriptor;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!progress_read(projection, &progress))
		PG_RETURN_NULL();
	lag.checkpoint = progress.checkpoint;
	if (!projection->is_inline)
		count_range(projection, mark, &lag);
	else
	{
		if (progress.rebuild_step == REBUILD_REPLAYING)
			count_range(projection, progress.rebuild_until, &lag);
		count_deferred(projection, progress.rebuild_step == REBUILD_NONE, mark, &lag);
	}
	values[0] = Int64GetDatum(lag.checkpoint);
	values[1] = Int64GetDatum(mark);
	values[2] = Int64GetDatum(lag.events);
	values[3] = TimestampTzGetDatum(lag.oldest);
	nulls[3] = lag.events == 0;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

/*
 * Events above the checkpoint.
 */
static void
count_range(Projection *projection, int64 upto, ProjectionLag *lag)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EventScan  *scan = event_scan_positions(&projection->filter, lag->checkpoint, upto, snapshot);
	Event		event;

	while (event_scan_next(scan, &event))
	{
		if (lag->events++ == 0)
			lag->oldest = event.occurred_at;
	}
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
}

/*
 * Events that appends have deferred.  Without a rebuild they tell where the
 * projection is: before the first of them, else up to date.
 */
static void
count_deferred(Projection *projection, bool tell_checkpoint, int64 mark, ProjectionLag *lag)
{
	int64	   *positions;
	int			count = deferred_positions(projection, PG_INT32_MAX, &positions);
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;

	if (tell_checkpoint)
		lag->checkpoint = count > 0 ? Min(positions[0] - 1, mark) : mark;
	if (lag->events == 0 && count > 0)
	{
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		scan = event_scan_positions(&projection->filter, positions[0] - 1, positions[0], snapshot);
		if (event_scan_next(scan, &event))
			lag->oldest = event.occurred_at;
		event_scan_end(scan);
		UnregisterSnapshot(snapshot);
	}
	lag->events += count;
}
