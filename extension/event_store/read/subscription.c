/*
 * subscription.c
 *		Persistent subscriptions: fetch leases a partition, advance moves it.
 *
 * Lock protocol: the row of a partition is locked FOR UPDATE by the transaction
 * that has it on lease; others skip it.  Checkpoint and side effects therefore
 * commit together, and a consumer that dies gives the partition back by itself.
 * A stream falls into the partition that its id modulo their number gives.
 *
 * What this backend has fetched is remembered per subscription for the length
 * of the transaction, and goes back with a rolled-back savepoint.  Its end, or
 * that of the savepoint, wakes who waits for a partition.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/order.h"
#include "event_store/read/event_result.h"
#include "event_store/read/subscription.h"
#include "event_store/stream/stream.h"
#include "event_store/stream/table.h"
#include "log/position.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "pg/argument.h"
#include "pg/callbacks.h"
#include "pg/spi.h"

#define PARTITIONS_MAX 1024

/* In a lease's partition: the subscription has been dropped. */
#define NO_PARTITION (-1)

/* A partition on lease, one entry per savepoint level that changed it. */
typedef struct Lease
{
	char	   *subscription;
	int			partition;
	int64		fetched;		/* position of the last event given out */
	int64		checkpoint;
	SubTransactionId level;
	struct Lease *before;		/* older entries, of this and of other subscriptions */
} Lease;

static Lease *leases = NULL;	/* in TopTransactionContext */
static bool callbacks_registered = false;

static void transaction_ended(XactEvent event, void *arg);
static void savepoint_ended(SubXactEvent event, SubTransactionId level,
							SubTransactionId parent, void *arg);
static uint32 lease_key(const char *name);
static Lease *find_lease(const char *name);
static Lease *remember(const char *name, int partition, int64 fetched, int64 checkpoint);
static Lease *take_lease(Subscription *subscription, int64 mark);
static bool lock_partition(Subscription *subscription, int partition, int64 before, Lease **lease);
static int64 lowest_free(const int64 *checkpoints, const bool *held, int partitions);
static void move_checkpoint(const char *name, int partition, int64 checkpoint);
static char *name_argument(FunctionCallInfo fcinfo, int argument);
static void check_position(const char *parameter, int64 position);

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		leases = NULL;
}

static void
savepoint_ended(SubXactEvent event, SubTransactionId level, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		for (; leases != NULL && leases->level == level; leases = leases->before)
			wakeup_waiters(WAIT_FOR_PARTITION, lease_key(leases->subscription));
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (Lease *lease = leases; lease != NULL && lease->level == level; lease = lease->before)
			lease->level = parent;
	}
}

/*
 * What those who wait for a partition of a subscription wait for.
 */
static uint32
lease_key(const char *name)
{
	return position_key(name, (int) strlen(name));
}

/*
 * The newest entry of a subscription, NULL if this transaction has no lease.
 */
static Lease *
find_lease(const char *name)
{
	for (Lease *lease = leases; lease != NULL; lease = lease->before)
	{
		if (strcmp(lease->subscription, name) == 0)
			return lease->partition != NO_PARTITION ? lease : NULL;
	}
	return NULL;
}

/*
 * Notes how far this transaction is.  A new entry for a new savepoint level, so
 * that rolling it back brings the old one back.
 */
static Lease *
remember(const char *name, int partition, int64 fetched, int64 checkpoint)
{
	Lease	   *lease = find_lease(name);

	if (lease == NULL || lease->level != GetCurrentSubTransactionId())
	{
		Lease	   *entry = MemoryContextAlloc(TopTransactionContext, sizeof(Lease));

		if (!callbacks_registered)
		{
			callback_on_transaction(transaction_ended);
			callback_on_savepoint(savepoint_ended);
			callbacks_registered = true;
		}
		entry->subscription = MemoryContextStrdup(TopTransactionContext, name);
		entry->level = GetCurrentSubTransactionId();
		entry->before = leases;
		leases = lease = entry;
		wakeup_waiters_at_end(WAIT_FOR_PARTITION, lease_key(name));
	}
	lease->partition = partition;
	lease->fetched = fetched;
	lease->checkpoint = checkpoint;
	return lease;
}

