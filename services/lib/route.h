/*
 * route.h
 *		Which route a path is for, and the parts of the path that are arguments.
 */
#ifndef SERVICES_LIB_ROUTE_H
#define SERVICES_LIB_ROUTE_H

#include "lib/http.h"

bool		route_matches(const char *pattern, const char *path);
char	   *route_argument(const char *pattern, const char *path, const char *name, size_t length);

#endif
