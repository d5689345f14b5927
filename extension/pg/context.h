/*
 * context.h
 *		Who acts and why, for the length of a transaction.
 *
 * Set by ecommerce.set_context() and by whoever handles a message; stamped on
 * every event and message.
 */
#ifndef ECOMMERCE_PG_CONTEXT_H
#define ECOMMERCE_PG_CONTEXT_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/uuid.h"

/* Pointers may be NULL; what they point to lives as long as the transaction. */
typedef struct Context
{
	pg_uuid_t  *correlation_id;
	pg_uuid_t  *conversation_id;
	pg_uuid_t  *causation_id;
	char	   *user_id;
	char	   *tenant_id;
	char	   *traceparent;
	Jsonb	   *headers;		/* an object, never NULL in what context_get() gives */
} Context;

extern const Context *context_get(void);
extern void context_set(const Context *context);
extern void context_put_back(const Context *context);
extern Jsonb *context_stamp(Jsonb *metadata);
extern bool uuid_parse(const char *text, int length, pg_uuid_t *uuid);
extern void uuid_generate_v7(pg_uuid_t *uuid);

#endif
