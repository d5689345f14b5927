/*
 * wire.h
 *		A connection to a broker, for a thread that may block.
 */
#ifndef SERVICES_BRIDGE_WIRE_H
#define SERVICES_BRIDGE_WIRE_H

#include <stdbool.h>

#include "bridge/brokers.h"
#include "bridge/librabbitmq.h"
#include "lib/worker.h"

#define WIRE_CHANNEL 1
/* In code: the message is none that AMQP can carry, so it was not sent. */
#define WIRE_UNSENDABLE 1

typedef struct Wire
{
	Worker	   *worker;
	amqp_connection_state_t state;	/* NULL: none */
	int			heartbeat;		/* seconds */
	int			code;			/* of the last error, if the broker has named one, else 0 */
	char		error[512];
} Wire;

bool		wire_connect(Wire *wire, const Broker *broker);
void		wire_close(Wire *wire);
int			wire_socket(const Wire *wire);
bool		wire_open_channel(Wire *wire);
bool		wire_replied(Wire *wire, amqp_rpc_reply_t reply);
bool		wire_sent(Wire *wire, int status);
bool		wire_published(Wire *wire, int status);
bool		wire_next_frame(Wire *wire, long milliseconds, amqp_frame_t *frame, bool *any);
bool		wire_alive(Wire *wire);
bool		wire_beat(Wire *wire);
amqp_bytes_t wire_bytes(const char *text);

#endif
