/*
 * load.c
 *		Fills the shared memory of the bus from its tables, at the first use of
 *		the database and of each endpoint after the server has started, or after
 *		a dump has been restored into the database (log/restore.c).
 *
 * Lock protocol: a heavyweight lock per thing that is filled.  Whoever sends or
 * receives has it filled first, so while it is being filled no transaction is
 * running that has touched it, and what is committed is all there is.  After a
 * restore who has touched it before must end first, and cannot commit; what it
 * points to stays where it is.  Acks
 * are read under a share lock that keeps them from being folded meanwhile.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/order.h"
#include "log/position.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "message_bus/endpoint/breaker_table.h"
#include "message_bus/endpoint/death.h"
#include "message_bus/endpoint/load.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/know/relations.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/ring.h"
#include "pg/lock.h"
#include "pg/sequence.h"
#include "pg/spi.h"

static void load_deaths(BusDatabase *database, int32 endpoint_id);
static int64 newest_position(const Endpoint *endpoint, Datum id);
static void load_lanes(const Endpoint *endpoint);
static void empty_lane(BusLane *lane);
static BusLane *lane_of_row(const Endpoint *endpoint, uint64 row, int32 *number);
static void load_cursors(const Endpoint *endpoint, Datum id);
static void load_waiting(const Endpoint *endpoint, Datum id, uint64 *settled);

/*
 * An endpoint's deaths, as many as there is room for.
 */
static void
load_deaths(BusDatabase *database, int32 endpoint_id)
{
	static SpiStatement most = {
		"SELECT d.message_id, d.deaths FROM message_bus.death d WHERE d.endpoint_id = $1"
		" ORDER BY d.deaths DESC LIMIT $2"};
	Datum		values[] = {Int32GetDatum(endpoint_id), Int64GetDatum(DEATH_RECORDS)};
	uint64		count;
	uint64		taken = 0;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&most, 2, (Oid[]) {INT4OID, INT8OID}, values, NULL);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	for (int i = 0; i < DEATH_RECORDS && taken < count; i++)
	{
		BusDeath   *death = &database->deaths[i];
		bool		isnull;

		if (death->endpoint_id != 0)
			continue;
		death->endpoint_id = endpoint_id;
		death->message_id = *DatumGetUUIDP(spi_value(taken, 0, &isnull));
		death->deaths = spi_int32(taken, 1, 0);
		death->dirty = false;
		taken++;
	}
	pg_atomic_fetch_add_u32(&database->death_count, (uint32) taken);
	LWLockRelease(&database->lock);
	spi_end();
}

/*
 * Sets what all share of an endpoint, filled.
 */
void
load_endpoint_state(Endpoint *endpoint)
{
	BusDatabase *database = database_state();
	BusEndpoint *shared = bus_endpoint_shared(endpoint->id, endpoint->lanes);
	uint32		generation = restore_generation();

	endpoint->shared = shared;
	if (likely(pg_atomic_read_u32(&shared->loaded) == generation))
		return;
	note_check_restored();
	(void) lock_take(LOCK_LOAD, endpoint->id, 0, ExclusiveLock, true);
	if (pg_atomic_read_u32(&shared->loaded) != generation)
	{
		bool		again = pg_atomic_read_u32(&shared->loaded) != 0;

		/* Who has used it before the restore cannot commit, but must have ended. */
		if (again)
			(void) lock_take(LOCK_ENDPOINT, endpoint->id, 0, ExclusiveLock, true);
		load_lanes(endpoint);
		breaker_load(endpoint);
		load_deaths(database, endpoint->id);
		death_note_crashes(database, endpoint);
		pg_write_barrier();
		pg_atomic_write_u32(&shared->loaded, generation);
		if (again)
			lock_give_back(LOCK_ENDPOINT, endpoint->id, 0, ExclusiveLock);
	}
	lock_give_back(LOCK_LOAD, endpoint->id, 0, ExclusiveLock);
}

