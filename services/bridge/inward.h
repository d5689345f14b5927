/*
 * inward.h
 *		What a queue of a broker has is accepted by a bridge.
 */
#ifndef SERVICES_BRIDGE_INWARD_H
#define SERVICES_BRIDGE_INWARD_H

#include <stdbool.h>

#include "bridge/settings.h"

typedef struct Inward Inward;

Inward	   *inward_open(const BridgeSettings *settings, const char *topology);
const char *inward_state(const Inward *inward);
bool		inward_drained(Inward *inward);
void		inward_close(Inward *inward);

#endif
