/*
 * death.c
 *		Consumers that died while they handled a message.
 *
 * A message that kills whoever handles it would be handed out for ever: what
 * the consumer would have written about it is rolled back with him.  So the
 * process that served him notes the death in shared memory when it exits in the
 * middle of a transaction, and the next receive, or the worker, writes it down.
 * A death is an attempt; the first of a message is a failure for the breaker.
 *
 * Lock protocol: the database's LWLock guards the records.  There are few; when
 * all are taken, the one with the fewest deaths gives way.  Who settles a message whose
 * deaths somebody is just writing down does not see the row: so he leaves the record,
 * without deaths, and the next who writes removes the row.
 *
 * If the server crashes because of a message, flight.c tells after it.  A crash for
 * other reasons loses what was not written down yet.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "log/wakeup.h"
#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/endpoint/death.h"
#include "message_bus/know/database.h"
#include "message_bus/know/flight.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/message_bus.h"
#include "message_bus/place/aside.h"
#include "pg/clock.h"
#include "pg/spi.h"

/* What this process's consumer is handling. */
typedef struct Watched
{
	bool		active;
	BusDatabase *database;
	const Endpoint *endpoint;
	bool		counts;			/* for the breaker: a first attempt, or a probe */
	bool		probe;
	int32		deaths;			/* before */
	pg_uuid_t	message_id;
	char		message_type[256];
} Watched;

typedef struct Settled
{
	int32		endpoint_id;
	pg_uuid_t	message_id;
	SubTransactionId settled_in;
	struct Settled *next;		/* older */
} Settled;

static Watched watched;
static Watched watched_before;	/* while a parked message is replayed */
static Settled *settled = NULL;
static SubTransactionId wrote_in = InvalidSubTransactionId; /* the outermost that did */
static uint8 writing[DEATH_RECORDS];	/* how often this transaction does */
static bool any_writing = false;
static bool exit_callback_registered = false;
static SpiStatement forget_row = {
	"DELETE FROM message_bus.death d WHERE d.endpoint_id = $1 AND d.message_id = $2"};

static void died(int code, Datum arg);
static bool take_dirty(BusDatabase *database, int number, BusDeath *death);
static void write_down(const BusDeath *death);
static void end_writing(BusDatabase *database, bool committed);
static bool forget_settled(BusDatabase *database);
static void free_record(BusDatabase *database, BusDeath *death);
static void write_again(void);
static BusDeath *record_of(BusDatabase *database, int32 endpoint_id, const pg_uuid_t *message_id);
static BusDeath *find(BusDatabase *database, int32 endpoint_id, const pg_uuid_t *message_id);

/*
 * From now until the transaction ends, the consumer handles this message.
 */
void
death_watch(const Endpoint *endpoint, const WatchedMessage *message)
{
	if (!exit_callback_registered)
	{
		/* After PostgreSQL's own, so it runs before the transaction is aborted. */
		before_shmem_exit(died, (Datum) 0);
		exit_callback_registered = true;
	}
	note_begin();
	watched.database = bus_database();
	watched.endpoint = endpoint;
	watched.message_id = message->message_id;
	watched.deaths = message->deaths;
	watched.counts = message->counts;
	watched.probe = message->probe;
	strlcpy(watched.message_type, message->message_type, sizeof(watched.message_type));
	watched.active = true;
	flight_begin(&(FlightRecord) {endpoint->shared->key, message->message_id, message->deaths});
}

/*
 * What is watched next replaces what is for a while, until death_watch_before().
 */
void
death_watch_another(void)
{
	watched_before = watched;
}

void
death_watch_before(void)
{
	watched = watched_before;
	if (watched.active)
		flight_begin(&(FlightRecord) {watched.endpoint->shared->key, watched.message_id,
			watched.deaths});
	else
		flight_end();
}

static void
died(int code, Datum arg)
{
	BusDatabase *database = watched.database;
	BreakerOutcome outcome = {1, 1, watched.probe, clock_now()};
	BusDeath   *death;

	if (!watched.active)
		return;
	watched.active = false;
	flight_end();
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	death = record_of(database, watched.endpoint->id, &watched.message_id);
	death->deaths++;
	death->dirty = true;
	LWLockRelease(&database->lock);
	if (watched.counts)
		breaker_count_now(watched.endpoint, watched.message_type, &outcome);
	lane_lower_worker(0);
}