static void
unknown_subscription(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_SB_NO_SUBSCRIPTION),
			 errmsg("subscription \"%s\" does not exist", name),
			 errhint("Type SELECT event_store.create_subscription(%s).", quote_literal_cstr(name))));
}

/*
 * Reads a subscription; SB001 if there is none of that name.
 */
void
subscription_load(const char *name, Subscription *subscription)
{
	static SpiStatement find = {
		"SELECT category, stream, event_types, partitions FROM event_store.subscription WHERE name = $1"
	};
	MemoryContext context = CurrentMemoryContext;
	EventFilter *filter = &subscription->filter;
	Datum		types, key = CStringGetTextDatum(name);
	bool		isnull;

	memset(subscription, 0, sizeof(*subscription));
	subscription->name = pstrdup(name);
	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(&find, 1, (Oid[]) {TEXTOID}, &key, NULL) == 0)
		unknown_subscription(name);
	filter->category = spi_text(0, 0, context);
	filter->stream = spi_text(0, 1, context);
	types = spi_copy(0, 2, context, &isnull);
	filter->partitions = (int) greater(1, lesser(spi_int32(0, 3, 1), PARTITIONS_MAX));
	filter->of_consumer = true;
	spi_end();
	filter->category_length = filter->category ? (int) strlen(filter->category) : 0;
	filter->stream_length = filter->stream ? (int) strlen(filter->stream) : 0;
	if (filter->stream != NULL && filter->category == NULL)
	{
		/* Then only the category's part of the index need be read. */
		filter->category = filter->stream;
		filter->category_length = category_length(filter->stream, filter->stream_length);
	}
	event_filter_types(filter, isnull ? NULL : DatumGetArrayTypeP(types));
}

/*
 * Locks a partition that nobody holds and that has not been consumed up to a
 * position; else false, and it stays free.  Sees what is committed now at every
 * isolation level: a checkpoint that has moved since our snapshot is no conflict.
 */
static bool
lock_partition(Subscription *subscription, int partition, int64 before, Lease **lease)
{
	static SpiStatement lock = {
		"SELECT p.checkpoint FROM event_store.subscription_partition p"
		" JOIN event_store.subscription s ON s.name = p.name AND s.partitions = $4"
		" WHERE p.name = $1 AND p.partition = $2 AND p.checkpoint < $3 FOR UPDATE OF p SKIP LOCKED"
	};
	bool		locked;
	int64		checkpoint = 0;

	spi_begin(SPI_AS_OWNER);
	locked = spi_run_latest(&lock, 4, (Oid[]) {TEXTOID, INT4OID, INT8OID, INT4OID},
							(Datum[]) {CStringGetTextDatum(subscription->name),
									   Int32GetDatum(partition), Int64GetDatum(before),
									   Int32GetDatum(subscription->filter.partitions)},
							NULL) == 1;
	if (locked)
		checkpoint = spi_int64(0, 0, 0);
	spi_end();
	if (locked)
		*lease = remember(subscription->name, partition, checkpoint, checkpoint);
	return locked;
}

/*
 * Leases a free partition, one that has events if there is any.  NULL if all
 * are held, or free ones have nothing to read.
 */
