/*
 * carrier.h
 *		One link: what its source forwards is brought to the target.
 */
#ifndef SERVICES_LINK_CARRIER_H
#define SERVICES_LINK_CARRIER_H

#include <stdbool.h>
#include <event2/event.h>

#include "lib/pg.h"

/* What all links of a daemon have in common. */
typedef struct CarrierOptions
{
	struct event_base *base;
	const char *target;			/* connection string */
	const PgStep *setup;		/* of sessions at both ends */
	long		batch;			/* most messages of a lane at a time */
	long		idle_ms;		/* look this often though nobody told of anything */
} CarrierOptions;

typedef struct Carrier Carrier;

Carrier    *carrier_open(const CarrierOptions *options, const char *name, const char *source,
						 const char *endpoint);
const char *carrier_name(const Carrier *carrier);
bool		carrier_is(const Carrier *carrier, const char *name, const char *source,
					   const char *endpoint);
const char *carrier_state(const Carrier *carrier);
void		carrier_changed(Carrier *carrier);
void		carrier_close(Carrier *carrier);

#endif
