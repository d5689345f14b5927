/*
 * transaction.h
 *		What the bus does when a transaction or a savepoint ends.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_TRANSACTION_H
#define ECOMMERCE_MESSAGE_BUS_TRANSACTION_H

#include "postgres.h"

#include "message_bus/shared.h"

extern void transaction_init(void);
extern void transaction_begin(void);
extern void transaction_check_restored(void);
extern MemoryContext transaction_memory(void);
extern void transaction_note_due(BusEndpoint *endpoint, int32 lane, TimestampTz due);
extern void transaction_note_settled(BusEndpoint *endpoint);
extern void transaction_note_expiry(TimestampTz expires_at);
extern void transaction_at_commit(void (*run) (void *argument), void *argument);

#endif
