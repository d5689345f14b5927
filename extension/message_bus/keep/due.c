/*
 * due.c
 *		What the database's worker does for the bus: timers, notifications,
 *		housekeeping.
 *
 * Nothing here delivers: what is due is found by whoever receives; the worker
 * only wakes him.  So consumers that wait, or poll, need no worker.
 *
 * The earliest due time of all endpoints is kept in shared memory, lowered by
 * whoever sets something aside.  The worker takes it away before it looks, and
 * puts back what it finds, so nothing can be missed in between; if it fails on
 * the way, what it has taken goes back when its transaction ends.
 *
 * A crash leaves nothing behind.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "parser/scansup.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "message_bus/endpoint/breaker.h"
#include "message_bus/endpoint/breaker_table.h"
#include "message_bus/endpoint/death.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/lease.h"
#include "message_bus/keep/due.h"
#include "message_bus/keep/expiry.h"
#include "message_bus/keep/rotate.h"
#include "message_bus/keep/status.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/message_bus.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/cursor.h"
#include "message_bus/place/dead.h"
#include "pg/notification.h"
#include "pg/relation.h"
#include "pg/settings.h"

/*
 * Least time between two notifications on one channel, in microseconds, unless somebody
 * is known to wait for it.
 */
#define NOTIFY_INTERVAL (10 * 1000)
/* Lanes that are swept in one transaction. */
#define SWEEP_LANES 64
/* Least time between two looks at the ring, in microseconds. */
#define ROTATE_INTERVAL USECS_PER_SEC
/* And between two at dead letters whose time is up. */
#define FORGET_INTERVAL (60 * USECS_PER_SEC)

static bool all_loaded = false;
static TimestampTz next_rotation = 0;
/* When endpoints are told that were told a moment ago; 0: at once. */
static TimestampTz next_telling = 0;

/* The setting that next_rotation was computed with. */
static int	window = 0;

/* An endpoint whose listeners are being told. */
typedef struct Untold
{
	const Endpoint *endpoint;
	struct Untold *next;
} Untold;

/* What this transaction has taken away from shared memory. */
typedef struct Taken
{
	bool		something;
	SubTransactionId in;		/* the outermost that did */
	TimestampTz due;
	Untold	   *untold;
} Taken;

static const Taken nothing_taken = {false, InvalidSubTransactionId, NEVER_DUE, NULL};
static Taken taken = {false, InvalidSubTransactionId, NEVER_DUE, NULL};

static bool run_due(TimestampTz *next_due);
static bool has_to_tell(BusDatabase *database, TimestampTz now);
static void tell_listeners(TimestampTz now);
static void load_all(void);
static void take_due(BusDatabase *database);
static void take_notification(const Endpoint *endpoint);
static void put_back(void);
static TimestampTz run_timers(TimestampTz now);
static TimestampTz endpoint_timers(Endpoint *endpoint, TimestampTz now, int *lanes_left);
static void sweep_leases(Endpoint *endpoint, TimestampTz now, int *lanes_left);
static TimestampTz send_notifications(TimestampTz now);
static void notify_listeners(const Endpoint *endpoint, TimestampTz now);
static TimestampTz run_housekeeping(TimestampTz now);
static void begin_transaction(void);
static void commit_lazily(void);
static void commit_transaction(void);

/*
 * Duty of the worker.
 */
void
message_bus_duty(DutyWish *wish)
{
	TimestampTz now = GetCurrentTimestamp();
	BusDatabase *database;

	if (!all_loaded)
	{
		begin_transaction();
		load_all();
		commit_transaction();
		all_loaded = true;
	}
	database = bus_database_known();
	if ((TimestampTz) pg_atomic_read_u64(&database->next_due) <= now)
	{
		TimestampTz next;

		begin_transaction();
		(void) run_due(&next);
		commit_transaction();
	}
	if (has_to_tell(database, now))
		tell_listeners(now);
	if (pg_atomic_read_u32(&database->news) != NEWS_NONE)
		wish->due = next_telling;
	if (now >= next_rotation || window != setting_message_bus_dedupe_window)
		next_rotation = run_housekeeping(now);
	wish->due = lesser(wish->due, (TimestampTz) pg_atomic_read_u64(&database->next_due));
	wish->due = Min(wish->due, next_rotation);
	wish->wakes = WAKE_FOR_LOG(LOG_MESSAGE_BUS);
	if (next_rotation == NEVER_DUE)
		next_rotation = now + ROTATE_INTERVAL;
}

/*
 * Whether listeners are to be told of something now.
 */
