/*
 * via.h
 *		The databases that a message has come through: its header "via".
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_VIA_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_VIA_H

#include "postgres.h"

#include "utils/jsonb.h"

/* What headers became with a name more, for the next that are the same.  Zero it first. */
typedef struct Via
{
	const Jsonb *headers;
	Jsonb	   *added;
} Via;

extern bool via_has(Jsonb *headers, const char *name);
extern Jsonb *via_add(Via *last, Jsonb *headers, const char *name);

#endif
