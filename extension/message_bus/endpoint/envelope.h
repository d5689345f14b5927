/*
 * envelope.h
 *		Messages as rows, as structs, and as message_bus.message.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_ENVELOPE_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_ENVELOPE_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"
#include "message_bus/message_bus.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/row.h"

/* Columns of message_bus.message, which message_bus.delivery begins with. */
typedef enum MessageColumn
{
	MESSAGE_ID,
	MESSAGE_TYPE,
	MESSAGE_SCHEMA_VERSION,
	MESSAGE_BODY,
	MESSAGE_HEADERS,
	MESSAGE_CORRELATION_ID,
	MESSAGE_CONVERSATION_ID,
	MESSAGE_CAUSATION_ID,
	MESSAGE_USER_ID,
	MESSAGE_TENANT_ID,
	MESSAGE_TRACEPARENT,
	MESSAGE_SOURCE,
	MESSAGE_SENT_AT,
	MESSAGE_DELIVER_AT,
	MESSAGE_EXPIRES_AT,
	MESSAGE_PARTITION_KEY,
	MESSAGE_ATTEMPT,
	MESSAGE_COLUMNS
} MessageColumn;

typedef enum DeliveryColumn
{
	DELIVERY_ENDPOINT = MESSAGE_COLUMNS,
	DELIVERY_ID,
	DELIVERY_LEASED_UNTIL,
	DELIVERY_COLUMNS
} DeliveryColumn;

extern void envelope_check(const Jsonb *body, const Jsonb *headers);
extern void envelope_check_fault(const Jsonb *body, const Jsonb *headers);
extern Jsonb *envelope_empty_object(void);
extern void envelope_stamp(const BusOutgoing *outgoing, const pg_uuid_t *message_id,
						   int32 schema_version, RowValues *row);
extern void envelope_address(RowValues *row, const Endpoint *endpoint);
extern void envelope_columns(const RowValues *row, int32 attempt, Datum *values, bool *nulls);
extern void envelope_upcast(Datum *values);
extern void envelope_check_row(TupleDesc row, int columns);
extern TupleDesc envelope_descriptor(void);
extern Datum envelope_datum(TupleDesc descriptor, const RowValues *row, int32 attempt);
extern void envelope_message(const RowValues *row, int32 attempt, BusMessage *message);
extern void envelope_context(const RowValues *row, Context *context);

#endif
