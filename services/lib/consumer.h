/*
 * consumer.h
 *		Consumes one endpoint of the message bus with a table of handlers.
 */
#ifndef SERVICES_LIB_CONSUMER_H
#define SERVICES_LIB_CONSUMER_H

#include "lib/session.h"

/* A handler is a SQL function fn(body jsonb); the table ends with a NULL type. */
typedef EcommerceHandler MessageHandler;

typedef struct ConsumerOptions
{
	struct event_base *base;
	const char *conninfo;
	const char *application;
	const char *source;			/* stamped on what the handlers publish */
	const char *endpoint;
	const MessageHandler *handlers;
	long		batch;			/* most messages in one transaction */
	long		poll_ms;		/* looks by itself this often: notifications can be lost */
	long		timeout_ms;		/* of one message, if the endpoint's is not shorter */
	/* a step for the end of a transaction with messages, or NULL; may itself be NULL */
	const PgStep *(*closing) (void *argument);
	/* messages took effect; step is the closing one's in results, -1 if there was none */
	void		(*committed) (void *argument, const PgResults *results, int step);
	void		(*rolled_back) (void *argument);	/* what closing gave came to nothing */
	void	   *argument;
} ConsumerOptions;

typedef struct Consumer Consumer;

Consumer   *consumer_open(const ConsumerOptions *options);
bool		consumer_connected(const Consumer *consumer);
void		consumer_drain(Consumer *consumer);
bool		consumer_drained(const Consumer *consumer);
void		consumer_close(Consumer *consumer);

#endif
