/*
 * timer.c
 *		Timers: the queue that says which instance to look at when.
 *
 * An entry of the queue is a reminder, not a timer: the instance knows which of
 * its timers are set.  So to take one back costs nothing, and an entry that has
 * become pointless is dropped when its time comes.
 *
 * Lock protocol: an entry is taken with its row lock, skipping those that others
 * have; then the instance is locked.  The worker does not wait for it, so that a
 * session that keeps one instance does not hold up the timers of all others; it
 * comes back a little later.  A crash leaves the entry.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "log/wakeup.h"
#include "pg/clock.h"
#include "pg/spi.h"
#include "pg/subtransaction.h"
#include "pg/tell.h"
#include "saga/engine.h"

/*
 * In microseconds.  A timer whose transition fails is tried again after this,
 * twice as long each time.
 */
#define FAILURE_DELAY (INT64CONST(60) * USECS_PER_SEC)
#define FAILURE_DELAY_MAX (INT64CONST(3600) * USECS_PER_SEC)

/* How soon an instance that somebody else holds is looked at again. */
#define BUSY_DELAY INT64CONST(10000)

typedef struct QueueEntry
{
	TimestampTz due_at;
	pg_uuid_t	id;
	char	   *saga;
} QueueEntry;

typedef struct Firing
{
	Machine    *machine;
	int			timer;
	TimestampTz now;
} Firing;

static bool take_entry(TimestampTz from, TimestampTz as_of, QueueEntry *entry);
static void drop_entry(const QueueEntry *entry);
static int	fire_instance(const QueueEntry *entry, TimestampTz as_of, bool by_hand);
static void fire_one(void *argument);
static void fire_failed(Machine *machine, int timer, TimestampTz now, const ErrorData *error);
static void postpone_entry(const QueueEntry *entry, TimestampTz until);

/*
 * Fires up to max timers that are due, in the order they are due.  By hand the
 * time is the timer's due time while it fires, whatever the clock says; the worker
 * goes by the clock, lest it catch up in an instant with what it slept through.
 * Returns how many; *more says whether to come again.
 */
int
timers_fire(TimestampTz as_of, int max, bool by_hand, bool *more)
{
	TimestampTz from = DT_NOBEGIN;
	QueueEntry	entry;
	int			fired = 0;
	int			looked = 0;

	*more = false;
	while (take_entry(from, as_of, &entry))
	{
		fired += fire_instance(&entry, as_of, by_hand);
		from = entry.due_at;
		if (fired >= max || ++looked >= 2 * max)
		{
			*more = true;
			break;
		}
	}
	return fired;
}

/*
 * The first entry that is due; from is where to begin, past what this transaction
 * has dropped already.
 */
static bool
take_entry(TimestampTz from, TimestampTz as_of, QueueEntry *entry)
{
	static SpiStatement find = {
		"SELECT due_at, correlation_id, saga FROM saga.timer_queue"
		" WHERE due_at >= $1 AND due_at <= $2 ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED"
	};
	MemoryContext caller = CurrentMemoryContext;
	bool		found;
	bool		isnull;

	spi_begin(SPI_AS_OWNER);
	found = spi_run(&find, 2, (Oid[]) {TIMESTAMPTZOID, TIMESTAMPTZOID},
					(Datum[]) {TimestampTzGetDatum(from), TimestampTzGetDatum(as_of)},
					NULL) > 0;
	if (found)
	{
		entry->due_at = DatumGetTimestampTz(spi_value(0, 0, &isnull));
		entry->id = *DatumGetUUIDP(spi_value(0, 1, &isnull));
		entry->saga = spi_text(0, 2, caller);
	}
	spi_end();
	return found;
}

