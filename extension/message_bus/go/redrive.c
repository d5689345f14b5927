/*
 * redrive.c
 *		Dead letters that go back to their endpoint, or are given up.
 *
 * Lock protocol: row locks of DELETE and UPDATE; who redrives claims the message
 * id, so that a second sender of it sees either the dead letter or the message.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "event_store/contract/contract.h"
#include "message_bus/endpoint/carry.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/outbox.h"
#include "message_bus/know/note.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/row.h"
#include "pg/clock.h"
#include "pg/spi.h"

static int	redrive_rows(uint64 count, Jsonb *body, TimestampTz due);
static void redrive_row(uint64 number, Jsonb *body, TimestampTz now, TimestampTz due);
static bool brings_from_outside(const char *endpoint);
static bool send_as_it_does(const Endpoint *endpoint, const RowValues *row, TimestampTz due);

/*
 * Sends the dead letters of the last result to their endpoints again, with the
 * given body unless it is NULL, to be delivered when it is due.
 */
static int
redrive_rows(uint64 count, Jsonb *body, TimestampTz due)
{
	SPITupleTable *rows = SPI_tuptable;
	TimestampTz now = clock_now();

	for (uint64 i = 0; i < count; i++)
	{
		/* Sending may run statements of its own. */
		SPI_tuptable = rows;
		redrive_row(i, body, now, due);
	}
	return (int) count;
}

static void
redrive_row(uint64 number, Jsonb *body, TimestampTz now, TimestampTz due)
{
	RowValues	row;
	Endpoint   *endpoint;

	memset(row.nulls, true, sizeof(row.nulls));
	for (int i = 0; i < ROW_COLUMNS; i++)
		row.values[i] = spi_value(number, i, &row.nulls[i]);
	endpoint = endpoint_use(DatumGetInt32(row.values[ROW_ENDPOINT_ID]));
	if (endpoint == NULL)
		return;
	if (body != NULL)
	{
		text	   *type = DatumGetTextPP(row.values[ROW_MESSAGE_TYPE]);
		int32		version = DatumGetInt32(row.values[ROW_SCHEMA_VERSION]);

		envelope_check(body, NULL);
		row.values[ROW_BODY] =
			JsonbPGetDatum(contract_check(VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type), &version,
										  body, -1));
	}
	if (brings_from_outside(endpoint->name) && send_as_it_does(endpoint, &row, due))
		return;
	/* It would be dead again at once. */
	if (!row.nulls[ROW_EXPIRES_AT] && DatumGetTimestampTz(row.values[ROW_EXPIRES_AT]) <= now)
		row.nulls[ROW_EXPIRES_AT] = true;
	(void) outbox_claim(endpoint, DatumGetUUIDP(row.values[ROW_MESSAGE_ID]));
	if (due <= now || endpoint->forward_to != NULL)
		outbox_add(endpoint, &row, false);
	else
	{
		aside_insert(&row, "scheduled", due, 1, NULL, 0);
		note_due(endpoint, DatumGetInt32(row.values[ROW_LANE]), due);
	}
}

/*
 * Whether an endpoint may be a link's or a bridge's own.
 */
static bool
brings_from_outside(const char *endpoint)
{
	return strncmp(endpoint, LINK_ENDPOINT_PREFIX, strlen(LINK_ENDPOINT_PREFIX)) == 0 ||
		strncmp(endpoint, BRIDGE_ENDPOINT_PREFIX, strlen(BRIDGE_ENDPOINT_PREFIX)) == 0;
}

/*
 * A dead letter of a link or bridge that no endpoint could get goes where its messages
 * go now.  False if the endpoint is of neither.
 */
static bool
send_as_it_does(const Endpoint *endpoint, const RowValues *row, TimestampTz due)
{
	static SpiStatement find = {
		"SELECT l.target FROM message_bus.link l WHERE l.endpoint_id = $1 UNION ALL"
		" SELECT b.options ->> 'target' FROM message_bus.bridge b WHERE b.endpoint_id = $1"};
	Datum		id = Int32GetDatum(endpoint->id);
	Datum		values[MESSAGE_COLUMNS];
	bool		nulls[MESSAGE_COLUMNS];
	Carried		carried;
	pg_uuid_t	message_id;

	if (spi_run_latest(&find, 1, (Oid[]) {INT4OID}, &id, NULL) == 0)
		return false;
	envelope_columns(row, 1, values, nulls);
	/* It would be dead again at once. */
	if (!nulls[MESSAGE_EXPIRES_AT])
		nulls[MESSAGE_EXPIRES_AT] =
			DatumGetTimestampTz(values[MESSAGE_EXPIRES_AT]) <= clock_now();
	carry_columns(values, nulls, &carried);
	carried.outgoing.endpoint = spi_text(0, 0, CurrentMemoryContext);
	if (due > clock_now())
		carried.outgoing.deliver_at = due;
	message_bus_send(&carried.outgoing, &message_id);
	return true;
}

