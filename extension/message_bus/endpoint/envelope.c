/*
 * envelope.c
 *		Messages as rows, as structs, and as message_bus.message.
 *
 * In rows two defaults are left out to save room: headers {} and a partition
 * key that is the correlation id.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/errors.h"
#include "base/order.h"
#include "event_store/contract/contract.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/place/row.h"
#include "pg/clock.h"
#include "pg/document.h"
#include "pg/settings.h"
#include "pg/subtransaction.h"

/* Bytes that a Fault has beside the message in it. */
#define FAULT_ROOM (64 * 1024)

static const Context no_context = {0};

static void set_uuid(RowValues *row, int column, const pg_uuid_t *uuid);
static void set_text(RowValues *row, int column, const char *text);
static void set_time(RowValues *row, int column, TimestampTz time, bool exact);
static Jsonb *merge_headers(Jsonb *inherited, Jsonb *own);
static Datum uuid_text(const pg_uuid_t *uuid);
static TimestampTz time_of(const RowValues *row, int column);
static const char *sender(void);
static char *text_of(const RowValues *row, int column);

/*
 * Refuses a body or headers (NULL: none) that are too large, too deep, or hold
 * numbers that nobody can write down.
 */
void
envelope_check(const Jsonb *body, const Jsonb *headers)
{
	static const DocumentLimit body_limit = {
		&setting_message_bus_max_message_size, "message_bus.max_message_size",
		ERRCODE_MB_INVALID_MESSAGE
	};
	static const DocumentLimit headers_limit = {
		&setting_event_store_max_metadata_size, "event_store.max_metadata_size",
		ERRCODE_MB_INVALID_MESSAGE
	};

	document_check(body, &body_limit, "body");
	if (headers != NULL)
		document_check(headers, &headers_limit, "headers");
}

/*
 * The same for a Fault that somebody else has made: it has a message in it, with its
 * headers, and says something of it.
 */
void
envelope_check_fault(const Jsonb *body, const Jsonb *headers)
{
	static int	most;
	static const DocumentLimit fault_limit = {
		&most, "message_bus.max_message_size", ERRCODE_MB_INVALID_MESSAGE
	};

	most = (int) lesser((int64) setting_message_bus_max_message_size +
							setting_event_store_max_metadata_size + FAULT_ROOM,
						INT_MAX);
	document_check(body, &fault_limit, "body");
	if (headers != NULL)
		envelope_check(envelope_empty_object(), headers);
}

/*
 * Fills in everything but the endpoint, the lane and the position.  What the
 * row points to must outlive it: outgoing, the context and the current memory
 * context.
 */
void
envelope_stamp(const BusOutgoing *outgoing, const pg_uuid_t *message_id,
			   int32 schema_version, RowValues *row)
{
	const Context *context = outgoing->context != NULL ? outgoing->context : context_get();
	const pg_uuid_t *correlation;

	if (context == NULL)
		context = &no_context;
	/* A message without a context starts a correlation and a conversation. */
	correlation = context->correlation_id != NULL ? context->correlation_id : message_id;
	memset(row->nulls, true, sizeof(row->nulls));
	set_uuid(row, ROW_MESSAGE_ID, message_id);
	set_uuid(row, ROW_CORRELATION_ID, correlation);
	set_uuid(row, ROW_CONVERSATION_ID,
			 context->conversation_id != NULL ? context->conversation_id : correlation);
	set_uuid(row, ROW_CAUSATION_ID, context->causation_id);
	set_time(row, ROW_SENT_AT, outgoing->sent_at != 0 ? outgoing->sent_at : clock_now(), true);
	row->values[ROW_SCHEMA_VERSION] = Int32GetDatum(schema_version);
	row->nulls[ROW_SCHEMA_VERSION] = false;
	set_text(row, ROW_MESSAGE_TYPE, outgoing->message_type);
	row->values[ROW_BODY] = JsonbPGetDatum(outgoing->body);
	row->nulls[ROW_BODY] = false;
	row->values[ROW_HEADERS] = JsonbPGetDatum(merge_headers(context->headers, outgoing->headers));
	row->nulls[ROW_HEADERS] = DatumGetPointer(row->values[ROW_HEADERS]) == NULL;
	set_text(row, ROW_USER_ID, context->user_id);
	set_text(row, ROW_TENANT_ID, context->tenant_id);
	set_text(row, ROW_TRACEPARENT, context->traceparent);
	set_text(row, ROW_SOURCE, outgoing->carried ? outgoing->source : sender());
	set_time(row, ROW_DELIVER_AT, outgoing->deliver_at, outgoing->exact_times);
	set_time(row, ROW_EXPIRES_AT, outgoing->expires_at, outgoing->exact_times);
	set_text(row, ROW_PARTITION_KEY, outgoing->partition_key);
}