static bool
has_to_tell(BusDatabase *database, TimestampTz now)
{
	switch ((BusNews) pg_atomic_read_u32(&database->news))
	{
		case NEWS_NONE:
			break;
		case NEWS_UNTOLD:
			return true;
		case NEWS_KNOWN:
			/* A clock that was set back counts as time that has passed. */
			return now >= next_telling || now + NOTIFICATION_PAUSE < next_telling;
	}
	return false;
}

/*
 * Tells listeners what there is, unless PostgreSQL has no room for it.  Should this fail,
 * or this process end, it is done again: the news stay known and next_telling is past.
 */
static void
tell_listeners(TimestampTz now)
{
	pg_atomic_uint32 *news = &bus_database_known()->news;
	uint32		known = NEWS_KNOWN;

	next_telling = 0;
	/* Before looking: who comes later says so again. */
	(void) pg_atomic_exchange_u32(news, NEWS_KNOWN);
	if (!notification_has_room(now))
	{
		next_telling = now + NOTIFICATION_PAUSE;
		return;
	}
	begin_transaction();
	commit_lazily();
	next_telling = send_notifications(now);
	commit_transaction();
	if (next_telling == NEVER_DUE)
		(void) pg_atomic_compare_exchange_u32(news, &known, NEWS_NONE);
}

/*
 * Fills shared memory for every endpoint, so that its timers are known.
 */
static void
load_all(void)
{
	int			count;

	(void) database_state();
	(void) endpoint_all(&count);
}

/*
 * Runs what is due, and tells when something is next.
 */
static bool
run_due(TimestampTz *next_due)
{
	TimestampTz now = GetCurrentTimestamp();
	BusDatabase *database = database_state();

	take_due(database);
	*next_due = run_timers(now);
	if (*next_due != NEVER_DUE)
		atomic_lower(&database->next_due, (uint64) Max(*next_due, 0));
	return *next_due <= now;
}

/*
 * Takes the earliest due time away, until this transaction fails.
 */
static void
take_due(BusDatabase *database)
{
	TimestampTz due;

	note_begin();
	if (!taken.something)
		taken.in = GetCurrentSubTransactionId();
	taken.something = true;
	/* Not within Min(), which would do it twice. */
	due = (TimestampTz) pg_atomic_exchange_u64(&database->next_due, (uint64) NEVER_DUE);
	taken.due = Min(taken.due, due);
	pg_memory_barrier();
}

/*
 * Takes an endpoint's notification away, until this transaction fails.
 */
static void
take_notification(const Endpoint *endpoint)
{
	Untold	   *untold;

	note_begin();
	untold = MemoryContextAlloc(note_memory(), sizeof(Untold));
	untold->endpoint = endpoint;
	untold->next = taken.untold;
	if (!taken.something)
		taken.in = GetCurrentSubTransactionId();
	taken.something = true;
	taken.untold = untold;
	pg_atomic_write_u32(&endpoint->shared->notify, 0);
	pg_memory_barrier();
}

/*
 * What was taken is there again, because nothing has come of it.
 */
static void
put_back(void)
{
	for (Untold *untold = taken.untold; untold != NULL; untold = untold->next)
	{
		(void) bus_has_news(untold->endpoint->shared);
	}
	if (taken.due != NEVER_DUE)
		lane_lower_worker(taken.due);
	taken = nothing_taken;
}

void
due_end_transaction(bool committed)
{
	if (taken.something && !committed)
		put_back();
	taken = nothing_taken;
}

void
due_end_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
{
	if (!taken.something || taken.in != mine)
		return;
	if (committed)
		taken.in = parent;
	else
		put_back();
}

/*
 * Lanes are locked until the transaction ends, and the server has only so many
 * locks: what is too much for one turn is left for the next, at once.
 */
static TimestampTz
run_timers(TimestampTz now)
{
	int			count;
	Endpoint  **endpoints;
	TimestampTz next = expiry_run(now);
	int			lanes_left = SWEEP_LANES;

	death_write_dirty();
	endpoints = endpoint_in_use(&count);
	for (int i = 0; i < count; i++)
		next = lesser(next, endpoint_timers(endpoints[i], now, &lanes_left));
	pfree(endpoints);
	return next;
}

/*
 * Wakes the endpoint's consumers if something is due; returns when the next
 * thing is.
 */
