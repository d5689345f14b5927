/*
 * arguments.h
 *		What a route's function is called with.
 */
#ifndef SERVICES_LIB_ARGUMENTS_H
#define SERVICES_LIB_ARGUMENTS_H

#include "lib/http.h"

int			arguments_count(const char *arguments);
bool		arguments_gather(HttpCall *call, const char *path);

#endif
