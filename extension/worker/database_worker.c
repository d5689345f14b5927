/*
 * database_worker.c
 *		The background worker of one database: a loop over duties.
 *
 * Connects as role ecommerce_worker, never as a superuser.  Ends when the
 * extension is not there; idles, with one message in the log, when its SQL part
 * has another version than the library.
 *
 * Lock protocol: says what it wants to be woken for, then runs its duties once
 * more before it sleeps, so that nothing is missed in between; and says nothing
 * while it is busy, so that no commit pays for a signal.  A crash leaves nothing
 * behind.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "fmgr.h"
#include "libpq/pqsignal.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "event_store/notify.h"
#include "event_store/projection.h"
#include "log/registry.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "message_bus/due.h"
#include "pg/clock.h"
#include "pg/duty.h"
#include "pg/relation.h"
#include "pg/rights.h"
#include "saga/saga.h"
#include "worker/saga_helper.h"
#include "worker/worker.h"

/* How often start_worker looks whether the worker is there, in milliseconds. */
#define START_POLL 5

PGDLLEXPORT void ecommerce_worker_main(Datum arg);

/* What the worker does, in this order. */
static const Duty duties[] = {
	{"notify event listeners", event_notify_run},
	{"message bus", message_bus_duty},
	{"run sagas", saga_run_duty},
	{"start saga workers", saga_helper_duty},
	{"run projections", projection_run_due},
};

typedef enum ExtensionState
{
	EXTENSION_ABSENT,
	EXTENSION_OTHER_VERSION,
	EXTENSION_READY
} ExtensionState;

static ExtensionState extension_state(void);
static void sleep_until(TimestampTz due);
static void start_another(void);
static void leave_registry(int code, Datum arg);
static pid_t wait_for_worker(BackgroundWorkerHandle *handle);

/*
 * Describes the worker of a database, for RegisterDynamicBackgroundWorker().
 */
void
worker_describe(BackgroundWorker *worker, Oid database, Oid role)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	worker->bgw_main_arg = ObjectIdGetDatum(database);
	memcpy(worker->bgw_extra, &role, sizeof(role));
	strlcpy(worker->bgw_library_name, "ecommerce", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, "ecommerce_worker_main", sizeof(worker->bgw_function_name));
	snprintf(worker->bgw_name, sizeof(worker->bgw_name), "ecommerce worker for database %u",
			 database);
	strlcpy(worker->bgw_type, "ecommerce worker", sizeof(worker->bgw_type));
}

/*
 * What a worker process begins with.  Before it is connected it cannot look a
 * role up, so whoever described the worker passed the role's identifier along.
 */
void
worker_connect(Oid database)
{
	Oid			role;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	memcpy(&role, MyBgworkerEntry->bgw_extra, sizeof(role));
	BackgroundWorkerInitializeConnectionByOid(database, role, 0);
	rights_pin_session();
	SetConfigOption("application_name", "ecommerce worker", PGC_USERSET, PGC_S_OVERRIDE);
}

/*
 * What a turn of a worker's loop begins with.
 */
void
worker_begin_turn(MemoryContext loop_context)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	MemoryContextSwitchTo(loop_context);
	MemoryContextReset(loop_context);
}

/*
 * Main loop of a database's worker.
 */
