/*
 * wakeup.c
 *		Waiting for a log to grow, without polling and without NOTIFY.
 *
 * A waiter publishes in its slot what it waits for, then looks whether it is
 * there already, then sleeps on its latch.  A transaction that ends clears its
 * announcements, then looks who waits, and sets the latches.  Both sides have a
 * full barrier in between, so one of them sees the other.
 *
 * Aborts wake too: they can be what held the mark back.  A crash leaves nothing
 * behind.  On a standby nobody sets latches, so wakeup_sleep() polls.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "log/wakeup.h"
#include "pg/callbacks.h"
#include "pg/clock.h"

/* How often a waiter on a standby looks, in milliseconds. */
#define STANDBY_POLL 10

/* Names that one transaction lets go of; of more of them, whoever waits for any is woken. */
#define AT_END_MAX 16

static bool listening = false;
static bool exit_callback_registered = false;
static uint32 wake_worker_at_commit = 0;
static TimestampTz runner_due_at_commit = WAKEUP_NEVER;
static bool callback_registered = false;
static RegistryWait at_end[AT_END_MAX];
static int	at_end_count = 0;

static void add_want(uint32 log, uint32 key, uint32 mask);
static void stop_listening_at_exit(int code, Datum arg);
static void wake_process(RegistryWorker *worker, uint32 reasons);
static void wake_runners_before(TimestampTz due);
static void register_callback(void);
static void transaction_ended(XactEvent event, void *arg);
static void end_is_known(bool committed);
static void wake_at_end(void);
static void wake(const RegistryWait *wait);
static bool wants(const RegistrySlot *waiter, uint32 log, uint32 key);
static bool concerns(RegistrySlot *ended, RegistrySlot *waiter);
static uint32 logs_of(RegistrySlot *ended);

/*
 * From now on ends of transactions that wrote under the key (any, if
 * POSITION_ANY_KEY) set this backend's latch.
 */
void
wakeup_listen(LogId log, uint32 key)
{
	wakeup_want(log, key, 0xffffffff);
	wakeup_listen_wanted();
}

/*
 * One more thing that the next wakeup_listen_wanted() is about: a LogId, or a
 * WaitFor.  Where they are too many for a slot, it is about all there is.
 */
void
wakeup_want(uint32 log, uint32 key, uint32 mask)
{
	register_callback();
	Assert(!listening);
	add_want(log, key, mask);
}

/*
 * The same for who sleeps already, of what may have become another thing meanwhile; before
 * he looks.
 */
void
wakeup_want_too(uint32 log, uint32 key)
{
	if (!listening || wants(registry_slot(MyBackendSlot()), log, key))
		return;
	add_want(log, key, 0xffffffff);
	pg_memory_barrier();
}

static void
add_want(uint32 log, uint32 key, uint32 mask)
{
	RegistrySlot *slot = registry_slot(MyBackendSlot());

	if (log < LOG_COUNT && key == POSITION_ANY_KEY)
		mask = 0;
	if (slot->wait_count >= REGISTRY_WAITS)
	{
		for (uint32 kind = 0; kind < WAIT_KINDS; kind++)
			slot->waits[kind] = (RegistryWait) {kind, 0, 0};
		slot->wait_count = WAIT_KINDS;
		return;
	}
	slot->waits[slot->wait_count++] = (RegistryWait) {log, key, mask};
}

/*
 * From now on what was wanted sets this backend's latch.
 */
void
wakeup_listen_wanted(void)
{
	RegistrySlot *slot = registry_slot(MyBackendSlot());

	register_callback();
	if (!exit_callback_registered)
	{
		before_shmem_exit(stop_listening_at_exit, (Datum) 0);
		exit_callback_registered = true;
	}
	Assert(!listening);
	listening = true;
	pg_atomic_fetch_add_u32(&registry_my_database()->waiting, 1);
	pg_atomic_write_u32(&slot->wait_database, MyDatabaseId);
	pg_memory_barrier();
}

/*
 * Sleeps until something may have changed or the deadline has passed; false
 * in the latter case.  Holds no snapshot meanwhile.  Look before each call.
 */
