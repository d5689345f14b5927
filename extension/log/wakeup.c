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

static bool listening = false;
static bool exit_callback_registered = false;
static uint32 wake_worker_at_commit = 0;
static TimestampTz worker_due_at_commit = WAKEUP_NEVER;
static bool callback_registered = false;

static void stop_listening_at_exit(int code, Datum arg);
static void register_callback(void);
static void transaction_ended(XactEvent event, void *arg);
static bool concerns(RegistrySlot *ended, RegistrySlot *waiter);
static uint32 logs_of(RegistrySlot *ended);

/*
 * From now on ends of transactions that wrote under the key (any, if
 * POSITION_ANY_KEY) set this backend's latch.
 */
void
wakeup_listen(LogId log, uint32 key)
{
	wakeup_listen_group(log, key, 0xffffffff);
}

/*
 * The same for all keys that equal this one in the bits of mask.
 */
void
wakeup_listen_group(LogId log, uint32 key, uint32 mask)
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
	slot->wait_log = log;
	slot->wait_key = key;
	slot->wait_mask = mask;
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
	return true;
}

/*
 * Ends what wakeup_listen() began.  Also safe when nothing was begun.
 */
void
wakeup_unlisten(void)
{
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

	if (pg_atomic_read_u64(&ended->overflow[waiter->wait_log]) != 0)
		return true;
	for (uint32 i = 0; i < count; i++)
	{
		if (ended->holds[i].log == waiter->wait_log &&
			(waiter->wait_key == POSITION_ANY_KEY ||
			 ((ended->holds[i].key ^ waiter->wait_key) & waiter->wait_mask) == 0))
			return true;
	}
	return false;
}

/*
 * Wakes whoever waits for a key for another reason than a position: a module
 * has made something readable again.
 */
void
wakeup_waiters(LogId log, uint32 key)
{
	Registry   *r = registry();

	pg_memory_barrier();
	if (pg_atomic_read_u32(&registry_my_database()->waiting) == 0)
		return;
	for (int i = 0; i < r->slot_count; i++)
	{
		RegistrySlot *slot = registry_slot(i);

		if (pg_atomic_read_u32(&slot->wait_database) == MyDatabaseId && slot->wait_log == log &&
			((key ^ slot->wait_key) & slot->wait_mask) == 0)
			SetLatch(&BackendSlotProc(i)->procLatch);
	}
}

/*
 * Wakes this database's worker if it sleeps and wants to be woken for one of
 * the reasons; asks the launcher for a worker if there is none.
 */
void
wakeup_worker(uint32 reasons)
{
	RegistryDatabase *database = registry_my_database();
	uint32		worker = pg_atomic_read_u32(&database->worker);

	if (worker != 0)
	{
		if ((pg_atomic_read_u32(&database->worker_wakes) & reasons) != 0 &&
			pg_atomic_exchange_u32(&database->worker_wakes, 0) != 0)
			SetLatch(&BackendSlotProc(worker - 1)->procLatch);
	}
	else if (pg_atomic_read_u32(&registry()->launcher) != 0 &&
			 pg_atomic_exchange_u32(&database->worker_wanted, 1) == 0)
		wakeup_launcher();
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
 * When this transaction has committed, the worker must not sleep beyond due.
 */
void
wakeup_worker_by(TimestampTz due)
{
	register_callback();
	worker_due_at_commit = Min(worker_due_at_commit, due);
}

/*
 * Wakes the worker now if it would sleep beyond due.  For those who have
 * written down elsewhere what is due then.
 */
void
wakeup_worker_before(TimestampTz due)
{
	pg_memory_barrier();
	if ((TimestampTz) pg_atomic_read_u64(&registry_my_database()->worker_due) > due)
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
		callback_registered = true;
	}
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (event == XACT_EVENT_ABORT)
		wakeup_unlisten();
	else
	{
		if (worker_due_at_commit != WAKEUP_NEVER)
		{
			RegistryDatabase *database = registry_my_database();
			uint64		due = pg_atomic_read_u64(&database->worker_due);

			if (due == 0 || (TimestampTz) due > worker_due_at_commit)
				wake_worker_at_commit |= WAKE_FOR_TIMER;
		}
		if (wake_worker_at_commit != 0)
			wakeup_worker(wake_worker_at_commit);
	}
	wake_worker_at_commit = 0;
	worker_due_at_commit = WAKEUP_NEVER;
}

static void
stop_listening_at_exit(int code, Datum arg)
{
	wakeup_unlisten();
}
