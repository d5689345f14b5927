/*
 * attention.c
 *		Which instances may be stuck.
 *
 * An instance that raises an alarm, whose timer fails, whose compensation was given
 * up, or that nothing would wake is noted in saga.attention by the transaction that
 * makes it so, and taken out by the one that ends it: store_write() compares.  Those
 * that are too long in a state are found by the worker, which looks through the
 * instances in turns, and only where somebody has set a patience.  The view
 * saga.stuck looks at what is noted, and looks again.
 *
 * Lock protocol: none beyond the instance's.  A crash leaves what was committed; the
 * worker begins its search anew.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "pg/argument.h"
#include "pg/duty.h"
#include "pg/relation.h"
#include "pg/spi.h"
#include "saga/engine/attention.h"
#include "saga/saga.h"

/* Instances per turn of the worker, and how often it takes one, in microseconds. */
#define PORTION 1000
#define PORTION_INTERVAL USECS_PER_SEC
/* How often it looks whether there is a patience at all. */
#define IDLE_INTERVAL (60 * USECS_PER_SEC)
/* Instances per statement of a search by hand. */
#define LARGE_PORTION 100000

/* How far a search has got. */
typedef struct StuckSearch
{
	pg_uuid_t	id;
	char		saga[NAMEDATALEN * 4];
	int64		found;			/* that were not known */
} StuckSearch;

static StuckSearch worker_search;
static TimestampTz next_turn = 0;

static bool search_portion(StuckSearch *search, int portion);
static void look_through(StuckSearch *search);

/*
 * Whether an instance may be stuck, by what is written in it.
 */
bool
attention_is_due(const Machine *machine)
{
	const State *state = definition_state(machine->definition, machine->state);
	ListCell   *cell;

	if (machine->alarm != NULL || machine->timer_failures > 0)
		return true;
	foreach(cell, machine->outstanding)
	{
		if (((Outstanding *) lfirst(cell))->given_up)
			return true;
	}
	return machine->timers == NIL && !state->final &&
		(state->timer == NULL || strcmp(state->timer, "none") != 0);
}

/*
 * Notes an instance, or takes it out.
 */
void
attention_set(const Machine *machine, bool due)
{
	static SpiStatement note = {
		"INSERT INTO saga.attention (correlation_id, saga) VALUES ($1, $2) ON CONFLICT DO NOTHING"
	};
	static SpiStatement take_out = {
		"DELETE FROM saga.attention WHERE correlation_id = $1 AND saga = $2"
	};

	spi_begin(SPI_AS_OWNER);
	(void) spi_run(due ? &note : &take_out, 2, (Oid[]) {UUIDOID, TEXTOID},
				   (Datum[]) {UUIDPGetDatum(&machine->id),
					   CStringGetTextDatum(machine->definition->name)}, NULL);
	spi_end();
}

/*
 * Looks through the next instances for those that are too long in their state, and
 * for what somebody has made of them by hand.  False at the end of all.
 */
static bool
search_portion(StuckSearch *search, int portion)
{
	static SpiStatement look = {
		"WITH page AS MATERIALIZED ("
		" SELECT i.correlation_id, i.saga, s.timer, i.state_since, i.current_state, s.state,"
		"  i.engine ?| ARRAY['alarm', 'timer_failures']"
		"   OR i.engine -> 'outstanding' @> '[{\"given_up\": true}]' AS noted,"
		"  NOT EXISTS (SELECT FROM saga.timers t WHERE t.saga = i.saga"
		"   AND t.correlation_id = i.correlation_id) AS no_timer"
		" FROM saga.stored_instance i LEFT JOIN saga.definition_state s ON s.name = i.saga"
		"  AND s.version = i.definition_version AND s.kind = 'normal' AND s.state = i.current_state"
		" WHERE (i.correlation_id, i.saga) > ($1, $2) ORDER BY i.correlation_id, i.saga LIMIT $3),"
		" noted AS (INSERT INTO saga.attention (correlation_id, saga)"
		" SELECT p.correlation_id, p.saga FROM page p WHERE p.noted OR p.state IS NOT NULL"
		"  AND (p.no_timer AND p.timer IS DISTINCT FROM 'none' OR p.state_since <"
		"  pg_catalog.clock_timestamp() - (SELECT q.longest FROM saga.patience q"
		"   WHERE q.saga = p.saga AND q.state IN (p.current_state, '*')"
		"   ORDER BY q.state = '*' LIMIT 1))"
		" ON CONFLICT DO NOTHING RETURNING 1)"
		" SELECT (SELECT pg_catalog.count(*) FROM noted), p.correlation_id, p.saga FROM page p"
		" ORDER BY p.correlation_id DESC, p.saga DESC LIMIT 1"
	};
	Datum		values[3] = {
		UUIDPGetDatum(&search->id), CStringGetTextDatum(search->saga), Int32GetDatum(portion)
	};
	bool		any;
	bool		isnull;

	spi_begin(SPI_AS_OWNER);
	any = spi_run_latest(&look, 3, (Oid[]) {UUIDOID, TEXTOID, INT4OID}, values, NULL) > 0;
	if (any)
	{
		search->found += spi_int64(0, 0, 0);
		search->id = *DatumGetUUIDP(spi_value(0, 1, &isnull));
		strlcpy(search->saga, spi_text(0, 2, CurrentMemoryContext), sizeof(search->saga));
	}
	spi_end();
	return any;
}

