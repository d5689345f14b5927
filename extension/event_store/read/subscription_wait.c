/*
 * subscription_wait.c
 *		Whether a consumer would get something from a subscription, and waiting
 *		for it.
 *
 * Looks without locking: a partition whose row is locked or being changed by a
 * running transaction is somebody's.  Who lets go of one, or changes the subscription,
 * wakes those who wait for it (subscription_lease.c), appends wake them as any waiter.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/multixact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "event_store/read/partition.h"
#include "event_store/read/subscription.h"
#include "event_store/stream/table.h"
#include "log/position.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/lookup.h"
#include "pg/result.h"
#include "pg/spi.h"

#define PARTITION_COLUMNS lengthof(partition_columns)

static const ExtensionColumn partition_columns[] = {
	{"name", TEXTOID, true}, {"partition", INT4OID, true}, {"checkpoint", INT8OID, true}
};

static ExtensionRelation relation_partition =
	EXTENSION_TABLE("event_store", "subscription_partition", partition_columns);
static ExtensionRelation index_partition = {"event_store", "subscription_partition_pkey"};

static bool look(const char *name, TimestampTz *again);
static bool is_held(HeapTupleHeader row);
static int64 read_free_partitions(const Subscription *subscription, int64 *checkpoints);
static bool has_replays(const Subscription *subscription, const int64 *checkpoints);
static bool has_unread(const Subscription *subscription, const int64 *checkpoints, int64 lowest,
					   int64 mark);

/*
 * Adds a subscription to what wakeup_listen_wanted() is about; SB001 if there is
 * none of that name.
 */
void
subscription_want(const char *name)
{
	Subscription subscription;

	subscription_load(name, &subscription);
	wakeup_want(LOG_EVENT_STORE, event_filter_key(&subscription.filter), 0xffffffff);
	wakeup_want(WAIT_FOR_PARTITION, position_key(name, (int) strlen(name)), 0xffffffff);
}

/*
 * Whether fetch() would give events, or move a checkpoint that has fallen behind
 * over events of others.  *again is when to look even if nobody wakes us, and is
 * only ever lowered.
 */
bool
subscription_ready(const char *name, TimestampTz *again)
{
	/* A wait may look very often. */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "look at subscription",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		ready = look(name, again);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return ready;
}

static bool
look(const char *name, TimestampTz *again)
{
	Subscription subscription;
	int64	   *checkpoints;
	int64		lowest;
	int64		mark;

	if (restore_goes_on())
		return false;
	subscription_load(name, &subscription);
	/* It may be to other events than when the wait began. */
	wakeup_want_too(LOG_EVENT_STORE, event_filter_key(&subscription.filter));
	if (!position_mark_nowait(LOG_EVENT_STORE, event_filter_key(&subscription.filter), &mark))
		*again = lesser(*again,
						TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_BEHIND_POLL));
	checkpoints = palloc(sizeof(int64) * subscription.filter.partitions);
	lowest = read_free_partitions(&subscription, checkpoints);
	if (subscription.replays && has_replays(&subscription, checkpoints))
		return true;
	if (lowest >= mark)
		return false;
	/* fetch() would move it on, and then there is less to look through. */
	if (mark - lowest > SKIP_BEFORE_MOVING &&
		event_passable(mark, NULL) - lowest > SKIP_BEFORE_MOVING)
		return true;
	return has_unread(&subscription, checkpoints, lowest, mark);
}

/*
 * Reads how far the partitions are that nobody holds; the greatest number for
 * the others.  Returns the lowest.
 */
static int64
read_free_partitions(const Subscription *subscription, int64 *checkpoints)
{
	int			partitions = subscription->filter.partitions;
	int64		lowest = PG_INT64_MAX;
	Lookup		lookup;
	Datum		values[PARTITION_COLUMNS];
	bool		nulls[PARTITION_COLUMNS];

	for (int i = 0; i < partitions; i++)
		checkpoints[i] = PG_INT64_MAX;
	lookup_begin(&lookup, &relation_partition, &index_partition, subscription->name,
				 (int) strlen(subscription->name));
	while (lookup_next(&lookup, values, nulls))
	{
		int			partition = DatumGetInt32(values[1]);

		if (partition < 0 || partition >= partitions || is_held(lookup.row->t_data))
			continue;
		checkpoints[partition] = DatumGetInt64(values[2]);
		lowest = lesser(lowest, checkpoints[partition]);
	}
	lookup_end(&lookup);
	return lowest;
}

/*
 * Whether a running transaction has locked or changed a row.
 */
static bool
is_held(HeapTupleHeader row)
{
	TransactionId holder = HeapTupleHeaderGetRawXmax(row);

	if ((row->t_infomask & HEAP_XMAX_INVALID) != 0)
		return false;
	if ((row->t_infomask & HEAP_XMAX_IS_MULTI) != 0)
		return MultiXactIdIsRunning(holder, HEAP_XMAX_IS_LOCKED_ONLY(row->t_infomask));
	return TransactionIdIsInProgress(holder);
}

/*
 * Whether a parked event of a free partition is to be given again.
 */
static bool
has_replays(const Subscription *subscription, const int64 *checkpoints)
{
	static SpiStatement list = {
		"SELECT DISTINCT partition FROM event_store.parked_event WHERE subscription = $1 AND replay"
	};
	Datum		name = CStringGetTextDatum(subscription->name);
	bool		found = false;
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&list, 1, (Oid[]) {TEXTOID}, &name, NULL);
	for (uint64 i = 0; i < count && !found; i++)
	{
		int			partition = spi_int32(i, 0, 0);

		found = partition < subscription->filter.partitions &&
			checkpoints[partition] != PG_INT64_MAX;
	}
	spi_end();
	return found;
}

static bool
has_unread(const Subscription *subscription, const int64 *checkpoints, int64 lowest, int64 mark)
{
	EventFilter filter = subscription->filter;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EventScan  *scan;
	Event		event;
	bool		found = false;

	filter.partitions = 0;
	scan = event_scan_positions(&filter, lowest, mark, snapshot);
	while (!found && event_scan_next(scan, &event))
		found = event.position > checkpoints[event_partition(&filter, &event,
															 subscription->filter.partitions)];
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

PG_FUNCTION_INFO_V1(event_store_wait_subscription);
/*
 * CALL event_store.wait_subscription(name, timeout, ready)
 */
Datum
event_store_wait_subscription(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	TupleDesc	descriptor;
	TimestampTz deadline;
	char	   *name;
	bool		ready = false;
	bool		isnull = false;
	Datum		value;

	wakeup_require_top_level("event_store.wait_subscription", call == NULL || call->atomic);
	argument_not_null(&fcinfo->args[0], "name", "Name the subscription.");
	argument_not_null(&fcinfo->args[1], "timeout", "For example '30 s'.");
	PreventCommandDuringRecovery("event_store.wait_subscription");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	deadline = clock_after(GetCurrentTimestamp(), PG_GETARG_INTERVAL_P(1), "timeout");
	descriptor = CreateTupleDescCopy(result_row_type(fcinfo));
	subscription_want(name);
	wakeup_listen_wanted();
	for (;;)
	{
		TimestampTz again = deadline;

		ready = subscription_ready(name, &again);
		/* Neither a snapshot nor a lock is held while it sleeps. */
		spi_commit_transaction();
		if (ready || (!wakeup_sleep(again) && GetCurrentTimestamp() >= deadline))
			break;
	}
	wakeup_unlisten();
	value = BoolGetDatum(ready);
	return result_row(descriptor, &value, &isnull);
}
