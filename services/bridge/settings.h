/*
 * settings.h
 *		What both directions of a bridge have to know.
 */
#ifndef SERVICES_BRIDGE_SETTINGS_H
#define SERVICES_BRIDGE_SETTINGS_H

#include <stdbool.h>
#include <event2/event.h>

#include "lib/pg.h"

typedef struct BridgeSettings
{
	struct event_base *base;
	const char *conninfo;
	const PgStep *setup;		/* of sessions */
	const char *brokers;		/* file */
	const char *name;
	const char *broker;			/* section of the file */
	long		batch;			/* most messages at a time */
	bool		drop_unroutable;
} BridgeSettings;

#endif
