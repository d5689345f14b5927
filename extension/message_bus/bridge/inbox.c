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
#include "message_bus/bridge/inbox_ids.h"
#include "pg/clock.h"
#include "pg/settings.h"
#include "pg/spi.h"
#include "pg/subtransaction.h"

/* What cannot be read is a format of its own. */
#define UNREADABLE "unreadable"

/* Columns of what read_statement() gives. */
enum
{
	READ_MESSAGE,
	READ_ID,					/* its own, or that of its content; null: none */
	READ_BY_CONTENT,
	READ_AGAIN,					/* the broker brings it again */
	READ_CONVERSATION_ID,
	READ_REQUEST				/* whom to answer */
};

/* The turn that is taken. */
typedef struct InboxTurn
{
	int			slot;
	TimestampTz began_at;
	TimestampTz now;
} InboxTurn;

static bool current_turn(InboxTurn *turn);
static bool is_over(const InboxTurn *turn);
static TimestampTz ended_at(int slot);
static void begin_turn(void *argument);
static bool is_fresh(const Bridge *bridge, InboxIds *ids, int row, bool unreadable);
static SpiStatement *read_statement(const char *format);

/*
 * The table that ids go to now; it is another's turn first, if that is due.
 */
int
inbox_turn(void)
{
	InboxTurn	turn = {0, 0, clock_now()};
	InboxTurn	next;
	ErrorData  *error;

	if (current_turn(&turn) && !is_over(&turn))
		return turn.slot;
	next = turn;
	next.slot = turn.began_at == 0 ? 0 : (turn.slot + 1) % INBOX_SLOTS;
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
current_turn(InboxTurn *turn)
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
is_over(const InboxTurn *turn)
{
	int64		retention = (int64) setting_message_bus_inbox_retention * USECS_PER_SEC;

	return turn->now - turn->began_at >= retention / (INBOX_SLOTS - 1) &&
		turn->now - ended_at((turn->slot + 1) % INBOX_SLOTS) >= retention;
}

/*
 * When the last id went into a table: its successor's turn began.
 */
static TimestampTz
ended_at(int slot)
{
	static SpiStatement find = {
		"SELECT t.began_at FROM message_bus.inbox_turn t WHERE t.slot = $1"};
	Datum		successor = Int32GetDatum((slot + 1) % INBOX_SLOTS);
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
	InboxTurn  *next = argument;
	InboxTurn	turn = *next;
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
	Oid			types[] = {JSONBARRAYOID, JSONBOID, BOOLOID};
	Datum		values[] = {envelopes, JsonbPGetDatum(bridge->options),
	BoolGetDatum(bridge->recognises && !unreadable)};
	InboxIds   *ids;
	bool		isnull;
	int			count;
	int			taken = 0;

	spi_begin(SPI_AS_OWNER);
	count = (int) spi_run_latest(read_statement(unreadable ? UNREADABLE : bridge->format), 3,
								 types, values, NULL);
	*messages = MemoryContextAlloc(caller, sizeof(Datum) * Max(count, 1));
	ids = inbox_ids_open(bridge->id, count);
	for (int i = 0; i < count; i++)
	{
		if (is_fresh(bridge, ids, i, unreadable))
			(*messages)[taken++] = spi_copy(i, READ_MESSAGE, caller, &isnull);
	}
	inbox_ids_close(ids, slot, clock_now());
	spi_end();
	return taken;
}

/*
 * Whether a message that was read is one that has not been accepted; its id is noted
 * then.  What has no id is known by its content, if the bridge wants that, but only
 * left out when the broker says that it brings it again: senders may mean two equal
 * ones.
 */
static bool
is_fresh(const Bridge *bridge, InboxIds *ids, int row, bool unreadable)
{
	InboxNote	note = {0};
	bool		no_id;
	Datum		id = spi_value(row, READ_ID, &no_id);
	bool		by_content = spi_bool(row, READ_BY_CONTENT);
	bool		known;

	if (no_id && bridge->refuses && !unreadable)
		ereport(ERROR,
				(errcode(ERRCODE_MB_INVALID_MESSAGE),
				 errmsg("the message has no id"),
				 errdetail("Bridge \"%s\" refuses such messages (option without_id).",
						   bridge->name),
				 errhint("Let its sender set one, or name the header that has it in option id_header.")));
	if (no_id)
		return true;
	note.message_id = *DatumGetUUIDP(id);
	known = inbox_ids_known(ids, &note.message_id);
	if (by_content && known)
		return !spi_bool(row, READ_AGAIN);
	note.conversation_id = spi_value(row, READ_CONVERSATION_ID, &note.no_conversation);
	note.request = spi_value(row, READ_REQUEST, &note.no_request);
	return (!known && inbox_ids_note(ids, &note)) || by_content;
}

/*
 * The statement that reads envelopes of a format.
 */
static SpiStatement *
read_statement(const char *format)
{
	static struct
	{
		const char *format;
		SpiStatement statement;
	}			statements[] = {
		{"raw"}, {"masstransit"}, {"cloudevents"}, {"nservicebus"}, {UNREADABLE}};
	int			i = 0;

	while (i < lengthof(statements) - 1 && strcmp(statements[i].format, format) != 0)
		i++;
	if (statements[i].statement.sql == NULL)
		statements[i].statement.sql = MemoryContextStrdup(TopMemoryContext, psprintf(
			"SELECT g.m, coalesce((g.m).message_id, CASE WHEN $3 THEN message_bus._content_id(g.e)"
			" END), (g.m).message_id IS NULL, g.e @> '{\"redelivered\": true}',"
			" (g.m).conversation_id, CASE WHEN (g.m).headers ? 'response_address' THEN"
			" pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object("
			"'request_id', (g.m).headers -> 'request_id',"
			" 'response_address', (g.m).headers -> 'response_address',"
			" 'fault_address', (g.m).headers -> 'fault_address')) END"
			" FROM (SELECT u.e, message_bus._%s(u.e, $2) AS m"
			" FROM pg_catalog.unnest($1) WITH ORDINALITY u (e, n) ORDER BY u.n OFFSET 0) g",
			strcmp(format, UNREADABLE) == 0 ? format : psprintf("from_%s", format)));
	return &statements[i].statement;
}