/*
 * The id of the endpoint named by an argument, 0 if that is NULL.
 */
static int32
endpoint_argument(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		return 0;
	return endpoint_by_name(text_to_cstring(PG_GETARG_TEXT_PP(number)), false)->id;
}

PG_FUNCTION_INFO_V1(message_bus_redrive_sql);
/*
 * message_bus.redrive(message_id, body, endpoint)
 */
Datum
message_bus_redrive_sql(PG_FUNCTION_ARGS)
{
	static SpiStatement take = {
		"DELETE FROM message_bus.dead d WHERE d.message_id = $1"
		" AND ($2 = 0 OR d.endpoint_id = $2) RETURNING d.*"};
	Datum		values[2];
	int			count;

	PreventCommandIfReadOnly("message_bus.redrive()");
	if (PG_ARGISNULL(0))
		PG_RETURN_INT32(0);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = Int32GetDatum(endpoint_argument(fcinfo, 2));
	spi_begin(SPI_AS_OWNER);
	count = redrive_rows(spi_run_latest(&take, 2, (Oid[]) {UUIDOID, INT4OID}, values, NULL),
						 PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1), DT_NOBEGIN);
	spi_end();
	PG_RETURN_INT32(count);
}

PG_FUNCTION_INFO_V1(message_bus_redrive_later);
/*
 * message_bus._redrive(message_id, endpoint_id, due)
 */
Datum
message_bus_redrive_later(PG_FUNCTION_ARGS)
{
	static SpiStatement take = {
		"DELETE FROM message_bus.dead d WHERE d.message_id = $1 AND d.endpoint_id = $2 RETURNING d.*"};
	Datum		values[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	int			count;

	PreventCommandIfReadOnly("message_bus.redrive_matching()");
	spi_begin(SPI_AS_OWNER);
	count = redrive_rows(spi_run_latest(&take, 2, (Oid[]) {UUIDOID, INT4OID}, values, NULL), NULL,
						 PG_GETARG_TIMESTAMPTZ(2));
	spi_end();
	PG_RETURN_INT32(count);
}

PG_FUNCTION_INFO_V1(message_bus_redrive_endpoint_sql);
/*
 * message_bus.redrive_endpoint(endpoint, reason, max)
 */
Datum
message_bus_redrive_endpoint_sql(PG_FUNCTION_ARGS)
{
	static SpiStatement take = {
		"WITH first AS MATERIALIZED ("
		" SELECT o.message_id FROM message_bus.dead o WHERE o.endpoint_id = $1"
		" AND (o.reason = $2 OR $2 IS NULL AND o.reason <> 'discarded')"
		" ORDER BY o.last_failed_at, o.position LIMIT $3 FOR UPDATE SKIP LOCKED),"
		" gone AS (DELETE FROM message_bus.dead d WHERE d.endpoint_id = $1"
		" AND d.message_id IN (SELECT f.message_id FROM first f) RETURNING d.*)"
		" SELECT * FROM gone g ORDER BY g.last_failed_at, g.position"};
	Datum		values[3];
	char		nulls[] = "   ";
	int			count;

	PreventCommandIfReadOnly("message_bus.redrive_endpoint()");
	values[0] = Int32GetDatum(endpoint_argument(fcinfo, 0));
	values[1] = PG_ARGISNULL(1) ? 0 : PG_GETARG_DATUM(1);
	nulls[1] = PG_ARGISNULL(1) ? 'n' : ' ';
	values[2] = Int64GetDatum(PG_ARGISNULL(2) ? PG_INT64_MAX : PG_GETARG_INT32(2));
	spi_begin(SPI_AS_OWNER);
	count = (int) spi_run_latest(&take, 3, (Oid[]) {INT4OID, TEXTOID, INT8OID}, values, nulls);
	count = redrive_rows((uint64) count, NULL, DT_NOBEGIN);
	spi_end();
	PG_RETURN_INT32(count);
}

PG_FUNCTION_INFO_V1(message_bus_discard_sql);
/*
 * message_bus.discard(message_id, endpoint)
 */
Datum
message_bus_discard_sql(PG_FUNCTION_ARGS)
{
	static SpiStatement mark = {
		"UPDATE message_bus.dead d SET reason = 'discarded' WHERE d.message_id = $1"
		" AND ($2 = 0 OR d.endpoint_id = $2) AND d.reason <> 'discarded'"};
	Datum		values[2];
	int			count;

	PreventCommandIfReadOnly("message_bus.discard()");
	if (PG_ARGISNULL(0))
		PG_RETURN_INT32(0);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = Int32GetDatum(endpoint_argument(fcinfo, 1));
	count = (int) spi_execute_latest(&mark, 2, (Oid[]) {UUIDOID, INT4OID}, values, NULL);
	PG_RETURN_INT32(count);
}
