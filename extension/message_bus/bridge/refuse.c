/*
 * refuse.c
 *		Messages of an endpoint that forwards which the other side will not take.
 *
 * They become dead letters here, in the transaction in which they are let go.
 *
 * Lock protocol: none but those of reading; a dead letter that is there already stays.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "log/restore.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/know/lane.h"
#include "message_bus/link/forward.h"
#include "message_bus/place/ring.h"
#include "pg/argument.h"
#include "pg/clock.h"

static bool read_at(const Endpoint *endpoint, int32 lane, int64 position, RowValues *row);

/*
 * The message at a position, in the caller's memory; false if there is none.
 */
static bool
read_at(const Endpoint *endpoint, int32 lane, int64 position, RowValues *row)
{
	LaneReader	reader;
	HeapTuple	found;
	int64		at;

	lane_reader_begin(&reader, endpoint, lane, position - 1);
	found = lane_reader_next(&reader, &at);
	if (found != NULL && at == position)
		row_read(heap_copytuple(found), ring_descriptor(), row);
	else
		found = NULL;
	lane_reader_end(&reader);
	return found != NULL;
}

PG_FUNCTION_INFO_V1(message_bus_refuse_forwarded);
/*
 * message_bus.refuse_forwarded(endpoint, lane, position, error_code, error)
 */
Datum
message_bus_refuse_forwarded(PG_FUNCTION_ARGS)
{
	TimestampTz now = clock_now();
	Failure		failure = {1, NULL, NULL, now, now};
	Endpoint   *endpoint;
	RowValues	row;
	int32		lane;

	PreventCommandIfReadOnly("message_bus.refuse_forwarded()");
	restore_refuse_writing();
	endpoint = forward_endpoint_argument(fcinfo, true);
	lane = forward_lane_argument(fcinfo, endpoint);
	argument_not_null(&fcinfo->args[2], "position", "message_bus.forwarded() gives it.");
	argument_not_null(&fcinfo->args[3], "error_code", "Pass an SQLSTATE.");
	argument_not_null(&fcinfo->args[4], "error", "Say why it was not taken.");
	failure.code = text_to_cstring(PG_GETARG_TEXT_PP(3));
	failure.text = text_to_cstring(PG_GETARG_TEXT_PP(4));
	/* What was let go has arrived, whoever else says so. */
	if (PG_GETARG_INT64(2) <= (int64) pg_atomic_read_u64(&lane_get(endpoint, lane)->cursor) ||
		!read_at(endpoint, lane, PG_GETARG_INT64(2), &row))
		PG_RETURN_BOOL(false);
	dead_letter(endpoint, &row, "fault", &failure);
	PG_RETURN_BOOL(true);
}
