/*
 * breaker.c
 *		Circuit breakers, per endpoint and message type, shared by the cluster.
 *
 *		closed --(attempts > active and failures >= threshold)--> open
 *		open --(reset_interval over, at the next receive)--> half open
 *		half open --(a probe fails)--> open
 *		half open --(active_threshold probes succeed)--> closed
 *
 * Counting happens in shared memory, just before the counting transaction
 * commits, that of expired leases at once, for the receive that sweeps them; a
 * transaction that changes a state also writes it down in message_bus.breaker.
 *
 * Lock protocol: the endpoint's LWLock guards its list of breakers; none is
 * ever removed.  Writing one down takes a heavyweight lock until the end of the
 * transaction.  A probe belongs to the transaction that was handed it, or to
 * the lease.
 *
 * A crash loses the counts of the window that runs, never a state or a probe's
 * success: a transaction that trips a breaker and its failures commit together.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "log/wakeup.h"
#include "message_bus/aside.h"
#include "message_bus/breaker.h"
#include "message_bus/table.h"
#include "pg/clock.h"

/* Columns of message_bus.breaker. */
enum
{
	COLUMN_ENDPOINT_ID, COLUMN_TYPE, COLUMN_STATE, COLUMN_ATTEMPTS, COLUMN_FAILURES,
	COLUMN_WINDOW_START, COLUMN_OPENED_AT, COLUMN_RETRY_AT, COLUMN_PROBE_SUCCESSES, COLUMN_COUNT
};

static ExtensionRelation breaker_table = {"message_bus", "breaker"};
static ExtensionRelation breaker_index = {"message_bus", "breaker_pkey"};

static const char *const state_names[] = {"closed", "open", "half_open"};

/* Probes of this transaction. */
typedef struct Probe
{
	BusEndpoint *endpoint;
	BusBreaker *breaker;
	struct Probe *next;
} Probe;

/* Breakers this transaction has written down, to be written again if it aborts. */
static Probe *probes = NULL;
static Probe *written = NULL;

/* An outcome that counts if this transaction, or savepoint, commits. */
typedef struct PendingOutcome
{
	BusEndpoint *endpoint;
	BreakerPolicy policy;
	const char *message_type;
	BreakerOutcome outcome;
	SubTransactionId settled_in;	/* invalid: rolled back */
	struct PendingOutcome *next;
} PendingOutcome;

static PendingOutcome *pending = NULL;
static PendingOutcome **pending_end = &pending;

static BusBreaker *find(BusEndpoint *endpoint, const char *message_type, bool create);
static bool lets_through(const BusBreaker *breaker, TimestampTz now);
static void remember(Probe **list, BusEndpoint *endpoint, BusBreaker *breaker);
static void change_state(BusEndpoint *endpoint, BusBreaker *breaker, BusBreakerState state);
static void open_breaker(BusEndpoint *endpoint, BusBreaker *breaker, const BreakerPolicy *policy,
						 TimestampTz now);
static void count_closed(BusEndpoint *endpoint, BusBreaker *breaker, const BreakerPolicy *policy,
						 const BreakerOutcome *outcome, TimestampTz now);
static void close_breaker(BusEndpoint *endpoint, BusBreaker *breaker);
static void fill_row(BusEndpoint *endpoint, BusBreaker *breaker, Datum *values, bool *nulls);
static void write_down(BusEndpoint *endpoint, BusBreaker *breaker);
static void read_breaker(BusEndpoint *endpoint, HeapTuple row, TupleDesc descriptor);

/*
 * Reads an endpoint's breakers; from load.c.
 */
