/*
 * note.h
 *		What this transaction remembers of the bus, to be told once it has committed.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KNOW_NOTE_H
#define ECOMMERCE_MESSAGE_BUS_KNOW_NOTE_H

#include "postgres.h"

#include "message_bus/know/handle.h"

extern void note_begin(void);
extern void note_check_restored(void);
extern MemoryContext note_memory(void);
extern void note_due(const Endpoint *endpoint, int32 lane, TimestampTz due);
extern void note_settled(const Endpoint *endpoint);
extern void note_expiry(TimestampTz expires_at);
extern void note_at_commit(void (*run) (void *argument), void *argument);

/* For transaction.c. */
extern bool note_active(void);
extern void note_end_subtransaction(bool committed, SubTransactionId mine,
									SubTransactionId parent);
extern void note_end_transaction(bool committed);
extern void note_run_effects(bool committed);
extern void note_wake(bool committed);

#endif
