/*
 * table_log.c
 *		Positions for tables that are not ours: whoever reads such a table by
 *		position and up to the mark follows it without missing a row.
 *
 * A key of this log is a name that the users agree on, such as that of a table.
 * All share one sequence, which is not that of the events: who waits for events
 * has no use for positions without one.
 *
 * Lock protocol and what a crash leaves: position.c.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "log/position.h"
#include "log/restore.h"
#include "log/table_log.h"
#include "pg/argument.h"

static ExtensionRelation positions = {"ecommerce", "position_seq"};

static void name_argument(FunctionCallInfo fcinfo, const char **name, int *length);

/*
 * Tells layer log about the sequence.  From _PG_init.
 */
void
table_log_init(void)
{
	LogDefinition definition = {&positions, NULL, NULL};

	position_log_define(LOG_TABLES, &definition);
}

/*
 * The name that the positions go by.
 */
static void
name_argument(FunctionCallInfo fcinfo, const char **name, int *length)
{
	text	   *argument;

	argument_not_null(&fcinfo->args[0], "name", "Say what they are of, such as 'payments'.");
	argument = PG_GETARG_TEXT_PP(0);
	*name = VARDATA_ANY(argument);
	*length = VARSIZE_ANY_EXHDR(argument);
}

PG_FUNCTION_INFO_V1(ecommerce_next_position);
/*
 * ecommerce.next_position(name)
 */
Datum
ecommerce_next_position(PG_FUNCTION_ARGS)
{
	const char *name;
	int			length;

	PreventCommandIfReadOnly("ecommerce.next_position");
	PreventCommandDuringRecovery("ecommerce.next_position");
	name_argument(fcinfo, &name, &length);
	position_announce(LOG_TABLES, position_key(name, length), name, length);
	PG_RETURN_INT64(position_take(LOG_TABLES));
}

PG_FUNCTION_INFO_V1(ecommerce_position_mark);
/*
 * ecommerce.position_mark(name)
 */
Datum
ecommerce_position_mark(PG_FUNCTION_ARGS)
{
	const char *name;
	int			length;

	/* A standby is told of the marks of events alone. */
	PreventCommandDuringRecovery("ecommerce.position_mark");
	name_argument(fcinfo, &name, &length);
	/* The counter may come back before the rows. */
	if (unlikely(restore_goes_on()))
		PG_RETURN_INT64(0);
	PG_RETURN_INT64(position_mark(LOG_TABLES, position_key(name, length)));
}
