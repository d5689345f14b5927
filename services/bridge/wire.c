/*
 * wire.c
 *		A connection to a broker, for a thread that may block.
 *
 * Whatever is waited for ends: connecting and replies after a time, all else by the
 * heartbeat, and by the socket being shut down when the program stops.
 */
#include "bridge/wire.h"

#include <stdio.h>
#include <string.h>

#include "lib/text.h"

#define CONNECT_SECONDS 5
#define REPLY_SECONDS 15

static bool open_socket(Wire *wire, const Broker *broker);
static bool log_in(Wire *wire, const Broker *broker);
static void note_close(Wire *wire, const amqp_method_t *method);

/* Connects and opens the channel; false, and wire->error says why. */
bool
wire_connect(Wire *wire, const Broker *broker)
{
	struct timeval reply = {REPLY_SECONDS, 0};
	struct timeval connect = {CONNECT_SECONDS, 0};

	wire_close(wire);
	wire->code = 0;
	wire->heartbeat = broker->heartbeat;
	wire->state = amqp_new_connection();
	amqp_set_handshake_timeout(wire->state, &connect);
	amqp_set_rpc_timeout(wire->state, &reply);
	if (open_socket(wire, broker) && log_in(wire, broker) && wire_open_channel(wire))
		return true;
	wire_close(wire);
	return false;
}

static bool
open_socket(Wire *wire, const Broker *broker)
{
	struct timeval wait = {CONNECT_SECONDS, 0};
	amqp_socket_t *socket = broker->tls ? amqp_ssl_socket_new(wire->state)
		: amqp_tcp_socket_new(wire->state);

	if (broker->tls && broker->cacert[0] &&
		!wire_sent(wire, amqp_ssl_socket_set_cacert(socket, broker->cacert)))
		return false;
	if (!wire_sent(wire, amqp_socket_open_noblock(socket, broker->host, broker->port, &wait)))
		return false;
	worker_uses(wire->worker, amqp_get_sockfd(wire->state));
	return true;
}

static bool
log_in(Wire *wire, const Broker *broker)
{
	return wire_replied(wire, amqp_login(wire->state, broker->vhost, 0, 131072, broker->heartbeat,
										 AMQP_SASL_METHOD_PLAIN, broker->user, broker->password));
}

/* Closes it without ceremony: the broker brings again what was not settled. */
void
wire_close(Wire *wire)
{
	worker_uses(wire->worker, -1);
	if (wire->state)
		amqp_destroy_connection(wire->state);
	wire->state = NULL;
}

int
wire_socket(const Wire *wire)
{
	return wire->state ? amqp_get_sockfd(wire->state) : -1;
}

bool
wire_open_channel(Wire *wire)
{
	amqp_channel_open(wire->state, WIRE_CHANNEL);
	return wire_replied(wire, amqp_get_rpc_reply(wire->state));
}

/*
 * Whether a request was answered as hoped.  A channel that the broker has closed is
 * told so; wire->code is its reason then, and the channel has to be opened anew.
 */
bool
wire_replied(Wire *wire, amqp_rpc_reply_t reply)
{
	if (reply.reply_type == AMQP_RESPONSE_NORMAL)
		return true;
	wire->code = 0;
	if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION)
		note_close(wire, &reply.reply);
	else
		copy_string(wire->error, sizeof(wire->error), amqp_error_string2(reply.library_error));
	return false;
}

/* Whether something could be sent. */
bool
wire_sent(Wire *wire, int status)
{
	if (status == AMQP_STATUS_OK)
		return true;
	wire->code = 0;
	copy_string(wire->error, sizeof(wire->error), amqp_error_string2(status));
	return false;
}

/*
 * Whether a message could be sent.  One that is too long where AMQP has little room, as
 * for names and headers, is told by wire->code; the connection is of no use then.
 */
bool
wire_published(Wire *wire, int status)
{
	if (wire_sent(wire, status))
		return true;
	if (status == AMQP_STATUS_BAD_AMQP_DATA || status == AMQP_STATUS_TABLE_TOO_BIG)
	{
		wire->code = WIRE_UNSENDABLE;
		copy_string(wire->error, sizeof(wire->error),
					"its routing key, a property or its headers are too long for AMQP");
	}
	return false;
}

/*
 * The next frame, waiting at most so long; *any says whether there was one.  False if
 * the channel or the connection is closed.
 */
bool
wire_next_frame(Wire *wire, long milliseconds, amqp_frame_t *frame, bool *any)
{
	struct timeval wait = {milliseconds / 1000, milliseconds % 1000 * 1000};
	int			status = amqp_simple_wait_frame_noblock(wire->state, frame, &wait);

	*any = status == AMQP_STATUS_OK;
	if (status != AMQP_STATUS_OK)
		return status == AMQP_STATUS_TIMEOUT || wire_sent(wire, status);
	if (frame->frame_type == AMQP_FRAME_METHOD &&
		(frame->payload.method.id == AMQP_CHANNEL_CLOSE_METHOD ||
		 frame->payload.method.id == AMQP_CONNECTION_CLOSE_METHOD))
	{
		note_close(wire, &frame->payload.method);
		return false;
	}
	return true;
}

/* Reads why the broker closes the channel or the connection, and agrees. */
static void
note_close(Wire *wire, const amqp_method_t *method)
{
	amqp_bytes_t text = {0};

	if (method->id == AMQP_CHANNEL_CLOSE_METHOD)
	{
		amqp_channel_close_t *close = method->decoded;
		amqp_channel_close_ok_t ok = {0};

		wire->code = close->reply_code;
		text = close->reply_text;
		amqp_send_method(wire->state, WIRE_CHANNEL, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
	}
	else if (method->id == AMQP_CONNECTION_CLOSE_METHOD)
	{
		amqp_connection_close_t *close = method->decoded;
		amqp_connection_close_ok_t ok = {0};

		wire->code = close->reply_code;
		text = close->reply_text;
		amqp_send_method(wire->state, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
	}
	snprintf(wire->error, sizeof(wire->error), "%.*s", (int) text.len,
			 text.bytes ? (const char *) text.bytes : "");
	utf8_repair(wire->error);
}

/* Between batches: lets heartbeats pass; false if the connection is gone. */
bool
wire_alive(Wire *wire)
{
	amqp_frame_t frame;
	bool		any = true;

	while (any)
	{
		amqp_maybe_release_buffers(wire->state);
		if (!wire_next_frame(wire, 0, &frame, &any))
			return false;
	}
	return true;
}

/* Says that we are there, without reading what the broker says; false if the connection is gone. */
bool
wire_beat(Wire *wire)
{
	amqp_frame_t beat = {.frame_type = AMQP_FRAME_HEARTBEAT};

	return wire_sent(wire, amqp_send_frame(wire->state, &beat));
}

amqp_bytes_t
wire_bytes(const char *text)
{
	return text ? amqp_cstring_bytes(text) : amqp_empty_bytes;
}
