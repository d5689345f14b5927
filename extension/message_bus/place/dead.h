/*
 * dead.h
 *		Which messages are dead letters.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_PLACE_DEAD_H
#define ECOMMERCE_MESSAGE_BUS_PLACE_DEAD_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "message_bus/know/handle.h"

extern bool dead_has_message(const Endpoint *endpoint, pg_uuid_t *message_id);
extern void dead_find_messages(const Endpoint *endpoint, const pg_uuid_t *message_ids, int count,
							   bool *found);
extern bool dead_gives_way(const Endpoint *endpoint, pg_uuid_t *message_id);
extern bool dead_forget(TimestampTz now);

#endif
