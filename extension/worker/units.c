/*
 * units.c
 *		What the processes of a database know together about units in trouble:
 *		which are slow, which have failed and are put aside.
 *
 * A place is taken by a unit that is not well; when all are taken, the one that
 * has been there longest gives way, and will be found out again.  Whoever is well
 * has none and costs a look at a counter.
 *
 * Lock protocol: one LWLock, held for moments.  A crash of the server clears all.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "pg/result.h"
#include "worker/units.h"

#define PLACES 64

/* So many quick turns make a unit quick, twice as many each time it was slow again. */
#define QUICK_TURNS 20
#define QUICK_TURNS_MAX 20480

/* In milliseconds: the wait after the first failure, doubled with each, and the longest. */
#define FIRST_WAIT 250
#define LONGEST_WAIT (60 * 1000)

typedef struct Place
{
	Oid			database;		/* InvalidOid: free */
	uint32		hash;			/* of kind and name */
	char		kind[16];
	char		name[NAMEDATALEN];	/* cut off, for people */
	TimestampTz since;
	bool		slow;
	int			quick_turns;	/* since it was slow last */
	int			quick_wanted;
	int			failures;		/* in a row */
	TimestampTz retry_at;
	int			error_code;
	uint32		error_hash;
	char		error[160];
} Place;

typedef struct Units
{
	LWLock		lock;
	int			tranche;
	pg_atomic_uint32 taken;
	Place		places[PLACES];
} Units;

static Units *units = NULL;

static Place *find(const char *kind, const char *name, bool take);
static void leave_if_well(Place *place);

/*
 * Reserves the shared memory; from the shmem request hook.
 */
void
units_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(Units)));
}

/*
 * Creates the shared memory or finds what another process has created.
 */
void
units_attach(void)
{
	bool		found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	units = ShmemInitStruct("ecommerce units", sizeof(Units), &found);
	if (!found)
	{
		memset(units, 0, sizeof(Units));
		units->tranche = LWLockNewTrancheId();
		LWLockInitialize(&units->lock, units->tranche);
		pg_atomic_init_u32(&units->taken, 0);
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(units->tranche, "ecommerce units");
}

/*
 * How a unit is.
 */
void
units_look(const char *kind, const char *name, UnitState *state)
{
	Place	   *place;

	memset(state, 0, sizeof(*state));
	if (units == NULL)
		units_attach();
	if (likely(pg_atomic_read_u32(&units->taken) == 0))
		return;
	LWLockAcquire(&units->lock, LW_SHARED);
	place = find(kind, name, false);
	if (place != NULL)
	{
		state->slow = place->slow;
		state->retry_at = place->retry_at;
	}
	LWLockRelease(&units->lock);
}

/*
 * Whether this database has a slow unit.
 */
bool
units_any_slow(void)
{
	bool		any = false;

	if (units == NULL)
		units_attach();
	if (likely(pg_atomic_read_u32(&units->taken) == 0))
		return false;
	LWLockAcquire(&units->lock, LW_SHARED);
	for (int i = 0; i < PLACES; i++)
		any |= units->places[i].database == MyDatabaseId && units->places[i].slow;
	LWLockRelease(&units->lock);
	return any;
}

/*
 * A unit has needed more time than a quick one may.
 */
void
units_note_slow(const char *kind, const char *name)
{
	Place	   *place;

	LWLockAcquire(&units->lock, LW_EXCLUSIVE);
	place = find(kind, name, true);
	place->slow = true;
	place->quick_wanted = place->quick_wanted == 0 ? QUICK_TURNS
		: place->quick_turns > 0 ? Min(place->quick_wanted * 2, QUICK_TURNS_MAX)
		: place->quick_wanted;
	place->quick_turns = 0;
	LWLockRelease(&units->lock);
}

/*
 * A unit's turn has gone well and was quick; worked tells that it had work.  True
 * if it is no longer slow from now on: then somebody else serves it.
 */
bool
units_note_quick(const char *kind, const char *name, bool worked)
{
	Place	   *place;
	bool		recovered = false;

	if (likely(pg_atomic_read_u32(&units->taken) == 0))
		return false;
	LWLockAcquire(&units->lock, LW_EXCLUSIVE);
	place = find(kind, name, false);
	if (place != NULL)
	{
		place->failures = 0;
		place->retry_at = 0;
		recovered = place->slow && worked && ++place->quick_turns >= place->quick_wanted;
		if (recovered)
			place->slow = false;
		leave_if_well(place);
	}
	LWLockRelease(&units->lock);
	return recovered;
}

/*
 * A unit's turn has failed.  Returns when to try again; *tell, whether that is
 * news.
 */
TimestampTz
units_note_failure(const char *kind, const char *name, const ErrorData *error, bool *tell)
{
	uint32		hash = hash_bytes((const unsigned char *) error->message,
								  (int) strlen(error->message));
	TimestampTz retry_at;
	Place	   *place;

	LWLockAcquire(&units->lock, LW_EXCLUSIVE);
	place = find(kind, name, true);
	*tell = place->error_code != error->sqlerrcode || place->error_hash != hash;
	retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										   Min((int64) FIRST_WAIT << Min(place->failures, 16),
											   LONGEST_WAIT));
	place->failures++;
	place->retry_at = retry_at;
	place->error_code = error->sqlerrcode;
	place->error_hash = hash;
	strlcpy(place->error, error->message, sizeof(place->error));
	LWLockRelease(&units->lock);
	return retry_at;
}

