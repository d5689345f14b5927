/*
 * breaker_table.c
 *		Circuit breakers on disk: message_bus.breaker, and the view of them.
 *
 * Lock protocol: a heavyweight lock per endpoint, from the writing of a row, just
 * before a commit, to the end of the transaction.  The worker, who writes what
 * others have left dirty, never waits for it.
 *
 * A crash leaves what was committed.  A row that was not committed is written
 * again by whoever comes next, because its breaker is dirty again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "message_bus/endpoint/breaker.h"
#include "message_bus/endpoint/breaker_table.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/place/aside.h"
#include "pg/lock.h"
#include "pg/scan.h"
#include "pg/writer.h"

/* Columns of message_bus.breaker. */
enum
{
	COLUMN_ENDPOINT_ID, COLUMN_TYPE, COLUMN_STATE, COLUMN_ATTEMPTS, COLUMN_FAILURES,
	COLUMN_WINDOW_START, COLUMN_OPENED_AT, COLUMN_RETRY_AT, COLUMN_PROBE_SUCCESSES, COLUMN_COUNT
};

static const ExtensionColumn breaker_columns[COLUMN_COUNT] = {
	[COLUMN_ENDPOINT_ID] = {"endpoint_id", INT4OID, true},
	[COLUMN_TYPE] = {"message_type", TEXTOID, true},
	[COLUMN_STATE] = {"state", TEXTOID, true},
	[COLUMN_ATTEMPTS] = {"attempts", INT4OID, true},
	[COLUMN_FAILURES] = {"failures", INT4OID, true},
	[COLUMN_WINDOW_START] = {"window_start", TIMESTAMPTZOID},
	[COLUMN_OPENED_AT] = {"opened_at", TIMESTAMPTZOID},
	[COLUMN_RETRY_AT] = {"retry_at", TIMESTAMPTZOID},
	[COLUMN_PROBE_SUCCESSES] = {"probe_successes", INT4OID, true},
};

static ExtensionRelation breaker_table =
	EXTENSION_TABLE("message_bus", "breaker", breaker_columns);
static ExtensionRelation breaker_index = {"message_bus", "breaker_pkey"};

static const char *const state_names[] = {"closed", "open", "half_open"};

/* Breakers that were dirty and that this transaction has written. */
typedef struct Written
{
	BusBreaker *breaker;
	struct Written *next;
} Written;

static Written *written = NULL;

static void read_breaker(const Endpoint *endpoint, HeapTuple row, TupleDesc descriptor);
static void fill_row(const Endpoint *endpoint, const char *message_type, const BusBreaker *breaker,
					 Datum *values, bool *nulls);

/*
 * Reads an endpoint's breakers; from load.c.
 */