void
breaker_load(BusEndpoint *endpoint)
{
	TableScan	scan;
	ScanKeyData key;
	HeapTuple	row;

	key_int4(&key, 1, BTEqualStrategyNumber, endpoint->key.endpoint_id);
	table_scan_begin(&scan, &breaker_table, &breaker_index, 1, &key, NULL);
	while ((row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
		read_breaker(endpoint, row, RelationGetDescr(scan.table));
	table_scan_end(&scan);
}

static void
read_breaker(BusEndpoint *endpoint, HeapTuple row, TupleDesc descriptor)
{
	Datum		values[COLUMN_COUNT];
	bool		nulls[COLUMN_COUNT];
	BusBreaker *breaker;
	char	   *state;

	heap_deform_tuple(row, descriptor, values, nulls);
	breaker = find(endpoint, TextDatumGetCString(values[COLUMN_TYPE]), true);
	state = TextDatumGetCString(values[COLUMN_STATE]);
	for (int i = 0; i < lengthof(state_names); i++)
	{
		if (strcmp(state, state_names[i]) == 0)
			change_state(endpoint, breaker, i);
	}
	breaker->attempts = DatumGetInt32(values[COLUMN_ATTEMPTS]);
	breaker->failures = DatumGetInt32(values[COLUMN_FAILURES]);
	breaker->probe_successes = DatumGetInt32(values[COLUMN_PROBE_SUCCESSES]);
	/* A null is a zero datum, and no time. */
	breaker->window_start = DatumGetTimestampTz(values[COLUMN_WINDOW_START]);
	breaker->opened_at = DatumGetTimestampTz(values[COLUMN_OPENED_AT]);
	breaker->retry_at = DatumGetTimestampTz(values[COLUMN_RETRY_AT]);
	breaker->held = true;		/* perhaps; it costs one look */
	breaker->dirty = false;
	if (breaker->state == BREAKER_OPEN)
		aside_lower_worker(breaker->retry_at);
}

/*
 * Whether a message of that type may be delivered.  A probe that is admitted
 * belongs to the transaction, or to a lease until probe_until unless that is 0.
 */
BreakerAdmission
breaker_admission(BusEndpoint *endpoint, const char *message_type, TimestampTz now,
				  TimestampTz probe_until)
{
	BreakerAdmission admission = BREAKER_HOLDS;
	BusBreaker *breaker;

	if (likely(pg_atomic_read_u32(&endpoint->tripped) == 0))
		return BREAKER_ADMITS;
	LWLockAcquire(&endpoint->lock, LW_EXCLUSIVE);
	breaker = find(endpoint, message_type, false);
	if (breaker == NULL || breaker->state == BREAKER_CLOSED)
		admission = BREAKER_ADMITS;
	else
	{
		if (breaker->state == BREAKER_OPEN && now >= breaker->retry_at)
		{
			change_state(endpoint, breaker, BREAKER_HALF_OPEN);
			breaker->probe_successes = 0;
		}
		if (breaker->state == BREAKER_HALF_OPEN && breaker->probe_holder == 0 &&
			breaker->probe_until <= now)
		{
			admission = BREAKER_ADMITS_PROBE;
			if (probe_until != 0)
				breaker->probe_until = probe_until;
			else
				breaker->probe_holder = MyProcPid;
		}
	}
	LWLockRelease(&endpoint->lock);
	if (admission == BREAKER_ADMITS_PROBE && probe_until == 0)
		remember(&probes, endpoint, breaker);
	return admission;
}

/*
 * Notes that a message was set aside because of the type's breaker.
 */
void
breaker_note_held(BusEndpoint *endpoint, const char *message_type)
{
	BusBreaker *breaker;

	LWLockAcquire(&endpoint->lock, LW_EXCLUSIVE);
	breaker = find(endpoint, message_type, false);
	if (breaker != NULL)
		breaker->held = true;
	LWLockRelease(&endpoint->lock);
}

/*
 * Whether some message that a breaker held may go now.
 */
bool
breaker_releases(BusEndpoint *endpoint, TimestampTz now)
{
	bool		releases = false;

	if (pg_atomic_read_u32(&endpoint->tripped) == 0)
		return true;
	LWLockAcquire(&endpoint->lock, LW_SHARED);
	for (BusBreaker *breaker = bus_breaker(endpoint->breakers);
		 breaker != NULL && !releases; breaker = bus_breaker(breaker->next))
	{
		if (!breaker->held)
			continue;
		releases = lets_through(breaker, now);
	}
	LWLockRelease(&endpoint->lock);
	return releases;
}

/*
 * Whether a message of that type would be held now.
 */
bool
breaker_holds(BusEndpoint *endpoint, const char *message_type, TimestampTz now)
{
	BusBreaker *breaker;
	bool		holds;

	if (pg_atomic_read_u32(&endpoint->tripped) == 0)
		return false;
	LWLockAcquire(&endpoint->lock, LW_SHARED);
	breaker = find(endpoint, message_type, false);
	holds = breaker != NULL && !lets_through(breaker, now);
	LWLockRelease(&endpoint->lock);
	return holds;
}

static bool
lets_through(const BusBreaker *breaker, TimestampTz now)
{
	switch (breaker->state)
	{
		case BREAKER_CLOSED:
			return true;
		case BREAKER_OPEN:
			return now >= breaker->retry_at;
		case BREAKER_HALF_OPEN:
			return breaker->probe_holder == 0 && breaker->probe_until <= now;
	}
	return false;
}

/*
 * When the next open breaker lets a probe through; NEVER_DUE if none is open.
 */
TimestampTz
breaker_next_retry(BusEndpoint *endpoint)
{
	TimestampTz next = NEVER_DUE;

	if (pg_atomic_read_u32(&endpoint->tripped) == 0)
		return next;
	LWLockAcquire(&endpoint->lock, LW_SHARED);
	for (BusBreaker *breaker = bus_breaker(endpoint->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		if (breaker->state == BREAKER_OPEN && breaker->held)
			next = Min(next, breaker->retry_at);
	}
	LWLockRelease(&endpoint->lock);
	return next;
}

/*
 * Counts deliveries that have ended.  Called just before the transaction
 * commits; a change of state is written down in it.
 */
void
breaker_record(BusEndpoint *endpoint, const BreakerPolicy *policy, const char *message_type,
			   const BreakerOutcome *outcome, TimestampTz now)
{
	BusBreaker *breaker = breaker_count(endpoint, policy, message_type, outcome, now);

	if (breaker != NULL && breaker->dirty)
		write_down(endpoint, breaker);
}

/*
 * The same just before this transaction commits, unless what is done now has been
 * rolled back by then.
 */
void
breaker_record_later(const Endpoint *endpoint, const char *message_type,
					 const BreakerOutcome *outcome)
{
	PendingOutcome *later = MemoryContextAlloc(TopTransactionContext, sizeof(PendingOutcome));

	later->endpoint = endpoint->shared;
	later->policy = endpoint->breaker;
	later->message_type = MemoryContextStrdup(TopTransactionContext, message_type);
	later->outcome = *outcome;
	later->settled_in = GetCurrentSubTransactionId();
	later->next = NULL;
	*pending_end = later;
	pending_end = &later->next;
}

/*
 * Counts what was left for the commit.
 */
void
breaker_before_commit(void)
{
	for (PendingOutcome *later = pending; later != NULL; later = later->next)
	{
		if (later->settled_in != InvalidSubTransactionId)
			breaker_record(later->endpoint, &later->policy, later->message_type, &later->outcome,
						   clock_now());
	}
}

/*
 * A savepoint is released or rolled back.
 */
void
breaker_end_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
{
	for (PendingOutcome *later = pending; later != NULL; later = later->next)
	{
		if (later->settled_in == mine)
			later->settled_in = committed ? parent : InvalidSubTransactionId;
	}
}

/*
 * As breaker_record() without writing: what has changed stays dirty.  NULL if nothing was
 * to be counted.
 */
BusBreaker *
breaker_count(BusEndpoint *endpoint, const BreakerPolicy *policy, const char *message_type,
			  const BreakerOutcome *outcome, TimestampTz now)
{
	BusBreaker *breaker;
	bool		closed = false;

	if (!policy->enabled || outcome->attempts == 0)
		return NULL;
	LWLockAcquire(&endpoint->lock, LW_EXCLUSIVE);
	breaker = find(endpoint, message_type, true);
	if (breaker->state == BREAKER_CLOSED)
		count_closed(endpoint, breaker, policy, outcome, now);
	else if (breaker->state == BREAKER_HALF_OPEN && outcome->probe)
	{
		breaker->probe_until = 0;
		if (outcome->failures > 0)
			open_breaker(endpoint, breaker, policy, now);
		else if ((breaker->probe_successes += outcome->attempts) >= policy->active_threshold)
		{
			close_breaker(endpoint, breaker);
			closed = true;
		}
		else
			breaker->dirty = true;
	}
	LWLockRelease(&endpoint->lock);
	if (breaker->state == BREAKER_OPEN)
		aside_lower_worker(breaker->retry_at);
	else if (closed)
		wakeup_waiters(LOG_MESSAGE_BUS, endpoint_key(endpoint->key.endpoint_id, 0));
	return breaker;
}

static void
count_closed(BusEndpoint *endpoint, BusBreaker *breaker, const BreakerPolicy *policy,
			 const BreakerOutcome *outcome, TimestampTz now)
{
	if (breaker->window_start == 0 || now - breaker->window_start >= policy->tracking_period)
	{
		breaker->window_start = now;
		breaker->attempts = breaker->failures = 0;
	}
	for (int i = 0; i < outcome->attempts && breaker->state == BREAKER_CLOSED; i++)
	{
		breaker->attempts++;
		if (outcome->failures > 0)
			breaker->failures++;
		if (breaker->attempts > policy->active_threshold &&
			(int64) breaker->failures * 100 / breaker->attempts >= policy->trip_threshold)
			open_breaker(endpoint, breaker, policy, now);
	}
}

static void
open_breaker(BusEndpoint *endpoint, BusBreaker *breaker, const BreakerPolicy *policy,
			 TimestampTz now)
{
	change_state(endpoint, breaker, BREAKER_OPEN);
	breaker->opened_at = now;
	breaker->retry_at = now + policy->reset_interval;
	breaker->probe_successes = 0;
}

static void
close_breaker(BusEndpoint *endpoint, BusBreaker *breaker)
{
	change_state(endpoint, breaker, BREAKER_CLOSED);
	breaker->attempts = breaker->failures = breaker->probe_successes = 0;
	breaker->window_start = breaker->opened_at = breaker->retry_at = 0;
}

static void
change_state(BusEndpoint *endpoint, BusBreaker *breaker, BusBreakerState state)
{
	if (breaker->state == BREAKER_CLOSED && state != BREAKER_CLOSED)
		pg_atomic_fetch_add_u32(&endpoint->tripped, 1);
	else if (breaker->state != BREAKER_CLOSED && state == BREAKER_CLOSED)
		pg_atomic_fetch_sub_u32(&endpoint->tripped, 1);
	breaker->state = state;
	breaker->dirty = true;
}

/*
 * An endpoint's breaker for a type; the caller has the lock.
 */
static BusBreaker *
find(BusEndpoint *endpoint, const char *message_type, bool create)
{
	dsa_pointer *link = &endpoint->breakers;
	BusBreaker *breaker;

	while ((breaker = bus_breaker(*link)) != NULL)
	{
		if (strcmp(breaker->message_type, message_type) == 0)
			return breaker;
		link = &breaker->next;
	}
	if (!create)
		return NULL;
	*link = bus_breaker_create(message_type);
	return bus_breaker(*link);
}

static void
remember(Probe **list, BusEndpoint *endpoint, BusBreaker *breaker)
{
	Probe	   *probe = MemoryContextAlloc(TopTransactionContext, sizeof(Probe));

	probe->endpoint = endpoint;
	probe->breaker = breaker;
	probe->next = *list;
	*list = probe;
}

/*
 * Writes down what of an endpoint has changed since it was last written.
 */
void
breaker_write_dirty(BusEndpoint *endpoint)
{
	for (BusBreaker *breaker = bus_breaker(endpoint->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		if (breaker->dirty)
			write_down(endpoint, breaker);
	}
}

/*
 * The row of a breaker as it is now.
 */
static void
fill_row(BusEndpoint *endpoint, BusBreaker *breaker, Datum *values, bool *nulls)
{
	memset(nulls, false, sizeof(bool) * COLUMN_COUNT);
	values[COLUMN_ENDPOINT_ID] = Int32GetDatum(endpoint->key.endpoint_id);
	values[COLUMN_TYPE] = CStringGetTextDatum(breaker->message_type);
	LWLockAcquire(&endpoint->lock, LW_SHARED);
	values[COLUMN_STATE] = CStringGetTextDatum(state_names[breaker->state]);
	values[COLUMN_ATTEMPTS] = Int32GetDatum(breaker->attempts);
	values[COLUMN_FAILURES] = Int32GetDatum(breaker->failures);
	values[COLUMN_WINDOW_START] = TimestampTzGetDatum(breaker->window_start);
	nulls[COLUMN_WINDOW_START] = breaker->window_start == 0;
	values[COLUMN_OPENED_AT] = TimestampTzGetDatum(breaker->opened_at);
	nulls[COLUMN_OPENED_AT] = breaker->opened_at == 0;
	values[COLUMN_RETRY_AT] = TimestampTzGetDatum(breaker->retry_at);
	nulls[COLUMN_RETRY_AT] = breaker->retry_at == 0;
	values[COLUMN_PROBE_SUCCESSES] = Int32GetDatum(breaker->probe_successes);
	LWLockRelease(&endpoint->lock);
}

static void
write_down(BusEndpoint *endpoint, BusBreaker *breaker)
{
	Datum		values[COLUMN_COUNT];
	bool		nulls[COLUMN_COUNT];
	TableScan	scan;
	ScanKeyData keys[2];
	HeapTuple	row;
	ItemPointerData tid;

	(void) bus_lock(BUS_LOCK_BREAKER, endpoint->key.endpoint_id, 0, ExclusiveLock, true);
	breaker->dirty = false;
	fill_row(endpoint, breaker, values, nulls);
	remember(&written, endpoint, breaker);

	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->key.endpoint_id);
	key_text(&keys[1], 2, breaker->message_type);
	table_scan_begin(&scan, &breaker_table, &breaker_index, 2, keys, NULL);
	row = table_scan_next(&scan, ForwardScanDirection);
	if (row != NULL)
		tid = row->t_self;
	table_scan_end(&scan);
	if (row != NULL)
		table_update(&breaker_table, &tid, values, nulls);
	else
		table_insert(&breaker_table, values, nulls);
}

/*
 * Closes a breaker by hand; false if there is none.
 */
bool
breaker_reset(BusEndpoint *endpoint, const char *message_type)
{
	BusBreaker *breaker;

	LWLockAcquire(&endpoint->lock, LW_EXCLUSIVE);
	breaker = find(endpoint, message_type, false);
	if (breaker != NULL)
		close_breaker(endpoint, breaker);
	LWLockRelease(&endpoint->lock);
	if (breaker == NULL)
		return false;
	write_down(endpoint, breaker);
	wakeup_waiters(LOG_MESSAGE_BUS, endpoint_key(endpoint->key.endpoint_id, 0));
	return true;
}

/*
 * Adds a row for each breaker of an endpoint.
 */
void
breaker_describe(BusEndpoint *endpoint, Tuplestorestate *result, TupleDesc descriptor)
{
	/* Breakers are only ever added, at the end. */
	for (BusBreaker *breaker = bus_breaker(endpoint->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		Datum		values[COLUMN_COUNT];
		bool		nulls[COLUMN_COUNT];

		fill_row(endpoint, breaker, values, nulls);
		tuplestore_putvalues(result, descriptor, values, nulls);
	}
}

/*
 * Gives probes back that were not settled; a written state that was not
 * committed is written again by whoever comes next.
 */
void
breaker_end_transaction(bool committed)
{
	for (Probe *probe = probes; probe != NULL; probe = probe->next)
	{
		LWLockAcquire(&probe->endpoint->lock, LW_EXCLUSIVE);
		if (probe->breaker->probe_holder == MyProcPid)
			probe->breaker->probe_holder = 0;
		LWLockRelease(&probe->endpoint->lock);
		wakeup_waiters(LOG_MESSAGE_BUS, endpoint_key(probe->endpoint->key.endpoint_id, 0));
	}
	for (Probe *probe = written; probe != NULL && !committed; probe = probe->next)
		probe->breaker->dirty = true;
	probes = written = NULL;
	pending = NULL;
	pending_end = &pending;
}
