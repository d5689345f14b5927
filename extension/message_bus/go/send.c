/*
 * send.c
 *		Sending, publishing and scheduling.
 *
 * Nothing is written here but scheduled messages; the rest goes to the outbox.
 * A scheduled message is delivered from message_bus.aside when it is due.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "event_store/contract/contract.h"
#include "log/restore.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/endpoint/via.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/go/outbox.h"
#include "message_bus/know/database.h"
#include "message_bus/know/note.h"
#include "message_bus/place/row.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/spi.h"

#define MAX_NAME 255

static bool cancel_scheduled(const pg_uuid_t *message_id);
static void check(BusOutgoing *outgoing, int32 *schema_version);
static void check_carried(const BusOutgoing *outgoing);
static void refuse_version(void) pg_attribute_noreturn();
static void take_place(RowValues *row);
static bool is_new(const Endpoint *endpoint, const BusOutgoing *outgoing);
static bool goes_back(const Endpoint *endpoint, const BusOutgoing *outgoing,
					  const RowValues *row);
static void deliver(int32 endpoint_id, const BusOutgoing *outgoing, RowValues *row);

/*
 * Sends or publishes a message; see message_bus.h.
 */
void
message_bus_send(const BusOutgoing *given, pg_uuid_t *message_id)
{
	BusOutgoing copy = *given;
	BusOutgoing *outgoing = &copy;
	RowValues	row;
	int32		schema_version = outgoing->schema_version;
	const int32 *ids;
	int32		single;
	int			count;

	PreventCommandIfReadOnly("message_bus.send()");
	restore_refuse_writing();
	check(outgoing, &schema_version);
	if (outgoing->message_id != NULL)
		*message_id = *outgoing->message_id;
	else
		uuid_generate_v7(message_id);
	if (outgoing->endpoint != NULL)
	{
		single = endpoint_by_name(outgoing->endpoint, false)->id;
		ids = &single;
		count = 1;
	}
	else
		count = endpoint_routes(outgoing->message_type, &ids);
	if (count == 0)
		return;
	envelope_stamp(outgoing, message_id, schema_version, &row);
	if (count == 1)
		deliver(ids[0], outgoing, &row);
	else
	{
		/* Looking endpoints up may renew the cache that the list is in. */
		int32	   *copy = palloc(sizeof(int32) * count);

		memcpy(copy, ids, sizeof(int32) * count);
		for (int i = 0; i < count; i++)
			deliver(copy[i], outgoing, &row);
		pfree(copy);
	}
}

/*
 * Refuses what is no message, or breaks the contract of its type, which may also
 * have the body written in another way.
 */
static void
check(BusOutgoing *outgoing, int32 *schema_version)
{
	if (outgoing->message_type[0] == '\0' || strlen(outgoing->message_type) > MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_MB_INVALID_MESSAGE),
				 errmsg("message type must have 1 to %d bytes", MAX_NAME),
				 errhint("Name what happened or is to be done, like 'OrderSubmitted'.")));
	if (outgoing->headers != NULL && !JB_ROOT_IS_OBJECT(outgoing->headers))
		ereport(ERROR,
				(errcode(ERRCODE_MB_INVALID_MESSAGE),
				 errmsg("headers must be a JSON object"),
				 errhint("Pass something like '{\"channel\": \"web\"}'.")));
	if (outgoing->carried)
		check_carried(outgoing);
	if (strcmp(outgoing->message_type, FAULT_TYPE) == 0)
	{
		*schema_version = 1;
		/* Ours is sent on behalf of somebody who cannot help it. */
		if (!outgoing->beyond_depth)
			envelope_check_fault(outgoing->body, outgoing->headers);
		return;
	}
	outgoing->body = contract_check(outgoing->message_type, (int) strlen(outgoing->message_type),
									schema_version, outgoing->body, -1);
	envelope_check(outgoing->body, outgoing->headers);
}

/*
 * What comes from elsewhere with its envelope has not been looked at as arguments are.
 */
