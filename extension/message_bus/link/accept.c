/*
 * accept.c
 *		Taking in what a link brings from another database.
 *
 * The lane's position and the messages are one transaction: a batch that comes twice,
 * from a program that was stopped for a while or from two of them, is refused the
 * second time (MB007).  Nothing else is needed for that: the program may be killed at
 * any moment.  The commit is a durable one whatever the session says, because the other
 * database is told afterwards that it need not keep the messages.
 *
 * A message that this database refuses for good becomes a dead letter of its endpoint,
 * or of the link's own when it has none, and the position goes on: one that is bad must
 * not hold up those behind it.  What may go better later (a full endpoint, a lost
 * race, a shutdown) refuses the batch.
 *
 * All are taken in one go; only if that fails one by one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "log/incarnation.h"
#include "log/restore.h"
#include "message_bus/endpoint/carry.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/endpoint/via.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/link/link.h"
#include "message_bus/place/row.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/subtransaction.h"

/* One call of accept(). */
typedef struct Acceptance
{
	Link	   *link;
	int32		lane;
	int64		after;
	int64		upto;
	const char *incarnation;	/* of the source, NULL: not told */
	Datum	   *messages;
	int			count;
	TupleDesc	descriptor;		/* of a message */
	int			current;		/* the one that is taken alone */
} Acceptance;

static void commit_durably(void);
static void move_lane(const Acceptance *call);
static void refuse_stale(const Acceptance *call, const LinkLane *state) pg_attribute_noreturn();
static void refuse_state(const Acceptance *call, const LinkLane *state);
static void read_messages(FunctionCallInfo fcinfo, Acceptance *call);
static void read_message(const Acceptance *call, int number, Carried *carried);
static void take_all(void *argument);
static void take_one(void *argument);
static void take(const Acceptance *call, int number);
static int	take_what_can_be(Acceptance *call);
static bool may_go_better(const ErrorData *error);
static void bury(const Acceptance *call, const ErrorData *error);

/*
 * The source is told what has arrived, and lets go of it; so it must not be lost.
 */
static void
commit_durably(void)
{
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * Moves the lane from where the caller thinks it is; MB007 if it is not there.
 */
static void
move_lane(const Acceptance *call)
{
	LinkLane	state;

	link_lane_read(call->link, call->lane, &state);
	refuse_state(call, &state);
	if (!state.exists && call->after == 0)
		link_lane_begin(call->link, call->lane);
	if (DEBUG_BREAK("link_no_compare"))
		state.position = call->after;
	if (state.position != call->after)
		refuse_stale(call, &state);
	DEBUG_POINT("link_lane_read");
	if (link_lane_move(call->link, call->lane, &state, call->upto, call->count, call->incarnation))
		return;
	link_lane_read(call->link, call->lane, &state);
	refuse_state(call, &state);
	refuse_stale(call, &state);
}

static void
refuse_stale(const Acceptance *call, const LinkLane *state)
{
	ereport(ERROR,
			(errcode(ERRCODE_MB_LANE_MOVED),
			 errmsg("lane %d of link \"%s\" is not at position " INT64_FORMAT, call->lane,
					call->link->name, call->after),
			 errdetail("It is at " INT64_FORMAT ".", state->position),
			 errhint("Somebody else has brought the messages; go on from message_bus.link_position().")));
}

/*
 * Refuses a lane that is lost, or a source that is not the one that was read before.
 */
static void
refuse_state(const Acceptance *call, const LinkLane *state)
{
	const char *reason = NULL;

	if (state->error_code != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MB_SOURCE_LOST),
				 errmsg("lane %d of link \"%s\" is lost", call->lane, call->link->name),
				 errdetail("%s", state->error),
				 errhint("Find out what is missing, then type SELECT message_bus.reset_link(%s, %d, ...).",
						 quote_literal_cstr(call->link->name), call->lane)));
	if (state->incarnation != NULL && call->incarnation != NULL)
		reason = incarnation_step_break(state->incarnation, call->incarnation);
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MB_SOURCE_LOST),
				 errmsg("what is brought to lane %d of link \"%s\" does not follow what was brought before",
						call->lane, call->link->name),
				 errdetail("Of its source: %s.", reason),
				 errhint("Look where the service \"%s\" leads to.", call->link->source)));
}

static void
read_messages(FunctionCallInfo fcinfo, Acceptance *call)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(4);
	int16		length;
	bool		by_value;
	char		align;
	bool	   *nulls;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &call->messages, &nulls,
					  &call->count);
	for (int i = 0; i < call->count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("messages must not contain nulls"),
					 errhint("Pass what message_bus.forwarded() gave.")));
	}
	call->descriptor = lookup_rowtype_tupdesc_copy(ARR_ELEMTYPE(array), -1);
	envelope_check_row(call->descriptor, MESSAGE_COLUMNS);
}

/*
 * One message, addressed as the link says, with the source among what it has come
 * through.
 */