/*
 * Addresses a stamped row to an endpoint: its id, and the partition key's lane.
 */
void
envelope_address(RowValues *row, const Endpoint *endpoint)
{
	Datum		key = row->values[ROW_PARTITION_KEY];
	text	   *packed;

	if (row->nulls[ROW_PARTITION_KEY])
		key = uuid_text(DatumGetUUIDP(row->values[ROW_CORRELATION_ID]));
	packed = DatumGetTextPP(key);
	row->values[ROW_ENDPOINT_ID] = Int32GetDatum(endpoint->id);
	row->values[ROW_LANE] = Int32GetDatum(endpoint_lane(endpoint, VARDATA_ANY(packed),
														VARSIZE_ANY_EXHDR(packed)));
	row->values[ROW_POSITION] = Int64GetDatum(0);
	row->nulls[ROW_ENDPOINT_ID] = row->nulls[ROW_LANE] = row->nulls[ROW_POSITION] = false;
}

static void
set_uuid(RowValues *row, int column, const pg_uuid_t *uuid)
{
	row->values[column] = UUIDPGetDatum(uuid);
	row->nulls[column] = uuid == NULL;
}

static void
set_text(RowValues *row, int column, const char *text)
{
	row->nulls[column] = text == NULL;
	if (text != NULL)
		row->values[column] = CStringGetTextDatum(text);
}

static void
set_time(RowValues *row, int column, TimestampTz time, bool exact)
{
	row->values[column] = TimestampTzGetDatum(time);
	row->nulls[column] = time == BUS_NO_TIME || (time == 0 && !exact);
}

/*
 * The context's headers with the message's own over them; NULL for none.
 */
static Jsonb *
merge_headers(Jsonb *inherited, Jsonb *own)
{
	bool		has_own = own != NULL && JB_ROOT_COUNT(own) > 0;
	bool		has_inherited = inherited != NULL && JB_ROOT_COUNT(inherited) > 0;

	if (has_own && has_inherited)
		return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(inherited),
												  JsonbPGetDatum(own)));
	return has_own ? own : has_inherited ? inherited
										 : NULL;
}

/*
 * The columns of message_bus.message; they point into the row.
 */
void
envelope_columns(const RowValues *row, int32 attempt, Datum *values, bool *nulls)
{
	static const RowColumn sources[MESSAGE_COLUMNS] = {
		[MESSAGE_ID] = ROW_MESSAGE_ID,
		[MESSAGE_TYPE] = ROW_MESSAGE_TYPE,
		[MESSAGE_SCHEMA_VERSION] = ROW_SCHEMA_VERSION,
		[MESSAGE_BODY] = ROW_BODY,
		[MESSAGE_HEADERS] = ROW_HEADERS,
		[MESSAGE_CORRELATION_ID] = ROW_CORRELATION_ID,
		[MESSAGE_CONVERSATION_ID] = ROW_CONVERSATION_ID,
		[MESSAGE_CAUSATION_ID] = ROW_CAUSATION_ID,
		[MESSAGE_USER_ID] = ROW_USER_ID,
		[MESSAGE_TENANT_ID] = ROW_TENANT_ID,
		[MESSAGE_TRACEPARENT] = ROW_TRACEPARENT,
		[MESSAGE_SOURCE] = ROW_SOURCE,
		[MESSAGE_SENT_AT] = ROW_SENT_AT,
		[MESSAGE_DELIVER_AT] = ROW_DELIVER_AT,
		[MESSAGE_EXPIRES_AT] = ROW_EXPIRES_AT,
		[MESSAGE_PARTITION_KEY] = ROW_PARTITION_KEY,
	};

	for (int i = 0; i < MESSAGE_ATTEMPT; i++)
	{
		values[i] = row->values[sources[i]];
		nulls[i] = row->nulls[sources[i]];
	}
	values[MESSAGE_ATTEMPT] = Int32GetDatum(attempt);
	nulls[MESSAGE_ATTEMPT] = false;
	if (nulls[MESSAGE_HEADERS])
		values[MESSAGE_HEADERS] = JsonbPGetDatum(envelope_empty_object());
	if (nulls[MESSAGE_PARTITION_KEY])
		values[MESSAGE_PARTITION_KEY] = uuid_text(DatumGetUUIDP(row->values[ROW_CORRELATION_ID]));
	nulls[MESSAGE_HEADERS] = nulls[MESSAGE_PARTITION_KEY] = false;
}

