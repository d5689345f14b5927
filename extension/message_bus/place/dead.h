/*
 * dead.h
 *		Which messages are dead letters.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_PLACE_DEAD_H
#define ECOMMERCE_MESSAGE_BUS_PLACE_DEAD_H

#include "postgres.h"

#include "utils/uuid.h"

extern bool dead_has_message(int32 endpoint_id, pg_uuid_t *message_id);
extern bool dead_gives_way(int32 endpoint_id, pg_uuid_t *message_id);

#endif