static Lease *
take_lease(Subscription *subscription, int64 mark)
{
	static SpiStatement list = {
		"SELECT partition, checkpoint FROM event_store.subscription_partition"
		" WHERE name = $1 AND partition >= 0 AND partition < $2"
	};
	int			partitions = subscription->filter.partitions;
	int64	   *checkpoints = palloc0(sizeof(int64) * partitions);
	bool	   *held = palloc0(sizeof(bool) * partitions);
	EventFilter filter = subscription->filter;
	int			candidates = partitions;
	int64		lowest;
	Lease	   *lease = NULL;
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;

	if (partitions == 1)
	{
		(void) lock_partition(subscription, 0, PG_INT64_MAX, &lease);
		return lease;
	}
	spi_begin(SPI_AS_OWNER);
	for (uint64 i = 0, count = spi_run_latest(&list, 2, (Oid[]) {TEXTOID, INT4OID},
											  (Datum[]) {CStringGetTextDatum(subscription->name),
														 Int32GetDatum(partitions)},
											  NULL);
		 i < count; i++)
		checkpoints[spi_int32(i, 0, 0)] = spi_int64(i, 1, 0);
	spi_end();

	/* The partition of the oldest event that nobody works on. */
	filter.partitions = 0;
	lowest = lowest_free(checkpoints, held, partitions);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = event_scan_positions(&filter, lowest, mark, snapshot);
	while (candidates > 0 && event_scan_next(scan, &event))
	{
		int			partition = (int) (event.stream_id % partitions);

		if (held[partition] || event.position <= checkpoints[partition])
			continue;
		if (lock_partition(subscription, partition, event.position, &lease))
			break;
		/* Somebody else has it, or has just been through it: it stays free for others. */
		held[partition] = true;
		candidates--;
		/* What only held partitions have still to read is not for us to read. */
		lowest = lowest_free(checkpoints, held, partitions);
		if (candidates > 0 && lowest > event.position)
		{
			event_scan_end(scan);
			scan = event_scan_positions(&filter, lowest, mark, snapshot);
		}
	}
	event_scan_end(scan);
	if (lease == NULL && mark - lowest_free(checkpoints, held, partitions) > SKIP_BEFORE_MOVING)
		mark = event_passable(mark, snapshot);
	UnregisterSnapshot(snapshot);
	/* Nothing in a long stretch: a partition that is far behind is leased to be moved on. */
	for (int i = 0; i < partitions && lease == NULL; i++)
	{
		if (!held[i] && mark - checkpoints[i] > SKIP_BEFORE_MOVING)
			(void) lock_partition(subscription, i, mark - SKIP_BEFORE_MOVING, &lease);
	}
	return lease;
}

/*
 * The lowest checkpoint of the partitions that are not known to be held.
 */
static int64
lowest_free(const int64 *checkpoints, const bool *held, int partitions)
{
	int64		lowest = PG_INT64_MAX;

	for (int i = 0; i < partitions; i++)
	{
		if (!held[i])
			lowest = Min(lowest, checkpoints[i]);
	}
	return lowest;
}

static void
move_checkpoint(const char *name, int partition, int64 checkpoint)
{
	static SpiStatement move = {
		"UPDATE event_store.subscription_partition SET checkpoint = $3 WHERE name = $1 AND partition = $2"
	};

	spi_execute_latest(
		&move, 3, (Oid[]){TEXTOID, INT4OID, INT8OID},
		(Datum[]){CStringGetTextDatum(name), Int32GetDatum(partition), Int64GetDatum(checkpoint)},
		NULL);
}

static char *
name_argument(FunctionCallInfo fcinfo, int argument)
{
	argument_not_null(&fcinfo->args[argument], "name", "Name the subscription.");
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/*
 * Fails unless somebody can have been at a position.  Beyond the counter lie
 * events that would be passed over, and event_store.verify() would take such a
 * checkpoint for the trace of events that were lost.
 */
static void
check_position(const char *parameter, int64 position)
{
	int64		counter = position_counter(LOG_EVENT_STORE);

	if (position >= 0 && position <= counter)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must be between 0 and the newest position, " INT64_FORMAT, parameter, counter),
			 errhint("0 starts at the first event, event_store.high_water_mark() at the next.")));
}

PG_FUNCTION_INFO_V1(event_store_fetch);
/*
 * event_store.fetch(name, max_count)
 */