void
breaker_load(const Endpoint *endpoint)
{
	TableScan	scan;
	ScanKeyData key;
	HeapTuple	row;

	/* After a restore there are some already. */
	LWLockAcquire(&endpoint->shared->lock, LW_EXCLUSIVE);
	for (BusBreaker *breaker = bus_breaker(endpoint->shared->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		BusBreakerState before = breaker->state;

		(void) breaker_close(breaker);
		breaker_count_tripped(endpoint, before, breaker->state);
		breaker->dirty = false;
	}
	LWLockRelease(&endpoint->shared->lock);
	key_int4(&key, 1, BTEqualStrategyNumber, endpoint->id);
	table_scan_begin(&scan, &breaker_table, &breaker_index, 1, &key, NULL);
	while ((row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
		read_breaker(endpoint, row, scan.descriptor);
	table_scan_end(&scan);
}

static void
read_breaker(const Endpoint *endpoint, HeapTuple row, TupleDesc descriptor)
{
	Datum		values[COLUMN_COUNT];
	bool		nulls[COLUMN_COUNT];
	BusBreaker *breaker;
	BusBreakerState before;
	char	   *state;

	heap_deform_tuple(row, descriptor, values, nulls);
	breaker = breaker_find(endpoint, TextDatumGetCString(values[COLUMN_TYPE]), true);
	before = breaker->state;
	state = TextDatumGetCString(values[COLUMN_STATE]);
	for (int i = 0; i < lengthof(state_names); i++)
	{
		if (strcmp(state, state_names[i]) == 0)
			breaker->state = i;
	}
	breaker_count_tripped(endpoint, before, breaker->state);
	breaker->attempts = DatumGetInt32(values[COLUMN_ATTEMPTS]);
	breaker->failures = DatumGetInt32(values[COLUMN_FAILURES]);
	breaker->probe_successes = DatumGetInt32(values[COLUMN_PROBE_SUCCESSES]);
	/* A null is a zero datum, and no time. */
	breaker->window_start = DatumGetTimestampTz(values[COLUMN_WINDOW_START]);
	breaker->opened_at = DatumGetTimestampTz(values[COLUMN_OPENED_AT]);
	breaker->retry_at = DatumGetTimestampTz(values[COLUMN_RETRY_AT]);
	memset(breaker->releasing, 0xFF, sizeof(breaker->releasing));
	breaker->dirty = false;
	if (breaker->state == BREAKER_OPEN)
		lane_lower_worker(breaker->retry_at);
}

static void
fill_row(const Endpoint *endpoint, const char *message_type, const BusBreaker *breaker,
		 Datum *values, bool *nulls)
{
	memset(nulls, false, sizeof(bool) * COLUMN_COUNT);
	values[COLUMN_ENDPOINT_ID] = Int32GetDatum(endpoint->id);
	values[COLUMN_TYPE] = CStringGetTextDatum(message_type);
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
}

/*
 * Writes a breaker's row.  The caller has the endpoint's lock of breakers.
 */
void
breaker_write_down(const Endpoint *endpoint, const char *message_type, const BusBreaker *breaker)
{
	Datum		values[COLUMN_COUNT];
	bool		nulls[COLUMN_COUNT];
	TableScan	scan;
	ScanKeyData keys[2];
	HeapTuple	row;
	ItemPointerData tid;

	fill_row(endpoint, message_type, breaker, values, nulls);
	key_int4(&keys[0], 1, BTEqualStrategyNumber, endpoint->id);
	key_text(&keys[1], 2, message_type, (int) strlen(message_type));
	table_scan_begin(&scan, &breaker_table, &breaker_index, 2, keys, NULL);
	row = table_scan_next(&scan, ForwardScanDirection);
	if (row != NULL)
	{
		tid = row->t_self;
		table_keep_rows(&scan);
	}
	table_scan_end(&scan);
	if (row != NULL)
		table_update(&breaker_table, &tid, values, nulls);
	else
		table_insert(&breaker_table, values, nulls);
}

/*
 * Writes down what of an endpoint has changed since it was last written, unless
 * somebody is writing.  From the worker.
 */
void
breaker_write_dirty(const Endpoint *endpoint)
{
	bool		locked = false;

	/* Breakers are only ever added, before the first. */
	for (BusBreaker *breaker = bus_breaker(endpoint->shared->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		Written    *entry;
		BusBreaker	copy;

		if (!breaker->dirty)
			continue;
		if (!locked &&
			!lock_take(LOCK_BREAKER, endpoint->id, 0, ExclusiveLock, false))
			return;
		locked = true;
		note_begin();
		entry = MemoryContextAlloc(note_memory(), sizeof(Written));
		LWLockAcquire(&endpoint->shared->lock, LW_EXCLUSIVE);
		breaker->dirty = false;
		copy = *breaker;
		LWLockRelease(&endpoint->shared->lock);
		entry->breaker = breaker;
		entry->next = written;
		written = entry;
		breaker_write_down(endpoint, breaker->message_type, &copy);
	}
}

/*
 * Adds a row for each breaker of an endpoint.
 */
void
breaker_describe(const Endpoint *endpoint, SetResult *result)
{
	for (BusBreaker *breaker = bus_breaker(endpoint->shared->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		Datum		values[COLUMN_COUNT];
		bool		nulls[COLUMN_COUNT];
		BusBreaker	copy;

		LWLockAcquire(&endpoint->shared->lock, LW_SHARED);
		copy = *breaker;
		LWLockRelease(&endpoint->shared->lock);
		fill_row(endpoint, breaker->message_type, &copy, values, nulls);
		result_put(result, values, nulls);
	}
}

/*
 * What was written in vain is dirty again.
 */
void
breaker_table_end_transaction(bool committed)
{
	for (Written *entry = written; entry != NULL && !committed; entry = entry->next)
		entry->breaker->dirty = true;
	written = NULL;
}
