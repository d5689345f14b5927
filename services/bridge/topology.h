/*
 * topology.h
 *		What has to be there at the broker for what comes in.
 */
#ifndef SERVICES_BRIDGE_TOPOLOGY_H
#define SERVICES_BRIDGE_TOPOLOGY_H

#include <stdbool.h>

#include "bridge/wire.h"

bool		topology_make(Wire *wire, const char *topology, int prefetch);

#endif
