/*
 * stream.c
 *		Server-Sent Events over libevent's chunked replies.
 *
 * A stream belongs to its connection: when that goes, for whatever reason, the
 * stream goes.  A comment every few seconds finds out clients that have gone
 * without a word, and keeps what lies between from ending an idle connection.
 * Streams do not hold up the end of the program.
 */
#include "lib/stream.h"

#include <stdlib.h>
#include <string.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "lib/text.h"

#define CUT_OFF (1024 * 1024)
#define BEAT_S 10
#define SILENCE_S 86400			/* that a client may keep: it only listens */

struct Stream
{
	Stream	   *next;
	Channel    *channel;
	struct evhttp_request *request;
	const void *owner;
};

struct Channel
{
	Stream	   *first;
	struct event *beat;
	size_t		cut_off;
	int			count;
};

static void on_beat(evutil_socket_t socket, short what, void *argument);
static void on_gone(struct evhttp_connection *connection, void *argument);
static bool push(Stream *stream, const char *bytes, size_t length);
static void push_to_all(Channel *channel, const char *bytes, size_t length);
static void cut(Stream *stream);

Channel *
channel_open(struct event_base *base, size_t cut_off)
{
	Channel    *channel = memory_zero(1, sizeof(*channel));
	struct timeval interval = {BEAT_S, 0};

	channel->cut_off = cut_off ? cut_off : CUT_OFF;
	channel->beat = event_new(base, -1, EV_PERSIST, on_beat, channel);
	event_add(channel->beat, &interval);
	return channel;
}

/* data may have lines; NULL event is a plain message. */
void
channel_send(Channel *channel, const char *event, const char *data)
{
	Text		text = {0};

	if (channel->first == NULL)
		return;
	stream_format(&text, event, data);
	push_to_all(channel, text.data, text.length);
	text_free(&text);
}

int
channel_count(const Channel *channel)
{
	return channel->count;
}

/* Ends the streams of that owner, or all of them: NULL. */
void
channel_drop(Channel *channel, const void *owner)
{
	Stream	   *next;

	for (Stream *stream = channel->first; stream; stream = next)
	{
		next = stream->next;
		if (owner == NULL || stream->owner == owner)
			cut(stream);
	}
}

void
channel_close(Channel *channel)
{
	if (channel == NULL)
		return;
	channel_drop(channel, NULL);
	event_free(channel->beat);
	free(channel);
}

Stream *
stream_begin(Channel *channel, HttpCall *call, const void *owner)
{
	struct evhttp_request *request = http_detach(call, "text/event-stream");
	struct evhttp_connection *connection;
	Stream	   *stream;

	if (request == NULL)
		return NULL;
	stream = memory_zero(1, sizeof(*stream));
	*stream = (Stream) {channel->first, channel, request, owner};
	channel->first = stream;
	channel->count++;
	connection = evhttp_request_get_connection(request);
	evhttp_connection_set_timeout(connection, SILENCE_S);
	evhttp_connection_set_closecb(connection, on_gone, stream);
	evhttp_send_reply_start(request, 200, NULL);
	return stream;
}

/* To this one alone. */
void
stream_send(Stream *stream, const char *event, const char *data)
{
	Text		text = {0};

	stream_format(&text, event, data);
	if (!push(stream, text.data, text.length))
		cut(stream);
	text_free(&text);
}

/* One event as it goes over the wire: each line of the data behind "data:". */
void
stream_format(Text *target, const char *event, const char *data)
{
	if (event)
		text_format(target, "event: %s\n", event);
	for (;;)
	{
		size_t		length = strcspn(data, "\r\n");

		text_add(target, "data: ");
		text_add_n(target, data, length);
		text_add(target, "\n");
		data += length;
		if (*data == '\0')
			break;
		data += strncmp(data, "\r\n", 2) == 0 ? 2 : 1;
	}
	text_add(target, "\n");
}

static void
on_beat(evutil_socket_t socket, short what, void *argument)
{
	static const char comment[] = ":\n\n";

	(void) socket;
	(void) what;
	push_to_all(argument, comment, sizeof(comment) - 1);
}

static void
push_to_all(Channel *channel, const char *bytes, size_t length)
{
	Stream	   *next;

	for (Stream *stream = channel->first; stream; stream = next)
	{
		next = stream->next;
		if (!push(stream, bytes, length))
			cut(stream);
	}
}

/* Whether the client has room for it. */
static bool
push(Stream *stream, const char *bytes, size_t length)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(stream->request);
	struct bufferevent *socket = evhttp_connection_get_bufferevent(connection);
	struct evbuffer *chunk;

	if (evbuffer_get_length(bufferevent_get_output(socket)) > stream->channel->cut_off)
		return false;
	chunk = evbuffer_new();
	evbuffer_add(chunk, bytes, length);
	evhttp_send_reply_chunk(stream->request, chunk);
	evbuffer_free(chunk);
	return true;
}

/* Closes the connection, which takes the stream with it. */
static void
cut(Stream *stream)
{
	evhttp_connection_free(evhttp_request_get_connection(stream->request));
}

static void
on_gone(struct evhttp_connection *connection, void *argument)
{
	Stream	   *stream = argument;
	Channel    *channel = stream->channel;

	(void) connection;
	for (Stream **link = &channel->first; *link; link = &(*link)->next)
		if (*link == stream)
		{
			*link = stream->next;
			break;
		}
	channel->count--;
	/* one that its connection has let go of is ours to free */
	if (evhttp_request_get_connection(stream->request) == NULL)
		evhttp_request_free(stream->request);
	free(stream);
}
