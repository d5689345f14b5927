/*
 * duty.c
 *		The saga loop: by the database's runners, or by hand.
 *
 * A unit is an endpoint with the sagas that listen there.  A turn takes a batch of
 * messages; one that finds none fires timers and expires what has waited too long.
 * Messages come first: an answer that is there already must not lose against a
 * timer that became due while nobody looked.  So timers wait too while the
 * endpoint is paused or a breaker holds messages of it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "pg/clock.h"
#include "pg/limit.h"
#include "pg/relation.h"
#include "pg/settings.h"
#include "pg/spi.h"
#include "saga/engine/engine.h"
#include "saga/saga.h"

/* Messages and timers per transaction: enough to share its commit, not to wait for. */
#define BATCH_MESSAGES 200
#define BATCH_TIMERS 100

/* Until messages are looked at again that could not be taken, in milliseconds. */
#define LOOK_AGAIN 20

static ExtensionRelation definition_table = {"saga", "definition"};

static List *endpoints(MemoryContext context);
static List *served_endpoints(MemoryContext context);
static void run_endpoint(UnitTurn *turn);
static void adapt_portion(UnitTurn *turn, const InboxRun *run);
static TimestampTz next_due(const char *endpoint);
static int	endpoint_timeout(const char *endpoint);

const UnitKind saga_units = {"saga endpoint", served_endpoints, run_endpoint};

/*
 * Whether there is anything for runners to do.
 */
bool
saga_any_definition(void)
{
	static SpiStatement any = {"SELECT EXISTS (SELECT FROM saga.definition)"};
	bool		result;

	(void) extension_relation_oid(&definition_table);
	if (setting_saga_workers == 0)
		return false;
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&any, 0, NULL, NULL, NULL);
	result = spi_bool(0, 0);
	spi_end();
	return result;
}

/*
 * Whether this is the table that saga_any_definition() looks at, as far as this
 * process has looked.
 */
bool
saga_is_definition_table(Oid relation)
{
	return !definition_table.known || relation == definition_table.oid;
}

static List *
served_endpoints(MemoryContext context)
{
	return setting_saga_workers == 0 ? NIL : endpoints(context);
}

/*
 * A turn of an endpoint.
 */
static void
run_endpoint(UnitTurn *turn)
{
	TimestampTz now = GetCurrentTimestamp();
	InboxRun	run = {Min(turn->portion, BATCH_MESSAGES)};
	int			expired;

	definition_cache_refresh();
	turn->wakes = WAKE_FOR_SAGAS | WAKE_FOR_UNITS;
	message_bus_serve(turn->name);
	if (limit_is_for_pieces())
		limit_set(endpoint_timeout(turn->name));
	inbox_run(turn->name, &run);
	adapt_portion(turn, &run);
	turn->worked = turn->more = run.settled > 0;
	if (run.received > 0 && run.settled == 0)
		turn->due = TimestampTzPlusMilliseconds(now, LOOK_AGAIN);
	if (run.received > 0 || turn->only_messages || message_bus_holds_back(turn->name))
		return;
	turn->worked = timers_fire(turn->name, now, BATCH_TIMERS, false, &turn->more) > 0;
	expired = parked_expire(turn->name, now);
	turn->worked |= expired > 0;
	turn->more |= expired > 0;
	turn->due = next_due(turn->name);
}

/*
 * As many messages at once as fit into the time.
 */
static void
adapt_portion(UnitTurn *turn, const InboxRun *run)
{
	if (run->received > run->settled)
		turn->portion = Max(run->settled, 1);
	else if (run->received == run->max)
		turn->portion = Min(turn->portion * 2, BATCH_MESSAGES);
}

/*
 * When the next timer of the endpoint's sagas is due or the next message that is
 * parked there expires, WAKEUP_NEVER if none does.
 */
static TimestampTz
next_due(const char *endpoint)
{
	static SpiStatement parked = {
		"SELECT park_until FROM saga.parked_message WHERE endpoint = $1"
		" AND park_until < 'infinity' ORDER BY park_until LIMIT 1"
	};
	Datum		value = CStringGetTextDatum(endpoint);
	TimestampTz due = timers_next(endpoint);
	bool		isnull;

	spi_begin(SPI_AS_OWNER);
	if (spi_run(&parked, 1, (Oid[]) {TEXTOID}, &value, NULL) > 0)
		due = lesser(due, DatumGetTimestampTz(spi_value(0, 0, &isnull)));
	spi_end();
	return due;
}

/*
 * How long one execution may take there, in milliseconds.
 */
static int
endpoint_timeout(const char *endpoint)
{
	static SpiStatement find = {
		"SELECT LEAST(EXTRACT(epoch FROM timeout) * 1000, 86400000)::int"
		" FROM message_bus.endpoint WHERE name = $1"
	};
	Datum		value = CStringGetTextDatum(endpoint);
	int			result = setting_ecommerce_handler_timeout;

	spi_begin(SPI_AS_OWNER);
	if (spi_run(&find, 1, (Oid[]) {TEXTOID}, &value, NULL) > 0)
		result = greater(spi_int32(0, 0, result), 1);
	spi_end();
	return result;
}

/*
 * The endpoints of all sagas, each once, in the given memory context.
 */
static List *
endpoints(MemoryContext context)
{
	MemoryContext old;
	List	   *names = NIL;
	ListCell   *cell;

	definition_cache_refresh();
	foreach(cell, definition_endpoints())
	{
		old = MemoryContextSwitchTo(context);
		names = lappend(names, pstrdup(strVal(lfirst(cell))));
		MemoryContextSwitchTo(old);
	}
	return names;
}

PG_FUNCTION_INFO_V1(saga_run);
PG_FUNCTION_INFO_V1(saga_fire_due);

Datum
saga_run(PG_FUNCTION_ARGS)
{
	int			max = PG_GETARG_INT32(0);
	int			total = 0;
	bool		any = true;
	ListCell   *cell;

	engine_require_read_committed("saga.run()");
	if (restore_goes_on())
		PG_RETURN_INT32(0);
	while (any && total < max)
	{
		any = false;
		foreach(cell, endpoints(CurrentMemoryContext))
		{
			InboxRun	run = {Min(max - total, BATCH_MESSAGES)};

			if (total < max)
				inbox_run(lfirst(cell), &run);
			total += run.settled;
			any = any || run.settled > 0;
			CHECK_FOR_INTERRUPTS();
		}
	}
	PG_RETURN_INT32(total);
}

Datum
saga_fire_due(PG_FUNCTION_ARGS)
{
	TimestampTz as_of = clock_finite(PG_GETARG_TIMESTAMPTZ(0), "as_of");
	int			total = 0;
	bool		more = true;

	engine_require_read_committed("saga.fire_due()");
	if (restore_goes_on())
		PG_RETURN_INT32(0);
	definition_cache_refresh();
	while (more)
	{
		total += timers_fire(NULL, as_of, BATCH_TIMERS, true, &more);
		CHECK_FOR_INTERRUPTS();
	}
	while (parked_expire(NULL, as_of) > 0)
		CHECK_FOR_INTERRUPTS();
	PG_RETURN_INT32(total);
}