Datum
event_store_fetch(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo, 0);
	int			max_count = PG_ARGISNULL(1) ? 100 : PG_GETARG_INT32(1);
	EventResult result;
	Subscription subscription;
	Lease	   *lease;
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;
	int64		mark;
	int64		fetched;
	uint32		generation;

	PreventCommandIfReadOnly("event_store.fetch");
	PreventCommandDuringRecovery("event_store.fetch");
	if (max_count < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_count must be at least 1"),
				 errhint("100 is a good size of a batch.")));
	event_result_begin(fcinfo, &result);
	if (restore_goes_on())
		return (Datum) 0;
	generation = restore_generation();
	subscription_load(name, &subscription);
	mark = position_mark(LOG_EVENT_STORE, event_filter_key(&subscription.filter));
	lease = find_lease(name);
	if (lease == NULL)
		lease = take_lease(&subscription, mark);
	restore_check_unchanged(generation);
	if (lease == NULL)
		return (Datum) 0;

	subscription.filter.partition = lease->partition;
	fetched = Max(lease->fetched, lease->checkpoint);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = event_scan_positions(&subscription.filter, fetched, mark, snapshot);
	for (int count = 0; count < max_count && event_scan_next(scan, &event); count++)
	{
		event_result_put(&result, &event);
		fetched = event.position;
	}
	event_result_end(&result);
	event_scan_end(scan);
	if (mark - lease->checkpoint > SKIP_BEFORE_MOVING)
		mark = event_passable(mark, snapshot);
	UnregisterSnapshot(snapshot);
	restore_check_unchanged(generation);
	if (fetched > lease->fetched)
		(void) remember(name, lease->partition, fetched, lease->checkpoint);
	else if (lease->fetched == lease->checkpoint && mark - lease->checkpoint > SKIP_BEFORE_MOVING)
	{
		/* Nothing for us in a long stretch: do not read it again next time. */
		move_checkpoint(name, lease->partition, mark);
		(void) remember(name, lease->partition, mark, mark);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(event_store_advance);
/*
 * event_store.advance(name, checkpoint)
 */
Datum
event_store_advance(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo, 0);
	int64		checkpoint;
	Lease	   *lease;

	argument_not_null(&fcinfo->args[1], "checkpoint",
					  "Pass the position of the last event you have dealt with.");
	checkpoint = PG_GETARG_INT64(1);
	PreventCommandDuringRecovery("event_store.advance");
	lease = find_lease(name);
	if (lease == NULL)
	{
		Subscription subscription;

		subscription_load(name, &subscription);
		ereport(ERROR,
				(errcode(ERRCODE_SB_NOT_FETCHED),
				 errmsg("nothing of subscription \"%s\" was fetched in this transaction", name),
				 errhint("Call event_store.fetch, deal with the events, then advance, all in one transaction.")));
	}
	if (checkpoint < lease->checkpoint || checkpoint > Max(lease->fetched, lease->checkpoint))
		ereport(ERROR,
				(errcode(ERRCODE_SB_INVALID_CHECKPOINT),
				 errmsg("checkpoint " INT64_FORMAT " of subscription \"%s\" is not among the events fetched",
						checkpoint, name),
				 errdetail("This transaction has fetched events above " INT64_FORMAT " and up to " INT64_FORMAT ".",
						   lease->checkpoint, Max(lease->fetched, lease->checkpoint)),
				 errhint("Pass the position of an event you got, or use event_store.reset_subscription.")));
	move_checkpoint(name, lease->partition, checkpoint);
	(void) remember(name, lease->partition, Max(lease->fetched, checkpoint), checkpoint);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_create_subscription);
/*
 * event_store.create_subscription(name, category, event_types, start_after, partitions, stream)
 */
