/*
 * engine.h
 *		The engine: messages, timers and operators drive instances.
 */
#ifndef ECOMMERCE_SAGA_ENGINE_ENGINE_H
#define ECOMMERCE_SAGA_ENGINE_ENGINE_H

#include "message_bus/message_bus.h"
#include "pg/context.h"
#include "saga/engine/store.h"
#include "saga/machine/react.h"

/* Who or what drives an instance, for the history and the context. */
typedef struct Cause
{
	const char *event;
	const pg_uuid_t *message_id;
	const char *actor;			/* NULL: the engine */
	const char *reason;
	const Tree *envelope;		/* of the message, NULL: none */
	const char *from;			/* state, if another definition's */
} Cause;

/* Messages of an endpoint, taken and handled in one transaction. */
typedef struct InboxRun
{
	int			max;
	/* what became of it */
	int			received;
	int			settled;
} InboxRun;

/* engine.c */
extern void engine_apply(Machine *machine, const Effects *effects, const Cause *cause);
extern void engine_require_read_committed(const char *function);

/* inbox.c */
extern void inbox_run(const char *endpoint, InboxRun *run);

/* parked.c */
extern void park_message(const Definition *definition, const pg_uuid_t *id, const char *endpoint,
						 const BusMessage *message, TimestampTz until, bool deferred);
extern void parked_replay(Machine *machine);
extern bool parked_came_as(const BusMessage *message, pg_uuid_t *came_as);
extern bool parked_is_for(const BusMessage *message, const pg_uuid_t *came_as, const char *saga,
						  const pg_uuid_t *id);
extern void parked_bury(const Machine *machine, const char *why);
extern int	parked_expire(const char *endpoint, TimestampTz as_of);

/* timer.c */
extern int	timers_fire(const char *endpoint, TimestampTz as_of, int max, bool by_hand, bool *more);
extern TimestampTz timers_next(const char *endpoint);

#endif