static void
look_through(StuckSearch *search)
{
	memset(search, 0, sizeof(*search));
	while (search_portion(search, LARGE_PORTION))
		CHECK_FOR_INTERRUPTS();
}

/*
 * Duty of the worker: where somebody has set a patience, a portion of the instances.
 */
void
saga_attention_duty(DutyWish *wish)
{
	static SpiStatement any = {"SELECT EXISTS (SELECT FROM saga.patience)"};
	TimestampTz now = GetCurrentTimestamp();
	bool		wanted;

	if (now >= next_turn)
	{
		extension_begin_transaction();
		PushActiveSnapshot(GetTransactionSnapshot());
		spi_begin(SPI_AS_OWNER);
		(void) spi_run(&any, 0, NULL, NULL, NULL);
		wanted = spi_bool(0, 0);
		spi_end();
		if (wanted && !search_portion(&worker_search, PORTION))
			memset(&worker_search, 0, sizeof(worker_search));
		PopActiveSnapshot();
		CommitTransactionCommand();
		next_turn = now + (wanted ? PORTION_INTERVAL : IDLE_INTERVAL);
	}
	wish->due = next_turn;
}

PG_FUNCTION_INFO_V1(saga_set_patience);
/*
 * saga.set_patience(saga, state, longest)
 */
Datum
saga_set_patience(PG_FUNCTION_ARGS)
{
	static SpiStatement known = {
		"SELECT EXISTS (SELECT FROM saga.definition_state WHERE name = $1"
		" AND (state = $2 AND kind = 'normal' OR $2 = '*'))"
	};
	static SpiStatement set = {
		"INSERT INTO saga.patience (saga, state, longest) VALUES ($1, $2, $3)"
		" ON CONFLICT (saga, state) DO UPDATE SET longest = excluded.longest"
	};
	static SpiStatement forget = {"DELETE FROM saga.patience WHERE saga = $1 AND state = $2"};
	Datum		values[3];
	StuckSearch search;

	PreventCommandIfReadOnly("saga.set_patience()");
	argument_not_null(&fcinfo->args[0], "saga", "The view saga.definitions lists them.");
	argument_not_null(&fcinfo->args[1], "state", "Pass '*' for all states.");
	for (int i = 0; i < 3; i++)
		values[i] = fcinfo->args[i].value;
	if (!PG_ARGISNULL(2) &&
		DatumGetBool(DirectFunctionCall2(interval_le, values[2],
										 PointerGetDatum(palloc0(sizeof(Interval))))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("longest must be greater than nothing"),
				 errhint("Pass an interval like '2 hours', or NULL to take the patience back.")));
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&known, 2, (Oid[]) {TEXTOID, TEXTOID}, values, NULL);
	if (!spi_bool(0, 0))
		ereport(ERROR,
				(errcode(ERRCODE_SG_UNDEFINED),
				 errmsg("saga \"%s\" has no state \"%s\" that an instance could be too long in",
						TextDatumGetCString(values[0]), TextDatumGetCString(values[1])),
				 errhint("saga.overview() lists the states.")));
	(void) spi_run(PG_ARGISNULL(2) ? &forget : &set, PG_ARGISNULL(2) ? 2 : 3,
				   (Oid[]) {TEXTOID, TEXTOID, INTERVALOID}, values, NULL);
	spi_end();
	CommandCounterIncrement();
	look_through(&search);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(saga_look_for_stuck);
/*
 * saga.look_for_stuck()
 */
Datum
saga_look_for_stuck(PG_FUNCTION_ARGS)
{
	StuckSearch search;

	PreventCommandIfReadOnly("saga.look_for_stuck()");
	look_through(&search);
	PG_RETURN_INT32((int32) search.found);
}