static void
drop_entry(const QueueEntry *entry)
{
	static SpiStatement remove = {
		"DELETE FROM saga.timer_queue WHERE due_at = $1 AND correlation_id = $2 AND saga = $3"
	};

	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&remove, 3, (Oid[]) {TIMESTAMPTZOID, UUIDOID, TEXTOID},
				   (Datum[]) {TimestampTzGetDatum(entry->due_at), UUIDPGetDatum(&entry->id),
					   CStringGetTextDatum(entry->saga)}, NULL);
	spi_end();
}

/*
 * Fires what is due of the entry's instance, at most one timer: the next one gets
 * an entry of its own, so that instances take turns in the order of time.
 */
static int
fire_instance(const QueueEntry *entry, TimestampTz as_of, bool by_hand)
{
	Machine    *machine = store_load_waiting(entry->saga, &entry->id, by_hand);
	ArmedTimer *next;
	Firing		firing;
	ErrorData  *error;

	if (machine == NULL)
	{
		if (store_load(entry->saga, &entry->id, false) != NULL)
			postpone_entry(entry, GetCurrentTimestamp() + BUSY_DELAY);
		else
			drop_entry(entry);
		return 0;
	}
	drop_entry(entry);
	machine->wake_at = DT_NOEND;
	next = machine_next_timer(machine);
	if (next == NULL || next->due > entry->due_at)
	{
		store_write(machine);
		return 0;
	}
	if (next->timer == TIMER_RETAIN && machine->outstanding == NIL)
	{
		HistoryEntry over = {
			.from = definition_state(machine->definition, machine->state)->name,
			.event = definition_event_name(machine->definition,
										   event_of_timer(machine->definition, TIMER_RETAIN))
		};

		store_log(machine, &over);
		parked_bury(machine, "its saga has finished");
		store_remove(machine, false);
		return 0;
	}
	firing = (Firing) {machine_copy(machine), next->timer, by_hand ? next->due : as_of};
	if (!subtransaction_run(fire_one, &firing, &error))
		fire_failed(machine, next->timer, firing.now, error);
	return 1;
}

static void
fire_one(void *argument)
{
	Firing	   *firing = argument;
	Machine    *machine = firing->machine;
	TimestampTz before = clock_set(firing->now);
	Effects		effects;
	Cause		cause = {definition_event_name(machine->definition,
											   event_of_timer(machine->definition,
															  firing->timer))};

	react_timer(machine, firing->timer, firing->now, &effects);
	engine_apply(machine, &effects, &cause);
	if (effects.moved)
		parked_replay(machine);
	clock_set(before);
}

/*
 * There is no message to retry: the timer is set again, later each time, and the
 * instance shows up in saga.stuck.
 */
static void
fire_failed(Machine *machine, int timer, TimestampTz now, const ErrorData *error)
{
	int			failures = machine->timer_failures++;
	int64		delay = Min(FAILURE_DELAY << Min(failures, 10), FAILURE_DELAY_MAX);

	tell_when_committed(WARNING, "timer \"%s\" of saga \"%s\" %s failed: %s",
						definition_timer(machine->definition, timer), machine->definition->name,
						machine->id_text, error->message);
	machine->timer_error = error->message;
	machine_arm(machine, timer, now + delay);
	store_write(machine);
}

/*
 * Somebody has the instance: look again soon.  Its wake_at cannot be told now and
 * is too early by that much, which makes its timers late by that much at most.
 */
static void
postpone_entry(const QueueEntry *entry, TimestampTz until)
{
	static SpiStatement enqueue = {
		"INSERT INTO saga.timer_queue (due_at, correlation_id, saga) VALUES ($1, $2, $3)"
		" ON CONFLICT DO NOTHING"
	};

	drop_entry(entry);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&enqueue, 3, (Oid[]) {TIMESTAMPTZOID, UUIDOID, TEXTOID},
				   (Datum[]) {TimestampTzGetDatum(Max(until, entry->due_at + 1)),
					   UUIDPGetDatum(&entry->id), CStringGetTextDatum(entry->saga)}, NULL);
	spi_end();
	wakeup_worker_by(until);
}
