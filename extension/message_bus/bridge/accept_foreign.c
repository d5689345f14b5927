/*
 * accept_foreign.c
 *		Taking in what a bridge brings from a broker.
 *
 * A broker keeps no position for us, so the ids of messages are kept instead, in the
 * transaction in which they take effect (inbox.c): what comes twice, because a program
 * was killed before it could tell the broker, does nothing the second time.  The commit
 * is a durable one; afterwards the broker may be told that it need not keep the messages.
 *
 * Nothing is left for the broker to bring again and again: what cannot be read becomes
 * a dead letter of type Unreadable, what is refused for good one of its own type.  Only
 * what may go better later refuses the batch.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/errors.h"
#include "log/restore.h"
#include "message_bus/bridge/bridge.h"
#include "message_bus/bridge/inbox.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/link/intake.h"
#include "pg/argument.h"
#include "pg/result.h"
#include "pg/subtransaction.h"

/* Envelopes that are being read as messages. */
typedef struct Reading
{
	const Bridge *bridge;
	int			slot;
	Datum		envelopes;
	MemoryContext memory;		/* for what comes out */
	Datum	   *messages;
	int			count;
} Reading;

static ArrayType *envelopes_argument(FunctionCallInfo fcinfo);
static void refuse_paused(const Bridge *bridge);
static void begin_intake(const Bridge *bridge, Intake *intake);
static void read_body(void *argument);
static void know_rows(Intake *intake, const Datum *messages);
static void take_messages(Intake *intake, Datum *messages, int count, BridgeCount *total);
static void take_one_by_one(Reading *reading, ArrayType *envelopes, Intake *intake,
							BridgeCount *total);
static void bury_unreadable(Reading *reading, const ErrorData *error, Intake *intake,
							BridgeCount *total);

static ArrayType *
envelopes_argument(FunctionCallInfo fcinfo)
{
	ArrayType  *array;

	argument_not_null(&fcinfo->args[1], "envelopes", "Pass what the broker gave.");
	array = PG_GETARG_ARRAYTYPE_P(1);
	argument_check_elements(array, "envelopes",
							"Each is {\"properties\": ..., \"headers\": ..., \"body\": ...}.");
	return array;
}

static void
refuse_paused(const Bridge *bridge)
{
	if (bridge->paused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("bridge \"%s\" is paused", bridge->name),
				 errhint("Type SELECT message_bus.resume_bridge(%s).",
						 quote_literal_cstr(bridge->name))));
}

static void
begin_intake(const Bridge *bridge, Intake *intake)
{
	memset(intake, 0, sizeof(*intake));
	intake->target = bridge->target;
	intake->source = bridge->broker;
	intake->own_endpoint = psprintf("%s%s", BRIDGE_ENDPOINT_PREFIX, bridge->name);
	intake->own_endpoint_id = bridge->endpoint_id;
}

/*
 * In a subtransaction: envelopes as messages.
 */
static void
read_body(void *argument)
{
	Reading    *reading = argument;
	MemoryContext current = MemoryContextSwitchTo(reading->memory);

	reading->count = inbox_take(reading->bridge, reading->slot, reading->envelopes, false,
								&reading->messages);
	MemoryContextSwitchTo(current);
}

/*
 * Of what the messages consist; the first is enough.
 */
static void
know_rows(Intake *intake, const Datum *messages)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(messages[0]);

	if (intake->descriptor == NULL)
		intake->descriptor = lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(row), -1);
}

/*
 * Sends or publishes messages; counts what became of them.
 */
static void
take_messages(Intake *intake, Datum *messages, int count, BridgeCount *total)
{
	int			refused;

	if (count == 0)
		return;
	know_rows(intake, messages);
	intake->messages = messages;
	intake->count = count;
	refused = intake_take(intake);
	total->accepted += count - refused;
	total->refused += refused;
}

/*
 * One of them cannot be read; which one is found out by reading each by itself.
 */
static void
take_one_by_one(Reading *reading, ArrayType *envelopes, Intake *intake, BridgeCount *total)
{
	ErrorData  *error;
	Datum	   *each;
	int			count;

	deconstruct_array(envelopes, JSONBOID, -1, false, TYPALIGN_INT, &each, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		reading->envelopes =
			PointerGetDatum(construct_array(&each[i], 1, JSONBOID, -1, false, TYPALIGN_INT));
		if (subtransaction_run(read_body, reading, &error))
			take_messages(intake, reading->messages, reading->count, total);
		else if (intake_may_go_better(error))
			ReThrowError(error);
		else
			bury_unreadable(reading, error, intake, total);
	}
}

/*
 * Makes a dead letter of an envelope that is none, unless it has been one before.
 */
static void
bury_unreadable(Reading *reading, const ErrorData *error, Intake *intake, BridgeCount *total)
{
	reading->count = inbox_take(reading->bridge, reading->slot, reading->envelopes, true,
								&reading->messages);
	if (reading->count == 0)
		return;
	know_rows(intake, reading->messages);
	intake->messages = reading->messages;
	intake->count = 1;
	intake->current = 0;
	intake_bury(intake, error);
	total->refused++;
}

PG_FUNCTION_INFO_V1(message_bus_accept_foreign);
/*
 * message_bus.accept_foreign(bridge, envelopes)
 */
Datum
message_bus_accept_foreign(PG_FUNCTION_ARGS)
{
	Reading		reading = {0};
	BridgeCount total = {0};
	Intake		intake;
	Datum		values[3];
	bool		nulls[3] = {false};
	ArrayType  *envelopes = envelopes_argument(fcinfo);
	ErrorData  *error;
	int			given = ArrayGetNItems(ARR_NDIM(envelopes), ARR_DIMS(envelopes));

	PreventCommandIfReadOnly("message_bus.accept_foreign()");
	restore_refuse_writing();
	intake_commit_durably();
	reading.slot = inbox_turn();
	reading.bridge = bridge_argument(fcinfo, true);
	refuse_paused(reading.bridge);
	reading.envelopes = PointerGetDatum(envelopes);
	reading.memory = CurrentMemoryContext;
	begin_intake(reading.bridge, &intake);
	if (subtransaction_run(read_body, &reading, &error))
		take_messages(&intake, reading.messages, reading.count, &total);
	else if (intake_may_go_better(error))
		ReThrowError(error);
	else
		take_one_by_one(&reading, envelopes, &intake, &total);
	total.repeated = given - total.accepted - total.refused;
	bridge_count(reading.bridge, &total);
	values[0] = Int32GetDatum(total.accepted);
	values[1] = Int32GetDatum(total.repeated);
	values[2] = Int32GetDatum(total.refused);
	PG_RETURN_DATUM(result_row(result_row_type(fcinfo), values, nulls));
}