void
ecommerce_worker_main(Datum arg)
{
	RegistryDatabase *shared;
	MemoryContext loop_context;
	uint32		none = 0;
	uint32		wakes = 0;
	bool		said_other_version = false;
	bool		has_run = false;
	uint32		generation;

	worker_connect(DatumGetObjectId(arg));

	/* Databases without the extension take up no room in the registry. */
	if (extension_state() == EXTENSION_ABSENT)
		return;
	shared = registry_my_database();
	if (!pg_atomic_compare_exchange_u32(&shared->worker, &none, MyBackendSlot() + 1))
		return;					/* there is one already */
	before_shmem_exit(leave_registry, (Datum) 0);
	pg_atomic_write_u32(&shared->worker_failed, 1);
	generation = restore_generation();
	loop_context =
		AllocSetContextCreate(TopMemoryContext, "ecommerce worker", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		DutyWish	wish = {WAKEUP_NEVER, WAKE_FOR_TIMER};
		ExtensionState state;

		ResetLatch(MyLatch);
		worker_begin_turn(loop_context);
		/* Due times that come up while the duties run must wake us. */
		pg_atomic_write_u64(&shared->worker_due, (uint64) WAKEUP_NEVER);
		pg_memory_barrier();

		if (pg_atomic_read_u32(&shared->worker_stop) == WORKER_COME_BACK)
		{
			/* Ending without saying so makes the launcher start another. */
			pg_atomic_write_u32(&shared->worker_stop, 0);
			return;
		}
		if (pg_atomic_read_u32(&shared->worker_stop) != 0)
			break;
		if (restore_goes_on())
		{
			/* Whoever ends it sets the latch. */
			sleep_until(WAKEUP_NEVER);
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
			ereport(LOG,
					(errmsg("ecommerce worker idles: the extension's SQL part does not have the library's version, %s",
							ECOMMERCE_VERSION),
					 errhint("Type ALTER EXTENSION ecommerce UPDATE in this database, or install the library that fits.")));
		said_other_version = state == EXTENSION_OTHER_VERSION;
		has_run |= state == EXTENSION_READY;
		for (int i = 0; i < lengthof(duties) && state == EXTENSION_READY; i++)
		{
			DutyWish	own = {WAKEUP_NEVER, 0};

			MemoryContextSwitchTo(loop_context);
			duties[i].run(&own);
			wish.due = Min(wish.due, own.due);
			wish.wakes |= own.wakes;
		}
		if ((wish.wakes & ~wakes) != 0)
		{
			wakes = wish.wakes;
			pg_atomic_exchange_u32(&shared->worker_wakes, wakes);
			continue;
		}
		pg_atomic_exchange_u32(&shared->worker_wakes, wish.wakes);
		sleep_until(wish.due);
		wakes = pg_atomic_read_u32(&shared->worker_wakes);
	}
	pg_atomic_write_u32(&shared->worker_failed, 0);
}

/*
 * Without a launcher, which starts workers that end without saying so.
 */
static void
start_another(void)
{
	BackgroundWorker worker;

	worker_describe(&worker, MyDatabaseId, GetUserId());
	leave_registry(0, (Datum) 0);
	(void) RegisterDynamicBackgroundWorker(&worker, NULL);
}

/*
 * Sleeps until woken or due, having told others when that is.
 */
static void
sleep_until(TimestampTz due)
{
	RegistryDatabase *shared = registry_my_database();
	long		timeout = -1;

	pg_atomic_write_u64(&shared->worker_due, (uint64) due);
	pg_memory_barrier();
	if (due != WAKEUP_NEVER)
		timeout = clock_timeout(due);
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
					 timeout, PG_WAIT_EXTENSION);
}

static ExtensionState
extension_state(void)
{
	ExtensionState state;
	char	   *version;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	version = extension_sql_version();
	if (version == NULL)
		state = EXTENSION_ABSENT;
	else
		state = strcmp(version, ECOMMERCE_VERSION) == 0 ? EXTENSION_READY : EXTENSION_OTHER_VERSION;
	PopActiveSnapshot();
	CommitTransactionCommand();
	return state;
}

static void
leave_registry(int code, Datum arg)
{
	RegistryDatabase *shared = registry_my_database();

	pg_atomic_write_u32(&shared->worker_wakes, 0);
	pg_atomic_write_u32(&shared->worker, 0);
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
		uint32		running = pg_atomic_read_u32(&registry_my_database()->worker);

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
	uint32		running = pg_atomic_read_u32(&registry_my_database()->worker);
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
				 errhint("Raise max_worker_processes, commit CREATE EXTENSION first, or add ecommerce to shared_preload_libraries. The server's log may tell more.")));
	PG_RETURN_INT32(pid);
}
