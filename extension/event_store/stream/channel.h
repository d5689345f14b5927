/*
 * channel.h
 *		The channel that listeners of a category LISTEN to.
 */
#ifndef ECOMMERCE_EVENT_STORE_STREAM_CHANNEL_H
#define ECOMMERCE_EVENT_STORE_STREAM_CHANNEL_H

extern void event_channel(const char *category, int length, char *channel);

#endif
