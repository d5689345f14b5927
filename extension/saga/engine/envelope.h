/*
 * envelope.h
 *		What surrounds a message, and what an instance keeps and passes on of it.
 */
#ifndef ECOMMERCE_SAGA_ENGINE_ENVELOPE_H
#define ECOMMERCE_SAGA_ENGINE_ENVELOPE_H

#include "message_bus/message_bus.h"
#include "pg/context.h"
#include "saga/machine/machine.h"

extern Tree *envelope_of_message(const BusMessage *message);
extern Tree *envelope_kept(const Tree *envelope);
extern Tree *envelope_kept_from_session(const Context *context);
extern void envelope_take_context(const Machine *machine, const Tree *envelope,
								  const pg_uuid_t *message_id);

#endif
