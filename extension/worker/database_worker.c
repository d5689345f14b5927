/*
 * database_worker.c
 *		The main background process of one database: a loop over duties.
 *
 * It runs no user's function and waits for no lock for long, so notifications and
 * the bus's timers are never behind either; what users wrote runs in the runners
 * that it starts (runner.c).  A duty that fails is put aside for a while, and the
 * others go on.
 *
 * Ends when the extension is not there; idles, with one message in the log, when
 * its SQL part has another version than the library.
 *
 * Lock protocol: see process.c.  A crash leaves nothing behind.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "fmgr.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "event_store/read/notify.h"
#include "log/registry.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "message_bus/keep/due.h"
#include "pg/duty.h"
#include "pg/protect.h"
#include "pg/relation.h"
#include "pg/result.h"
#include "saga/saga.h"
#include "worker/worker.h"

/* Nobody's lock keeps the duties for longer. */
#define LOCK_TIMEOUT "100ms"

/* How often start_worker looks whether the worker is there, in milliseconds. */
#define START_POLL 5

PGDLLEXPORT void ecommerce_worker_main(Datum arg);

/* What the worker does, in this order. */
static const Duty duties[] = {
	{"notify event listeners", event_notify_run},
	{"message bus", message_bus_duty},
	{"start runners", supervise_duty},
	{"look for stuck sagas", saga_attention_duty},
};

typedef enum ExtensionState
{
	EXTENSION_UNKNOWN,
	EXTENSION_ABSENT,
	EXTENSION_OTHER_VERSION,
	EXTENSION_READY
} ExtensionState;

/* One run of a duty. */
typedef struct DutyRun
{
	const Duty *duty;
	DutyWish	wish;
} DutyRun;

static Trouble troubles[lengthof(duties) + 1];

static ExtensionState extension_state(void);
static void read_extension_state(void *argument);
static void run_duties(DutyWish *wish);
static void run_duty(void *argument);
static void start_another(void);
static void say_other_version(void);
static pid_t wait_for_worker(BackgroundWorkerHandle *handle);

/*
 * Main loop of a database's worker.
 */
void
ecommerce_worker_main(Datum arg)
{
	RegistryDatabase *shared;
	MemoryContext loop_context;
	uint32		announced = 0;
	uint32		generation;
	uint32		settings = pg_atomic_read_u32(&registry()->settings);
	bool		said_other_version = false;
	bool		has_run = false;

	worker_connect(DatumGetObjectId(arg), "ecommerce worker", LOCK_TIMEOUT);
	shared = registry_database(MyDatabaseId, false);
	if (shared != NULL)
		pg_atomic_fetch_add_u32(&shared->connections, 1);

	/* Databases without the extension take up no room in the registry. */
	if (extension_state() == EXTENSION_ABSENT)
		return;
	if (shared == NULL)
	{
		shared = registry_my_database();
		pg_atomic_fetch_add_u32(&shared->connections, 1);
	}
	if (!worker_enter(WORKER_MAIN))
		return;					/* there is one already */
	pg_atomic_write_u32(&shared->worker_failed, 1);
	/* Ending without saying so makes the launcher start another, which reads them anew. */
	if (pg_atomic_read_u32(&registry()->settings) != settings)
		return;
	generation = restore_generation();
	loop_context =
		AllocSetContextCreate(TopMemoryContext, "ecommerce worker", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		DutyWish	wish = {WAKEUP_NEVER, WAKE_FOR_TIMER};
		ExtensionState state;

		worker_begin_turn(loop_context);
		if (worker_shall_leave())
		{
			uint32		come_back = WORKER_COME_BACK;

			/* Ending without saying so makes the launcher start another. */
			if (pg_atomic_compare_exchange_u32(&shared->worker_stop, &come_back, 0))
				return;
			break;
		}
		if (!worker_may_work())
		{
			/* Whoever ends it sets the latch. */
			wish.wakes = 0;
			worker_sleep(WORKER_MAIN, &wish, &announced);
			continue;
		}
		if (has_run && restore_generation() != generation)
		{
			/* What this process remembers counts no more; the next one knows nothing. */
			if (pg_atomic_read_u32(&registry()->launcher) == 0)
				start_another();
			return;
		}
		generation = restore_generation();
		state = extension_state();
		if (state == EXTENSION_ABSENT)
			break;
		if (state == EXTENSION_OTHER_VERSION && !said_other_version)
			say_other_version();
		said_other_version = state == EXTENSION_OTHER_VERSION;
		if (state == EXTENSION_UNKNOWN)
			wish.due = troubles[lengthof(duties)].retry_at;
		has_run |= state == EXTENSION_READY;
		if (state == EXTENSION_READY)
		{
			MemoryContextSwitchTo(loop_context);
			run_duties(&wish);
		}
		worker_sleep(WORKER_MAIN, &wish, &announced);
	}
	pg_atomic_write_u32(&shared->worker_failed, 0);
}

/*
 * Runs every duty that is not put aside.
 */
