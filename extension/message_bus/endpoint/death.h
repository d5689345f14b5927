/*
 * death.h
 *		Consumers that died while they handled a message.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_DEATH_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_DEATH_H

#include "postgres.h"

#include "utils/uuid.h"

#include "message_bus/endpoint/endpoint.h"

/* After so many a message is handed out alone. */
#define DEATHS_ALONE 3

/* A message that a consumer handles. */
typedef struct WatchedMessage
{
	pg_uuid_t	message_id;
	const char *message_type;
	int32		deaths;			/* of those who handled it before */
	bool		counts;			/* for the breaker: a first attempt, or a probe */
	bool		probe;
} WatchedMessage;

extern void death_watch(const Endpoint *endpoint, const WatchedMessage *message);
extern void death_watch_another(void);
extern void death_watch_before(void);
extern void death_note_crashes(BusDatabase *database, const Endpoint *endpoint);
extern int32 death_count(const Endpoint *endpoint, const pg_uuid_t *message_id);
extern int32 death_limit(const Endpoint *endpoint);
extern void death_forget(const Endpoint *endpoint, const pg_uuid_t *message_id);
extern void death_write_dirty(void);
extern void death_end_transaction(bool committed);
extern void death_end_subtransaction(bool committed, SubTransactionId mine,
									 SubTransactionId parent);

#endif
