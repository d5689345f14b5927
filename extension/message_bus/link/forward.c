/*
 * forward.c
 *		Endpoints that forward: reading them from outside, and letting go of what has
 *		arrived elsewhere.
 *
 * Whoever carries the messages keeps his position with what he does with them, in one
 * transaction of his own database, and asks here for what comes after it.  Nothing is
 * held or written meanwhile, so he may die, double or stand still as he likes.  What
 * he has told to have arrived is gone here; what he has not stays.
 *
 * Nothing leaves that this server could still lose: it is read up to the durable mark,
 * which synchronous standbys have too.  A position that this database has not given,
 * or gave in a history that is no longer its own, is refused, and so is one below what
 * was told to have arrived: then one of the two is older than it was.
 *
 * Who has read everything waits in the server, as consumers may, for the next commit: nobody is
 * notified of what is forwarded.
 *
 * Lock protocol: reading takes no lock but those of the ring's segments, for the
 * moment; letting go takes the lane, as a consumer has it, and waits for it.
 *
 * A crash leaves the cursors that were committed.  They may lag behind what has
 * arrived; the position elsewhere counts.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "base/order.h"
#include "log/incarnation.h"
#include "log/position.h"
#include "log/restore.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/held.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/link/forward.h"
#include "message_bus/place/passed.h"
#include "message_bus/place/ring.h"
#include "message_bus/place/row.h"
#include "pg/argument.h"
#include "pg/lock.h"
#include "pg/result.h"

/* How long a standby may let readers wait before they are told that there is nothing. */
#define DURABLE_WAIT_MS 1000
/* A batch ends after so many bytes. */
#define MAX_BATCH_BYTES (8 * 1024 * 1024)

/* One call of forwarded(). */
typedef struct Forwarding
{
	Endpoint   *endpoint;
	int32		lane;
	int64		after;
	int64		mark;			/* nothing beyond it leaves */
	int			max;
	SetResult	result;
	Datum		incarnation;
} Forwarding;

/* What confirm_forwarded() has let go, for shared memory. */
typedef struct LetGo
{
	BusEndpoint *endpoint;
	uint32		count;
} LetGo;

static void check_given(const Endpoint *endpoint, int32 lane, int64 position,
						const char *known);
static void check_not_behind(const Endpoint *endpoint, int32 lane, int64 after);
static void refuse_lost(const Endpoint *endpoint, int32 lane, const char *reason)
			pg_attribute_noreturn();
static void read_lane(Forwarding *call);
static uint32 count_between(const Endpoint *endpoint, int32 lane, int64 after, int64 upto);
static int64 let_go(Endpoint *endpoint, int32 lane, int64 position);
static void note_let_go(void *argument);

/*
 * The endpoint that the first argument names; MB006 unless it forwards.
 */
Endpoint *
forward_endpoint_argument(FunctionCallInfo fcinfo, bool use)
{
	char	   *name;
	Endpoint   *endpoint;

	argument_not_null(&fcinfo->args[0], "endpoint", "Names are in message_bus.forwards.");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	endpoint = use ? endpoint_use_named(name) : endpoint_by_name(name, false);
	if (endpoint->forward_to == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MB_FORWARDED),
				 errmsg("endpoint \"%s\" does not forward its messages", name),
				 errhint("Receive them here, or create an endpoint with forward_to.")));
	return endpoint;
}

/*
 * The lane that the second argument names.
 */
int32
forward_lane_argument(FunctionCallInfo fcinfo, const Endpoint *endpoint)
{
	int32		lane;

	argument_not_null(&fcinfo->args[1], "lane", "Lanes count from 0.");
	lane = PG_GETARG_INT32(1);
	if (lane < 0 || lane >= endpoint->lanes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("endpoint \"%s\" has no lane %d", endpoint->name, lane),
				 errhint("Its lanes are 0 to %d.", endpoint->lanes - 1)));
	return lane;
}

/*
 * Refuses a position that this database cannot have given: MB008.  known is the
 * incarnation that it was read from, NULL if that is not known.
 */
static void
check_given(const Endpoint *endpoint, int32 lane, int64 position, const char *known)
{
	const char *reason = known != NULL ? incarnation_break(known) : NULL;

	if (reason == NULL && position > position_counter(LOG_MESSAGE_BUS))
		reason = "it has not given that position yet: an older state was restored";
	if (reason != NULL && !DEBUG_BREAK("link_no_incarnation"))
		refuse_lost(endpoint, lane, reason);
}