/* A body on its way to the current version of its type. */
typedef struct Upcast
{
	const text *type;
	int32		schema_version;
	Jsonb	   *body;
} Upcast;

static void
upcast(void *argument)
{
	Upcast	   *work = argument;

	work->body = contract_upcast(VARDATA_ANY(work->type), VARSIZE_ANY_EXHDR(work->type),
								 &work->schema_version, work->body, NULL);
}

/*
 * Brings the body among the columns of a message to the version of its type that
 * is current.  A message must not hold up those behind it: if an upcaster fails, it
 * is given out as it was sent, and its schema_version says so.
 */
void
envelope_upcast(Datum *values)
{
	Upcast		work = {DatumGetTextPP(values[MESSAGE_TYPE]),
		DatumGetInt32(values[MESSAGE_SCHEMA_VERSION])};
	ErrorData  *error;

	if (!contract_upcasts(VARDATA_ANY(work.type), VARSIZE_ANY_EXHDR(work.type),
						  work.schema_version))
		return;
	work.body = DatumGetJsonbP(values[MESSAGE_BODY]);
	if (!subtransaction_run(upcast, &work, &error))
	{
		ereport(WARNING,
				(errmsg("message of type \"%s\" stays in version %d: %s",
						text_to_cstring(work.type),
						DatumGetInt32(values[MESSAGE_SCHEMA_VERSION]), error->message)));
		return;
	}
	values[MESSAGE_BODY] = JsonbPGetDatum(work.body);
	values[MESSAGE_SCHEMA_VERSION] = Int32GetDatum(work.schema_version);
}

/*
 * Refuses a row type that is not message_bus.message, or delivery, as we know it.
 */
void
envelope_check_row(TupleDesc row, int columns)
{
	static const ExtensionColumn attributes[DELIVERY_COLUMNS] = {
		[MESSAGE_ID] = {"message_id", UUIDOID},
		[MESSAGE_TYPE] = {"message_type", TEXTOID},
		[MESSAGE_SCHEMA_VERSION] = {"schema_version", INT4OID},
		[MESSAGE_BODY] = {"body", JSONBOID},
		[MESSAGE_HEADERS] = {"headers", JSONBOID},
		[MESSAGE_CORRELATION_ID] = {"correlation_id", UUIDOID},
		[MESSAGE_CONVERSATION_ID] = {"conversation_id", UUIDOID},
		[MESSAGE_CAUSATION_ID] = {"causation_id", UUIDOID},
		[MESSAGE_USER_ID] = {"user_id", TEXTOID},
		[MESSAGE_TENANT_ID] = {"tenant_id", TEXTOID},
		[MESSAGE_TRACEPARENT] = {"traceparent", TEXTOID},
		[MESSAGE_SOURCE] = {"source", TEXTOID},
		[MESSAGE_SENT_AT] = {"sent_at", TIMESTAMPTZOID},
		[MESSAGE_DELIVER_AT] = {"deliver_at", TIMESTAMPTZOID},
		[MESSAGE_EXPIRES_AT] = {"expires_at", TIMESTAMPTZOID},
		[MESSAGE_PARTITION_KEY] = {"partition_key", TEXTOID},
		[MESSAGE_ATTEMPT] = {"attempt", INT4OID},
		[DELIVERY_ENDPOINT] = {"endpoint", TEXTOID},
		[DELIVERY_ID] = {"delivery_id", INT8OID},
		[DELIVERY_LEASED_UNTIL] = {"leased_until", TIMESTAMPTZOID},
	};

	extension_row_check(row, attributes, columns);
}

/*
 * The row type message_bus.message; the caller releases it.
 */
TupleDesc
envelope_descriptor(void)
{
	Oid			schema = get_namespace_oid("message_bus", false);
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("message"),
									   ObjectIdGetDatum(schema));
	TupleDesc	descriptor = lookup_rowtype_tupdesc(type, -1);

	envelope_check_row(descriptor, MESSAGE_COLUMNS);
	return descriptor;
}

