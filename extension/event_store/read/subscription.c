/*
 * subscription.c
 *		Persistent subscriptions: fetch leases a partition, advance moves it.
 *
 * Lock protocol: the row of a partition is locked FOR UPDATE by the transaction
 * that has it on lease; others skip it.  Checkpoint and side effects therefore
 * commit together, and a consumer that dies gives the partition back by itself.
 * What falls into which partition says partition.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "base/order.h"
#include "event_store/read/event_result.h"
#include "event_store/read/park.h"
#include "event_store/read/partition.h"
#include "event_store/read/subscription.h"
#include "event_store/stream/table.h"
#include "log/failure.h"
#include "log/position.h"
#include "log/restore.h"
#include "pg/argument.h"
#include "pg/spi.h"

/* So many parked events are looked for at once: those of a deleted stream are gone. */
#define REPLAYS_AT_ONCE 100

static Lease *take_lease(Subscription *subscription, int64 mark);
static int64 lowest_free(const int64 *checkpoints, const bool *held, int partitions);
static bool give_replays(Subscription *subscription, int max_count, EventResult *result);
static bool give_again(Lease *lease, int64 *positions, int count, int max, EventResult *result);

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
		(void) lease_lock(subscription, 0, PG_INT64_MAX, &lease);
		return lease;
	}
	spi_begin(SPI_AS_OWNER);
	for (uint64 i = 0, count = spi_run_latest(&list, 2, (Oid[]) {TEXTOID, INT4OID},
											  (Datum[]) {CStringGetTextDatum(subscription->name),
														 Int32GetDatum(partitions)},
											  NULL);
		 i < count; i++)
	{
		int32		partition = spi_int32(i, 0, 0);

		/* The tables may say more than what was loaded: another of that name. */
		Assert(partition >= 0 && partition < partitions);
		checkpoints[partition] = spi_int64(i, 1, 0);
	}
	spi_end();

	/* The partition of the oldest event that nobody works on. */
	filter.partitions = 0;
	lowest = lowest_free(checkpoints, held, partitions);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = event_scan_positions(&filter, lowest, mark, snapshot);
	while (candidates > 0 && event_scan_next(scan, &event))
	{
		int			partition = event_partition(&filter, &event, partitions);

		if (held[partition] || event.position <= checkpoints[partition])
			continue;
		if (lease_lock(subscription, partition, event.position, &lease))
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
			(void) lease_lock(subscription, i, mark - SKIP_BEFORE_MOVING, &lease);
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

/*
 * Gives parked events again, those of one partition; false if none are free, or none
 * is left: their streams may have been deleted.  Where failures are counted they come one
 * by one.
 */
static bool
give_replays(Subscription *subscription, int max_count, EventResult *result)
{
	bool		watched = subscription->park_after > 0;
	int			max = watched ? 1 : max_count;
	int64	   *positions;
	int			count;
	bool		given = false;
	Lease	   *lease = lease_find(subscription->name);

	if (watched && lease != NULL && lease->given > 0)
		return false;
	while (!given && (lease = park_lease_replays(subscription, Max(max, REPLAYS_AT_ONCE),
												 &positions, &count)) != NULL)
	{
		/* What a savepoint is given goes with it. */
		lease = lease_remember(subscription->name, lease->partition, lease->fetched,
							   lease->checkpoint);
		lease->watched = watched;
		given = give_again(lease, positions, count, max, result);
		pfree(positions);
	}
	return given;
}

/*
 * Gives events again that are there still, at most max, and forgets the others that it has
 * looked for; false if there is none.
 */
static bool
give_again(Lease *lease, int64 *positions, int count, int max, EventResult *result)
{
	EventFilter any = {.of_consumer = true, .deletions = true};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			given = 0;
	int			gone = 0;

	for (int i = 0; i < count && given < max; i++)
	{
		EventScan  *scan = event_scan_positions(&any, positions[i] - 1, positions[i], snapshot);
		Event		event;

		if (event_scan_next(scan, &event))
		{
			event_result_put(result, &event);
			lease_note_replayed(lease, positions[i]);
			given++;
		}
		else
			positions[gone++] = positions[i];
		event_scan_end(scan);
	}
	UnregisterSnapshot(snapshot);
	if (gone > 0)
		park_remove(lease->subscription, positions, gone);
	return given > 0;
}

PG_FUNCTION_INFO_V1(event_store_fetch);
/*
 * event_store.fetch(name, max_count)
 */
Datum
event_store_fetch(PG_FUNCTION_ARGS)
{
	char	   *name = subscription_argument(fcinfo);
	int			max_count = PG_ARGISNULL(1) ? 100 : PG_GETARG_INT32(1);
	EventResult result;
	Subscription subscription;
	Lease	   *lease;
	Snapshot	snapshot;
	EventScan  *scan;
	Event		event;
	int64		mark;
	int64		fetched;
	bool		parked = false;
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
	DEBUG_POINT("fetch_loaded");
	mark = position_mark(LOG_EVENT_STORE, event_filter_key(&subscription.filter));
	if (subscription.replays)
	{
		bool		given = give_replays(&subscription, max_count, &result);

		restore_check_unchanged(generation);
		if (given)
			return (Datum) 0;
	}
	lease = lease_find(name);
	if (lease == NULL)
		lease = take_lease(&subscription, mark);
	restore_check_unchanged(generation);
	if (lease == NULL)
		return (Datum) 0;

	subscription.filter.partition = lease->partition;
	if (lease->checkpoint >= subscription.passed_upto)
		subscription.filter.passed_count = 0;
	lease = lease_remember(name, lease->partition, lease->fetched, lease->checkpoint);
	lease->watched = subscription.park_after > 0;
	fetched = Max(lease->fetched, lease->checkpoint);
	/* Of several that failed together each comes alone, so that it shows which it is. */
	if (lease->watched &&
		failure_suspected_upto(lease_failures_key(name, lease->partition)) > fetched)
		max_count = lease->given > 0 ? 0 : 1;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = event_scan_positions(&subscription.filter, fetched, mark, snapshot);
	for (int count = 0; count < max_count && event_scan_next(scan, &event);)
	{
		fetched = event.position;
		if (lease->watched && park_if_failed(&subscription, lease->partition, fetched))
		{
			parked = true;
			continue;
		}
		event_result_put(&result, &event);
		lease_note_given(lease, fetched);
		count++;
	}
	event_result_end(&result);
	event_scan_end(scan);
	if (mark - lease->checkpoint > SKIP_BEFORE_MOVING)
		mark = event_passable(mark, snapshot);
	UnregisterSnapshot(snapshot);
	restore_check_unchanged(generation);
	if (parked && lease->given == 0)
	{
		/* There is nothing that the consumer could advance to. */
		lease_move_checkpoint(name, lease->partition, fetched);
		(void) lease_remember(name, lease->partition, fetched, fetched);
	}
	else if (fetched > lease->fetched)
		(void) lease_remember(name, lease->partition, fetched, lease->checkpoint);
	else if (lease->fetched == lease->checkpoint && mark - lease->checkpoint > SKIP_BEFORE_MOVING)
	{
		/* Nothing for us in a long stretch: do not read it again next time. */
		lease_move_checkpoint(name, lease->partition, mark);
		(void) lease_remember(name, lease->partition, mark, mark);
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
	char	   *name = subscription_argument(fcinfo);
	int64		checkpoint;
	Lease	   *lease;

	argument_not_null(&fcinfo->args[1], "checkpoint",
					  "Pass the position of the last event you have dealt with.");
	checkpoint = PG_GETARG_INT64(1);
	PreventCommandDuringRecovery("event_store.advance");
	lease = lease_find(name);
	if (lease == NULL)
	{
		Subscription subscription;

		subscription_load(name, &subscription);
		ereport(ERROR,
				(errcode(ERRCODE_SB_NOT_FETCHED),
				 errmsg("nothing of subscription \"%s\" was fetched in this transaction", name),
				 errhint("Call event_store.fetch, deal with the events, then advance, all in one transaction.")));
	}
	/* At or below the checkpoint only what was parked can have been given out. */
	if (park_replayed(lease, checkpoint) && checkpoint <= lease->checkpoint)
		PG_RETURN_VOID();
	if (checkpoint < lease->checkpoint || checkpoint > Max(lease->fetched, lease->checkpoint))
		ereport(ERROR,
				(errcode(ERRCODE_SB_INVALID_CHECKPOINT),
				 errmsg("checkpoint " INT64_FORMAT " of subscription \"%s\" is not among the events fetched",
						checkpoint, name),
				 errdetail("This transaction has fetched events above " INT64_FORMAT " and up to " INT64_FORMAT ".",
						   lease->checkpoint, Max(lease->fetched, lease->checkpoint)),
				 errhint("Pass the position of an event you got, or use event_store.reset_subscription.")));
	lease_move_checkpoint(name, lease->partition, checkpoint);
	(void) lease_remember(name, lease->partition, Max(lease->fetched, checkpoint), checkpoint);
	PG_RETURN_VOID();
}
