/*
 * runner.c
 *		The processes that run users' functions: sagas and projections.
 *
 * The runner gives every unit (pg/unit.h) a turn after the other, each in a
 * transaction of its own.  A turn is short: it ends after a portion of time, and
 * one that a user's function holds up beyond the limit is undone, its unit is
 * slow and belongs to the slow runner from then on, until it has been quick for a
 * while.  So a unit delays the others by the limit once.  There the function has
 * the time that its endpoint or the setting gives it, and only then has failed.
 *
 * A unit whose turn fails is put aside for a while and shows in ecommerce.units.
 * Nobody's lock is waited for beyond lock_timeout.  Helpers (setting saga.workers)
 * are runners that handle the sagas' messages only.
 *
 * Lock protocol: see process.c; who does which unit is told apart by the lanes'
 * locks and the projections' row locks.  A crash leaves what was committed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "event_store/projection/projection.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "message_bus/message_bus.h"
#include "pg/limit.h"
#include "pg/protect.h"
#include "pg/relation.h"
#include "pg/settings.h"
#include "pg/unit.h"
#include "saga/saga.h"
#include "worker/units.h"
#include "worker/worker.h"

/* In milliseconds: after the portion a turn ends by itself, after the limit it is undone. */
#define PORTION 50
#define LIMIT 150

/* Nobody's lock keeps a turn for longer. */
#define LOCK_TIMEOUT "50ms"
#define SLOW_LOCK_TIMEOUT "1s"

/* How many pieces of work a turn begins with, when nothing is known of the unit. */
#define FIRST_PORTION 200

PGDLLEXPORT void ecommerce_runner_main(Datum arg);

static const UnitKind *const kinds[] = {&saga_units, &projection_units, &rebuild_units};

/* What this process remembers of a unit. */
typedef struct Known
{
	char		key[NAMEDATALEN * 4];	/* kind, name */
	int			portion;
} Known;

/* One turn of a unit. */
typedef struct RunnerTurn
{
	const UnitKind *kind;
	UnitTurn	turn;
	WorkerKind	by;
} RunnerTurn;

typedef struct Listing
{
	const UnitKind *kind;
	MemoryContext context;
	List	   *names;
} Listing;

static HTAB *known_units = NULL;
static Trouble listing_trouble;

static void sleep_as_helper(DutyWish *wish);
static void serve_kind(WorkerKind by, bool only_messages, const UnitKind *kind, DutyWish *wish);
static void serve(RunnerTurn *turn, DutyWish *wish);
static void list_units(void *argument);
static void run_turn(void *argument);
static void after_turn(RunnerTurn *turn, TimestampTz started);
static void after_failure(RunnerTurn *turn, const ErrorData *error, bool cut, DutyWish *wish);
static Known *remember(const RunnerTurn *turn);

/*
 * Describes a runner, for RegisterDynamicBackgroundWorker().  Helpers are numbered
 * from 1.
 */
void
runner_describe(BackgroundWorker *worker, WorkerKind kind, int helper)
{
	const char *name = kind == WORKER_SLOW_RUNNER ? "ecommerce slow runner" : "ecommerce runner";

	worker_describe(worker, MyDatabaseId, GetUserId());
	strlcpy(worker->bgw_function_name, "ecommerce_runner_main", sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_type, name, sizeof(worker->bgw_type));
	snprintf(worker->bgw_name, sizeof(worker->bgw_name), "%s %d for database %u", name, helper + 1,
			 MyDatabaseId);
	worker->bgw_extra[sizeof(Oid)] = (char) kind;
	worker->bgw_extra[sizeof(Oid) + 1] = (char) helper;
	worker->bgw_notify_pid = MyProcPid;
}

/*
 * Main loop of a runner.  The slow one ends when nothing is slow any more.
 */
void
ecommerce_runner_main(Datum arg)
{
	WorkerKind	kind = (WorkerKind) MyBgworkerEntry->bgw_extra[sizeof(Oid)];
	bool		is_helper = MyBgworkerEntry->bgw_extra[sizeof(Oid) + 1] != 0;
	uint32		announced = 0;
	uint32		generation;
	MemoryContext loop_context;

	worker_connect(DatumGetObjectId(arg), MyBgworkerEntry->bgw_type,
				   kind == WORKER_SLOW_RUNNER ? SLOW_LOCK_TIMEOUT : LOCK_TIMEOUT);
	if (!is_helper && !worker_enter(kind))
		return;
	generation = restore_generation();
	loop_context = AllocSetContextCreate(TopMemoryContext, "ecommerce runner",
										 ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		DutyWish	wish = {WAKEUP_NEVER, WAKE_FOR_UNITS};

		worker_begin_turn(loop_context);
		/* After a restore what this process remembers counts no more. */
		if (worker_shall_leave() || restore_generation() != generation ||
			(kind == WORKER_SLOW_RUNNER && !units_any_slow()))
			return;
		if (is_helper)
			wakeup_listen(LOG_MESSAGE_BUS, POSITION_ANY_KEY);
		if (worker_may_work())
			runner_round(kind, is_helper, &wish);
		if (!is_helper)
			worker_sleep(kind, &wish, &announced);
		else
			sleep_as_helper(&wish);
		wakeup_unlisten();
	}
}

static void
sleep_as_helper(DutyWish *wish)
{
	worker_tell_counters(wish);
	if (wish->due <= GetCurrentTimestamp())
		return;
	worker_report(NULL, NULL);
	(void) wakeup_sleep(wish->due);
}

