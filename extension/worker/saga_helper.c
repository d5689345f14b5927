/*
 * saga_helper.c
 *		More processes for the sagas of a database: setting saga.workers.
 *
 * The database's worker runs sagas itself; with saga.workers above 1 it starts
 * helpers, which handle messages and nothing else.  They share the lanes of the
 * endpoints, so no two ever have the same one.  They end with the worker that
 * started them.
 *
 * Lock protocol: a helper says that it waits for the bus, looks once more, then
 * sleeps; see log/wakeup.h.  A crash leaves nothing; the worker starts another.
 */
#include "postgres.h"

#include "base/compat.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "log/wakeup.h"
#include "pg/settings.h"
#include "saga/saga.h"
#include "worker/saga_helper.h"
#include "worker/worker.h"

#define MAX_HELPERS 63

PGDLLEXPORT void ecommerce_saga_helper_main(Datum arg);

static BackgroundWorkerHandle *helpers[MAX_HELPERS];
static bool callback_registered = false;

static bool helper_runs(int number);
static void start_helper(int number);
static void stop_helpers(int code, Datum arg);

/*
 * Duty of the database's worker: as many helpers as are wanted.
 */
void
saga_helper_duty(DutyWish *wish)
{
	int			wanted = setting_saga_workers - 1;

	if (!callback_registered)
	{
		before_shmem_exit(stop_helpers, (Datum) 0);
		callback_registered = true;
	}
	for (int i = 0; i < MAX_HELPERS; i++)
	{
		if (i < wanted && !helper_runs(i))
			start_helper(i);
		else if (i >= wanted && helpers[i] != NULL)
		{
			TerminateBackgroundWorker(helpers[i]);
			pfree(helpers[i]);
			helpers[i] = NULL;
		}
	}
}

static bool
helper_runs(int number)
{
	pid_t		pid;

	if (helpers[number] == NULL)
		return false;
	if (GetBackgroundWorkerPid(helpers[number], &pid) != BGWH_STOPPED)
		return true;
	pfree(helpers[number]);
	helpers[number] = NULL;
	return false;
}

static void
start_helper(int number)
{
	BackgroundWorker worker;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	worker_describe(&worker, MyDatabaseId, GetUserId());
	strlcpy(worker.bgw_function_name, "ecommerce_saga_helper_main",
			sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "ecommerce saga worker %d for database %u",
			 number + 2, MyDatabaseId);
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &helpers[number]))
		helpers[number] = NULL;
	MemoryContextSwitchTo(old);
}

static void
stop_helpers(int code, Datum arg)
{
	for (int i = 0; i < MAX_HELPERS; i++)
		if (helpers[i] != NULL)
			TerminateBackgroundWorker(helpers[i]);
}

/*
 * Main loop of a helper.
 */
void
ecommerce_saga_helper_main(Datum arg)
{
	MemoryContext loop_context;

	worker_connect(DatumGetObjectId(arg));
	loop_context = AllocSetContextCreate(TopMemoryContext, "ecommerce saga worker",
										 ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		bool		any;

		worker_begin_turn(loop_context);
		wakeup_listen(LOG_MESSAGE_BUS, POSITION_ANY_KEY);
		any = saga_run_messages();
		if (!any)
			(void) wakeup_sleep(WAKEUP_NEVER);
		wakeup_unlisten();
	}
}
