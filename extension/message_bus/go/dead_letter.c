/*
 * dead_letter.c
 *		Messages that will not be delivered again unless somebody says so, and
 *		the Fault that tells of it.
 *
 * Lock protocol: dead letters are made by the holder of the lane, or by the
 * worker while it holds it; they are redriven and discarded by row locks.
 * A crash leaves them; dead letter and the removal of the message from where it
 * was are one transaction.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/place/dead.h"
#include "message_bus/place/row.h"
#include "pg/clock.h"
#include "pg/spi.h"
#include "pg/subtransaction.h"
#include "pg/writer.h"

/* Bytes of an error that a Fault carries; the dead letter has all of it. */
#define MAX_TEXT 8192
/* And of what an index of dead letters holds, which may have come from anywhere. */
#define MAX_INDEXED 255

typedef struct Fault
{
	const char *endpoint;
	const RowValues *row;
	const char *message_type;
	const Failure *failure;
	const char *omitted;		/* why the message is left out, or NULL */
} Fault;

static void publish_fault(const Endpoint *endpoint, const RowValues *row, const char *message_type,
						  const Failure *failure);
static void send_fault(void *argument);
static void set_text(Datum *values, char *nulls, int number, const char *text, int most);
static Datum clipped(const char *text, int most);

/*
 * Stores a dead letter; does nothing if there is one already.  A message that
 * failed is made known by a Fault, unless it is one itself.
 */
void
dead_letter(const Endpoint *endpoint, const RowValues *row, const char *reason,
			const Failure *failure)
{
	RowValues	dead = *row;
	char	   *message_type = TextDatumGetCString(row->values[ROW_MESSAGE_TYPE]);

	if (dead_has_message(endpoint, DatumGetUUIDP(row->values[ROW_MESSAGE_ID])))
		return;
	for (int i = DEAD_REASON; i < DEAD_COLUMNS; i++)
		dead.nulls[i] = false;
	dead.values[ROW_MESSAGE_TYPE] = clipped(message_type, MAX_INDEXED);
	dead.values[DEAD_REASON] = CStringGetTextDatum(reason);
	dead.nulls[DEAD_ERROR_CODE] = failure->code == NULL;
	if (failure->code != NULL)
		dead.values[DEAD_ERROR_CODE] = clipped(failure->code, MAX_INDEXED);
	dead.nulls[DEAD_ERROR] = failure->text == NULL;
	if (failure->text != NULL)
		dead.values[DEAD_ERROR] = CStringGetTextDatum(failure->text);
	dead.values[DEAD_ATTEMPTS] = Int32GetDatum(failure->attempts);
	dead.values[DEAD_FIRST_FAILED_AT] = TimestampTzGetDatum(failure->first_at);
	dead.values[DEAD_LAST_FAILED_AT] = TimestampTzGetDatum(failure->last_at);
	table_insert(&bus_dead_table, dead.values, dead.nulls);
	if (strcmp(reason, "fault") == 0 && strcmp(message_type, FAULT_TYPE) != 0)
		publish_fault(endpoint, row, message_type, failure);
}

/*
 * Makes a dead letter of a message that its consumer has acknowledged and kept.
 */
void
message_bus_bury(const BusOutgoing *outgoing, int32 schema_version, const char *reason,
				 const char *error_code, const char *error)
{
	const Endpoint *endpoint = endpoint_use_named(outgoing->endpoint);
	TimestampTz now = clock_now();
	Failure		failure = {1, error_code, error, now, now};
	RowValues	row;

	envelope_stamp(outgoing, outgoing->message_id, schema_version, &row);
	envelope_address(&row, endpoint);
	dead_letter(endpoint, &row, reason, &failure);
}

/*
 * Publishes the Fault, with the message in it if that can be.  Nothing that is wrong
 * with the message may keep it from being buried: what cannot be said is left out.
 */