static void
load_lanes(const Endpoint *endpoint)
{
	BusLane    *lanes = bus_lanes(endpoint->shared);
	Datum		id = Int32GetDatum(endpoint->id);
	uint64		depth = 0;
	uint64		settled = 0;
	uint64		tail;

	for (int i = 0; i < endpoint->shared->lane_count; i++)
		empty_lane(&lanes[i]);
	load_cursors(endpoint, id);
	/* What is beyond the counter would not be seen below. */
	position_raise(LOG_MESSAGE_BUS, newest_position(endpoint, id));
	tail = (uint64) position_counter(LOG_MESSAGE_BUS);
	load_waiting(endpoint, id, &settled);
	for (int i = 0; i < endpoint->shared->lane_count; i++)
	{
		pg_atomic_write_u64(&lanes[i].tail, tail);
		depth += ring_count(endpoint, i, PG_INT64_MAX);
	}
	pg_atomic_write_u64(&endpoint->shared->depth, depth - Min(settled, depth));
}

/*
 * The greatest position that the tables have of an endpoint: a message below a cursor, or
 * beyond the counter, would not be seen.  Looks at the end of each lane: what is settled
 * may be all that the ring holds.
 */
static int64
newest_position(const Endpoint *endpoint, Datum id)
{
	static SpiStatement newest = {
		"SELECT pg_catalog.max(n.position) FROM pg_catalog.generate_series(0, $2 - 1) l"
		" CROSS JOIN LATERAL (SELECT r.position FROM message_bus._ring r"
		" WHERE r.endpoint_id = $1 AND r.lane = l ORDER BY r.position DESC LIMIT 1) n"
	};
	BusLane    *lanes = bus_lanes(endpoint->shared);
	int			count = endpoint->shared->lane_count;
	int64		position;

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&newest, 2, (Oid[]) {INT4OID, INT4OID},
						  (Datum[]) {id, Int32GetDatum(count)}, NULL);
	position = spi_int64(0, 0, 0);
	spi_end();
	for (int i = 0; i < count; i++)
		position = greater(position, (int64) pg_atomic_read_u64(&lanes[i].cursor));
	return position;
}

/*
 * As if nothing had ever been sent to it; nobody holds it.
 */
static void
empty_lane(BusLane *lane)
{
	pg_atomic_write_u64(&lane->cursor, 0);
	pg_atomic_write_u64(&lane->tail, 0);
	pg_atomic_write_u64(&lane->empty_to, 0);
	pg_atomic_write_u32(&lane->passed, 0);
	for (int i = 0; i < RING_SEGMENTS; i++)
		pg_atomic_write_u32(&lane->clean[i], 0);
	SpinLockAcquire(&lane->mutex);
	lane->held = false;
	lane->next_due = NEVER_DUE;
	lane->due_version++;
	memset(&lane->leases, 0, sizeof(lane->leases));
	SpinLockRelease(&lane->mutex);
}

/*
 * The lane that a row of the current result names in its first column, NULL if
 * the endpoint has none of that number.  Tables can hold what somebody wrote by
 * hand, or restored; message_bus.verify() tells.
 */
static BusLane *
lane_of_row(const Endpoint *endpoint, uint64 row, int32 *number)
{
	*number = spi_int32(row, 0, -1);
	if (*number < 0 || *number >= endpoint->shared->lane_count)
		return NULL;
	return lane_get(endpoint, *number);
}