static void
check_carried(const BusOutgoing *outgoing)
{
	if (outgoing->deliver_at != BUS_NO_TIME)
		(void) clock_finite(outgoing->deliver_at, "deliver_at");
	if (outgoing->expires_at != BUS_NO_TIME)
		(void) clock_finite(outgoing->expires_at, "expires_at");
	(void) clock_finite(outgoing->sent_at, "sent_at");
	if (outgoing->schema_version < 0)
		refuse_version();
}

static void
refuse_version(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_MB_INVALID_MESSAGE),
			 errmsg("schema_version is not a whole number of 1 or more"),
			 errhint("Leave it out, or count from 1.")));
}

static void
deliver(int32 endpoint_id, const BusOutgoing *outgoing, RowValues *row)
{
	Endpoint   *endpoint = endpoint_use(endpoint_id);

	/* Dropped while we waited, or since the route was read. */
	if (endpoint == NULL && outgoing->endpoint == NULL)
		return;
	if (endpoint == NULL)
		endpoint = endpoint_use_named(outgoing->endpoint);
	if (endpoint->forward_to != NULL && goes_back(endpoint, outgoing, row))
		return;
	if (!is_new(endpoint, outgoing) &&
		!(outgoing->carried && (DEBUG_BREAK("link_no_dedupe") || DEBUG_BREAK("link_no_compare"))))
		return;
	envelope_address(row, endpoint);
	/* Where it arrives it waits, if it goes on from here. */
	if (endpoint->forward_to == NULL && !row->nulls[ROW_DELIVER_AT] &&
		DatumGetTimestampTz(row->values[ROW_DELIVER_AT]) > clock_now())
	{
		TimestampTz due = DatumGetTimestampTz(row->values[ROW_DELIVER_AT]);

		if (endpoint->strict)
			take_place(row);
		aside_insert(row, "scheduled", due, 1, NULL, 0);
		note_due(endpoint, DatumGetInt32(row->values[ROW_LANE]), due);
	}
	else
		outbox_add(endpoint, row, outgoing->beyond_depth);
}

static bool
is_new(const Endpoint *endpoint, const BusOutgoing *outgoing)
{
	if (outgoing->id_state != BUS_ID_UNKNOWN)
		return outgoing->id_state == BUS_ID_NEW;
	return outgoing->message_id == NULL || outbox_is_new(endpoint, outgoing->message_id);
}

/*
 * Whether a message would go back to where it has come from, over an endpoint that
 * forwards: published, it does not; sent there, it is refused.
 */
static bool
goes_back(const Endpoint *endpoint, const BusOutgoing *outgoing, const RowValues *row)
{
	if (row->nulls[ROW_HEADERS] ||
		!via_has(DatumGetJsonbP(row->values[ROW_HEADERS]), endpoint->forward_to))
		return false;
	if (outgoing->endpoint != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MB_INVALID_MESSAGE),
				 errmsg("message has come through \"%s\" and must not go back",
						endpoint->forward_to),
				 errdetail("Its header \"via\" says so, and endpoint \"%s\" forwards there.",
						   endpoint->name),
				 errhint("Send another message, without the header.")));
	return true;
}

/*
 * A scheduled message's place among those of its key, behind what was sent before.
 */
static void
take_place(RowValues *row)
{
	if (GetCurrentTransactionNestLevel() == 1)
		outbox_flush();
	row->values[ROW_POSITION] =
		Int64GetDatum(nextval_internal(extension_relation_oid(&bus_position_sequence), false));
}

/*
 * Removes a message from every endpoint where it is scheduled and not due.
 */
