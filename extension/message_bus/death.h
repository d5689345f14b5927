/*
 * death.h
 *		Consumers that died while they handled a message.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_DEATH_H
#define ECOMMERCE_MESSAGE_BUS_DEATH_H

#include "postgres.h"

#include "utils/uuid.h"

#include "message_bus/endpoint.h"
#include "message_bus/held.h"

/* After so many a message is handed out alone. */
#define DEATHS_ALONE 3

extern void death_watch(const Endpoint *endpoint, const HeldDelivery *delivery);
extern void death_note_crashes(BusDatabase *database, BusEndpoint *endpoint);
extern int32 death_count(int32 endpoint_id, const pg_uuid_t *message_id);
extern int32 death_limit(const Endpoint *endpoint);
extern void death_forget(int32 endpoint_id, const pg_uuid_t *message_id);
extern void death_write_dirty(void);
extern void death_end_transaction(bool committed);
extern void death_end_subtransaction(bool committed, SubTransactionId mine,
									 SubTransactionId parent);

#endif
