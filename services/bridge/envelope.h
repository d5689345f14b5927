/*
 * envelope.h
 *		Envelopes: as AMQP has them, and as JSON, which the database reads and writes.
 */
#ifndef SERVICES_BRIDGE_ENVELOPE_H
#define SERVICES_BRIDGE_ENVELOPE_H

#include <jansson.h>
#include <stdbool.h>

#include "bridge/librabbitmq.h"
#include "lib/text.h"

void		envelope_write(Text *target, const amqp_envelope_t *envelope);
void		envelope_properties(json_t *envelope, amqp_pool_t *pool,
								amqp_basic_properties_t *properties);

#endif