static void
refuse_lost(const Endpoint *endpoint, int32 lane, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_MB_SOURCE_LOST),
			 errmsg("lane %d of endpoint \"%s\" is not the one that was read before", lane,
					endpoint->name),
			 errdetail("This database does not hold what was read from it: %s.", reason),
			 errhint("Find out what is missing or will come again, then type SELECT message_bus.reset_link(...) where the link is.")));
}

/*
 * Refuses to go on from a position below what was told to have arrived: MB009.
 */
static void
check_not_behind(const Endpoint *endpoint, int32 lane, int64 after)
{
	int64		cursor = (int64) pg_atomic_read_u64(&lane_get(endpoint, lane)->cursor);

	if (after < cursor && !DEBUG_BREAK("link_no_behind"))
		ereport(ERROR,
				(errcode(ERRCODE_MB_TARGET_BEHIND),
				 errmsg("lane %d of endpoint \"%s\" has gone on to position " INT64_FORMAT, lane,
						endpoint->name, cursor),
				 errdetail("Messages after " INT64_FORMAT " were told to have arrived and are gone: whoever asks is older than he was, or new.",
						   after),
				 errhint("Find out what is missing, then type SELECT message_bus.reset_link(...) where the link is.")));
}

/*
 * Gives the lane's messages between the position and the mark.
 */
static void
read_lane(Forwarding *call)
{
	BusLane    *lane = lane_get(call->endpoint, call->lane);
	TupleDesc	descriptor = envelope_descriptor();
	LaneReader	reader;
	HeapTuple	row;
	int64		position;
	int			given = 0;
	Size		bytes = 0;

	lane_reader_begin(&reader, call->endpoint, call->lane, call->after);
	while (given < call->max && bytes < MAX_BATCH_BYTES &&
		   (row = lane_reader_next(&reader, &position)) != NULL && position <= call->mark)
	{
		RowValues	values;
		Datum		columns[3] = {Int64GetDatum(position), 0, call->incarnation};
		bool		nulls[3] = {false};

		if (pg_atomic_read_u32(&lane->passed) != 0 &&
			passed_has(call->endpoint, call->lane, position))
			continue;
		row_read(row, ring_descriptor(), &values);
		columns[1] = envelope_datum(descriptor, &values, 1);
		bytes += HeapTupleHeaderGetDatumLength(DatumGetHeapTupleHeader(columns[1]));
		result_put(&call->result, columns, nulls);
		given++;
	}
	if (given == 0 && call->after == (int64) pg_atomic_read_u64(&lane->cursor))
		atomic_raise(&lane->empty_to, (uint64) call->mark);
	lane_reader_end(&reader);
	ReleaseTupleDesc(descriptor);
}

PG_FUNCTION_INFO_V1(message_bus_forwarded);
/*
 * message_bus.forwarded(endpoint, lane, after_position, max_messages, incarnation)
 */
Datum
message_bus_forwarded(PG_FUNCTION_ARGS)
{
	Forwarding	call = {0};
	XLogRecPtr	upto;
	char		incarnation[INCARNATION_SIZE];

	result_begin(fcinfo, &call.result);
	if (restore_goes_on())
		return (Datum) 0;
	call.endpoint = forward_endpoint_argument(fcinfo, false);
	call.lane = forward_lane_argument(fcinfo, call.endpoint);
	argument_not_null(&fcinfo->args[2], "after_position", "0 is the beginning.");
	argument_not_null(&fcinfo->args[3], "max_messages", "Leave it out for 500.");
	call.after = PG_GETARG_INT64(2);
	call.max = PG_GETARG_INT32(3);
	if (call.max < 1 || call.after < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_messages must be at least 1, and after_position not negative"),
				 errhint("Begin with position 0.")));
	if (!position_mark_durable(LOG_MESSAGE_BUS, lane_key(call.endpoint->id, call.lane),
							   DURABLE_WAIT_MS, &call.mark, &upto))
	{
		ereport(WARNING,
				(errmsg("nothing is forwarded: no synchronous standby has the newest yet"),
				 errhint("Look into pg_stat_replication and synchronous_standby_names.")));
		return (Datum) 0;
	}
	check_given(call.endpoint, call.lane, call.after,
				PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4)));
	check_not_behind(call.endpoint, call.lane, call.after);
	if (call.endpoint->paused)
		return (Datum) 0;
	incarnation_write(incarnation, upto);
	call.incarnation = CStringGetTextDatum(incarnation);
	read_lane(&call);
	return (Datum) 0;
}

