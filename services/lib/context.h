/*
 * context.h
 *		Who is acting and on whose behalf: the correlation context of one HTTP
 *		request or one message, with its place in a distributed trace.
 *
 * The context is passed by pointer to everything that logs, calls SQL or calls
 * the outside; there is no global current one, since one event loop handles
 * many requests at a time.
 */
#ifndef SERVICES_LIB_CONTEXT_H
#define SERVICES_LIB_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#define UUID_LENGTH 36
#define TRACE_ID_LENGTH 32
#define SPAN_ID_LENGTH 16

/* Empty strings stand for what is not known. */
typedef struct Context
{
	char		correlation_id[UUID_LENGTH + 1];
	char		trace_id[TRACE_ID_LENGTH + 1];
	char		span_id[SPAN_ID_LENGTH + 1];
	char		parent_span_id[SPAN_ID_LENGTH + 1];
	bool		sampled;
	char		user_id[128];
	char		tenant_id[128];
	bool		is_message;		/* subject is a message type, else a route */
	char		subject[128];
} Context;

void		context_start(Context *context, const char *correlation_id, const char *traceparent);
void		context_child(Context *child, const Context *parent);
void		context_traceparent(const Context *context, char target[56]);

bool		uuid_valid(const char *string);
void		uuid_make(char target[UUID_LENGTH + 1]);
double		random_fraction(void);

uint64_t	clock_wall_ns(void);
uint64_t	clock_steady_ms(void);

#endif