/*
 * Counts the messages of an endpoint that a crash of the server has shown to kill
 * their processes.
 */
void
death_note_crashes(BusDatabase *database, const Endpoint *endpoint)
{
	FlightRecord record;
	bool		some = false;

	while (flight_take_crashed(&endpoint->shared->key, &record))
	{
		BusDeath   *death;

		LWLockAcquire(&database->lock, LW_EXCLUSIVE);
		death = record_of(database, endpoint->id, &record.message_id);
		death->deaths = Max(death->deaths, record.deaths + 1);
		death->dirty = true;
		LWLockRelease(&database->lock);
		ereport(LOG,
				(errmsg("a process died while it handled message %s, and the server with it",
						DatumGetCString(DirectFunctionCall1(uuid_out,
															UUIDPGetDatum(&record.message_id)))),
				 errdetail("It was its death number %d.", record.deaths + 1)));
		some = true;
	}
	if (some)
		lane_lower_worker(0);
}

/*
 * A message's record, a new one if need be; the caller has the lock.
 */
static BusDeath *
record_of(BusDatabase *database, int32 endpoint_id, const pg_uuid_t *message_id)
{
	BusDeath   *death = find(database, endpoint_id, message_id);

	if (death != NULL)
		return death;
	death = &database->deaths[0];
	for (int i = 1; i < DEATH_RECORDS && death->endpoint_id != 0; i++)
	{
		BusDeath   *other = &database->deaths[i];

		if (other->endpoint_id == 0 || other->deaths < death->deaths)
			death = other;
	}
	if (death->endpoint_id == 0)
		pg_atomic_fetch_add_u32(&database->death_count, 1);
	death->endpoint_id = endpoint_id;
	death->message_id = *message_id;
	death->deaths = 0;
	return death;
}

static BusDeath *
find(BusDatabase *database, int32 endpoint_id, const pg_uuid_t *message_id)
{
	for (int i = 0; i < DEATH_RECORDS; i++)
	{
		BusDeath   *death = &database->deaths[i];

		if (death->endpoint_id == endpoint_id &&
			memcmp(&death->message_id, message_id, UUID_LEN) == 0)
			return death;
	}
	return NULL;
}

/*
 * How many consumers have died of a message.
 */
int32
death_count(const Endpoint *endpoint, const pg_uuid_t *message_id)
{
	BusDatabase *database = bus_database();
	BusDeath   *death;
	int32		count;

	if (likely(pg_atomic_read_u32(&database->death_count) == 0))
		return 0;
	LWLockAcquire(&database->lock, LW_SHARED);
	death = find(database, endpoint->id, message_id);
	count = death != NULL ? death->deaths : 0;
	LWLockRelease(&database->lock);
	return count;
}

/*
 * So many deaths make a dead letter.
 */
int32
death_limit(const Endpoint *endpoint)
{
	return Max(endpoint->retry.limit, DEATHS_ALONE) + 1;
}

/*
 * The message is settled: its deaths are history when this transaction commits.
 */
void
death_forget(const Endpoint *endpoint, const pg_uuid_t *message_id)
{
	Datum		values[] = {Int32GetDatum(endpoint->id), UUIDPGetDatum(message_id)};
	Settled    *entry;

	if (likely(death_count(endpoint, message_id) == 0))
		return;
	spi_execute_latest(&forget_row, 2, (Oid[]) {INT4OID, UUIDOID}, values, NULL);
	entry = MemoryContextAlloc(note_memory(), sizeof(Settled));
	entry->endpoint_id = endpoint->id;
	entry->message_id = *message_id;
	entry->settled_in = GetCurrentSubTransactionId();
	entry->next = settled;
	settled = entry;
}

/*
 * Writes new deaths down, so that a restart does not forget them.
 */
void
death_write_dirty(void)
{
	BusDatabase *database = database_state();

	if (likely(pg_atomic_read_u32(&database->death_count) == 0))
		return;
	note_begin();
	for (int i = 0; i < DEATH_RECORDS; i++)
	{
		BusDeath	death;

		if (!take_dirty(database, i, &death))
			continue;
		if (wrote_in == InvalidSubTransactionId)
			wrote_in = GetCurrentSubTransactionId();
		write_down(&death);
	}
}

