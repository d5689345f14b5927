/*
 * park.c
 *		Events of a subscription that have been put aside, so that it can go on.
 *
 * The consumer parks an event in the transaction that it got it in, or fetch()
 * does when the event has failed too often (log/failure.c has the counts).  An event
 * that shall be given again is marked; fetch() gives those first, one partition's
 * at a time, to who has the partition on lease, and advance() takes them away.
 *
 * Lock protocol: rows of parked_event are changed by the holder of their
 * partition, but for the mark, which waits for him.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "event_store/read/park.h"
#include "log/failure.h"
#include "log/position.h"
#include "log/wakeup.h"
#include "pg/argument.h"
#include "pg/spi.h"

static void put_aside(const char *name, int partition, int64 position, const char *error,
					  int attempts);

/*
 * Parks an event that has failed as often as its subscription lets it.
 */
bool
park_if_failed(const Subscription *subscription, int partition, int64 position)
{
	int			times = failure_times(lease_failures_key(subscription->name, partition), position);

	if (times < subscription->park_after)
		return false;
	put_aside(subscription->name, partition, position,
			  psprintf("the transaction that had fetched it ended without commit, %d times", times),
			  times);
	return true;
}

static void
put_aside(const char *name, int partition, int64 position, const char *error, int attempts)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.parked_event AS p (subscription, position, partition, error, attempts)"
		" VALUES ($1, $2, $3, $4, $5) ON CONFLICT (subscription, position) DO UPDATE SET replay = false,"
		" error = coalesce(excluded.error, p.error), attempts = p.attempts + excluded.attempts,"
		" parked_at = excluded.parked_at"
	};
	static const Oid types[] = {TEXTOID, INT8OID, INT4OID, TEXTOID, INT4OID};
	Datum		values[5] = {
		CStringGetTextDatum(name), Int64GetDatum(position), Int32GetDatum(partition),
		error != NULL ? CStringGetTextDatum(error) : (Datum) 0, Int32GetDatum(attempts)
	};

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&insert, 5, types, values, error != NULL ? NULL : "   n ");
	spi_end();
}

/*
 * Finds parked events that shall be given again, of the partition on lease or of
 * one that is free, which is leased then.  Returns the lease, NULL if there are none.
 */
