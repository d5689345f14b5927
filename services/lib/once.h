/*
 * once.h
 *		Requests with an Idempotency-Key are done once.
 */
#ifndef SERVICES_LIB_ONCE_H
#define SERVICES_LIB_ONCE_H

#include "lib/http.h"

bool		once_applies(const HttpRoute *route);
void		once_prepare(HttpCall *call);
void		once_free(HttpCall *call);

#endif
