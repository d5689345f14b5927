/*
 * health.h
 *		The built-in routes: health, metrics, the service's own description.
 */
#ifndef SERVICES_LIB_HEALTH_H
#define SERVICES_LIB_HEALTH_H

#include "lib/service.h"

extern const HttpRoute health_routes[];

void		health_start(Runtime *runtime, const char *bus_endpoint);

#endif
