/*
 * intake.c
 *		Taking in messages that come from outside, with the envelopes that they have.
 *
 * All are taken in one go; only if that fails one by one.  What this database refuses
 * for good becomes a dead letter of the endpoint that it was meant for, or of the one
 * of the link or bridge: one that is bad must not hold up those behind it.  What may
 * go better later (a full endpoint, a lost race, a shutdown) refuses all of them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "message_bus/endpoint/carry.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/endpoint/via.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/go/outbox.h"
#include "message_bus/link/intake.h"
#include "message_bus/place/row.h"
#include "pg/clock.h"
#include "pg/subtransaction.h"

static void read_message(const Intake *intake, int number, Carried *carried);
static void take(const Intake *intake, Carried *carried, Via *via);
static void look_for_known(const Intake *intake, Carried *carried);
static void take_all(void *argument);
static void take_one(void *argument);
static int	take_what_can_be(Intake *intake);

/*
 * The commit becomes a durable one: who has brought the messages is told afterwards that
 * he need not keep them.
 */
void
intake_commit_durably(void)
{
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * Takes all of them; returns how many were refused for good and are dead letters.
 */
int
intake_take(Intake *intake)
{
	ErrorData  *error;

	if (intake->count == 0 || subtransaction_run(take_all, intake, &error))
		return 0;
	if (intake_may_go_better(error))
		ReThrowError(error);
	return take_what_can_be(intake);
}

/*
 * One message, addressed to the target.
 */
static void
read_message(const Intake *intake, int number, Carried *carried)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(intake->messages[number]);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};
	Datum		values[MESSAGE_COLUMNS + SPARE_ATTRIBUTES];
	bool		nulls[MESSAGE_COLUMNS + SPARE_ATTRIBUTES];

	heap_deform_tuple(&tuple, intake->descriptor, values, nulls);
	carry_columns(values, nulls, carried);
	carried->outgoing.endpoint = intake->target;
}

/*
 * Sends it on.  Headers are mostly the same from one to the next.
 */
static void
take(const Intake *intake, Carried *carried, Via *via)
{
	pg_uuid_t	message_id;

	carried->outgoing.headers = via_add(via, carried->outgoing.headers, intake->source);
	message_bus_send(&carried->outgoing, &message_id);
}

static void
take_all(void *argument)
{
	const Intake *intake = argument;
	Carried    *carried = MemoryContextAllocHuge(CurrentMemoryContext,
												 sizeof(Carried) * intake->count);
	Via			via = {0};

	for (int i = 0; i < intake->count; i++)
		read_message(intake, i, &carried[i]);
	if (intake->target != NULL)
		look_for_known(intake, carried);
	for (int i = 0; i < intake->count; i++)
		take(intake, &carried[i], &via);
	pfree(carried);
}

/*
 * Finds out of all messages at once whether the target has them already.
 */
static void
look_for_known(const Intake *intake, Carried *carried)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * intake->count);
	bool	   *are_new = palloc(sizeof(bool) * intake->count);

	for (int i = 0; i < intake->count; i++)
		ids[i] = carried[i].message_id;
	outbox_are_new(endpoint_use_named(intake->target), ids, intake->count, are_new);
	for (int i = 0; i < intake->count; i++)
		carried[i].outgoing.id_state = are_new[i] ? BUS_ID_NEW : BUS_ID_KNOWN;
	pfree(ids);
	pfree(are_new);
}

static void
take_one(void *argument)
{
	const Intake *intake = argument;
	Carried		carried;
	Via			via = {0};

	read_message(intake, intake->current, &carried);
	take(intake, &carried, &via);
}

/*
 * Takes them one by one; what is refused for good becomes a dead letter.  Returns how
 * many have.
 */
static int
take_what_can_be(Intake *intake)
{
	int			refused = 0;
	ErrorData  *error;

	for (intake->current = 0; intake->current < intake->count; intake->current++)
	{
		if (subtransaction_run(take_one, intake, &error))
			continue;
		if (intake_may_go_better(error))
			ReThrowError(error);
		intake_bury(intake, error);
		refused++;
	}
	return refused;
}

/*
 * Whether the same message may be taken another time: nothing is wrong with it, but
 * with this server, or with what somebody has installed here.
 */
bool
intake_may_go_better(const ErrorData *error)
{
	static const char *const classes[] = {"08", "25", "40", "42", "53", "55", "57", "58", "XX"};
	const char *state = unpack_sql_state(error->sqlerrcode);

	if (error->sqlerrcode == ERRCODE_MB_DEPTH_EXCEEDED)
		return !DEBUG_BREAK("link_full_is_final");
	if (DEBUG_BREAK("link_nothing_is_final"))
		return true;
	for (int i = 0; i < lengthof(classes); i++)
	{
		if (strncmp(state, classes[i], 2) == 0)
			return true;
	}
	return false;
}

/*
 * Makes a dead letter of the current message, with a Fault.
 */
void
intake_bury(const Intake *intake, const ErrorData *error)
{
	Endpoint   *endpoint = NULL;
	Carried		carried;
	RowValues	row;
	TimestampTz now = clock_now();
	Failure		failure = {1, NULL, error->message, now, now};

	failure.code = pstrdup(unpack_sql_state(error->sqlerrcode));

	read_message(intake, intake->current, &carried);
	carry_drop_endless(&carried);
	if (intake->target != NULL)
		endpoint = endpoint_by_name(intake->target, true);
	if (endpoint != NULL)
		endpoint = endpoint_use(endpoint->id);
	if (endpoint == NULL)
		endpoint = endpoint_use(intake->own_endpoint_id);
	if (endpoint == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MB_NO_ENDPOINT),
				 errmsg("endpoint \"%s\" has been dropped", intake->own_endpoint),
				 errhint("Type SELECT message_bus.create_endpoint(%s).",
						 quote_literal_cstr(intake->own_endpoint))));
	envelope_stamp(&carried.outgoing, &carried.message_id, Max(carried.outgoing.schema_version, 1),
				   &row);
	envelope_address(&row, endpoint);
	dead_letter(endpoint, &row, "fault", &failure);
}