/*
 * Whether a record is to be written, by this transaction.  A row that somebody is
 * writing cannot be removed yet.
 */
static bool
take_dirty(BusDatabase *database, int number, BusDeath *death)
{
	BusDeath   *record = &database->deaths[number];
	bool		taken;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	taken = record->endpoint_id != 0 && record->dirty && writing[number] < PG_UINT8_MAX &&
		(record->deaths > 0 || record->writers == writing[number]);
	if (taken)
	{
		record->dirty = false;
		record->writers++;
		writing[number]++;
		any_writing = true;
		*death = *record;
	}
	LWLockRelease(&database->lock);
	return taken;
}

static void
write_down(const BusDeath *death)
{
	static SpiStatement write = {
		"INSERT INTO message_bus.death AS d (endpoint_id, message_id, deaths) VALUES ($1, $2, $3)"
		" ON CONFLICT (endpoint_id, message_id) DO UPDATE SET deaths = excluded.deaths"};
	Oid			types[] = {INT4OID, UUIDOID, INT4OID};
	Datum		values[] = {Int32GetDatum(death->endpoint_id), UUIDPGetDatum(&death->message_id),
	Int32GetDatum(death->deaths)};

	if (death->deaths > 0)
		spi_execute_latest(&write, 3, types, values, NULL);
	else
		spi_execute_latest(&forget_row, 2, types, values, NULL);
}

/*
 * Forgets settled messages, or what was written in vain.
 */
void
death_end_transaction(bool committed)
{
	bool		left = false;

	if (watched.active)
		flight_end();
	/* What they point to goes with the transaction. */
	watched.active = watched_before.active = false;
	if (any_writing || settled != NULL)
	{
		BusDatabase *database = bus_database_known();

		LWLockAcquire(&database->lock, LW_EXCLUSIVE);
		end_writing(database, committed);
		if (committed)
			left = forget_settled(database);
		LWLockRelease(&database->lock);
	}
	if (!committed)
		write_again();
	wrote_in = InvalidSubTransactionId;
	settled = NULL;
	any_writing = false;
	if (left)
		lane_lower_worker(0);
}

/*
 * What this transaction has written is written, or will never be.
 */
static void
end_writing(BusDatabase *database, bool committed)
{
	for (int i = 0; i < DEATH_RECORDS; i++)
	{
		BusDeath   *death = &database->deaths[i];

		if (writing[i] == 0)
			continue;
		/* After a restore all records are new. */
		death->writers = Max(death->writers - writing[i], 0);
		writing[i] = 0;
		if (committed && death->endpoint_id != 0 && death->deaths == 0 && !death->dirty &&
			death->writers == 0)
			free_record(database, death);
	}
}

/*
 * True if rows are left that are to go.
 */
static bool
forget_settled(BusDatabase *database)
{
	bool		left = false;

	for (Settled *entry = settled; entry != NULL; entry = entry->next)
	{
		BusDeath   *death = find(database, entry->endpoint_id, &entry->message_id);

		if (death == NULL)
			continue;
		if (death->writers == 0)
			free_record(database, death);
		else
		{
			death->deaths = 0;
			death->dirty = left = true;
		}
	}
	return left;
}

static void
free_record(BusDatabase *database, BusDeath *death)
{
	death->endpoint_id = 0;
	pg_atomic_fetch_sub_u32(&database->death_count, 1);
}

/*
 * The same for a savepoint: what it settled is not, and what it wrote is to be
 * written again.
 */
void
death_end_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
{
	for (Settled *entry = settled; entry != NULL && entry->settled_in == mine; entry = entry->next)
	{
		if (committed)
			entry->settled_in = parent;
		else
			settled = entry->next;
	}
	if (wrote_in == mine && committed)
		wrote_in = parent;
	else if (wrote_in == mine)
		write_again();
}

static void
write_again(void)
{
	BusDatabase *database = bus_database_known();

	if (wrote_in == InvalidSubTransactionId)
		return;
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	for (int i = 0; i < DEATH_RECORDS; i++)
		database->deaths[i].dirty = true;
	LWLockRelease(&database->lock);
	wrote_in = InvalidSubTransactionId;
}