bool
wakeup_sleep(TimestampTz deadline)
{
	long		timeout = -1;
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	InvalidateCatalogSnapshot();
	if (deadline != WAKEUP_NEVER)
	{
		timeout = clock_timeout(deadline);
		if (timeout <= 0)
			return false;
	}
	if (RecoveryInProgress())
		timeout = timeout < 0 ? STANDBY_POLL : Min(timeout, STANDBY_POLL);
	if (timeout >= 0)
		events |= WL_TIMEOUT;
	(void) WaitLatch(MyLatch, events, timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	/* What is in caches may be what has changed. */
	if (IsTransactionState())
		AcceptInvalidationMessages();
	return true;
}

/*
 * Ends what wakeup_listen() began.  Also safe when nothing was begun.
 */
void
wakeup_unlisten(void)
{
	registry_slot(MyBackendSlot())->wait_count = 0;
	if (!listening)
		return;
	listening = false;
	pg_atomic_write_u32(&registry_slot(MyBackendSlot())->wait_database, InvalidOid);
	pg_atomic_fetch_sub_u32(&registry_my_database()->waiting, 1);
}

/*
 * Wakes whoever waits for what this transaction wrote, and the worker.  From
 * the end of a transaction, after its announcements were cleared but while its
 * holds can still be read.  The message bus wakes the worker itself: what it
 * looks at there follows the transaction later.
 */
void
wakeup_after_end(RegistrySlot *ended)
{
	Registry   *r = registry();
	RegistryDatabase *database = registry_my_database();

	if (pg_atomic_read_u32(&database->waiting) != 0)
	{
		for (int i = 0; i < r->slot_count; i++)
		{
			RegistrySlot *slot = registry_slot(i);

			if (pg_atomic_read_u32(&slot->wait_database) == MyDatabaseId &&
				concerns(ended, slot))
				SetLatch(&BackendSlotProc(i)->procLatch);
		}
	}
	wakeup_worker(logs_of(ended) & ~WAKE_FOR_LOG(LOG_MESSAGE_BUS));
}

static uint32
logs_of(RegistrySlot *ended)
{
	uint32		count = pg_atomic_read_u32(&ended->hold_count);
	uint32		logs = 0;

	for (int log = 0; log < LOG_COUNT; log++)
	{
		if (pg_atomic_read_u64(&ended->overflow[log]) != 0)
			logs |= WAKE_FOR_LOG(log);
	}
	for (uint32 i = 0; i < count; i++)
		logs |= WAKE_FOR_LOG(ended->holds[i].log);
	return logs;
}

static bool
concerns(RegistrySlot *ended, RegistrySlot *waiter)
{
	uint32		count = pg_atomic_read_u32(&ended->hold_count);

	for (uint32 i = 0; i < Min(waiter->wait_count, REGISTRY_WAITS); i++)
	{
		uint32		log = waiter->waits[i].log;

		if (log < LOG_COUNT && pg_atomic_read_u64(&ended->overflow[log]) != 0)
			return true;
	}
	for (uint32 i = 0; i < count; i++)
	{
		if (wants(waiter, ended->holds[i].log, ended->holds[i].key))
			return true;
	}
	return false;
}

/*
 * May read while the waiter writes its wants; then it looks after that.
 */
static bool
wants(const RegistrySlot *waiter, uint32 log, uint32 key)
{
	for (uint32 i = 0; i < Min(waiter->wait_count, REGISTRY_WAITS); i++)
	{
		const RegistryWait *wait = &waiter->waits[i];

		if (wait->log == log && ((key ^ wait->key) & wait->mask) == 0)
			return true;
	}
	return false;
}

/*
 * Wakes whoever waits for a key for another reason than a position: a module
 * has made something readable again.
 */
void
wakeup_waiters(uint32 log, uint32 key)
{
	wake(&(RegistryWait) {log, key, 0xffffffff});
}

/*
 * Sets the latches of those who wait for this, NULL: for anything.
 */
static void
wake(const RegistryWait *wait)
{
	Registry   *r = registry();

	pg_memory_barrier();
	if (pg_atomic_read_u32(&registry_my_database()->waiting) == 0)
		return;
	for (int i = 0; i < r->slot_count; i++)
	{
		RegistrySlot *slot = registry_slot(i);

		if (pg_atomic_read_u32(&slot->wait_database) == MyDatabaseId &&
			(wait == NULL || wants(slot, wait->log, wait->key)))
			SetLatch(&BackendSlotProc(i)->procLatch);
	}
}

/*
 * Wakes whoever waits for anything in this database, and its worker.
 */
void
wakeup_everybody(void)
{
	if (registry_database(MyDatabaseId, false) == NULL)
		return;
	wake(NULL);
	wakeup_worker(WAKE_FOR_ANYTHING);
}

/*
 * Wakes whoever waits for a name when this transaction has ended, however.
 */
void
wakeup_waiters_at_end(WaitFor kind, uint32 key)
{
	register_callback();
	for (int i = 0; i < Min(at_end_count, AT_END_MAX); i++)
	{
		if (at_end[i].log == kind && at_end[i].key == key)
			return;
	}
	if (at_end_count < AT_END_MAX)
		at_end[at_end_count] = (RegistryWait) {kind, key, 0xffffffff};
	at_end_count = Min(at_end_count + 1, AT_END_MAX + 1);
}

/*
 * Wakes those of this database's processes that sleep and want to be woken for
 * one of the reasons; asks the launcher for a worker if there is none.
 */
void
wakeup_worker(uint32 reasons)
{
	RegistryDatabase *database = registry_my_database();

	for (int kind = 0; kind < WORKER_KINDS; kind++)
		wake_process(&database->workers[kind], reasons);
	if (pg_atomic_read_u32(&database->workers[WORKER_MAIN].slot) == 0 &&
		pg_atomic_read_u32(&registry()->launcher) != 0 &&
		pg_atomic_exchange_u32(&database->worker_wanted, 1) == 0)
		wakeup_launcher();
}

static void
wake_process(RegistryWorker *worker, uint32 reasons)
{
	uint32		slot = pg_atomic_read_u32(&worker->slot);

	if (slot != 0 && (pg_atomic_read_u32(&worker->wakes) & reasons) != 0 &&
		pg_atomic_exchange_u32(&worker->wakes, 0) != 0)
		SetLatch(&BackendSlotProc(slot - 1)->procLatch);
}

/*
 * Wakes the worker for these reasons when this transaction has committed.
 */
void
wakeup_worker_after_commit(uint32 reasons)
{
	register_callback();
	wake_worker_at_commit |= reasons;
}

/*
 * When this transaction has committed, no runner must sleep beyond due.
 */
void
wakeup_runner_by(TimestampTz due)
{
	register_callback();
	runner_due_at_commit = Min(runner_due_at_commit, due);
}

/*
 * Whether this database has a runner.
 */
bool
wakeup_runner_is_there(void)
{
	return pg_atomic_read_u32(&registry_my_database()->workers[WORKER_RUNNER].slot) != 0;
}

/*
 * Whether this database has its worker.
 */
bool
wakeup_worker_is_there(void)
{
	return pg_atomic_read_u32(&registry_my_database()->workers[WORKER_MAIN].slot) != 0;
}

/*
 * Wakes the worker now if it would sleep beyond due.  For those who have
 * written down elsewhere what is due then.
 */
void
wakeup_worker_before(TimestampTz due)
{
	pg_memory_barrier();
	if ((TimestampTz) pg_atomic_read_u64(&registry_my_database()->workers[WORKER_MAIN].due) > due)
		wakeup_worker(WAKE_FOR_TIMER);
}

/*
 * Wakes the launcher, if there is one.
 */
void
wakeup_launcher(void)
{
	uint32		launcher = pg_atomic_read_u32(&registry()->launcher);

	if (launcher != 0)
		SetLatch(&BackendSlotProc(launcher - 1)->procLatch);
}

/*
 * Refuses a waiting procedure inside a transaction block or function: it would
 * hold its snapshot and locks while it waits.
 */
void
wakeup_require_top_level(const char *procedure, bool atomic)
{
	if (atomic || IsTransactionBlock())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block or a function", procedure),
				 errhint("CALL it on its own, in autocommit mode.")));
}

