/*
 * receiver.h
 *		Messages from a queue of a broker, a batch at a time.
 */
#ifndef SERVICES_BRIDGE_RECEIVER_H
#define SERVICES_BRIDGE_RECEIVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/text.h"

/* What has come; the broker keeps it until it is told that it is safe. */
typedef struct ReceivedBatch
{
	Text		envelopes;		/* an array in text form, of jsonb */
	int			count;
	uint64_t	upto;			/* delivery tag of the last */
	int			connection;		/* whose tag that is */
} ReceivedBatch;

typedef struct ReceiverOptions
{
	struct event_base *base;
	const char *brokers;		/* file */
	const char *broker;			/* section of it */
	const char *topology;		/* JSON, as message_bus.bridge_topology() gives */
	int			batch;			/* most messages of one */
	void		(*received) (void *argument);	/* a batch is there; receiver_take() */
	void		(*state) (void *argument, const char *trouble); /* NULL: it consumes */
	void	   *argument;
} ReceiverOptions;

typedef struct Receiver Receiver;

Receiver   *receiver_open(const ReceiverOptions *options);
bool		receiver_take(Receiver *receiver, ReceivedBatch *batch);
void		receiver_settled(Receiver *receiver, const ReceivedBatch *batch);
void		receiver_close(Receiver *receiver);

#endif
