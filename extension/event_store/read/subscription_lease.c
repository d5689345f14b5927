/*
 * subscription_lease.c
 *		Subscriptions as they are stored, and what this transaction has on lease of
 *		them.
 *
 * Lock protocol: the row of a partition is locked FOR UPDATE by the transaction
 * that has it on lease; others skip it.  Checkpoint and side effects therefore
 * commit together, and a consumer that dies gives the partition back by itself.
 *
 * What this backend has fetched is remembered per subscription for the length
 * of the transaction, and goes back with a rolled-back savepoint.  Its end, or
 * that of the savepoint, wakes who waits for a partition, and counts what was given
 * out in vain (log/failure.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/errors.h"
#include "base/order.h"
#include "event_store/read/partition.h"
#include "event_store/read/subscription_lease.h"
#include "event_store/stream/stream.h"
#include "log/failure.h"
#include "log/position.h"
#include "log/wakeup.h"
#include "pg/argument.h"
#include "pg/callbacks.h"
#include "pg/spi.h"

static Lease *leases = NULL;	/* in TopTransactionContext */

static void transaction_ended(XactEvent event, void *arg);
static void savepoint_ended(SubXactEvent event, SubTransactionId level,
							SubTransactionId parent, void *arg);
static uint32 lease_key(const char *name);
static void note_passed(Subscription *subscription, ArrayType *passed);
static const Lease *find_older(const Lease *lease);
static void note_failure(const Lease *lease);

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	for (Lease *lease = leases; lease != NULL; lease = lease->before)
	{
		if (lease->partition == NO_PARTITION && event != XACT_EVENT_ABORT)
			failure_forget_all(lease_failures_key(lease->subscription, 0),
							   SUBSCRIPTION_PARTITIONS_MAX);
		/* The newest entry of a subscription tells all. */
		if (lease_find(lease->subscription) != lease)
			continue;
		if (event == XACT_EVENT_ABORT)
			note_failure(lease);
		else
			failure_forget(lease_failures_key(lease->subscription, lease->partition),
						   lease->checkpoint);
	}
	leases = NULL;
}

/*
 * The entry of the same subscription that is next in age.
 */
static const Lease *
find_older(const Lease *lease)
{
	for (const Lease *older = lease->before; older != NULL; older = older->before)
	{
		if (strcmp(older->subscription, lease->subscription) == 0)
			return older;
	}
	return NULL;
}

/*
 * What was given out in vain: one event has failed, of several nobody knows which; it
 * is found out where events are parked by themselves.
 */
static void
note_failure(const Lease *lease)
{
	uint32		key = lease_failures_key(lease->subscription, lease->partition);

	if (lease->partition == NO_PARTITION)
		return;
	if (lease->given == 1)
		failure_count(key, lease->first);
	else if (lease->watched && lease->given > 1)
		failure_suspect(key, lease->fetched);
}

static void
savepoint_ended(SubXactEvent event, SubTransactionId level, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		for (; leases != NULL && leases->level == level; leases = leases->before)
		{
			/* What was given before the savepoint has not failed with it. */
			if (find_older(leases) == NULL)
				note_failure(leases);
			wakeup_waiters(WAIT_FOR_PARTITION, lease_key(leases->subscription));
		}
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
Lease *
lease_find(const char *name)
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
Lease *
lease_remember(const char *name, int partition, int64 fetched, int64 checkpoint)
{
	Lease	   *lease = lease_find(name);

	if (lease == NULL || lease->level != GetCurrentSubTransactionId())
	{
		Lease	   *entry = MemoryContextAlloc(TopTransactionContext, sizeof(Lease));

		callback_on_transaction(transaction_ended);
		callback_on_savepoint(savepoint_ended);
		entry->subscription = MemoryContextStrdup(TopTransactionContext, name);
		entry->level = GetCurrentSubTransactionId();
		entry->first = lease != NULL ? lease->first : 0;
		entry->given = lease != NULL ? lease->given : 0;
		entry->replayed = lease != NULL ? lease->replayed : NULL;
		entry->watched = lease != NULL && lease->watched;
		entry->before = leases;
		leases = lease = entry;
		wakeup_waiters_at_end(WAIT_FOR_PARTITION, lease_key(name));
	}
	lease->partition = partition;
	lease->fetched = fetched;
	lease->checkpoint = checkpoint;
	return lease;
}

/*
 * A subscription has gone, has become another one or begins elsewhere: what this
 * transaction has on lease of it is over, and when it has committed whoever waits looks
 * again, and failures are counted from none.
 */
void
lease_begin_anew(const char *name)
{
	(void) lease_remember(name, NO_PARTITION, 0, 0);
}

/*
 * Raises SB001.
 */
void
subscription_unknown(const char *name)
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
		"SELECT s.category, s.stream, s.event_types, s.partitions, s.park_after, EXISTS"
		" (SELECT FROM event_store.parked_event e WHERE e.subscription = s.name AND e.replay),"
		" s.partition_by, s.passed, s.xmin FROM event_store.subscription s WHERE s.name = $1"
	};
	enum
	{
		CATEGORY,
		STREAM,
		EVENT_TYPES,
		PARTITIONS,
		PARK_AFTER,
		REPLAYS,
		PARTITION_BY,
		PASSED,
		WRITTEN_BY
	};
	MemoryContext context = CurrentMemoryContext;
	EventFilter *filter = &subscription->filter;
	Datum		types, key = CStringGetTextDatum(name);
	char	   *partition_by;
	Datum		passed;
	bool		isnull;
	bool		none_passed;
	bool		none_written;

	memset(subscription, 0, sizeof(*subscription));
	subscription->name = pstrdup(name);
	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(&find, 1, (Oid[]) {TEXTOID}, &key, NULL) == 0)
		subscription_unknown(name);
	filter->category = spi_text(0, CATEGORY, context);
	filter->stream = spi_text(0, STREAM, context);
	types = spi_copy(0, EVENT_TYPES, context, &isnull);
	filter->partitions = (int) greater(1, lesser(spi_int32(0, PARTITIONS, 1),
												 SUBSCRIPTION_PARTITIONS_MAX));
	filter->of_consumer = true;
	subscription->park_after = spi_int32(0, PARK_AFTER, 0);
	subscription->replays = spi_bool(0, REPLAYS);
	partition_by = spi_text(0, PARTITION_BY, context);
	passed = spi_copy(0, PASSED, context, &none_passed);
	subscription->written_by = spi_copy(0, WRITTEN_BY, context, &none_written);
	spi_end();
	if (partition_by != NULL)
		filter->partition_by = partition_by_parse(partition_by);
	if (!none_passed)
		note_passed(subscription, DatumGetArrayTypeP(passed));
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
 * Where the partitions were before their number was changed.
 */
