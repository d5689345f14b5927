/*
 * outward.h
 *		What an endpoint forwards is brought to a broker.
 */
#ifndef SERVICES_BRIDGE_OUTWARD_H
#define SERVICES_BRIDGE_OUTWARD_H

#include <stdbool.h>

#include "bridge/settings.h"

typedef struct Outward Outward;

Outward    *outward_open(const BridgeSettings *settings, const char *endpoint);
const char *outward_state(const Outward *outward);
bool		outward_drained(Outward *outward);
void		outward_close(Outward *outward);

#endif
