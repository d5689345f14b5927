/*
 * timer.c
 *		Timers: the queue that says which instance to look at when.
 *
 * An entry of the queue is a reminder, not a timer: the instance knows which of
 * its timers are set.  So to take one back costs nothing, and an entry that has
 * become pointless is dropped when its time comes.
 *
 * Lock protocol: an entry is taken with its row lock, skipping those that others
 * have, and removed; then the instance is locked.  The worker does not wait for it,
 * so that a session that keeps one instance does not hold up the timers of all
 * others; it puts the entry back for a little later.  A crash leaves the entry.
 *
 * An entry is locked and removed by one transaction, an instance locked and changed
 * by one subtransaction: were it two, each row would get a MultiXact, and of the
 * queue's dead entries every look would wade through all, since PostgreSQL does not
 * mark those in the index.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "log/wakeup.h"
#include "pg/clock.h"
#include "pg/limit.h"
#include "pg/spi.h"
#include "pg/subtransaction.h"
#include "pg/tell.h"
#include "saga/engine/engine.h"
#include "saga/value/step_key.h"

/*
 * In microseconds.  A timer whose transition fails is tried again after this,
 * twice as long each time.
 */
#define FAILURE_DELAY (INT64CONST(60) * USECS_PER_SEC)
#define FAILURE_DELAY_MAX (INT64CONST(3600) * USECS_PER_SEC)

/* How soon an instance that somebody else holds is looked at again. */
#define BUSY_DELAY INT64CONST(10000)

/* And one that waited for another lock. */
#define LOCKED_DELAY INT64CONST(200000)

/* The sagas whose entries are looked at, and from where on. */
typedef struct TimerSearch
{
	const char *endpoint;		/* NULL: all */
	TimestampTz from;			/* past what this transaction has dropped already */
	TimestampTz as_of;
} TimerSearch;

typedef struct QueueEntry
{
	TimestampTz due_at;
	pg_uuid_t	id;
	char	   *saga;
} QueueEntry;

/* One entry's instance, in a subtransaction. */
typedef struct EntryRun
{
	const QueueEntry *entry;
	TimestampTz as_of;
	bool		by_hand;
	const ErrorData *error;		/* why it has failed before, NULL: it is the first time */
	int			fired;
} EntryRun;

static const char *next_saga(const TimerSearch *search, TimestampTz *due);
static const char *only_saga(const TimerSearch *search);
static bool take_entry(const TimerSearch *search, QueueEntry *entry);
static void drop_entry(const QueueEntry *entry);
static int	fire_entry(const QueueEntry *entry, TimestampTz as_of, bool by_hand);
static void fire_instance(void *argument);
static void fire_timer(Machine *machine, int timer, TimestampTz now);
static void fire_failed(Machine *machine, int timer, TimestampTz now, const ErrorData *error);
static void postpone_entry(const QueueEntry *entry, TimestampTz until);

/*
 * Fires up to max timers of an endpoint's sagas (NULL: of all) that are due, in the
 * order they are due, and in the background as many as fit into the turn.  By hand
 * the time is the timer's due time while it fires, whatever the clock says; the
 * worker goes by the clock, lest it catch up in an instant with what it slept
 * through.  Returns how many; *more says whether to come again.
 */
int
timers_fire(const char *endpoint, TimestampTz as_of, int max, bool by_hand, bool *more)
{
	TimerSearch search = {endpoint, DT_NOBEGIN, as_of};
	QueueEntry	entry;
	int			fired = 0;
	int			looked = 0;

	*more = false;
	while (take_entry(&search, &entry))
	{
		limit_next_piece();
		drop_entry(&entry);
		fired += fire_entry(&entry, as_of, by_hand);
		search.from = entry.due_at;
		CHECK_FOR_INTERRUPTS();
		if (fired >= max || ++looked >= 2 * max || limit_portion_over())
		{
			*more = true;
			break;
		}
	}
	return fired;
}

/*
 * When the next entry of an endpoint's sagas is due, WAKEUP_NEVER if there is none.
 */
TimestampTz
timers_next(const char *endpoint)
{
	TimerSearch search = {endpoint, DT_NOBEGIN, DT_NOEND};
	TimestampTz due;

	return next_saga(&search, &due) == NULL ? WAKEUP_NEVER : due;
}

/*
 * The saga whose entry is due first, NULL if none has one.
 */