static void
load_cursors(const Endpoint *endpoint, Datum id)
{
	static SpiStatement cursors = {
		"SELECT c.lane, pg_catalog.max(c.position) FROM"
		" (SELECT l.lane, l.position FROM message_bus.lane l WHERE l.endpoint_id = $1 UNION ALL"
		"  SELECT a.lane, a.position FROM message_bus.ack_0 a WHERE a.endpoint_id = $1 UNION ALL"
		"  SELECT a.lane, a.position FROM message_bus.ack_1 a WHERE a.endpoint_id = $1) c GROUP BY 1"};
	uint64		count;

	/* Before the snapshot is taken, so that no ack disappears from it. */
	(void) lock_take(LOCK_FOLD, 0, 0, ShareLock, true);
	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&cursors, 1, (Oid[]) {INT4OID}, &id, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		int32		number;
		BusLane    *lane = lane_of_row(endpoint, i, &number);

		if (lane != NULL)
			pg_atomic_write_u64(&lane->cursor, (uint64) spi_int64(i, 1, 0));
	}
	spi_end();
	lock_give_back(LOCK_FOLD, 0, 0, ShareLock);
}

/*
 * What is set aside, leased or settled out of order.
 */
static void
load_waiting(const Endpoint *endpoint, Datum id, uint64 *settled)
{
	static SpiStatement waiting = {
		"SELECT w.lane, pg_catalog.min(w.due_at), pg_catalog.bool_or(w.due_at = 'infinity')"
		" FROM message_bus.aside w WHERE w.endpoint_id = $1 GROUP BY 1"};
	static SpiStatement leases = {
		"SELECT l.lane, pg_catalog.count(*), pg_catalog.count(l.position),"
		" pg_catalog.min(l.leased_until), pg_catalog.max(l.upto) FROM message_bus.lease l"
		" WHERE l.endpoint_id = $1 GROUP BY 1"};
	static SpiStatement passed = {
		"SELECT p.lane, pg_catalog.count(*) FILTER (WHERE p.position > coalesce((SELECT"
		" pg_catalog.max(l.upto) FROM message_bus.lease l WHERE l.endpoint_id = p.endpoint_id"
		" AND l.lane = p.lane), 0)) FROM message_bus.passed p WHERE p.endpoint_id = $1 GROUP BY 1"};
	/* Columns, after the lane. */
	enum
	{
		WAITING_FIRST_DUE = 1,
		WAITING_SOME_HELD
	};
	enum
	{
		LEASES_COUNT = 1,
		LEASES_IN_RING,
		LEASES_FIRST_END,
		LEASES_UPTO
	};
	Oid			types[] = {INT4OID};
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&waiting, 1, types, &id, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		int32		number;
		BusLane    *lane = lane_of_row(endpoint, i, &number);
		TimestampTz due = spi_int64(i, WAITING_FIRST_DUE, DT_NOEND);

		if (lane == NULL)
			continue;
		lane->held = spi_bool(i, WAITING_SOME_HELD);
		lane->next_due = TIMESTAMP_IS_NOEND(due) ? NEVER_DUE : due;
		if (!TIMESTAMP_IS_NOEND(due))
			lane_lower_worker(due);
	}
	count = spi_run_latest(&leases, 1, types, &id, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		int32		number;
		BusLane    *lane = lane_of_row(endpoint, i, &number);

		if (lane == NULL)
			continue;
		lane->leases.count = (uint32) spi_int64(i, LEASES_COUNT, 0);
		lane->leases.in_ring = (uint32) spi_int64(i, LEASES_IN_RING, 0);
		lane->leases.first_end = spi_int64(i, LEASES_FIRST_END, 0);
		lane_lower_worker(lane->leases.first_end);
		/* Of the leased batch some are settled; the cursor follows when all are. */
		*settled += ring_count(endpoint, number, spi_int64(i, LEASES_UPTO, 0)) -
			lane->leases.in_ring;
	}
	count = spi_run_latest(&passed, 1, types, &id, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		int32		number;
		BusLane    *lane = lane_of_row(endpoint, i, &number);

		if (lane == NULL)
			continue;
		pg_atomic_write_u32(&lane->passed, 1);
		/* They are beyond the cursor, and beyond leases, but count no more. */
		*settled += (uint64) spi_int64(i, 1, 0);
	}
	spi_end();
}
