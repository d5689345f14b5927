/*
 * body.h
 *		The body of a request: whether it is the JSON object that routes take.
 */
#ifndef SERVICES_LIB_BODY_H
#define SERVICES_LIB_BODY_H

#include <stddef.h>

#include "lib/text.h"

int			body_refusal(const char *type, const char *coding, const char *body, size_t length,
						 Text *detail);

#endif