static const char *
next_saga(const TimerSearch *search, TimestampTz *due)
{
	static SpiStatement first = {
		"SELECT due_at FROM saga.timer_queue WHERE saga = $1 AND due_at >= $2 AND due_at <= $3"
		" ORDER BY due_at LIMIT 1"
	};
	const char *found = NULL;
	ListCell   *cell;

	foreach(cell, definition_all_current())
	{
		const Definition *definition = lfirst(cell);
		bool		isnull;

		if (search->endpoint != NULL && strcmp(definition->endpoint, search->endpoint) != 0)
			continue;
		spi_begin(SPI_AS_OWNER);
		if (spi_run(&first, 3, (Oid[]) {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
					(Datum[]) {CStringGetTextDatum(definition->name),
						TimestampTzGetDatum(search->from), TimestampTzGetDatum(search->as_of)},
					NULL) > 0)
		{
			TimestampTz own = DatumGetTimestampTz(spi_value(0, 0, &isnull));

			if (found == NULL || own < *due)
			{
				found = definition->name;
				*due = own;
			}
		}
		spi_end();
	}
	return found;
}

/*
 * The saga that has the endpoint for itself, NULL if there are none or several.
 */
static const char *
only_saga(const TimerSearch *search)
{
	const char *found = NULL;
	ListCell   *cell;

	foreach(cell, definition_all_current())
	{
		const Definition *definition = lfirst(cell);

		if (search->endpoint != NULL && strcmp(definition->endpoint, search->endpoint) != 0)
			continue;
		if (found != NULL)
			return NULL;
		found = definition->name;
	}
	return found;
}

/*
 * The first entry that is due, locked.  One that somebody else has is skipped.
 */
static bool
take_entry(const TimerSearch *search, QueueEntry *entry)
{
	static SpiStatement find = {
		"SELECT due_at, correlation_id FROM saga.timer_queue"
		" WHERE saga = $1 AND due_at >= $2 AND due_at <= $3 ORDER BY due_at LIMIT 1"
		" FOR UPDATE SKIP LOCKED"
	};
	const char *saga = only_saga(search);
	MemoryContext caller = CurrentMemoryContext;
	bool		found;
	bool		isnull;

	/* Of several, the one whose entry is due first. */
	if (saga == NULL)
		saga = next_saga(search, &entry->due_at);
	if (saga == NULL)
		return false;
	spi_begin(SPI_AS_OWNER);
	found = spi_run(&find, 3, (Oid[]) {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
					(Datum[]) {CStringGetTextDatum(saga), TimestampTzGetDatum(search->from),
						TimestampTzGetDatum(search->as_of)}, NULL) > 0;
	if (found)
	{
		entry->due_at = DatumGetTimestampTz(spi_value(0, 0, &isnull));
		entry->id = *DatumGetUUIDP(spi_value(0, 1, &isnull));
		entry->saga = MemoryContextStrdup(caller, saga);
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

	spi_execute(&remove, 3, (Oid[]) {TIMESTAMPTZOID, UUIDOID, TEXTOID},
				   (Datum[]) {TimestampTzGetDatum(entry->due_at), UUIDPGetDatum(&entry->id),
					   CStringGetTextDatum(entry->saga)}, NULL);
}

/*
 * Fires what is due of the entry's instance.  If that fails, the instance is noted
 * to have failed; if it cannot even be read it is looked at again later, and the log
 * tells.  The others' timers go on.
 */
static int
fire_entry(const QueueEntry *entry, TimestampTz as_of, bool by_hand)
{
	EntryRun	run = {entry, as_of, by_hand};
	ErrorData  *error;

	if (subtransaction_run(fire_instance, &run, &error))
		return run.fired;
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && !by_hand)
	{
		postpone_entry(entry, GetCurrentTimestamp() + LOCKED_DELAY);
		return 0;
	}
	run.error = error;
	if (subtransaction_run(fire_instance, &run, &error))
		return run.fired;
	if (by_hand)
		ReThrowError(error);
	ereport(WARNING,
			(errmsg("timers of saga \"%s\" %s cannot be fired: %s", entry->saga,
					uuid_text(&entry->id), error->message)));
	postpone_entry(entry, GetCurrentTimestamp() + FAILURE_DELAY);
	return 0;
}

/*
 * Fires at most one timer of the instance: the next one gets an entry of its own,
 * so that instances take turns in the order of time.
 */
static void
fire_instance(void *argument)
{
	EntryRun   *run = argument;
	const QueueEntry *entry = run->entry;
	Machine    *machine = store_load_waiting(entry->saga, &entry->id, run->by_hand);
	ArmedTimer *next;
	TimestampTz now;

	if (machine == NULL)
	{
		if (store_load(entry->saga, &entry->id, false) != NULL)
			postpone_entry(entry, GetCurrentTimestamp() + BUSY_DELAY);
		return;
	}
	machine->wake_at = DT_NOEND;
	next = machine_next_timer(machine);
	if (next == NULL || next->due > entry->due_at)
	{
		store_write(machine);
		return;
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
		return;
	}
	now = run->by_hand ? next->due : run->as_of;
	if (run->error == NULL)
		fire_timer(machine, next->timer, now);
	else
		fire_failed(machine, next->timer, now, run->error);
	run->fired = 1;
}

static void
fire_timer(Machine *machine, int timer, TimestampTz now)
{
	TimestampTz before = clock_set(now);
	Effects		effects;
	Cause		cause = {definition_event_name(machine->definition,
											   event_of_timer(machine->definition, timer))};

	react_timer(machine, timer, now, &effects);
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

	spi_execute(&enqueue, 3, (Oid[]) {TIMESTAMPTZOID, UUIDOID, TEXTOID},
				   (Datum[]) {TimestampTzGetDatum(Max(until, entry->due_at + 1)),
					   UUIDPGetDatum(&entry->id), CStringGetTextDatum(entry->saga)}, NULL);
	wakeup_runner_by(until);
}
