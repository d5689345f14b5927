/*
 * sink.h
 *		One sink: events of the store are brought to a target.
 */
#ifndef SERVICES_STREAM_SINK_H
#define SERVICES_STREAM_SINK_H

#include <stdbool.h>
#include <event2/event.h>

#include "lib/pg.h"

typedef struct SinkSettings
{
	struct event_base *base;
	const char *conninfo;
	const PgStep *setup;		/* of its session */
	const char *brokers;		/* file */
	long		batch;			/* most events at a time */
} SinkSettings;

/* The pointers are those of a Sink, as a roster keeps them. */
void	   *sink_open(const SinkSettings *settings, const PgResults *results, int row);
const char *sink_state(const void *item);
bool		sink_drained(void *item);
void		sink_close(void *item);

#endif