Datum
event_store_create_subscription(PG_FUNCTION_ARGS)
{
	static SpiStatement create = {
		"INSERT INTO event_store.subscription (name, category, event_types, partitions, stream)"
		" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING"
	};
	static SpiStatement same = {
		"SELECT FROM event_store.subscription WHERE name = $1 AND category IS NOT DISTINCT FROM $2"
		" AND event_types IS NOT DISTINCT FROM $3 AND partitions = $4 AND stream IS NOT DISTINCT FROM $5"
	};
	static const Oid argument_types[] = {TEXTOID, TEXTOID, TEXTARRAYOID, INT4OID, TEXTOID};
	static SpiStatement divide = {
		"INSERT INTO event_store.subscription_partition (name, partition, checkpoint)"
		" SELECT $1, n, $3 FROM generate_series(0, $2 - 1) n"
	};
	char	   *name = name_argument(fcinfo, 0);
	int64		start_after = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);
	int			partitions = PG_ARGISNULL(4) ? 1 : PG_GETARG_INT32(4);
	Datum		values[5] = {fcinfo->args[0].value, fcinfo->args[1].value, fcinfo->args[2].value,
	Int32GetDatum(partitions), fcinfo->args[5].value};
	char		nulls[5] = {' ', PG_ARGISNULL(1) ? 'n' : ' ', PG_ARGISNULL(2) ? 'n' : ' ', ' ',
	PG_ARGISNULL(5) ? 'n' : ' '};
	EventFilter types;
	StreamName	stream;

	if (name[0] == '\0' || strlen(name) > 255)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a subscription must have 1 to 255 bytes"),
				 errhint("Name it after the consumer, for example 'order list'.")));
	if (partitions < 1 || partitions > PARTITIONS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partitions must be between 1 and %d", PARTITIONS_MAX),
				 errhint("As many as consumers that shall work in parallel, or a few times more.")));
	check_position("start_after", start_after);
	if (!PG_ARGISNULL(1))
		category_check(VARDATA_ANY(PG_GETARG_TEXT_PP(1)), VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)));
	if (!PG_ARGISNULL(5))
		stream_name(&stream, VARDATA_ANY(PG_GETARG_TEXT_PP(5)),
					VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(5)));
	event_filter_types(&types, PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2));
	event_filter_refuse_none(&types);
	spi_begin(SPI_AS_OWNER);
	if (spi_run(&create, 5, argument_types, values, nulls) == 0)
	{
		/* Where it starts is over once it has been created. */
		if (spi_run_latest(&same, 5, argument_types, values, nulls) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("subscription \"%s\" exists already, with another definition", name),
					 errhint("Use it as it is, or event_store.drop_subscription first.")));
		spi_end();
		PG_RETURN_VOID();
	}
	(void) spi_run(&divide, 3, (Oid[]){TEXTOID, INT4OID, INT8OID},
				   (Datum[]){values[0], Int32GetDatum(partitions), Int64GetDatum(start_after)},
				   NULL);
	spi_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_drop_subscription);
/*
 * event_store.drop_subscription(name)
 */
Datum
event_store_drop_subscription(PG_FUNCTION_ARGS)
{
	static SpiStatement drop_partitions = {
		"DELETE FROM event_store.subscription_partition WHERE name = $1"
	};
	static SpiStatement drop = {"DELETE FROM event_store.subscription WHERE name = $1"};
	char	   *name = name_argument(fcinfo, 0);
	Datum		value = CStringGetTextDatum(name);

	spi_execute(&drop_partitions, 1, (Oid[]) {TEXTOID}, &value, NULL);
	if (spi_execute(&drop, 1, (Oid[]) {TEXTOID}, &value, NULL) == 0)
		unknown_subscription(name);
	/* Another one that gets its name begins anew. */
	if (find_lease(name) != NULL)
		(void) remember(name, NO_PARTITION, 0, 0);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_reset_subscription);
/*
 * event_store.reset_subscription(name, to_position)
 */
Datum
event_store_reset_subscription(PG_FUNCTION_ARGS)
{
	static SpiStatement reset = {
		"UPDATE event_store.subscription_partition SET checkpoint = $2 WHERE name = $1"
	};
	char	   *name = name_argument(fcinfo, 0);

	argument_not_null(&fcinfo->args[1], "to_position", "0 reads everything again.");
	check_position("to_position", PG_GETARG_INT64(1));
	if (spi_execute(&reset, 2, (Oid[]){TEXTOID, INT8OID},
					(Datum[]){CStringGetTextDatum(name), Int64GetDatum(PG_GETARG_INT64(1))},
					NULL) == 0)
		unknown_subscription(name);
	if (find_lease(name) != NULL)
		(void) remember(name, find_lease(name)->partition, PG_GETARG_INT64(1), PG_GETARG_INT64(1));
	PG_RETURN_VOID();
}
