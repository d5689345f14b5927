/*
 * tell.c
 *		Lines for the server's log that are true once the transaction has committed.
 *
 * What a transaction does may be undone, by its own end or by that of a
 * subtransaction that is tried again; who reads the log cannot know.  So lines are
 * written when the commit is done, ready made: all that is left is to hand them
 * over.  A crash between the commit and that loses them, not what they tell of; so
 * does PREPARE TRANSACTION, after which others decide.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "pg/callbacks.h"
#include "pg/tell.h"

typedef struct Line
{
	int			level;
	int			nesting;		/* of the subtransaction it belongs to */
	char	   *text;
} Line;

/* In the transaction's memory. */
static Line *lines = NULL;
static int	line_count = 0;
static int	line_room = 0;

static void transaction_ended(XactEvent event, void *arg);
static void savepoint_ended(SubXactEvent event, SubTransactionId level, SubTransactionId parent,
							void *arg);

/*
 * Has a line written to the log once what it tells of has committed.
 */
void
tell_when_committed(int level, const char *format, ...)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	StringInfoData text;
	va_list		arguments;
	int			needed;

	callback_on_transaction(transaction_ended);
	callback_on_savepoint(savepoint_ended);
	initStringInfo(&text);
	for (;;)
	{
		va_start(arguments, format);
		needed = appendStringInfoVA(&text, format, arguments);
		va_end(arguments);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	if (line_count == line_room)
	{
		int			room = line_room == 0 ? 64 : line_room * 2;

		lines = line_room == 0 ? palloc(room * sizeof(Line))
							   : repalloc_huge(lines, room * sizeof(Line));
		line_room = room;
	}
	lines[line_count++] = (Line) {level, GetCurrentTransactionNestLevel(), text.data};
	MemoryContextSwitchTo(old);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	int			count = line_count;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	line_count = line_room = 0;
	for (int i = 0; event == XACT_EVENT_COMMIT && i < count; i++)
		ereport(lines[i].level,
				(errhidestmt(true), errhidecontext(true), errmsg_internal("%s", lines[i].text)));
	lines = NULL;
}

static void
savepoint_ended(SubXactEvent event, SubTransactionId level, SubTransactionId parent, void *arg)
{
	int			nesting = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (line_count > 0 && lines[line_count - 1].nesting >= nesting)
			line_count--;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = line_count - 1; i >= 0 && lines[i].nesting >= nesting; i--)
			lines[i].nesting = nesting - 1;
}
