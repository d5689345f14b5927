/*
 * feeder.h
 *		One projection: events of its source are brought to it.
 */
#ifndef SERVICES_LINK_FEEDER_H
#define SERVICES_LINK_FEEDER_H

#include <stdbool.h>

#include "link/carrier.h"

typedef struct Feeder Feeder;

Feeder	   *feeder_open(const CarrierOptions *options, const char *name, const char *source,
						const char *category);
const char *feeder_name(const Feeder *feeder);
bool		feeder_is(const Feeder *feeder, const char *name, const char *source,
					  const char *category);
const char *feeder_state(const Feeder *feeder);
void		feeder_changed(Feeder *feeder);
void		feeder_close(Feeder *feeder);

#endif
