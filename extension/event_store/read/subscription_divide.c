/*
 * subscription_divide.c
 *		Another number of partitions for a subscription that goes on where it is.
 *
 * All new partitions begin where the one that was furthest behind is.  What the others
 * had passed is kept with the subscription (passed), by the old division, and is not
 * given again: so each event is given once, and in the order of its partition.
 *
 * Lock protocol: the caller has locked the rows of all partitions.  Who has read the old
 * division finds another one when he leases a partition, and gets none.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/order.h"
#include "event_store/read/partition.h"
#include "event_store/read/subscription_lease.h"
#include "pg/spi.h"

/* Where the partitions are. */
typedef struct Checkpoints
{
	ArrayType  *all;			/* by number */
	int64	   *at;				/* inside of it */
	int			count;
	int64		lowest;
	int64		highest;
} Checkpoints;

static void read_checkpoints(const char *name, Checkpoints *checkpoints);
static void raise_checkpoints(const Subscription *subscription, Checkpoints *checkpoints);
static void find_ends(Checkpoints *checkpoints);
static void write_division(const char *name, int partitions, int64 checkpoint, Datum passed);
static void move_parked(const Subscription *subscription, int partitions);
static int	partition_of(const Subscription *subscription, int64 position, int partitions,
						 int otherwise);

/*
 * Divides a subscription into so many partitions.
 */
void
subscription_divide(const char *name, int partitions)
{
	Subscription subscription;
	Checkpoints checkpoints;
	Datum		passed = (Datum) 0;
	int64		spread;

	subscription_load(name, &subscription);
	if (subscription.filter.partitions == partitions)
		return;
	read_checkpoints(name, &checkpoints);
	spread = checkpoints.highest - checkpoints.lowest;
	raise_checkpoints(&subscription, &checkpoints);
	if (checkpoints.lowest < subscription.passed_upto)
	{
		/* Nothing has been read since the last time: it may as well have been this one. */
		if (spread > 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("subscription \"%s\" has still to read what lay between its partitions when their number was last changed",
							name),
					 errhint("Let its consumers read up to position " INT64_FORMAT " first; the view event_store.subscriptions tells.",
							 subscription.passed_upto)));
		passed = PointerGetDatum(subscription.passed);
	}
	else if (checkpoints.lowest < checkpoints.highest)
		passed = PointerGetDatum(checkpoints.all);
	write_division(name, partitions, checkpoints.lowest, passed);
	move_parked(&subscription, partitions);
}

static void
read_checkpoints(const char *name, Checkpoints *checkpoints)
{
	static SpiStatement read = {
		"SELECT array_agg(checkpoint ORDER BY partition) FROM event_store.subscription_partition"
		" WHERE name = $1"
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		key = CStringGetTextDatum(name);
	bool		isnull;

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&read, 1, (Oid[]) {TEXTOID}, &key, NULL);
	checkpoints->all = DatumGetArrayTypeP(spi_copy(0, 0, context, &isnull));
	spi_end();
	checkpoints->at = (int64 *) ARR_DATA_PTR(checkpoints->all);
	checkpoints->count = ArrayGetNItems(ARR_NDIM(checkpoints->all), ARR_DIMS(checkpoints->all));
	find_ends(checkpoints);
}

static void
find_ends(Checkpoints *checkpoints)
{
	checkpoints->lowest = checkpoints->highest = checkpoints->at[0];
	for (int i = 1; i < checkpoints->count; i++)
	{
		checkpoints->lowest = lesser(checkpoints->lowest, checkpoints->at[i]);
		checkpoints->highest = greater(checkpoints->highest, checkpoints->at[i]);
	}
}

/*
 * A partition that has nothing to read may seem behind: it is as far as the first event
 * that it has still to read, or as the foremost.
 */
static void
raise_checkpoints(const Subscription *subscription, Checkpoints *checkpoints)
{
	int64		upto = greater(checkpoints->highest, subscription->passed_upto);
	int64	   *unread = palloc0(sizeof(int64) * checkpoints->count);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EventFilter filter = subscription->filter;
	EventScan  *scan;
	Event		event;

	filter.partitions = 0;
	scan = event_scan_positions(&filter, checkpoints->lowest, upto, snapshot);
	while (event_scan_next(scan, &event))
	{
		int			partition = event_partition(&filter, &event, checkpoints->count);

		if (unread[partition] == 0 && event.position > checkpoints->at[partition])
			unread[partition] = event.position;
	}
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	for (int i = 0; i < checkpoints->count; i++)
		checkpoints->at[i] = unread[i] != 0 ? unread[i] - 1 : upto;
	find_ends(checkpoints);
}

static void
write_division(const char *name, int partitions, int64 checkpoint, Datum passed)
{
	static SpiStatement change = {
		"UPDATE event_store.subscription SET partitions = $2, passed = $3 WHERE name = $1"
	};
	static SpiStatement remove = {
		"DELETE FROM event_store.subscription_partition WHERE name = $1"
	};
	static SpiStatement make = {
		"INSERT INTO event_store.subscription_partition (name, partition, checkpoint)"
		" SELECT $1, n, $3 FROM generate_series(0, $2 - 1) n"
	};
	Datum		values[] = {CStringGetTextDatum(name), Int32GetDatum(partitions), passed};

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&change, 3, (Oid[]) {TEXTOID, INT4OID, INT8ARRAYOID}, values,
						  passed == (Datum) 0 ? "  n" : NULL);
	(void) spi_run_latest(&remove, 1, (Oid[]) {TEXTOID}, values, NULL);
	values[2] = Int64GetDatum(checkpoint);
	(void) spi_run_latest(&make, 3, (Oid[]) {TEXTOID, INT4OID, INT8OID}, values, NULL);
	spi_end();
}

/*
 * What is parked belongs to the partition that its event falls into.
 */
static void
move_parked(const Subscription *subscription, int partitions)
{
	static SpiStatement list = {
		"SELECT position, partition FROM event_store.parked_event WHERE subscription = $1"
	};
	static SpiStatement move = {
		"UPDATE event_store.parked_event SET partition = $3 WHERE subscription = $1 AND position = $2"
	};
	Datum		name = CStringGetTextDatum(subscription->name);
	MemoryContext context = CurrentMemoryContext;
	int			count;
	int64	   *positions;
	int		   *numbers;

	spi_begin(SPI_AS_OWNER);
	count = (int) spi_run_latest(&list, 1, (Oid[]) {TEXTOID}, &name, NULL);
	positions = MemoryContextAlloc(context, sizeof(int64) * Max(count, 1));
	numbers = MemoryContextAlloc(context, sizeof(int) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		positions[i] = spi_int64(i, 0, 0);
		numbers[i] = spi_int32(i, 1, 0);
	}
	spi_end();
	for (int i = 0; i < count; i++)
	{
		int			partition = partition_of(subscription, positions[i], partitions,
											 numbers[i] % partitions);

		spi_execute_latest(&move, 3, (Oid[]) {TEXTOID, INT8OID, INT4OID},
						   (Datum[]) {name, Int64GetDatum(positions[i]), Int32GetDatum(partition)},
						   NULL);
	}
}

/*
 * The partition of the event at a position, or another answer if the event is gone.
 */
static int
partition_of(const Subscription *subscription, int64 position, int partitions, int otherwise)
{
	EventFilter any = {.of_consumer = true, .deletions = true};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EventScan  *scan = event_scan_positions(&any, position - 1, position, snapshot);
	Event		event;
	int			partition = otherwise;

	if (event_scan_next(scan, &event))
		partition = event_partition(&subscription->filter, &event, partitions);
	event_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return partition;
}