static void
read_message(const Acceptance *call, int number, Carried *carried)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(call->messages[number]);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};
	Datum		values[MESSAGE_COLUMNS + SPARE_ATTRIBUTES];
	bool		nulls[MESSAGE_COLUMNS + SPARE_ATTRIBUTES];

	heap_deform_tuple(&tuple, call->descriptor, values, nulls);
	carry_columns(values, nulls, carried);
	carried->outgoing.endpoint = call->link->target;
}

static void
take(const Acceptance *call, int number)
{
	Carried		carried;
	pg_uuid_t	message_id;

	read_message(call, number, &carried);
	carried.outgoing.headers = via_add(carried.outgoing.headers, call->link->source);
	message_bus_send(&carried.outgoing, &message_id);
}

static void
take_all(void *argument)
{
	const Acceptance *call = argument;

	for (int i = 0; i < call->count; i++)
		take(call, i);
}

static void
take_one(void *argument)
{
	const Acceptance *call = argument;

	take(call, call->current);
}

/*
 * Takes them one by one; what is refused for good becomes a dead letter.  Returns how
 * many have.
 */
static int
take_what_can_be(Acceptance *call)
{
	int			refused = 0;
	ErrorData  *error;

	for (call->current = 0; call->current < call->count; call->current++)
	{
		if (subtransaction_run(take_one, call, &error))
			continue;
		if (may_go_better(error))
			ReThrowError(error);
		bury(call, error);
		refused++;
	}
	return refused;
}

/*
 * Whether the same message may be taken another time: nothing is wrong with it, but
 * with this server, or with what somebody has installed here.
 */
static bool
may_go_better(const ErrorData *error)
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
static void
bury(const Acceptance *call, const ErrorData *error)
{
	Endpoint   *endpoint = NULL;
	Carried		carried;
	RowValues	row;
	TimestampTz now = clock_now();
	Failure		failure = {1, NULL, error->message, now, now};

	failure.code = pstrdup(unpack_sql_state(error->sqlerrcode));

	read_message(call, call->current, &carried);
	if (call->link->target != NULL)
		endpoint = endpoint_by_name(call->link->target, true);
	if (endpoint != NULL)
		endpoint = endpoint_use(endpoint->id);
	if (endpoint == NULL)
		endpoint = endpoint_use(call->link->endpoint_id);
	if (endpoint == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MB_NO_ENDPOINT),
				 errmsg("endpoint \"%s%s\" has been dropped", LINK_ENDPOINT_PREFIX, call->link->name),
				 errhint("Type SELECT message_bus.create_endpoint(%s).",
						 quote_literal_cstr(psprintf("%s%s", LINK_ENDPOINT_PREFIX,
													 call->link->name)))));
	envelope_stamp(&carried.outgoing, &carried.message_id, Max(carried.outgoing.schema_version, 1),
				   &row);
	envelope_address(&row, endpoint);
	dead_letter(endpoint, &row, "fault", &failure);
}

/*
 * The arguments of accept(), checked.
 */
static void
read_arguments(FunctionCallInfo fcinfo, Acceptance *call)
{
	call->link = link_argument(fcinfo);
	argument_not_null(&fcinfo->args[1], "lane", "Lanes count from 0.");
	argument_not_null(&fcinfo->args[2], "after_position",
					  "Pass what message_bus.link_position() gives.");
	argument_not_null(&fcinfo->args[3], "upto", "Pass the position of the last message.");
	argument_not_null(&fcinfo->args[4], "messages", "Pass what message_bus.forwarded() gave.");
	call->lane = PG_GETARG_INT32(1);
	call->after = PG_GETARG_INT64(2);
	call->upto = PG_GETARG_INT64(3);
	if (!PG_ARGISNULL(5))
		call->incarnation = text_to_cstring(PG_GETARG_TEXT_PP(5));
	read_messages(fcinfo, call);
	if (call->lane < 0 || call->lane >= MAX_LANES || call->upto < call->after ||
		(call->upto == call->after && call->count > 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d messages cannot lie between " INT64_FORMAT " and " INT64_FORMAT " of lane %d",
						call->count, call->after, call->upto, call->lane),
				 errhint("upto is the position of the last message, and beyond after_position.")));
	if (call->link->paused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("link \"%s\" is paused", call->link->name),
				 errhint("Type SELECT message_bus.resume_link(%s).",
						 quote_literal_cstr(call->link->name))));
}

PG_FUNCTION_INFO_V1(message_bus_accept);
/*
 * message_bus.accept(link, lane, after_position, upto, messages, incarnation)
 */
Datum
message_bus_accept(PG_FUNCTION_ARGS)
{
	Acceptance	call = {0};
	int			refused = 0;
	ErrorData  *error;

	PreventCommandIfReadOnly("message_bus.accept()");
	restore_refuse_writing();
	read_arguments(fcinfo, &call);
	DEBUG_POINT("link_accept");
	commit_durably();
	move_lane(&call);
	if (call.count > 0 && !subtransaction_run(take_all, &call, &error))
	{
		if (may_go_better(error))
			ReThrowError(error);
		refused = take_what_can_be(&call);
	}
	if (refused > 0)
		link_lane_count_refused(call.link, call.lane, refused);
	PG_RETURN_INT32(call.count - refused);
}
