/*
 * process.c
 *		What every background process of a database does: connecting, entering
 *		itself, telling what it is at, sleeping.
 *
 * They connect as role ecommerce_worker, never as a superuser, and what somebody
 * has set for that role or for the database does not reach what they depend on.
 *
 * Lock protocol: a process says what it wants to be woken for, then looks once
 * more before it sleeps, so that nothing is missed in between; and it says nothing
 * while it is busy, so that no commit pays for a signal.  A crash leaves nothing
 * behind.
 */
#include "postgres.h"

#include "base/compat.h"
#include "libpq/pqsignal.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/debug_point.h"
#include "base/order.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "message_bus/message_bus.h"
#include "pg/clock.h"
#include "pg/rights.h"
#include "worker/worker.h"

/* What a process keeps of the memory of one turn for the next, in bytes. */
#define KEPT_MEMORY (32 * 1024 * 1024)

/* What must be as it is here, whatever ALTER ROLE or ALTER DATABASE say. */
static const struct
{
	const char *name;
	const char *value;
}			fixed_settings[] = {
	{"role", "none"},
	{"statement_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"session_replication_role", "origin"},
	{"row_security", "on"},
	{"client_min_messages", "warning"},
};

static WorkerKind entered = WORKER_KINDS;

static void leave_registry(int code, Datum arg);

/*
 * Describes the main process of a database, for RegisterDynamicBackgroundWorker().
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
 * What a process begins with.  Before it is connected it cannot look a role up, so
 * whoever described it passed the role's identifier along.
 */
void
worker_connect(Oid database, const char *name, const char *lock_timeout)
{
	Oid			role;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	compat_keep_memory(KEPT_MEMORY);
	/* A reload since the fork has been ignored. */
	ConfigReloadPending = true;
	memcpy(&role, MyBgworkerEntry->bgw_extra, sizeof(role));
	BackgroundWorkerInitializeConnectionByOid(database, role, 0);
	rights_pin_session();
	DEBUG_POINT_OUTSIDE("worker_connected");
	for (int i = 0; i < lengthof(fixed_settings); i++)
		SetConfigOption(fixed_settings[i].name, fixed_settings[i].value, PGC_SUSET,
						PGC_S_OVERRIDE);
	SetConfigOption("application_name", name, PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", lock_timeout, PGC_USERSET, PGC_S_OVERRIDE);
	message_bus_witness();
}

/*
 * Enters this process as the database's process of that kind; false if there is
 * one already.
 */
bool
worker_enter(WorkerKind kind)
{
	uint32		none = 0;

	if (!pg_atomic_compare_exchange_u32(&registry_my_database()->workers[kind].slot, &none,
										MyBackendSlot() + 1))
		return false;
	entered = kind;
	before_shmem_exit(leave_registry, (Datum) 0);
	return true;
}

/*
 * Makes room for another one before this process ends.
 */
void
worker_leave(void)
{
	leave_registry(0, (Datum) 0);
}

static void
leave_registry(int code, Datum arg)
{
	RegistryDatabase *database = registry_my_database();
	RegistryWorker *shared = &database->workers[entered];

	pg_atomic_write_u32(&shared->wakes, 0);
	pg_atomic_write_u32(&shared->slot, 0);
	/* A launcher that did not start it is not told by the postmaster that it has ended. */
	if (entered == WORKER_MAIN && pg_atomic_read_u32(&registry()->launcher) != 0 &&
		pg_atomic_read_u32(&database->worker_failed) != 0 &&
		pg_atomic_exchange_u32(&database->worker_wanted, 1) == 0)
		wakeup_launcher();
}

/*
 * What a turn of a process's loop begins with.
 */
void
worker_begin_turn(MemoryContext loop_context)
{
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	MemoryContextSwitchTo(loop_context);
	MemoryContextReset(loop_context);
	/* Due times that come up while we are at work must wake us. */
	if (entered < WORKER_KINDS)
		pg_atomic_write_u64(&registry_my_database()->workers[entered].due,
							(uint64) WAKEUP_NEVER);
	pg_memory_barrier();
}

/*
 * Whether the database is wanted by somebody for himself, or the processes are to
 * be started anew.
 */
bool
worker_shall_leave(void)
{
	return pg_atomic_read_u32(&registry_my_database()->worker_stop) != 0;
}

/*
 * Whether duties and units may run now.  The one place for whatever forbids it.
 */
bool
worker_may_work(void)
{
	return !restore_goes_on();
}

/*
 * Shows in pg_stat_activity what this process is at; NULL: at nothing.
 */
void
worker_report(const char *what, const char *name)
{
	char		text[NAMEDATALEN * 2];

	if (what == NULL)
	{
		pgstat_report_activity(STATE_IDLE, NULL);
		return;
	}
	if (name != NULL)
		snprintf(text, sizeof(text), "%s \"%s\"", what, name);
	pgstat_report_activity(STATE_RUNNING, name != NULL ? text : what);
}

/*
 * Gives PostgreSQL what it counts, once a second at most; what it does not take now
 * is due later.  Once in a round of the loop: were it in the middle, the rest of the
 * round would be left to tell each time, and an idle process wake every 10 s for it.
 */
void
worker_tell_counters(DutyWish *wish)
{
	long		unsent = compat_report_stat();

	if (unsent > 0)
		wish->due = lesser(wish->due, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), unsent));
}

/*
 * Sleeps until woken or due, having told others when that is; returns at once if
 * something is wanted that was not announced before the turn, since it may have
 * happened meanwhile.  *announced is the process's own, 0 at first.
 */
void
worker_sleep(WorkerKind kind, DutyWish *wish, uint32 *announced)
{
	RegistryWorker *shared = &registry_my_database()->workers[kind];
	uint32		left = pg_atomic_exchange_u32(&shared->wakes, wish->wakes);
	/* Who has taken what was announced may have come before the turn, another in it. */
	bool		look_again = (wish->wakes & ~(*announced & left)) != 0;
	long		timeout = -1;

	worker_tell_counters(wish);
	*announced = wish->wakes;
	if (look_again)
		return;
	/* What came up in its own turns. */
	wish->due = lesser(wish->due, (TimestampTz) pg_atomic_read_u64(&shared->due));
	pg_atomic_write_u64(&shared->due, (uint64) wish->due);
	pg_memory_barrier();
	if (wish->due != WAKEUP_NEVER)
		timeout = clock_timeout(wish->due);
	worker_report(NULL, NULL);
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
					 timeout, PG_WAIT_EXTENSION);
	*announced = pg_atomic_read_u32(&shared->wakes);
}