static void
publish_fault(const Endpoint *endpoint, const RowValues *row, const char *message_type,
			  const Failure *failure)
{
	Fault		fault = {endpoint->name, row, message_type, failure, NULL};
	const int32 *routes;
	ErrorData  *error;

	if (endpoint_routes(FAULT_TYPE, &routes) == 0)
		return;
	if (subtransaction_run(send_fault, &fault, &error))
		return;
	fault.omitted = error->message;
	if (!subtransaction_run(send_fault, &fault, &error))
		ereport(WARNING,
				(errmsg("no Fault was published for message %s of endpoint \"%s\"",
						DatumGetCString(DirectFunctionCall1(uuid_out,
															row->values[ROW_MESSAGE_ID])),
						fault.endpoint),
				 errdetail_internal("%s", error->message),
				 errhint("The message is in message_bus.dead_letters.")));
}

static void
send_fault(void *argument)
{
	static SpiStatement whole = {
		"SELECT pg_catalog.jsonb_build_object('fault_id', $1, 'faulted_message_id', $2, 'endpoint', $3,"
		" 'message_type', $4, 'error_code', $5, 'error', $6, 'attempts', $7, 'timestamp', $8,"
		" 'message', pg_catalog.to_jsonb($9))"};
	static SpiStatement bare = {
		"SELECT pg_catalog.jsonb_build_object('fault_id', $1, 'faulted_message_id', $2, 'endpoint', $3,"
		" 'message_type', $4, 'error_code', $5, 'error', $6, 'attempts', $7, 'timestamp', $8,"
		" 'message', NULL, 'omitted', $9)"};
	Oid			types[] = {UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID,
	TIMESTAMPTZOID, TEXTOID};
	const Fault *fault = argument;
	const Failure *failure = fault->failure;
	Datum		values[9] = {0};
	char		nulls[] = "    nn  n";
	BusOutgoing outgoing = {0};
	Context		context;
	pg_uuid_t	fault_id;
	bool		isnull;
	MemoryContext caller = CurrentMemoryContext;

	uuid_generate_v7(&fault_id);
	values[0] = UUIDPGetDatum(&fault_id);
	values[1] = fault->row->values[ROW_MESSAGE_ID];
	values[2] = CStringGetTextDatum(fault->endpoint);
	values[3] = CStringGetTextDatum(fault->message_type);
	set_text(values, nulls, 4, failure->code, MAX_INDEXED);
	set_text(values, nulls, 5, failure->text, MAX_TEXT);
	values[6] = Int32GetDatum(failure->attempts);
	values[7] = TimestampTzGetDatum(failure->last_at);
	if (fault->omitted == NULL)
	{
		TupleDesc	descriptor = envelope_descriptor();

		values[8] = envelope_datum(descriptor, fault->row, failure->attempts);
		ReleaseTupleDesc(descriptor);
		types[8] = HeapTupleHeaderGetTypeId(DatumGetHeapTupleHeader(values[8]));
		nulls[8] = ' ';
	}
	else
		set_text(values, nulls, 8, fault->omitted, MAX_TEXT);
	envelope_context(fault->row, &context);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(fault->omitted == NULL ? &whole : &bare, 9, types, values, nulls);
	outgoing.body = DatumGetJsonbP(spi_copy(0, 0, caller, &isnull));
	spi_end();
	outgoing.message_type = FAULT_TYPE;
	outgoing.context = &context;
	/* Refused, the message that failed could never be settled. */
	outgoing.beyond_depth = true;
	message_bus_send(&outgoing, &fault_id);
}

/*
 * A text of a Fault, cut off where nobody reads on.
 */
static void
set_text(Datum *values, char *nulls, int number, const char *text, int most)
{
	if (text == NULL)
		return;
	values[number] = clipped(text, most);
	nulls[number] = ' ';
}

static Datum
clipped(const char *text, int most)
{
	return PointerGetDatum(cstring_to_text_with_len(text, pg_mbcliplen(text, (int) strlen(text),
																	   most)));
}