static bool
cancel_scheduled(const pg_uuid_t *message_id)
{
	static SpiStatement cancel = {
		"DELETE FROM message_bus.aside a WHERE a.message_id = $1 AND a.state = 'scheduled'"
		" AND a.due_at > $2 RETURNING a.endpoint_id, a.lane"};
	Datum		values[] = {UUIDPGetDatum(message_id), TimestampTzGetDatum(clock_now())};
	uint64		count;

	PreventCommandIfReadOnly("message_bus.cancel_scheduled()");
	(void) database_state();
	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&cancel, 2, (Oid[]) {UUIDOID, TIMESTAMPTZOID}, values, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		Endpoint   *endpoint = endpoint_by_id(spi_int32(i, 0, 0));

		/* Others of its key may wait for it. */
		if (endpoint != NULL && endpoint->strict)
			note_due(endpoint, spi_int32(i, 1, 0), clock_now());
	}
	spi_end();
	return count > 0;
}

/*
 * The arguments that send and publish share, from the given one on.
 */
static Datum
send_from_arguments(FunctionCallInfo fcinfo, int first, const char *endpoint)
{
	BusOutgoing outgoing = {0};
	pg_uuid_t  *message_id = palloc(sizeof(pg_uuid_t));

	argument_not_null_as(ERRCODE_MB_INVALID_MESSAGE, &fcinfo->args[first], "message_type",
						 "Say what it is, such as OrderPlaced.");
	argument_not_null_as(ERRCODE_MB_INVALID_MESSAGE, &fcinfo->args[first + 1], "body",
						 "Pass '{}' for an empty body.");
	outgoing.endpoint = endpoint;
	outgoing.message_type = text_to_cstring(PG_GETARG_TEXT_PP(first));
	outgoing.body = PG_GETARG_JSONB_P(first + 1);
	if (!PG_ARGISNULL(first + 2))
		outgoing.message_id = PG_GETARG_UUID_P(first + 2);
	if (!PG_ARGISNULL(first + 3))
		outgoing.partition_key = text_to_cstring(PG_GETARG_TEXT_PP(first + 3));
	outgoing.exact_times = true;
	outgoing.deliver_at = PG_ARGISNULL(first + 4)
								  ? BUS_NO_TIME
								  : clock_finite(PG_GETARG_TIMESTAMPTZ(first + 4), "deliver_at");
	outgoing.expires_at = PG_ARGISNULL(first + 5)
								  ? BUS_NO_TIME
								  : clock_finite(PG_GETARG_TIMESTAMPTZ(first + 5), "expires_at");
	if (!PG_ARGISNULL(first + 6))
		outgoing.headers = PG_GETARG_JSONB_P(first + 6);
	if (!PG_ARGISNULL(first + 7))
	{
		outgoing.schema_version = PG_GETARG_INT32(first + 7);
		if (outgoing.schema_version < 1)
			refuse_version();
	}
	message_bus_send(&outgoing, message_id);
	PG_RETURN_UUID_P(message_id);
}

PG_FUNCTION_INFO_V1(message_bus_send_sql);
/*
 * message_bus.send(endpoint, message_type, body, message_id, partition_key,
 *					deliver_at, expires_at, headers, schema_version)
 */
Datum
message_bus_send_sql(PG_FUNCTION_ARGS)
{
	argument_not_null_as(ERRCODE_MB_NO_ENDPOINT, &fcinfo->args[0], "endpoint",
						 "Name an endpoint, or use message_bus.publish.");
	return send_from_arguments(fcinfo, 1, text_to_cstring(PG_GETARG_TEXT_PP(0)));
}

PG_FUNCTION_INFO_V1(message_bus_publish_sql);
/*
 * message_bus.publish(message_type, body, message_id, partition_key, deliver_at,
 *					   expires_at, headers, schema_version)
 */
Datum
message_bus_publish_sql(PG_FUNCTION_ARGS)
{
	return send_from_arguments(fcinfo, 0, NULL);
}

PG_FUNCTION_INFO_V1(message_bus_cancel_scheduled_sql);
/*
 * message_bus.cancel_scheduled(message_id)
 */
Datum
message_bus_cancel_scheduled_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(cancel_scheduled(PG_GETARG_UUID_P(0)));
}
