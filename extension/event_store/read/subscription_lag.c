/*
 * subscription_lag.c
 *		How far behind the partitions of a subscription are, for the view
 *		event_store.subscriptions.
 *
 * One scan for all of them, which ends after so many events: what the view
 * costs grows neither with what has not been read nor with the partitions times
 * that.  Takes the high-water mark first.  Locks nothing.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "event_store/read/partition.h"
#include "event_store/read/subscription.h"
#include "log/position.h"
#include "pg/result.h"
#include "pg/spi.h"

/* What is known of a partition. */
typedef struct PartitionLag
{
	bool		exists;
	int64		checkpoint;
	int64		events;			/* unread, as far as was looked */
	TimestampTz oldest;			/* of them */
} PartitionLag;

static int64 read_checkpoints(const Subscription *subscription, PartitionLag *partitions);
static bool count_unread(Subscription *subscription, PartitionLag *partitions, int64 looks,
						 bool until_first, int64 *mark);

/*
 * Reads where each partition is.  Returns the lowest of it.
 */
static int64
read_checkpoints(const Subscription *subscription, PartitionLag *partitions)
{
	static SpiStatement list = {
		"SELECT partition, checkpoint FROM event_store.subscription_partition"
		" WHERE name = $1 AND partition BETWEEN 0 AND $2 - 1"
	};
	Datum		values[2] = {
		CStringGetTextDatum(subscription->name), Int32GetDatum(subscription->filter.partitions)
	};
	int64		lowest = PG_INT64_MAX;
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run(&list, 2, (Oid[]) {TEXTOID, INT4OID}, values, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		PartitionLag *partition = &partitions[spi_int32(i, 0, 0)];

		partition->exists = true;
		partition->checkpoint = spi_int64(i, 1, 0);
		lowest = Min(lowest, partition->checkpoint);
	}
	spi_end();
	return lowest;
}

/*
 * Counts, up to the mark, and says where that is; with until_first, the first
 * unread event is enough.  Returns whether it stopped for having looked so often.
 */
static bool
count_unread(Subscription *subscription, PartitionLag *partitions, int64 looks, bool until_first,
			 int64 *mark)
{
	EventFilter filter = subscription->filter;
	int64		lowest;
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;
	bool		capped;
	bool		found = false;

	/* Who looks does not wait for a standby that is away. */
	(void) position_mark_nowait(LOG_EVENT_STORE, event_filter_key(&filter), mark);
	lowest = read_checkpoints(subscription, partitions);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	filter.partitions = 0;
	scan = event_scan_positions(&filter, lowest, *mark, snapshot);
	event_scan_limit(scan, looks);
	while (!(until_first && found) && event_scan_next(scan, &event))
	{
		int			number = event_partition(&filter, &event, subscription->filter.partitions);
		PartitionLag *partition = &partitions[number];

		if (event.position <= partition->checkpoint)
			continue;
		if (partition->events++ == 0)
			partition->oldest = event.occurred_at;
		found = true;
	}
	capped = event_scan_was_limited(scan);
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return capped;
}

PG_FUNCTION_INFO_V1(event_store_subscription_lag);
/*
 * event_store._subscription_lag(name [, looks])
 */
Datum
event_store_subscription_lag(PG_FUNCTION_ARGS)
{
	Subscription subscription;
	PartitionLag *partitions;
	SetResult	result;
	int64		mark;
	bool		capped;

	result_begin(fcinfo, &result);
	subscription_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), &subscription);
	partitions = palloc0(sizeof(PartitionLag) * subscription.filter.partitions);
	capped = count_unread(&subscription, partitions,
						  PG_NARGS() > 1 ? PG_GETARG_INT32(1) : LAG_LOOKS, false, &mark);
	for (int i = 0; i < subscription.filter.partitions; i++)
	{
		const PartitionLag *partition = &partitions[i];
		Datum		values[6] = {
			Int32GetDatum(i), Int64GetDatum(partition->checkpoint), Int64GetDatum(mark),
			Int64GetDatum(partition->events), TimestampTzGetDatum(partition->oldest),
			BoolGetDatum(capped)
		};
		bool		nulls[6] = {false, false, false, false, partition->events == 0, false};

		if (partition->exists)
			result_put(&result, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(event_store_oldest_unread);
/*
 * event_store._oldest_unread(name, looks): when the first event was appended that
 * one of its partitions has not read; NULL: none is unread, or none was found.
 */
Datum
event_store_oldest_unread(PG_FUNCTION_ARGS)
{
	Subscription subscription;
	PartitionLag *partitions;
	int64		mark;

	subscription_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), &subscription);
	partitions = palloc0(sizeof(PartitionLag) * subscription.filter.partitions);
	(void) count_unread(&subscription, partitions, PG_GETARG_INT32(1), true, &mark);
	for (int i = 0; i < subscription.filter.partitions; i++)
		if (partitions[i].events > 0)
			PG_RETURN_TIMESTAMPTZ(partitions[i].oldest);
	PG_RETURN_NULL();
}