/*
 * Before the transaction ends, also for who waits and may be cancelled: the
 * callback must not be the first to look for the database's entry, because it
 * must not fail.
 */
static void
register_callback(void)
{
	(void) registry_my_database();
	if (!callback_registered)
	{
		callback_on_transaction(transaction_ended);
		callback_on_end(end_is_known);
		callback_registered = true;
	}
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PREPARE)
		at_end_count = 0;
	if (event == XACT_EVENT_ABORT)
		wakeup_unlisten();
}

static void
wake_at_end(void)
{
	/* Too many to note them all: then everybody looks. */
	if (at_end_count > AT_END_MAX)
		wake(NULL);
	else
	{
		for (int i = 0; i < at_end_count; i++)
			wake(&at_end[i]);
	}
	at_end_count = 0;
}

/*
 * Only now does who is woken find changed what he keeps in caches: definitions,
 * endpoints, projections.
 */
static void
end_is_known(bool committed)
{
	uint32		reasons = wake_worker_at_commit;
	TimestampTz due = runner_due_at_commit;

	wake_worker_at_commit = 0;
	runner_due_at_commit = WAKEUP_NEVER;
	wake_at_end();
	if (!committed)
		return;
	if (due != WAKEUP_NEVER)
		wake_runners_before(due);
	if (reasons != 0)
		wakeup_worker(reasons);
}

/*
 * Wakes the runners that would sleep beyond due, and nobody else.  Who is a runner
 * itself remembers it until it goes to sleep.  Where there is no runner the main
 * process does its work, or starts one, which looks first of all.
 */
static void
wake_runners_before(TimestampTz due)
{
	RegistryDatabase *database = registry_my_database();
	bool		any = pg_atomic_read_u32(&database->workers[WORKER_RUNNER].slot) != 0;

	for (int kind = any ? WORKER_RUNNER : WORKER_MAIN; kind < WORKER_KINDS; kind++)
	{
		RegistryWorker *worker = &database->workers[kind];

		if ((TimestampTz) pg_atomic_read_u64(&worker->due) <= due)
			continue;
		if (pg_atomic_read_u32(&worker->slot) == MyBackendSlot() + 1)
			pg_atomic_write_u64(&worker->due, (uint64) due);
		else
			wake_process(worker, WAKE_FOR_UNITS);
	}
}

static void
stop_listening_at_exit(int code, Datum arg)
{
	wakeup_unlisten();
}
