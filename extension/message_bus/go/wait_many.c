/*
 * wait_many.c
 *		CALL ecommerce.wait(): one connection waits for all that a process consumes.
 *
 * Each thing waited for is entered under its key (log/wakeup.c); whatever is
 * woken looks at all of them, without taking a lane or a partition.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/order.h"
#include "event_store/read/subscription.h"
#include "log/wakeup.h"
#include "message_bus/go/ready.h"
#include "message_bus/message_bus.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/result.h"
#include "pg/spi.h"

static List *names_argument(const NullableDatum *argument, const char *name);
static List *look(List *subscriptions, List *endpoints, TimestampTz *again);
static Datum text_array(List *names);

/*
 * The names in an array, NULL is none.
 */
static List *
names_argument(const NullableDatum *argument, const char *name)
{
	List	   *names = NIL;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (argument->isnull)
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(argument->value), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s[%d] must not be null", name, i),
					 errhint("Name what this process consumes.")));
		names = lappend(names, TextDatumGetCString(elements[i]));
	}
	return names;
}

/*
 * Those that have something for a consumer, subscriptions first.
 */
static List *
look(List *subscriptions, List *endpoints, TimestampTz *again)
{
	List	   *ready = NIL;
	ListCell   *cell;

	foreach(cell, subscriptions)
	{
		if (subscription_ready(lfirst(cell), again))
			ready = lappend(ready, lfirst(cell));
	}
	foreach(cell, endpoints)
	{
		if (message_bus_ready(lfirst(cell)))
			ready = lappend(ready, lfirst(cell));
		else
			*again = lesser(*again, endpoint_next_due(lfirst(cell)));
	}
	return ready;
}

static Datum
text_array(List *names)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(list_length(names), 1));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, names)
		elements[count++] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(ecommerce_wait);
/*
 * CALL ecommerce.wait(subscriptions, endpoints, timeout, ready)
 */
Datum
ecommerce_wait(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	List	   *subscriptions = names_argument(&fcinfo->args[0], "subscriptions");
	List	   *endpoints = names_argument(&fcinfo->args[1], "endpoints");
	List	   *ready;
	TupleDesc	descriptor;
	TimestampTz deadline;
	ListCell   *cell;
	bool		isnull = false;
	Datum		value;

	wakeup_require_top_level("ecommerce.wait", call == NULL || call->atomic);
	argument_not_null(&fcinfo->args[2], "timeout", "For example '30 s'.");
	PreventCommandDuringRecovery("ecommerce.wait");
	if (subscriptions == NIL && endpoints == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is nothing to wait for"),
				 errhint("Type CALL ecommerce.wait('{mailer}', '{billing}', '30 s').")));
	deadline = clock_after(GetCurrentTimestamp(), PG_GETARG_INTERVAL_P(2), "timeout");
	descriptor = CreateTupleDescCopy(result_row_type(fcinfo));
	foreach(cell, subscriptions)
		subscription_want(lfirst(cell));
	foreach(cell, endpoints)
		endpoint_want(lfirst(cell), deadline);
	wakeup_listen_wanted();
	for (;;)
	{
		TimestampTz again = deadline;

		ready = look(subscriptions, endpoints, &again);
		/* Neither a snapshot nor a lock is held while it sleeps. */
		spi_commit_transaction();
		if (ready != NIL || (!wakeup_sleep(again) && GetCurrentTimestamp() >= deadline))
			break;
	}
	wakeup_unlisten();
	value = text_array(ready);
	return result_row(descriptor, &value, &isnull);
}