static TimestampTz
endpoint_timers(Endpoint *endpoint, TimestampTz now, int *lanes_left)
{
	BusLane    *lanes = bus_lanes(endpoint->shared);
	TimestampTz next = NEVER_DUE;
	TimestampTz retry = breaker_next_retry(endpoint);
	bool		due = retry <= now;
	bool		expired = false;

	breaker_write_dirty(endpoint);
	for (int i = 0; i < endpoint->shared->lane_count; i++)
	{
		BusLane    *lane = &lanes[i];

		if (lane->next_due <= now)
			due = true;
		else
			next = Min(next, lane->next_due);
		if (lane->leases.count > 0 && lane->leases.first_end <= now)
			expired = true;
		else if (lane->leases.count > 0)
			next = Min(next, lane->leases.first_end);
	}
	if (retry > now)
		next = Min(next, retry);
	if (expired)
	{
		sweep_leases(endpoint, now, lanes_left);
		next = Min(next, *lanes_left == 0 ? now : now + NOTIFY_INTERVAL);
	}
	if (due)
	{
		(void) bus_has_news(endpoint->shared);
		bus_wake_consumers(endpoint, 0);
	}
	return next;
}

/*
 * Counts expired leases as failed attempts, on lanes that are free.
 */
static void
sweep_leases(Endpoint *endpoint, TimestampTz now, int *lanes_left)
{
	for (int32 i = 0; i<endpoint->lanes && * lanes_left> 0; i++)
	{
		BusLane    *lane = lane_get(endpoint, i);
		HeldLane   *held;

		if (lane->leases.count == 0 || lane->leases.first_end > now)
			continue;
		held = held_lane_acquire(endpoint, i);
		if (held == NULL)
			continue;
		(void) lease_sweep(held, now);
		(*lanes_left)--;
	}
}

/*
 * Tells listeners how much there is, one notification per endpoint.  Those of an
 * endpoint that were told a moment ago hear it later; returns when.
 */
static TimestampTz
send_notifications(TimestampTz now)
{
	int			count;
	Endpoint  **endpoints;
	TimestampTz next = NEVER_DUE;

	endpoints = endpoint_in_use(&count);
	for (int i = 0; i < count; i++)
	{
		TimestampTz last = (TimestampTz) pg_atomic_read_u64(&endpoints[i]->shared->notified_at);

		if (pg_atomic_read_u32(&endpoints[i]->shared->notify) == 0)
			continue;
		/* a clock that was set back counts as time that has passed */
		if (now >= last && now < last + NOTIFY_INTERVAL)
			next = Min(next, last + NOTIFY_INTERVAL);
		else
			notify_listeners(endpoints[i], now);
	}
	pfree(endpoints);
	return next;
}

static void
notify_listeners(const Endpoint *endpoint, TimestampTz now)
{
	char	   *channel;
	char		payload[32];

	pg_atomic_write_u64(&endpoint->shared->notified_at, (uint64) now);
	take_notification(endpoint);
	/* Who carries them away waits for commits. */
	if (endpoint->forward_to != NULL)
		return;
	/* Cut off as LISTEN cuts it off. */
	channel = psprintf("message_bus.%s", endpoint->name);
	truncate_identifier(channel, (int) strlen(channel), false);
	snprintf(payload, sizeof(payload), UINT64_FORMAT, status_deliverable(endpoint));
	Async_Notify(channel, payload);
	pfree(channel);
}

/*
 * Folds acks, turns the ring, and forgets dead letters.  Returns when to look again.
 */
static TimestampTz
run_housekeeping(TimestampTz now)
{
	TimestampTz next;
	bool		more;

	window = setting_message_bus_dedupe_window;
	begin_transaction();
	more = cursor_fold();
	commit_transaction();
	begin_transaction();
	commit_lazily();
	next = rotate_run(now);
	commit_transaction();
	if (setting_message_bus_dead_letter_retention >= 0)
	{
		begin_transaction();
		more |= dead_forget(now);
		commit_transaction();
		next = Min(next, now + FORGET_INTERVAL);
	}
	return more ? Min(next, now + ROTATE_INTERVAL) : next;
}

static void
begin_transaction(void)
{
	extension_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Nobody need wait for a disk because of this transaction: what it does is a hint,
 * or is done again after a crash.
 */
static void
commit_lazily(void)
{
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

static void
commit_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}

PG_FUNCTION_INFO_V1(message_bus_maintain_sql);
/*
 * message_bus.maintain(): one turn of what the worker does, by hand.
 */
Datum
message_bus_maintain_sql(PG_FUNCTION_ARGS)
{
	TimestampTz next;

	if (restore_goes_on())
		PG_RETURN_VOID();
	(void) run_due(&next);
	(void) cursor_fold();
	(void) rotate_run(GetCurrentTimestamp());
	(void) dead_forget(GetCurrentTimestamp());
	PG_RETURN_VOID();
}