static void
run_duties(DutyWish *wish)
{
	for (int i = 0; i < lengthof(duties); i++)
	{
		DutyRun		run = {&duties[i], {WAKEUP_NEVER, 0}};
		ErrorData  *error;

		if (troubles[i].retry_at > GetCurrentTimestamp())
		{
			wish->due = Min(wish->due, troubles[i].retry_at);
			continue;
		}
		worker_report(duties[i].name, NULL);
		error = protect_run(run_duty, &run);
		if (error == NULL)
		{
			protect_forget(&troubles[i]);
			wish->due = Min(wish->due, run.wish.due);
			wish->wakes |= run.wish.wakes;
			continue;
		}
		protect_note(&troubles[i], error, "duty", duties[i].name);
		wish->due = Min(wish->due, troubles[i].retry_at);
	}
}

static void
run_duty(void *argument)
{
	DutyRun    *run = argument;

	run->duty->run(&run->wish);
}

/*
 * Without a launcher, which starts workers that end without saying so.
 */
static void
start_another(void)
{
	BackgroundWorker worker;

	worker_describe(&worker, MyDatabaseId, GetUserId());
	worker_leave();
	(void) RegisterDynamicBackgroundWorker(&worker, NULL);
}

static void
say_other_version(void)
{
	ereport(LOG,
			(errmsg("ecommerce worker idles: the extension's SQL part does not have the library's version, %s",
					ECOMMERCE_VERSION),
			 errhint("Type ALTER EXTENSION ecommerce UPDATE in this database, or install the library that fits.")));
}

static ExtensionState
extension_state(void)
{
	Trouble    *trouble = &troubles[lengthof(duties)];
	ExtensionState state = EXTENSION_UNKNOWN;
	ErrorData  *error = protect_run(read_extension_state, &state);

	if (error == NULL)
		protect_forget(trouble);
	else
	{
		protect_note(trouble, error, "looking for the extension", NULL);
		state = EXTENSION_UNKNOWN;
	}
	return state;
}

static void
read_extension_state(void *argument)
{
	ExtensionState *state = argument;
	char	   *version;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	version = extension_sql_version();
	if (version == NULL)
		*state = EXTENSION_ABSENT;
	else
		*state = strcmp(version, ECOMMERCE_VERSION) == 0 ? EXTENSION_READY
			: EXTENSION_OTHER_VERSION;
	PopActiveSnapshot();
	CommitTransactionCommand();
}

PG_FUNCTION_INFO_V1(ecommerce_preloaded);
/*
 * ecommerce.preloaded()
 */
Datum
ecommerce_preloaded(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(registry()->preloaded);
}

/*
 * The slot of this database's worker + 1, 0 if there is none.
 */
static uint32
running_worker(void)
{
	return pg_atomic_read_u32(&registry_my_database()->workers[WORKER_MAIN].slot);
}

/*
 * Waits until a worker that was started has entered itself as the database's.
 * Returns the pid of who is it then, 0 if the new one has ended and none is:
 * it finds no extension before its CREATE EXTENSION has committed.
 */
static pid_t
wait_for_worker(BackgroundWorkerHandle *handle)
{
	for (;;)
	{
		pid_t		pid;
		BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);
		uint32		running = running_worker();

		if (running != 0)
			return BackendSlotProc(running - 1)->pid;
		if (status != BGWH_STARTED)
			return 0;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 START_POLL, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

PG_FUNCTION_INFO_V1(ecommerce_start_worker);
/*
 * ecommerce.start_worker()
 */
Datum
ecommerce_start_worker(PG_FUNCTION_ARGS)
{
	uint32		running = running_worker();
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	pid_t		pid;

	/* It would begin after the promotion, and we would wait for that. */
	PreventCommandDuringRecovery("ecommerce.start_worker");
	if (running != 0)
		PG_RETURN_INT32(BackendSlotProc(running - 1)->pid);
	worker_describe(&worker, MyDatabaseId, get_role_oid(WORKER_ROLE, false));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle) ||
		WaitForBackgroundWorkerStartup(handle, &pid) == BGWH_POSTMASTER_DIED ||
		(pid = wait_for_worker(handle)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not start a background worker"),
				 errhint("Raise max_worker_processes, commit CREATE EXTENSION first, or add ecommerce to shared_preload_libraries. The server's log and the view ecommerce.units may tell more.")));
	PG_RETURN_INT32(pid);
}

PG_FUNCTION_INFO_V1(ecommerce_workers);
/*
 * ecommerce._workers(): the processes of this database that run.
 */
Datum
ecommerce_workers(PG_FUNCTION_ARGS)
{
	static const char *const kinds[] = {
		[WORKER_MAIN] = "worker", [WORKER_RUNNER] = "runner", [WORKER_SLOW_RUNNER] = "slow runner"
	};
	RegistryDatabase *shared = registry_database(MyDatabaseId, false);
	SetResult	result;

	result_begin(fcinfo, &result);
	for (int i = 0; shared != NULL && i < WORKER_KINDS; i++)
	{
		uint32		slot = pg_atomic_read_u32(&shared->workers[i].slot);
		Datum		values[3];
		bool		nulls[3] = {false, false, false};
		int			pid;

		if (slot == 0)
			continue;
		pid = BackendSlotProc(slot - 1)->pid;
		values[0] = CStringGetTextDatum(kinds[i]);
		values[1] = Int32GetDatum(pid);
		/* what worker_report() has said: our own words, no statement of a user's */
		values[2] = CStringGetTextDatum(pgstat_get_backend_current_activity(pid, false));
		result_put(&result, values, nulls);
	}
	return (Datum) 0;
}
