/*
 * stream.h
 *		Replies that go on: Server-Sent Events for many clients at a time.
 *
 * What is sent to a channel goes to all its streams. A client that does not read
 * is cut off, and comes back by itself.
 */
#ifndef SERVICES_LIB_STREAM_H
#define SERVICES_LIB_STREAM_H

#include "lib/http.h"

typedef struct Channel Channel;
typedef struct Stream Stream;

/* cut_off at so many bytes that a client has not taken; 0: the usual. */
Channel    *channel_open(struct event_base *base, size_t cut_off);
void		channel_send(Channel *channel, const char *event, const char *data);
int			channel_count(const Channel *channel);
void		channel_drop(Channel *channel, const void *owner);
void		channel_close(Channel *channel);

/* Makes the call a stream of the channel; owner is for channel_drop.  NULL: the client has gone. */
Stream	   *stream_begin(Channel *channel, HttpCall *call, const void *owner);
void		stream_send(Stream *stream, const char *event, const char *data);

void		stream_format(Text *target, const char *event, const char *data);

#endif
