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
 * What this database refuses for good becomes a dead letter (intake.c), and the position
 * goes on.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "log/incarnation.h"
#include "log/restore.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/link/intake.h"
#include "message_bus/link/link.h"
#include "pg/argument.h"

/* One call of accept(). */
typedef struct Acceptance
{
	Link	   *link;
	int32		lane;
	int64		after;
	int64		upto;
	const char *incarnation;	/* of the source, NULL: not told */
	Intake		intake;
} Acceptance;

static void move_lane(const Acceptance *call);
static void refuse_stale(const Acceptance *call, const LinkLane *state) pg_attribute_noreturn();
static void refuse_state(const Acceptance *call, const LinkLane *state);
static void read_messages(FunctionCallInfo fcinfo, Acceptance *call);

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
	if (link_lane_move(call->link, call->lane, &state, call->upto, call->intake.count,
					   call->incarnation))
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

	argument_check_elements(array, "messages", "Pass what message_bus.forwarded() gave.");
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &call->intake.messages,
					  NULL, &call->intake.count);
	call->intake.descriptor = lookup_rowtype_tupdesc_copy(ARR_ELEMTYPE(array), -1);
	envelope_check_row(call->intake.descriptor, MESSAGE_COLUMNS);
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
	call->intake.target = call->link->target;
	call->intake.source = call->link->source;
	call->intake.own_endpoint = psprintf("%s%s", LINK_ENDPOINT_PREFIX, call->link->name);
	call->intake.own_endpoint_id = call->link->endpoint_id;
	if (call->lane < 0 || call->lane >= MAX_LANES || call->upto < call->after ||
		(call->upto == call->after && call->intake.count > 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d messages cannot lie between " INT64_FORMAT " and " INT64_FORMAT " of lane %d",
						call->intake.count, call->after, call->upto, call->lane),
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
	int			refused;

	PreventCommandIfReadOnly("message_bus.accept()");
	restore_refuse_writing();
	read_arguments(fcinfo, &call);
	DEBUG_POINT("link_accept");
	intake_commit_durably();
	move_lane(&call);
	refused = intake_take(&call.intake);
	if (refused > 0)
		link_lane_count_refused(call.link, call.lane, refused);
	PG_RETURN_INT32(call.intake.count - refused);
}