static uint32
count_between(const Endpoint *endpoint, int32 lane, int64 after, int64 upto)
{
	LaneReader	reader;
	int64		position;
	uint32		count = 0;
	bool		some_passed = pg_atomic_read_u32(&lane_get(endpoint, lane)->passed) != 0;

	lane_reader_begin(&reader, endpoint, lane, after);
	while (lane_reader_next(&reader, &position) != NULL && position <= upto)
		count += !some_passed || !passed_has(endpoint, lane, position);
	lane_reader_end(&reader);
	return count;
}

/*
 * Moves the lane's cursor, never back.  Returns how many messages it lets go.
 */
static int64
let_go(Endpoint *endpoint, int32 lane, int64 position)
{
	HeldLane   *held;
	LetGo	   *effect;
	int64		from;

	/* Whoever else is moving it has nearly done. */
	(void) lock_take(LOCK_LANE, endpoint->id, lane, ExclusiveLock, true);
	from = greater((int64) pg_atomic_read_u64(&lane_get(endpoint, lane)->cursor),
				   held_lane_swept(endpoint, lane));
	if (position <= from)
		return 0;
	/* Each time anew: a savepoint that is rolled back takes its own back. */
	held = held_lane_acquire(endpoint, lane);
	effect = MemoryContextAlloc(note_memory(), sizeof(LetGo));
	effect->endpoint = endpoint->shared;
	effect->count = count_between(endpoint, lane, from, position);
	held->swept_upto = position;
	note_at_commit(note_let_go, effect);
	return effect->count;
}

/*
 * After the commit; cannot fail.
 */
static void
note_let_go(void *argument)
{
	const LetGo *effect = argument;

	pg_atomic_fetch_sub_u64(&effect->endpoint->depth, effect->count);
	rate_add(&effect->endpoint->acked, GetCurrentTransactionStopTimestamp(), effect->count);
}

PG_FUNCTION_INFO_V1(message_bus_confirm_forwarded);
/*
 * message_bus.confirm_forwarded(endpoint, lane, position, incarnation)
 */
Datum
message_bus_confirm_forwarded(PG_FUNCTION_ARGS)
{
	Endpoint   *endpoint;
	int32		lane;

	PreventCommandIfReadOnly("message_bus.confirm_forwarded()");
	restore_refuse_writing();
	DEBUG_POINT("link_confirm");
	endpoint = forward_endpoint_argument(fcinfo, true);
	lane = forward_lane_argument(fcinfo, endpoint);
	argument_not_null(&fcinfo->args[2], "position", "message_bus.link_position() gives it.");
	check_given(endpoint, lane, PG_GETARG_INT64(2),
				PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	PG_RETURN_INT64(let_go(endpoint, lane, PG_GETARG_INT64(2)));
}

PG_FUNCTION_INFO_V1(message_bus_forward_lanes);
/*
 * message_bus.forward_lanes(endpoint)
 */
Datum
message_bus_forward_lanes(PG_FUNCTION_ARGS)
{
	SetResult	result;
	Endpoint   *endpoint;
	BusLane    *lanes;

	result_begin(fcinfo, &result);
	if (restore_goes_on())
		return (Datum) 0;
	endpoint = forward_endpoint_argument(fcinfo, false);
	lanes = bus_lanes(endpoint->shared);
	for (int32 i = 0; i < endpoint->lanes; i++)
	{
		uint64		confirmed = pg_atomic_read_u64(&lanes[i].cursor);
		uint64		newest = pg_atomic_read_u64(&lanes[i].tail);
		Datum		values[3] = {Int32GetDatum(i), Int64GetDatum((int64) confirmed), 0};
		bool		nulls[3] = {false};

		/* What was taken and rolled back never comes. */
		if (endpoint->paused || newest <= pg_atomic_read_u64(&lanes[i].empty_to))
			newest = confirmed;
		values[2] = Int64GetDatum((int64) greater(newest, confirmed));
		result_put(&result, values, nulls);
	}
	return (Datum) 0;
}
