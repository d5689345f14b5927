/*
 * carry.c
 *		Sending a message on with the envelope that it has: its id, who caused it,
 *		when and by whom it was sent.
 *
 * Only the attempt begins anew.  What is NULL takes the default that a new message
 * has; no type or no body is refused when it is sent, as it is of any message.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "message_bus/endpoint/carry.h"
#include "message_bus/endpoint/envelope.h"

static pg_uuid_t *uuid_of(const Datum *values, const bool *nulls, int column);
static char *text_of(const Datum *values, const bool *nulls, int column);
static TimestampTz time_of(const Datum *values, const bool *nulls, int column);
static Jsonb *null_document(void);

/*
 * Makes a message to send of the columns of message_bus.message; it points into them.
 */
void
carry_columns(const Datum *values, const bool *nulls, Carried *carried)
{
	BusOutgoing *outgoing = &carried->outgoing;
	Context    *context = &carried->context;

	memset(carried, 0, sizeof(*carried));
	if (nulls[MESSAGE_ID])
		uuid_generate_v7(&carried->message_id);
	else
		carried->message_id = *DatumGetUUIDP(values[MESSAGE_ID]);
	outgoing->message_id = &carried->message_id;
	outgoing->message_type = nulls[MESSAGE_TYPE] ? "" : TextDatumGetCString(values[MESSAGE_TYPE]);
	outgoing->body = nulls[MESSAGE_BODY] ? null_document() : DatumGetJsonbP(values[MESSAGE_BODY]);
	outgoing->headers = nulls[MESSAGE_HEADERS] ? NULL : DatumGetJsonbP(values[MESSAGE_HEADERS]);
	outgoing->partition_key = text_of(values, nulls, MESSAGE_PARTITION_KEY);
	outgoing->exact_times = true;
	outgoing->deliver_at = time_of(values, nulls, MESSAGE_DELIVER_AT);
	outgoing->expires_at = time_of(values, nulls, MESSAGE_EXPIRES_AT);
	outgoing->schema_version =
		nulls[MESSAGE_SCHEMA_VERSION] ? 0 : DatumGetInt32(values[MESSAGE_SCHEMA_VERSION]);
	outgoing->carried = true;
	outgoing->source = text_of(values, nulls, MESSAGE_SOURCE);
	outgoing->sent_at =
		nulls[MESSAGE_SENT_AT] ? 0 : DatumGetTimestampTz(values[MESSAGE_SENT_AT]);
	context->correlation_id = uuid_of(values, nulls, MESSAGE_CORRELATION_ID);
	context->conversation_id = uuid_of(values, nulls, MESSAGE_CONVERSATION_ID);
	context->causation_id = uuid_of(values, nulls, MESSAGE_CAUSATION_ID);
	context->user_id = text_of(values, nulls, MESSAGE_USER_ID);
	context->tenant_id = text_of(values, nulls, MESSAGE_TENANT_ID);
	context->traceparent = text_of(values, nulls, MESSAGE_TRACEPARENT);
	outgoing->context = context;
}

static pg_uuid_t *
uuid_of(const Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? NULL : DatumGetUUIDP(values[column]);
}

static char *
text_of(const Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? NULL : TextDatumGetCString(values[column]);
}

/*
 * A time, which is refused when it is sent if it never comes, from whichever end.
 */
static TimestampTz
time_of(const Datum *values, const bool *nulls, int column)
{
	TimestampTz time = nulls[column] ? BUS_NO_TIME : DatumGetTimestampTz(values[column]);

	return !nulls[column] && TIMESTAMP_IS_NOBEGIN(time) ? DT_NOEND : time;
}

/*
 * For who keeps a message that was refused: times that never come are left out.
 */
void
carry_drop_endless(Carried *carried)
{
	BusOutgoing *outgoing = &carried->outgoing;

	if (TIMESTAMP_NOT_FINITE(outgoing->deliver_at))
		outgoing->deliver_at = BUS_NO_TIME;
	if (TIMESTAMP_NOT_FINITE(outgoing->expires_at))
		outgoing->expires_at = BUS_NO_TIME;
	if (TIMESTAMP_NOT_FINITE(outgoing->sent_at))
		outgoing->sent_at = 0;
}

static Jsonb *
null_document(void)
{
	JsonbValue	value;

	value.type = jbvNull;
	return JsonbValueToJsonb(&value);
}
