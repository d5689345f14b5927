/*
 * carry.h
 *		Sending a message on with the envelope that it has.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_CARRY_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_CARRY_H

#include "postgres.h"

#include "message_bus/message_bus.h"

/* A message to send, with what it points to. */
typedef struct Carried
{
	BusOutgoing outgoing;		/* its endpoint is for the caller to say */
	Context		context;
	pg_uuid_t	message_id;
} Carried;

extern void carry_columns(const Datum *values, const bool *nulls, Carried *carried);
extern void carry_drop_endless(Carried *carried);

#endif
