/*
 * duty.c
 *		The saga loop: by the database's worker, or by hand.
 *
 * A turn of the worker takes batches of messages, each in a transaction of its
 * own, until none are left; then timers and expired messages.  Messages come
 * first: an answer that is there already must not lose against a timer that
 * became due while nobody looked.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "log/restore.h"
#include "log/wakeup.h"
#include "pg/clock.h"
#include "pg/relation.h"
#include "pg/settings.h"
#include "pg/spi.h"
#include "saga/engine.h"
#include "saga/saga.h"

/* Messages and timers per transaction: enough to share its commit, not to wait for. */
#define BATCH_MESSAGES 200
#define BATCH_TIMERS 100

static List *endpoints(MemoryContext context);
static bool run_timers(TimestampTz *due);
static TimestampTz next_due(void);
static void begin(void);
static void commit(void);

/*
 * One turn of the worker.
 */
void
saga_run_duty(DutyWish *wish)
{
	bool		more = true;

	if (setting_saga_workers == 0)
		return;
	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		more = saga_run_messages();
		more = run_timers(&wish->due) || more;
	}
	wish->wakes = WAKE_FOR_LOG(LOG_MESSAGE_BUS) | WAKE_FOR_TIMER;
}

/*
 * Handles what every endpoint has, in transactions of its own; true if any had
 * something.
 */
bool
saga_run_messages(void)
{
	bool		any = false;
	List	   *names;
	ListCell   *cell;
	MemoryContext context = CurrentMemoryContext;

	begin();
	names = endpoints(context);
	commit();
	foreach(cell, names)
	{
		int			done;

		do
		{
			begin();
			definition_cache_refresh();
			done = inbox_run(lfirst(cell), BATCH_MESSAGES);
			commit();
			any = any || done > 0;
			CHECK_FOR_INTERRUPTS();
		} while (done > 0);
	}
	MemoryContextSwitchTo(context);
	return any;
}

/*
 * Fires a batch of timers and expires a batch of messages; true if there may be
 * more at once.
 */
static bool
run_timers(TimestampTz *due)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		more;

	begin();
	definition_cache_refresh();
	if (definition_all_current() == NIL)
	{
		commit();
		return false;
	}
	(void) timers_fire(now, BATCH_TIMERS, false, &more);
	more = parked_expire(now) > 0 || more;
	*due = next_due();
	commit();
	return more || *due <= GetCurrentTimestamp();
}

/*
 * When the next timer is due or the next parked message expires, WAKEUP_NEVER if
 * none does.
 */
static TimestampTz
next_due(void)
{
	static SpiStatement next = {
		"SELECT LEAST((SELECT due_at FROM saga.timer_queue ORDER BY due_at LIMIT 1),"
		" (SELECT park_until FROM saga.parked_message WHERE park_until < 'infinity'"
		" ORDER BY park_until LIMIT 1))"
	};
	TimestampTz due;
	bool		isnull;

	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&next, 0, NULL, NULL, NULL);
	due = DatumGetTimestampTz(spi_value(0, 0, &isnull));
	spi_end();
	return isnull ? WAKEUP_NEVER : due;
}

/*
 * The endpoints of all sagas, each once, in the given memory context.
 */
static List *
endpoints(MemoryContext context)
{
	MemoryContext old;
	List	   *names = NIL;
	ListCell   *cell;

	definition_cache_refresh();
	foreach(cell, definition_endpoints())
	{
		old = MemoryContextSwitchTo(context);
		names = lappend(names, pstrdup(strVal(lfirst(cell))));
		MemoryContextSwitchTo(old);
	}
	return names;
}

static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	extension_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}

PG_FUNCTION_INFO_V1(saga_run);
PG_FUNCTION_INFO_V1(saga_fire_due);

Datum
saga_run(PG_FUNCTION_ARGS)
{
	int			max = PG_GETARG_INT32(0);
	int			total = 0;
	bool		any = true;
	ListCell   *cell;

	engine_require_read_committed("saga.run()");
	if (restore_goes_on())
		PG_RETURN_INT32(0);
	while (any && total < max)
	{
		any = false;
		foreach(cell, endpoints(CurrentMemoryContext))
		{
			int			wanted = Min(max - total, BATCH_MESSAGES);
			int			done = total >= max ? 0 : inbox_run(lfirst(cell), wanted);

			total += done;
			any = any || done > 0;
			CHECK_FOR_INTERRUPTS();
		}
	}
	PG_RETURN_INT32(total);
}

Datum
saga_fire_due(PG_FUNCTION_ARGS)
{
	TimestampTz as_of = clock_finite(PG_GETARG_TIMESTAMPTZ(0), "as_of");
	int			total = 0;
	bool		more = true;

	engine_require_read_committed("saga.fire_due()");
	if (restore_goes_on())
		PG_RETURN_INT32(0);
	definition_cache_refresh();
	while (more)
	{
		total += timers_fire(as_of, BATCH_TIMERS, true, &more);
		CHECK_FOR_INTERRUPTS();
	}
	while (parked_expire(as_of) > 0)
		CHECK_FOR_INTERRUPTS();
	PG_RETURN_INT32(total);
}