/*
 * The row as a value of that type.
 */
Datum
envelope_datum(TupleDesc descriptor, const RowValues *row, int32 attempt)
{
	Datum		values[MESSAGE_COLUMNS + SPARE_ATTRIBUTES];
	bool		nulls[MESSAGE_COLUMNS + SPARE_ATTRIBUTES];

	memset(nulls, true, sizeof(nulls));
	envelope_columns(row, attempt, values, nulls);
	return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}

/*
 * The row as a struct, in the current memory context; values are copied.
 */
void
envelope_message(const RowValues *row, int32 attempt, BusMessage *message)
{
	Datum		values[MESSAGE_COLUMNS];
	bool		nulls[MESSAGE_COLUMNS];

	envelope_columns(row, attempt, values, nulls);
	message->message_id = *DatumGetUUIDP(values[MESSAGE_ID]);
	message->message_type = TextDatumGetCString(values[MESSAGE_TYPE]);
	message->schema_version = DatumGetInt32(values[MESSAGE_SCHEMA_VERSION]);
	message->body = DatumGetJsonbPCopy(values[MESSAGE_BODY]);
	message->headers = DatumGetJsonbPCopy(values[MESSAGE_HEADERS]);
	message->correlation_id = *DatumGetUUIDP(values[MESSAGE_CORRELATION_ID]);
	message->conversation_id = *DatumGetUUIDP(values[MESSAGE_CONVERSATION_ID]);
	message->has_causation = !nulls[MESSAGE_CAUSATION_ID];
	if (message->has_causation)
		message->causation_id = *DatumGetUUIDP(values[MESSAGE_CAUSATION_ID]);
	message->user_id = text_of(row, ROW_USER_ID);
	message->tenant_id = text_of(row, ROW_TENANT_ID);
	message->traceparent = text_of(row, ROW_TRACEPARENT);
	message->source = text_of(row, ROW_SOURCE);
	message->sent_at = DatumGetTimestampTz(values[MESSAGE_SENT_AT]);
	message->deliver_at = time_of(row, ROW_DELIVER_AT);
	message->expires_at = time_of(row, ROW_EXPIRES_AT);
	message->partition_key = TextDatumGetCString(values[MESSAGE_PARTITION_KEY]);
	message->attempt = attempt;
}

/*
 * The context in which a message is handled; it points into the row.
 */
void
envelope_context(const RowValues *row, Context *context)
{
	memset(context, 0, sizeof(*context));
	context->correlation_id = DatumGetUUIDP(row->values[ROW_CORRELATION_ID]);
	context->conversation_id = DatumGetUUIDP(row->values[ROW_CONVERSATION_ID]);
	context->causation_id = DatumGetUUIDP(row->values[ROW_MESSAGE_ID]);
	context->user_id = text_of(row, ROW_USER_ID);
	context->tenant_id = text_of(row, ROW_TENANT_ID);
	context->traceparent = text_of(row, ROW_TRACEPARENT);
}

static char *
text_of(const RowValues *row, int column)
{
	return row->nulls[column] ? NULL : TextDatumGetCString(row->values[column]);
}

static TimestampTz
time_of(const RowValues *row, int column)
{
	return row->nulls[column] ? BUS_NO_TIME : DatumGetTimestampTz(row->values[column]);
}

/*
 * Who sends: the setting ecommerce.source, else application_name, NULL if both
 * are empty.
 */
static const char *
sender(void)
{
	if (setting_ecommerce_source != NULL && setting_ecommerce_source[0] != '\0')
		return setting_ecommerce_source;
	return application_name[0] != '\0' ? application_name : NULL;
}

static Datum
uuid_text(const pg_uuid_t *uuid)
{
	static const char digits[] = "0123456789abcdef";
	char		buffer[36];
	char	   *p = buffer;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[uuid->data[i] >> 4];
		*p++ = digits[uuid->data[i] & 0x0F];
	}
	return PointerGetDatum(cstring_to_text_with_len(buffer, sizeof(buffer)));
}

/*
 * A {} that lives as long as the backend.
 */
Jsonb *
envelope_empty_object(void)
{
	static Jsonb *empty = NULL;

	if (empty == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		JsonbParseState *state = NULL;

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		empty = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
		MemoryContextSwitchTo(old);
	}
	return empty;
}
