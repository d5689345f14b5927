/*
 * store.h
 *		Instances and their history in tables.
 */
#ifndef ECOMMERCE_SAGA_ENGINE_STORE_H
#define ECOMMERCE_SAGA_ENGINE_STORE_H

#include "saga/machine/machine.h"
#include "saga/machine/react.h"

/* One transition, as the history tells it. */
typedef struct HistoryEntry
{
	const char *from;			/* states; NULL: created */
	const char *to;				/* NULL: deleted */
	const char *event;
	const pg_uuid_t *message_id;	/* NULL: no message */
	Tree	   *actions;
	const char *actor;			/* NULL: the engine */
	const char *reason;
} HistoryEntry;

extern Machine *store_load(const char *saga, const pg_uuid_t *id, bool lock);
extern Machine *store_load_waiting(const char *saga, const pg_uuid_t *id, bool wait);
extern bool store_has_message(const char *saga, const pg_uuid_t *id,
							  const pg_uuid_t *message_id);
extern bool store_claim(const char *saga, const pg_uuid_t *id, bool wait);
extern void store_write(Machine *machine);
extern void store_history(Machine *machine, const HistoryEntry *entry);
extern void store_remove(Machine *machine, bool keep_history);
extern void store_log(const Machine *machine, const HistoryEntry *entry);

#endif
