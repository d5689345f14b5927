/*
 * supervise.c
 *		Duty of a database's main process: there are as many runners as are needed.
 *
 * One when there are sagas or projections, helpers with it when saga.workers is
 * above 1, and a slow one while something is slow.  They end with the process that
 * started them.  Where no slot of max_worker_processes is free the log is told,
 * and this process does the runner's work itself, in turns as short; what is slow
 * waits then.
 *
 * A crash leaves nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "event_store/projection/projection.h"
#include "log/wakeup.h"
#include "pg/callbacks.h"
#include "pg/relation.h"
#include "pg/settings.h"
#include "saga/saga.h"
#include "worker/units.h"
#include "worker/worker.h"

/* The runner, the slow one, helpers. */
#define SLOW 1
#define FIRST_HELPER 2
#define PLACES 65

/* In milliseconds: until one that has ended is started again, doubled each time, at most. */
#define FIRST_WAIT 20
#define LONGEST_WAIT (10 * 1000)

/* One that lived so long, in milliseconds, is started again at once. */
#define LONG_LIFE (10 * 1000)

/* Until a slot is looked for again, in milliseconds. */
#define NO_SLOT_WAIT (5 * 1000)

typedef struct Runner
{
	BackgroundWorkerHandle *handle; /* NULL: not running */
	TimestampTz started_at;
	TimestampTz not_before;
	int			deaths;			/* in a row, shortly after the start */
} Runner;

static Runner runners[PLACES];
static bool exit_callback_registered = false;
static bool told_no_slot = false;
static bool any_units = false;
static bool any_known = false;

static bool any_work(void);
static void work_changed(Oid relation);
static bool is_wanted(int place);
static void note_end(Runner *runner);
static bool start(int place);
static void no_slot(void);
static void stop_all(int code, Datum arg);

void
supervise_duty(DutyWish *wish)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		work = any_work();

	if (!exit_callback_registered)
	{
		before_shmem_exit(stop_all, (Datum) 0);
		exit_callback_registered = true;
	}
	wish->wakes = WAKE_FOR_UNITS;
	for (int i = 0; i < PLACES; i++)
	{
		Runner	   *runner = &runners[i];
		bool		wanted = work && is_wanted(i);

		note_end(runner);
		if (!wanted && runner->handle != NULL && i != SLOW)
			TerminateBackgroundWorker(runner->handle);
		if (!wanted || runner->handle != NULL)
			continue;
		if (now < runner->not_before || !start(i))
			wish->due = Min(wish->due, runner->not_before);
	}
	/* Better here than nowhere. */
	if (told_no_slot && work && runners[0].handle == NULL)
		runner_round(WORKER_MAIN, false, wish);
}

/*
 * Whether there is anything for runners to do, from the tables when they have
 * changed.
 */
static bool
any_work(void)
{
	callback_on_relation(work_changed);
	/* A transaction hears of changes; starting one is what others do each turn too. */
	extension_begin_transaction();
	if (!any_known)
	{
		any_known = true;
		PushActiveSnapshot(GetTransactionSnapshot());
		any_units = saga_any_definition() || projection_any();
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	return any_units;
}

static void
work_changed(Oid relation)
{
	if (relation == InvalidOid || saga_is_definition_table(relation) ||
		projection_is_table(relation))
		any_known = false;
}

static bool
is_wanted(int place)
{
	if (place == SLOW)
		return units_any_slow();
	return place < FIRST_HELPER || place - FIRST_HELPER < setting_saga_workers - 1;
}

/*
 * Notes that a runner has ended.  One that dies again and again is started again
 * later each time.
 */
static void
note_end(Runner *runner)
{
	TimestampTz now = GetCurrentTimestamp();
	pid_t		pid;

	if (runner->handle == NULL || GetBackgroundWorkerPid(runner->handle, &pid) != BGWH_STOPPED)
		return;
	pfree(runner->handle);
	runner->handle = NULL;
	if (TimestampDifferenceExceeds(runner->started_at, now, LONG_LIFE))
		runner->deaths = 0;
	runner->not_before =
		TimestampTzPlusMilliseconds(now, Min((int64) FIRST_WAIT << Min(runner->deaths, 16),
											 LONGEST_WAIT));
	runner->deaths++;
}

static bool
start(int place)
{
	Runner	   *runner = &runners[place];
	BackgroundWorker worker;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	runner_describe(&worker, place == SLOW ? WORKER_SLOW_RUNNER : WORKER_RUNNER,
					place < FIRST_HELPER ? 0 : place - FIRST_HELPER + 1);
	if (RegisterDynamicBackgroundWorker(&worker, &runner->handle))
		runner->started_at = GetCurrentTimestamp();
	else
	{
		runner->handle = NULL;
		runner->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_SLOT_WAIT);
		no_slot();
	}
	MemoryContextSwitchTo(old);
	if (runner->handle != NULL && place == 0)
		told_no_slot = false;
	return runner->handle != NULL;
}

static void
no_slot(void)
{
	if (told_no_slot)
		return;
	told_no_slot = true;
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no slot of max_worker_processes is free for a runner of sagas and projections"),
			 errdetail("The database's main worker does what is quick of it; what is slow waits."),
			 errhint("Raise max_worker_processes and restart the server.")));
}

static void
stop_all(int code, Datum arg)
{
	for (int i = 0; i < PLACES; i++)
	{
		if (runners[i].handle != NULL)
			TerminateBackgroundWorker(runners[i].handle);
	}
}