/*
 * The place of a unit; one is taken if it has none, or NULL.
 */
static Place *
find(const char *kind, const char *name, bool take)
{
	uint32		hash = hash_combine(hash_bytes((const unsigned char *) kind, (int) strlen(kind)),
									hash_bytes((const unsigned char *) name, (int) strlen(name)));
	Place	   *oldest = &units->places[0];

	for (int i = 0; i < PLACES; i++)
	{
		Place	   *place = &units->places[i];

		if (place->database == MyDatabaseId && place->hash == hash &&
			strcmp(place->kind, kind) == 0)
			return place;
		if (!OidIsValid(oldest->database))
			continue;
		if (!OidIsValid(place->database) || place->since < oldest->since)
			oldest = place;
	}
	if (!take)
		return NULL;
	if (!OidIsValid(oldest->database))
		pg_atomic_fetch_add_u32(&units->taken, 1);
	memset(oldest, 0, sizeof(*oldest));
	oldest->database = MyDatabaseId;
	oldest->hash = hash;
	oldest->since = GetCurrentTimestamp();
	strlcpy(oldest->kind, kind, sizeof(oldest->kind));
	strlcpy(oldest->name, name, sizeof(oldest->name));
	return oldest;
}

/*
 * A unit that was slow keeps its place for as long as it takes to see that it is
 * not slow every now and then.
 */
static void
leave_if_well(Place *place)
{
	if (place->slow || place->failures > 0)
		return;
	if (place->quick_wanted > 0 && place->quick_turns++ < 2 * place->quick_wanted)
		return;
	place->database = InvalidOid;
	pg_atomic_fetch_sub_u32(&units->taken, 1);
}

PG_FUNCTION_INFO_V1(ecommerce_units);
/*
 * ecommerce._units(): the units of this database that are not well.
 */
Datum
ecommerce_units(PG_FUNCTION_ARGS)
{
	SetResult	result;

	result_begin(fcinfo, &result);
	if (units == NULL)
		units_attach();
	for (int i = 0; i < PLACES; i++)
	{
		Place		place;
		Datum		values[7];
		bool		nulls[7] = {false};

		LWLockAcquire(&units->lock, LW_SHARED);
		place = units->places[i];
		LWLockRelease(&units->lock);
		if (place.database != MyDatabaseId || (!place.slow && place.failures == 0))
			continue;
		values[0] = CStringGetTextDatum(place.kind);
		values[1] = CStringGetTextDatum(place.name);
		values[2] = BoolGetDatum(place.slow);
		values[3] = Int32GetDatum(place.failures);
		values[4] = CStringGetTextDatum(place.error);
		values[5] = TimestampTzGetDatum(place.retry_at);
		values[6] = TimestampTzGetDatum(place.since);
		nulls[4] = nulls[5] = place.failures == 0;
		result_put(&result, values, nulls);
	}
	return (Datum) 0;
}