/*
 * A turn for every unit that this kind of process serves; *wish tells when to come
 * again.
 */
void
runner_round(WorkerKind kind, bool only_messages, DutyWish *wish)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (!only_messages || kinds[i] == &saga_units)
			serve_kind(kind, only_messages, kinds[i], wish);
	}
	/* Listeners of endpoints that we serve hear of it when we have had a look. */
	if (!message_bus_notify_pending())
		return;
	if (kind == WORKER_MAIN)
		wish->due = GetCurrentTimestamp();
	else
		wakeup_worker(WAKE_FOR_LOG(LOG_MESSAGE_BUS));
}

static void
serve_kind(WorkerKind by, bool only_messages, const UnitKind *kind, DutyWish *wish)
{
	Listing		listing = {kind, CurrentMemoryContext, NIL};
	ErrorData  *error;
	ListCell   *cell;

	if (listing_trouble.retry_at > GetCurrentTimestamp())
	{
		wish->due = Min(wish->due, listing_trouble.retry_at);
		return;
	}
	error = protect_run(list_units, &listing);
	if (error != NULL)
	{
		protect_note(&listing_trouble, error, "looking for a", kind->name);
		wish->due = Min(wish->due, listing_trouble.retry_at);
		return;
	}
	protect_forget(&listing_trouble);
	foreach(cell, listing.names)
	{
		RunnerTurn	turn = {kind, {lfirst(cell), only_messages}, by};
		UnitState	state;

		units_look(kind->name, turn.turn.name, &state);
		if (state.slow != (by == WORKER_SLOW_RUNNER))
			continue;
		if (state.retry_at > GetCurrentTimestamp())
			wish->due = Min(wish->due, state.retry_at);
		else
			serve(&turn, wish);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
list_units(void *argument)
{
	Listing    *listing = argument;

	extension_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	listing->names = listing->kind->list(listing->context);
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/*
 * Gives a unit its turn.
 */
static void
serve(RunnerTurn *turn, DutyWish *wish)
{
	MemoryContext context = CurrentMemoryContext;
	TimestampTz started = GetCurrentTimestamp();
	Known	   *known = remember(turn);
	ErrorData  *error;
	bool		cut;

	turn->turn.portion = known->portion;
	turn->turn.due = WAKEUP_NEVER;
	worker_report(turn->kind->name, turn->turn.name);
	error = protect_run(run_turn, turn);
	cut = limit_reached != 0;
	MemoryContextSwitchTo(context);
	known->portion = Max(turn->turn.portion, 1);
	if (error != NULL)
		after_failure(turn, error, cut, wish);
	else
	{
		after_turn(turn, started);
		wish->due = lesser(wish->due, turn->turn.more ? GetCurrentTimestamp() : turn->turn.due);
		wish->wakes |= turn->turn.wakes;
	}
}

static void
run_turn(void *argument)
{
	RunnerTurn *turn = argument;

	SetCurrentStatementStartTimestamp();
	if (turn->by == WORKER_SLOW_RUNNER)
		limit_begin(LIMIT_PIECE, PORTION, setting_ecommerce_handler_timeout);
	else
		limit_begin(LIMIT_TURN, PORTION, LIMIT);
	extension_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	turn->kind->run(&turn->turn);
	PopActiveSnapshot();
	limit_end();
	CommitTransactionCommand();
}

/*
 * The slow runner sees whether its units still are.
 */
static void
after_turn(RunnerTurn *turn, TimestampTz started)
{
	TimestampTz now = GetCurrentTimestamp();

	if (turn->by == WORKER_SLOW_RUNNER && TimestampDifferenceExceeds(started, now, LIMIT))
		units_note_slow(turn->kind->name, turn->turn.name);
	else if (units_note_quick(turn->kind->name, turn->turn.name, turn->turn.worked))
		wakeup_worker(WAKE_FOR_UNITS);
}

static void
after_failure(RunnerTurn *turn, const ErrorData *error, bool cut, DutyWish *wish)
{
	const char *kind = turn->kind->name;
	TimestampTz retry_at;
	bool		tell;

	turn->turn.portion = 1;
	if (cut && turn->by != WORKER_SLOW_RUNNER)
	{
		units_note_slow(kind, turn->turn.name);
		ereport(LOG,
				(errmsg("%s \"%s\" took longer than %d ms and goes on in the slow runner",
						kind, turn->turn.name, LIMIT)));
		wakeup_worker(WAKE_FOR_UNITS);
		return;
	}
	retry_at = units_note_failure(kind, turn->turn.name, error, &tell);
	wish->due = Min(wish->due, retry_at);
	if (tell)
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("%s \"%s\" failed and is put aside for a while: %s", kind,
						turn->turn.name, error->message),
				 error->detail ? errdetail("%s", error->detail) : 0,
				 error->hint ? errhint("%s", error->hint) : 0,
				 error->context ? errcontext("%s", error->context) : 0));
}

static Known *
remember(const RunnerTurn *turn)
{
	char		key[sizeof(((Known *) NULL)->key)] = {0};
	Known	   *known;
	bool		found;

	if (known_units == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(key);
		control.entrysize = sizeof(Known);
		control.hcxt = TopMemoryContext;
		known_units = hash_create("units", 64, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	snprintf(key, sizeof(key), "%s %s", turn->kind->name, turn->turn.name);
	known = hash_search(known_units, key, HASH_ENTER, &found);
	if (!found)
		known->portion = FIRST_PORTION;
	return known;
}