Lease *
park_lease_replays(Subscription *subscription, int max, int64 **positions, int *count)
{
	static SpiStatement list = {
		"SELECT position, partition FROM event_store.parked_event"
		" WHERE subscription = $1 AND replay ORDER BY position"
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		name = CStringGetTextDatum(subscription->name);
	Lease	   *lease = lease_find(subscription->name);
	int64	   *all;
	int		   *partitions;
	int			found;

	spi_begin(SPI_AS_OWNER);
	found = (int) spi_run_latest(&list, 1, (Oid[]) {TEXTOID}, &name, NULL);
	all = MemoryContextAlloc(context, sizeof(int64) * Max(found, 1));
	partitions = MemoryContextAlloc(context, sizeof(int) * Max(found, 1));
	for (int i = 0; i < found; i++)
	{
		all[i] = spi_int64(i, 0, 0);
		partitions[i] = spi_int32(i, 1, 0);
	}
	spi_end();
	*count = 0;
	*positions = all;
	for (int i = 0; i < found && *count < max; i++)
	{
		/* Looks once at each partition that somebody else has. */
		if (lease == NULL && (i == 0 || partitions[i] != partitions[i - 1]))
			(void) lease_lock(subscription, partitions[i], PG_INT64_MAX, &lease);
		if (lease == NULL || partitions[i] != lease->partition ||
			(lease->replayed != NULL && all[i] <= lease->replayed->position))
			continue;
		if (subscription->park_after == 0 ||
			!park_if_failed(subscription, lease->partition, all[i]))
			all[(*count)++] = all[i];
	}
	pfree(partitions);
	return *count > 0 ? lease : NULL;
}

/*
 * The consumer has dealt with events that it was given again, up to a position;
 * false if it was given none.  Others that are marked, perhaps just now, and what it has
 * parked again, stay.
 */
bool
park_replayed(const Lease *lease, int64 upto)
{
	int64	   *positions = palloc(sizeof(int64) * Max(lease->given, 1));
	int			count = 0;

	for (const Replayed *replayed = lease->replayed; replayed != NULL; replayed = replayed->before)
	{
		if (replayed->position <= upto)
			positions[count++] = replayed->position;
	}
	if (count == 0)
		return false;
	park_remove(lease->subscription, positions, count);
	return true;
}

/*
 * Events that were to be given again need not be, any more.
 */
void
park_remove(const char *name, const int64 *positions, int count)
{
	static SpiStatement remove = {
		"DELETE FROM event_store.parked_event"
		" WHERE subscription = $1 AND position = ANY ($2) AND replay"
	};
	Datum	   *elements = palloc(sizeof(Datum) * count);
	Datum		values[2] = {CStringGetTextDatum(name)};

	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(positions[i]);
	values[1] = PointerGetDatum(construct_array(elements, count, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	spi_execute_latest(&remove, 2, (Oid[]) {TEXTOID, INT8ARRAYOID}, values, NULL);
}

PG_FUNCTION_INFO_V1(event_store_attempt);
/*
 * event_store.attempt(name, at_position)
 */
Datum
event_store_attempt(PG_FUNCTION_ARGS)
{
	char	   *name = subscription_argument(fcinfo);
	Lease	   *lease = lease_find(name);
	uint32		key;

	argument_not_null(&fcinfo->args[1], "at_position", "Pass the position of an event you got.");
	if (lease == NULL)
		PG_RETURN_INT32(1);
	key = lease_failures_key(name, lease->partition);
	PG_RETURN_INT32(failure_times(key, PG_GETARG_INT64(1)) + 1);
}

PG_FUNCTION_INFO_V1(event_store_park);
/*
 * event_store.park(subscription, at_position, error, attempts)
 */
Datum
event_store_park(PG_FUNCTION_ARGS)
{
	char	   *name = subscription_argument(fcinfo);
	Subscription subscription;
	Lease	   *lease;
	int64		position;
	uint32		key;
	int			attempts;

	argument_not_null(&fcinfo->args[1], "at_position", "Pass the position of an event you got.");
	position = PG_GETARG_INT64(1);
	PreventCommandDuringRecovery("event_store.park");
	subscription_load(name, &subscription);
	lease = lease_find(name);
	if (lease == NULL || lease->given == 0)
		ereport(ERROR,
				(errcode(ERRCODE_SB_NOT_FETCHED),
				 errmsg("nothing of subscription \"%s\" was fetched in this transaction", name),
				 errhint("Call event_store.fetch, and park in the same transaction.")));
	if (position < lease->first || position > Max(lease->fetched, lease->checkpoint))
		ereport(ERROR,
				(errcode(ERRCODE_SB_INVALID_CHECKPOINT),
				 errmsg("position " INT64_FORMAT " of subscription \"%s\" is not among the events fetched",
						position, name),
				 errhint("Pass the position of an event you got in this transaction.")));
	key = lease_failures_key(name, lease->partition);
	/* Who counts knows better: what failed among others was not counted here. */
	attempts = PG_ARGISNULL(3) ? failure_times(key, position) + 1 : PG_GETARG_INT32(3);
	if (attempts < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("attempts must be at least 1"),
				 errhint("Pass how often the event has failed, or leave it out.")));
	put_aside(name, lease->partition, position,
			  PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)), attempts);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_replay_parked);
/*
 * event_store.replay_parked(subscription, at_position)
 */
Datum
event_store_replay_parked(PG_FUNCTION_ARGS)
{
	static SpiStatement mark = {
		"UPDATE event_store.parked_event SET replay = true WHERE subscription = $1 AND NOT replay"
		" AND ($2 IS NULL OR position = $2) RETURNING position, partition"
	};
	char	   *name = subscription_argument(fcinfo);
	Subscription subscription;
	Datum		values[2] = {CStringGetTextDatum(name), PG_GETARG_DATUM(1)};
	uint64		count;

	PreventCommandDuringRecovery("event_store.replay_parked");
	subscription_load(name, &subscription);
	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&mark, 2, (Oid[]) {TEXTOID, INT8OID}, values,
						   PG_ARGISNULL(1) ? " n" : NULL);
	for (uint64 i = 0; i < count; i++)
		failure_forget_one(lease_failures_key(name, spi_int32(i, 1, 0)), spi_int64(i, 0, 0));
	spi_end();
	wakeup_waiters_at_end(WAIT_FOR_PARTITION, position_key(name, (int) strlen(name)));
	PG_RETURN_INT64((int64) count);
}
