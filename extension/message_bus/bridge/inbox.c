/*
 * inbox.c
 *		Which foreign messages have been accepted: their ids, for as long as the setting
 *		message_bus.inbox_retention says.
 *
 * Eight tables take turns, each for a seventh of that time; with the default of seven
 * days a day each.  The one whose turn comes next holds what is older than all of it
 * and is emptied with TRUNCATE: no id is ever deleted by itself.
 *
 * Lock protocol: the table that is to be emptied is locked if that needs no waiting;
 * while somebody else holds it, a pg_dump for one, ids go on into the one before.  Who
 * notes ids has locked the bridge's row, so he sees all that were noted before.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "message_bus/bridge/inbox.h"
#include "pg/clock.h"
#include "pg/settings.h"
#include "pg/spi.h"
#include "pg/subtransaction.h"

#define SLOTS 8

/* The turn that is taken. */
typedef struct Turn
{
	int			slot;
	TimestampTz began_at;
	TimestampTz now;
} Turn;

static bool current_turn(Turn *turn);
static bool is_over(const Turn *turn);
static TimestampTz ended_at(int slot);
static void begin_turn(void *argument);
static SpiStatement *take_statement(int slot);

/*
 * The table that ids go to now; it is another's turn first, if that is due.
 */
int
inbox_turn(void)
{
	Turn		turn = {0, 0, clock_now()};
	Turn		next;
	ErrorData  *error;

	if (current_turn(&turn) && !is_over(&turn))
		return turn.slot;
	next = turn;
	next.slot = turn.began_at == 0 ? 0 : (turn.slot + 1) % SLOTS;
	if (subtransaction_run(begin_turn, &next, &error))
		return next.slot;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	return turn.slot;
}

/*
 * Reads whose turn it is; false if it is nobody's yet.
 */
static bool
current_turn(Turn *turn)
{
	static SpiStatement find = {
		"SELECT t.slot, t.began_at FROM message_bus.inbox_turn t ORDER BY t.began_at DESC LIMIT 1"};
	bool		found;
	bool		isnull;

	spi_begin(SPI_AS_OWNER);
	found = spi_run_latest(&find, 0, NULL, NULL, NULL) > 0;
	if (found)
	{
		turn->slot = spi_int32(0, 0, 0);
		turn->began_at = DatumGetTimestampTz(spi_value(0, 1, &isnull));
	}
	spi_end();
	return found;
}

/*
 * Whether the next table's turn has come: this one's is over, and what the next one has
 * is old enough.
 */
static bool
is_over(const Turn *turn)
{
	int64		retention = (int64) setting_message_bus_inbox_retention * USECS_PER_SEC;

	return turn->now - turn->began_at >= retention / (SLOTS - 1) &&
		turn->now - ended_at((turn->slot + 1) % SLOTS) >= retention;
}

/*
 * When the last id went into a table: its successor's turn began.
 */
static TimestampTz
ended_at(int slot)
{
	static SpiStatement find = {
		"SELECT t.began_at FROM message_bus.inbox_turn t WHERE t.slot = $1"};
	Datum		successor = Int32GetDatum((slot + 1) % SLOTS);
	TimestampTz at = 0;
	bool		isnull;

	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(&find, 1, (Oid[]) {INT4OID}, &successor, NULL) > 0)
		at = DatumGetTimestampTz(spi_value(0, 0, &isnull));
	spi_end();
	return at;
}

/*
 * Empties a table and gives it the turn, unless somebody was faster.
 */
static void
begin_turn(void *argument)
{
	static SpiStatement note = {
		"INSERT INTO message_bus.inbox_turn AS t (slot, began_at) VALUES ($1, $2)"
		" ON CONFLICT (slot) DO UPDATE SET began_at = excluded.began_at"};
	Turn	   *next = argument;
	Turn		turn = *next;
	Datum		values[] = {Int32GetDatum(next->slot), TimestampTzGetDatum(next->now)};

	spi_begin(SPI_AS_OWNER);
	spi_command(psprintf("LOCK TABLE message_bus.inbox_%d IN ACCESS EXCLUSIVE MODE NOWAIT",
						 next->slot));
	if (current_turn(&turn) && (turn.slot == next->slot || !is_over(&turn)))
		*next = turn;
	else
	{
		spi_command(psprintf("TRUNCATE message_bus.inbox_%d", next->slot));
		(void) spi_run_latest(&note, 2, (Oid[]) {INT4OID, TIMESTAMPTZOID}, values, NULL);
	}
	spi_end();
}

/*
 * Reads envelopes (an array of jsonb) as messages, notes the ids of those that have not
 * been accepted, and gives these messages, in their order, in the caller's memory.
 * Returns how many.  With unreadable as messages of that kind, which always can be.
 */
int
inbox_take(const Bridge *bridge, int slot, Datum envelopes, bool unreadable, Datum **messages)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[] = {INT4OID, JSONBARRAYOID, TEXTOID, JSONBOID, BOOLOID, TIMESTAMPTZOID};
	Datum		values[] = {Int32GetDatum(bridge->id), envelopes,
		CStringGetTextDatum(bridge->format), JsonbPGetDatum(bridge->options),
	BoolGetDatum(unreadable), TimestampTzGetDatum(clock_now())};
	bool		isnull;
	int			count;

	spi_begin(SPI_AS_OWNER);
	count = (int) spi_run_latest(take_statement(slot), 6, types, values, NULL);
	*messages = MemoryContextAlloc(caller, sizeof(Datum) * Max(count, 1));
	for (int i = 0; i < count; i++)
		(*messages)[i] = spi_copy(i, 0, caller, &isnull);
	spi_end();
	return count;
}

/*
 * The statement for the table whose turn it is.  Of one id in a batch the first counts;
 * what has none is taken whenever it comes.
 */
static SpiStatement *
take_statement(int slot)
{
	static SpiStatement statements[SLOTS];

	if (statements[slot].sql == NULL)
		statements[slot].sql = MemoryContextStrdup(TopMemoryContext, psprintf(
			"WITH given AS MATERIALIZED (SELECT u.n, CASE WHEN $5 THEN message_bus._unreadable(u.e, $4)"
			" ELSE message_bus.from_envelope($3, u.e, $4) END AS m"
			" FROM pg_catalog.unnest($2) WITH ORDINALITY u (e, n)),"
			" fresh AS MATERIALIZED (SELECT DISTINCT ON ((g.m).message_id) g.n, g.m FROM given g"
			" WHERE (g.m).message_id IS NOT NULL AND NOT EXISTS (SELECT FROM message_bus.inbox i"
			" WHERE i.bridge_id = $1 AND i.message_id = (g.m).message_id)"
			" ORDER BY (g.m).message_id, g.n),"
			" noted AS (INSERT INTO message_bus.inbox_%d"
			" (bridge_id, message_id, accepted_at, conversation_id, request)"
			" SELECT $1, (f.m).message_id, $6, (f.m).conversation_id,"
			" CASE WHEN (f.m).headers ? 'response_address' THEN pg_catalog.jsonb_strip_nulls("
			"pg_catalog.jsonb_build_object('request_id', (f.m).headers -> 'request_id',"
			" 'response_address', (f.m).headers -> 'response_address',"
			" 'fault_address', (f.m).headers -> 'fault_address')) END FROM fresh f)"
			" SELECT t.m FROM (SELECT f.n, f.m FROM fresh f UNION ALL"
																		 " SELECT g.n, g.m FROM given g WHERE (g.m).message_id IS NULL) t ORDER BY t.n",
																		 slot));
	return &statements[slot];
}