static void
note_passed(Subscription *subscription, ArrayType *passed)
{
	EventFilter *filter = &subscription->filter;

	subscription->passed = passed;
	filter->passed = (const int64 *) ARR_DATA_PTR(passed);
	filter->passed_count = ArrayGetNItems(ARR_NDIM(passed), ARR_DIMS(passed));
	for (int i = 0; i < filter->passed_count; i++)
		subscription->passed_upto = greater(subscription->passed_upto, filter->passed[i]);
}

/*
 * Locks a partition that nobody holds and that has not been consumed up to a
 * position; else false, and it stays free.  Sees what is committed now at every
 * isolation level: a checkpoint that has moved since our snapshot is no conflict.
 *
 * Nobody gets one by a definition that is not the one any more.  Where it was changed
 * after this statement's snapshot the rows of the partitions are others, too.
 */
bool
lease_lock(Subscription *subscription, int partition, int64 before, Lease **lease)
{
	static SpiStatement lock = {
		"SELECT p.checkpoint FROM event_store.subscription_partition p"
		" JOIN event_store.subscription s ON s.name = p.name AND s.xmin = $4"
		" WHERE p.name = $1 AND p.partition = $2 AND p.checkpoint < $3 FOR UPDATE OF p SKIP LOCKED"
	};
	bool		locked;
	int64		checkpoint = 0;

	spi_begin(SPI_AS_OWNER);
	locked = spi_run_latest(&lock, 4, (Oid[]) {TEXTOID, INT4OID, INT8OID, XIDOID},
							(Datum[]) {CStringGetTextDatum(subscription->name),
									   Int32GetDatum(partition), Int64GetDatum(before),
									   subscription->written_by},
							NULL) == 1;
	if (locked)
		checkpoint = spi_int64(0, 0, 0);
	spi_end();
	if (locked)
		*lease = lease_remember(subscription->name, partition, checkpoint, checkpoint);
	return locked;
}

/*
 * Moves the checkpoint of a partition that is on lease.
 */
void
lease_move_checkpoint(const char *name, int partition, int64 checkpoint)
{
	static SpiStatement move = {
		"UPDATE event_store.subscription_partition SET checkpoint = $3 WHERE name = $1 AND partition = $2"
	};

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(
		&move, 3, (Oid[]){TEXTOID, INT4OID, INT8OID},
		(Datum[]){CStringGetTextDatum(name), Int32GetDatum(partition), Int64GetDatum(checkpoint)},
		NULL);
	spi_end();
}

/*
 * Another event has been given out.
 */
void
lease_note_given(Lease *lease, int64 position)
{
	if (lease->given++ == 0)
		lease->first = position;
}

/*
 * A parked event has been given out again.
 */
void
lease_note_replayed(Lease *lease, int64 position)
{
	Replayed   *replayed = MemoryContextAlloc(TopTransactionContext, sizeof(Replayed));

	lease_note_given(lease, position);
	*replayed = (Replayed) {position, lease->replayed};
	lease->replayed = replayed;
}

/*
 * Under which key failures of a partition are counted.
 */
uint32
lease_failures_key(const char *name, int partition)
{
	return lease_key(name) * 31 + (uint32) partition;
}

/*
 * The first argument of a function: the name of a subscription.
 */
char *
subscription_argument(FunctionCallInfo fcinfo)
{
	argument_not_null(&fcinfo->args[0], "name", "Name the subscription.");
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}
